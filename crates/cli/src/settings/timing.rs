//! `[timing]` of `lockstep.toml`.

use std::time::Duration;

use jiff::SignedDuration;
use lockstep_core::timing::Timing;
use serde::Deserialize;

use super::BadSettings;

/// `[timing]`: constants of `guarantees.md` §1, written like `"10s"`, `"5m"` or `"48h"`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimingFile {
    settle: Option<Span>,
    scope_agree: Option<Span>,
    missing_agree: Option<Span>,
    reenable_agree: Option<Span>,
    reenable_recent: Option<Span>,
    reenable_recheck: Option<Span>,
    coalesce: Option<Span>,
    seen_keep: Option<Span>,
    deleted_keep: Option<Span>,
    work_timeout: Option<Span>,
    delta_interval: Option<Span>,
    sub_lifetime: Option<Span>,
    sub_check: Option<Span>,
}

/// A length of time as people write it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Span(Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse::<SignedDuration>()
            .ok()
            .and_then(|span| Duration::try_from(span).ok())
            .map(Self)
            .ok_or_else(|| "not a length of time; write it like \"10s\", \"5m\" or \"48h\"".to_owned())
    }
}

impl TimingFile {
    /// The defaults with these in their place; shorter ones need a simulator, since Microsoft does not hurry.
    pub fn over_defaults(self, simulated: bool) -> Result<Timing, BadSettings> {
        let mut timing = Timing::default();
        let given = [
            ("settle", self.settle, &mut timing.settle),
            ("scope_agree", self.scope_agree, &mut timing.scope_agree),
            ("missing_agree", self.missing_agree, &mut timing.missing_agree),
            ("reenable_agree", self.reenable_agree, &mut timing.reenable_agree),
            ("reenable_recent", self.reenable_recent, &mut timing.reenable_recent),
            ("reenable_recheck", self.reenable_recheck, &mut timing.reenable_recheck),
            ("coalesce", self.coalesce, &mut timing.coalesce),
            ("seen_keep", self.seen_keep, &mut timing.seen_keep),
            ("deleted_keep", self.deleted_keep, &mut timing.deleted_keep),
            ("work_timeout", self.work_timeout, &mut timing.work_timeout),
            ("delta_interval", self.delta_interval, &mut timing.delta_interval),
            ("sub_lifetime", self.sub_lifetime, &mut timing.sub_lifetime),
            ("sub_check", self.sub_check, &mut timing.sub_check),
        ];
        for (name, span, constant) in given {
            let Some(Span(span)) = span else { continue };
            if span < *constant && !simulated {
                return Err(BadSettings(format!(
                    "[timing] {name} may not be shorter than {constant:?}: shorter only with a simulator on this machine"
                )));
            }
            *constant = span;
        }
        Ok(timing)
    }
}
