//! Texts of users, Secrets, administrators and vendors.

use super::words::{json, pieces, text};
use cloud_image_operator::{
    engine::{credentials::Credentials, record::Record},
    period::Period,
    vendors::{aliyun, normalise, volcengine, zstack},
    wire::{
        clients::Clients,
        encode,
        endpoint::Endpoints,
        outcome,
        proxy::Proxies,
        table::{Row, lookup},
    },
};
use http::Uri;
use jiff::tz::TimeZone;
use percent_encoding::percent_decode_str;
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use regex::Regex;
use serde_json::Value;
use std::time::Duration;
use vendor_simulator::Texts;

/// What the API server lets through is read, nothing else is, and what is written is read again.
pub fn period(runner: &mut TestRunner) -> Result<(), String> {
    let grammar = Regex::new(r"^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$").expect("an expression");
    let words = &[
        "1",
        "0",
        "007",
        "99999999999999999999999999999999999999999",
        ".",
        "h",
        "m",
        "s",
        "ms",
        "us",
        "-",
        "e",
        "５",
        "H",
    ];
    let read = |text: &str| serde_json::from_value::<Period>(text.into());
    let outcome = runner.run(&pieces(words), |text| {
        let period = read(&text);
        prop_assert_eq!(period.is_ok(), grammar.is_match(&text), "{}", text);
        if let Ok(period) = period {
            let written = serde_json::to_value(period).expect("JSON");
            let again = read(written.as_str().unwrap_or_default());
            prop_assert!(again.is_ok_and(|again| again == period), "{} is written {}", text, written);
        }
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// However a vendor gives a text back, and whatever it does with that once more, it is the text that was sent.
pub fn normalised(runner: &mut TestRunner) -> Result<(), String> {
    const HABITS: [Texts; 6] =
        [Texts::AsSent, Texts::Trimmed, Texts::Crlf, Texts::Lf, Texts::Nfc, Texts::NfdWithLineEnd];
    let words = &[
        "\r", "\n", "\r\n", " ", "\t", "\u{85}", "\u{2000}", "\u{feff}", "e", "\u{301}", "é", "\u{1100}",
        "\u{1161}", "中", "\u{212b}",
    ];
    let outcome = runner.run(&pieces(words), |text| {
        for one in HABITS {
            for other in HABITS {
                let theirs = other.of(&one.of(&text));
                prop_assert!(
                    normalise::same(&text, &theirs),
                    "{:?} {:?}: {:?} came back as {:?}",
                    one,
                    other,
                    text,
                    theirs
                );
            }
        }
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// What is read is written the same way, and never holds what no token may.
pub fn record(runner: &mut TestRunner) -> Result<(), String> {
    let words =
        &["0f0f", "-", "/", "1", "0", "4294967296", "2026-11-26T10:00:00Z", "9999-12-30T23:59:59Z", "T", " "];
    let outcome = runner.run(&pieces(words), |text| {
        if let Ok(record) = text.parse::<Record>() {
            prop_assert!(record.uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            prop_assert!(record.attempt > 0);
            let again: Record = record.to_string().parse().expect("what was written");
            prop_assert_eq!((&again.uid, again.attempt), (&record.uid, record.attempt));
            prop_assert_eq!(again.to_string(), record.to_string());
        }
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// Whatever is let through leads to the vendor or to what was allowed, as another reader of URLs has it.
pub fn endpoint(runner: &mut TestRunner) -> Result<(), String> {
    const ALLOWED: &str = "http://allowed.example:8443/x";
    let endpoints = Endpoints::new(&[ALLOWED.into()]).expect("an address");
    let words = &[
        "https://",
        "http://",
        "HTTPS:",
        "//",
        "aliyuncs.com",
        "ecs.aliyuncs.com",
        "evil.example",
        "allowed.example",
        ".",
        "@",
        ":",
        "443",
        "8443",
        "/",
        "/x",
        "\\",
        "#",
        "?",
        "%2e",
        "%00",
        "[::1]",
        "127.0.0.1",
        "0x7f.1",
        "。",
        "ＡLIYUNCS.COM",
        "\t",
        "\n",
        "xn--",
    ];
    let outcome = runner.run(&pieces(words), |text| {
        let normal = Endpoints::normal(&text);
        prop_assert_eq!(Endpoints::normal(&normal), normal.clone());
        let _ = Endpoints::place(Some(&text), &["aliyuncs.com"]);
        let Ok(url) = endpoints.check(&text, &["aliyuncs.com"]) else { return Ok(()) };
        let uri: Uri =
            url.as_str().parse().map_err(|error| TestCaseError::fail(format!("{url}: {error}")))?;
        let host = uri.host().unwrap_or_default().trim_end_matches('.');
        prop_assert!(!uri.authority().is_some_and(|authority| authority.as_str().contains('@')), "{}", url);
        let own = host == "aliyuncs.com" || host.ends_with(".aliyuncs.com");
        let own = own && uri.scheme_str() == Some("https") && uri.port().is_none();
        let path = uri.path();
        let allowed =
            host == "allowed.example" && uri.port_u16() == Some(8443) && uri.scheme_str() == Some("http");
        let allowed = allowed && (path == "/x" || path.starts_with("/x/"));
        prop_assert!(own || allowed, "{:?} leads to {}", text, url);
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// What is encoded is decoded to itself, and JSON keeps its values under its new keys.
pub fn encoding(runner: &mut TestRunner) -> Result<(), String> {
    let outcome = runner.run(&(text(), text(), json()), |(name, value, json)| {
        let encoded = encode::component(&value);
        prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte)));
        let decoded = percent_decode_str(&encoded).decode_utf8();
        prop_assert!(decoded.is_ok_and(|decoded| decoded == value), "{}", encoded);
        let query = encode::sorted([(name.as_str(), value.as_str()), ("b", "2"), ("a", "1")]);
        let read: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        prop_assert!(read.contains(&(name.clone(), value.clone())), "{}", query);
        let uri: Uri = format!("https://host/?{query}").parse().expect("a URL");
        prop_assert_eq!(encode::canonical_query(&uri), query);
        let lowered = encode::lower_camel(json);
        prop_assert_eq!(encode::lower_camel(lowered.clone()), lowered);
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// One line, and no longer than it may be.
pub fn one_line(runner: &mut TestRunner) -> Result<(), String> {
    let outcome = runner.run(&(text(), 1..60_usize), |(text, most)| {
        let line = outcome::one_line(&text, most);
        prop_assert!(line.chars().count() <= most && !line.contains(['\n', '\r']), "{:?}", line);
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// Only dates change, and into times.
pub fn zstack_dates(runner: &mut TestRunner) -> Result<(), String> {
    let words = &[
        "Nov",
        "Feb",
        " ",
        "21",
        "30",
        "0",
        ",",
        "2026",
        "99999",
        "-1",
        "8",
        "12",
        ":",
        "30",
        "05",
        "60",
        "AM",
        "PM",
        "\u{202f}",
        "Nov 21, 2026 8:30:05 PM",
        "Mar 8, 2026, 2:30:00 AM",
    ];
    let zones = prop::sample::select(&["UTC", "Asia/Shanghai", "America/New_York", "Pacific/Apia"][..]);
    let outcome = runner.run(&(pieces(words), zones, json()), |(text, zone, mut json)| {
        let zone = TimeZone::get(zone).expect("a zone");
        let _ = zstack::dates::read(&text, &zone);
        if let Value::Object(fields) = &mut json {
            fields.insert("createDate".into(), text.clone().into());
            fields.insert("name".into(), text.clone().into());
        }
        let before = json.clone();
        zstack::dates::with_zone(&mut json, &zone);
        prop_assert_eq!(&before["name"], &json["name"]);
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// Each code and message has a class and something to say.
pub fn error_tables(runner: &mut TestRunner) -> Result<(), String> {
    const TABLES: [&[Row]; 3] = [aliyun::errors::TABLE, volcengine::errors::TABLE, zstack::errors::TABLE];
    let words = &[
        "Throttling",
        "InvalidParameter",
        ".",
        "NotFound",
        "SYS",
        "1006",
        "100",
        "Quota",
        "Exceed",
        "Internal",
        "200",
    ];
    let outcome = runner.run(&(pieces(words), text(), 0..1000_u16), |(code, message, status)| {
        for table in TABLES {
            let (class, _) = lookup(&[table], &code, &message);
            prop_assert!(!class.reason().is_empty());
        }
        let _ = zstack::errors::lookup_text(status, &message);
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// What is let through can stand in a header; what is not, is told without being shown.
pub fn credentials(runner: &mut TestRunner) -> Result<(), String> {
    let value = prop_oneof![
        text().prop_map(String::into_bytes),
        vec(any::<u8>(), 0..40),
        "[a-zA-Z0-9+/]{8,40}={0,2}".prop_map(String::into_bytes),
    ];
    let outcome = runner.run(&(value, text()), |(value, around)| {
        let keys = ["accessKeyId", "accessKeySecret", "password"].map(|key| (key.to_owned(), value.clone()));
        let secret = Credentials::new("ns/name".into(), keys);
        let whole = String::from_utf8(value).unwrap_or_default();
        let whole = whole.trim();
        let is_long = whole.len() >= 12;
        let is_graphic = |read: &str| read.bytes().all(|byte| byte.is_ascii_graphic());
        let is_plain = |read: &str| !read.contains(char::is_control);
        for (read, is_right) in [
            (secret.get("accessKeySecret"), &is_graphic as &dyn Fn(&str) -> bool),
            (secret.name("accessKeyId"), &is_graphic),
            (secret.password("password"), &is_plain),
        ] {
            let is_right = match &read {
                Ok(read) => !read.is_empty() && is_right(read),
                Err(error) => !(is_long && format!("{error:?}").contains(whole)),
            };
            prop_assert!(is_right, "{:?}", read);
        }
        let _ = (secret.has("password"), secret.optional("password"), secret.identity());
        if is_long {
            let (shown, scrubbed) =
                (format!("{secret:?}"), secret.scrub(&format!("{around}{whole}{around}")));
            prop_assert!(!shown.contains(whole) && !scrubbed.contains(whole), "{} {}", shown, scrubbed);
        }
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// Certificates, or a sentence.
pub fn ca_bundle(runner: &mut TestRunner) -> Result<(), String> {
    let words = &[
        "-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----",
        "\n",
        "\r\n",
        "AAAA",
        "MIIB",
        "====",
        "-----",
    ];
    let clients = Clients::new(Duration::from_secs(1), Duration::from_secs(1));
    let outcome = runner.run(&pieces(words), |text| {
        if let Err(error) = clients.get(Some(&text)) {
            prop_assert!(!error.is_empty());
        }
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// What cannot be used is told by name.
pub fn proxy(runner: &mut TestRunner) -> Result<(), String> {
    let words = &[
        "http://",
        "https://",
        "socks5://",
        "user",
        ":",
        "pass",
        "@",
        "proxy",
        ".",
        "3128",
        "/",
        "*",
        ",",
        "10.0.0.0/8",
        "[::1]",
    ];
    let outcome = runner.run(&(pieces(words), pieces(words)), |(all, none)| {
        let _ =
            Proxies::check(|name| Some(if name.to_uppercase() == "NO_PROXY" { &none } else { &all }.clone()));
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}
