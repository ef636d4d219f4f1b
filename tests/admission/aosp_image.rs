//! Every rule of the `BuildAOSPImage` page.

use super::ask::{assert_accepted, assert_refused, create, patch, try_values, with};
use crate::harness::{World, aosp_image};
use serde_json::{Value, json};

const BY_TOS: &str = "imageFileFormat volc_tos needs imageTosInfo";
const BY_URL: &str = "imageFileFormat url needs imageUrlInfo";

/// Values of a field that must be an MD5.
async fn try_md5(world: &World, object: &Value, field: &str) {
    let digits: &[&str] = &["md5 must be 32 hexadecimal digits"];
    let good = [json!("0cc175b9c0f1b6a831c399e269772661"), json!("0CC175B9C0F1B6A831C399E269772661")];
    let bad =
        ["0cc175b9c0f1b6a831c399e26977266", "0cc175b9c0f1b6a831c399e2697726611", "MTIzNDU2Nzg5MDEyMzQ1Ng=="];
    let field = format!("spec.forProvider.{field}");
    try_values(world, object, &field, good, bad.map(|md5| (md5.into(), digits))).await;
}

fn urls(url: &str) -> Value {
    json!({ "systemImg": { "url": url }, "vendorImg": { "url": "https://b.tos-cn-beijing.volces.com/vendor.img" } })
}

/// An image whose partitions are fetched by URL.
fn by_url() -> Value {
    let image_url_info = urls("https://b.tos-cn-beijing.volces.com/system.img");
    let parameters =
        json!({ "imageFileFormat": "url", "imageTosInfo": null, "imageUrlInfo": image_url_info });
    aosp_image("phone", json!({ "forProvider": parameters }))
}

/// Values of one field that are too short and too long, in bytes that a name of one letter each has.
async fn try_lengths(world: &World, object: &Value, field: &str, most: usize) {
    let long = format!("Too long: may not be more than {most} bytes");
    let bad: [(Value, &[&str]); 2] =
        [(json!(""), &["should be at least 1 chars long"]), ("x".repeat(most + 1).into(), &[&*long])];
    let field = format!("spec.forProvider.{field}");
    try_values(world, object, &field, [json!("x"), "x".repeat(most).into()], bad).await;
}

#[tokio::test]
async fn names_and_places() {
    let world = World::empty("aosp-names").await;
    let object = aosp_image("phone", json!({}));
    for (field, most) in [
        ("imageName", 256),
        ("imageAnnotation", 1024),
        ("productId", 64),
        ("imageTosInfo.region", 64),
        ("imageTosInfo.endpoint", 512),
        ("imageTosInfo.systemImg.filePath", 2048),
        ("imageTosInfo.vendorImg.filePath", 2048),
    ] {
        try_lengths(&world, &object, field, most).await;
    }
    for file in ["systemImg", "vendorImg"] {
        try_md5(&world, &object, &format!("imageTosInfo.{file}.md5")).await;
    }
    let bucket: &[&str] =
        &["bucket must be 3 to 63 lower-case letters, digits and hyphens, first and last a letter or digit"];
    let good = [json!("abc"), json!("a-1"), "x".repeat(63).into()];
    let bad = ["a", "ab", "Bucket", "-abc", "abc-", "a_bc", "a.bc"].map(|name| (name.into(), bucket));
    try_values(&world, &object, "spec.forProvider.imageTosInfo.bucket", good, bad).await;
    let region: &[&str] =
        &["region must be the id of a region: letters, digits and hyphens, for example cn-beijing"];
    let bad = ["cn beijing", "cn-beijing&x", "cn-beijing/"].map(|region_| (region_.into(), region));
    try_values(&world, &object, "spec.forProvider.imageTosInfo.region", [json!("cn-beijing")], bad).await;
    let address: &[&str] = &[
        "endpoint must be an address without user, password and blanks, for example tos-cn-beijing.volces.com",
    ];
    let good = ["tos-cn-beijing.volces.com", "https://tos-cn-beijing.volces.com"].map(Value::from);
    let bad = ["user:password@tos-cn-beijing.volces.com", "tos cn", "tos.volces.com\n", "a&b"];
    let bad = bad.map(|endpoint| (endpoint.into(), address));
    try_values(&world, &object, "spec.forProvider.imageTosInfo.endpoint", good, bad).await;
    for field in
        ["bucket", "region", "endpoint", "systemImg", "vendorImg", "systemImg.filePath", "vendorImg.filePath"]
    {
        let field = format!("spec.forProvider.imageTosInfo.{field}");
        let answer = create(&world, &with(&object, &field, Value::Null)).await;
        // The rule about the format sees what is there only when the schema is met.
        assert_refused(answer, &[(&field, "Required value")], &field);
    }

    let reserved: &[&str] =
        &["imageAnnotation must not contain [cloudimages.dev/: that is the operator's marker"];
    let good = [json!("夜间 [1]"), json!("lines\nof text\n"), json!("cloudimages.dev/")];
    let bad = ["[cloudimages.dev/u-1]", "a [cloudimages.dev/"].map(|text| (text.into(), reserved));
    try_values(&world, &object, "spec.forProvider.imageAnnotation", good, bad).await;
}

