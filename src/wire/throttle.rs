//! HTTP 429 says that a request was not dealt with, whoever says it: the vendor, or a gateway in front of it.

use super::{Class, Refusal, excerpt};
use http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use std::time::Duration;

const HINT: &str = "Too many requests; the operator waits / 请求过于频繁，将自动等待";

/// The refusal that an HTTP 429 is: with the vendor's words as far as it spoke, else with a part of the body.
pub fn throttled(
    spoken: Option<Refusal>,
    action: &str,
    headers: &HeaderMap,
    body: &[u8],
    request_id: Option<&str>,
) -> Refusal {
    let spoken = spoken.unwrap_or_else(|| Refusal {
        action: action.into(),
        status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
        code: "TooManyRequests".into(),
        message: excerpt(body),
        request_id: request_id.unwrap_or_default().into(),
        class: Class::Throttled,
        hint: HINT,
        retry_after: None,
    });
    Refusal {
        class: Class::Throttled,
        hint: if spoken.hint.is_empty() { HINT } else { spoken.hint },
        retry_after: spoken.retry_after.or_else(|| retry_after(headers, Timestamp::now())),
        ..spoken
    }
}

/// `Retry-After` is a number of seconds or a moment (RFC 9110, 10.2.3); a moment that is past says nothing.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = DateTimeParser::new().parse_timestamp(value).ok()?;
    Duration::try_from(moment.duration_since(now)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_moment() {
        let now = "1994-11-06T08:49:37Z".parse().unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn the_vendors_own_words_stay() {
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, 7.into())]);
        let of = |spoken| throttled(spoken, "Make", &headers, b"slow down", Some("R-1"));
        let foreign = of(None);
        assert_eq!(
            foreign.to_string(),
            format!("{HINT} (Make was refused with TooManyRequests, HTTP 429: slow down) [request id R-1]")
        );
        assert_eq!((foreign.class, foreign.retry_after), (Class::Throttled, Some(Duration::from_secs(7))));

        let own = Refusal {
            code: "Flow".into(),
            class: Class::Unlisted,
            retry_after: Some(Duration::from_secs(2)),
            hint: "",
            ..foreign
        };
        let spoken = of(Some(own.clone()));
        assert_eq!(spoken, Refusal { class: Class::Throttled, hint: HINT, ..own.clone() });
        assert_eq!(of(Some(Refusal { hint: "Wait", ..own })).hint, "Wait");
    }
}
