//! Whatever a vendor answers, and whatever stands in an account or an object: a result or an error, and never a panic.

use super::words::{json, spoiled, text};
use crate::{
    creating,
    server::{Server, answer},
};
use cloud_image_operator::{
    account::AccountVendor,
    distribution::{ImageDistribution, wanted_copies},
    engine::{
        external::{Connect, External},
        index::{Reference, Referent},
        progress::Observation,
    },
    vendors::{
        aliyun::{
            self, batch_compute_image::BatchComputeImage, image_build::ImageBuild,
            image_component::ImageComponent, image_copy::AliyunImageCopy, image_copy::AliyunImageCopySpec,
            image_pipeline::ImagePipeline,
        },
        volcengine::{self, aosp_image::AospImage, image_export::ImageExport},
        zstack::{self, root_volume_template::RootVolumeTemplate},
    },
    wire::Http,
};
use jiff::Timestamp;
use proptest::{prelude::*, test_runner::TestRunner};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{future::Future, time::Duration};
use tokio::{runtime::Builder, time::timeout};

const KEYS: [(&str, &str); 2] = [("accessKeyId", "id"), ("accessKeySecret", "secret")];
const UUID: &str = "0123456789ab4def8123456789abcdef";
/// How long a call may take here.
const LIMIT: Duration = Duration::from_millis(500);

fn account(url: &str) -> Value {
    let secret = json!({ "name": "keys" });
    json!({
        "aliyun": {
            "regionId": "cn-hangzhou", "credentialsSecretRef": secret, "ecs": { "endpoint": url },
            "batchCompute": { "endpoint": url },
        },
        "volcengine": {
            "region": "cn-beijing", "credentialsSecretRef": secret,
            "acep": { "productId": "1", "endpoint": url, "listDelay": "1s" }, "ecs": { "endpoint": url, "listDelay": "1s" },
        },
        "zstack": { "endpoint": url, "credentialsSecretRef": secret, "timeZone": "Asia/Shanghai" },
    })
}

fn object(kind: &str, parameters: &Value) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1", "kind": kind,
        "metadata": { "name": "fuzz", "namespace": "fuzz", "uid": "5c2f1a8e-0000-4000-8000-000000000000" },
        "spec": { "forProvider": parameters },
        "status": { "managedTags": ["a", "acs:account/7"], "operation": { "action": "x", "token": "t-1", "state": "Succeeded", "attempt": 1, "startedAt": "2026-11-26T10:00:00Z" } },
    })
}

fn errors() -> [Value; 3] {
    [
        json!({ "Code": "Throttling.User", "Message": "m", "RequestId": "R", "HostId": "h" }),
        json!({ "ResponseMetadata": { "RequestId": "R", "Error": { "Code": "InvalidParameter", "CodeN": 100_001, "Message": "m" } } }),
        json!({ "error": { "class": "c", "code": "SYS.1006", "description": "d", "details": "x", "cause": { "code": "IMG.1000" } } }),
    ]
}

async fn within<T>(call: impl Future<Output = T>) -> Option<T> {
    timeout(LIMIT, call).await.ok()
}

/// Every call of a kind meets one answer after the other.
fn meet<K: External<Match: DeserializeOwned>>(
    runner: &mut TestRunner,
    parameters: &Value,
    matching: Value,
    id: &str,
    answers: Vec<Value>,
) -> Result<(), String> {
    let object: K = serde_json::from_value(object(&K::kind(&()), parameters)).expect("an object");
    let matching: K::Match = serde_json::from_value(matching).expect("a match");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let http = Http::new(LIMIT, LIMIT, None).expect("HTTP");
    let spoiled = answers.into_iter().chain(errors()).map(|whole| spoiled(whole).boxed());
    let body = prop_oneof![
        6 => proptest::strategy::Union::new(spoiled).prop_map(|body| body.to_string()),
        1 => json().prop_map(|body| body.to_string()),
        1 => text(),
    ];
    let status =
        prop::sample::select(&[200, 200, 200, 201, 202, 204, 400, 403, 404, 409, 429, 500, 502, 503][..]);
    let handle = K::handle(id);
    let outcome = runner.run(&(status, body), |(status, body)| {
        runtime.block_on(async {
            let server = Server::start(vec![answer(status, &body); 60]).await;
            let account: AccountVendor = serde_json::from_value(account(&server.url())).expect("an account");
            let material = creating::material(&server.url(), &KEYS, http.clone());
            let client = K::Client::connect(&account, material).expect("a client");
            let permit = creating::permit(&object).await;
            if let Some(Ok(made)) = within(object.submit(&client, permit)).await {
                prop_assert!(!made.handle.id().trim().is_empty(), "made without an id: {}", body);
            }
            let handles = [handle.clone()];
            if let Some(Ok(seen)) = within(K::observe(&client, "cn-hangzhou", &handles)).await {
                prop_assert!(seen.keys().all(|seen| *seen == handle), "{:?}", seen);
                if let Some(Observation::Ready(product)) = seen.into_values().next() {
                    let product = object.finished(product);
                    let completed = within(object.completed(&client, product.clone())).await;
                    let product = completed.and_then(Result::ok).unwrap_or(product);
                    let _ = object.compare(&client, &product);
                    let _ = within(object.amend(&client, &product)).await;
                }
            }
            let _ = within(object.clear(&client)).await;
            let _ = within(object.find(&client, &matching)).await;
            let _ = within(object.lookalikes(&client)).await;
            let _ = within(object.recover(&client, &K::token("u", 1), Timestamp::UNIX_EPOCH)).await;
            let _ = within(object.leftovers(&client, &K::token("u", 2))).await;
            let _ = within(object.delete(&client, &handle)).await;
            Ok(())
        })
    });
    outcome.map_err(|error| error.to_string())
}

