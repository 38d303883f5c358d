//! Enum values as the words of JSON: `active`, `in_work`. One spelling for output, filters and tables.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The word of a value that serialises to one.
pub fn word<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// The value of a word; the error lists the words there are.
pub fn from_word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|error| error.to_string())
}

/// Several words in one table cell.
pub fn words<T: Serialize>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use lockstep_core::record::Status;

    use super::*;

    #[test]
    fn a_filter_takes_the_words_that_json_shows() {
        assert_eq!(word(Status::Active), "active");
        assert_eq!(from_word::<Status>("active"), Ok(Status::Active));
        let error = from_word::<Status>("Active").expect_err("refused");
        assert!(error.contains("inactive") && error.contains("archived"), "{error}");
    }
}
