//! Writes intent down before acting on it, and answers after. The only place that makes a [`Permit`].

use super::{
    guarded::{Unread, Unreadable},
    may_pass,
    object::Object,
    own_writes::OwnWrites,
    progress::Intent,
    record::Record,
    rights::WriteRights,
    status,
};
use crate::image::{FIELD_MANAGER, FINALIZER, ImageStatus, OperationState, RECORD};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams, Request},
    core::Status,
};
use serde::{Serialize, de::Error};
use serde_json::{Value, json};

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// The object shows something newer than what the answer is about: somebody else went on in the meantime.
    #[error("somebody else has gone on with the attempt that this answers")]
    Outdated,
    /// There is no such object any more.
    #[error("the object is gone")]
    Gone,
    /// The API server did not take it.
    #[error(transparent)]
    Kube(#[from] kube::Error),
}

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
    rights: WriteRights,
    own_writes: OwnWrites,
}

impl Journal {
    /// A journal in the objects' own status.
    pub fn new(client: Client) -> Self {
        Self { rights: WriteRights::new(client.clone()), client, own_writes: OwnWrites::default() }
    }

    /// What it writes where others write too.
    pub(super) fn own_writes(&self) -> &OwnWrites {
        &self.own_writes
    }

    /// Stores the intent of the first attempt of an object that never waited and refers to no other: there, the record that
    /// comes with the finalizer is the intent. Guarded by `object`'s resourceVersion: a stale cache gets 409 and no permit.
    pub async fn first_permit(
        &self,
        object: &Object,
        intent: Intent,
    ) -> Result<(Object, Permit), kube::Error> {
        let object = self.hold(object, intent.attempt, intent.since).await?;
        Ok((object, Permit(intent)))
    }

    /// Stores the intent of any other attempt, in `status`, on an object that has the finalizer already. Guarded.
    pub async fn permit(
        &self,
        object: &Object,
        status: &ImageStatus,
        intent: Intent,
    ) -> Result<(Object, Permit), kube::Error> {
        let object = self.advance(object, status).await?;
        Ok((object, Permit(intent)))
    }

    /// Puts our finalizer on, and the record that says for which object and attempt. Guarded. Besides being the intent of a
    /// first attempt, they hold imports, what was only observed until now, and what somebody took them off from, and go
    /// before the intent of an object that waited or refers to another.
    pub async fn hold(
        &self,
        object: &Object,
        attempt: u32,
        at: Option<Timestamp>,
    ) -> Result<Object, kube::Error> {
        let mut finalizers = object.finalizers().to_vec();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        let record = Record { uid: object.uid().unwrap_or_default(), attempt, at }.to_string();
        let metadata = json!({ "finalizers": finalizers, "annotations": { RECORD: &record } });
        let mut expected = object.meta().clone();
        expected.finalizers = Some(finalizers);
        expected.annotations.get_or_insert_default().insert(RECORD.into(), record);
        self.own_writes.expect(&expected);
        self.metadata(object, metadata).await
    }

