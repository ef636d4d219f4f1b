//! Every rule of with whom an image is shared, for each kind whose result is an image of Alibaba Cloud ECS.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use super::image_distribution::distribution;
use crate::harness::{World, image_of};
use serde_json::{Value, json};

/// Kinds whose result is an image, and the one that owns copies with such parameters.
const KINDS: [&str; 3] = ["AliyunImageCopy", "ImageBuild", "ImageDistribution"];

fn object_of(kind: &str, name: &str) -> Value {
    if kind == "ImageDistribution" { distribution(name) } else { image_of(kind, name) }
}

#[tokio::test]
async fn it_is_shared_with_accounts_by_their_ids() {
    let world = World::empty("share-accounts").await;
    let accounts = |count: usize| (0..count).map(|number| (1000 + number).to_string()).collect::<Vec<_>>();
    let many: &[&str] = &["shareWith must have at most 100 accounts"];
    let digits: &[&str] =
        &["shareWith must have ids of accounts, which are digits, for example 1234567890123456"];
    for kind in KINDS {
        let object = object_of(kind, "hello");
        let bad = [
            (json!(accounts(101)), many),
            (json!(["someone@example.com"]), digits),
            (json!(["1 2"]), digits),
            (json!([""]), digits),
        ];
        let good = [json!([]), json!(["1234567890123456"]), json!(accounts(100))];
        try_values(&world, &object, "spec.forProvider.shareWith", good, bad).await;
        let twice = with(&object, "spec.forProvider.shareWith", json!(["7", "7"]));
        assert!(create(&world, &twice).await.is_err(), "{kind}");
    }
}

/// The vendor neither shares nor copies a community image.
#[tokio::test]
async fn a_community_image_is_shared_with_nobody() {
    let world = World::empty("share-both").await;
    let both: &[(&str, &str)] = &[(
        "spec",
        "forProvider must not have both community: true and shareWith: every account can use a community image, and the vendor does \
         not share it",
    )];
    let alone: &[(&str, &str)] =
        &[("spec", "forProvider.sharePolicy needs shareWith: with [], Exact shares the image with nobody")];
    for kind in KINDS {
        for (sharing, refused) in [
            (json!({ "community": true }), None),
            (json!({ "community": true, "shareWith": [] }), None),
            (json!({ "community": false, "shareWith": ["7"] }), None),
            (json!({ "shareWith": ["7"], "sharePolicy": "Exact" }), None),
            (json!({ "shareWith": [], "sharePolicy": "Exact" }), None),
            (json!({ "community": true, "shareWith": ["7"] }), Some(both)),
            (json!({ "sharePolicy": "Exact" }), Some(alone)),
        ] {
            let what = format!("{kind} {sharing}");
            let mut object = object_of(kind, "hello");
            json_patch::merge(&mut object["spec"]["forProvider"], &sharing);
            let answer = create(&world, &object).await;
            match refused {
                None => drop(assert_accepted(answer, &what)),
                Some(why) => assert_refused(answer, why, &what),
            }
        }
    }
}

/// Nobody is made to look with whom it is shared.
#[tokio::test]
async fn nothing_of_it_is_filled_in() {
    let world = World::empty("share-nothing").await;
    for kind in KINDS {
        let bare = assert_accepted(create(&world, &object_of(kind, "bare")).await, kind);
        for field in ["shareWith", "community", "sharePolicy"] {
            assert!(bare["spec"]["forProvider"][field].is_null(), "{kind} {field}");
        }
    }
}

#[tokio::test]
async fn it_can_be_changed_when_the_image_is_there() {
    let world = World::empty("share-later").await;
    for kind in KINDS {
        let object = object_of(kind, "later");
        world.create(object.clone()).await;
        let operation = json!({ "action": "Any", "token": "t", "attempt": 1, "state": "Succeeded" });
        let status = json!({ "phase": "Ready", "imageId": "m-2", "operation": operation });
        world.patch_status(kind, "later", status).await;
        for change in [
            json!({ "shareWith": ["1234567890123456"], "sharePolicy": "Exact" }),
            json!({ "shareWith": null, "sharePolicy": null, "community": true }),
            json!({ "community": null }),
        ] {
            let answer = patch(&world, &object, &json!({ "spec": { "forProvider": change } })).await;
            assert_accepted(answer, &format!("{kind} {change}"));
        }
    }
}
