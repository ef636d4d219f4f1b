//! The locks that shards have in common, on objects of a kind that there is: the engine names none.

use crate::{
    engine::{
        accounts::{Accounts, Seen},
        guarded::Unread,
        locks::{Holder, Key},
        metrics::Metrics,
        object::kind,
        shard::Shard,
        shared_locks::{self, SharedLocks},
        telemetry::{Events, Telemetry},
    },
    vendors::{VENDORS, aliyun::image_component::ImageComponent},
    wire::endpoint::Endpoints,
};
use axum::{
    Json, Router,
    body::Bytes,
    http::{Method, StatusCode, Uri},
};
use jiff::{SignedDuration, Timestamp};
use kube::{Client, runtime::reflector};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const MINUTE: Duration = Duration::from_secs(60);

/// An API server that keeps things by their paths.
#[derive(Clone, Default)]
struct ApiServer(Arc<Mutex<BTreeMap<String, Value>>>);

impl ApiServer {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As one of several processes.
    fn locks(&self) -> SharedLocks {
        let server = self.clone();
        let serve =
            async move |method: Method, uri: Uri, body: Bytes| server.serve(&method, uri.path(), &body);
        let client = Client::new(Router::new().fallback(serve), "default");
        SharedLocks::new(&client, Shard::all(2)[0], vec![None]).expect("there are two")
    }

    fn serve(&self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Json<Value>) {
        let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
        let mut all = self.all();
        if method == Method::GET && path.ends_with("/leases") {
            let items: Vec<_> = all
                .iter()
                .filter(|(at, lease)| {
                    at.starts_with(path) && !lease["metadata"]["labels"]["cloudimages.dev/lock"].is_null()
                })
                .map(|(_, lease)| lease.clone())
                .collect();
            return (StatusCode::OK, Json(json!({ "metadata": {}, "items": items })));
        }
        if method == Method::GET && path.ends_with("/imagecomponents") {
            let is_one = |at: &&String| at.contains("/imagecomponents/");
            let items: Vec<_> = all.iter().filter(|(at, _)| is_one(at)).map(|(_, it)| it.clone()).collect();
            return (StatusCode::OK, Json(json!({ "metadata": {}, "items": items })));
        }
        let path = match body["metadata"]["name"].as_str() {
            Some(name) if method == Method::POST => format!("{path}/{name}"),
            _ => path.to_owned(),
        };
        let there = all.get(&path).cloned();
        let version = there.as_ref().map(|there| there["metadata"]["resourceVersion"].clone());
        let meant = match method.as_str() {
            "PUT" => Some(body["metadata"]["resourceVersion"].clone()),
            "DELETE" => Some(body["preconditions"]["resourceVersion"].clone()),
            _ => version.clone(),
        };
        match (method.as_str(), there) {
            ("POST", Some(_)) => refusal(StatusCode::CONFLICT, "AlreadyExists"),
            ("GET" | "PUT" | "DELETE", None) => refusal(StatusCode::NOT_FOUND, "NotFound"),
            _ if meant != version => refusal(StatusCode::CONFLICT, "Conflict"),
            ("GET", Some(there)) => (StatusCode::OK, Json(there)),
            ("DELETE", Some(there)) => {
                all.remove(&path);
                (StatusCode::OK, Json(there))
            }
            (_, before) => {
                let before =
                    before.and_then(|before| before["metadata"]["resourceVersion"].as_str()?.parse().ok());
                let mut new = body;
                new["metadata"]["resourceVersion"] = json!((before.unwrap_or(0_u64) + 1).to_string());
                all.insert(path, new.clone());
                (StatusCode::OK, Json(new))
            }
        }
    }

    /// There is such an object, which has nothing yet.
    fn add(&self, holder: &Holder) {
        let object = json!({
            "apiVersion": "cloudimages.dev/v1alpha1", "kind": holder.kind,
            "metadata": { "name": holder.name, "namespace": holder.namespace, "uid": holder.uid, "resourceVersion": "1" },
            "spec": { "accountRef": { "name": "default" }, "forProvider": {} },
        });
        self.all().insert(object_path(holder), object);
    }