pub fn component(runner: &mut TestRunner) -> Result<(), String> {
    let row = json!({
        "ImageComponentId": "ic-1", "Name": "n", "ComponentVersion": "1.0.0", "Content": "RUN x", "SystemType": "Linux",
        "CreationTime": "2026-11-26T10:00:00Z", "Tags": { "Tag": [{ "TagKey": "a", "TagValue": "b" }] }, "Parameters": { "Parameter": [] },
    });
    let list = json!({ "RequestId": "R", "ImageComponent": { "ImageComponentSet": [row] }, "NextToken": "", "TotalCount": 1 });
    let answers = vec![json!({ "RequestId": "R", "ImageComponentId": "ic-1" }), list];
    let parameters = json!({ "name": "n", "componentVersion": "1.0.0", "content": "RUN x", "tag": [{ "key": "a", "value": "b" }] });
    meet::<ImageComponent>(runner, &parameters, json!({ "name": "n" }), "ic-1", answers)
}

pub fn copy(runner: &mut TestRunner) -> Result<(), String> {
    let row = json!({
        "ImageId": "m-2", "ImageName": "base", "Status": "Available", "Progress": "100%", "CreationTime": "2026-11-26T10:00:00Z",
        "IsCopied": true, "Usable": true, "Description": "", "Tags": { "Tag": [{ "TagKey": "cloudimages.dev/attempt", "TagValue": "u-1" }] },
        "DiskDeviceMappings": { "DiskDeviceMapping": [{ "SnapshotId": "s-1", "RemainTime": 7 }] },
    });
    let list = json!({
        "RequestId": "R", "Images": { "Image": [row] }, "PageNumber": 1, "PageSize": 100, "TotalCount": 1,
        "Accounts": { "Account": [{ "AliyunId": 7, "SharedTime": "" }] },
    });
    let answers = vec![json!({ "RequestId": "R", "ImageId": "m-2" }), list];
    let parameters = json!({ "imageId": "m-1", "destinationImageName": "base", "tag": [{ "key": "a", "value": "b" }], "shareWith": ["8"] });
    meet::<AliyunImageCopy>(runner, &parameters, json!({ "name": "base" }), "m-2", answers)
}

pub fn pipeline(runner: &mut TestRunner) -> Result<(), String> {
    let row = json!({
        "ImagePipelineId": "ip-1", "Name": "n", "BaseImageType": "IMAGE", "BaseImage": "m-1", "BuildContent": "RUN x",
        "SystemDiskSize": 40, "ResourceGroupId": "rg-1", "ImageOptions": { "ImageName": "i" }, "CreationTime": "2026-11-26T10:00:00Z",
        "Tags": { "Tag": [{ "TagKey": "cloudimages.dev/attempt", "TagValue": "u-1" }] }, "ToRegionIds": { "ToRegionId": [] },
    });
    let list = json!({ "RequestId": "R", "ImagePipeline": { "ImagePipelineSet": [row] }, "NextToken": "", "TotalCount": 1 });
    let answers = vec![json!({ "RequestId": "R", "ImagePipelineId": "ip-1" }), list];
    let parameters = json!({
        "name": "n", "baseImage": "m-1", "build": [{ "run": "x" }], "resourceGroupId": "rg-2", "tag": [{ "key": "a", "value": "b" }],
    });
    meet::<ImagePipeline>(runner, &parameters, json!({ "name": "n" }), "ip-1", answers)
}

