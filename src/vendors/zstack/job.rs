//! Jobs: a call that changes something is accepted first, and answered later under its job's uuid.

use super::{Authorization, Call, Client, errors};
use crate::{
    vendors::percent::percent,
    wire::{CallError, Class, Effect, Refusal, encode},
};
use http::{Method, StatusCode};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// How long a change, which takes the vendor a moment, is waited for.
const PATIENCE: Duration = Duration::from_secs(8);
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LAST_LOOK: Duration = Duration::from_secs(1);
/// How long it may take to find out how far a job is, which nothing depends on.
const PROGRESS: Duration = Duration::from_secs(3);

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

    /// How far a job is, in percent; `None` where that cannot be found out, which is never a failure: not every version tells
    /// it, nor every step of a job.
    pub(super) async fn percent(&self, job: &str) -> Option<u8> {
        if self.0.tells_no_progress.load(Ordering::Relaxed) {
            return None;
        }
        let target = format!("/v1/task-progresses/{}", encode::component(job));
        let call = Call::new("GetTaskProgress", Effect::Read, Method::GET, target);
        match timeout(PROGRESS, self.ask::<Value>(&call)).await.ok()? {
            Ok((answer, _)) => told(&answer.value),
            Err(CallError::Refused(refusal)) if refusal.class == Class::Unlisted && refusal.status == 404 => {
                self.0.tells_no_progress.store(true, Ordering::Relaxed);
                None
            }
            Err(_) => None,
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

/// The progress in an answer: the newest that is a number among the job's own, or the only one of older versions.
fn told(answer: &Value) -> Option<u8> {
    let rows = answer.get("inventories").and_then(Value::as_array);
    let newest = rows
        .into_iter()
        .flatten()
        .filter_map(|row| Some((row.get("time").and_then(Value::as_i64), percent(row.get("content")?)?)))
        .max_by_key(|(time, _)| *time);
    newest.map(|(_, percent)| percent).or_else(|| percent(answer.get("progress")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_read_as_far_as_it_is_told() {
        let row = |type_: &str, content: Value, time: i64| json!({ "type": type_, "content": content, "time": time });
        for (answer, expected) in [
            (json!({ "inventories": [row("Progress", json!("42"), 1)] }), Some(42)),
            (
                json!({ "inventories": [row("Progress", json!("70"), 2), row("Progress", json!("42"), 1)] }),
                Some(70),
            ),
            (
                json!({ "inventories": [row("Task", json!("uploading the image"), 3), row("Progress", json!("42"), 1)] }),
                Some(42),
            ),
            (json!({ "inventories": [{ "content": "42%" }] }), Some(42)),
            (json!({ "progress": "33" }), Some(33)),
            (json!({ "inventories": [] }), None),
            (json!({ "inventories": [{ "content": {} }, 5] }), None),
            (json!({ "inventories": "none" }), None),
            (json!([]), None),
        ] {
            assert_eq!(told(&answer), expected, "{answer}");
        }
    }
}
