//! What the policies of a spec promise: who only observes changes nothing, what is retained stays, what is suspended
//! calls nobody, and what failed or vanished is made again only when asked for.

use crate::harness::{World, component, condition};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, aliyun_ecs::Component};

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";
const DELETE: &str = "DeleteImageComponent";

#[tokio::test]
async fn who_observes_changes_nothing() {
    let world = World::new("observe").await;
    let id = world.vendor.aliyun_ecs().seed(Component {
        name: "theirs".into(),
        tags: [("owner".to_owned(), "them".to_owned())].into(),
        ..Component::default()
    });
    let spec = json!({
        "managementPolicy": "Observe",
        "import": { "id": id },
        "forProvider": { "name": null, "componentVersion": null, "content": null, "tag": [{ "key": "owner", "value": "us" }] },
    });
    world.create(component("theirs", spec)).await;
    let object = world.until_ready(KIND, "theirs").await;
    assert_eq!(object["status"]["imageId"], id.as_str());
    assert!(object["metadata"]["finalizers"].is_null(), "{object:#}");

    world.delete(KIND, "theirs").await;
    world.until_gone(KIND, "theirs").await;
    let ledger = world.vendor.ledger();
    assert!(ledger.effects.is_empty(), "{:#?}", ledger.effects);
    assert!(ledger.calls.iter().all(|call| call.action == "DescribeImageComponents"), "{:#?}", ledger.calls);
    assert!(world.vendor.aliyun_ecs().get(&id).is_some());
}

#[tokio::test]
async fn what_was_only_observed_can_be_taken_over_for_good() {
    let world = World::new("observe-managed").await;
    let id = world.vendor.aliyun_ecs().seed(Component { name: "theirs".into(), ..Component::default() });
    let spec = json!({
        "managementPolicy": "Observe",
        "import": { "id": id },
        "forProvider": { "name": null, "componentVersion": null, "content": null },
    });
    world.create(component("theirs", spec)).await;
    world.until_ready(KIND, "theirs").await;
    world
        .patch(
            KIND,
            "theirs",
            json!({ "spec": { "managementPolicy": "Managed", "deletionPolicy": "Delete" } }),
        )
        .await;
    let held = |object: &Value| object["metadata"]["finalizers"] == json!(["cloudimages.dev/external"]);
    world.until(KIND, "theirs", "it is held", held).await;
    world.until_ready(KIND, "theirs").await;
    world.delete(KIND, "theirs").await;
    world.until_gone(KIND, "theirs").await;
    assert!(world.vendor.aliyun_ecs().get(&id).is_none(), "ours to delete now");
}

#[tokio::test]
async fn what_differs_otherwise_than_was_shown_is_shown_as_well_before_it_is_changed() {
    let mut world = World::with_account("shown-again").await;
    // Long enough to change something between two looks.
    world.beat = Duration::from_secs(15);
    world.start_operator().await;
    let ecs = world.vendor.aliyun_ecs();
    let owner = |owner: &str| [("owner".to_owned(), owner.to_owned())].into();
    let id = ecs.seed(Component { name: "theirs".into(), tags: owner("them"), ..Component::default() });
    let parameters = json!({
        "name": null, "componentVersion": null, "content": null, "tag": [{ "key": "owner", "value": "us" }],
    });
    world.create(component("theirs", json!({ "import": { "id": id }, "forProvider": parameters }))).await;
    for theirs in ["them", "others"] {
        let change = format!("\"owner={theirs}\" → \"owner=us\"");
        let is_shown = |object: &Value| {
            let ready = condition(object, "Ready");
            ready["reason"] == "TakenOver" && ready["message"].as_str().is_some_and(|it| it.contains(&change))
        };
        world.until(KIND, "theirs", "the difference is shown", is_shown).await;
        if theirs == "them" {
            ecs.modify(&id, |component| component.tags = owner("others"));
        }
    }
    world.until_ready(KIND, "theirs").await;
    assert_eq!(ecs.get(&id).expect("there").tags, owner("us"));
}

