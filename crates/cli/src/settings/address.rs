//! Addresses in settings: what may be http, and where a token may go.

use std::net::SocketAddr;

use url::{Host, Url};

use super::BadSettings;

pub fn url(name: &str, given: Option<String>) -> Result<Option<Url>, BadSettings> {
    let Some(text) = given else { return Ok(None) };
    let url = Url::parse(&text).map_err(|error| BadSettings(format!("{name} is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(BadSettings(format!("{name} must start with https:// and name a host")));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(BadSettings(format!("{name} must hold no user, no query and no fragment")));
    }
    Ok(Some(url))
}

pub fn socket(name: &str, given: Option<String>, default: SocketAddr) -> Result<SocketAddr, BadSettings> {
    given.map_or(Ok(default), |text| {
        text.parse().map_err(|_| BadSettings(format!("{name} must be an address and a port, like {default}")))
    })
}

/// Whether Graph is a simulator on this machine. A token must never travel in the clear, so http is for loopback only.
pub fn check_simulator(graph: Option<&Url>, login: Option<&Url>) -> Result<bool, BadSettings> {
    for (name, url) in [("LOCKSTEP_GRAPH_URL", graph), ("LOCKSTEP_LOGIN_URL", login)] {
        if url.is_some_and(|url| url.scheme() == "http" && !is_loopback(url)) {
            return Err(BadSettings(format!("{name} may be http on this machine only (127.0.0.1, ::1); use https")));
        }
    }
    match (graph, login) {
        (Some(graph), Some(login)) => Ok(is_loopback(graph) && is_loopback(login)),
        (None, None) => Ok(false),
        _ => Err(BadSettings("LOCKSTEP_GRAPH_URL and LOCKSTEP_LOGIN_URL go together: set both or neither".to_owned())),
    }
}

pub fn check_public(public: Option<&Url>, simulated: bool) -> Result<(), BadSettings> {
    if public.is_some_and(|url| url.scheme() == "http") && !simulated {
        return Err(BadSettings(
            "LOCKSTEP_PUBLIC_URL must be https: Microsoft calls nothing else (http only with a simulator on this machine)"
                .to_owned(),
        ));
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
