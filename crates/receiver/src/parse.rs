//! From bytes to items, within bounds (TH-06). Pure: no clock, no I/O, nothing kept of the body but slices of it.
//!
//! What is wrong with the body as a whole refuses it; what is wrong with one item stays with that item. Only half a
//! character, or a number beyond any range, where an object should stand refuses the body: one pass cannot step over it.

use std::borrow::Cow;

use lockstep_core::hint::MAX_MEMBERS;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{Entries, List, Shape};

/// More items than this in one POST are refused.
pub const MAX_ITEMS: usize = 1_000;

/// Deeper nesting is refused.
const MAX_DEPTH: usize = 128;

/// Longer texts are never what we expect; they are read as [`Field::Other`].
const MAX_TEXT: usize = 1_024;

/// The body as a whole cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBody {
    /// Not JSON, too deep, a known key twice, or no list `value` (BI-12, BI-13).
    Malformed,
    /// More than [`MAX_ITEMS`] (BI-14).
    TooManyItems,
}

/// One item as it came: anything may be missing or of the wrong type. An item that is not an object has no fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawItem<'a> {
    /// `subscriptionId`.
    pub subscription_id: Field<'a>,
    /// `clientState`.
    pub client_state: Field<'a>,
    /// `tenantId`.
    pub tenant_id: Field<'a>,
    /// `changeType`.
    pub change_type: Field<'a>,
    /// `lifecycleEvent`.
    pub lifecycle_event: Field<'a>,
    /// `resource`.
    pub resource: Field<'a>,
    /// `resourceData.id`; [`Field::Other`] too when `resourceData` is no object.
    pub object_id: Field<'a>,
    /// `resourceData.@odata.type`.
    pub object_type: Field<'a>,
    /// `resourceData.members@delta`.
    pub members: RawMembers<'a>,
}

/// A value of which only text is of use.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Field<'a> {
    /// Missing or null.
    #[default]
    Absent,
    /// Text of at most 1 KiB.
    Text(Cow<'a, str>),
    /// Another type, or longer text.
    Other,
}

impl Field<'_> {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Other => None,
        }
    }
}

/// `members@delta` as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawMembers<'a> {
    /// At most [`MAX_MEMBERS`].
    pub named: Vec<RawMember<'a>>,
    /// There were more, or it was not a list.
    pub incomplete: bool,
}

/// One entry of `members@delta`.
#[derive(Clone, Debug, PartialEq)]
pub struct RawMember<'a> {
    /// `id`.
    pub id: Field<'a>,
    /// `@removed` is there, whatever it says: text and object have both been seen [FN25] [DG].
    pub removed: bool,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    value: Entries<Shape<WireItem<'a>>, MAX_ITEMS>,
}

#[derive(Deserialize)]
struct WireItem<'a> {
    #[serde(borrow, rename = "subscriptionId")]
    subscription_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "clientState")]
    client_state: Option<&'a RawValue>,
    #[serde(borrow, rename = "tenantId")]
    tenant_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "changeType")]
    change_type: Option<&'a RawValue>,
    #[serde(borrow, rename = "lifecycleEvent")]
    lifecycle_event: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "resourceData")]
    resource_data: Shape<WireObject<'a>>,
}

#[derive(Deserialize)]
struct WireObject<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "@odata.type")]
    object_type: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "members@delta")]
    members: List<Shape<WireMember<'a>>, MAX_MEMBERS>,
}

#[derive(Deserialize)]
struct WireMember<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "@removed")]
    removed: Option<&'a RawValue>,
}

/// The items of a notification body, found in one pass.
///
/// # Errors
/// The body as a whole cannot be taken.
pub fn parse(body: &[u8]) -> Result<Vec<RawItem<'_>>, BadBody> {
    // serde_json skips what it is not asked for without looking at its UTF-8 or its depth.
    let text = std::str::from_utf8(body).map_err(|_| BadBody::Malformed)?;
    // serde would read a list as a struct, too.
    if nested_too_deep(body) || !text.trim_ascii_start().starts_with('{') {
        return Err(BadBody::Malformed);
    }
    let Envelope { value } = serde_json::from_str(text).map_err(|_| BadBody::Malformed)?;
    if value.more {
        return Err(BadBody::TooManyItems);
    }
    Ok(value.first.into_iter().map(item).collect())
}

fn item(shape: Shape<WireItem<'_>>) -> RawItem<'_> {
    let Shape::Object(wire) = shape else {
        return RawItem::default();
    };
    let (object_id, object_type, members) = match wire.resource_data {
        Shape::Object(object) => (field(object.id), field(object.object_type), members(object.members)),
        Shape::Absent => Default::default(),
        Shape::Other => (Field::Other, Field::Absent, RawMembers::default()),
    };
    RawItem {
        subscription_id: field(wire.subscription_id),
        client_state: field(wire.client_state),
        tenant_id: field(wire.tenant_id),
        change_type: field(wire.change_type),
        lifecycle_event: field(wire.lifecycle_event),
        resource: field(wire.resource),
        object_id,
        object_type,
        members,
    }
}

fn members(list: List<Shape<WireMember<'_>>, MAX_MEMBERS>) -> RawMembers<'_> {
    match list {
        List::Absent => RawMembers::default(),
        List::Other => RawMembers { named: Vec::new(), incomplete: true },
        List::Entries(Entries { first, more }) => {
            RawMembers { named: first.into_iter().map(member).collect(), incomplete: more }
        }
    }
}

fn member(shape: Shape<WireMember<'_>>) -> RawMember<'_> {
    match shape {
        Shape::Object(wire) => RawMember { id: field(wire.id), removed: wire.removed.is_some() },
        Shape::Absent | Shape::Other => RawMember { id: Field::Other, removed: false },
    }
}

fn field(raw: Option<&RawValue>) -> Field<'_> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Field::Absent;
    };
    let Some(inside) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Field::Other;
    };
    if inside.len() > MAX_TEXT {
        return Field::Other;
    }
    if !inside.contains('\\') {
        return Field::Text(Cow::Borrowed(inside));
    }
    // Half a surrogate pair, for example, is JSON but no text.
    serde_json::from_str::<String>(raw).map_or(Field::Other, |text| Field::Text(Cow::Owned(text)))
}

/// Braces and brackets are looked at one by one only where there are enough of them; texts that hold some are rare.
fn nested_too_deep(body: &[u8]) -> bool {
    // `{` and `[` differ in this one bit.
    let opened = body.iter().filter(|byte| **byte | 0x20 == b'{').count();
    opened > MAX_DEPTH && deepest(body) > MAX_DEPTH
}

fn deepest(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
