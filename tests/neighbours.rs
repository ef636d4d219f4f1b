//! What others do to an account, or ask of it, is not felt by who uses another one. A binary of its own, whose tests run one after
//! another: what is measured is how long the operator lets somebody wait, not what other tests at its side leave of the processors.

#[path = "harness/harness.rs"]
mod harness;

use futures::{StreamExt, future::join_all, stream};
use harness::{World, account, component, condition, is_ready};
use serde_json::{Value, json};
use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    sync::Mutex,
    time::{Instant, timeout},
};
use vendor_simulator::{Fault, FaultRule, When};

const KIND: &str = "RootVolumeTemplate";

/// Held by the test that runs.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A server that takes connections and requests, and never answers; and how many requests came.
async fn dead_server() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let requests = counted.clone();
            tokio::spawn(async move {
                if matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {
                    requests.fetch_add(1, Ordering::SeqCst);
                }
                let mut rest = vec![];
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
    });
    (format!("http://{address}"), requests)
}

fn zstack(name: &str, endpoint: &str) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "CloudAccount",
        "metadata": { "name": name },
        "spec": { "zstack": {
            "endpoint": endpoint, "credentialsSecretRef": { "name": "zstack" }, "timeZone": "Asia/Shanghai",
        } },
    })
}

fn template(name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": KIND,
        "metadata": { "name": name },
        "spec": {
            "accountRef": { "name": account },
            "forProvider": { "name": name, "rootVolumeUuid": "b94ff32725d133fea53e8ada5ea7f0fc" },
        },
    })
}

/// Objects of one namespace at clouds that do not answer, or answer no.
struct Crowds {
    /// New ones at a ZStack that takes connections and never answers.
    at_a_dead_cloud: usize,
    /// Deleted ones at a ZStack that answers no more.
    deleted: usize,
    /// New ones in one account of Alibaba Cloud, where half of the calls are throttled and the others hang.
    throttled: usize,
}

/// How long a new object of a healthy account may take beside them.
const READY: Duration = Duration::from_secs(10);
/// How long it may take until all say what is wrong.
const SAID: Duration = Duration::from_secs(45);

/// Enough to fill whatever an account has a limit of: 256 objects are worked on at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowds_at_clouds_that_keep_silent_are_the_trouble_of_those_who_use_them() {
    beside("crowds", &Crowds { at_a_dead_cloud: 270, deleted: 270, throttled: 270 }).await;
}

#[ignore = "takes minutes"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_crowds_at_clouds_that_keep_silent() {
    beside("whole-crowds", &Crowds { at_a_dead_cloud: 300, deleted: 1425, throttled: 1500 }).await;
}

/// All say soon what is wrong, after a few logins; and objects at clouds that are well do not wait for them.
async fn beside(name: &str, crowds: &Crowds) {
    let _alone = ALONE.lock().await;
    let mut world = World::empty(name).await;
    world.beat = Duration::from_secs(1);
    let poor = world.beside(2).await;
    for vendor in [&world.vendor, &poor.vendor] {
        vendor.configure(|settings| settings.zstack.create_seconds = 1.0);
    }
    let keys = json!({ "accountName": "admin", "password": "password" });
    world
        .create(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "zstack" }, "stringData": keys }))
        .await;
    world.create(harness::secret("aliyun")).await;
    let (dead, logins) = dead_server().await;
    world.create(zstack("dead", &dead)).await;
    let mut dying = zstack("dying", &format!("http://{}", poor.vendor.addresses().zstack));
    let limit = |action: &str| json!({ "action": action, "requests": 100_000, "period": "60s" });
    let create = "CreateRootVolumeTemplateFromRootVolume";
    dying["spec"]["limits"] = [create, "GetApiJob", "QueryImage"].map(limit).into();
    world.create(dying).await;
    world.create(zstack("alive", &format!("http://{}", world.vendor.addresses().zstack))).await;
    world.create(account("crowded", poor.endpoint())).await;
    world.create(account("default", world.endpoint())).await;
    let endpoints = [vec![dead], poor.endpoints()].concat();
    world.start_operator_with(&[], &endpoints.iter().map(String::as_str).collect::<Vec<_>>()).await;

    let named = |prefix: &str, count: usize| {
        (0..count).map(|number| format!("{prefix}-{number}")).collect::<Vec<_>>()
    };
    let deleted = named("deleted", crowds.deleted);
    join_all(deleted.iter().map(|name| world.create(template(name, "dying")))).await;
    until_count(&world, KIND, deleted.len(), "are Ready", Duration::from_secs(300), is_ready).await;
    world.create(template("first", "alive")).await;
    world.until_ready(KIND, "first").await;
    let create = "CreateImageComponent";
    poor.vendor.set_faults(vec![
        FaultRule::new(Fault::Hang { effect: false }).service("zstack"),
        FaultRule::new(Fault::Throttle).action(create).when(When::every(2)),
        FaultRule::new(Fault::Hang { effect: false }).action(create),
    ]);

    let in_crowded = json!({ "accountRef": { "name": "crowded" } });
    let components = named("throttled", crowds.throttled);
    let at_dead = named("dead", crowds.at_a_dead_cloud);
    let throttled = components.iter().map(|name| world.create(component(name, in_crowded.clone())));
    let new = at_dead.iter().map(|name| world.create(template(name, "dead")));
    tokio::join!(
        join_all(throttled),
        join_all(new),
        join_all(deleted.iter().map(|name| world.delete(KIND, name)))
    );
    let start = Instant::now();
    let is_said = AtomicBool::new(false);
    let said = async {
        let says = |object: &Value| {
            let ready = condition(object, "Ready");
            ready["status"] == "False"
                && ready["reason"] == "VendorUnreachable"
                && ready["message"].as_str().is_some_and(|message| !message.is_empty())
        };
        let is_new = |object: &Value| {
            object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("dead-"))
        };
        let new_says = |object: &Value| is_new(object) && says(object);
        until_count(&world, KIND, at_dead.len(), "say what is wrong", SAID, new_says).await;
        eprintln!("all new ones say what is wrong after {:?}", start.elapsed());
        let all = at_dead.len() + deleted.len();
        until_count(&world, KIND, all, "say what is wrong", Duration::from_secs(300), says).await;
        eprintln!("all say what is wrong after {:?}", start.elapsed());
        is_said.store(true, Ordering::SeqCst);
    };
    let others = async {
        let mut number = 0;
        // While the crowds hang in their first calls, and later.
        while number < 3 || !is_said.load(Ordering::SeqCst) {
            let (name, since) = (format!("beside-{number}"), Instant::now());
            world.create(template(&name, "alive")).await;
            world.create(component(&name, json!({}))).await;
            tokio::join!(world.until_ready(KIND, &name), world.until_ready("ImageComponent", &name));
            eprintln!("{name} are Ready after {:?}", since.elapsed());
            assert!(since.elapsed() < READY, "{name}: {:?}", since.elapsed());
            number += 1;
        }
    };
    tokio::join!(said, others);
    assert!(logins.load(Ordering::SeqCst) <= 20, "{logins:?} logins for {} objects", at_dead.len());
}

