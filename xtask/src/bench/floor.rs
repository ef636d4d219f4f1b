//! The floor: what an object cannot do without, by a client that does nothing else. For a creation two writes and the vendor's
//! call between them, for a deletion the vendor's call and a write; many objects at once, with no cache, no queue, no limits.
//!
//! Its vendor's call is signed by itself, and what it writes is what the operator has written for an object before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Writes;
use super::lab::{API, AT_ONCE, Lab, stored};
use crate::error::{Doing, Error, Result};

/// The kind that is created and deleted.
pub(super) const PLURAL: &str = "imagecomponents";

const KEY: (&str, &str) = ("simulator", "simulator-secret");
const REGION: &str = "cn-hangzhou";

/// What to write, by the example of an object that the operator has made Ready.
pub(super) struct Floor {
    host: String,
    example: Value,
    writes: Writes,
    nonces: AtomicU64,
}

impl Floor {
    pub(super) fn new(lab: &Lab, example: Value, writes: Writes) -> Result<Self> {
        Ok(Self { host: lab.vendor("aliyun-ecs")?, example, writes, nonces: AtomicU64::new(0) })
    }

    /// Makes objects Ready that exist.
    pub(super) async fn fulfil(&self, lab: &Lab, objects: Vec<Value>) -> Result<Vec<Value>> {
        let each = stream::iter(objects).map(|object| self.fulfil_one(lab, object));
        each.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Creates objects and makes them Ready.
    pub(super) async fn create(&self, lab: &Lab, namespace: &str, objects: &[Value]) -> Result<Vec<Value>> {
        let path = format!("{API}/namespaces/{namespace}/{PLURAL}");
        let each = stream::iter(objects).map(|object| {
            let path = &path;
            async move { self.fulfil_one(lab, lab.send("POST", path, object).await?).await }
        });
        each.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Deletes objects.
    pub(super) async fn delete(&self, lab: &Lab, objects: Vec<Value>) -> Result<()> {
        let each = stream::iter(objects).map(|object| async move {
            let path = path(&object);
            let mut going = lab.send("DELETE", &path, &Value::Null).await?;
            let id = text(&object["status"]["imageId"]);
            self.call(lab.http(), "DeleteImageComponent", &[("ImageComponentId".into(), id.into())]).await?;
            going["metadata"]["finalizers"] = json!([]);
            self.write(lab, &path, going, "/metadata/finalizers").await.map(drop)
        });
        each.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Makes things that no object stands for, one each time, for as long as somebody lets it, whatever the vendor says.
    pub(super) async fn make_for_ever(&self, http: &reqwest::Client, every: Duration) {
        let mut times = tokio::time::interval(every);
        loop {
            let number = self.nonces.load(Ordering::Relaxed);
            times.tick().await;
            let name = format!("another-clients-{number}");
            let parameters = [("Name", &*name), ("Content", "true"), ("ClientToken", &*name)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()));
            let _ = self.call(http, "CreateImageComponent", &parameters).await;
        }
    }

    /// Puts objects where the API server keeps them, Ready as the operator leaves them, with what they stand for at the vendor.
    pub(super) async fn restore(&self, lab: &Lab, objects: Vec<Value>) -> Result<()> {
        let resource = stored(PLURAL);
        let each = stream::iter(objects).map(|object| async {
            let ready = self.restored(lab, object).await?;
            lab.store.put_one(&resource, &ready).await
        });
        each.buffer_unordered(AT_ONCE).try_collect().await
    }

    async fn restored(&self, lab: &Lab, object: Value) -> Result<Value> {
        let uid = lab.store.uid();
        let id = self.make(lab, &object["spec"]["forProvider"], &uid).await?;
        let mut ready = self.own(&self.example, &uid, Some(&id))?;
        for name in ["name", "namespace"] {
            ready["metadata"][name] = object["metadata"][name].clone();
        }
        if let Some(metadata) = ready["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        ready["spec"]["forProvider"]["name"] = object["spec"]["forProvider"]["name"].clone();
        Ok(ready)
    }

    async fn fulfil_one(&self, lab: &Lab, mut object: Value) -> Result<Value> {
        let path = path(&object);
        let uid = text(&object["metadata"]["uid"]).to_owned();
        object["metadata"]["finalizers"] = self.example["metadata"]["finalizers"].clone();
        object["metadata"]["annotations"] = self.own(&self.example["metadata"]["annotations"], &uid, None)?;
        let mut object = self.write(lab, &path, object, "/metadata").await?;
        let id = self.make(lab, &object["spec"]["forProvider"], &uid).await?;
        object["status"] = self.own(&self.example["status"], &uid, Some(&id))?;
        self.write(lab, &format!("{path}/status"), object, "/status").await
    }

    /// A part of the example, as it is of another object.
    fn own(&self, part: &Value, uid: &str, id: Option<&str>) -> Result<Value> {
        let mut part = part.to_string().replace(text(&self.example["metadata"]["uid"]), uid);
        if let Some(id) = id {
            part = part.replace(text(&self.example["status"]["imageId"]), id);
        }
        serde_json::from_str(&part).doing(|| "write as the operator does")
    }

    /// Has the vendor make what an object asks for, and gives its id.
    async fn make(&self, lab: &Lab, spec: &Value, uid: &str) -> Result<String> {
        let named = |name: &str, value: &Value| (name.to_owned(), text(value).to_owned());
        // Without tags the operator would find, and set right, that they are missing.
        let tags = spec["tag"].as_array().into_iter().flatten().zip(1..).flat_map(|(tag, number)| {
            [
                named(&format!("Tag.{number}.Key"), &tag["key"]),
                named(&format!("Tag.{number}.Value"), &tag["value"]),
            ]
        });
        let fields = [
            ("Name", "name"),
            ("ComponentVersion", "componentVersion"),
            ("Description", "description"),
            ("Content", "content"),
        ];
        let fields = fields.into_iter().map(|(name, field)| named(name, &spec[field]));
        let token = ("ClientToken".to_owned(), uid.to_owned());
        let parameters: Vec<_> = fields.chain(tags).chain([token]).collect();
        let made = self.call(lab.http(), "CreateImageComponent", &parameters).await?;
        Ok(text(&made["ImageComponentId"]).to_owned())
    }

    /// An update of the object, or a patch of the part that has changed.
    async fn write(&self, lab: &Lab, path: &str, object: Value, part: &str) -> Result<Value> {
        if self.writes == Writes::Updates {
            return lab.send("PUT", path, &object).await;
        }
        let version = json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": object["metadata"]["resourceVersion"] });
        let parts = match part {
            "/metadata" => vec!["/metadata/finalizers", "/metadata/annotations"],
            part => vec![part],
        };
        let parts =
            parts.into_iter().map(|part| json!({ "op": "add", "path": part, "value": object.pointer(part) }));
        let patch: Vec<_> = std::iter::once(version).chain(parts).collect();
        lab.send("PATCH", path, &json!(patch)).await
    }

    /// A call of ECS, signed with ACS3-HMAC-SHA256.
    async fn call(
        &self,
        http: &reqwest::Client,
        action: &str,
        parameters: &[(String, String)],
    ) -> Result<Value> {
        let given = parameters.iter().filter(|(_, value)| !value.is_empty());
        let given = given.map(|(key, value)| (&**key, &**value));
        let mut query: Vec<_> = given
            .chain([("RegionId", REGION)])
            .map(|(key, value)| format!("{}={}", encoded(key), encoded(value)))
            .collect();
        query.sort();
        let query = query.join("&");
        let nonce = format!("{}-{}", std::process::id(), self.nonces.fetch_add(1, Ordering::Relaxed));
        let date = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let body = hex::encode(Sha256::digest(b""));
        let headers = [
            ("host", &*self.host),
            ("x-acs-action", action),
            ("x-acs-content-sha256", &*body),
            ("x-acs-date", &*date),
            ("x-acs-signature-nonce", &*nonce),
            ("x-acs-version", "2014-05-26"),
        ];
        let names = headers.map(|(name, _)| name).join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!("POST\n/\n{query}\n{lines}\n{names}\n{body}");
        let to_sign = format!("ACS3-HMAC-SHA256\n{}", hex::encode(Sha256::digest(canonical)));
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY.1.as_bytes()).doing(|| "sign")?;
        mac.update(to_sign.as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let authorization =
            format!("ACS3-HMAC-SHA256 Credential={},SignedHeaders={names},Signature={signature}", KEY.0);
        let mut request = http.post(format!("http://{}/?{query}", self.host));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer =
            request.header("authorization", authorization).send().await.doing(|| action.to_owned())?;
        let is_done = answer.status().is_success();
        let text = answer.text().await.doing(|| action.to_owned())?;
        if !is_done {
            return Err(Error::Failed(format!("{action}: {text}")));
        }
        serde_json::from_str(&text).doing(|| format!("understand {action}"))
    }
}

fn path(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!("{API}/namespaces/{}/{PLURAL}/{}", text(&metadata["namespace"]), text(&metadata["name"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn encoded(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}
