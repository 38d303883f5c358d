//! The full sync: pages every mapped group's members into the mirror and decides them, then whoever was on no page. Each
//! step is committed with its checkpoint: killed at any point it loses at most a page.

mod deciding;

use std::collections::BTreeSet;

use lockstep_core::{ConnectionId, ObjectId, Ticket, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::{DueReason, ListedPage, MarkDue, SyncProgress, TakenLink, Task, TaskKind, Tx};
use serde::{Deserialize, Serialize};
use tracing::{Instrument as _, info, warn};

use crate::basis::Basis;
use crate::clients::check_tenant;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::compare_group::{mark, mark_deleted, mirror_one};
use crate::jobs::relist::shrank;
use crate::jobs::{daily_compare, deleted_people, delta, managers, subscriptions};
use crate::listing::{self, Cursor, Fetched, deleted_group, fetch, read_group, read_nested};
use crate::read::stamp;
use crate::supervise::chain;
use crate::tasks;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    #[default]
    Begin,
    Listing,
    Nested,
    Deleted,
    Deciding,
    Done,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    phase: Phase,
    /// Other rules make the sync begin anew.
    rules_version: i64,
    /// Nothing had been synced before: what is taken from people who were there is one hold.
    first_sync: bool,
    /// Mapped groups, and the one that is listed now.
    groups: Vec<ObjectId>,
    at: usize,
    cursor: Cursor,
    /// Groups found inside them, still to be read.
    nested: BTreeSet<ObjectId>,
    /// People are decided by the page that shows them, and only the others at the end; every ticket of this sync comes
    /// after this one. `None`: everybody is decided at the end.
    #[serde(default)]
    by_page_since: Option<Ticket>,
    /// At the end: the last person looked at.
    after: Option<ObjectId>,
    /// Delta links at *latest*, taken before the listing: current once the sync is complete (G-12).
    #[serde(default)]
    links: Vec<TakenLink>,
    /// People the mirror had in the listed groups, and those of them that no listing showed (FA-16).
    #[serde(default)]
    known: u64,
    #[serde(default)]
    missing: u64,
}

struct Sync<'a> {
    ctx: &'a Context,
    task: &'a Task,
    client: GraphClient,
    basis: Basis,
    checkpoint: Checkpoint,
    progress: SyncProgress,
    /// Requests counted before this run began.
    requests: u64,
    sent_before: u64,
    /// This run: what a former one listed may be from before an outage.
    began: Timestamp,
}

/// Goes on with the task from its checkpoint.
pub(crate) async fn run(ctx: &Context, task: &Task) -> Result<(), WorkerError> {
    let Some(basis) = Basis::load(ctx, task.connection).await? else {
        return Ok(());
    };
    let client = ctx.client(&basis.connection).await?;
    let sent_before = client.requests_sent();
    check_tenant(&client, &basis.connection).await?;
    crate::trouble::note_ok(ctx, &basis.connection).await?;
    let checkpoint = tasks::resume(task)?;
    let progress = task.progress.clone();
    let requests = progress.graph_requests;
    let began = ctx.store.now();
    let mut sync = Sync { ctx, task, client, basis, checkpoint, progress, requests, sent_before, began };
    while sync.checkpoint.phase != Phase::Done {
        if ctx.stopping() {
            return Err(WorkerError::Stopping);
        }
        sync.notice_new_rules().await?;
        match sync.checkpoint.phase {
            Phase::Begin => sync.begin().await?,
            Phase::Listing => sync.list_group().await?,
            Phase::Nested => sync.read_nested().await?,
            Phase::Deleted => sync.note_deleted().await?,
            Phase::Deciding => sync.decide_others().await?,
            Phase::Done => {}
        }
    }
    let connection = sync.basis.connection.id;
    info!(connection.id = %connection, kind = ?task.kind, users = sync.progress.users, requests = sync.progress.graph_requests, "Full sync of connection {connection} is complete");
    Ok(())
}

