//! ImageDistribution: a copy in each region of its list, whatever becomes of the copies meanwhile, and nothing left when it goes.

use super::cli::cloudimages;
use crate::harness::{World, condition, distribution, is_ready};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When};

const KIND: &str = "ImageDistribution";
const COPY: &str = "AliyunImageCopy";
const CREATE: &str = "CopyImage";

fn listed(regions: &[&str]) -> Value {
    regions.iter().map(|region| json!({ "regionId": region })).collect()
}

fn regions(names: &[&str]) -> Value {
    json!({ "spec": { "regions": listed(names) } })
}

/// The regions of the vendor's images.
fn images(world: &World) -> Vec<String> {
    let mut regions: Vec<_> =
        world.vendor.aliyun_ecs().images().into_iter().map(|image| image.region).collect();
    regions.sort();
    regions
}

/// Vendors that are quick, and an operator that looks every second.
async fn quick(name: &str) -> World {
    let mut world = World::with_account(name).await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    world.start_operator().await;
    world
}

fn leaves_nothing(world: &World) {
    assert_eq!(world.vendor.aliyun_ecs().images(), []);
    assert_eq!(world.vendor.aliyun_ecs().snapshots(), []);
}

#[tokio::test]
async fn an_image_is_in_each_region_of_the_list_and_nowhere_when_it_goes() {
    let world = quick("many-life").await;
    let spec = json!({ "forProvider": { "tag": [{ "key": "team", "value": "base" }] } });
    world.create(distribution("life", &["cn-shanghai", "cn-beijing", "cn-shenzhen"], spec)).await;
    let object = world.until_ready(KIND, "life").await;
    assert_eq!(object["status"]["copies"], "3/3");
    assert_eq!(images(&world), ["cn-beijing", "cn-shanghai", "cn-shenzhen"]);
    let ecs = world.vendor.aliyun_ecs();
    let rows = object["status"]["regions"].as_array().expect("rows").clone();
    for (row, region) in rows.iter().zip(["cn-shanghai", "cn-beijing", "cn-shenzhen"]) {
        assert_eq!(
            *row,
            json!({ "regionId": region, "name": format!("life-{region}"), "imageId": row["imageId"], "phase": "Ready" })
        );
        let image = ecs.image(row["imageId"].as_str().expect("an id")).expect("it is there");
        assert_eq!((image.region.as_str(), image.name.as_str()), (region, "many-life"));
        assert_eq!(image.tags["team"], "base");
    }
    let copy = world.get(COPY, "life-cn-beijing").await.expect("it is there");
    let owner = &copy["metadata"]["ownerReferences"];
    assert_eq!(
        *owner,
        json!([{
            "apiVersion": "cloudimages.dev/v1alpha1", "kind": KIND, "name": "life", "uid": object["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": true,
        }])
    );

    // People see the copies below it.
    let (code, tree, err) = cloudimages(&world, &["tree"]).await;
    assert_eq!(code, 0, "{err}");
    let at = |text: &str| tree.find(text).unwrap_or_else(|| panic!("no {text} in {tree}"));
    assert!(
        at("ImageDistribution/life  Ready  3/3 copies") < at("── AliyunImageCopy/life-cn-beijing  Ready  m-"),
        "{tree}"
    );
    assert!(tree.contains("    ├── AliyunImageCopy/life-cn-beijing"), "below it: {tree}");
    let (code, out, err) = cloudimages(&world, &["status", "imgdist/life"]).await;
    assert!(code == 0 && out.contains("3/3 copies"), "{out}{err}");
    let (code, out, err) = cloudimages(&world, &["wait", "imgdist/life", "--timeout", "60s"]).await;
    assert!(code == 0 && out.contains("ImageDistribution/life is Ready"), "{out}{err}");

    // One goes, one comes, and what they have in common changes.
    let mut change = regions(&["cn-beijing", "cn-chengdu", "cn-shenzhen"]);
    change["spec"]["forProvider"] = json!({ "tag": [{ "key": "team", "value": "edge" }] });
    world.patch(KIND, "life", change).await;
    world.until_gone(COPY, "life-cn-shanghai").await;
    let object = world.until_ready(KIND, "life").await;
    assert_eq!(images(&world), ["cn-beijing", "cn-chengdu", "cn-shenzhen"]);
    assert!(ecs.images().iter().all(|image| image.tags["team"] == "edge"));
    assert_eq!(object["status"]["regions"][0]["imageId"], rows[1]["imageId"], "what stays is not made anew");
    assert_eq!(world.effects(CREATE), 4);

    // At rest nothing is written.
    let before = world.writes("imagedistributions").len();
    world.request(COPY, "life-cn-beijing", "a look").await;
    world
        .until(COPY, "life-cn-beijing", "it was looked at", |it| {
            it["status"]["lastHandledReconcileAt"] == "a look"
        })
        .await;
    world.until_ready(KIND, "life").await;
    assert_eq!(world.writes("imagedistributions").len(), before);

    world.delete(KIND, "life").await;
    world.until_gone(KIND, "life").await;
    leaves_nothing(&world);
    assert_eq!(world.list(COPY).await, Vec::<Value>::new());
    for reason in ["CopyCreated", "CopyChanged", "CopyDeleted", "Ready"] {
        world.until_event("life", reason).await;
    }
}

#[tokio::test]
async fn the_region_that_fails_is_named_and_goes_on_when_asked() {
    let world = quick("many-fails").await;
    let (code, message) = ("Forbidden.RAM".to_owned(), "not authorized".to_owned());
    let fault = Fault::VendorError { status: 403, code, message, effect: false };
    let refused = FaultRule::new(fault).action(CREATE).parameter("DestinationRegionId", "cn-beijing");
    world.vendor.set_faults(vec![refused]);
    world.create(distribution("fails", &["cn-beijing", "cn-shanghai"], json!({}))).await;
    let stalled = |object: &Value| {
        condition(object, "Stalled")["status"] == "True" && object["status"]["copies"] == "1/2"
    };
    let object = world.until(KIND, "fails", "one is Ready and the other needs a person", stalled).await;
    let (ready, message) =
        (condition(&object, "Ready"), condition(&object, "Stalled")["message"].as_str().expect("why"));
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("False"), &json!("CopyStalled")));
    assert!(message.starts_with("cn-beijing: AliyunImageCopy fails-cn-beijing: "), "{message}");
    assert!(message.ends_with("; 1 of 2 copies are Ready"), "{message}");
    assert_eq!(object["status"]["phase"], "Failed");
    let (code, out, _) = cloudimages(&world, &["wait", "imgdist/fails", "--timeout", "60s"]).await;
    assert!(code == 2 && out.contains("CopyStalled: cn-beijing"), "{out}");
    world.vendor.set_faults(vec![]);
    world.request(KIND, "fails", "again").await;
    let object = world.until_ready(KIND, "fails").await;
    assert_eq!(object["status"]["lastHandledReconcileAt"], "again");
    world.delete(KIND, "fails").await;
    world.until_gone(KIND, "fails").await;
    leaves_nothing(&world);
}

