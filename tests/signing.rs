//! Signatures are what the vendors' own SDKs make of the same request, stage by stage, and what a verifier that shares no
//! code with the operator accepts.
//!
//! Each folder of `signing/` holds a request and the stages of its signature, as an official SDK made them with a fixed
//! clock and nonce: volcenginesdk-core 5.0.54, `alibabacloud_tea_openapi` 0.4.6, batchcompute 2.1.7 and zstack-sdk-go. All
//! keys are made up.

#[path = "support/creating.rs"]
mod creating;

use cloud_image_operator::{
    engine::{
        external::External,
        progress::{Comparison, Deletion, Handle, Observation, Product},
    },
    image::ImageStatus,
    vendors::{
        self,
        aliyun::{self, image_component::ImageComponent},
    },
    wire::Http,
};
use http::{HeaderMap, Request};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use vendor_simulator::{AccessKey, Simulator};

// ---- Against the SDKs ------------------------------------------------------------------------------------------------

/// One line for each folder: its name, and the signer that must do the same.
const VECTORS: &[(&str, Signer)] = &[
    ("aliyun-v3-create-formbody", aliyun_v3),
    ("aliyun-v3-describe-array", aliyun_v3),
    ("batchcompute-create", batchcompute),
    ("batchcompute-get", batchcompute),
    ("batchcompute-list-encoded-marker", batchcompute),
    ("volc-acep-build-json-minimal-headers", |request| volcengine(request, "cn-north-1", "acep")),
    ("volc-acep-list-nonascii", |request| volcengine(request, "cn-north-1", "acep")),
    ("volc-ecs-export-get", |request| volcengine(request, "cn-beijing", "ecs")),
    ("zstack-ak-get-2", zstack),
    ("zstack-ak-post-1", zstack),
];

type Signer = fn(Recorded) -> Stages;

fn aliyun_v3(recorded: Recorded) -> Stages {
    let (mut request, headers) = recorded.unsigned();
    let keys = aliyun::sign::Keys {
        access_key_id: "LTAIexample".into(),
        access_key_secret: "exampleAkSecret".into(),
        security_token: None,
    };
    let stamp = aliyun::sign::Stamp {
        action: &headers["x-acs-action"],
        version: &headers["x-acs-version"],
        now: headers["x-acs-date"].parse().expect("a time"),
        nonce: &headers["x-acs-signature-nonce"],
    };
    aliyun::sign::sign(&mut request, &keys, &stamp).expect("header text");
    let signed = aliyun::sign::stages(&request, &keys);
    Stages::of(Some(signed.canonical_request), signed.string_to_sign, &request)
}

fn batchcompute(recorded: Recorded) -> Stages {
    use aliyun::batch_compute::sign::{Stamp, sign, stages};
    let (mut request, headers) = recorded.unsigned();
    let keys = aliyun::sign::Keys {
        access_key_id: "LTAIexample".into(),
        access_key_secret: "exampleAkSecret".into(),
        security_token: None,
    };
    let stamp = Stamp {
        region: &headers["x-acs-region-id"],
        now: time("%a, %d %b %Y %H:%M:%S GMT", &headers["date"]),
        nonce: &headers["x-acs-signature-nonce"],
    };
    sign(&mut request, &keys, &stamp).expect("header text");
    Stages::of(None, stages(&request, &keys).string_to_sign, &request)
}

fn volcengine(recorded: Recorded, region: &str, service: &str) -> Stages {
    use vendors::volcengine::sign::{Keys, Scope, sign, stages};
    let (mut request, headers) = recorded.unsigned();
    let keys = Keys {
        access_key: "AKLTexampleAccessKey".into(),
        secret_key: "exampleSecretKeyBase64==".into(),
        session_token: None,
    };
    let scope = Scope { region, service };
    sign(&mut request, &keys, scope, time("%Y%m%dT%H%M%SZ", &headers["x-date"])).expect("header text");
    let signed = stages(&request, &keys, scope);
    Stages::of(Some(signed.canonical_request), signed.string_to_sign, &request)
}

fn zstack(recorded: Recorded) -> Stages {
    use vendors::zstack::sign::{Keys, sign, stages};
    let (mut request, headers) = recorded.unsigned();
    let keys = Keys { access_key_id: "AKIDexample".into(), access_key_secret: "AKSecretExample".into() };
    let now = time("%a, %d %b %Y %H:%M:%S UTC", &headers["date"]);
    sign(&mut request, &keys, "/zstack", &TimeZone::UTC, now).expect("header text");
    Stages::of(None, stages(&request, &keys, "/zstack").string_to_sign, &request)
}

