//! Pages of objects by id, with an absolute link to the next.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Call;
use super::answer::{Answer, Failure};
use crate::fault::Twist;
use crate::odata::query::{read_token, token};

/// What a `$skiptoken` carries: where the last page ended.
#[derive(Default, Serialize, Deserialize)]
struct Continuation {
    after: Option<Uuid>,
    /// The last page was an empty one ([`Twist::EmptyPage`]), so this one is not.
    paused: bool,
}

fn continuation(call: &Call<'_>) -> Result<Continuation, Failure> {
    let Some(text) = call.query().get("$skiptoken") else {
        return Ok(Continuation::default());
    };
    read_token(text).map_err(|_| {
        Failure::new(
            400,
            "Directory_ExpiredPageToken",
            "The specified page token value has expired and can no longer be included in your request.",
        )
    })
}

/// The id the last page ended with.
pub(super) fn after(call: &Call<'_>) -> Result<Option<Uuid>, Failure> {
    continuation(call).map(|continuation| continuation.after)
}

/// One page of the rest, which is ordered by id and begins after [`after`].
pub(super) fn page(
    call: &Call<'_>,
    context: &str,
    rest: impl Iterator<Item = (Uuid, Value)>,
) -> Result<Answer, Failure> {
    let (top, before) = (call.query().top()?, continuation(call)?);
    let mut body = json!({"@odata.context": call.context(context)});
    if call.trouble.has(Twist::EmptyPage) && !before.paused {
        body["@odata.nextLink"] = json!(link(call, &Continuation { paused: true, ..before }));
        body["value"] = json!([]);
        return Ok(Answer::ok(body));
    }
    let mut rest = rest.peekable();
    let mut rows = Vec::new();
    let mut last = None;
    while let Some((id, row)) = rest.next_if(|_| rows.len() < top) {
        last = Some(id);
        rows.push(row);
    }
    if last.is_some() && rest.peek().is_some() {
        body["@odata.nextLink"] = json!(link(call, &Continuation { after: last, paused: false }));
    }
    body["value"] = Value::Array(rows);
    Ok(Answer::ok(body))
}

fn link(call: &Call<'_>, continuation: &Continuation) -> String {
    let query = call.query().with("$skiptoken", &token(continuation));
    format!("{}/v1.0/{}?{query}", call.base, call.request.path)
}