impl Sync<'_> {
    fn connection(&self) -> ConnectionId {
        self.basis.connection.id
    }

    /// What was listed or decided under older rules counts for nothing.
    async fn notice_new_rules(&mut self) -> Result<(), WorkerError> {
        let Some(basis) = Basis::load(self.ctx, self.connection()).await? else {
            return Err(WorkerError::Stopping);
        };
        self.basis = Basis { listing_since: self.checkpoint.first_sync.then_some(self.began), ..basis };
        if self.checkpoint.phase != Phase::Begin && self.checkpoint.rules_version != self.basis.rules.version {
            info!(connection.id = %self.connection(), "The rules of connection {} changed: its full sync begins anew", self.connection());
            self.checkpoint = Checkpoint::default();
        }
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), WorkerError> {
        let links = if self.task.kind == TaskKind::FullSync { self.follow_changes().await? } else { Vec::new() };
        let by_page_since = if self.decides_at_the_end().await? { None } else { Some(stamp(&self.ctx.store).await?.0) };
        self.checkpoint = Checkpoint {
            phase: Phase::Listing,
            rules_version: self.basis.rules.version,
            first_sync: self.basis.connection.first_sync_at.is_none(),
            groups: self.basis.rules.groups().collect(),
            by_page_since,
            links,
            ..Checkpoint::default()
        };
        self.progress = SyncProgress {
            groups_total: self.checkpoint.groups.len() as u64,
            graph_requests: self.requests,
            ..SyncProgress::default()
        };
        let tx = self.ctx.store.begin("full_sync").await?;
        self.save(tx).await
    }

    /// Where a rule excludes people, only the last listing tells whom. And a first sync that may match people with records
    /// that were there before matches, and removes, nobody before it has seen every group (TH-09, D6).
    async fn decides_at_the_end(&self) -> Result<bool, WorkerError> {
        let excludes = self.basis.rules.rules().iter().any(|rule| rule.exclude);
        let first = self.basis.connection.first_sync_at.is_none();
        Ok(excludes || (first && self.ctx.store.has_unlinked_records(&self.basis.connection).await?))
    }

    /// Subscriptions, then delta links, then the listing: no change falls between the listing and what tells of changes
    /// from then on.
    async fn follow_changes(&self) -> Result<Vec<TakenLink>, WorkerError> {
        if let Err(failure) = subscriptions::keep(self.ctx, &self.basis.connection, &self.client).await {
            if failure.is_connection_wide() {
                return Err(failure);
            }
            // The scheduler goes on trying; what is missed until then is a gap.
            warn!(connection.id = %self.connection(), error = %chain(&failure), "Syncing connection {} without subscriptions", self.connection());
        }
        delta::take_latest(self.ctx, &self.client).await
    }

    /// Lists the group the checkpoint stands at to its end.
    async fn list_group(&mut self) -> Result<(), WorkerError> {
        let Some(&group) = self.checkpoint.groups.get(self.checkpoint.at) else {
            return self.all_listed().await;
        };
        let store = &self.ctx.store;
        let Some(read) = read_group(store, &self.client, group).await? else {
            return self.skip(group).await;
        };
        let mut fetched = fetch(&self.client, group, &self.checkpoint.cursor, stamp(store).await?).await?;
        let mut tx = store.begin("full_sync").await?;
        tx.mirror_group(&self.basis.connection, &read).await?;
        tx.commit().await?;
        loop {
            let Fetched::Page(page, following) = fetched else {
                return self.skip(group).await;
            };
            let Some(next) = following else {
                self.write_page(&page, None).await?;
                return if self.begins_anew() { Ok(()) } else { self.group_listed(group, &page).await };
            };
            // The next page is fetched and read while this one is written: Graph's latency is the limit.
            let (client, ctx) = (self.client.clone(), self.ctx);
            let (cursor, place) = (next.clone(), stamp(&ctx.store).await?);
            let fetching = async move { fetch(&client, group, &cursor, place).await };
            let upcoming = tokio::spawn(fetching.in_current_span());
            let (written, upcoming) = futures::join!(self.write_page(&page, Some(next)), upcoming);
            written?;
            fetched = upcoming.map_err(|_| WorkerError::BrokenDown)??;
            if self.begins_anew() {
                return Ok(());
            }
            if ctx.stopping() {
                return Err(WorkerError::Stopping);
            }
        }
    }

    /// Other rules came into force.
    fn begins_anew(&self) -> bool {
        self.checkpoint.phase == Phase::Begin
    }

    /// Groups are listed in the order of their rules: when a page shows somebody, all listings that could give them another
    /// rule's access are complete.
    async fn write_page(&mut self, page: &ListedPage, next: Option<Cursor>) -> Result<(), WorkerError> {
        let by_page = self.checkpoint.by_page_since.is_some();
        let met = if by_page { self.decide_page(page).await? } else { 0 };
        if self.begins_anew() {
            return Ok(());
        }
        let mut tx = self.ctx.store.begin("full_sync").await?;
        match by_page {
            true => tx.enter_scope(&self.basis.connection, page).await?,
            false => tx.mirror_listing(&self.basis.connection, page).await?,
        }
        self.progress.users += met;
        self.checkpoint.nested.extend(page.groups.iter().copied());
        // The last page stays the checkpoint's until the group is closed: it is fetched once more after a crash.
        if let Some(next) = next {
            self.checkpoint.cursor = next;
        }
        self.save(tx).await
    }

    /// Whoever the mirror has and the listing had not is read by id: a listing proves no absence (G-09, FA-16).
    async fn group_listed(&mut self, group: ObjectId, last: &ListedPage) -> Result<(), WorkerError> {
        let now = self.ctx.store.now();
        let mut tx = self.ctx.store.begin("full_sync").await?;
        let missing = tx.missing_from_listing(&self.basis.connection, group, last.first_ticket).await?;
        self.checkpoint.known += tx.count_in_group(&self.basis.connection, group).await?;
        self.checkpoint.missing += missing.len() as u64;
        let marks: Vec<MarkDue> = missing.iter().map(|user| mark(*user, DueReason::NotListed, true, now)).collect();
        tx.mark_due(self.connection(), &marks).await?;
        tx.mark_group_listed(&self.basis.connection, group, now).await?;
        self.next_group();
        self.save(tx).await
    }

    /// A mapped group that is not there: nobody is in by it, and whoever was is read by id.
    async fn skip(&mut self, group: ObjectId) -> Result<(), WorkerError> {
        warn!(connection.id = %self.connection(), group.id = %group, "Mapped group {group} does not exist in Entra: its rule gives nobody access");
        let scope = listing::scope(&self.ctx.store, &self.basis.connection).await?;
        let deleted = deleted_group(&self.ctx.store, group, &scope).await?;
        let mut tx = self.ctx.store.begin("full_sync").await?;
        let people = mark_deleted(&mut tx, &self.basis, &deleted, &scope, self.ctx.store.now()).await?;
        self.checkpoint.known += people as u64;
        self.checkpoint.missing += people as u64;
        self.next_group();
        self.save(tx).await
    }

    fn next_group(&mut self) {
        self.checkpoint.at += 1;
        self.checkpoint.cursor = Cursor::default();
        self.progress.groups_listed += 1;
    }

    async fn all_listed(&mut self) -> Result<(), WorkerError> {
        self.checkpoint.phase = Phase::Nested;
        let tx = self.ctx.store.begin("full_sync").await?;
        self.save(tx).await
    }

    /// One group found inside a mapped one: from now on hints about it are in scope, and chains can be explained.
    async fn read_nested(&mut self) -> Result<(), WorkerError> {
        let Some(group) = self.checkpoint.nested.pop_first() else {
            self.checkpoint.phase = Phase::Deleted;
            let mut tx = self.ctx.store.begin("full_sync").await?;
            tx.note_first_sync(self.connection()).await?;
            return self.save(tx).await;
        };
        let found = read_nested(&self.ctx.store, &self.client, group).await?;
        let mut tx = self.ctx.store.begin("full_sync").await?;
        if let Some(found) = found {
            mirror_one(&mut tx, &self.basis, &found).await?;
        }
        self.save(tx).await
    }

    /// After the listing: whoever was deleted before it is on no page of a group.
    async fn note_deleted(&mut self) -> Result<(), WorkerError> {
        if self.task.kind != TaskKind::Relist {
            deleted_people::note(self.ctx, &self.client, &self.basis).await?;
        }
        self.checkpoint.phase = Phase::Deciding;
        let tx = self.ctx.store.begin("full_sync").await?;
        self.save(tx).await
    }

    async fn finish(&mut self) -> Result<(), WorkerError> {
        self.progress.graph_requests = self.requests_so_far();
        self.progress.step = "done".to_owned();
        let mut tx = self.ctx.store.begin("full_sync").await?;
        // Whoever put other rules in force meanwhile counts on this task: it begins anew.
        if !tx.holds_rules(self.connection(), self.checkpoint.rules_version).await? {
            return Ok(());
        }
        tx.finish_task(self.task, &self.progress).await?;
        self.conclude(&mut tx).await?;
        tx.commit().await?;
        self.checkpoint.phase = Phase::Done;
        Ok(())
    }

    /// What follows from having listed everybody; from a listing that looks truncated nothing does (FA-16).
    async fn conclude(&self, tx: &mut Tx) -> Result<(), WorkerError> {
        let (connection, Checkpoint { known, missing, .. }) = (self.connection(), &self.checkpoint);
        let whole = !shrank(*missing, *known);
        if !whole {
            warn!(connection.id = %connection, missing, known, "The listings of connection {connection} did not show {missing} of {known} people: each is read by id, and nothing else follows from them");
            metrics::counter!("lockstep_listing_shrank_total").increment(1);
        }
        match self.task.kind {
            TaskKind::FullSync => {
                if whole {
                    tx.renew_delta_links(connection, &self.checkpoint.links).await?;
                    tx.close_gap(connection, self.task.created_at).await?;
                }
                tx.owe_relists(connection, None).await?;
                daily_compare::owe(self.ctx, tx, connection).await?;
                let began = self.checkpoint.links.first().map_or(self.ctx.store.now(), |link| link.taken_at);
                let next_delta = began + self.basis.timing.delta_interval;
                tx.start_task(connection, TaskKind::Delta, None, next_delta).await?;
                managers::owe(self.ctx, tx, &self.basis).await?;
            }
            TaskKind::DailyCompare => {
                daily_compare::owe(self.ctx, tx, connection).await?;
                managers::owe(self.ctx, tx, &self.basis).await?;
            }
            TaskKind::ListGroup | TaskKind::Delta | TaskKind::Relist | TaskKind::Reevaluate | TaskKind::Managers => {}
        }
        Ok(())
    }

    fn requests_so_far(&self) -> u64 {
        self.requests + self.client.requests_sent().saturating_sub(self.sent_before)
    }

    /// Commits a step together with the place to go on from.
    async fn save(&mut self, mut tx: Tx) -> Result<(), WorkerError> {
        self.progress.graph_requests = self.requests_so_far();
        self.progress.step = match self.checkpoint.phase {
            Phase::Begin | Phase::Listing => "listing groups",
            Phase::Nested => "reading nested groups",
            Phase::Deleted => "listing deleted people",
            Phase::Deciding | Phase::Done => "deciding",
        }
        .to_owned();
        tx.checkpoint_task(self.task, &tasks::checkpoint(&self.checkpoint)?, &self.progress).await?;
        tx.commit().await?;
        tracing::trace!(target: "lockstep::point", "full_sync.saved");
        Ok(())
    }
}
