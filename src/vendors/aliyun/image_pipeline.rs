//! `ImagePipeline`: what Alibaba Cloud builds images from, and with which steps. ECS `CreateImagePipeline` 2014-05-26.

use super::{
    Client,
    pipeline_steps::{LONGEST, MOST_COMMANDS, Step, commands, fits, written},
    tags::{self, Tag, Thing},
};
use crate::{
    account::AccountVendor,
    engine::{
        existing::{Existing, Mark},
        external::{External, Submitted, Timeout, Unusable},
        index::{Reference, Referent},
        journal::Permit,
        progress::{Comparison, Deletion, Difference, Handle, Lookalike, Observation, Product, Recovered},
    },
    image::{ImageRef, ImageSpec, ImageStatus, fixed, kept, placed},
    vendors::normalise,
    wire::{CallError, Class, Effect, endpoint::Endpoints, pages},
};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

// ---- What a user writes --------------------------------------------------------------------------------------------

const AGAIN: &str = "make a new object";

/// An image pipeline at Alibaba Cloud.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "ImagePipeline",
    plural = "imagepipelines",
    shortname = "imgpipe",
    category = "cloudimages",
    namespaced,
    status = "ImageStatus",
    doc = "An image pipeline of Alibaba Cloud's image builder: a base image, and the steps that build and test an image of it. It stands for the vendor's CreateImagePipeline; to have it is free, and nothing runs yet.",
    printcolumn(name = "Image ID", type_ = "string", json_path = ".status.imageId", description = "The vendor's id of the pipeline"),
    validation = placed("regionId", AGAIN),
    validation = fixed("name", AGAIN),
    validation = fixed("description", AGAIN),
    validation = fixed("baseImageType", AGAIN),
    validation = fixed("baseImage", AGAIN),
    validation = fixed("baseImageRef", AGAIN),
    validation = fixed("importImageOptions", AGAIN),
    validation = fixed("buildContent", AGAIN),
    validation = fixed("build", AGAIN),
    validation = fixed("testContent", AGAIN),
    validation = fixed("test", AGAIN),
    validation = fixed("instanceType", AGAIN),
    validation = fixed("systemDiskSize", AGAIN),
    validation = fixed("internetMaxBandwidthOut", AGAIN),
    validation = fixed("vSwitchId", AGAIN),
    validation = fixed("imageOptions", AGAIN),
    validation = fixed("retainCloudAssistant", AGAIN),
    validation = fixed("repairMode", AGAIN),
    validation = fixed("repairItem", AGAIN),
    validation = kept("resourceGroupId")
)]
#[x_kube(
    validation = Rule::new("has(self.forProvider.baseImage) || has(self.forProvider.baseImageRef) || has(self.forProvider.importImageOptions) || has(self.import) || (has(self.forProvider.baseImageType) && self.forProvider.baseImageType == 'OSS')").message("forProvider.baseImage or baseImageRef is required, or baseImageType OSS with importImageOptions (or name an existing pipeline in import)"),
)]
pub struct ImagePipelineSpec {
    /// What all kinds share.
    #[serde(flatten)]
    pub image: ImageSpec<PipelineMatch>,

    /// The parameters of CreateImagePipeline, under the vendor's names, and `build` and `test`, from which the operator writes
    /// BuildContent and TestContent. Only `tag` and `resourceGroupId` can be changed later: the vendor has no call for the rest.
    /// Its parameters ToRegionId and AddAccount are never used, since what they make nobody keeps track of.
    #[x_kube(
        validation = Rule::new("!has(self.buildContent) || !has(self.build)").message("forProvider must have only one of buildContent and build"),
        validation = Rule::new("!has(self.testContent) || !has(self.test)").message("forProvider must have only one of testContent and test"),
        validation = Rule::new("!has(self.baseImage) || !has(self.baseImageRef)").message("forProvider must have only one of baseImage and baseImageRef"),
        validation = Rule::new("!has(self.baseImageRef) || !has(self.baseImageType) || self.baseImageType == 'IMAGE'").message("baseImageRef means an image: it needs baseImageType IMAGE, or none"),
        validation = Rule::new("!has(self.baseImageType) || self.baseImageType != 'OSS' || (!has(self.baseImage) && !has(self.baseImageRef) && has(self.importImageOptions))").message("baseImageType OSS needs importImageOptions, and neither baseImage nor baseImageRef"),
        validation = Rule::new("!has(self.importImageOptions) || (has(self.baseImageType) && self.baseImageType == 'OSS')").message("importImageOptions needs baseImageType OSS"),
        validation = Rule::new("!has(self.repairItem) || (has(self.repairMode) && self.repairMode == 'Customized')").message("repairItem needs repairMode Customized"),
    )]
    pub for_provider: PipelineParameters,
}

