//! Every rule of the `CreateImagePipeline` page, and of the steps of which the operator writes the vendor's contents.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::{World, image_of};
use serde_json::{Value, json};

fn pipeline() -> Value {
    image_of("ImagePipeline", "hello")
}

#[tokio::test]
async fn a_step_is_one_thing() {
    let world = World::empty("pipeline-steps").await;
    let swallows = "run must not end with a backslash, which would make the next step a part of this one";
    let one: &[&str] = &["a step needs exactly one of componentRef, componentId, component and run"];
    let command: &str =
        "run must be one command: end each line but the last with a backslash, or make a step of each";
    let good = [
        json!([{ "componentRef": { "name": "hello" }, "parameters": { "version": "1.0", "_a-b": "x=y" } }]),
        json!([{ "componentId": "ic-1" }, { "run": "true" }]),
        json!([{ "component": { "name": "中文", "version": "1.*.*", "accountId": "1234567890123456" } }]),
        json!([{ "run": "echo a \\\n  && echo b\n" }]),
        vec![json!({ "run": "true" }); 127].into(),
    ];
    for steps in good {
        for field in ["build", "test"] {
            let object = with(&pipeline(), &format!("spec.forProvider.{field}"), steps.clone());
            assert_accepted(create(&world, &object).await, field);
        }
    }
    let step = "spec.forProvider.build[0]";
    let name = |field: &str| format!("{step}.component.{field}");
    let component = |field: &str, value: &str| {
        let component = json!({ "name": "tools", "version": "1.0.0", "accountId": "1" });
        json!([{ "component": with(&component, field, value.into()) }])
    };
    let many = vec![json!({ "run": "true" }); 128];
    let long = vec![json!({ "run": "x".repeat(8192) }); 2];
    for (steps, field, sentence) in [
        (json!([{}]), step.to_owned(), one[0]),
        (json!([{ "run": "true", "componentId": "ic-1" }]), step.to_owned(), one[0]),
        (
            json!([{ "run": "true", "parameters": { "a": "b" } }]),
            step.to_owned(),
            "parameters are a component's: a step with run has none",
        ),
        (
            json!([{ "componentId": "ic-1", "parameters": { "1a": "b" } }]),
            format!("{step}.parameters"),
            "the name of a parameter must be letters, digits, _ and -, first a letter or _",
        ),
        (
            json!([{ "componentId": "ic-1", "parameters": { "a": "b c" } }]),
            format!("{step}.parameters"),
            "the value of a parameter must not be empty or contain white space",
        ),
        (
            json!([{ "componentId": "ic-1", "parameters": { "a": "" } }]),
            format!("{step}.parameters"),
            "the value of a parameter must not be empty or contain white space",
        ),
        (
            json!([{ "componentId": "ic 1" }]),
            format!("{step}.componentId"),
            "componentId must be the id of a component, for example ic-bp67acfmxazb4p",
        ),
        (
            component("version", "1.0"),
            name("version"),
            "version must be major.minor.patch, each a number or *, for example 1.*.*",
        ),
        (
            component("accountId", "me"),
            name("accountId"),
            "accountId must be the number of an Alibaba Cloud account, in quotes",
        ),
        (json!([{ "run": " \n" }]), format!("{step}.run"), "run must not be blank"),
        (json!([{ "run": "echo a\necho b" }]), format!("{step}.run"), command),
        (json!([{ "run": "echo a \\\n\necho b" }]), format!("{step}.run"), command),
        (json!([{ "run": "dnf install x \\" }]), format!("{step}.run"), swallows),
        (json!([{ "run": "dnf install x \\\n" }]), format!("{step}.run"), swallows),
        (many.into(), "spec.forProvider.build".into(), "build must have at most 127 steps"),
        (
            long.into(),
            "spec.forProvider.build".into(),
            "build must be at most 16 KB (16384 bytes) when its steps are written out",
        ),
    ] {
        let object = with(&pipeline(), "spec.forProvider.build", steps.clone());
        assert_refused(create(&world, &object).await, &[(&*field, sentence)], &steps.to_string());
    }
}

