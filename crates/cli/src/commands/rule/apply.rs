//! `lockstep rule apply`: puts a rules file in force, after somebody has seen whom it costs their access.

use std::collections::BTreeSet;

use clap::Args;
use lockstep_core::RecordId;
use lockstep_worker::RulePlan;
use serde_json::json;

use super::plan::{Planned, RulesFile, shown};
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format};
use crate::rules::{InForce, apply_rules};

/// Names shown of those who came onto a plan after it was shown.
const NAMED: usize = 5;

#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    rules: RulesFile,
    /// Do it even if people lose access
    #[arg(long)]
    yes: bool,
}

impl Apply {
    pub async fn run(self, app: &App) -> Outcome {
        let planned = self.rules.plan(app).await?;
        if !planned.plan.leaving.is_empty() {
            self.refuse_unseen(app, &planned).await?;
        }
        let Planned { store, connection, read, plan } = planned;
        let in_force = apply_rules(&store, &connection, read, &plan).await?;
        if app.format == Format::Json {
            return output::json(&json!({ "version": in_force.version, "plan": plan, "task": in_force.task }));
        }
        output::line(&shown(&plan))?;
        if connection.first_sync_at.is_none() {
            output::line(
                "this is the plan of the first sync: whoever would lose access by it and is not on it is held, all as one hold",
            )?;
        }
        output::line(&following(&in_force, &connection.name))
    }

    /// What is confirmed is what was shown: nobody loses access whom the person at the keyboard did not see (M12).
    async fn refuse_unseen(&self, app: &App, planned: &Planned) -> Outcome {
        let (file, plan) = (self.rules.file.display(), &planned.plan);
        let shown_before = planned.store.lookup_shown_plan(planned.connection.id).await?;
        let shown_before = shown_before.filter(|before| before.file == planned.read.content());
        planned.note_shown().await?;
        if !self.yes {
            print(app, plan)?;
            let leaving = plan.leaving.len();
            return Err(Failure::Refused(format!(
                "applying {file} takes access from {leaving} people, and nothing was changed; check the plan, then say --yes"
            )));
        }
        let unseen = shown_before.map(|before| unseen(&before.leaving, &plan.leaving)).unwrap_or_default();
        if unseen.is_empty() {
            return Ok(());
        }
        print(app, plan)?;
        Err(Failure::Refused(format!(
            "since the plan for {file} was shown {} more people would lose access ({}), and nothing was changed; check the plan, then say --yes again",
            unseen.len(),
            named(plan, &unseen)
        )))
    }
}

/// Who would lose access now, and was not on the plan that was shown.
fn unseen(shown: &BTreeSet<RecordId>, now: &[RecordId]) -> BTreeSet<RecordId> {
    now.iter().filter(|record| !shown.contains(record)).copied().collect()
}

fn named(plan: &RulePlan, records: &BTreeSet<RecordId>) -> String {
    let people = plan.people.iter().filter_map(|person| person.person.record).filter(|record| records.contains(record));
    let mut ids: Vec<String> = people.take(NAMED).map(|record| record.to_string()).collect();
    if records.len() > NAMED {
        ids.push("…".to_owned());
    }
    ids.join(", ")
}

fn print(app: &App, plan: &RulePlan) -> Outcome {
    match app.format {
        Format::Json => output::json(plan),
        Format::Table => output::line(&shown(plan)),
    }
}

fn following(in_force: &InForce, name: &str) -> String {
    if in_force.mirrored {
        return "the rules are in force; everybody is decided by them now, from what is known already".to_owned();
    }
    format!("the rules are in force and a sync has started; watch it with `lockstep connection sync {name} --wait`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whoever_came_onto_the_plan_since_is_unseen() {
        let [a, b, c] = [1, 2, 3].map(|n| RecordId(uuid::Uuid::from_u128(n)));
        assert_eq!(unseen(&BTreeSet::from([a, b]), &[b]), BTreeSet::new(), "fewer is no surprise");
        assert_eq!(unseen(&BTreeSet::from([a]), &[a, b, c]), BTreeSet::from([b, c]));
    }
}