pub fn build(runner: &mut TestRunner) -> Result<(), String> {
    let row = json!({
        "ExecutionId": "exec-1", "ImagePipelineId": "ip-1", "ImageId": "m-2", "Status": "PARTITION_SUCCESS", "Message": "so",
        "CreationTime": "2026-11-26T10:00:00Z", "ErrorCode": "E", "ErrorInfo": "so",
        "Tags": { "Tag": [{ "TagKey": "cloudimages.dev/attempt", "TagValue": "u-1" }] },
    });
    let runs = json!({ "RequestId": "R", "ImagePipelineExecution": { "ImagePipelineExecutionSet": [row] }, "TotalCount": 1 });
    let image = json!({ "ImageId": "m-2", "ImageName": "base_exec-1", "Status": "Available" });
    let list = json!({
        "RequestId": "R", "Images": { "Image": [image] }, "PageNumber": 1, "PageSize": 100, "TotalCount": 1,
        "Accounts": { "Account": [{ "AliyunId": 7, "SharedTime": "" }] },
    });
    let answers = vec![json!({ "RequestId": "R", "ExecutionId": "exec-1" }), runs, list];
    let parameters =
        json!({ "imagePipelineId": "ip-1", "tag": [{ "key": "a", "value": "b" }], "shareWith": ["8"] });
    meet::<ImageBuild>(runner, &parameters, json!({ "name": "base_exec-1" }), "exec-1", answers)
}

pub fn batch_compute(runner: &mut TestRunner) -> Result<(), String> {
    let row = json!({
        "Id": "img-1", "Name": "n", "EcsImageId": "m-1", "Platform": "Linux", "Type": "Self", "Description": "",
        "CreationTime": "2026-11-26T10:00:00Z",
    });
    let answers = vec![
        json!({ "Id": "img-1" }),
        row.clone(),
        json!({ "Items": [row], "NextMarker": "", "MaxItems": 100 }),
    ];
    let parameters = json!({ "name": "n", "ecsImageId": "m-1", "platform": "Linux" });
    meet::<BatchComputeImage>(runner, &parameters, json!({ "name": "n" }), "img-1", answers)
}

pub fn aosp(runner: &mut TestRunner) -> Result<(), String> {
    let row = json!({
        "ImageId": "img-1", "ImageName": "n", "ImageRemark": "", "ImageStatus": 11, "ImageStatusStr": "BUILT",
        "AOSPVersion": "13", "ImageSize": 1, "CreateAt": 1_795_000_000, "UpdateAt": 1_795_000_000,
    });
    let wrapped = |result: Value| json!({ "ResponseMetadata": { "RequestId": "R" }, "Result": result });
    let answers = vec![
        wrapped(json!({ "ImageId": "img-1" })),
        wrapped(json!({ "Row": [row], "NextToken": "" })),
        wrapped(json!({ "Items": [{ "ErrCode": 0, "ImageId": "img-1", "ErrorMsg": "" }] })),
    ];
    meet::<AospImage>(runner, &json!({ "imageName": "n" }), json!({ "imageName": "n" }), "img-1", answers)
}

pub fn export(runner: &mut TestRunner) -> Result<(), String> {
    let row = json!({
        "Id": "t-1", "Type": "ExportImage", "ResourceId": "image-1", "Status": "Succeeded", "Process": 100,
        "CreatedAt": "2026-11-26T18:00:00+08:00", "EndAt": "", "UpdatedAt": "2026-11-26T18:00:00+08:00",
    });
    let wrapped = |result: Value| json!({ "ResponseMetadata": { "RequestId": "R" }, "Result": result });
    let answers =
        vec![wrapped(json!({ "TaskId": "t-1" })), wrapped(json!({ "Tasks": [row], "NextToken": "" }))];
    let parameters = json!({ "imageId": "image-1", "tosBucket": "bucket-1", "tosPrefix": "p" });
    meet::<ImageExport>(runner, &parameters, json!({ "imageId": "image-1" }), "t-1", answers)
}

pub fn template(runner: &mut TestRunner) -> Result<(), String> {
    let row = json!({
        "uuid": UUID, "name": "n", "status": "Ready", "state": "Enabled", "mediaType": "RootVolumeTemplate", "size": 1,
        "platform": "Linux", "architecture": "x86_64", "createDate": "Nov 21, 2026 8:30:05 PM", "backupStorageRefs": [],
    });
    let answers = vec![
        json!({ "location": "http://localhost/zstack/v1/api-jobs/1", "apiTimeout": 1 }),
        json!({ "inventory": row }),
        json!({ "inventories": [row], "total": 1 }),
    ];
    let parameters = json!({ "name": "n", "rootVolumeUuid": UUID });
    meet::<RootVolumeTemplate>(runner, &parameters, json!({ "name": "n" }), UUID, answers)
}

