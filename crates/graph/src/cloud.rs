//! Where Graph and the token endpoint are: Microsoft's clouds, or a pair the operator names.

use url::{Host, Url};

use crate::error::{GraphError, LinkFault};

/// Microsoft's clouds [NAT]. Tokens of one are worth nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Worldwide, GCC included.
    Global,
    /// US Government L4 (GCC High).
    UsGov,
    /// US Government L5 (DoD).
    UsGovDod,
    /// China, operated by 21Vianet.
    China,
}

/// A Graph host and the login host that issues its tokens, both checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphEndpoints {
    graph: Url,
    login: Url,
}

impl Cloud {
    /// The two hosts of this cloud.
    pub fn endpoints(self) -> GraphEndpoints {
        let (graph, login) = match self {
            Self::Global => ("https://graph.microsoft.com/", "https://login.microsoftonline.com/"),
            Self::UsGov => ("https://graph.microsoft.us/", "https://login.microsoftonline.us/"),
            Self::UsGovDod => ("https://dod-graph.microsoft.us/", "https://login.microsoftonline.us/"),
            Self::China => ("https://microsoftgraph.chinacloudapi.cn/", "https://login.chinacloudapi.cn/"),
        };
        GraphEndpoints { graph: fixed(graph), login: fixed(login) }
    }
}

/// For the addresses written above only; a test parses every one.
#[expect(clippy::expect_used, reason = "constants of this file, covered by a test")]
fn fixed(address: &str) -> Url {
    Url::parse(address).expect("a constant address")
}

impl GraphEndpoints {
    /// A pair named by the operator: another cloud, or the simulator.
    ///
    /// # Errors
    /// [`GraphError::HostRefused`] unless both are `https`, or `http` to a loopback host, without user-info, path, query
    /// or fragment: a token must not travel in the clear (G-26).
    pub fn custom(graph: Url, login: Url) -> Result<Self, GraphError> {
        check_base("graph", &graph)?;
        check_base("login", &login)?;
        Ok(Self { graph, login })
    }

    /// The Graph host's address, ending in `/`.
    pub fn graph(&self) -> &Url {
        &self.graph
    }

    /// The login host's address, ending in `/`.
    pub fn login(&self) -> &Url {
        &self.login
    }

    /// The scope to ask for: all consented application permissions on this cloud's Graph [CC]. A loopback pair is the
    /// simulator, which plays the worldwide cloud.
    pub(crate) fn scope(&self) -> String {
        if is_loopback(&self.graph) {
            return "https://graph.microsoft.com/.default".to_owned();
        }
        format!("{}.default", self.graph)
    }

    /// Whether a token of this connection may travel to `url` (G-26).
    pub(crate) fn admits(&self, url: &Url) -> Result<(), LinkFault> {
        if url.scheme() != self.graph.scheme() {
            return Err(LinkFault::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LinkFault::UserInfo);
        }
        if url.host() != self.graph.host() {
            return Err(LinkFault::Host);
        }
        if url.port_or_known_default() != self.graph.port_or_known_default() {
            return Err(LinkFault::Port);
        }
        if !url.path().starts_with("/v1.0/") {
            return Err(LinkFault::Path);
        }
        if url.fragment().is_some() {
            return Err(LinkFault::Encoding);
        }
        Ok(())
    }
}

fn check_base(which: &'static str, url: &Url) -> Result<(), GraphError> {
    let secure = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url));
    if !secure {
        return Err(GraphError::HostRefused { which, why: "it must be https (http only to this machine itself)" });
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(GraphError::HostRefused { which, why: "it must be a host and a port, nothing else" });
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pair(graph: &str, login: &str) -> Result<GraphEndpoints, GraphError> {
        GraphEndpoints::custom(graph.parse().unwrap(), login.parse().unwrap())
    }

    #[test]
    fn every_cloud_asks_for_tokens_of_its_own_graph() {
        for (cloud, scope) in [
            (Cloud::Global, "https://graph.microsoft.com/.default"),
            (Cloud::UsGov, "https://graph.microsoft.us/.default"),
            (Cloud::UsGovDod, "https://dod-graph.microsoft.us/.default"),
            (Cloud::China, "https://microsoftgraph.chinacloudapi.cn/.default"),
        ] {
            let endpoints = cloud.endpoints();
            assert_eq!(endpoints.scope(), scope);
            assert!(pair(endpoints.graph().as_str(), endpoints.login().as_str()).is_ok());
        }
    }

    #[test]
    fn g26_plain_http_is_for_this_machine_only() {
        assert!(pair("http://127.0.0.1:9000", "http://localhost:9000").is_ok());
        assert!(pair("http://[::1]:9000", "http://[::1]:9000").is_ok());
        for (graph, login) in [
            ("http://graph.example", "https://login.example"),
            ("https://graph.example", "http://login.example"),
            ("http://127.0.0.1.example", "https://login.example"),
            ("ftp://127.0.0.1", "https://login.example"),
            ("https://graph.example/v1.0/", "https://login.example"),
            ("https://user@graph.example", "https://login.example"),
            ("https://graph.example", "https://login.example/?x=1"),
        ] {
            assert!(matches!(pair(graph, login), Err(GraphError::HostRefused { .. })), "{graph} {login}");
        }
    }
}
