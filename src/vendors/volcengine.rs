//! Volcengine: one gateway for all services, `Action` and `Version` in the query, signed with HMAC-SHA256.

pub mod aosp_image;
pub mod errors;
pub mod image_export;
pub mod sign;

use crate::{
    account::{AccountVendor, AcepServiceName, Exporters},
    engine::{
        batcher::Batcher,
        external::{Connect, Material, Unusable},
        limits::Published,
        pace,
    },
    image::{ImageStatus, OperationState},
    period::Period,
    wire::{Answer, CallError, Class, Effect, Protocol, Refusal, encode, endpoint::Endpoints, table::lookup},
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{self, InvalidHeaderValue},
};
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
pub const PUBLISHED_LIMITS: &[Published] = &[
    ("ListAOSPImage", 200, Duration::from_secs(1)),
    ("UpdateAOSPImage", 50, Duration::from_secs(1)),
    ("DeleteAOSPImage", 50, Duration::from_secs(1)),
];

/// The hosts that are Volcengine's own, and those of BytePlus, which serves the same APIs outside China: an account there
/// gives `https://open.byteplusapi.com` as its endpoint.
pub(super) const DOMAINS: &[&str] = &["volcengineapi.com", "byteplusapi.com"];
/// What references take: see `External::YIELDS`. No kind makes these as yet.
pub(super) const ECS_IMAGE: &str = "an image of Volcengine ECS";
/// What a name of a TOS bucket must be, as a rule of the API server.
const BUCKET: &str = "self.matches('^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$')";
const GATEWAY: &str = "https://open.volcengineapi.com";
/// The cloud phone's region in the SDKs' endpoint tables and in the documents' examples.
const ACEP_REGION: &str = "cn-north-1";
/// How long a new image may take to show in a list, unless the account says otherwise. No document states it; building one a
/// second time costs an hour and an image, so there is time.
const IMAGE_LIST_DELAY: Period = Period::from_secs(600);
/// The same of a task.
const TASK_LIST_DELAY: Period = Period::from_secs(60);

/// A connection to Volcengine with one account's keys.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    keys: sign::Keys,
    acep: Service,
    ecs: Service,
    exported_by: Exporters,
    product_id: Option<String>,
    material: Material,
    deletes: OnceLock<Batcher<String, aosp_image::Deleted>>,
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

impl Service {
    /// How long after a call was sent what it made may be missing in a list: the vendor may act as late as an answer could have
    /// come, and lists lag behind that.
    fn unlisted(&self) -> Duration {
        pace::REQUEST_TIMEOUT + self.list_delay
    }
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
            access_key: secret.name("accessKeyId")?.into(),
            secret_key: secret.get("accessKeySecret")?.into(),
            session_token: secret.optional("securityToken")?.map(Into::into),
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
                list_delay: acep.list_delay.unwrap_or(IMAGE_LIST_DELAY).into(),
            },
            ecs: Service {
                endpoint: endpoint("ecs", ecs.endpoint.as_deref())?,
                region: account.region.clone(),
                name: "ecs",
                version: "2020-04-01",
                list_delay: ecs.list_delay.unwrap_or(TASK_LIST_DELAY).into(),
            },
            exported_by: ecs.exported_by.unwrap_or(Exporters::Anyone),
            product_id: acep.product_id,
            keys,
            material,
            deletes: OnceLock::new(),
        })))
    }
}

impl Client {
    /// One call of the cloud phone API: POST with JSON. Creating calls must hold a rate permit already.
    async fn acep<T: DeserializeOwned + Send>(
        &self,
        action: &'static str,
        effect: Effect,
        body: &impl Serialize,
    ) -> Result<Answer<T>, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| CallError::NotSent(error.to_string()))?;
        self.call(&self.0.acep, Method::POST, action, effect, &[], body).await
    }

    /// One call of the ECS API: GET with everything in the query. Creating calls must hold a rate permit already.
    async fn ecs<T: DeserializeOwned + Send>(
        &self,
        action: &'static str,
        effect: Effect,
        params: &[(String, String)],
    ) -> Result<Answer<T>, CallError> {
        self.call(&self.0.ecs, Method::GET, action, effect, params, vec![]).await
    }

    async fn call<T: DeserializeOwned + Send>(
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
        let call = self.0.material.call::<Envelope>(&protocol, &service.region, action, effect, request);
        let answer = call.await?;
        match serde_json::from_value(answer.value.result) {
            Ok(value) => Ok(Answer { value, status: answer.status, request_id: answer.request_id }),
            Err(error) => Err(effect
                .unanswered(format!("{action} was answered with a Result that cannot be read ({error})"))),
        }
    }
}

/// `{"ResponseMetadata": {…}, "Result": {…}}`; calls that say nothing have no `Result`, or one that is null.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Result", default)]
    result: Value,
}

/// `ResponseMetadata` of an answer.
fn metadata(body: &[u8]) -> Option<Value> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    body.get_mut("ResponseMetadata").map(Value::take)
}

