//! Percent-encoding as signatures need it: RFC 3986, upper-case hex, only unreserved characters left alone.

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// One key or value.
pub fn component(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `k=v&k=v`, sorted by key and then by value.
pub fn sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut pairs: Vec<_> =
        pairs.into_iter().map(|(key, value)| (component(key), component(value))).collect();
    pairs.sort();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

/// The query of a request as it is signed: decoded, encoded anew, sorted.
pub fn canonical_query(uri: &Uri) -> String {
    let pairs: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    sorted(pairs.iter().map(|(key, value)| (key.as_ref(), value.as_ref())))
}

/// A vendor's JSON with its keys as they stand in `status.atProvider`: `OSType` → `osType`, `MD5` → `md5`.
pub fn lower_camel(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (lower_camel_key(&key), lower_camel(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(lower_camel).collect(),
        other => other,
    }
}

/// Lowers the leading capitals, but for the last of several, which begins the next word.
fn lower_camel_key(key: &str) -> String {
    let capitals = key.chars().take_while(char::is_ascii_uppercase).count();
    let followed = key.chars().nth(capitals).is_some_and(|next| next.is_ascii_lowercase());
    let lowered = if capitals > 1 && followed { capitals - 1 } else { capitals };
    key.chars()
        .enumerate()
        .map(|(index, char)| if index < lowered { char.to_ascii_lowercase() } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_only_unreserved_characters() {
        assert_eq!(component("te st/1~*+"), "te%20st%2F1~%2A%2B");
        assert_eq!(component("镜像"), "%E9%95%9C%E5%83%8F");
        assert_eq!(component("Az09-_.~"), "Az09-_.~");
    }

    #[test]
    fn keys_become_lower_camel_case() {
        for (key, lowered) in [
            ("ImageId", "imageId"),
            ("MD5", "md5"),
            ("OSType", "osType"),
            ("AOSPVersion", "aospVersion"),
            ("name", "name"),
            ("TOSBucket", "tosBucket"),
        ] {
            assert_eq!(lower_camel_key(key), lowered);
        }
    }

    #[test]
    fn sorts_as_strings() {
        assert_eq!(sorted([("Id.2", "b"), ("Id.10", "a"), ("Id.1", "c")]), "Id.1=c&Id.10=a&Id.2=b");
    }
}
