//! Volcengine: the cloud phone (ACEP) and ECS behind one gateway, told apart by the credential scope's service, the
//! action and its version.

pub mod acep;
pub mod ecs;
pub mod exports;
mod gateway;
mod inventory;
mod signature;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::faults::Identity;
use crate::flow::{Flow, FlowLimit};
use crate::server::{Context, Service, Shared};
use crate::store::{AdminRefusal, AdminRequest, Store};
use crate::wire::{Answer, Refusal, Request, for_ledger, texts};
use acep::{AospImage, NameMatch};
use ecs::{EcsImage, Query};
use exports::Task;
use gateway::{Call, Product};
pub use inventory::Inventory;

/// What of Volcengine can be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Calls per action, account, region and period; empty: no limits.
    pub flow_limits: Vec<FlowLimit>,
    /// The code for an expired security token.
    pub expired_token_code: String,
    /// A success carries `"Error": null`, as some services do it.
    pub null_error: bool,
    /// Where ACEP's numeric codes stand in an error.
    pub numeric_codes: NumericCodes,
    /// Products that exist; a listing needs one of them.
    pub product_ids: Vec<String>,
    /// Rows of an ACEP listing that does not say how many.
    pub list_page_size: usize,
    /// Whether tokens of listings are not valid any more by the time that they are used, so that lists start over.
    pub tokens_expire: bool,
    /// How `ImageName` of an ACEP listing is compared.
    pub name_match: NameMatch,
    /// Whether `ImageRemark` shows what was given as `ImageAnnotation`.
    pub echo_annotation: bool,
    /// Whether an image may be deleted before its build has ended.
    pub delete_while_building: bool,
    /// Seconds that a build of an AOSP image waits.
    pub queue_seconds: f64,
    /// Seconds that it runs.
    pub build_seconds: f64,
    /// Seconds for which the status of an image is unknown, 0, once it is built.
    pub unknown_seconds: f64,
    /// Seconds that an export waits.
    pub export_queue_seconds: f64,
    /// Seconds that it runs.
    pub export_seconds: f64,
    /// Whether an image that is being exported is locked against a second export.
    pub lock_while_exporting: bool,
    /// `Process` of a task as `"45%"` instead of `45`.
    pub process_as_text: bool,
    /// How long after its end a task is listed; none: always.
    pub task_retention_seconds: Option<u64>,
    /// Whether every `image-…` exists as a custom image, without being seeded.
    pub any_image_exists: bool,
    /// Buckets that do not exist.
    pub missing_buckets: Vec<String>,
    /// Buckets that ECS may not write to.
    pub denied_buckets: Vec<String>,
}

/// Where ACEP's numeric codes stand in an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NumericCodes {
    /// `Code` as a text and `CodeN` as a number.
    #[default]
    Both,
    /// Only in `CodeN`; `Code` is a word.
    CodeN,
    /// Only in `Code`, as a text.
    Code,
}

impl Default for Settings {
    fn default() -> Self {
        let limit = |action: &str, requests| FlowLimit { action: action.into(), requests, period_seconds: 1 };
        Self {
            flow_limits: vec![
                limit("ListAOSPImage", 200),
                limit("UpdateAOSPImage", 50),
                limit("DeleteAOSPImage", 50),
            ],
            expired_token_code: "ExpiredToken".into(),
            null_error: false,
            numeric_codes: NumericCodes::Both,
            product_ids: vec!["1234".into(), "1749281594201".into()],
            list_page_size: 10,
            tokens_expire: false,
            name_match: NameMatch::Part,
            echo_annotation: true,
            delete_while_building: true,
            queue_seconds: 5.0,
            build_seconds: 60.0,
            unknown_seconds: 0.0,
            export_queue_seconds: 5.0,
            export_seconds: 60.0,
            lock_while_exporting: true,
            process_as_text: false,
            task_retention_seconds: None,
            any_image_exists: true,
            missing_buckets: vec!["missing-bucket".into()],
            denied_buckets: vec!["denied-bucket".into()],
        }
    }
}

/// The service.
#[derive(Default)]
pub(crate) struct Volcengine(Mutex<State>);

