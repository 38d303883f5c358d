//! Reviews that somebody answers: the answer is a row, a read by id carries it out (M3, TH-09, BI-36, BI-37).

use lockstep_core::ReviewId;
use lockstep_core::record::{Reason, Status};
use lockstep_core::review::{Choice, ReviewKind, Settlement};
use lockstep_simulator::NewUser;
use lockstep_store::view::review::{ReviewFilter, ReviewState, ReviewView};
use lockstep_store::{Admin, Chosen, NotSettled};
use serde_json::json;
use uuid::Uuid;

use crate::matching::{existing, with_existing};
use crate::world::{World, minutes, seconds};

fn grace() -> Admin {
    Admin { name: "grace".to_owned(), reason: Some("asked her".to_owned()) }
}

impl World {
    /// The open question whose record this person has.
    async fn asked(&self, user: Uuid) -> ReviewView {
        self.asked_about(user, ReviewKind::Link).await
    }

    async fn asked_about(&self, user: Uuid, kind: ReviewKind) -> ReviewView {
        let about = |review: &ReviewView| review.entra_id.0 == user && review.kind == kind;
        self.reviews().await.into_iter().find(about).expect("a question about this person")
    }

    async fn answers(&self, review: ReviewId, choice: Choice) {
        self.tries(review, choice).await.expect("an answer");
        self.settled().await;
    }

    async fn tries(&self, review: ReviewId, choice: Choice) -> Result<Settlement, NotSettled> {
        let chosen = Chosen { choice, record: None, username: None, by: &grace() };
        self.store.settle_review(review, &chosen).await.unwrap()
    }