#[tokio::test]
async fn the_block_fits_the_format() {
    let world = World::empty("aosp-format").await;
    let (tos, url) = (aosp_image("phone", json!({})), by_url());
    assert_accepted(create(&world, &tos).await, "no format is volc_tos");
    assert_accepted(
        create(&world, &with(&tos, "spec.forProvider.imageFileFormat", "volc_tos".into())).await,
        "volc_tos",
    );
    assert_accepted(create(&world, &url).await, "url");
    let block = url["spec"]["forProvider"]["imageUrlInfo"].clone();
    let both = with(&tos, "spec.forProvider.imageUrlInfo", block);
    assert_accepted(create(&world, &both).await, "both blocks, as in the vendor's own example");
    for (object, expected, what) in [
        (with(&tos, "spec.forProvider.imageTosInfo", Value::Null), BY_TOS, "volc_tos without a block"),
        (with(&tos, "spec.forProvider.imageFileFormat", "url".into()), BY_URL, "url with the other block"),
        (with(&url, "spec.forProvider.imageUrlInfo", Value::Null), BY_URL, "url without a block"),
        (
            with(&url, "spec.forProvider.imageFileFormat", Value::Null),
            BY_TOS,
            "volc_tos with the other block",
        ),
    ] {
        assert_refused(create(&world, &object).await, &[("spec", expected)], what);
    }
    let formats: &[&str] = &[r#"supported values: "volc_tos", "url""#];
    let answer = create(&world, &with(&tos, "spec.forProvider.imageFileFormat", "tos".into())).await;
    assert_refused(answer, &[("spec.forProvider.imageFileFormat", formats[0])], "another format");

    // An import may leave out what only a build needs.
    let nothing = with(&tos, "spec.forProvider", json!({}));
    for import in [json!({ "id": "img-1" }), json!({ "match": { "imageName": "phone" } })] {
        assert_accepted(create(&world, &with(&nothing, "spec.import", import)).await, "an import");
    }
}

#[tokio::test]
async fn files_are_at_the_vendors_own_hosts() {
    let world = World::empty("aosp-hosts").await;
    let object = by_url();
    let host: &[&str] =
        &["url must be an http(s) URL without blanks at a host under volces.com or aliyuncs.com"];
    let good = [
        "https://b.tos-cn-beijing.volces.com/system.img",
        "http://b.oss-cn-hangzhou.aliyuncs.com:80/a/system.img?sign=1",
        "https://volces.com",
        "https://aliyuncs.com?a=b",
    ];
    let bad = [
        "https://example.com/system.img",
        "https://evil-volces.com/system.img",
        "https://volces.com.example.com/system.img",
        "https://example.com/?volces.com",
        "https://user@volces.com/system.img",
        "https://example.com#volces.com",
        "ftp://b.volces.com/system.img",
        "b.volces.com/system.img",
        "https://b.volces.com/system image.img",
        "https://b.volces.com\\@example.com/",
    ];
    for file in ["systemImg", "vendorImg"] {
        let field = format!("spec.forProvider.imageUrlInfo.{file}.url");
        try_values(&world, &object, &field, good.map(Value::from), bad.map(|url| (url.into(), host))).await;
        let most = format!("https://volces.com/{}", "x".repeat(8192 - 19));
        assert_accepted(create(&world, &with(&object, &field, most.clone().into())).await, "8192 bytes");
        let answer = create(&world, &with(&object, &field, format!("{most}x").into())).await;
        assert_refused(answer, &[(&field, "Too long: may not be more than 8192 bytes")], "8193 bytes");
        try_md5(&world, &object, &format!("imageUrlInfo.{file}.md5")).await;
    }
}

#[tokio::test]
async fn what_is_asked_for_cannot_be_changed() {
    let world = World::empty("aosp-fixed").await;
    let object = aosp_image("phone", json!({}));
    world.create(object.clone()).await;
    let operation = json!({ "action": "BuildAOSPImage", "token": "t", "attempt": 1, "state": "Running" });
    world
        .patch_status(
            "AospImage",
            "phone",
            json!({ "phase": "Building", "imageId": "img-1", "operation": operation }),
        )
        .await;
    let change =
        async |change: Value| patch(&world, &object, &json!({ "spec": { "forProvider": change } })).await;
    let sentence = |field: &str| {
        format!(
            "forProvider.{field} cannot be changed once it is asked for: the vendor has no call for it; make a new AospImage"
        )
    };
    for (field, value) in [
        ("imageTosInfo", json!({ "imageTosInfo": { "bucket": "other" } })),
        ("productId", json!({ "productId": "1749281594201" })),
    ] {
        assert_refused(
            change(value).await,
            &[(&*format!("spec.forProvider.{field}"), &sentence(field))],
            field,
        );
    }
    let mut by_url = by_url()["spec"]["forProvider"].clone();
    by_url["imageTosInfo"] = Value::Null;
    let by_url = change(by_url).await;
    let [format, tos, url] = ["imageFileFormat", "imageTosInfo", "imageUrlInfo"].map(sentence);
    assert_refused(
        by_url,
        &[
            ("spec.forProvider.imageFileFormat", &format),
            ("spec.forProvider.imageTosInfo", &tos),
            ("spec.forProvider.imageUrlInfo", &url),
        ],
        "another format",
    );
    assert_refused(
        change(json!({ "imageName": null })).await,
        &[(
            "spec.forProvider",
            "forProvider.imageName can be changed and not taken out again once it is asked for: the vendor has no call that unsets it; give it the value that it is to have",
        )],
        "no name",
    );
    for open in [json!({ "imageName": "other" }), json!({ "imageAnnotation": "other" })] {
        let what = open.to_string();
        assert_accepted(change(open).await, &what);
    }
}
