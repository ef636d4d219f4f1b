//! Every rule of `CloudAccount` and `ClusterCloudAccount`.

use super::ask::{Answer, assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::World;
use serde_json::{Value, json};

fn account(kind: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "cloudimages.dev/v1alpha1", "kind": kind, "metadata": { "name": "a" }, "spec": spec })
}

fn vendors(secret: &Value) -> [(&'static str, Value); 3] {
    [
        ("volcengine", json!({ "region": "cn-beijing", "credentialsSecretRef": secret })),
        ("aliyun", json!({ "regionId": "cn-hangzhou", "credentialsSecretRef": secret })),
        ("zstack", json!({ "endpoint": "http://10.0.0.2:8080", "credentialsSecretRef": secret })),
    ]
}

/// A `CloudAccount` at this vendor, with all that can be said.
fn full(vendor: &str) -> Value {
    let endpoint = json!({ "endpoint": "https://a.example" });
    let (_, mut spec) =
        vendors(&json!({ "name": "s" })).into_iter().find(|(name, _)| *name == vendor).expect("a vendor");
    let more = match vendor {
        "volcengine" => {
            json!({ "ecs": endpoint, "acep": { "endpoint": "http://a.example", "productId": "1", "region": "cn-north-1", "serviceName": "ACEP" } })
        }
        "aliyun" => json!({ "ecs": endpoint, "batchCompute": endpoint }),
        _ => json!({ "timeZone": "Asia/Shanghai", "caBundle": "-----BEGIN CERTIFICATE-----" }),
    };
    json_patch::merge(&mut spec, &more);
    account(
        "CloudAccount",
        &json!({ vendor: spec, "limits": [{ "action": "CreateImageComponent", "requests": 1000, "period": "60s" }] }),
    )
}

/// Demands this refusal, or none.
fn assert_answer(answer: Answer, refusal: Option<(&str, &str)>, what: &str) {
    match refusal {
        Some(refusal) => assert_refused(answer, &[refusal], what),
        None => drop(assert_accepted(answer, what)),
    }
}

#[tokio::test]
async fn exactly_one_vendor() {
    let one: (&str, &str) = ("spec", "an account needs exactly one of volcengine, aliyun and zstack");
    let world = World::empty("one-vendor").await;
    let vendors = vendors(&json!({ "name": "s" }));
    for number in 0..8 {
        let some = vendors
            .iter()
            .enumerate()
            .filter(|(bit, _)| number >> bit & 1 == 1)
            .map(|(_, vendor)| vendor.clone());
        let spec: serde_json::Map<_, _> = some.map(|(name, vendor)| (name.to_owned(), vendor)).collect();
        let count = spec.len();
        let answer = create(&world, &account("CloudAccount", &spec.into())).await;
        assert_answer(answer, (count != 1).then_some(one), &format!("{number:03b}"));
    }
    for vendor in ["volcengine", "aliyun", "zstack"] {
        assert_accepted(create(&world, &full(vendor)).await, vendor);
    }
}

#[tokio::test]
async fn where_the_secret_is() {
    let needed: (&str, &str) = (
        "spec",
        "a ClusterCloudAccount needs credentialsSecretRef.namespace: it has no namespace of its own",
    );
    let ignored: (&str, &str) = (
        "spec",
        "credentialsSecretRef.namespace is for a ClusterCloudAccount: a CloudAccount uses a Secret of its own namespace",
    );
    let world = World::empty("secret").await;
    for (kind, secret, refusal) in [
        ("CloudAccount", json!({ "name": "s" }), None),
        ("CloudAccount", json!({ "name": "s", "namespace": "n" }), Some(ignored)),
        ("ClusterCloudAccount", json!({ "name": "s", "namespace": "n" }), None),
        ("ClusterCloudAccount", json!({ "name": "s" }), Some(needed)),
    ] {
        for (name, vendor) in vendors(&secret) {
            let answer = create(&world, &account(kind, &json!({ name: vendor }))).await;
            assert_answer(answer, refusal, &format!("{kind} {name}"));
        }
    }
    for vendor in ["volcengine", "aliyun", "zstack"] {
        let field = format!("spec.{vendor}.credentialsSecretRef");
        let name = "credentialsSecretRef.name must be the name of an object: lower-case letters, digits, hyphens and \
                    full stops, for example base-1";
        let bad: [(Value, &[&str]); 7] = [
            (json!(""), &["should be at least 1 chars long"]),
            ("s".repeat(254).into(), &["Too long: may not be more than 253 bytes"]),
            (json!("Secret"), &[name]),
            (json!("my_secret"), &[name]),
            (json!("a secret"), &[name]),
            (json!("-secret"), &[name]),
            (json!("a..b"), &[name]),
        ];
        let good = ["s".repeat(253).into(), json!("a.b-c.9")];
        try_values(&world, &full(vendor), &format!("{field}.name"), good, bad).await;
        for missing in [field.clone(), format!("{field}.name")] {
            let answer = create(&world, &with(&full(vendor), &missing, Value::Null)).await;
            assert_refused(answer, &[(&missing, "Required value")], &missing);
        }
    }
}

#[tokio::test]
async fn regions_and_addresses() {
    let world = World::empty("regions").await;
    for (vendor, field) in [("volcengine", "region"), ("volcengine", "acep.region"), ("aliyun", "regionId")] {
        let field = format!("spec.{vendor}.{field}");
        let region: &[&str] = &["should match '^[a-z0-9-]+$'"];
        let good = ["cn-beijing".into(), "a".repeat(64).into()];
        let bad = [
            (json!("Beijing"), region),
            (json!("a.example/"), region),
            ("a".repeat(65).into(), &["Too long: may not be more than 64 bytes"]),
        ];
        try_values(&world, &full(vendor), &field, good, bad).await;
    }
    for (vendor, field) in [
        ("volcengine", "acep.endpoint"),
        ("volcengine", "ecs.endpoint"),
        ("aliyun", "ecs.endpoint"),
        ("aliyun", "batchCompute.endpoint"),
        ("zstack", "endpoint"),
    ] {
        let field = format!("spec.{vendor}.{field}");
        let scheme: &[&str] =
            &["endpoint must be an address with http:// or https://, without user, password and blanks, \
            for example https://open.volcengineapi.com"];
        let good = [json!("https://ecs.cn-hangzhou.aliyuncs.com"), json!("http://127.0.0.1:8802/zstack")];
        let bad = [
            (json!("ecs.aliyuncs.com"), scheme),
            (json!("ftp://a.example"), scheme),
            (json!("https://user:password@a.example"), scheme),
            (json!("https://a.example/a b"), scheme),
            (json!("https://"), scheme),
            (format!("http://{}", "a".repeat(506)).into(), &["Too long: may not be more than 512 bytes"]),
        ];
        try_values(&world, &full(vendor), &field, good, bad).await;
    }
    for missing in ["volcengine.region", "aliyun.regionId", "zstack.endpoint"] {
        let (vendor, _) = missing.split_once('.').expect("a vendor");
        let field = format!("spec.{missing}");
        let answer = create(&world, &with(&full(vendor), &field, Value::Null)).await;
        assert_refused(answer, &[(&field, "Required value")], missing);
    }
    for (vendor, field, longest) in [("volcengine", "acep.productId", 64), ("zstack", "timeZone", 64)] {
        let field = format!("spec.{vendor}.{field}");
        let sentence = format!("Too long: may not be more than {longest} bytes");
        let bad = [("x".repeat(longest + 1).into(), &[&*sentence][..])];
        try_values(&world, &full(vendor), &field, ["x".repeat(longest).into()], bad).await;
    }
    let begin = "-----BEGIN CERTIFICATE-----";
    let certificate = |length: usize| begin.to_owned() + &"x".repeat(length - begin.len());
    let pem = "caBundle must hold PEM certificates, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----";
    let bad: [(Value, &[&str]); 4] = [
        (json!(""), &[pem]),
        (json!("MIIB"), &[pem]),
        (json!("-----BEGIN PRIVATE KEY-----"), &[pem]),
        (certificate(65537).into(), &["Too long: may not be more than 65536 bytes"]),
    ];
    try_values(&world, &full("zstack"), "spec.zstack.caBundle", [certificate(65536).into()], bad).await;
    let good = ["acep", "ACEP"].map(Value::from);
    let bad = [(json!("Acep"), &[r#"supported values: "acep", "ACEP""#][..])];
    try_values(&world, &full("volcengine"), "spec.volcengine.acep.serviceName", good, bad).await;
    let delay: &[&str] = &["listDelay must be between 1s and 1h"];
    for service in ["acep", "ecs"] {
        let (good, bad) =
            (["1s", "1h"].map(Value::from), ["999ms", "1h1s"].map(|wrong| (wrong.into(), delay)));
        try_values(&world, &full("volcengine"), &format!("spec.volcengine.{service}.listDelay"), good, bad)
            .await;
    }
}

#[tokio::test]
async fn limits() {
    let world = World::empty("limits").await;
    let object = full("aliyun");
    let limit = |action: &str| json!({ "action": action, "requests": 1, "period": "1s" });
    let many = |count: usize| (0..count).map(|n| limit(&format!("a{n}"))).collect::<Value>();
    let bad: [(Value, &[&str]); 1] = [(many(65), &["must have at most 64 items"])];
    try_values(&world, &object, "spec.limits", [json!([]), many(64)], bad).await;
    let answer = create(&world, &with(&object, "spec.limits", json!([limit("a"), limit("a")]))).await;
    assert_refused(answer, &[("spec.limits[1]", r#"Duplicate value: {"action":"a"}"#)], "one action twice");

    let period = "limits[].period must be between 1s and 24h";
    for (part, good, bad) in [
        (
            "action",
            [json!("a"), json!("a".repeat(64))],
            [
                (json!(""), "should be at least 1 chars long"),
                (json!("a".repeat(65)), "Too long: may not be more than 64 bytes"),
            ],
        ),
        (
            "requests",
            [json!(1), json!(1_000_000)],
            [
                (json!(0), "should be greater than or equal to 1"),
                (json!(1_000_001), "should be less than or equal to 1000000"),
            ],
        ),
        ("period", [json!("1s"), json!("24h")], [(json!("999ms"), period), (json!("24h1s"), period)]),
    ] {
        let (place, field) = (format!("spec.limits.0.{part}"), format!("spec.limits[0].{part}"));
        for value in good {
            let answer = create(&world, &with(&object, &place, value.clone())).await;
            assert_accepted(answer, &format!("{field} = {value}"));
        }
        for (value, sentence) in bad {
            let answer = create(&world, &with(&object, &place, value.clone())).await;
            assert_refused(answer, &[(&field, sentence)], &format!("{field} = {value}"));
        }
        let answer = create(&world, &with(&object, &place, Value::Null)).await;
        assert_refused(answer, &[(&field, "Required value")], &field);
    }
}

#[tokio::test]
async fn allowed_namespaces() {
    let world = World::empty("allowed").await;
    let (name, vendor) =
        vendors(&json!({ "name": "s", "namespace": "n" })).into_iter().next().expect("a vendor");
    let object = account("ClusterCloudAccount", &json!({ name: vendor }));
    let many = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let names = "allowedNamespaces.names must be names of namespaces: lower-case letters, digits and hyphens; selector \
                 takes labels";
    let wrong = with(&object, "spec.volcengine.credentialsSecretRef.namespace", json!("Images"));
    let namespace = "credentialsSecretRef.namespace must be the name of a namespace: lower-case letters, digits and hyphens";
    assert_refused(
        create(&world, &wrong).await,
        &[("spec.volcengine.credentialsSecretRef.namespace", namespace)],
        "Images",
    );
    for good in [
        json!({}),
        json!({ "names": many(256) }),
        json!({ "selector": {} }),
        json!({ "names": ["a"], "selector": { "matchExpressions": [{ "key": "k", "operator": "Exists" }] } }),
    ] {
        let what = good.to_string();
        assert_accepted(create(&world, &with(&object, "spec.allowedNamespaces", good)).await, &what);
    }
    for (bad, place, sentence) in [
        (many(257), "", "must have at most 256 items"),
        (vec!["a".into(), "a".into()], "[1]", r#"Duplicate value: "a""#),
        (vec![String::new()], "[0]", "should be at least 1 chars long"),
        (vec!["a".repeat(64)], "[0]", "Too long: may not be more than 63 bytes"),
        (vec!["Team".into()], "", names),
        (vec!["a".into(), "team=base".into()], "", names),
    ] {
        let answer = create(&world, &with(&object, "spec.allowedNamespaces", json!({ "names": bad }))).await;
        assert_refused(answer, &[(&format!("spec.allowedNamespaces.names{place}"), sentence)], sentence);
    }
}

#[tokio::test]
async fn a_product_id_may_be_added_but_not_changed_or_removed() {
    let world = World::empty("product-id").await;
    let fixed = "acep.productId cannot be changed or removed: images are listed by it; make a new account";
    let object = with(&full("volcengine"), "spec.volcengine.acep", Value::Null);
    world.create(object.clone()).await;
    let acep = |acep: Value| json!({ "spec": { "volcengine": { "acep": acep } } });
    for good in [
        acep(json!({ "region": "cn-north-1" })),
        acep(json!({ "productId": "1" })),
        acep(json!({ "region": "cn-beijing" })),
    ] {
        assert_accepted(patch(&world, &object, &good).await, &good.to_string());
        // A change that is accepted is only tried.
        world.patch("CloudAccount", "a", good).await;
    }
    for bad in [acep(json!({ "productId": "2" })), acep(json!({ "productId": null })), acep(Value::Null)] {
        let answer = patch(&world, &object, &bad).await;
        assert_refused(answer, &[("spec.volcengine", fixed)], &bad.to_string());
    }
}

#[tokio::test]
async fn an_account_stays_where_it_is() {
    let world = World::empty("stays").await;
    let region = "cannot be changed: images were made there; make a new account";
    let vendor = "an account stays with its vendor: make a new account";
    let other = |vendor: &str| full(vendor)["spec"][vendor].clone();
    for (vendor, change, field, sentence) in [
        ("aliyun", json!({ "aliyun": { "regionId": "cn-beijing" } }), "spec.aliyun.regionId", region),
        (
            "volcengine",
            json!({ "volcengine": { "region": "cn-hangzhou" } }),
            "spec.volcengine.region",
            region,
        ),
        ("aliyun", json!({ "aliyun": null, "zstack": other("zstack") }), "spec", vendor),
        ("volcengine", json!({ "volcengine": null, "aliyun": other("aliyun") }), "spec", vendor),
        ("zstack", json!({ "zstack": null, "aliyun": other("aliyun") }), "spec", vendor),
    ] {
        let mut object = full(vendor);
        object["metadata"]["name"] = vendor.into();
        if world.get("CloudAccount", vendor).await.is_none() {
            world.create(object.clone()).await;
        }
        let answer = patch(&world, &object, &json!({ "spec": change })).await;
        assert_refused(answer, &[(field, sentence)], &change.to_string());
        let change =
            json!({ "spec": { vendor: { "credentialsSecretRef": { "name": "other" } }, "limits": [] } });
        assert_accepted(patch(&world, &object, &change).await, vendor);
    }
}
