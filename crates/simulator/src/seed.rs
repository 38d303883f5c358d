//! A large tenant in a moment.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::directory::Directory;
use crate::directory::schema::Kind;
use crate::new_object::{complete_group, complete_user};
use crate::sync::write;
use crate::world::{TenantState, World};

const GIVEN: [&str; 16] = [
    "Ada", "Kai", "Ines", "Noor", "Lena", "Omar", "Mira", "Jonas", "Sofia", "Tariq", "Elif", "Hugo", "Yuki", "Pavel",
    "Zoe", "Samir",
];
const SURNAMES: [&str; 15] = [
    "Lovelace", "Brandt", "Okafor", "Haddad", "Lund", "Novak", "Silva", "Tanaka", "Weber", "Rossi", "Kaya", "Dubois",
    "Moreau", "Larsen", "Petrov",
];
const DEPARTMENTS: [&str; 6] = ["Sales", "Engineering", "Finance", "Support", "Operations", "Legal"];

/// See [`crate::Tenant::seed`].
pub(crate) fn fill(
    world: &World,
    tenant: &TenantState,
    users: usize,
    in_groups: usize,
    groups: &[&str],
) -> (Vec<Uuid>, Vec<Uuid>) {
    let mut directory = write(&tenant.directory);
    let now = world.clock.now_micros();
    let groups: Vec<Uuid> = groups.iter().map(|name| group(world, &mut directory, name, now)).collect();
    let first = directory.now().all(Kind::User, None).count();
    let mut people = Vec::with_capacity(users);
    for number in 0..users {
        let id = world.chance.id();
        let properties = complete_user(person(first + number, &tenant.spec.domain), now);
        directory.create(Kind::User, id, properties, now);
        if let Some(group) = groups.get(number % groups.len().max(1)).filter(|_| number < in_groups) {
            // Both were made above, so this cannot be refused; and nobody is told.
            let _ = directory.set_member(*group, id, true, now);
        }
        people.push(id);
    }
    (people, groups)
}

fn group(world: &World, directory: &mut Directory, name: &str, now: i64) -> Uuid {
    let named =
        directory.now().all_live(Kind::Group, None).find(|seen| seen.properties.text("displayName") == Some(name));
    if let Some(existing) = named.map(|seen| seen.id) {
        return existing;
    }
    let id = world.chance.id();
    let properties = Map::from_iter([("displayName".to_owned(), json!(name))]);
    directory.create(Kind::Group, id, complete_group(properties, now), now);
    id
}

/// Person number so-and-so; the number keeps addresses apart.
fn person(number: usize, domain: &str) -> Map<String, Value> {
    let (given, surname) = (GIVEN[number % GIVEN.len()], SURNAMES[number / GIVEN.len() % SURNAMES.len()]);
    let address = format!("{}.{}.{number}@{domain}", given.to_lowercase(), surname.to_lowercase());
    let properties = json!({
        "displayName": format!("{given} {surname}"),
        "userPrincipalName": address,
        "mail": address,
        "department": DEPARTMENTS[number % DEPARTMENTS.len()],
        "employeeId": format!("E{number:06}"),
    });
    match properties {
        Value::Object(properties) => properties,
        _ => Map::new(),
    }
}
