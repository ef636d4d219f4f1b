//! `StartImagePipelineExecution`, `DescribeImagePipelineExecutions` and `CancelImagePipelineExecution`: runs of pipelines, and
//! the images that they make.
//!
//! Known: the twelve statuses and which of them can be cancelled, that a pipeline has one run under way at a time, that the
//! records of runs go with their pipeline and the images stay, and how images are named. Not documented, and chosen here: how
//! long a phase takes (shares of [`Settings::execution_seconds`](super::Settings::execution_seconds)), how long cancelling takes,
//! when the image is there (at the end of BUILDING), that a run which is cancelled before that leaves none, whether the list
//! filters by tags ([`Settings::executions_by_tag`](super::Settings::executions_by_tag)), and what an image is called whose
//! pipeline gives no name.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::create::{remember, replayed};
use super::images::Image;
use super::parameters::{Parameters, check_tags, has_tags, missing, shown_tags, tag_rows};
use super::pipelines::Pipeline;
use super::{Place, State};
use crate::ledger::Change;
use crate::paging::{ascending, page, read_token};
use crate::server::{Context, Shared};
use crate::wire::Refusal;
use crate::work::{Outcome, Work};

/// A run of a pipeline as the vendor keeps it. What a seed leaves out is chosen as the vendor would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Execution {
    /// `exec-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Where it is.
    pub region: String,
    /// The pipeline that runs.
    pub pipeline: String,
    /// The resource group that it is in.
    pub resource_group_id: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was started.
    pub creation_time: Timestamp,
    /// What it goes through.
    pub phases: Vec<Phase>,
    /// What it comes to.
    pub ending: Ending,
    /// It stays in BUILDING for ever.
    pub stalls: bool,
    /// When it was cancelled.
    pub cancelled: Option<Timestamp>,
    /// How long that takes, in seconds.
    pub cancelling_seconds: f64,
    /// The image that it makes at the end of BUILDING.
    pub image: Image,
    /// Whether that is made.
    pub has_made: bool,
}

/// A phase of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Phase {
    /// As the API calls it.
    pub status: String,
    /// How long it takes.
    pub seconds: f64,
}

/// What a run comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// All is well.
    #[default]
    Success,
    /// The image is there, and something else is not done.
    PartitionSuccess,
    /// It fails in the middle of BUILDING.
    Failed,
    /// The image is there, and its tests fail.
    TestFailed,
}

