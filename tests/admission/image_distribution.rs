//! What an ImageDistribution can be, and what of it can be changed.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::World;
use serde_json::{Value, json};

const KIND: &str = "ImageDistribution";

pub(super) fn distribution(name: &str) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": KIND,
        "metadata": { "name": name },
        "spec": {
            "regions": [{ "regionId": "cn-shanghai" }, { "regionId": "cn-beijing", "encrypted": true, "kmsKeyId": "key-1" }],
            "forProvider": {
                "imageId": "m-bp67acfmxazb4p", "destinationImageName": "base-1", "destinationDescription": "for tests",
            },
        },
    })
}

fn listed(count: usize) -> Value {
    (0..count).map(|number| json!({ "regionId": format!("cn-{number}") })).collect()
}

#[tokio::test]
async fn what_it_needs_and_what_it_has_by_default() {
    let world = World::empty("many-rules").await;
    let object = distribution("rules");
    let created = assert_accepted(create(&world, &object).await, "a distribution");
    let spec = &created["spec"];
    assert_eq!(
        (
            &spec["accountRef"],
            &spec["maxParallel"],
            &spec["suspend"],
            &spec["recreatePolicy"],
            &spec["driftPolicy"]
        ),
        (
            &json!({ "kind": "CloudAccount", "name": "default" }),
            &json!(5),
            &json!(false),
            &json!("Never"),
            &json!("Correct"),
        )
    );
    assert_eq!(
        (&spec["deletionPolicy"], &spec["timeout"], &spec["resyncInterval"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );

    let region =
        "regionId must be a region's id of lower-case letters, digits and -, for example cn-shanghai";
    for good in ["eu-central-1", "x"] {
        assert_accepted(create(&world, &with(&object, "spec.regions.0.regionId", json!(good))).await, good);
    }
    for bad in ["CN", "cn shanghai", "-cn", "cn-"] {
        let answer = create(&world, &with(&object, "spec.regions.0.regionId", json!(bad))).await;
        assert_refused(answer, &[("spec.regions[0].regionId", region)], bad);
    }
    try_values(&world, &object, "spec.regions", [listed(1), listed(50)], []).await;
    for (what, bad) in [
        ("none", json!([])),
        ("too many", listed(51)),
        ("one twice", json!([{ "regionId": "cn-beijing" }, { "regionId": "cn-beijing", "encrypted": true }])),
    ] {
        let answer = create(&world, &with(&object, "spec.regions", bad)).await;
        assert!(
            answer.is_err_and(|it| it.0.iter().any(|(field, _)| field.starts_with("spec.regions"))),
            "{what}"
        );
    }
    for count in [0, 51] {
        assert!(create(&world, &with(&object, "spec.maxParallel", json!(count))).await.is_err(), "{count}");
    }

    let key: &[(&str, &str)] =
        &[("spec", "a region's kmsKeyId needs encrypted: true, there or in forProvider")];
    for (of_region, of_all, fits) in [
        (json!(true), json!(false), true),
        (Value::Null, json!(true), true),
        (json!(false), json!(true), false),
        (Value::Null, Value::Null, false),
    ] {
        let object = with(&object, "spec.regions.1.encrypted", of_region.clone());
        let answer = create(&world, &with(&object, "spec.forProvider.encrypted", of_all.clone())).await;
        let what = format!("{of_region} {of_all}");
        if fits {
            assert_accepted(answer, &what);
        } else {
            assert_refused(answer, key, &what);
        }
    }

    let one: &[(&str, &str)] =
        &[("spec", "forProvider must have exactly one of imageId and imageRef: the image to copy")];
    let both = with(&object, "spec.forProvider.imageRef", json!({ "name": "base" }));
    assert_refused(create(&world, &both).await, one, "both");
    assert_refused(
        create(&world, &with(&object, "spec.forProvider.imageId", Value::Null)).await,
        one,
        "neither",
    );
    let refers = with(&both, "spec.forProvider.imageId", Value::Null);
    assert_accepted(create(&world, &refers).await, "a reference");
    let placed = with(&refers, "spec.forProvider.regionId", json!("cn-beijing"));
    let where_it_is = (
        "spec",
        "forProvider.regionId must be left out with imageRef: the object that it names says where its image is",
    );
    assert_refused(create(&world, &placed).await, &[where_it_is], "a reference and a region");
    let nameless = with(&object, "spec.forProvider.destinationImageName", Value::Null);
    let name = (
        "spec",
        "forProvider.destinationImageName is required: what the copies are called, by which a copy whose answer was lost is found \
         again",
    );
    assert_refused(create(&world, &nameless).await, &[name], "no name");
    // A region of a copy, and its key, are the list's to say.
    for field in ["destinationRegionId", "kmsKeyId"] {
        let odd = with(&object, &format!("spec.forProvider.{field}"), json!("x"));
        let stored = assert_accepted(create(&world, &odd).await, field);
        assert_eq!(stored["spec"]["forProvider"][field], Value::Null, "dropped, as any unknown field");
    }
}

#[tokio::test]
async fn the_image_stays_and_the_list_does_not() {
    let world = World::empty("many-fixed").await;
    let object = distribution("fixed");
    world.create(object.clone()).await;
    let fixed = |field: &str| {
        format!(
            "{field} cannot be changed: the vendor has no call for it; make a new object, and delete this one when that is Ready"
        )
    };
    for (field, value) in [
        ("accountRef", json!({ "name": "other" })),
        ("forProvider.imageId", json!("m-other")),
        ("forProvider.regionId", json!("eu-central-1")),
        ("forProvider.encrypted", json!(true)),
        ("forProvider.resourceGroupId", json!("rg-1")),
    ] {
        let mut change = json!({});
        match field.split_once('.') {
            Some((part, field)) => change[part][field] = value,
            None => change[field] = value,
        }
        let answer = patch(&world, &object, &json!({ "spec": change })).await;
        assert_refused(answer, &[(&format!("spec.{field}"), &fixed(field))], field);
    }
    let answer =
        patch(&world, &object, &json!({ "spec": { "forProvider": { "destinationDescription": null } } }))
            .await;
    assert!(answer.is_err_and(|error| error.0.iter().any(|(_, said)| said.contains("not taken out again"))));
    let keys: &[(&str, &str)] = &[(
        "spec.regions",
        "encrypted and kmsKeyId of a region cannot be changed: the vendor has no call for it; take the region out, and put it in \
         again when its copy is gone",
    )];
    for region in [
        json!({ "regionId": "cn-beijing", "encrypted": true }),
        json!({ "regionId": "cn-beijing", "encrypted": true, "kmsKeyId": "key-2" }),
        json!({ "regionId": "cn-beijing" }),
        json!({ "regionId": "cn-shanghai", "encrypted": true }),
    ] {
        let change = json!({ "spec": { "regions": [region] } });
        assert_refused(patch(&world, &object, &change).await, keys, &region.to_string());
    }
    for change in [
        json!({ "regions": [{ "regionId": "cn-beijing", "encrypted": true, "kmsKeyId": "key-1" }, { "regionId": "eu-central-1" }] }),
        json!({ "maxParallel": 50, "suspend": true, "deletionPolicy": "Retain", "deleteSnapshots": false, "timeout": "24h" }),
        json!({ "forProvider": { "destinationImageName": "base-2", "destinationDescription": "another", "tag": [{ "key": "a" }] } }),
    ] {
        assert_accepted(patch(&world, &object, &json!({ "spec": change })).await, &change.to_string());
    }
}

/// The vendor shares nothing that is encrypted with its own key of the service.
#[tokio::test]
async fn an_encrypted_copy_is_shared_with_a_key_of_one_s_own_only() {
    let world = World::empty("distribution-keys").await;
    let object = distribution("keys");
    let shared: &[(&str, &str)] = &[(
        "spec",
        "forProvider.shareWith needs a kmsKeyId for each region whose copy is encrypted: the vendor does not share what is encrypted \
         with its own key of the service",
    )];
    for (of_region, of_all, key, fits) in [
        (json!(true), Value::Null, Value::Null, false),
        (Value::Null, json!(true), Value::Null, false),
        (json!(false), Value::Null, Value::Null, true),
        (json!(true), Value::Null, json!("key-1"), true),
    ] {
        let what = format!("{of_region} {of_all} {key}");
        let object = with(&object, "spec.regions", json!([{ "regionId": "cn-beijing" }]));
        let object = with(&object, "spec.regions.0.encrypted", of_region);
        let object = with(&object, "spec.regions.0.kmsKeyId", key);
        let object = with(&object, "spec.forProvider.encrypted", of_all);
        let answer = create(&world, &with(&object, "spec.forProvider.shareWith", json!(["7"]))).await;
        if fits {
            assert_accepted(answer, &what);
        } else {
            assert_refused(answer, shared, &what);
        }
    }
}
