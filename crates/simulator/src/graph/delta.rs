//! `/users/delta` and `/groups/delta` (`graph-contract.md`, section 5).

mod rows;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Call;
use super::answer::{Answer, Failure};
use crate::directory::View;
use crate::directory::change::TOKEN_LIFETIME;
use crate::directory::schema::Kind;
use crate::fault::Twist;
use crate::odata::filter::Filter;
use crate::odata::query::{read_token, token};
use crate::odata::select::Select;
use crate::settings::Expiry;
use rows::Piece;

/// How many changes of earlier rounds [`Twist::Replay`] tells again.
const REPLAYED: u64 = 20;
/// Rows of a page under [`Twist::SplitGroups`].
const SPLIT: usize = 3;
/// A delta filter names at most this many ids.
const MOST_IDS: usize = 50;

/// What the first call asked for, and where the round stands. Travels in the opaque token.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Round {
    tenant: Uuid,
    kind: Kind,
    select: Option<Vec<String>>,
    ids: Option<BTreeSet<Uuid>>,
    /// The last change known before this round; `None` is a first round, which tells everything.
    from: Option<u64>,
    /// The last change this round tells; what comes later belongs to the next.
    to: u64,
    /// Where the next page begins.
    cursor: Cursor,
    /// Rows of a page: a round keeps what it began with, since its cursor counts on it.
    size: usize,
    /// The last page was an empty one ([`Twist::EmptyPage`]), so this one is not.
    paused: bool,
    /// Only changed properties (`Prefer: return=minimal`).
    minimal: bool,
    /// When the token was given out, microseconds.
    issued: i64,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Cursor {
    Start,
    /// After this object or, in a group too large for a page, after this member of it. First
    /// rounds go by id, since objects may come and go between two pages.
    After {
        object: Uuid,
        member: Option<Uuid>,
    },
    /// After this many objects of a round whose changes are fixed and, in one with too many changed
    /// members for a page, after this member of the next.
    Changed {
        told: usize,
        member: Option<Uuid>,
    },
}

/// `GET /users/delta`
pub(super) fn users(call: &Call<'_>) -> Result<Answer, Failure> {
    answer(call, Kind::User)
}

/// `GET /groups/delta`
pub(super) fn groups(call: &Call<'_>) -> Result<Answer, Failure> {
    answer(call, Kind::Group)
}

fn answer(call: &Call<'_>, kind: Kind) -> Result<Answer, Failure> {
    call.look(|view| {
        let head = view.directory().changes().head(view.instant());
        let (delta, skip) = (call.query().get("$deltatoken"), call.query().get("$skiptoken"));
        match (delta, skip) {
            (_, Some(text)) => told(call, view, known(call, kind, text)?),
            (Some("latest"), None) => {
                let round = first(call, kind, head)?;
                Ok(last_page(call, &round, Vec::new()))
            }
            (None | Some(""), None) => told(call, view, first(call, kind, head)?),
            (Some(text), None) => {
                let minimal = call.request.prefer.contains("return=minimal");
                let before = known(call, kind, text)?;
                let replayed = if call.trouble.has(Twist::Replay) { REPLAYED } else { 0 };
                let (from, to) = (Some(before.to.saturating_sub(replayed)), head.max(before.to));
                let (cursor, size) = (Cursor::Start, page_size(call));
                let round = Round { from, to, cursor, size, minimal, ..before };
                told(call, view, round)
            }
        }
    })
}

/// A first round, with the options of its first call.
fn first(call: &Call<'_>, kind: Kind, head: u64) -> Result<Round, Failure> {
    call.query().refuse(&["$expand", "$orderby", "$search"])?;
    let relation: &[&str] = if kind == Kind::Group { &["members"] } else { &["manager"] };
    let select = Select::parse(call.query().get("$select"), &[kind], relation)?;
    let filter = call.query().get("$filter").map(|text| Filter::parse_up_to(text, MOST_IDS)).transpose()?;
    let by_id =
        |filter: Filter| filter.ids().ok_or_else(|| Failure::unsupported("A delta can be filtered by id only."));
    let ids = filter.map(by_id).transpose()?.map(BTreeSet::from_iter);
    Ok(Round {
        tenant: call.tenant.id,
        kind,
        select: select.0,
        ids,
        from: None,
        to: head,
        cursor: Cursor::Start,
        size: page_size(call),
        paused: false,
        minimal: false,
        issued: 0,
    })
}

