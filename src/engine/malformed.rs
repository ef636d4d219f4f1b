//! One object that cannot be read is that object's condition, never a dead watch.

use super::status;
use crate::image::{FIELD_MANAGER, FINALIZER};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams},
    core::ApiResource,
    runtime::controller::Action,
};
use serde_json::json;

/// Says on the object why it cannot be read. Writes the same each time, so a repetition changes nothing.
pub async fn report<K: Resource<DynamicType = ()>>(
    client: &Client,
    metadata: &ObjectMeta,
    error: &str,
) -> Result<Action, kube::Error> {
    let (name, namespace) =
        (metadata.name.clone().unwrap_or_default(), metadata.namespace.clone().unwrap_or_default());
    let generation = metadata.generation.unwrap_or_default();
    let message = format!(
        "the object cannot be read: {error}; correct it, or delete it and take its finalizer {FINALIZER} off (the vendor's side is left alone)"
    );
    tracing::warn!(kind = %K::kind(&()), %namespace, %name, error, "an object cannot be read");
    // The creation time, not the time of this look: the same words each time.
    let since = metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let conditions: Vec<_> = [(status::READY, false), (status::RECONCILING, false), (status::STALLED, true)]
        .into_iter()
        .map(|(type_, value)| {
            status::condition(type_, value, "InvalidObject", &message, generation, &[], since)
        })
        .collect();
    let patch = json!({ "status": { "observedGeneration": generation, "conditions": conditions } });
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match &metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    api.patch_status(&name, &params, &Patch::Merge(patch)).await?;
    Ok(Action::await_change())
}
