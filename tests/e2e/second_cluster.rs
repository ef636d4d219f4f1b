//! A backup comes up in a second cluster while the first one still runs, on one account: nothing is made twice, nothing is
//! deleted that an object of the first one stands for, and each object says how to go on. The second operator knows nothing of
//! the first one's objects.

use crate::harness::{World, aosp_image, secret, volcengine_account};
use serde_json::{Value, json};
use std::time::Duration;

const KIND: &str = "AospImage";
const BUILD: &str = "BuildAOSPImage";
const CLEAR: &str = "DeleteAOSPImage";

fn is_building(object: &Value) -> bool {
    object["status"]["phase"] == "Building"
}

#[tokio::test]
async fn a_backup_in_a_second_cluster_makes_nothing_and_takes_nothing_away() {
    let first = World::at_volcengine("first-cluster").await;
    for name in ["ready", "failed", "building"] {
        let rule = vendor_simulator::FaultRule::new(vendor_simulator::Fault::FailBuild).action(BUILD);
        first.vendor.set_faults(if name == "failed" { vec![rule] } else { vec![] });
        first.create(aosp_image(name, json!({}))).await;
        first.until(KIND, name, "it is built", is_building).await;
        if name != "building" {
            first.vendor.advance(Duration::from_secs(120));
        }
    }
    first.until_ready(KIND, "ready").await;
    first.until_condition(KIND, "failed", "Stalled", "True", "BuildFailed").await;
    first.create(aosp_image("waiting", json!({ "accountRef": { "name": "later" } }))).await;
    first.until_condition(KIND, "waiting", "Ready", "False", "AccountNotFound").await;
    let made = first.effects(BUILD);

    let mut second = World::empty("second-cluster").await;
    second.beat = Duration::from_secs(1);
    second.create(secret("volcengine")).await;
    second.create(volcengine_account("default", first.volcengine_endpoint())).await;
    let names = ["ready", "failed", "building", "waiting"];
    for name in names {
        let there = first.get(KIND, name).await.expect("it is there");
        for (with_status, name) in [(true, format!("{name}-status")), (false, name.to_owned())] {
            let mut object = there.clone();
            let metadata = object["metadata"].as_object_mut().expect("metadata");
            metadata.retain(|key, _| matches!(key.as_str(), "annotations" | "finalizers" | "labels"));
            object["metadata"]["name"] = json!(name);
            object["metadata"]["namespace"] = json!("second-cluster");
            object.as_object_mut().expect("an object").remove("status");
            second.create(object).await;
            if with_status {
                second.patch_status(KIND, &name, there["status"].clone()).await;
            }
        }
    }
    let endpoints = first.endpoints();
    second.start_operator_with(&[], &endpoints.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for name in names {
        let id = first.get(KIND, name).await.expect("it is there")["status"]["imageId"].clone();
        for name in [name.to_owned(), format!("{name}-status")] {
            let Some(id) = id.as_str() else {
                second.until_condition(KIND, &name, "Ready", "False", "AccountNotFound").await;
                continue;
            };
            let message = second.until_condition(KIND, &name, "Stalled", "True", "Restored").await;
            for word in [id, "import", "adopt=", "resubmit"] {
                assert!(message.contains(word), "{name}: {word} is not in {message}");
            }
        }
    }
    assert_eq!((first.effects(BUILD), first.calls(CLEAR)), (made, 0), "{:#?}", first.call_log());

    // It goes again, and the first one's images stay.
    for name in names {
        for name in [name.to_owned(), format!("{name}-status")] {
            second.delete(KIND, &name).await;
            second.until_gone(KIND, &name).await;
        }
    }
    assert_eq!((first.effects(BUILD), first.calls(CLEAR)), (made, 0), "{:#?}", first.call_log());
    first.vendor.advance(Duration::from_secs(120));
    first.until_ready(KIND, "building").await;
    first.request(KIND, "ready", "look").await;
    first.until_ready(KIND, "ready").await;
    assert_eq!(first.effects(BUILD), made);
}
