//! Only what the operator wrote for this very object tells what was asked in its name: not a finalizer, not a copy, not a
//! backup, and not what a tenant would like it to believe.

use crate::harness::{World, aosp_image, component, condition, image_export};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, aliyun_ecs::Component};

const FINALIZER: &str = "cloudimages.dev/external";
const RECORD: &str = "cloudimages.dev/attempt";
const BUILD: &str = "BuildAOSPImage";
const EXPORT: &str = "ExportImage";
const IMAGE: &str = "image-44";
const MINUTE: Duration = Duration::from_secs(60);

fn is_building(object: &Value) -> bool {
    object["status"]["phase"] == "Building"
}

fn is_held(object: &Value) -> bool {
    let uid = object["metadata"]["uid"].as_str().expect("a uid");
    let record = object["metadata"]["annotations"][RECORD].as_str().unwrap_or_default();
    object["metadata"]["finalizers"].as_array().is_some_and(|all| all.contains(&json!(FINALIZER)))
        && record.starts_with(&format!("{uid}/"))
}

/// The manifest that a backup keeps of an object: what the API server gives to each one is taken off.
fn backup(object: &Value) -> Value {
    let mut saved = object.clone();
    let metadata = saved["metadata"].as_object_mut().expect("metadata");
    metadata.retain(|key, _| matches!(key.as_str(), "name" | "annotations" | "finalizers" | "labels"));
    saved.as_object_mut().expect("an object").remove("status");
    saved
}

/// The object is lost without the vendor, as with a cluster.
async fn lose(world: &World, kind: &str, name: &str) {
    world.patch(kind, name, json!({ "metadata": { "finalizers": null } })).await;
    world.delete(kind, name).await;
    world.until_gone(kind, name).await;
}

#[tokio::test]
async fn what_is_restored_from_a_backup_is_not_built_again() {
    const KIND: &str = "AospImage";
    let names = ["adopted", "imported", "resubmitted", "let-go"];
    let mut world = World::at_volcengine("restored").await;
    let mut backups = vec![];
    for name in names {
        world.create(aosp_image(name, json!({}))).await;
        let object = world.until(KIND, name, "it is Building", is_building).await;
        backups.push((backup(&object), object["status"]["imageId"].as_str().expect("an id").to_owned()));
    }
    world.stop_operator().await;
    for name in names {
        lose(&world, KIND, name).await;
    }
    world.vendor.advance(2 * MINUTE);
    for (saved, _) in &backups {
        world.create(saved.clone()).await;
    }
    world.start_operator().await;
    for (name, (_, id)) in names.into_iter().zip(&backups) {
        let message = world.until_condition(KIND, name, "Stalled", "True", "Restored").await;
        assert!(message.contains(id) && message.contains("restored"), "{message}");
        let object = world.get(KIND, name).await.expect("it is there");
        assert_eq!(object["status"]["phase"], "Unclear");
        assert_eq!(object["status"]["operation"]["candidates"], json!([id]));
    }
    assert_eq!(world.calls(BUILD), 4, "nothing is made before a person says so");

    // Each way that the message names.
    let outcome = "cloudimages.dev/outcome";
    world.annotate(KIND, "adopted", outcome, &format!("adopt={}", backups[0].1)).await;
    world.patch(KIND, "imported", json!({ "spec": { "import": { "id": backups[1].1 } } })).await;
    world.annotate(KIND, "resubmitted", outcome, "resubmit").await;
    for (name, (_, id)) in names.into_iter().zip(&backups).take(2) {
        let object = world.until_ready(KIND, name).await;
        assert_eq!(object["status"]["imageId"], id.as_str());
        assert_eq!(object["status"]["operation"]["action"], "Import");
        assert!(is_held(&object), "{object:#}");
    }
    let again = world.until(KIND, "resubmitted", "it is built anew", is_building).await;
    assert_ne!(again["status"]["imageId"], backups[2].1.as_str());
    assert!(is_held(&again), "{again:#}");
    assert_eq!(world.effects(BUILD), 5);

    // What was made for an earlier object is not this one's to delete.
    for name in ["adopted", "let-go"] {
        world.delete(KIND, name).await;
        world.until_gone(KIND, name).await;
    }
    assert_eq!(world.calls("DeleteAOSPImage"), 0);
}