/// What the vendor keeps.
#[derive(Default)]
struct State {
    images: Store<AospImage>,
    tasks: Store<Task>,
    ecs_images: Store<EcsImage>,
    /// Images that exist no more although every image does.
    removed_images: HashSet<String>,
    flow: Flow,
}

impl Volcengine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result, if the action has one.
    fn run(&self, request: &Request, context: &mut Context<'_>) -> Result<Option<Value>, Refusal> {
        let call = Call::read(request);
        let caller = gateway::admit(request, &call, context)?;
        let mut state = self.state();
        let limits = &context.settings.volcengine.flow_limits;
        if !state.flow.admit(limits, &caller.account, &caller.region, &call.action, context.now) {
            return Err(gateway::refusal("FlowLimitExceeded"));
        }
        if caller.product == Product::Acep {
            let (account, body) = (caller.account.as_str(), acep::parse(&request.body)?);
            return match call.action.as_str() {
                "BuildAOSPImage" => acep::build(&mut state, account, &body, context).map(Some),
                "ListAOSPImage" => acep::list(&state, account, &body, context).map(Some),
                "UpdateAOSPImage" => acep::update(&mut state, account, &body, context).map(|()| None),
                _ => acep::delete(&mut state, account, &body, context).map(Some),
            };
        }
        let mut parameters = call.query;
        parameters.extend(request.form_pairs());
        let query = Query(&parameters);
        let result = match call.action.as_str() {
            "ExportImage" => exports::export(&mut state, &caller, &query, context),
            "DescribeTasks" => exports::describe_tasks(&state, &caller, &query, context),
            "DescribeImages" => ecs::describe_images(&state, &caller, &query, context),
            "ModifyImageAttribute" => ecs::modify_image(&mut state, &caller, &query, context),
            _ => ecs::delete_images(&mut state, &caller, &query, context),
        };
        result.map(Some)
    }
}

