//! `lockstep demo`: the main job, in one command.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::demo::screen::Screen;
use crate::demo::script::{Shown, play, story};
use crate::demo::world::World;
use crate::demo::{accident, live};
use crate::failure::{Failure, Outcome};
use crate::logging;
use crate::output::{self, Format};
use crate::stop::asked_to_stop;

/// Fewer people, and the safety brake would hold the story's leavers.
const FEWEST_USERS: u64 = 12;
const MOST_USERS: u64 = 100_000;
const USERS: u64 = 60;
/// With fewer, nobody would be held; with a thousand it is a company.
const FEWEST_FOR_ACCIDENT: u64 = 200;
const USERS_OF_ACCIDENT: u64 = 1_000;

/// What is played.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum SceneName {
    /// Hired, renamed, moved, removed, disabled, deleted, restored
    #[default]
    Story,
    /// A script disables four people in ten: what is held, what goes on, what an admin does; ends by itself
    Accident,
}

#[derive(Args)]
pub struct Demo {
    /// People in the simulated tenant; 60, and 1,000 for the accident
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(FEWEST_USERS..=MOST_USERS))]
    users: Option<u64>,
    /// End after the scene; exit code 0 only if all came out right
    #[arg(long)]
    once: bool,
    /// What is played
    #[arg(long, value_enum, default_value_t)]
    scene: SceneName,
}

impl Demo {
    /// JSON is one object at the end, so it always ends after the scene.
    pub async fn run(self, format: Format) -> Outcome {
        logging::start_quiet();
        let once = self.once || format == Format::Json;
        let users = self.users()?;
        let mut screen = Screen::open(format);
        screen.title()?;
        // Dropping what was started removes the temporary folder.
        let world = tokio::select! {
            world = World::start(users, &mut screen) => world?,
            _ = asked_to_stop() => return Err(interrupted()),
        };
        let mut shown = Vec::new();
        let played = tokio::select! {
            played = self.play(&world, &mut screen, &mut shown, once) => played,
            _ = asked_to_stop() => if once { Err(interrupted()) } else { Ok(()) },
        };
        let ended = self.end(&world, &screen, &shown, format);
        world.stop().await;
        played.and(ended)
    }

    fn users(&self) -> Result<usize, Failure> {
        let users = match (self.users, self.scene) {
            (Some(users), SceneName::Accident) if users < FEWEST_FOR_ACCIDENT => {
                return Err(Failure::Usage(format!(
                    "--scene accident wants --users {FEWEST_FOR_ACCIDENT} or more: of fewer people the brake would hold nobody"
                )));
            }
            (Some(users), _) => users,
            (None, SceneName::Story) => USERS,
            (None, SceneName::Accident) => USERS_OF_ACCIDENT,
        };
        Ok(usize::try_from(users).unwrap_or(usize::MAX))
    }

    async fn play(&self, world: &World, screen: &mut Screen, shown: &mut Vec<Shown>, once: bool) -> Outcome {
        if let SceneName::Accident = self.scene {
            return accident::play(world, screen, shown).await;
        }
        screen.heading()?;
        for scene in story(world) {
            shown.push(play(world, &scene, screen).await?);
        }
        if once {
            return Ok(());
        }
        screen.say(&invitation(world))?;
        live::go_on(world, screen, shown).await
    }

    fn end(&self, world: &World, screen: &Screen, shown: &[Shown], format: Format) -> Outcome {
        let lost = shown.iter().filter(|shown| !shown.arrived()).count();
        if format == Format::Json {
            output::json(&json!({
                "initial_sync": { "users": world.initial_sync.users, "seconds": world.initial_sync.seconds },
                "changes": shown,
            }))?;
        }
        screen.say(&summary(world, shown, lost))?;
        if lost > 0 {
            return Err(Failure::Failed(format!(
                "{lost} of {} changes did not arrive; RUST_LOG=info shows more",
                shown.len()
            )));
        }
        Ok(())
    }
}

fn interrupted() -> Failure {
    Failure::Failed("the demo was stopped before its end".to_owned())
}

fn summary(world: &World, shown: &[Shown], lost: usize) -> String {
    let counters = world.simulator.counters();
    let arrived = match lost {
        0 => format!("All {} changes arrived.", shown.len()),
        _ => format!("{} of {} changes arrived.", shown.len() - lost, shown.len()),
    };
    format!(
        "\n  {arrived} First sync: {} people in {:.2} s. Requests to Microsoft in all: {}.\n\n\
         \x20 Next: `lockstep simulate` and `lockstep serve` in two terminals (the simulator prints what to paste),\n\
         \x20 or a tenant of your own: `lockstep connection add --help`.\n",
        world.initial_sync.users, world.initial_sync.seconds, counters.total_requests,
    )
}

/// How to change something oneself.
fn invitation(world: &World) -> String {
    let (url, person) = (world.simulator.url(), world.company.people.get(1));
    let id = person.map(|person| person.0.to_string()).unwrap_or_default();
    format!(
        "\n  It goes on by chance until Ctrl-C. Change something yourself:\n\
         \x20   curl -X PATCH {url}/sim/users/{id} -H 'content-type: application/json' -d '{{\"displayName\": \"Alan M. Turing\"}}'\n\
         \x20   curl {url}/sim/users        # everybody\n"
    )
}
