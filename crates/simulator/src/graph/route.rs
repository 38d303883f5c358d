//! The routes of Graph that are played: name, cost and permission of each.

use axum::http::Method;

use crate::directory::schema::Kind;
use crate::odata::query::Query;

/// One route, with the ids in its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Users,
    User { id: String },
    UserDelta,
    MemberOf { id: String, cast: Option<Kind>, transitive: bool },
    GetMemberGroups { id: String },
    GetByIds,
    Groups,
    Group { id: String },
    GroupDelta,
    GroupMemberOf { id: String, cast: Option<Kind>, transitive: bool },
    Members { id: String, cast: Option<Kind>, transitive: bool },
    DeletedItem { id: String },
    DeletedItems { kind: Kind },
    Organization,
    Application { app_id: String },
    CreateSubscription,
    ListSubscriptions,
    GetSubscription { id: String },
    RenewSubscription { id: String },
    DeleteSubscription { id: String },
    Reauthorize { id: String },
    Batch,
}

impl Route {
    /// The route of this method and path; `None` for what is not played.
    pub fn parse(method: &Method, segments: &[String]) -> Option<Self> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match method.as_str() {
            "GET" => Self::of_get(&segments),
            "POST" => Self::of_post(&segments),
            "PATCH" => Self::of_subscription(&segments, |id| Self::RenewSubscription { id }),
            "DELETE" => Self::of_subscription(&segments, |id| Self::DeleteSubscription { id }),
            _ => None,
        }
    }

    fn of_subscription(segments: &[&str], route: impl FnOnce(String) -> Self) -> Option<Self> {
        match segments {
            ["subscriptions", id] => Some(route((*id).to_owned())),
            _ => None,
        }
    }

    fn of_get(segments: &[&str]) -> Option<Self> {
        Some(match segments {
            ["users"] => Self::Users,
            ["users", "delta" | "delta()" | "microsoft.graph.delta" | "microsoft.graph.delta()"] => Self::UserDelta,
            ["users", id] => Self::User { id: (*id).to_owned() },
            ["users", id, relation @ ("memberOf" | "transitiveMemberOf"), cast @ ..] => {
                Self::MemberOf { id: (*id).to_owned(), cast: of_cast(cast)?, transitive: *relation != "memberOf" }
            }
            ["groups"] => Self::Groups,
            ["groups", "delta" | "delta()" | "microsoft.graph.delta" | "microsoft.graph.delta()"] => Self::GroupDelta,
            ["groups", id] => Self::Group { id: (*id).to_owned() },
            ["groups", id, relation @ ("memberOf" | "transitiveMemberOf"), cast @ ..] => {
                Self::GroupMemberOf { id: (*id).to_owned(), cast: of_cast(cast)?, transitive: *relation != "memberOf" }
            }
            ["groups", id, relation @ ("members" | "transitiveMembers"), cast @ ..] => {
                Self::Members { id: (*id).to_owned(), cast: of_cast(cast)?, transitive: *relation != "members" }
            }
            ["directory", "deletedItems", cast] if cast.starts_with("microsoft.graph.") => {
                Self::DeletedItems { kind: Kind::of_cast(cast)? }
            }
            ["directory", "deletedItems", id] => Self::DeletedItem { id: (*id).to_owned() },
            ["organization"] => Self::Organization,
            ["subscriptions"] => Self::ListSubscriptions,
            ["subscriptions", id] => Self::GetSubscription { id: (*id).to_owned() },
            [application] => {
                let app_id = application.strip_prefix("applications(appId='")?.strip_suffix("')")?;
                Self::Application { app_id: app_id.to_owned() }
            }
            _ => return None,
        })
    }

    fn of_post(segments: &[&str]) -> Option<Self> {
        Some(match segments {
            ["users", id, "getMemberGroups"] => Self::GetMemberGroups { id: (*id).to_owned() },
            ["directoryObjects", "getByIds"] => Self::GetByIds,
            ["subscriptions"] => Self::CreateSubscription,
            ["subscriptions", id, "reauthorize"] => Self::Reauthorize { id: (*id).to_owned() },
            ["$batch"] => Self::Batch,
            _ => return None,
        })
    }

    /// As counters and faults call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Users => "GET /users",
            Self::User { .. } => "GET /users/{id}",
            Self::UserDelta => "GET /users/delta",
            Self::MemberOf { transitive: true, .. } => "GET /users/{id}/transitiveMemberOf",
            Self::MemberOf { transitive: false, .. } => "GET /users/{id}/memberOf",
            Self::GetMemberGroups { .. } => "POST /users/{id}/getMemberGroups",
            Self::GetByIds => "POST /directoryObjects/getByIds",
            Self::Groups => "GET /groups",
            Self::Group { .. } => "GET /groups/{id}",
            Self::GroupDelta => "GET /groups/delta",
            Self::Members { transitive: true, .. } => "GET /groups/{id}/transitiveMembers",
            Self::Members { transitive: false, .. } => "GET /groups/{id}/members",
            Self::GroupMemberOf { transitive: true, .. } => "GET /groups/{id}/transitiveMemberOf",
            Self::GroupMemberOf { transitive: false, .. } => "GET /groups/{id}/memberOf",
            Self::DeletedItem { .. } => "GET /directory/deletedItems/{id}",
            Self::DeletedItems { kind: Kind::Group } => "GET /directory/deletedItems/microsoft.graph.group",
            Self::DeletedItems { .. } => "GET /directory/deletedItems/microsoft.graph.user",
            Self::Organization => "GET /organization",
            Self::Application { .. } => "GET /applications(appId)",
            Self::CreateSubscription => "POST /subscriptions",
            Self::ListSubscriptions => "GET /subscriptions",
            Self::GetSubscription { .. } => "GET /subscriptions/{id}",
            Self::RenewSubscription { .. } => "PATCH /subscriptions/{id}",
            Self::DeleteSubscription { .. } => "DELETE /subscriptions/{id}",
            Self::Reauthorize { .. } => "POST /subscriptions/{id}/reauthorize",
            Self::Batch => "POST /$batch",
        }
    }

    /// All names, so that a fault on a route that does not exist is found out.
    pub const NAMES: [&str; 25] = [
        "GET /users",
        "GET /users/{id}",
        "GET /users/delta",
        "GET /users/{id}/transitiveMemberOf",
        "GET /users/{id}/memberOf",
        "POST /users/{id}/getMemberGroups",
        "POST /directoryObjects/getByIds",
        "GET /groups",
        "GET /groups/{id}",
        "GET /groups/delta",
        "GET /groups/{id}/transitiveMembers",
        "GET /groups/{id}/members",
        "GET /groups/{id}/transitiveMemberOf",
        "GET /groups/{id}/memberOf",
        "GET /directory/deletedItems/{id}",
        "GET /directory/deletedItems/microsoft.graph.group",
        "GET /directory/deletedItems/microsoft.graph.user",
        "GET /organization",
        "GET /applications(appId)",
        "POST /subscriptions",
        "GET /subscriptions",
        "GET /subscriptions/{id}",
        "PATCH /subscriptions/{id}",
        "DELETE /subscriptions/{id}",
        "POST /subscriptions/{id}/reauthorize",
    ];

    /// Resource units (graph-contract.md, section 8).
    pub fn units(&self, query: &Query) -> u64 {
        let base: i64 = match self {
            Self::Members { transitive: true, .. } => 5,
            Self::Members { .. } | Self::GetByIds => 3,
            Self::Users
            | Self::MemberOf { .. }
            | Self::GroupMemberOf { .. }
            | Self::GetMemberGroups { .. }
            | Self::Application { .. } => 2,
            _ => 1,
        };
        let small = query.get("$top").and_then(|top| top.parse::<u32>().ok()).is_some_and(|top| top < 20);
        let discounts = i64::from(query.get("$select").is_some()) + i64::from(small);
        let extra = i64::from(query.get("$expand").is_some());
        u64::try_from((base + extra - discounts).max(1)).unwrap_or(1)
    }

    /// Whether any of these application permissions allows it.
    pub fn permitted(&self, permissions: &[String]) -> bool {
        let any_of = match self {
            Self::Users | Self::User { .. } | Self::UserDelta => USERS,
            Self::DeletedItems { kind: Kind::User } => USERS,
            Self::DeletedItems { .. } | Self::GroupDelta => GROUPS,
            Self::MemberOf { .. } | Self::GetMemberGroups { .. } | Self::Members { .. } => MEMBERS,
            Self::Groups | Self::Group { .. } | Self::GroupMemberOf { .. } => MEMBERS,
            Self::GetByIds | Self::DeletedItem { .. } => OBJECTS,
            Self::Organization => ORGANIZATION,
            Self::Application { .. } => APPLICATION,
            // It depends on what is watched, which the route does not show: see `may_watch`.
            Self::CreateSubscription | Self::RenewSubscription { .. } => return true,
            Self::GetSubscription { .. } | Self::DeleteSubscription { .. } => return true,
            Self::Reauthorize { .. } | Self::ListSubscriptions | Self::Batch => return true,
        };
        has_any(permissions, any_of)
    }
}

