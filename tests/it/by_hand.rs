//! What an admin does by hand, and what Microsoft does to sessions and guests: from the simulator to the record.

use std::time::Duration;

use lockstep_core::by_hand::FieldEdit;
use lockstep_core::record::{Reason, Status};
use lockstep_store::Admin;
use lockstep_testkit::World;
use lockstep_tests::{Company, assert_in, assert_out};
use serde_json::json;

fn grace() -> Admin {
    Admin { name: "grace".to_owned(), reason: Some("a test".to_owned()) }
}

/// Y4: settles, replays, syncs and sweeps keep a local edit; the person's own change ends it.
#[tokio::test(flavor = "multi_thread")]
async fn y4_a_local_edit_stays_until_the_person_changes() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let id = world.record(ada).await.expect("ada is in").id;
    let edits = [("display_name", "The Countess"), ("email", "countess@contoso.example"), ("job_title", "Analyst")]
        .map(|(field, value)| FieldEdit { field: field.to_owned(), value: Some(value.to_owned()) });
    world.store.edit_record(id, &edits, &grace()).await.expect("an edit");

    // What is not a change of hers: settle reads, a sync, new rules, a group more, somebody asking.
    world.pass(Duration::from_secs(61)).await;
    world.sync().await;
    world.map(&company.rules()).await;
    world.tenant.add_member(company.managers, ada).expect("the group exists");
    world.pass(Duration::from_secs(61)).await;
    world.store.request_on_demand(world.connection.id, lockstep_core::ObjectId(ada)).await.expect("asked");
    world.pass(Duration::from_secs(6)).await;
    let edited = world.record(ada).await.expect("ada is in");
    assert_in(Some(&edited), "Manager");
    assert_eq!(edited.display_name.as_deref(), Some("The Countess"));
    assert_eq!(edited.email.as_deref(), Some("countess@contoso.example"));
    assert_eq!(edited.fields["job_title"], "Analyst");

    world.tenant.patch_user(ada, json!({"jobTitle": "Agent"})).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    let after = world.record(ada).await.expect("ada is in");
    assert_eq!(after.display_name.as_deref(), Some("Ada Lovelace"));
    assert_eq!((after.email.as_deref(), after.id), (Some("ada.lovelace@contoso.example"), id));
    assert_eq!(after.fields["job_title"], "Agent");
    assert!(after.edits.is_empty());
    world.stop().await;
}

/// Off by hand means off, through any number of disables, deletions and restores; on again is a fresh read.
#[tokio::test(flavor = "multi_thread")]
async fn by_hand_survives_whatever_microsoft_does() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let id = world.record(ada).await.expect("ada is in").id;
    assert!(world.store.deactivate_record(id, &grace()).await.expect("switched off"));
    for _ in 0..2 {
        world.tenant.patch_user(ada, json!({"accountEnabled": false})).expect("ada exists");
        world.pass(Duration::from_secs(6)).await;
        world.tenant.patch_user(ada, json!({"accountEnabled": true})).expect("ada exists");
        world.pass(Duration::from_secs(40)).await;
        world.tenant.delete_user(ada, false).expect("ada exists");
        world.pass(Duration::from_secs(6)).await;
        world.tenant.restore_user(ada).expect("ada is in deleted items");
        world.pass(Duration::from_secs(1000)).await;
        assert_out(world.record(ada).await.as_ref(), Reason::ByHand);
    }
    let activation = world.store.activate_record(id, &grace()).await.expect("taken back");
    assert!(matches!(activation, lockstep_core::by_hand::Activation::AfterRead(_)), "{activation:?}");
    world.pass(Duration::from_secs(40)).await;
    assert_in(world.record(ada).await.as_ref(), "Technician");
    assert_eq!(world.record(ada).await.expect("ada is back").id, id);
    world.stop().await;
}

/// D5: revoked in Microsoft ends the sessions here, once, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn d5_sessions_revoked_in_microsoft_end_here_and_the_record_stays_active() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let id = world.record(ada).await.expect("ada is in").id;
    let ended = async || {
        let view = world.store.lookup_record_view(&id.to_string()).await.expect("the store answers").expect("ada");
        world.store.record_shown(view).await.expect("the store answers").sessions_ended_at
    };
    world.pass(Duration::from_secs(61)).await;
    assert_eq!(ended().await, None, "first sight ends nothing");

    let later = world.store.now() + Duration::from_secs(1);
    world.tenant.patch_user(ada, json!({"signInSessionsValidFromDateTime": later.to_string()})).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    let at = ended().await.expect("sessions ended");
    assert_in(world.record(ada).await.as_ref(), "Technician");
    world.pass(Duration::from_secs(61)).await;
    world.sync().await;
    assert_eq!(ended().await, Some(at), "once");

    world.tenant.patch_user(ada, json!({"accountEnabled": false})).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    assert!(ended().await > Some(at), "D3: the same place tells of a deactivation");
    world.stop().await;
}

/// Y7: a guest is out, and a member who was one too; where guests are out an invitation that is accepted changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn y7_guests_are_out_by_type_or_by_invitation_and_back_as_members() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    // With fewer than six the brake holds whoever leaves second.
    for number in 1..8 {
        world.hire(&format!("Colleague {number}"), &[company.staff]);
    }
    world.settle().await;
    let steps = [
        (json!({"userType": "Guest"}), true),
        (json!({"userType": "Member"}), false),
        (json!({"externalUserState": "Accepted"}), true),
        (json!({"externalUserState": "PendingAcceptance"}), true),
        (json!({"externalUserState": null}), false),
    ];
    for (change, out) in steps {
        world.tenant.patch_user(ada, change.clone()).expect("ada exists");
        world.pass(Duration::from_secs(6)).await;
        world.pass(Duration::from_secs(40)).await;
        let record = world.record(ada).await.expect("the record is kept");
        assert_eq!(record.status == Status::Inactive, out, "{change}: {:?}", record.reasons);
        assert!(!out || record.reasons == [Reason::Guest].into(), "{change}: {:?}", record.reasons);
    }
    world.stop().await;
}
