//! Deciding people in a full sync: those of a page, and at the end whoever was on none.

use lockstep_core::{ObjectId, Ticket};
use lockstep_store::{Applied, DueReason, ListedPage, NotListed, StoreError, Trigger};

use super::{Phase, Sync};
use crate::error::WorkerError;
use crate::jobs::compare_group::mark;
use crate::jobs::decide_listed::{PAGE, decide, remembered};
use crate::settle_people::{Look, Occasion, Outcome, Settled};

/// People who clash this often are decided one by one.
const RUNS: usize = 3;

impl Sync<'_> {
    /// Decides the people of a page while it is taken into the mirror. Gives how many of them no page of this sync had
    /// shown before.
    pub(super) async fn decide_page(&mut self, page: &ListedPage) -> Result<u64, WorkerError> {
        let (ticket, read_at) = (page.ticket, page.read_at);
        if self.ctx.store.now().since(read_at) > self.basis.timing.work_timeout {
            // From the checkpoint on: the page is fetched once more.
            return Err(StoreError::Conflict { operation: "full_sync", why: "a page is too old" }.into());
        }
        let looks: Vec<Look> = page.reads().into_iter().map(|read| Look { read, ticket, read_at }).collect();
        let mut met = 0;
        for some in looks.chunks(PAGE) {
            self.notice_new_rules().await?;
            if !self.begins_anew() {
                met += self.decide(some).await?;
            }
        }
        Ok(met)
    }

    /// Decides the next people whom no page decided, in the order of their ids.
    pub(super) async fn decide_others(&mut self) -> Result<(), WorkerError> {
        let Some(NotListed { people, last }) = self.next_others().await? else {
            return self.finish().await;
        };
        for ids in people.chunks(PAGE) {
            let looks = remembered(self.ctx, ids).await?;
            self.decide(&looks).await?;
            if self.begins_anew() {
                return Ok(());
            }
        }
        self.checkpoint.after = Some(last);
        Ok(())
    }

    async fn next_others(&self) -> Result<Option<NotListed>, WorkerError> {
        let (store, connection, after) = (&self.ctx.store, self.connection(), self.checkpoint.after);
        if let Some(since) = self.checkpoint.by_page_since {
            return Ok(store.people_not_listed(connection, after, since, self.checkpoint.rules_version).await?);
        }
        let people = store.people_after(connection, after, PAGE).await?;
        Ok(people.last().copied().map(|last| NotListed { people, last }))
    }

    /// Gives how many people a page shows for the first time; nobody, when other rules came into force.
    async fn decide(&mut self, looks: &[Look]) -> Result<u64, WorkerError> {
        for run in 1.. {
            match self.decide_these(looks).await {
                Err(WorkerError::Store(StoreError::Conflict { .. })) if run < RUNS => self.notice_new_rules().await?,
                Err(WorkerError::Store(StoreError::Conflict { .. })) => return self.decide_one_by_one(looks).await,
                ended => return ended,
            }
            if self.begins_anew() {
                break;
            }
        }
        Ok(0)
    }

    /// Somebody's rows change all the time: everybody else goes on, they are looked at by themselves.
    async fn decide_one_by_one(&mut self, looks: &[Look]) -> Result<u64, WorkerError> {
        let mut met = 0;
        for look in looks {
            match self.decide_these(std::slice::from_ref(look)).await {
                Ok(one) => met += one,
                Err(WorkerError::Store(StoreError::Conflict { .. })) => self.leave_for_later(look.read.user).await?,
                Err(failure) => return Err(failure),
            }
        }
        Ok(met)
    }

    async fn leave_for_later(&mut self, user: ObjectId) -> Result<(), WorkerError> {
        self.progress.failed += 1;
        self.has_looked_at(user);
        let mut tx = self.ctx.store.begin("full_sync").await?;
        let reason = if self.checkpoint.first_sync { DueReason::FirstSync } else { DueReason::Rules };
        let retry = mark(user, reason, false, self.ctx.store.now());
        tx.mark_due(self.connection(), &[retry]).await?;
        self.save(tx).await
    }

    async fn decide_these(&mut self, looks: &[Look]) -> Result<u64, WorkerError> {
        let Some(last) = looks.last() else { return Ok(0) };
        let occasion = Occasion { first_sync: self.checkpoint.first_sync, ..Occasion::of(Trigger::Sync) };
        let settled = decide(self.ctx, &self.client, &self.basis, looks, occasion).await?;
        let Settled { tx, applied, outcomes } = settled;
        let met = outcomes.iter().filter(|outcome| self.meets(outcome)).count() as u64;
        let before = self.progress.clone();
        self.count(&applied);
        // Those of a page are counted with its end: after a crash it is decided once more.
        let with_page = self.checkpoint.phase == Phase::Listing;
        if !with_page {
            self.progress.users += met;
        }
        self.has_looked_at(last.read.user);
        let saved = self.save(tx).await;
        if saved.is_err() {
            self.progress = before;
        }
        self.ctx.due.notify_one();
        saved.map(|()| if with_page { met } else { 0 })
    }

    /// Pages have a cursor of their own.
    fn has_looked_at(&mut self, last: ObjectId) {
        if self.checkpoint.phase == Phase::Deciding {
            self.checkpoint.after = Some(last);
        }
    }

    /// In a group, and counted nowhere before in this sync.
    fn meets(&self, outcome: &Outcome) -> bool {
        let mut present = outcome.person.user.membership.edges.iter().filter(|(_, edge)| edge.present).peekable();
        let listed = |ticket: Ticket| self.checkpoint.by_page_since.is_some_and(|since| ticket >= since);
        let before = match self.checkpoint.phase {
            Phase::Listing => self.checkpoint.groups.get(..self.checkpoint.at).unwrap_or_default(),
            _ => &self.checkpoint.groups,
        };
        present.peek().is_some() && !present.any(|(group, edge)| listed(edge.ticket) && before.contains(group))
    }

    fn count(&mut self, applied: &Applied) {
        let progress = &mut self.progress;
        progress.created += applied.created;
        progress.linked += applied.linked;
        progress.updated += applied.updated;
        progress.deactivated += applied.deactivated;
        progress.held += applied.held;
        progress.reviews += applied.reviews;
    }
}
