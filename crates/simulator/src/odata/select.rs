//! `$select`: which properties an answer shows. What is not selected is absent, which is not the
//! same as `false` or `null`.

use serde_json::{Map, Value, json};

use crate::directory::Seen;
use crate::directory::schema::{Kind, Property};
use crate::graph::answer::Failure;

/// The properties asked for; `None` is the default set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Select(pub Option<Vec<String>>);

impl Select {
    /// Reads `$select`; every name must be a property (or, for `extra`, a relation) of one of the kinds.
    pub fn parse(raw: Option<&str>, kinds: &[Kind], extra: &[&str]) -> Result<Self, Failure> {
        let Some(raw) = raw else {
            return Ok(Self(None));
        };
        let names: Vec<String> = raw.split(',').map(|name| name.trim().to_owned()).collect();
        let known = |name: &String| {
            name.starts_with("extension_")
                || extra.contains(&name.as_str())
                || kinds.iter().any(|kind| kind.property(name).is_some())
        };
        match names.iter().find(|name| !known(name)) {
            Some(name) => Err(Failure::bad_request(format!(
                "Could not find a property named '{name}' on type 'microsoft.graph.{}'.",
                kinds.first().map_or("directoryObject", |kind| kind.word())
            ))),
            None => Ok(Self(Some(names))),
        }
    }

    /// Whether the property (or relation) was asked for by name.
    pub fn names(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|names| names.iter().any(|known| known == name))
    }

    /// The object as an answer shows it.
    pub fn show(&self, seen: &Seen<'_>) -> Map<String, Value> {
        let mut shown = Map::new();
        match &self.0 {
            None => shown.extend(seen.kind.default_properties().map(|property| value(seen, property))),
            Some(names) => {
                let known = names.iter().filter_map(|name| seen.kind.property(name));
                shown.extend(known.map(|property| value(seen, property)));
                let extensions = names.iter().filter(|name| name.starts_with("extension_"));
                let set = extensions.filter_map(|name| Some((name.clone(), seen.properties.get(name)?.clone())));
                shown.extend(set);
            }
        }
        shown
    }

    /// The object as a delta row shows it: never-set properties are absent, the id is always there.
    pub fn show_delta(&self, seen: &Seen<'_>, only: Option<&[String]>) -> Map<String, Value> {
        let mut shown = self.show(seen);
        shown.retain(|name, _| seen.properties.get(name).is_some());
        if let Some(only) = only {
            shown.retain(|name, _| only.contains(name));
        }
        shown.insert("id".to_owned(), json!(seen.id));
        shown
    }

    /// As in `@odata.context`: `(id,mail)` or nothing.
    pub fn context(&self) -> String {
        self.0.as_ref().map(|names| format!("({})", names.join(","))).unwrap_or_default()
    }
}

fn value(seen: &Seen<'_>, property: &Property) -> (String, Value) {
    let value = match property.name {
        "id" => json!(seen.id),
        name => seen.properties.get(name).cloned().unwrap_or_else(|| property.unset()),
    };
    (property.name.to_owned(), value)
}
