//! The admin API under `/_sim/`: the same ledger, faults, clock and settings as the library, for curl and other processes.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Core;
use crate::store::{AdminRefusal, AdminRequest, merge};

/// Answers the admin address until it is dropped.
pub(crate) async fn listen(listener: TcpListener, core: Arc<Core>) {
    let router = axum::Router::new()
        .route("/_sim/ledger", get(ledger))
        .route("/_sim/ledger/counts", get(counts))
        .route("/_sim/faults", get(faults).put(set_faults))
        .route("/_sim/clock", get(clock).put(set_clock))
        .route("/_sim/settings", get(settings).put(set_settings))
        .route("/_sim/reset", post(reset))
        .route("/_sim/healthz", get(async || "ok"))
        .route("/_sim/{service}/{collection}", any(things))
        .route("/_sim/{service}/{collection}/{id}", any(thing))
        .fallback(async || refusal(StatusCode::NOT_FOUND, "no such path; the admin API is under /_sim/"))
        .with_state(core);
    // The listener's errors are retried inside; this future ends only by being dropped.
    let _ = axum::serve(listener, router).await;
}

fn refusal(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(json!({ "error": message.into() }))).into_response()
}

/// Reads a body whatever its content type says, since curl says it is a form.
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// The value as JSON, or why there is none.
fn answer<T: Serialize>(result: Result<T, String>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(message) => refusal(StatusCode::BAD_REQUEST, message),
    }
}

/// `service`, `action` and `since` (a sequence number) narrow the answer.
async fn ledger(State(core): State<Arc<Core>>, RawQuery(query): RawQuery) -> Response {
    let query: HashMap<String, String> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let mut ledger = core.shared.book.snapshot();
    let since: u64 = query.get("since").and_then(|text| text.parse().ok()).unwrap_or(0);
    let wanted = |key: &str, value: &str| query.get(key).is_none_or(|wanted| wanted == value);
    ledger
        .calls
        .retain(|c| c.sequence > since && wanted("service", &c.service) && wanted("action", &c.action));
    ledger.effects.retain(|e| e.call > since && wanted("service", &e.service) && wanted("action", &e.action));
    Json(ledger).into_response()
}

async fn counts(State(core): State<Arc<Core>>) -> Response {
    let ledger = core.shared.book.snapshot();
    Json(json!({ "calls": ledger.call_counts(), "effects": ledger.effect_counts() })).into_response()
}

async fn faults(State(core): State<Arc<Core>>) -> Response {
    Json(core.shared.rules.states()).into_response()
}

async fn set_faults(State(core): State<Arc<Core>>, body: Bytes) -> Response {
    answer(parse(&body).map(|rules| {
        core.shared.rules.set(rules);
        core.shared.rules.states()
    }))
}

async fn clock(State(core): State<Arc<Core>>) -> Response {
    Json(core.shared.clock.read()).into_response()
}

async fn set_clock(State(core): State<Arc<Core>>, body: Bytes) -> Response {
    let changed = parse(&body).and_then(|change| core.shared.clock.change(&change));
    answer(changed.map(|()| core.shared.clock.read()))
}

async fn settings(State(core): State<Arc<Core>>) -> Response {
    Json(core.shared.settings().as_ref()).into_response()
}

/// What is absent stays as it is; null gives a setting its default.
async fn set_settings(State(core): State<Arc<Core>>, body: Bytes) -> Response {
    answer(parse(&body).and_then(|patch| {
        let mut merged = json!(core.shared.settings().as_ref());
        merge(&mut merged, &patch);
        core.shared.set_settings(serde_json::from_value(merged).map_err(|error| error.to_string())?);
        Ok(json!(core.shared.settings().as_ref()))
    }))
}

async fn reset(State(core): State<Arc<Core>>) -> StatusCode {
    core.reset();
    StatusCode::NO_CONTENT
}

async fn things(
    State(core): State<Arc<Core>>,
    method: Method,
    Path((service, collection)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    administer(&core, &method, &service, collection, None, &body)
}

async fn thing(
    State(core): State<Arc<Core>>,
    method: Method,
    Path((service, collection, id)): Path<(String, String, String)>,
    body: Bytes,
) -> Response {
    administer(&core, &method, &service, collection, Some(id), &body)
}

fn administer(
    core: &Core,
    method: &Method,
    service: &str,
    collection: String,
    id: Option<String>,
    body: &Bytes,
) -> Response {
    let Some(service) = core.services().into_iter().find(|candidate| candidate.name() == service) else {
        return refusal(StatusCode::NOT_FOUND, format!("there is no service {service}"));
    };
    let body = match if body.is_empty() { Ok(Value::Null) } else { parse(body) } {
        Ok(body) => body,
        Err(message) => return refusal(StatusCode::BAD_REQUEST, message),
    };
    let request = AdminRequest { method: method.as_str().into(), collection, id, body };
    match service.administer(&request, &core.shared) {
        Ok(value) => Json(value).into_response(),
        Err(error @ AdminRefusal::NotFound(_)) => refusal(StatusCode::NOT_FOUND, error.to_string()),
        Err(error @ AdminRefusal::Invalid(_)) => refusal(StatusCode::BAD_REQUEST, error.to_string()),
        Err(error @ AdminRefusal::Method) => refusal(StatusCode::METHOD_NOT_ALLOWED, error.to_string()),
    }
}
