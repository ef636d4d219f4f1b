//! Every rule of ZStack's `CreateRootVolumeTemplateFromRootVolume` page, and what of a template can be changed.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::World;
use serde_json::{Value, json};

const KIND: &str = "RootVolumeTemplate";
const VOLUME: &str = "b94ff32725d133fea53e8ada5ea7f0fc";

fn template(name: &str) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": KIND,
        "metadata": { "name": name },
        "spec": { "forProvider": { "name": "TinyLinux", "rootVolumeUuid": VOLUME } },
    })
}

fn times(text: &str, count: usize) -> Value {
    text.repeat(count).into()
}

/// Whatever is no uuid of 32 hex digits.
fn no_uuids() -> [Value; 5] {
    [
        json!(""),
        json!("b94ff327-25d1-33fe-a53e-8ada5ea7f0fc"),
        json!(VOLUME.to_uppercase()),
        json!(format!("{VOLUME}0")),
        json!(format!("{VOLUME}\n")),
    ]
}

#[tokio::test]
async fn texts() {
    let world = World::empty("template-texts").await;
    let object = template("texts");
    let length = "name must be 1 to 255 characters long";
    let blank = "name must not be blank";
    let good = [json!("a"), json!("微型 Linux"), times("a", 255), times("镜", 255)];
    let bad: [(Value, &[&str]); 4] = [
        (json!(""), &[length, blank]),
        (json!(" \t"), &[blank]),
        (times("a", 256), &[length]),
        (times("镜", 256), &[length]),
    ];
    try_values(&world, &object, "spec.forProvider.name", good, bad).await;

    let length: &[&str] = &["description must be at most 2048 characters long"];
    let good = [json!(""), times("a", 2048), times("镜", 2048)];
    let bad = [(times("a", 2049), length), (times("镜", 2049), length)];
    try_values(&world, &object, "spec.forProvider.description", good, bad).await;

    let bad: [(Value, &[&str]); 2] = [
        (json!(""), &["should be at least 1 chars long"]),
        (times("a", 256), &["Too long: may not be more than 255 bytes"]),
    ];
    try_values(&world, &object, "spec.forProvider.guestOsType", [json!("CentOS 7.9"), times("a", 255)], bad)
        .await;

    let known: &[&str] = &[r#"supported values: "x86_64", "aarch64", "mips64el", "loongarch64""#];
    let good = ["x86_64", "aarch64", "mips64el", "loongarch64"].map(Value::from);
    let bad = ["x86 64", "x86-64", "x86_64\n", "riscv64", "X86_64"].map(|name| (name.into(), known));
    try_values(&world, &object, "spec.forProvider.architecture", good, bad).await;
}

#[tokio::test]
async fn uuids() {
    let world = World::empty("template-uuids").await;
    let object = template("uuids");
    let uuid: &[&str] = &["rootVolumeUuid must be a uuid: 32 hex digits in lower case, without dashes"];
    let good = [json!(VOLUME), json!("0".repeat(32))];
    try_values(&world, &object, "spec.forProvider.rootVolumeUuid", good, no_uuids().map(|bad| (bad, uuid)))
        .await;

    let uuids: &[&str] = &["backupStorageUuids must be uuids: 32 hex digits in lower case, without dashes"];
    let good = [json!([VOLUME]), json!([VOLUME, "0".repeat(32)])];
    let bad = no_uuids().map(|bad| (json!([VOLUME, bad]), uuids));
    let none: &[&str] = &["should have at least 1 items"];
    let bad = bad.into_iter().chain([(json!([]), none)]);
    try_values(&world, &object, "spec.forProvider.backupStorageUuids", good, bad).await;
    let twice = with(&object, "spec.forProvider.backupStorageUuids", json!([VOLUME, VOLUME]));
    let place = "spec.forProvider.backupStorageUuids[1]";
    assert_refused(
        create(&world, &twice).await,
        &[(place, &format!("Duplicate value: \"{VOLUME}\""))],
        "twice",
    );

    let version: &[&str] =
        &["resourceUuid must be a UUID of version 1 to 5: 32 hex digits in lower case, without dashes"];
    let good = ["fadea0efc22e3e4fa43f537f1af6ee6b", "fadea0efc22e1e6fb43f537f1af6ee6b"].map(Value::from);
    let odd = ["fadea0efc22e6e6f643f537f1af6ee6b", "fadea0efc22e6e6fa43f537f1af6ee6b"].map(Value::from);
    let bad = no_uuids().into_iter().chain(odd).map(|bad| (bad, version));
    try_values(&world, &object, "spec.forProvider.resourceUuid", good, bad).await;

    let import = with(&object, "spec.import", json!({ "id": VOLUME }));
    assert_accepted(create(&world, &import).await, "an id");
    let sentence: &str = "import.id must be a uuid: 32 hex digits in lower case, without dashes";
    for id in ["x", "b94ff327-25d1-33fe-a53e-8ada5ea7f0fc", &format!("{VOLUME},{VOLUME}")] {
        let answer = create(&world, &with(&import, "spec.import.id", id.into())).await;
        assert_refused(answer, &[("spec", sentence)], id);
    }
}

#[tokio::test]
async fn switches_and_tags() {
    let world = World::empty("template-switches").await;
    let object = template("switches");
    let platforms: &[&str] =
        &[r#"supported values: "Linux", "Windows", "Other", "Paravirtualization", "WindowsVirtio""#];
    let good = ["Linux", "Windows", "Other", "Paravirtualization", "WindowsVirtio"].map(Value::from);
    let bad = ["linux", ""].map(|platform| (platform.into(), platforms));
    try_values(&world, &object, "spec.forProvider.platform", good, bad).await;

    let modes: &[&str] = &[r#"supported values: "Permissive", "Enforcing", "Recycle""#];
    let good = ["Permissive", "Enforcing"].map(Value::from);
    try_values(&world, &object, "spec.forProvider.deleteMode", good, [("Hard".into(), modes)]).await;

    // The page of the call says that virtio is a list; the server takes a boolean.
    for flag in ["virtio", "system"] {
        let field = format!("spec.forProvider.{flag}");
        for value in [true, false] {
            assert_accepted(create(&world, &with(&object, &field, value.into())).await, flag);
        }
        for value in [json!("yes"), json!(["yes"])] {
            let answer = create(&world, &with(&object, &field, value)).await;
            assert!(
                answer.is_err_and(|why| why.0.iter().any(|(_, says)| says.contains("boolean"))),
                "{flag}"
            );
        }
    }

    for list in ["systemTags", "userTags"] {
        let field = format!("spec.forProvider.{list}");
        let tags = |count: usize| (0..count).map(|n| format!("a::{n}")).collect::<Value>();
        let many: &[&str] = &["must have at most 32 items"];
        let good = [json!([]), json!(["bootMode::UEFI"]), json!(["x".repeat(256)]), tags(32)];
        try_values(&world, &object, &field, good, [(tags(33), many)]).await;
        for (tag, sentence) in [
            ("", "should be at least 1 chars long"),
            (&*"x".repeat(257), "Too long: may not be more than 256 bytes"),
        ] {
            let answer = create(&world, &with(&object, &field, json!([tag]))).await;
            assert_refused(answer, &[(&format!("{field}[0]"), sentence)], list);
        }
    }
}

#[tokio::test]
async fn what_is_needed() {
    let world = World::empty("template-needs").await;
    let object = template("needs");
    let import = with(&object, "spec.import", json!({ "match": { "name": "TinyLinux" } }));
    for (field, sentence) in [
        (
            "name",
            "forProvider.name is required: what the image is called (or name an existing image in import)",
        ),
        (
            "rootVolumeUuid",
            "forProvider.rootVolumeUuid is required: the root volume that the image is made of",
        ),
    ] {
        let field = format!("spec.forProvider.{field}");
        let answer = create(&world, &with(&object, &field, Value::Null)).await;
        assert_refused(answer, &[("spec", sentence)], &field);
        assert_accepted(create(&world, &with(&import, &field, Value::Null)).await, &field);
    }
    let bad: [(Value, &[&str]); 2] = [
        (json!(""), &["should be at least 1 chars long"]),
        (times("a", 256), &["Too long: may not be more than 255 bytes"]),
    ];
    try_values(&world, &import, "spec.import.match.name", [json!("a"), times("a", 255)], bad).await;
}

#[tokio::test]
async fn what_can_be_changed() {
    let world = World::empty("template-fixed").await;
    let object = template("fixed");
    world.create(object.clone()).await;
    let operation = json!({
        "action": "CreateRootVolumeTemplateFromRootVolume", "token": "t", "attempt": 1, "state": "Succeeded",
    });
    world
        .patch_status(KIND, "fixed", json!({ "phase": "Ready", "imageId": VOLUME, "operation": operation }))
        .await;
    let change = |field: &str, value: Value| json!({ "spec": { "forProvider": { field: value } } });
    for (field, value) in [
        ("rootVolumeUuid", json!("a94ff32725d133fea53e8ada5ea7f0fc")),
        ("backupStorageUuids", json!([VOLUME])),
        ("resourceUuid", json!("fadea0efc22e3e6fa43f537f1af6ee6b")),
        ("systemTags", json!(["a::b"])),
        ("userTags", json!(["a"])),
    ] {
        let sentence = format!(
            "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; make a new object"
        );
        assert_refused(
            patch(&world, &object, &change(field, value)).await,
            &[(&*format!("spec.forProvider.{field}"), &sentence)],
            field,
        );
    }
    for (field, value) in [
        ("name", json!("other")),
        ("description", json!("other")),
        ("guestOsType", json!("other")),
        ("platform", json!("Windows")),
        ("architecture", json!("aarch64")),
        ("system", json!(true)),
        ("virtio", json!(false)),
        ("deleteMode", json!("Enforcing")),
    ] {
        assert_accepted(patch(&world, &object, &change(field, value)).await, field);
    }
}
