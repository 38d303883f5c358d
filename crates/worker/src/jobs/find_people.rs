//! Finds out what due people are now, in as few requests as their number allows (T5): a few by id; of many, those of
//! whom only the profile is wanted 300 at a time by a filter, the others 20 at a time. Whoever a filtered answer does
//! not show, or shows with another access than is known, is read by id: a listing takes nobody's access (G-10).

use std::collections::BTreeMap;

use futures::stream::{FuturesUnordered, Stream, StreamExt as _, unfold};
use lockstep_core::ObjectId;
use lockstep_core::mirror::{PersonRead, ProfileFound, ProfileRead};
use lockstep_core::record::Status;
use lockstep_graph::{BY_ID_PER_BATCH, IDS_PER_BATCH, MEMBERSHIPS_PER_BATCH, ObjectKind};
use lockstep_store::{Due, DueClaim, DueKind, DueReason, KnownPerson, KnownProfile};
use tokio::time::{Duration, Instant, sleep_until};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::read::{Asked, Facets, Missed, Reader, decisive, stamp};
use crate::settle_people::Look;

/// So few are read by id, each for itself.
pub(crate) const FEW: usize = 8;
/// What comes in so soon after the first answer is committed together with it; what takes longer holds nobody up.
const WAVE: Duration = Duration::from_millis(10);

/// What reading one due object found.
pub(crate) enum Found {
    Person(Look),
    Group,
    /// A device or the like: nothing of ours.
    Other(Look),
    /// A filtered answer that proves nothing: to be read by id.
    Unsure,
    Failed(WorkerError),
    /// The request for it was about others too, and failed: nobody knows over whom.
    Spoiled(WorkerError),
}

impl From<Missed> for Found {
    fn from(missed: Missed) -> Self {
        if missed.shared { Self::Spoiled(missed.failure.into()) } else { Self::Failed(missed.failure.into()) }
    }
}

/// What came in together.
pub(crate) type Wave = Vec<(Due, Found)>;

/// Due objects of one connection under work.
#[derive(Clone, Copy)]
pub(crate) struct Batch<'a> {
    pub ctx: &'a Context,
    pub basis: &'a Basis,
    pub reader: Reader<'a>,
    /// What is known of them already decides how they are read.
    pub known: &'a BTreeMap<ObjectId, KnownPerson>,
}

enum How {
    Alone,
    Glance,
    Thorough,
    ById,
}