fn page_size(call: &Call<'_>) -> usize {
    if call.trouble.has(Twist::SplitGroups) { SPLIT } else { call.world.settings().delta_page.max(1) }
}

/// The round a token belongs to; too old ones have been forgotten.
fn known(call: &Call<'_>, kind: Kind, text: &str) -> Result<Round, Failure> {
    let round: Round = read_token(text)?;
    if round.tenant != call.tenant.id || round.kind != kind {
        return Err(Failure::bad_request("Badly formed token."));
    }
    let is_old = round.issued + TOKEN_LIFETIME < call.world.clock.now_micros();
    let expiry = is_old.then(|| call.world.settings().old_delta_token);
    match call.trouble.twists.iter().find_map(|twist| twist.expiry()).or(expiry) {
        Some(expiry) => Err(expired(call, kind, expiry)),
        None => Ok(round),
    }
}

fn expired(call: &Call<'_>, kind: Kind, expiry: Expiry) -> Failure {
    match expiry {
        Expiry::SyncStateNotFound => Failure::sync_state_not_found(),
        Expiry::Gone => Failure::resync_required(),
        Expiry::GoneWithLocation => {
            let anew = format!("{}/v1.0/{}s/delta?$deltatoken=", call.base, kind.word());
            Failure::resync_required().with_header("Location", anew)
        }
        Expiry::TooOld => Failure::unsupported("DeltaLink older than 30 days is not supported."),
    }
}

/// The next page of this round.
fn told(call: &Call<'_>, view: View<'_>, round: Round) -> Result<Answer, Failure> {
    if call.trouble.has(Twist::EmptyPage) && !round.paused {
        return Ok(inner_page(call, &Round { paused: true, ..round }, Vec::new()));
    }
    // A lagging replica tells a change late, but never as it was before it: nobody would hear of it again.
    let view = view.not_before(view.directory().changes().made_at(round.to));
    let (pieces, next) = match round.from {
        None => rows::of_everything(view, &round),
        Some(from) => rows::of_changes(view, &round, from),
    };
    let select = Select(round.select.clone());
    let mut rows: Vec<Value> = pieces.iter().map(|piece: &Piece| piece.row(view, &round, &select)).collect();
    if call.trouble.has(Twist::RemovedFirst) && round.from.is_none() && round.cursor == Cursor::Start {
        rows.extend(rows::of_the_gone(view, &round));
    }
    Ok(match next {
        Some(cursor) => inner_page(call, &Round { cursor, paused: false, ..round }, rows),
        None => last_page(call, &round, rows),
    })
}

/// A page before the last; `next` is where the one after it begins.
fn inner_page(call: &Call<'_>, next: &Round, rows: Vec<Value>) -> Answer {
    let link = link(call, "$skiptoken", next);
    Answer::ok(json!({"@odata.context": context(call, next), "@odata.nextLink": link, "value": rows}))
}

fn last_page(call: &Call<'_>, round: &Round, rows: Vec<Value>) -> Answer {
    let link = link(call, "$deltatoken", &Round { from: None, cursor: Cursor::Start, paused: false, ..round.clone() });
    Answer::ok(json!({"@odata.context": context(call, round), "@odata.deltaLink": link, "value": rows}))
}

fn link(call: &Call<'_>, option: &str, round: &Round) -> String {
    let collection = format!("{}s", round.kind.word());
    let text = token(&Round { issued: call.world.clock.now_micros(), ..round.clone() });
    format!("{}/v1.0/{collection}/delta?{option}={text}", call.base)
}

fn context(call: &Call<'_>, round: &Round) -> String {
    let select = Select(round.select.clone());
    call.context(&format!("{}s{}", round.kind.word(), select.context()))
}