/// Whether these permissions allow a subscription to objects of this kind.
pub(super) fn may_watch(kind: Kind, permissions: &[String]) -> bool {
    let any_of = match kind {
        Kind::User => USERS,
        Kind::Group | Kind::Device => GROUPS,
    };
    has_any(permissions, any_of)
}

fn has_any(permissions: &[String], any_of: &[&str]) -> bool {
    permissions.iter().any(|permission| any_of.contains(&permission.as_str()))
}

const USERS: &[&str] = &["User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const GROUPS: &[&str] = &["Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const MEMBERS: &[&str] = &[
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
const OBJECTS: &[&str] = &["Directory.Read.All", "Directory.ReadWrite.All", "User.Read.All", "Group.Read.All"];
const ORGANIZATION: &[&str] = &["Organization.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const APPLICATION: &[&str] = &["Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All"];

/// Nothing, or one cast segment.
fn of_cast(segments: &[&str]) -> Option<Option<Kind>> {
    match segments {
        [] => Some(None),
        [cast] => Kind::of_cast(cast).map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(method: &Method, path: &str, query: &str) -> Option<u64> {
        let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        Route::parse(method, &segments).map(|route| route.units(&Query::parse(query)))
    }

    #[test]
    fn units_are_those_of_the_contract() {
        let get = Method::GET;
        assert_eq!(units(&get, "users/x", ""), Some(1));
        assert_eq!(units(&get, "users/x", "$select=id"), Some(1));
        assert_eq!(units(&get, "users", ""), Some(2));
        assert_eq!(units(&get, "users", "$select=id"), Some(1));
        assert_eq!(units(&get, "groups/x/transitiveMembers", "$select=id"), Some(4));
        assert_eq!(units(&get, "groups/x/transitiveMembers/microsoft.graph.user", "$select=id&$top=10"), Some(3));
        assert_eq!(units(&get, "groups/x/members", ""), Some(3));
        assert_eq!(units(&get, "users/x/transitiveMemberOf", ""), Some(2));
        assert_eq!(units(&Method::POST, "directoryObjects/getByIds", ""), Some(3));
    }

    #[test]
    fn delta_has_both_spellings() {
        let route = |path: &[&str]| {
            Route::parse(&Method::GET, &path.iter().map(|segment| (*segment).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(route(&["users", "delta"]), Some(Route::UserDelta));
        assert_eq!(route(&["users", "delta()"]), Some(Route::UserDelta));
        assert_eq!(route(&["groups", "delta()"]), Some(Route::GroupDelta));
    }
}
