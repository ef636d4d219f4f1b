//! ZStack's dates: the management node's wall clock, without a zone.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

/// How Java writes a date and time in the United States, since version 9 and before.
const FORMATS: [&str; 2] = ["%b %d, %Y, %I:%M:%S %p", "%b %d, %Y %I:%M:%S %p"];

/// Reads `Nov 21, 2026 8:30:05 PM` by this zone.
pub fn read(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    // Newer versions of Java put a narrow no-break space before AM and PM.
    let text = text.replace(['\u{202f}', '\u{a0}'], " ");
    let civil = FORMATS.iter().find_map(|format| DateTime::strptime(format, &text).ok())?;
    civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

/// Writes the dates of an inventory with their zone; what is no date stays as it came.
pub fn with_zone(inventory: &mut Value, zone: &TimeZone) {
    match inventory {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if matches!(name.as_str(), "createDate" | "lastOpDate") => {
                        if let Some(time) = read(text, zone) {
                            *text = time.to_string();
                        }
                    }
                    other => with_zone(other, zone),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| with_zone(item, zone)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dates_are_read_by_the_zone_that_is_given() {
        let shanghai = TimeZone::get("Asia/Shanghai").unwrap();
        for text in ["Nov 21, 2026 8:30:05 PM", "Nov 21, 2026, 8:30:05\u{202f}PM", "Nov 21, 2026 08:30:05 PM"]
        {
            assert_eq!(read(text, &shanghai), "2026-11-21T12:30:05Z".parse().ok(), "{text}");
        }
        assert_eq!(read("Nov 1, 2026 12:00:00 AM", &TimeZone::UTC), "2026-11-01T00:00:00Z".parse().ok());
        assert_eq!(read("yesterday", &shanghai), None);
    }

    #[test]
    fn an_inventorys_dates_get_their_zone_wherever_they_are() {
        let date = "Nov 21, 2026 8:30:05 PM";
        let mut inventory =
            json!({ "name": date, "createDate": date, "lastOpDate": "?", "refs": [{ "createDate": date }] });
        with_zone(&mut inventory, &TimeZone::UTC);
        let read = "2026-11-21T20:30:05Z";
        assert_eq!(
            inventory,
            json!({ "name": date, "createDate": read, "lastOpDate": "?", "refs": [{ "createDate": read }] })
        );
    }
}