    async fn review(&self, id: ReviewId) -> ReviewView {
        self.store.lookup_review(id).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn th09_a_privileged_record_is_linked_by_an_admins_yes_and_keeps_its_id() {
    let seed = World::open().await;
    let mut record = existing(&seed.tenant, "Ada Lovelace");
    record.privileged = true;
    let (mut world, staff) = with_existing(&[record]).await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.sync().await;
    let asked = world.asked(ada).await;

    world.answers(asked.id, Choice::Link).await;
    let record = world.record(ada).await.expect("linked");
    assert_eq!((record.id, record.status, record.in_use), (asked.candidates[0], Status::Active, true));
    let settled = world.review(asked.id).await;
    assert!(settled.applied_at.is_some(), "carried out");
    assert_eq!((settled.reason.as_deref(), settled.settled_by.as_deref()), (Some("asked her"), Some("grace")));
    assert_eq!(world.tries(asked.id, Choice::Link).await, Err(NotSettled::Settled));
    world.rest().await;
}

#[tokio::test]
async fn kept_apart_is_not_asked_again_until_another_address_is() {
    let seed = World::open().await;
    let mut grace = existing(&seed.tenant, "Grace Hopper");
    let mut record = existing(&seed.tenant, "Ada Lovelace");
    (record.privileged, grace.privileged) = (true, true);
    let (mut world, staff) = with_existing(&[record, grace]).await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.sync().await;
    let asked = world.asked(ada).await;
    world.answers(asked.id, Choice::KeepApart).await;
    world.sync().await;
    assert!(world.reviews().await.is_empty() && world.record(ada).await.is_none());
    assert!(world.review(asked.id).await.applied_at.is_some());

    let address = format!("grace.hopper@{}", world.tenant.domain());
    world.tenant.patch_user(ada, json!({ "mail": address })).unwrap();
    world.later(seconds(6)).await;
    world.told(ada).await;
    assert_ne!(world.asked(ada).await.id, asked.id, "another address asks anew");
    world.rest().await;
}

/// The doubts an admin was not shown are not overruled: the question that was answered is asked no more, another one is.
#[tokio::test]
async fn th09_what_changed_between_question_and_answer_asks_anew() {
    let seed = World::open().await;
    let mut record = existing(&seed.tenant, "Ada Lovelace");
    record.privileged = true;
    let (mut world, staff) = with_existing(&[record]).await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.sync().await;
    let asked = world.asked(ada).await;
    let address = format!("ada.lovelace@{}", world.tenant.domain());
    world.add(NewUser::named("Mallory").with("proxyAddresses", json!([format!("smtp:{address}")])), &[]);

    world.answers(asked.id, Choice::Link).await;
    assert!(world.record(ada).await.is_none(), "Mallory was not shown");
    let anew = world.asked(ada).await;
    assert_ne!(anew.id, asked.id);
    assert_eq!(world.review(asked.id).await.state, ReviewState::Obsolete);
    world.answers(anew.id, Choice::Link).await;
    assert!(world.record(ada).await.is_some(), "now Mallory was shown");
    world.rest().await;
}

#[tokio::test]
async fn a_rehire_gets_the_old_record_and_access_by_fresh_reads() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.notify_members(staff, &[(ada, false)]).await;
    world.settled().await;
    let before = world.record(ada).await.expect("in");
    world.tenant.delete_user(ada, false).unwrap();
    world.later(seconds(6)).await;
    world.told(ada).await;
    assert_eq!(world.reasons(ada).await, [Reason::UpstreamDeleted]);

    world.later(minutes(20)).await;
    let again = world.hire("Ada Lovelace", &[staff]);
    world.tenant.patch_user(again, json!({ "mail": before.email })).unwrap();
    world.notify_members(staff, &[(again, false)]).await;
    world.settled().await;
    let asked = world.asked(again).await;
    assert_eq!(asked.choices, [Choice::Rehire, Choice::Create, Choice::KeepApart]);

    world.answers(asked.id, Choice::Rehire).await;
    let after = world.record(again).await.expect("relinked");
    assert_eq!((after.id, after.status), (before.id, Status::Active), "{:?}", after.reasons);
    assert!(world.record(ada).await.is_none(), "G-20: nobody else's any more");
    world.rest().await;
}

#[tokio::test]
async fn th09_a_link_that_made_itself_is_found_and_undone_and_never_made_again_by_itself() {
    let seed = World::open().await;
    let (mut world, staff) = with_existing(&[existing(&seed.tenant, "Ada Lovelace")]).await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.tenant.patch_user(ada, json!({ "displayName": "Countess of Lovelace", "jobTitle": "Analyst" })).unwrap();
    world.sync().await;
    let linked = world.record(ada).await.expect("linked");
    assert_eq!(linked.display_name.as_deref(), Some("Countess of Lovelace"));
    world.store.mark_in_use(linked.id, false, &grace()).await.unwrap();
    let filter = ReviewFilter { state: Some(ReviewState::Settled), ..ReviewFilter::default() };
    let settled = world.store.list_reviews(&filter).await.unwrap().remove(0);
    assert_eq!((settled.record, settled.settled_by.as_deref()), (Some(linked.id), Some("sync")));

    world.answers(settled.id, Choice::Unlink).await;
    world.later(seconds(61)).await;
    assert!(world.record(ada).await.is_none());
    let asked = world.asked(ada).await;
    assert_eq!((asked.kind, &asked.candidates[..]), (ReviewKind::Link, &[linked.id][..]), "asked, not linked again");
    let record = world.store.lookup_record_view(&linked.id.to_string()).await.unwrap().expect("kept");
    assert_eq!((record.display_name.as_deref(), record.entra_id), (Some("Ada Lovelace"), None), "as it was before");
    assert_eq!((record.role, record.fields.get("job_title")), (None, None));
    assert!(!record.in_use, "what an admin said of the record itself stays");

    world.answers(asked.id, Choice::Link).await;
    assert_eq!(world.record(ada).await.map(|record| record.id), Some(linked.id), "an admin may think again");
    world.rest().await;
}

#[tokio::test]
async fn bi36_an_address_is_given_to_this_person_and_the_other_one_is_not_asked_for_it() {
    let (mut world, staff) = World::with_staff().await;
    let (ada, grace) = (world.hire("Ada Lovelace", &[staff]), world.hire("Grace Hopper", &[staff]));
    world.sync().await;
    let address = world.record(grace).await.unwrap().email.expect("an address");
    world.tenant.patch_user(ada, json!({ "mail": address })).unwrap();
    world.later(seconds(6)).await;
    world.told(ada).await;
    let asked = world.asked_about(ada, ReviewKind::AddressTaken).await;
    assert_eq!(asked.choices, [Choice::Keep, Choice::Reassign]);

    world.answers(asked.id, Choice::Reassign).await;
    assert_eq!(world.record(ada).await.unwrap().email.as_ref(), Some(&address));
    world.later(seconds(61)).await;
    world.sync().await;
    assert_eq!(world.record(grace).await.unwrap().email, None);
    assert_eq!(world.status(grace).await, Some(Status::Active), "an address is not access");
    let again = world.reviews().await.into_iter().find(|review| review.kind == ReviewKind::AddressTaken);
    assert!(again.is_none(), "whoever gave it up is not asked for it back");
    world.rest().await;
}

/// M3, G-20: the application had her under another address; the sync made a second record before anybody knew.
#[tokio::test]
async fn g20_two_records_of_one_person_are_merged_and_the_old_id_stays() {
    let seed = World::open().await;
    let (mut world, staff) = with_existing(&[existing(&seed.tenant, "Ada King")]).await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.sync().await;
    let made = world.record(ada).await.expect("a second record");
    let address = format!("ada.king@{}", world.tenant.domain());
    world.tenant.patch_user(ada, json!({ "mail": address })).unwrap();
    world.later(seconds(6)).await;
    world.told(ada).await;
    let asked = world.asked_about(ada, ReviewKind::AddressTaken).await;
    assert_eq!(asked.choices, [Choice::Keep, Choice::Reassign, Choice::Merge]);

    world.answers(asked.id, Choice::Merge).await;
    let live = world.record(ada).await.expect("one live record");
    assert_eq!((live.id, live.status, live.in_use), (asked.candidates[0], Status::Active, true));
    assert_eq!((live.role.as_deref(), live.email.as_ref()), (Some("staff"), Some(&address)));
    let archived = world.store.lookup_record_view(&made.id.to_string()).await.unwrap().expect("kept");
    assert_eq!(archived.status, Status::Archived);
    assert!(archived.email.is_some_and(|email| email.ends_with("_Archived")), "its names are free");
    assert_eq!(world.active().await, 1, "never two live logins");
    let left = world.reviews().await.into_iter().filter(|review| review.kind == ReviewKind::AddressTaken).count();
    assert_eq!(left, 0);
    world.rest().await;
}
