//! What the vendors' official SDKs sent and computed is accepted; the same with one thing changed is not.

use serde_json::Value;
use vendor_simulator::{AccessKey, ClockChange, Simulator};

use crate::support::{Reply, encode, raw, send, start};

/// The requests of a recording. The secret with which the SDKs made them is a made-up one.
pub(crate) fn recording(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/data/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    text.split("\n----- next request -----\n").map(|part| request(part.trim_start_matches('\n'))).collect()
}

fn request(text: &str) -> Vec<u8> {
    let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let body = &body.as_bytes()[..length.unwrap_or(0)];
    let head = head.trim_end().replace('\n', "\r\n");
    [format!("{head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat()
}

/// A simulator at the time of the recording that knows the recorded key.
pub(crate) async fn at(time: &str, key: &str, secret: &str) -> Simulator {
    let simulator = start().await;
    simulator.set_clock(&ClockChange { at: Some(time.parse().unwrap()), ..Default::default() }).unwrap();
    simulator.configure(|settings| settings.access_keys = vec![AccessKey::new(key, secret)]);
    simulator
}

pub(crate) fn vector(name: &str) -> Value {
    let path = format!("{}/tests/data/vectors.json", env!("CARGO_MANIFEST_DIR"));
    let vectors: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    vectors.into_iter().find(|vector| vector["name"] == name).unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The headers of a vector: those that went in and those that the signer added.
pub(crate) fn headers(vector: &Value) -> Vec<(String, String)> {
    [&vector["input"]["headers"], &vector["output"]["headers"]]
        .into_iter()
        .filter_map(Value::as_object)
        .flatten()
        .map(|(name, value)| (name.clone(), text(value).to_owned()))
        .collect()
}

/// The same bytes with the first `from` replaced by `to` of the same length.
pub(crate) fn tampered(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let place =
        bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("something to change");
    let mut changed = bytes.to_vec();
    changed[place..place + to.len()].copy_from_slice(to.as_bytes());
    changed
}

fn signature_is_accepted(reply: &Reply) -> bool {
    !["Signature", "AccessKey", "TimeStamp"].iter().any(|word| reply.verdict().contains(word))
}

#[tokio::test]
async fn alibaba_requests_of_the_official_sdk_are_accepted() {
    for (name, expected, change) in [
        ("aliyun-v3-CreateImageComponent", "200", ("echo+hello", "echo+hallo")),
        ("aliyun-v3-DescribeImageComponents", "200", ("MaxResults=50", "MaxResults=51")),
        ("aliyun-v3-DeleteImageComponent", "404 InvalidImageComponent.NotFound", ("ic-1", "ic-2")),
        ("aliyun-v3-TagResources", "404 InvalidResourceId.NotFound", ("Tag.1.Value=v", "Tag.1.Value=w")),
    ] {
        let simulator = at("2026-11-21T20:24:45Z", "LTAIexample", "SKexample").await;
        let address = simulator.addresses().aliyun_ecs;
        for request in recording(name) {
            let changed = send(address, &tampered(&request, change.0, change.1)).await.unwrap();
            assert_eq!(changed.verdict(), "400 SignatureDoesNotMatch", "{name}");
            let reply = send(address, &request).await.unwrap();
            assert_eq!(reply.verdict(), expected, "{name}: {}", reply.text());
            let again = send(address, &request).await.unwrap();
            assert_eq!(again.verdict(), "400 SignatureNonceUsed", "{name}");
        }
    }
}

#[tokio::test]
async fn alibaba_vectors_of_the_official_signer_are_accepted() {
    for name in ["aliyun-v3-create-formbody", "aliyun-v3-describe-array"] {
        let vector = vector(name);
        let input = &vector["input"];
        let simulator =
            at("2026-11-21T08:30:00Z", text(&input["access_key"]), text(&input["secret_key"])).await;
        let query: Vec<String> = input["query"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(text(value))))
            .collect();
        let target = format!("/?{}", query.join("&"));
        let request = raw("POST", &target, &headers(&vector), text(&input["body"]).as_bytes());
        let address = simulator.addresses().aliyun_ecs;
        let changed =
            send(address, &tampered(&request, "cn-hangzhou HTTP", "cn-hangzhov HTTP")).await.unwrap();
        assert_eq!(changed.verdict(), "400 SignatureDoesNotMatch", "{name}");
        // The server's own canonical request is in the message, as the vendor does it.
        assert!(changed.text().contains("server canonical request is"), "{}", changed.text());
        let reply = send(address, &request).await.unwrap();
        assert!(signature_is_accepted(&reply), "{name}: {}", reply.text());
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn volcengine_requests_of_the_official_sdk_are_accepted() {
    for (name, expected, change) in [
        ("volc-acep-BuildAOSPImage-tos", "200", ("vendor.img", "vendor.imh")),
        ("volc-acep-ListAOSPImage", "200", ("img-159", "img-150")),
        ("volc-acep-UpdateAOSPImage", "400 21342", ("img-158", "img-159")),
        ("volc-acep-DeleteAOSPImage", "200", ("img-159", "img-150")),
        ("volc-acep-error", "200", ("img-158", "img-150")),
        ("volc-ecs-DescribeTasks", "200", ("TaskIds.2=t-2", "TaskIds.2=t-3")),
        ("volc-ecs-ExportImage", "400 InvalidTOSPrefix.Malformed", ("image-1", "image-2")),
    ] {
        let simulator = at("2026-11-21T20:24:05Z", "AKLTexample", "SKexample").await;
        let address = simulator.addresses().volcengine;
        for request in recording(name) {
            let changed = send(address, &tampered(&request, change.0, change.1)).await.unwrap();
            assert_eq!(changed.verdict(), "401 SignatureDoesNotMatch", "{name}");
            // There is no nonce: the same bytes are accepted again.
            for _ in 0..2 {
                let reply = send(address, &request).await.unwrap();
                assert_eq!(reply.verdict(), expected, "{name}: {}", reply.text());
            }
        }
    }
}

#[tokio::test]
async fn volcengine_vectors_of_the_official_signer_are_accepted() {
    for (name, expected) in [
        ("volc-acep-build-json-minimal-headers", "200"),
        ("volc-acep-list-nonascii", "200"),
        ("volc-ecs-export-get", "400 InvalidTOSPrefix.Malformed"),
    ] {
        let vector = vector(name);
        let input = &vector["input"];
        let simulator =
            at("2026-11-21T08:30:00Z", text(&input["access_key"]), text(&input["secret_key"])).await;
        let query: Vec<String> = input["query"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| format!("{}={}", encode(text(&pair[0])), encode(text(&pair[1]))))
            .collect();
        let target = format!("/?{}", query.join("&"));
        let request =
            raw(text(&input["method"]), &target, &headers(&vector), text(&input["body"]).as_bytes());
        let address = simulator.addresses().volcengine;
        let changed =
            send(address, &tampered(&request, "20261121T083000Z", "20261121T083001Z")).await.unwrap();
        assert_eq!(changed.verdict(), "401 SignatureDoesNotMatch", "{name}");
        let reply = send(address, &request).await.unwrap();
        assert_eq!(reply.verdict(), expected, "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn batchcompute_requests_of_the_official_sdk_are_accepted() {
    for (name, expected, change) in [
        ("batchcompute-CreateImage", "201", ("tok_1", "tok_2")),
        ("batchcompute-GetImage", "404 InvalidResource.NotFound", ("img-23", "img-24")),
        ("batchcompute-DeleteImage", "404 InvalidResource.NotFound", ("img-23", "img-24")),
        ("batchcompute-ListImages", "200", ("MaxItemCount=100", "MaxItemCount=101")),
    ] {
        let simulator = at("2026-11-21T20:25:20Z", "LTAIexample", "SKexample").await;
        let address = simulator.addresses().batchcompute;
        for (index, request) in recording(name).iter().enumerate() {
            let changed = send(address, &tampered(request, change.0, change.1)).await.unwrap();
            assert_eq!(changed.verdict(), "400 SignatureDoesNotMatch", "{name}");
            let reply = send(address, request).await.unwrap();
            // The marker of the second page was made up by whoever recorded it.
            let expected = if index == 1 { "400 InvalidMarker" } else { expected };
            assert_eq!(reply.verdict(), expected, "{name}: {}", reply.text());
            let again = send(address, request).await.unwrap();
            assert_eq!(again.verdict(), "400 SignatureNonceUsed", "{name}");
        }
    }
    // The body is not signed but has a sum.
    let simulator = at("2026-11-21T20:25:20Z", "LTAIexample", "SKexample").await;
    let changed = tampered(&recording("batchcompute-CreateImage")[0], "m-xxx", "m-yyy");
    let reply = send(simulator.addresses().batchcompute, &changed).await.unwrap();
    assert_eq!(reply.verdict(), "400 InvalidContentMd5");
}

#[tokio::test]
async fn batchcompute_vectors_of_the_official_signer_are_accepted() {
    for (name, expected) in [
        ("batchcompute-create", "201"),
        ("batchcompute-get", "404 InvalidResource.NotFound"),
        ("batchcompute-list-encoded-marker", "400 InvalidMarker"),
    ] {
        let vector = vector(name);
        let input = &vector["input"];
        let simulator =
            at("2026-11-21T08:30:00Z", text(&input["access_key"]), text(&input["secret_key"])).await;
        let mut headers = headers(&vector);
        headers.retain(|(name, _)| name != "Content-Length");
        headers.push(("Host".into(), text(&input["endpoint"]).into()));
        let request =
            raw(text(&input["method"]), text(&vector["url"]), &headers, text(&input["body"]).as_bytes());
        let reply = send(simulator.addresses().batchcompute, &request).await.unwrap();
        assert_eq!(reply.verdict(), expected, "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn zstack_requests_of_the_official_sdk_are_accepted_with_an_access_key() {
    let simulator = at("2026-11-21T20:26:30Z", "AKIDexample", "AKSecretExample").await;
    simulator.configure(|settings| settings.zstack.utc_offset_hours = 0);
    let address = simulator.addresses().zstack;
    let requests = recording("zstack-go-sdk-accesskey");
    let mut statuses = Vec::new();
    for request in &requests {
        let reply = send(address, request).await.unwrap();
        statuses.push(reply.status);
        if let Some(path) = ["volumes/b94f", "images/fade"].iter().find(|path| contains(request, path)) {
            let (path, other) = (*path, path.replace("b94f", "b94e").replace("fade", "fadf"));
            let changed = send(address, &tampered(request, path, &other)).await.unwrap();
            assert_eq!((changed.status, changed.text().as_str()), (403, "wrong accessKey signature"));
        }
    }
    // The job of the recording was made up; polls of it find nothing and are not authorized at all.
    assert_eq!(statuses, [202, 404, 404, 200, 200, 202, 404, 202, 404, 202, 404]);
    simulator.configure(|settings| settings.zstack.utc_offset_hours = 8);
    let skewed = send(address, &requests[0]).await.unwrap();
    assert_eq!((skewed.status, skewed.text().starts_with("requestTimeTooSkewed")), (403, true));
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn zstack_requests_of_the_official_sdk_are_accepted_with_a_session() {
    const RECORDED: &str = "5bd9e5a6b2a64b1f8d8d5a3d3b3c2f11";
    let simulator = at("2026-11-21T20:26:30Z", "unused", "unused").await;
    let address = simulator.addresses().zstack;
    let requests = recording("zstack-go-sdk-session");
    let login = send(address, &requests[0]).await.unwrap().json();
    let uuid = text(&login["inventory"]["uuid"]).to_owned();
    let mut statuses = Vec::new();
    for request in &requests[1..] {
        let mut request = request.clone();
        while contains(&request, RECORDED) {
            request = tampered(&request, RECORDED, &uuid);
        }
        statuses.push(send(address, &request).await.unwrap().status);
    }
    assert_eq!(statuses, [202, 404, 404, 200, 200, 202, 404, 202, 404, 202, 404, 200, 200]);
    assert!(simulator.zstack().sessions().is_empty(), "the last request is a logout");
}
