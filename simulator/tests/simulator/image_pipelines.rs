//! Image pipelines of Alibaba Cloud ECS: what is made, found, tagged and deleted, and which refusals are not what they look like.

use std::time::Duration;

use serde_json::Value;
use vendor_simulator::{Change, Simulator};

use crate::support::{Reply, ecs, start};

const BASE: [(&str, &str); 2] = [("BaseImageType", "IMAGE"), ("BaseImage", "m-base")];

fn id(reply: &Reply) -> String {
    reply.json()["ImagePipelineId"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

async fn create(simulator: &Simulator, parameters: &[(&str, &str)]) -> Reply {
    ecs(simulator, "CreateImagePipeline", &[&BASE[..], parameters].concat()).await
}

async fn describe(simulator: &Simulator, parameters: &[(&str, &str)]) -> Vec<Value> {
    let reply = ecs(simulator, "DescribeImagePipelines", parameters).await;
    reply.json()["ImagePipeline"]["ImagePipelineSet"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", reply.text()))
        .clone()
}

async fn delete(simulator: &Simulator, id: &str) -> String {
    ecs(simulator, "DeleteImagePipeline", &[("ImagePipelineId", id)]).await.verdict()
}

#[tokio::test]
async fn a_pipeline_is_made_found_and_deleted_but_not_while_it_runs() {
    let simulator = start().await;
    let tag = [("Tag.1.Key", "team"), ("Tag.1.Value", "base")];
    let made =
        create(&simulator, &[&[("Name", "one"), ("BuildContent", "RUN true")], &tag[..]].concat()).await;
    let unnamed = id(&create(&simulator, &[]).await);
    let id = id(&made);
    let shown = &describe(&simulator, &tag).await[..];
    let [shown] = shown else { panic!("one has the tag: {shown:?}") };
    assert_eq!(shown["ImagePipelineId"], id);
    assert_eq!((&shown["Name"], &shown["BuildContent"]), (&"one".into(), &"RUN true".into()));
    assert_eq!((&shown["SystemDiskSize"], &shown["BaseImage"]), (&40.into(), &"m-base".into()));
    assert!(shown.get("Status").is_none());
    assert_eq!(describe(&simulator, &[("ImagePipelineId.1", &unnamed)]).await[0]["Name"], unnamed);
    let other = [("Tag.1.Key", "team"), ("Tag.1.Value", "top")];
    assert_eq!(describe(&simulator, &other).await, [] as [Value; 0]);

    simulator.aliyun_ecs().modify_pipeline(&id, |pipeline| pipeline.has_running_execution = true);
    assert_eq!(delete(&simulator, &id).await, "403 InvalidImagePipeline.HasRunningExecution");
    simulator.aliyun_ecs().modify_pipeline(&id, |pipeline| pipeline.has_running_execution = false);
    assert_eq!(delete(&simulator, &id).await, "200");
    assert_eq!(delete(&simulator, &id).await, "404 InvalidImagePipeline.NotFound");
    let ledger = simulator.ledger();
    let changes: Vec<_> =
        ledger.effects.iter().map(|effect| (effect.action.as_str(), effect.change)).collect();
    assert_eq!(
        changes,
        [
            ("CreateImagePipeline", Change::Created),
            ("CreateImagePipeline", Change::Created),
            ("DeleteImagePipeline", Change::Deleted),
        ]
    );
}

#[tokio::test]
async fn a_client_token_gives_the_first_pipeline_again_and_is_none_of_the_components() {
    let simulator = start().await;
    let token = ("ClientToken", "abc");
    let first = create(&simulator, &[("Name", "one"), token]).await;
    assert_eq!(id(&create(&simulator, &[token, ("Name", "one")]).await), id(&first));
    assert_eq!(
        create(&simulator, &[("Name", "two"), token]).await.verdict(),
        "400 IdempotentParameterMismatch"
    );
    let component = [("Content", "RUN true"), token];
    assert_eq!(ecs(&simulator, "CreateImageComponent", &component).await.verdict(), "200");
    // Names are no tokens.
    assert_ne!(id(&create(&simulator, &[("Name", "one")]).await), id(&first));
    simulator.advance(Duration::from_hours(25));
    assert_ne!(id(&create(&simulator, &[("Name", "one"), token]).await), id(&first), "it is forgotten");
    assert_eq!(simulator.count_effects("CreateImagePipeline"), 3);
}

#[tokio::test]
async fn a_component_that_a_pipeline_uses_cannot_be_deleted() {
    let simulator = start().await;
    let component = async |name: &str| {
        let parameters = [("Content", "RUN true"), ("Name", name), ("ComponentVersion", "1.2.3")];
        let made = ecs(&simulator, "CreateImageComponent", &parameters).await.json();
        made["ImageComponentId"].as_str().expect("an id").to_owned()
    };
    let (by_id, by_name, unused) =
        (component("by-id").await, component("by-name").await, component("un").await);
    let steps = format!("# COMPONENT {unused}\nRUN true\ncomponent {by_id} --a 1");
    let test = "COMPONENT acs:ecs:cn-hangzhou:1234567890123456:imagecomponent/by-name:1.*.*";
    let made = create(&simulator, &[("BuildContent", &steps), ("TestContent", test)]).await;
    let pipeline = id(&made);
    let delete_component =
        async |id: &str| ecs(&simulator, "DeleteImageComponent", &[("ImageComponentId", id)]).await.verdict();
    assert_eq!(delete_component(&by_id).await, "403 InvalidImageComponent.InUse");
    assert_eq!(delete_component(&by_name).await, "403 InvalidImageComponent.InUse");
    assert_eq!(delete_component(&unused).await, "200");
    assert_eq!(delete(&simulator, &pipeline).await, "200");
    assert_eq!(delete_component(&by_id).await, "200");
    assert_eq!(delete_component(&by_name).await, "200");
}

#[tokio::test]
async fn what_is_refused_as_not_found_is_not_the_pipeline() {
    let simulator = start().await;
    simulator.configure(|settings| settings.aliyun_ecs.base_images = Some(vec!["m-base".into()]));
    let verdict = async |parameters: &[(&str, &str)]| {
        ecs(&simulator, "CreateImagePipeline", parameters).await.verdict()
    };
    let with = |name: &'static str, value: &'static str| [&BASE[..], &[(name, value)]].concat();
    let other = [("BaseImageType", "IMAGE"), ("BaseImage", "m-other")];
    for (parameters, expected) in [
        (vec![], "404 MissingParameter.BaseImageType"),
        (BASE[..1].to_vec(), "404 MissingParameter.BaseImage"),
        (other.to_vec(), "404 InvalidImage.NotFound"),
        (with("BuildContent", "COMPONENT ic-none"), "404 ImageComponent.NotFound"),
        (
            with("BuildContent", "COMPONENT acs:ecs:r:1:imagecomponent/none:1.0.0"),
            "404 ImageComponent.NotFound",
        ),
        (with("BuildContent", "BREW tea"), "400 InvalidImageTemplateCommand.NotSupported"),
        (with("SystemDiskSize", "19"), "400 InvalidSystemDiskSize.NotSupportedValue"),
        (with("InternetMaxBandwidthOut", "101"), "400 InvalidInternetMaxBandwidthOut.NotSupportedValue"),
        (with("Name", "a"), "400 InvalidName.Malformed"),
        (with("ImageOptions.ImageName", "a"), "400 InvalidImageName.Malformed"),
        (with("ResourceGroupId", "rg-none"), "404 InvalidResourceGroup.NotFound"),
        (vec![("BaseImageType", "TAPE"), BASE[1]], "400 InvalidBaseImageType.NotSupportedValue"),
    ] {
        assert_eq!(verdict(&parameters).await, expected, "{parameters:?}");
    }
    assert_eq!(
        ecs(&simulator, "DeleteImagePipeline", &[]).await.verdict(),
        "404 MissingParameter.ImagePipelineId"
    );
    simulator.configure(|settings| settings.aliyun_ecs.pipeline_quota = Some(0));
    assert_eq!(verdict(&BASE).await, "400 QuotaExceed.ImagePipeline");
    assert_eq!(simulator.ledger().effects.len(), 0);
}

#[tokio::test]
async fn tags_and_the_resource_group_change_under_the_name_that_the_settings_say() {
    let simulator = start().await;
    let id = id(&create(&simulator, &[("Tag.1.Key", "old"), ("Tag.1.Value", "1")]).await);
    let tag = async |kind: &str| {
        let about = [("ResourceType", kind), ("ResourceId.1", &*id)];
        ecs(&simulator, "TagResources", &[&about[..], &[("Tag.1.Key", "new"), ("Tag.1.Value", "2")]].concat())
            .await
    };
    assert_eq!(tag("imagepipeline").await.verdict(), "200");
    assert_eq!(tag("imagecomponent").await.verdict(), "404 InvalidResourceId.NotFound");
    simulator.configure(|settings| settings.aliyun_ecs.pipeline_resource_type = "pipeline".into());
    assert_eq!(tag("imagepipeline").await.verdict(), "404 InvalidResourceType.NotFound");
    let about = [("ResourceType", "pipeline"), ("ResourceId.1", &*id), ("TagKey.1", "old")];
    assert_eq!(ecs(&simulator, "UntagResources", &about).await.verdict(), "200");
    let group =
        [("ResourceType", "pipeline"), ("ResourceId", &*id), ("ResourceGroupId", "rg-bp67acfmxazb4p01")];
    assert_eq!(ecs(&simulator, "JoinResourceGroup", &group).await.verdict(), "200");
    let [there] = &simulator.aliyun_ecs().pipelines()[..] else { panic!("one pipeline") };
    assert_eq!(there.tags, [("new".to_owned(), "2".to_owned())].into());
    assert_eq!(there.resource_group_id, "rg-bp67acfmxazb4p01");
}
