//! BatchCompute's `acs` signature. Pure: time and nonce come from outside.
//!
//! ```text
//! StringToSign  = VERB \n Accept \n Content-MD5 \n Content-Type \n Date \n
//!                 (x-acs-name:value \n for each x-acs-* header, sorted)
//!                 path[?query, sorted, as sent]
//! Authorization = acs AccessKeyId:base64(HMAC-SHA1(AccessKeySecret, StringToSign))
//! ```
//!
//! As the official Python SDK does it: the body's MD5 travels in a header `contentMd5`, which is not signed, and the line
//! of Content-MD5 stays empty.

use crate::{vendors::aliyun::sign::Keys, wire::digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{self, InvalidHeaderValue},
};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

/// What makes one sending of a request unlike any other.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// `x-acs-region-id`.
    pub region: &'a str,
    /// `Date`; the server allows 15 minutes either way.
    pub now: Timestamp,
    /// `x-acs-signature-nonce`; never used twice.
    pub nonce: &'a str,
}

/// The stages of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What is signed.
    pub string_to_sign: String,
    /// The header's value.
    pub authorization: String,
}

/// Adds the stamp, the body's sum and the signature to a request.
pub fn sign(
    request: &mut Request<Vec<u8>>,
    keys: &Keys,
    stamp: &Stamp<'_>,
) -> Result<(), InvalidHeaderValue> {
    let sum = (!request.body().is_empty()).then(|| digest::md5_hex(request.body()));
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&stamp.now).unwrap_or_default();
    let headers = request.headers_mut();
    // What cannot be sent must not be left out.
    let mut set = |name: &'static str, value: &str| -> Result<(), InvalidHeaderValue> {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value)?);
        Ok(())
    };
    set("accept", "application/json")?;
    set("content-type", "application/json")?;
    set("date", &date)?;
    set("x-acs-region-id", stamp.region)?;
    set("x-acs-access-key-id", &keys.access_key_id)?;
    set("x-acs-signature-method", "HMAC-SHA1")?;
    set("x-acs-signature-version", "1.0")?;
    set("x-acs-version", "2015-11-11")?;
    set("x-acs-signature-nonce", stamp.nonce)?;
    if let Some(token) = &keys.security_token {
        set("x-acs-security-token", token)?;
    }
    if let Some(sum) = sum {
        set("contentmd5", &sum)?;
    }
    let signed = stages(request, keys);
    let mut value = HeaderValue::from_str(&signed.authorization)?;
    value.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, value);
    Ok(())
}

/// Computes the signature of a request that carries everything else already.
pub fn stages(request: &Request<Vec<u8>>, keys: &Keys) -> Signed {
    let headers = request.headers();
    let mut own: Vec<_> = headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|name| name.starts_with("x-acs-"))
        .map(|name| format!("{name}:{}\n", value(headers, name)))
        .collect();
    own.sort_unstable();
    let uri = request.uri();
    let resource = match uri.query() {
        Some(query) => format!("{}?{}", uri.path(), sorted(query)),
        None => uri.path().to_owned(),
    };
    let string_to_sign = format!(
        "{}\n{}\n{}\n{}\n{}\n{}{resource}",
        request.method(),
        value(headers, "accept"),
        value(headers, "content-md5"),
        value(headers, "content-type"),
        value(headers, "date"),
        own.concat(),
    );
    let signature =
        STANDARD.encode(digest::hmac_sha1(keys.access_key_secret.as_bytes(), string_to_sign.as_bytes()));
    Signed { authorization: format!("acs {}:{signature}", keys.access_key_id), string_to_sign }
}

/// The parameters in order; an empty value is its name alone.
fn sorted(query: &str) -> String {
    let mut pairs: Vec<_> = query
        .split('&')
        .map(|pair| pair.strip_suffix('=').unwrap_or(pair))
        .filter(|pair| !pair.is_empty())
        .collect();
    pairs.sort_unstable();
    pairs.join("&")
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}
