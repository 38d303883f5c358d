//! The way of a change: hired, renamed, moved, disabled, deleted, restored.

use lockstep_core::record::{Kind, Reason, Status};
use lockstep_simulator::NewUser;
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};

use crate::world::{World, employees, minutes, rule, seconds};

#[tokio::test]
async fn somebody_hired_into_a_mapped_group_gets_a_record() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.notify_members(staff, &[(ada, false)]).await;
    world.settled().await;

    let record = world.record(ada).await.expect("a record");
    assert_eq!(record.status, Status::Active);
    assert_eq!(record.kind, Kind::Employee);
    assert_eq!(record.role.as_deref(), Some("staff"));
    assert_eq!(record.email, Some(format!("ada.lovelace@{}", world.tenant.domain())));
    assert_eq!(record.username.as_deref(), Some("ada.lovelace"));
    world.rest().await;
}

#[tokio::test]
async fn a_new_name_reaches_the_record() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada Byron", &[staff]);
    world.sync().await;
    world.tenant.patch_user(ada, json!({ "displayName": "Ada Lovelace" })).unwrap();
    world.told(ada).await;

    assert_eq!(world.record(ada).await.unwrap().display_name.as_deref(), Some("Ada Lovelace"));
    world.rest().await;
}

#[tokio::test]
async fn a_disabled_account_is_out_at_once() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    world.told(ada).await;

    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    assert_eq!(world.reasons(ada).await, [Reason::UpstreamDisabled]);
    world.rest().await;
}

/// Given back only after two reads of both facets, 30 s apart (G-10, `reenable_agree`).
#[tokio::test]
async fn a_re_enabled_account_comes_back_after_two_reads_that_agree() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    let before = world.record(ada).await.unwrap().id;
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    world.told(ada).await;
    world.tenant.patch_user(ada, json!({ "accountEnabled": true })).unwrap();
    // No sooner than `coalesce` after the last read.
    world.notify(ada).await;
    world.later(seconds(6)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive), "one read is not enough");

    world.later(seconds(31)).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert_eq!(world.record(ada).await.unwrap().id, before, "the same record (G-17)");
    world.rest().await;
}

/// Lost scope alone needs two membership reads 10 s apart (G-10 c).
#[tokio::test]
async fn somebody_removed_from_the_group_is_out_after_ten_seconds() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.remove_member(staff, ada).unwrap();
    world.notify_members(staff, &[(ada, true)]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active), "the first read takes nothing");
    assert_eq!(world.ledger().await.waiting, 1);

    world.later(seconds(11)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    assert_eq!(world.reasons(ada).await, [Reason::OutOfScope]);
    assert_eq!(world.ledger().await.waiting, 0);
    world.rest().await;
}

/// A move shows the loss before the gain; nobody loses access over it.
#[tokio::test]
async fn somebody_moved_between_groups_is_never_out() {
    let mut world = World::open().await;
    let (staff, managers) = (world.group("Staff"), world.group("Managers"));
    world.apply(vec![employees(staff), rule(managers, 5, Kind::Employee, "manager")]).await;
    let ada = world.hire("Ada", &[staff]);
    world.work();
    world.sync().await;

    world.tenant.remove_member(staff, ada).unwrap();
    world.notify_members(staff, &[(ada, true)]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    world.tenant.add_member(managers, ada).unwrap();
    world.notify_members(managers, &[(ada, false)]).await;
    world.later(seconds(6)).await;
    assert_eq!(world.record(ada).await.unwrap().role.as_deref(), Some("manager"));
    world.later(seconds(60)).await;

    let record = world.record(ada).await.unwrap();
    assert_eq!((record.status, record.role.as_deref()), (Status::Active, Some("manager")));
    assert_eq!(record.inactive_since, None, "not for a moment");
    world.rest().await;
}

/// A soft delete comes as `updated`; the 404 counts because deleted items show the user (G-10 b).
#[tokio::test]
async fn a_soft_deleted_account_is_out_and_comes_back_as_the_same_record() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    let before = world.record(ada).await.unwrap().id;
    world.tenant.delete_user(ada, false).unwrap();
    world.told(ada).await;
    assert_eq!(world.reasons(ada).await, [Reason::UpstreamDeleted]);

    world.tenant.restore_user(ada).unwrap();
    world.notify(ada).await;
    world.later(seconds(6)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    world.later(seconds(31)).await;
    let back = world.record(ada).await.unwrap();
    assert_eq!((back.id, back.status), (before, Status::Active));
    world.rest().await;
}

/// Gone without a trace in deleted items: a second 404 two minutes later confirms it (G-10 b).
#[tokio::test]
async fn an_account_that_is_gone_is_out_after_two_404s_two_minutes_apart() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.delete_user(ada, true).unwrap();
    world.told(ada).await;
    assert_eq!(world.status(ada).await, Some(Status::Active), "one 404 is not enough");

    world.later(seconds(61)).await;
    assert_eq!(world.status(ada).await, Some(Status::Active), "nor are two within a minute");
    world.later(seconds(61)).await;
    assert_eq!(world.reasons(ada).await, [Reason::UpstreamDeleted]);
    world.rest().await;
}

