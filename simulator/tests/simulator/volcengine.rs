//! AOSP images and image exports of Volcengine: how they come about, are listed, forgotten and deleted.

use std::time::Duration;

use serde_json::{Value, json};
use vendor_simulator::volcengine::NumericCodes;
use vendor_simulator::volcengine::acep::{AospImage, NameMatch};
use vendor_simulator::volcengine::ecs::EcsImage;
use vendor_simulator::{Change, ClockChange, Fault, FaultRule, Simulator, When};

use crate::support::{Reply, Volc, start};

pub(crate) fn build(name: &str, annotation: &str) -> Volc {
    let file = json!({"FilePath": "tos-cn-beijing.volces.com/x"});
    let source = json!({"Bucket": "b", "Region": "cn-beijing", "Endpoint": "tos-cn-beijing.volces.com",
        "SystemImg": file, "VendorImg": file});
    Volc::acep(
        "BuildAOSPImage",
        &json!({"ImageName": name, "ImageAnnotation": annotation, "ImageTosInfo": source}),
    )
}

async fn built(simulator: &Simulator, name: &str, annotation: &str) -> String {
    let result = build(name, annotation).result(simulator).await;
    result["ImageId"].as_str().unwrap().to_owned()
}

async fn list(simulator: &Simulator, mut filter: Value) -> (Vec<Value>, String) {
    filter["ProductId"] = "1234".into();
    let result = Volc::acep("ListAOSPImage", &filter).result(simulator).await;
    (result["Row"].as_array().unwrap().clone(), result["NextToken"].as_str().unwrap().to_owned())
}

async fn status(simulator: &Simulator, id: &str) -> Value {
    list(simulator, json!({"ImageIdList": [id]})).await.0[0]["ImageStatus"].clone()
}

pub(crate) fn export(image: &str) -> Volc {
    Volc::ecs("ExportImage", &[("ImageId", image), ("TOSBucket", "bucket-1"), ("TOSPrefix", "test123")])
}

async fn exported(simulator: &Simulator, image: &str) -> String {
    export(image).result(simulator).await["TaskId"].as_str().unwrap().to_owned()
}

async fn tasks(simulator: &Simulator, parameters: &[(&str, &str)]) -> Value {
    Volc::ecs("DescribeTasks", parameters).result(simulator).await
}

async fn task(simulator: &Simulator, id: &str) -> Value {
    tasks(simulator, &[("TaskIds.1", id)]).await["Tasks"][0].clone()
}