fn after(time: Timestamp, seconds: f64) -> Timestamp {
    let by = SignedDuration::try_from_secs_f64(seconds).ok();
    by.and_then(|by| time.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

impl Execution {
    /// What `DescribeImagePipelineExecutions` says.
    pub fn status(&self, now: Timestamp) -> &str {
        match self.cancelled {
            Some(at) if after(at, self.cancelling_seconds) <= now => return "CANCELLED",
            Some(at) if at <= now => return "CANCELLING",
            _ => {}
        }
        let mut ends = self.creation_time;
        for phase in &self.phases {
            ends = after(ends, phase.seconds);
            if now < ends || self.stalls && phase.status == "BUILDING" {
                return &phase.status;
            }
        }
        match self.ending {
            Ending::Success => "SUCCESS",
            Ending::PartitionSuccess => "PARTITION_SUCCESS",
            Ending::Failed => "FAILED",
            Ending::TestFailed => "TEST_FAILED",
        }
    }

    /// Whether it is under way.
    pub fn runs(&self, now: Timestamp) -> bool {
        !matches!(self.status(now), "SUCCESS" | "PARTITION_SUCCESS" | "FAILED" | "TEST_FAILED" | "CANCELLED")
    }

    /// When its image is there, if ever.
    fn makes_at(&self) -> Option<Timestamp> {
        let mut ends = self.creation_time;
        for phase in &self.phases {
            ends = after(ends, phase.seconds);
            if phase.status == "BUILDING" {
                let is_cancelled = self.cancelled.is_some_and(|at| at < ends);
                return (!self.stalls && self.ending != Ending::Failed && !is_cancelled).then_some(ends);
            }
        }
        None
    }
}

impl State {
    /// Makes the images that runs have come to.
    pub(super) fn make_images(&mut self, now: Timestamp) {
        let due =
            |execution: &&Execution| !execution.has_made && execution.makes_at().is_some_and(|at| at <= now);
        let due: Vec<_> =
            self.executions.values().filter(due).map(|execution| execution.id.clone()).collect();
        for id in due {
            let Some(execution) = self.executions.get_mut(&id) else { continue };
            execution.has_made = true;
            let made = execution.makes_at().unwrap_or(now);
            let work = Work { begun: made, outcome: Outcome::Success, ..Work::default() };
            let image = Image { creation_time: made, work, ..execution.image.clone() };
            self.images.insert(image.id.clone(), image);
        }
    }

    /// Takes a pipeline away, and with it the records of its runs.
    pub(super) fn remove_pipeline(&mut self, id: &str) {
        self.pipelines.remove(id);
        self.deleted_pipelines.insert(id.to_owned());
        self.executions.retain(|execution| execution.pipeline != id);
    }

    /// Whether a run of the pipeline is under way.
    pub(super) fn is_running(&self, pipeline: &str, now: Timestamp) -> bool {
        self.executions.values().any(|execution| execution.pipeline == pipeline && execution.runs(now))
    }

    /// The account's pipeline with this id. One that nobody has seeded is there if the settings say so.
    fn pipeline(&self, place: &Place, id: &str, context: &Context<'_>) -> Result<Option<&Pipeline>, Refusal> {
        let is_any = context.settings.aliyun_ecs.any_pipeline_exists && id.starts_with("ip-");
        match self.pipelines.get(id) {
            Some(pipeline) if place.has(pipeline) => Ok(Some(pipeline)),
            None if is_any && !self.deleted_pipelines.contains(id) => Ok(None),
            _ => Err(Refusal::new(
                404,
                "InvalidImagePipeline.NotFound",
                "The specified image pipeline does not exist.",
            )),
        }
    }
}

pub(super) fn start(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let token = parameters.get("ClientToken").filter(|token| !token.is_empty());
    let answer = |id: String| Map::from_iter([("ExecutionId".to_owned(), id.into())]);
    if let Some(id) = replayed(state, place, parameters, context, token)? {
        return Ok(answer(id));
    }
    let execution = check(state, place, parameters, context)?;
    let id = execution.id.clone();
    // What is made is the image, under whose id it is deleted, too.
    context.effect(Change::Created, &execution.image.id, token);
    remember(state, place, parameters, context, token, &id);
    state.executions.insert(id.clone(), execution);
    Ok(answer(id))
}

fn check(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Execution, Refusal> {
    let settings = &context.settings.aliyun_ecs;
    let id = parameters.required("ImagePipelineId")?;
    let pipeline = state.pipeline(place, id, context)?;
    let tags = parameters.tags();
    check_tags(&tags)?;
    if let (Some(known), Some(image)) =
        (&settings.base_images, pipeline.and_then(|pipeline| pipeline.base_image.as_ref()))
        && !known.contains(image)
    {
        return Err(Refusal::new(
            404,
            "InvalidImagePipeline.BaseImageNotFound",
            "The base image of the pipeline does not exist.",
        ));
    }
    let is_marked_running = pipeline.is_some_and(|pipeline| pipeline.has_running_execution);
    if is_marked_running || state.is_running(id, context.now) {
        return Err(Refusal::new(
            403,
            "InvalidImagePipeline.HasRunningExecution",
            "The specified image pipeline has a running execution.",
        ));
    }
    let execution = format!("exec-{}", context.shared.ids.alphanumeric(16));
    let ending = if context.conditions.fail_build { Ending::Failed } else { settings.execution_ending };
    let other = |name: &str| pipeline.and_then(|pipeline| pipeline.others.get(name));
    let group = settings.resource_groups.first().cloned().unwrap_or_default();
    Ok(Execution {
        phases: phases(pipeline, settings.execution_seconds, ending),
        ending,
        stalls: context.conditions.stall_build,
        cancelled: None,
        cancelling_seconds: settings.cancelling_seconds,
        image: Image {
            id: format!("m-{}", context.shared.ids.alphanumeric(20)),
            account: place.account.clone(),
            region: place.region.clone(),
            name: match other("ImageOptions.ImageName") {
                Some(name) => format!("{name}_{execution}"),
                None => execution.clone(),
            },
            description: other("ImageOptions.Description").cloned(),
            resource_group_id: group.clone(),
            tags: image_tags(pipeline),
            snapshots: vec![format!("s-{}", context.shared.ids.alphanumeric(20))],
            ..Image::default()
        },
        has_made: false,
        account: place.account.clone(),
        region: place.region.clone(),
        pipeline: id.to_owned(),
        resource_group_id: group,
        tags: tags.iter().map(|tag| (tag.key.to_owned(), tag.value.unwrap_or_default().to_owned())).collect(),
        creation_time: context.now,
        id: execution,
    })
}

/// What a run goes through, and for which share of its time.
fn phases(pipeline: Option<&Pipeline>, seconds: f64, ending: Ending) -> Vec<Phase> {
    let repairs = pipeline.is_some_and(|pipeline| pipeline.others.contains_key("RepairMode"));
    let tests =
        ending == Ending::TestFailed || pipeline.is_some_and(|pipeline| pipeline.test_content.is_some());
    let is_failed = ending == Ending::Failed;
    let all = [
        ("PREPARING", 0.1, true),
        ("REPAIRING", 0.1, repairs),
        ("BUILDING", if is_failed { 0.25 } else { 0.5 }, true),
        ("TESTING", 0.2, tests && !is_failed),
        ("DISTRIBUTING", 0.1, !is_failed && ending != Ending::TestFailed),
        ("RELEASING", 0.1, !is_failed),
    ];
    let taken = all.into_iter().filter(|(.., is)| *is);
    taken.map(|(status, share, _)| Phase { status: status.into(), seconds: share * seconds }).collect()
}

/// The tags that a pipeline gives its images.
fn image_tags(pipeline: Option<&Pipeline>) -> BTreeMap<String, String> {
    let others = pipeline.map(|pipeline| &pipeline.others).into_iter().flatten();
    let keys = others.filter_map(|(name, key)| {
        let number = name.strip_prefix("ImageOptions.ImageTags.")?.strip_suffix(".Key")?;
        let value = pipeline?.others.get(&format!("ImageOptions.ImageTags.{number}.Value"));
        Some((key.clone(), value.cloned().unwrap_or_default()))
    });
    keys.collect()
}

/// All statuses that there are.
const STATUSES: [&str; 12] = [
    "PREPARING",
    "REPAIRING",
    "BUILDING",
    "TESTING",
    "DISTRIBUTING",
    "RELEASING",
    "SUCCESS",
    "PARTITION_SUCCESS",
    "FAILED",
    "TEST_FAILED",
    "CANCELLING",
    "CANCELLED",
];

pub(super) fn describe(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let text = |name| parameters.get(name).filter(|value: &&str| !value.is_empty());
    let (pipeline, id) = (text("ImagePipelineId"), text("ExecutionId"));
    match pipeline {
        Some(pipeline) => drop(state.pipeline(place, pipeline, context)?),
        None if id.is_none() => {
            return Err(Refusal::new(
                400,
                "MissingParameter.ImagePipelineId",
                "The specified parameter ImagePipelineId should not be empty.",
            ));
        }
        None => {}
    }
    let statuses: Option<Vec<&str>> = text("Status").map(|list| list.split(',').map(str::trim).collect());
    if statuses.as_ref().is_some_and(|list| list.iter().any(|status| !STATUSES.contains(status))) {
        return Err(Refusal::new(400, "InvalidParameter.Status", "The specified Status is not valid."));
    }
    let page_size = match text("MaxResults").map(str::parse) {
        None => 50,
        Some(Ok(size)) if (1..=500).contains(&size) => size,
        Some(_) => return Err(Refusal::new(400, "InvalidParameter.MaxResults", "The value is not valid.")),
    };
    let invalid = || Refusal::new(403, "Invalid.NextToken", "The specified NextToken is not valid.");
    let after = match text("NextToken") {
        None => None,
        Some(token) => Some(read_token(token).ok_or_else(invalid)?),
    };
    let tags = if context.settings.aliyun_ecs.executions_by_tag { parameters.tags() } else { vec![] };
    let matches = |execution: &Execution| {
        place.has(execution)
            && pipeline.is_none_or(|pipeline| execution.pipeline == pipeline)
            && id.is_none_or(|id| execution.id == id)
            && statuses.as_ref().is_none_or(|list| list.contains(&execution.status(context.now)))
            && has_tags(shown_tags(&execution.tags, execution.creation_time, context), &tags)
    };
    let matching: Vec<(u64, &Execution)> = state
        .executions
        .iter()
        .filter(|(_, execution)| execution.creation_time <= context.shown_until() && matches(execution))
        .collect();
    let total = matching.len();
    let (rows, next) = page(matching, after, page_size, ascending);
    let set: Vec<Value> = rows.into_iter().map(|row| shown(row, context)).collect();
    Ok(Map::from_iter([
        ("ImagePipelineExecution".to_owned(), json!({ "ImagePipelineExecutionSet": set })),
        ("NextToken".to_owned(), next.into()),
        ("MaxResults".to_owned(), page_size.into()),
        ("TotalCount".to_owned(), total.into()),
    ]))
}

fn shown(execution: &Execution, context: &Context<'_>) -> Value {
    let now = context.now;
    let status = execution.status(now);
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let image = if execution.has_made { execution.image.id.as_str() } else { "" };
    let (code, message) = match status {
        "FAILED" => ("BuildFailed", "The commands of the build ended with an error."),
        "TEST_FAILED" => ("TestFailed", "The commands of the test ended with an error."),
        "PARTITION_SUCCESS" => ("ReleaseFailed", "The intermediate instance could not be released."),
        _ => ("", ""),
    };
    json!({
        "ExecutionId": execution.id,
        "ImagePipelineId": execution.pipeline,
        "ImageId": image,
        "Status": status,
        "Message": message,
        "ErrorCode": code,
        "CreationTime": time(execution.creation_time),
        "ModifiedTime": time(now),
        "ResourceGroupId": execution.resource_group_id,
        "Tags": tag_rows(shown_tags(&execution.tags, execution.creation_time, context)),
    })
}

pub(super) fn cancel(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let id =
        parameters.get("ExecutionId").filter(|id| !id.is_empty()).ok_or_else(|| missing("ExecutionId"))?;
    let execution =
        state.executions.get_mut(id).filter(|execution| place.has(&**execution)).ok_or_else(|| {
            Refusal::new(
                404,
                "InvalidImagePipelineExecution.NotFound",
                "The specified image pipeline execution does not exist.",
            )
        })?;
    if !execution.runs(context.now) {
        return Err(Refusal::new(
            400,
            "InvalidStatus.CancelFailed",
            "Failed to cancel execution,status is success, failed or cancelled.",
        ));
    }
    if !matches!(execution.status(context.now), "PREPARING" | "REPAIRING" | "BUILDING") {
        return Err(Refusal::new(
            403,
            "InvalidStatus.ImagePipelineExecution",
            "The current status of the image pipeline execution does not support this operation.",
        ));
    }
    execution.cancelled = Some(context.now);
    let image = execution.image.id.clone();
    context.effect(Change::Deleted, image, None);
    Ok(Map::new())
}

/// Gives a seeded run what the vendor would have given it, and tells its id.
pub(super) fn complete(execution: &mut Execution, shared: &Shared) -> String {
    let settings = shared.settings();
    let or = |value: &mut String, default: &str| {
        if value.is_empty() {
            default.clone_into(value);
        }
    };
    or(&mut execution.id, &format!("exec-{}", shared.ids.alphanumeric(16)));
    let account = settings.access_keys.first().map(|key| key.account.clone()).unwrap_or_default();
    or(&mut execution.account, &account);
    or(&mut execution.region, "cn-hangzhou");
    or(&mut execution.pipeline, "ip-seeded");
    if execution.creation_time == Timestamp::UNIX_EPOCH {
        execution.creation_time = shared.clock.now();
    }
    let (account, region) = (execution.account.clone(), execution.region.clone());
    let image = &mut execution.image;
    or(&mut image.id, &format!("m-{}", shared.ids.alphanumeric(20)));
    or(&mut image.name, &execution.id);
    or(&mut image.account, &account);
    or(&mut image.region, &region);
    execution.id.clone()
}