/// As `kubectl get -o yaml | sed | kubectl create` makes it.
#[tokio::test]
async fn a_copy_waits_and_does_its_own_work() {
    const KIND: &str = "ImageExport";
    let world = World::at_volcengine("copied").await;
    world.vendor.configure(|settings| settings.volcengine.lock_while_exporting = false);
    world.create(image_export("first", IMAGE, json!({}))).await;
    let first = world.until(KIND, "first", "it runs", is_building).await;
    for (name, with_record) in [("copy", true), ("bare", false)] {
        let mut copy = backup(&first);
        copy["metadata"]["name"] = json!(name);
        copy["spec"]["forProvider"]["tosBucket"] = json!(format!("bucket-{name}"));
        if !with_record {
            copy["metadata"]["annotations"] = json!(null);
        }
        world.create(copy).await;
        world.until_condition(KIND, name, "Reconciling", "True", "WaitsForOther").await;
    }
    assert_eq!(world.effects(EXPORT), 1);
    world.run(60.0);
    for name in ["first", "copy", "bare"] {
        world.until_ready(KIND, name).await;
    }
    assert_eq!((world.effects(EXPORT), world.vendor.volcengine().overlapping_exports()), (3, vec![]));
    let files = world.vendor.volcengine().exported_objects();
    for name in ["copy", "bare"] {
        assert!(files.contains(&format!("tos://bucket-{name}/test123_{IMAGE}_system.qcow2")), "{files:?}");
    }
}

/// What is deleted for good and made anew from the manifest that `kubectl get -o yaml` gave is a new object.
#[tokio::test]
async fn a_manifest_with_the_record_of_what_was_deleted_is_made_anew() {
    const KIND: &str = "ImageComponent";
    let world = World::new("record-old").await;
    world.create(component("again", json!({}))).await;
    let saved = backup(&world.until_ready(KIND, "again").await);
    assert!(saved["metadata"]["annotations"][RECORD].is_string(), "{saved:#}");
    world.delete(KIND, "again").await;
    world.until_gone(KIND, "again").await;
    world.create(saved).await;
    world.until_ready(KIND, "again").await;
    assert_eq!((world.effects("CreateImageComponent"), world.vendor.aliyun_ecs().count()), (2, 1));
}

