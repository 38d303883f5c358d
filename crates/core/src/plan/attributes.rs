//! Mapped attributes: only what differs is written, a bad value fails its own field (G-11), a taken address or username
//! is a question and stops nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{self, DISPLAY_NAME, EMAIL, FailedField, Mapped, USERNAME, map_fields};
use crate::id::RecordId;
use crate::matching::{self, Candidate};
use crate::plan::{Changes, Observed, Plan, PlanContext, Step, merge};
use crate::profile::{Profile, address_key};
use crate::record::{Kind, Record};
use crate::review::{Answer, Choice, NewReview, ReviewKind, latest};
use crate::settings::UsernameStyle;
use crate::username;

/// Brings a linked record's attributes in line.
pub(super) fn update(
    plan: &mut Plan,
    profile: &Profile,
    record: &Record,
    observed: &Observed<'_>,
    cx: &PlanContext<'_>,
) {
    let candidates = observed.candidates;
    let changes = Mapping { plan, profile, record: Some(record), candidates, observed, cx }.changes(record.kind);
    if !changes.is_empty() {
        plan.steps.push(Step::Update(changes));
    }
}

/// What a new record starts with.
pub(super) fn initial(
    plan: &mut Plan,
    profile: &Profile,
    kind: Kind,
    observed: &Observed<'_>,
    cx: &PlanContext<'_>,
) -> Changes {
    let candidates = observed.candidates;
    Mapping { plan, profile, record: None, candidates, observed, cx }.changes(kind)
}

struct Mapping<'a> {
    plan: &'a mut Plan,
    profile: &'a Profile,
    record: Option<&'a Record>,
    candidates: &'a [Candidate],
    observed: &'a Observed<'a>,
    cx: &'a PlanContext<'a>,
}

impl<'a> Mapping<'a> {
    fn changes(&mut self, kind: Kind) -> Changes {
        let mut changes = Changes::default();
        if !self.keeps_edit(EMAIL) {
            changes.email = self.email();
        }
        if !self.keeps_edit(USERNAME) {
            changes.username = self.username();
        }
        let mut mapped = map_fields(self.profile, kind, self.cx.fields, self.cx.defaults);
        self.plan.failed.append(&mut mapped.failed);
        for (name, value) in mapped.values {
            if self.keeps_edit(&name) {
                continue;
            }
            let current = self.current(&name);
            let is_entras = matches!(&value, Mapped::Value(value) if Some(value) == current.as_ref());
            match changed(value, current.as_ref()) {
                Some(value) if name == DISPLAY_NAME => {
                    changes.display_name = Some(value.as_str().map(str::to_owned));
                }
                Some(value) => {
                    changes.fields.insert(name, value);
                }
                None if is_entras && self.is_edited(&name) => {
                    changes.overwritten.insert(name);
                }
                None => {}
            }
        }
        self.end_edits(&mut changes);
        changes
    }

    /// A local edit stays until the directory user changes (Y4).
    fn keeps_edit(&self, name: &str) -> bool {
        let edit = self.record.and_then(|record| record.edits.get(name));
        edit.is_some_and(|edit| !edit.is_outdated(self.profile))
    }

    fn is_edited(&self, name: &str) -> bool {
        self.record.is_some_and(|record| record.edits.contains_key(name))
    }

    fn current(&self, name: &str) -> Option<Value> {
        let record = self.record?;
        match name {
            DISPLAY_NAME => record.display_name.clone().map(Value::String),
            _ => record.fields.get(name).cloned(),
        }
    }

    /// What is written over an edit ends it. An edit that Entra has nothing to say against stays, and so does its mark.
    fn end_edits(&self, changes: &mut Changes) {
        let own = [
            (EMAIL, changes.email.is_some()),
            (USERNAME, changes.username.is_some()),
            (DISPLAY_NAME, changes.display_name.is_some()),
        ];
        let said = [
            (EMAIL, matching::email(self.profile).ok().flatten().map(str::to_owned), self.record.map(|own| &own.email)),
            (USERNAME, self.username_said(), self.record.map(|own| &own.username)),
        ];
        let agreed =
            said.iter().filter(|(name, said, own)| said.is_some() && own == &Some(said) && !self.keeps_edit(name));
        let own =
            own.into_iter().filter_map(|(name, written)| written.then_some(name)).chain(agreed.map(|said| said.0));
        let written: Vec<String> = own.chain(changes.fields.keys().map(String::as_str)).map(str::to_owned).collect();
        changes.overwritten.extend(written.into_iter().filter(|name| self.is_edited(name)));
    }

