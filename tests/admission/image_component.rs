//! Every rule of the `CreateImageComponent` page, and of what all image kinds share.

use super::ask::{assert_accepted, assert_refused, create, try_values, with};
use crate::harness::{World, component};
use serde_json::{Value, json};

/// `text` as often as needed for `bytes` bytes, and `x` for what is left.
fn bytes(text: &str, bytes: usize) -> Value {
    let mut filled = text.repeat(bytes / text.len());
    filled.push_str(&"x".repeat(bytes - filled.len()));
    filled.into()
}

fn times(text: &str, count: usize) -> Value {
    text.repeat(count).into()
}

#[tokio::test]
async fn name() {
    let length = "name must be 2 to 128 characters long";
    let scheme = "name must not begin with http:// or https://";
    let first = "name must begin with a letter or a Chinese character";
    let alphabet = "name must contain only letters, Chinese characters, digits, colons (:), underscores (_), \
                            full stops (.) and hyphens (-)";
    let good = [
        json!("ab"),
        json!("中文"),
        json!("a:b_c.d-e9"),
        json!("镜像1"),
        json!("㐀𠀀〇々"),
        json!("http"),
        json!("https:a"),
    ];
    let bad: [(Value, &[&str]); 16] = [
        (json!(""), &[first, length]),
        (json!("a"), &[length]),
        (json!("镜"), &[length]),
        (times("a", 129), &[length]),
        (times("镜", 129), &[length]),
        (json!("1ab"), &[first]),
        (json!("_ab"), &[first]),
        (json!("éab"), &[first, alphabet]),
        (json!("aé"), &[alphabet]),
        (json!("あい"), &[first, alphabet]),
        (json!("a b"), &[alphabet]),
        (json!("ab\n"), &[alphabet]),
        (json!("http/ab"), &[alphabet]),
        (json!("HTTP://ab"), &[alphabet]),
        (json!("http://ab"), &[scheme]),
        (json!("https://a b"), &[scheme]),
    ];
    let world = World::empty("name").await;
    let object = component("hello", json!({}));
    let field = "spec.forProvider.name";
    try_values(&world, &object, field, good.into_iter().chain([times("a", 128), times("镜", 128)]), bad)
        .await;
}

#[tokio::test]
async fn description() {
    let length = "description must be 2 to 256 characters long; leave it out for none";
    let scheme = "description must not begin with http:// or https://";
    let good = [json!("ab"), json!("1 镜\n像"), times("a", 256), times("镜", 256), json!("see http://a")];
    let bad: [(Value, &[&str]); 6] = [
        (json!(""), &[length]),
        (json!("a"), &[length]),
        (times("a", 257), &[length]),
        (times("镜", 257), &[length]),
        (json!("http://a"), &[scheme]),
        (json!("https://a"), &[scheme]),
    ];
    let world = World::empty("description").await;
    try_values(&world, &component("hello", json!({})), "spec.forProvider.description", good, bad).await;
}

#[tokio::test]
async fn content() {
    let size = "content must be at most 16 KB (16384 bytes)";
    let from = "content must not contain the command FROM: a component has no base image";
    let blank = "content must not be blank";
    let bare = "content has a command without an argument: RUN, ENV, LABEL, COPY, ENTRYPOINT, CMD, WORKDIR and USER \
                need one";
    let restart = "content has a RESTART with an argument: it takes none";
    let good = [
        json!("RUN true"),
        json!("Tasks:\n  - {Name: a, Action: RunShellCommand, Properties: {commandContent: echo}}\n"),
        bytes("x", 16384),
        bytes("镜", 16384),
        json!("RUN echo FROM\n# FROM\nRUN FROMAGE\nFROMAGE"),
        json!("RUN echo \\\nFROM here"),
        json!("RUN echo \\\nRUN\n"),
        json!(
            "RUN \\\n echo\nENV A=b\nLABEL a=b\nCOPY a b\nENTRYPOINT a\nCMD a\nWORKDIR /a\nUSER a\nRESTART\n restart \n"
        ),
        json!("RUNNER\nUSERS\nRESTARTED now"),
        json!("RUN echo \\\r\nFROM here\r\n"),
        json!("Tasks:\n- Name: a\n  Properties:\n    commandContent: |\n      SELECT *\n      FROM t\n"),
    ];
    let bad: [(Value, &[&str]); 28] = [
        (json!("ENV"), &[bare]),
        (json!("RUN true\nLABEL"), &[bare]),
        (json!("COPY \t\r\nRUN true"), &[bare]),
        (json!("ENTRYPOINT\n"), &[bare]),
        (json!("\n\nCMD\n"), &[bare]),
        (json!("RUN true\r\nWORKDIR\r\n"), &[bare]),
        (json!("user"), &[bare]),
        (json!("RESTART now"), &[restart]),
        (json!("RUN true\r\n restart\tnow"), &[restart]),
        (json!("RESTART now\nRUN"), &[bare, restart]),
        (json!("RUN \r\nFROM alpine"), &[from, bare]),
        (json!("USER\nRESTART"), &[bare]),
        (json!("RUN a\\b\nRUN"), &[bare]),
        (bytes("x", 16385), &[size]),
        (bytes("镜", 16385), &[size]),
        (json!("FROM alpine"), &[from]),
        (json!("RUN"), &[bare]),
        (json!("RUN true\n run  \nRUN true"), &[bare]),
        (json!("RUN true\nFROM alpine\n"), &[from]),
        (json!("RUN true\r\nFROM\talpine\r\n"), &[from]),
        (json!("RUN true\n\n  from alpine\n"), &[from]),
        (json!("RUN echo \\\r\nhere\r\nFROM alpine\r\n"), &[from]),
        (json!("RUN true\r\n\r\nFROM alpine"), &[from]),
        (json!("FROM"), &[from]),
        (json!("\nFROM\n"), &[from]),
        (json!(""), &[blank]),
        (json!(" \t\r\n"), &[blank]),
        (json!("\u{b}\u{a0}\u{3000}"), &[blank]),
    ];
    let world = World::empty("content").await;
    let object = component("hello", json!({}));
    try_values(&world, &object, "spec.forProvider.content", good, bad).await;

    let without = with(&object, "spec.forProvider.content", Value::Null);
    let needed: &str =
        "forProvider.content is required: what the component runs (or name an existing component in import)";
    assert_refused(create(&world, &without).await, &[("spec", needed)], "nothing to make");
    let import = with(&without, "spec.import", json!({ "id": "ic-1" }));
    assert_accepted(create(&world, &import).await, "an import without content");
}

