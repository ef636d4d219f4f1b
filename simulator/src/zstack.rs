//! ZStack Cloud's REST API: sessions and access keys, asynchronous jobs, root volume templates.
//!
//! Sources: the vendor's open server code, which in several places differs from the page of the call: a creation is
//! answered with 202 and a job, 503 is the usual status of an error of the API, and `virtio` is a boolean, which, like the
//! architecture, is the virtual machine's whatever the call says. Errors of the REST layer itself are plain text. A uuid
//! is given once: that of an expunged image stays taken, which the database says, so that the job's error is an internal
//! fault with the reason in its cause. Not known, and chosen here: the answer to a wrong access key or signature (it is
//! part of the commercial edition).

mod access_key;
mod bodies;
mod dates;
pub mod images;
mod inventory;
pub mod jobs;
mod query;
pub mod sessions;

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::faults::Identity;
use crate::server::{Context, Service, Shared};
use crate::store::{AdminRefusal, AdminRequest, Store};
use crate::wire::{Answer, Refusal, Request, for_ledger, texts};
use bodies::{Action, Wanted};
use images::{DeletionPolicy, Image};
pub use inventory::Inventory;
use jobs::Job;
use sessions::{Account, Session};

/// What of ZStack can be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Who may log in.
    pub accounts: Vec<Account>,
    /// How long a session lives.
    pub session_seconds: u64,
    /// Most living sessions of one account.
    pub max_sessions: usize,
    /// A login ends all earlier sessions of its account.
    pub unique_session: bool,
    /// The management node's wall clock, in hours ahead of UTC.
    pub utc_offset_hours: i8,
    /// Whether the zone in the header `Date` counts.
    pub check_time_zone: bool,
    /// Host and port in the location of a job: the management node's own, which clients may not be able to reach.
    pub location_host: String,
    /// How long a creation runs.
    pub create_seconds: f64,
    /// How long any other job runs.
    pub operation_seconds: f64,
    /// Age from which a scan removes the record of a job that is done.
    pub job_retention_seconds: i64,
    /// Time between two scans for old jobs and images.
    pub scan_seconds: i64,
    /// What becomes of deleted images.
    pub deletion_policy: DeletionPolicy,
    /// Age from which a scan expunges an image that was deleted softly.
    pub expunge_seconds: i64,
    /// Most images of an account that is no administrator.
    pub image_quota: usize,
    /// The code for a `resourceUuid` that exists or existed.
    pub duplicate_code: String,
    /// Whether a job fails with an internal fault, whose cause is the error.
    pub nested_causes: bool,
    /// Whether it can be asked how far a job is.
    pub tells_progress: bool,
    /// How long a job may take before the vendor gives it up.
    pub api_timeout_seconds: i64,
    /// How long a new image is moved to another backup storage as soon as it is made.
    pub moving_seconds: f64,
    /// The architecture of every virtual machine.
    pub vm_architecture: String,
    /// Whether every virtual machine has virtio drivers.
    pub vm_virtio: bool,
    /// The first is used when a creation names none. Every uuid that is not missing exists.
    pub backup_storages: Vec<String>,
    /// Backup storages that are not connected, or fail: what is to be stored is stored on the others.
    pub broken_backup_storages: Vec<String>,
    /// Backup storages that do not exist.
    pub missing_backup_storages: Vec<String>,
    /// Root volumes that do not exist; every other uuid is one.
    pub missing_volumes: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let admin = Account {
            name: "admin".into(),
            password: "password".into(),
            uuid: "36c27e8ff05c4780bf6d2fa65700f22e".into(),
            admin: true,
        };
        Self {
            accounts: vec![admin],
            session_seconds: 7200,
            max_sessions: 500,
            unique_session: false,
            utc_offset_hours: 8,
            check_time_zone: false,
            location_host: "192.0.2.10:8080".into(),
            create_seconds: 60.0,
            operation_seconds: 1.0,
            job_retention_seconds: 10_800,
            scan_seconds: 3600,
            deletion_policy: DeletionPolicy::Delay,
            expunge_seconds: 259_200,
            image_quota: 20,
            duplicate_code: "SYS.1000".into(),
            nested_causes: false,
            tells_progress: true,
            api_timeout_seconds: 259_200,
            moving_seconds: 0.0,
            vm_architecture: "x86_64".into(),
            vm_virtio: true,
            broken_backup_storages: vec![],
            backup_storages: vec!["b94ff32725d133fea53e8ada5ea7f0fc".into()],
            missing_backup_storages: vec!["00000000000000000000000000000000".into()],
            missing_volumes: vec!["00000000000000000000000000000000".into()],
        }
    }
}

