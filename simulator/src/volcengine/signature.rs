//! Volcengine's HMAC-SHA256, rebuilt from what came over the wire.
//!
//! ```text
//! canonical request = METHOD \n PATH \n query, decoded, encoded anew, sorted \n
//!                     name:value\n of each signed header, sorted \n names joined by ; \n hex(sha256(body))
//! scope             = YYYYMMDD/region/service/request
//! string to sign    = HMAC-SHA256 \n X-Date \n scope \n hex(sha256(canonical request))
//! key               = hmac(hmac(hmac(hmac(secret, YYYYMMDD), region), service), "request")
//! Authorization:      HMAC-SHA256 Credential=<key>/<scope>, SignedHeaders=<names joined by ;>, Signature=<hex(hmac(key, string to sign))>
//! ```

use crate::crypto::{hmac_sha256, sha256_hex};
use crate::wire::{Request, encode};

const SCHEME: &str = "HMAC-SHA256";

/// The parts of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authorization {
    pub(super) access_key: String,
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    /// In lower case, sorted.
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: String,
}

impl Authorization {
    pub(super) fn parse(header: &str) -> Option<Self> {
        let fields = header.strip_prefix(SCHEME)?.strip_prefix(' ')?;
        let field =
            |name: &str| fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let credential: Vec<&str> = field("Credential")?.split('/').collect();
        let &[access_key, date, region, service, "request"] = credential.as_slice() else { return None };
        let mut signed_headers: Vec<String> =
            field("SignedHeaders")?.split(';').map(|name| name.trim().to_ascii_lowercase()).collect();
        signed_headers.sort();
        Some(Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers,
            signature: field("Signature")?.to_owned(),
        })
    }

    pub(super) fn signs(&self, name: &str) -> bool {
        self.signed_headers.iter().any(|signed| signed == name)
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/request", self.date, self.region, self.service)
    }

    /// The signature that this secret gives, whatever the header says.
    pub(super) fn expected(&self, request: &Request, x_date: &str, secret: &str) -> String {
        let canonical = canonical_request(request, &self.signed_headers);
        let string_to_sign = format!("{SCHEME}\n{x_date}\n{}\n{}", self.scope(), sha256_hex(canonical));
        let mut key = secret.as_bytes().to_vec();
        for part in [self.date.as_str(), &self.region, &self.service, "request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        hex::encode(hmac_sha256(&key, string_to_sign.as_bytes()))
    }
}

fn canonical_request(request: &Request, signed_headers: &[String]) -> String {
    let mut query: Vec<(String, String)> =
        request.query_pairs().iter().map(|(name, value)| (encode(name), encode(value))).collect();
    query.sort();
    let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers: Vec<String> = signed_headers
        .iter()
        .map(|name| {
            let value = request.header(name).unwrap_or_default().trim();
            let value = if name == "host" { without_usual_port(value) } else { value };
            format!("{name}:{value}")
        })
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

/// The SDK signs the host without port 80 and 443, and with any other.
fn without_usual_port(host: &str) -> &str {
    host.strip_suffix(":80").or_else(|| host.strip_suffix(":443")).unwrap_or(host)
}
