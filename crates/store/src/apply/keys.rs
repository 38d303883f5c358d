//! Addresses and usernames are unique in a realm. Who may have one is settled before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::RecordId;
use lockstep_core::profile::address_key;
use lockstep_core::record::Record;

use crate::apply::change::Change;
use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::record::{KeyColumn, Reader};

impl Tx {
    /// Gives each contested key to whoever keeps it, else to the first in the batch. The others keep the value they had,
    /// a record that would be created without its address is not created; their access is decided all the same (G-11). A
    /// change of kind is taken as a whole or not at all.
    /// Gives the places of those who must be looked at again.
    pub(crate) async fn settle_keys(
        &mut self,
        connection: &Connection,
        changes: &mut [Change<'_>],
    ) -> Result<Vec<usize>, StoreError> {
        let mut contested = BTreeSet::new();
        for column in [KeyColumn::Email, KeyColumn::Username] {
            // Who holds the keys of somebody new was looked up with them, in this same transaction.
            let (new, known): (Vec<_>, Vec<_>) = changes.iter().partition(|change| is_new(change));
            let wanted: BTreeSet<String> =
                known.into_iter().flat_map(|change| gained(change, column)).map(|(_, key)| key).collect();
            let wanted: Vec<String> = wanted.into_iter().collect();
            let holders = Reader::Tx(self).holders(connection, column, &wanted).await?;
            let mut owners: BTreeMap<String, RecordId> =
                holders.into_iter().map(|(key, holder)| (key, holder.id)).collect();
            let candidates = new.into_iter().flat_map(|change| &change.decided.person.candidates);
            owners.extend(candidates.filter_map(|other| Some((column.of(other)?.clone(), other.id))));
            // Losing a key may make its holder keep an old one that another counted on: settle until nobody loses.
            loop {
                let lost = losers(changes, column, &owners);
                if lost.is_empty() {
                    break;
                }
                for place in lost {
                    contested.insert(place);
                    give_up(&mut changes[place], column);
                }
            }
        }
        Ok(contested.into_iter().collect())
    }
}

/// A record for somebody who had none: its keys are those by which their candidates were looked for.
fn is_new(change: &Change<'_>) -> bool {
    change.creates() && change.archived.is_none()
}

/// Places of those who want a key that somebody else has and keeps, or that an earlier one in the batch wants too.
fn losers(changes: &[Change<'_>], column: KeyColumn, holders: &BTreeMap<String, RecordId>) -> Vec<usize> {
    let released: BTreeSet<RecordId> = changes.iter().flat_map(|change| released(change, column)).collect();
    let mut given: BTreeSet<String> = BTreeSet::new();
    let mut lost = Vec::new();
    for (place, change) in changes.iter().enumerate() {
        let loses = gained(change, column).any(|(record, key)| {
            let held = holders.get(&key).is_some_and(|holder| *holder != record && !released.contains(holder));
            held || !given.insert(key)
        });
        if loses {
            lost.push(place);
        }
    }
    lost
}

fn key_of(record: &Record, column: KeyColumn) -> Option<String> {
    match column {
        KeyColumn::Email => record.email.as_deref().map(address_key),
        KeyColumn::Username => record.username.as_deref().map(address_key),
    }
}

/// The keys that records would have and have not.
fn gained(change: &Change<'_>, column: KeyColumn) -> impl Iterator<Item = (RecordId, String)> {
    change.records().filter_map(move |(before, after)| {
        let key = key_of(after, column)?;
        let had = before.and_then(|before| key_of(before, column));
        (had.as_ref() != Some(&key)).then_some((after.id, key))
    })
}

/// The records that have a key now and will not have it afterwards.
pub(crate) fn released(change: &Change<'_>, column: KeyColumn) -> impl Iterator<Item = RecordId> {
    change.records().filter_map(move |(before, after)| {
        let had = key_of(before?, column);
        (had.is_some() && key_of(after, column) != had).then_some(after.id)
    })
}

fn give_up(change: &mut Change<'_>, column: KeyColumn) {
    if change.leave_kind() {
        return;
    }
    if let (Some(before), Some(after)) = (&change.before, &mut change.after) {
        // What is not overwritten is still a local edit (Y4).
        let edit = before.edits.get_key_value(column.field());
        after.edits.extend(edit.map(|(field, edit)| (field.clone(), edit.clone())));
    }
    match (&change.before, &mut change.after, column) {
        (None, after, KeyColumn::Email) => *after = None,
        (None, Some(after), KeyColumn::Username) => after.username = None,
        (Some(before), Some(after), KeyColumn::Email) => after.email.clone_from(&before.email),
        (Some(before), Some(after), KeyColumn::Username) => after.username.clone_from(&before.username),
        (_, None, _) => {}
    }
}
