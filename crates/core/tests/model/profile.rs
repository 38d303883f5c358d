//! What Graph says of a user: BI-33, BI-34, BI-35.

use lockstep_core::profile::{BadProfile, Invitation, Profile, UserType};
use serde_json::{Value, json};

use crate::world::*;

#[test]
fn bi33_without_the_right_id_the_object_is_refused() {
    let read = |asked, id: Value| Profile::from_graph(asked, user_json(json!({ "id": id }))).map(|profile| profile.id);
    assert_eq!(read(Some(ada()), json!(ada().to_string())), Ok(ada()));
    assert_eq!(read(None, json!(ada().to_string().to_uppercase())), Ok(ada()));
    assert_eq!(read(None, Value::Null), Err(BadProfile::NoId));
    assert_eq!(read(None, json!(7)), Err(BadProfile::NoId));
    for not_a_guid in ["", "ada", "{00000000-0000-0000-0000-000000000ada}", "00000000000000000000000000000ada"] {
        assert_eq!(read(None, json!(not_a_guid)), Err(BadProfile::IdNotGuid), "{not_a_guid}");
    }
    let another = read(Some(ada()), json!(object(2).to_string()));
    assert_eq!(another, Err(BadProfile::AnotherObject { asked: ada() }));
}

#[test]
fn bi34_only_a_boolean_is_enabled_or_disabled() {
    for (value, expected) in [
        (json!(true), Some(true)),
        (json!(false), Some(false)),
        (json!(null), None),
        (json!("true"), None),
        (json!(1), None),
    ] {
        assert_eq!(profile(json!({ "accountEnabled": value })).account_enabled, expected);
    }
    let mut absent = user_json(json!({}));
    absent.remove("accountEnabled");
    assert_eq!(Profile::from_graph(None, absent).expect("a user").account_enabled, None);
}

#[test]
fn types_and_invitations_are_read_and_odd_ones_are_nothing() {
    let read = profile(json!({"userType": "guest", "externalUserState": "PendingAcceptance"}));
    assert_eq!((read.user_type, read.invitation), (Some(UserType::Guest), Some(Invitation::Pending)));
    let read = profile(json!({"userType": "Alien", "externalUserState": ["Accepted"]}));
    assert_eq!((read.user_type, read.invitation), (None, None));
}

#[test]
fn bi35_what_is_too_long_is_dropped_by_name_and_the_rest_kept() {
    let read = profile(json!({
        "jobTitle": "x".repeat(1025), "city": "x".repeat(1024), "department": {"nested": true},
        "otherMails": ["x".repeat(1025)], "unasked": "left behind",
    }));
    let dropped: Vec<_> = read.dropped.iter().map(String::as_str).collect();
    assert_eq!(dropped, ["department", "jobTitle", "otherMails"]);
    assert!(read.properties.contains_key("city") && !read.properties.contains_key("unasked"));
}

#[test]
fn a_profile_survives_the_store() {
    let read =
        profile(json!({"signInSessionsValidFromDateTime": "2026-10-02T06:01:55Z", "jobTitle": "x".repeat(2000)}));
    assert!(read.sessions_valid_from.is_some());
    let stored = serde_json::to_string(&read).expect("JSON");
    assert_eq!(serde_json::from_str::<Profile>(&stored).expect("a profile"), read);
}