/// Waits until so many objects of a kind are as they should be.
async fn until_count(
    world: &World,
    kind: &str,
    count: usize,
    what: &str,
    patience: Duration,
    met: impl Fn(&Value) -> bool,
) {
    let end = Instant::now() + patience;
    loop {
        let objects = world.list(kind).await;
        let there = objects.iter().filter(|object| met(object)).count();
        if there >= count {
            return;
        }
        let other = objects
            .iter()
            .rfind(|object| !met(object))
            .map(|object| (&object["metadata"]["name"], &object["status"]));
        assert!(Instant::now() < end, "after {patience:?}, {there} of {count} {what}, and not {other:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// As many accounts as a company has, each with a Secret: few connections, and all can be used soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_accounts_need_few_connections() {
    accounts("many-accounts", 400, Duration::from_secs(60)).await;
}

#[ignore = "takes minutes"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_accounts() {
    accounts("five-thousand", 5000, Duration::from_secs(60)).await;
}

async fn accounts(name: &str, count: usize, patience: Duration) {
    let _alone = ALONE.lock().await;
    let world = World::empty(name).await;
    let names: Vec<_> = (0..count).map(|number| format!("account-{number}")).collect();
    let create = |name: String| {
        let world = &world;
        async move {
            let mut secret = harness::secret(&name);
            secret["stringData"]["accessKeyId"] = "simulator".into();
            world.create(secret).await;
            let mut account = account(&name, world.endpoint());
            account["spec"]["aliyun"]["credentialsSecretRef"]["name"] = name.as_str().into();
            world.create(account).await;
        }
    };
    stream::iter(names).for_each_concurrent(20, create).await;
    // A hundred connections, and what any program has open.
    let program = world.start_program_with_files(130);
    let look = Duration::from_millis(500 + count as u64);
    let start = Instant::now();
    let ready = async {
        loop {
            let accounts = world.list("CloudAccount").await;
            let usable = accounts.iter().filter(|account| condition(account, "Ready")["status"] == "True");
            let usable = usable.count();
            if usable == count {
                break;
            }
            assert!(start.elapsed() < patience, "{usable} can be used; log: {}", program.log());
            // To list thousands keeps the API server from what it has to do for the operator.
            tokio::time::sleep(look).await;
        }
    };
    ready.await;
    eprintln!("{count} accounts can be used after {:?}", start.elapsed());

    // A change is seen at once all the same.
    world.patch("Secret", "account-7", json!({ "data": { "accessKeySecret": null } })).await;
    let missing = world.until_condition("CloudAccount", "account-7", "Ready", "False", "SecretKeyMissing");
    timeout(Duration::from_secs(30), missing).await.expect("at once");
    world.delete("Secret", "account-8").await;
    let missing = world.until_condition("CloudAccount", "account-8", "Ready", "False", "SecretNotFound");
    timeout(Duration::from_secs(30), missing).await.expect("at once");
}
