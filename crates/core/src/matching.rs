//! Matching by e-mail, once, to link an unlinked record (M3), only under the conditions of TH-09.

use std::collections::BTreeSet;

use crate::field;
use crate::id::{ObjectId, RecordId};
use crate::profile::{Profile, address_key};
use crate::record::{Kind, Status};
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
    let mail = field::clean(mail, false)?;
    match mail.split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() && !domain.contains('@') => {}
        _ => return Err("the address is not of the form name@domain"),
    }
    if mail.len() > MAX_ADDRESS || mail.contains(char::is_whitespace) {
        return Err("the address has spaces or is longer than 320 bytes");
    }
    Ok(Some(mail))
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
    /// Nobody here has the address.
    Create,
    /// This record is theirs.
    Link(RecordId),
    /// TH-09's conditions do not all hold: nothing is written for this person's identity.
    Review {
        /// Records of this realm concerned.
        candidates: Vec<RecordId>,
        /// Why, in plain words.
        why: &'static str,
    },
    /// All that can be known here holds; Graph must say who has this address (key form).
    AskAddress(String),
    /// Later: the first sync has not yet seen every mapped group.
    FirstSync,
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
}

/// Whose record is this person's (M3)? Only a record that TH-09 lets through is linked; every other likeness is a review.
pub fn find_match(profile: &Profile, candidates: &[Candidate], cx: &MatchContext<'_>) -> Match {
    let email = email_key(profile);
    let holders = candidates.iter().filter(|candidate| email.is_some() && candidate.email_key == email);
    let holders: Vec<&Candidate> = holders.collect();
    match (email, holders.as_slice()) {
        (Some(email), [holder]) => match refusal(profile, &email, holder, cx) {
            Some(why) => review(&holders, why, cx),
            None => by_owners(profile, email, holder, cx),
        },
        (_, []) => by_alias(profile, candidates, cx),
        _ => review(&holders, "several records have this person's address", cx),
    }
}

/// The conditions of TH-09 that can be checked here, one a line.
fn refusal(profile: &Profile, email: &str, holder: &Candidate, cx: &MatchContext<'_>) -> Option<&'static str> {
    let domain = email.rsplit('@').next().unwrap_or_default();
    let domain_ok = cx.verified_domains.iter().any(|verified| verified.eq_ignore_ascii_case(domain));
    let checks = [
        (holder.root, "the address belongs to the root user, who is never linked"),
        (holder.realm != cx.realm, "the address belongs to a record of another realm"),
        (holder.status == Status::Archived, "the address belongs to an archived record"),
        (holder.entra_id.is_some(), "the record is linked to another directory user; possibly a rehire"),
        (holder.privileged, "the record is privileged: linking it needs an admin's yes"),
        (profile.is_guest() || profile.is_pending(), "a guest never takes over a record by address"),
        (!domain_ok, "the address's domain is not one this connection may match by"),
    ];
    checks.into_iter().find_map(|(refused, why)| refused.then_some(why))
}

/// Graph knows everybody of the tenant, the mirror only those in scope: exactly this person must have the address.
fn by_owners(profile: &Profile, email: String, holder: &Candidate, cx: &MatchContext<'_>) -> Match {
    if !cx.first_sync_done {
        return Match::FirstSync;
    }
    match cx.address_owners.filter(|owners| owners.address == email) {
        None => Match::AskAddress(email),
        Some(owners) if owners.users.iter().eq([&profile.id]) => Match::Link(holder.id),
        Some(_) => review(&[holder], "in Microsoft, not exactly this one user has the address", cx),
    }
}

fn by_alias(profile: &Profile, candidates: &[Candidate], cx: &MatchContext<'_>) -> Match {
    let aliases = alias_keys(profile);
    let holds = |candidate: &&Candidate| candidate.email_key.as_ref().is_some_and(|key| aliases.contains(key));
    let holders: Vec<&Candidate> = candidates.iter().filter(holds).collect();
    if holders.is_empty() {
        return Match::Create;
    }
    review(&holders, "a record has another address or the sign-in name of this person as its address", cx)
}

/// Records of other realms are not named: a review is shown to this realm's admins (G-22).
fn review(holders: &[&Candidate], why: &'static str, cx: &MatchContext<'_>) -> Match {
    let own = holders.iter().filter(|holder| holder.realm == cx.realm).map(|holder| holder.id);
    Match::Review { candidates: own.collect(), why }
}
