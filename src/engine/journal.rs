//! Writes intent down before acting on it, and answers after. The only place that makes a [`Permit`].

use super::{external::External, progress::Intent};
use crate::image::{FIELD_MANAGER, FINALIZER, ImageStatus};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

/// Proof that the intent to create is stored. Not `Clone`; spent by the one call that it allows.
#[derive(Debug)]
pub struct Permit(Intent);

impl Permit {
    /// Sent with the call.
    pub fn token(&self) -> &str {
        &self.0.token
    }
    /// Which attempt of the object this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }
}

/// Stores what the engine is about to do, and what came of it.
#[derive(Clone)]
pub struct Journal {
    client: Client,
}

impl Journal {
    /// A journal in the objects' own status.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Stores the intent of the first attempt of an object that never waited and refers to no other: there, the finalizer
    /// is the intent. Guarded by `object`'s resourceVersion: a stale cache gets 409 and no permit.
    pub async fn first_permit<K: External>(
        &self,
        object: &K,
        intent: Intent,
    ) -> Result<(K, Permit), kube::Error> {
        let object = self.hold(object).await?;
        Ok((object, Permit(intent)))
    }

    /// Stores the intent of any other attempt, in `status`, on an object that has the finalizer already. Guarded.
    pub async fn permit<K: External>(
        &self,
        object: &K,
        status: &ImageStatus,
        intent: Intent,
    ) -> Result<(K, Permit), kube::Error> {
        let object = self.advance(object, status).await?;
        Ok((object, Permit(intent)))
    }

    /// Puts our finalizer on. Guarded. Besides being the intent of a first attempt, it holds imports and what was only
    /// observed until now, and goes before the intent of an object that waited or refers to another.
    pub async fn hold<K: External>(&self, object: &K) -> Result<K, kube::Error> {
        let mut finalizers = object.finalizers().to_vec();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        self.finalizers(object, &finalizers).await
    }

    /// Takes our finalizer off. Guarded: if somebody else's changed meanwhile, the next pass does it.
    pub async fn release<K: External>(&self, object: &K) -> Result<(), kube::Error> {
        let finalizers: Vec<_> =
            object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
        match self.finalizers(object, &finalizers).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            done => done.map(drop),
        }
    }

    /// Moves on from the state that `object` shows, or not at all: guarded.
    pub async fn advance<K: External>(&self, object: &K, status: &ImageStatus) -> Result<K, kube::Error> {
        let version = json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": object.resource_version() });
        self.write(object, vec![version], status).await
    }

    /// Not guarded: the vendor's answer must be kept, whoever else touched the object meanwhile. Only the uid must be
    /// the same, so that the answer never lands on an object that came after this one.
    pub async fn conclude<K: External>(&self, object: &K, status: &ImageStatus) -> Result<K, kube::Error> {
        let mut failures = 0;
        loop {
            match self.write(object, vec![], status).await {
                Err(error) if failures < 5 && may_pass(&error) => {
                    failures += 1;
                    tokio::time::sleep(super::pace::backoff(failures, false) / 4).await;
                }
                done => return done,
            }
        }
    }

    async fn write<K: External>(
        &self,
        object: &K,
        mut patch: Vec<Value>,
        status: &ImageStatus,
    ) -> Result<K, kube::Error> {
        patch.push(json!({ "op": "test", "path": "/metadata/uid", "value": object.uid() }));
        patch.push(json!({ "op": "add", "path": "/status", "value": status }));
        let patch: json_patch::Patch =
            serde_json::from_value(Value::Array(patch)).map_err(kube::Error::SerdeError)?;
        self.api(object).patch_status(&object.name_any(), &params(), &Patch::Json::<K>(patch)).await
    }

    async fn finalizers<K: External>(&self, object: &K, finalizers: &[String]) -> Result<K, kube::Error> {
        let patch = json!({ "metadata": {
            "uid": object.uid(),
            "resourceVersion": object.resource_version(),
            "finalizers": finalizers,
        } });
        self.api(object).patch(&object.name_any(), &params(), &Patch::Merge(patch)).await
    }

    fn api<K: External>(&self, object: &K) -> Api<K> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// Whether the same write may go through a moment later.
fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 409 || status.code == 429 || status.code >= 500,
        _ => true,
    }
}
