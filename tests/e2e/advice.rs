//! What a message advises can be done as it stands, and helps.

use crate::harness::{World, account, component, image_export, secret, volcengine_account};
use serde_json::{Value, json};
use vendor_simulator::{Fault, FaultRule, aliyun_ecs::Component};

const KIND: &str = "ImageComponent";

#[tokio::test]
async fn a_wrong_account_can_be_corrected_as_long_as_nothing_was_made() {
    let mut world = World::with_account("advice-account").await;
    let shared = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ClusterCloudAccount",
        "metadata": { "name": "advice-shared" },
        "spec": {
            "aliyun": {
                "regionId": "cn-hangzhou",
                "credentialsSecretRef": { "name": "aliyun", "namespace": "advice-account" },
                "ecs": { "endpoint": world.endpoint() },
            },
            "allowedNamespaces": { "names": ["advice-account"] },
        },
    });
    world.create(shared).await;
    world.start_operator().await;
    world.create(component("image", json!({ "accountRef": { "name": "advice-shared" } }))).await;
    let message = world.until_condition(KIND, "image", "Ready", "False", "AccountNotFound").await;
    assert!(message.contains("set spec.accountRef.kind: ClusterCloudAccount"), "{message}");

    // First another wrong one, which names nobody else's.
    world.patch(KIND, "image", json!({ "spec": { "accountRef": { "name": "nobody" } } })).await;
    let message = world.until_condition(KIND, "image", "Ready", "False", "AccountNotFound").await;
    assert!(
        message.contains("correct spec.accountRef") && !message.contains("ClusterCloudAccount"),
        "{message}"
    );
    let right = json!({ "kind": "ClusterCloudAccount", "name": "advice-shared" });
    world.patch(KIND, "image", json!({ "spec": { "accountRef": right } })).await;
    world.until_ready(KIND, "image").await;
    let counts = |count: i64| move |account: &Value| account["status"]["images"] == count;
    world.until("ClusterCloudAccount", "advice-shared", "it counts the image", counts(1)).await;

    let back = json!({ "spec": { "accountRef": { "kind": "CloudAccount", "name": "default" } } });
    let refusal = world.try_patch(KIND, "image", back).await.expect_err("what was made stays in its account");
    assert!(refusal.contains("spec.accountRef") && refusal.contains("make a new object"), "{refusal}");
    world.delete(KIND, "image").await;
    world.until_gone(KIND, "image").await;
    world.until("ClusterCloudAccount", "advice-shared", "it counts nobody", counts(0)).await;
    world.delete("ClusterCloudAccount", "advice-shared").await;
    world.until_gone("ClusterCloudAccount", "advice-shared").await;
}

#[tokio::test]
async fn what_was_imported_and_is_gone_can_be_made_by_a_new_object() {
    let world = World::new("advice-missing").await;
    let id = world.vendor.aliyun_ecs().seed(Component { name: "theirs".into(), ..Component::default() });
    let spec = json!({
        "import": { "id": id },
        "recreatePolicy": "WhenMissing",
        "forProvider": { "name": null, "componentVersion": null, "content": null },
    });
    world.create(component("theirs", spec)).await;
    world.until_ready(KIND, "theirs").await;
    world.vendor.aliyun_ecs().remove(&id);
    world.request(KIND, "theirs", "look").await;
    let message = world.until_condition(KIND, "theirs", "Stalled", "True", "Missing").await;
    assert!(!message.contains("recreatePolicy") && message.contains("without import"), "{message}");
    world.delete(KIND, "theirs").await;
    world.until_gone(KIND, "theirs").await;
    world.create(component("theirs", json!({}))).await;
    world.until_ready(KIND, "theirs").await;
}

#[tokio::test]
async fn an_import_that_asks_for_nothing_is_as_it_is() {
    let world = World::new("advice-windows").await;
    let theirs = Component { name: "theirs".into(), system_type: "Windows".into(), ..Component::default() };
    let id = world.vendor.aliyun_ecs().seed(theirs);
    let import = |parameters: Value| {
        let mut object = component("theirs", json!({ "import": { "id": id } }));
        object["spec"]["forProvider"] = parameters;
        object
    };
    let created = world.create(import(json!({}))).await;
    assert_eq!(created["spec"]["forProvider"], json!({}), "nothing is filled in");
    let object = world.until_ready(KIND, "theirs").await;
    assert_eq!(object["status"]["atProvider"]["systemType"], "Windows");
}

