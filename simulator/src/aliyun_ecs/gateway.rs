//! What the RPC gateway checks before a product sees the call: the API, who calls, when, and whether it was said before.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::parameters::{Parameters, missing};
use super::signature_v3::Authorization;
use super::{ACTIONS, signature_v1, signature_v3};
use crate::server::Context;
use crate::wire::{Refusal, Request};

/// How far a request's time may be from the gateway's.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// A call as the gateway reads it, in either signature version.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) action: String,
    pub(super) version: String,
    pub(super) access_key: Option<String>,
    /// What is left when the gateway has taken its own.
    pub(super) parameters: Parameters,
    proof: Proof,
}

#[derive(Clone, Debug)]
enum Proof {
    /// Everything is in headers.
    V3,
    /// Everything is in parameters, of which this is all.
    V1(Parameters),
}

/// Parameters that belong to the gateway in the older version.
const COMMON: [&str; 11] = [
    "Action",
    "Version",
    "Format",
    "AccessKeyId",
    "SignatureMethod",
    "SignatureType",
    "SignatureVersion",
    "SignatureNonce",
    "Timestamp",
    "SecurityToken",
    "Signature",
];

impl Call {
    /// The older version answers in XML unless it is asked for JSON.
    pub(super) fn wants_xml(&self) -> bool {
        match &self.proof {
            Proof::V3 => false,
            Proof::V1(all) => !all.get("Format").is_some_and(|format| format.eq_ignore_ascii_case("JSON")),
        }
    }

    pub(super) fn read(request: &Request) -> Self {
        let mut parameters: Parameters =
            request.query_pairs().into_iter().chain(request.form_pairs()).collect();
        // The core SDK sends x-acs-action and x-acs-version with signature V1 too; what tells V1 is the signature among the
        // parameters.
        let is_v1 = parameters.get("Signature").is_some() && request.header("authorization").is_none();
        if !is_v1 && (request.header("authorization").is_some() || request.header("x-acs-action").is_some()) {
            let header = |name| request.header(name).unwrap_or_default().to_owned();
            let authorization = request.header("authorization").and_then(Authorization::parse);
            return Self {
                action: header("x-acs-action"),
                version: header("x-acs-version"),
                access_key: authorization.map(|parsed| parsed.access_key.to_owned()),
                parameters,
                proof: Proof::V3,
            };
        }
        let all = parameters.clone();
        for name in COMMON {
            parameters.remove(name);
        }
        Self {
            action: all.get("Action").unwrap_or_default().to_owned(),
            version: all.get("Version").unwrap_or_default().to_owned(),
            access_key: all.get("AccessKeyId").map(Into::into),
            parameters,
            proof: Proof::V1(all),
        }
    }
}

pub(super) fn unknown_action() -> Refusal {
    Refusal::new(
        404,
        "InvalidAction.NotFound",
        "Specified api is not found, please check your url and method.",
    )
}

/// Whether there is such an API at all; asked before anything else.
pub(super) fn check_api(request: &Request, call: &Call) -> Result<(), Refusal> {
    if !matches!(request.method.as_str(), "GET" | "POST") {
        return Err(Refusal::new(400, "UnsupportedHTTPMethod", "This http method is not supported."));
    }
    if request.path != "/" || !ACTIONS.contains(&call.action.as_str()) {
        return Err(unknown_action());
    }
    if call.version != "2014-05-26" {
        return Err(Refusal::new(400, "InvalidVersion", "Specified parameter Version is not valid."));
    }
    Ok(())
}

