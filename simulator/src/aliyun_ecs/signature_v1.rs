//! The older RPC signature, HMAC-SHA1 over all parameters of query and form.
//!
//! ```text
//! string to sign = METHOD & %2F & encode(encode(name)=encode(value) joined by &, sorted by name, without Signature)
//! Signature      = base64(hmac_sha1(secret + "&", string to sign))
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::crypto::hmac_sha1;
use crate::wire::encode;

pub(super) fn string_to_sign<'a>(
    method: &str,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut parameters: Vec<_> = parameters.filter(|(name, _)| *name != "Signature").collect();
    parameters.sort_unstable();
    let canonical: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    format!("{method}&%2F&{}", encode(&canonical.join("&")))
}

pub(super) fn signature(secret: &str, string_to_sign: &str) -> String {
    STANDARD.encode(hmac_sha1(format!("{secret}&").as_bytes(), string_to_sign.as_bytes()))
}