#[tokio::test]
async fn a_reference_that_nothing_fits_can_be_replaced_by_the_id() {
    let mut world = World::at_volcengine("advice-reference").await;
    world.stop_operator().await;
    world.fitting = &[];
    world.start_operator().await;
    let spec =
        json!({ "forProvider": { "imageId": null, "imageRef": { "name": "phone", "kind": "AospImage" } } });
    world.create(image_export("export", "", spec)).await;
    let message =
        world.until_condition("ImageExport", "export", "Stalled", "True", "ReferenceNotReady").await;
    assert!(message.contains("give forProvider.imageId instead"), "{message}");
    let instead = json!({ "imageRef": null, "imageId": "image-44" });
    world.patch("ImageExport", "export", json!({ "spec": { "forProvider": instead } })).await;
    world.until("ImageExport", "export", "it runs", |object| object["status"]["phase"] == "Building").await;
}

/// Somebody changed at the vendor what its API has no call for.
#[tokio::test]
async fn what_was_made_and_differs_can_be_corrected_to_what_the_vendor_has() {
    let world = World::new("advice-differs").await;
    world.create(component("made", json!({}))).await;
    let made = world.until_ready(KIND, "made").await;
    let id = made["status"]["imageId"].as_str().expect("an id");
    let content = |content: &str| json!({ "spec": { "forProvider": { "content": content } } });
    let refusal = world.try_patch(KIND, "made", content("RUN echo other")).await.expect_err("it is fixed");
    assert!(refusal.contains("content"), "{refusal}");
    assert!(world.vendor.aliyun_ecs().modify(id, |component| component.content = "RUN echo theirs".into()));
    world.request(KIND, "made", "look").await;
    let message = world.until_condition(KIND, "made", "Stalled", "True", "SpecDiffers").await;
    assert!(message.contains("content") && message.contains("status.atProvider"), "{message}");
    world.patch(KIND, "made", content("RUN echo wrong again")).await;
    world.until_condition(KIND, "made", "Stalled", "True", "SpecDiffers").await;
    world.patch(KIND, "made", content("RUN echo theirs")).await;
    world.until_ready(KIND, "made").await;
    world.try_patch(KIND, "made", content("RUN echo other")).await.expect_err("it is fixed again");
    assert_eq!(world.effects("CreateImageComponent"), 1);
    world.delete(KIND, "made").await;
    world.until_gone(KIND, "made").await;
    assert_eq!(world.vendor.aliyun_ecs().count(), 0);
}

/// What a person does about a condition.
enum Deed {
    /// Changes the object's spec, by a merge patch.
    Spec(Value),
    /// Mends at the vendor what the message names, and asks for another look.
    Vendor,
}