#[tokio::test]
async fn a_copy_that_somebody_changed_or_deleted_is_set_right_and_a_namesake_is_left_alone() {
    let world = quick("many-hands").await;
    let theirs = json!({
        "apiVersion": "cloudimages.dev/v1alpha1", "kind": COPY, "metadata": { "name": "hands-cn-shenzhen" },
        "spec": { "suspend": true, "forProvider": {
            "imageId": "m-theirs", "destinationRegionId": "cn-shenzhen", "destinationImageName": "theirs",
        } },
    });
    let theirs = world.create(theirs).await;
    world.create(distribution("hands", &["cn-beijing", "cn-shenzhen"], json!({}))).await;
    let message = world.until_condition(KIND, "hands", "Stalled", "True", "NameTaken").await;
    assert!(message.contains("cn-shenzhen: AliyunImageCopy hands-cn-shenzhen is there already"), "{message}");
    let is_made = |object: &Value| object["status"]["copies"] == "1/2";
    world.until(KIND, "hands", "the other one is made", is_made).await;
    let left = world.get(COPY, "hands-cn-shenzhen").await.expect("it is there");
    assert_eq!((&left["spec"], &left["metadata"]["ownerReferences"]), (&theirs["spec"], &Value::Null));
    // It goes on by itself when the name is free.
    world.delete(COPY, "hands-cn-shenzhen").await;
    let object = world.until_ready(KIND, "hands").await;
    assert_eq!(images(&world), ["cn-beijing", "cn-shenzhen"]);

    let changed = json!({ "deletionPolicy": "Retain", "forProvider": { "destinationImageName": "by-hand" } });
    world.patch(COPY, "hands-cn-beijing", json!({ "spec": changed })).await;
    let is_right = |object: &Value| {
        let spec = &object["spec"];
        spec["forProvider"]["destinationImageName"] == "many-hands" && spec["deletionPolicy"].is_null()
    };
    world.until(COPY, "hands-cn-beijing", "it is set right", is_right).await;
    world.until_ready(KIND, "hands").await;
    world.delete(COPY, "hands-cn-shenzhen").await;
    let is_another = |it: &Value| {
        is_ready(it)
            && it["status"]["regions"][1]["imageId"].is_string()
            && it["status"]["regions"][1]["imageId"] != object["status"]["regions"][1]["imageId"]
    };
    world.until(KIND, "hands", "it is made anew", is_another).await;
    world.delete(KIND, "hands").await;
    world.until_gone(KIND, "hands").await;
    leaves_nothing(&world);
}

