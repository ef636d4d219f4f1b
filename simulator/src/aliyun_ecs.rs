//! Alibaba Cloud ECS, API version 2014-05-26: image components, pipelines and their runs, custom images and their copies, tags
//! and resource groups, behind the RPC gateway.
//!
//! Sources: the page of `CreateImageComponent`, the reference pages of `DescribeImageComponents`, `DeleteImageComponent`
//! and `TagResources`, and what the official SDKs send. Not documented, and chosen here: how long a `ClientToken` is
//! remembered ([`Settings::client_token_seconds`]), for how long, for which actions and under which HTTP status it is answered with
//! `IdempotentProcessing` ([`Settings::processing_seconds`]), the HTTP status of `Throttling` ([`Settings::throttling_status`]),
//! codes for wrong paging parameters, and the grammar of single commands (see `content`).

mod components;
mod content;
mod copies;
mod create;
mod describe;
pub mod executions;
mod gateway;
mod images;
mod modify;
mod parameters;
pub mod pipelines;
mod sharing;
mod signature_v1;
mod signature_v3;
mod xml;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::faults::Identity;
use crate::flow::{Flow, FlowLimit};
use crate::server::{Context, Service, Shared};
use crate::store::{AdminRefusal, AdminRequest, Store};
use crate::wire::{Answer, Refusal, Request, for_ledger};
use components::Components;
use gateway::{Call, Nonces};
pub use images::{Image, Snapshot};
use parameters::Parameters;

/// What of Alibaba Cloud ECS can be chosen.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent switch")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// Calls per action, account, region and minute; empty: no limits.
    pub flow_limits: Vec<FlowLimit>,
    /// HTTP status of `Throttling`: 400 has been seen, 429 and 503 are possible.
    pub throttling_status: u16,
    /// Value of the header `x-acs-retry-after` of a throttled answer; none: no header.
    pub retry_after: Option<u64>,
    /// Most image components of one account in one region; none: no quota.
    pub component_quota: Option<usize>,
    /// Most image pipelines of one account in one region; none: no quota.
    pub pipeline_quota: Option<usize>,
    /// What tagging calls have to call a pipeline, which is not documented.
    pub pipeline_resource_type: String,
    /// Whether a pipeline that nobody has made exists when its id begins with `ip-`, to be run.
    pub any_pipeline_exists: bool,
    /// How long a run of a pipeline takes.
    pub execution_seconds: f64,
    /// What runs come to that are started from now on.
    pub execution_ending: executions::Ending,
    /// How long it takes to cancel a run.
    pub cancelling_seconds: f64,
    /// Whether the list of runs filters by tags, which some pages call unavailable; otherwise it does as if none were given.
    pub executions_by_tag: bool,
    /// The base images that exist; none: any.
    pub base_images: Option<Vec<String>>,
    /// Whether the caller may create the service-linked role that the first component needs.
    pub service_linked_role: bool,
    /// Resource groups that exist; the first is the account's default.
    pub resource_groups: Vec<String>,
    /// Regions that exist.
    pub regions: Vec<String>,
    /// How long a `ClientToken` is remembered.
    pub client_token_seconds: u64,
    /// For how long after a call with a `ClientToken` another one with the same is told that the first is still being processed.
    pub processing_seconds: i64,
    /// Whether the filter by name takes names that differ in case: how exactly it compares is not documented.
    pub names_without_case: bool,
    /// Most custom images of one account in one region; none: no quota.
    pub image_quota: Option<usize>,
    /// Most snapshots of one account in one region, with those that copies will have; none: no quota.
    pub snapshot_quota: Option<usize>,
    /// Whether an image that nobody has made exists when its id begins with `m-`, to be copied.
    pub any_image_exists: bool,
    /// How long a copy takes once it is its turn.
    pub copy_seconds: f64,
    /// How many copies are under way at a time in one region.
    pub copies_at_once: usize,
    /// For how long after a copy was asked for another one of the same image is refused.
    pub copy_conflict_seconds: i64,
    /// Whether a copy that is under way can be cancelled.
    pub copies_can_be_cancelled: bool,
    /// Whether deleting an image that is not there is ignored; otherwise it is an error.
    pub missing_images_are_ignored: bool,
    /// How long after it is Available an image can be used; none: `Usable` is not told.
    pub usable_after_seconds: Option<i64>,
    /// Keys of KMS that do not exist.
    pub missing_kms_keys: Vec<String>,
    /// Regions in which KMS is not enabled, so that nothing is encrypted there.
    pub regions_without_kms: Vec<String>,
    /// The most accounts that an image can be shared with.
    pub share_quota: usize,
    /// Accounts that do not exist, with which nothing can be shared.
    pub missing_accounts: Vec<String>,
    /// Whether taking an image back from such an account is ignored; otherwise it is an error.
    pub missing_accounts_can_be_removed: bool,
    /// Whether the account has signed what community images need.
    pub community_agreement: bool,
    /// Regions without community images.
    pub regions_without_community: Vec<String>,
    /// Whether the ids of accounts are shown as texts; otherwise as numbers.
    pub account_ids_are_texts: bool,
}

