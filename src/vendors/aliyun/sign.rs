//! ACS3-HMAC-SHA256. Pure: time and nonce come from outside.
//!
//! ```text
//! CanonicalRequest = METHOD \n path \n canonical query \n (name:value\n for each signed header) \n signed headers \n hex(sha256(body))
//! StringToSign     = "ACS3-HMAC-SHA256" \n hex(sha256(CanonicalRequest))
//! Signature        = hex(HMAC-SHA256(AccessKeySecret, StringToSign))
//! Authorization    = ACS3-HMAC-SHA256 Credential=AccessKeyId,SignedHeaders=a;b;c,Signature=…
//! ```
//!
//! Signed are `host`, every `x-acs-*` header and, with a body, `content-type`; lower-case, sorted, joined by `;`.

use crate::wire::{digest, encode, request::authority};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{self, InvalidHeaderValue},
};
use jiff::{Timestamp, Unit};
use std::fmt;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// An account's keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Public.
    pub access_key_id: String,
    /// Secret.
    pub access_key_secret: String,
    /// With temporary keys (STS).
    pub security_token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Keys({})", self.access_key_id)
    }
}

/// What makes one sending of a request unlike any other.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// `x-acs-action`.
    pub action: &'a str,
    /// `x-acs-version`.
    pub version: &'a str,
    /// `x-acs-date`; the gateway allows 15 minutes either way.
    pub now: Timestamp,
    /// `x-acs-signature-nonce`; never used twice.
    pub nonce: &'a str,
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

/// Adds the stamp, the body's hash and the signature to a request.
pub fn sign(
    request: &mut Request<Vec<u8>>,
    keys: &Keys,
    stamp: &Stamp<'_>,
) -> Result<(), InvalidHeaderValue> {
    let date = stamp.now.round(Unit::Second).unwrap_or(stamp.now).to_string();
    let body_hash = digest::sha256_hex(request.body());
    let host = authority(request);
    let headers = request.headers_mut();
    // What cannot be sent must not be left out.
    let mut set = |name: &'static str, value: &str| -> Result<(), InvalidHeaderValue> {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        Ok(())
    };
    set("host", &host)?;
    set("x-acs-action", stamp.action)?;
    set("x-acs-version", stamp.version)?;
    set("x-acs-date", &date)?;
    set("x-acs-signature-nonce", stamp.nonce)?;
    set("x-acs-content-sha256", &body_hash)?;
    if let Some(token) = &keys.security_token {
        set("x-acs-security-token", token)?;
    }
    let signed = stages(request, keys);
    let mut value = HeaderValue::from_str(&signed.authorization)?;
    value.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Computes the signature of a request that carries everything else already.
pub fn stages(request: &Request<Vec<u8>>, keys: &Keys) -> Signed {
    let names = signed_names(request.headers(), request.body().is_empty());
    let canonical_headers: String =
        names.iter().map(|name| format!("{name}:{}\n", value(request.headers(), name))).collect();
    let signed_headers = names.join(";");
    let canonical_query = encode::canonical_query(request.uri());
    let canonical_request = format!(
        "{}\n{}\n{canonical_query}\n{canonical_headers}\n{signed_headers}\n{}",
        request.method(),
        request.uri().path(),
        value(request.headers(), "x-acs-content-sha256"),
    );
    let string_to_sign = format!("{ALGORITHM}\n{}", digest::sha256_hex(canonical_request.as_bytes()));
    let signature =
        hex::encode(digest::hmac_sha256(keys.access_key_secret.as_bytes(), string_to_sign.as_bytes()));
    let authorization = format!(
        "{ALGORITHM} Credential={},SignedHeaders={signed_headers},Signature={signature}",
        keys.access_key_id
    );
    Signed { canonical_request, string_to_sign, authorization }
}

fn signed_names(headers: &HeaderMap, no_body: bool) -> Vec<&str> {
    let mut names: Vec<_> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| *name == "host" || name.starts_with("x-acs-") || (*name == "content-type" && !no_body))
        .collect();
    names.sort_unstable();
    names
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}
