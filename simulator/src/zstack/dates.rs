//! Times as a management node writes and reads them: its own wall clock, without a zone.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// How far a request's wall clock may be from the node's.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// `Nov 21, 2026 8:30:05 PM`, by the node's wall clock.
pub(super) fn write(time: Timestamp, offset_hours: i8) -> String {
    time.to_zoned(TimeZone::fixed(offset(offset_hours))).strftime("%b %-d, %Y %-I:%M:%S %p").to_string()
}

fn offset(hours: i8) -> Offset {
    Offset::from_hours(hours).unwrap_or(Offset::UTC)
}

/// Whether the header `Date` of an access key's request is near the node's time.
///
/// Unless told to check zones, of which some letters are ambiguous, the node ignores the zone in the header and takes the rest for its own wall clock: a
/// client in UTC is eight hours off for a node in China.
pub(super) fn is_near(header: &str, gateway: Timestamp, offset_hours: i8, check_zone: bool) -> bool {
    let Some((civil, zone)) = header.rsplit_once(' ') else { return false };
    if !is_zone(zone) {
        return false;
    }
    let Ok(civil) = DateTime::strptime("%a, %d %b %Y %H:%M:%S", civil) else { return false };
    let offset = match (check_zone, zone) {
        (false, _) => offset(offset_hours),
        // Java's first meaning of it is America's.
        (true, "CST") => offset(-6),
        (true, "UTC" | "GMT") => Offset::UTC,
        (true, zone) => match gmt_offset(zone) {
            Some(offset) => offset,
            None => return false,
        },
    };
    offset.to_timestamp(civil).is_ok_and(|time| time.duration_since(gateway).abs() <= SKEW)
}

/// What `GMT+08:00` means.
fn gmt_offset(zone: &str) -> Option<Offset> {
    let (sign, rest) = zone
        .strip_prefix("GMT+")
        .map(|rest| (1, rest))
        .or_else(|| zone.strip_prefix("GMT-").map(|rest| (-1, rest)))?;
    let (hours, minutes) = rest.split_once(':')?;
    let minutes = hours.parse::<i32>().ok()? * 60 + minutes.parse::<i32>().ok()?;
    Offset::from_seconds(sign * minutes * 60).ok()
}

/// What Java's pattern letter `z` reads: a zone's letters, or `GMT+08:00`; `+08` it does not.
fn is_zone(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphabetic());
    let digits = |part: &str| part.len() <= 2 && part.parse::<u8>().is_ok();
    let offset = text.strip_prefix("GMT+").or_else(|| text.strip_prefix("GMT-"));
    !text.is_empty() && letters
        || offset.and_then(|offset| offset.split_once(':')).is_some_and(|(h, m)| digits(h) && digits(m))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zone_of_a_header_counts_only_when_told() {
        let gateway: Timestamp = "2026-11-21T12:30:00Z".parse().unwrap();
        for (header, check_zone, near) in [
            ("Sat, 21 Nov 2026 20:26:23 CST", false, true),
            ("Sat, 21 Nov 2026 20:26:23 UTC", false, true),
            ("Sat, 21 Nov 2026 12:26:23 UTC", false, false),
            ("Sat, 21 Nov 2026 12:26:23 UTC", true, true),
            ("Sat, 21 Nov 2026 20:26:23 CST", true, false),
            ("Sat, 21 Nov 2026 20:26:23 GMT+08:00", true, true),
            ("Sat, 21 Nov 2026 17:56:23 GMT+05:30", true, true),
            ("Sat, 21 Nov 2026 20:26:23 GMT-08:00", true, false),
            ("Sat, 21 Nov 2026 20:10:00 CST", false, false),
            ("Sat, 21 Nov 2026 20:26:23 GMT+08:00", false, true),
            ("Sat, 21 Nov 2026 20:26:23 +08", false, false),
            ("Sat, 21 Nov 2026 20:26:23 ", false, false),
            ("nonsense", false, false),
        ] {
            assert_eq!(is_near(header, gateway, 8, check_zone), near, "{header} {check_zone}");
        }
        assert_eq!(write(gateway, 8), "Nov 21, 2026 8:30:00 PM");
    }
}
