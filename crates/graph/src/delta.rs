//! Delta: what changed since the last round (G-12, BI-30, BI-31). Rows are hints; what they say of removal is judged by a
//! read of that object by id (G-09, BI-38).

use std::fmt;
use std::sync::LazyLock;

use lockstep_core::profile;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{Call, Priority, Refusal, Reply, parse};
use crate::client::GraphClient;
use crate::cloud::GraphEndpoints;
use crate::delta_row::{GroupRow, UserRow};
use crate::error::{GraphError, LinkFault};
use crate::odata::Object;
use crate::page_link::PageLink;
use crate::subscription::WatchedResource;

/// The narrow round over users: what access hangs on. A deleted user shows as `@removed`, a restored one like a new one
/// [DELTA25], whose `createdDateTime` is older.
pub const DELTA_ACCESS: &[&str] = &["id", "createdDateTime", "accountEnabled", "userType", "externalUserState"];
/// The wide round over users: everything that is mirrored; without `manager` no change of that would show [DELTA25].
pub static DELTA_PROFILE: LazyLock<Vec<&str>> =
    LazyLock::new(|| profile::SELECT.iter().copied().chain(["manager"]).collect());
/// The round over groups; without `members` no change of members would show [GD].
pub const DELTA_GROUPS: &[&str] = &["id", "displayName", "createdDateTime", "visibility", "securityEnabled", "members"];

static USERS: Feed = Feed {
    call: Call { name: "GET /users/delta", permission: "User.Read.All", priority: Priority::Low },
    resource: WatchedResource::Users,
};
static GROUPS: Feed = Feed {
    call: Call { name: "GET /groups/delta", permission: "Group.Read.All", priority: Priority::Low },
    resource: WatchedResource::Groups,
};

/// One page of a round.
#[derive(Clone, Debug)]
pub struct DeltaPage<Row> {
    /// What it tells, in Graph's order. The same object may come again on this page or another, a large group is spread
    /// over several pages [DG], and an empty page is not the end [DELTA25].
    pub rows: Vec<Row>,
    /// Rows, or members in them, that could not be used (BI-33): then the round is not complete.
    pub refused: usize,
    /// Where it goes on.
    pub next: DeltaNext,
}

/// What follows a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeltaNext {
    /// A further page of this round: a checkpoint once this page's effects are committed (G-12).
    Next(PageLink),
    /// The round is over: this is where the next one begins.
    Done(DeltaLink),
}

/// Where a round begins, to be stored only when the effects of every page before it are committed (G-12). Checked like
/// every [`PageLink`]: when received, when loaded and when sent.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeltaLink(PageLink);

/// One of the two deltas.
struct Feed {
    call: Call,
    resource: WatchedResource,
}

#[derive(Deserialize)]
struct Wire {
    value: Vec<Value>,
    #[serde(rename = "@odata.nextLink", default)]
    next: Option<String>,
    #[serde(rename = "@odata.deltaLink", default)]
    delta: Option<String>,
}

impl DeltaLink {
    /// A link from the store, checked against the connection's endpoints of today.
    ///
    /// # Errors
    /// What is wrong with it; the operator must be told (BI-30, TH-18).
    pub fn load(link: &str, endpoints: &GraphEndpoints) -> Result<Self, LinkFault> {
        PageLink::load(link, endpoints).map(Self)
    }

    /// The link as text, for the store.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The first page of the round that begins here.
    pub fn as_page(&self) -> &PageLink {
        &self.0
    }
}

impl fmt::Debug for DeltaLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeltaLink")
    }
}

