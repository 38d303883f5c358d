//! The scene `accident`: somebody's script disables four people in ten. What goes, what is held, what goes on meanwhile, and
//! how an admin answers.

use std::collections::BTreeSet;
use std::time::Duration;

use lockstep_core::RecordId;
use lockstep_core::brake::CauseClass;
use lockstep_core::record::Status;
use lockstep_simulator::NewUser;
use lockstep_store::HoldDecision;
use lockstep_store::view::connection::{BrakeForecast, ConnectionView};
use lockstep_store::view::hold::{HeldState, HoldFilter, HoldState, HoldView};
use lockstep_store::view::record::{RecordFilter, RecordView};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::company::refused;
use super::screen::{Row, Screen};
use super::script::{BACK_RULE, BETWEEN_CHANGES, Shown};
use super::world::World;
use crate::commands::hold::shown;
use crate::failure::{Failure, Outcome};

/// Whatever is not as it must be by then counts as wrong.
const RIGHT_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A little more than two reads must be apart.
const AGREEMENT: Duration = Duration::from_secs(31);
const MOVE_EVERY: Duration = Duration::from_secs(3);
/// So many people of a hold are shown, and how many more there are.
const SHOWN_PEOPLE: usize = 5;

/// Who is where, in numbers.
#[derive(Clone, Copy)]
struct Count {
    out: usize,
    held: usize,
    active: usize,
}

/// Something that happens, and what must come of it.
struct Step<'a> {
    what: &'a str,
    expected: Count,
    /// Why it takes a while, if a rule says so.
    rule: Option<&'static str>,
}

/// Plays it; every line says what had to come of it and what came.
pub async fn play(world: &World, screen: &mut Screen, lines: &mut Vec<Shown>) -> Outcome {
    let people = records(world).await?;
    let everybody: Vec<Uuid> = people.iter().filter_map(|record| record.entra_id).map(|user| user.0).collect();
    let disabled = &everybody[..everybody.len() * 2 / 5];
    let brake = connection(world).await?.brake;
    announce(screen, &brake)?;
    screen.heading()?;

    let limit = room(&brake).min(disabled.len());
    let mut expected = Count { out: limit, held: disabled.len() - limit, active: everybody.len() - limit };
    let what = format!("A script disables {} of {} people", disabled.len(), everybody.len());
    let began = disturb(world, || enable(world, disabled, false)).await?;
    lines.push(follow(world, screen, Step { what: &what, expected, rule: None }, began).await?);

    let began = disturb(world, || hire(world)).await?;
    expected.active += 1;
    let what = "Grace Hopper is hired into Staff";
    lines.push(follow(world, screen, Step { what, expected, rule: None }, began).await?);

    let Some(hold) = open_hold(world).await? else {
        return Err(Failure::Failed("the brake held nobody: nothing is left to show".to_owned()));
    };
    show(world, screen, &hold).await?;
    screen.heading()?;

    let waiting = hold.people.iter().filter(|person| person.state == HeldState::Held).map(|person| person.record);
    let waiting: Vec<RecordId> = waiting.collect();
    let leavers = &waiting[..waiting.len() / 2];
    let began = Instant::now();
    world.store.answer_hold(hold.id, HoldDecision::Approve, leavers, "they did leave").await?;
    expected.out += leavers.len();
    expected.held -= leavers.len();
    expected.active -= leavers.len();
    let what = format!("(you) hold approve --only {} of them", leavers.len());
    lines.push(follow(world, screen, Step { what: &what, expected, rule: None }, began).await?);

    let gone = users_of(&people, leavers);
    let restored: Vec<Uuid> = disabled.iter().copied().filter(|user| !gone.contains(user)).collect();
    let began = disturb(world, || enable(world, &restored, true)).await?;
    let expected = Count { out: leavers.len(), held: 0, active: everybody.len() + 1 - leavers.len() };
    let what = format!("The other {} are enabled again", restored.len());
    lines.push(follow(world, screen, Step { what: &what, expected, rule: Some(BACK_RULE) }, began).await?);
    Ok(())
}

impl Count {
    fn words(self) -> String {
        format!("{} out, {} held, {} in", self.out, self.held, self.active)
    }
}

