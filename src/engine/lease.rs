//! One active replica: the Lease `cloud-image-operator` of coordination.k8s.io, held and renewed.
//!
//! The lease only saves calls. What keeps two replicas from making a thing twice is the journal, whose writes are
//! guarded by resourceVersion.
//!
//! It is our own code, because kube-lease-manager 0.13, the one crate for this kube, goes on leading however long
//! renewals fail or hang, takes over and gives back without resourceVersion, and tells replicas apart by their field
//! managers, where ours have one in common.

use super::{health::Health, pace};
use crate::image::FIELD_MANAGER;
use http::{Method, Request};
use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
    client::Body,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, service_fn};

const NAME: &str = "cloud-image-operator";
/// What it is to the operator's health.
const LEASE: &str = "lease";
/// How long the others leave a lease alone that does not change, in seconds.
const DURATION: u32 = 15;
/// How long this replica counts as the holder after it asked for a renewal that came about: safely less.
const SAFE: Duration = Duration::from_secs(12);
/// How long after a renewal the next one is due.
const RENEW: Duration = Duration::from_secs(5);
/// How long after a try in vain the next one comes.
const RETRY: Duration = Duration::from_secs(2);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(3);

/// The lease, held; renewed in the background until dropped.
#[derive(Debug)]
pub struct Lead {
    candidate: Arc<Candidate>,
    lost: CancellationToken,
    renewing: JoinHandle<()>,
    until: Until,
}

/// Until when this replica leads if nothing is heard of the lease any more.
type Until = Arc<Mutex<Instant>>;

/// A write was refused since another replica may lead.
#[derive(Debug, thiserror::Error)]
#[error("the lease has run out; another replica may lead now, so nothing is written")]
struct NotLeading;

/// As whom a process holds the lease, as long as it lives: what it held before and lost, since it could not be renewed, need not
/// run out for itself.
pub fn identity() -> String {
    std::env::var("HOSTNAME").unwrap_or_default() + "_" + &uuid::Uuid::new_v4().simple().to_string()
}

/// Waits until this replica leads; `None`: `stop` came first, and it does not.
pub async fn acquire(
    client: &Client,
    health: &Health,
    identity: &str,
    stop: &CancellationToken,
) -> Option<Lead> {
    health.lack(LEASE, "the lease has not been read yet");
    let identity = identity.to_owned();
    tracing::info!(identity, "waiting for the lease");
    let candidate = Arc::new(Candidate { api: Api::default_namespaced(client.clone()), identity });
    let mut seen = None;
    while !stop.is_cancelled() {
        let asked = Instant::now();
        let claimed = candidate.claim(&mut seen).await;
        match &claimed {
            Ok(_) => {
                health.have(LEASE);
                health.note(LEASE, "this replica stands by: another one leads");
            }
            Err(why) => health.lack(LEASE, why.clone()),
        }
        if claimed == Ok(true) && !stop.is_cancelled() {
            health.note(LEASE, "this replica leads");
            let lost = CancellationToken::new();
            let until = Arc::new(Mutex::new(asked + SAFE));
            let renewing = tokio::spawn(renew(candidate.clone(), asked, lost.clone(), until.clone()));
            return Some(Lead { candidate, lost, renewing, until });
        }
        // At the latest when the lease that was seen has run out.
        let left = seen.as_ref().map(|(_, since)| {
            (*since + Duration::from_secs(DURATION.into())).saturating_duration_since(Instant::now())
        });
        let wait = left.filter(|left| !left.is_zero()).map_or(RETRY, |left| left.min(RETRY));
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => {}
        }
    }
    // It may have been taken at the last moment, or by a request whose answer was lost.
    candidate.give_back().await;
    None
}

