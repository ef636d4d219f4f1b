//! Volcengine: one gateway for all services, `Action` and `Version` in the query, signed with HMAC-SHA256.

pub mod aosp_image;
pub mod errors;
pub mod image_export;
pub mod sign;

use crate::{
    account::{AccountVendor, AcepServiceName},
    engine::{
        carpool::Carpool,
        external::{Connect, Material, Unusable},
    },
    period::Period,
    wire::{Answer, CallError, Class, Effect, Protocol, Refusal, encode, table::lookup},
};
use http::{HeaderMap, Method, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};
use url::Url;

/// Published on the cloud phone's pages; nothing is published for BuildAOSPImage and ECS.
pub const PUBLISHED_LIMITS: &[(&str, u32, Duration)] = &[
    ("ListAOSPImage", 200, Duration::from_secs(1)),
    ("UpdateAOSPImage", 50, Duration::from_secs(1)),
    ("DeleteAOSPImage", 50, Duration::from_secs(1)),
];

/// The hosts that are Volcengine's own.
const DOMAINS: &[&str] = &["volcengineapi.com"];
const GATEWAY: &str = "https://open.volcengineapi.com";
/// The cloud phone's region in the SDKs' endpoint tables and in the documents' examples.
const ACEP_REGION: &str = "cn-north-1";
/// How long a new thing may take to show in a list, unless the account says otherwise. No document states it.
const LIST_DELAY: Period = Period::from_secs(60);

/// A connection to Volcengine with one account's keys.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    keys: sign::Keys,
    acep: Service,
    ecs: Service,
    product_id: Option<String>,
    material: Material,
    deletes: OnceLock<Carpool<String, aosp_image::Deleted>>,
}

/// One service behind the gateway.
#[derive(Clone, Debug)]
struct Service {
    endpoint: Url,
    region: String,
    /// As it stands in the signature's scope.
    name: &'static str,
    version: &'static str,
    list_delay: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "volcengine::Client({})", self.0.keys.access_key)
    }
}

impl Connect for Client {
    fn connect(account: &AccountVendor, material: Material) -> Result<Self, Unusable> {
        let account =
            account.volcengine.as_ref().ok_or_else(|| super::wrong_vendor("Volcengine (volcengine)"))?;
        let secret = &material.secret;
        let keys = sign::Keys {
            access_key: secret.get("accessKeyId")?.into(),
            secret_key: secret.get("accessKeySecret")?.into(),
            session_token: secret.optional("securityToken").map(Into::into),
        };
        let endpoint = |name: &str, own: Option<&str>| {
            let checked = material.endpoints.check(own.unwrap_or(GATEWAY), DOMAINS);
            checked
                .map_err(|denied| Unusable::new("EndpointNotAllowed", format!("volcengine.{name}: {denied}")))
        };
        let acep = account.acep.clone().unwrap_or_default();
        let ecs = account.ecs.clone().unwrap_or_default();
        Ok(Self(Arc::new(Inner {
            acep: Service {
                endpoint: endpoint("acep", acep.endpoint.as_deref())?,
                region: acep.region.unwrap_or_else(|| ACEP_REGION.into()),
                name: match acep.service_name {
                    AcepServiceName::acep => "acep",
                    AcepServiceName::ACEP => "ACEP",
                },
                version: "2025-05-01",
                list_delay: acep.list_delay.unwrap_or(LIST_DELAY).into(),
            },
            ecs: Service {
                endpoint: endpoint("ecs", ecs.endpoint.as_deref())?,
                region: account.region.clone(),
                name: "ecs",
                version: "2020-04-01",
                list_delay: ecs.list_delay.unwrap_or(LIST_DELAY).into(),
            },
            product_id: acep.product_id,
            keys,
            material,
            deletes: OnceLock::new(),
        })))
    }
}

impl Client {
    /// One call of the cloud phone API: POST with JSON. Creating calls must have had their turn before.
    async fn acep<T: DeserializeOwned>(
        &self,
        action: &'static str,
        effect: Effect,
        body: &impl Serialize,
    ) -> Result<Answer<T>, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| CallError::NotSent(error.to_string()))?;
        self.call(&self.0.acep, Method::POST, action, effect, &[], body).await
    }

    /// One call of the ECS API: GET with everything in the query. Creating calls must have had their turn before.
    async fn ecs<T: DeserializeOwned>(
        &self,
        action: &'static str,
        effect: Effect,
        params: &[(String, String)],
    ) -> Result<Answer<T>, CallError> {
        self.call(&self.0.ecs, Method::GET, action, effect, params, vec![]).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        service: &Service,
        method: Method,
        action: &'static str,
        effect: Effect,
        params: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Answer<T>, CallError> {
        let own = [("Action", action), ("Version", service.version)];
        let query = encode::sorted(
            own.into_iter().chain(params.iter().map(|(key, value)| (key.as_str(), value.as_str()))),
        );
        let mut url = service.endpoint.clone();
        url.set_query(Some(&query));
        let mut request = http::Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).map_err(|error| CallError::NotSent(error.to_string()))?;
        let protocol = Gateway {
            keys: &self.0.keys,
            scope: sign::Scope { region: &service.region, service: service.name },
        };
        let call = self.0.material.call::<Envelope<T>>(&protocol, &service.region, action, effect, request);
        let answer = call.await?;
        match answer.value.result {
            Some(value) => Ok(Answer { value, status: answer.status, request_id: answer.request_id }),
            None => Err(CallError::Unknown(format!("{action} was answered without a Result"))),
        }
    }
}

/// `{"ResponseMetadata": {…}, "Result": {…}}`; calls that say nothing have no `Result`.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Envelope<T> {
    #[serde(rename = "Result", default = "nothing")]
    result: Option<T>,
}

/// Lets `T` be read from nothing, as `()`-like types can.
fn nothing<T: DeserializeOwned>() -> Option<T> {
    serde_json::from_value(Value::Null).ok()
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "ResponseMetadata")]
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    error: Option<ErrorBody>,
}

/// Where the numeric product codes arrive is not documented, so both places are read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    #[serde(default)]
    code: Value,
    #[serde(default, rename = "CodeN")]
    code_n: Value,
    #[serde(default)]
    message: String,
}

/// How the gateway's calls are signed and refused.
struct Gateway<'a> {
    keys: &'a sign::Keys,
    scope: sign::Scope<'a>,
}

impl Protocol for Gateway<'_> {
    fn sign(&self, request: &mut http::Request<Vec<u8>>, now: Timestamp) {
        sign::sign(request, self.keys, self.scope, now);
    }

    /// An `Error` that is not null counts, whatever the HTTP status; HTTP 400 may be a throttle.
    fn refusal(&self, action: &str, status: StatusCode, _: &HeaderMap, body: &[u8]) -> Option<Refusal> {
        let Head { metadata } = serde_json::from_slice(body).ok()?;
        let error = metadata.error?;
        let (code, number) = (text(&error.code), text(&error.code_n));
        let (class, hint) = match lookup(&[errors::TABLE], &code, "") {
            (Class::Unlisted, "") => lookup(&[errors::TABLE], &number, ""),
            known => known,
        };
        Some(Refusal {
            action: action.into(),
            status: status.as_u16(),
            class,
            code: if code.is_empty() { number } else { code },
            message: error.message,
            request_id: metadata.request_id,
            hint,
            retry_after: None,
        })
    }

    fn request_id(&self, _: &HeaderMap, body: &[u8]) -> Option<String> {
        let Head { metadata } = serde_json::from_slice(body).ok()?;
        Some(metadata.request_id).filter(|id| !id.is_empty())
    }
}

/// A code, as text or number.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}
