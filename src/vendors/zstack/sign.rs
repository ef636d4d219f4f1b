//! ZStack's access-key signature. Pure: the time comes from outside.
//!
//! ```text
//! StringToSign  = METHOD \n Date \n path, without the context path and the query, decoded
//! Authorization = ZStack AccessKeyId:base64(HMAC-SHA1(AccessKeySecret, StringToSign))
//! ```
//!
//! `Date` is the management node's wall clock: unless it is told otherwise, it compares that and ignores the zone.

use crate::wire::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderValue, Request,
    header::{self, InvalidHeaderValue},
};
use jiff::{Timestamp, tz::TimeZone};
use percent_encoding::percent_decode_str;
use std::fmt;

/// An account's access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Public.
    pub access_key_id: String,
    /// Secret.
    pub access_key_secret: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Keys({})", self.access_key_id)
    }
}

/// The stages of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What is signed.
    pub string_to_sign: String,
    /// The header's value.
    pub authorization: String,
}

/// Adds date and signature to a request. `context`: the path before `/v1`, such as `/zstack`.
pub fn sign(
    request: &mut Request<Vec<u8>>,
    keys: &Keys,
    context: &str,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<(), InvalidHeaderValue> {
    request.headers_mut().insert(header::DATE, HeaderValue::from_str(&date(now, zone))?);
    let mut value = HeaderValue::from_str(&stages(request, keys, context).authorization)?;
    value.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Computes the signature of a request that carries its date already.
pub fn stages(request: &Request<Vec<u8>>, keys: &Keys, context: &str) -> Signed {
    let date = request.headers().get(header::DATE).and_then(|date| date.to_str().ok()).unwrap_or_default();
    let path = request.uri().path();
    let path = percent_decode_str(path.strip_prefix(context).unwrap_or(path)).decode_utf8_lossy();
    let string_to_sign = format!("{}\n{date}\n{path}", request.method());
    let signature =
        STANDARD.encode(digest::hmac_sha1(keys.access_key_secret.as_bytes(), string_to_sign.as_bytes()));
    Signed { authorization: format!("ZStack {}:{signature}", keys.access_key_id), string_to_sign }
}

/// `Sat, 21 Nov 2026 20:26:23 GMT+08:00`. Letters of a zone would be ambiguous for a node that looks at them: CST is China's and
/// America's, IST India's, Ireland's and Israel's. Java reads no `+08:00` alone.
fn date(now: Timestamp, zone: &TimeZone) -> String {
    let zoned = now.to_zoned(zone.clone());
    let zone = if zoned.offset().is_zero() { "UTC" } else { "GMT%:z" };
    zoned.strftime(&format!("%a, %d %b %Y %H:%M:%S {zone}")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_travels_as_its_sum() {
        let sum = "b109f3bbbc244eb82441917ed06d618b9008dd09b3befd1b5e07394c706a8bb980b1d7785e5976ec049b46df5f1326af5a2ea6d103fd07c95385ffab0cacbc86";
        assert_eq!(digest::sha512_hex(b"password"), sum);
    }

    #[test]
    fn the_date_is_the_nodes_wall_clock() {
        let now = "2026-11-21T12:26:23Z".parse().unwrap();
        assert_eq!(
            date(now, &TimeZone::get("Asia/Shanghai").unwrap()),
            "Sat, 21 Nov 2026 20:26:23 GMT+08:00"
        );
        assert_eq!(date(now, &TimeZone::UTC), "Sat, 21 Nov 2026 12:26:23 UTC");
        for (zone, expected) in [
            ("Asia/Singapore", "Sat, 21 Nov 2026 20:26:23 GMT+08:00"),
            ("Asia/Kolkata", "Sat, 21 Nov 2026 17:56:23 GMT+05:30"),
            ("America/Chicago", "Sat, 21 Nov 2026 06:26:23 GMT-06:00"),
            ("Europe/London", "Sat, 21 Nov 2026 12:26:23 UTC"),
            ("Asia/Kathmandu", "Sat, 21 Nov 2026 18:11:23 GMT+05:45"),
            ("America/Sao_Paulo", "Sat, 21 Nov 2026 09:26:23 GMT-03:00"),
        ] {
            assert_eq!(date(now, &TimeZone::get(zone).unwrap()), expected, "{zone}");
        }
    }
}
