//! The properties of one object, told apart in never set, cleared (`null`) and set.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::schema::Kind;

/// Properties by Graph name, sorted. Only what was ever set takes memory: a tenant of 100,000
/// people is kept whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Properties(Vec<(Cow<'static, str>, Value)>);

impl Properties {
    /// The value if it was ever set; `null` if it was cleared.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let at = self.position(name).ok()?;
        Some(&self.0[at].1)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// True only if the property is `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some(&Value::Bool(true))
    }

    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// Sets the property; says whether that changed anything.
    pub fn set(&mut self, kind: Kind, name: &str, value: Value) -> bool {
        match self.position(name) {
            Ok(at) if self.0[at].1 == value => false,
            Ok(at) => {
                self.0[at].1 = value;
                true
            }
            Err(at) => {
                let name =
                    kind.property(name).map_or_else(|| Cow::Owned(name.to_owned()), |known| Cow::Borrowed(known.name));
                self.0.insert(at, (name, value));
                true
            }
        }
    }

    /// Sets many; answers the names of those that changed.
    pub fn set_all(&mut self, kind: Kind, values: Map<String, Value>) -> Vec<String> {
        let changed = values.into_iter().filter_map(|(name, value)| self.set(kind, &name, value).then_some(name));
        changed.collect()
    }

    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    /// Everything ever set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value))
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_ref().cmp(name))
    }
}