#[tokio::test]
async fn version_types_and_places() {
    let sequence: &[&str] =
        &["componentVersion must be major.minor.patch, each a non-negative integer, for example 1.0.0"];
    let region: &[&str] =
        &["regionId must be a region's id of lower-case letters, digits and -, for example cn-hangzhou"];
    let world = World::empty("version").await;
    let object = component("hello", json!({}));

    let good = ["1.0.0", "0.0.0", "10.200.3000"].map(Value::from);
    let bad =
        ["1.0", "1", "1.0.0.0", "v1.0.0", "1.0.x", "1.-1.0", "1.0.*", " 1.0.0", "1.0.0\n", "１.0.0", ""];
    let bad = bad.map(|version| (version.into(), sequence));
    try_values(&world, &object, "spec.forProvider.componentVersion", good, bad).await;

    let good = ["cn-hangzhou", "us-west-1"].map(Value::from);
    let bad = ["CN-HANGZHOU", "cn hangzhou", "evil.example/", "cn-hangzhou\n"].map(|id| (id.into(), region));
    try_values(&world, &object, "spec.forProvider.regionId", good, bad).await;

    let systems: &[&str] = &[r#"supported values: "Linux", "Windows""#];
    let (good, bad) =
        (["Linux", "Windows"].map(Value::from), ["linux", ""].map(|system| (system.into(), systems)));
    try_values(&world, &object, "spec.forProvider.systemType", good, bad).await;
    let purposes: &[&str] = &[r#"supported values: "Build", "Test""#];
    let (good, bad) =
        (["Build", "Test"].map(Value::from), ["test", ""].map(|purpose| (purpose.into(), purposes)));
    try_values(&world, &object, "spec.forProvider.componentType", good, bad).await;

    let good = [json!("rg-bp67acfmxazb4p"), times("r", 256)];
    let bad: [(Value, &[&str]); 2] = [
        (json!(""), &["should be at least 1 chars long"]),
        (times("r", 257), &["Too long: may not be more than 256 bytes"]),
    ];
    try_values(&world, &object, "spec.forProvider.resourceGroupId", good, bad).await;
}

#[tokio::test]
async fn tags() {
    let tags = |count: usize| (0..count).map(|n| json!({ "key": format!("k{n}") })).collect::<Value>();
    let world = World::empty("tags").await;
    let object = component("hello", json!({}));

    let good = [json!([]), json!([{ "key": "team", "value": "base" }, { "key": "Team" }]), tags(20)];
    let bad = [(tags(21), &["tag must have at most 20 entries"][..])];
    try_values(&world, &object, "spec.forProvider.tag", good, bad).await;

    let twice = json!([{ "key": "a", "value": "1" }, { "key": "a", "value": "2" }]);
    let answer = create(&world, &with(&object, "spec.forProvider.tag", twice)).await;
    assert_refused(
        answer,
        &[("spec.forProvider.tag[1]", r#"Duplicate value: {"key":"a"}"#)],
        "one key twice",
    );

    let one = with(&object, "spec.forProvider.tag", json!([{ "key": "a" }]));
    for (part, least) in [("key", 1), ("value", 0)] {
        let field = format!("spec.forProvider.tag.0.{part}");
        for length in [least, 128] {
            assert_accepted(create(&world, &with(&one, &field, times("镜", length))).await, part);
        }
        let answer = create(&world, &with(&one, &field, times("镜", 129))).await;
        let long = (&*format!("spec.forProvider.tag[0].{part}"), "Too long: may not be more than 128 bytes");
        assert_refused(answer, &[long], "129 characters");
    }
    let answer = create(&world, &with(&one, "spec.forProvider.tag.0.key", json!(""))).await;
    assert_refused(answer, &[("spec.forProvider.tag[0].key", "should be at least 1 chars long")], "no key");
}

#[tokio::test]
async fn periods() {
    let resync = "resyncInterval must be 0s (never) or between 1m and 8760h, for example 10h";
    let timeout = "timeout must be between 1m and 720h, for example 2h";
    let world = World::empty("periods").await;
    let object = component("hello", json!({}));
    for (field, sentence, good, bad) in [
        (
            "spec.resyncInterval",
            resync,
            ["0s", "1m", "60s", "1.5h", "1h30m", "8760h"],
            ["59s", "999ms", "8761h", "8760h1s"],
        ),
        (
            "spec.timeout",
            timeout,
            ["1m", "60s", "2h", "1.5h", "1h30m", "720h"],
            ["59s", "0s", "721h", "720h1ms"],
        ),
    ] {
        let bad = bad.map(|period| (period.into(), std::slice::from_ref(&sentence)));
        try_values(&world, &object, field, good.map(Value::from), bad).await;
        for text in ["", "10", "ten", "-1h", "1d", "1h 30m"] {
            let answer = create(&world, &with(&object, field, text.into())).await;
            assert_refused(
                answer,
                &[(field, r"should match '^([0-9]+(\.[0-9]+)?(h|m|s|ms))+$'"), (field, sentence)],
                text,
            );
        }
        // More than a duration can hold.
        let answer = create(&world, &with(&object, field, "99999999999h".into())).await;
        assert_refused(answer, &[(field, sentence)], "an age");
    }
}

#[tokio::test]
async fn who_and_what() {
    let world = World::empty("who").await;
    let object = component("hello", json!({}));
    let one = "import needs exactly one of id and match";
    let good = [
        json!({ "id": "ic-1" }),
        json!({ "match": { "name": "ab" } }),
        json!({ "match": { "name": "中文", "componentVersion": "1.0.0" } }),
    ];
    let bad: [(Value, &[&str]); 2] =
        [(json!({}), &[one]), (json!({ "id": "ic-1", "match": { "name": "ab" } }), &[one])];
    try_values(&world, &object, "spec.import", good, bad).await;
    for (import, field, sentence) in [
        (json!({ "id": "" }), "spec.import.id", "should be at least 1 chars long"),
        (json!({ "id": "x".repeat(257) }), "spec.import.id", "Too long: may not be more than 256 bytes"),
        (json!({ "match": {} }), "spec.import.match.name", "Required value"),
        (json!({ "match": { "name": "a" } }), "spec.import.match.name", "should be at least 2 chars long"),
        (
            json!({ "match": { "name": "a".repeat(129) } }),
            "spec.import.match.name",
            "Too long: may not be more than 128 bytes",
        ),
    ] {
        let what = import.to_string();
        assert_refused(
            create(&world, &with(&object, "spec.import", import)).await,
            &[(field, sentence)],
            &what,
        );
    }

    let nothing: &str =
        "managementPolicy Observe needs import.id or import.match: say which existing image to observe";
    let observe = with(&object, "spec.managementPolicy", "Observe".into());
    assert_refused(create(&world, &observe).await, &[("spec", nothing)], "nothing to observe");
    let import = with(&observe, "spec.import", json!({ "id": "ic-1" }));
    assert_accepted(create(&world, &import).await, "something to observe");

    let object = with(&object, "spec.import", json!({ "id": "ic-1" }));
    for (field, values) in [
        ("managementPolicy", ["Managed", "Observe"]),
        ("deletionPolicy", ["Delete", "Retain"]),
        ("recreatePolicy", ["Never", "WhenMissing"]),
        ("accountRef.kind", ["CloudAccount", "ClusterCloudAccount"]),
    ] {
        let field = format!("spec.{field}");
        let object = with(&object, "spec.accountRef", json!({ "name": "a" }));
        let sentence = format!(r#"supported values: "{}", "{}""#, values[0], values[1]);
        let bad = [(json!("No"), &[&*sentence][..])];
        try_values(&world, &object, &field, values.map(Value::from), bad).await;
    }
    let name = "accountRef.name must be the name of an object: lower-case letters, digits, hyphens and full stops, for \
                example base-1";
    let bad: [(Value, &[&str]); 9] = [
        (json!(""), &["should be at least 1 chars long"]),
        (times("a", 254), &["Too long: may not be more than 253 bytes"]),
        (json!("Aliyun"), &[name]),
        (json!("my_account"), &[name]),
        (json!("my account"), &[name]),
        (json!("images/aliyun"), &[name]),
        (json!("aliyun-"), &[name]),
        (json!("a..b"), &[name]),
        (json!("阿里云"), &[name]),
    ];
    let reference = with(&object, "spec.accountRef", json!({}));
    let good = [times("a", 253), json!("a.b-c.9")];
    try_values(&world, &reference, "spec.accountRef.name", good, bad).await;
    for missing in ["spec", "spec.forProvider"] {
        let answer = create(&world, &with(&object, missing, Value::Null)).await;
        assert_refused(answer, &[(missing, "Required value")], missing);
    }
}