/// UTC, in the vendor's way of writing it.
fn time(format: &str, text: &str) -> Timestamp {
    let time = DateTime::strptime(format, text).expect("a time");
    time.to_zoned(TimeZone::UTC).expect("a time").timestamp()
}

/// What signing makes of a request. Not every vendor has a canonical request.
struct Stages {
    canonical_request: Option<String>,
    string_to_sign: String,
    headers: HeaderMap,
}

impl Stages {
    fn of(canonical_request: Option<String>, string_to_sign: String, signed: &Request<Vec<u8>>) -> Self {
        Self { canonical_request, string_to_sign, headers: signed.headers().clone() }
    }
}

/// A request as the SDK sent it, without the signature: lines, an empty one, the body.
struct Recorded(String);

impl Recorded {
    fn headers(&self) -> BTreeMap<String, String> {
        let lines = self.0.lines().skip(1).take_while(|line| !line.is_empty());
        lines
            .map(|line| line.split_once(": ").expect("a header"))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect()
    }

    /// The request as it is before it is signed, and all headers of the recorded one.
    fn unsigned(self) -> (Request<Vec<u8>>, BTreeMap<String, String>) {
        let headers = self.headers();
        let (head, body) = self.0.split_once("\n\n").expect("an empty line");
        let line = head.lines().next().expect("a request line");
        let [method, target, _] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let mut request =
            Request::builder().method(method).uri(format!("https://{}{target}", headers["host"]));
        if let Some(value) = headers.get("content-type") {
            request = request.header("content-type", value);
        }
        (request.body(body.to_owned().into_bytes()).expect("a request"), headers)
    }
}

#[test]
fn every_stage_is_what_the_sdk_makes() {
    for (name, sign) in VECTORS {
        let stage = |stage: &str| fs::read_to_string(folder().join(name).join(stage)).ok();
        let recorded = Recorded(stage("request").expect("a request"));
        let sent = recorded.headers();
        let made = sign(recorded);
        let header = |name: &str| made.headers.get(name).map(|value| value.to_str().expect("text"));
        // In the order in which they are computed: the first that differs is where the mistake is.
        assert_eq!(made.canonical_request, stage("canonical-request"), "{name}: canonical request");
        assert_eq!(Some(made.string_to_sign), stage("string-to-sign"), "{name}: string to sign");
        assert_eq!(header("authorization"), stage("authorization").as_deref(), "{name}: authorization");
        // Also those that are not signed. The HTTP client adds the host where the signature needs none.
        for (sent, value) in sent.iter().filter(|(sent, _)| *sent != "host") {
            assert_eq!(header(sent), Some(value.as_str()), "{name}: {sent}");
        }
    }
}

