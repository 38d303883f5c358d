//! The query string, and tokens that continue a listing.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::graph::answer::Failure;

/// The decoded options of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(raw: &str) -> Self {
        Self(form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    /// The option, written with or without `$`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let bare = |name: &str| name.trim_start_matches('$').to_ascii_lowercase();
        let found = self.0.iter().find(|(key, _)| bare(key) == bare(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The same options with this one set.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let others = self.0.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(name));
        query.extend_pairs(others);
        query.append_pair(name, value);
        // Graph writes the dollar of its options as it is.
        query.finish().replace("%24", "$")
    }

    /// All options, encoded again.
    pub fn text(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.0);
        query.finish().replace("%24", "$")
    }

    /// `$top`, 100 if absent; 1 to 999.
    pub fn top(&self) -> Result<usize, Failure> {
        match self.get("$top").map(str::parse::<usize>) {
            None => Ok(100),
            Some(Ok(top @ 1..=999)) => Ok(top),
            Some(_) => Err(Failure::bad_request("Invalid page size specified: it must be between 1 and 999.")),
        }
    }

    /// Refuses options this simulator does not play, so that no client leans on them unnoticed.
    pub fn refuse(&self, names: &[&str]) -> Result<(), Failure> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(Failure::unsupported(format!("The query option '{name}' is not supported here."))),
            None => Ok(()),
        }
    }
}

/// An opaque token that carries this.
pub(crate) fn token<T: Serialize>(content: &T) -> String {
    let json = serde_json::to_vec(content).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(json)
}

/// What a token of ours carries; a token that is not ours is a bad request.
pub(crate) fn read_token<T: DeserializeOwned>(token: &str) -> Result<T, Failure> {
    let json = URL_SAFE_NO_PAD.decode(token).ok();
    let content = json.and_then(|json| serde_json::from_slice(&json).ok());
    content.ok_or_else(|| Failure::bad_request("Badly formed token."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_link_keeps_the_other_options() {
        let query = Query::parse("$select=id%2Cmail&$top=2&$skiptoken=old");
        assert_eq!(query.with("$skiptoken", "new"), "$select=id%2Cmail&$top=2&$skiptoken=new");
    }

    #[test]
    fn a_page_holds_1_to_999_and_100_unless_asked() {
        assert_eq!(Query::parse("").top().ok(), Some(100));
        assert_eq!(Query::parse("$top=999").top().ok(), Some(999));
        assert!(Query::parse("$top=1000").top().is_err());
        assert!(Query::parse("$top=0").top().is_err());
    }
}
