//! Decides everyone anew after the rules changed, from what the mirror holds (T9). Graph is asked nothing, and rows are
//! written only of people for whom something changes: whoever needs a fresh read is due for one.

use lockstep_core::{ObjectId, Timestamp};
use lockstep_store::{Applied, DueReason, MarkDue, MirroredPerson, People, StoreError, SyncProgress, Task, Tx};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::compare_group::mark;
use crate::jobs::decide_listed::{PAGE, waiting};
use crate::read::stamp;
use crate::settle_people::{Look, Settled, settle_remembered};
use crate::tasks;

/// A page that clashes this often is left to looks of its own.
const RUNS: usize = 3;
/// Pages of people for whom nothing changes cost no commit, up to so many.
const PAGES_A_CHECKPOINT: usize = 20;

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    /// Other rules make it begin anew.
    rules_version: i64,
    /// The last person decided.
    after: Option<ObjectId>,
}

/// Goes on with the task from its checkpoint.
pub(crate) async fn run(ctx: &Context, task: &Task) -> Result<(), WorkerError> {
    let mut sweep = Sweep { ctx, task, checkpoint: tasks::resume(task)?, progress: task.progress.clone(), unsaved: 0 };
    loop {
        if ctx.stopping() {
            return Err(WorkerError::Stopping);
        }
        let Some(basis) = Basis::load(ctx, task.connection).await? else {
            return Ok(());
        };
        sweep.notice_new_rules(&basis);
        let people = ctx.store.load_people(&basis.connection, People::After(sweep.checkpoint.after, PAGE)).await?;
        let Some(last) = people.last().map(|person| person.user.id) else {
            if sweep.finish().await? {
                return Ok(());
            }
            continue;
        };
        sweep.decide(&basis, &people, last).await?;
    }
}

struct Sweep<'a> {
    ctx: &'a Context,
    task: &'a Task,
    checkpoint: Checkpoint,
    progress: SyncProgress,
    /// Pages since the last checkpoint.
    unsaved: usize,
}

impl Sweep<'_> {
    fn notice_new_rules(&mut self, basis: &Basis) {
        if self.checkpoint.rules_version != basis.rules.version {
            self.checkpoint = Checkpoint { rules_version: basis.rules.version, after: None };
            self.progress = SyncProgress { step: "deciding".to_owned(), ..SyncProgress::default() };
        }
    }

    async fn decide(&mut self, basis: &Basis, people: &[MirroredPerson], last: ObjectId) -> Result<(), WorkerError> {
        let now = self.ctx.store.now();
        let changing: Vec<ObjectId> =
            people.iter().filter(|person| changes(basis, person, now)).map(|person| person.user.id).collect();
        if changing.is_empty() {
            return self.pass(people.len(), last).await;
        }
        for run in 1.. {
            match self.decide_these(basis, &changing, people.len(), last).await {
                // Other rules, or rows that changed meanwhile: the page is loaded again by the caller, as it is then.
                Err(WorkerError::Store(StoreError::Conflict { .. })) if run < RUNS => {
                    let Some(now) = Basis::load(self.ctx, basis.connection.id).await? else { return Ok(()) };
                    if now.rules.version != basis.rules.version {
                        return Ok(());
                    }
                }
                Err(WorkerError::Store(StoreError::Conflict { .. })) => {
                    return self.leave(basis, &changing, people.len(), last).await;
                }
                ended => return ended,
            }
        }
        Ok(())
    }

    /// Nothing changes for anybody.
    async fn pass(&mut self, people: usize, last: ObjectId) -> Result<(), WorkerError> {
        self.advance(people, last);
        self.unsaved += 1;
        if self.unsaved < PAGES_A_CHECKPOINT {
            return Ok(());
        }
        let tx = self.ctx.store.begin("reevaluate").await?;
        self.save(tx).await
    }

    async fn decide_these(
        &mut self,
        basis: &Basis,
        changing: &[ObjectId],
        people: usize,
        last: ObjectId,
    ) -> Result<(), WorkerError> {
        let place = stamp(&self.ctx.store).await?;
        let looks: Vec<Look> = changing.iter().map(|user| Look::remembered(*user, place)).collect();
        let Settled { mut tx, applied, outcomes } = settle_remembered(&self.ctx.store, basis, &looks).await?;
        let now = self.ctx.store.now();
        let marks: Vec<MarkDue> = outcomes.iter().filter_map(|outcome| waiting(outcome, now)).collect();
        tx.mark_due(basis.connection.id, &marks).await?;
        let before = (self.checkpoint, self.progress.clone());
        self.advance(people, last);
        self.count(&applied);
        let saved = self.save(tx).await;
        if saved.is_err() {
            (self.checkpoint, self.progress) = before;
        }
        if !marks.is_empty() {
            self.ctx.due.notify_one();
        }
        saved
    }

    /// Somebody's rows change all the time: they are looked at by themselves, everybody else goes on.
    async fn leave(
        &mut self,
        basis: &Basis,
        changing: &[ObjectId],
        people: usize,
        last: ObjectId,
    ) -> Result<(), WorkerError> {
        let now = self.ctx.store.now();
        let marks: Vec<MarkDue> = changing.iter().map(|user| mark(*user, DueReason::Rules, false, now)).collect();
        let mut tx = self.ctx.store.begin("reevaluate").await?;
        tx.mark_due(basis.connection.id, &marks).await?;
        self.advance(people, last);
        self.save(tx).await?;
        self.ctx.due.notify_one();
        Ok(())
    }

    fn advance(&mut self, people: usize, last: ObjectId) {
        self.checkpoint.after = Some(last);
        self.progress.users += people as u64;
    }

    fn count(&mut self, applied: &Applied) {
        let progress = &mut self.progress;
        progress.updated += applied.updated + applied.reactivated;
        progress.deactivated += applied.deactivated;
        progress.held += applied.held;
        progress.reviews += applied.reviews;
    }

    async fn save(&mut self, mut tx: Tx) -> Result<(), WorkerError> {
        tx.checkpoint_task(self.task, &tasks::checkpoint(&self.checkpoint)?, &self.progress).await?;
        tx.commit().await?;
        self.unsaved = 0;
        tracing::trace!(target: "lockstep::point", "reevaluate.saved");
        Ok(())
    }

    /// `false`: other rules came into force, and whoever put them there counts on this task.
    async fn finish(&mut self) -> Result<bool, WorkerError> {
        let (connection, version, users) = (self.task.connection, self.checkpoint.rules_version, self.progress.users);
        self.progress.step = "done".to_owned();
        let mut tx = self.ctx.store.begin("reevaluate").await?;
        if !tx.holds_rules(connection, version).await? {
            return Ok(false);
        }
        tx.finish_task(self.task, &self.progress).await?;
        tx.commit().await?;
        info!(connection.id = %connection, users, updated = self.progress.updated, deactivated = self.progress.deactivated, "Everybody of connection {connection} is decided by rules version {version}");
        Ok(true)
    }
}

/// Whether anything of this person is to be written, or read again, under the rules of now.
fn changes(basis: &Basis, person: &MirroredPerson, now: Timestamp) -> bool {
    let plan = basis.plan(person, None, now);
    let grant = plan.desired.grant.as_ref().map(|grant| grant.group);
    let other_rule = person.record.is_some() && grant.is_some() && grant != person.rule_group;
    // Whoever turns out to stay is on the confirmed plan no longer.
    other_rule || person.confirmed || !plan.is_settled(person.user.agreements)
}
