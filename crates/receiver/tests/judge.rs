//! TH-01, G-22: every combination of right and wrong against the rule in its plainest form.

#![allow(clippy::unwrap_used, missing_docs)]

use std::borrow::Cow;

use lockstep_core::{ConnectionId, ObjectId, SubscriptionId, Timestamp};
use lockstep_receiver::judge::{Judgement, judge};
use lockstep_receiver::parse::{Field, RawItem};
use lockstep_store::{Endpoint, EndpointState, EndpointSubscription};
use uuid::Uuid;

const TENANT: Uuid = Uuid::from_u128(1);
const PENDING: EndpointState = EndpointState::Pending { since: Timestamp::from_micros(0) };

fn subscription(n: u8, graph_id: Option<u128>, state: EndpointState) -> EndpointSubscription {
    let graph_id = graph_id.map(Uuid::from_u128);
    EndpointSubscription { id: SubscriptionId(Uuid::from_u128(n.into())), graph_id, client_state_mac: [n; 32], state }
}

fn endpoint() -> Endpoint {
    Endpoint {
        connection: ConnectionId(Uuid::from_u128(9)),
        tenant: ObjectId(TENANT),
        path_token_mac: [0; 32],
        subscriptions: vec![
            subscription(1, Some(101), EndpointState::Live),
            subscription(2, Some(102), PENDING),
            subscription(3, Some(103), EndpointState::Retired),
            subscription(4, None, PENDING),
            subscription(5, None, EndpointState::Retired),
        ],
    }
}

fn text(text: impl ToString) -> Field<'static> {
    Field::Text(Cow::Owned(text.to_string()))
}

/// Stands in for the keyed hash: the secret of subscription `n` is the text `n`.
fn same_secret(secret: &str, mac: &[u8; 32]) -> bool {
    secret.parse() == Ok(mac[0])
}

/// Our subscription that the item comes by, if it may pass: named by id with its own secret and not retired; or not
/// known by id, with the secret of a create that is under way.
fn passes(graph_id: u128, secret: u8) -> Option<u8> {
    match (graph_id, secret) {
        (101, 1) => Some(1),
        (102, 2) => Some(2),
        (101..=103, _) => None,
        (_, 4) => Some(4),
        _ => None,
    }
}

#[test]
fn an_item_passes_only_if_subscription_secret_and_tenant_all_agree() {
    let endpoint = endpoint();
    let mut passed = 0;
    for graph_id in [100_u128, 101, 102, 103, 104] {
        for secret in 0..=6 {
            for tenant in [TENANT, Uuid::from_u128(2)] {
                let item = RawItem {
                    subscription_id: text(Uuid::from_u128(graph_id)),
                    client_state: text(secret),
                    tenant_id: text(tenant),
                    ..RawItem::default()
                };
                let by = match judge(&item, &endpoint, same_secret) {
                    Judgement::Genuine(hint) => Some(hint.subscription.0.as_u128()),
                    Judgement::Forged(_) => None,
                    Judgement::Unusable => panic!("it names a subscription"),
                };
                let expected = passes(graph_id, secret).filter(|_| tenant == TENANT).map(u128::from);
                assert_eq!(by, expected, "subscription {graph_id}, secret {secret}, tenant {tenant}");
                passed += usize::from(by.is_some());
            }
        }
    }
    assert_eq!(passed, 4);
}