/// Every reason whose advice is one deed, none of which another test does. Which test does what a reason advises is listed in
/// `tests/docs/advised.rs`.
#[tokio::test]
async fn what_each_reason_advises_helps() {
    use Deed::{Spec, Vendor};
    const CREATE: &str = "CreateImageComponent";
    let elsewhere = World::empty("advised-elsewhere").await;
    let mut world = World::with_account("advised").await;
    elsewhere.create(secret("aliyun")).await;
    world.create(secret("volcengine")).await;
    world.create(volcengine_account("volcengine", world.volcengine_endpoint())).await;
    world.create(account("leaving", world.endpoint())).await;
    let mut shared = account("advised-elsewhere", world.endpoint());
    shared["kind"] = json!("ClusterCloudAccount");
    shared["spec"]["aliyun"]["credentialsSecretRef"]["namespace"] = json!("advised-elsewhere");
    shared["spec"]["allowedNamespaces"] = json!({ "names": ["advised"] });
    elsewhere.create(shared).await;
    let ecs = world.vendor.aliyun_ecs();
    let seed = |name: &str| {
        let content = "RUN echo theirs".into();
        ecs.seed(Component { name: name.into(), content, version: "1.0.0".into(), ..Component::default() })
    };
    let there = seed("there");
    seed("alreadyexists");

    let refused = [
        ("NotFound", 404, "InvalidResourceGroup.NotFound"),
        ("PermissionDenied", 403, "NoPermission"),
        ("QuotaExceeded", 400, "QuotaExceed.ImageComponent"),
        ("ClockSkew", 400, "InvalidTimeStamp.Expired"),
        ("VendorRefused", 400, "Odd.Code"),
    ];
    let rules = refused.map(|(reason, status, code)| {
        let fault = Fault::VendorError { status, code: code.into(), message: "No.".into(), effect: false };
        FaultRule::new(fault).action(CREATE).parameter("Name", reason.to_lowercase())
    });
    world.vendor.set_faults(rules.into());
    world.start_operator().await;
    // What some need to get where they are.
    world.create(component("keeps", json!({ "suspend": true, "accountRef": { "name": "leaving" } }))).await;
    world.until("CloudAccount", "leaving", "it is used", |account| account["status"]["images"] == 1).await;
    world.delete("CloudAccount", "leaving").await;
    world.create(component("owner", json!({}))).await;
    let owned = world.until_ready(KIND, "owner").await["status"]["imageId"].clone();

    let right_account = || Spec(json!({ "accountRef": { "kind": "CloudAccount", "name": "default" } }));
    let nothing = || json!({ "name": null, "componentVersion": null, "content": null });
    let import = |id: Value| json!({ "import": { "id": id }, "forProvider": nothing() });
    let shared = json!({ "accountRef": { "kind": "ClusterCloudAccount", "name": "advised-elsewhere" } });
    let mut rows = vec![
        (
            "WrongVendor",
            json!({ "accountRef": { "name": "volcengine" } }),
            "spec.accountRef",
            right_account(),
        ),
        ("AccountNotWatched", shared, "use another account", right_account()),
        ("AccountDeleting", json!({ "accountRef": { "name": "leaving" } }), "being deleted", right_account()),
        ("AlreadyExists", json!({}), "name", Spec(json!({ "forProvider": { "name": "anothername" } }))),
        (
            "ImportNotFound",
            import(json!("ic-nobody")),
            "correct import.id",
            Spec(json!({ "import": { "id": there } })),
        ),
        (
            "HeldByOther",
            import(owned),
            "managementPolicy: Observe",
            Spec(json!({ "managementPolicy": "Observe" })),
        ),
    ];
    rows.extend(refused.map(|(reason, _, code)| (reason, json!({}), code, Vendor)));
    let name = |reason: &str| reason.to_lowercase();
    for (reason, spec, ..) in &rows {
        world.create(component(&name(reason), spec.clone())).await;
    }
    for (reason, _, says, _) in &rows {
        let message = world.until_condition(KIND, &name(reason), "Ready", "False", reason).await;
        assert!(message.contains(says), "{reason}: {message}");
    }
    world.vendor.set_faults(vec![]);
    for (reason, _, _, deed) in &rows {
        match deed {
            Spec(change) => drop(world.patch(KIND, &name(reason), json!({ "spec": change })).await),
            Vendor => world.request(KIND, &name(reason), "now").await,
        }
    }
    for (reason, ..) in &rows {
        world.until_ready(KIND, &name(reason)).await;
    }
    // Each was made once, but what was there already.
    assert_eq!(world.effects(CREATE), rows.len() - 2 + 1, "{:#?}", world.call_log());
    let made = world.get(KIND, "owner").await.expect("it is there")["status"]["imageId"].clone();
    world.vendor.aliyun_ecs().remove(made.as_str().expect("an id"));
    world.delete(KIND, "heldbyother").await;
    world.request(KIND, "owner", "look").await;
    let message = world.until_condition(KIND, "owner", "Stalled", "True", "Missing").await;
    assert!(message.contains("recreatePolicy: WhenMissing"), "{message}");
    world.patch(KIND, "owner", json!({ "spec": { "recreatePolicy": "WhenMissing" } })).await;
    world.until_ready(KIND, "owner").await;
    world.delete(KIND, "keeps").await;
    world.until_gone("CloudAccount", "leaving").await;
    elsewhere.delete("ClusterCloudAccount", "advised-elsewhere").await;
}

/// Who sets it too is found, or the spec says what the vendor keeps.
#[tokio::test]
async fn a_field_that_does_not_stay_is_named_and_stays_when_nobody_else_sets_it() {
    let world = World::new("advised-converging").await;
    let tagged = |value: &str| json!({ "forProvider": { "tag": [{ "key": "team", "value": value }] } });
    for name in ["found", "givenin"] {
        world.create(component(name, tagged("base"))).await;
        let object = world.until_ready(KIND, name).await;
        let id = object["status"]["imageId"].as_str().expect("an id").to_owned();
        let ecs = world.vendor.aliyun_ecs();
        // Whatever is set, it is theirs again at once.
        let theirs = async {
            loop {
                ecs.modify(&id, |component| drop(component.tags.insert("team".into(), "theirs".into())));
                tokio::task::yield_now().await;
            }
        };
        let told = async {
            world.request(KIND, name, "look").await;
            world.until_condition(KIND, name, "Stalled", "True", "NotConverging").await
        };
        let message = tokio::select! {
            () = theirs => unreachable!("it never ends"),
            message = told => message,
        };
        assert!(message.contains("tag") && message.contains("find who sets it"), "{message}");
        if name == "found" {
            world.request(KIND, name, "found").await;
        } else {
            world.patch(KIND, name, json!({ "spec": tagged("theirs") })).await;
        }
        world.until_ready(KIND, name).await;
    }
}
