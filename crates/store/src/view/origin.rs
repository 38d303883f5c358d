//! Everything `record show` tells: the record, who set each of its values, and its history.

use std::collections::BTreeMap;

use lockstep_core::field::map_fields;
use lockstep_core::mirror::ProfileFacet;
use lockstep_core::origin::{OriginBasis, SetBy, ValueShown, origins};
use lockstep_core::{RecordId, Timestamp};
use serde::Serialize;

use super::record::{HistoryView, RecordView};
use crate::by_hand::RecordAtHand;
use crate::db::Store;
use crate::error::StoreError;
use crate::mirror::People;
use crate::sql::sql;

/// A record with all that happened to it, as `record show` prints it. No Debug: it holds personal data (G-27).
#[derive(Serialize)]
pub struct RecordShown {
    /// The record.
    #[serde(flatten)]
    pub record: RecordView,
    /// `by_hand` was taken back and goes with the next fresh read.
    pub activating: bool,
    /// Whoever was signed in as it before is out (D3, D5).
    pub sessions_ended_at: Option<Timestamp>,
    /// Every value, with who set it.
    pub values: Vec<ValueShown>,
    /// Newest first.
    pub history: Vec<HistoryView>,
}

const ENDED: &str = "SELECT max(at) AS at FROM session_end WHERE record_id = $1";

impl Store {
    /// A record with who set each value and what happened to it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn record_shown(&self, record: RecordView) -> Result<RecordShown, StoreError> {
        let history = self.record_history(record.id).await?;
        let at_hand = self.record_at_hand(record.id).await?;
        let values = self.value_origins(&at_hand, &set_by(&history)).await?;
        let sessions_ended_at = self.sessions_ended_at(record.id).await?;
        Ok(RecordShown { activating: at_hand.record.by_hand_lifted, record, sessions_ended_at, values, history })
    }

    async fn sessions_ended_at(&self, record: RecordId) -> Result<Option<Timestamp>, StoreError> {
        let row = self.shown_one("reading when sessions ended", sql(ENDED).bind(record)).await?;
        row.map_or(Ok(None), |row| row.maybe_at("at"))
    }

    async fn value_origins(
        &self,
        at_hand: &RecordAtHand,
        set_by: &BTreeMap<String, SetBy>,
    ) -> Result<Vec<ValueShown>, StoreError> {
        let RecordAtHand { record, connection } = at_hand;
        let linked = connection.as_ref().zip(record.entra_id).filter(|_| record.connection.is_some());
        let mut mapped = None;
        if let Some((connection, user)) = linked {
            let person = self.load_people(connection, People::Ids(&[user])).await?.pop();
            let profile = person.and_then(|person| match person.user.profile {
                ProfileFacet::Present { profile, .. } => Some(profile),
                ProfileFacet::Missing { last, .. } => last,
                ProfileFacet::Unknown => None,
            });
            let fields = |profile| map_fields(profile, record.kind, &connection.fields, &connection.defaults);
            mapped = Some(profile.as_deref().map(fields).unwrap_or_default());
        }
        let defaults = connection.as_ref().map(|connection| connection.defaults.clone()).unwrap_or_default();
        let basis = OriginBasis {
            fields: &at_hand.fields(),
            defaults: &defaults,
            style: at_hand.settings().username,
            mapped: mapped.as_ref(),
        };
        Ok(origins(record, &basis, set_by))
    }
}

/// By field, the newest change of it.
fn set_by(history: &[HistoryView]) -> BTreeMap<String, SetBy> {
    let mut set_by = BTreeMap::new();
    for entry in history {
        for change in entry.changes.as_array().into_iter().flatten() {
            let Some(field) = change["field"].as_str() else { continue };
            let field = field.strip_prefix("fields.").unwrap_or(field).to_owned();
            let (trigger, actor, at) = (entry.trigger.clone(), entry.actor.clone(), entry.at);
            set_by.entry(field).or_insert(SetBy { trigger, actor, at });
        }
    }
    set_by
}
