//! A length of time as users write it: `90s`, `10h`, `1h30m`.

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{borrow::Cow, time::Duration};

/// A duration in Go's and Kubernetes' notation, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// A period of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = self.0.as_secs();
        let text = match (seconds % 3600, seconds % 60) {
            (0, _) if seconds > 0 => format!("{}h", seconds / 3600),
            (_, 0) if seconds > 0 => format!("{}m", seconds / 60),
            _ => format!("{seconds}s"),
        };
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed: SignedDuration =
            text.parse().map_err(|error| D::Error::custom(format!("{text:?}: {error}")))?;
        Duration::try_from(parsed).map(Self).map_err(|_| D::Error::custom(format!("{text:?} is negative")))
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 32, "pattern": r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_users_write() {
        for (text, seconds) in [("10h", 36000), ("1h30m", 5400), ("90s", 90), ("0s", 0), ("1.5h", 5400)] {
            let read: Period = serde_json::from_value(text.into()).unwrap();
            assert_eq!(read, Period::from_secs(seconds), "{text}");
            let again: Period = serde_json::from_value(serde_json::to_value(read).unwrap()).unwrap();
            assert_eq!(again, read);
        }
        for text in ["", "10", "-1h", "ten", "99999999999999999999999h"] {
            assert!(serde_json::from_value::<Period>(text.into()).is_err(), "{text}");
        }
    }
}