    fn lease(&self, key: &Key) -> Option<Value> {
        self.all().get(&lease_path(key)).cloned()
    }
}

fn refusal(code: StatusCode, reason: &str) -> (StatusCode, Json<Value>) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code.as_u16(),
    });
    (code, Json(status))
}

fn object_path(holder: &Holder) -> String {
    format!("/apis/cloudimages.dev/v1alpha1/namespaces/{}/imagecomponents/{}", holder.namespace, holder.name)
}

fn lease_path(key: &Key) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/default/leases/{}", shared_locks::name_of(key))
}

fn object(name: &str) -> Holder {
    let kind = "ImageComponent".to_owned();
    Holder { uid: format!("uid-{name}"), kind_id: 0, kind, namespace: "ns".into(), name: name.into() }
}

fn id(id: &str) -> Key {
    Key::Id { of: "ImageComponent".into(), realm: "here".into(), id: id.into() }
}

async fn take(locks: &SharedLocks, key: &Key, by: &Holder) -> Result<(), String> {
    let taken = locks.take(kind::<ImageComponent>(), key, by).await.expect("the API server answers");
    taken.map(drop).map_err(|holder| holder.name)
}

/// The accounts of a process that has read none.
fn accounts() -> Arc<Accounts> {
    let client = Client::new(Router::new(), "default");
    let metrics = Arc::<Metrics>::default();
    let telemetry = Telemetry::new(client.clone(), Events::None, metrics);
    let (cluster, _) = reflector::store();
    let seen = (vec![], Seen::new(cluster));
    let shard = (Shard::all(2)[0], Arc::default());
    Accounts::new(client, VENDORS, Endpoints::default(), telemetry, Arc::default(), seen, shard)
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_nothing_is_behind_is_free_when_the_one_who_waits_has_not_seen_it_renewed_for_long() {
    let server = ApiServer::default();
    let (one, two) = (server.locks(), server.locks());
    let (first, second, key) = (object("first"), object("second"), id("i-1"));
    server.add(&first);
    assert_eq!(take(&one, &key, &first).await, Ok(()));
    // Whatever clock the holder goes by.
    for renewed in ["1970-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"] {
        server.all().get_mut(&lease_path(&key)).expect("it is there")["spec"]["renewTime"] = json!(renewed);
        assert_eq!(take(&two, &key, &second).await, Err("first".into()), "{renewed}");
    }
    for _ in 0..3 {
        sleep(MINUTE * 9).await;
        assert_eq!(take(&two, &key, &second).await, Err("first".into()));
        assert_eq!(take(&one, &key, &first).await, Ok(()), "it is renewed");
        assert_eq!(take(&two, &key, &second).await, Err("first".into()));
    }
    sleep(MINUTE * 11).await;
    assert_eq!(take(&two, &key, &second).await, Ok(()));
    server.add(&second);
    assert_eq!(take(&one, &key, &first).await, Err("second".into()));

    // One that is gone keeps nobody waiting; nor does one that was made anew under its name.
    server.all().remove(&object_path(&second));
    server.add(&Holder { uid: "another".into(), ..second.clone() });
    assert_eq!(take(&one, &key, &first).await, Ok(()));
    // Nobody gives back what is another's.
    two.give_back(&shared_locks::name_of(&key), &second.uid).await;
    assert!(server.lease(&key).is_some());
    one.give_back(&shared_locks::name_of(&key), &first.uid).await;
    assert!(server.lease(&key).is_none());
}

/// An object that asks the vendor for a component of this content, as an operator has it after its intent.
fn asking(name: &str, content: &str, since: Timestamp) -> Value {
    let Holder { uid, namespace, .. } = object(name);
    let token = kind::<ImageComponent>().token(&uid, 1);
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1", "kind": "ImageComponent",
        "metadata": {
            "name": name, "namespace": namespace, "uid": uid, "resourceVersion": "1", "generation": 1,
            "creationTimestamp": since,
        },
        "spec": { "accountRef": { "name": "of-another-shard" }, "forProvider": { "content": content } },
        "status": {
            "phase": "Submitting", "observedGeneration": 1,
            "operation": {
                "action": "CreateImageComponent", "attempt": 1, "token": token, "state": "InFlight", "generation": 1,
                "startedAt": since,
            },
        },
    })
}

