//! Images of BatchCompute: registered, read, listed, deleted, and every refusal of their pages.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use vendor_simulator::batchcompute::images::Image;
use vendor_simulator::{AccessKey, Change, Simulator};

use crate::support::{Batch, Reply, start};

fn body(changes: &Value) -> Value {
    let mut body =
        json!({"Name": "ImageName", "Description": "text", "EcsImageId": "m-xxx", "Platform": "Linux"});
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(name);
        } else {
            body[name] = value.clone();
        }
    }
    body
}

async fn create(simulator: &Simulator, token: &str, changes: &Value) -> Reply {
    let target =
        if token.is_empty() { "/images".to_owned() } else { format!("/images?IdempotentToken={token}") };
    Batch::new("POST", &target, &body(changes).to_string()).reply(simulator).await
}

async fn get(simulator: &Simulator, target: &str) -> Reply {
    Batch::new("GET", target, "").reply(simulator).await
}

#[tokio::test]
async fn an_image_is_registered_read_listed_and_deleted() {
    let simulator = start().await;
    let made = create(&simulator, "tok_1", &json!({})).await;
    assert_eq!(made.status, 201);
    assert!(made.header("x-acs-request-id").is_some());
    let id = made.json()["Id"].as_str().unwrap().to_owned();
    let image = get(&simulator, &format!("/images/{id}")).await.json();
    assert_eq!(
        (&image["Name"], &image["Type"], &image["EcsImageId"]),
        (&"ImageName".into(), &"Self".into(), &"m-xxx".into())
    );
    assert!(image["OwnerId"].is_number() && image.get("Status").is_none());
    let time = image["CreationTime"].as_str().unwrap();
    assert_eq!((time.len(), time.parse::<Timestamp>().is_ok()), ("2016-07-18T11:53:19.110809Z".len(), true));
    assert_eq!(get(&simulator, "/images").await.json()["Items"][0], image);
    simulator.configure(|settings| settings.batchcompute.owner_id_as_number = false);
    assert!(get(&simulator, "/images").await.json()["Items"][0]["OwnerId"].is_string());

    let delete = Batch::new("DELETE", &format!("/images/{id}"), "").reply(&simulator).await;
    assert_eq!((delete.status, delete.body.len()), (204, 0));
    assert_eq!(get(&simulator, &format!("/images/{id}")).await.verdict(), "404 InvalidResource.NotFound");
    let again = Batch::new("DELETE", &format!("/images/{id}"), "").reply(&simulator).await;
    assert_eq!(again.verdict(), "404 InvalidResource.NotFound");
    let ledger = simulator.ledger();
    let effects: Vec<_> = ledger.effects.iter().map(|e| (e.change, e.token.as_deref())).collect();
    assert_eq!(effects, [(Change::Created, Some("tok_1")), (Change::Deleted, None)]);
    let actions: Vec<_> = ledger.calls.iter().map(|call| call.action.as_str()).take(3).collect();
    assert_eq!(actions, ["CreateImage", "GetImage", "ListImages"]);
}

#[tokio::test]
async fn a_token_gives_the_first_result_again() {
    let simulator = start().await;
    let first = create(&simulator, "a_1", &json!({})).await.json();
    assert_eq!(create(&simulator, "a_1", &json!({})).await.json(), first);
    assert_eq!(
        create(&simulator, "a_1", &json!({"Name": "other"})).await.verdict(),
        "400 IdempotentTokenMismatch"
    );
    assert_eq!(simulator.batchcompute().images().len(), 1);
    simulator.advance(Duration::from_hours(25));
    let late = create(&simulator, "a_1", &json!({})).await;
    assert_eq!(
        late.verdict(),
        "400 InvalidEcsImageId",
        "the token was forgotten, the image is still registered"
    );
}

