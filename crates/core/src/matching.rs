//! Matching by e-mail, once, to link an unlinked record (M3), only under the conditions of TH-09.

use std::collections::BTreeSet;

use crate::field;
use crate::id::{ObjectId, RecordId};
use crate::profile::{Profile, address_key};
use crate::record::{Kind, Reason, Status};
use crate::review::{Answer, Choice, Doubt, ReviewKind, latest};
use crate::settings::Settings;
use crate::username;

/// A record of the realm that holds an address or username this person would take.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The record.
    pub id: RecordId,
    /// Its kind.
    pub kind: Kind,
    /// Its status.
    pub status: Status,
    /// Why it is inactive.
    pub reasons: BTreeSet<Reason>,
    /// Of this connection, or of none yet: a record of another connection is nobody's to change here (G-22).
    pub within_reach: bool,
    /// Its employee id: an argument, never a key.
    pub employee_id: Option<String>,
    /// Whoever it is linked to.
    pub entra_id: Option<ObjectId>,
    /// The realm it lies in; a record of another realm is never linked and never named in a review (G-22).
    pub realm: String,
    /// Root is never a candidate for linking, and its address is taken.
    pub root: bool,
    /// Needs an admin's yes.
    pub privileged: bool,
    /// Compared form of its e-mail address.
    pub email_key: Option<String>,
    /// Compared form of its username.
    pub username_key: Option<String>,
}

impl Candidate {
    /// The directory user it is linked to is disabled or deleted, as proven: it may be theirs again under a new object id.
    pub fn former_owner(&self) -> Option<ObjectId> {
        let gone = [Reason::UpstreamDeleted, Reason::UpstreamDisabled].iter().any(|why| self.reasons.contains(why));
        self.entra_id.filter(|_| gone && self.status == Status::Inactive && self.within_reach)
    }

    /// An admin may take its address away for somebody else.
    pub fn may_lose_address(&self) -> bool {
        !self.root && self.status != Status::Archived && self.within_reach
    }
}

impl Candidate {
    /// This address (key form) is not free. Root's username is reserved as an address too: where people sign in with either
    /// nobody may pass for root (G-24).
    pub fn has_address(&self, key: &str) -> bool {
        self.email_key.as_deref() == Some(key) || self.root && self.username_key.as_deref() == Some(key)
    }

    /// The same of a username, and of root's address.
    pub fn has_username(&self, key: &str) -> bool {
        self.username_key.as_deref() == Some(key) || self.root && self.email_key.as_deref() == Some(key)
    }
}

/// Graph's answer to "which users have this address as mail, UPN or proxy address?"
#[derive(Clone, Debug, PartialEq)]
pub struct AddressOwners {
    /// The address asked about, in key form.
    pub address: String,
    /// Everyone who has it.
    pub users: BTreeSet<ObjectId>,
}

/// The keys under which the store looks for [`Candidate`]s of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CandidateKeys {
    /// E-mail, aliases and sign-in name, as e-mail keys of other records.
    pub emails: BTreeSet<String>,
    /// The username by style and the numbered ones after it, as username keys of other records.
    pub usernames: BTreeSet<String>,
}

/// Which records could stand in this person's way, or be theirs.
pub fn candidate_keys(profile: &Profile, settings: &Settings) -> CandidateKeys {
    let mut emails = alias_keys(profile);
    emails.extend(email_key(profile));
    let usernames = username::of(profile, settings.username).ok().flatten();
    let usernames = usernames.map(|name| username::keys(&name, settings.number_usernames)).unwrap_or_default();
    CandidateKeys { emails, usernames }
}

/// The key of the primary address; `None` when there is none or it cannot be used.
pub fn email_key(profile: &Profile) -> Option<String> {
    email(profile).ok().flatten().map(address_key)
}

