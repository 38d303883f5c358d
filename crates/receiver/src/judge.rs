//! Is this item authentic, and what does it ask us to look at? Pure. The only place that makes a [`Hint`], so nothing
//! unverified can be published.

use std::str::FromStr;

use lockstep_core::ObjectId;
use lockstep_core::hint::{Claim, Hint, LifecycleEvent, MemberHint, Subject};
use lockstep_store::{Endpoint, EndpointState, EndpointSubscription};

use crate::parse::{Field, RawItem, RawMembers};

/// What became of one item.
#[derive(Clone, Debug, PartialEq)]
pub enum Judgement {
    /// Path token, subscription, clientState and tenant agree (TH-01). What is authentic but not understood is a hint,
    /// too: [`Subject::Unclear`] (G-04).
    Genuine(Hint),
    /// They do not; to be dropped, counted and answered like success.
    Forged(Forgery),
    /// Not even an attempt: no object, or no subscription named (BI-16).
    Unusable,
}

/// Where an item failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forgery {
    /// No subscription of this connection has this id, and no pending one this clientState.
    UnknownSubscription,
    /// We gave that subscription up.
    RetiredSubscription,
    /// `clientState` is missing or wrong.
    WrongClientState,
    /// `tenantId` is missing or another's.
    WrongTenant,
}

impl Forgery {
    /// The `reason` of the counter and the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownSubscription => "unknown_subscription",
            Self::RetiredSubscription => "retired_subscription",
            Self::WrongClientState => "wrong_client_state",
            Self::WrongTenant => "wrong_tenant",
        }
    }
}

/// Judges one item that came by the endpoint's path token. `same_secret` compares a clientState with its keyed hash in
/// constant time.
pub fn judge(item: &RawItem<'_>, endpoint: &Endpoint, same_secret: impl Fn(&str, &[u8; 32]) -> bool) -> Judgement {
    let Some(graph_id) = guid(&item.subscription_id) else {
        return Judgement::Unusable;
    };
    let vouched = |sub: &EndpointSubscription| {
        item.client_state.text().is_some_and(|secret| same_secret(secret, &sub.client_state_mac))
    };
    let named = endpoint.subscriptions.iter().find(|sub| sub.graph_id == Some(graph_id.0));
    let subscription = match named {
        Some(sub) if sub.state == EndpointState::Retired => {
            return Judgement::Forged(Forgery::RetiredSubscription);
        }
        Some(sub) if !vouched(sub) => return Judgement::Forged(Forgery::WrongClientState),
        Some(sub) => sub,
        // Graph may notify before its answer to the create told us the id (FA-19).
        None => match endpoint.subscriptions.iter().filter(|sub| awaits_its_id(sub)).find(|sub| vouched(sub)) {
            Some(sub) => sub,
            None => return Judgement::Forged(Forgery::UnknownSubscription),
        },
    };
    if guid(&item.tenant_id) != Some(endpoint.tenant) {
        return Judgement::Forged(Forgery::WrongTenant);
    }
    Judgement::Genuine(Hint { subscription: subscription.id, subject: subject(item) })
}

fn awaits_its_id(sub: &EndpointSubscription) -> bool {
    sub.graph_id.is_none() && matches!(sub.state, EndpointState::Pending { .. })
}

fn subject(item: &RawItem<'_>) -> Subject {
    match &item.lifecycle_event {
        Field::Absent => change(item).unwrap_or(Subject::Unclear),
        Field::Text(event) => Subject::Lifecycle { event: lifecycle_event(event) },
        Field::Other => Subject::Lifecycle { event: LifecycleEvent::Unknown },
    }
}

fn lifecycle_event(name: &str) -> LifecycleEvent {
    match name {
        "reauthorizationRequired" => LifecycleEvent::ReauthorizationRequired,
        "subscriptionRemoved" => LifecycleEvent::SubscriptionRemoved,
        "missed" => LifecycleEvent::Missed,
        _ => LifecycleEvent::Unknown,
    }
}

/// `None`: not understood (BI-20).
fn change(item: &RawItem<'_>) -> Option<Subject> {
    let claim = claim(item.change_type.text()?)?;
    let resource = agreed(&item.resource, resource_of)?;
    let by_type = agreed(&item.object_type, |name| kind(name.strip_prefix('#')?.rsplit('.').next()?))?;
    let by_id = agreed(&item.object_id, |text| ObjectId::from_str(text).ok())?;
    let kind = same(resource.map(|(kind, _)| kind), by_type)?;
    let id = same(resource.map(|(_, id)| id), by_id)?;
    Some(match kind {
        Kind::User => Subject::User { id, claim },
        Kind::Group => {
            let (members, truncated) = members(&item.members);
            Subject::Group { id, claim, members, truncated }
        }
    })
}

fn claim(change_type: &str) -> Option<Claim> {
    // `created` brings no event of its own, but was accepted in subscriptions [GH19138].
    if change_type.eq_ignore_ascii_case("updated") || change_type.eq_ignore_ascii_case("created") {
        Some(Claim::Changed)
    } else if change_type.eq_ignore_ascii_case("deleted") {
        Some(Claim::Deleted)
    } else {
        None
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Group,
}

/// Graph and its notifications spell types differently: `#microsoft.graph.user`, `#Microsoft.Graph.User` [SO18].
fn kind(name: &str) -> Option<Kind> {
    if name.eq_ignore_ascii_case("user") {
        Some(Kind::User)
    } else if name.eq_ignore_ascii_case("group") {
        Some(Kind::Group)
    } else {
        None
    }
}

/// `Users/{id}` or `groups/{id}`, in any case.
fn resource_of(resource: &str) -> Option<(Kind, ObjectId)> {
    let (collection, id) = resource.split_once('/')?;
    let kind = kind(collection.strip_suffix(['s', 'S'])?)?;
    Some((kind, ObjectId::from_str(id).ok()?))
}

/// `Some(None)`: the field says nothing; `None`: it says something we do not understand.
fn agreed<T>(field: &Field<'_>, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    match field {
        Field::Absent => Some(None),
        Field::Text(text) => read(text).map(Some),
        Field::Other => None,
    }
}

/// What both say, or the one that speaks; `None` if they differ or none does.
fn same<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => (one == other).then_some(one),
        (one, other) => one.or(other),
    }
}

fn members(raw: &RawMembers<'_>) -> (Vec<MemberHint>, bool) {
    let readable =
        raw.named.iter().filter_map(|member| Some(MemberHint { id: guid(&member.id)?, removed: member.removed }));
    let members: Vec<_> = readable.collect();
    let truncated = raw.incomplete || members.len() < raw.named.len();
    (members, truncated)
}

fn guid(field: &Field<'_>) -> Option<ObjectId> {
    ObjectId::from_str(field.text()?).ok()
}
