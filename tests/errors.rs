//! What became of a call: every error code of the vendor's page is known, every broken answer is taken for what it is, and
//! nothing repeats a call that creates.

#[path = "support/creating.rs"]
mod creating;
#[path = "support/server.rs"]
mod server;

use cloud_image_operator::{
    account::{AccountVendor, AcepApi, SecretRef, VolcengineAccount, ZstackAccount},
    engine::{
        external::{Connect, External, Submitted},
        progress::Handle,
    },
    vendors::{
        aliyun::{errors, image_component::ImageComponent},
        volcengine::{self, aosp_image::AospImage},
        zstack::{self, root_volume_template::RootVolumeTemplate},
    },
    wire::{
        CallError, Class, Http,
        table::{Row, lookup},
    },
};
use serde_json::{Value, json};
use server::{Act, Server, answer};
use std::{net::Ipv4Addr, time::Duration};

// ---- Codes -----------------------------------------------------------------------------------------------------------

/// HTTP status, code, and the reason that users see: all codes of the page of CreateImageComponent, and those of
/// TagResources that our calls can meet.
const CREATE: &str = include_str!("data/create-image-component-codes.txt");
const TAG: &str = include_str!("data/tag-resources-codes.txt");
/// The same for the pages of CreateImagePipeline and DeleteImagePipeline, but for families.
const PIPELINE: &str = include_str!("data/create-image-pipeline-codes.txt");
/// The same for the page of StartImagePipelineExecution, and, after its 20 codes, for those of the other calls that builds take.
const BUILD: &str = include_str!("data/start-image-pipeline-execution-codes.txt");
/// The same for the page of ExportImage.
const EXPORT: &str = include_str!("data/export-image-codes.txt");
/// The same for the page of CopyImage, and, after its 39 codes, for those of the other calls that copies take.
const COPY: &str = include_str!("data/copy-image-codes.txt");
/// The same for the page of ModifyImageSharePermission.
const SHARE: &str = include_str!("data/share-image-codes.txt");
/// Code and reason, as the cloud phone's page of codes has them; it tells no HTTP status.
const CLOUD_PHONE: &str = include_str!("data/cloud-phone-codes.txt");
/// Codes of the gateways, HTTP status first, and those of ZStack, whose page has none.
const VOLCENGINE_GATEWAY: &str = include_str!("data/volcengine-gateway-codes.txt");
const ALIYUN_GATEWAY: &str = include_str!("data/aliyun-gateway-codes.txt");
const ZSTACK: &str = include_str!("data/zstack-codes.txt");

#[test]
fn every_code_of_the_gateways_has_its_class() {
    for (codes, table) in [
        (VOLCENGINE_GATEWAY, volcengine::errors::TABLE),
        (ALIYUN_GATEWAY, errors::TABLE),
        (ZSTACK, zstack::errors::TABLE),
    ] {
        for line in codes.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [.., code, reason] = words[..] else { panic!("{line}") };
            let (class, hint) = lookup(&[table], code, "");
            assert_eq!(class.reason(), reason, "{code}");
            assert!(hint.contains(" / "), "{code}: {hint}");
        }
    }
}

#[test]
fn every_code_of_the_pages_has_its_class_and_a_hint_in_both_languages() {
    for (page, count, table) in [
        (CREATE, 33, errors::TABLE),
        (TAG, TAG.lines().count(), errors::TABLE),
        (COPY, 39 + 20, errors::TABLE),
        (SHARE, 17, errors::TABLE),
        (PIPELINE, 33, errors::TABLE),
        (BUILD, 20 + 7, errors::TABLE),
        (EXPORT, 11, volcengine::errors::TABLE),
    ] {
        assert_eq!(page.lines().count(), count, "all codes of the page");
        for line in page.lines() {
            let (status, rest) = line.split_once(' ').unwrap_or_default();
            assert!(status.parse::<u16>().is_ok_and(|status| (400..600).contains(&status)), "{line}");
            assert_known(table, rest);
        }
    }
    assert_eq!(CLOUD_PHONE.lines().count(), 14, "all codes of the page");
    for line in CLOUD_PHONE.lines() {
        assert_known(volcengine::errors::TABLE, line);
    }
}

