//! What every decision about a connection's people rests on: the connection, its rules, the constants.

use std::sync::Arc;

use lockstep_core::matching::{AddressOwners, Candidate};
use lockstep_core::mirror::ProfileFacet;
use lockstep_core::plan::{self, Observed, Plan, PlanContext};
use lockstep_core::rule::RuleSet;
use lockstep_core::timing::Timing;
use lockstep_core::{ConnectionId, Timestamp};
use lockstep_store::{Connection, MirroredPerson};

use crate::context::Context;
use crate::error::WorkerError;

/// A connection with the rules that held when it was loaded; the commit checks that they still do.
#[derive(Clone)]
pub(crate) struct Basis {
    pub connection: Connection,
    pub rules: Arc<RuleSet>,
    pub timing: Timing,
    /// Since when a listing of every group goes on without a break.
    pub listing_since: Option<Timestamp>,
}

impl Basis {
    /// `None`: the connection was removed.
    pub(crate) async fn load(ctx: &Context, connection: ConnectionId) -> Result<Option<Self>, WorkerError> {
        loop {
            let Some(connection) = ctx.store.lookup_connection(connection).await? else {
                ctx.rules.forget(connection);
                return Ok(None);
            };
            // Two queries: rules applied in between would be judged with the settings of before.
            if let Some(rules) = ctx.rules.get(&ctx.store, &connection).await? {
                return Ok(Some(Self { connection, rules, timing: ctx.store.timing().clone(), listing_since: None }));
            }
        }
    }

    /// A rule that counts only direct members needs to know who is one.
    pub(crate) fn direct_too(&self) -> bool {
        self.rules.rules().iter().any(|rule| !rule.nested)
    }

    /// What follows for one person from what is known now.
    pub(crate) fn plan(&self, person: &MirroredPerson, owners: Option<&AddressOwners>, now: Timestamp) -> Plan {
        self.plan_beside(person, &person.candidates, owners, now)
    }

    /// The same, with only these records in their way: see [`Basis::together`].
    pub(crate) fn plan_beside(
        &self,
        person: &MirroredPerson,
        candidates: &[Candidate],
        owners: Option<&AddressOwners>,
        now: Timestamp,
    ) -> Plan {
        let observed = Observed { candidates, address_owners: owners, ..person.observed() };
        let plan = plan::plan(&observed, &self.rules, &self.context(now));
        if self.touches(person) { plan } else { untouched(plan, person) }
    }

    /// The plans of people who are decided in one transaction, each by `one`: a swap of addresses meets nobody.
    pub(crate) fn together(
        &self,
        people: &[MirroredPerson],
        now: Timestamp,
        one: impl Fn(&MirroredPerson, &[Candidate]) -> Plan,
    ) -> Vec<Plan> {
        let observed: Vec<Observed<'_>> = people.iter().map(MirroredPerson::observed).collect();
        plan::together(&observed, &self.context(now), |place, candidates| one(&people[place], candidates))
    }

    /// With test users named, nobody else is touched.
    fn touches(&self, person: &MirroredPerson) -> bool {
        let test_users = &self.connection.test_users;
        let profile = match &person.user.profile {
            ProfileFacet::Present { profile, .. } => Some(profile),
            ProfileFacet::Missing { last, .. } => last.as_ref(),
            ProfileFacet::Unknown => None,
        };
        let name = profile.and_then(|profile| profile.user_principal_name());
        test_users.is_empty() || name.is_some_and(|name| test_users.iter().any(|user| user.eq_ignore_ascii_case(name)))
    }

    fn context(&self, now: Timestamp) -> PlanContext<'_> {
        PlanContext {
            now,
            timing: &self.timing,
            settings: &self.connection.settings,
            defaults: &self.connection.defaults,
            fields: &self.connection.fields,
            guests: self.connection.guests,
            first_sync_done: self.connection.first_sync_at.is_some(),
            listing_since: self.listing_since,
            verified_domains: &self.connection.match_domains,
            realm: &self.connection.realm,
        }
    }
}

fn untouched(plan: Plan, person: &MirroredPerson) -> Plan {
    let agreements = person.user.agreements;
    Plan {
        steps: Vec::new(),
        wait: None,
        ask_address: None,
        reviews: Vec::new(),
        answered: Vec::new(),
        agreements,
        ..plan
    }
}
