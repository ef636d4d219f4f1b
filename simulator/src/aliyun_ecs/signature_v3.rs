//! `ACS3-HMAC-SHA256`, rebuilt from what came over the wire.
//!
//! ```text
//! canonical request = METHOD \n PATH \n query, decoded, sorted by name, encoded anew \n
//!                     name:value\n of each signed header, sorted \n names joined by ; \n hex(sha256(body))
//! string to sign    = ACS3-HMAC-SHA256 \n hex(sha256(canonical request))
//! signature         = hex(hmac_sha256(secret, string to sign))
//! Authorization:      ACS3-HMAC-SHA256 Credential=<key>,SignedHeaders=<names joined by ;>,Signature=<signature>
//! ```

use crate::crypto::{hmac_sha256, sha256_hex};
use crate::wire::{Request, encode};

pub(super) const SCHEME: &str = "ACS3-HMAC-SHA256";

/// The three parts of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authorization<'a> {
    pub(super) access_key: &'a str,
    /// In lower case, sorted.
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: &'a str,
}

impl<'a> Authorization<'a> {
    pub(super) fn parse(header: &'a str) -> Option<Self> {
        let fields = header.strip_prefix(SCHEME)?.trim();
        let field =
            |name: &str| fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let mut signed_headers: Vec<String> =
            field("SignedHeaders")?.split(';').map(|name| name.trim().to_ascii_lowercase()).collect();
        signed_headers.sort();
        Some(Self { access_key: field("Credential")?, signed_headers, signature: field("Signature")? })
    }

    /// A header that must be signed and is not: the host, everything of `x-acs-`, and the type of a body.
    pub(super) fn unsigned<'r>(&self, request: &'r Request) -> Option<&'r str> {
        let must = |name: &str| {
            name == "host"
                || name.starts_with("x-acs-")
                || (name == "content-type" && !request.body.is_empty())
        };
        let signed = |name: &str| self.signed_headers.iter().any(|signed| signed == name);
        request.headers.iter().map(|(name, _)| name.as_str()).find(|name| must(name) && !signed(name))
    }
}

pub(super) fn canonical_request(request: &Request, signed_headers: &[String]) -> String {
    let mut query = request.query_pairs();
    query.sort();
    let query: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let headers: Vec<String> = signed_headers
        .iter()
        .map(|name| format!("{name}:{}", request.header(name).unwrap_or_default().trim()))
        .collect();
    format!(
        "{}\n{}\n{}\n{}\n\n{}\n{}",
        request.method,
        request.path,
        query.join("&"),
        headers.join("\n"),
        signed_headers.join(";"),
        sha256_hex(&request.body)
    )
}

pub(super) fn string_to_sign(canonical_request: &str) -> String {
    format!("{SCHEME}\n{}", sha256_hex(canonical_request))
}

pub(super) fn signature(secret: &str, string_to_sign: &str) -> String {
    hex::encode(hmac_sha256(secret.as_bytes(), string_to_sign.as_bytes()))
}