impl Default for Settings {
    fn default() -> Self {
        const REGIONS: [&str; 12] = [
            "cn-hangzhou",
            "cn-shanghai",
            "cn-qingdao",
            "cn-beijing",
            "cn-zhangjiakou",
            "cn-huhehaote",
            "cn-shenzhen",
            "cn-chengdu",
            "cn-hongkong",
            "ap-southeast-1",
            "eu-central-1",
            "us-west-1",
        ];
        Self {
            flow_limits: [
                "CreateImageComponent",
                "CreateImagePipeline",
                "StartImagePipelineExecution",
                "CopyImage",
            ]
            .map(|action| FlowLimit { action: action.into(), requests: 1000, period_seconds: 60 })
            .into(),
            throttling_status: 400,
            retry_after: None,
            component_quota: None,
            pipeline_quota: None,
            pipeline_resource_type: "imagepipeline".into(),
            any_pipeline_exists: true,
            execution_seconds: 60.0,
            execution_ending: executions::Ending::Success,
            cancelling_seconds: 5.0,
            executions_by_tag: true,
            base_images: None,
            service_linked_role: true,
            resource_groups: ["rg-acfmdefault0001", "rg-bp67acfmxazb4p01", "rg-bp67acfmxazb4p02"]
                .map(Into::into)
                .into(),
            regions: REGIONS.map(Into::into).into(),
            client_token_seconds: 24 * 3600,
            processing_seconds: 0,
            names_without_case: false,
            image_quota: None,
            snapshot_quota: None,
            any_image_exists: true,
            copy_seconds: 60.0,
            copies_at_once: 5,
            copy_conflict_seconds: 0,
            copies_can_be_cancelled: true,
            missing_images_are_ignored: false,
            usable_after_seconds: None,
            missing_kms_keys: vec![],
            regions_without_kms: vec![],
            share_quota: 50,
            missing_accounts: vec![],
            missing_accounts_can_be_removed: true,
            community_agreement: true,
            regions_without_community: vec![],
            account_ids_are_texts: false,
        }
    }
}

/// An image component as the vendor keeps it. What a seed leaves out is chosen as the vendor would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Component {
    /// `ic-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Where it is.
    pub region: String,
    /// Its name; the id when none was given.
    pub name: String,
    /// `major.minor.patch`, unique for the name.
    pub version: String,
    /// Free text.
    pub description: Option<String>,
    /// Commands or YAML.
    pub content: String,
    /// `Linux` or `Windows`.
    pub system_type: String,
    /// `Build` or `Test`.
    pub component_type: String,
    /// `SELF` or `ALIYUN`.
    pub owner: String,
    /// The resource group that it is in.
    pub resource_group_id: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub creation_time: Timestamp,
    /// Whether a pipeline or template uses it, so that it cannot be deleted.
    pub in_use: bool,
}

