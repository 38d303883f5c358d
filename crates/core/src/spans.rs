//! What the spans of all crates have in common. They tell where time went, to whoever exports them (docs/operations.md); what
//! happened is told by the log, what holds by the store.

use std::fmt::Display;

/// The one target of every span, at level DEBUG. The log never shows it, and nobody else enables it: without an exporter a
/// span is one look at a level.
pub const TARGET: &str = "lockstep::trace";

/// Most ids in one attribute. A span is to be found by them, not to be a list of work.
const MOST_IDS: usize = 100;

/// The first hundred ids as the value of one attribute, with commas between them.
pub fn id_list(ids: impl IntoIterator<Item: Display>) -> String {
    let mut list = String::new();
    for id in ids.into_iter().take(MOST_IDS) {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&id.to_string());
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_holds_a_hundred_ids_and_no_more() {
        assert_eq!(id_list([7]), "7", "one alone is found by equality");
        assert_eq!(id_list([7, 8]), "7,8");
        assert_eq!(id_list(0..1000).split(',').count(), MOST_IDS);
    }
}
