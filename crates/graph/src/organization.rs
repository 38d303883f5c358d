//! The tenant itself: proves which one the token belongs to (BI-40), and which domains are its own (TH-09).

use lockstep_core::ObjectId;
use serde::Deserialize;

use crate::call::{Call, Priority, parse};
use crate::client::GraphClient;
use crate::error::GraphError;

static READ: Call = Call { name: "GET /organization", permission: "User.Read.All", priority: Priority::Normal };

/// The tenant as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// The tenant id: must equal the connection's before anything is applied (BI-40).
    pub id: ObjectId,
    /// The organization's name.
    pub display_name: String,
    /// Verified domains in lower case, without blanks.
    pub verified_domains: Vec<String>,
}

#[derive(Deserialize)]
struct Wire {
    value: Vec<WireOrganization>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireOrganization {
    id: String,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    verified_domains: Vec<WireDomain>,
}

#[derive(Deserialize)]
struct WireDomain {
    name: String,
}

impl GraphClient {
    /// Reads the organization the token belongs to.
    ///
    /// # Errors
    /// See [`GraphError`]; anything but exactly one organization with an id is a bad answer.
    pub async fn organization(&self) -> Result<Organization, GraphError> {
        let url = self.address(&["organization"], Some("$select=id,displayName,verifiedDomains"));
        let body = self.get(&READ, &url).await?.body(&READ)?;
        let Wire { value } = parse(&READ, &body)?;
        let bad = |what| GraphError::BadAnswer { call: READ.name, what };
        let [found]: [WireOrganization; 1] = value.try_into().map_err(|_| bad("not exactly one organization"))?;
        let id = found.id.parse().map_err(|_| bad("an organization without a usable id"))?;
        let domains = found.verified_domains.into_iter().map(|domain| domain.name.trim().to_ascii_lowercase());
        Ok(Organization {
            id,
            display_name: found.display_name.unwrap_or_default(),
            verified_domains: domains.collect(),
        })
    }
}