#[tokio::test]
async fn what_belongs_together() {
    let world = World::empty("pipeline-base").await;
    let options = json!({ "diskDeviceMappings": [{ "ossBucket": "b", "ossObject": "o" }] });
    let parameters = |parameters: Value| with(&pipeline(), "spec.forProvider", parameters);
    for good in [
        json!({ "baseImage": "m-1" }),
        json!({ "baseImageRef": { "name": "base" }, "baseImageType": "IMAGE" }),
        json!({ "baseImage": "family", "baseImageType": "IMAGE_FAMILY", "buildContent": "RUN true", "testContent": "RUN true" }),
        json!({ "baseImageType": "OSS", "importImageOptions": options }),
        json!({ "baseImage": "m-1", "repairMode": "Customized", "repairItem": ["a"] }),
    ] {
        assert_accepted(create(&world, &parameters(good.clone())).await, &good.to_string());
    }
    for (bad, sentence) in [
        (
            json!({ "baseImage": "m-1", "build": [{ "run": "true" }], "buildContent": "RUN true" }),
            "forProvider must have only one of buildContent and build",
        ),
        (
            json!({ "baseImage": "m-1", "test": [{ "run": "true" }], "testContent": "RUN true" }),
            "forProvider must have only one of testContent and test",
        ),
        (
            json!({ "baseImage": "m-1", "baseImageRef": { "name": "base" } }),
            "forProvider must have only one of baseImage and baseImageRef",
        ),
        (
            json!({ "baseImageRef": { "name": "base" }, "baseImageType": "IMAGE_FAMILY" }),
            "baseImageRef means an image: it needs baseImageType IMAGE, or none",
        ),
        (
            json!({ "baseImageType": "OSS" }),
            "baseImageType OSS needs importImageOptions, and neither baseImage nor baseImageRef",
        ),
        (
            json!({ "baseImage": "m-1", "importImageOptions": options }),
            "importImageOptions needs baseImageType OSS",
        ),
        (json!({ "baseImage": "m-1", "repairItem": ["a"] }), "repairItem needs repairMode Customized"),
    ] {
        let answer = create(&world, &parameters(bad.clone())).await;
        assert_refused(answer, &[("spec.forProvider", sentence)], &bad.to_string());
    }
    let needed = "forProvider.baseImage or baseImageRef is required, or baseImageType OSS with importImageOptions (or name an existing \
                  pipeline in import)";
    let nothing = parameters(json!({ "name": "nothing" }));
    assert_refused(create(&world, &nothing).await, &[("spec", needed)], "no base image");
    let import = with(&nothing, "spec.import", json!({ "id": "ip-1" }));
    assert_accepted(create(&world, &import).await, "an import");
}

#[tokio::test]
async fn single_values() {
    let world = World::empty("pipeline-values").await;
    let (small, large): (&[&str], &[&str]) =
        (&["systemDiskSize must be 20 to 500 (GiB)"], &["internetMaxBandwidthOut must be 0 to 100 (Mbit/s)"]);
    let content: &[&str] = &["buildContent must be at most 16 KB (16384 bytes)"];
    let name: &[&str] = &["name must be 2 to 128 characters long"];
    let image: &[&str] = &["imageName must be 2 to 64 characters long"];
    let object = with(&pipeline(), "spec.forProvider.build", Value::Null);
    for (field, good, bad, sentences) in [
        ("systemDiskSize", [json!(20), json!(500)], [json!(19), json!(501)], small),
        ("internetMaxBandwidthOut", [json!(0), json!(100)], [json!(101), json!(1000)], large),
        (
            "buildContent",
            [json!("x".repeat(16384)), json!("RUN true")],
            [json!("x".repeat(16385)), json!("镜".repeat(5462))],
            content,
        ),
        ("name", [json!("ab"), json!("镜像")], [json!("a"), json!("a".repeat(129))], name),
    ] {
        let bad = bad.map(|value| (value, sentences));
        try_values(&world, &object, &format!("spec.forProvider.{field}"), good, bad).await;
    }
    let object = with(&object, "spec.forProvider.imageOptions", json!({}));
    let bad = [json!("a"), json!("a".repeat(65))].map(|value| (value, image));
    let good = [json!("ab"), json!("a".repeat(64))];
    try_values(&world, &object, "spec.forProvider.imageOptions.imageName", good, bad).await;
    let tags =
        |count: usize| json!((0..count).map(|n| json!({ "key": format!("k{n}") })).collect::<Vec<_>>());
    let most: &[&str] = &["tag must have at most 19 entries: the vendor takes 20, and one is the operator's"];
    let bad = [(tags(20), most)];
    try_values(&world, &object, "spec.forProvider.tag", [tags(19)], bad).await;
}

#[tokio::test]
async fn only_tags_and_the_resource_group_can_be_changed_once_it_is_there() {
    let world = World::empty("pipeline-fixed").await;
    world.create(pipeline()).await;
    let operation =
        json!({ "action": "CreateImagePipeline", "token": "t", "attempt": 1, "state": "Succeeded" });
    let ready = json!({ "phase": "Ready", "imageId": "ip-1", "operation": operation });
    world.patch_status("ImagePipeline", "hello", ready).await;
    let change = |field: &str, value: Value| json!({ "spec": { "forProvider": { field: value } } });
    for (field, value) in [
        ("build", json!([{ "run": "false" }])),
        ("test", json!([{ "run": "false" }])),
        ("baseImage", json!("m-2")),
        ("instanceType", json!("ecs.g6.large")),
        ("imageOptions", json!({ "imageName": "other" })),
        ("vSwitchId", json!("vsw-1")),
    ] {
        let sentence = format!(
            "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; make a new object"
        );
        let answer = patch(&world, &pipeline(), &change(field, value)).await;
        assert_refused(answer, &[(&*format!("spec.forProvider.{field}"), &*sentence)], field);
    }
    for (field, value) in [("tag", json!([{ "key": "a" }])), ("resourceGroupId", json!("rg-1"))] {
        assert_accepted(patch(&world, &pipeline(), &change(field, value)).await, field);
    }
}
