//! Collections: pages of objects, and how values are written into a query.

use std::collections::HashSet;

use lockstep_core::ObjectId;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::byte_serialize;

use crate::call::{Call, Reply, parse};
use crate::client::GraphClient;
use crate::error::{GraphError, LinkFault};
use crate::page_link::PageLink;

/// One object as Graph gave it.
pub(crate) type Object = Map<String, Value>;

/// More pages than any listing has (BI-31).
const MOST_PAGES: usize = 100_000;

/// One page. What in it is no object is only counted: one bad item must not spoil the others.
pub(crate) struct Collection {
    pub objects: Vec<Object>,
    pub malformed: usize,
    pub next: Option<PageLink>,
}

#[derive(Deserialize)]
struct Wire {
    value: Vec<Value>,
    #[serde(rename = "@odata.nextLink", default)]
    next: Option<String>,
}

impl GraphClient {
    /// Reads a page and checks its link, which must not lead back to `current` (BI-30, BI-31).
    pub(crate) fn page(
        &self,
        call: &'static Call,
        body: &[u8],
        current: Option<&PageLink>,
    ) -> Result<Collection, GraphError> {
        let Wire { value, next } = parse(call, body)?;
        let refused = |fault| GraphError::LinkRefused { call: call.name, fault };
        let next = next.map(|link| PageLink::load(&link, self.endpoints())).transpose().map_err(refused)?;
        if next.is_some() && next.as_ref() == current {
            return Err(refused(LinkFault::Repeats));
        }
        let listed = value.len();
        let objects: Vec<Object> = value
            .into_iter()
            .filter_map(|item| if let Value::Object(object) = item { Some(object) } else { None })
            .collect();
        Ok(Collection { malformed: listed - objects.len(), objects, next })
    }

    /// Every object of a collection, or `None` when what it belongs to is not there. All or an error: a part of a list
    /// would be taken for the whole (G-09).
    pub(crate) async fn all(&self, call: &'static Call, first: &Url) -> Result<Option<Vec<Object>>, GraphError> {
        let reply = self.get(call, first).await?;
        self.all_of(call, reply).await
    }

    /// The same for a first page that is here already.
    pub(crate) async fn all_of(&self, call: &'static Call, first: Reply) -> Result<Option<Vec<Object>>, GraphError> {
        let Some(body) = first.found(call)? else {
            return Ok(None);
        };
        let page = self.page(call, &body, None)?;
        self.rest(call, page).await.map(Some)
    }

    /// The objects of a first page and of all that follow it.
    pub(crate) async fn rest(&self, call: &'static Call, first: Collection) -> Result<Vec<Object>, GraphError> {
        let mut followed = HashSet::new();
        let mut page = first;
        let mut objects = Vec::new();
        loop {
            if page.malformed > 0 {
                return Err(GraphError::BadAnswer { call: call.name, what: "a list of something else than objects" });
            }
            objects.append(&mut page.objects);
            let Some(link) = page.next else {
                return Ok(objects);
            };
            let fault = (followed.len() >= MOST_PAGES).then_some(LinkFault::TooManyPages);
            if let Some(fault) = fault.or_else(|| (!followed.insert(link.clone())).then_some(LinkFault::Repeats)) {
                return Err(GraphError::LinkRefused { call: call.name, fault });
            }
            let reply = self.follow(call, &link).await?.found(call)?;
            let gone = GraphError::BadAnswer { call: call.name, what: "a page that vanished" };
            page = self.page(call, &reply.ok_or(gone)?, Some(&link))?;
        }
    }
}

/// The object's id, if it is one in the one form that counts (BI-23, BI-33).
pub(crate) fn object_id(object: &Object) -> Option<ObjectId> {
    object.get("id")?.as_str()?.parse().ok()
}

/// A text as a literal in a filter: in quotes, quotes doubled.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A query part, percent-encoded; blanks as `%20`, since a plus would be read as one in some places only.
pub(crate) fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th09_a_quote_in_an_address_stays_inside_its_literal() {
        assert_eq!(literal("o'hara@x.example' or mail ne '"), "'o''hara@x.example'' or mail ne '''");
        assert_eq!(encoded("mail eq 'a+b@x&y'"), "mail%20eq%20%27a%2Bb%40x%26y%27");
    }
}
