//! What bears the operator's mark for an object of another cluster is not taken over by an id alone: its object may live, and both
//! would change it and delete it under each other's hands. It can be looked at, and had by saying for which object it was made.

use super::moving::{cluster, object};
use crate::harness::{World, condition, is_ready};
use futures::future::join_all;
use serde_json::{Value, json};

/// Those whose things bear a mark that names their object.
const KINDS: [&str; 4] = ["AospImage", "AliyunImageCopy", "ImagePipeline", "ImageBuild"];

/// Made by an object of a first cluster, which goes on, with another one on the same accounts.
struct Clusters {
    vendors: World,
    first: World,
    second: World,
}

impl Clusters {
    async fn begin(name: &str) -> Self {
        let vendors = World::empty(&format!("{name}-vendors")).await;
        let [mut first, mut second] = [
            cluster(&format!("{name}-first"), &vendors).await,
            cluster(&format!("{name}-second"), &vendors).await,
        ];
        let endpoints = vendors.endpoints();
        let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
        for world in [&mut first, &mut second] {
            world.start_operator_with(&[], &endpoints).await;
        }
        Self { vendors, first, second }
    }

    /// Nothing happens at the vendor but what the first one has asked for.
    fn nothing_happened_since(&self, effects: usize) {
        let now = self.vendors.vendor.ledger().effects;
        assert_eq!(now.len(), effects, "{:#?}", self.vendors.call_log());
    }

    fn effects(&self) -> usize {
        self.vendors.vendor.ledger().effects.len()
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn is_refused(object: &Value) -> bool {
    condition(object, "Ready")["reason"] == "MadeForOther"
        && object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

/// An object of the second cluster that would take it over, and delete it when it goes.
fn taking(kind: &str, name: &str, id: &str) -> Value {
    let mut object = object(kind, Some(json!({ "id": id })));
    object["metadata"]["name"] = json!(name);
    object["spec"]["deletionPolicy"] = json!("Delete");
    object
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_cluster_made_is_taken_over_only_by_who_says_so() {
    let clusters = Clusters::begin("marks").await;
    clusters.vendors.quicken();
    let Clusters { first, second, .. } = &clusters;
    let made = join_all(KINDS.map(async |kind| {
        first.create(object(kind, None)).await;
        first.until_ready(kind, &kind.to_lowercase()).await
    }))
    .await;
    let effects = clusters.effects();
    join_all(KINDS.iter().zip(&made).map(async |(kind, made)| {
        let (uid, id) = (text(&made["metadata"]["uid"]), text(&made["status"]["imageId"]));
        // A run has the mark as well as its image.
        let ids = [Some(id.clone()), made["status"]["taskId"].as_str().map(str::to_owned)];
        for id in ids.into_iter().flatten() {
            second.create(taking(kind, "taking", &id)).await;
            let message = second.until_condition(kind, "taking", "Stalled", "True", "MadeForOther").await;
            assert!(
                message.contains(&id) && message.contains(&uid) && message.contains("madeFor"),
                "{message}"
            );
            let of_nobody =
                json!({ "spec": { "import": { "madeFor": "0b0c1ad3-3d0b-4b52-9a4e-6a3a3a3a3a3a" } } });
            second.patch(kind, "taking", of_nobody).await;
            second.until(kind, "taking", "it is refused still", is_refused).await;
            second.delete(kind, "taking").await;
            second.until_gone(kind, "taking").await;
        }
        // It can be looked at, and is not taken over by the way.
        let mut observing = taking(kind, "observing", &id);
        observing["spec"]["managementPolicy"] = json!("Observe");
        second.create(observing).await;
        second.until_ready(kind, "observing").await;
        second.patch(kind, "observing", json!({ "spec": { "managementPolicy": "Managed" } })).await;
        second.until(kind, "observing", "it is refused", is_refused).await;
        clusters.nothing_happened_since(effects);
        // The way on that the message names.
        let told = json!({ "spec": { "import": { "id": id, "madeFor": uid }, "deletionPolicy": "Retain" } });
        second.patch(kind, "observing", told).await;
        let is_managed =
            |object: &Value| is_ready(object) && object["status"]["operation"]["action"] == "Import";
        second.until(kind, "observing", "it is taken over", is_managed).await;
    }))
    .await;
    clusters.nothing_happened_since(effects);
}

/// What is being made would be cancelled, or deleted when it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_cluster_is_making_is_not_taken_over_either() {
    let clusters = Clusters::begin("marks-making").await;
    let Clusters { first, second, .. } = &clusters;
    // A pipeline is there at once.
    let kinds = KINDS.into_iter().filter(|kind| *kind != "ImagePipeline");
    let making = join_all(kinds.map(async |kind| {
        first.create(object(kind, None)).await;
        let is_building = |object: &Value| object["status"]["phase"] == "Building";
        (kind, first.until(kind, &kind.to_lowercase(), "it is being made", is_building).await)
    }))
    .await;
    let effects = clusters.effects();
    join_all(making.iter().map(async |(kind, making)| {
        let uid = text(&making["metadata"]["uid"]);
        let id = making["status"]["imageId"].as_str().or(making["status"]["taskId"].as_str()).expect("an id");
        second.create(taking(kind, "taking", id)).await;
        let message = second.until_condition(kind, "taking", "Stalled", "True", "MadeForOther").await;
        assert!(message.contains(id) && message.contains(&uid), "{message}");
        second.delete(kind, "taking").await;
        second.until_gone(kind, "taking").await;
    }))
    .await;
    clusters.nothing_happened_since(effects);
}

/// A restored object gets what was made for the one that it was, in answer to the question; of a third one's it is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_does_not_take_over_what_a_third_object_has() {
    const OUTCOME: &str = "cloudimages.dev/outcome";
    let clusters = Clusters::begin("marks-adopted").await;
    clusters.vendors.quicken();
    let Clusters { first, second, .. } = &clusters;
    let made = join_all(KINDS.map(async |kind| {
        first.create(object(kind, None)).await;
        let made = first.until_ready(kind, &kind.to_lowercase()).await;
        (kind, text(&made["metadata"]["uid"]), text(&made["status"]["imageId"]))
    }))
    .await;
    let effects = clusters.effects();
    join_all(made.iter().map(async |(kind, uid, id)| {
        for (name, former) in [("restored", &**uid), ("of-a-third", "0b0c1ad3-3d0b-4b52-9a4e-6a3a3a3a3a3a")] {
            let mut restored = object(kind, None);
            restored["metadata"]["name"] = json!(name);
            restored["metadata"]["annotations"] = json!({ "cloudimages.dev/attempt": format!("{former}/1") });
            second.create(restored).await;
            second.until_condition(kind, name, "Stalled", "True", "Restored").await;
            second.annotate(kind, name, OUTCOME, &format!("adopt={id}")).await;
            if former == uid {
                second.until_ready(kind, name).await;
            } else {
                let message = second.until_condition(kind, name, "Stalled", "True", "MadeForOther").await;
                assert!(message.contains(id) && message.contains(uid), "{message}");
            }
            second.delete(kind, name).await;
            second.until_gone(kind, name).await;
        }
    }))
    .await;
    clusters.nothing_happened_since(effects);
}