    /// A blank address erases nothing; one that belongs to another record is a question, and the old one stays.
    fn email(&mut self) -> Option<Option<String>> {
        let email = match matching::email(self.profile) {
            Ok(email) => email?,
            Err(why) => return self.fail("email", why),
        };
        let current = self.record.and_then(|record| record.email.as_deref());
        if current == Some(email) {
            return None;
        }
        let key = address_key(email);
        let holders: Vec<&Candidate> = self.others().filter(|other| other.has_address(&key)).collect();
        if current.map(address_key).as_ref() != Some(&key) && !holders.is_empty() {
            return self.taken_address(&key, &holders).then(|| Some(email.to_owned()));
        }
        Some(Some(email.to_owned()))
    }

    /// Whether the person gets an address that another record has: an admin decides, once for each address and record.
    fn taken_address(&mut self, key: &str, holders: &[&Candidate]) -> bool {
        let candidates = self.named(holders);
        let to_this = |answer: &&Answer| answer.is_to(key, &candidates);
        let answer = latest(self.observed.answers, ReviewKind::AddressTaken).filter(to_this);
        match (answer.map(|answer| (answer.choice, answer)), holders) {
            (Some((Choice::Keep, answer)), _) => {
                self.plan.follow(answer);
                return false;
            }
            (Some((Choice::Reassign, answer)), [holder]) if !answer.applied && holder.may_lose_address() => {
                self.plan.follow(answer);
                self.plan.steps.push(Step::ReleaseAddress { record: holder.id });
                return true;
            }
            _ => {}
        }
        // A record of its own was made for this person knowing that the address is another's.
        let apart = latest(self.observed.answers, ReviewKind::Link).filter(to_this);
        if apart.is_none_or(|answer| answer.choice != Choice::Create) {
            let review = self.address_taken(key, candidates, holders);
            self.plan.reviews.push(review);
        }
        false
    }

    fn username_said(&self) -> Option<String> {
        username::of(self.profile, self.cx.settings.username).ok().flatten()
    }

    /// Whether the address can go to this person, or both records be theirs, depends on the record that has it.
    fn address_taken(&self, key: &str, candidates: Vec<RecordId>, holders: &[&Candidate]) -> NewReview {
        let holder = match holders {
            [holder] if holder.may_lose_address() => Some(*holder),
            _ => None,
        };
        let merge = holder.filter(|_| self.record.is_some_and(|own| !own.root));
        let merge = merge.and_then(|holder| merge::doubts(self.profile, holder, self.observed, self.cx));
        let offered = [(true, Choice::Keep), (holder.is_some(), Choice::Reassign), (merge.is_some(), Choice::Merge)];
        NewReview {
            kind: ReviewKind::AddressTaken,
            about: Some(key.to_owned()),
            candidates,
            doubts: merge.unwrap_or_default(),
            why: "the new address belongs to another record; the old one is kept".to_owned(),
            choices: offered.into_iter().filter_map(|(holds, choice)| holds.then_some(choice)).collect(),
        }
    }