impl<'a> Batch<'a> {
    /// Reads them for the first time.
    pub(crate) fn find(self, dues: Vec<Due>) -> impl Stream<Item = Result<Wave, WorkerError>> + 'a {
        let mut units = Vec::new();
        if dues.len() <= FEW {
            units.extend(dues.into_iter().map(|due| (vec![due], How::Alone)));
        } else {
            let (brief, thorough): (Vec<Due>, Vec<Due>) = dues.into_iter().partition(|due| self.may_glance(due));
            units.extend(chunks(thorough, MEMBERSHIPS_PER_BATCH).map(|some| (some, How::Thorough)));
            units.extend(chunks(brief, IDS_PER_BATCH).map(|some| (some, How::Glance)));
        }
        self.waves(units)
    }

    /// Reads by id whoever was found [`Found::Unsure`].
    pub(crate) fn find_by_id(self, dues: Vec<Due>) -> impl Stream<Item = Result<Wave, WorkerError>> + 'a {
        const { assert!(BY_ID_PER_BATCH == MEMBERSHIPS_PER_BATCH, "both facets of a chunk are one request each") };
        self.waves(chunks(dues, BY_ID_PER_BATCH).map(|some| (some, How::ById)).collect())
    }

    /// Reads each by itself, so that nobody suffers from another.
    pub(crate) fn find_alone(self, dues: Vec<Due>) -> impl Stream<Item = Result<Wave, WorkerError>> + 'a {
        self.waves(dues.into_iter().map(|due| (vec![due], How::Alone)).collect())
    }

    fn waves(self, units: Vec<(Vec<Due>, How)>) -> impl Stream<Item = Result<Wave, WorkerError>> + 'a {
        let reading: FuturesUnordered<_> = units.into_iter().map(|(dues, how)| self.read(dues, how)).collect();
        unfold(reading, async |mut reading| {
            let mut wave = match reading.next().await? {
                Ok(found) => found,
                Err(failure) => return Some((Err(failure), reading)),
            };
            let until = Instant::now() + WAVE;
            loop {
                tokio::select! {
                    more = reading.next() => match more {
                        Some(Ok(found)) => wave.extend(found),
                        Some(Err(failure)) => return Some((Err(failure), reading)),
                        None => break,
                    },
                    () = sleep_until(until) => break,
                }
            }
            Some((Ok(wave), reading))
        })
    }

    async fn read(self, dues: Vec<Due>, how: How) -> Result<Wave, WorkerError> {
        let found = match how {
            How::Alone => self.read_alone(dues).await?,
            How::Glance => self.glance(dues).await?,
            How::Thorough => self.read_many(dues, false).await?,
            How::ById => self.read_many(dues, true).await?,
        };
        self.tell_kinds(found).await
    }

    async fn read_alone(self, dues: Vec<Due>) -> Result<Wave, WorkerError> {
        let mut wave = Vec::new();
        for due in dues {
            let found = match self.person(&due).await {
                Ok(read) => Found::Person(self.look(read).await?),
                Err(failure @ WorkerError::Store(_)) => return Err(failure),
                Err(failure) => Found::Failed(failure),
            };
            wave.push((due, found));
        }
        Ok(wave)
    }

    async fn person(self, due: &Due) -> Result<PersonRead, WorkerError> {
        let (user, facets) = (due.object, self.facets(due));
        if facets.profile
            && let Some(answer) = self.ctx.ahead.take(due)
        {
            let profile = async {
                match answer.await {
                    Ok(Ok(read)) => Ok(read),
                    // By then another secret may be in force, whose failure it is not: what stands in the way is met again.
                    Ok(Err(_)) | Err(_) => self.reader.profile(user).await,
                }
            };
            return self.reader.person_whose_profile(user, facets, profile).await;
        }
        self.reader.person(user, facets).await
    }

    async fn glance(self, dues: Vec<Due>) -> Result<Wave, WorkerError> {
        let users: Vec<ObjectId> = dues.iter().map(|due| due.object).collect();
        let mut sights = self.reader.glance(&users, dues.iter().any(tells_manager)).await?;
        let mut wave = Vec::new();
        for due in dues {
            let user = due.object;
            let found = match sights.remove(&user) {
                Some(Ok(Some(profile))) if self.suffices(user, &profile) => {
                    Found::Person(self.look(PersonRead { user, profile: Some(profile), membership: None }).await?)
                }
                Some(Ok(_)) | None => Found::Unsure,
                Some(Err(missed)) => missed.into(),
            };
            wave.push((due, found));
        }
        Ok(wave)
    }

    async fn read_many(self, dues: Vec<Due>, by_id: bool) -> Result<Wave, WorkerError> {
        let ask = |due: &Due| Asked {
            user: due.object,
            facets: self.facets(due),
            by_id: by_id || !may_be_listed(due, self.known.get(&due.object)),
            manager_too: tells_manager(due),
        };
        let asked: Vec<Asked> = dues.iter().map(ask).collect();
        let mut reads = self.reader.people(&asked, |user, read| self.suffices(user, read)).await?;
        let mut wave = Vec::new();
        for due in dues {
            let found = match reads.remove(&due.object) {
                Some(Ok(read)) => Found::Person(self.look(read).await?),
                Some(Err(missed)) => missed.into(),
                None => Found::Unsure,
            };
            wave.push((due, found));
        }
        Ok(wave)
    }

    async fn look(self, read: PersonRead) -> Result<Look, WorkerError> {
        let (ticket, read_at) = match decisive(&read) {
            Some(order) => order,
            // Asked for nothing: cannot be, but must not be taken for an answer.
            None => stamp(self.reader.store).await?,
        };
        Ok(Look { read, ticket, read_at })
    }

    /// A member may be a user, a group or a device: a 404 as a user says nothing before its kind is known.
    async fn tell_kinds(self, wave: Wave) -> Result<Wave, WorkerError> {
        let unclear = |(due, found): &(Due, Found)| match found {
            Found::Person(look) => {
                let known = self.known.get(&due.object).is_some_and(is_a_user);
                due.kind == DueKind::Unknown && !known && look.is_missing()
            }
            _ => false,
        };
        let ids: Vec<ObjectId> = wave.iter().filter(|one| unclear(one)).map(|(due, _)| due.object).collect();
        if ids.is_empty() {
            return Ok(wave);
        }
        let kinds = {
            let _place = self.reader.take_place().await?;
            self.reader.client.resolve_kinds(&ids).await
        };
        let told = |(due, found): (Due, Found)| {
            if !ids.contains(&due.object) {
                return (due, found);
            }
            let found = match (&kinds, found) {
                (Err(failure), _) => Missed { failure: failure.clone(), shared: ids.len() > 1 }.into(),
                (Ok(kinds), Found::Person(look)) => match kinds.get(&due.object) {
                    Some(ObjectKind::Group) => Found::Group,
                    Some(ObjectKind::Other) => Found::Other(look),
                    Some(ObjectKind::User) | None => Found::Person(look),
                },
                (Ok(_), found) => found,
            };
            (due, found)
        };
        Ok(wave.into_iter().map(told).collect())
    }

    /// Taking access needs one facet, giving it both in one task (G-10): whoever is in is read as asked, everybody else
    /// in full.
    fn facets(self, due: &Due) -> Facets {
        let is_in = |person: &&KnownPerson| {
            is_a_user(person) && !person.needs_membership() && person.status == Some(Status::Active)
        };
        let known = self.known.get(&due.object);
        let as_asked = known.filter(is_in).is_some() && (due.read_profile || due.read_membership);
        Facets {
            profile: due.read_profile || !as_asked,
            membership: due.read_membership || !as_asked,
            direct_too: self.basis.direct_too(),
        }
    }

    fn may_glance(self, due: &Due) -> bool {
        let facets = self.facets(due);
        facets.profile && !facets.membership && may_be_listed(due, self.known.get(&due.object))
    }

    /// A filtered answer is enough where it leaves access as it is.
    fn suffices(self, user: ObjectId, read: &ProfileRead) -> bool {
        let ProfileFound::Present(listed) = &read.found else { return false };
        if listed.account_enabled != Some(true) || listed.is_guest() {
            return false;
        }
        match self.known.get(&user).map(|person| person.profile) {
            Some(KnownProfile::Present(known)) => {
                known.account_enabled == Some(true)
                    && (known.user_type, known.invitation) == (listed.user_type, listed.invitation)
            }
            Some(KnownProfile::Missing) => false,
            Some(KnownProfile::Unknown) | None => true,
        }
    }
}

