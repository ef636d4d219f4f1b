//! The controller of the two account kinds: says whether an account can be used and by how many it is, and keeps it
//! from vanishing while it is.

use super::{
    accounts::{Account, AccountKey, Accounts, secret_key},
    guarded::Guarded,
    health::Reading,
    malformed, pace,
    standing::Standing,
    status::{self, Detail, Outlook, READY, RECONCILING, STALLED},
    telemetry::Telemetry,
};
use crate::{
    account::{AccountStatus, CredentialsStatus},
    image::FIELD_MANAGER,
    panics,
    wire::outcome::one_line,
};
use futures::{Stream, StreamExt, future::ready};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::ApiResource,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::{ObjectRef, Store},
        watcher,
    },
};
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Runs until `stop` resolves. `accounts_seen` is the watch that feeds `store`.
pub async fn run<A: Account>(
    client: kube::Client,
    accounts: Arc<Accounts>,
    accounts_seen: impl Stream<Item = Result<Guarded<A>, watcher::Error>> + Send + 'static,
    store: Store<Guarded<A>>,
    reading: Reading,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let usage = accounts.usage().filter_map(|account| ready(reference_to::<A>(account)));
    let context = Arc::new((client, accounts, Told::default()));
    Controller::for_stream(accounts_seen, store)
        .with_config(Config::default().debounce(pace::USAGE_DEBOUNCE).concurrency(pace::ACCOUNT_WORKERS))
        .reconcile_on(usage)
        .reconcile_on(Reading::heartbeat())
        .graceful_shutdown_on(stop)
        .run(
            |account, context| async move {
                match &account.0 {
                    Ok(account) => {
                        let pass = Box::pin(reconcile(account, &context.0, &context.1, &context.2));
                        let Ok(done) = panics::caught(pass).await else {
                            let wait = malformed::report_panic(
                                &context.0,
                                &ApiResource::erase::<A>(&()),
                                account.meta(),
                            )
                            .await;
                            return Ok(Action::requeue(wait));
                        };
                        context.2.refusal(account, done.as_ref().err(), context.1.telemetry()).await;
                        done
                    }
                    Err(invalid) => {
                        malformed::report(
                            &context.0,
                            &ApiResource::erase::<A>(&()),
                            &invalid.metadata,
                            &invalid.error,
                        )
                        .await?;
                        Ok(Action::await_change())
                    }
                }
            },
            |account, error, _| {
                tracing::warn!(account = %A::key_of(account.meta()), %error, "the API server failed");
                Action::requeue(Duration::from_secs(10))
            },
            context,
        )
        .for_each(|done| {
            reading.came_through(&done);
            ready(())
        })
        .await;
}

/// The account of that name, if it is of this kind.
fn reference_to<A: Account>(account: AccountKey) -> Option<ObjectRef<Guarded<A>>> {
    let is_of_kind = account.namespace.is_none() == (A::kind(&()) == "ClusterCloudAccount");
    is_of_kind.then(|| {
        let mut reference = ObjectRef::new(&account.name);
        reference.namespace = account.namespace;
        reference
    })
}

/// What was told of accounts in Events, by their uids, so that it is told once.
#[derive(Debug, Default)]
struct Told {
    /// What the API server said when it did not let an account be written.
    refusals: Mutex<HashMap<String, String>>,
    /// Whose credentials the vendor refused and has not accepted since, be they the same or new ones.
    refused: Mutex<HashSet<String>>,
}

impl Told {
    /// Tells when the vendor begins to refuse an account's credentials, and when it accepts them again.
    async fn credentials<A: Account>(
        &self,
        account: &A,
        old: &AccountStatus,
        new: &AccountStatus,
        telemetry: &Telemetry,
    ) {
        let uid = account.uid().unwrap_or_default();
        let refusal = |status: &AccountStatus| status.credentials.as_ref().and_then(|it| it.refused.clone());
        let succeeded = new.credentials.as_ref().is_some_and(|it| it.last_success.is_some());
        let news = {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            // An earlier process told of it.
            if refusal(old).is_some() {
                refused.insert(uid.clone());
            }
            match refusal(new) {
                Some(why) => refused.insert(uid).then_some(Err(why)),
                None if succeeded => refused.remove(&uid).then_some(Ok(())),
                None => None,
            }
        };
        match news {
            Some(Ok(())) => telemetry.credentials(account, Ok(())).await,
            Some(Err(why)) => telemetry.credentials(account, Err(&why)).await,
            None => {}
        }
    }

    fn forget(&self, uid: &str) {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }

    async fn refusal<A: Account>(&self, account: &A, error: Option<&kube::Error>, telemetry: &Telemetry) {
        let uid = account.uid().unwrap_or_default();
        let refusal = match error {
            Some(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 413 | 422) => {
                Some(one_line(status.message.trim_end_matches('.'), 600))
            }
            _ => None,
        };
        let is_news = {
            let mut told = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(refusal) = &refusal {
                told.insert(uid, refusal.clone()).as_ref() != Some(refusal)
            } else {
                told.remove(&uid);
                false
            }
        };
        if let (Some(refusal), true) = (refusal, is_news) {
            let note = format!(
                "the API server does not let the operator write this account: {refusal}. What is shown is from before. Give the \
                 operator the right to patch {0} and {0}/status, upgrade the CRDs if they are older, or change the policy that the \
                 message names; it is tried again",
                A::plural(&())
            );
            telemetry.account_refused(account, note).await;
        }
    }
}

fn to_second(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

async fn reconcile<A: Account>(
    account: &A,
    client: &kube::Client,
    accounts: &Accounts,
    told: &Told,
) -> Result<Action, kube::Error> {
    if accounts.serve(account).is_err() {
        return Ok(Action::await_change());
    }
    let key = account.key();
    let usage = accounts.users(account).await;
    let users = usage.objects;
    let deleting = account.meta().deletion_timestamp.is_some();
    let known = accounts.index().is_filled();
    // Who waits until it is gone and made anew must not keep it.
    if deleting && known && users <= accounts.index().waiting(&key) {
        accounts.release(account).await?;
        told.forget(account.uid().unwrap_or_default().as_str());
        return Ok(Action::await_change());
    }
    let opened = accounts.open(account).await;
    if opened.is_err() && known && users == 0 {
        accounts.forget(&key);
    }
    let (held, again) = accounts.retry_or_hold(account, users > 0 && !deleting).await;
    let opened = held.and(opened);
    let old = account.status().cloned().unwrap_or_default();
    let now = Timestamp::now();
    let credentials = opened.as_ref().ok().and_then(|connection| {
        let (namespace, name) = secret_key(account)?;
        let (secret, resource_version) =
            (format!("{namespace}/{name}"), connection.secret.resource_version.clone());
        // What an earlier process learned of the same credentials counts until this one learns more.
        let unchanged = old
            .credentials
            .clone()
            .filter(|old| old.secret == secret && old.resource_version == resource_version);
        let since = Some(to_second(now));
        let mut known =
            unchanged.unwrap_or(CredentialsStatus { secret, resource_version, since, ..Default::default() });
        let Standing { last_success, refused } = connection.standing();
        if last_success.is_some() || refused.is_some() {
            known.last_success = last_success.map(to_second).or(known.last_success);
            known.refused = refused;
        }
        Some(known)
    });
    let born = account.meta().creation_timestamp.as_ref().map(|time| time.0);
    let youth = pace::youth(born, Timestamp::now());
    let verdict = match (&opened, deleting) {
        (_, true) => Err(Detail::waiting(
            "InUse",
            if users > 0 {
                format!("{usage}; it goes when the last of them is gone")
            } else {
                format!("whether objects use this account is not known yet{}", accounts.index().missing())
            },
        )),
        (Ok(_), false) => {
            match credentials.as_ref().map(|known| (known.refused.as_ref(), known.last_success.as_ref())) {
                Some((Some(refused), _)) => Err(Detail::stalled("CredentialsRefused", refused.as_str())),
                Some((None, Some(_))) => {
                    Ok("images can use this account, and the vendor accepts its credentials")
                }
                _ => Ok("images can use this account; its credentials have not been tried yet"),
            }
        }
        (Err(unusable), false) => Err(Detail::unusable(unusable, !youth.is_zero())),
    };
    let generation = account.meta().generation.unwrap_or_default();
    let (ready, stalled, reason, message) = match &verdict {
        Ok(message) => (true, false, "Usable", *message),
        Err(detail) => {
            (false, detail.outlook == Outlook::Stalled, detail.reason.as_str(), detail.message.as_str())
        }
    };
    let conditions = [(READY, ready), (RECONCILING, !ready && !stalled), (STALLED, stalled)]
        .into_iter()
        .map(|(type_, value)| {
            status::condition(type_, value, reason, message, generation, &old.conditions, now)
        })
        .collect();
    let new = AccountStatus {
        observed_generation: Some(generation),
        images: i64::try_from(users).ok(),
        credentials,
        conditions,
    };
    if new != old {
        let patch: json_patch::Patch = serde_json::from_value(json!([
            { "op": "test", "path": "/metadata/uid", "value": account.uid() },
            { "op": "add", "path": "/status", "value": new },
        ]))
        .map_err(kube::Error::SerdeError)?;
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        account.api(client).patch_status(&account.name_any(), &params, &Patch::Json::<()>(patch)).await?;
    }
    told.credentials(account, &old, &new, accounts.telemetry()).await;
    // News of users may get lost; whoever waits for the last of them looks from time to time.
    let next = match verdict {
        _ if deleting => Some(pace::OTHERS),
        // What it lacks is not on its way for ever.
        Err(detail) if detail.outlook == Outlook::GoesOn && !youth.is_zero() => {
            Some(youth + Duration::from_secs(1))
        }
        _ => None,
    };
    Ok(again.into_iter().chain(next).min().map_or_else(Action::await_change, Action::requeue))
}
