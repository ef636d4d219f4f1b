//! One active replica: the Lease `cloud-image-operator` of coordination.k8s.io, held and renewed; or one for each shard, of which a
//! replica gives one up for a replica that has two fewer and asks for it.
//!
//! Replicas that divide the work into different numbers of shards would look after the same objects under different Leases. So
//! the first Lease names the number. Who holds another one goes by what the replica has read there a few seconds before each
//! renewal, and whoever changes it waits until all have read it. How long that is, the holder of the first Lease finds out by a
//! clock that nobody sets, and no two clocks are compared.
//!
//! The lease only saves calls. What keeps two replicas from making a thing twice is the journal, whose writes are
//! guarded by resourceVersion.
//!
//! It is our own code, because kube-lease-manager 0.13, the one crate for this kube, goes on leading however long
//! renewals fail or hang, takes over and gives back without resourceVersion, and tells replicas apart by their field
//! managers, where ours have one in common.

use super::{
    accounts::{SharedLimits, Used},
    health::Health,
    lock, pace,
    shard::Shard,
};
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
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
    try_join,
};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, service_fn};

/// Names the replica that asks for a lease.
const WANTED_BY: &str = "cloudimages.dev/wanted-by";
/// On the first Lease: into how many shards all divide the work.
const SHARDS: &str = "cloudimages.dev/shards";
/// Into how many it was before, as long as somebody may still go by that.
const SHARDS_BEFORE: &str = "cloudimages.dev/shards-before";
/// Which keys of vendors' are used for the objects of the shard.
const USES: &str = "cloudimages.dev/uses";
/// How long a lease that was given up is left to who asked for it.
const LEFT: Duration = Duration::from_secs(10);
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
/// How old what was read of the first Lease may be when another one is renewed: a replica reads it once for all its shards.
const FRESH: Duration = Duration::from_secs(8);
/// How long after the number of shards has changed nobody goes by the former one any more: whoever renewed by that one had read
/// it at most [`FRESH`] before, and counts as the holder for [`SAFE`] from then.
const HEARD_OF: Duration = FRESH.saturating_add(SAFE).saturating_add(TRY).saturating_add(TRY);

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

/// One replica, and what it knows of who holds which shard.
#[derive(Debug)]
pub struct Replica {
    /// As whom the process holds leases, as long as it lives: what it held before and lost, since it could not be renewed, need
    /// not run out for itself.
    identity: String,
    /// Of each shard, who holds it, and which keys are used for it.
    holders: Mutex<HashMap<Shard, (String, Used)>>,
    /// What the first Lease said last.
    first: Mutex<Option<First>>,
    limits: Arc<Mutex<SharedLimits>>,
}

/// What the first Lease says to who wants or holds another one.
#[derive(Clone, Copy, Debug)]
struct First {
    /// See [`divided`].
    number: u32,
    /// See [`is_unsettled`].
    unsettled: bool,
    /// It said so after this.
    asked: Instant,
}

impl Default for Replica {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Replica {
    /// Its limits are told who else uses the same keys.
    pub fn new(limits: Arc<Mutex<SharedLimits>>) -> Self {
        let host = std::env::var("HOSTNAME").unwrap_or_default();
        let identity = host + "_" + &uuid::Uuid::new_v4().simple().to_string();
        Self { identity, holders: Mutex::default(), first: Mutex::default(), limits }
    }

    /// The first Lease was read or written, by a request that was sent after `asked`.
    fn note_first(&self, first: &Lease, asked: Instant) -> First {
        let read = First { number: divided(first), unsettled: is_unsettled(first), asked };
        let mut first = lock(&self.first);
        if first.is_none_or(|first| first.asked <= asked) {
            *first = Some(read);
        }
        read
    }

    /// What the first Lease said a moment ago, if it was read.
    fn first(&self) -> Option<First> {
        lock(&self.first).filter(|first| first.asked.elapsed() <= FRESH)
    }