/// The parameters of CreateImagePipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineParameters {
    /// The region that the pipeline is made in, and its images, 1 to 64 characters (a limit of this operator). Default: the
    /// account's. Cannot be changed. Example: `cn-hangzhou`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("regionId must be a region's id of lower-case letters, digits and -, for example cn-hangzhou"))]
    pub region_id: Option<String>,

    /// The resource group that the pipeline belongs to, 1 to 256 characters (a limit of this operator, not published by the
    /// vendor). Can be changed, not taken out again. Default: the account's default group. Example: `rg-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub resource_group_id: Option<String>,

    /// Tags of the pipeline, at most 19, each key once; the operator adds one of its own, by which a pipeline whose making was
    /// not answered is found again. Can be changed: a key that is taken out here is removed at the vendor, too. Tags whose keys
    /// were never here are somebody else's, and stay. Example: `[{key: team, value: base}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    #[x_kube(validation = Rule::new("self.size() <= 19").message("tag must have at most 19 entries: the vendor takes 20, and one is the operator's"))]
    pub tag: Option<Vec<Tag>>,

    /// The pipeline's name: 2 to 128 characters, first a letter or Chinese, not beginning with `http://` or `https://`; then
    /// letters, Chinese, digits, colon, underscore, full stop and hyphen. Default: the id that the vendor gives. Cannot be
    /// changed. Example: `base-image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.size() >= 2 && self.size() <= 128").message("name must be 2 to 128 characters long"),
        validation = Rule::new("!self.startsWith('http://') && !self.startsWith('https://')").message("name must not begin with http:// or https://"),
        validation = Rule::new("self.matches('^[a-zA-Z\\\\p{Han}]')").message("name must begin with a letter or a Chinese character"),
        validation = Rule::new("self.matches('^(https?://|[a-zA-Z0-9\\\\p{Han}:_.-]*$)')").message("name must contain only letters, Chinese characters, digits, colons (:), underscores (_), full stops (.) and hyphens (-)"),
    )]
    pub name: Option<String>,

    /// What the pipeline is for: 2 to 256 characters, not beginning with `http://` or `https://`. Cannot be changed.
    /// Example: `Builds our base image.`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = Rule::new("self.size() >= 2 && self.size() <= 256").message("description must be 2 to 256 characters long; leave it out for none"),
        validation = Rule::new("!self.startsWith('http://') && !self.startsWith('https://')").message("description must not begin with http:// or https://"),
    )]
    pub description: Option<String>,

    /// What the images are built from. `IMAGE`: the image that `baseImage` or `baseImageRef` names. `IMAGE_FAMILY`: the newest
    /// image, at each run, of the family that `baseImage` names. `OSS`: a disk file that `importImageOptions` names. Left out, it
    /// is `IMAGE` for what is made, and whatever the vendor has for what is imported. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image_type: Option<BaseImageType>,

    /// The id of the base image or, with `baseImageType: IMAGE_FAMILY`, the name of its family, 1 to 128 characters. Cannot be
    /// changed. Example: `aliyun_3_x64_20G_alibase_20240819.vhd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub base_image: Option<String>,

    /// An object of the same namespace whose image is the base image, instead of `baseImage`: the pipeline is made when that is
    /// Ready, with the id that its image has then. Cannot be changed. Example: `{name: base}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image_ref: Option<ImageRef>,

    /// With `baseImageType: OSS`: the disk file, and what is known of it. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_image_options: Option<ImportImageOptions>,

    /// The build steps as the vendor takes them, instead of `build`: commands, one a line, and `COMPONENT` lines; at most 16 KB
    /// and 127 commands. Cannot be changed. Example: `COMPONENT ic-bp67acfmxazb4p --version 1.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    #[x_kube(validation = Rule::new("bytes(self).size() <= 16384").message("buildContent must be at most 16 KB (16384 bytes)"))]
    pub build_content: Option<String>,

    /// The steps that build the image, in their order, at most 127; together at most 16 KB when they are written out. Cannot be
    /// changed. Example: `[{componentRef: {name: hello}}, {run: echo done}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(
        validation = Rule::new("self.size() <= 127").message("build must have at most 127 steps"),
        validation = fits("build"),
    )]
    pub build: Option<Vec<Step>>,

    /// The test steps as the vendor takes them, instead of `test`; see `buildContent`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    #[x_kube(validation = Rule::new("bytes(self).size() <= 16384").message("testContent must be at most 16 KB (16384 bytes)"))]
    pub test_content: Option<String>,

    /// The steps that test the image once it is built, in their order, at most 127; together at most 16 KB when they are written
    /// out. Cannot be changed. Example: `[{run: test -e /etc/hello}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(
        validation = Rule::new("self.size() <= 127").message("test must have at most 127 steps"),
        validation = fits("test"),
    )]
    pub test: Option<Vec<Step>>,

    /// The type of the instance that builds the image, 1 to 64 characters (a limit of this operator). Default: the vendor takes
    /// one that is in stock. Cannot be changed. Example: `ecs.g6.large`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub instance_type: Option<String>,

    /// The size of that instance's system disk, 20 to 500 GiB. Default: 40. Cannot be changed. Example: `40`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 20 && self <= 500").message("systemDiskSize must be 20 to 500 (GiB)"))]
    pub system_disk_size: Option<u32>,

    /// The bandwidth of that instance to the internet, 0 to 100 Mbit/s; steps that load something from outside need one.
    /// Default: 0. Cannot be changed. Example: `10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self <= 100").message("internetMaxBandwidthOut must be 0 to 100 (Mbit/s)"))]
    pub internet_max_bandwidth_out: Option<u32>,

    /// The vSwitch that the instance is connected to, 1 to 64 characters (a limit of this operator). Default: the vendor makes a
    /// VPC and a vSwitch, which can fail on the quota of VPCs. Cannot be changed. Example: `vsw-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub v_switch_id: Option<String>,

    /// What the images get that the pipeline builds. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_options: Option<ImageOptions>,

    /// Whether the images keep the Cloud Assistant that was installed to build them. Default: `false`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_cloud_assistant: Option<bool>,

    /// Whether the base image is repaired before it is built upon, and in what: `Standard`, `All`, or `Customized`, which is what
    /// `repairItem` names. Default: not at all. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_mode: Option<RepairMode>,

    /// With `repairMode: Customized`: what is repaired, under the vendor's names, at most 20 of 1 to 128 characters each (limits of
    /// this operator). Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "atomic"))]
    pub repair_item: Option<Vec<String>>,
}

