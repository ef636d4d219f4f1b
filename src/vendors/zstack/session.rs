//! One session for each account: made by the first call that needs it, shared by all, made anew when the vendor does not
//! know it any more, ended when the connection is.

use super::{Authorization, Call, Client};
use crate::wire::{CallError, Class, Effect, Refusal, digest};
use http::Method;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a session is taken for alive after the vendor last accepted it. A call that changes something is accepted
/// with a dead one too, and fails only later, so it must not be made on trust.
const TRUST: Duration = Duration::from_secs(60);
/// How long a refused login is not tried again: wrong passwords lock accounts.
const REFUSED: Duration = Duration::from_secs(30);
/// How long one that had no answer, or came at a bad moment, is not tried again.
const FAILED: Duration = Duration::from_secs(10);

/// The session of an account.
pub(super) struct Session {
    account: String,
    /// SHA-512, in lower-case hex.
    password: String,
    state: Mutex<State>,
    /// Held by the one who logs in, or finds out whether the session is valid.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    /// What the last login came to if it failed, and until when that holds for everybody.
    failed: Option<(Instant, CallError)>,
    closed: bool,
}

#[derive(Clone)]
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
        Self {
            account: account.into(),
            password,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// The session's uuid. With `sure`, the vendor accepted it a moment ago. While one logs in, the others wait; a login that
    /// failed has failed for all of them, and for those who come while it is tried again.
    ///
    /// # Errors
    /// Never [`CallError::Unknown`]: whatever a login came to, the call that needs it was not sent.
    pub(super) async fn get(&self, client: &Client, sure: bool) -> Result<String, CallError> {
        if let Some(known) = self.known(sure, true) {
            return known;
        }
        let _asking = if let Ok(asking) = self.asking.try_lock() {
            asking
        } else {
            if let Some(failed) = self.known(sure, false) {
                return failed;
            }
            self.asking.lock().await
        };
        // Who was before may have found out.
        if let Some(known) = self.known(sure, true) {
            return known;
        }
        let live = self.state().live.clone();
        let asked = match &live {
            Some(live) => match is_valid(client, &live.uuid).await {
                Ok(true) => Ok(live.uuid.clone()),
                Ok(false) => {
                    self.forget(&live.uuid);
                    self.log_in(client).await
                }
                Err(error) => Err(error),
            },
            None => self.log_in(client).await,
        };
        let mut state = self.state();
        match &asked {
            Ok(uuid) => {
                state.failed = None;
                if !state.closed {
                    state.live = Some(Live { uuid: uuid.clone(), proven: Instant::now() });
                }
            }
            Err(error) => {
                // A vendor that is busy or has a fault says nothing about the password.
                let about_us = !matches!(error.class(), None | Some(Class::Throttled | Class::Unavailable));
                let holds = if about_us { REFUSED } else { FAILED };
                state.failed = Some((Instant::now() + holds, error.clone()));
            }
        }
        asked
    }

    /// What can be said without asking the vendor. With `fresh`, an old failure does not count.
    fn known(&self, sure: bool, fresh: bool) -> Option<Result<String, CallError>> {
        let state = self.state();
        if state.closed {
            return Some(Err(CallError::NotSent("the connection was replaced meanwhile".into())));
        }
        if let Some(live) = &state.live
            && !(sure && live.proven.elapsed() >= TRUST)
        {
            return Some(Ok(live.uuid.clone()));
        }
        let (until, error) = state.failed.as_ref()?;
        (!fresh || Instant::now() < *until).then(|| Err(error.clone()))
    }

    /// The vendor has just accepted it.
    pub(super) fn proven(&self, uuid: &str) {
        if let Some(live) = self.state().live.as_mut().filter(|live| live.uuid == uuid) {
            live.proven = Instant::now();
        }
    }

    /// The vendor does not know it any more. Of all who hear that, only the first has an effect.
    pub(super) fn forget(&self, uuid: &str) {
        let mut state = self.state();
        state.live = state.live.take().filter(|live| live.uuid != uuid);
    }

    /// Logs out.
    pub(super) async fn close(&self, client: &Client) {
        let live = {
            let mut state = self.state();
            state.closed = true;
            state.live.take()
        };
        let Some(live) = live else { return };
        self.log_out(client, &live.uuid).await;
    }

    async fn log_out(&self, client: &Client, uuid: &str) {
        let target = format!("/v1/accounts/sessions/{uuid}");
        let call = Call::new("LogOut", Effect::Change, Method::DELETE, target);
        if let Err(error) = client.send::<IgnoredAny>(&call, Authorization::Session(uuid)).await {
            tracing::warn!(account = self.account, %error, "the ZStack session stays until it expires");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn log_in(&self, client: &Client) -> Result<String, CallError> {
        let body = json!({ "logInByAccount": { "accountName": self.account, "password": self.password } });
        let call = Call::new("LogInByAccount", Effect::Change, Method::PUT, "/v1/accounts/login".into());
        let answer = client.send::<LoggedIn>(&call.with(body), Authorization::None).await;
        let uuid = answer.map(|answer| answer.value.inventory.uuid).map_err(not_sent)?;
        tracing::info!(account = self.account, "logged in to ZStack");
        // The connection may have been replaced meanwhile, and then nobody else would end it.
        if self.state().closed {
            self.log_out(client, &uuid).await;
            return Err(CallError::NotSent("the connection was replaced meanwhile".into()));
        }
        Ok(uuid)
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