/// Where access may be given back or taken, or a read by id was asked for, nothing else will do.
fn may_be_listed(due: &Due, known: Option<&KnownPerson>) -> bool {
    let gone = known.is_some_and(|person| person.profile == KnownProfile::Missing);
    let out = known.and_then(|person| person.status).is_some_and(|status| status != Status::Active);
    let reason = match due.reason {
        DueReason::Hint
        | DueReason::Settle
        | DueReason::ScopeAgree
        | DueReason::EnteredScope
        | DueReason::Relist
        | DueReason::Replay
        | DueReason::Rules => true,
        DueReason::MissingAgree
        | DueReason::ReenableAgree
        | DueReason::Recheck
        | DueReason::BothFacets
        | DueReason::FirstSync
        | DueReason::Incomplete
        | DueReason::LostRead
        | DueReason::NotListed
        | DueReason::OnDemand => false,
    };
    reason && !gone && !out && due.claim != Some(DueClaim::Deleted)
}

/// A filtered answer tells the manager at double the price (T5): the look that follows every hint pays it.
fn tells_manager(due: &Due) -> bool {
    due.reason == DueReason::Settle
}

/// Graph has shown this id to be a user before.
fn is_a_user(person: &KnownPerson) -> bool {
    person.profile != KnownProfile::Unknown
}

fn chunks(dues: Vec<Due>, most: usize) -> impl Iterator<Item = Vec<Due>> {
    let mut rest = dues.into_iter();
    std::iter::from_fn(move || {
        let some: Vec<Due> = rest.by_ref().take(most).collect();
        (!some.is_empty()).then_some(some)
    })
}
