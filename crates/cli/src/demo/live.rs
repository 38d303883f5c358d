//! After the story: random changes until Ctrl-C, and a look at whatever the newcomer changes by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_core::RecordId;
use lockstep_store::view::record::RecordFilter;
use uuid::Uuid;

use super::company::nth_name;
use super::screen::Screen;
use super::script::{Aspect, BACK_RULE, Change, Scene, Shown, play};
use super::world::World;
use crate::failure::Failure;
use crate::word::{word, words};

/// Between two random changes, in real time.
const PACE: Duration = Duration::from_secs(3);
/// Between two looks for changes made by hand.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// More people than this are not watched one by one.
const WATCHED: usize = 1_000;
/// Later changes take nobody's access: all happen within a simulated day, and the brake counts them together.
const DISABLED_UNTIL: usize = 60;
const TITLES: [&str; 5] = ["Senior Engineer", "Team Lead", "Consultant", "Architect", "Trainer"];

/// Runs until the caller drops it. Whoever is hired here is retitled, disabled and enabled here, so that the people of
/// the story are left to the newcomer.
pub async fn go_on(world: &World, screen: &mut Screen, shown: &mut Vec<Shown>) -> Result<(), Failure> {
    let mut hired: Vec<Hired> = Vec::new();
    let mut known = records(world).await?;
    for number in 0.. {
        let scene = next_scene(world, &mut hired, number);
        shown.push(play(world, &scene, screen).await?);
        if let Change::Hire { name, .. } = &scene.change {
            hired.extend(found(world, name).await?);
        }
        known = records(world).await?;
        for _ in 0..PACE.as_millis() / LOOK_EVERY.as_millis() {
            tokio::time::sleep(LOOK_EVERY).await;
            known = show_yours(world, screen, known).await?;
        }
    }
    drop(known);
    Ok(())
}

/// Somebody hired in this run.
struct Hired {
    user: Uuid,
    name: String,
    enabled: bool,
    titles: usize,
}

fn next_scene(world: &World, hired: &mut [Hired], number: usize) -> Scene {
    let draw = draw();
    let len = hired.len();
    let Some(person) = hired.get_mut(draw % len.max(1)).filter(|_| !draw.is_multiple_of(3)) else {
        return hire(world, number);
    };
    if !person.enabled {
        person.enabled = true;
        return person.access("is enabled again", true, "active employee, Technician", Some(BACK_RULE));
    }
    if draw.is_multiple_of(5) && number < DISABLED_UNTIL {
        person.enabled = false;
        return person.access("is disabled", false, "inactive: upstream_disabled", None);
    }
    person.retitle()
}

impl Hired {
    fn access(&self, what: &str, enabled: bool, expected: &str, rule: Option<&'static str>) -> Scene {
        access(&self.name, what, Change::Enable { user: self.user, enabled }, expected, rule)
    }

    fn retitle(&mut self) -> Scene {
        let title = TITLES[self.titles % TITLES.len()];
        self.titles += 1;
        Scene {
            what: format!("{} is now {title}", self.name),
            expected: format!("titled {title}"),
            change: Change::Retitle { user: self.user, title: title.to_owned() },
            aspect: Aspect::Title,
            rule: None,
        }
    }
}

fn hire(world: &World, number: usize) -> Scene {
    // Far behind the names that the company has given out.
    let name = nth_name(300 + number);
    let change = Change::Hire { name: name.clone(), group: world.company.staff.0 };
    access(&name, "is hired into Staff", change, "active employee, Technician", None)
}

fn access(name: &str, what: &str, change: Change, expected: &str, rule: Option<&'static str>) -> Scene {
    Scene { what: format!("{name} {what}"), change, expected: expected.to_owned(), aspect: Aspect::Access, rule }
}

async fn found(world: &World, name: &str) -> Result<Option<Hired>, Failure> {
    let filter = RecordFilter { query: Some(name), limit: 1, ..RecordFilter::default() };
    let record = world.store.list_records(&filter).await?.pop();
    let user = record.and_then(|record| record.entra_id);
    Ok(user.map(|user| Hired { user: user.0, name: name.to_owned(), enabled: true, titles: 0 }))
}

/// What everybody looks like.
type Known = BTreeMap<RecordId, (String, String)>;

async fn records(world: &World) -> Result<Known, Failure> {
    let filter = RecordFilter { limit: WATCHED, ..RecordFilter::default() };
    let records = world.store.list_records(&filter).await?;
    Ok(records
        .into_iter()
        .map(|record| {
            let reasons = words(&record.reasons);
            let role = record.role.unwrap_or_default();
            let looks = format!("{} {} {role} {reasons}", word(record.status), word(record.kind));
            (record.id, (record.display_name.unwrap_or_default(), looks.trim_end().to_owned()))
        })
        .collect())
}

async fn show_yours(world: &World, screen: &mut Screen, known: Known) -> Result<Known, Failure> {
    let now = records(world).await?;
    for (id, (name, looks)) in &now {
        if known.get(id) != Some(&(name.clone(), looks.clone())) {
            screen.yours(name, looks)?;
        }
    }
    Ok(now)
}

/// Chance is part of the show here, and of nothing else.
fn draw() -> usize {
    usize::from(Uuid::new_v4().as_bytes()[0])
}