/// An account's spec: a client, or what is wrong with it.
pub fn accounts(runner: &mut TestRunner) -> Result<(), String> {
    let http = Http::new(LIMIT, LIMIT, None).expect("HTTP");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runner.run(&spoiled(account("http://127.0.0.1:1")), |account| {
        let _inside = runtime.enter();
        let Ok(account) = serde_json::from_value::<AccountVendor>(account) else { return Ok(()) };
        let material = || creating::material("http://127.0.0.1:1", &KEYS, http.clone());
        let _ = aliyun::Client::connect(&account, material());
        let _ = volcengine::Client::connect(&account, material());
        let _ = zstack::Client::connect(&account, material());
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// An object's spec and status: read, or not; and what is read is asked everything that calls nobody.
pub fn objects(runner: &mut TestRunner) -> Result<(), String> {
    let parameters = json!({
        "name": "n", "componentVersion": "1.0.0", "content": "RUN x", "tag": [{ "key": "a", "value": "b" }],
        "ecsImageId": "m-1", "platform": "Linux", "imageName": "n", "imageId": "i", "tosBucket": "b", "tosPrefix": "p",
        "rootVolumeUuid": UUID, "imageAnnotation": "r", "destinationImageName": "n", "destinationRegionId": "r", "encrypted": true,
        "shareWith": ["7"], "sharePolicy": "Exact", "community": false, "baseImageRef": { "name": "n" },
        "pipelineRef": { "name": "n" }, "imagePipelineId": "ip-1",
        "build": [{ "componentRef": { "name": "n" }, "parameters": { "a": "b" } }, { "run": "x" }],
    });
    let whole = distribution(&parameters);
    let read: ImageDistribution = serde_json::from_value(whole.clone()).expect("it can be read");
    assert_eq!(wanted_copies(&read).len(), 2, "and wants a copy in each region");
    let inputs = (spoiled(object("Any", &parameters)), text(), spoiled(whole));
    let outcome = runner.run(&inputs, |(object, id, distribution)| {
        ask::<ImageComponent>(&object, &id);
        ask::<ImagePipeline>(&object, &id);
        ask::<ImageBuild>(&object, &id);
        ask::<AliyunImageCopy>(&object, &id);
        ask::<BatchComputeImage>(&object, &id);
        ask::<AospImage>(&object, &id);
        ask::<ImageExport>(&object, &id);
        ask::<RootVolumeTemplate>(&object, &id);
        distribute(&object);
        let mut distribution = distribution;
        if let Some(region) = distribution.pointer_mut("/spec/regions/0/regionId") {
            *region = json!(id);
        }
        distribute(&distribution);
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// A distribution that is Ready in the first of its regions. Its name is so long that its copies' names are cut within a region's.
fn distribution(parameters: &Value) -> Value {
    let mut all = object("ImageDistribution", parameters);
    all["spec"]["regions"] =
        json!([{ "regionId": "r", "encrypted": true, "kmsKeyId": "k" }, { "regionId": "s" }]);
    all["metadata"]["name"] = json!("f".repeat(50));
    all["spec"]["maxParallel"] = json!(2);
    all["status"] = json!({
        "observedGeneration": 1, "phase": "Building", "copies": "1/2", "lastHandledReconcileAt": "now",
        "regions": [{ "regionId": "r", "name": "fuzz-r", "imageId": "m-1", "phase": "Ready" }],
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "Distributing", "message": "m",
            "lastTransitionTime": "2026-11-26T10:00:00Z",
        }],
    });
    all
}

/// The copies that a distribution wants are there to be read by who makes them.
fn distribute(object: &Value) {
    let Ok(object) = serde_json::from_value::<ImageDistribution>(object.clone()) else { return };
    for copy in wanted_copies(&object) {
        serde_json::from_value::<AliyunImageCopySpec>(copy["spec"].clone()).expect("a copy");
    }
    serde_json::to_value(&object).expect("JSON");
}

fn referent(reference: &Reference, id: &str) -> Referent {
    Referent {
        field: reference.instead.into(),
        kind: reference.kind.clone().unwrap_or_default(),
        name: reference.name.clone(),
        id: id.into(),
        region: Some(id.into()),
    }
}

fn ask<K: External>(object: &Value, id: &str) {
    let Ok(object) = serde_json::from_value::<K>(object.clone()) else { return };
    let _ = (
        object.spec(),
        object.status(),
        object.references(),
        object.exclusive(),
        object.named(),
        object.dropped(),
    );
    let referents: Vec<_> = object.references().iter().map(|reference| referent(reference, id)).collect();
    let _ = (object.took_over(), object.resolved(&referents), K::handle(id), K::token(id, 1));
    let _ = (object.realm(&AccountVendor::default()), object.place(&AccountVendor::default()));
    serde_json::to_value(&object).expect("JSON");
}
