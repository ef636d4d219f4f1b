//! Volcengine HMAC-SHA256. Pure: the time comes from outside.
//!
//! ```text
//! CanonicalRequest = METHOD \n path \n canonical query \n (name:value\n for each signed header) \n signed headers \n hex(sha256(body))
//! Scope            = YYYYMMDD/region/service/request
//! StringToSign     = "HMAC-SHA256" \n X-Date \n Scope \n hex(sha256(CanonicalRequest))
//! Key              = HMAC(HMAC(HMAC(HMAC(SecretKey, YYYYMMDD), region), service), "request")
//! Authorization    = HMAC-SHA256 Credential=AccessKey/Scope, SignedHeaders=a;b;c, Signature=hex(HMAC(Key, StringToSign))
//! ```
//!
//! Signed are `host`, `content-type` where there is one, and every `x-` header; lower-case, sorted, joined by `;`.

use crate::wire::{digest, encode, request::authority};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{self, InvalidHeaderValue},
};
use jiff::{Timestamp, tz::TimeZone};
use std::fmt;

const ALGORITHM: &str = "HMAC-SHA256";

/// An account's keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Public.
    pub access_key: String,
    /// Secret.
    pub secret_key: String,
    /// With temporary keys (STS).
    pub session_token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Keys({})", self.access_key)
    }
}

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// For example `cn-beijing`.
    pub region: &'a str,
    /// For example `ecs`; taken to the letter.
    pub service: &'a str,
}

/// The stages of a signature, each as the vendor describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// First stage.
    pub canonical_request: String,
    /// Second stage.
    pub string_to_sign: String,
    /// The header's value.
    pub authorization: String,
}

/// Adds date, the body's hash and the signature to a request.
pub fn sign(
    request: &mut Request<Vec<u8>>,
    keys: &Keys,
    scope: Scope<'_>,
    now: Timestamp,
) -> Result<(), InvalidHeaderValue> {
    let date = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
    let (host, body_hash) = (authority(request), digest::sha256_hex(request.body()));
    let headers = request.headers_mut();
    // What cannot be sent must not be left out.
    let mut set = |name: &'static str, value: &str| -> Result<(), InvalidHeaderValue> {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        Ok(())
    };
    set("host", &host)?;
    set("x-date", &date)?;
    set("x-content-sha256", &body_hash)?;
    if let Some(token) = &keys.session_token {
        set("x-security-token", token)?;
    }
    let signed = stages(request, keys, scope);
    let mut value = HeaderValue::from_str(&signed.authorization)?;
    value.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Computes the signature of a request that carries everything else already.
pub fn stages(request: &Request<Vec<u8>>, keys: &Keys, scope: Scope<'_>) -> Signed {
    let mut names: Vec<_> = request
        .headers()
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| matches!(*name, "host" | "content-type") || name.starts_with("x-"))
        .collect();
    names.sort_unstable();
    let canonical_headers: String =
        names.iter().map(|name| format!("{name}:{}\n", value(request.headers(), name))).collect();
    let signed_headers = names.join(";");
    let canonical_request = format!(
        "{}\n{}\n{}\n{canonical_headers}\n{signed_headers}\n{}",
        request.method(),
        request.uri().path(),
        encode::canonical_query(request.uri()),
        value(request.headers(), "x-content-sha256"),
    );
    let date_time = value(request.headers(), "x-date");
    let date = date_time.split('T').next().unwrap_or_default();
    let credential_scope = format!("{date}/{}/{}/request", scope.region, scope.service);
    let string_to_sign = format!(
        "{ALGORITHM}\n{date_time}\n{credential_scope}\n{}",
        digest::sha256_hex(canonical_request.as_bytes())
    );
    let key = [date, scope.region, scope.service, "request"]
        .iter()
        .fold(keys.secret_key.as_bytes().to_vec(), |key, part| digest::hmac_sha256(&key, part.as_bytes()));
    let signature = hex::encode(digest::hmac_sha256(&key, string_to_sign.as_bytes()));
    let authorization = format!(
        "{ALGORITHM} Credential={}/{credential_scope}, SignedHeaders={signed_headers}, Signature={signature}",
        keys.access_key
    );
    Signed { canonical_request, string_to_sign, authorization }
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}
