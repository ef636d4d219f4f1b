//! Manifests that tests start from, and what they look for in the answers.

use serde_json::{Value, json};

/// A Secret with the access key that the simulated vendors know.
pub fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name },
        "stringData": { "accessKeyId": "simulator", "accessKeySecret": "simulator-secret" },
    })
}

/// A CloudAccount at Alibaba Cloud ECS under this address, with the Secret `aliyun`.
pub fn account(name: &str, endpoint: impl Into<String>) -> Value {
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "CloudAccount",
        "metadata": { "name": name },
        "spec": { "aliyun": {
            "regionId": "cn-hangzhou",
            "credentialsSecretRef": { "name": "aliyun" },
            "ecs": { "endpoint": endpoint.into() },
        } },
    })
}

/// An ImageComponent that the vendor accepts, named alike on both sides, changed by a JSON merge patch of its spec.
pub fn component(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ImageComponent",
        "metadata": { "name": name },
        "spec": { "forProvider": { "name": name, "componentVersion": "1.0.0", "content": "RUN echo hello" } },
    });
    json_patch::merge(&mut object["spec"], &spec);
    object
}

/// A CloudAccount at Volcengine under this address, with the Secret `volcengine`; what may take a minute takes seconds, and
/// nothing but the operator exports.
pub fn volcengine_account(name: &str, endpoint: impl Into<String>) -> Value {
    let endpoint = endpoint.into();
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "CloudAccount",
        "metadata": { "name": name },
        "spec": { "volcengine": {
            "region": "cn-beijing",
            "credentialsSecretRef": { "name": "volcengine" },
            "acep": { "productId": "1234", "endpoint": endpoint, "listDelay": "2s" },
            "ecs": { "endpoint": endpoint, "listDelay": "2s", "exportedBy": "OperatorOnly" },
        } },
    })
}

/// An AospImage that the vendor accepts, named alike on both sides, changed by a JSON merge patch of its spec.
pub fn aosp_image(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "AospImage",
        "metadata": { "name": name },
        "spec": { "forProvider": {
            "imageName": name,
            "imageTosInfo": {
                "bucket": "bucket-1",
                "region": "cn-beijing",
                "endpoint": "tos-cn-beijing.volces.com",
                "systemImg": { "filePath": "system.img" },
                "vendorImg": { "filePath": "vendor.img" },
            },
        } },
    });
    json_patch::merge(&mut object["spec"], &spec);
    object
}

/// An ImageExport of an image that the vendor has, changed by a JSON merge patch of its spec.
pub fn image_export(name: &str, image: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ImageExport",
        "metadata": { "name": name },
        "spec": { "forProvider": { "imageId": image, "tosBucket": "bucket-1", "tosPrefix": "test123" } },
    });
    json_patch::merge(&mut object["spec"], &spec);
    object
}

/// An ImageDistribution to these regions, changed by a JSON merge patch of its spec.
pub fn distribution(name: &str, regions: &[&str], spec: Value) -> Value {
    let regions: Vec<_> = regions.iter().map(|region| json!({ "regionId": region })).collect();
    let mut object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ImageDistribution",
        "metadata": { "name": name },
        "spec": {
            "regions": regions,
            "forProvider": { "imageId": format!("m-{name}"), "destinationImageName": format!("many-{name}") },
        },
    });
    json_patch::merge(&mut object["spec"], &spec);
    object
}

/// What a user may do: a `Role` or `ClusterRole` of this name with these rules, and its binding.
pub fn rights(kind: &str, name: &str, user: &str, rules: Value) -> Vec<Value> {
    let group = "rbac.authorization.k8s.io";
    let version = format!("{group}/v1");
    vec![
        json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name }, "rules": rules }),
        json!({
            "apiVersion": version,
            "kind": format!("{kind}Binding"),
            "metadata": { "name": name },
            "roleRef": { "apiGroup": group, "kind": kind, "name": name },
            "subjects": [{ "apiGroup": group, "kind": "User", "name": user }],
        }),
    ]
}

/// A condition of an object; null where it has none of that type.
pub fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    conditions.iter().find(|condition| condition["type"] == type_).unwrap_or(&Value::Null)
}

/// Whether the object is Ready, and its status speaks of its present spec.
pub fn is_ready(object: &Value) -> bool {
    let generation = &object["metadata"]["generation"];
    let ready = condition(object, "Ready");
    ready["status"] == "True"
        && ready["observedGeneration"] == *generation
        && object["status"]["observedGeneration"] == *generation
}

/// The smallest image of any kind that the vendors accept, named alike on both sides where the vendor has names.
pub fn image_of(kind: &str, name: &str) -> Value {
    let (mut object, parameters) = match kind {
        "ImageComponent" => return component(name, json!({})),
        "AospImage" => return aosp_image(name, json!({})),
        "ImageExport" => return image_export(name, &format!("image-{name}"), json!({})),
        "BatchComputeImage" => (
            component(name, json!({})),
            json!({ "name": name, "ecsImageId": format!("m-{name}"), "platform": "Linux" }),
        ),
        "AliyunImageCopy" => (
            component(name, json!({})),
            json!({
                "imageId": format!("m-{name}"), "destinationRegionId": "cn-shanghai", "destinationImageName": format!("copy-{name}"),
            }),
        ),
        "ImageBuild" => (component(name, json!({})), json!({ "imagePipelineId": format!("ip-{name}") })),
        "ImagePipeline" => (
            component(name, json!({})),
            json!({ "name": format!("pipeline-{name}"), "baseImage": "m-base", "build": [{ "run": "true" }] }),
        ),
        "RootVolumeTemplate" => (
            component(name, json!({})),
            json!({ "name": name, "rootVolumeUuid": "b94ff32725d133fea53e8ada5ea7f0fc" }),
        ),
        other => panic!("{other} is no kind of images"),
    };
    object["kind"] = kind.into();
    object["spec"]["forProvider"] = parameters;
    object
}

/// A CloudAccount at the simulated vendor of a kind, and the Secret of the same name that it uses. ZStack's is used by
/// access key, whose signatures have a time.
pub fn account_of(kind: &str, name: &str, vendor: &vendor_simulator::Simulator) -> [Value; 2] {
    account_at(kind, name, vendor.addresses())
}

/// The same at a vendor that is reached under these addresses.
pub fn account_at(kind: &str, name: &str, at: vendor_simulator::Addresses) -> [Value; 2] {
    let mut account = match kind {
        "AospImage" | "ImageExport" => volcengine_account(name, format!("http://{}", at.volcengine)),
        _ => account(name, format!("http://{}", at.aliyun_ecs)),
    };
    match kind {
        "BatchComputeImage" => {
            account["spec"]["aliyun"]["batchCompute"] =
                json!({ "endpoint": format!("http://{}", at.batchcompute) });
        }
        "RootVolumeTemplate" => {
            account["spec"] = json!({ "zstack": {
                "endpoint": format!("http://{}", at.zstack),
                "timeZone": "Asia/Shanghai",
            } });
        }
        _ => {}
    }
    let vendors = account["spec"].as_object_mut().expect("a spec");
    for vendor in vendors.values_mut() {
        vendor["credentialsSecretRef"] = json!({ "name": name });
    }
    [secret(name), account]
}
