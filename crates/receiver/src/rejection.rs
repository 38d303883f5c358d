//! Every way to be turned away: status, code, fixed text. Nothing of the request is ever repeated.

use hyper::StatusCode;

/// Why a request was not taken. The code is also the `reason` of `lockstep_ingest_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rejection {
    UnknownPath,
    WrongMethod,
    TooManyHeaders,
    AmbiguousLength,
    NotJson,
    Encoded,
    BodyTooLarge,
    SlowBody,
    BrokenBody,
    Malformed,
    TooManyItems,
    BadValidationToken,
    NoHandshakePending,
    RateLimited,
    TooBusy,
    StoreAway,
    NotDurable,
}

impl Rejection {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::UnknownPath | Self::NoHandshakePending => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotJson | Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge | Self::TooManyItems => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::AmbiguousLength | Self::BrokenBody | Self::Malformed | Self::BadValidationToken => {
                StatusCode::BAD_REQUEST
            }
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::TooBusy | Self::StoreAway | Self::NotDurable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::UnknownPath => "unknown_path",
            Self::WrongMethod => "wrong_method",
            Self::TooManyHeaders => "too_many_headers",
            Self::AmbiguousLength => "ambiguous_length",
            Self::NotJson => "not_json",
            Self::Encoded => "content_encoding",
            Self::BodyTooLarge => "body_too_large",
            Self::SlowBody => "slow_body",
            Self::BrokenBody => "broken_body",
            Self::Malformed => "malformed",
            Self::TooManyItems => "too_many_items",
            Self::BadValidationToken => "bad_validation_token",
            Self::NoHandshakePending => "no_handshake_pending",
            Self::RateLimited => "rate_limited",
            Self::TooBusy => "too_busy",
            Self::StoreAway => "store_away",
            Self::NotDurable => "not_durable",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::UnknownPath => "There is nothing at this address.",
            Self::WrongMethod => "Only POST is possible here.",
            Self::TooManyHeaders => "The request has too many headers.",
            Self::AmbiguousLength => "The request gives its length in two ways.",
            Self::NotJson => "The content type must be application/json.",
            Self::Encoded => "A content encoding is not possible here.",
            Self::BodyTooLarge => "The body is larger than 1 MiB.",
            Self::SlowBody => "The body did not arrive in time.",
            Self::BrokenBody => "The body did not arrive whole.",
            Self::Malformed => "The body is not a notification.",
            Self::TooManyItems => "The notification has more than 1,000 items.",
            Self::BadValidationToken => "The validation token cannot be used.",
            Self::NoHandshakePending => "No validation is expected at this address.",
            Self::RateLimited => "Too many requests.",
            Self::TooBusy | Self::StoreAway | Self::NotDurable => {
                "The notification could not be kept now: send it again."
            }
        }
    }

    /// `Retry-After` in seconds.
    pub(crate) fn retry_after(self) -> Option<&'static str> {
        match self {
            Self::RateLimited => Some("1"),
            Self::TooBusy | Self::StoreAway | Self::NotDurable => Some("10"),
            _ => None,
        }
    }

    /// The rest of the request is unusable or not worth reading.
    pub(crate) fn closes_connection(self) -> bool {
        matches!(self, Self::AmbiguousLength | Self::BodyTooLarge | Self::SlowBody | Self::BrokenBody)
    }

    /// Somebody may be trying something: worth a line in the security log.
    pub(crate) fn is_suspicious(self) -> bool {
        matches!(self, Self::NoHandshakePending | Self::BadValidationToken)
    }

    /// Trouble of ours: not the sender's fault, and not counted against its address.
    pub(crate) fn is_ours(self) -> bool {
        self.status().is_server_error()
    }
}

/// Adds one to `lockstep_ingest_rejected_total`.
pub(crate) fn count(reason: &'static str) {
    metrics::counter!("lockstep_ingest_rejected_total", "reason" => reason).increment(1);
}