/// The primary address as Entra spells it.
///
/// # Errors
/// What is wrong with it, without the address itself: that field fails (G-11).
pub fn email(profile: &Profile) -> Result<Option<&str>, &'static str> {
    if profile.dropped.contains("mail") {
        return Err("the address is longer than is kept, or not text");
    }
    let Some(mail) = profile.mail() else {
        return Ok(None);
    };
    check_address(mail).map(Some)
}

/// An address that a record can have, trimmed.
///
/// # Errors
/// What is wrong with it, without the address itself.
pub fn check_address(mail: &str) -> Result<&str, &'static str> {
    let mail = field::clean(mail, false)?;
    match mail.split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() && !domain.contains('@') => {}
        _ => return Err("the address is not of the form name@domain"),
    }
    if mail.len() > MAX_ADDRESS || mail.contains(char::is_whitespace) {
        return Err("the address has spaces or is longer than 320 bytes");
    }
    Ok(mail)
}

/// Longest e-mail address (RFC 5321: 64 + 1 + 255).
const MAX_ADDRESS: usize = 320;

/// Other addresses of the person: only ever candidates for a review. The `#EXT#` name of a guest is none (Y7).
fn alias_keys(profile: &Profile) -> BTreeSet<String> {
    let upn = profile.user_principal_name().filter(|upn| !username::is_external(upn));
    profile.proxy_addresses().chain(upn).map(address_key).filter(|key| key.contains('@')).collect()
}

/// What matching says of a person without a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// Nobody here has an address of theirs.
    Create,
    /// Records that could be theirs. Without a doubt it is one, and it is.
    Like(Likeness),
    /// All that can be known here is known; Graph must say who has this address (key form).
    AskAddress(String),
    /// Later: the first sync has not yet seen every mapped group.
    FirstSync,
}

/// Records that have an address of a person who is not linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// The address they have in common (key form).
    pub about: String,
    /// The records of this realm.
    pub candidates: Vec<RecordId>,
    /// Those that nobody is linked to and that can be linked.
    pub free: Vec<RecordId>,
    /// Those whose directory user is disabled or deleted, with that user.
    pub former: Vec<(RecordId, ObjectId)>,
    /// What speaks against linking without asking.
    pub doubts: BTreeSet<Doubt>,
    /// One of them has this person's employee id.
    pub same_employee_id: bool,
}

/// What TH-09 looks at besides the candidates.
#[derive(Clone, Copy)]
pub struct MatchContext<'a> {
    /// The connection's realm.
    pub realm: &'a str,
    /// Domains that are verified in the tenant and assigned to the connection.
    pub verified_domains: &'a BTreeSet<String>,
    /// The first sync has seen every mapped group.
    pub first_sync_done: bool,
    /// Graph's answer, if it was asked in this task.
    pub address_owners: Option<&'a AddressOwners>,
    /// What was answered about this person before.
    pub answers: &'a [Answer],
}

/// Whose record is this person's (M3)? Only what TH-09 lets through is linked; every other likeness is a question.
pub fn find_match(profile: &Profile, candidates: &[Candidate], cx: &MatchContext<'_>) -> Match {
    let email = email_key(profile);
    let holders = |of: &dyn Fn(&String) -> bool| -> Vec<&Candidate> {
        candidates.iter().filter(|candidate| candidate.email_key.as_ref().is_some_and(of)).collect()
    };
    let by_email = holders(&|key| email.as_ref() == Some(key));
    if !by_email.is_empty() {
        return judge(profile, &by_email, BTreeSet::new(), cx);
    }
    let aliases = alias_keys(profile);
    let by_alias = holders(&|key| aliases.contains(key));
    if by_alias.is_empty() {
        return Match::Create;
    }
    judge(profile, &by_alias, BTreeSet::from([Doubt::OtherAddress]), cx)
}

