//! `/users` and what hangs below one user.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::{Answer, Failure};
use super::listing::{after, page};
use super::{Call, resolve};
use crate::directory::schema::Kind;
use crate::directory::{Seen, View};
use crate::odata::filter::Filter;
use crate::odata::select::Select;

/// Options no route here plays.
pub(super) const UNPLAYED: [&str; 4] = ["$expand", "$search", "$orderby", "$skip"];

/// `GET /users/{id | userPrincipalName}`
pub(super) fn get(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    call.query().refuse(&["$filter"])?;
    let select = Select::parse(call.query().get("$select"), &[Kind::User], &[])?;
    let expand = expand(call)?;
    call.look(|view| {
        let user = view.user(id).ok_or_else(|| Failure::not_found(id))?;
        let mut body = json!({"@odata.context": call.context(&format!("users{}/$entity", select.context()))});
        merge(&mut body, show(view, &user, &select, expand.as_ref()));
        Ok(Answer::ok(body))
    })
}

/// `GET /users`, filtered or page by page.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    call.query().refuse(&["$search", "$orderby", "$skip"])?;
    let select = Select::parse(call.query().get("$select"), &[Kind::User], &[])?;
    let expand = expand(call)?;
    let filter = call.query().get("$filter").map(Filter::parse).transpose()?;
    if let Some(filter) = &filter {
        check_fields(Kind::User, filter)?;
    }
    let start = after(call)?;
    call.look(|view| {
        let found = candidates(view, filter.as_ref(), start);
        let matching = found.filter(|seen| filter.as_ref().is_none_or(|filter| filter.matches(seen)));
        let rows = matching.map(|seen| (seen.id, Value::Object(show(view, &seen, &select, expand.as_ref()))));
        page(call, &format!("users{}", select.context()), rows)
    })
}

/// What `$expand` asks of the manager: the one relation that is played, without levels.
fn expand(call: &Call<'_>) -> Result<Option<Select>, Failure> {
    let Some(expand) = call.query().get("$expand") else {
        return Ok(None);
    };
    let options = expand.strip_prefix("manager").ok_or_else(|| Failure::unsupported("Only manager is expanded."))?;
    let select = options.strip_prefix("($select=").and_then(|rest| rest.strip_suffix(')'));
    match (options, select) {
        ("", _) => Ok(Some(Select::default())),
        (_, Some(names)) => Select::parse(Some(names), &[Kind::User], &[]).map(Some),
        (_, None) => Err(Failure::unsupported("Of the options of $expand only $select is played.")),
    }
}

/// The user; whoever has no manager is shown without one.
fn show(view: View<'_>, user: &Seen<'_>, select: &Select, expand: Option<&Select>) -> Map<String, Value> {
    let mut shown = select.show(user);
    if let Some((expand, manager)) = expand.zip(view.manager(user)) {
        let mut manager_shown = expand.show(&manager);
        manager_shown.insert("@odata.type".to_owned(), json!(Kind::User.odata_type()));
        shown.insert("manager".to_owned(), Value::Object(manager_shown));
    }
    shown
}

/// Whom the filter can be about, by id: by the index where one helps.
fn candidates<'a>(
    view: View<'a>,
    filter: Option<&Filter>,
    after: Option<Uuid>,
) -> Box<dyn Iterator<Item = Seen<'a>> + 'a> {
    let named: Option<Vec<Seen<'a>>> = filter.and_then(|filter| {
        let by_id = filter.ids().map(|ids| ids.into_iter().filter_map(|id| view.live(id)).collect());
        let by_address = || {
            let addresses = filter.addresses()?;
            Some(addresses.into_iter().flat_map(|address| view.at_address(address)).collect())
        };
        by_id.or_else(by_address)
    });
    match named {
        Some(mut named) => {
            named.retain(|seen| seen.kind == Kind::User && after.is_none_or(|after| seen.id > after));
            named.sort_by_key(|seen| seen.id);
            named.dedup_by_key(|seen| seen.id);
            Box::new(named.into_iter())
        }
        None => Box::new(view.all_live(Kind::User, after)),
    }
}

/// Refuses a filter on something the kind does not have.
pub(super) fn check_fields(kind: Kind, filter: &Filter) -> Result<(), Failure> {
    match filter.fields().into_iter().find(|field| kind.property(field).is_none()) {
        Some(field) => Err(Failure::unsupported(format!(
            "Unsupported property filter clause operator specified on property '{field}' of '{}'.",
            kind.word()
        ))),
        None => Ok(()),
    }
}

/// `GET /users/{id}/memberOf` and `…/transitiveMemberOf`, with or without a cast.
pub(super) fn member_of(call: &Call<'_>, id: &str, cast: Option<Kind>, transitive: bool) -> Result<Answer, Failure> {
    groups_above(call, cast, transitive, |view| view.user(id).map(|user| user.id))?
        .ok_or_else(|| Failure::not_found(id))
}

/// The groups that an object is in; `None` when there is no such object.
pub(super) fn groups_above(
    call: &Call<'_>,
    cast: Option<Kind>,
    transitive: bool,
    object: impl FnOnce(&View<'_>) -> Option<Uuid>,
) -> Result<Option<Answer>, Failure> {
    call.query().refuse(&UNPLAYED)?;
    call.query().refuse(&["$filter"])?;
    let select = Select::parse(call.query().get("$select"), &[Kind::Group], &[])?;
    let start = after(call)?;
    call.look(|view| {
        let Some(object) = object(&view) else {
            return Ok(None);
        };
        let groups = if transitive { view.groups_above(object) } else { view.live_parents(object) };
        let rest = groups.into_iter().filter(|id| start.is_none_or(|start| *id > start));
        let rows = rest.filter_map(|id| view.live(id)).filter(|seen| cast.is_none_or(|cast| cast == seen.kind));
        page(call, resolve::collection(cast), rows.map(|seen| (seen.id, resolve::row(&select, &seen, cast)))).map(Some)
    })
}

/// `POST /users/{id}/getMemberGroups`
pub(super) fn get_member_groups(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let security_only = call.body()?.get("securityEnabledOnly").and_then(Value::as_bool);
    let security_only =
        security_only.ok_or_else(|| Failure::bad_request("securityEnabledOnly must be true or false."))?;
    call.look(|view| {
        let user = view.user(id).ok_or_else(|| Failure::not_found(id))?;
        let groups = view.groups_above(user.id).into_iter().filter_map(|id| view.live(id));
        let wanted = groups.filter(|group| !security_only || group.properties.is_true("securityEnabled"));
        let ids: Vec<Uuid> = wanted.map(|group| group.id).collect();
        Ok(Answer::ok(json!({"@odata.context": call.context("Collection(Edm.String)"), "value": ids})))
    })
}

/// Adds the properties to an answer that has its context already.
pub(super) fn merge(body: &mut Value, properties: Map<String, Value>) {
    if let Value::Object(body) = body {
        body.extend(properties);
    }
}