/// An error of the API, as it stands under `error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// `SYS.1003` and the like.
    pub code: String,
    /// What the code means.
    pub description: String,
    /// What happened.
    pub details: String,
    /// What led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<ApiError>>,
}

impl ApiError {
    pub(crate) fn new(code: impl Into<String>, description: &str, details: impl Into<String>) -> Self {
        Self { code: code.into(), description: description.into(), details: details.into(), cause: None }
    }

    /// A fault of the vendor's own that this led to. `code`: usually `SYS.1000`.
    pub(crate) fn into_fault(self, code: &str) -> Self {
        let fault =
            Self::new(code, "An internal error happened in system", "an internal error, see its cause");
        Self { cause: Some(Box::new(self)), ..fault }
    }
}

/// Every error of the API comes under 503; description and details travel as one text until they are shown.
impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::new(503, error.code, format!("{}\n{}", error.description, error.details))
    }
}

/// An error of the REST layer, in plain text.
fn stop(status: u16, message: &str) -> Refusal {
    Refusal::new(status, "", message)
}

/// The service.
#[derive(Default)]
pub(crate) struct ZStack(Mutex<State>);

/// What the vendor keeps.
#[derive(Default)]
struct State {
    sessions: Store<Session>,
    jobs: Store<Job>,
    images: Store<Image>,
    /// The uuids of images that were expunged.
    spent: HashSet<String>,
}

impl State {
    /// Does what the vendor's clock has done since the last call: rolls back, expunges, forgets.
    fn sweep(&mut self, now: Timestamp, settings: &Settings) {
        let expunged = self.images.values().filter(|image| image.is_expunged(now, settings));
        self.spent.extend(expunged.map(|image| image.uuid.clone()));
        self.images.retain(|image| !image.is_gone(now, settings));
        self.jobs.retain(|job| !jobs::is_purged(job, now, settings));
        self.sessions.retain(|session| session.expires > now);
    }
}