/// The page names each field without a dot before it.
#[test]
fn a_family_of_codes_has_its_class() {
    for code in [
        "InvalidParameter.ImportImageOptionsOSType",
        "InvalidParameter.ImportImageOptionsDiskDeviceMappingsFormat",
    ] {
        let (class, hint) = lookup(&[errors::TABLE], code, "");
        assert!(class == Class::Invalid && hint.contains("importImageOptions"), "{code}: {class:?} {hint}");
    }
}

/// `line`: a code and the reason that users see.
fn assert_known(table: &[Row], line: &str) {
    let (code, reason) = line.split_once(' ').unwrap_or_default();
    // A family such as `MissingParameter*` would know the code too, but not what to do about it.
    assert!(table.iter().any(|row| row.code == code), "{code} has no row of its own");
    let (class, hint) = lookup(&[table], code, "");
    assert_eq!(class.reason(), reason, "{code}");
    let (english, chinese) = hint.split_once(" / ").unwrap_or_default();
    assert!(english.is_ascii() && english.len() > 10, "{code}: {hint}");
    assert!(chinese.chars().any(|char| ('\u{4e00}'..='\u{9fff}').contains(&char)), "{code}: {hint}");
}

// ---- Answers to a creating call --------------------------------------------------------------------------------------

/// What a caller may do about it depends on this alone.
#[derive(Debug, PartialEq)]
enum Verdict {
    Made(&'static str),
    NotSent,
    Refused(Class),
    Unknown,
}
use Verdict::{Made, NotSent, Refused, Unknown};

#[tokio::test]
async fn an_answer_is_trusted_only_if_it_is_the_vendors() {
    let refusal = |code: &str| json!({ "Code": code, "Message": "m", "RequestId": "R-1" }).to_string();
    let html = "<html><body>Bad Gateway</body></html>";
    let made = json!({ "ImageComponentId": "ic-1", "RequestId": "R-1" }).to_string();
    let table = [
        ("closed at once", Act::Close, Unknown),
        ("closed when the request was read", Act::ReadAndClose, Unknown),
        ("no answer in time", Act::Hang, Unknown),
        ("not HTTP", Act::Say("SSH-2.0-OpenSSH_9.9\r\n".into()), Unknown),
        ("200", answer(200, &made), Made("ic-1")),
        ("200, half of it", Act::Say(half(&made)), Unknown),
        ("200 HTML", answer(200, html), Unknown),
        ("200 JSON without an id", answer(200, r#"{"RequestId":"R-1"}"#), Unknown),
        ("200 empty", answer(200, ""), Unknown),
        ("204", answer(204, ""), Unknown),
        ("304", answer(304, ""), Unknown),
        ("400 for the spec", answer(400, &refusal("InvalidName.Malformed")), Refused(Class::Invalid)),
        ("400 for the rate", answer(400, &refusal("Throttling")), Refused(Class::Throttled)),
        ("400 for the rate of this API", answer(400, &refusal("Throttling.Api")), Refused(Class::Throttled)),
        ("400 for the quota", answer(400, &refusal("QuotaExceed.ImageComponent")), Refused(Class::Quota)),
        ("400 with an unknown code", answer(400, &refusal("Some.News")), Refused(Class::Unlisted)),
        ("400 with a fault of the vendor's", answer(400, &refusal("ServiceUnavailable")), Unknown),
        ("403", answer(403, &refusal("Forbidden.RAM")), Refused(Class::Permission)),
        ("404", answer(404, &refusal("InvalidResourceGroup.NotFound")), Refused(Class::NotFound)),
        ("403 HTML", answer(403, html), Unknown),
        ("404 empty", answer(404, ""), Unknown),
        ("429", answer(429, &refusal("Whatever")), Refused(Class::Throttled)),
        ("429 text", answer(429, "slow down"), Refused(Class::Throttled)),
        ("429 HTML", answer(429, html), Refused(Class::Throttled)),
        ("429 empty", answer(429, ""), Refused(Class::Throttled)),
        ("500", answer(500, &refusal("InternalError")), Unknown),
        ("500 with a code of ours to mend", answer(500, &refusal("InvalidName.Malformed")), Unknown),
        ("503 for the rate", answer(503, &refusal("Throttling")), Refused(Class::Throttled)),
        ("503", answer(503, &refusal("ServiceUnavailable")), Unknown),
        ("502 HTML", answer(502, html), Unknown),
    ];
    let http = http(Duration::from_millis(500));
    for (what, act, expected) in table {
        let server = Server::start(vec![act]).await;
        let (verdict, told) = submit(&server.url(), http.clone()).await;
        assert_eq!(verdict, expected, "{what}: {told}");
        // Also a server that closes at once may have been sent the request, but never twice.
        let seen = server.connections();
        assert_eq!(seen, 1, "{what}: {seen} connections");
    }
}

/// Volcengine's gateway says in the body what counts, and not always in the same place.
#[tokio::test]
async fn volcengine_s_answer_is_read_wherever_it_stands() {
    let made = |rest: Value| {
        let mut body =
            json!({ "ResponseMetadata": { "RequestId": "R-1" }, "Result": { "ImageId": "img-1" } });
        json_patch::merge(&mut body, &rest);
        (200, body)
    };
    let refusal = |error: Value| json!({ "ResponseMetadata": { "RequestId": "R-1", "Error": error } });
    let coded = |code: &str| refusal(json!({ "Code": code, "Message": "m" }));
    let null_error = json!({ "ResponseMetadata": { "RequestId": "R-1", "Error": null }, "Result": { "ImageId": "img-1" } });
    let nameless = json!({ "ResponseMetadata": { "RequestId": null, "Error": { "Code": "LackPolicy", "Message": null } } });
    let table = [
        ("made", made(json!({})), Made("img-1")),
        ("made, with an Error of null", (200, null_error), Made("img-1")),
        ("no Result", made(json!({ "Result": null })), Unknown),
        ("a Result without an id", made(json!({ "Result": { "ImageId": null } })), Unknown),
        ("a Result of null", (200, json!({ "ResponseMetadata": {}, "Result": null })), Unknown),
        ("an error under 200", (200, coded("1000001")), Refused(Class::Invalid)),
        ("for the spec", (400, coded("1000001")), Refused(Class::Invalid)),
        ("a number", (400, refusal(json!({ "Code": 1_000_001 }))), Refused(Class::Invalid)),
        (
            "a number beside a word",
            (400, refusal(json!({ "Code": "OperationFailed", "CodeN": 1_000_001 }))),
            Refused(Class::Invalid),
        ),
        (
            "the gateway's number alone",
            (401, refusal(json!({ "CodeN": 100_009 }))),
            Refused(Class::Credentials),
        ),
        (
            "a throttle by its number alone",
            (400, refusal(json!({ "CodeN": 100_018 }))),
            Refused(Class::Throttled),
        ),
        ("a throttle under 400", (400, coded("AccountFlowLimitExceeded")), Refused(Class::Throttled)),
        ("a throttle under 500", (500, coded("FlowLimitExceeded")), Refused(Class::Throttled)),
        ("neither text nor id", (403, nameless), Refused(Class::Permission)),
        ("a code that no page has", (400, coded("Some.News")), Refused(Class::Unlisted)),
        ("an Error that says nothing", (400, refusal(json!({}))), Refused(Class::Unlisted)),
        // A build that went wrong may have left something behind.
        ("an abnormal build", (400, coded("21340")), Unknown),
        (
            "an abnormal process",
            (400, refusal(json!({ "Code": "OperationFailed", "CodeN": 21341 }))),
            Unknown,
        ),
        ("an abnormal registry", (200, coded("21350")), Unknown),
        ("a fault under 400", (400, coded("InternalServiceTimeout")), Unknown),
        ("a fault by its number alone", (400, refusal(json!({ "CodeN": 100_014 }))), Unknown),
        ("a fault", (500, coded("InternalError")), Unknown),
        ("one to mend under 500", (500, coded("1000001")), Unknown),
    ];
    for (what, (status, body), expected) in table {
        let server = Server::start(vec![answer(status, &body.to_string())]).await;
        let (verdict, told) = build(&server.url()).await;
        assert_eq!(verdict, expected, "{what}: {told}");
        assert_eq!(server.connections(), 1, "{what}");
    }
}

#[tokio::test]
async fn nothing_is_sent_without_a_connection() {
    // Bound and not listening, so that it refuses, and nobody else can be given its port meanwhile.
    let refusing = tokio::net::TcpSocket::new_v4().expect("a socket");
    refusing.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = refusing.local_addr().expect("an address");
    let (verdict, told) = submit(&format!("http://{address}"), http(Duration::from_secs(5))).await;
    assert_eq!(verdict, NotSent, "connection refused: {told}");

    for (what, act) in [("ends", Act::Close), ("hangs", Act::Hang)] {
        let server = Server::start(vec![act]).await;
        let http = Http::new(Duration::from_secs(5), Duration::from_millis(500), None).expect("HTTP");
        let (verdict, told) = submit(&server.url().replace("http:", "https:"), http).await;
        assert_eq!(verdict, NotSent, "the TLS handshake {what}: {told}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let made = json!({ "ImageComponentId": "ic-1" }).to_string();
    let http = http(Duration::from_secs(5));
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Server::start(vec![answer(200, &made)]).await;
        let head =
            format!("HTTP/1.1 {status} Moved\r\nLocation: {}/\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
        let server = Server::start(vec![Act::Say(head)]).await;
        let (verdict, told) = submit(&server.url(), http.clone()).await;
        assert_eq!(verdict, Unknown, "{status}: {told}");
        assert_eq!((server.requests(), elsewhere.connections()), (1, 0), "{status}");
    }
}

#[tokio::test]
async fn a_refusal_tells_the_vendors_own_words_and_a_lost_answer_what_is_known() {
    let body = json!({ "Code": "InvalidName.Malformed", "Message": "The name is bad.", "RequestId": "R-1" });
    let server = Server::start(vec![answer(400, &body.to_string())]).await;
    let (_, told) = submit(&server.url(), http(Duration::from_secs(5))).await;
    for part in [
        "CreateImageComponent",
        "InvalidName.Malformed",
        "400",
        "The name is bad",
        "R-1",
        "forProvider.name",
        "请",
    ] {
        assert!(told.contains(part), "{part} is not in: {told}");
    }
    let server = Server::start(vec![answer(502, "<h1>Bad Gateway</h1>")]).await;
    let (_, told) = submit(&server.url(), http(Duration::from_secs(5))).await;
    assert!(told.contains("502") && told.contains("Bad Gateway"), "{told}");
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_greatest_length() {
    const LONGEST: usize = 8 << 20;
    let made = r#"{"ImageComponentId":"ic-1"}"#;
    for (length, expected) in [(LONGEST, Made("ic-1")), (LONGEST + 1, Unknown)] {
        let body = format!("{made}{}", " ".repeat(length - made.len()));
        let server = Server::start(vec![answer(200, &body)]).await;
        let (verdict, told) = submit(&server.url(), http(Duration::from_secs(20))).await;
        assert_eq!(verdict, expected, "{length} bytes: {told}");
        assert_eq!(verdict == Unknown, told.contains("more than the 8 MiB"), "{told}");
    }
}

// ---- Lists -----------------------------------------------------------------------------------------------------------

/// One that answers every page with its first.
#[tokio::test]
async fn a_list_of_zstack_s_that_never_goes_on_is_not_read_for_ever() {
    let rows: Vec<_> = (0..1000).map(|number| json!({ "uuid": format!("{number:032x}") })).collect();
    let page = answer(200, &json!({ "inventories": rows }).to_string());
    let server = Server::start(vec![page; 10]).await;
    let zstack = ZstackAccount { endpoint: server.url(), ..ZstackAccount::default() };
    let account = AccountVendor { zstack: Some(zstack), ..AccountVendor::default() };
    let material = creating::material(&server.url(), &KEYS, http(Duration::from_secs(5)));
    let client = zstack::Client::connect(&account, material).expect("a client");
    let look = async |id: &str| RootVolumeTemplate::observe(&client, "", &[Handle::image(id)]).await;
    assert!(look("not a uuid").await.expect("nothing was asked").is_empty());
    assert_eq!(server.requests(), 0);
    let seen = look("0123456789abcdef0123456789abcdef").await;
    assert!(matches!(seen, Err(CallError::NoAnswer(_))), "{seen:?}");
    assert_eq!(server.requests(), 4, "two pages, twice");
}

// ---- Nothing is sent twice -------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_server_that_reads_and_closes_sees_one_request() {
    let server = Server::start(vec![Act::ReadAndClose; 5]).await;
    let (verdict, told) = submit(&server.url(), http(Duration::from_secs(5))).await;
    assert_eq!(verdict, Unknown, "{told}");
    assert_eq!(server.requests(), 1);
}

/// Pools hold connections that the server may close at any moment, and send a request again when one turns out closed.
#[tokio::test]
async fn a_connection_that_was_used_before_does_not_double_a_creation() {
    let found = r#"{"ImageComponent":{"ImageComponentSet":[]}}"#;
    let made = r#"{"ImageComponentId":"ic-1"}"#;
    // On one connection: an answer that leaves it open, then the end after reading another request.
    let server =
        Server::start(vec![answer(200, found), Act::ReadAndClose, answer(200, made), answer(200, made)])
            .await;
    let http = http(Duration::from_secs(5));
    let client = creating::aliyun(&server.url(), &KEYS, http);
    let handle = [Handle::image("ic-0")];
    ImageComponent::observe(&client, "cn-hangzhou", &handle).await.expect("an answer");
    assert_eq!((server.requests(), server.connections()), (1, 1));

    let object = creating::component(&json!({ "content": "RUN true" }));
    let permit = creating::permit(&object).await;
    let (verdict, told) = verdict(object.submit(&client, permit).await);
    assert_eq!(server.connections(), 2, "a creation has a connection of its own");
    assert_eq!(server.requests(), 2, "it is sent once");
    assert_eq!(verdict, Unknown, "{told}");
}

const KEYS: [(&str, &str); 2] = [("accessKeyId", "id"), ("accessKeySecret", "secret")];

fn http(timeout: Duration) -> Http {
    Http::new(timeout, Duration::from_secs(5), None).expect("HTTP")
}

/// Makes the operator's own creating call.
async fn submit(url: &str, http: Http) -> (Verdict, String) {
    let object = creating::component(&json!({ "content": "RUN true" }));
    let permit = creating::permit(&object).await;
    verdict(object.submit(&creating::aliyun(url, &KEYS, http), permit).await)
}

/// Makes the operator's own creating call at Volcengine.
async fn build(url: &str) -> (Verdict, String) {
    let account = VolcengineAccount {
        region: "cn-beijing".into(),
        credentials_secret_ref: SecretRef { name: "volcengine".into(), namespace: None },
        acep: Some(AcepApi { endpoint: Some(url.into()), ..AcepApi::default() }),
        ecs: None,
    };
    let account = AccountVendor { volcengine: Some(account), ..AccountVendor::default() };
    let material = creating::material(url, &KEYS, http(Duration::from_secs(5)));
    let client = volcengine::Client::connect(&account, material).expect("a client");
    let object: AospImage = serde_json::from_value(json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "AospImage",
        "metadata": { "name": "phone", "namespace": "test", "uid": "1" },
        "spec": { "forProvider": { "imageName": "phone" } },
    }))
    .expect("an AospImage");
    let permit = creating::permit(&object).await;
    verdict(object.submit(&client, permit).await)
}

fn verdict(submitted: Result<Submitted, CallError>) -> (Verdict, String) {
    match submitted {
        Ok(submitted) => (Made(submitted.handle.id().to_owned().leak()), String::new()),
        Err(error) => {
            let told = error.to_string();
            match error {
                CallError::NotSent(_) | CallError::RateLimited { .. } => (NotSent, told),
                CallError::Refused(refusal) => (Refused(refusal.class), told),
                CallError::Unknown(_) => (Unknown, told),
                CallError::NoAnswer(_) | CallError::Undecidable(_) => panic!("{told}"),
            }
        }
    }
}

/// An answer that ends before its length.
fn half(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len() * 2
    )
}
