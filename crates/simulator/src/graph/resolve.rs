//! Objects of mixed kinds: rows that say what they are, and `getByIds`.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Call;
use super::answer::{Answer, Failure};
use crate::directory::Seen;
use crate::directory::schema::Kind;
use crate::odata::select::Select;

/// `getByIds` takes at most this many.
const MOST_IDS: usize = 1000;

/// A row of a collection; it names its type unless a cast did.
pub(super) fn row(select: &Select, seen: &Seen<'_>, cast: Option<Kind>) -> Value {
    let mut row = select.show(seen);
    if cast.is_none() {
        row.insert("@odata.type".to_owned(), json!(seen.kind.odata_type()));
    }
    Value::Object(row)
}

/// The collection's name in `@odata.context`.
pub(super) fn collection(cast: Option<Kind>) -> &'static str {
    match cast {
        None => "directoryObjects",
        Some(Kind::User) => "users",
        Some(Kind::Group) => "groups",
        Some(Kind::Device) => "devices",
    }
}

/// `POST /directoryObjects/getByIds`; ids of nothing are left out.
pub(super) fn get_by_ids(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.body()?;
    let texts = |name: &str| body.get(name).and_then(Value::as_array).cloned();
    let ids = texts("ids").ok_or_else(|| Failure::bad_request("ids must be a list."))?;
    if ids.len() > MOST_IDS {
        return Err(Failure::bad_request(format!("Too many ids: at most {MOST_IDS}.")));
    }
    let types = texts("types");
    let wanted = |kind: Kind| {
        types.as_ref().is_none_or(|types| types.iter().any(|word| word == kind.word() || word == "directoryObject"))
    };
    let select = Select::default();
    call.look(|view| {
        let parsed = ids.iter().filter_map(|id| Uuid::parse_str(id.as_str()?).ok());
        let found = parsed.filter_map(|id| view.live(id)).filter(|seen| wanted(seen.kind));
        let rows: Vec<Value> = found.map(|seen| row(&select, &seen, None)).collect();
        Ok(Answer::ok(json!({"@odata.context": call.context("directoryObjects"), "value": rows})))
    })
}