/// The service.
#[derive(Default)]
pub(crate) struct AliyunEcs(Mutex<State>);

/// What the vendor keeps.
#[derive(Default)]
struct State {
    components: Components,
    pipelines: Store<pipelines::Pipeline>,
    /// The ids of those that are gone.
    deleted_pipelines: HashSet<String>,
    executions: Store<executions::Execution>,
    images: Store<Image>,
    /// Those whose images are gone.
    snapshots: Store<Snapshot>,
    /// By account, region, action and token.
    tokens: HashMap<(String, String, String, String), Replay>,
    nonces: Nonces,
    flow: Flow,
}

/// The result of an earlier call with a `ClientToken`.
struct Replay {
    parameters: Parameters,
    id: String,
    at: Timestamp,
}

impl AliyunEcs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, request: &Request, context: &mut Context<'_>) -> Result<Map<String, Value>, Refusal> {
        let call = Call::read(request);
        gateway::check_api(request, &call)?;
        let mut state = self.state();
        let account = gateway::authenticate(request, &call, context, &mut state.nonces)?;
        let parameters = call.parameters;
        let region = match parameters.get("SnapshotId").filter(|_| call.action == "DeleteSnapshot") {
            // The vendor's own SDK sends none there: each region has an endpoint, and this one is that of all.
            Some(id) if parameters.get("RegionId").is_none() => {
                state.region_of_snapshot(id).unwrap_or_else(|| "cn-hangzhou".into())
            }
            _ => parameters.required("RegionId")?.to_owned(),
        };
        let settings = &context.settings.aliyun_ecs;
        if !settings.regions.contains(&region) && call.action == "CopyImage" {
            return Err(Refusal::new(
                400,
                "SourceRegion.NotFound",
                "The specified source region does not exist.",
            ));
        }
        if !settings.regions.contains(&region) {
            return Err(Refusal::new(
                404,
                "InvalidRegionId.NotFound",
                "The RegionId provided does not exist in our records.",
            ));
        }
        if !state.flow.admit(&settings.flow_limits, &account, &region, &call.action, context.now) {
            return Err(self.throttled(&context.settings, None));
        }
        let place = Place { account, region };
        state.make_images(context.now);
        match call.action.as_str() {
            "CreateImageComponent" => create::create(&mut state, &place, &parameters, context),
            "DescribeImageComponents" => describe::describe(&state, &place, &parameters, context),
            "DeleteImageComponent" => modify::delete(&mut state, &place, &parameters, context),
            "TagResources" => modify::tag(&mut state, &place, &parameters, context),
            "UntagResources" => modify::untag(&mut state, &place, &parameters, context),
            "JoinResourceGroup" => modify::join_resource_group(&mut state, &place, &parameters, context),
            "CreateImagePipeline" => pipelines::create(&mut state, &place, &parameters, context),
            "DescribeImagePipelines" => pipelines::describe(&state, &place, &parameters, context),
            "DeleteImagePipeline" => pipelines::delete(&mut state, &place, &parameters, context),
            "StartImagePipelineExecution" => executions::start(&mut state, &place, &parameters, context),
            "DescribeImagePipelineExecutions" => executions::describe(&state, &place, &parameters, context),
            "CancelImagePipelineExecution" => executions::cancel(&mut state, &place, &parameters, context),
            "CopyImage" => copies::copy(&mut state, &place, &parameters, context),
            "CancelCopyImage" => copies::cancel(&mut state, &place, &parameters, context),
            "DescribeImages" => images::describe(&state, &place, &parameters, context),
            "ModifyImageAttribute" => copies::modify(&mut state, &place, &parameters, context),
            "DeleteImage" => copies::delete(&mut state, &place, &parameters, context),
            "ModifyImageSharePermission" => sharing::modify(&mut state, &place, &parameters, context),
            "DescribeImageSharePermission" => sharing::describe(&state, &place, &parameters, context),
            "DescribeSnapshots" => images::describe_snapshots(&state, &place, &parameters, context),
            "DeleteSnapshot" => copies::delete_snapshot(&mut state, &place, &parameters, context),
            _ => Err(gateway::unknown_action()),
        }
    }
}