    /// Somebody holds a shard, or nobody does (an empty name).
    fn note(&self, shard: Shard, holder: &str, used: Used) {
        let others = {
            let mut holders = lock(&self.holders);
            holders.insert(shard, (holder.to_owned(), used));
            let mut others = HashMap::<String, Used>::new();
            for (holder, used) in holders.values().filter(|(holder, _)| *holder != self.identity) {
                others.entry(holder.clone()).or_default().add(used);
            }
            others
        };
        if shard.is_part() {
            lock(&self.limits).share(shard.of(), others.into_values().collect());
        }
    }

    fn count(&self, holder: &str) -> usize {
        lock(&self.holders).values().filter(|(other, _)| *other == holder).count()
    }

    /// Whether it asks `holder` for this shard: the last of one that has two more than itself.
    fn asks(&self, shard: Shard, holder: &str) -> bool {
        let is_last = {
            let holders = lock(&self.holders);
            let theirs = holders.iter().filter(|(_, (other, _))| *other == holder);
            theirs.map(|(shard, _)| shard.number()).max() == Some(shard.number())
        };
        is_last && self.count(holder) >= self.count(&self.identity) + 2
    }
}

/// Waits until this replica leads; `None`: `stop` came first, and it does not.
pub async fn acquire(
    client: &Client,
    health: &Health,
    stop: &CancellationToken,
    shard: Shard,
    replica: &Arc<Replica>,
) -> Option<Lead> {
    let name = shard.lease();
    let about = format!("lease{}", shard.label());
    health.lack(&about, "the lease has not been read yet");
    tracing::info!(identity = replica.identity, lease = name, "waiting for the lease");
    let candidate = Arc::new(Candidate {
        api: Api::default_namespaced(client.clone()),
        name,
        shard,
        replica: replica.clone(),
        asked: CancellationToken::new(),
        unsettled: AtomicBool::new(false),
        changed: Mutex::default(),
        held: Mutex::default(),
    });
    let mut seen = None;
    while !stop.is_cancelled() {
        let asked = Instant::now();
        let claimed = candidate.claim(&mut seen).await;
        match &claimed {
            Ok(_) => {
                health.have(&about);
                health.note(&about, format!("this replica stands by: another one leads{}", shard.label()));
            }
            Err(why) => health.lack(&about, why.clone()),
        }
        let unsettled = candidate.unsettled.load(Ordering::Relaxed);
        if unsettled && claimed.is_ok() {
            let what = format!(
                "another number of shards was set: waits until nobody goes by the former one{}",
                shard.label()
            );
            health.note(&about, what);
        }
        if claimed == Ok(true) && !unsettled && !stop.is_cancelled() {
            health.note(&about, format!("this replica leads{}", shard.label()));
            let lost = CancellationToken::new();
            let until = Arc::new(Mutex::new(asked + SAFE));
            let renewing = tokio::spawn(renew(candidate.clone(), asked, lost.clone(), until.clone()));
            return Some(Lead { candidate, lost, renewing, until });
        }
        // At the latest when the lease that was seen has run out.
        let left = seen.as_ref().and_then(|seen| seen.since).map(|since| {
            (since + Duration::from_secs(DURATION.into())).saturating_duration_since(Instant::now())
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

    /// Resolves when another replica has asked for what this one holds.
    pub async fn asked(&self) {
        self.candidate.asked.cancelled().await;
    }

    /// A client that writes only while this replica leads. The clock is asked at each write, since who was asleep does not
    /// hear of it before.
    pub fn guard(&self, client: &Client) -> Client {
        let (until, inner) = (self.until.clone(), client.clone());
        let service = service_fn(move |request: Request<Body>| {
            let leads = Instant::now() < *lock(&until);
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
    pub async fn release(mut self) {
        self.renewing.abort();
        // Only what has ended sets no clock any more.
        let _ = (&mut self.renewing).await;
        // What of this replica's work has not ended by now writes nothing beside the next holder's.
        *lock(&self.until) = Instant::now();
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
        *lock(&until) = asked + SAFE;
    }
    *lock(&until) = Instant::now();
    lost.cancel();
}

/// Another holder's lease.
#[derive(Debug, Default)]
struct Seen {
    version: Option<String>,
    /// Since when by our own clock it has been that.
    since: Option<Instant>,
    renewed: Option<MicroTime>,
    /// It was seen to be renewed.
    lives: bool,
}

type Sighting = Option<Seen>;

/// Who wants to hold the lease.
#[derive(Debug)]
struct Candidate {
    api: Api<Lease>,
    name: String,
    shard: Shard,
    replica: Arc<Replica>,
    /// Another replica asks for it.
    asked: CancellationToken,
    /// Somebody may still go by another number of shards.
    unsettled: AtomicBool,
    /// Since when this one has held the first Lease and seen there that the number of shards has changed.
    changed: Mutex<Option<Instant>>,
    /// The lease as this one wrote it last, which is as it is unless somebody else has written it since.
    held: Mutex<Option<Lease>>,
}

fn used(annotations: Option<&BTreeMap<String, String>>) -> Used {
    annotations.and_then(|all| all.get(USES)).map_or_else(Used::default, |used| Used::read(used))
}

/// Into how many shards a Lease says that all divide the work.
fn divided(lease: &Lease) -> u32 {
    let number = lease.metadata.annotations.as_ref().and_then(|all| all.get(SHARDS));
    number.and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// Whether somebody may still go by another number.
fn is_unsettled(first: &Lease) -> bool {
    first.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(SHARDS_BEFORE))
}

impl Candidate {
    /// Who takes the first Lease names the number of shards from then on.
    fn decide(&self, first: &mut Lease) {
        let before = divided(first);
        if before == self.shard.of() {
            return;
        }
        let annotations = first.metadata.annotations.get_or_insert_default();
        annotations.insert(SHARDS.into(), self.shard.of().to_string());
        // Whoever works alone has no other Lease than this one.
        if before > 1 {
            annotations.insert(SHARDS_BEFORE.into(), before.to_string());
        }
    }

    /// Who holds the first Lease says when nobody goes by the former number any more.
    fn settle(&self, first: &mut Lease, is_held: bool) {
        let mut changed = lock(&self.changed);
        if !is_held || !is_unsettled(first) {
            *changed = None;
            return;
        }
        if changed.get_or_insert_with(Instant::now).elapsed() >= HEARD_OF
            && let Some(annotations) = &mut first.metadata.annotations
        {
            annotations.remove(SHARDS_BEFORE);
        }
    }

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
        let held = lock(&self.held).take();
        if held.is_some() {
            match self.try_claim_as(held, seen).await {
                // Somebody has written it meanwhile, if only to ask for it.
                Err(kube::Error::Api(refusal)) if refusal.code == 409 => {}
                claimed => return claimed,
            }
        }
        self.try_claim_as(None, seen).await
    }

    /// What the first Lease says, unless it is this one.
    async fn first(&self, asked: Instant) -> Result<Option<First>, kube::Error> {
        if self.shard.number() == 0 {
            return Ok(None);
        }
        if let Some(first) = self.replica.first() {
            return Ok(Some(first));
        }
        let first = self.api.get_opt(&self.shard.first().lease()).await?;
        Ok(Some(self.replica.note_first(&first.unwrap_or_default(), asked)))
    }

    /// The lease as it is.
    async fn lease(&self, held: Option<Lease>, asked: Instant) -> Result<Lease, kube::Error> {
        if let Some(held) = held {
            return Ok(held);
        }
        let lease = self.api.get_opt(&self.name).await?.unwrap_or_default();
        if self.shard.number() == 0 {
            self.replica.note_first(&lease, asked);
        }
        Ok(lease)
    }

    /// The same with the lease as it is, if that is known.
    async fn try_claim_as(&self, held: Option<Lease>, seen: &mut Sighting) -> Result<bool, kube::Error> {
        let identity = &self.replica.identity;
        let (is_first, asked) = (self.shard.number() == 0, Instant::now());
        let (first, mut lease) = try_join!(self.first(asked), self.lease(held, asked))?;
        if let Some(first) = first {
            self.unsettled.store(first.unsettled, Ordering::Relaxed);
            if first.number != self.shard.of() {
                return Ok(false);
            }
        }
        let version = lease.metadata.resource_version.clone();
        let wanted_by = lease.metadata.annotations.as_ref().and_then(|all| all.get(WANTED_BY)).cloned();
        let wanted = wanted_by.is_some_and(|by| by != *identity);
        let number = divided(&lease);
        let spec = lease.spec.get_or_insert_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        self.replica.note(self.shard, &holder, used(lease.metadata.annotations.as_ref()));
        let ours = holder == *identity;
        if is_first && ours && number != self.shard.of() {
            // A person has changed it, and others may go by that: it is decided anew by whoever takes the Lease, who waits for them.
            spec.holder_identity = None;
            self.write(lease).await?;
            return Ok(false);
        }
        if !ours && !holder.is_empty() {
            let known = seen.get_or_insert_default();
            if known.since.is_none() || known.version != version {
                let renewed = spec.renew_time.clone();
                known.lives = known.since.is_some() && known.renewed != renewed;
                (known.version, known.since, known.renewed) = (version, Some(Instant::now()), renewed);
            }
            let duration = spec.lease_duration_seconds.and_then(|seconds| u32::try_from(seconds).ok());
            let duration = Duration::from_secs(duration.unwrap_or(DURATION).into());
            if known.since.is_some_and(|since| since.elapsed() < duration) {
                // Only who lives is asked: his lease would run out later for it.
                if known.lives && !wanted && self.replica.asks(self.shard, &holder) {
                    known.lives = false;
                    let annotations = lease.metadata.annotations.get_or_insert_default();
                    if annotations.insert(WANTED_BY.into(), identity.clone()).is_none() {
                        self.write(lease).await?;
                    }
                }
                return Ok(false);
            }
        }
        if ours && wanted && self.shard.is_part() && self.replica.count(identity) > 1 {
            self.asked.cancel();
        }
        let renewed = spec.renew_time.as_ref().map(|at| Timestamp::now().duration_since(at.0));
        let given_up = renewed.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age < LEFT);
        if holder.is_empty() && wanted && given_up {
            // It was given up for another one.
            return Ok(false);
        }
        let now = MicroTime(Timestamp::now());
        if !ours {
            spec.holder_identity = Some(identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions =
                Some(spec.lease_transitions.map_or(0, |before| before.saturating_add(1)));
        }
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = i32::try_from(DURATION).ok();
        if !ours && let Some(annotations) = &mut lease.metadata.annotations {
            annotations.remove(WANTED_BY);
        }
        if is_first {
            self.settle(&mut lease, ours);
            if !ours {
                self.decide(&mut lease);
            }
        }
        let used = lock(&self.replica.limits).used(self.shard);
        if self.shard.is_part() {
            lease.metadata.annotations.get_or_insert_default().insert(USES.into(), used.to_string());
        }
        let written = self.write(lease).await?;
        if is_first {
            let first = self.replica.note_first(&written, asked);
            self.unsettled.store(first.unsettled, Ordering::Relaxed);
        }
        *lock(&self.held) = Some(written);
        self.replica.note(self.shard, identity, used);
        Ok(true)
    }

    async fn write(&self, mut lease: Lease) -> Result<Lease, kube::Error> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        if lease.metadata.resource_version.is_some() {
            self.api.replace(&self.name, &params, &lease).await
        } else {
            let ObjectMeta { annotations, .. } = lease.metadata;
            lease.metadata =
                ObjectMeta { name: Some(self.name.clone()), annotations, ..ObjectMeta::default() };
            self.api.create(&params, &lease).await
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
        let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
        let ours =
            lease.spec.as_mut().filter(|spec| spec.holder_identity.as_ref() == Some(&self.replica.identity));
        let Some(spec) = ours else { return Ok(()) };
        spec.holder_identity = None;
        self.replica.note(self.shard, "", Used::default());
        self.write(lease).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        Json, Router,
        body::Bytes,
        http::{Method, StatusCode, Uri},
    };
    use futures::future::join_all;
    use serde_json::{Value, json};
    use std::{
        future::pending,
        sync::{Mutex, PoisonError},
    };

    const NAME: &str = "cloud-image-operator";

    async fn alone(client: &Client, health: &Health, stop: &CancellationToken) -> Option<Lead> {
        acquire(client, health, stop, Shard::WHOLE, &Arc::default()).await
    }

    /// An API server that keeps Leases, which may be told what to do with the next requests.
    #[derive(Clone, Default)]
    struct ApiServer {
        leases: Arc<Mutex<BTreeMap<String, Value>>>,
        /// How many requests there were of each method.
        requests: Arc<Mutex<HashMap<Method, usize>>>,
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
            let serve = async move |method: Method, uri: Uri, body: Bytes| {
                server.serve(&method, uri.path(), &body).await
            };
            Client::new(Router::new().fallback(serve), "default")
        }

        fn set(&self, mood: Mood) {
            *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
        }

        fn lease(&self) -> Value {
            self.leases.lock().unwrap_or_else(PoisonError::into_inner)[NAME].clone()
        }

        async fn serve(&self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Json<Value>) {
            let mood = self.mood.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match mood {
                Mood::Failing => return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
                Mood::Hanging => pending().await,
                Mood::Stopping(stop) if method != Method::GET => stop.cancel(),
                Mood::Stopping(_) | Mood::Well => {}
            }
            *lock(&self.requests).entry(method.clone()).or_default() += 1;
            let new = || serde_json::from_slice::<Value>(body).expect("JSON");
            let name = match path.rsplit_once("/leases").expect("a Lease").1.strip_prefix('/') {
                Some(name) => name.to_owned(),
                None => new()["metadata"]["name"].as_str().expect("a name").to_owned(),
            };
            let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
            let lease = leases.entry(name).or_default();
            let version = lease["metadata"]["resourceVersion"].clone();
            if method == Method::GET {
                return match *lease {
                    Value::Null => refusal(StatusCode::NOT_FOUND, "NotFound"),
                    _ => (StatusCode::OK, Json(lease.clone())),
                };
            }
            let mut new = new();
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
            let lead = alone(&server.client(), &Health::default(), &CancellationToken::new())
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
        let dead =
            alone(&server.client(), &Health::default(), &CancellationToken::new()).await.expect("it leads");
        let since = Instant::now();
        dead.renewing.abort();
        let next =
            alone(&server.client(), &Health::default(), &CancellationToken::new()).await.expect("it leads");
        assert!(since.elapsed() >= Duration::from_secs(DURATION.into()));
        assert_eq!(server.lease()["spec"]["leaseTransitions"], 1);

        // What was given back is free at once.
        next.release().await;
        let since = Instant::now();
        alone(&server.client(), &Health::default(), &CancellationToken::new()).await.expect("it leads");
        assert!(since.elapsed() < RETRY);

        // Who lost it because it could not be renewed leads again as soon as it can be: nobody else took it.
        let (server, since, replica) = (ApiServer::default(), Instant::now(), Arc::default());
        let (health, stop) = (Health::default(), CancellationToken::new());
        for _ in 0..2 {
            let lead = acquire(&server.client(), &health, &stop, Shard::WHOLE, &replica).await;
            lead.expect("it leads").renewing.abort();
        }
        assert!(since.elapsed() < RETRY);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gives_back_what_is_anothers() {
        let server = ApiServer::default();
        let dead =
            alone(&server.client(), &Health::default(), &CancellationToken::new()).await.expect("it leads");
        dead.renewing.abort();
        let third =
            alone(&server.client(), &Health::default(), &CancellationToken::new()).await.expect("it leads");

        let holder = server.lease()["spec"]["holderIdentity"].clone();
        dead.release().await;
        assert_eq!(server.lease()["spec"]["holderIdentity"], holder);
        drop(third);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_lease_is_ready_once_it_could_be_taken_and_says_what_it_does() {
        let (server, stop) = (ApiServer::default(), CancellationToken::new());
        let lead = alone(&server.client(), &Health::default(), &stop).await.expect("it leads");
        server.set(Mood::Failing);
        let (client, health) = (server.client(), Health::default());
        let waiting = alone(&client, &health, &stop);
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

    /// The shards that a replica leads.
    type Led = Arc<Mutex<Vec<u32>>>;

    /// A replica that divides the work into so many shards, and those that it leads at the moment.
    fn replica(server: &ApiServer, of: u32) -> (Led, JoinHandle<()>) {
        let (leads, client) = (Led::default(), server.client());
        let led = leads.clone();
        let work = tokio::spawn(async move {
            let (replica, health, stop) = (Arc::default(), Health::default(), CancellationToken::new());
            let all = Shard::all(of).into_iter().map(|shard| {
                let (client, led, replica, health, stop) = (&client, &led, &replica, &health, &stop);
                async move {
                    loop {
                        let lead = acquire(client, health, stop, shard, replica).await.expect("it leads");
                        lock(led).push(shard.number());
                        tokio::select! {
                            () = lead.lost() => {}
                            () = lead.asked() => {}
                        }
                        lock(led).retain(|number| *number != shard.number());
                        lead.release().await;
                    }
                }
            });
            join_all(all).await;
        });
        (leads, work)
    }

    fn numbers(leads: &Led) -> Vec<u32> {
        let mut numbers = lock(leads).clone();
        numbers.sort_unstable();
        numbers
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_share_the_shards_and_take_over_those_of_one_that_dies() {
        let server = ApiServer::default();
        let (first, first_work) = replica(&server, 4);
        sleep(RETRY * 3).await;
        assert_eq!(numbers(&first), [0, 1, 2, 3]);
        let (second, _work) = replica(&server, 4);
        sleep(Duration::from_secs(60)).await;
        assert_eq!((numbers(&first).len(), numbers(&second).len()), (2, 2));
        first_work.abort();
        let killed = Instant::now();
        while numbers(&second).len() < 4 {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(killed.elapsed() <= Duration::from_secs(u64::from(DURATION) + 5), "{:?}", killed.elapsed());
    }

    /// What a replica knows need not be read: its own Leases, and the number of shards that the first one names.
    #[tokio::test(start_paused = true)]
    async fn a_renewal_is_one_write() {
        let server = ApiServer::default();
        let (leads, _work) = replica(&server, 4);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(numbers(&leads), [0, 1, 2, 3]);
        let before = std::mem::take(&mut *lock(&server.requests));
        assert!(before[&Method::GET] > 0);
        sleep(RENEW * 20).await;
        let requests = std::mem::take(&mut *lock(&server.requests));
        assert_eq!(requests.into_iter().collect::<Vec<_>>(), [(Method::PUT, 4 * 20)]);

        // Another one reads the Leases that it waits for, and the first one no oftener for that.
        let (second, _works) = replica(&server, 4);
        sleep(Duration::from_secs(60)).await;
        assert_eq!((numbers(&leads).len(), numbers(&second).len()), (2, 2));
        lock(&server.requests).clear();
        sleep(RENEW * 20).await;
        let requests = std::mem::take(&mut *lock(&server.requests));
        let (writes, looks) = (requests[&Method::PUT], requests[&Method::GET]);
        let each = usize::try_from((RENEW * 20).as_secs() / RETRY.as_secs()).expect("few");
        assert!(writes <= 4 * 20 && looks <= 4 * each, "{writes} writes, {looks} reads");
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_with_another_number_of_shards_never_work_beside_those_with_the_former() {
        for (before, after) in [(2, 3), (3, 2), (2, 1), (1, 2)] {
            let server = ApiServer::default();
            let (two, first_work) = replica(&server, before);
            let (also_two, also_work) = replica(&server, before);
            sleep(Duration::from_secs(60)).await;
            let (three, _work) = replica(&server, after);
            sleep(Duration::from_secs(60)).await;
            assert_eq!(numbers(&three), [] as [u32; 0], "{before} are at work");
            // Who holds the first Lease dies; the other goes on with his own.
            let (dies, lives) =
                if numbers(&two).contains(&0) { (first_work, also_two) } else { (also_work, two) };
            dies.abort();
            let end = Instant::now() + Duration::from_secs(300);
            while Instant::now() < end {
                sleep(Duration::from_millis(100)).await;
                let (former, new) = (numbers(&lives), numbers(&three));
                assert!(former.is_empty() || new.is_empty(), "{before}: {former:?}, {after}: {new:?}");
            }
            let all = numbers(&lives).len() + numbers(&three).len();
            assert!(all > 0, "nobody works");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_of_shards_that_a_person_writes_is_decided_anew() {
        let server = ApiServer::default();
        let (leads, _work) = replica(&server, 2);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(numbers(&leads), [0, 1]);
        {
            let mut leases = lock(&server.leases);
            let metadata = &mut leases.get_mut(NAME).expect("it is there")["metadata"];
            metadata["annotations"][SHARDS] = json!("3");
            metadata["resourceVersion"] = json!("1000");
        }
        let changed = Instant::now();
        while numbers(&leads).contains(&0) {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(changed.elapsed() <= SAFE, "{:?}", changed.elapsed());
        sleep(Duration::from_secs(60)).await;
        let annotations = server.lease()["metadata"]["annotations"].clone();
        assert!(annotations[SHARDS] == "2" && annotations[SHARDS_BEFORE].is_null(), "{annotations:#}");
        assert_eq!(numbers(&leads), [0, 1]);
    }

    /// Who holds the first Lease after a change and dies before he has waited leaves the whole wait to the next one.
    #[tokio::test(start_paused = true)]
    async fn how_long_a_former_number_may_still_be_gone_by_counts_anew_for_each_holder() {
        let server = ApiServer::default();
        let (_, former) = replica(&server, 3);
        sleep(Duration::from_secs(60)).await;
        former.abort();
        let (first, first_work) = replica(&server, 2);
        while server.lease()["metadata"]["annotations"][SHARDS_BEFORE].is_null() {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(HEARD_OF / 2).await;
        first_work.abort();
        assert_eq!(numbers(&first), [] as [u32; 0]);
        let (second, _work) = replica(&server, 2);
        let began = Instant::now();
        while numbers(&second).is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(began.elapsed() >= HEARD_OF, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_given_the_lease_back_writes_nothing_any_more() {
        let server = ApiServer::default();
        let lead =
            alone(&server.client(), &Health::default(), &CancellationToken::new()).await.expect("it leads");
        let guarded: Api<Lease> = Api::default_namespaced(lead.guard(&server.client()));
        lead.release().await;
        let lease = guarded.get(NAME).await.expect("it reads");
        let refused = guarded.replace(NAME, &PostParams::default(), &lease).await.unwrap_err();
        assert!(matches!(&refused, kube::Error::Service(error) if error.is::<NotLeading>()), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_stopped_while_acquiring_does_not_keep_it() {
        let (server, stop) = (ApiServer::default(), CancellationToken::new());
        server.set(Mood::Stopping(stop.clone()));
        assert!(alone(&server.client(), &Health::default(), &stop).await.is_none());
        let lease = server.lease();
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
        let (lead, ()) = tokio::join!(alone(&client, &health, &stop), stopping);
        assert!(lead.is_none() && since.elapsed() < Duration::from_secs(1) + TRY + 2 * pace::FAREWELL);
    }
}
