//! The ways out: through proxies, and without any certificates to trust.

use crate::{
    harness::{Program, World, account, component, operator_kubeconfig},
    proxy::Proxy,
};
use serde_json::{Value, json};
use std::{fs, time::Duration};

const KIND: &str = "ImageComponent";
const GRACE: Option<Duration> = Some(Duration::from_secs(20));
/// No other test's, so that it is found wherever it leaks to.
const PASSWORD: &str = "hunter2-proxy-password";

fn start(world: &World, environment: &[(&str, &str)], more: &[&str]) -> Program {
    world.start_program_in(environment, more, GRACE)
}

#[tokio::test]
async fn proxies_lead_to_the_api_server_and_to_the_vendors_and_what_no_proxy_names_goes_straight() {
    let world = World::with_account("proxied").await;
    let proxy = Proxy::start().await;
    let url = format!("http://me:{PASSWORD}@{}", proxy.address());
    let all = [("HTTPS_PROXY", &*url), ("HTTP_PROXY", &*url), ("NO_PROXY", "elsewhere.example")];
    let operator = start(&world, &all, &[]);
    world.create(component("through", json!({}))).await;
    world.until_ready(KIND, "through").await;
    let (code, log) = operator.stop().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");
    let seen = proxy.seen();
    let authorized = |head: &String| head.to_lowercase().contains("proxy-authorization: basic ");
    assert!(seen.iter().any(|head| head.starts_with("CONNECT 127.0.0.1:") && authorized(head)), "{seen:?}");
    let vendor = format!("POST {}", world.endpoint());
    assert!(seen.iter().any(|head| head.starts_with(&vendor) && authorized(head)), "{seen:?}");

    // Nothing listens at the proxy's address; the kubeconfig's server and the vendors are at 127.0.0.1.
    let dead = format!("http://me:{PASSWORD}@127.0.0.2:9");
    let straight = [("HTTPS_PROXY", &*dead), ("HTTP_PROXY", &*dead), ("NO_PROXY", "10.0.0.0/8,127.0.0.1")];
    let operator = start(&world, &straight, &[]);
    world.create(component("straight", json!({ "forProvider": { "name": "straight" } }))).await;
    world.until_ready(KIND, "straight").await;
    assert_eq!(operator.stop().await.0, Some(0));
}

#[tokio::test]
async fn who_fails_at_a_proxy_names_it_without_its_password() {
    let world = World::with_account("misproxied").await;
    let dead = format!("http://me:{PASSWORD}@127.0.0.2:9");
    // It may be on its way back, as what is behind it may.
    let waiting = start(&world, &[("HTTPS_PROXY", &*dead), ("NO_PROXY", "")], &[]);
    let names_it = |text: &str| text.contains(" (through the proxy http://127.0.0.2:9; what NO_PROXY names");
    waiting
        .until("/readyz", "it says what it waits for", |status, body| status == 503 && names_it(body))
        .await;
    let (code, log) = waiting.stop().await;
    assert!(code == Some(0) && !log.contains(PASSWORD), "{code:?} {log}");
    assert!(log.contains("WARN cloud_image_operator::run: waiting for the API server (through"), "{log}");
    assert!(names_it(&log), "{log}");

    let socks = format!("socks5://me:{PASSWORD}@127.0.0.2:9");
    let (code, log) = start(&world, &[("ALL_PROXY", &*socks)], &[]).ended().await;
    assert!(code == Some(1) && !log.contains(PASSWORD), "{code:?} {log}");
    assert!(log.contains("ALL_PROXY is not the address of a proxy that can be used"), "{log}");

    // The API server goes straight, the vendor does not.
    let named = world.endpoint().replace("127.0.0.1", "localhost");
    world.create(account("named", named.clone())).await;
    let operator = start(&world, &[("HTTP_PROXY", &*dead)], &[&format!("--allow-endpoint={named}")]);
    world.create(component("lost", json!({ "accountRef": { "name": "named" } }))).await;
    let message = world.until_condition(KIND, "lost", "Ready", "False", "VendorUnreachable").await;
    assert!(
        message.contains("(through the proxy http://127.0.0.2:9)") && !message.contains(PASSWORD),
        "{message}"
    );
    let (_, log) = operator.stop().await;
    assert!(!log.contains(PASSWORD), "{log}");
}

/// What nobody but a person can mend is not waited for.
#[tokio::test]
async fn an_api_server_that_is_another_one_or_knows_nobody_ends_it() {
    let world = World::with_account("unknown").await;
    let proxy = Proxy::start().await;
    let url = format!("http://me:{PASSWORD}@{}", proxy.address());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let way = format!(" (through the proxy http://{};", proxy.address());
    for (what, change, sentence) in [
        ("name", json!({ "tls-server-name": "another.example" }), "another.example"),
        ("token", json!({ "token": "nobody's" }), "Unauthorized"),
    ] {
        let text = fs::read_to_string(operator_kubeconfig()).expect("a kubeconfig");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        let at = if what == "token" { "/users/0/user" } else { "/clusters/0/cluster" };
        json_patch::merge(config.pointer_mut(at).expect("a part"), &change);
        let file = folder.path().join(what);
        fs::write(&file, config.to_string()).expect("the kubeconfig is written");
        let file = file.to_str().expect("a path");
        let environment = [("KUBECONFIG", file), ("HTTPS_PROXY", &*url), ("NO_PROXY", "")];
        let (code, log) = start(&world, &environment, &[]).ended().await;
        assert!(code == Some(1) && !log.contains(PASSWORD), "{what}: {code:?} {log}");
        let error = log.lines().find(|line| line.starts_with("error: the API server cannot be used"));
        let error = error.unwrap_or_else(|| panic!("{what}: {log}"));
        assert!(error.contains(&way) && error.contains(sentence), "{what}: {error}");
    }
}

#[tokio::test]
async fn without_authorities_to_trust_plain_http_goes_on_and_https_says_why_not() {
    let world = World::with_account("trustless").await;
    let https = world.endpoint().replace("http://", "https://");
    world.create(account("https", https.clone())).await;
    let nothing = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    let operator = start(&world, &nothing, &[&format!("--allow-endpoint={https}")]);
    world.create(component("plain", json!({}))).await;
    world.until_ready(KIND, "plain").await;
    world.create(component("secure", json!({ "accountRef": { "name": "https" } }))).await;
    let message = world.until_condition(KIND, "secure", "Ready", "False", "VendorUnreachable").await;
    let sentence = "no certificates of authorities (CA) were found on this machine";
    assert!(message.contains(sentence), "{message}");
    let (_, log) = operator.stop().await;
    assert!(log.contains(&format!("WARN cloud_image_operator::run: {sentence}")), "{log}");
}