impl GraphClient {
    /// Begins to follow users from now on, without telling what is there already: take it *before* a listing, so that
    /// nothing falls between the two [DELTA25]. `select` is [`DELTA_ACCESS`] or [`DELTA_PROFILE`]; only what is selected
    /// is tracked. The page is empty and [`DeltaNext::Done`], unless Graph does not take "latest" and tells everything:
    /// then the round goes on like any other.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub async fn user_delta_latest(&self, select: &[&str]) -> Result<DeltaPage<UserRow>, GraphError> {
        self.delta_latest(&USERS, select, UserRow::from_graph).await
    }

    /// The page of a round over users that `link` leads to: a [`DeltaNext::Next`], or [`DeltaLink::as_page`].
    ///
    /// # Errors
    /// See [`GraphError`]; [`GraphError::DeltaExpired`] when Graph no longer knows the round (FA-13). A next link that
    /// repeats `link` is refused; longer circles, and rounds of more than 100,000 pages, are the caller's to find
    /// (BI-31).
    pub async fn user_delta_page(&self, link: &PageLink) -> Result<DeltaPage<UserRow>, GraphError> {
        self.delta_page(&USERS, link, UserRow::from_graph).await
    }

    /// Begins to follow groups and their direct members, like [`GraphClient::user_delta_latest`]. `select` is
    /// [`DELTA_GROUPS`].
    ///
    /// # Errors
    /// See [`GraphError`].
    pub async fn group_delta_latest(&self, select: &[&str]) -> Result<DeltaPage<GroupRow>, GraphError> {
        self.delta_latest(&GROUPS, select, GroupRow::from_graph).await
    }

    /// The page of a round over groups that `link` leads to, like [`GraphClient::user_delta_page`].
    ///
    /// # Errors
    /// As [`GraphClient::user_delta_page`].
    pub async fn group_delta_page(&self, link: &PageLink) -> Result<DeltaPage<GroupRow>, GraphError> {
        self.delta_page(&GROUPS, link, GroupRow::from_graph).await
    }

    async fn delta_latest<Row>(
        &self,
        feed: &'static Feed,
        select: &[&str],
        read: fn(Object) -> Option<(Row, usize)>,
    ) -> Result<DeltaPage<Row>, GraphError> {
        let query = format!("$select={}&$deltatoken=latest", select.join(","));
        let url = self.address(&[feed.resource.as_str(), "delta"], Some(&query));
        let body = self.get(&feed.call, &url).await?.body(&feed.call)?;
        feed.page(&body, None, self.endpoints(), read)
    }

    async fn delta_page<Row>(
        &self,
        feed: &'static Feed,
        link: &PageLink,
        read: fn(Object) -> Option<(Row, usize)>,
    ) -> Result<DeltaPage<Row>, GraphError> {
        feed.check(link, self.endpoints()).map_err(|fault| feed.refused(fault))?;
        let body = match self.follow(&feed.call, link).await? {
            // The `Location` of a 410 is not looked at: where to begin anew is known here (TH-15).
            Reply::Refused(refusal) if is_expired(&refusal) => {
                return Err(GraphError::DeltaExpired { call: feed.call.name });
            }
            reply => reply.body(&feed.call)?,
        };
        feed.page(&body, Some(link), self.endpoints(), read)
    }
}

/// Every way in which Graph was seen to say that it no longer knows where a round stood [DELTA25] [DLEXP]. The call that
/// got it carried a token of the round, so the last code can mean nothing else.
fn is_expired(refusal: &Refusal) -> bool {
    let codes = ["syncStateNotFound", "resyncRequired", "Directory_ExpiredPageToken", "Request_UnsupportedQuery"];
    refusal.status == 410 || (matches!(refusal.status, 400 | 404) && codes.iter().any(|code| refusal.names(code)))
}

impl Feed {
    fn refused(&self, fault: LinkFault) -> GraphError {
        GraphError::LinkRefused { call: self.call.name, fault }
    }

    /// Whether a link leads to this delta, with a place in it: without one Graph would begin anew, with "latest" it would
    /// skip what happened meanwhile, and both would pass for a good round.
    fn check(&self, link: &PageLink, endpoints: &GraphEndpoints) -> Result<(), LinkFault> {
        let url = link.to_url(endpoints)?;
        let path = url.path().to_ascii_lowercase();
        let function = path.strip_prefix("/v1.0/").and_then(|path| path.strip_prefix(self.resource.as_str()));
        let is_delta =
            matches!(function, Some("/delta" | "/delta()" | "/microsoft.graph.delta" | "/microsoft.graph.delta()"));
        let mut query = url.query_pairs();
        let has_place = query.any(|(name, value)| {
            let is_token = ["$deltatoken", "$skiptoken"].iter().any(|token| name.eq_ignore_ascii_case(token));
            is_token && !value.is_empty() && !value.eq_ignore_ascii_case("latest")
        });
        if is_delta && has_place { Ok(()) } else { Err(LinkFault::NotThisDelta) }
    }

    fn page<Row>(
        &'static self,
        body: &[u8],
        current: Option<&PageLink>,
        endpoints: &GraphEndpoints,
        read: fn(Object) -> Option<(Row, usize)>,
    ) -> Result<DeltaPage<Row>, GraphError> {
        let Wire { value, next, delta } = parse(&self.call, body)?;
        let next = match (next, delta) {
            (Some(next), None) => DeltaNext::Next(self.link(&next, endpoints)?),
            (None, Some(delta)) => DeltaNext::Done(DeltaLink(self.link(&delta, endpoints)?)),
            // Never both on a page [DELTA25]; without any the round would end with nothing to go on from.
            (Some(_), Some(_)) | (None, None) => {
                let what = "a delta page without exactly one link";
                return Err(GraphError::BadAnswer { call: self.call.name, what });
            }
        };
        if matches!(&next, DeltaNext::Next(link) if Some(link) == current) {
            return Err(self.refused(LinkFault::Repeats));
        }
        let mut page = DeltaPage { rows: Vec::with_capacity(value.len()), refused: 0, next };
        for item in value {
            match if let Value::Object(object) = item { read(object) } else { None } {
                Some((row, refused)) => {
                    page.rows.push(row);
                    page.refused += refused;
                }
                None => page.refused += 1,
            }
        }
        Ok(page)
    }

    fn link(&self, link: &str, endpoints: &GraphEndpoints) -> Result<PageLink, GraphError> {
        let link = PageLink::load(link, endpoints).map_err(|fault| self.refused(fault))?;
        self.check(&link, endpoints).map_err(|fault| self.refused(fault))?;
        Ok(link)
    }
}
