//! What Volcengine's gateway checks before a product sees the call, and its codes.
//!
//! Not documented, and chosen here: the allowed clock difference (15 minutes), which headers must be signed (those of
//! the SDK), and what an expired security token is answered with ([`Settings::expired_token_code`]).

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::Settings;
use super::signature::Authorization;
use crate::server::Context;
use crate::wire::{Refusal, Request};

const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Codes of the gateway with their HTTP status, their number and their sentence.
const CODES: [(&str, u16, i64, &str); 18] = [
    ("MissingParameter", 400, 100_002, "The request is missing a required parameter."),
    ("MissingAuthenticationToken", 401, 100_003, "The request is missing an authentication token."),
    ("MissingRequestInfo", 400, 100_004, "The request is missing required information."),
    ("MissingSignature", 401, 100_005, "The request is missing a signature."),
    ("InvalidTimestamp", 400, 100_006, "The request has expired or its timestamp is from the future."),
    ("ServiceNotFound", 404, 100_007, "The service does not exist."),
    ("InvalidActionOrVersion", 404, 100_008, "Could not find operation for the action and version."),
    ("InvalidAccessKey", 401, 100_009, "The access key is invalid."),
    (
        "SignatureDoesNotMatch",
        401,
        100_010,
        "The request signature does not match the one that was calculated.",
    ),
    ("InvalidAuthorization", 400, 100_011, "The Authorization header is invalid."),
    ("LackPolicy", 403, 100_012, "The policy is missing."),
    ("AccessDenied", 403, 100_013, "User is not authorized to perform this action."),
    ("InternalError", 500, 100_014, "An internal error has occurred."),
    ("InternalServiceTimeout", 504, 100_016, "The internal service timed out."),
    ("FlowLimitExceeded", 429, 100_018, "The request is rejected because of the flow limit."),
    (
        "AccountFlowLimitExceeded",
        400,
        100_019,
        "The request is rejected because of the flow limit of the account.",
    ),
    ("MethodNotAllowed", 405, 100_020, "The method is not allowed."),
    ("ExpiredToken", 401, 100_021, "The security token has expired."),
];

/// The gateway's refusal under one of its codes; an unknown one comes as an internal error.
pub(super) fn refusal(code: &str) -> Refusal {
    let (code, status, _, message) = CODES.iter().find(|row| row.0 == code).unwrap_or(&CODES[12]);
    Refusal::new(*status, *code, *message)
}

/// `CodeN` of a gateway code.
pub(super) fn number(code: &str) -> Option<i64> {
    CODES.iter().find(|row| row.0 == code).map(|row| row.2)
}

/// Which of the two products a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Acep,
    Ecs,
}

const ACTIONS: [(&str, &str, Product); 9] = [
    ("BuildAOSPImage", "2025-05-01", Product::Acep),
    ("ListAOSPImage", "2025-05-01", Product::Acep),
    ("UpdateAOSPImage", "2025-05-01", Product::Acep),
    ("DeleteAOSPImage", "2025-05-01", Product::Acep),
    ("ExportImage", "2020-04-01", Product::Ecs),
    ("DescribeTasks", "2020-04-01", Product::Ecs),
    ("DescribeImages", "2020-04-01", Product::Ecs),
    ("ModifyImageAttribute", "2020-04-01", Product::Ecs),
    ("DeleteImages", "2020-04-01", Product::Ecs),
];

/// A call as its query and its header describe it.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) action: String,
    pub(super) version: String,
    pub(super) authorization: Option<Authorization>,
    /// The query without action and version.
    pub(super) query: Vec<(String, String)>,
}

impl Call {
    pub(super) fn read(request: &Request) -> Self {
        let mut call = Self {
            authorization: request.header("authorization").and_then(Authorization::parse),
            ..Self::default()
        };
        for (name, value) in request.query_pairs() {
            match name.as_str() {
                "Action" => call.action = value,
                "Version" => call.version = value,
                _ => call.query.push((name, value)),
            }
        }
        call
    }

    /// Which product is meant: the scope's service finds it, action and version must be that product's.
    fn product(&self, authorization: &Authorization) -> Result<Product, Refusal> {
        // The SDK signs `acep`, the vendor's own examples `ACEP`.
        let product = match authorization.service.as_str() {
            "acep" | "ACEP" => Product::Acep,
            "ecs" => Product::Ecs,
            _ => return Err(refusal("ServiceNotFound")),
        };
        if self.action.is_empty() || self.version.is_empty() {
            return Err(refusal("MissingParameter"));
        }
        if ACTIONS.contains(&(self.action.as_str(), self.version.as_str(), product)) {
            return Ok(product);
        }
        Err(refusal("InvalidActionOrVersion"))
    }
}

/// Who calls, and what for.
pub(super) struct Admitted {
    pub(super) product: Product,
    pub(super) account: String,
    pub(super) region: String,
}

pub(super) fn admit(request: &Request, call: &Call, context: &Context<'_>) -> Result<Admitted, Refusal> {
    let Some(header) = request.header("authorization").filter(|header| !header.is_empty()) else {
        return Err(refusal("MissingAuthenticationToken"));
    };
    let Some(authorization) = &call.authorization else {
        let missing = header.starts_with("HMAC-SHA256") && !header.contains("Signature=");
        return Err(refusal(if missing { "MissingSignature" } else { "InvalidAuthorization" }));
    };
    let product = call.product(authorization)?;
    let (Some(x_date), Some(_)) = (request.header("x-date"), request.header("host")) else {
        return Err(refusal("MissingRequestInfo"));
    };
    // A Content-Type need not be signed: the universal client's HTTP layer adds one to GET requests afterwards.
    let must = ["host", "x-date", "x-content-sha256", "x-security-token"];
    if must.iter().any(|name| request.header(name).is_some() && !authorization.signs(name)) {
        return Err(refusal("InvalidAuthorization"));
    }
    let time = parse_time(x_date).filter(|_| x_date.starts_with(&authorization.date));
    let time = time.ok_or_else(|| refusal("InvalidTimestamp"))?;
    if time.duration_since(context.gateway).abs() > SKEW {
        return Err(refusal("InvalidTimestamp"));
    }
    let key =
        context.settings.access_key(&authorization.access_key).ok_or_else(|| refusal("InvalidAccessKey"))?;
    if authorization.expected(request, x_date, &key.secret) != authorization.signature {
        return Err(refusal("SignatureDoesNotMatch"));
    }
    check_token(key, request.header("x-security-token"), context.gateway, &context.settings.volcengine)?;
    let method_fits = match product {
        Product::Acep => request.method == "POST",
        Product::Ecs => matches!(request.method.as_str(), "GET" | "POST"),
    };
    if !method_fits || request.path != "/" {
        return Err(refusal("MethodNotAllowed"));
    }
    Ok(Admitted { product, account: key.account.clone(), region: authorization.region.clone() })
}

/// `YYYYMMDDThhmmssZ`
fn parse_time(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn check_token(
    key: &crate::AccessKey,
    token: Option<&str>,
    gateway: Timestamp,
    settings: &Settings,
) -> Result<(), Refusal> {
    if key.security_token.as_deref() != token {
        return Err(refusal("InvalidAccessKey"));
    }
    if token.is_some() && key.expires_at.is_some_and(|end| end <= gateway) {
        let code = &settings.expired_token_code;
        return Err(Refusal { code: code.clone(), ..refusal("ExpiredToken") });
    }
    Ok(())
}