/// What images get that a pipeline builds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageOptions {
    /// What the images' names begin with, 2 to 64 characters: an underscore and the id of the run follow. Example: `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.size() >= 2 && self.size() <= 64").message("imageName must be 2 to 64 characters long"))]
    pub image_name: Option<String>,
    /// The family that the images belong to, 2 to 128 characters. Example: `base`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = Rule::new("self.size() >= 2 && self.size() <= 128").message("imageFamily must be 2 to 128 characters long"))]
    pub image_family: Option<String>,
    /// What the images are for, 2 to 256 characters. Example: `Our base image.`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.size() >= 2 && self.size() <= 256").message("the description of images must be 2 to 256 characters long; leave it out for none"))]
    pub description: Option<String>,
    /// Tags of the images, at most 20, each key once. Example: `[{key: team, value: base}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub image_tags: Option<Vec<Tag>>,
    /// Whether the images can be started on instances whose disks are NVMe: `supported`, `unsupported`, or `auto`, which lets the
    /// vendor find out. Default: the vendor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvme_support: Option<NvmeSupport>,
}

/// A disk file in OSS that images are built from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportImageOptions {
    /// The disk files, 1 to 17, the system disk first.
    #[schemars(length(min = 1, max = 17), extend("x-kubernetes-list-type" = "atomic"))]
    pub disk_device_mappings: Vec<DiskDeviceMapping>,
    /// The architecture, 1 to 64 characters (a limit of this operator). Example: `x86_64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub architecture: Option<String>,
    /// The kind of operating system, 1 to 64 characters (a limit of this operator). Example: `linux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub os_type: Option<String>,
    /// The operating system, 1 to 64 characters (a limit of this operator). Example: `Aliyun`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub platform: Option<String>,
    /// How it boots, 1 to 64 characters (a limit of this operator). Example: `UEFI`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub boot_mode: Option<String>,
    /// Whose licence it uses: `Auto`, `Aliyun`, or `BYOL`, which is one's own. Default: the vendor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_type: Option<LicenseType>,
    /// The RAM role that may read the files, 1 to 64 characters (a limit of this operator). Default: the vendor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub role_name: Option<String>,
}

/// One disk file in OSS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiskDeviceMapping {
    /// The bucket, 1 to 63 characters. Example: `images`.
    #[schemars(length(min = 1, max = 63))]
    pub oss_bucket: String,
    /// The file in it, 1 to 1023 characters. Example: `base.qcow2`.
    #[schemars(length(min = 1, max = 1023))]
    pub oss_object: String,
    /// Its format: `RAW`, `VHD` or `QCOW2`. Default: the vendor finds out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DiskFormat>,
    /// The size of the disk, 1 to 2048 GiB. Default: that of the file. Example: `40`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 2048").message("diskImageSize must be 1 to 2048 (GiB)"))]
    pub disk_image_size: Option<u32>,
}

/// What images are built from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "explained at PipelineParameters::base_image_type")]
pub enum BaseImageType {
    #[default]
    Image,
    ImageFamily,
    Oss,
}

/// What of a base image is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[expect(missing_docs, reason = "explained at PipelineParameters::repair_mode")]
pub enum RepairMode {
    Standard,
    All,
    Customized,
}

/// Whether images can be used with NVMe disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[expect(missing_docs, reason = "explained at ImageOptions::nvme_support")]
pub enum NvmeSupport {
    Supported,
    Unsupported,
    Auto,
}

/// Whose licence an operating system uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[expect(missing_docs, reason = "explained at ImportImageOptions::license_type")]
pub enum LicenseType {
    Auto,
    Aliyun,
    #[serde(rename = "BYOL")]
    #[strum(serialize = "BYOL")]
    Byol,
}

/// A format of disk files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
#[expect(missing_docs, reason = "explained at DiskDeviceMapping::format")]
pub enum DiskFormat {
    Raw,
    Vhd,
    Qcow2,
}

/// Which of the account's pipelines to take over: the only one with this name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineMatch {
    /// The pipeline's name, exactly, 2 to 128 characters. Example: `base-image`.
    #[schemars(length(min = 2, max = 128))]
    pub name: String,
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    image_pipeline_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// In every answer of the vendor's.
    #[serde(default)]
    request_id: Option<IgnoredAny>,
    #[serde(default)]
    image_pipeline: Option<Set>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Set {
    #[serde(default)]
    image_pipeline_set: Option<Vec<Value>>,
}

