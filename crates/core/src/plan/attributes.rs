//! Mapped attributes: only what differs is written, a bad value fails its own field (G-11), a taken address or username
//! is a question and stops nothing else.

use serde_json::Value;

use crate::field::{self, DISPLAY_NAME, FailedField, Mapped, map_fields};
use crate::id::RecordId;
use crate::matching::{self, Candidate};
use crate::plan::{Changes, Plan, PlanContext, Step};
use crate::profile::{Profile, address_key};
use crate::record::{Kind, Record};
use crate::review::{NewReview, ReviewKind};
use crate::settings::UsernameStyle;
use crate::username;

/// Brings a linked record's attributes in line.
pub(super) fn update(
    plan: &mut Plan,
    profile: &Profile,
    record: &Record,
    candidates: &[Candidate],
    cx: &PlanContext<'_>,
) {
    let changes = Mapping { plan, profile, record: Some(record), candidates, cx }.changes(record.kind);
    if !changes.is_empty() {
        plan.steps.push(Step::Update(changes));
    }
}

/// What a new record starts with.
pub(super) fn initial(
    plan: &mut Plan,
    profile: &Profile,
    kind: Kind,
    candidates: &[Candidate],
    cx: &PlanContext<'_>,
) -> Changes {
    Mapping { plan, profile, record: None, candidates, cx }.changes(kind)
}

struct Mapping<'a> {
    plan: &'a mut Plan,
    profile: &'a Profile,
    record: Option<&'a Record>,
    candidates: &'a [Candidate],
    cx: &'a PlanContext<'a>,
}

impl Mapping<'_> {
    fn changes(&mut self, kind: Kind) -> Changes {
        let mut changes = Changes { email: self.email(), username: self.username(), ..Changes::default() };
        let mut mapped = map_fields(self.profile, kind, self.cx.fields, self.cx.defaults);
        self.plan.failed.append(&mut mapped.failed);
        for (name, value) in mapped.values {
            if name == DISPLAY_NAME {
                let current = self.record.and_then(|record| record.display_name.clone()).map(Value::String);
                changes.display_name = changed(value, current.as_ref()).map(|value| value.as_str().map(str::to_owned));
            } else if let Some(value) = changed(value, self.record.and_then(|record| record.fields.get(&name))) {
                changes.fields.insert(name, value);
            }
        }
        changes
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
        let holders: Vec<&Candidate> = self.others().filter(|other| other.email_key.as_ref() == Some(&key)).collect();
        if current.map(address_key).as_ref() != Some(&key) && !holders.is_empty() {
            let candidates = self.named(&holders);
            self.plan.reviews.push(address_taken(candidates));
            return None;
        }
        Some(Some(email.to_owned()))
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
        if current == Some(&username) || self.is_numbered_form(&username, current) || (stands_in && current.is_some()) {
            return None;
        }
        let last = if self.cx.settings.number_usernames { username::MAX_NUMBER } else { 1 };
        let mut forms = (1..=last).map(|number| username::with_number(&username, number));
        if let Some(free) = forms.find(|form| !self.is_taken(form)) {
            return Some(Some(free));
        }
        let key = address_key(&username);
        let holders: Vec<&Candidate> =
            self.others().filter(|other| other.username_key.as_ref() == Some(&key)).collect();
        let candidates = self.named(&holders);
        self.plan.reviews.push(username_taken(candidates));
        None
    }

    /// A number once given stays, also when the plain name becomes free: nobody's login changes unasked.
    fn is_numbered_form(&self, username: &str, current: Option<&str>) -> bool {
        let Some(current) = current.filter(|_| self.cx.settings.number_usernames).map(address_key) else {
            return false;
        };
        (2..=username::MAX_NUMBER).any(|number| address_key(&username::with_number(username, number)) == current)
    }

    fn is_taken(&self, username: &str) -> bool {
        let key = address_key(username);
        self.others().any(|other| other.username_key.as_ref() == Some(&key))
    }

    fn others(&self) -> impl Iterator<Item = &Candidate> {
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

fn address_taken(candidates: Vec<RecordId>) -> NewReview {
    NewReview {
        kind: ReviewKind::AddressTaken,
        candidates,
        why: "the new address belongs to another record; the old one is kept".to_owned(),
        choices: vec!["keep".to_owned(), "reassign".to_owned()],
    }
}

fn username_taken(candidates: Vec<RecordId>) -> NewReview {
    NewReview {
        kind: ReviewKind::UsernameTaken,
        candidates,
        why: "the username made by the rule is taken; access is decided all the same".to_owned(),
        choices: vec!["number".to_owned(), "leave_out".to_owned()],
    }
}
