//! Sessions: made by a login, used as `Authorization: OAuth <uuid>`, ended by time or by a logout.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use super::{ApiError, Settings, State, dates, stop};
use crate::clock::shifted;
use crate::server::Context;
use crate::wire::{Refusal, Request};

/// An account of the cloud.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its password in clear; clients send the SHA-512 of it.
    pub password: String,
    /// 32 hex digits.
    pub uuid: String,
    /// Administrators see everything and have no quotas.
    #[serde(default)]
    pub admin: bool,
}

/// A session as the vendor keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Session {
    /// What clients send.
    pub uuid: String,
    /// Whose it is.
    pub account_uuid: String,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is not accepted any more.
    pub expires: Timestamp,
}

/// Who calls.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) account_uuid: String,
    pub(super) admin: bool,
}

impl Caller {
    fn new(account: &Account) -> Self {
        Self { account_uuid: account.uuid.clone(), admin: account.admin }
    }
}

/// `PUT /v1/accounts/login`
pub(super) fn log_in(state: &mut State, body: &Value, context: &Context<'_>) -> Result<Value, Refusal> {
    let login = body
        .get("logInByAccount")
        .filter(|login| login.is_object())
        .ok_or_else(|| stop(400, "the body doesn't contain action mapping to the URL: logInByAccount"))?;
    let text = |name| login.get(name).and_then(Value::as_str).unwrap_or_default();
    let settings = &context.settings.zstack;
    let account = settings
        .accounts
        .iter()
        .find(|account| {
            account.name == text("accountName")
                && hex::encode(Sha512::digest(account.password.as_bytes())) == text("password")
        })
        .ok_or_else(|| ApiError::new("ID.1000", "Authentication failed", "wrong account name or password"))?;
    let others: Vec<String> = state
        .sessions
        .values()
        .filter(|session| session.account_uuid == account.uuid && session.expires > context.now)
        .map(|session| session.uuid.clone())
        .collect();
    if others.len() >= settings.max_sessions {
        return Err(ApiError::new(
            "ID.1006",
            "The number of sessions exceeds",
            format!("account[uuid:{}] already has {} sessions", account.uuid, settings.max_sessions),
        )
        .into());
    }
    if settings.unique_session {
        for uuid in &others {
            state.sessions.remove(uuid);
        }
    }
    let session = Session {
        uuid: context.shared.ids.uuid(),
        account_uuid: account.uuid.clone(),
        created: context.now,
        expires: later(context.now, settings.session_seconds),
    };
    let inventory = shown(&session, settings);
    state.sessions.insert(session.uuid.clone(), session);
    Ok(json!({ "inventory": inventory }))
}

fn later(time: Timestamp, seconds: u64) -> Timestamp {
    shifted(time, i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn shown(session: &Session, settings: &Settings) -> Value {
    json!({
        "uuid": session.uuid,
        "accountUuid": session.account_uuid,
        "userUuid": session.account_uuid,
        "expiredDate": dates::write(session.expires, settings.utc_offset_hours),
        "createDate": dates::write(session.created, settings.utc_offset_hours),
    })
}

/// `GET /v1/accounts/sessions/{uuid}/valid`
pub(super) fn is_valid(state: &State, uuid: &str, now: Timestamp) -> Value {
    json!({ "valid": state.sessions.get(uuid).is_some_and(|session| session.expires > now) })
}

/// `PUT /v1/accounts/sessions/{uuid}/renew`
pub(super) fn renew(
    state: &mut State,
    uuid: &str,
    body: &Value,
    context: &Context<'_>,
) -> Result<Value, ApiError> {
    let duration = match body.pointer("/renewSession/duration") {
        None => context.settings.zstack.session_seconds,
        Some(value) => {
            value.as_u64().filter(|seconds| (60..=31_536_000).contains(seconds)).ok_or_else(|| {
                ApiError::new(
                    "SYS.1007",
                    "One or more API argument is invalid",
                    "duration must be in [60, 31536000]",
                )
            })?
        }
    };
    let session =
        state.sessions.get_mut(uuid).filter(|session| session.expires > context.now).ok_or_else(expired)?;
    session.expires = later(context.now, duration);
    Ok(json!({ "inventory": shown(session, &context.settings.zstack) }))
}

fn expired() -> ApiError {
    ApiError::new("ID.1001", "Session expired", "Session expired")
}

/// What a call's `Authorization` is worth.
///
/// # Errors
/// The outer one is the REST layer's, at once. The inner one is the API's: whether a session lives is looked up only
/// when the API message is handled, so that an asynchronous call with a dead session is accepted first.
pub(super) fn authenticate(
    state: &State,
    request: &Request,
    path: &str,
    context: &Context<'_>,
) -> Result<Result<Caller, ApiError>, Refusal> {
    let settings = &context.settings.zstack;
    let header = request
        .header("authorization")
        .filter(|header| !header.is_empty())
        .ok_or_else(|| stop(400, "missing header 'Authorization'"))?;
    if let Some(uuid) = header.strip_prefix("OAuth ") {
        let session = state.sessions.get(uuid.trim()).filter(|session| session.expires > context.now);
        let account = session.and_then(|session| {
            settings.accounts.iter().find(|account| account.uuid == session.account_uuid)
        });
        return Ok(account.map(Caller::new).ok_or_else(expired));
    }
    let signed = header.strip_prefix("ZStack ").and_then(|rest| rest.split_once(':'));
    let (key, signature) = signed.ok_or_else(|| stop(400, "the header 'Authorization' is malformed"))?;
    let date = request.header("date").ok_or_else(|| stop(400, "missing header 'Date'"))?;
    if !dates::is_near(date, context.gateway, settings.utc_offset_hours, settings.check_time_zone) {
        return Err(stop(
            403,
            "requestTimeTooSkewed: the difference between the request time and the current time is too large",
        ));
    }
    let known = context
        .settings
        .access_key(key)
        .ok_or_else(|| stop(403, &format!("the access key id[{key}] does not exist")))?;
    if !super::access_key::matches(&request.method, date, path, &known.secret, signature) {
        return Err(stop(403, "wrong accessKey signature"));
    }
    // An access key belongs to the account that is named by it; every other is an administrator's.
    let by_name = settings.accounts.iter().find(|account| account.name == known.account);
    let account = by_name.or_else(|| settings.accounts.iter().find(|account| account.admin));
    Ok(account.map(Caller::new).ok_or_else(expired))
}
