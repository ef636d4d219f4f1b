//! The record of what the operator began in the name of an object: an annotation that is written with the finalizer, before
//! the first call, and names the object by its uid. Pure.
//!
//! Whoever can write the object can write it too, so it is no evidence of anything that the vendor has. It only makes the
//! operator look, by a token that follows from a uid, and with the rights that the object has anyway. What counts is that it
//! cannot be *copied* without being told: a backup, a template or a restored object carries another object's uid.

use jiff::Timestamp;
use std::{fmt, str::FromStr};

/// What was begun, and for which object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of the object.
    pub uid: String,
    /// Which attempt it was at, from 1.
    pub attempt: u32,
    /// When, to the second.
    pub at: Option<Timestamp>,
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.uid, self.attempt)?;
        self.at.map_or(Ok(()), |at| write!(out, "/{}", at.strftime("%Y-%m-%dT%H:%M:%SZ")))
    }
}

impl FromStr for Record {
    type Err = ();

    /// `uid/attempt/time`; the time is not worth losing the rest.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.trim().splitn(3, '/');
        let uid = parts.next().filter(|uid| is_uid(uid)).ok_or(())?.to_owned();
        let attempt = parts.next().and_then(|attempt| attempt.parse().ok()).filter(|attempt| *attempt > 0);
        let at = parts.next().and_then(|at| at.parse().ok());
        Ok(Self { uid, attempt: attempt.ok_or(())?, at })
    }
}

/// Tokens are made of it and sent to vendors.
fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What a record means on the object that bears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recorded {
    /// None, or that of an object that the operator knows to live or to be done with: this one is a copy.
    #[default]
    Nothing,
    /// Its own: the intent of its first attempt.
    Own(Record),
    /// Its own, where an intent is in the status: that was only about to be stored.
    Begun,
    /// That of an object of which the operator does not know what became: this one was restored.
    Former(Record),
}

impl Recorded {
    /// Reads the annotation of the object `uid`, which came into being at `born`. `is_accounted_for`: the operator knows what
    /// became of the object with that uid.
    pub fn read(
        annotation: Option<&str>,
        uid: &str,
        born: Option<Timestamp>,
        is_accounted_for: impl FnOnce(&str) -> bool,
    ) -> Self {
        match annotation.and_then(|text| text.parse::<Record>().ok()) {
            Some(record) if record.uid == uid => {
                // No call was made for an object before it was there.
                let at = record.at.map(|at| born.map_or(at, |born| at.max(born)));
                Self::Own(Record { at, ..record })
            }
            Some(record) if !is_accounted_for(&record.uid) => Self::Former(record),
            _ => Self::Nothing,
        }
    }

    /// Whether it is the object's own.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Own(_) | Self::Begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "0b0c1ad3-3d0b-4b52-9a4e-6a3a3a3a3a3a";

    #[test]
    fn a_record_is_read_as_it_is_written() {
        for (record, text) in [
            (Record { uid: OWN.into(), attempt: 3, at: None }, format!("{OWN}/3")),
            (
                Record { uid: OWN.into(), attempt: 1, at: Timestamp::from_second(1_000_000_000).ok() },
                format!("{OWN}/1/2001-09-09T01:46:40Z"),
            ),
        ] {
            assert_eq!(record.to_string(), text);
            assert_eq!(text.parse(), Ok(record));
        }
        let odd = format!(" {OWN}/1/yesterday\n").parse::<Record>();
        assert_eq!(odd, Ok(Record { uid: OWN.into(), attempt: 1, at: None }));
    }

    #[test]
    fn what_nobody_of_us_wrote_is_nothing() {
        let long = "a".repeat(65);
        for text in ["", "/1", OWN, "a/0", "a/-1", "a/x", "../1", "a b/1", "夜/1", &format!("{long}/1")] {
            assert_eq!(Recorded::read(Some(text), OWN, None, |_| false), Recorded::Nothing, "{text}");
        }
        assert_eq!(Recorded::read(None, OWN, None, |_| false), Recorded::Nothing);
    }

    #[test]
    fn a_copy_is_told_from_what_was_restored() {
        let born = Timestamp::from_second(2_000_000_000).ok();
        let read = |text: &str, known: bool| Recorded::read(Some(text), OWN, born, |_| known);
        assert!(read(&format!("{OWN}/1"), true).is_own());
        assert_eq!(read("other/2", true), Recorded::Nothing);
        let Recorded::Former(record) = read("other/2/2001-09-09T01:46:40Z", false) else { panic!() };
        assert_eq!((record.uid.as_str(), record.attempt), ("other", 2));
        // Its own is not from before it was there, whoever says so.
        let Recorded::Own(record) = read(&format!("{OWN}/1/2001-09-09T01:46:40Z"), false) else { panic!() };
        assert_eq!(record.at, born);
    }
}
