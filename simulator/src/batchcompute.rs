//! Alibaba Cloud BatchCompute, API version 2015-11-11: images over REST.
//!
//! Sources: the page of `CreateImage`, the documents of the other image calls, the official Python and Node SDKs. Not
//! known, and chosen here: how long an `IdempotentToken` is remembered ([`Settings::token_seconds`]), that there is no
//! flow limit, what being too fast would be answered with, and whether `OwnerId` is a number
//! ([`Settings::owner_id_as_number`]: the documents show both).

mod gateway;
pub mod images;
mod signature;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::faults::Identity;
use crate::server::{Context, Service, Shared};
use crate::store::{AdminRefusal, AdminRequest, Store};
use crate::wire::{Answer, Refusal, Request, for_ledger, texts};
use gateway::Nonces;
use images::Image;

/// What of BatchCompute can be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Settings {
    /// Most images of one account in one region; none: no quota.
    pub image_quota: Option<usize>,
    /// How long an `IdempotentToken` is remembered.
    pub token_seconds: u64,
    /// Whether a nonce may be used only once.
    pub check_nonces: bool,
    /// `OwnerId` as a number, as the official SDK requires it, instead of a text.
    pub owner_id_as_number: bool,
    /// The code for a date that is too far from the gateway's clock: its name is not documented.
    pub clock_code: String,
    /// Whether the service's default role exists.
    pub role_exists: bool,
    /// Whether that role may share images.
    pub role_can_share: bool,
    /// ECS images that do not exist or are somebody else's; every other exists.
    pub missing_ecs_images: Vec<String>,
    /// ECS images that are not available.
    pub unavailable_ecs_images: Vec<String>,
    /// ECS images that cannot be shared any further.
    pub unsharable_ecs_images: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            image_quota: None,
            token_seconds: 24 * 3600,
            check_nonces: true,
            owner_id_as_number: true,
            clock_code: "InvalidTimeStamp.Expired".into(),
            role_exists: true,
            role_can_share: true,
            missing_ecs_images: vec!["m-missing".into()],
            unavailable_ecs_images: vec!["m-unavailable".into()],
            unsharable_ecs_images: vec!["m-unsharable".into()],
        }
    }
}

/// The service.
#[derive(Default)]
pub(crate) struct BatchCompute(Mutex<State>);

/// What the vendor keeps.
#[derive(Default)]
struct State {
    images: Store<Image>,
    /// By account, region and token.
    tokens: HashMap<(String, String, String), Replay>,
    nonces: Nonces,
}

/// The result of an earlier call with an `IdempotentToken`.
struct Replay {
    body: Value,
    id: String,
    at: Timestamp,
}

/// What a path and a method mean.
enum Call<'a> {
    Create,
    List,
    Get(&'a str),
    Delete(&'a str),
}

impl<'a> Call<'a> {
    fn read(request: &'a Request) -> Result<Self, Refusal> {
        let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("POST", ["images"]) => Ok(Self::Create),
            ("GET", ["images"]) => Ok(Self::List),
            ("GET", ["images", id]) => Ok(Self::Get(id)),
            ("DELETE", ["images", id]) => Ok(Self::Delete(id)),
            (_, ["images"] | ["images", _]) => {
                Err(Refusal::new(400, "MethodNotAllowed", "The method is not allowed for this resource."))
            }
            _ => Err(Refusal::new(400, "InvalidUrlPattern", "The request url does not match any resource.")),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Create => "CreateImage",
            Self::List => "ListImages",
            Self::Get(_) => "GetImage",
            Self::Delete(_) => "DeleteImage",
        }
    }
}

impl BatchCompute {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, request: &Request, context: &mut Context<'_>) -> Result<Answer, Refusal> {
        let call = Call::read(request)?;
        let mut state = self.state();
        let caller = gateway::admit(request, context, &mut state.nonces)?;
        let query = request.query_pairs();
        match call {
            Call::Create => {
                let token =
                    query.iter().find(|(name, _)| name == "IdempotentToken").map(|(_, token)| token.as_str());
                let created = images::create(&mut state, &caller, token, &request.body, context)?;
                Ok(Answer::json(201, &created))
            }
            Call::List => Ok(Answer::json(200, &images::list(&state, &caller, &query, context)?)),
            Call::Get(id) => Ok(Answer::json(200, &images::get(&state, &caller, id, &context.settings)?)),
            Call::Delete(id) => {
                images::delete(&mut state, &caller, id, context)?;
                Ok(Answer { status: 204, ..Answer::default() })
            }
        }
    }
}

