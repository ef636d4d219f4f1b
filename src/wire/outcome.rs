//! What became of a request: the three answers that a caller must tell apart.

use std::{fmt, time::Duration};

/// Why a call has no answer to work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The vendor cannot have acted: the request was not sent.
    #[error("the request was not sent: {0}")]
    NotSent(String),
    /// Not sent either, to keep below the vendor's limit: there was no permit in time.
    #[error("{why}")]
    RateLimited {
        /// A sentence.
        why: String,
        /// Whether that is for the vendor's refusing one call after the other.
        refused: bool,
    },
    /// The vendor answered, and did not act.
    #[error("{0}")]
    Refused(Refusal),
    /// Sent, and no answer that can be trusted: it may have acted or not.
    #[error("the answer was lost: {0}")]
    Unknown(String),
    /// A call that only reads had no answer that can be used. Nothing can have come of it.
    #[error("the vendor gave no usable answer: {0}")]
    NoAnswer(String),
    /// It acted, now or at an earlier try, but which of these came of it cannot be told.
    #[error("which of {} came of the call cannot be told", .0.join(", "))]
    Undecidable(Vec<String>),
}

/// A vendor's "no".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The vendor's name of the call.
    pub action: String,
    /// HTTP status.
    pub status: u16,
    /// The vendor's code, as it came.
    pub code: String,
    /// The vendor's text, as it came.
    pub message: String,
    /// The vendor's id of the request; empty where it sent none.
    pub request_id: String,
    /// What sort of "no".
    pub class: Class,
    /// What to do about it, in English and Chinese; empty for a code that no table has.
    pub hint: &'static str,
    /// How long the vendor asks us to stay away.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, status, code, message, request_id, hint, .. } = self;
        let message = one_line(message.trim().trim_end_matches('.'), VENDORS_TEXT);
        let said = if message.is_empty() { String::new() } else { format!(": {message}") };
        // What to do comes first: tables and tools cut the end.
        if hint.is_empty() {
            write!(out, "{action} was refused with {code} (HTTP {status}){said}")?;
        } else {
            write!(out, "{hint} ({action} was refused with {code}, HTTP {status}{said})")?;
        }
        if !request_id.is_empty() {
            write!(out, " [request id {request_id}]")?;
        }
        Ok(())
    }
}

/// How many characters of the vendor's text are shown.
const VENDORS_TEXT: usize = 400;

/// Text on one line and, with an ellipsis, not longer than so many characters.
pub fn one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(most) {
        Some(_) => line.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        None => line,
    }
}

/// What sort of "no" it is, and so what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The spec is wrong: only a new one helps.
    Invalid,
    /// Something of that name exists already.
    Conflict,
    /// The token came before with other parameters: an earlier call took effect.
    TokenReused,
    /// The thing named by the call is not there.
    NotFound,
    /// Too many calls: wait, for everybody.
    Throttled,
    /// A quota is used up: wait for room.
    Quota,
    /// Busy or locked: wait.
    Busy,
    /// The account may not: wait for its administrator.
    Permission,
    /// The credentials are not accepted: wait for new ones.
    Credentials,
    /// Our clock and theirs differ too much.
    ClockSkew,
    /// The vendor had a fault of its own; a read can be repeated.
    Unavailable,
    /// A code that no table has: shown as it came, tried again slowly.
    Unlisted,
}

impl Class {
    /// Whether only a new spec, or being asked to, helps.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Invalid)
    }

    /// One CamelCase word for conditions and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "InvalidSpec",
            Self::Conflict => "AlreadyExists",
            Self::TokenReused => "TokenReused",
            Self::NotFound => "NotFound",
            Self::Throttled => "Throttled",
            Self::Quota => "QuotaExceeded",
            Self::Busy => "VendorBusy",
            Self::Permission => "PermissionDenied",
            Self::Credentials => "CredentialsRefused",
            Self::ClockSkew => "ClockSkew",
            Self::Unavailable => "VendorUnavailable",
            Self::Unlisted => "VendorRefused",
        }
    }
}

impl CallError {
    /// One CamelCase word for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotSent(_) | Self::NoAnswer(_) => "VendorUnreachable",
            Self::RateLimited { .. } => Class::Throttled.reason(),
            Self::Refused(refusal) => refusal.class.reason(),
            Self::Unknown(_) => "AnswerLost",
            Self::Undecidable(_) => "OutcomeUnknown",
        }
    }

    /// The vendor's id of the request, where it is known.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&*refusal.request_id).filter(|id| !id.is_empty()),
            _ => None,
        }
    }

    /// The same with its texts changed.
    #[must_use]
    pub fn with_text(self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::NotSent(text) => Self::NotSent(change(&text)),
            Self::RateLimited { why, refused } => Self::RateLimited { why: change(&why), refused },
            Self::Unknown(text) => Self::Unknown(change(&text)),
            Self::NoAnswer(text) => Self::NoAnswer(change(&text)),
            Self::Refused(refusal) => {
                let (code, message) = (change(&refusal.code), change(&refusal.message));
                Self::Refused(Refusal { code, message, ..refusal })
            }
            Self::Undecidable(ids) => Self::Undecidable(ids),
        }
    }

    /// The class of a "no", be it the vendor's or our own.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::RateLimited { .. } => Some(Class::Throttled),
            Self::Refused(refusal) => Some(refusal.class),
            Self::NotSent(_) | Self::Unknown(_) | Self::NoAnswer(_) | Self::Undecidable(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_comes_first_and_the_vendors_text_is_one_short_line() {
        let mut refusal = Refusal {
            action: "CreateImageComponent".into(),
            status: 400,
            code: "SignatureDoesNotMatch".into(),
            message: format!("The signature does not match:\n{}", "GET\n/\nabc\n\n".repeat(100)),
            request_id: "R-1".into(),
            class: Class::Credentials,
            hint: "Correct the Secret / 请修改 Secret",
            retry_after: None,
        };
        let said = refusal.to_string();
        assert!(
            said.starts_with("Correct the Secret / 请修改 Secret (CreateImageComponent was refused with "),
            "{said}"
        );
        assert!(said.ends_with("…) [request id R-1]"), "{said}");
        assert!(!said.contains('\n') && said.chars().count() < 600, "{said}");
        refusal.message = "Why.".into();
        refusal.hint = "";
        assert_eq!(
            refusal.to_string(),
            "CreateImageComponent was refused with SignatureDoesNotMatch (HTTP 400): Why [request id R-1]"
        );
    }
}