async fn frozen() -> Simulator {
    let simulator = start().await;
    simulator.set_clock(&ClockChange { speed: Some(0.0), ..Default::default() }).unwrap();
    simulator
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn an_image_is_queued_built_renamed_and_deleted() {
    let simulator = frozen().await;
    let id = built(&simulator, "phone", "k8s-uid:1").await;
    for (after, expected) in [(0, 1), (5, 2), (59, 2), (1, 11)] {
        simulator.advance(seconds(after));
        assert_eq!(status(&simulator, &id).await, expected);
    }
    let row = list(&simulator, json!({"ImageIdList": [id, "img-none"]})).await.0.remove(0);
    assert_eq!((&row["ImageName"], &row["ImageRemark"]), (&"phone".into(), &"k8s-uid:1".into()));
    assert_eq!(row["UpdateAt"].as_i64().unwrap() - row["CreateAt"].as_i64().unwrap(), 65);

    let update =
        Volc::acep("UpdateAOSPImage", &json!({"ImageId": id, "ImageName": "tablet"})).reply(&simulator).await;
    assert_eq!(update.status, 200);
    assert!(update.json().get("Result").is_none());
    let image = simulator.volcengine().aosp_image(&id).unwrap();
    assert_eq!((image.name.as_str(), image.annotation.as_str()), ("tablet", "k8s-uid:1"));

    let deletion =
        Volc::acep("DeleteAOSPImage", &json!({"ImageIdList": [id, "img-none"]})).result(&simulator).await;
    assert_eq!(deletion["Items"][0], json!({"ErrCode": 0, "ImageId": id, "ErrorMsg": ""}));
    assert_eq!(deletion["Items"][1]["ErrCode"], 21342);
    assert!(list(&simulator, json!({})).await.0.is_empty());
    let changes: Vec<_> = simulator.ledger().effects.iter().map(|effect| effect.change).collect();
    assert_eq!(changes, [Change::Created, Change::Changed, Change::Deleted]);
}

#[tokio::test]
async fn the_envelope_names_the_request() {
    let simulator = start().await;
    let reply = build("a", "").reply(&simulator).await.json();
    let metadata = &reply["ResponseMetadata"];
    assert_eq!((&metadata["Action"], &metadata["Version"]), (&"BuildAOSPImage".into(), &"2025-05-01".into()));
    assert_eq!((&metadata["Service"], &metadata["Region"]), (&"ACEP".into(), &"cn-north-1".into()));
    assert_eq!(metadata["RequestId"], simulator.ledger().calls[0].request_id.as_str());
    assert!(metadata.get("Error").is_none());
    simulator.configure(|settings| settings.volcengine.null_error = true);
    let reply = build("a", "").reply(&simulator).await.json();
    assert_eq!(reply["ResponseMetadata"].get("Error"), Some(&Value::Null));
}

#[tokio::test]
async fn lists_filter_and_page() {
    let simulator = frozen().await;
    let mut ids = Vec::new();
    for number in 0..25 {
        ids.push(built(&simulator, &format!("n-{number}"), "").await);
    }
    simulator.volcengine().seed_aosp_image(AospImage {
        name: "system".into(),
        public: true,
        ..Default::default()
    });
    let (first, token) = list(&simulator, json!({})).await;
    assert_eq!((first.len(), &first[0]["ImageName"]), (10, &"n-24".into()));
    let (second, token) = list(&simulator, json!({"NextToken": token, "MaxResults": 15})).await;
    assert_eq!((second.len(), second[14]["ImageName"].as_str(), token.as_str()), (15, Some("n-0"), ""));
    // A token that was never given starts over without a word.
    let (again, _) = list(&simulator, json!({"NextToken": "nonsense"})).await;
    assert_eq!(first, again);
    let (_, expired) = list(&simulator, json!({})).await;
    simulator.configure(|settings| settings.volcengine.tokens_expire = true);
    assert_eq!(
        list(&simulator, json!({ "NextToken": expired })).await.0,
        first,
        "nor does one that is not valid any more"
    );
    simulator.configure(|settings| settings.volcengine.tokens_expire = false);

    let count = async |filter: Value| list(&simulator, filter).await.0.len();
    assert_eq!(count(json!({"ImageIdList": ids, "MaxResults": 100})).await, 25);
    assert_eq!(count(json!({"ImageName": "n-2", "MaxResults": 100})).await, 6);
    assert_eq!(count(json!({"IsPublic": true})).await, 1);
    assert_eq!(count(json!({"ImageStatus": 11, "MaxResults": 100})).await, 0);
    simulator.configure(|settings| settings.volcengine.name_match = NameMatch::Exact);
    assert_eq!(count(json!({"ImageName": "n-2", "MaxResults": 100})).await, 1);
    simulator.configure(|settings| settings.volcengine.echo_annotation = false);
    built(&simulator, "marked", "marker").await;
    assert_eq!(list(&simulator, json!({"ImageName": "marked"})).await.0[0]["ImageRemark"], "");
}

#[tokio::test]
async fn builds_fail_stall_and_lag_as_they_are_told() {
    let simulator = frozen().await;
    let rule = |fault, name| FaultRule::new(fault).action("BuildAOSPImage").parameter("ImageName", name);
    let lag = FaultRule::new(Fault::ListLag { seconds: 20 }).action("ListAOSPImage");
    simulator.set_faults(vec![rule(Fault::FailBuild, "bad"), rule(Fault::StallBuild, "slow"), lag]);
    let (bad, slow) = (built(&simulator, "bad", "").await, built(&simulator, "slow", "").await);
    assert!(list(&simulator, json!({"ImageIdList": [bad, slow]})).await.0.is_empty());
    simulator.advance(seconds(20));
    assert_eq!((status(&simulator, &bad).await, status(&simulator, &slow).await), (2.into(), 2.into()));
    simulator.advance(seconds(3600));
    assert_eq!((status(&simulator, &bad).await, status(&simulator, &slow).await), ((-1).into(), 2.into()));
}

#[tokio::test]
async fn an_export_runs_and_writes_its_object() {
    let simulator = frozen().await;
    let id = exported(&simulator, "image-44").await;
    let shown = task(&simulator, &id).await;
    assert_eq!(
        (&shown["Status"], &shown["Process"], &shown["EndAt"]),
        (&"Pending".into(), &0.into(), &"".into())
    );
    assert_eq!((&shown["Type"], &shown["ResourceId"]), (&"ExportImage".into(), &"image-44".into()));
    let created = shown["CreatedAt"].as_str().unwrap();
    assert!(created.ends_with("+08:00"), "{created}");
    let created: jiff::Timestamp = created.parse().unwrap();
    assert!(created.duration_since(simulator.clock().world).abs().as_secs() < 2);

    simulator.advance(seconds(5 + 27));
    assert_eq!(task(&simulator, &id).await["Process"], 45);
    simulator.configure(|settings| settings.volcengine.process_as_text = true);
    assert_eq!(task(&simulator, &id).await["Process"], "45%");
    assert!(simulator.volcengine().exported_objects().is_empty());
    simulator.advance(seconds(33));
    let shown = task(&simulator, &id).await;
    assert_eq!((&shown["Status"], &shown["Process"]), (&"Succeeded".into(), &"100%".into()));
    assert!(shown["EndAt"].as_str().unwrap().ends_with("+08:00"));
    assert_eq!(simulator.volcengine().exported_objects(), ["tos://bucket-1/test123_image-44_system.qcow2"]);
}

#[tokio::test]
async fn one_image_is_exported_once_at_a_time() {
    let simulator = frozen().await;
    exported(&simulator, "image-1").await;
    let locked = export("image-1").reply(&simulator).await;
    assert_eq!(locked.verdict(), "412 OperationDenied.ResourceLocked");
    exported(&simulator, "image-2").await;
    let blocked = Volc::ecs("DeleteImages", &[("ImageIds.1", "image-1"), ("ImageIds.2", "nothing")]);
    let details = blocked.result(&simulator).await["OperationDetails"].clone();
    assert_eq!(details[0]["Error"]["Code"], "OperationDenied.ImageIsExporting");
    assert_eq!(details[1]["Error"]["Code"], "InvalidImage.NotFound");
    simulator.advance(seconds(66));
    exported(&simulator, "image-1").await;
    assert!(simulator.volcengine().overlapping_exports().is_empty());
    simulator.configure(|settings| settings.volcengine.lock_while_exporting = false);
    exported(&simulator, "image-1").await;
    assert_eq!(simulator.volcengine().overlapping_exports().len(), 1);
}

#[tokio::test]
async fn tasks_are_paged_and_forgotten() {
    let simulator = frozen().await;
    let forget =
        FaultRule::new(Fault::ForgetTask { after_seconds: 10 }).action("ExportImage").when(When::first(1));
    simulator.set_faults(vec![forget]);
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(exported(&simulator, &format!("image-{number}")).await);
    }
    let parameters: Vec<(String, String)> =
        ids.iter().enumerate().map(|(index, id)| (format!("TaskIds.{}", index + 1), id.clone())).collect();
    let mut parameters: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // A hundred ids may be asked for, but twenty rows come unless more are asked for.
    let first = tasks(&simulator, &parameters).await;
    assert_eq!(first["Tasks"].as_array().unwrap().len(), 20);
    parameters.push(("NextToken", first["NextToken"].as_str().unwrap()));
    let second = tasks(&simulator, &parameters).await;
    assert_eq!((second["Tasks"].as_array().unwrap().len(), &second["NextToken"]), (10, &"".into()));
    parameters.pop();
    parameters.push(("MaxResults", "100"));
    assert_eq!(tasks(&simulator, &parameters).await["Tasks"].as_array().unwrap().len(), 30);
    simulator.advance(seconds(10));
    assert_eq!(tasks(&simulator, &parameters).await["Tasks"].as_array().unwrap().len(), 29);
    assert_eq!(task(&simulator, &ids[0]).await, Value::Null);

    let by_image = [("ResourceIds.1", "image-3"), ("ResourceId", "image-4")];
    assert_eq!(tasks(&simulator, &by_image).await["Tasks"].as_array().unwrap().len(), 2);
    simulator.configure(|settings| settings.volcengine.task_retention_seconds = Some(100));
    simulator.advance(seconds(54));
    assert_eq!(tasks(&simulator, &by_image).await["Tasks"].as_array().unwrap().len(), 2);
    simulator.advance(seconds(102));
    assert!(tasks(&simulator, &by_image).await["Tasks"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn exports_fail_without_a_reason() {
    let simulator = frozen().await;
    simulator.set_faults(vec![FaultRule::new(Fault::FailBuild).action("ExportImage")]);
    let id = exported(&simulator, "image-1").await;
    simulator.advance(seconds(65));
    let shown = task(&simulator, &id).await;
    assert_eq!((&shown["Status"], &shown["Process"]), (&"Failed".into(), &50.into()));
    assert!(
        shown.as_object().unwrap().keys().all(|name| !name.contains("Reason") && !name.contains("Message"))
    );
    assert!(simulator.volcengine().exported_objects().is_empty());
}

#[tokio::test]
async fn images_are_described_changed_and_deleted() {
    let simulator = start().await;
    let inventory = simulator.volcengine();
    for number in 0..16 {
        inventory.seed_image(EcsImage { name: format!("i-{number}"), ..Default::default() });
    }
    let described = Volc::ecs("DescribeImages", &[]).result(&simulator).await;
    assert_eq!((described["Images"].as_array().unwrap().len(), &described["TotalCount"]), (15, &16.into()));
    let named = Volc::ecs("DescribeImages", &[("ImageName", "i-3")]).result(&simulator).await;
    let id = named["Images"][0]["ImageId"].as_str().unwrap().to_owned();
    Volc::ecs("ModifyImageAttribute", &[("ImageId", &id), ("ImageName", "new")]).result(&simulator).await;
    let described = Volc::ecs("DescribeImages", &[("ImageIds.1", &id), ("ImageIds.2", "image-any")]);
    let images = described.result(&simulator).await["Images"].clone();
    assert_eq!((&images[0]["ImageName"], &images[1]["ImageId"]), (&"new".into(), &"image-any".into()));
    assert_eq!(images[1]["Status"], "available");
    inventory.remove_image("image-any");
    Volc::ecs("DeleteImages", &[("ImageIds.1", &id)]).result(&simulator).await;
    assert_eq!(described.result(&simulator).await["TotalCount"], 0);
}

#[tokio::test]
async fn numbers_of_codes_stand_where_they_are_told() {
    let simulator = start().await;
    for (style, code, number) in [
        (NumericCodes::Both, "2000002", 2_000_002),
        (NumericCodes::CodeN, "OperationFailed", 2_000_002),
        (NumericCodes::Code, "2000002", 0),
    ] {
        simulator.configure(|settings| settings.volcengine.numeric_codes = style);
        let reply: Reply = Volc::acep("ListAOSPImage", &json!({})).reply(&simulator).await;
        let error = &reply.json()["ResponseMetadata"]["Error"];
        assert_eq!((&error["Code"], &error["CodeN"]), (&code.into(), &number.into()));
    }
}