/// Whoever asked for the like before somebody claimed what is there, and has no answer written, may have made it, and not have
/// seen the claim. He is waited for; but nobody else is, nor he for ever.
#[tokio::test(start_paused = true)]
async fn who_claims_an_id_waits_for_those_who_asked_for_the_like_before_and_have_no_answer() {
    let server = ApiServer::default();
    let locks = server.locks();
    let claimant = object("claimant");
    server.add(&claimant);
    let lock = locks.take(kind::<ImageComponent>(), &id("i-1"), &claimant).await.expect("it answers");
    let claimed = lock.expect("it is free").since;
    let at = |seconds: i64| claimed + SignedDuration::from_secs(seconds);
    let read = |value: &Value| {
        let unread = serde_json::from_value::<Unread>(value.clone()).expect("it has a name");
        unread.read(kind::<ImageComponent>()).0.expect("it can be read")
    };
    let own = read(&asking("claimant", "true", at(0)));
    let accounts = accounts();
    let change = |path: &str, value: Value| {
        let mut other = asking("other", "true", at(-5));
        *other.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value;
        other
    };
    for (what, other, waits) in [
        ("asked before", asking("other", "true", at(-5)), true),
        ("asked since", asking("other", "true", at(5)), false),
        ("asked long ago", asking("other", "true", at(-31 * 60 - 1)), false),
        ("asks for something else", asking("other", "false", at(-5)), false),
        ("has its answer", change("/status/operation/state", json!("Succeeded")), false),
        ("a restored one", change("/status/operation/token", json!("of-another")), false),
    ] {
        server.all().insert(object_path(&object("other")), other);
        let seen = locks.seen(&accounts, Some("here"), &own).await.expect("it answers");
        assert_eq!(seen.may_have_asked_before(claimed), waits, "{what}: {seen:?}");
    }
    // It waits for nobody when it is the only one, and not for itself.
    server.all().insert(object_path(&claimant), asking("claimant", "true", at(-5)));
    server.all().remove(&object_path(&object("other")));
    let seen = locks.seen(&accounts, Some("here"), &own).await.expect("it answers");
    assert!(!seen.may_have_asked_before(claimed) && seen.asking_alike == 0, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_locks_is_taken_away() {
    let server = ApiServer::default();
    let locks = server.locks();
    let (gone, lives, owner) = (object("gone"), object("lives"), object("owner"));
    let other_kind = Holder { kind: "AospImage".into(), ..object("other-kind") };
    for holder in [&lives, &owner] {
        server.add(holder);
    }
    let status = json!({ "phase": "Ready", "imageId": "i-3" });
    server.all().get_mut(&object_path(&owner)).expect("it is there")["status"] = status;
    let all = [(id("i-1"), &gone), (id("i-2"), &lives), (id("i-3"), &owner), (id("i-4"), &other_kind)];
    for (key, holder) in &all {
        assert_eq!(take(&locks, key, holder).await, Ok(()));
    }
    let stopping = CancellationToken::new();
    let sweeping = tokio::spawn(locks.sweep(kind::<ImageComponent>(), stopping.clone()));
    let there = || all.each_ref().map(|(key, _)| server.lease(key).is_some());
    sleep(MINUTE).await;
    assert_eq!(there(), [false, true, true, true]);
    // Nobody has renewed this one since.
    sleep(MINUTE * 61).await;
    assert_eq!(there(), [false, false, true, true]);
    stopping.cancel();
    sweeping.await.expect("it ends");
}