impl Lead {
    /// Resolves when somebody else may lead.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// A client that writes only while this replica leads. The clock is asked at each write, since who was asleep does not
    /// hear of it before.
    pub fn guard(&self, client: &Client) -> Client {
        let (until, inner) = (self.until.clone(), client.clone());
        let service = service_fn(move |request: Request<Body>| {
            let leads = Instant::now() < *until.lock().unwrap_or_else(PoisonError::into_inner);
            let inner = inner.clone();
            async move {
                if leads || request.method() == Method::GET {
                    inner.send(request).await.map_err(BoxError::from)
                } else {
                    Err(BoxError::from(NotLeading))
                }
            }
        });
        Client::new(service, client.default_namespace())
    }

    /// Gives the lease back, so that the next replica need not wait for it to run out. If that takes longer than
    /// [`pace::FAREWELL`], the next one does wait.
    pub async fn release(self) {
        self.renewing.abort();
        self.candidate.give_back().await;
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Ends when somebody else may lead. The others count from when they see a renewal, which is after `asked`.
async fn renew(candidate: Arc<Candidate>, mut asked: Instant, lost: CancellationToken, until: Until) {
    while let Ok(Some(again)) = timeout_at(asked + SAFE, candidate.renew()).await {
        asked = again;
        *until.lock().unwrap_or_else(PoisonError::into_inner) = asked + SAFE;
    }
    lost.cancel();
}

/// Another holder's lease: its version, and since when by our own clock it has been that.
type Sighting = Option<(Option<String>, Instant)>;

/// Who wants to hold the lease.
#[derive(Debug)]
struct Candidate {
    api: Api<Lease>,
    identity: String,
}

impl Candidate {
    /// Renews the lease when that is due, and tells when that was asked for; `None`: it is somebody else's.
    async fn renew(&self) -> Option<Instant> {
        sleep(RENEW).await;
        loop {
            let asked = Instant::now();
            match self.claim(&mut None).await {
                Ok(ours) => return ours.then_some(asked),
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    /// Takes or renews the lease unless somebody else holds it. Whether it is ours now, or why that is not known.
    async fn claim(&self, seen: &mut Sighting) -> Result<bool, String> {
        let why = match timeout(TRY, self.try_claim(seen)).await {
            Ok(Ok(ours)) => return Ok(ours),
            Ok(Err(error)) => format!("the lease could not be read or written: {error}"),
            Err(_) => "the lease could not be read or written in time".to_owned(),
        };
        tracing::warn!("{why}");
        Err(why)
    }

    /// Guarded by resourceVersion, so two cannot both succeed.
    async fn try_claim(&self, seen: &mut Sighting) -> Result<bool, kube::Error> {
        let mut lease = self.api.get_opt(NAME).await?.unwrap_or_default();
        let version = lease.metadata.resource_version.clone();
        let spec = lease.spec.get_or_insert_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let ours = holder == self.identity;
        if !ours && !holder.is_empty() {
            let since = match seen {
                Some((known, since)) if *known == version => *since,
                _ => seen.insert((version, Instant::now())).1,
            };
            let duration = spec.lease_duration_seconds.and_then(|seconds| u32::try_from(seconds).ok());
            if since.elapsed() < Duration::from_secs(duration.unwrap_or(DURATION).into()) {
                return Ok(false);
            }
        }
        let now = MicroTime(Timestamp::now());
        if !ours {
            spec.holder_identity = Some(self.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions =
                Some(spec.lease_transitions.map_or(0, |before| before.saturating_add(1)));
        }
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = i32::try_from(DURATION).ok();
        self.write(lease).await.map(|()| true)
    }

    async fn write(&self, mut lease: Lease) -> Result<(), kube::Error> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        if lease.metadata.resource_version.is_some() {
            self.api.replace(NAME, &params, &lease).await.map(drop)
        } else {
            lease.metadata = ObjectMeta { name: Some(NAME.into()), ..ObjectMeta::default() };
            self.api.create(&params, &lease).await.map(drop)
        }
    }

    /// Whoever holds the lease, afterwards it is not this one, if the API server answers soon.
    async fn give_back(&self) {
        match timeout(pace::FAREWELL, self.try_give_back()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease was not given back; it runs out by itself"),
            Err(_) => tracing::warn!("the lease was not given back in time; it runs out by itself"),
        }
    }

    async fn try_give_back(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(NAME).await? else { return Ok(()) };
        let ours = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
        let Some(spec) = ours else { return Ok(()) };
        spec.holder_identity = None;
        self.write(lease).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        Json, Router,
        body::Bytes,
        http::{Method, StatusCode},
    };
    use serde_json::{Value, json};
    use std::{
        future::pending,
        sync::{Mutex, PoisonError},
    };

    /// An API server that keeps one Lease, which may be told what to do with the next requests.
    #[derive(Clone, Default)]
    struct ApiServer {
        lease: Arc<Mutex<Value>>,
        mood: Arc<Mutex<Mood>>,
    }

    #[derive(Clone, Default)]
    enum Mood {
        #[default]
        Well,
        Failing,
        Hanging,
        /// Somebody stops the replica while its write is under way.
        Stopping(CancellationToken),
    }

    impl ApiServer {
        fn client(&self) -> Client {
            let server = self.clone();
            let serve = async move |method: Method, body: Bytes| server.serve(&method, &body).await;
            Client::new(Router::new().fallback(serve), "default")
        }

        fn set(&self, mood: Mood) {
            *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
        }

        fn lease(&self) -> Value {
            self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
        }

        async fn serve(&self, method: &Method, body: &[u8]) -> (StatusCode, Json<Value>) {
            let mood = self.mood.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match mood {
                Mood::Failing => return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
                Mood::Hanging => pending().await,
                Mood::Stopping(stop) if method != Method::GET => stop.cancel(),
                Mood::Stopping(_) | Mood::Well => {}
            }
            let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
            let version = lease["metadata"]["resourceVersion"].clone();
            if method == Method::GET {
                return match *lease {
                    Value::Null => refusal(StatusCode::NOT_FOUND, "NotFound"),
                    _ => (StatusCode::OK, Json(lease.clone())),
                };
            }
            let mut new: Value = serde_json::from_slice(body).expect("JSON");
            if new["metadata"]["resourceVersion"] != version {
                return refusal(StatusCode::CONFLICT, "Conflict");
            }
            let next = version.as_str().map_or(1, |version| version.parse().unwrap_or(0) + 1);
            new["metadata"]["resourceVersion"] = json!(next.to_string());
            *lease = new;
            (StatusCode::OK, Json(lease.clone()))
        }
    }

    fn refusal(code: StatusCode, reason: &str) -> (StatusCode, Json<Value>) {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": reason, "reason": reason, "code": code.as_u16(),
        });
        (code, Json(status))
    }

    #[tokio::test(start_paused = true)]
    async fn it_leads_as_long_as_renewals_succeed_and_no_longer_than_the_others_wait() {
        for mood in [Mood::Failing, Mood::Hanging] {
            let server = ApiServer::default();
            let lead = acquire(&server.client(), &Health::default(), &identity(), &CancellationToken::new())
                .await
                .expect("it leads");
            let guarded: Api<Lease> = Api::default_namespaced(lead.guard(&server.client()));
            assert!(timeout(Duration::from_secs(100), lead.lost()).await.is_err());
            let lease = guarded.get(NAME).await.expect("it reads");
            guarded.replace(NAME, &PostParams::default(), &lease).await.expect("it writes while it leads");
            let renewed = server.lease();
            assert_eq!(renewed["spec"]["leaseTransitions"], 0);

            // One try in vain is no loss.
            server.set(mood.clone());
            assert!(timeout(RETRY * 2, lead.lost()).await.is_err());
            server.set(Mood::Well);
            assert!(timeout(Duration::from_secs(100), lead.lost()).await.is_err());
            assert_ne!(server.lease(), renewed);

            server.set(mood);
            let broken = Instant::now();
            lead.lost().await;
            assert!(broken.elapsed() < Duration::from_secs(DURATION.into()));
            server.set(Mood::Well);
            let lease = guarded.get(NAME).await.expect("it still reads");
            let refused = guarded.replace(NAME, &PostParams::default(), &lease).await.unwrap_err();
            assert!(
                matches!(&refused, kube::Error::Service(error) if error.is::<NotLeading>()),
                "{refused:?}"
            );
            let waiting = Instant::now();
            lead.release().await;
            assert!(waiting.elapsed() <= pace::FAREWELL);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_holds_is_taken_when_it_has_not_changed_for_its_duration() {
        let server = ApiServer::default();
        let dead = acquire(&server.client(), &Health::default(), &identity(), &CancellationToken::new())
            .await
            .expect("it leads");
        let since = Instant::now();
        dead.renewing.abort();
        let next = acquire(&server.client(), &Health::default(), &identity(), &CancellationToken::new())
            .await
            .expect("it leads");
        assert!(since.elapsed() >= Duration::from_secs(DURATION.into()));
        assert_eq!(server.lease()["spec"]["leaseTransitions"], 1);

        // What was given back is free at once.
        next.release().await;
        let since = Instant::now();
        acquire(&server.client(), &Health::default(), &identity(), &CancellationToken::new())
            .await
            .expect("it leads");
        assert!(since.elapsed() < RETRY);

        // Who lost it because it could not be renewed leads again as soon as it can be: nobody else took it.
        let (server, since) = (ApiServer::default(), Instant::now());
        for _ in 0..2 {
            let lead = acquire(&server.client(), &Health::default(), "same", &CancellationToken::new()).await;
            lead.expect("it leads").renewing.abort();
        }
        assert!(since.elapsed() < RETRY);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gives_back_what_is_anothers() {
        let server = ApiServer::default();
        let dead = acquire(&server.client(), &Health::default(), "dead", &CancellationToken::new())
            .await
            .expect("it leads");
        dead.renewing.abort();
        let third = acquire(&server.client(), &Health::default(), "third", &CancellationToken::new())
            .await
            .expect("it leads");

        let holder = server.lease()["spec"]["holderIdentity"].clone();
        dead.release().await;
        assert_eq!(server.lease()["spec"]["holderIdentity"], holder);
        drop(third);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_lease_is_ready_once_it_could_be_taken_and_says_what_it_does() {
        let (server, stop) = (ApiServer::default(), CancellationToken::new());
        let lead = acquire(&server.client(), &Health::default(), &identity(), &stop).await.expect("it leads");
        server.set(Mood::Failing);
        let (client, health) = (server.client(), Health::default());
        let waiting = acquire(&client, &health, "another", &stop);
        let watching = async {
            sleep(RETRY * 2).await;
            let missing = health.readiness().unwrap_err();
            assert!(missing.starts_with("the lease could not be read or written: "), "{missing}");
            server.set(Mood::Well);
            sleep(RETRY * 2).await;
            assert_eq!(health.readiness().unwrap(), "ok\nthis replica stands by: another one leads\n");
            lead.release().await;
        };
        let (lead, ()) = tokio::join!(waiting, watching);
        assert!(lead.is_some());
        assert_eq!(health.readiness().unwrap(), "ok\nthis replica leads\n");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_stopped_while_acquiring_does_not_keep_it() {
        let (server, stop) = (ApiServer::default(), CancellationToken::new());
        server.set(Mood::Stopping(stop.clone()));
        assert!(acquire(&server.client(), &Health::default(), &identity(), &stop).await.is_none());
        let lease = server.lease();
        assert!(!lease.is_null(), "it was taken");
        assert_eq!(lease["spec"]["holderIdentity"], Value::Null, "{lease:#}");

        // However slow the API server is, the end comes soon.
        let (server, stop) = (ApiServer::default(), CancellationToken::new());
        server.set(Mood::Hanging);
        let stopping = async {
            sleep(Duration::from_secs(1)).await;
            stop.cancel();
        };
        let (client, health) = (server.client(), Health::default());
        let since = Instant::now();
        let (lead, ()) = tokio::join!(acquire(&client, &health, "another", &stop), stopping);
        assert!(lead.is_none() && since.elapsed() < Duration::from_secs(1) + TRY + 2 * pace::FAREWELL);
    }
}
