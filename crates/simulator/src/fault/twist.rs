//! Answers that are well-formed HTTP and wrong all the same.

use serde::{Deserialize, Serialize};

use crate::settings::Expiry;

/// One way an otherwise good answer is made wrong. Twists strike answers of status 200 only, inside
/// batches too; where there is nothing to twist, the answer stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Twist {
    /// The body is a sentence, though it says it is JSON.
    NotJson,
    /// The body is empty.
    Empty,
    /// The body is 17 MiB long.
    Huge,
    /// Every text and truth value but ids is of another type.
    WrongTypes,
    /// `value` is a text instead of a list.
    ValueNoList,
    /// The object, or every row, has another id than it should.
    OtherId,
    /// The object, or every row, has no id.
    NoId,
    /// The object, or every row, has an id that is no GUID.
    BadId,
    /// `accountEnabled` is absent although selected.
    EnabledMissing,
    /// `accountEnabled` is `null`.
    EnabledNull,
    /// `accountEnabled` is `"yes"`.
    EnabledText,
    /// The link to the next page (or round) leads to another host. A page without a link gets one;
    /// so with all `Link…`.
    LinkOtherHost,
    /// The link leads to the same host by the other scheme.
    LinkOtherScheme,
    /// The link leads to another port.
    LinkOtherPort,
    /// The link carries user information: `https://host@other/…`.
    LinkUserInfo,
    /// The link leads to another path of the same host.
    LinkOtherPath,
    /// The link climbs out of its path with encoded dots.
    LinkEncoded,
    /// The link is longer than 8 KiB.
    LinkTooLong,
    /// The link leads to the page it is on.
    LinkRepeats,
    /// An empty page with a link comes before each page of a listing or delta round.
    EmptyPage,
    /// Rows come twice within a page.
    RepeatedRows,
    /// A delta round comes in pages of 3, so that groups are split.
    SplitGroups,
    /// A first delta round also tells who is gone, as `@removed`.
    RemovedFirst,
    /// A delta round tells the last 20 changes of the rounds before again.
    Replay,
    /// `@removed` has a reason nobody has heard of.
    OddReason,
    /// The delta token counts as expired: 410 `syncStateNotFound`.
    SyncStateNotFound,
    /// The delta token counts as expired: 410 without `Location`.
    Gone,
    /// The delta token counts as expired: 410 with `Location`.
    GoneWithLocation,
    /// The delta token counts as expired: 400 `Request_UnsupportedQuery`.
    TooOld,
    /// The token answer has no `access_token` (route `token`).
    NoAccessToken,
    /// The token is of the type `pop` (route `token`).
    OtherTokenType,
}

impl Twist {
    /// How this twist has a delta token expire.
    pub(crate) fn expiry(self) -> Option<Expiry> {
        match self {
            Self::SyncStateNotFound => Some(Expiry::SyncStateNotFound),
            Self::Gone => Some(Expiry::Gone),
            Self::GoneWithLocation => Some(Expiry::GoneWithLocation),
            Self::TooOld => Some(Expiry::TooOld),
            _ => None,
        }
    }
}