/// Where the ids of one of its services mean what they do.
fn realm(service: &str, endpoint: Option<&str>, region: &str) -> String {
    format!("volcengine {service} {} {region}", Endpoints::place(endpoint, DOMAINS))
}

/// Whether a thing that the object's last attempt made may be missing in the service's lists. Something that was seen to end
/// has been in a list.
fn may_be_unlisted(status: Option<&ImageStatus>, service: &Service) -> bool {
    let operation = status.and_then(|status| status.operation.as_ref());
    let operation = operation.filter(|operation| operation.state == OperationState::Running);
    let Some(began) = operation.and_then(|operation| operation.started_at.as_ref()) else { return false };
    began.0.checked_add(service.unlisted()).is_ok_and(|listed| Timestamp::now() < listed)
}

/// How the gateway's calls are signed and refused.
struct Gateway<'a> {
    keys: &'a sign::Keys,
    scope: sign::Scope<'a>,
}

impl Protocol for Gateway<'_> {
    fn sign(&self, request: &mut http::Request<Vec<u8>>, now: Timestamp) -> Result<(), InvalidHeaderValue> {
        sign::sign(request, self.keys, self.scope, now)
    }

    /// An `Error` that is not null counts, whatever the HTTP status; HTTP 400 may be a throttle.
    fn refusal(&self, action: &str, status: StatusCode, _: &HeaderMap, body: &[u8]) -> Option<Refusal> {
        let metadata = metadata(body)?;
        let error = metadata.get("Error").filter(|error| !error.is_null())?;
        // Where the cloud phone's numbers arrive is not documented, so both places are read.
        let (code, number) = (text(&error["Code"]), text(&error["CodeN"]));
        let number = NUMBERS.iter().find(|row| row.0 == number).map_or(number, |row| row.1.to_owned());
        let (class, hint) = match lookup(&[errors::TABLE], &code, "") {
            (Class::Unlisted, "") => lookup(&[errors::TABLE], &number, ""),
            known => known,
        };
        Some(Refusal {
            action: action.into(),
            status: status.as_u16(),
            class,
            code: if code.is_empty() { number } else { code },
            message: text(&error["Message"]),
            request_id: text(&metadata["RequestId"]),
            hint,
            retry_after: None,
        })
    }

    fn request_id(&self, _: &HeaderMap, body: &[u8]) -> Option<String> {
        Some(text(&metadata(body)?["RequestId"])).filter(|id| !id.is_empty())
    }
}

/// The gateway's own codes, should only the number come.
const NUMBERS: &[(&str, &str)] = &[
    ("100002", "MissingParameter"),
    ("100003", "MissingAuthenticationToken"),
    ("100004", "MissingRequestInfo"),
    ("100005", "MissingSignature"),
    ("100006", "InvalidTimestamp"),
    ("100007", "ServiceNotFound"),
    ("100008", "InvalidActionOrVersion"),
    ("100009", "InvalidAccessKey"),
    ("100010", "SignatureDoesNotMatch"),
    ("100012", "LackPolicy"),
    ("100013", "AccessDenied"),
    ("100014", "InternalError"),
    ("100016", "InternalServiceTimeout"),
    ("100018", "FlowLimitExceeded"),
];

/// A field that is a text, or should be; empty for what is none.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byteplus_is_called_at_its_own_hosts_which_is_another_realm() {
        let endpoints = Endpoints::default();
        for own in [GATEWAY, "https://open.byteplusapi.com", "https://open.ap-southeast-1.byteplusapi.com"] {
            assert!(endpoints.check(own, DOMAINS).is_ok(), "{own}");
        }
        for other in ["https://byteplusapi.com.example.org", "http://open.byteplusapi.com"] {
            assert!(endpoints.check(other, DOMAINS).is_err(), "{other}");
        }
        let there = realm("ecs", Some("https://open.byteplusapi.com"), "ap-southeast-1");
        assert_ne!(there, realm("ecs", None, "ap-southeast-1"));
    }

    #[test]
    fn what_a_call_made_may_be_unlisted_as_long_as_it_is_waited_for() {
        let service = Service {
            endpoint: Url::parse(GATEWAY).unwrap(),
            region: String::new(),
            name: "ecs",
            version: "",
            list_delay: Duration::from_secs(60),
        };
        assert_eq!(service.unlisted(), Duration::from_secs(80));
        let running = |ago: i64| {
            let began = Timestamp::now().checked_sub(jiff::SignedDuration::from_secs(ago)).unwrap();
            let operation = serde_json::json!({
                "action": "ExportImage", "token": "t", "attempt": 1, "state": "Running", "startedAt": began.to_string(),
            });
            let status = serde_json::json!({ "operation": operation });
            let status: ImageStatus = serde_json::from_value(status).unwrap();
            may_be_unlisted(Some(&status), &service)
        };
        assert!(running(70) && !running(90));
    }
}
