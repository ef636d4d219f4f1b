//! Every error code of the pages of Volcengine, and of its gateway, comes from a request that deserves it.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use vendor_simulator::volcengine::acep::AospImage;
use vendor_simulator::volcengine::ecs::EcsImage;
use vendor_simulator::{AccessKey, Fault, FaultRule, When};

use crate::support::{Volc, raw, send, start};
use crate::volcengine::{build, export};

fn exporting<'a>(changes: &[(&'a str, &'a str)]) -> Volc {
    let mut parameters = vec![("ImageId", "image-1"), ("TOSBucket", "bucket-1"), ("TOSPrefix", "test123")];
    for (name, value) in changes {
        parameters.retain(|(key, _)| key != name);
        if !value.is_empty() {
            parameters.push((name, value));
        }
    }
    Volc::ecs("ExportImage", &parameters)
}

#[tokio::test]
async fn every_code_of_the_export_page_is_provoked() {
    let simulator = start().await;
    let inventory = simulator.volcengine();
    let seed = |image: EcsImage| inventory.seed_image(image);
    let creating = seed(EcsImage { status: "creating".into(), ..Default::default() });
    let public = seed(EcsImage { visibility: "public".into(), ..Default::default() });
    let locked = seed(EcsImage { locked: true, ..Default::default() });
    inventory.remove_image("image-gone");
    simulator.set_faults(vec![
        FaultRule::new(Fault::InternalError { effect: false })
            .parameter("ImageId", "image-broken")
            .when(When::always()),
    ]);
    let table = [
        ("400 InvalidImageForExportImage.UnSupported", exporting(&[("ImageId", &public)])),
        ("400 InvalidImageStatus", exporting(&[("ImageId", &creating)])),
        ("400 InvalidTOSPrefix.Malformed", exporting(&[("TOSPrefix", "a-b")])),
        ("400 InvalidTOSPrefix.Malformed", exporting(&[("TOSPrefix", "0123456789012345678901234567890")])),
        ("400 InvalidTosPutObject.AccessDenied", exporting(&[("TOSBucket", "denied-bucket")])),
        ("400 MissingParameter.ImageId", exporting(&[("ImageId", "")])),
        ("400 MissingParameter.TOSBucket", exporting(&[("TOSBucket", "")])),
        ("400 MissingParameter.TOSPrefix", exporting(&[("TOSPrefix", "")])),
        ("404 InvalidImage.NotFound", exporting(&[("ImageId", "image-gone")])),
        ("404 InvalidImage.NotFound", exporting(&[("ImageId", "m-1")])),
        ("404 InvalidTOSBucket.NotFound", exporting(&[("TOSBucket", "missing-bucket")])),
        ("412 OperationDenied.ResourceLocked", exporting(&[("ImageId", &locked)])),
        ("500 InternalError", exporting(&[("ImageId", "image-broken")])),
    ];
    for (expected, call) in &table {
        let reply = call.reply(&simulator).await;
        assert_eq!(reply.verdict(), *expected, "{}", reply.text());
    }
    assert!(simulator.ledger().effects.is_empty());
    let page = include_str!("../data/volcengine-ecs-codes.txt");
    let missing: Vec<&str> =
        page.lines().filter(|code| !table.iter().any(|(expected, _)| expected == code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(exporting(&[]).reply(&simulator).await.status, 200);
}

#[tokio::test]
async fn the_other_calls_of_ecs_refuse_too_much() {
    let simulator = start().await;
    let many: Vec<(String, String)> = (1..=101).map(|n| (format!("TaskIds.{n}"), format!("t-{n}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (expected, call) in [
        ("400 LimitExceeded.TaskIds", Volc::ecs("DescribeTasks", &many)),
        ("400 InvalidMaxResults.Malformed", Volc::ecs("DescribeTasks", &[("MaxResults", "101")])),
        ("400 MissingParameter.ImageIds", Volc::ecs("DeleteImages", &[])),
        ("404 InvalidImage.NotFound", Volc::ecs("ModifyImageAttribute", &[("ImageId", "m-1")])),
    ] {
        let reply = call.reply(&simulator).await;
        assert_eq!(reply.verdict(), expected, "{}", reply.text());
    }
}

#[tokio::test]
async fn acep_refuses_what_its_page_does_not_allow() {
    let simulator = start().await;
    let file = json!({"FilePath": "x"});
    let tos = json!({"Bucket": "b", "Region": "r", "Endpoint": "e", "SystemImg": file, "VendorImg": file});
    let without = |name: &str| {
        let mut body = json!({"ImageTosInfo": tos});
        body["ImageTosInfo"].as_object_mut().unwrap().remove(name);
        body
    };
    let from = |url: &str| json!({"ImageFileFormat": "url", "ImageUrlInfo": {"SystemImg": {"Url": "https://a.volces.com/s"}, "VendorImg": {"Url": url}}});
    let ids = |count: usize| json!({"ProductId": "1234", "ImageIdList": vec!["img-1"; count]});
    for (action, body, expected) in [
        ("BuildAOSPImage", json!({"ImageTosInfo": tos}), "200"),
        ("BuildAOSPImage", from("https://oss.aliyuncs.com/v?x=1"), "200"),
        ("BuildAOSPImage", json!({}), "400 1000001"),
        ("BuildAOSPImage", without("Bucket"), "400 1000001"),
        ("BuildAOSPImage", without("Region"), "400 1000001"),
        ("BuildAOSPImage", without("Endpoint"), "400 1000001"),
        ("BuildAOSPImage", without("SystemImg"), "400 1000001"),
        ("BuildAOSPImage", without("VendorImg"), "400 1000001"),
        ("BuildAOSPImage", json!({"ImageFileFormat": "url", "ImageTosInfo": tos}), "400 1000001"),
        ("BuildAOSPImage", json!({"ImageFileFormat": "ftp", "ImageTosInfo": tos}), "400 1000001"),
        ("BuildAOSPImage", json!({"ImageName": 7, "ImageTosInfo": tos}), "400 1000001"),
        ("BuildAOSPImage", from("https://example.com/v"), "400 1000001"),
        ("BuildAOSPImage", from("https://evilvolces.com/v"), "400 1000001"),
        ("BuildAOSPImage", from("https://volces.com.example.com/v"), "400 1000001"),
        ("BuildAOSPImage", from("https://a.volces.com@example.com/v"), "400 1000001"),
        ("BuildAOSPImage", json!([]), "400 1000005"),
        ("ListAOSPImage", json!({}), "400 2000002"),
        ("ListAOSPImage", json!({"ProductId": "no"}), "400 2000000"),
        ("ListAOSPImage", json!({"ProductId": "1234", "MaxResults": 101}), "400 1000001"),
        ("ListAOSPImage", ids(101), "400 1000001"),
        ("UpdateAOSPImage", json!({}), "400 1000001"),
        ("UpdateAOSPImage", json!({"ImageId": "img-none"}), "400 21342"),
        ("DeleteAOSPImage", ids(11), "400 1000001"),
        ("DeleteAOSPImage", ids(0), "400 1000001"),
    ] {
        let reply = Volc::acep(action, &body).reply(&simulator).await;
        assert_eq!(reply.verdict(), expected, "{action} {body}: {}", reply.text());
    }
}

#[tokio::test]
async fn deletions_answer_for_each_image() {
    let simulator = start().await;
    let inventory = simulator.volcengine();
    let held = inventory.seed_aosp_image(AospImage { delete_error: Some(21350), ..Default::default() });
    let public = inventory.seed_aosp_image(AospImage { public: true, ..Default::default() });
    let free = inventory.seed_aosp_image(AospImage::default());
    simulator.configure(|settings| settings.volcengine.delete_while_building = false);
    let result = build("busy", "").result(&simulator).await;
    let busy = result["ImageId"].as_str().unwrap();
    let deletion = Volc::acep("DeleteAOSPImage", &json!({"ImageIdList": [held, public, free, busy]}));
    let items = deletion.result(&simulator).await["Items"].clone();
    let codes: Vec<&Value> = items.as_array().unwrap().iter().map(|item| &item["ErrCode"]).collect();
    assert_eq!(codes, [21350, 21342, 0, 21341]);
}

#[tokio::test]
async fn the_gateway_refuses_what_is_not_signed_well() {
    let simulator = start().await;
    simulator.configure(|settings| {
        settings
            .access_keys
            .push(AccessKey { security_token: Some("good".into()), ..AccessKey::new("sts", "s") });
        settings.access_keys.push(AccessKey {
            security_token: Some("old".into()),
            expires_at: Some(Timestamp::UNIX_EPOCH),
            ..AccessKey::new("old", "s")
        });
    });
    let call = || Volc::ecs("DescribeTasks", &[]);
    let shifted = |minutes| {
        (Timestamp::now() + SignedDuration::from_mins(minutes)).strftime("%Y%m%dT%H%M%SZ").to_string()
    };
    let scope = |service: &str, mut call: Volc| {
        call.service = service.into();
        call
    };
    let list = || Volc::acep("ListAOSPImage", &json!({"ProductId": "1234"}));
    let by_get = {
        let mut call = list();
        call.method = "GET".into();
        call
    };
    let bare = |authorization: &str| {
        let headers =
            [("host".to_owned(), "x".to_owned()), ("authorization".to_owned(), authorization.to_owned())];
        raw("GET", "/?Action=DescribeTasks&Version=2020-04-01", &headers, b"")
    };
    for (what, bytes, expected) in [
        ("a good one", call().bytes(&[]), "200"),
        ("ACEP in capitals", scope("ACEP", list()).bytes(&[]), "200"),
        ("16 minutes old", call().header("x-date", &shifted(-16)).bytes(&[]), "400 InvalidTimestamp"),
        ("from the future", call().header("x-date", &shifted(16)).bytes(&[]), "400 InvalidTimestamp"),
        ("another format", call().header("x-date", "2026-11-21").bytes(&[]), "400 InvalidTimestamp"),
        ("no date", call().without("x-date").bytes(&[]), "400 MissingRequestInfo"),
        ("unknown key", call().key("nobody", "s").bytes(&[]), "401 InvalidAccessKey"),
        ("wrong secret", call().key("simulator", "s").bytes(&[]), "401 SignatureDoesNotMatch"),
        ("host not signed", call().bytes(&["host"]), "400 InvalidAuthorization"),
        ("unknown service", scope("tos", call()).bytes(&[]), "404 ServiceNotFound"),
        ("another service", scope("acep", call()).bytes(&[]), "404 InvalidActionOrVersion"),
        ("unknown action", Volc::ecs("MakeCoffee", &[]).bytes(&[]), "404 InvalidActionOrVersion"),
        ("GET of a POST", by_get.bytes(&[]), "405 MethodNotAllowed"),
        ("not signed", bare(""), "401 MissingAuthenticationToken"),
        ("nonsense", bare("Bearer x"), "400 InvalidAuthorization"),
        (
            "no signature",
            bare("HMAC-SHA256 Credential=a/20261121/b/ecs/request, SignedHeaders=host"),
            "401 MissingSignature",
        ),
        ("token", call().key("sts", "s").header("x-security-token", "good").bytes(&[]), "200"),
        ("token not sent", call().key("sts", "s").bytes(&[]), "401 InvalidAccessKey"),
        (
            "expired token",
            call().key("old", "s").header("x-security-token", "old").bytes(&[]),
            "401 ExpiredToken",
        ),
    ] {
        let reply = send(simulator.addresses().volcengine, &bytes).await.unwrap();
        assert_eq!(reply.verdict(), expected, "{what}: {}", reply.text());
    }
}

#[tokio::test]
async fn both_ways_of_being_too_fast_are_known() {
    let simulator = start().await;
    simulator.set_faults(vec![
        FaultRule::new(Fault::TooManyRequests).when(When::first(1)),
        FaultRule::new(Fault::Throttle).when(When::first(1).after(1)),
    ]);
    let verdicts = [
        export("image-1").reply(&simulator).await.verdict(),
        export("image-1").reply(&simulator).await.verdict(),
    ];
    assert_eq!(verdicts, ["429 FlowLimitExceeded", "400 AccountFlowLimitExceeded"]);
    simulator.set_faults(Vec::new());
    simulator.set_clock(&vendor_simulator::ClockChange { speed: Some(0.0), ..Default::default() }).unwrap();
    simulator.configure(|settings| settings.volcengine.flow_limits[0].requests = 1);
    let list = Volc::acep("ListAOSPImage", &json!({"ProductId": "1234"}));
    assert_eq!(list.reply(&simulator).await.status, 200);
    assert_eq!(list.reply(&simulator).await.verdict(), "429 FlowLimitExceeded");
}
