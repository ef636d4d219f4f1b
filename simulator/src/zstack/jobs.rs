//! Jobs: every call that changes something is accepted with 202 and answered later under `/v1/api-jobs/{uuid}`.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ApiError, Settings, State, stop};
use crate::clock::shifted;
use crate::server::Context;
use crate::wire::{Answer, Refusal, Request};
use crate::work::{Outcome, Stage, Work};

/// A job's record as the vendor keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Job {
    /// The client's `X-Job-UUID`, or one of the vendor's.
    pub uuid: String,
    /// How it goes; it is done when this has ended.
    pub work: Work,
    /// What it comes to when its work ends well.
    pub result: Value,
    /// What it comes to otherwise.
    pub error: Option<ApiError>,
    /// From when on the vendor does not know it any more.
    pub forgotten: Option<Timestamp>,
}

/// The job's uuid that the client chose, or a new one.
///
/// # Errors
/// One that is no UUID without dashes, and one that is known already: its call was accepted before.
pub(super) fn uuid(state: &State, request: &Request, context: &Context<'_>) -> Result<String, Refusal> {
    let Some(uuid) = request.header("x-job-uuid") else { return Ok(context.shared.ids.uuid()) };
    if uuid.len() != 32 || !uuid.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(stop(400, "Invalid header[X-Job-UUID], it must be a UUID with '-' stripped"));
    }
    if state.jobs.get(uuid).is_some() {
        return Err(stop(400, &format!("Duplicate job uuid[{uuid}]")));
    }
    Ok(uuid.to_owned())
}

/// Starts a job. `made`: what the call came to, and how long that takes if it is the long kind.
pub(super) fn start(
    state: &mut State,
    uuid: String,
    made: Result<(Value, Option<Work>), ApiError>,
    context: &Context<'_>,
) -> Answer {
    let settings = &context.settings.zstack;
    let (result, error, work) = match made {
        Ok((result, work)) => (result, None, work),
        Err(error) => (Value::Null, Some(error), None),
    };
    let short =
        || Work { begun: context.now, running_seconds: settings.operation_seconds, ..Work::default() };
    let api_timeout: u64 = if work.is_some() { 259_200_000 } else { 1_800_000 };
    let work = work.unwrap_or_else(short);
    let error = error.or_else(|| {
        (work.outcome == Outcome::Failure).then(|| {
            ApiError::new(
                "IMG.1000",
                "Cannot create image from volume",
                "the backup storage failed to store the image",
            )
        })
    });
    let error = error.map(|error| if settings.nested_causes { error.into_fault("SYS.1000") } else { error });
    let forget = context.conditions.forget_after_seconds.or(context.conditions.node_dies.map(|_| 0));
    let forgotten = forget.map(|seconds| shifted(context.now, i64::try_from(seconds).unwrap_or(i64::MAX)));
    // Clients must not believe the host: it is the management node's own.
    let location = format!("http://{}/zstack/v1/api-jobs/{uuid}", settings.location_host);
    state.jobs.insert(uuid.clone(), Job { uuid, work, result, error, forgotten });
    Answer::json(202, &json!({ "location": location, "apiTimeout": api_timeout }))
}

/// `GET /v1/api-jobs/{uuid}`; nobody's authorization is looked at.
pub(super) fn poll(state: &State, uuid: &str, context: &Context<'_>) -> Result<Answer, Refusal> {
    let job = state.jobs.get(uuid).ok_or_else(|| stop(404, "the job has been expired"))?;
    Ok(match (job.work.stage(context.now), &job.error) {
        (Stage::Waiting | Stage::Running, _) => Answer::json(202, &json!({})),
        (_, Some(error)) => Answer::json(503, &json!({ "error": error })).with_code(error.code.clone()),
        (_, None) => Answer::json(200, &job.result),
    })
}

/// `GET /v1/task-progresses/{apiId}`: a job that does not run has no progress.
pub(super) fn progress(state: &State, uuid: &str, now: Timestamp) -> Value {
    let running = state.jobs.get(uuid).filter(|job| job.work.stage(now) == Stage::Running);
    let rows: Vec<_> = running
        .map(|job| {
            json!({
                "taskUuid": uuid,
                "taskName": "CreateRootVolumeTemplateFromRootVolume",
                "type": "Progress",
                "content": job.work.percent(now).to_string(),
                "time": now.as_millisecond(),
            })
        })
        .into_iter()
        .collect();
    json!({ "inventories": rows })
}

/// An image is deleted whose job still runs: it fails when it comes to its end.
pub(super) fn lose_image(state: &mut State, image: &str, now: Timestamp) {
    let makes = |job: &&Job| {
        job.result.pointer("/inventory/uuid").is_some_and(|uuid| uuid == image)
            && matches!(job.work.stage(now), Stage::Waiting | Stage::Running)
    };
    let jobs: Vec<_> = state.jobs.values().filter(makes).map(|job| job.uuid.clone()).collect();
    for uuid in jobs {
        if let Some(job) = state.jobs.get_mut(&uuid) {
            let what = format!("the image[uuid:{image}] has been deleted");
            job.error = Some(ApiError::new("SYS.1006", "Operation error", what));
        }
    }
}

/// Whether the record is gone: forgotten, or found by a scan when it was done and old enough.
pub(super) fn is_purged(job: &Job, now: Timestamp, settings: &Settings) -> bool {
    if job.forgotten.is_some_and(|at| at <= now) {
        return true;
    }
    let given_up = shifted(job.work.begun, settings.api_timeout_seconds);
    let done = job.work.ended().unwrap_or(given_up);
    let old = shifted(job.work.begun, settings.job_retention_seconds);
    first_scan(done.max(old), settings) <= now
}

/// The first scan at or after this time; scans happen at whole multiples of their period.
pub(super) fn first_scan(time: Timestamp, settings: &Settings) -> Timestamp {
    let period = settings.scan_seconds.max(1);
    let wait = (-time.as_second()).rem_euclid(period);
    time.checked_add(SignedDuration::from_secs(wait)).unwrap_or(Timestamp::MAX)
}