fn announce(screen: &Screen, brake: &[BrakeForecast]) -> Outcome {
    let revoked = brake.iter().find(|forecast| forecast.cause == CauseClass::Revoked);
    let words = revoked.map(|forecast| forecast.words.as_str()).unwrap_or_default();
    screen.say(&format!(
        "\n  The safety brake before it happens (`lockstep connection show contoso`), disabled or deleted:\n    {words}"
    ))
}

/// How many people may be disabled before the next one is held.
fn room(brake: &[BrakeForecast]) -> usize {
    let revoked = brake.iter().find(|forecast| forecast.cause == CauseClass::Revoked);
    revoked.map_or(0, |forecast| usize::try_from(forecast.more.saturating_sub(1)).unwrap_or(usize::MAX))
}

/// Something happens in Microsoft; answers when.
async fn disturb(world: &World, happen: impl FnOnce() -> Outcome) -> Result<Instant, Failure> {
    world.let_time_pass(BETWEEN_CHANGES).await;
    let began = Instant::now();
    happen()?;
    Ok(began)
}

fn enable(world: &World, users: &[Uuid], enabled: bool) -> Outcome {
    let mut patches = users.iter().map(|user| world.tenant.patch_user(*user, json!({ "accountEnabled": enabled })));
    patches.try_for_each(|patched| patched.map_err(refused))
}

fn hire(world: &World) -> Outcome {
    let user = world.tenant.create_user(NewUser::named("Grace Hopper").with("jobTitle", "Engineer"));
    world.tenant.add_member(world.company.staff.0, user).map_err(refused)
}

/// Waits until it is as it must be, and shows it.
async fn follow(world: &World, screen: &mut Screen, step: Step<'_>, began: Instant) -> Result<Shown, Failure> {
    let observed = watch(world, &step, began).await;
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (what, expected) = (step.what.to_owned(), step.expected.words());
    let shown = Shown { what, expected, observed: Some(observed?), milliseconds };
    let waited = step.rule.map(|rule| format!("{rule}; the clock was moved on"));
    screen.row(&Row { shown: &shown, rule: None, source: None, waited_for: waited.as_deref() })?;
    Ok(shown)
}

/// Where a rule says to wait, the clock is moved on now and then. Run faster, it would outrun reads of so many.
async fn watch(world: &World, step: &Step<'_>, began: Instant) -> Result<String, Failure> {
    let expected = step.expected.words();
    let mut moved = Instant::now();
    loop {
        if step.rule.is_some() && moved.elapsed() >= MOVE_EVERY {
            world.let_time_pass(AGREEMENT).await;
            moved = Instant::now();
        }
        let ConnectionView { people, held, .. } = connection(world).await?;
        let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let count = Count { out: number(people.inactive), held: number(held), active: number(people.active) };
        let observed = count.words();
        if observed == expected || began.elapsed() >= RIGHT_WITHIN {
            return Ok(observed);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the admin sees, as `hold show` prints it.
async fn show(world: &World, screen: &Screen, hold: &HoldView) -> Outcome {
    const HEAD: usize = 11;
    let text = shown(hold, &connection(world).await?.brake);
    screen.say(&format!("\n  What the admin sees: lockstep hold show {}\n", hold.id))?;
    for line in text.lines().take(HEAD + SHOWN_PEOPLE) {
        screen.say(&format!("    {line}"))?;
    }
    screen.say(&format!("    … and {} more", hold.people.len().saturating_sub(SHOWN_PEOPLE)))
}

async fn open_hold(world: &World) -> Result<Option<HoldView>, Failure> {
    let filter = HoldFilter { state: Some(HoldState::Open), ..HoldFilter::default() };
    Ok(world.store.list_holds(&filter).await?.pop())
}

async fn connection(world: &World) -> Result<ConnectionView, Failure> {
    let view = world.store.lookup_connection_view(&world.connection.name).await?;
    view.ok_or_else(|| Failure::Failed("the demo's connection is gone".to_owned()))
}

/// Everybody who is in.
async fn records(world: &World) -> Result<Vec<RecordView>, Failure> {
    let filter = RecordFilter { status: Some(Status::Active), limit: usize::MAX, ..RecordFilter::default() };
    Ok(world.store.list_records(&filter).await?)
}

fn users_of(people: &[RecordView], records: &[RecordId]) -> BTreeSet<Uuid> {
    let wanted: BTreeSet<RecordId> = records.iter().copied().collect();
    let named = people.iter().filter(|record| wanted.contains(&record.id));
    named.filter_map(|record| record.entra_id).map(|user| user.0).collect()
}
