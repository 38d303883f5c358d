//! `/groups` and the members of one group.

use serde_json::{Value, json};
use uuid::Uuid;

use super::answer::{Answer, Failure};
use super::listing::{after, page};
use super::users::{UNPLAYED, check_fields, groups_above, merge};
use super::{Call, resolve};
use crate::directory::View;
use crate::directory::schema::Kind;
use crate::odata::filter::Filter;
use crate::odata::select::Select;

/// `GET /groups/{id}`
pub(super) fn get(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    call.query().refuse(&["$expand", "$filter"])?;
    let select = Select::parse(call.query().get("$select"), &[Kind::Group], &[])?;
    call.look(|view| {
        let group = view.group(id).ok_or_else(|| Failure::not_found(id))?;
        let mut body = json!({"@odata.context": call.context(&format!("groups{}/$entity", select.context()))});
        merge(&mut body, select.show(&group));
        Ok(Answer::ok(body))
    })
}

/// `GET /groups`, filtered or page by page.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    call.query().refuse(&UNPLAYED)?;
    let select = Select::parse(call.query().get("$select"), &[Kind::Group], &[])?;
    let filter = call.query().get("$filter").map(Filter::parse).transpose()?;
    if let Some(filter) = &filter {
        check_fields(Kind::Group, filter)?;
    }
    let start = after(call)?;
    call.look(|view| {
        let groups = view.all_live(Kind::Group, start);
        let matching = groups.filter(|seen| filter.as_ref().is_none_or(|filter| filter.matches(seen)));
        let rows = matching.map(|seen| (seen.id, Value::Object(select.show(&seen))));
        page(call, &format!("groups{}", select.context()), rows)
    })
}

/// `GET /groups/{id}/memberOf` and `…/transitiveMemberOf`, with or without a cast.
pub(super) fn member_of(call: &Call<'_>, id: &str, cast: Option<Kind>, transitive: bool) -> Result<Answer, Failure> {
    groups_above(call, cast, transitive, |view| view.group(id).map(|group| group.id))?
        .ok_or_else(|| Failure::not_found(id))
}

/// `GET /groups/{id}/members` and `…/transitiveMembers`, with or without a cast.
pub(super) fn members(call: &Call<'_>, id: &str, cast: Option<Kind>, transitive: bool) -> Result<Answer, Failure> {
    call.query().refuse(&UNPLAYED)?;
    call.query().refuse(&["$filter"])?;
    let kinds = cast.map_or_else(|| vec![Kind::User, Kind::Group, Kind::Device], |cast| vec![cast]);
    let select = Select::parse(call.query().get("$select"), &kinds, &[])?;
    let start = after(call)?;
    call.look(|view| {
        let group = view.group(id).ok_or_else(|| Failure::not_found(id))?;
        let of_kind = |id: &Uuid| view.live(*id).filter(|seen| cast.is_none_or(|cast| cast == seen.kind));
        let rest = rest_of(view, group.id, transitive, start);
        let rows = rest.iter().filter_map(of_kind).map(|seen| (seen.id, resolve::row(&select, &seen, cast)));
        page(call, resolve::collection(cast), rows)
    })
}

/// The members after that id. The transitive ones are sorted and cached, so a page is a slice.
fn rest_of(view: View<'_>, group: Uuid, transitive: bool, after: Option<Uuid>) -> Vec<Uuid> {
    if !transitive {
        let members = view.members(group);
        return members.iter().copied().filter(|id| after.is_none_or(|after| *id > after)).collect();
    }
    let members = view.members_below(group);
    let start = after.map_or(0, |after| members.partition_point(|id| *id <= after));
    members[start..].to_vec()
}
