//! Who owns an address: Graph is asked before a record is linked by e-mail, because the mirror knows only people in
//! scope (TH-09).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lockstep_core::ObjectId;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::call::{Call, Priority, Reply, RetryAfter, parse};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::odata::{encoded, literal, object_id};

static ASK: Call = Call { name: "POST /$batch", permission: "User.Read.All", priority: Priority::Normal };

/// Most requests in one `$batch` [BATCH].
const MOST_REQUESTS: usize = 20;

#[derive(Deserialize)]
struct Batch {
    responses: Vec<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    id: String,
    status: u16,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Value,
}

impl GraphClient {
    /// Everybody in the tenant who has one of these as mail, sign-in name or proxy address, by address as given. An
    /// address nobody has is there with an empty set.
    ///
    /// # Errors
    /// See [`GraphError`]; all or nothing: an address left out would read as one nobody has.
    pub async fn address_owners(
        &self,
        addresses: &[String],
    ) -> Result<BTreeMap<String, BTreeSet<ObjectId>>, GraphError> {
        let mut owners = BTreeMap::new();
        for some in addresses.chunks(MOST_REQUESTS) {
            let requests: Vec<Value> =
                some.iter().enumerate().map(|(place, address)| request(place, address)).collect();
            let url = self.address(&["$batch"], None);
            let reply = self.post(&ASK, &url, &json!({ "requests": requests })).await?.body(&ASK)?;
            let mut answers = by_place(parse(&ASK, &reply)?)?;
            for (place, address) in some.iter().enumerate() {
                let missing = GraphError::BadAnswer { call: ASK.name, what: "a batch with answers left out" };
                let answer = answers.remove(&place).ok_or(missing)?;
                owners.insert(address.clone(), self.ids_in(answer).await?);
            }
        }
        Ok(owners)
    }

    async fn ids_in(&self, answer: Inner) -> Result<BTreeSet<ObjectId>, GraphError> {
        let body = self.judge_inner(answer)?;
        let first = self.page(&ASK, &body, None)?;
        let refused = GraphError::ObjectRefused { call: ASK.name, id: None, why: "a user without a usable id" };
        let users = self.rest(&ASK, first).await?;
        users.iter().map(|user| object_id(user).ok_or(refused.clone())).collect()
    }

    /// Each answer in a batch is throttled and fails by itself [BATCH].
    fn judge_inner(&self, answer: Inner) -> Result<Vec<u8>, GraphError> {
        let Inner { status, headers, body, .. } = answer;
        let retry_after = retry_after(&headers);
        let body = body.to_string().into_bytes();
        match status {
            200..=299 => Ok(body),
            // 424: what it depended on was throttled or failed; older text says so of the whole batch [THROLD].
            429 | 424 => {
                let retry_after = self.gate().throttled(retry_after, Instant::now());
                Err(GraphError::Throttled { call: ASK.name, retry_after })
            }
            400..=499 => Err(match Reply::from_refusal(&ASK, status, &body)? {
                Reply::Refused(refusal) => refusal.into_error(&ASK),
                Reply::NotFound | Reply::Body(_) => GraphError::BadAnswer { call: ASK.name, what: "a 404 for a list" },
            }),
            500..=599 => {
                Err(GraphError::ServerError { call: ASK.name, status, retry_after: retry_after.map(|asked| asked.0) })
            }
            _ => Err(GraphError::BadAnswer { call: ASK.name, what: "an inner status that is none" }),
        }
    }
}

fn request(place: usize, address: &str) -> Value {
    let (text, proxy) = (literal(address), literal(&format!("smtp:{address}")));
    let filter = format!("mail eq {text} or userPrincipalName eq {text} or proxyAddresses/any(p:p eq {proxy})");
    json!({
        "id": place.to_string(),
        "method": "GET",
        "url": format!("/users?$filter={}&$select=id", encoded(&filter)),
    })
}

/// Answers come in any order.
fn by_place(batch: Batch) -> Result<BTreeMap<usize, Inner>, GraphError> {
    let bad = |_| GraphError::BadAnswer { call: ASK.name, what: "a batch with unknown ids" };
    batch.responses.into_iter().map(|inner| Ok((inner.id.parse().map_err(bad)?, inner))).collect()
}

fn retry_after(headers: &Map<String, Value>) -> Option<RetryAfter> {
    let header = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?.1;
    match header {
        Value::String(text) => RetryAfter::parse(text),
        Value::Number(number) => RetryAfter::parse(&number.to_string()),
        _ => None,
    }
}
