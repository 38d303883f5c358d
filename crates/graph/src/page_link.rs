//! Links between pages: the one place where an answer of Graph could send our token elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::cloud::GraphEndpoints;
use crate::error::LinkFault;

/// 8 KiB (BI-30).
const LONGEST: usize = 8 * 1024;

/// A `nextLink`, kept as Graph spelled it. Checked when received, when loaded from a checkpoint ([`PageLink::load`]) and
/// again when sent: a link that came in by deserialising goes nowhere unchecked (TH-15).
///
/// `Debug` shows no link, since its token is as good as a query.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PageLink(String);

impl PageLink {
    /// A link from a checkpoint, checked against the connection's endpoints of today.
    ///
    /// # Errors
    /// What is wrong with it; the run must be aborted and the operator told (BI-30).
    pub fn load(link: &str, endpoints: &GraphEndpoints) -> Result<Self, LinkFault> {
        Self::check(link, endpoints).map(|_| Self(link.to_owned()))
    }

    /// The link as text, for a checkpoint.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address to send to, checked now.
    pub(crate) fn to_url(&self, endpoints: &GraphEndpoints) -> Result<Url, LinkFault> {
        Self::check(&self.0, endpoints)
    }

    fn check(link: &str, endpoints: &GraphEndpoints) -> Result<Url, LinkFault> {
        if link.len() > LONGEST {
            return Err(LinkFault::TooLong);
        }
        // Parsers drop tabs and line ends and read a backslash as a slash: what we judge must be what is sent.
        if link.chars().any(|c| c == '\\' || !c.is_ascii_graphic()) {
            return Err(LinkFault::Encoding);
        }
        let url = Url::parse(link).map_err(|_| LinkFault::NotAUrl)?;
        endpoints.admits(&url)?;
        let path = link.split(['?', '#']).next().unwrap_or(link).to_ascii_lowercase();
        let hidden = ["%2e", "%2f", "%5c", "%25", "%00", "/../", "/./"].iter().any(|trick| path.contains(trick));
        if hidden { Err(LinkFault::Encoding) } else { Ok(url) }
    }
}

impl fmt::Debug for PageLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageLink")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cloud::Cloud;

    #[test]
    fn bi30_a_link_below_v1_of_the_own_graph_is_followed() {
        let global = Cloud::Global.endpoints();
        for link in [
            "https://graph.microsoft.com/v1.0/groups/d5/transitiveMembers?$skiptoken=CCCC",
            "https://graph.microsoft.com:443/v1.0/users/delta?$skiptoken=a%2Fb%2E%5C",
            "https://GRAPH.microsoft.com/v1.0/directory/deletedItems/microsoft.graph.user?$skiptoken=x",
        ] {
            assert_eq!(PageLink::load(link, &global).unwrap().as_str(), link);
        }
    }

    #[test]
    fn bi30_th15_every_other_link_is_refused() {
        let global = Cloud::Global.endpoints();
        let long = format!("https://graph.microsoft.com/v1.0/users?$skiptoken={}", "a".repeat(8 * 1024));
        for (link, fault) in [
            ("https://graph.microsoft.com.evil.example/v1.0/users", LinkFault::Host),
            ("https://evil.example/v1.0/users", LinkFault::Host),
            ("https://graph.microsoft.us/v1.0/users", LinkFault::Host),
            ("https://graph.microsoft.com./v1.0/users", LinkFault::Host),
            ("https://evil.example/https://graph.microsoft.com/v1.0/", LinkFault::Host),
            ("https://graph.microsoft.com%2eevil.example/v1.0/", LinkFault::Host),
            ("http://graph.microsoft.com/v1.0/users", LinkFault::Scheme),
            ("javascript:alert(1)", LinkFault::Scheme),
            ("file:///v1.0/users", LinkFault::Scheme),
            ("https://graph.microsoft.com:8443/v1.0/users", LinkFault::Port),
            ("https://graph.microsoft.com@evil.example/v1.0/users", LinkFault::UserInfo),
            ("https://user:pass@graph.microsoft.com/v1.0/users", LinkFault::UserInfo),
            ("https://graph.microsoft.com/beta/users", LinkFault::Path),
            ("https://graph.microsoft.com/v1.0", LinkFault::Path),
            ("https://graph.microsoft.com//v1.0/users", LinkFault::Path),
            ("https://graph.microsoft.com/v1.0/../beta/users", LinkFault::Path),
            ("https://graph.microsoft.com/v1.0/%2e%2e/beta/users", LinkFault::Path),
            ("https://graph.microsoft.com/v1.0/users/../me", LinkFault::Encoding),
            ("https://graph.microsoft.com/v1.0/%2E%2E%2Fbeta", LinkFault::Encoding),
            ("https://graph.microsoft.com/v1.0/users%5c..%5cme", LinkFault::Encoding),
            ("https://graph.microsoft.com/v1.0/users%252e", LinkFault::Encoding),
            ("https://graph.microsoft.com\\@evil.example/v1.0/users", LinkFault::Encoding),
            ("https://graph.micro\tsoft.com/v1.0/users", LinkFault::Encoding),
            ("https://graph.microsoft.com/v1.0/users\r\nHost: evil", LinkFault::Encoding),
            (" https://graph.microsoft.com/v1.0/users", LinkFault::Encoding),
            ("https://gr\u{430}ph.microsoft.com/v1.0/users", LinkFault::Encoding),
            ("https://graph.microsoft.com/v1.0/users#x", LinkFault::Encoding),
            ("/v1.0/users?$skiptoken=x", LinkFault::NotAUrl),
            ("", LinkFault::NotAUrl),
            (long.as_str(), LinkFault::TooLong),
        ] {
            assert_eq!(PageLink::load(link, &global), Err(fault), "{}", &link[..link.len().min(80)]);
        }
    }

    #[test]
    fn th15_a_planted_link_is_caught_when_it_is_sent_too() {
        let planted: PageLink = serde_json::from_str(r#""https://evil.example/v1.0/users""#).unwrap();
        assert_eq!(planted.to_url(&Cloud::Global.endpoints()), Err(LinkFault::Host));
        assert!(!format!("{planted:?}").contains("evil"));
    }

    #[test]
    fn a_loopback_pair_follows_links_to_its_own_port_only() {
        let base: Url = "http://127.0.0.1:9000".parse().unwrap();
        let simulator = GraphEndpoints::custom(base.clone(), base).unwrap();
        assert!(PageLink::load("http://127.0.0.1:9000/v1.0/users?$skiptoken=1", &simulator).is_ok());
        assert_eq!(PageLink::load("http://127.0.0.1:9001/v1.0/users", &simulator), Err(LinkFault::Port));
        assert_eq!(PageLink::load("http://localhost:9000/v1.0/users", &simulator), Err(LinkFault::Host));
    }
}
