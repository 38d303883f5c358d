//! Graph asks at a create or renew whether the address is ours: `?validationToken=…`, to be echoed decoded [WH26] [VAL].

use percent_encoding::percent_decode_str;

/// Longer tokens are refused.
const MAX_TOKEN: usize = 2 * 1024;

/// The token cannot be echoed (BI-04).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadToken;

/// `None`: this is no handshake. Anyone may call: only text that no browser could take for a page is echoed (TH-07).
pub(crate) fn validation_token(query: Option<&str>) -> Option<Result<String, BadToken>> {
    let mut tokens = query?.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == "validationToken").then_some(value)
    });
    let first = tokens.next()?;
    if tokens.next().is_some() {
        return Some(Err(BadToken));
    }
    Some(decoded(first))
}

fn decoded(value: &str) -> Result<String, BadToken> {
    // Microsoft writes a space as `+`.
    let spaced = value.replace('+', " ");
    let token = percent_decode_str(&spaced).decode_utf8().map_err(|_| BadToken)?;
    let harmless = |c: char| !c.is_control() && !matches!(c, '<' | '>');
    if token.is_empty() || token.len() > MAX_TOKEN || !token.chars().all(harmless) {
        return Err(BadToken);
    }
    Ok(token.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(query: &str) -> Option<Result<String, BadToken>> {
        validation_token(Some(query))
    }

    #[test]
    fn the_token_is_echoed_decoded() {
        let asked = "validationToken=Validation%3a+Testing%20client+%C3%A9%2B1";
        assert_eq!(token(asked), Some(Ok("Validation: Testing client é+1".to_owned())));
        assert_eq!(token("a=b&validationToken=t&c"), Some(Ok("t".to_owned())));
    }

    #[test]
    fn bi_04_what_is_not_plain_text_is_refused() {
        let long = format!("validationToken={}", "a".repeat(2_049));
        for query in [
            "validationToken=",
            "validationToken",
            "validationToken=a&validationToken=b",
            "validationToken=%3Cscript%3E",
            "validationToken=a%0d%0ab",
            "validationToken=%C2%85",
            "validationToken=%ff",
            &long,
        ] {
            assert_eq!(token(query), Some(Err(BadToken)), "{query}");
        }
    }

    #[test]
    fn other_requests_are_no_handshake() {
        assert_eq!(validation_token(None), None);
        assert_eq!(token("validationtoken=a"), None);
    }
}
