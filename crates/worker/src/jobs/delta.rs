//! Delta: asks Graph what changed since the last run, every few minutes and at once on every sign of a gap. Rows are
//! hints; reads by id decide. Killed at any point it goes on after the last committed page (G-12).

mod page;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockstep_core::{ConnectionId, Ticket, Timestamp};
use lockstep_graph::{DeltaNext, GraphClient, GraphEndpoints, GraphError, LinkFault, PageLink};
use lockstep_store::{DeltaProgress, DeltaRound, DeltaState, TakenLink, Task, TaskKind};
use tracing::{error, info, warn};

use crate::basis::Basis;
use crate::clients::{check_tenant, endpoints};
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::delta::page::{Page, fetch, latest, take};
use crate::read::stamp;
use crate::supervise::chain;
use crate::trouble;

/// Graph forgets a token of directory objects after 7 days [DELTA25]: an older one is not even tried.
const LINK_LIFE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// BI-31: no round has more.
const MOST_PAGES: u32 = 100_000;
/// A connection without a link gets one by a full sync, no more often than this.
const RESYNC_EVERY: Duration = Duration::from_secs(15 * 60);

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Complete, or left at a checkpoint for the next run.
    Well,
    /// Graph just said that it forgot the link.
    Expired,
    /// There is no link that works.
    NoLink,
}

struct Run<'a> {
    ctx: &'a Context,
    client: GraphClient,
    basis: Basis,
    endpoints: GraphEndpoints,
    began: Timestamp,
    /// Links followed, as hashes: a longer circle is a repeat too (BI-31).
    followed: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

/// A page, or why there is none, with the ticket drawn before it was asked for.
struct Fetched {
    page: Result<Page, WorkerError>,
    place: (Ticket, Timestamp),
}

/// Runs the rounds of a connection, then owes the next run.
pub(crate) async fn run(ctx: &Context, task: &Task) -> Result<(), WorkerError> {
    let Some(basis) = Basis::load(ctx, task.connection).await? else {
        return Ok(());
    };
    let began = ctx.store.now();
    let client = ctx.client(&basis.connection).await?;
    check_tenant(&client, &basis.connection).await?;
    trouble::note_ok(ctx, &basis.connection).await?;
    let endpoints = endpoints(&basis.connection.cloud, &ctx.config.graph)?;
    let (followed, hasher) = (Mutex::default(), RandomState::new());
    let run = Run { ctx, client, basis, endpoints, began, followed, hasher };
    let mut ended = Vec::new();
    let mut failed = None;
    for round in DeltaRound::ALL {
        match run.round(round).await {
            Ok(end) => ended.push(end),
            Err(failure) if failure.is_connection_wide() || matches!(failure, WorkerError::Stopping) => {
                return Err(failure);
            }
            // What is wrong with one round keeps no other from being told.
            Err(failure) => {
                warn!(connection.id = %task.connection, round = round.as_str(), error = %chain(&failure), "Delta round {} of connection {} failed", round.as_str(), task.connection);
                failed = Some(failure);
            }
        }
    }
    failed.map_or(Ok(()), Err)?;
    run.finish(task, &ended).await
}

