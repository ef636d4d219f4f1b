//! A length of time as users write it: `90s`, `10h`, `1h30m`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{borrow::Cow, fmt, time::Duration};

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

impl From<Duration> for Period {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        let whole = UNITS.iter().find(|(_, length)| nanoseconds > 0 && nanoseconds.is_multiple_of(*length));
        match whole {
            Some((unit, length)) => write!(out, "{}{unit}", nanoseconds / length),
            None if nanoseconds == 0 => out.write_str("0s"),
            None => write!(out, "{}.{:06}ms", nanoseconds / MILLISECOND, nanoseconds % MILLISECOND),
        }
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let refused =
            || D::Error::custom(format!("{text:?} is not a duration; write it like 90s, 10h or 1h30m"));
        read(&text).map(Self).ok_or_else(refused)
    }
}

/// What the API server lets through, and all of it can be read: see [`read`].
const GRAMMAR: &str = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$";
const MILLISECOND: u128 = 1_000_000;
/// In nanoseconds, the longest first.
const UNITS: [(&str, u128); 4] = [
    ("h", 3600 * 1000 * MILLISECOND),
    ("m", 60 * 1000 * MILLISECOND),
    ("s", 1000 * MILLISECOND),
    ("ms", MILLISECOND),
];
/// The longest duration that Go has, of about 292 years: what is longer counts as this.
const LONGEST: u128 = i64::MAX as u128;

/// Reads every text of [`GRAMMAR`], and no other. Units may come in any order and several times, as in Go.
fn read(mut text: &str) -> Option<Duration> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut total: u128 = 0;
    loop {
        let (whole, rest) = text.split_at(digits(text));
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at_checked(digits(rest)).filter(|(fraction, _)| !fraction.is_empty())?,
            None => ("", rest),
        };
        let (unit, rest) = rest.split_at(rest.bytes().take_while(u8::is_ascii_alphabetic).count());
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if whole.is_empty() {
            return None;
        }
        // Only what is no number for being too long cannot be parsed.
        let whole: u128 = whole.parse().unwrap_or(LONGEST);
        let mut part = whole.min(LONGEST) * length;
        let mut digit_length = *length;
        for digit in fraction.bytes() {
            digit_length /= 10;
            part += u128::from(digit - b'0') * digit_length;
        }
        total = total.saturating_add(part).min(LONGEST);
        text = rest;
        if text.is_empty() {
            return Some(Duration::from_nanos(u64::try_from(total).unwrap_or(u64::MAX)));
        }
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
        json_schema!({ "type": "string", "maxLength": 32, "pattern": GRAMMAR })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Result<Period, serde_json::Error> {
        serde_json::from_value(text.into())
    }

    #[test]
    fn reads_what_users_write() {
        for (text, milliseconds) in [
            ("10h", 36_000_000),
            ("1h30m", 5_400_000),
            ("90s", 90_000),
            ("0s", 0),
            ("1.5h", 5_400_000),
            ("1m1h", 3_660_000),
            ("1.5h30m", 7_200_000),
            ("30s30s", 60_000),
            ("0.5s", 500),
            ("1500ms", 1500),
        ] {
            let read = period(text).unwrap();
            assert_eq!(Duration::from(read), Duration::from_millis(milliseconds), "{text}");
            let again: Period = serde_json::from_value(serde_json::to_value(read).unwrap()).unwrap();
            assert_eq!(again, read, "{text}");
        }
        for text in ["", "10", "-1h", "+1h", "ten", "1.h", ".5h", "1h ", "1d", "1us", "1h-1m", "1ü"] {
            assert!(period(text).is_err(), "{text}");
        }
        let fine = period("0.0005ms").unwrap();
        assert_eq!(serde_json::to_value(fine).unwrap(), "0.000500ms");
    }

    #[test]
    fn what_is_longer_than_any_duration_is_as_long_as_one_can_be() {
        for text in ["9".repeat(30) + "h", "9".repeat(60) + "ms", "2562047h".repeat(3)] {
            assert_eq!(Duration::from(period(&text).unwrap()).as_nanos(), LONGEST, "{text}");
        }
    }

    /// What the API server's pattern lets through is read, and nothing else.
    #[test]
    fn the_pattern_and_the_reader_are_one_grammar() {
        let pattern = regex::Regex::new(GRAMMAR).unwrap();
        let parts = ["0", "7", "99999999999", ".", "h", "m", "s", "ms", "d", "-", " "];
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            texts = texts.iter().flat_map(|text| parts.map(|part| format!("{text}{part}"))).collect();
            for text in &texts {
                assert_eq!(read(text).is_some(), pattern.is_match(text), "{text:?}");
            }
        }
    }
}
