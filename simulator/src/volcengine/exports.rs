//! `ExportImage` and the tasks that it starts.
//!
//! Known: the page with its codes, task states and types, page sizes, the name of the exported object. Not known, and
//! chosen here: how long ended tasks are listed ([`Settings::task_retention_seconds`]) and whether a second export of an
//! image is refused ([`Settings::lock_while_exporting`]). There is no field that says why a task failed, and no way to
//! cancel one.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ecs::{Query, beijing_time, image_not_found};
use super::gateway::Admitted;
use super::{Settings, State};
use crate::clock::shifted;
use crate::ledger::Change;
use crate::paging::{descending, page};
use crate::server::Context;
use crate::wire::Refusal;
use crate::work::{Stage, Work};

/// A task of the vendor's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Task {
    /// `t-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Where it runs.
    pub region: String,
    /// `ExportImage`, `CopyImage`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about: for an export the source image.
    pub resource_id: String,
    /// Where an export goes; the API does not tell it.
    pub bucket: String,
    /// Beginning of the exported object's name; the API does not tell it.
    pub prefix: String,
    /// How it goes.
    pub work: Work,
    /// Shown instead of the status that its work has, such as `UnknownStatus`.
    pub odd_status: Option<String>,
    /// From when on the vendor does not know it any more.
    pub forgotten: Option<Timestamp>,
}

impl Task {
    /// `tos://bucket/object`
    pub fn object(&self) -> String {
        format!("tos://{}/{}_{}_system.qcow2", self.bucket, self.prefix, self.resource_id)
    }

    /// Whether it has not ended yet.
    pub fn is_running(&self, now: Timestamp) -> bool {
        matches!(self.work.stage(now), Stage::Waiting | Stage::Running)
    }
}

impl State {
    /// An export of this image that has not ended.
    pub(super) fn export_of(&self, image: &str, now: Timestamp) -> Option<&Task> {
        self.tasks
            .values()
            .rev()
            .find(|task| task.kind == "ExportImage" && task.resource_id == image && task.is_running(now))
    }
}

pub(super) fn export(
    state: &mut State,
    caller: &Admitted,
    query: &Query<'_>,
    context: &mut Context<'_>,
) -> Result<Value, Refusal> {
    let settings = &context.settings.volcengine;
    let image_id = query.required("ImageId")?;
    let bucket = query.required("TOSBucket")?;
    let prefix = query.required("TOSPrefix")?;
    if prefix.len() > 30 || !prefix.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Refusal::new(400, "InvalidTOSPrefix.Malformed", "The specified TOSPrefix is malformed."));
    }
    let image = state.ecs_image(image_id, &caller.account, settings).ok_or_else(image_not_found)?;
    if image.visibility != "private" {
        return Err(Refusal::new(
            400,
            "InvalidImageForExportImage.UnSupported",
            "The specified image cannot be used for ExportImage.",
        ));
    }
    if image.status != "available" {
        return Err(Refusal::new(
            400,
            "InvalidImageStatus",
            "The specified image is not in the correct status for the request.",
        ));
    }
    if settings.missing_buckets.iter().any(|missing| missing == bucket) {
        return Err(Refusal::new(
            404,
            "InvalidTOSBucket.NotFound",
            "The specified TOSBucket does not exist.",
        ));
    }
    if settings.denied_buckets.iter().any(|denied| denied == bucket) {
        return Err(Refusal::new(
            400,
            "InvalidTosPutObject.AccessDenied",
            "The Action tos:PutObject is not authorized for ecs, please check your IAM policy of ecs.",
        ));
    }
    let exporting = settings.lock_while_exporting && state.export_of(image_id, context.now).is_some();
    if image.locked || exporting {
        return Err(Refusal::new(
            412,
            "OperationDenied.ResourceLocked",
            "The specified operation is denied as your resource is locked for another operation.",
        ));
    }

    let id = format!("t-{}", context.shared.ids.alphanumeric(20));
    let work =
        Work::new(context.now, settings.export_queue_seconds, settings.export_seconds, &context.conditions);
    let forgotten = context
        .conditions
        .forget_after_seconds
        .map(|seconds| shifted(context.now, i64::try_from(seconds).unwrap_or(i64::MAX)));
    let task = Task {
        id: id.clone(),
        account: caller.account.clone(),
        region: caller.region.clone(),
        kind: "ExportImage".into(),
        resource_id: image_id.into(),
        bucket: bucket.into(),
        prefix: prefix.into(),
        work,
        odd_status: None,
        forgotten,
    };
    context.effect(Change::Created, &id, None);
    state.tasks.insert(id.clone(), task);
    Ok(json!({ "TaskId": id }))
}

pub(super) fn describe_tasks(
    state: &State,
    caller: &Admitted,
    query: &Query<'_>,
    context: &Context<'_>,
) -> Result<Value, Refusal> {
    let ids = query.list("TaskIds", 100)?;
    let mut resources = query.list("ResourceIds", 100)?;
    resources.extend(query.get("ResourceId"));
    let (size, after) = query.paging(20)?;
    let settings = &context.settings.volcengine;
    let after = after.filter(|_| !settings.tokens_expire);
    let matching = state.tasks.iter().rev().filter(|(_, task)| {
        task.account == caller.account
            && task.region == caller.region
            && task.work.begun <= context.shown_until()
            && !is_forgotten(task, context.now, settings)
            && (ids.is_empty() || ids.contains(&task.id.as_str()))
            && (resources.is_empty() || resources.contains(&task.resource_id.as_str()))
    });
    let (rows, next) = page(matching, after, size, descending);
    let rows: Vec<Value> = rows.into_iter().map(|task| shown_task(task, context.now, settings)).collect();
    Ok(json!({ "Tasks": rows, "NextToken": next }))
}

fn is_forgotten(task: &Task, now: Timestamp, settings: &Settings) -> bool {
    let retention = settings.task_retention_seconds.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
    task.forgotten.is_some_and(|at| at <= now)
        || retention.zip(task.work.ended()).is_some_and(|(seconds, end)| shifted(end, seconds) <= now)
}

fn shown_task(task: &Task, now: Timestamp, settings: &Settings) -> Value {
    let status = match task.work.stage(now) {
        _ if task.odd_status.is_some() => task.odd_status.as_deref().unwrap_or_default(),
        Stage::Waiting => "Pending",
        Stage::Running => "Running",
        Stage::Succeeded => "Succeeded",
        Stage::Failed => "Failed",
    };
    let percent = task.work.percent(now);
    let process = if settings.process_as_text { json!(format!("{percent}%")) } else { json!(percent) };
    let end = task.work.ended().filter(|end| *end <= now).map(beijing_time).unwrap_or_default();
    json!({
        "Id": task.id,
        "Type": task.kind,
        "Status": status,
        "Process": process,
        "ResourceId": task.resource_id,
        "CreatedAt": beijing_time(task.work.begun),
        "UpdatedAt": beijing_time(task.work.moved(now)),
        "EndAt": end,
    })
}
