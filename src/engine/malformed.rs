//! One object that cannot be read or worked on is that object's condition, never a dead watch or a dead operator.

use super::{
    pace,
    status::{READY, RECONCILING, STALLED, condition},
};
use crate::image::{FIELD_MANAGER, FINALIZER};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams},
    core::ApiResource,
};
use serde_json::{Value, json};
use std::time::Duration;

/// Says on the object why it cannot be read.
pub async fn report(
    client: &Client,
    of: &ApiResource,
    metadata: &ObjectMeta,
    error: &str,
) -> Result<(), kube::Error> {
    let message = format!(
        "the object cannot be read: {error}; correct it, or delete it and take its finalizer {FINALIZER} off (the vendor's side is left alone)"
    );
    tracing::warn!(
        kind = of.kind,
        namespace = metadata.namespace.as_deref().unwrap_or_default(),
        name = metadata.name.as_deref().unwrap_or_default(),
        error,
        "an object cannot be read"
    );
    let status = json!({ "observedGeneration": metadata.generation });
    stall(client, of, metadata, status, "InvalidObject", &message).await
}

/// Says on the object that the operator has a bug which work on it brings out, and when it is tried again: after the time that
/// this gives.
pub async fn report_panic(client: &Client, of: &ApiResource, metadata: &ObjectMeta) -> Duration {
    let minutes = pace::SLOW_LOOK.as_secs() / 60;
    let message = format!(
        "the operator panicked at work on this object, which is a bug: please report it with the operator's log; no other object waits for it, and it is tried again every {minutes} minutes and whenever the object changes"
    );
    // The spec was not dealt with, so its generation is not one that was.
    if let Err(error) = stall(client, of, metadata, json!({}), "InternalError", &message).await {
        tracing::warn!(%error, "the object cannot be told of the panic");
    }
    pace::SLOW_LOOK
}

/// Sets the conditions of an object, and `status`, whatever else is there. Writes the same each time, so a repetition changes
/// nothing.
async fn stall(
    client: &Client,
    of: &ApiResource,
    metadata: &ObjectMeta,
    mut status: Value,
    reason: &str,
    message: &str,
) -> Result<(), kube::Error> {
    let name = metadata.name.clone().unwrap_or_default();
    let generation = metadata.generation.unwrap_or_default();
    // The creation time, not the time of this look: the same words each time.
    let since = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let conditions: Vec<_> = [(READY, false), (RECONCILING, false), (STALLED, true)]
        .into_iter()
        .map(|(type_, value)| condition(type_, value, reason, message, generation, &[], since))
        .collect();
    status["conditions"] = json!(conditions);
    let patch = json!({ "status": status });
    let api: Api<DynamicObject> = match &metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, of),
        None => Api::all_with(client.clone(), of),
    };
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    api.patch_status(&name, &params, &Patch::Merge(patch)).await.map(drop)
}
