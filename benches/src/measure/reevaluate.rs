//! T9: everybody is decided anew after the rules changed, every group being mirrored, and the plan of that change; against
//! reading all rows once and upserting those that change.

use std::time::Instant;

use lockstep_core::field::FieldMap;
use lockstep_core::record::Kind;
use lockstep_core::rule::{Rule, RuleSet};
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::{ObjectId, TaskId};
use lockstep_simulator::NewGroup;
use lockstep_store::{Connection, NewRules, SyncProgress, TaskKind, TaskState};
use lockstep_worker::{GraphSettings, graph_client, preview_rules};
use serde_json::Value;
use uuid::Uuid;

use super::Report;
use crate::error::{BenchError, During as _};
use crate::installation::Installation;
use crate::metric::{Goal, Metric};
use crate::place::Target;
use crate::serve::wait;
use crate::statistics::{median, number};
use crate::{scan, upsert};

const REPETITIONS: usize = 3;
/// One person in so many is in the small group.
const ONE_IN: usize = 100;
const ATTEMPT: &str = "changing the rules";
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3_600);

/// The two groups of the tenant.
struct Groups {
    few: Uuid,
    staff: Uuid,
}

/// Which people a change of the rules is about.
#[derive(Clone, Copy)]
enum About {
    Nobody,
    Few,
    Staff,
}

impl About {
    const ALL: [Self; 3] = [Self::Nobody, Self::Few, Self::Staff];

    fn words(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Few => "one in a hundred",
            Self::Staff => "all but those",
        }
    }

    fn people(self, all: usize) -> usize {
        let few = all.div_ceil(ONE_IN);
        match self {
            Self::Nobody => 0,
            Self::Few => few,
            Self::Staff => all - few,
        }
    }

    /// Rules that differ from those before for these people alone.
    fn rules(self, groups: &Groups, time: usize) -> Vec<Rule> {
        let (few, staff) = match self {
            Self::Nobody => ("few".to_owned(), "staff".to_owned()),
            Self::Few => (format!("few {time}"), "staff".to_owned()),
            Self::Staff => ("few".to_owned(), format!("staff {time}")),
        };
        vec![rule(groups.few, 10, few), rule(groups.staff, 20 + i64::try_from(time).unwrap_or(0), staff)]
    }
}

pub(crate) async fn run(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    let lockstep = Installation::start(target, "").await?;
    let tenant = lockstep.simulator.tenant();
    let (users, groups) = tenant.seed(people, people, &["Staff"]);
    let few = tenant.create_group(NewGroup::named("Few"));
    for user in users.iter().step_by(ONE_IN) {
        tenant.add_member(few, *user).during("filling a group of the simulator")?;
    }
    let groups = Groups { few, staff: groups[0] };
    put_in_force(&lockstep, About::Nobody.rules(&groups, 0)).await?;
    lockstep.sync().await?;
    lockstep.subscribed_and_at_rest().await?;
    let a_second = upsert::rate(&lockstep.place.reference_url(), people, upsert::BATCH).await?;
    for about in About::ALL {
        let changed = about.people(people);
        let (mut decided, mut planned, mut scanned) = (vec![], vec![], vec![]);
        for time in 1..=REPETITIONS {
            scanned.push(scan::seconds(&lockstep.place.rows_url()).await?);
            let rules = about.rules(&groups, time);
            planned.push(plan(&lockstep, rules.clone()).await?);
            decided.push(decide(&lockstep, rules, changed).await?);
            // Back to where it was, so that each repetition changes as many.
            decide(&lockstep, About::Nobody.rules(&groups, 0), changed).await?;
        }
        let scan = median(&mut scanned);
        let bound = 3.0 * scan + 1.5 * number(changed) / a_second;
        let what = format!("{people} people decided anew, {} changing", about.words());
        let against = "3 × scan + 1.5 × upsert per changed row";
        report(
            Metric::of("T9", &*what, median(&mut decided), "s").against(against, bound).goal(Goal::RatioAtMost(1.0)),
        );
        let what = format!("the plan of it: {}", about.words());
        report(Metric::of("T9", what, median(&mut planned), "s").against(against, bound).goal(Goal::RatioAtMost(1.0)));
    }
    Ok(())
}

async fn now(lockstep: &Installation) -> Result<Connection, BenchError> {
    let found = lockstep.store.lookup_connection(lockstep.connection.id).await.during(ATTEMPT)?;
    found.ok_or_else(|| BenchError::Worthless("the connection is gone".to_owned()))
}

/// As `rule apply` does it where every group is mirrored.
async fn put_in_force(lockstep: &Installation, rules: Vec<Rule>) -> Result<TaskId, BenchError> {
    let (fields, defaults, settings) = (&FieldMap::default(), &Defaults::default(), &Settings::default());
    let planned_on = now(lockstep).await?.rules_version;
    let (plan, confirmed, follow_up) = (Value::Null, &[][..], TaskKind::Reevaluate);
    let new = NewRules { rules, fields, defaults, settings, confirmed, plan, planned_on, follow_up };
    let (_, task) = lockstep.store.put_rules_in_force(lockstep.connection.id, new).await.during(ATTEMPT)?;
    Ok(task)
}

/// Seconds until everybody is decided; worth nothing if Graph was asked, or other rows were written than had to be.
async fn decide(lockstep: &Installation, rules: Vec<Rule>, changed: usize) -> Result<f64, BenchError> {
    lockstep.simulator.reset_counters();
    let began = Instant::now();
    let task = put_in_force(lockstep, rules).await?;
    let progress: SyncProgress = loop {
        let view = lockstep.store.lookup_task(task).await.during(ATTEMPT)?;
        match view.filter(|view| view.state == TaskState::Done) {
            Some(view) => break view.progress,
            None => wait(began, "the re-evaluation", PATIENCE).await?,
        }
    };
    let seconds = began.elapsed().as_secs_f64();
    let asked = lockstep.asked().about_people;
    if asked > 0 {
        return Err(BenchError::Worthless(format!("Graph was asked {asked} times")));
    }
    if usize::try_from(progress.updated).ok() != Some(changed) {
        return Err(BenchError::Worthless(format!("{} records changed, not {changed}", progress.updated)));
    }
    Ok(seconds)
}

async fn plan(lockstep: &Installation, rules: Vec<Rule>) -> Result<f64, BenchError> {
    let url = lockstep.simulator.url().parse().ok();
    let settings = GraphSettings { graph_url: url.clone(), login_url: url };
    let connection = now(lockstep).await?;
    let client = graph_client(&lockstep.store, &connection, &settings).await.during(ATTEMPT)?;
    let rules = RuleSet::build(connection.rules_version + 1, rules).during(ATTEMPT)?;
    let began = Instant::now();
    let (fields, defaults, settings) = (FieldMap::default(), Defaults::default(), Settings::default());
    preview_rules(&lockstep.store, &client, &connection, rules, fields, defaults, settings).await.during(ATTEMPT)?;
    Ok(began.elapsed().as_secs_f64())
}

fn rule(group: Uuid, order: i64, role: String) -> Rule {
    Rule {
        group: ObjectId(group),
        order,
        kind: Kind::Employee,
        role: Some(role),
        permissions: Vec::new(),
        nested: true,
        exclude: false,
        group_name: "Staff".to_owned(),
        group_created_at: None,
    }
}
