//! What others do to an account, or ask of it, is not felt by who uses another one.

use crate::harness::{World, account, condition};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    time::{Instant, timeout},
};

const KIND: &str = "RootVolumeTemplate";

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

/// Three hundred objects at a cloud that takes connections and never answers: all say so soon, after a few logins; and an object
/// at a cloud that is well does not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_that_never_answers_is_the_trouble_of_those_who_use_it() {
    const COUNT: usize = 300;
    let mut world = World::empty("dead").await;
    world.beat = Duration::from_secs(1);
    world.vendor.configure(|settings| settings.zstack.create_seconds = 1.0);
    let keys = json!({ "accountName": "admin", "password": "password" });
    world
        .create(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "zstack" }, "stringData": keys }))
        .await;
    let (dead, requests) = dead_server().await;
    world.create(zstack("dead", &dead)).await;
    world.create(zstack("alive", &format!("http://{}", world.vendor.addresses().zstack))).await;
    world.start_operator_with(&[], &[&dead]).await;
    world.create(template("first", "alive")).await;
    world.until_ready(KIND, "first").await;

    let names: Vec<_> = (0..COUNT).map(|number| format!("dead-{number}")).collect();
    join_all(names.iter().map(|name| world.create(template(name, "dead")))).await;
    let start = Instant::now();
    let beside = async {
        // While the others hang in their first calls, and later.
        for number in 0..3 {
            let (name, since) = (format!("beside-{number}"), Instant::now());
            world.create(template(&name, "alive")).await;
            world.until_ready(KIND, &name).await;
            eprintln!("{name} is Ready after {:?}", since.elapsed());
            assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    let said = async {
        loop {
            let objects = world.list(KIND).await;
            let says = |object: &&Value| {
                let ready = condition(object, "Ready");
                ready["status"] == "False"
                    && ready["reason"] == "VendorUnreachable"
                    && ready["message"].as_str().is_some_and(|message| !message.is_empty())
            };
            let count = objects.iter().filter(says).count();
            if count >= COUNT {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(240), "{count} say what is wrong");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        start.elapsed()
    };
    let ((), took) = tokio::join!(beside, said);
    eprintln!("all say what is wrong after {took:?}");
    // 80 s were seen beside other work on two cores; the goal is 45.
    assert!(took < Duration::from_secs(120), "{took:?}");
    assert!(requests.load(Ordering::SeqCst) <= 20, "{requests:?} logins for {COUNT} objects");
}

/// As many accounts as a company has, each with a Secret: few connections, and all can be used soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_accounts_need_few_connections() {
    const COUNT: usize = 400;
    let world = World::empty("many-accounts").await;
    let names: Vec<_> = (0..COUNT).map(|number| format!("account-{number}")).collect();
    let create = |name: String| {
        let world = &world;
        async move {
            let mut secret = crate::harness::secret(&name);
            secret["stringData"]["accessKeyId"] = "simulator".into();
            world.create(secret).await;
            let mut account = account(&name, world.endpoint());
            account["spec"]["aliyun"]["credentialsSecretRef"]["name"] = name.as_str().into();
            world.create(account).await;
        }
    };
    for some in names.chunks(20) {
        join_all(some.iter().cloned().map(create)).await;
    }
    // A hundred connections, and what any program has open.
    let program = world.start_program_with_files(130);
    let start = Instant::now();
    let ready = async {
        loop {
            let accounts = world.list("CloudAccount").await;
            let usable = accounts.iter().filter(|account| condition(account, "Ready")["status"] == "True");
            if usable.count() == COUNT {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let done = timeout(Duration::from_secs(120), ready).await;
    assert!(done.is_ok(), "all can be used; log: {}", program.log());
    eprintln!("{COUNT} accounts can be used after {:?}", start.elapsed());

    // A change is seen at once all the same.
    world.patch("Secret", "account-7", json!({ "data": { "accessKeySecret": null } })).await;
    let missing = world.until_condition("CloudAccount", "account-7", "Ready", "False", "SecretKeyMissing");
    timeout(Duration::from_secs(30), missing).await.expect("at once");
    world.delete("Secret", "account-8").await;
    let missing = world.until_condition("CloudAccount", "account-8", "Ready", "False", "SecretNotFound");
    timeout(Duration::from_secs(30), missing).await.expect("at once");
}