#[tokio::test]
async fn few_are_under_way_at_a_time_also_when_the_operator_is_killed_in_between() {
    let mut world = World::with_account("many-places").await;
    world.beat = Duration::from_secs(1);
    world.vendor.configure(|settings| settings.aliyun_ecs.copy_seconds = 3600.0);
    let all = ["cn-beijing", "cn-shanghai", "cn-shenzhen", "cn-chengdu"];
    let lost = FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(2));
    world.vendor.set_faults(vec![lost]);
    world.create(distribution("places", &all, json!({ "maxParallel": 2 }))).await;
    let program = world.start_program(None);
    world.until_true("two are asked for", || world.effects(CREATE) == 2).await;
    drop(program);
    world.start_operator().await;
    let building = |it: &Value| {
        let rows = it["status"]["regions"].as_array().cloned().unwrap_or_default();
        rows.iter().filter(|row| row["phase"] == "Building").count()
    };
    world.until(KIND, "places", "two are under way", |it| building(it) == 2).await;
    assert_eq!((world.list(COPY).await.len(), images(&world).len()), (2, 2));
    // What waits for a place has one as soon as another one is done.
    world.vendor.advance(Duration::from_secs(3600));
    let half = |it: &Value| it["status"]["copies"] == "2/4" && building(it) == 2;
    world.until(KIND, "places", "two are done and two are under way", half).await;
    world.stop_operator().await;
    world.vendor.advance(Duration::from_secs(3600));
    world.start_operator().await;
    world.until_ready(KIND, "places").await;
    assert_eq!(world.effects(CREATE), 4, "{:#?}", world.call_log());
    world.delete(KIND, "places").await;
    world.until_gone(KIND, "places").await;
    leaves_nothing(&world);
}