/// Without a record, a finalizer; with one, as a tenant may write it who reads his own uid.
#[tokio::test]
async fn who_may_not_use_an_account_gets_no_call_from_anything_that_he_writes() {
    const KIND: &str = "ImageComponent";
    let world = World::new("not-entitled").await;
    world
        .create(json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": "ClusterCloudAccount",
            "metadata": { "name": "not-entitled" },
            "spec": {
                "aliyun": {
                    "regionId": "cn-hangzhou",
                    "credentialsSecretRef": { "name": "aliyun", "namespace": "not-entitled" },
                    "ecs": { "endpoint": world.endpoint() },
                },
                "allowedNamespaces": { "names": ["somebody-else"] },
            },
        }))
        .await;
    for name in ["preset", "retained", "forged"] {
        let account = json!({ "accountRef": { "kind": "ClusterCloudAccount", "name": "not-entitled" } });
        let mut object = component(name, account);
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        world.create(object).await;
        world.until_condition(KIND, name, "Ready", "False", "NamespaceNotAllowed").await;
    }
    let forged = world.get(KIND, "forged").await.expect("it is there");
    let uid = forged["metadata"]["uid"].as_str().expect("a uid");
    world.patch_status(KIND, "forged", json!({ "phase": null })).await;
    world.annotate(KIND, "forged", RECORD, &format!("{uid}/1")).await;
    world.patch(KIND, "retained", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    for name in ["preset", "retained", "forged"] {
        world.delete(KIND, name).await;
    }
    for name in ["preset", "retained"] {
        world.until_gone(KIND, name).await;
    }
    // What may have been begun waits for the right to look, or to be let go.
    let message = world.until_condition(KIND, "forged", "Ready", "False", "NamespaceNotAllowed").await;
    assert!(message.contains("not-entitled"), "{message}");
    world.patch(KIND, "forged", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.until_gone(KIND, "forged").await;
    assert!(world.vendor.ledger().calls.is_empty(), "{:#?}", world.call_log());
}

#[tokio::test]
async fn nobody_is_held_up_by_one_who_cannot_have_begun() {
    const KIND: &str = "ImageExport";
    let world = World::at_volcengine("blocker").await;
    for (name, spec) in [
        ("no-account", json!({ "suspend": true, "accountRef": { "name": "none" } })),
        ("suspended", json!({ "suspend": true })),
    ] {
        let mut object = image_export(name, IMAGE, spec);
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        let object = world.create(object).await;
        let uid = object["metadata"]["uid"].as_str().expect("a uid");
        // Before it is seen, nobody could tell the forgery from what a crash leaves.
        world.until(KIND, name, "it is seen", |object| object["status"]["phase"].is_string()).await;
        world.annotate(KIND, name, RECORD, &format!("{uid}/1")).await;
    }
    world.create(image_export("victim", IMAGE, json!({}))).await;
    world.until(KIND, "victim", "it runs", is_building).await;
}

#[tokio::test]
async fn a_finalizer_that_a_replacement_took_off_is_put_back() {
    let mut world = World::at_volcengine("replaced").await;
    world.create(aosp_image("phone", json!({}))).await;
    world.create(image_export("export", IMAGE, json!({}))).await;
    world.until("AospImage", "phone", "it is built", is_building).await;
    world.until("ImageExport", "export", "it runs", is_building).await;
    world.vendor.advance(2 * MINUTE);
    let kinds = [("AospImage", "phone"), ("ImageExport", "export")];
    let bare = json!({ "metadata": { "finalizers": null, "annotations": null } });
    for (kind, name) in kinds {
        world.until_ready(kind, name).await;
        world.patch(kind, name, bare.clone()).await;
        tokio::time::timeout(Duration::from_secs(30), world.until(kind, name, "it is held again", is_held))
            .await
            .expect("it is put back within seconds");
    }
    // While nobody looked, too.
    world.stop_operator().await;
    for (kind, name) in kinds {
        world.patch(kind, name, bare.clone()).await;
    }
    world.start_operator().await;
    for (kind, name) in kinds {
        world.until(kind, name, "it is held again", is_held).await;
        world.delete(kind, name).await;
        world.until_gone(kind, name).await;
    }
    assert_eq!(world.effects("DeleteAOSPImage"), 1);
}

#[tokio::test]
async fn to_take_the_finalizer_off_is_to_let_go() {
    const KIND: &str = "ImageComponent";
    let world = World::new("let-go").await;
    let mut object = component("kept", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/theirs"]);
    world.create(object).await;
    world.until_ready(KIND, "kept").await;
    world.patch(KIND, "kept", json!({ "spec": { "suspend": true } })).await;
    world.delete(KIND, "kept").await;
    world.until(KIND, "kept", "its deletion waits", |object| object["status"]["phase"] == "Deleting").await;
    world.patch(KIND, "kept", json!({ "metadata": { "finalizers": ["example.com/theirs"] } })).await;
    world.patch(KIND, "kept", json!({ "spec": { "suspend": false } })).await;
    // Another object's life is long enough for a call that must not come.
    world.create(component("other", json!({}))).await;
    world.until_ready(KIND, "other").await;
    world.patch(KIND, "kept", json!({ "metadata": { "finalizers": null } })).await;
    world.until_gone(KIND, "kept").await;
    assert_eq!((world.calls("DeleteImageComponent"), world.vendor.aliyun_ecs().count()), (0, 2));
}

#[tokio::test]
async fn what_was_taken_over_stays_unless_it_is_to_be_deleted() {
    const KIND: &str = "ImageComponent";
    let world = World::new("taken-over").await;
    let none = json!({ "name": null, "componentVersion": null, "content": null });
    for (name, policy, stays) in [("default", None, true), ("deleted", Some("Delete"), false)] {
        let there = Component { name: name.into(), ..Component::default() };
        let id = world.vendor.aliyun_ecs().seed(there);
        let spec = json!({ "import": { "id": id }, "forProvider": none, "deletionPolicy": policy });
        world.create(component(name, spec)).await;
        world.until_ready(KIND, name).await;
        world.delete(KIND, name).await;
        world.until_gone(KIND, name).await;
        assert_eq!(world.vendor.aliyun_ecs().get(&id).is_some(), stays, "{name}");
    }
    // What it made goes with it, also where it names its own by import afterwards.
    world.create(component("made", json!({}))).await;
    let made = world.until_ready(KIND, "made").await;
    world.patch(KIND, "made", json!({ "spec": { "import": { "id": made["status"]["imageId"] } } })).await;
    world.until_ready(KIND, "made").await;
    world.delete(KIND, "made").await;
    world.until_gone(KIND, "made").await;
    let id = made["status"]["imageId"].as_str().expect("an id");
    assert!(world.vendor.aliyun_ecs().get(id).is_none());
}

/// What an import differs in can be corrected to what the vendor has, field by field.
#[tokio::test]
async fn a_spec_that_says_what_the_vendor_has_is_accepted() {
    const KIND: &str = "ImageComponent";
    let world = World::new("differs").await;
    let theirs =
        Component { name: "theirs".into(), content: "RUN echo theirs".into(), ..Component::default() };
    let id = world.vendor.aliyun_ecs().seed(theirs);
    let spec = json!({
        "import": { "id": id },
        "forProvider": { "name": "theirs", "componentVersion": null, "content": "RUN echo ours" },
    });
    world.create(component("differs", spec)).await;
    let message = world.until_condition(KIND, "differs", "Stalled", "True", "SpecDiffers").await;
    assert!(message.contains("content"), "{message}");
    let right = json!({ "spec": { "forProvider": { "content": "RUN echo theirs" } } });
    world.patch(KIND, "differs", right).await;
    world.until_ready(KIND, "differs").await;
    assert_eq!(world.calls("CreateImageComponent"), 0);
}

#[tokio::test]
async fn what_a_failed_build_left_is_discarded_before_something_else_is_imported() {
    const KIND: &str = "AospImage";
    let world = World::at_volcengine("failed-import").await;
    world.create(aosp_image("other", json!({}))).await;
    let other = world.until(KIND, "other", "it is built", is_building).await;
    let (other_id, made_for) = (other["status"]["imageId"].clone(), other["metadata"]["uid"].clone());
    world.vendor.advance(2 * MINUTE);
    world.until_ready(KIND, "other").await;
    world.patch(KIND, "other", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.delete(KIND, "other").await;
    world.until_gone(KIND, "other").await;

    world.vendor.set_faults(vec![FaultRule::new(Fault::FailBuild).action(BUILD).when(When::first(1))]);
    for name in ["imports", "gone"] {
        world.create(aosp_image(name, json!({}))).await;
        world.until(KIND, name, "it is built", is_building).await;
        world.vendor.advance(2 * MINUTE);
        world.until_condition(KIND, name, "Stalled", "True", "BuildFailed").await;
        let rule = FaultRule::new(Fault::FailBuild).action(BUILD).when(When::first(1));
        world.vendor.set_faults(vec![rule]);
    }
    world.vendor.set_faults(vec![]);
    let import = json!({ "id": other_id, "madeFor": made_for });
    let spec = json!({ "import": import, "forProvider": { "imageName": null } });
    world.patch(KIND, "imports", json!({ "spec": spec })).await;
    let imports = world.until_ready(KIND, "imports").await;
    assert_eq!(imports["status"]["imageId"], other_id);
    assert_eq!(world.effects("DeleteAOSPImage"), 1, "{:#?}", world.call_log());

    // Somebody has cleared the other one away already.
    let gone = world.get(KIND, "gone").await.expect("it is there");
    let left = gone["status"]["imageId"].as_str().expect("an id");
    assert!(world.vendor.volcengine().remove_aosp_image(left).is_some());
    world.request(KIND, "gone", "again").await;
    let again = tokio::time::timeout(
        MINUTE,
        world.until(KIND, "gone", "it is built again", |object| {
            is_building(object) && object["status"]["operation"]["attempt"] == 2
        }),
    );
    again.await.expect("it goes on at the next look");
}

/// A status that came along is no more this object's than a record is.
#[tokio::test]
async fn a_status_that_was_restored_too_is_not_believed() {
    const KIND: &str = "ImageComponent";
    let mut world = World::new("restored-token").await;
    world.create(component("token", json!({}))).await;
    let ready = world.until_ready(KIND, "token").await;
    world.stop_operator().await;
    let saved = backup(&ready);
    lose(&world, KIND, "token").await;
    world.create(saved).await;
    // Some tools bring the status back as well.
    world.patch_status(KIND, "token", ready["status"].clone()).await;
    world.start_operator().await;
    let message = world.until_condition(KIND, "token", "Stalled", "True", "Restored").await;
    for word in ["import", "adopt=", "resubmit", ready["status"]["imageId"].as_str().expect("an id")] {
        assert!(message.contains(word), "{word} is not in {message}");
    }
    let object = world.get(KIND, "token").await.expect("it is there");
    assert_eq!(condition(&object, "Ready")["status"], "False");
    assert_eq!(world.calls("CreateImageComponent"), 1);
}
