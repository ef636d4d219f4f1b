//! Flow limits as the vendors describe them: whole minutes (or other periods) of the clock, counted by account, region and action.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// At most so many calls of one action in each period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlowLimit {
    /// The vendor's action.
    pub action: String,
    /// Calls admitted in one period.
    pub requests: u64,
    /// Length of a period; periods begin at multiples of it.
    #[serde(default = "minute")]
    pub period_seconds: u64,
}

fn minute() -> u64 {
    60
}

/// Calls counted in the period that is on.
#[derive(Debug, Default)]
pub(crate) struct Flow(HashMap<(String, String, String), (i64, u64)>);

impl Flow {
    /// Counts the call; false when it is over the limit. A caller once over it is admitted again in the next period.
    pub(crate) fn admit(
        &mut self,
        limits: &[FlowLimit],
        account: &str,
        region: &str,
        action: &str,
        now: Timestamp,
    ) -> bool {
        let Some(limit) = limits.iter().find(|limit| limit.action == action) else { return true };
        let length = i64::try_from(limit.period_seconds.max(1)).unwrap_or(i64::MAX);
        let period = now.as_second().div_euclid(length);
        let window = self.0.entry((account.into(), region.into(), action.into())).or_default();
        if window.0 != period {
            *window = (period, 0);
        }
        window.1 += 1;
        window.1 <= limit.requests
    }
}
