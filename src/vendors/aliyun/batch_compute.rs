//! The client of BatchCompute, API version 2015-11-11: REST with JSON, signed in its own way.

pub mod errors;
pub mod sign;

use super::{Client, sign::Keys};
use crate::wire::{Answer, CallError, Effect, Protocol, Refusal, table::lookup};
use http::{HeaderMap, Method, StatusCode, header::InvalidHeaderValue};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

impl Client {
    /// One call. `target` is the path with its query, percent-encoded. Creating calls must hold a rate permit already.
    pub async fn batch_compute<T: DeserializeOwned + Send>(
        &self,
        action: &'static str,
        effect: Effect,
        method: Method,
        target: &str,
        body: Vec<u8>,
    ) -> Result<Answer<T>, CallError> {
        let inner = &*self.0;
        let base = match &inner.batch_compute {
            Some(endpoint) => endpoint.as_str().trim_end_matches('/').to_owned(),
            None => format!("https://batchcompute.{}.aliyuncs.com", inner.region),
        };
        let request = http::Request::builder()
            .method(method)
            .uri(base + target)
            .body(body)
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        let protocol = Acs { keys: &inner.keys, region: &inner.region };
        inner.material.call(&protocol, &inner.region, action, effect, request).await
    }
}

/// How calls are signed and refused.
struct Acs<'a> {
    keys: &'a Keys,
    region: &'a str,
}

/// `{"Code", "Message"}`; some answers add `RequestId`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    request_id: String,
}

impl Protocol for Acs<'_> {
    fn sign(&self, request: &mut http::Request<Vec<u8>>, now: Timestamp) -> Result<(), InvalidHeaderValue> {
        let nonce = uuid::Uuid::new_v4().to_string();
        sign::sign(request, self.keys, &sign::Stamp { region: self.region, now, nonce: &nonce })
    }

    fn refusal(&self, action: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Refusal> {
        if status.is_success() {
            return None;
        }
        let error: ErrorBody = serde_json::from_slice(body).ok()?;
        let (class, hint) = lookup(errors::TABLES, &error.code, &error.message);
        Some(Refusal {
            action: action.into(),
            status: status.as_u16(),
            class,
            code: error.code,
            message: error.message,
            request_id: self.request_id(headers, body).unwrap_or(error.request_id),
            hint,
            retry_after: None,
        })
    }

    fn request_id(&self, headers: &HeaderMap, _: &[u8]) -> Option<String> {
        let id = headers.get("x-acs-request-id").or_else(|| headers.get("request-id"))?;
        id.to_str().ok().map(Into::into)
    }
}
