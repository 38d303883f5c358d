//! `/directory/deletedItems`: what was soft-deleted and can be restored.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Call;
use super::answer::{Answer, Failure};
use super::listing::{after, page};
use super::users::merge;
use crate::clock::graph_time;
use crate::directory::Seen;
use crate::directory::object::Life;
use crate::directory::schema::Kind;
use crate::odata::select::Select;

/// `GET /directory/deletedItems/{id}`
pub(super) fn get(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let select = Select::parse(call.query().get("$select"), &[Kind::User, Kind::Group], &[])?;
    call.look(|view| {
        let found = Uuid::parse_str(id).ok().and_then(|id| view.deleted(id));
        let seen = found.ok_or_else(|| Failure::not_found(id))?;
        let mut body = json!({
            "@odata.context": call.context("directoryObjects/$entity"),
            "@odata.type": seen.kind.odata_type(),
        });
        merge(&mut body, show(&select, &seen));
        Ok(Answer::ok(body))
    })
}

/// `GET /directory/deletedItems/microsoft.graph.user` and `.group`
pub(super) fn list(call: &Call<'_>, kind: Kind) -> Result<Answer, Failure> {
    call.query().refuse(&["$filter", "$expand", "$search", "$orderby"])?;
    let select = Select::parse(call.query().get("$select"), &[kind], &[])?;
    let start = after(call)?;
    call.look(|view| {
        let gone = view.all(kind, start).filter(|seen| matches!(seen.life, Life::Deleted { .. }));
        let context = format!("{}s{}", kind.word(), select.context());
        page(call, &context, gone.map(|seen| (seen.id, Value::Object(show(&select, &seen)))))
    })
}

/// As for a live object, and when it was deleted.
fn show(select: &Select, seen: &Seen<'_>) -> Map<String, Value> {
    let mut shown = select.show(seen);
    if let (Life::Deleted { at }, true) = (seen.life, select.0.is_none() || select.names("deletedDateTime")) {
        shown.insert("deletedDateTime".to_owned(), json!(graph_time(at)));
    }
    shown
}
