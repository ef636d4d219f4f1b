//! One session for each account: made by the first call that needs it, shared by all, made anew when the vendor does not
//! know it any more, ended when the connection is.

use super::{Authorization, Call, Client};
use crate::wire::{CallError, Class, Effect, Refusal, digest};
use http::Method;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use std::time::Duration;
use tokio::{sync::Mutex, time::Instant};

/// How long a session is taken for alive after the vendor last accepted it. A call that changes something is accepted
/// with a dead one too, and fails only later, so it must not be made on trust.
const TRUST: Duration = Duration::from_secs(60);
/// How long a refused login is not tried again: wrong passwords lock accounts.
const REFUSED: Duration = Duration::from_secs(30);

/// The session of an account.
pub(super) struct Session {
    account: String,
    /// SHA-512, in lower-case hex.
    password: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    refused: Option<(Instant, CallError)>,
    closed: bool,
}

struct Live {
    uuid: String,
    proven: Instant,
}

#[derive(Deserialize)]
struct LoggedIn {
    inventory: Inventory,
}

#[derive(Deserialize)]
struct Inventory {
    uuid: String,
}

#[derive(Deserialize)]
struct Validity {
    valid: bool,
}

impl Session {
    /// Calls nobody yet.
    pub(super) fn new(account: &str, password: &str) -> Self {
        let password = digest::sha512_hex(password.as_bytes());
        Self { account: account.into(), password, state: Mutex::default() }
    }

    /// The session's uuid. With `sure`, the vendor accepted it a moment ago. Everybody else waits while one logs in.
    ///
    /// # Errors
    /// Never [`CallError::Unknown`]: whatever a login came to, the call that needs it was not sent.
    pub(super) async fn get(&self, client: &Client, sure: bool) -> Result<String, CallError> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(CallError::NotSent("the connection was replaced meanwhile".into()));
        }
        if let Some(live) = &mut state.live {
            let doubtful = sure && live.proven.elapsed() >= TRUST;
            if doubtful && is_valid(client, &live.uuid).await? {
                live.proven = Instant::now();
            } else if doubtful {
                state.live = None;
            }
        }
        if let Some(live) = &state.live {
            return Ok(live.uuid.clone());
        }
        if let Some((at, error)) = &state.refused
            && at.elapsed() < REFUSED
        {
            return Err(error.clone());
        }
        match self.log_in(client).await {
            Ok(uuid) => {
                tracing::info!(account = self.account, "logged in to ZStack");
                *state = State {
                    live: Some(Live { uuid: uuid.clone(), proven: Instant::now() }),
                    ..State::default()
                };
                Ok(uuid)
            }
            Err(error) => {
                // A vendor that is busy or has a fault says nothing about the password.
                let about_us = !matches!(error.class(), None | Some(Class::Throttled | Class::Unavailable));
                state.refused = about_us.then(|| (Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// The vendor has just accepted it.
    pub(super) async fn proven(&self, uuid: &str) {
        if let Some(live) = self.state.lock().await.live.as_mut().filter(|live| live.uuid == uuid) {
            live.proven = Instant::now();
        }
    }

    /// The vendor does not know it any more. Of all who hear that, only the first has an effect.
    pub(super) async fn forget(&self, uuid: &str) {
        let mut state = self.state.lock().await;
        state.live = state.live.take().filter(|live| live.uuid != uuid);
    }

    /// Logs out.
    pub(super) async fn close(&self, client: &Client) {
        let mut state = self.state.lock().await;
        state.closed = true;
        let Some(live) = state.live.take() else { return };
        let target = format!("/v1/accounts/sessions/{}", live.uuid);
        let call = Call::new("LogOut", Effect::Change, Method::DELETE, target);
        if let Err(error) = client.send::<IgnoredAny>(&call, Authorization::Session(&live.uuid)).await {
            tracing::warn!(account = self.account, %error, "the ZStack session stays until it expires");
        }
    }

    async fn log_in(&self, client: &Client) -> Result<String, CallError> {
        let body = json!({ "logInByAccount": { "accountName": self.account, "password": self.password } });
        let call = Call::new("LogInByAccount", Effect::Change, Method::PUT, "/v1/accounts/login".into());
        let answer = client.send::<LoggedIn>(&call.with(body), Authorization::None).await;
        answer.map(|answer| answer.value.inventory.uuid).map_err(not_sent)
    }
}

async fn is_valid(client: &Client, uuid: &str) -> Result<bool, CallError> {
    let target = format!("/v1/accounts/sessions/{uuid}/valid");
    let call = Call::new("ValidateSession", Effect::Read, Method::GET, target);
    let answer = client.send::<Validity>(&call, Authorization::None).await;
    answer.map(|answer| answer.value.valid).map_err(not_sent)
}

/// What to do about a login that was refused for what it says.
const REJECTED: &str = "ZStack does not take the account's login: check accountName and password in the Secret / ZStack 不接受该账户的登录请求，请检查 Secret 中的 accountName 和 password";

/// Without a session, nothing else was sent; and what is wrong with a login is nothing that the call that needs it, or
/// the object that it is for, could mend.
fn not_sent(error: CallError) -> CallError {
    match error {
        CallError::Unknown(why) => CallError::NotSent(format!("there is no session: {why}")),
        CallError::Refused(refusal) if matches!(refusal.class, Class::Invalid | Class::Conflict) => {
            CallError::Refused(Refusal { class: Class::Credentials, hint: REJECTED, ..refusal })
        }
        error => error,
    }
}