/// Who calls: the account of the key that signed. Nonces are remembered once the signature is known to be right.
pub(super) fn authenticate(
    request: &Request,
    call: &Call,
    context: &Context<'_>,
    nonces: &mut Nonces,
) -> Result<String, Refusal> {
    let claim = match &call.proof {
        Proof::V3 => Claim::from_headers(request)?,
        Proof::V1(all) => Claim::from_parameters(request, all)?,
    };
    let key = context.settings.access_key(&claim.access_key).ok_or_else(|| {
        Refusal::new(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    })?;
    let time = parse_time(&claim.time)?;
    if time.duration_since(context.gateway).abs() > SKEW {
        return Err(Refusal::new(
            400,
            "InvalidTimeStamp.Expired",
            "Specified time stamp or date value is expired.",
        ));
    }
    check_token(key, claim.security_token.as_deref(), context.gateway)?;
    if (claim.sign)(&key.secret, &claim.string_to_sign) != claim.signature {
        return Err(Refusal::new(
            400,
            "SignatureDoesNotMatch",
            format!(
                "Specified signature is not matched with our calculation. server string to sign is:{}{}",
                claim.string_to_sign, claim.explanation
            ),
        ));
    }
    if !nonces.first_use(&key.id, &claim.nonce, context.gateway) {
        return Err(Refusal::new(400, "SignatureNonceUsed", "Specified signature nonce was used already."));
    }
    Ok(key.account.clone())
}

/// What a request claims, in either version.
struct Claim {
    access_key: String,
    time: String,
    nonce: String,
    security_token: Option<String>,
    string_to_sign: String,
    signature: String,
    sign: fn(&str, &str) -> String,
    /// What else helps to find the difference.
    explanation: String,
}

impl Claim {
    fn from_headers(request: &Request) -> Result<Self, Refusal> {
        let incomplete = |what: &str| {
            Refusal::new(
                400,
                "IncompleteSignature",
                format!("The request signature does not conform to Aliyun standards. {what}"),
            )
        };
        let header = |name: &str| {
            request
                .header(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| incomplete(&format!("{name} is missing.")))
        };
        let authorization = Authorization::parse(header("authorization")?)
            .ok_or_else(|| incomplete("The header Authorization is malformed."))?;
        header("x-acs-content-sha256")?;
        let (time, nonce) = (header("x-acs-date")?.to_owned(), header("x-acs-signature-nonce")?.to_owned());
        header("host")?;
        if let Some(name) = authorization.unsigned(request) {
            return Err(incomplete(&format!("The header {name} is not signed.")));
        }
        let canonical = signature_v3::canonical_request(request, &authorization.signed_headers);
        Ok(Self {
            access_key: authorization.access_key.to_owned(),
            time,
            nonce,
            security_token: request.header("x-acs-security-token").map(Into::into),
            string_to_sign: signature_v3::string_to_sign(&canonical),
            signature: authorization.signature.to_owned(),
            sign: signature_v3::signature,
            explanation: format!(" server canonical request is:{canonical}"),
        })
    }

    fn from_parameters(request: &Request, all: &Parameters) -> Result<Self, Refusal> {
        let required = |name| all.required(name).map(str::to_owned);
        let claim = Self {
            access_key: required("AccessKeyId")?,
            time: required("Timestamp")?,
            nonce: required("SignatureNonce")?,
            security_token: all.get("SecurityToken").filter(|token| !token.is_empty()).map(Into::into),
            string_to_sign: signature_v1::string_to_sign(&request.method, all.iter()),
            signature: required("Signature")?,
            sign: signature_v1::signature,
            explanation: String::new(),
        };
        if required("SignatureMethod")? != "HMAC-SHA1" {
            return Err(Refusal::new(
                400,
                "InvalidSignatureMethod",
                "Specified signature method is not valid.",
            ));
        }
        if required("SignatureVersion")? != "1.0" {
            return Err(Refusal::new(
                400,
                "InvalidSignatureVersion",
                "Specified signature version is not valid.",
            ));
        }
        Ok(claim)
    }
}

/// `YYYY-MM-DDThh:mm:ssZ`, nothing else.
fn parse_time(text: &str) -> Result<Timestamp, Refusal> {
    let parsed = if text.len() == "2026-01-01T00:00:00Z".len() && text.ends_with('Z') {
        text.parse().ok()
    } else {
        None
    };
    parsed.ok_or_else(|| {
        Refusal::new(
            400,
            "InvalidTimeStamp.Format",
            "Specified time stamp or date value is not well formatted.",
        )
    })
}

fn check_token(key: &crate::AccessKey, token: Option<&str>, gateway: Timestamp) -> Result<(), Refusal> {
    match (&key.security_token, token) {
        (None, None) => Ok(()),
        (Some(_), None) => Err(missing("SecurityToken")),
        (Some(expected), Some(token)) if expected == token => {
            if key.expires_at.is_some_and(|end| end <= gateway) {
                return Err(Refusal::new(
                    400,
                    "InvalidSecurityToken.Expired",
                    "Specified SecurityToken is expired.",
                ));
            }
            Ok(())
        }
        (_, Some(_)) => Err(Refusal::new(
            400,
            "InvalidSecurityToken.MismatchWithAccessKey",
            "Specified SecurityToken mismatch with the AccessKey.",
        )),
    }
}

/// Nonces by access key, for as long as a request with them could still be in time.
#[derive(Default)]
pub(super) struct Nonces {
    seen: HashMap<(String, String), Timestamp>,
    /// How many there may be before old ones are looked for.
    sweep_at: usize,
}

impl Nonces {
    fn first_use(&mut self, access_key: &str, nonce: &str, now: Timestamp) -> bool {
        if self.seen.len() > self.sweep_at {
            self.seen.retain(|_, at| now.duration_since(*at).abs() <= SKEW + SKEW);
            self.sweep_at = self.seen.len() * 2 + 10_000;
        }
        self.seen.insert((access_key.into(), nonce.into()), now).is_none()
    }
}