#[tokio::test]
async fn lists_page_by_marker() {
    let simulator = start().await;
    for number in 0..60 {
        assert_eq!(create(&simulator, "", &json!({"EcsImageId": format!("m-{number}")})).await.status, 201);
    }
    simulator.batchcompute().seed(Image { name: "linux".into(), kind: "System".into(), ..Image::default() });
    let first = get(&simulator, "/images?Marker&MaxItemCount").await.json();
    assert_eq!(first["Items"].as_array().unwrap().len(), 50);
    let next =
        get(&simulator, &format!("/images?Marker={}", first["NextMarker"].as_str().unwrap())).await.json();
    assert_eq!((next["Items"].as_array().unwrap().len(), &next["NextMarker"]), (10, &"".into()));
    let all = get(&simulator, "/images?MaxItemCount=100&Type=Whatever").await.json();
    assert_eq!(all["Items"].as_array().unwrap().len(), 60);
    let system = get(&simulator, "/images?Type=System").await.json();
    assert_eq!(
        (system["Items"].as_array().unwrap().len(), &system["Items"][0]["Name"]),
        (1, &"linux".into())
    );
}

#[tokio::test]
async fn every_row_of_the_creation_page_is_provoked() {
    let simulator = start().await;
    simulator.batchcompute().seed(Image { ecs_image_id: "m-taken".into(), ..Image::default() });
    let long = |length: usize| "x".repeat(length);
    for (changes, code, message) in [
        (json!({"Name": null}), "400 MissingName", "Name is mandatory for this action."),
        (json!({"Name": 1}), "400 InvalidName", "Its type must be string."),
        (json!({"Name": ""}), "400 InvalidName", "Its length must be in [1, 64]."),
        (json!({"Name": long(65)}), "400 InvalidName", "Its length must be in [1, 64]."),
        (json!({"Name": "1st"}), "400 InvalidName", "must not start with [0-9]."),
        (json!({"Name": "a b"}), "400 InvalidName", "must only contain characters within [a-zA-Z0-9_-]"),
        (json!({"Description": []}), "400 InvalidDescription", "Its type must be string."),
        (json!({"Description": long(1025)}), "400 InvalidDescription", "Its length must be in [0, 1024]."),
        (json!({"EcsImageId": null}), "400 MissingEcsImageId", "EcsImageId is mandatory for this action."),
        (json!({"EcsImageId": 1}), "400 InvalidEcsImageId", "Its type must be string."),
        (json!({"EcsImageId": long(257)}), "400 InvalidEcsImageId", "Its length must be in [1, 256]."),
        (json!({"EcsImageId": "m-missing"}), "400 InvalidEcsImageId", "does not exist or not you onwer."),
        (json!({"EcsImageId": "m-taken"}), "400 InvalidEcsImageId", "This EcsImageId has been registered."),
        (json!({"EcsImageId": "m-unavailable"}), "400 InvalidEcsImageId", "The image is not available."),
        (json!({"EcsImageId": "m-unsharable"}), "400 InvalidEcsImageId", "The share Image Quota exceeds"),
        (json!({"Platform": null}), "400 MissingPlatform", "Platform is mandatory for this action."),
        (json!({"Platform": true}), "400 InvalidPlatform", "Its type must be string."),
        (json!({"Platform": ""}), "400 InvalidPlatform", "Its length must be in [1, 256]."),
        (json!({"Platform": "BeOS"}), "400 InvalidPlatform", "Specified parameter Platform is not valid."),
    ] {
        let reply = create(&simulator, "", &changes).await;
        assert_eq!(reply.verdict(), code, "{changes}: {}", reply.text());
        assert!(reply.json()["Message"].as_str().unwrap().contains(message), "{changes}: {}", reply.text());
    }
    for (text, code) in [("{", "400 InvalidJsonFormat"), ("[]", "400 InvalidHttpBody")] {
        assert_eq!(Batch::new("POST", "/images", text).reply(&simulator).await.verdict(), code);
    }
    for token in ["a-b", &long(65)] {
        assert_eq!(create(&simulator, token, &json!({})).await.verdict(), "400 InvalidIdempotentToken");
    }
    simulator.configure(|settings| settings.batchcompute.image_quota = Some(1));
    assert_eq!(create(&simulator, "", &json!({})).await.verdict(), "403 QuotaExhausted.MaxImageCount");
    simulator.configure(|settings| settings.batchcompute.role_can_share = false);
    let reply = create(&simulator, "", &json!({})).await;
    assert!(reply.verdict() == "400 InvalidRoleArn" && reply.text().contains("access to share image"));
    simulator.configure(|settings| settings.batchcompute.role_exists = false);
    let reply = create(&simulator, "", &json!({})).await;
    assert!(reply.verdict() == "400 InvalidRoleArn" && reply.text().contains("created AliyunBatchCompute"));
    assert!(simulator.ledger().effects.is_empty());
}

