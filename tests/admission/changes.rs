//! What may be changed when: what the vendor cannot change is closed from the moment it is asked for.

use super::ask::{Answer, assert_accepted, assert_refused, create, patch};
use crate::harness::{World, component};
use serde_json::{Value, json};

/// The fields that the vendor has no call to change, each with another value.
fn fixed() -> [(&'static str, Value); 7] {
    [
        ("regionId", json!("cn-beijing")),
        ("name", json!("other")),
        ("description", json!("another one")),
        ("systemType", json!("Windows")),
        ("componentType", json!("Test")),
        ("content", json!("RUN false")),
        ("componentVersion", json!("2.0.0")),
    ]
}

fn assert_closed(answer: Answer, field: &str, what: &str) {
    let or = match field {
        "content" | "description" | "componentVersion" => {
            ", or set versionPolicy: Bump and change it while nothing is under way, to have a new version made"
        }
        _ => "",
    };
    let sentence = format!(
        "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; make a new object with \
         another name or componentVersion{or}"
    );
    assert_refused(
        answer,
        &[(&*format!("spec.forProvider.{field}"), &sentence)],
        &format!("{what}: {field}"),
    );
}

#[tokio::test]
async fn what_the_vendor_cannot_change_is_closed_while_it_has_it() {
    let world = World::empty("fixed").await;
    let bare = component("bare", json!({}));
    let full = component(
        "full",
        json!({ "forProvider": { "regionId": "cn-hangzhou", "description": "the first" } }),
    );
    for object in [&bare, &full] {
        world.create(object.clone()).await;
    }
    let operation =
        |state: &str| json!({ "action": "CreateImageComponent", "token": "t", "attempt": 1, "state": state });
    let closed = [
        ("not seen yet", json!({ "observedGeneration": -1 })),
        ("Ready", json!({ "phase": "Ready", "imageId": "ic-1", "operation": operation("Succeeded") })),
        ("Submitting", json!({ "phase": "Submitting", "operation": operation("InFlight") })),
        ("Building", json!({ "phase": "Building", "imageId": "ic-1", "operation": operation("Running") })),
        ("Unclear", json!({ "phase": "Unclear", "operation": operation("Unclear") })),
        ("Deleting", json!({ "phase": "Deleting", "operation": operation("Succeeded") })),
        (
            "gone at the vendor",
            json!({ "phase": "Failed", "imageId": "ic-1", "operation": operation("Missing") }),
        ),
    ];
    let open = [
        ("Pending", json!({ "phase": "Pending" })),
        ("Pending again", json!({ "phase": "Pending", "operation": operation("NotDone") })),
        ("Failed", json!({ "phase": "Failed", "operation": operation("Failed") })),
    ];
    for (states, is_open) in [(&closed[..], false), (&open[..], true)] {
        for (state, status) in states {
            for object in [&bare, &full] {
                let name = object["metadata"]["name"].as_str().expect("a name");
                let mut status = status.clone();
                for field in ["phase", "imageId", "operation"] {
                    status.as_object_mut().expect("an object").entry(field).or_insert(Value::Null);
                }
                world.patch_status("ImageComponent", name, status).await;
                for (field, value) in fixed() {
                    let change = json!({ "spec": { "forProvider": { field: value } } });
                    let answer = patch(&world, object, &change).await;
                    if is_open {
                        assert_accepted(answer, &format!("{state}, {name}: {field}"));
                    } else {
                        assert_closed(answer, field, &format!("{state}, {name}"));
                    }
                }
            }
        }
    }
}

/// What versions are made of is open while one is there, and closed while one is made: what was asked for is looked for.
#[tokio::test]
async fn with_the_policy_content_is_open_while_nothing_is_under_way() {
    let world = World::empty("bump").await;
    let parameters = json!({ "description": "the first" });
    let object = component("base", json!({ "versionPolicy": "Bump", "forProvider": parameters }));
    world.create(object.clone()).await;
    let never = component("never", json!({ "forProvider": parameters }));
    world.create(never.clone()).await;
    for (state, phase, is_open) in [
        ("Succeeded", "Ready", true),
        ("Missing", "Failed", true),
        ("Failed", "Failed", true),
        ("NotDone", "Pending", true),
        ("InFlight", "Submitting", false),
        ("Running", "Building", false),
        ("Unclear", "Unclear", false),
    ] {
        let operation =
            json!({ "action": "CreateImageComponent", "token": "t", "attempt": 2, "state": state });
        for name in ["base", "never"] {
            world
                .patch_status("ImageComponent", name, json!({ "phase": phase, "operation": operation }))
                .await;
        }
        for (field, value) in fixed() {
            let change = json!({ "spec": { "forProvider": { field: value } } });
            let of_versions = ["content", "description", "componentVersion"].contains(&field);
            let answer = patch(&world, &object, &change).await;
            let is_open = matches!(state, "Failed" | "NotDone") || is_open && of_versions;
            if is_open {
                assert_accepted(answer, &format!("{state}: {field}"));
            } else {
                assert_closed(answer, field, state);
            }
            // The policy may come with the change.
            let mut both = change.clone();
            both["spec"]["versionPolicy"] = json!("Bump");
            assert_eq!(patch(&world, &never, &both).await.is_ok(), is_open, "{state}: {field}");
        }
    }
    // Nothing is there of an attempt that failed; but elsewhere, the ids of earlier versions would mean nothing.
    let operation =
        json!({ "action": "CreateImageComponent", "token": "t", "attempt": 2, "state": "Failed" });
    let elsewhere = json!({ "spec": { "forProvider": { "regionId": "cn-beijing" } } });
    let account = json!({ "spec": { "accountRef": { "name": "another" } } });
    for (versions, is_open) in [(Value::Null, true), (json!([{ "imageId": "ic-1" }]), false)] {
        let failed = json!({ "phase": "Failed", "operation": operation, "versions": versions });
        world.patch_status("ImageComponent", "base", failed).await;
        for change in [&elsewhere, &account] {
            assert_eq!(patch(&world, &object, change).await.is_ok(), is_open, "{change}");
        }
    }
}

#[tokio::test]
async fn versions_need_a_name_and_what_the_next_one_is_to_be_like() {
    let world = World::empty("bump-needs").await;
    let object = |mut spec: Value| {
        spec["versionPolicy"] = json!("Bump");
        component("base", spec)
    };
    let import = json!({ "import": { "id": "ic-1" } });
    let alike = json!({ "import": { "id": "ic-1" }, "forProvider": { "systemType": "Linux", "componentType": "Build" } });
    for spec in [json!({}), json!({ "versionsToKeep": 1 }), json!({ "versionsToKeep": 100 }), alike] {
        assert_accepted(create(&world, &object(spec.clone())).await, &spec.to_string());
    }
    let name = "versionPolicy Bump needs forProvider.name: versions are told apart within a name";
    let like = "versionPolicy Bump with import needs forProvider.systemType and forProvider.componentType, so that the next \
                version is like the one that is taken over";
    assert_refused(
        create(&world, &object(json!({ "forProvider": { "name": null } }))).await,
        &[("spec", name)],
        "name",
    );
    assert_refused(create(&world, &object(import)).await, &[("spec", like)], "import");
    for count in [0, 101] {
        assert!(create(&world, &object(json!({ "versionsToKeep": count }))).await.is_err(), "{count}");
    }
}

#[tokio::test]
async fn a_refusal_before_the_operator_has_seen_the_object_says_so() {
    let world = World::empty("unseen").await;
    let object = component("new", json!({}));
    world.create(object.clone()).await;
    for change in [
        json!({ "forProvider": { "content": "RUN false" } }),
        json!({ "accountRef": { "name": "other" } }),
        json!({ "import": { "id": "ic-2" } }),
    ] {
        let change = json!({ "spec": change });
        let says = |answer: Answer, what: &str| format!("{:?}", answer.expect_err("closed")).contains(what);
        let says_so = |answer: Answer| says(answer, "has not seen this object yet");
        world.patch_status("ImageComponent", "new", json!({ "phase": null })).await;
        assert!(says_so(patch(&world, &object, &change).await), "{change}");
        world.patch_status("ImageComponent", "new", json!({ "phase": "Submitting" })).await;
        assert!(says(patch(&world, &object, &change).await, "no longer Submitting"), "{change}");
        world.patch_status("ImageComponent", "new", json!({ "phase": "Ready" })).await;
        assert!(!says_so(patch(&world, &object, &change).await), "{change}");
        assert!(!says(patch(&world, &object, &change).await, "no longer Submitting"), "{change}");
    }
}

#[tokio::test]
async fn what_differs_can_be_set_to_what_the_vendor_has() {
    let world = World::empty("differs").await;
    let object = component("differs", json!({ "forProvider": { "regionId": "cn-hangzhou" } }));
    world.create(object.clone()).await;
    let operation =
        json!({ "action": "CreateImageComponent", "token": "t", "attempt": 1, "state": "Succeeded" });
    for (reason, is_open) in [("Available", false), ("SpecDiffers", true)] {
        let condition = json!({
            "type": "Stalled", "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let status = json!({
            "phase": "Ready", "imageId": "ic-1", "operation": operation, "conditions": [condition],
        });
        world.patch_status("ImageComponent", "differs", status).await;
        for (field, value) in fixed() {
            let change = json!({ "spec": { "forProvider": { field: value } } });
            let answer = patch(&world, &object, &change).await;
            // Where it is, nobody can set to something else: its id means nothing elsewhere.
            if is_open && field != "regionId" {
                assert_accepted(answer, field);
            } else {
                assert_closed(answer, field, reason);
            }
        }
    }
}

#[tokio::test]
async fn a_field_that_cannot_be_changed_cannot_be_taken_away() {
    let world = World::empty("removed").await;
    let import = json!({ "import": { "id": "ic-1" }, "forProvider": { "regionId": "cn-hangzhou", "description": "the first" } });
    let object = component("full", import);
    world.create(object.clone()).await;
    for field in ["regionId", "name", "description", "content", "componentVersion"] {
        let change = json!({ "spec": { "forProvider": { field: null } } });
        assert_closed(patch(&world, &object, &change).await, field, "taken away");
    }
}

#[tokio::test]
async fn everything_else_can_be_changed() {
    let world = World::empty("open").await;
    let object = component("ready", json!({}));
    world.create(object.clone()).await;
    let operation =
        json!({ "action": "CreateImageComponent", "token": "t", "attempt": 1, "state": "Succeeded" });
    let ready = json!({ "phase": "Ready", "imageId": "ic-1", "operation": operation });
    world.patch_status("ImageComponent", "ready", ready).await;
    for change in [
        json!({ "forProvider": { "tag": [{ "key": "team" }] } }),
        json!({ "forProvider": { "resourceGroupId": "rg-1" } }),
        json!({ "deletionPolicy": "Retain" }),
        json!({ "managementPolicy": "Observe", "import": { "id": "ic-1" } }),
        json!({ "suspend": true }),
        json!({ "resyncInterval": "0s", "timeout": "1h", "recreatePolicy": "WhenMissing" }),
    ] {
        let answer = patch(&world, &object, &json!({ "spec": change })).await;
        assert_accepted(answer, &change.to_string());
    }
    let import = json!({ "spec": { "import": { "id": "ic-2" } } });
    let sentence = "import can be given or changed only before anything is asked for, after that failed, after a restore, or to name what is there";
    let refusal = patch(&world, &object, &import).await.expect_err("another image");
    assert!(format!("{refusal:?}").contains(sentence), "{refusal:?}");
    // What was made stays in its account, and what a failed build left behind was made as well.
    let failed = json!({ "action": "CreateImageComponent", "token": "t", "attempt": 1, "state": "Failed" });
    for (status, is_open) in [
        (json!({ "phase": "Ready" }), false),
        (json!({ "phase": "Submitting", "imageId": null }), false),
        (json!({ "phase": "Failed", "imageId": "ic-1", "operation": failed }), false),
        (json!({ "phase": "Failed", "imageId": null, "operation": failed }), true),
        (json!({ "phase": "Pending", "imageId": null, "operation": null }), true),
    ] {
        world.patch_status("ImageComponent", "ready", status.clone()).await;
        for account in [json!({ "name": "other" }), json!({ "kind": "ClusterCloudAccount" })] {
            let answer = patch(&world, &object, &json!({ "spec": { "accountRef": account } })).await;
            let sentence = "accountRef cannot be changed once something is asked for: what was made stays in its account; make a new object";
            if is_open {
                assert_accepted(answer, &status.to_string());
            } else {
                assert_refused(answer, &[("spec.accountRef", sentence)], &status.to_string());
            }
        }
    }
}
