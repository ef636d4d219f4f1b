//! Jobs: a call that changes something is accepted first, and answered later under its job's uuid.

use super::{Authorization, Call, Client, errors};
use crate::wire::{CallError, Class, Effect, Refusal};
use http::{Method, StatusCode};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a change, which takes the vendor a moment, is waited for.
const PATIENCE: Duration = Duration::from_secs(8);
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What the vendor says of a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Job {
    /// It is at it.
    Running,
    /// This came of it.
    Done(Value),
    /// Nothing came of it.
    Refused(Refusal),
    /// It has no record: never taken, or done long ago.
    Unknown,
}

impl Client {
    /// Looks at a job. `action`: the call that it is of.
    pub(super) async fn job(&self, action: &str, uuid: &str) -> Result<Job, CallError> {
        let call = Call::new("GetApiJob", Effect::Read, Method::GET, format!("/v1/api-jobs/{uuid}"));
        // Nobody's authorization is looked at, so an error is the job's own, even that the session has ended.
        let authorization = match &self.0.login {
            super::Login::Key(keys) => Authorization::Key(keys),
            super::Login::Account(_) => Authorization::None,
        };
        match self.send::<Value>(&call, authorization).await {
            Ok(answer) if answer.status == StatusCode::ACCEPTED => Ok(Job::Running),
            Ok(answer) => Ok(Job::Done(answer.value)),
            Err(CallError::Refused(refusal)) if refusal.status == 503 => {
                Ok(Job::Refused(Refusal { action: action.into(), request_id: uuid.into(), ..refusal }))
            }
            Err(CallError::Refused(refusal)) if refusal.class == Class::NotFound => Ok(Job::Unknown),
            Err(error) => Err(error),
        }
    }

    /// A call that is harmless when repeated, with its job. `false`: accepted, and not done in the time that it is
    /// waited for.
    pub(super) async fn change(
        &self,
        action: &'static str,
        method: Method,
        target: &str,
        body: Value,
    ) -> Result<bool, CallError> {
        let mut first = true;
        loop {
            let uuid = uuid::Uuid::new_v4().simple().to_string();
            let call =
                Call::new(action, Effect::Change, method.clone(), target.to_owned()).with(body.clone());
            let (answer, session) = self.ask::<IgnoredAny>(&call.of_job(&uuid)).await?;
            if answer.status != StatusCode::ACCEPTED {
                return Ok(true);
            }
            match self.finish(action, &uuid).await? {
                Job::Running => return Ok(false),
                Job::Done(_) | Job::Unknown => return Ok(true),
                Job::Refused(refusal) if refusal.code == errors::SESSION_EXPIRED && first => {
                    self.forget(session.as_deref());
                    first = false;
                }
                Job::Refused(refusal) => return Err(CallError::Refused(refusal)),
            }
        }
    }

    async fn finish(&self, action: &str, uuid: &str) -> Result<Job, CallError> {
        let end = Instant::now() + PATIENCE;
        let mut wait = FIRST_LOOK;
        loop {
            sleep(wait).await;
            match self.job(action, uuid).await? {
                Job::Running if Instant::now() < end => wait = (wait * 2).min(LAST_LOOK),
                job => return Ok(job),
            }
        }
    }
}
