//! What BatchCompute checks before it looks at images: the version, who calls, when, and the body's sum.
//!
//! That a wrong signature and a wrong time are answered with HTTP 400 is known; the names of these codes are not, so
//! that they are those of Alibaba's RPC gateway here ([`Settings::clock_code`](super::Settings::clock_code) gives the
//! time's another name). Whether a nonce may come again is not known either
//! ([`Settings::check_nonces`](super::Settings::check_nonces)).

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use md5::{Digest, Md5};

use super::signature;
use crate::server::Context;
use crate::wire::{Refusal, Request};

const SKEW: SignedDuration = SignedDuration::from_mins(15);
const LARGEST_BODY: usize = 256 * 1024;

/// Who calls, and about which region.
pub(super) struct Caller {
    pub(super) account: String,
    pub(super) region: String,
}

/// Nonces by access key; those that no request in time could carry again are dropped.
#[derive(Default)]
pub(super) struct Nonces(HashMap<(String, String), Timestamp>);

pub(super) fn admit(
    request: &Request,
    context: &Context<'_>,
    nonces: &mut Nonces,
) -> Result<Caller, Refusal> {
    if request.header("x-acs-version") != Some("2015-11-11") {
        return Err(Refusal::new(403, "InvalidVersion.NotFound", "The specified version does not exist."));
    }
    if request.body.len() > LARGEST_BODY {
        return Err(Refusal::new(400, "InvalidHttpBody", "The request body exceeds 256 KB."));
    }
    let incomplete = |what: &str| {
        Refusal::new(400, "IncompleteSignature", format!("The header {what} is missing or not valid."))
    };
    let header = |name: &str| request.header(name).filter(|value: &&str| !value.is_empty());
    let required = |name: &str| header(name).ok_or_else(|| incomplete(name));
    let (key, signature) =
        signature::parse(required("authorization")?).ok_or_else(|| incomplete("authorization"))?;
    let region = required("x-acs-region-id")?;
    let nonce = required("x-acs-signature-nonce")?;
    if header("x-acs-signature-method") != Some("HMAC-SHA1") {
        return Err(incomplete("x-acs-signature-method"));
    }
    if header("x-acs-signature-version") != Some("1.0") {
        return Err(incomplete("x-acs-signature-version"));
    }
    let known = context.settings.access_key(key).ok_or_else(|| {
        Refusal::new(400, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    })?;
    let date = header("date").or_else(|| header("x-acs-date")).ok_or_else(|| incomplete("date"))?;
    let time = rfc2822::parse(date).map_err(|_| incomplete("date"))?.timestamp();
    if time.duration_since(context.gateway).abs() > SKEW {
        return Err(Refusal::new(
            400,
            context.settings.batchcompute.clock_code.clone(),
            "Specified time stamp or date value is expired.",
        ));
    }
    if !signature::matches(request, &known.secret, signature) {
        return Err(Refusal::new(
            400,
            "SignatureDoesNotMatch",
            format!(
                "Specified signature is not matched with our calculation. server string to sign is:{}",
                signature::expected_string(request)
            ),
        ));
    }
    check_token(known, header("x-acs-security-token"), context.gateway)?;
    if let Some(sum) = header("contentmd5")
        && !sum.eq_ignore_ascii_case(&hex::encode(Md5::digest(&request.body)))
    {
        return Err(Refusal::new(400, "InvalidContentMd5", "Specified parameter contentMd5 is not valid."));
    }
    if context.settings.batchcompute.check_nonces {
        let now = context.gateway;
        if nonces.0.len() > 50_000 {
            nonces.0.retain(|_, at| now.duration_since(*at).abs() <= SKEW + SKEW);
        }
        if nonces.0.insert((key.into(), nonce.into()), now).is_some() {
            return Err(Refusal::new(
                400,
                "SignatureNonceUsed",
                "Specified signature nonce was used already.",
            ));
        }
    }
    Ok(Caller { account: known.account.clone(), region: region.into() })
}

fn check_token(key: &crate::AccessKey, token: Option<&str>, gateway: Timestamp) -> Result<(), Refusal> {
    if key.security_token.as_deref() != token {
        return Err(Refusal::new(
            400,
            "InvalidSecurityToken.MismatchWithAccessKey",
            "Specified SecurityToken mismatch with the AccessKey.",
        ));
    }
    if token.is_some() && key.expires_at.is_some_and(|end| end <= gateway) {
        return Err(Refusal::new(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired."));
    }
    Ok(())
}
