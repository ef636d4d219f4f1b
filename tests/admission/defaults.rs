//! What the API server fills in, and what it does with fields that no kind has.

use super::ask::{apply, assert_accepted, create, with};
use crate::harness::{World, component, image_of};
use serde_json::{Value, json};
use std::fs;

#[tokio::test]
async fn what_is_left_out_has_the_documented_default() {
    let world = World::empty("defaults").await;
    let bare = json!({ "forProvider": { "name": null, "componentVersion": null, "tag": [{ "key": "a" }] } });
    let created = create(&world, &component("hello", bare)).await.expect("a bare object");
    assert_eq!(
        created["spec"],
        json!({
            "accountRef": { "kind": "CloudAccount", "name": "default" },
            "managementPolicy": "Managed",
            "suspend": false,
            "resyncInterval": "10h",
            "timeout": "10m",
            "recreatePolicy": "Never",
            "driftPolicy": "Correct",
            "preflightPolicy": "Check",
            "versionPolicy": "Never",
            "forProvider": {
                "content": "RUN echo hello",
                "tag": [{ "key": "a" }],
            },
        })
    );
    for (given, filled) in [
        (json!({}), json!({ "kind": "CloudAccount", "name": "default" })),
        (json!({ "name": "a" }), json!({ "kind": "CloudAccount", "name": "a" })),
        (
            json!({ "kind": "ClusterCloudAccount" }),
            json!({ "kind": "ClusterCloudAccount", "name": "default" }),
        ),
    ] {
        let created = create(&world, &with(&component("hello", json!({})), "spec.accountRef", given)).await;
        assert_eq!(created.expect("a reference")["spec"]["accountRef"], filled);
    }
}

#[tokio::test]
async fn each_kind_has_its_own_timeout() {
    let world = World::empty("timeouts").await;
    for (kind, timeout) in [
        ("AospImage", "2h"),
        ("ImageExport", "2h"),
        ("ImageComponent", "10m"),
        ("AliyunImageCopy", "12h"),
        ("ImageBuild", "6h"),
        ("ImagePipeline", "10m"),
        ("BatchComputeImage", "10m"),
        ("RootVolumeTemplate", "12h"),
    ] {
        let created = assert_accepted(create(&world, &image_of(kind, "bare")).await, kind);
        assert_eq!(created["spec"]["timeout"], timeout, "{kind}");
    }
}

#[tokio::test]
async fn null_is_as_good_as_nothing() {
    let world = World::empty("null").await;
    let mut object = component("hello", json!({}));
    for (field, default) in [("import", Value::Null), ("suspend", false.into()), ("timeout", "10m".into())] {
        object["spec"][field] = Value::Null;
        let created = assert_accepted(create(&world, &object).await, field);
        assert_eq!(created["spec"][field], default, "{field}");
    }
    for (field, default) in [("description", Value::Null), ("tag", Value::Null), ("systemType", Value::Null)]
    {
        object["spec"]["forProvider"][field] = Value::Null;
        let created = assert_accepted(create(&world, &object).await, field);
        assert_eq!(created["spec"]["forProvider"][field], default, "{field}");
    }
}

/// kstatus, and so Flux and Argo CD, takes an object without a status as done.
#[tokio::test]
async fn every_sample_is_accepted_and_starts_unseen() {
    let world = World::empty("samples").await;
    let mut count = 0;
    let [together, apart] =
        [xtask::samples::manifests(), xtask::samples::policies()].map(|it| it.expect("the samples"));
    assert!(apart.len() >= 3, "{apart:?}");
    for path in together.into_iter().chain(apart) {
        let text = fs::read_to_string(&path).expect("a text");
        for document in text.split("\n---\n") {
            let mut object: Value = serde_saphyr::from_str(document).expect("YAML");
            if object["apiVersion"] != "cloudimages.dev/v1alpha1" {
                continue;
            }
            if !object["metadata"]["namespace"].is_null() {
                object["metadata"]["namespace"] = world.namespace.clone().into();
            }
            let what = format!("{} of {}", object["kind"], path.display());
            let made = assert_accepted(apply(&world, &object).await, &what);
            assert_eq!(made["status"], json!({ "observedGeneration": -1 }), "{what}");
            count += 1;
        }
    }
    assert!(count >= 2, "{count} objects");

    let cluster = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ClusterCloudAccount",
        "metadata": { "name": "c" },
        "spec": { "volcengine": { "region": "r", "acep": {}, "credentialsSecretRef": { "name": "s", "namespace": "n" } } },
    });
    let made = assert_accepted(create(&world, &cluster).await, "a cluster account");
    assert_eq!(made["status"], json!({ "observedGeneration": -1 }));
    assert_eq!(made["spec"]["volcengine"]["acep"], json!({ "serviceName": "acep" }));
}

#[tokio::test]
async fn unknown_fields_are_refused_where_the_user_asks_for_it() {
    let world = World::empty("unknown").await;
    let object = component(
        "hello",
        json!({ "import": { "match": { "name": "ab" } }, "forProvider": { "tag": [{ "key": "a" }] } }),
    );
    assert_accepted(apply(&world, &object).await, "all fields are known");
    for field in [
        "spec.x",
        "spec.forProvider.x",
        "spec.forProvider.tag.0.x",
        "spec.import.x",
        "spec.import.match.x",
        "spec.accountRef.x",
    ] {
        let object = with(&with(&object, "spec.accountRef", json!({})), field, json!("?"));
        let refusals = apply(&world, &object).await.expect_err(field);
        assert!(refusals.are(&[("", "field not declared in schema")]), "{field}: {refusals:?}");
    }
    let account = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "CloudAccount",
        "metadata": { "name": "a" },
        "spec": { "aliyun": { "regionId": "r", "credentialsSecretRef": { "name": "s" }, "ecs": {} } },
    });
    assert_accepted(apply(&world, &account).await, "all fields are known");
    for field in [
        "spec.x",
        "spec.aliyun.x",
        "spec.aliyun.ecs.x",
        "spec.aliyun.credentialsSecretRef.x",
        "spec.allowedNamespaces",
    ] {
        let refusals = apply(&world, &with(&account, field, json!("?"))).await.expect_err(field);
        assert!(refusals.are(&[("", "field not declared in schema")]), "{field}: {refusals:?}");
    }
}
