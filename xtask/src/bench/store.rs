//! Objects put straight to where the API server keeps them, as a backup that is restored brings them: in the time in which
//! tens of thousands are asked of the API server one after the other, nothing is measured.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::lab::AT_ONCE;
use crate::controlplane::ControlPlane;
use crate::error::{Doing, Error, Result};

/// etcd's own API over HTTP.
pub(super) struct Store {
    http: reqwest::Client,
    uids: AtomicU64,
}

impl Store {
    pub(super) fn of(plane: &ControlPlane) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().unix_socket(plane.store());
        Ok(Self { http: http.build().doing(|| "make a client")?, uids: AtomicU64::new(1) })
    }

    /// A uid that no other object has.
    pub(super) fn uid(&self) -> String {
        let number = self.uids.fetch_add(1, Ordering::Relaxed);
        format!("{:08x}-0000-4000-8000-{number:012x}", std::process::id())
    }

    /// Gives an object what the API server gives a new one.
    pub(super) fn new_object(&self, mut object: Value) -> Value {
        object["metadata"]["uid"] = json!(self.uid());
        object["metadata"]["generation"] = json!(1);
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        object["metadata"]["creationTimestamp"] = json!(now);
        object
    }

    /// Puts objects there; `resource`: like `secrets`, or with its group before it.
    pub(super) async fn put(&self, resource: &str, objects: &[Value]) -> Result<()> {
        let each = stream::iter(objects).map(|object| self.put_one(resource, object));
        each.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Puts an object there.
    pub(super) async fn put_one(&self, resource: &str, object: &Value) -> Result<()> {
        let metadata = &object["metadata"];
        let part = |name: &str| metadata[name].as_str().unwrap_or_default();
        let key = format!("{}{}", prefix(resource, part("namespace")), part("name"));
        self.ask("put", &json!({ "key": encoded(&key), "value": encoded(&object.to_string()) })).await
    }

    /// Takes away all objects of a kind that a namespace has, whatever holds them.
    pub(super) async fn clear(&self, resource: &str, namespace: &str) -> Result<()> {
        let first = prefix(resource, namespace);
        let mut last = first.clone();
        // What comes after all that begins so.
        last.pop();
        last.push('0');
        self.ask("deleterange", &json!({ "key": encoded(&first), "range_end": encoded(&last) })).await
    }

    async fn ask(&self, what: &str, body: &Value) -> Result<()> {
        let request = self.http.post(format!("http://etcd/v3/kv/{what}")).body(body.to_string());
        let answer = request.send().await.doing(|| format!("ask etcd to {what}"))?;
        let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
        if status.is_success() { Ok(()) } else { Err(Error::Failed(format!("etcd, {what}: {text}"))) }
    }
}

/// Ends in `/`, after which comes `0`.
fn prefix(resource: &str, namespace: &str) -> String {
    format!("/registry/{resource}/{namespace}/")
}

fn encoded(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}
