//! Who leads whom (M4): not in the listings of groups, not in notifications, and of no weight for access (G-11).

use lockstep_core::record::Reason;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{World, eventually, minutes, seconds};

impl World {
    async fn manager_of(&self, user: Uuid) -> Option<Value> {
        self.record(user).await.and_then(|record| record.fields.get("manager").cloned())
    }

    async fn comes_to_be_led_by(&self, users: &[Uuid], name: &str) {
        eventually("the manager does not arrive", async || {
            for user in users {
                if self.manager_of(*user).await != Some(json!(name)) {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

#[tokio::test]
async fn m4_a_manager_arrives_with_the_sync_and_a_new_one_with_the_delta() {
    let (mut world, staff) = World::with_staff().await;
    let people: Vec<Uuid> = (0..12).map(|place| world.hire(&format!("Person {place}"), &[staff])).collect();
    let (ada, grace, linus) = (people[0], world.hire("Grace", &[staff]), world.hire("Linus", &[]));
    world.tenant.set_manager(ada, Some(grace)).unwrap();
    world.sync().await;
    world.comes_to_be_led_by(&[ada], "Grace").await;
    assert_eq!(world.manager_of(people[1]).await, None);

    // The first delta shows everybody who was hired.
    world.later(minutes(5)).await;
    world.later(seconds(61)).await;

    // Nobody notifies that. Alone it is read by id; of many the read that follows tells.
    world.tenant.set_manager(ada, Some(linus)).unwrap();
    world.later(minutes(5)).await;
    world.comes_to_be_led_by(&[ada], "Linus").await;
    for person in &people {
        world.tenant.set_manager(*person, Some(grace)).unwrap();
    }
    world.later(minutes(5)).await;
    world.later(seconds(61)).await;
    world.comes_to_be_led_by(&people, "Grace").await;
    world.rest().await;
}

/// G-11: a manager who is gone keeps nobody in.
#[tokio::test]
async fn g11_a_deleted_manager_stops_no_deprovision() {
    let (mut world, staff) = World::with_staff().await;
    let (ada, grace) = (world.hire("Ada", &[staff]), world.hire("Grace", &[]));
    world.tenant.set_manager(ada, Some(grace)).unwrap();
    world.sync().await;
    world.comes_to_be_led_by(&[ada], "Grace").await;
    world.tenant.delete_user(grace, true).unwrap();
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    world.told(ada).await;
    assert_eq!(world.reasons(ada).await, [Reason::UpstreamDisabled]);
    assert_eq!(world.manager_of(ada).await, Some(json!("Grace")), "blank in Entra, and not to be cleared");
    world.rest().await;
}
