//! The handshake: proof that whoever asked for notifications owns the URL.

use std::time::Duration;

use url::{Host, Url};
use uuid::Uuid;

use super::Sender;
use crate::graph::answer::Failure;

/// How long the endpoint has to answer, in real time.
const LIMIT: Duration = Duration::from_secs(10);

/// Checks that the URL may receive notifications: https, or http on loopback.
pub(crate) fn check_url(url: &str) -> Result<Url, Failure> {
    let parsed =
        Url::parse(url).map_err(|_| Failure::new(400, "InvalidRequest", "The notification URL is not a URL."))?;
    let loopback = match parsed.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if loopback => Ok(parsed),
        _ => Err(Failure::new(400, "InvalidRequest", "The notification URL must be https.")),
    }
}

impl Sender {
    /// Asks the endpoint to echo a token; anything but 200, `text/plain` and the exact decoded
    /// token within 10 s refuses the subscription.
    pub async fn shake_hands(&self, url: &Url) -> Result<(), Failure> {
        let token = format!(
            "Validation: Testing client application reachability for subscription Request-Id: {}",
            Uuid::new_v4()
        );
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("validationToken", &token);
        let answer = tokio::time::timeout(LIMIT, self.ask(url)).await;
        match answer {
            Ok(Ok(echo)) if echo == token => Ok(()),
            Ok(Ok(_)) => Err(refused("Validation token must be echoed as it was, decoded, in a text/plain body.")),
            Ok(Err(why)) => Err(refused(why)),
            Err(_) => Err(refused("Notification endpoint did not answer the validation request within 10 seconds.")),
        }
    }

    async fn ask(&self, url: Url) -> Result<String, &'static str> {
        const UNREACHABLE: &str = "Notification endpoint could not be reached.";
        let post = self.http.post(url).header("Content-Type", "text/plain; charset=utf-8");
        let answer = post.send().await.map_err(|_| UNREACHABLE)?;
        if answer.status() != 200 {
            return Err("Notification endpoint must respond with 200 OK to validation request.");
        }
        let kind = answer.headers().get("Content-Type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("text/plain") {
            return Err("Notification endpoint must answer the validation request with text/plain.");
        }
        answer.text().await.map_err(|_| UNREACHABLE)
    }
}

fn refused(why: &str) -> Failure {
    Failure::new(400, "InvalidRequest", format!("Subscription validation request failed. {why}"))
}
