//! The rows of a delta: who changed, and what the row shows of it.

use lockstep_core::profile::{Invitation, Profile, UserType};
use lockstep_core::{ObjectId, Timestamp};
use serde_json::{Map, Value};

use crate::kind::ObjectKind;
use crate::member::shows_profile;
use crate::odata::{Object, object_id};

/// What `@removed` gives as the reason. It is a claim: a read by id decides (BI-38).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// `changed`: soft-deleted, can be restored [DELTA25].
    Changed,
    /// `deleted`: for good.
    Deleted,
    /// Another word, or none.
    Unknown,
}

/// A user in a delta. `Debug` is for tests; logs name the id.
#[derive(Clone, Debug, PartialEq)]
pub struct UserRow {
    /// Entra's id.
    pub id: ObjectId,
    /// Set when the row says that the user is gone. May stand in a first round too [DELTA25].
    pub removed: Option<Removed>,
    /// `None` when the row does not show it; `Some(None)` when it is null or no boolean: never read as `false` (BI-34).
    pub account_enabled: Option<Option<bool>>,
    /// Outer `None` when the row does not show it.
    pub user_type: Option<Option<UserType>>,
    /// `externalUserState`; outer `None` when the row does not show it.
    pub invitation: Option<Option<Invitation>>,
    /// They have another manager, or none any more. The row shows no more than an id [DELTA25].
    pub other_manager: bool,
    shown: Profile,
    is_whole: bool,
}

/// A group in a delta. Nothing of its own properties is kept: what a rule needs is read by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Entra's id.
    pub id: ObjectId,
    /// Set when the row says that the group is gone.
    pub removed: Option<Removed>,
    /// Direct members that came or went: a slice of them, since a large group is spread over pages [DG].
    pub members: Vec<MemberChange>,
}

/// A member that came to a group or left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberChange {
    /// Who.
    pub id: ObjectId,
    /// Left. The reason given with it says nothing about the member and is not kept [DG].
    pub removed: bool,
    /// What it is; `None` when the row does not say.
    pub kind: Option<ObjectKind>,
}

impl Removed {
    /// An object in delta, a plain word in notifications [DG] [FN25]; both are taken.
    fn of(object: &Object) -> Option<Self> {
        let removed = object.get("@removed")?;
        let reason = removed.as_str().or_else(|| removed.get("reason")?.as_str()).unwrap_or_default();
        Some(match reason.to_ascii_lowercase().as_str() {
            "changed" => Self::Changed,
            "deleted" => Self::Deleted,
            _ => Self::Unknown,
        })
    }
}

impl UserRow {
    /// The row, and how much in it was refused; `None` for a row without a usable id.
    pub(crate) fn from_graph(object: Object) -> Option<(Self, usize)> {
        let id = object_id(&object)?;
        let removed = Removed::of(&object);
        let is_whole = removed.is_none() && shows_profile(&object);
        let [enabled, kind, state] =
            ["accountEnabled", "userType", "externalUserState"].map(|property| object.contains_key(property));
        let other_manager = object.contains_key("manager@delta");
        let shown = Profile::from_graph(Some(id), object).ok()?;
        let row = Self {
            id,
            removed,
            account_enabled: enabled.then_some(shown.account_enabled),
            user_type: kind.then_some(shown.user_type),
            invitation: state.then_some(shown.invitation),
            other_manager,
            shown,
            is_whole,
        };
        Some((row, 0))
    }

    /// The properties the row shows, under Graph's names and bounded like a profile's. A property that was never set is
    /// absent like one that was not selected; one that was emptied is null [UD].
    pub fn properties(&self) -> &Map<String, Value> {
        &self.shown.properties
    }

    /// `createdDateTime`, of which a restore changes nothing; `None` where the row does not show it.
    pub fn created_at(&self) -> Option<Timestamp> {
        self.shown.properties.get("createdDateTime")?.as_str().and_then(Timestamp::parse)
    }

    /// The row as a profile, if it is one: a row of the wide round that is no removal. Like a listing it gives and never
    /// takes (G-09).
    pub fn into_profile(self) -> Option<Profile> {
        self.is_whole.then_some(self.shown)
    }
}

impl GroupRow {
    /// The row, and how many members in it were refused; `None` for a row without a usable id.
    pub(crate) fn from_graph(object: Object) -> Option<(Self, usize)> {
        let id = object_id(&object)?;
        let removed = Removed::of(&object);
        let (members, refused) = match object.get("members@delta") {
            None | Some(Value::Null) => (Vec::new(), 0),
            Some(Value::Array(listed)) => {
                let members: Vec<MemberChange> = listed.iter().filter_map(MemberChange::from_graph).collect();
                let refused = listed.len() - members.len();
                (members, refused)
            }
            Some(_) => (Vec::new(), 1),
        };
        Some((Self { id, removed, members }, refused))
    }
}

impl MemberChange {
    fn from_graph(item: &Value) -> Option<Self> {
        let object = item.as_object()?;
        let removed = Removed::of(object).is_some();
        Some(Self { id: object_id(object)?, removed, kind: ObjectKind::of(object) })
    }
}