impl Run<'_> {
    fn connection(&self) -> ConnectionId {
        self.basis.connection.id
    }

    async fn round(&self, round: DeltaRound) -> Result<Ended, WorkerError> {
        let store = &self.ctx.store;
        let Some(mut state) = store.lookup_delta(self.connection(), round).await? else {
            return Ok(Ended::NoLink);
        };
        let mut abandoned = false;
        let mut ahead: Option<Fetched> = None;
        loop {
            if self.ctx.stopping() {
                return Err(WorkerError::Stopping);
            }
            if state.expired_at.is_some() {
                return Ok(Ended::NoLink);
            }
            if state.under_way.is_none() && store.now().since(state.taken_at) >= LINK_LIFE {
                return self.expire(&state).await;
            }
            let Fetched { page, place } = match ahead.take() {
                Some(fetched) if store.now().since(fetched.place.1) < store.timing().work_timeout / 2 => fetched,
                _ => match self.link(&state) {
                    Ok(link) => self.fetch(round, &link, stamp(store).await?).await,
                    Err(failure) => return self.failed(&state, failure).await,
                },
            };
            match page {
                Ok(page) => {
                    let last = self.has_had_its_time(round);
                    match self.take_and_look_ahead(&state, page, place, last).await? {
                        (Some(next), upcoming) => (state, ahead) = (next, upcoming),
                        (None, _) => return Ok(Ended::Well),
                    }
                }
                Err(WorkerError::Graph(failure)) if is_forgotten(&failure) && state.under_way.is_none() => {
                    return self.expire(&state).await;
                }
                // The page is forgotten, the link may not be: once more from there.
                Err(WorkerError::Graph(failure)) if is_forgotten(&failure) && !abandoned => {
                    abandoned = true;
                    state = self.begin_anew(&state).await?;
                }
                Err(failure) => return self.failed(&state, failure).await,
            }
            if self.has_had_its_time(round) {
                return Ok(Ended::Well);
            }
        }
    }

    /// The narrow rounds are due again: the next run goes on with the wide one from its checkpoint.
    fn has_had_its_time(&self, round: DeltaRound) -> bool {
        let store = &self.ctx.store;
        round == DeltaRound::UsersProfile && store.now().since(self.began) > store.timing().delta_interval
    }

    /// Where the round goes on.
    fn link(&self, state: &DeltaState) -> Result<PageLink, WorkerError> {
        let (text, pages) = match &state.under_way {
            Some(progress) => (&progress.next_link, progress.pages),
            None => (&state.link, 0),
        };
        let refused = |fault| GraphError::LinkRefused { call: "delta", fault };
        let link = PageLink::load(text, &self.endpoints).map_err(refused)?;
        if pages >= MOST_PAGES {
            return Err(refused(LinkFault::TooManyPages).into());
        }
        Ok(link)
    }

    /// Fetches one page; `place` was drawn for it just now.
    async fn fetch(&self, round: DeltaRound, link: &PageLink, place: (Ticket, Timestamp)) -> Fetched {
        let page = fetch(&self.client, round, link).await.map_err(WorkerError::from);
        Fetched { page: page.and_then(|page| self.unless_it_repeats(link, page)), place }
    }

    /// BI-31.
    fn unless_it_repeats(&self, link: &PageLink, page: Page) -> Result<Page, WorkerError> {
        let mut followed = self.followed();
        followed.insert(self.hasher.hash_one(link.as_str()));
        match &page.next {
            DeltaNext::Next(next) if followed.contains(&self.hasher.hash_one(next.as_str())) => {
                Err(GraphError::LinkRefused { call: "delta", fault: LinkFault::Repeats }.into())
            }
            _ => Ok(page),
        }
    }

    fn followed(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next page is fetched while this one is written: Graph's latency is the limit. Only what is written counts;
    /// after a kill the page ahead is fetched once more (G-12).
    async fn take_and_look_ahead(
        &self,
        state: &DeltaState,
        page: Page,
        place: (Ticket, Timestamp),
        last: bool,
    ) -> Result<(Option<DeltaState>, Option<Fetched>), WorkerError> {
        let pages = state.under_way.as_ref().map_or(0, |progress| progress.pages) + 1;
        let next = match &page.next {
            DeltaNext::Next(next) if !last && pages < MOST_PAGES && !self.ctx.stopping() => next.clone(),
            _ => return Ok((self.take(state, page, place).await?, None)),
        };
        let place_ahead = stamp(&self.ctx.store).await?;
        let (taken, ahead) = futures::join!(self.take(state, page, place), self.fetch(state.round, &next, place_ahead));
        Ok((taken?, Some(ahead)))
    }

    /// One page: its due rows and the checkpoint, or the link of the next round, in one transaction (G-12). Gives the
    /// state to go on from; `None`: the round is over.
    async fn take(
        &self,
        state: &DeltaState,
        page: Page,
        place: (Ticket, Timestamp),
    ) -> Result<Option<DeltaState>, WorkerError> {
        let before = state.under_way.as_ref();
        let started_at = before.map_or(place.1, |progress| progress.started_at);
        let refused = before.map_or(0, |progress| progress.refused) + page.refused;
        let rows = before.map_or(0, |progress| progress.rows) + page.rows.len() as u64;
        let (next, page_rows) = (page.next, page.rows);
        let (mut tx, taken) = take(self.ctx, &self.client, &self.basis, state, page_rows, place).await?;
        let following = match &next {
            DeltaNext::Next(link) => {
                let pages = before.map_or(0, |progress| progress.pages) + 1;
                let next_link = link.as_str().to_owned();
                let progress = DeltaProgress { next_link, started_at, pages, rows, refused };
                Some(tx.checkpoint_delta(state, progress).await?)
            }
            DeltaNext::Done(link) if refused == 0 => {
                tracing::trace!(target: "lockstep::point", "delta.before_link");
                tx.complete_delta(state, link.as_str(), started_at).await?;
                None
            }
            DeltaNext::Done(_) => {
                warn!(connection.id = %self.connection(), round = state.round.as_str(), refused, "Delta round {} of connection {} had {refused} unusable rows: it is not complete and will be told again", state.round.as_str(), self.connection());
                tx.abandon_delta(state).await?;
                None
            }
        };
        tx.commit().await?;
        tracing::trace!(target: "lockstep::point", "delta.page_committed");
        metrics::counter!("lockstep_delta_rows_total", "round" => state.round.as_str(), "scope" => "in")
            .increment(taken.due);
        metrics::counter!("lockstep_delta_rows_total", "round" => state.round.as_str(), "scope" => "out")
            .increment(taken.out_of_scope);
        metrics::counter!("lockstep_unnotified_changes_total", "connection" => self.connection().to_string())
            .increment(taken.unnotified);
        self.ctx.due.notify_one();
        Ok(following)
    }

    /// FA-13: nobody is out by it. The old link stays until a full sync brings another.
    async fn expire(&self, state: &DeltaState) -> Result<Ended, WorkerError> {
        self.ctx.store.expire_delta(state).await?;
        warn!(connection.id = %self.connection(), round = state.round.as_str(), "Microsoft no longer knows the delta link {} of connection {}: everybody is compared", state.round.as_str(), self.connection());
        metrics::counter!("lockstep_delta_expired_total").increment(1);
        Ok(Ended::Expired)
    }

    async fn begin_anew(&self, state: &DeltaState) -> Result<DeltaState, WorkerError> {
        self.ctx.store.abandon_delta(state).await?;
        // The same pages may lead there again.
        self.followed().clear();
        let anew = self.ctx.store.lookup_delta(self.connection(), state.round).await?;
        anew.ok_or(WorkerError::Stopping)
    }

    /// A link that leads elsewhere, or in a circle, ends the round; it begins anew at the old link (BI-30, BI-31).
    async fn failed(&self, state: &DeltaState, failure: WorkerError) -> Result<Ended, WorkerError> {
        if matches!(failure, WorkerError::Graph(GraphError::LinkRefused { .. })) {
            error!(connection.id = %self.connection(), round = state.round.as_str(), error = %chain(&failure), "Delta round {} of connection {} is aborted", state.round.as_str(), self.connection());
            metrics::counter!("lockstep_links_refused_total").increment(1);
            if state.under_way.is_some() {
                self.ctx.store.abandon_delta(state).await?;
            }
        }
        Err(failure)
    }

    async fn finish(&self, task: &Task, ended: &[Ended]) -> Result<(), WorkerError> {
        let (store, connection) = (&self.ctx.store, self.connection());
        let mut tx = store.begin("delta").await?;
        let lately = store.now() - RESYNC_EVERY;
        let resync = ended.contains(&Ended::Expired)
            || ended.contains(&Ended::NoLink) && !tx.task_asked_since(connection, TaskKind::FullSync, lately).await?;
        if resync {
            tx.start_task(connection, TaskKind::FullSync, None, store.now()).await?;
        }
        tx.finish_task(task, &task.progress).await?;
        tx.start_task(connection, TaskKind::Delta, None, self.began + store.timing().delta_interval).await?;
        tx.commit().await?;
        if resync {
            info!(connection.id = %connection, "Connection {connection} has no delta link that works: a full sync brings one");
        }
        Ok(())
    }
}

fn is_forgotten(failure: &GraphError) -> bool {
    matches!(failure, GraphError::DeltaExpired { .. } | GraphError::PageLinkExpired { .. })
}

/// Links at *latest*, taken before a listing begins: nothing falls between the two.
pub(crate) async fn take_latest(ctx: &Context, client: &GraphClient) -> Result<Vec<TakenLink>, WorkerError> {
    let mut taken = Vec::new();
    for round in DeltaRound::ALL {
        let taken_at = ctx.store.now();
        let link = latest(ctx, client, round).await?;
        taken.push(TakenLink { round: round.as_str().to_owned(), link, taken_at });
    }
    Ok(taken)
}
