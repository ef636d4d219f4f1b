//! BatchCompute's `acs` signature, rebuilt from what came over the wire.
//!
//! ```text
//! string to sign = VERB \n Accept \n Content-MD5 \n Content-Type \n Date \n
//!                  name:value\n of each x-acs- header, sorted
//!                  path?query as sent, parameters sorted, an empty value is its name alone
//! Authorization:   acs <key>:<base64(hmac_sha1(secret, string to sign))>
//! ```
//! The Python SDK signs the resource as it is encoded, the Node SDK as it is decoded; both are official and both are
//! accepted. The Python SDK sends the body's MD5 in a header `contentMd5`, which is not part of what is signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use crate::crypto::hmac_sha1;
use crate::wire::Request;

/// Access key and signature of the header.
pub(super) fn parse(header: &str) -> Option<(&str, &str)> {
    header.strip_prefix("acs ")?.split_once(':')
}

/// Whether this secret gives the signature.
pub(super) fn matches(request: &Request, secret: &str, signature: &str) -> bool {
    let encoded = resource(request);
    let decoded = percent_decode_str(&encoded).decode_utf8_lossy().into_owned();
    [encoded, decoded].iter().any(|resource| {
        let mac = hmac_sha1(secret.as_bytes(), string_to_sign(request, resource).as_bytes());
        STANDARD.encode(mac) == signature
    })
}

/// With the resource as the Python SDK writes it; for the message of a refusal.
pub(super) fn expected_string(request: &Request) -> String {
    string_to_sign(request, &resource(request))
}

fn string_to_sign(request: &Request, resource: &str) -> String {
    let header = |name| request.header(name).unwrap_or_default().trim();
    let mut lines: Vec<String> =
        [header("accept"), header("content-md5"), header("content-type"), header("date")]
            .iter()
            .map(ToString::to_string)
            .collect();
    lines.insert(0, request.method.clone());
    let mut own: Vec<String> = request
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-acs-"))
        .map(|(name, value)| format!("{name}:{}", value.trim()))
        .collect();
    own.sort();
    lines.extend(own);
    lines.push(resource.to_owned());
    lines.join("\n")
}

fn resource(request: &Request) -> String {
    let mut pairs: Vec<&str> = request.query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    let pairs: Vec<&str> = pairs.into_iter().map(|pair| pair.strip_suffix('=').unwrap_or(pair)).collect();
    if pairs.is_empty() { request.path.clone() } else { format!("{}?{}", request.path, pairs.join("&")) }
}