    /// Takes our finalizer off. Guarded: if somebody else's changed meanwhile, the next pass does it.
    pub async fn release(&self, object: &Object) -> Result<(), kube::Error> {
        let finalizers: Vec<_> =
            object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
        // What the object was like when it went, nobody asks: the answer is not decoded further.
        match self.patch(object, json!({ "finalizers": finalizers })).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            done => done.map(drop),
        }
    }

    /// Whether `object` is the newest version that there is, and may be written: what it asks for is still to be done at the
    /// vendor, and it can be let go of afterwards. A read that names no version is answered from etcd (Kubernetes calls it "most
    /// recent"), however far behind lists and watches are. A guarded write that changes nothing tells the same, and costs the API
    /// server several times as much.
    pub async fn confirm(&self, object: &Object) -> Result<(), kube::Error> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        self.rights.check(&object.its_kind().resource(), &namespace, &name).await?;
        let newest = self.api(object).get(&name).await?;
        let newest = newest.meta();
        if newest.uid == object.uid() && newest.resource_version == object.resource_version() {
            return Ok(());
        }
        let message = format!("{name} has been modified");
        Err(kube::Error::Api(Box::new(Status::failure(&message, "Conflict").with_code(409))))
    }

    /// Moves on from the state that `object` shows, or not at all: guarded.
    pub async fn advance(&self, object: &Object, status: &ImageStatus) -> Result<Object, kube::Error> {
        let version = object.resource_version();
        let version =
            Change { op: "replace", path: "/metadata/resourceVersion", value: To::Text(version.as_deref()) };
        self.write(object, vec![version], status).await
    }

    /// Not guarded by the version: the vendor's answer must be kept, whoever else touched the object meanwhile. Only the uid
    /// must be the same, so that the answer never lands on an object that came after this one, and the operation, so that it
    /// never lands on what somebody else found out in the meantime, another replica that leads now or one that led before.
    pub async fn conclude(&self, object: &Object, status: &ImageStatus) -> Result<Object, Unwritten> {
        let mut failures = 0;
        let mut known = object.clone();
        loop {
            match self.write(object, same_operation(known.status()), status).await {
                Err(kube::Error::Api(refusal)) if refusal.code == 404 => return Err(Unwritten::Gone),
                Err(kube::Error::Api(refusal)) if refusal.code == 422 => {
                    let newest = self.newest(object).await?.ok_or(Unwritten::Gone)?;
                    if status::is_at(newest.status(), known.status()) {
                        // It was not about the operation.
                        return Err(kube::Error::Api(refusal).into());
                    }
                    if !status::answers(status, newest.status()) {
                        return Err(Unwritten::Outdated);
                    }
                    known = newest;
                }
                Err(error) if failures < 5 && may_pass(&error) => {
                    failures += 1;
                    tokio::time::sleep(super::pace::backoff(failures, false) / 4).await;
                }
                done => return Ok(done?),
            }
        }
    }

    /// The object as it is now, if it is there still.
    pub async fn newest(&self, object: &Object) -> Result<Option<Object>, Unwritten> {
        let newest = self.api(object).get_opt(&object.name_any()).await?;
        let newest = newest.map(|newest| read(object, &newest)).transpose()?;
        Ok(newest.filter(|newest| newest.uid() == object.uid()))
    }

    async fn write(
        &self,
        object: &Object,
        mut patch: Vec<Change<'_>>,
        status: &ImageStatus,
    ) -> Result<Object, kube::Error> {
        patch.push(test("/metadata/uid", To::Text(object.meta().uid.as_deref())));
        patch.push(Change { op: "add", path: "/status", value: To::Status(status) });
        let url = Unread::url_path(&object.its_kind().resource(), object.meta().namespace.as_deref());
        // kube takes a patch as a tree of values. This one is written as it is sent.
        let empty = Patch::Json::<()>(json_patch::Patch(vec![]));
        let request = Request::new(url).patch_subresource("status", &object.name_any(), &params(), &empty);
        let mut request = request.map_err(kube::Error::BuildRequest)?;
        *request.body_mut() = serde_json::to_vec(&patch).map_err(kube::Error::SerdeError)?;
        read(object, &self.client.request::<Unread>(request).await?)
    }

    async fn metadata(&self, object: &Object, metadata: Value) -> Result<Object, kube::Error> {
        read(object, &self.patch(object, metadata).await?)
    }

    async fn patch(&self, object: &Object, mut metadata: Value) -> Result<Unread, kube::Error> {
        metadata["uid"] = json!(object.uid());
        metadata["resourceVersion"] = json!(object.resource_version());
        let patch = json!({ "metadata": metadata });
        self.api(object).patch(&object.name_any(), &params(), &Patch::Merge(patch)).await
    }

    fn api(&self, object: &Object) -> Api<Unread> {
        let namespace = object.namespace().unwrap_or_default();
        Unread::api(object.its_kind(), self.client.clone(), Some(&namespace))
    }
}

/// What the API server has of an object now.
fn read(object: &Object, stored: &Unread) -> Result<Object, kube::Error> {
    let unreadable =
        |unreadable: Unreadable| kube::Error::SerdeError(serde_json::Error::custom(unreadable.error));
    stored.read(object.its_kind()).0.map_err(unreadable)
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}

/// One step of a JSON patch.
#[derive(Serialize)]
struct Change<'a> {
    op: &'static str,
    path: &'static str,
    value: To<'a>,
}

/// What a step sets, or expects.
#[derive(Serialize)]
#[serde(untagged)]
enum To<'a> {
    Text(Option<&'a str>),
    Number(u32),
    State(OperationState),
    Status(&'a ImageStatus),
}

fn test<'a>(path: &'static str, value: To<'a>) -> Change<'a> {
    Change { op: "test", path, value }
}

/// That the operation is still the one that is known.
fn same_operation(status: Option<&ImageStatus>) -> Vec<Change<'_>> {
    match status.and_then(|status| status.operation.as_ref()) {
        None => vec![test("/status/operation", To::Text(None))],
        Some(operation) => vec![
            test("/status/operation/token", To::Text(Some(&operation.token))),
            test("/status/operation/attempt", To::Number(operation.attempt)),
            test("/status/operation/state", To::State(operation.state)),
        ],
    }
}