#[tokio::test]
async fn what_is_retained_stays_and_what_is_suspended_waits() {
    let world = quick("many-stay").await;
    world.create(distribution("stay", &["cn-beijing", "cn-shanghai"], json!({ "suspend": true }))).await;
    let message = world.until_condition(KIND, "stay", "Ready", "False", "Suspended").await;
    assert!(message.contains("0 of 2 copies are Ready"), "{message}");
    assert_eq!(world.list(COPY).await, Vec::<Value>::new());
    world.patch(KIND, "stay", json!({ "spec": { "suspend": false } })).await;
    world.until_ready(KIND, "stay").await;
    // Suspended, it is still as its spec says, until that says otherwise.
    world.patch(KIND, "stay", json!({ "spec": { "suspend": true } })).await;
    world.until_ready(KIND, "stay").await;
    world.patch(KIND, "stay", regions(&["cn-beijing"])).await;
    world.until_condition(KIND, "stay", "Ready", "False", "Suspended").await;
    assert_eq!(world.list(COPY).await.len(), 2);
    // The policy is the copies' before they go, however soon they do.
    world.patch(KIND, "stay", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.delete(KIND, "stay").await;
    world.until_condition(KIND, "stay", "Ready", "False", "Suspended").await;
    assert_eq!(world.list(COPY).await.len(), 2);
    world.patch(KIND, "stay", json!({ "spec": { "suspend": false } })).await;
    world.until_gone(KIND, "stay").await;
    assert_eq!(world.list(COPY).await, Vec::<Value>::new());
    assert_eq!(images(&world), ["cn-beijing", "cn-shanghai"]);
}

#[tokio::test]
async fn what_the_api_server_refuses_of_a_copy_is_said_and_tried_again_when_asked() {
    let world = quick("many-refused").await;
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": "many-refused" },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "many-refused" } },
                "resourceRules": [{
                    "apiGroups": ["cloudimages.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["aliyunimagecopies"],
                }],
            },
            "validations": [{
                "expression": "object.spec.forProvider.destinationRegionId != 'cn-shanghai'", "message": "no copies in Shanghai",
            }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": "many-refused" }, "spec": { "policyName": "many-refused", "validationActions": ["Deny"] },
    });
    for object in [policy, binding] {
        world.create(object).await;
    }
    // The API server goes by it a moment later.
    let probe = json!({
        "apiVersion": "cloudimages.dev/v1alpha1", "kind": COPY, "metadata": { "generateName": "probe-" },
        "spec": { "suspend": true, "forProvider": {
            "imageId": "m-probe", "destinationRegionId": "cn-shanghai", "destinationImageName": "probe",
        } },
    });
    while world.try_create(probe.clone()).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.create(distribution("refused", &["cn-beijing", "cn-shanghai"], json!({}))).await;
    let message = world.until_condition(KIND, "refused", "Stalled", "True", "CopyRefused").await;
    assert!(
        message.contains(
            "cn-shanghai: the API server does not let AliyunImageCopy refused-cn-shanghai be made: "
        ),
        "{message}"
    );
    assert!(message.contains("no copies in Shanghai"), "{message}");
    world.until(KIND, "refused", "the other one is made", |it| it["status"]["copies"] == "1/2").await;
    for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
        world.delete(kind, "many-refused").await;
    }
    while world.try_create(probe.clone()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.request(KIND, "refused", "again").await;
    world.until_ready(KIND, "refused").await;
}

/// What is under way is cancelled, and its place is free for the next one.
#[tokio::test]
async fn a_region_that_is_taken_out_while_its_copy_is_under_way_leaves_nothing_there() {
    let mut world = World::with_account("many-out").await;
    world.beat = Duration::from_secs(1);
    world.vendor.configure(|settings| settings.aliyun_ecs.copy_seconds = 3600.0);
    world.start_operator().await;
    let all = ["cn-beijing", "cn-shanghai", "cn-shenzhen"];
    world.create(distribution("out", &all, json!({ "maxParallel": 2 }))).await;
    let is_under_way = |region: &'static str| {
        move |it: &Value| {
            let rows = it["status"]["regions"].as_array().cloned().unwrap_or_default();
            rows.iter().any(|row| row["regionId"] == region && row["phase"] == "Building")
        }
    };
    let (first, second) = (is_under_way(all[0]), is_under_way(all[1]));
    world.until(KIND, "out", "two are under way", |it| first(it) && second(it)).await;
    assert_eq!(images(&world), [all[0], all[1]]);
    world.patch(KIND, "out", regions(&all[1..])).await;
    world.until_gone(COPY, "out-cn-beijing").await;
    world.until(KIND, "out", "the third one has the place", is_under_way(all[2])).await;
    assert_eq!(images(&world), [all[1], all[2]]);
    assert_eq!((world.effects("CancelCopyImage"), world.effects("DeleteImage")), (1, 0));
    world.vendor.advance(Duration::from_secs(3600));
    let object = world.until_ready(KIND, "out").await;
    assert_eq!((&object["status"]["copies"], world.effects(CREATE)), (&json!("2/2"), 3));
    world.delete(KIND, "out").await;
    world.until_gone(KIND, "out").await;
    leaves_nothing(&world);
}
