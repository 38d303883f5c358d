//! From bytes to items, within bounds (TH-06). Pure: no clock, no I/O, nothing kept of the body but slices of it.
//!
//! What is wrong with the body as a whole refuses it; what is wrong with one item stays with that item.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use lockstep_core::hint::MAX_MEMBERS;

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
    value: Items<'a>,
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
    #[serde(borrow, rename = "resourceData")]
    resource_data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireObject<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "@odata.type")]
    object_type: Option<&'a RawValue>,
    #[serde(borrow, rename = "members@delta")]
    members: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireMember<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, rename = "@removed")]
    removed: Option<&'a RawValue>,
}

/// The items of a notification body.
///
/// # Errors
/// The body as a whole cannot be taken.
pub fn parse(body: &[u8]) -> Result<Vec<RawItem<'_>>, BadBody> {
    // serde_json skips what it is not asked for without looking at its UTF-8 or its depth.
    let text = std::str::from_utf8(body).map_err(|_| BadBody::Malformed)?;
    if nested_too_deep(body) {
        return Err(BadBody::Malformed);
    }
    let envelope: Envelope<'_> = object(text.trim_ascii_start())?;
    if envelope.value.more {
        return Err(BadBody::TooManyItems);
    }
    envelope.value.first.into_iter().map(item).collect()
}

fn item(raw: &RawValue) -> Result<RawItem<'_>, BadBody> {
    if !raw.get().starts_with('{') {
        return Ok(RawItem::default());
    }
    let wire: WireItem<'_> = object(raw.get())?;
    let mut item = RawItem {
        subscription_id: field(wire.subscription_id),
        client_state: field(wire.client_state),
        tenant_id: field(wire.tenant_id),
        change_type: field(wire.change_type),
        lifecycle_event: field(wire.lifecycle_event),
        resource: field(wire.resource),
        ..RawItem::default()
    };
    match wire.resource_data.map(RawValue::get) {
        Some(data) if data.starts_with('{') => add_object(&mut item, object(data)?)?,
        Some(_) => item.object_id = Field::Other,
        None => {}
    }
    Ok(item)
}

fn add_object<'a>(item: &mut RawItem<'a>, wire: WireObject<'a>) -> Result<(), BadBody> {
    item.object_id = field(wire.id);
    item.object_type = field(wire.object_type);
    item.members = match wire.members.map(RawValue::get) {
        Some(list) if list.starts_with('[') => members(list)?,
        Some(_) => RawMembers { named: Vec::new(), incomplete: true },
        None => RawMembers::default(),
    };
    Ok(())
}

fn members(list: &str) -> Result<RawMembers<'_>, BadBody> {
    let entries: Entries<'_, MAX_MEMBERS> = serde_json::from_str(list).map_err(|_| BadBody::Malformed)?;
    let named = entries.first.into_iter().map(member).collect::<Result<_, _>>()?;
    Ok(RawMembers { named, incomplete: entries.more })
}

fn member(raw: &RawValue) -> Result<RawMember<'_>, BadBody> {
    if !raw.get().starts_with('{') {
        return Ok(RawMember { id: Field::Other, removed: false });
    }
    let wire: WireMember<'_> = object(raw.get())?;
    Ok(RawMember { id: field(wire.id), removed: wire.removed.is_some() })
}

/// serde would read a list as a struct, too; a known key twice is an error it finds by itself.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, BadBody> {
    if !text.starts_with('{') {
        return Err(BadBody::Malformed);
    }
    serde_json::from_str(text).map_err(|_| BadBody::Malformed)
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

fn nested_too_deep(body: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
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
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

type Items<'a> = Entries<'a, MAX_ITEMS>;

/// The first `N` entries of a list, unparsed, and whether there are more.
struct Entries<'a, const N: usize> {
    first: Vec<&'a RawValue>,
    more: bool,
}

impl<'de: 'a, 'a, const N: usize> Deserialize<'de> for Entries<'a, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstEntries::<N>)
    }
}

struct FirstEntries<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for FirstEntries<N> {
    type Value = Entries<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut first = Vec::new();
        while first.len() < N {
            match list.next_element()? {
                Some(entry) => first.push(entry),
                None => return Ok(Entries { first, more: false }),
            }
        }
        let mut more = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok(Entries { first, more })
    }
}