impl Page {
    /// An answer without anything that the vendor's has does not say that there is no pipeline: something in between gave it.
    fn rows(self) -> Result<Vec<Value>, CallError> {
        if self.image_pipeline.is_none() && self.request_id.is_none() {
            return Err(Effect::Read.unanswered("DescribeImagePipelines was answered with nothing".into()));
        }
        Ok(self.image_pipeline.and_then(|set| set.image_pipeline_set).unwrap_or_default())
    }
}

/// The code about the pipeline itself: others with the same status are about something else that is missing.
const NO_PIPELINE: &str = "InvalidImagePipeline.NotFound";

/// DescribeImagePipelines with all its pages; rows in lowerCamelCase.
async fn describe(
    client: &Client,
    region: &str,
    filter: &[(String, String)],
) -> Result<Vec<Value>, CallError> {
    pages::all(ImagePipeline::ROW_ID, |token| page(client, region, filter, token), |_| false).await
}

/// One page of DescribeImagePipelines.
async fn page(
    client: &Client,
    region: &str,
    filter: &[(String, String)],
    token: Option<String>,
) -> Result<pages::Page, CallError> {
    let mut params = vec![pair("MaxResults", "100")];
    params.extend_from_slice(filter);
    params.extend(token.map(|token| pair("NextToken", token)));
    let mut page: Page = client.ecs("DescribeImagePipelines", Effect::Read, region, &params).await?.value;
    let next = page.next_token.take();
    Ok(pages::Page { rows: page.rows()?, next, ..pages::Page::default() })
}

fn pair(key: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (key.into(), value.into())
}

/// A row of DescribeImagePipelines.
struct Row<'a>(&'a Value);

impl Row<'_> {
    fn id(&self) -> Option<&str> {
        self.0.get("imagePipelineId")?.as_str()
    }

    /// What it says of a parameter, by its path; `None`: nothing.
    fn tells(&self, path: &[&str]) -> Option<String> {
        let value = path.iter().try_fold(self.0, |value, field| value.get(*field))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        }
    }

    fn text(&self, field: &str) -> String {
        self.tells(&[field]).unwrap_or_default()
    }

    fn number(&self, field: &str) -> Option<u64> {
        self.tells(&[field])?.parse().ok()
    }

    fn tags(&self) -> Vec<Tag> {
        tags::read(self.0)
    }
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

impl External for ImagePipeline {
    type Client = Client;
    type Match = PipelineMatch;