/// The actions that exist.
const ACTIONS: [&str; 21] = [
    "CreateImageComponent",
    "DescribeImageComponents",
    "DeleteImageComponent",
    "TagResources",
    "UntagResources",
    "JoinResourceGroup",
    "CreateImagePipeline",
    "DescribeImagePipelines",
    "DeleteImagePipeline",
    "StartImagePipelineExecution",
    "DescribeImagePipelineExecutions",
    "CancelImagePipelineExecution",
    "CopyImage",
    "CancelCopyImage",
    "DescribeImages",
    "ModifyImageAttribute",
    "DeleteImage",
    "ModifyImageSharePermission",
    "DescribeImageSharePermission",
    "DescribeSnapshots",
    "DeleteSnapshot",
];

/// Whose things a call is about, and where.
struct Place {
    account: String,
    region: String,
}

impl Place {
    /// Whether the caller owns the thing and asked in its region.
    fn has(&self, thing: &impl Owned) -> bool {
        thing.account() == self.account && thing.region() == self.region
    }

    /// The same of a component, of which some are the vendor's.
    fn holds(&self, component: &Component) -> bool {
        self.has(component) && component.owner == "SELF"
    }
}

/// What an account has in a region.
trait Owned {
    fn account(&self) -> &str;
    fn region(&self) -> &str;
}

macro_rules! owned {
    ($($thing:ty),*) => {
        $(impl Owned for $thing {
            fn account(&self) -> &str {
                &self.account
            }
            fn region(&self) -> &str {
                &self.region
            }
        })*
    };
}

owned!(Component, pipelines::Pipeline, executions::Execution, Image, Snapshot);

impl Service for AliyunEcs {
    fn name(&self) -> &'static str {
        "aliyun-ecs"
    }

    fn identify(&self, request: &Request) -> Identity {
        let call = Call::read(request);
        let parameters = for_ledger(call.parameters.iter());
        Identity { action: call.action, access_key: call.access_key, parameters }
    }

    fn serve(&self, request: &Request, context: &mut Context<'_>) -> Answer {
        match self.run(request, context) {
            Ok(mut body) => {
                body.insert("RequestId".into(), context.request_id.clone().into());
                answer(request, context, 200, "Response", &body.into())
            }
            Err(refusal) => self.refuse(request, context, refusal),
        }
    }

    fn refuse(&self, request: &Request, context: &Context<'_>, refusal: Refusal) -> Answer {
        let Refusal { status, code, message } = refusal;
        let recommend = format!(
            "https://api.aliyun.com/troubleshoot?q={code}&product=Ecs&requestId={}",
            context.request_id
        );
        let body = json!({
            "RequestId": context.request_id,
            "HostId": request.header("host").unwrap_or_default(),
            "Code": code,
            "Message": message,
            "Recommend": recommend,
        });
        let answer = answer(request, context, status, "Error", &body);
        let answer = match context.settings.aliyun_ecs.retry_after {
            Some(value) if code.starts_with("Throttling") => {
                answer.with_header("x-acs-retry-after", value.to_string())
            }
            _ => answer,
        };
        answer.with_code(code)
    }

    fn throttled(&self, settings: &crate::Settings, status: Option<u16>) -> Refusal {
        let status = status.unwrap_or(settings.aliyun_ecs.throttling_status);
        Refusal::new(status, "Throttling", "Request was denied due to request throttling.")
    }

    fn broken(&self) -> Refusal {
        Refusal::new(500, "InternalError", "The request processing has failed due to some unknown error.")
    }

    fn collections(&self) -> &'static [&'static str] {
        &["image-components", "image-pipelines", "image-pipeline-executions", "images", "snapshots"]
    }

    fn administer(&self, request: &AdminRequest, shared: &Shared) -> Result<Value, AdminRefusal> {
        match request.collection.as_str() {
            "image-components" => {
                self.state().components.administer(request, |component| complete(component, shared))
            }
            "image-pipelines" => {
                self.state().pipelines.administer(request, |pipeline| pipelines::complete(pipeline, shared))
            }
            "image-pipeline-executions" => self
                .state()
                .executions
                .administer(request, |execution| executions::complete(execution, shared)),
            "images" => self.state().images.administer(request, |image| complete_image(image, shared)),
            "snapshots" => self.state().snapshots.administer(request, |snapshot| snapshot.id.clone()),
            other => Err(AdminRefusal::NotFound(other.into())),
        }
    }

    fn reset(&self) {
        *self.state() = State::default();
    }
}

