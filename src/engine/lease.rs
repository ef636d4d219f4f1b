//! One active replica: the Lease `cloud-image-operator` of coordination.k8s.io, held and renewed.
//!
//! The lease only saves calls. What keeps two replicas from making a thing twice is the journal, whose writes are
//! guarded by resourceVersion.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const NAME: &str = "cloud-image-operator";
const DURATION: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(5);
/// How long without a renewal this replica still counts as the holder: safely less than the others think.
const SAFE: Duration = Duration::from_secs(12);

/// The lease, held; renewed in the background until dropped.
#[derive(Debug)]
pub struct Lead {
    api: Api<Lease>,
    identity: String,
    lost: CancellationToken,
    renewing: tokio::task::JoinHandle<()>,
}

/// Waits until this replica leads, or `stop`.
pub async fn acquire(client: &Client, stop: &CancellationToken) -> Result<Lead, kube::Error> {
    let api = Api::<Lease>::default_namespaced(client.clone());
    let identity =
        std::env::var("HOSTNAME").unwrap_or_default() + "_" + &uuid::Uuid::new_v4().simple().to_string();
    tracing::info!(identity, "waiting for the lease");
    let mut seen: Option<(Option<String>, Instant)> = None;
    while !stop.is_cancelled() {
        match claim(&api, &identity, &mut seen).await {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the lease could not be read or written"),
        }
        tokio::select! {
            () = tokio::time::sleep(RENEW / 2) => {}
            () = stop.cancelled() => {}
        }
    }
    let lost = CancellationToken::new();
    let renewing = tokio::spawn(renew(api.clone(), identity.clone(), lost.clone()));
    Ok(Lead { api, identity, lost, renewing })
}

impl Lead {
    /// Resolves when somebody else may lead.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives the lease back, so that the next replica need not wait for it to run out.
    pub async fn release(self) {
        self.renewing.abort();
        let Ok(Some(mut lease)) = self.api.get_opt(NAME).await else { return };
        if let Some(spec) =
            lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity))
        {
            spec.holder_identity = None;
            if let Err(error) = self.api.replace(NAME, &PostParams::default(), &lease).await {
                tracing::debug!(%error, "the lease could not be given back");
            }
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(api: Api<Lease>, identity: String, lost: CancellationToken) {
    let mut renewed = Instant::now();
    while renewed.elapsed() < SAFE {
        tokio::time::sleep(RENEW).await;
        match tokio::time::timeout(RENEW, claim(&api, &identity, &mut None)).await {
            Ok(Ok(true)) => renewed = Instant::now(),
            Ok(Ok(false)) => break,
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
            Err(_) => tracing::warn!("the lease could not be renewed in time"),
        }
    }
    lost.cancel();
}

/// Takes or renews the lease unless somebody else holds it. Guarded by resourceVersion, so two cannot both succeed.
/// Another holder's lease has run out when it has not changed for its duration by our own clock (`seen`).
async fn claim(
    api: &Api<Lease>,
    identity: &str,
    seen: &mut Option<(Option<String>, Instant)>,
) -> Result<bool, kube::Error> {
    let now = MicroTime(Timestamp::now());
    let Some(mut lease) = api.get_opt(NAME).await? else {
        let metadata = ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(held(identity, &now, None)) };
        return conflict_is_false(api.create(&PostParams::default(), &lease).await);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty());
    if holder.as_deref().is_some_and(|holder| holder != identity) {
        let version = lease.metadata.resource_version.clone();
        let since = match seen {
            Some((known, since)) if *known == version => *since,
            _ => {
                *seen = Some((version, Instant::now()));
                return Ok(false);
            }
        };
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DURATION, Duration::from_secs);
        if since.elapsed() < duration {
            return Ok(false);
        }
    }
    lease.spec = Some(held(identity, &now, holder.is_some_and(|holder| holder == identity).then_some(&spec)));
    conflict_is_false(api.replace(NAME, &PostParams::default(), &lease).await)
}

fn held(identity: &str, now: &MicroTime, before: Option<&LeaseSpec>) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(identity.into()),
        acquire_time: before.and_then(|before| before.acquire_time.clone()).or_else(|| Some(now.clone())),
        renew_time: Some(now.clone()),
        lease_duration_seconds: i32::try_from(
            SignedDuration::try_from(DURATION).map_or(15, |duration| duration.as_secs()),
        )
        .ok(),
        lease_transitions: before.and_then(|before| before.lease_transitions),
        ..LeaseSpec::default()
    }
}

fn conflict_is_false<T>(done: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match done {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