/// What every answer says about its request.
fn metadata(request: &Request, context: &Context<'_>) -> BTreeMap<&'static str, Value> {
    let call = Call::read(request);
    let (region, service) = call
        .authorization
        .map(|authorization| (authorization.region, authorization.service))
        .unwrap_or_default();
    // However a client writes it, ACEP calls itself so.
    let service = if service == "acep" { "ACEP".into() } else { service };
    BTreeMap::from([
        ("RequestId", context.request_id.clone().into()),
        ("Action", call.action.into()),
        ("Version", call.version.into()),
        ("Service", service.into()),
        ("Region", region.into()),
    ])
}

/// The error object. The numbers of ECS's own codes are not published: 0 stands for them.
fn error(refusal: &Refusal, style: NumericCodes) -> Value {
    let Refusal { code, message, .. } = refusal;
    let product_code: Option<i64> = code.parse().ok();
    match (product_code, style) {
        (Some(number), NumericCodes::Both) => json!({ "CodeN": number, "Code": code, "Message": message }),
        (Some(number), NumericCodes::CodeN) => {
            json!({ "CodeN": number, "Code": "OperationFailed", "Message": message })
        }
        (Some(_), NumericCodes::Code) => json!({ "CodeN": 0, "Code": code, "Message": message }),
        (None, _) => json!({ "CodeN": gateway::number(code).unwrap_or(0), "Code": code, "Message": message }),
    }
}

impl Service for Volcengine {
    fn name(&self) -> &'static str {
        "volcengine"
    }

    fn identify(&self, request: &Request) -> Identity {
        let call = Call::read(request);
        let body: Vec<_> = texts(serde_json::from_slice(&request.body).unwrap_or_default()).collect();
        let pairs = call.query.iter().chain(&body).map(|(name, value)| (name.as_str(), value.as_str()));
        Identity {
            parameters: for_ledger(pairs),
            action: call.action,
            access_key: call.authorization.map(|authorization| authorization.access_key),
        }
    }

    fn serve(&self, request: &Request, context: &mut Context<'_>) -> Answer {
        let result = match self.run(request, context) {
            Ok(result) => result,
            Err(refusal) => return self.refuse(request, context, refusal),
        };
        let mut metadata = metadata(request, context);
        if context.settings.volcengine.null_error {
            metadata.insert("Error", Value::Null);
        }
        let mut body = json!({ "ResponseMetadata": metadata });
        if let Some(result) = result {
            body["Result"] = result;
        }
        Answer::json(200, &body)
    }

    fn refuse(&self, request: &Request, context: &Context<'_>, refusal: Refusal) -> Answer {
        let mut metadata = metadata(request, context);
        metadata.insert("Error", error(&refusal, context.settings.volcengine.numeric_codes));
        Answer::json(refusal.status, &json!({ "ResponseMetadata": metadata })).with_code(refusal.code)
    }

    /// Two codes are known: one came under 429, the other was seen under 400.
    fn throttled(&self, _: &crate::Settings, status: Option<u16>) -> Refusal {
        match status {
            Some(400) => gateway::refusal("AccountFlowLimitExceeded"),
            Some(status) => Refusal { status, ..gateway::refusal("FlowLimitExceeded") },
            None => gateway::refusal("FlowLimitExceeded"),
        }
    }

    fn broken(&self) -> Refusal {
        gateway::refusal("InternalError")
    }

    /// The time to the second, then letters and digits.
    fn request_id(&self, shared: &Shared) -> String {
        let time = shared.clock.now().strftime("%Y%m%d%H%M%S").to_string();
        time + &shared.ids.uuid()[..20].to_uppercase()
    }

    fn collections(&self) -> &'static [&'static str] {
        &["aosp-images", "tasks", "images"]
    }

    fn administer(&self, request: &AdminRequest, shared: &Shared) -> Result<Value, AdminRefusal> {
        let mut state = self.state();
        match request.collection.as_str() {
            "aosp-images" => state.images.administer(request, |image| complete_aosp_image(image, shared)),
            "tasks" => state.tasks.administer(request, |task| complete_task(task, shared)),
            "images" => {
                // Removing one that was never seeded is removing it too.
                if let ("DELETE", Some(id)) = (request.method.as_str(), &request.id)
                    && state.ecs_images.get(id).is_none()
                {
                    let new = state.removed_images.insert(id.clone());
                    return if new { Ok(Value::Null) } else { Err(AdminRefusal::NotFound(id.clone())) };
                }
                state.ecs_images.administer(request, |image| complete_ecs_image(image, shared))
            }
            other => Err(AdminRefusal::NotFound(other.into())),
        }
    }

    fn reset(&self) {
        *self.state() = State::default();
    }
}

fn or(value: &mut String, default: impl FnOnce() -> String) {
    if value.is_empty() {
        *value = default();
    }
}

fn account(shared: &Shared) -> String {
    shared.settings().access_keys.first().map(|key| key.account.clone()).unwrap_or_default()
}

fn complete_aosp_image(image: &mut AospImage, shared: &Shared) -> String {
    or(&mut image.id, || format!("img-{}", shared.ids.alphanumeric(16)));
    or(&mut image.account, || account(shared));
    or(&mut image.aosp_version, || "13".into());
    if image.build.begun == jiff::Timestamp::UNIX_EPOCH {
        image.build.begun = shared.clock.now();
    }
    image.updated = image.updated.max(image.build.begun);
    image.id.clone()
}

fn complete_task(task: &mut Task, shared: &Shared) -> String {
    or(&mut task.id, || format!("t-{}", shared.ids.alphanumeric(20)));
    or(&mut task.account, || account(shared));
    or(&mut task.region, || "cn-beijing".into());
    or(&mut task.kind, || "ExportImage".into());
    if task.work.begun == jiff::Timestamp::UNIX_EPOCH {
        task.work.begun = shared.clock.now();
    }
    task.id.clone()
}

fn complete_ecs_image(image: &mut EcsImage, shared: &Shared) -> String {
    or(&mut image.id, || format!("image-{}", shared.ids.alphanumeric(20)));
    or(&mut image.account, || account(shared));
    image.complete(shared.clock.now());
    image.id.clone()
}