/// An answer in the format that the call wants; `element` ends the name of XML's root.
fn answer(request: &Request, context: &Context<'_>, status: u16, element: &str, body: &Value) -> Answer {
    let call = Call::read(request);
    let answer = if call.wants_xml() {
        let root = if element == "Error" { element.to_owned() } else { call.action + element };
        Answer::text(status, "text/xml;charset=utf-8", xml::write(&root, body))
    } else {
        Answer::json(status, body)
    };
    answer.with_header("x-acs-request-id", &context.request_id)
}

/// Gives a seeded component what the vendor would have given it, and tells its id.
fn complete(component: &mut Component, shared: &Shared) -> String {
    let settings = shared.settings();
    let or = |value: &mut String, default: &str| {
        if value.is_empty() {
            default.clone_into(value);
        }
    };
    let id = format!("ic-{}", shared.ids.alphanumeric(20));
    or(&mut component.id, &id);
    let account = settings.access_keys.first().map(|key| key.account.clone()).unwrap_or_default();
    or(&mut component.account, &account);
    or(&mut component.region, "cn-hangzhou");
    let name = component.id.clone();
    or(&mut component.name, &name);
    or(&mut component.version, "1.0.0");
    or(&mut component.content, "RUN true");
    or(&mut component.system_type, "Linux");
    or(&mut component.component_type, "Build");
    or(&mut component.owner, "SELF");
    or(
        &mut component.resource_group_id,
        settings.aliyun_ecs.resource_groups.first().map_or("", String::as_str),
    );
    if component.creation_time == Timestamp::UNIX_EPOCH {
        component.creation_time = shared.clock.now();
    }
    component.id.clone()
}

/// Gives a seeded image what the vendor would have given it, and tells its id. One without times has been there for long.
fn complete_image(image: &mut Image, shared: &Shared) -> String {
    let settings = shared.settings();
    let or = |value: &mut String, default: &str| {
        if value.is_empty() {
            default.clone_into(value);
        }
    };
    or(&mut image.id, &format!("m-{}", shared.ids.alphanumeric(20)));
    let account = settings.access_keys.first().map(|key| key.account.clone()).unwrap_or_default();
    or(&mut image.account, &account);
    or(&mut image.region, "cn-hangzhou");
    let name = image.id.clone();
    or(&mut image.name, &name);
    or(&mut image.resource_group_id, settings.aliyun_ecs.resource_groups.first().map_or("", String::as_str));
    if image.creation_time == Timestamp::UNIX_EPOCH {
        image.creation_time = shared.clock.now();
    }
    image.id.clone()
}

/// What a test may do behind the vendor's back; none of it is in the ledger.
pub struct Inventory<'a> {
    service: &'a AliyunEcs,
    shared: &'a Shared,
}

impl<'a> Inventory<'a> {
    pub(crate) fn new(service: &'a AliyunEcs, shared: &'a Shared) -> Self {
        Self { service, shared }
    }

    /// All components, oldest first.
    pub fn components(&self) -> Vec<Component> {
        self.service.state().components.values().cloned().collect()
    }

