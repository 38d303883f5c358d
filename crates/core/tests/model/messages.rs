//! Queue messages: G-07, BI-45, FA-27.

use lockstep_core::hint::{
    Claim, Hint, HintMessage, LifecycleEvent, MAX_MESSAGE, MemberHint, Subject, UndecodableHint, VERSION, decode,
    encode,
};
use lockstep_core::{ConnectionId, ObjectId, SubscriptionId, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![Just(Claim::Changed), Just(Claim::Deleted)]
}

fn subject() -> impl Strategy<Value = Subject> {
    let member = (uuid(), any::<bool>()).prop_map(|(id, removed)| MemberHint { id: ObjectId(id), removed });
    let lifecycle = prop_oneof![
        Just(LifecycleEvent::ReauthorizationRequired),
        Just(LifecycleEvent::SubscriptionRemoved),
        Just(LifecycleEvent::Missed),
        Just(LifecycleEvent::Unknown),
    ];
    prop_oneof![
        (uuid(), claim()).prop_map(|(id, claim)| Subject::User { id: ObjectId(id), claim }),
        (uuid(), claim(), prop::collection::vec(member, 0..5), any::<bool>())
            .prop_map(|(id, claim, members, truncated)| Subject::Group { id: ObjectId(id), claim, members, truncated }),
        lifecycle.prop_map(|event| Subject::Lifecycle { event }),
        Just(Subject::Unclear),
    ]
}

fn message() -> impl Strategy<Value = HintMessage> {
    let item = (uuid(), subject()).prop_map(|(id, subject)| Hint { subscription: SubscriptionId(id), subject });
    let millis = 0_i64..4_000_000_000_000;
    (uuid(), uuid(), millis, prop::collection::vec(item, 0..20)).prop_map(|(id, connection, millis, items)| {
        HintMessage {
            version: VERSION,
            id,
            connection: ConnectionId(connection),
            received_at: Timestamp::from_micros(millis * 1000),
            items,
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in message()) {
        prop_assert_eq!(decode(&encode(&message)), Ok(message));
    }

    #[test]
    fn bi45_garbage_is_told_and_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode(&bytes), Err(UndecodableHint::Garbage));
    }

    #[test]
    fn bi45_a_cut_message_is_garbage(message in message(), cut in 0.0_f64..1.0) {
        let bytes = encode(&message);
        let cut = (bytes.len() as f64 * cut) as usize;
        prop_assert_eq!(decode(&bytes[..cut]), Err(UndecodableHint::Garbage));
    }
}

#[test]
fn fa27_another_version_is_told_from_garbage() {
    let unknown = |version| Err(UndecodableHint::UnknownVersion { version });
    assert_eq!(decode(json!({"v": 2, "whatever": []}).to_string().as_bytes()), unknown(2));
    assert_eq!(decode(json!({"v": 0}).to_string().as_bytes()), unknown(0));
    assert_eq!(decode(json!({"v": 1}).to_string().as_bytes()), Err(UndecodableHint::Garbage));
    assert_eq!(decode(json!({"v": "1"}).to_string().as_bytes()), Err(UndecodableHint::Garbage));
}

#[test]
fn bi45_beyond_our_own_bounds_is_refused() {
    let mut bytes = br#"{"v":2}"#.to_vec();
    bytes.resize(MAX_MESSAGE + 1, b' ');
    assert_eq!(decode(&bytes), Err(UndecodableHint::TooBig { bytes: MAX_MESSAGE + 1 }));

    let hint = Hint { subscription: SubscriptionId(Uuid::nil()), subject: Subject::Unclear };
    let message = |items| HintMessage {
        version: VERSION,
        id: Uuid::nil(),
        connection: ConnectionId(Uuid::nil()),
        received_at: Timestamp::from_micros(0),
        items,
    };
    assert!(decode(&encode(&message(vec![hint.clone(); 1000]))).is_ok());
    assert_eq!(decode(&encode(&message(vec![hint; 1001]))), Err(UndecodableHint::Garbage));
}

/// Otherwise a POST that was taken could end as a message that no worker reads (G-01).
#[test]
fn a_member_is_never_longer_than_what_graph_posted_for_it() {
    for (removed, posted) in
        [(false, json!({"id": Uuid::max()})), (true, json!({"id": Uuid::max(), "@removed": "deleted"}))]
    {
        let kept = serde_json::to_string(&MemberHint { id: ObjectId(Uuid::max()), removed }).expect("JSON");
        assert!(kept.len() <= posted.to_string().len(), "{kept}");
    }
}

#[test]
fn an_item_stays_small() {
    let user = Subject::User { id: ObjectId(Uuid::max()), claim: Claim::Changed };
    let item = serde_json::to_string(&Hint { subscription: SubscriptionId(Uuid::max()), subject: user }).expect("JSON");
    assert!(item.len() <= 128, "{} bytes: {item}", item.len());
}
