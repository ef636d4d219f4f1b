//! Every rule of the `ExportImage` page.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::{World, image_export};
use serde_json::{Value, json};

#[tokio::test]
async fn export_image() {
    let world = World::empty("export-image").await;
    let object = image_export("base", "image-1", json!({}));
    let id =
        "imageId must be the id of an image: letters, digits, -, _ and ., for example image-4431h3l7hl31a0";
    let bucket =
        "tosBucket must be 3 to 63 lower-case letters, digits and hyphens, first and last a letter or digit";
    for (field, most, good, odd, rule) in [
        ("imageId", 256, "image-44", ["image 44", "image-1&Action=x", "图"], id),
        ("tosBucket", 63, "abc", ["ab", "Bucket", "abc-"], bucket),
    ] {
        let long = format!("Too long: may not be more than {most} bytes");
        let long: &[&str] = &[&*long];
        let short: &[&str] = &["should be at least 1 chars long", rule];
        let rule: &[&str] = &[rule];
        let mut bad: Vec<(Value, &[&str])> = vec![(json!(""), short), ("x".repeat(most + 1).into(), long)];
        bad.extend(odd.map(|value| (value.into(), rule)));
        let field = format!("spec.forProvider.{field}");
        try_values(&world, &object, &field, [json!(good), "x".repeat(most).into()], bad).await;
    }

    let length: &[&str] = &["tosPrefix must be 1 to 30 characters long"];
    let alphabet: &[&str] = &["tosPrefix must contain only letters and digits"];
    let good = [json!("a"), json!("Test123"), "9".repeat(30).into()];
    let bad = [
        (json!(""), length),
        ("a".repeat(31).into(), length),
        (json!("a-b"), alphabet),
        (json!("a_b"), alphabet),
        (json!("a/b"), alphabet),
        (json!("a\n"), alphabet),
        (json!("前缀"), alphabet),
    ];
    try_values(&world, &object, "spec.forProvider.tosPrefix", good, bad).await;
}

#[tokio::test]
async fn what_is_exported_and_where_to() {
    let world = World::empty("export-what").await;
    let object = image_export("base", "image-1", json!({}));
    let one = "forProvider needs exactly one of imageId and imageRef: which image to export";
    let bucket = "forProvider.tosBucket is required: the bucket to export to";
    let prefix = "forProvider.tosPrefix is required: what the exported file's name begins with";
    let both = with(&object, "spec.forProvider.imageRef", json!({ "name": "phone" }));
    let neither = with(&object, "spec.forProvider.imageId", Value::Null);
    assert_refused(create(&world, &both).await, &[("spec", one)], "both");
    assert_refused(create(&world, &neither).await, &[("spec", one)], "neither");
    let reference = with(&neither, "spec.forProvider.imageRef", json!({ "name": "phone" }));
    assert_accepted(create(&world, &reference).await, "a reference alone");
    for (field, sentence) in [("tosBucket", bucket), ("tosPrefix", prefix)] {
        let without = with(&object, &format!("spec.forProvider.{field}"), Value::Null);
        assert_refused(create(&world, &without).await, &[("spec", sentence)], field);
    }
    let nothing = with(&object, "spec.forProvider", json!({}));
    assert_refused(
        create(&world, &nothing).await,
        &[("spec", one), ("spec", bucket), ("spec", prefix)],
        "nothing",
    );

    // An import may leave out what only a new export needs.
    for import in [json!({ "id": "t-1" }), json!({ "match": { "imageId": "image-1" } })] {
        assert_accepted(create(&world, &with(&nothing, "spec.import", import)).await, "an import");
    }
    let field = "spec.import.match.imageId";
    let (short, rule) = (
        (field, "should be at least 1 chars long"),
        (
            field,
            "imageId must be the id of an image: letters, digits, -, _ and ., for example image-4431h3l7hl31a0",
        ),
    );
    for (id, refusals) in [("", &[short, rule][..]), ("image 1", &[rule]), ("image-1&Action=x", &[rule])] {
        let object = with(&nothing, "spec.import", json!({ "match": { "imageId": id } }));
        assert_refused(create(&world, &object).await, refusals, id);
    }
    let mut named = reference;
    named["spec"]["forProvider"]["imageRef"]["name"] = json!("Phone 1");
    let name = "the reference's name must be the name of an object: lower-case letters, digits, hyphens and full stops, \
                for example base-1";
    let field = "spec.forProvider.imageRef.name";
    assert_refused(create(&world, &named).await, &[(field, name)], "a reference to nothing");
}

#[tokio::test]
async fn what_is_asked_for_cannot_be_changed() {
    let world = World::empty("export-fixed").await;
    let object = image_export("base", "image-1", json!({}));
    world.create(object.clone()).await;
    let operation =
        |state: &str| json!({ "action": "ExportImage", "token": "t", "attempt": 1, "state": state });
    let open = json!({ "phase": "Failed", "operation": operation("Failed") });
    let closed = json!({ "phase": "Building", "taskId": "t-1", "operation": operation("Running") });
    let changes: [(Value, &[&str]); 4] = [
        (json!({ "imageId": "image-2" }), &["imageId"]),
        (json!({ "tosBucket": "bucket-2" }), &["tosBucket"]),
        (json!({ "tosPrefix": "other" }), &["tosPrefix"]),
        (json!({ "imageId": null, "imageRef": { "name": "phone" } }), &["imageId", "imageRef"]),
    ];
    for (status, is_open) in [(open, true), (closed, false)] {
        world.patch_status("ImageExport", "base", status).await;
        for (change, fields) in &changes {
            let answer = patch(&world, &object, &json!({ "spec": { "forProvider": change } })).await;
            let sentences = fields.iter().map(|field| {
                format!(
                    "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; make a new \
                     ImageExport"
                )
            });
            let sentences: Vec<_> = sentences.collect();
            let paths: Vec<_> = fields.iter().map(|field| format!("spec.forProvider.{field}")).collect();
            let expected: Vec<_> = paths
                .iter()
                .zip(&sentences)
                .map(|(path, sentence)| (path.as_str(), sentence.as_str()))
                .collect();
            if is_open {
                assert_accepted(answer, &change.to_string());
            } else {
                assert_refused(answer, &expected, &change.to_string());
            }
        }
    }
}