    const ACTION: &'static str = "CreateImagePipeline";
    const BATCH: usize = 20;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(600),
        why: "the vendor's call answers when the pipeline is there, so that one which cannot be seen after ten minutes is stuck",
    };
    const IMMEDIATE: bool = true;
    const ECHOES: &'static [Class] = &[Class::Busy];
    const ROW_ID: &'static str = "imagePipelineId";
    const PLACE: Option<&'static str> = Some("regionId");
    const YIELDS: Option<&'static str> = Some(super::IMAGE_PIPELINE);
    const TAKES: &'static [&'static str] = &[super::ECS_IMAGE, super::IMAGE_COMPONENT];
    const UNTOLD: &'static [&'static str] =
        &["importImageOptions", "imageOptions", "retainCloudAssistant", "repairMode", "repairItem"];
    const MARKED: bool = true;
    const AMENDS: &'static [(&'static str, &'static str)] =
        &[("tag", "TagResources"), ("resourceGroupId", "JoinResourceGroup")];

    fn spec(&self) -> &ImageSpec<PipelineMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    fn region(&self, client: &Client) -> String {
        self.spec.for_provider.region_id.clone().unwrap_or_else(|| client.region().to_owned())
    }

    fn place(&self, account: &AccountVendor) -> Option<String> {
        super::place(account, self.spec.for_provider.region_id.as_deref())
    }

    fn realm(&self, account: &AccountVendor) -> String {
        let region = self.place(account).unwrap_or_default();
        let ecs = account.aliyun.as_ref().and_then(|account| account.ecs.as_ref());
        let endpoint = ecs.and_then(|ecs| ecs.endpoint.as_deref());
        format!("aliyun ecs {} {region}", Endpoints::place(endpoint, super::DOMAINS))
    }

    /// Only so long that a request that was on its way has arrived: the token does the rest.
    fn settle(&self, _: &Client) -> Duration {
        Duration::from_secs(5)
    }

    /// What no rule of the API server can tell: how long the steps are when they are written out.
    fn check(&self, client: &Client) -> Result<(), Unusable> {
        let (region, parameters) = (self.region(client), &self.spec.for_provider);
        for (field, content) in [("build", parameters.build(&region)), ("test", parameters.test(&region))] {
            let content = content.unwrap_or_default();
            let (bytes, commands) = (content.len(), commands(&content));
            if bytes > LONGEST || commands > MOST_COMMANDS {
                let message = format!(
                    "forProvider.{field} is {bytes} bytes in {commands} commands when it is written out; the vendor takes \
                     {LONGEST} bytes and {MOST_COMMANDS} commands: move some of it into components / 展开后超出厂商上限，请将部分内容移入组件"
                );
                return Err(Unusable::new("ContentTooLong", message));
            }
        }
        Ok(())
    }

    fn references(&self) -> Vec<Reference> {
        let parameters = &self.spec.for_provider;
        let base = parameters.base_image_ref.iter().map(base);
        let build = parameters.build.iter().flatten().filter_map(|step| step.reference(BUILD));
        let test = parameters.test.iter().flatten().filter_map(|step| step.reference(TEST));
        base.chain(build).chain(test).collect()
    }

    fn resolved(&self, referents: &[Referent]) -> Self {
        let mut object = self.clone();
        let parameters = &mut object.spec.for_provider;
        if let Some(referent) = parameters.base_image_ref.as_ref().and_then(|it| base(it).among(referents)) {
            parameters.base_image = Some(referent.id.clone());
        }
        for (steps, instead) in [(&mut parameters.build, BUILD), (&mut parameters.test, TEST)] {
            for step in steps.iter_mut().flatten() {
                if let Some(referent) = step.reference(instead).and_then(|it| it.among(referents).cloned()) {
                    step.component_id = Some(referent.id);
                }
            }
        }
        object
    }

    /// ClientToken: at most 64 ASCII characters.
    fn token(uid: &str, attempt: u32) -> String {
        format!("{uid}-{attempt}")
    }

    async fn submit(&self, client: &Client, permit: Permit) -> Result<Submitted, CallError> {
        let region = self.region(client);
        let mut params = self.spec.for_provider.to_request(&region, permit.token());
        params.push(pair("ClientToken", permit.token()));
        let answer = client.ecs::<Created>(Self::ACTION, Effect::Create, &region, &params).await?;
        Ok(Submitted { handle: Handle::image(answer.value.image_pipeline_id), request_id: answer.request_id })
    }

    /// Those that bear this object's mark: whether names are unique is not documented, and others may have the same.
    async fn lookalikes(&self, client: &Client) -> Result<Vec<Lookalike>, CallError> {
        let region = self.region(client);
        let uid = self.uid().unwrap_or_default();
        let rows = describe(client, &region, &[pair("Tag.1.Key", tags::MARK)]).await?;
        let there = rows
            .iter()
            .map(Row)
            .filter(|row| tags::mark(&row.tags()).and_then(tags::made_for) == Some(&*uid));
        let lookalike = |row: Row<'_>| {
            Some(Lookalike {
                id: row.id()?.to_owned(),
                created: row.text("creationTime").parse().ok(),
                comparison: self.spec.for_provider.compare(&row, &region, false, &BTreeSet::new()),
            })
        };
        Ok(there.filter_map(lookalike).collect())
    }

    /// The same ClientToken yields the same pipeline, so asking again is the way to find out. For how long a token is remembered is
    /// not documented: what bears its mark is looked for before.
    async fn recover(&self, client: &Client, token: &str, _: Timestamp) -> Result<Recovered, CallError> {
        let filter = [pair("Tag.1.Key", tags::MARK), pair("Tag.1.Value", token)];
        let rows = describe(client, &self.region(client), &filter).await?;
        let made = rows.iter().map(Row).filter(|row| tags::mark(&row.tags()) == Some(token));
        let handles: Vec<_> = made.filter_map(|row| row.id().map(Handle::image)).collect();
        Ok(if handles.is_empty() { Recovered::Replay } else { Recovered::Candidates(handles) })
    }

    async fn observe(
        client: &Client,
        region: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let ids = handles.iter().zip(1..);
        let ids: Vec<_> =
            ids.map(|(handle, number)| pair(format!("ImagePipelineId.{number}"), handle.id())).collect();
        let rows = describe(client, region, &ids).await?;
        let by_id: HashMap<&str, &Value> =
            rows.iter().filter_map(|row| Some((row.get("imagePipelineId")?.as_str()?, row))).collect();
        let seen =
            |handle: &Handle| by_id.get(handle.id()).map(|row| Observation::Ready(product(handle.id(), row)));
        Ok(handles.iter().filter_map(|handle| Some((handle.clone(), seen(handle)?))).collect())
    }

    fn named(&self) -> Vec<String> {
        self.spec.for_provider.tag.iter().flatten().map(|tag| tag.key.clone()).collect()
    }

    async fn find(&self, client: &Client, matching: &PipelineMatch) -> Result<Vec<Handle>, CallError> {
        let rows = describe(client, &self.region(client), &[pair("Name", &matching.name)]).await?;
        // How exactly the vendor's filter compares is not documented: a match is what matches here, too.
        let found = rows.iter().map(Row).filter(|row| normalise::same(&matching.name, &row.text("name")));
        Ok(found.filter_map(|row| row.id().map(Handle::image)).collect())
    }

    async fn made_for(
        &self,
        _: &Client,
        _: &Handle,
        seen: &Observation,
    ) -> Result<Option<String>, CallError> {
        // One that is there is always shown whole.
        let tags = seen.product().map(|product| Row(&product.at_provider).tags()).unwrap_or_default();
        Ok(tags::mark(&tags).and_then(tags::made_for).map(str::to_owned))
    }

    async fn page(client: &Client, region: &str, next: Option<String>) -> Result<pages::Page, CallError> {
        page(client, region, &[], next).await
    }

    fn existing(row: &Value) -> Option<Existing> {
        let (seen, row) = (row, Row(row));
        let id = row.id()?;
        // What was given no name has its id for one; to give that as a name would be to ask for it.
        let name = Some(row.text("name")).filter(|name| name != id).unwrap_or_default();
        let tags = row.tags();
        let own: Vec<_> =
            tags.iter().filter(|tag| tag.is_users()).map(|tag| serde_json::json!(tag)).collect();
        let mut existing = Existing::new(id, Observation::Ready(product(id, seen)))
            .named(&name)
            .with("name", &*name)
            .with("systemDiskSize", row.number("systemDiskSize"))
            .with("internetMaxBandwidthOut", row.number("internetMaxBandwidthOut"))
            .with("tag", own);
        for field in ["description", "baseImageType", "baseImage", "buildContent", "testContent"] {
            existing = existing.with(field, row.text(field));
        }
        for field in ["instanceType", "vSwitchId", "resourceGroupId"] {
            existing = existing.with(field, row.text(field));
        }
        // What it is built from is told in another way than it is given.
        if row.text("baseImageType") == BaseImageType::Oss.to_string() {
            existing.parameters.remove("baseImageType");
            existing.parameters.remove("baseImage");
        }
        existing.mark = tags::mark(&tags).and_then(tags::made_for).map(|uid| Mark::Of(uid.to_owned()));
        Some(existing)
    }

    fn compare(&self, client: &Client, product: &Product) -> Comparison {
        let (row, region) = (Row(&product.at_provider), self.region(client));
        if row.id().is_none() {
            return Comparison::Same;
        }
        self.spec.for_provider.compare(&row, &region, self.took_over(), &self.dropped())
    }

    async fn amend(&self, client: &Client, product: &Product) -> Result<(), CallError> {
        let row = Row(&product.at_provider);
        let Some(id) = row.id() else { return Ok(()) };
        let (region, parameters) = (self.region(client), &self.spec.for_provider);
        let thing = Thing { resource_type: client.pipeline_type(), id };
        parameters.tag_changes(&row.tags(), &self.dropped()).make(client, &region, thing).await?;
        match parameters.other_group(&row) {
            Some((_, group)) => thing.join_group(client, &region, group).await,
            None => Ok(()),
        }
    }

    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let (region, params) = (self.region(client), [pair("ImagePipelineId", handle.id())]);
        match client.ecs::<IgnoredAny>("DeleteImagePipeline", Effect::Change, &region, &params).await {
            Err(CallError::Refused(refusal)) if refusal.code == NO_PIPELINE => Ok(Deletion::Gone),
            done => done.map(|_| Deletion::Gone),
        }
    }
}