/// What a path and a method mean.
#[derive(Clone, Copy, Debug)]
enum Route<'a> {
    LogIn,
    IsValid(&'a str),
    Renew(&'a str),
    LogOut(&'a str),
    Job(&'a str),
    Progress(&'a str),
    Create(&'a str),
    List,
    Get(&'a str),
    Act(&'a str),
    Delete(&'a str),
}

impl<'a> Route<'a> {
    /// The route, and the path as access keys sign it.
    fn read(request: &'a Request) -> Result<(Self, &'a str), Refusal> {
        let nothing = || stop(404, &format!("no api mapping to {}", request.path));
        let path = request.path.strip_prefix("/zstack").ok_or_else(nothing)?;
        let parts: Vec<&str> = path.strip_prefix("/v1/").ok_or_else(nothing)?.split('/').collect();
        let route = match (request.method.as_str(), parts.as_slice()) {
            ("PUT", ["accounts", "login"]) => Self::LogIn,
            ("GET", ["accounts", "sessions", uuid, "valid"]) => Self::IsValid(uuid),
            ("PUT", ["accounts", "sessions", uuid, "renew"]) => Self::Renew(uuid),
            ("DELETE", ["accounts", "sessions", uuid]) => Self::LogOut(uuid),
            ("GET", ["api-jobs", uuid]) => Self::Job(uuid),
            ("GET", ["task-progresses", uuid]) => Self::Progress(uuid),
            ("POST", ["images", "root-volume-templates", "from", "volumes", uuid]) => Self::Create(uuid),
            ("GET", ["images"]) => Self::List,
            ("GET", ["images", uuid]) => Self::Get(uuid),
            ("PUT", ["images", uuid, "actions"]) => Self::Act(uuid),
            ("DELETE", ["images", uuid]) => Self::Delete(uuid),
            (_, ["images" | "api-jobs", ..] | ["accounts", "login"]) => {
                return Err(stop(405, &format!("the method {} is not allowed", request.method)));
            }
            _ => return Err(nothing()),
        };
        Ok((route, path))
    }

    /// The API's name.
    fn name(self, request: &Request) -> &'static str {
        match self {
            Self::LogIn => "LogInByAccount",
            Self::IsValid(_) => "ValidateSession",
            Self::Renew(_) => "RenewSession",
            Self::LogOut(_) => "LogOut",
            Self::Job(_) => "GetApiJob",
            Self::Progress(_) => "GetTaskProgress",
            Self::Create(_) => "CreateRootVolumeTemplateFromRootVolume",
            Self::List | Self::Get(_) => "QueryImage",
            Self::Delete(_) => "DeleteImage",
            Self::Act(_) => {
                let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
                let names = [
                    ("expungeImage", "ExpungeImage"),
                    ("recoverImage", "RecoverImage"),
                    ("changeImageState", "ChangeImageState"),
                ];
                names.iter().find(|(key, _)| body.get(key).is_some()).map_or("UpdateImage", |(_, name)| name)
            }
        }
    }

    /// What the call is about.
    fn uuid(self) -> Option<&'a str> {
        match self {
            Self::LogIn | Self::List => None,
            Self::IsValid(uuid)
            | Self::Renew(uuid)
            | Self::LogOut(uuid)
            | Self::Job(uuid)
            | Self::Progress(uuid)
            | Self::Create(uuid)
            | Self::Get(uuid)
            | Self::Act(uuid)
            | Self::Delete(uuid) => Some(uuid),
        }
    }
}

impl ZStack {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, request: &Request, context: &mut Context<'_>) -> Result<Answer, Refusal> {
        let (route, path) = Route::read(request)?;
        let mut state = self.state();
        let state = &mut *state;
        state.sweep(context.now, &context.settings.zstack);
        let body = || {
            serde_json::from_slice::<Value>(&request.body)
                .map_err(|error| stop(400, &format!("failed to parse the request body: {error}")))
        };
        let ok = |body: Value| Ok(Answer::json(200, &body));
        match route {
            Route::LogIn => return ok(sessions::log_in(state, &body()?, context)?),
            Route::IsValid(uuid) => return ok(sessions::is_valid(state, uuid, context.now)),
            Route::Job(uuid) => return jobs::poll(state, uuid, context),
            Route::Progress(_) if !context.settings.zstack.tells_progress => {
                return Err(stop(404, &format!("no api mapping to {}", request.path)));
            }
            _ => {}
        }
        let caller = sessions::authenticate(state, request, path, context)?;
        match route {
            Route::List => return ok(images::list(state, &caller?, &request.query_pairs(), context)?),
            Route::Get(uuid) => return ok(images::get(state, &caller?, uuid, context)),
            Route::Progress(uuid) => {
                caller?;
                return ok(jobs::progress(state, uuid, context.now));
            }
            Route::LogOut(uuid) => {
                caller?;
                state.sessions.remove(uuid);
                return ok(json!({}));
            }
            _ => {}
        }

        // From here on the call is accepted, and what it comes to is the job's.
        let job = jobs::uuid(state, request, context)?;
        let given = request.header("x-job-uuid");
        let made = match route {
            Route::Create(volume) => {
                let wanted = Wanted::read(&body()?, "params")?;
                caller.and_then(|caller| images::create(state, &caller, volume, wanted, given, context))
            }
            Route::Act(uuid) => {
                let action = Action::read(&body()?)?;
                caller.and_then(|caller| images::act(state, &caller, uuid, action, context))
            }
            Route::Renew(uuid) => {
                let body = body()?;
                caller.and_then(|_| Ok((sessions::renew(state, uuid, &body, context)?, None)))
            }
            Route::Delete(uuid) => caller.and_then(|caller| images::delete(state, &caller, uuid, context)),
            _ => return Err(stop(404, "no api mapping")),
        };
        Ok(jobs::start(state, job, made, context))
    }
}

impl Service for ZStack {
    fn name(&self) -> &'static str {
        "zstack"
    }

    fn identify(&self, request: &Request) -> Identity {
        let route = Route::read(request).ok().map(|(route, _)| route);
        let action = match route {
            Some(route) => route.name(request).to_owned(),
            None => format!("{} {}", request.method, request.path),
        };
        let mut pairs = request.query_pairs();
        pairs.extend(route.and_then(Route::uuid).map(|uuid| ("uuid".to_owned(), uuid.to_owned())));
        pairs.extend(request.header("x-job-uuid").map(|uuid| ("X-Job-UUID".to_owned(), uuid.to_owned())));
        // The body holds the parameters one level down; passwords stay out of the ledger.
        if let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) {
            for (part, value) in body {
                match value {
                    Value::Object(fields) => pairs.extend(texts(fields)),
                    other => pairs.push((part, other.to_string())),
                }
            }
        }
        pairs.retain(|(name, _)| name != "password");
        let access_key = request.header("authorization").and_then(|header| {
            header.strip_prefix("OAuth ").or_else(|| header.strip_prefix("ZStack ")?.split(':').next())
        });
        let parameters = for_ledger(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Identity { action, access_key: access_key.map(Into::into), parameters }
    }

    fn serve(&self, request: &Request, context: &mut Context<'_>) -> Answer {
        self.run(request, context).unwrap_or_else(|refusal| self.refuse(request, context, refusal))
    }

    /// JSON under 503, plain text under everything else.
    fn refuse(&self, _: &Request, _: &Context<'_>, refusal: Refusal) -> Answer {
        let Refusal { status, code, message } = refusal;
        if status != 503 {
            return Answer::text(status, "text/plain;charset=UTF-8", message).with_code(code);
        }
        let (description, details) = message.split_once('\n').unwrap_or((&message, &message));
        let error = json!({ "code": code, "description": description, "details": details });
        Answer::json(503, &json!({ "error": error })).with_code(code)
    }

    /// The open server has no throttling; something in front of it may.
    fn throttled(&self, _: &crate::Settings, status: Option<u16>) -> Refusal {
        stop(status.unwrap_or(429), "too many requests")
    }

    fn broken(&self) -> Refusal {
        stop(500, "an internal error happened in the REST server")
    }

    fn collections(&self) -> &'static [&'static str] {
        &["images", "sessions", "jobs"]
    }

    fn administer(&self, request: &AdminRequest, shared: &Shared) -> Result<Value, AdminRefusal> {
        let mut state = self.state();
        match request.collection.as_str() {
            "images" => state.images.administer(request, |image| complete(image, shared)),
            "sessions" => state.sessions.administer(request, |session| session.uuid.clone()),
            "jobs" => state.jobs.administer(request, |job| job.uuid.clone()),
            other => Err(AdminRefusal::NotFound(other.into())),
        }
    }

    fn reset(&self) {
        *self.state() = State::default();
    }
}

/// Gives a seeded image what the vendor would have given it, and tells its uuid.
fn complete(image: &mut Image, shared: &Shared) -> String {
    let settings = shared.settings();
    if image.uuid.is_empty() {
        image.uuid = shared.ids.uuid();
    }
    if image.account_uuid.is_empty() {
        image.account_uuid =
            settings.zstack.accounts.first().map(|account| account.uuid.clone()).unwrap_or_default();
    }
    if image.backup_storage_uuids.is_empty() {
        image.backup_storage_uuids = settings.zstack.backup_storages.iter().take(1).cloned().collect();
    }
    if image.creation.begun == Timestamp::UNIX_EPOCH {
        image.creation.begun = shared.clock.now();
    }
    image.complete(shared.clock.now());
    image.uuid.clone()
}