/// Graph is asked before a question is put: whoever answers must be shown every doubt.
fn judge(profile: &Profile, holders: &[&Candidate], mut doubts: BTreeSet<Doubt>, cx: &MatchContext<'_>) -> Match {
    doubts.extend(holders.iter().flat_map(|holder| doubts_about(profile, holder, cx)));
    let [holder] = holders else {
        doubts.insert(Doubt::SeveralRecords);
        return Match::Like(likeness(profile, holders, doubts, cx));
    };
    if doubts.iter().any(|doubt| !doubt.is_overrulable()) {
        return Match::Like(likeness(profile, holders, doubts, cx));
    }
    if doubts.is_empty() && !cx.first_sync_done {
        return Match::FirstSync;
    }
    let address = holder.email_key.clone().unwrap_or_default();
    // The mirror knows only those in scope, Graph everybody: exactly this person must have the address.
    match cx.address_owners.filter(|owners| owners.address == address) {
        None => return Match::AskAddress(address),
        Some(owners) if owners.users.iter().eq([&profile.id]) => {}
        Some(_) => {
            doubts.insert(Doubt::SeveralUsers);
        }
    }
    Match::Like(likeness(profile, holders, doubts, cx))
}

/// What speaks against taking this record for the person's: the conditions of TH-09 that can be checked here, one a line.
pub(crate) fn doubts_about(profile: &Profile, holder: &Candidate, cx: &MatchContext<'_>) -> BTreeSet<Doubt> {
    let domain = holder.email_key.as_deref().and_then(|email| email.rsplit('@').next()).unwrap_or_default();
    let domain_ok = cx.verified_domains.iter().any(|verified| verified.eq_ignore_ascii_case(domain));
    let former = holder.former_owner().is_some();
    let checks = [
        (holder.root, Doubt::Root),
        (holder.realm != cx.realm, Doubt::OtherRealm),
        (holder.status == Status::Archived, Doubt::Archived),
        (holder.entra_id.is_some() && !former, Doubt::LinkedElsewhere),
        (former, Doubt::FormerOwner),
        (holder.privileged, Doubt::Privileged),
        (profile.is_guest() || profile.is_pending(), Doubt::Guest),
        (!domain_ok, Doubt::ForeignDomain),
        (was_undone(holder, cx.answers), Doubt::Undone),
    ];
    checks.into_iter().filter_map(|(holds, doubt)| holds.then_some(doubt)).collect()
}

fn was_undone(holder: &Candidate, answers: &[Answer]) -> bool {
    answers.iter().any(|answer| answer.choice == Choice::Unlink && answer.record == Some(holder.id))
}

/// Records of other realms are not named: a review is shown to this realm's admins (G-22).
fn likeness(profile: &Profile, holders: &[&Candidate], doubts: BTreeSet<Doubt>, cx: &MatchContext<'_>) -> Likeness {
    let own = || holders.iter().filter(|holder| holder.realm == cx.realm);
    let open = || own().filter(|holder| !holder.root && holder.status != Status::Archived);
    let employee_id = profile.text("employeeId");
    Likeness {
        about: holders.first().and_then(|holder| holder.email_key.clone()).unwrap_or_default(),
        candidates: own().map(|holder| holder.id).collect(),
        free: open().filter(|holder| holder.entra_id.is_none()).map(|holder| holder.id).collect(),
        former: open().filter_map(|holder| Some((holder.id, holder.former_owner()?))).collect(),
        doubts,
        same_employee_id: employee_id.is_some() && own().any(|holder| holder.employee_id.as_deref() == employee_id),
    }
}

/// Usernames that answers about this person bring up, in key form: the store looks for whoever has them.
pub fn answered_usernames(answers: &[Answer]) -> BTreeSet<String> {
    let Some(answer) = latest(answers, ReviewKind::UsernameTaken) else { return BTreeSet::new() };
    match (answer.choice, &answer.username, &answer.about) {
        (Choice::Name, Some(name), _) => BTreeSet::from([address_key(name)]),
        (Choice::Number, _, Some(about)) => username::keys(about, true),
        _ => BTreeSet::new(),
    }
}