/// The fields that take ids themselves.
const BUILD: &str = "forProvider.build[].componentId";
const TEST: &str = "forProvider.test[].componentId";

fn base(image: &ImageRef) -> Reference {
    image.reference(super::ECS_IMAGE, "forProvider.baseImage").nearby()
}

fn product(id: &str, row: &Value) -> Product {
    Product { image_id: Some(id.to_owned()), at_provider: row.clone(), ..Product::default() }
}

impl PipelineParameters {
    fn build(&self, region: &str) -> Option<String> {
        written(self.build_content.as_ref(), self.build.as_ref(), region)
    }

    fn test(&self, region: &str) -> Option<String> {
        written(self.test_content.as_ref(), self.test.as_ref(), region)
    }

    /// What is sent as it stands, and compared: the request's name, the path in rows, and what the spec says.
    fn texts(&self, region: &str) -> Vec<(&'static str, &'static [&'static str], Option<String>)> {
        let options = self.image_options.clone().unwrap_or_default();
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        vec![
            ("Name", &["name"], self.name.clone()),
            ("Description", &["description"], self.description.clone()),
            ("BaseImage", &["baseImage"], self.base_image.clone()),
            ("BuildContent", &["buildContent"], self.build(region)),
            ("TestContent", &["testContent"], self.test(region)),
            ("InstanceType", &["instanceType"], self.instance_type.clone()),
            ("SystemDiskSize", &["systemDiskSize"], number(self.system_disk_size)),
            (
                "InternetMaxBandwidthOut",
                &["internetMaxBandwidthOut"],
                number(self.internet_max_bandwidth_out),
            ),
            ("VSwitchId", &["vSwitchId"], self.v_switch_id.clone()),
            ("ImageOptions.ImageName", &["imageOptions", "imageName"], options.image_name),
            ("ImageOptions.ImageFamily", &["imageOptions", "imageFamily"], options.image_family),
            ("ImageOptions.Description", &["imageOptions", "description"], options.description),
            (
                "ImageOptions.ImageFeatures.NvmeSupport",
                &["imageOptions", "imageFeatures", "nvmeSupport"],
                options.nvme_support.map(|support| support.to_string()),
            ),
            (
                "AdvancedOptions.RetainCloudAssistant",
                &["advancedOptions", "retainCloudAssistant"],
                self.retain_cloud_assistant.map(|retain| retain.to_string()),
            ),
            ("RepairMode", &["repairMode"], self.repair_mode.map(|mode| mode.to_string())),
        ]
    }

    /// `mark`: what the attempt's tag says.
    fn to_request(&self, region: &str, mark: &str) -> Vec<(String, String)> {
        let texts = self.texts(region).into_iter();
        let mut params: Vec<_> = texts.filter_map(|(key, _, value)| Some(pair(key, value?))).collect();
        params.push(pair("BaseImageType", self.base_image_type.unwrap_or_default().to_string()));
        params.extend(self.resource_group_id.iter().map(|group| pair("ResourceGroupId", group)));
        let mark = Tag { key: tags::MARK.into(), value: mark.into() };
        params.extend(tags::params(self.tag.iter().flatten().chain([&mark])));
        let items = self.repair_item.iter().flatten().zip(1..);
        params.extend(items.map(|(item, number)| pair(format!("RepairItem.{number}"), item)));
        let of_images = self.image_options.iter().flat_map(|options| options.image_tags.iter().flatten());
        params.extend(
            tags::params(of_images)
                .map(|(key, value)| (key.replacen("Tag.", "ImageOptions.ImageTags.", 1), value)),
        );
        params.extend(self.import_image_options.iter().flat_map(ImportImageOptions::to_request));
        params
    }

    /// What the row says nothing of is not compared. `dropped`: the keys of tags that the spec had and has no more.
    fn compare(&self, row: &Row<'_>, region: &str, imported: bool, dropped: &BTreeSet<String>) -> Comparison {
        // An import is content with whatever is there where its spec is silent; what was made was asked for with this.
        let base = self.base_image_type.or((!imported).then(BaseImageType::default));
        let base = ("BaseImageType", &["baseImageType"][..], base.map(|base| base.to_string()));
        let differs = |(_, path, ours): (&str, &[&'static str], Option<String>)| {
            let (ours, theirs) = (ours?, row.tells(path)?);
            (!normalise::same(&ours, &theirs)).then(|| Difference::new(field(path, self), &*theirs, &*ours))
        };
        let fixed: Vec<_> = self.texts(region).into_iter().chain([base]).filter_map(differs).collect();
        if !fixed.is_empty() {
            return Comparison::Fixed(fixed);
        }
        let theirs = row.tags();
        let mut amendable = vec![];
        amendable.extend(self.tag_changes(&theirs, dropped).difference(&theirs));
        amendable
            .extend(self.other_group(row).map(|(is, group)| Difference::new("resourceGroupId", &*is, group)));
        if amendable.is_empty() { Comparison::Same } else { Comparison::Amendable(amendable) }
    }

    fn tag_changes(&self, theirs: &[Tag], dropped: &BTreeSet<String>) -> tags::Changes {
        tags::Changes::between(self.tag.as_deref().unwrap_or_default(), theirs, dropped)
    }

    /// The group that it is in, and the one that it is to be in.
    fn other_group(&self, row: &Row<'_>) -> Option<(String, &str)> {
        let (is, group) = (row.text("resourceGroupId"), self.resource_group_id.as_deref()?);
        (is != group).then_some((is, group))
    }
}

/// What the spec calls what a row tells.
fn field(path: &[&'static str], parameters: &PipelineParameters) -> &'static str {
    match path {
        ["buildContent"] if parameters.build.is_some() => "build",
        ["testContent"] if parameters.test.is_some() => "test",
        ["imageOptions", ..] => "imageOptions",
        ["advancedOptions", field] | [field] => field,
        _ => "baseImage",
    }
}

impl ImportImageOptions {
    fn to_request(&self) -> Vec<(String, String)> {
        let texts = [
            ("Architecture", &self.architecture),
            ("OSType", &self.os_type),
            ("Platform", &self.platform),
            ("BootMode", &self.boot_mode),
            ("RoleName", &self.role_name),
        ];
        let of = |key: &str| format!("ImportImageOptions.{key}");
        let mut params: Vec<_> =
            texts.into_iter().filter_map(|(key, value)| Some(pair(of(key), value.as_ref()?))).collect();
        params.extend(self.license_type.map(|licence| pair(of("LicenseType"), licence.to_string())));
        for (disk, number) in self.disk_device_mappings.iter().zip(1..) {
            let of = |key: &str| format!("ImportImageOptions.DiskDeviceMappings.{number}.{key}");
            params.push(pair(of("OSSBucket"), &disk.oss_bucket));
            params.push(pair(of("OSSObject"), &disk.oss_object));
            params.extend(disk.format.map(|format| pair(of("Format"), format.to_string())));
            params.extend(disk.disk_image_size.map(|size| pair(of("DiskImageSize"), size.to_string())));
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(parameters: Value) -> ImagePipeline {
        let object = json!({
            "apiVersion": "cloudimages.dev/v1alpha1", "kind": "ImagePipeline", "metadata": { "name": "n", "uid": "u-1" },
            "spec": { "forProvider": parameters },
        });
        serde_json::from_value(object).expect("a pipeline")
    }

    fn steps() -> Value {
        json!([
            { "componentRef": { "name": "hello" }, "parameters": { "b": "2", "a": "1" } },
            { "componentId": "ic-2" },
            { "component": { "name": "tools", "version": "1.*.*", "accountId": "12" } },
            { "run": "echo a \\\n  b\n" },
        ])
    }

    fn referent(field: &str, name: &str, id: &str) -> Referent {
        Referent { field: field.into(), kind: "Any".into(), name: name.into(), id: id.into(), region: None }
    }

    #[test]
    fn steps_are_written_in_their_order_once_all_is_known() {
        let object = object(json!({ "baseImageRef": { "name": "base" }, "build": steps(), "test": steps() }));
        let names: Vec<_> =
            object.references().into_iter().map(|it| (it.instead, it.takes, it.name)).collect();
        let component = super::super::IMAGE_COMPONENT;
        assert_eq!(
            names,
            [
                ("forProvider.baseImage", super::super::ECS_IMAGE, "base".to_owned()),
                (BUILD, component, "hello".to_owned()),
                (TEST, component, "hello".to_owned())
            ]
        );
        assert_eq!(object.spec.for_provider.build("r"), None);
        let resolved = object
            .resolved(&[referent("forProvider.baseImage", "base", "m-1"), referent(BUILD, "hello", "ic-1")]);
        let parameters = &resolved.spec.for_provider;
        assert_eq!(parameters.base_image.as_deref(), Some("m-1"));
        assert_eq!(
            parameters.build("r").as_deref(),
            Some(
                "COMPONENT ic-1 --a 1 --b 2\nCOMPONENT ic-2\n\
                 COMPONENT acs:ecs:r:12:imagecomponent/tools:1.*.*\nRUN echo a \\\n  b"
            )
        );
        assert_eq!(commands(&parameters.build("r").unwrap_or_default()), 4);
        assert_eq!(parameters.test("r"), None, "it has a reference of its own");
    }

    #[test]
    fn a_request_has_what_is_given_and_the_mark_and_nothing_that_nobody_tracks() {
        let object = object(json!({
            "baseImageType": "OSS", "name": "n", "systemDiskSize": 40, "tag": [{ "key": "team", "value": "base" }],
            "imageOptions": { "imageName": "base", "imageTags": [{ "key": "a", "value": "b" }], "nvmeSupport": "auto" },
            "importImageOptions": {
                "licenseType": "BYOL", "osType": "linux",
                "diskDeviceMappings": [{ "ossBucket": "b", "ossObject": "o", "format": "QCOW2", "diskImageSize": 20 }],
            },
            "buildContent": "RUN true",
        }));
        let params = object.spec.for_provider.to_request("r", "u-1-1");
        for (key, value) in [
            ("BaseImageType", "OSS"),
            ("SystemDiskSize", "40"),
            ("Tag.1.Key", "team"),
            ("Tag.2.Key", tags::MARK),
            ("Tag.2.Value", "u-1-1"),
            ("BuildContent", "RUN true"),
            ("ImageOptions.ImageName", "base"),
            ("ImageOptions.ImageTags.1.Key", "a"),
            ("ImageOptions.ImageTags.1.Value", "b"),
            ("ImageOptions.ImageFeatures.NvmeSupport", "auto"),
            ("ImportImageOptions.LicenseType", "BYOL"),
            ("ImportImageOptions.OSType", "linux"),
            ("ImportImageOptions.DiskDeviceMappings.1.OSSBucket", "b"),
            ("ImportImageOptions.DiskDeviceMappings.1.Format", "QCOW2"),
            ("ImportImageOptions.DiskDeviceMappings.1.DiskImageSize", "20"),
        ] {
            assert!(params.contains(&pair(key, value)), "{key}: {params:?}");
        }
        for never in ["ToRegionId", "AddAccount", "DeleteInstanceOnFailure", "TestContent"] {
            assert!(!params.iter().any(|(key, _)| key.starts_with(never)), "{never}");
        }
    }

    #[test]
    fn what_differs_decides_what_can_be_done_and_what_is_not_told_does_not_differ() {
        let build = json!([{ "run": "true" }]);
        let object = object(json!({
            "name": "n", "baseImage": "m-1", "build": build, "systemDiskSize": 40, "resourceGroupId": "rg-1",
            "imageOptions": { "imageName": "base" }, "tag": [{ "key": "team", "value": "base" }],
        }));
        let row = json!({
            "imagePipelineId": "ip-1", "name": "n", "baseImageType": "IMAGE", "baseImage": "m-1", "buildContent": "RUN true\r\n",
            "systemDiskSize": "40", "resourceGroupId": "rg-1", "imageOptions": { "imageName": "base" },
            "tags": { "tag": [{ "tagKey": "team", "tagValue": "base" }, { "tagKey": tags::MARK, "tagValue": "u-1-1" }] },
        });
        let same = |row: &Value| object.spec.for_provider.compare(&Row(row), "r", false, &BTreeSet::new());
        assert_eq!(same(&row), Comparison::Same);
        assert_eq!(
            same(&json!({ "imagePipelineId": "ip-1", "resourceGroupId": "rg-1", "tags": row["tags"] })),
            Comparison::Same
        );
        for (field, value, expected) in [
            ("buildContent", json!("RUN false"), Comparison::Fixed(vec!["build".into()])),
            ("baseImage", json!("m-2"), Comparison::Fixed(vec!["baseImage".into()])),
            ("baseImageType", json!("IMAGE_FAMILY"), Comparison::Fixed(vec!["baseImageType".into()])),
            ("systemDiskSize", json!(20), Comparison::Fixed(vec!["systemDiskSize".into()])),
            ("imageOptions", json!({ "imageName": "x" }), Comparison::Fixed(vec!["imageOptions".into()])),
            ("resourceGroupId", json!("rg-2"), Comparison::Amendable(vec!["resourceGroupId".into()])),
            ("tags", json!({}), Comparison::Amendable(vec!["tag".into()])),
        ] {
            let mut other = row.clone();
            other[field] = value;
            assert_eq!(same(&other), expected, "{field}");
        }
    }
}