#[test]
fn every_vector_is_checked() {
    let folders: BTreeSet<_> = fs::read_dir(folder())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    assert_eq!(folders, VECTORS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signing")
}

// ---- Against the simulator's verifier, over HTTP ---------------------------------------------------------------------

/// Everything that encodings get wrong: what forms and URLs reserve, what looks encoded already, other alphabets,
/// line ends.
const AWKWARD: &str =
    "RUN echo 'a+b  c*d ~e %20 %2B %zz &x=y;#?/:@!$(),[]{}|\\^`\"<>' é 镜像 😀\tend\r\n# \u{a0}\n";

const KEYS: [(&str, &str); 2] = [("accessKeyId", "simulator"), ("accessKeySecret", "simulator-secret")];

#[tokio::test]
async fn the_vendor_reads_what_was_meant() {
    let simulator = simulator().await;
    for (number, content) in
        [AWKWARD.to_owned(), yaml(), long("RUN ", "x"), long("# ", "镜"), long("# ", "%")].iter().enumerate()
    {
        let name = format!("组件_a.b:c-{number}");
        let object = creating::component(&json!({
            "name": name,
            "componentVersion": "1.20.300",
            "description": AWKWARD,
            "content": content,
            "tag": [{ "key": "a +*~%é 镜/&=", "value": AWKWARD }, { "key": "empty" }],
        }));
        let id = create(&simulator, &object, &KEYS).await;
        let made = simulator.aliyun_ecs().get(&id).expect("it was made");
        assert_eq!((&made.name, made.version.as_str()), (&name, "1.20.300"));
        assert_eq!(made.content, *content);
        assert_eq!(made.description.as_deref(), Some(AWKWARD));
        assert_eq!(made.tags["a +*~%é 镜/&="], AWKWARD);
        assert_eq!(made.tags["empty"], "");
    }
    assert_eq!(simulator.aliyun_ecs().count(), 5);
}

#[tokio::test]
async fn temporary_keys_come_with_their_token() {
    let simulator = simulator().await;
    let token = "CAIS+/a%b==";
    simulator.configure(|settings| {
        let key = AccessKey::new("STS.temporary", "temporary-secret");
        settings.access_keys = vec![AccessKey { security_token: Some(token.into()), ..key }];
    });
    let keys =
        [("accessKeyId", "STS.temporary"), ("accessKeySecret", "temporary-secret"), ("securityToken", token)];
    create(&simulator, &creating::component(&json!({ "content": "RUN true" })), &keys).await;
}

#[tokio::test]
async fn every_other_call_is_accepted_too() {
    let simulator = simulator().await;
    let client = client(&simulator, &KEYS);
    let spec = |changes: Value| {
        let mut spec = json!({ "name": "组件", "componentVersion": "1.0.0", "content": AWKWARD });
        json_patch::merge(&mut spec, &changes);
        creating::component(&spec)
    };
    let before = spec(json!({ "tag": [{ "key": "old 标签", "value": "+" }] }));
    let id = create(&simulator, &before, &KEYS).await;

    let mut after = spec(
        json!({ "tag": [{ "key": "new 标签", "value": AWKWARD }], "resourceGroupId": "rg-bp67acfmxazb4p01" }),
    );
    let managed_tags = vec!["old 标签".to_owned()];
    after.status = Some(ImageStatus { managed_tags, ..ImageStatus::default() });
    let matching =
        serde_json::from_value(json!({ "name": "组件", "componentVersion": "1.0.0" })).expect("a match");
    let handle = Handle::image(&id);
    assert_eq!(after.find(&client, &matching).await, Ok(vec![handle.clone()]));

    let seen = look(&client, &handle).await;
    assert_eq!(
        after.compare(&client, &seen),
        Comparison::Amendable(vec!["tag".into(), "resourceGroupId".into()])
    );
    after.amend(&client, &seen).await.expect("tags and group are changed");
    assert_eq!(after.compare(&client, &look(&client, &handle).await), Comparison::Same);

    assert_eq!(after.delete(&client, &handle).await, Ok(Deletion::Gone));
    assert_eq!(simulator.aliyun_ecs().count(), 0);
    assert_eq!(
        after.delete(&client, &handle).await,
        Ok(Deletion::Gone),
        "what is gone already counts as deleted"
    );
}

async fn simulator() -> Simulator {
    vendor_simulator::start(vendor_simulator::Options::default()).await.expect("the simulator starts")
}

fn client(simulator: &Simulator, keys: &[(&str, &str)]) -> aliyun::Client {
    let http = Http::new(Duration::from_secs(30), Duration::from_secs(5), None).expect("HTTP");
    creating::aliyun(&format!("http://{}", simulator.addresses().aliyun_ecs), keys, http)
}

async fn create(simulator: &Simulator, object: &ImageComponent, keys: &[(&str, &str)]) -> String {
    let permit = creating::permit(object).await;
    let submitted = object.submit(&client(simulator, keys), permit).await;
    submitted.unwrap_or_else(|error| panic!("{error}")).handle.id().to_owned()
}

async fn look(client: &aliyun::Client, handle: &Handle) -> Product {
    let mut seen = ImageComponent::observe(client, "cn-hangzhou", std::slice::from_ref(handle))
        .await
        .expect("an answer");
    match seen.remove(handle) {
        Some(Observation::Ready(product)) => product,
        other => panic!("{other:?}"),
    }
}

/// Exactly as long as the vendor allows: 16 KB.
fn long(start: &str, filling: &str) -> String {
    let end = "\nRUN x";
    let mut text = start.to_owned();
    while text.len() + filling.len() + end.len() <= 16 * 1024 {
        text.push_str(filling);
    }
    text + end
}

fn yaml() -> String {
    let commands = AWKWARD.replace(['\r', '\t', '\u{a0}'], " ").replace('\n', "\n        ");
    format!(
        "Parameters:\n  p: {{Type: String}}\nTasks:\n  - Name: 你好\n    Action: RunShellCommand\n    Properties:\n      \
         commandContent: |\n        {commands}"
    )
}