#[tokio::test]
async fn a_difference_is_shown_before_anything_is_changed() {
    let world = World::new("differences").await;
    let ecs = world.vendor.aliyun_ecs();
    let owner = |owner: &str| [("owner".to_owned(), owner.to_owned())].into();
    let theirs = || Component { name: "theirs".into(), tags: owner("them"), ..Component::default() };
    let import = |id: &str, policy: Value| {
        let mut spec = json!({
            "import": { "id": id },
            "forProvider": { "name": null, "componentVersion": null, "content": null, "tag": [{ "key": "owner", "value": "us" }] },
        });
        spec.as_object_mut().expect("an object").extend(policy.as_object().expect("an object").clone());
        component("theirs", spec)
    };
    let change = "\"owner=them\" → \"owner=us\"";

    // To observe is to be told what it would be to manage.
    let id = ecs.seed(theirs());
    world.create(import(&id, json!({ "managementPolicy": "Observe" }))).await;
    let told = world.until_condition(KIND, "theirs", "Ready", "True", "Drifted").await;
    assert!(told.contains(change) && told.contains("Observe"), "{told}");
    world.patch(KIND, "theirs", json!({ "spec": { "managementPolicy": "Managed" } })).await;
    for reason in ["TakenOver", "Updated"] {
        let event = world.until_event("theirs", reason).await;
        assert!(event["note"].as_str().is_some_and(|note| note.contains(change)), "{event:#}");
    }
    world.until_condition(KIND, "theirs", "Ready", "True", "Available").await;
    assert_eq!(ecs.get(&id).expect("there").tags, owner("us"));

    // What somebody else changes stays where the spec says so, until the spec says something else.
    world.patch(KIND, "theirs", json!({ "spec": { "driftPolicy": "Report" } })).await;
    let seen = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    world.until(KIND, "theirs", "the spec is dealt with", seen).await;
    ecs.modify(&id, |component| component.tags = owner("them"));
    world.request(KIND, "theirs", "now").await;
    let told = world.until_condition(KIND, "theirs", "Ready", "True", "Drifted").await;
    assert!(told.contains(change) && told.contains("Report"), "{told}");
    assert_eq!(ecs.get(&id).expect("there").tags, owner("them"));
    world.patch(KIND, "theirs", json!({ "spec": { "driftPolicy": "Correct" } })).await;
    world.until_condition(KIND, "theirs", "Ready", "True", "Available").await;
    assert_eq!(ecs.get(&id).expect("there").tags, owner("us"));
    world.delete(KIND, "theirs").await;
    world.until_gone(KIND, "theirs").await;

    // So does what is taken over.
    let id = ecs.seed(theirs());
    world.create(import(&id, json!({ "driftPolicy": "Report" }))).await;
    world.until_condition(KIND, "theirs", "Ready", "True", "Drifted").await;
    assert_eq!(ecs.get(&id).expect("there").tags, owner("them"));
}

#[tokio::test]
async fn what_is_retained_stays() {
    let world = World::new("retain").await;
    world.create(component("kept", json!({ "deletionPolicy": "Retain" }))).await;
    let kept = world.until_ready(KIND, "kept").await;
    world.delete(KIND, "kept").await;
    world.until_gone(KIND, "kept").await;
    assert_eq!(world.calls(DELETE), 0);
    let id = kept["status"]["imageId"].as_str().expect("an id");
    assert!(world.vendor.aliyun_ecs().get(id).is_some());
}

