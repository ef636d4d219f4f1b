//! The digests that vendors sign with.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// SHA-256, in lower-case hex.
pub fn sha256_hex(text: &[u8]) -> String {
    hex::encode(Sha256::digest(text))
}

/// HMAC-SHA256.
pub fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length, so this cannot fail; an empty result would only be refused by the vendor.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// SHA-512, in lower-case hex.
pub fn sha512_hex(text: &[u8]) -> String {
    hex::encode(Sha512::digest(text))
}

/// MD5, in lower-case hex.
pub fn md5_hex(text: &[u8]) -> String {
    hex::encode(Md5::digest(text))
}

/// HMAC-SHA1.
pub fn hmac_sha1(key: &[u8], text: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(key) else { return Vec::new() };
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