    /// The component with this id.
    pub fn get(&self, id: &str) -> Option<Component> {
        self.service.state().components.get(id).cloned()
    }

    /// How many components there are.
    pub fn count(&self) -> usize {
        self.service.state().components.len()
    }

    /// Adds a component and tells its id; empty fields are filled as the vendor would.
    pub fn seed(&self, mut component: Component) -> String {
        let id = complete(&mut component, self.shared);
        self.service.state().components.insert(id.clone(), component);
        id
    }

    /// Takes a component away.
    pub fn remove(&self, id: &str) -> Option<Component> {
        self.service.state().components.remove(id)
    }

    /// All pipelines, oldest first.
    pub fn pipelines(&self) -> Vec<pipelines::Pipeline> {
        self.service.state().pipelines.values().cloned().collect()
    }

    /// Adds a pipeline and tells its id; empty fields are filled as the vendor would.
    pub fn seed_pipeline(&self, mut pipeline: pipelines::Pipeline) -> String {
        let id = pipelines::complete(&mut pipeline, self.shared);
        self.service.state().pipelines.insert(id.clone(), pipeline);
        id
    }

    /// Changes a pipeline; false when it does not exist.
    pub fn modify_pipeline(&self, id: &str, change: impl FnOnce(&mut pipelines::Pipeline)) -> bool {
        self.service.state().pipelines.get_mut(id).map(change).is_some()
    }

    /// All runs of pipelines, oldest first.
    pub fn executions(&self) -> Vec<executions::Execution> {
        self.service.state().executions.values().cloned().collect()
    }

    /// Adds a run and tells its id; empty fields are filled as the vendor would.
    pub fn seed_execution(&self, mut execution: executions::Execution) -> String {
        let id = executions::complete(&mut execution, self.shared);
        self.service.state().executions.insert(id.clone(), execution);
        id
    }

    /// Changes a run; false when it does not exist.
    pub fn modify_execution(&self, id: &str, change: impl FnOnce(&mut executions::Execution)) -> bool {
        self.service.state().executions.get_mut(id).map(change).is_some()
    }

    /// Takes the record of a run away, which the vendor only does together with the pipeline's; an image that it has made stays.
    pub fn remove_execution(&self, id: &str) -> Option<executions::Execution> {
        self.service.state().executions.remove(id)
    }

    /// Takes a pipeline away, and with it the records of its runs.
    pub fn remove_pipeline(&self, id: &str) {
        self.service.state().remove_pipeline(id);
    }

    /// Changes a component; false when it does not exist.
    pub fn modify(&self, id: &str, change: impl FnOnce(&mut Component)) -> bool {
        self.service.state().components.change(id, change).is_some()
    }

    /// All custom images, oldest first.
    pub fn images(&self) -> Vec<Image> {
        let mut state = self.service.state();
        state.make_images(self.shared.clock.now());
        state.images.values().cloned().collect()
    }

    /// The image with this id.
    pub fn image(&self, id: &str) -> Option<Image> {
        self.service.state().images.get(id).cloned()
    }

    /// Adds an image and tells its id; empty fields are filled as the vendor would.
    pub fn seed_image(&self, mut image: Image) -> String {
        let id = complete_image(&mut image, self.shared);
        self.service.state().images.insert(id.clone(), image);
        id
    }

    /// Takes an image away, without a snapshot that stays.
    pub fn remove_image(&self, id: &str) -> Option<Image> {
        self.service.state().images.remove(id)
    }

    /// Deletes an image as somebody does in the console: its snapshots stay.
    pub fn delete_image(&self, id: &str) -> Option<Image> {
        self.service.state().remove_image(id, self.shared.clock.now())
    }

    /// Changes an image; false when it does not exist.
    pub fn modify_image(&self, id: &str, change: impl FnOnce(&mut Image)) -> bool {
        self.service.state().images.get_mut(id).map(change).is_some()
    }

    /// The snapshots whose images are gone, which nobody has deleted.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.service.state().snapshots.values().cloned().collect()
    }
}
