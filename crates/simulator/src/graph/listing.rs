//! Pages of objects by id, with an absolute link to the next.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Call;
use super::answer::{Answer, Failure};
use crate::odata::query::{read_token, token};

/// What a `$skiptoken` carries: where the last page ended.
#[derive(Serialize, Deserialize)]
struct Continuation {
    after: Uuid,
}

/// The id the last page ended with.
pub(super) fn after(call: &Call<'_>) -> Result<Option<Uuid>, Failure> {
    let Some(text) = call.query().get("$skiptoken") else {
        return Ok(None);
    };
    let continuation: Continuation = read_token(text).map_err(|_| {
        Failure::new(
            400,
            "Directory_ExpiredPageToken",
            "The specified page token value has expired and can no longer be included in your request.",
        )
    })?;
    Ok(Some(continuation.after))
}

/// One page of the rest, which is ordered by id and begins after [`after`].
pub(super) fn page(
    call: &Call<'_>,
    context: &str,
    rest: impl Iterator<Item = (Uuid, Value)>,
) -> Result<Answer, Failure> {
    let top = call.query().top()?;
    let mut rest = rest.peekable();
    let mut rows = Vec::new();
    let mut last = None;
    while let Some((id, row)) = rest.next_if(|_| rows.len() < top) {
        last = Some(id);
        rows.push(row);
    }
    let mut body = json!({"@odata.context": call.context(context)});
    if let (Some(after), true) = (last, rest.peek().is_some()) {
        let query = call.query().with("$skiptoken", &token(&Continuation { after }));
        body["@odata.nextLink"] = json!(format!("{}/v1.0/{}?{query}", call.base, call.request.path));
    }
    body["value"] = Value::Array(rows);
    Ok(Answer::ok(body))
}
