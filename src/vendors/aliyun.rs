//! Alibaba Cloud: who calls and where, for all its APIs; and the client of ECS, whose calls are RPC style, signed with
//! ACS3-HMAC-SHA256, parameters in the form body.

pub mod batch_compute;
pub mod batch_compute_image;
mod ecs_image;
mod endpoints;
pub mod errors;
pub mod image_build;
pub mod image_component;
pub mod image_copy;
pub mod image_pipeline;
pub mod pipeline_steps;
pub mod sharing;
pub mod sign;
mod tags;

use crate::{
    account::AccountVendor,
    engine::{
        external::{Connect, Material, Unusable},
        limits::Published,
    },
    wire::{Answer, CallError, Effect, Protocol, Refusal, table::lookup},
};
use http::{
    HeaderMap, Method, StatusCode,
    header::{self, InvalidHeaderValue},
};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use std::{fmt, sync::Arc, time::Duration};
use url::Url;

/// Published on the pages of these calls: 1000 requests in 60 s, for each account and region. Nothing is published for the
/// others.
pub const PUBLISHED_LIMITS: &[Published] = &[
    ("CopyImage", 1000, Duration::from_secs(60)),
    ("CreateImageComponent", 1000, Duration::from_secs(60)),
    ("CreateImagePipeline", 1000, Duration::from_secs(60)),
    ("StartImagePipelineExecution", 1000, Duration::from_secs(60)),
];

/// What kinds make, and references take: see `External::YIELDS`.
pub(super) const ECS_IMAGE: &str = "an image of Alibaba Cloud ECS";
/// The same of components of images.
pub(super) const IMAGE_COMPONENT: &str = "an image component of Alibaba Cloud ECS";

/// The same of pipelines that make images.
pub(super) const IMAGE_PIPELINE: &str = "an image pipeline of Alibaba Cloud ECS";
/// What calls about tags call a pipeline, unless the account says otherwise: the vendor's pages name none.
const PIPELINE_TYPE: &str = "imagepipeline";

/// The hosts that are Alibaba Cloud's own.
pub(super) const DOMAINS: &[&str] = &["aliyuncs.com"];

/// A connection to Alibaba Cloud with one account's keys.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    keys: sign::Keys,
    region: String,
    ecs: Option<Url>,
    batch_compute: Option<Url>,
    pipeline_type: String,
    material: Material,
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "aliyun::Client({}, {})", self.0.keys.access_key_id, self.0.region)
    }
}

impl Connect for Client {
    fn connect(account: &AccountVendor, material: Material) -> Result<Self, Unusable> {
        let account = account.aliyun.as_ref().ok_or_else(|| super::wrong_vendor("Alibaba Cloud (aliyun)"))?;
        let secret = &material.secret;
        let keys = sign::Keys {
            access_key_id: secret.name("accessKeyId")?.into(),
            access_key_secret: secret.get("accessKeySecret")?.into(),
            security_token: secret.optional("securityToken")?.map(Into::into),
        };
        let (ecs, batch_compute) = (account.ecs.as_ref(), account.batch_compute.as_ref());
        let endpoint = |name: &str, own: Option<&str>| {
            own.map(|endpoint| material.endpoints.check(endpoint, DOMAINS))
                .transpose()
                .map_err(|denied| Unusable::new("EndpointNotAllowed", format!("aliyun.{name}: {denied}")))
        };
        Ok(Self(Arc::new(Inner {
            keys,
            region: account.region_id.clone(),
            ecs: endpoint("ecs", ecs.and_then(|api| api.endpoint.as_deref()))?,
            batch_compute: endpoint("batchCompute", batch_compute.and_then(|api| api.endpoint.as_deref()))?,
            pipeline_type: ecs
                .and_then(|api| api.pipeline_resource_type.clone())
                .unwrap_or_else(|| PIPELINE_TYPE.into()),
            material,
        })))
    }
}

/// The region of an object that may name one.
fn place(account: &AccountVendor, own: Option<&str>) -> Option<String> {
    let account = account.aliyun.as_ref().map(|account| account.region_id.as_str());
    own.or(account).map(str::to_owned)
}

impl Client {
    /// The region of images that name none.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// What calls about tags call a pipeline.
    fn pipeline_type(&self) -> &str {
        &self.0.pipeline_type
    }

    /// One call of the ECS API, version 2014-05-26. Creating calls must hold a rate permit already.
    async fn ecs<T: DeserializeOwned + Send>(
        &self,
        action: &'static str,
        effect: Effect,
        region: &str,
        params: &[(String, String)],
    ) -> Result<Answer<T>, CallError> {
        let url = self.0.ecs.as_ref().map_or_else(|| endpoints::ecs(region), Url::to_string);
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("RegionId", region)
            .extend_pairs(params)
            .finish();
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body.into_bytes())
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        let protocol = Acs3 { keys: &self.0.keys, action, version: "2014-05-26" };
        self.0.material.call(&protocol, region, action, effect, request).await
    }
}

/// How an RPC call is signed and refused.
struct Acs3<'a> {
    keys: &'a sign::Keys,
    action: &'a str,
    version: &'a str,
}

/// Vendors.md 3.3: `{"RequestId","HostId","Code","Message","Recommend"}`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    request_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RequestId {
    request_id: String,
}

impl Protocol for Acs3<'_> {
    fn sign(&self, request: &mut http::Request<Vec<u8>>, now: Timestamp) -> Result<(), InvalidHeaderValue> {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        sign::sign(
            request,
            self.keys,
            &sign::Stamp { action: self.action, version: self.version, now, nonce: &nonce },
        )
    }

    fn refusal(&self, action: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Refusal> {
        if status.is_success() {
            return None;
        }
        let error: ErrorBody = serde_json::from_slice(body).ok()?;
        let (class, hint) = lookup(&[errors::TABLE], &error.code, "");
        let request_id = if error.request_id.is_empty() {
            self.request_id(headers, body).unwrap_or_default()
        } else {
            error.request_id
        };
        let retry_after = retry_after(headers);
        Some(Refusal {
            action: action.into(),
            status: status.as_u16(),
            class,
            code: error.code,
            message: error.message,
            request_id,
            hint,
            retry_after,
        })
    }

    fn request_id(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        let header = || headers.get("x-acs-request-id")?.to_str().ok().map(Into::into);
        serde_json::from_slice(body).ok().map(|RequestId { request_id }| request_id).or_else(header)
    }
}

/// `x-acs-retry-after` is a positive integer whose unit no document states. The SDK's own waits are in milliseconds, so
/// large numbers are taken for those; small ones for seconds, since waiting too short would be the worse mistake.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number: u64 = headers.get("x-acs-retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(if number >= 1000 { Duration::from_millis(number) } else { Duration::from_secs(number) })
}