#[tokio::test]
async fn a_guest_gets_no_access_where_guests_are_out() {
    let (mut world, staff) = World::with_staff().await;
    let guest = world.add(NewUser::guest("Grace", "grace@elsewhere.example"), &[staff]);
    world.notify_members(staff, &[(guest, false)]).await;
    world.settled().await;
    assert!(world.record(guest).await.is_none());
    world.rest().await;
}

/// A nested group that joins a mapped one brings everybody below it; leaving takes them along again (M10).
#[tokio::test]
async fn a_nested_group_brings_its_people_and_takes_them_along() {
    let (mut world, staff) = World::with_staff().await;
    let team = world.group("Team");
    let (ada, grace) = (world.hire("Ada", &[team]), world.hire("Grace", &[team]));
    // The brake keeps back the second of two who leave a company of two.
    for colleague in ["Alan", "Barbara", "Edsger", "Niklaus"] {
        world.hire(colleague, &[staff]);
    }
    world.sync().await;
    world.tenant.add_member(staff, team).unwrap();
    world.notify_members(staff, &[(team, false)]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert_eq!(world.status(grace).await, Some(Status::Active));

    world.tenant.remove_member(staff, team).unwrap();
    world.notify_members(staff, &[(team, true)]).await;
    world.later(seconds(6)).await;
    world.later(seconds(11)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    assert_eq!(world.status(grace).await, Some(Status::Inactive));
    assert_eq!(world.active().await, 4, "nobody else is out");
    world.rest().await;
}

/// `accountEnabled` missing is never read as false; after 12 attempts the event is failed and shown (BI-34).
/// M10: "Cycles are harmless."
#[tokio::test]
async fn m10_groups_inside_each_other_are_harmless() {
    let (mut world, staff) = World::with_staff().await;
    let [inner, innermost] = ["Inner", "Innermost"].map(|name| world.group(name));
    for (group, member) in [(staff, inner), (inner, innermost), (innermost, staff)] {
        world.tenant.add_member(group, member).unwrap();
    }
    let ada = world.hire("Ada", &[innermost]);
    world.sync().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    let grace = world.hire("Grace", &[inner]);
    world.notify_members(inner, &[(grace, false)]).await;
    world.settled().await;
    assert_eq!(world.status(grace).await, Some(Status::Active));

    world.tenant.remove_member(innermost, ada).unwrap();
    world.notify_members(innermost, &[(ada, true)]).await;
    world.settled().await;
    world.later(seconds(11)).await;
    assert_eq!((world.status(ada).await, world.status(grace).await), (Some(Status::Inactive), Some(Status::Active)));
    world.rest().await;
}

#[tokio::test]
async fn bi34_an_account_without_enabled_state_changes_nothing() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.patch_user(ada, json!({ "accountEnabled": null })).unwrap();
    world.told(ada).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    for _ in 0..12 {
        world.later(minutes(16)).await;
    }
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert_eq!(world.ledger().await.failed, 1);
    world.rest().await;
}

/// G-13: the queue forgets a hint only when its taking is on the disk.
#[tokio::test]
async fn g13_a_hint_that_the_queue_forgot_outlives_a_power_cut() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    let Some(file) = world.store_file() else { return };
    // Without its log, the file itself is all that a power cut would leave.
    std::fs::rename(file.with_extension("db-wal"), file.with_extension("away")).unwrap();
    world.told(ada).await;
    let left = file.with_extension("left");
    std::fs::copy(&file, &left).unwrap();
    let mut left = SqliteConnection::connect(&format!("sqlite://{}", left.display())).await.unwrap();
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM event WHERE message_id IS NOT NULL")
        .fetch_one(&mut left)
        .await
        .unwrap();
    assert_eq!(events, 1);
    world.rest().await;
}