#[tokio::test]
async fn other_calls_refuse_what_they_cannot_do() {
    let simulator = start().await;
    let inventory = simulator.batchcompute();
    let busy = inventory.seed(Image { in_use: true, ..Image::default() });
    let stuck = inventory.seed(Image { unshare_fails: true, ..Image::default() });
    let system = inventory.seed(Image { kind: "System".into(), ..Image::default() });
    for (method, target, expected) in [
        ("DELETE", format!("/images/{busy}"), "409 StateConflict"),
        ("DELETE", format!("/images/{stuck}"), "400 InvalidEcsImageId"),
        ("DELETE", format!("/images/{system}"), "403 Forbidden"),
        ("GET", format!("/images/{system}"), "200"),
        ("PUT", format!("/images/{busy}"), "400 MethodNotAllowed"),
        ("GET", "/clusters".into(), "400 InvalidUrlPattern"),
        ("GET", "/images?MaxItemCount=101".into(), "400 InvalidMaxItemCount"),
        ("GET", "/images?Marker=nonsense".into(), "400 InvalidMarker"),
    ] {
        let reply = Batch::new(method, &target, "").reply(&simulator).await;
        assert_eq!(reply.verdict(), expected, "{method} {target}: {}", reply.text());
    }
}

#[tokio::test]
async fn calls_that_are_not_signed_well_are_refused() {
    let simulator = start().await;
    simulator.configure(|settings| {
        settings
            .access_keys
            .push(AccessKey { security_token: Some("good".into()), ..AccessKey::new("sts", "s") });
    });
    let call = || Batch::new("GET", "/images", "");
    let shifted = |minutes| {
        (Timestamp::now() + SignedDuration::from_mins(minutes))
            .strftime("%a, %d %b %Y %H:%M:%S GMT")
            .to_string()
    };
    for (what, call, expected) in [
        ("a good one", call(), "200"),
        ("16 minutes old", call().header("date", &shifted(-16)), "400 InvalidTimeStamp.Expired"),
        ("16 minutes ahead", call().header("date", &shifted(16)), "400 InvalidTimeStamp.Expired"),
        ("no date", call().without("date"), "400 IncompleteSignature"),
        ("no nonce", call().without("x-acs-signature-nonce"), "400 IncompleteSignature"),
        ("no region", call().without("x-acs-region-id"), "400 IncompleteSignature"),
        ("another version", call().header("x-acs-version", "2014-05-26"), "403 InvalidVersion.NotFound"),
        ("unknown key", call().key("nobody", "s"), "400 InvalidAccessKeyId.NotFound"),
        ("wrong secret", call().key("simulator", "s"), "400 SignatureDoesNotMatch"),
        ("token", call().key("sts", "s").header("x-acs-security-token", "good"), "200"),
        ("token not sent", call().key("sts", "s"), "400 InvalidSecurityToken.MismatchWithAccessKey"),
        ("large", Batch::new("POST", "/images", &"x".repeat(300_000)), "400 InvalidHttpBody"),
    ] {
        let reply = call.reply(&simulator).await;
        assert_eq!(reply.verdict(), expected, "{what}: {}", reply.text());
    }
}
