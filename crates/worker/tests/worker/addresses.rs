//! Who owns an address is judged by the current snapshots: semantics, "Matching".

use lockstep_core::record::Status;
use lockstep_core::review::ReviewKind;
use serde_json::json;
use uuid::Uuid;

use crate::matching::{existing, with_existing};
use crate::world::{World, seconds};

impl World {
    async fn email(&self, user: Uuid) -> Option<String> {
        self.record(user).await.expect("a record").email
    }

    async fn username(&self, user: Uuid) -> Option<String> {
        self.record(user).await.expect("a record").username
    }

    /// Everybody in turn has the address of the next one in Microsoft; the hints come one by one.
    async fn pass_addresses_on(&self, people: &[Uuid]) -> Vec<Option<String>> {
        let mut addresses = Vec::new();
        for person in people {
            addresses.push(self.email(*person).await);
        }
        addresses.rotate_left(1);
        for (person, address) in people.iter().zip(&addresses) {
            self.tenant.patch_user(*person, json!({ "mail": address })).unwrap();
        }
        self.later(seconds(6)).await;
        for person in people {
            self.told(*person).await;
        }
        addresses
    }
}

#[tokio::test]
async fn people_who_swap_their_addresses_are_brought_in_line_however_late_the_second_hint_comes() {
    let (mut world, staff) = World::with_staff().await;
    let people = [world.hire("Ada Lovelace", &[staff]), world.hire("Grace Hopper", &[staff])];
    world.sync().await;
    let swapped = world.pass_addresses_on(&people).await;
    for (person, address) in people.iter().zip(swapped) {
        assert_eq!(world.email(*person).await, address);
    }
    assert_eq!(world.username(people[0]).await.as_deref(), Some("grace.hopper"), "what is made of it follows");
    assert!(world.reviews().await.is_empty(), "no question is left of it");
    world.rest().await;
}

#[tokio::test]
async fn three_people_who_pass_their_addresses_round_are_one_step() {
    let (mut world, staff) = World::with_staff().await;
    let people = ["Ada Lovelace", "Grace Hopper", "Mary Jackson"].map(|name| world.hire(name, &[staff]));
    world.sync().await;
    let round = world.pass_addresses_on(&people).await;
    for (person, address) in people.iter().zip(round) {
        assert_eq!(world.email(*person).await, address);
        assert_eq!(world.status(*person).await, Some(Status::Active));
    }
    assert!(world.reviews().await.is_empty());
    world.rest().await;
}

/// Grace would have the address of a record that is nobody's to take, and so keeps hers: Ada, who would have Grace's, is
/// asked about as well, and everything else of both is applied.
#[tokio::test]
async fn whoever_really_keeps_an_address_has_it_and_all_the_rest_is_applied() {
    let seed = World::open().await;
    let (mut world, staff) = with_existing(&[existing(&seed.tenant, "Mary Jackson")]).await;
    let (ada, grace) = (world.hire("Ada Lovelace", &[staff]), world.hire("Grace Hopper", &[staff]));
    world.sync().await;
    let (adas, graces) = (world.email(ada).await, world.email(grace).await);
    let marys = format!("mary.jackson@{}", world.tenant.domain());
    world.tenant.patch_user(grace, json!({ "mail": marys, "jobTitle": "Admiral" })).unwrap();
    world.tenant.patch_user(ada, json!({ "mail": graces, "jobTitle": "Analyst" })).unwrap();
    world.later(seconds(6)).await;
    world.told(ada).await;
    world.told(grace).await;
    world.later(seconds(61)).await;

    assert_eq!((world.email(ada).await, world.email(grace).await), (adas, graces));
    for (person, title) in [(ada, "Analyst"), (grace, "Admiral")] {
        assert_eq!(world.record(person).await.unwrap().fields["job_title"], title);
        let about = |kind| move |review: &&_| asks(review, person, kind);
        assert_eq!(world.reviews().await.iter().filter(about(ReviewKind::AddressTaken)).count(), 1);
    }
    let due = world.store.next_due_at().await.unwrap();
    assert!(due.is_none_or(|at| at > world.store.now()), "nobody is looked at again and again");
    world.rest().await;
}

fn asks(review: &lockstep_store::view::review::ReviewView, person: Uuid, kind: ReviewKind) -> bool {
    review.entra_id.0 == person && review.kind == kind
}
