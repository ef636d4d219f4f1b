//! Signatures by access key.
//!
//! ```text
//! Authorization: ZStack <key>:<base64(hmac_sha1(secret, METHOD \n Date \n path))>
//! ```
//! The path is without the context path and the query, and URL-decoded.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use crate::crypto::hmac_sha1;

pub(super) fn matches(method: &str, date: &str, path: &str, secret: &str, signature: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    STANDARD.encode(hmac_sha1(secret.as_bytes(), format!("{method}\n{date}\n{path}").as_bytes())) == signature
}