impl Service for BatchCompute {
    fn name(&self) -> &'static str {
        "batchcompute"
    }

    fn identify(&self, request: &Request) -> Identity {
        let action = match Call::read(request) {
            Ok(call) => call.name().to_owned(),
            Err(_) => format!("{} {}", request.method, request.path),
        };
        let mut pairs = request.query_pairs();
        if let Some(id) = request.path.strip_prefix("/images/") {
            pairs.push(("Id".into(), id.into()));
        }
        if let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) {
            pairs.extend(texts(body));
        }
        let access_key =
            request.header("authorization").and_then(signature::parse).map(|(key, _)| key.to_owned());
        let parameters = for_ledger(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Identity { action, access_key, parameters }
    }

    fn serve(&self, request: &Request, context: &mut Context<'_>) -> Answer {
        match self.run(request, context) {
            Ok(answer) => answer.with_header("x-acs-request-id", &context.request_id),
            Err(refusal) => self.refuse(request, context, refusal),
        }
    }

    fn refuse(&self, _: &Request, context: &Context<'_>, refusal: Refusal) -> Answer {
        let body =
            json!({ "Code": refusal.code, "Message": refusal.message, "RequestId": context.request_id });
        Answer::json(refusal.status, &body)
            .with_header("x-acs-request-id", &context.request_id)
            .with_code(refusal.code)
    }

    fn throttled(&self, _: &crate::Settings, status: Option<u16>) -> Refusal {
        Refusal::new(status.unwrap_or(400), "Throttling", "Request was denied due to request throttling.")
    }

    fn broken(&self) -> Refusal {
        Refusal::new(500, "InternalError", "The request processing has failed due to some unknown error.")
    }

    fn collections(&self) -> &'static [&'static str] {
        &["images"]
    }

    fn administer(&self, request: &AdminRequest, shared: &Shared) -> Result<Value, AdminRefusal> {
        match request.collection.as_str() {
            "images" => self.state().images.administer(request, |image| complete(image, shared)),
            other => Err(AdminRefusal::NotFound(other.into())),
        }
    }

    fn reset(&self) {
        *self.state() = State::default();
    }
}

/// Gives a seeded image what the vendor would have given it, and tells its id.
fn complete(image: &mut Image, shared: &Shared) -> String {
    let account = shared.settings().access_keys.first().map(|key| key.account.clone()).unwrap_or_default();
    let id = format!("img-{}", shared.ids.alphanumeric(20));
    let ecs_image = format!("m-{}", shared.ids.alphanumeric(20));
    for (value, default) in [
        (&mut image.id, id.as_str()),
        (&mut image.account, account.as_str()),
        (&mut image.region, "cn-hangzhou"),
        (&mut image.name, "seeded"),
        (&mut image.ecs_image_id, ecs_image.as_str()),
        (&mut image.platform, "Linux"),
        (&mut image.kind, "Self"),
    ] {
        if value.is_empty() {
            default.clone_into(value);
        }
    }
    if image.creation_time == Timestamp::UNIX_EPOCH {
        image.creation_time = shared.clock.now();
    }
    image.id.clone()
}

/// What a test may do behind the vendor's back; none of it is in the ledger.
pub struct Inventory<'a> {
    service: &'a BatchCompute,
    shared: &'a Shared,
}

impl<'a> Inventory<'a> {
    pub(crate) fn new(service: &'a BatchCompute, shared: &'a Shared) -> Self {
        Self { service, shared }
    }

    /// All images, oldest first.
    pub fn images(&self) -> Vec<Image> {
        self.service.state().images.values().cloned().collect()
    }

    /// The image with this id.
    pub fn get(&self, id: &str) -> Option<Image> {
        self.service.state().images.get(id).cloned()
    }

    /// Adds an image and tells its id; empty fields are filled as the vendor would.
    pub fn seed(&self, mut image: Image) -> String {
        let id = complete(&mut image, self.shared);
        self.service.state().images.insert(id.clone(), image);
        id
    }

    /// Takes an image away.
    pub fn remove(&self, id: &str) -> Option<Image> {
        self.service.state().images.remove(id)
    }

    /// Changes an image; false when it does not exist.
    pub fn modify(&self, id: &str, change: impl FnOnce(&mut Image)) -> bool {
        self.service.state().images.get_mut(id).map(change).is_some()
    }
}