/// A deletion waits for its place below the account's limit; meanwhile the thing is to stay after all.
#[tokio::test]
async fn what_is_to_be_retained_after_all_is_not_deleted_when_its_turn_comes() {
    let mut world = World::with_account("retain-late").await;
    let requests = world.start_counted_operator().await;
    let limit = json!({ "action": DELETE, "requests": 1, "period": "20s" });
    world.patch("CloudAccount", "default", json!({ "spec": { "limits": [limit] } })).await;
    for name in ["first", "second"] {
        world.create(component(name, json!({}))).await;
        world.until_ready(KIND, name).await;
    }
    world.delete(KIND, "first").await;
    world.until_gone(KIND, "first").await;
    world.delete(KIND, "second").await;
    // It is asked of each, before it is deleted, whether it is the newest.
    let is_asked = || requests.all().get("GET imagecomponents") == Some(&2);
    world.until_true("it is about to be deleted", is_asked).await;
    world.patch(KIND, "second", json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.until_gone(KIND, "second").await;
    assert_eq!(world.calls(DELETE), 1, "{:#?}", world.call_log());
}

#[tokio::test]
async fn what_is_suspended_calls_nobody() {
    let mut world = World::new("suspend").await;
    world.create(component("paused", json!({ "suspend": true }))).await;
    let message = world.until_condition(KIND, "paused", "Ready", "False", "Suspended").await;
    assert!(message.contains("suspend: false"), "{message}");
    assert!(world.vendor.ledger().calls.is_empty(), "{:#?}", world.call_log());

    world.patch(KIND, "paused", json!({ "spec": { "suspend": false } })).await;
    world.until_ready(KIND, "paused").await;

    // To suspend what is Ready changes nothing about it.
    world.patch(KIND, "paused", json!({ "spec": { "suspend": true, "resyncInterval": "1h" } })).await;
    world.until_ready(KIND, "paused").await;

    let change = json!({ "forProvider": { "tag": [{ "key": "late", "value": "yes" }] } });
    world.patch(KIND, "paused", json!({ "spec": change })).await;
    not_applied(&world, "paused").await;
    // Nothing that makes it look again makes it Ready for a spec that was not applied.
    world.request(KIND, "paused", "now").await;
    world.annotate("Secret", "aliyun", "touched", "yes").await;
    world.patch("Secret", "aliyun", json!({ "data": { "more": "bW9yZQ==" } })).await;
    not_applied(&world, "paused").await;
    world.stop_operator().await;
    world.start_operator().await;
    world.create(component("after", json!({}))).await;
    world.until_ready(KIND, "after").await;
    not_applied(&world, "paused").await;
    world.patch(KIND, "paused", json!({ "spec": { "suspend": false } })).await;
    world.until_ready(KIND, "paused").await;
    assert_eq!(world.effects("TagResources"), 1, "now it is sent");
    let calls = world.vendor.ledger().calls.len();
    world.patch(KIND, "paused", json!({ "spec": { "suspend": true } })).await;
    world.until_ready(KIND, "paused").await;
    world.delete(KIND, "paused").await;
    world
        .until(KIND, "paused", "it says that the deletion waits", |object| {
            object["status"]["phase"] == "Deleting"
                && condition(object, "Ready")["message"].as_str().is_some_and(|message| {
                    // The three ways on.
                    let ways = ["suspend: false", "deletionPolicy: Retain", "cloudimages.dev/external"];
                    message.contains("nothing is deleted") && ways.iter().all(|way| message.contains(way))
                })
        })
        .await;
    assert_eq!(world.vendor.ledger().calls.len(), calls, "{:#?}", world.call_log());

    world.patch(KIND, "paused", json!({ "spec": { "suspend": false } })).await;
    world.until_gone(KIND, "paused").await;
    assert_eq!((world.effects(DELETE), world.vendor.aliyun_ecs().count()), (1, 1));
}

#[tokio::test]
async fn what_is_suspended_and_deleted_goes_in_each_of_three_ways() {
    let world = World::new("suspend-ways").await;
    let ways = [
        ("resumed", json!({ "spec": { "suspend": false } })),
        ("retained", json!({ "spec": { "deletionPolicy": "Retain" } })),
        ("let-go", json!({ "metadata": { "finalizers": null } })),
    ];
    for (name, way) in ways {
        world.create(component(name, json!({}))).await;
        let id = world.until_ready(KIND, name).await["status"]["imageId"].clone();
        world.patch(KIND, name, json!({ "spec": { "suspend": true } })).await;
        world.until_ready(KIND, name).await;
        let calls = world.vendor.ledger().calls.len();
        world.delete(KIND, name).await;
        let waits = |object: &Value| {
            object["status"]["phase"] == "Deleting" && condition(object, "Ready")["reason"] == "Suspended"
        };
        let object = world.until(KIND, name, "its deletion waits", waits).await;
        let message = condition(&object, "Ready")["message"].as_str().expect("why");
        for out in ["suspend: false", "deletionPolicy: Retain", "finalizer"] {
            assert!(message.contains(out), "{message}");
        }
        assert_eq!(condition(&object, "Stalled")["status"], "False", "{object:#}");
        assert_eq!(world.vendor.ledger().calls.len(), calls, "{:#?}", world.call_log());
        world.patch(KIND, name, way).await;
        world.until_gone(KIND, name).await;
        let is_there = world.vendor.aliyun_ecs().get(id.as_str().expect("an id")).is_some();
        assert_eq!(is_there, name != "resumed", "{name}");
    }
    assert_eq!(world.effects(DELETE), 1);
}

/// A suspended object is not Ready for a spec that was not applied, and not Stalled either.
async fn not_applied(world: &World, name: &str) {
    let message = world.until_condition(KIND, name, "Ready", "False", "Suspended").await;
    assert!(message.contains("not applied") && message.contains("suspend: false"), "{message}");
    let object = world.get(KIND, name).await.expect("it is there");
    assert_eq!(condition(&object, "Stalled")["status"], "False", "{object:#}");
    assert_ne!(object["status"]["observedGeneration"], object["metadata"]["generation"]);
}

#[tokio::test]
async fn what_vanished_is_made_again_only_if_wanted() {
    let world = World::new("vanished").await;
    world.create(component("again", json!({ "recreatePolicy": "WhenMissing" }))).await;
    world.create(component("never", json!({}))).await;
    let mut ids = vec![];
    for name in ["again", "never"] {
        let object = world.until_ready(KIND, name).await;
        let id = object["status"]["imageId"].as_str().expect("an id").to_owned();
        assert!(world.vendor.aliyun_ecs().remove(&id).is_some());
        world.request(KIND, name, "look").await;
        ids.push(id);
    }
    let again = world
        .until(KIND, "again", "there is another one", |object| {
            object["status"]["phase"] == "Ready" && object["status"]["imageId"] != ids[0].as_str()
        })
        .await;
    assert_eq!(again["status"]["operation"]["attempt"], 2);
    assert_eq!(again["status"]["lastHandledReconcileAt"], "look");

    let message = world.until_condition(KIND, "never", "Ready", "False", "Missing").await;
    assert!(message.contains(&ids[1]), "{message}");
    let never = world.get(KIND, "never").await.expect("it is there");
    assert_eq!(never["status"]["phase"], "Failed");
    assert_eq!(condition(&never, "Stalled")["status"], "True");
    assert_eq!(world.effects(CREATE), 3);

    // It may be back, or only have been hidden: its deletion asks the vendor all the same.
    world.delete(KIND, "never").await;
    world.until_gone(KIND, "never").await;
    assert_eq!((world.calls(DELETE), world.effects(DELETE)), (1, 0));
}

#[tokio::test]
async fn what_failed_is_tried_again_with_a_new_spec_or_on_request() {
    let world = World::new("failed").await;
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::VendorError {
            status: 400,
            code: "InvalidParameter.Content".into(),
            message: "The specified parameter Content is not valid.".into(),
            effect: false,
        })
        .action(CREATE)
        .parameter("Name", "asked")
        .when(When::first(1)),
    ]);
    world.create(component("corrected", json!({ "forProvider": { "content": "TELEPORT home" } }))).await;
    world.create(component("asked", json!({}))).await;
    for name in ["corrected", "asked"] {
        let message = world.until_condition(KIND, name, "Stalled", "True", "InvalidSpec").await;
        assert!(message.contains("[request id "), "{message}");
        let object = world.get(KIND, name).await.expect("it is there");
        assert_eq!(object["status"]["phase"], "Failed");
        assert_eq!(object["status"]["operation"]["attempt"], 1);
        let events = world.until_events(name, 1).await;
        assert_eq!(events[0]["type"], "Warning");
    }
    world
        .patch(KIND, "corrected", json!({ "spec": { "forProvider": { "content": "RUN echo home" } } }))
        .await;
    world.request(KIND, "asked", "once more").await;
    for name in ["corrected", "asked"] {
        let object = world.until_ready(KIND, name).await;
        assert_eq!(object["status"]["operation"]["attempt"], 2, "{name}");
    }
    let asked = world.get(KIND, "asked").await.expect("it is there");
    assert_eq!(asked["status"]["lastHandledReconcileAt"], "once more");
    assert_eq!((world.calls(CREATE), world.effects(CREATE)), (4, 2));
}

/// A vendor that is busy for a while is not one that does not do as it is told.
#[tokio::test]
async fn a_change_that_fails_at_first_arrives_all_the_same() {
    let world = World::new("amend-failing").await;
    world.create(component("tagged", json!({}))).await;
    world.until_ready(KIND, "tagged").await;
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::InternalError { effect: false }).action("TagResources").when(When::first(4)),
    ]);
    let tag = json!([{ "key": "team", "value": "base" }]);
    world.patch(KIND, "tagged", json!({ "spec": { "forProvider": { "tag": tag } } })).await;
    world.until_ready(KIND, "tagged").await;
    assert_eq!(world.calls("TagResources"), 5);
}
