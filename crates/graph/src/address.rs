//! Who owns an address: Graph is asked before a record is linked by e-mail, because the mirror knows only people in
//! scope (TH-09).

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::ObjectId;

use crate::batch::MOST_REQUESTS;
use crate::call::{Call, Priority, Reply};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::odata::{encoded, literal, object_id};

static ASK: Call = Call { name: "POST /$batch", permission: "User.Read.All", priority: Priority::Normal };

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
            let urls: Vec<String> = some.iter().map(|address| url(address)).collect();
            let mut answers = self.batch(&ASK, &urls).await?;
            for (place, address) in some.iter().enumerate() {
                let answer = answers.take(&ASK, place)?;
                owners.insert(address.clone(), self.ids_in(answer).await?);
            }
        }
        Ok(owners)
    }

    async fn ids_in(&self, answer: Reply) -> Result<BTreeSet<ObjectId>, GraphError> {
        let gone = GraphError::BadAnswer { call: ASK.name, what: "a 404 for a list" };
        let users = self.all_of(&ASK, answer).await?.ok_or(gone)?;
        let refused = GraphError::ObjectRefused { call: ASK.name, id: None, why: "a user without a usable id" };
        users.iter().map(|user| object_id(user).ok_or(refused.clone())).collect()
    }
}

fn url(address: &str) -> String {
    let (text, proxy) = (literal(address), literal(&format!("smtp:{address}")));
    let filter = format!("mail eq {text} or userPrincipalName eq {text} or proxyAddresses/any(p:p eq {proxy})");
    format!("/users?$filter={}&$select=id", encoded(&filter))
}