    /// A username that is taken gets a number where the connection allows it; else it is a question.
    fn username(&mut self) -> Option<Option<String>> {
        let username = match username::of(self.profile, self.cx.settings.username) {
            Ok(username) => username?,
            Err(why) => return self.fail("username", why),
        };
        let current = self.record.and_then(|record| record.username.as_deref());
        // The sign-in name stands in for a missing address only where there is no username yet: a blank source
        // changes nothing.
        let stands_in = self.cx.settings.username == UsernameStyle::LocalPart && self.profile.mail().is_none();
        let answer = self.answered_username(&address_key(&username));
        let numbered = self.cx.settings.number_usernames || answer.is_some_and(|it| it.choice == Choice::Number);
        let stays = numbered && is_numbered_form(&username, current);
        if current == Some(&username) || stays || (stands_in && current.is_some()) {
            return None;
        }
        if let Some((answer, name)) = answer.and_then(|answer| Some((answer, answer.username.as_deref()?))) {
            // Once it was given it is the person's like any other: it is not given a second time.
            if answer.applied || current == Some(name) {
                self.plan.follow(answer);
                return None;
            }
            if !self.is_taken(name) {
                self.plan.follow(answer);
                return Some(Some(name.to_owned()));
            }
        }
        let last = if numbered { username::MAX_NUMBER } else { 1 };
        let mut forms = (1..=last).map(|number| username::with_number(&username, number));
        if let Some(free) = forms.find(|form| !self.is_taken(form)) {
            answer.into_iter().for_each(|answer| self.plan.follow(answer));
            return Some(Some(free));
        }
        self.ask_for_username(&username, answer);
        None
    }

    /// What was answered about this name; leaving it out holds only while the records are those of then.
    fn answered_username(&self, key: &str) -> Option<&'a Answer> {
        latest(self.observed.answers, ReviewKind::UsernameTaken).filter(|answer| answer.is_to(key, &[]))
    }

    fn ask_for_username(&mut self, username: &str, answer: Option<&Answer>) {
        let mut keys = BTreeSet::from([address_key(username)]);
        keys.extend(answer.and_then(|answer| answer.username.as_deref()).map(address_key));
        let holds = |other: &&Candidate| keys.iter().any(|key| other.has_username(key));
        let holders: Vec<&Candidate> = self.others().filter(holds).collect();
        let (key, candidates) = (address_key(username), self.named(&holders));
        match answer.filter(|answer| answer.choice == Choice::LeaveOut && answer.is_to(&key, &candidates)) {
            Some(answer) => self.plan.follow(answer),
            None => self.plan.reviews.push(username_taken(&key, candidates)),
        }
    }

    fn is_taken(&self, username: &str) -> bool {
        let key = address_key(username);
        self.others().any(|other| other.has_username(&key))
    }

    fn others(&self) -> impl Iterator<Item = &'a Candidate> + use<'a> {
        let own = self.record.map(|record| record.id);
        self.candidates.iter().filter(move |candidate| Some(candidate.id) != own)
    }

    /// Records of other realms are not named (G-22).
    fn named(&self, holders: &[&Candidate]) -> Vec<RecordId> {
        holders.iter().filter(|holder| holder.realm == self.cx.realm).map(|holder| holder.id).collect()
    }

    fn fail(&mut self, name: &str, why: &str) -> Option<Option<String>> {
        self.plan.failed.push(FailedField { name: name.to_owned(), why: why.to_owned() });
        None
    }
}

/// The value to write, if it is another than the record's.
fn changed(mapped: Mapped, current: Option<&Value>) -> Option<Value> {
    let blank = current.is_none_or(field::is_blank);
    match mapped {
        Mapped::Value(value) => (current != Some(&value)).then_some(value),
        Mapped::WhenEmpty(value) => blank.then_some(value),
        Mapped::Clear => (!blank).then_some(Value::Null),
    }
}

/// A number once given stays, also when the plain name becomes free: nobody's login changes unasked.
fn is_numbered_form(username: &str, current: Option<&str>) -> bool {
    let Some(current) = current.map(address_key) else { return false };
    (2..=username::MAX_NUMBER).any(|number| address_key(&username::with_number(username, number)) == current)
}

fn username_taken(key: &str, candidates: Vec<RecordId>) -> NewReview {
    NewReview {
        kind: ReviewKind::UsernameTaken,
        about: Some(key.to_owned()),
        candidates,
        doubts: BTreeSet::new(),
        why: "the username made by the rule is taken; access is decided all the same".to_owned(),
        choices: vec![Choice::Number, Choice::LeaveOut, Choice::Name],
    }
}
