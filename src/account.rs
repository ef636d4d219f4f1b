//! CloudAccount and ClusterCloudAccount: who calls a vendor, and where.

use crate::{
    image::{explained_by_its_field, object_name},
    period::Period,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An account at one vendor, for the images of its own namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "CloudAccount",
    plural = "cloudaccounts",
    shortname = "cacct",
    namespaced,
    status = "AccountStatus",
    category = "cloudimages",
    doc = "An account at one cloud vendor, for the images of its own namespace: which vendor, which region, and the Secret with the credentials.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether images can use the account"
    ),
    printcolumn(
        name = "Images",
        type_ = "integer",
        json_path = ".status.images",
        description = "How many objects use the account"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[x_kube(
    validation = secret_namespace("aliyun", false),
    validation = secret_namespace("volcengine", false),
    validation = secret_namespace("zstack", false),
)]
pub struct CloudAccountSpec {
    /// Which vendor, and how to reach it.
    #[serde(flatten)]
    pub vendor: AccountVendor,
}

/// An account at one vendor, for the images of the namespaces that it allows.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "ClusterCloudAccount",
    plural = "clustercloudaccounts",
    shortname = "ccacct",
    status = "AccountStatus",
    category = "cloudimages",
    doc = "An account at one cloud vendor that the images of several namespaces may use; allowedNamespaces says of which.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "Whether images can use the account"
    ),
    printcolumn(
        name = "Images",
        type_ = "integer",
        json_path = ".status.images",
        description = "How many objects use the account"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[x_kube(
    validation = secret_namespace("aliyun", true),
    validation = secret_namespace("volcengine", true),
    validation = secret_namespace("zstack", true),
)]
pub struct ClusterCloudAccountSpec {
    /// Which vendor, and how to reach it.
    #[serde(flatten)]
    pub vendor: AccountVendor,
    /// The namespaces whose images may use this account. Without it: none.
    /// Example: `{names: [images]}` or `{selector: {matchLabels: {team: base}}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<AllowedNamespaces>,
}

/// A rule for `spec`: whether the Secret's namespace must be named or must not.
fn secret_namespace(vendor: &str, named: bool) -> Rule {
    let message = if named {
        "a ClusterCloudAccount needs credentialsSecretRef.namespace: it has no namespace of its own"
    } else {
        "credentialsSecretRef.namespace is for a ClusterCloudAccount: a CloudAccount uses a Secret of its own namespace"
    };
    let not = if named { "" } else { "!" };
    Rule::new(format!("!has(self.{vendor}) || {not}has(self.{vendor}.credentialsSecretRef.namespace)"))
        .message(message)
}

/// What namespaces are called.
const NAMESPACE: &str = "^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$";

/// A rule for a base address. Credentials belong into the Secret: who can read the account could read them.
fn address() -> Rule {
    Rule::new(r"self.matches('^https?://[^\\s@/]+([/?][^\\s@]*)?$')").message(
        "endpoint must be an address with http:// or https://, without user, password and blanks, for example https://open.volcengineapi.com",
    )
}

/// Which namespaces may use a cluster account: those that are named, and those that the selector selects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Namespaces by name, at most 256 (a limit of this operator). Example: `[images, base]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(validation = Rule::new(format!("self.all(name, name.matches('{NAMESPACE}'))")).message("allowedNamespaces.names must be names of namespaces: lower-case letters, digits and hyphens; selector takes labels"))]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub names: Vec<String>,
    /// Namespaces by their labels. Example: `{matchLabels: {team: base}}`. `{}` selects every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Exactly one vendor, and the limits to keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.volcengine), has(self.aliyun), has(self.zstack)].filter(x, x).size() == 1")
        .message("an account needs exactly one of volcengine, aliyun and zstack"),
    validation = Rule::new("has(self.volcengine) == has(oldSelf.volcengine) && has(self.aliyun) == has(oldSelf.aliyun) && has(self.zstack) == has(oldSelf.zstack)")
        .message("an account stays with its vendor: make a new account")
)]
pub struct AccountVendor {
    /// An account at Volcengine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volcengine: Option<VolcengineAccount>,
    /// An account at Alibaba Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aliyun: Option<AliyunAccount>,
    /// An account at a ZStack Cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstack: Option<ZstackAccount>,
    /// How many calls the operator may make, by the vendor's action; for each region. Default: what the vendors
    /// publish; where they publish nothing, the operator learns from their throttled answers. Accounts with the same
    /// key share one limit, and the strictest counts.
    /// Example: `[{action: CreateImageComponent, requests: 500, period: 60s}]`. At most 64 (a limit of this operator).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["action"]))]
    pub limits: Vec<ActionLimit>,
}

/// The most calls of one action in one period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionLimit {
    /// The vendor's name of the call, 1 to 64 characters (a limit of this operator). Example: `CreateImageComponent`.
    #[schemars(length(min = 1, max = 64))]
    pub action: String,
    /// How many calls, 1 to 1000000. Example: `1000`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// In which time, as a duration, `1s` to `24h`. Example: `60s`.
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("limits[].period must be between 1s and 24h"))]
    pub period: Period,
}

/// Which Secret holds the credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret, 1 to 253 lower-case letters, digits, hyphens and full stops. Example: `aliyun`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = object_name("credentialsSecretRef.name"))]
    pub name: String,
    /// Namespace of the Secret, for a ClusterCloudAccount only; a CloudAccount uses its own. Example: `images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(format!("self.matches('{NAMESPACE}')")).message("credentialsSecretRef.namespace must be the name of a namespace: lower-case letters, digits and hyphens"))]
    pub namespace: Option<String>,
}

/// Where one API of a vendor is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Base address instead of the vendor's own, at most 512 characters (a limit of this operator). `http`, and hosts
    /// outside the vendor's domain, work only if the operator was started with a matching `--allow-endpoint`.
    /// Example: `https://ecs.cn-hangzhou.aliyuncs.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = address())]
    pub endpoint: Option<String>,
}

/// How Alibaba Cloud's ECS API is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AliyunEcsApi {
    /// Base address instead of the vendor's own, at most 512 characters (a limit of this operator). `http`, and hosts
    /// outside the vendor's domain, work only if the operator was started with a matching `--allow-endpoint`.
    /// It is used for all regions, so that with that of one region, calls about another one (a copy's, a build's `regionId`) go to
    /// the wrong place: leave it out where objects name regions. Example: `https://ecs.cn-hangzhou.aliyuncs.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = address())]
    pub endpoint: Option<String>,
    /// What TagResources, UntagResources and JoinResourceGroup call an image pipeline, 1 to 64 letters (a limit of this
    /// operator): the vendor's pages name no type for it. Default: `imagepipeline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z]+$"))]
    pub pipeline_resource_type: Option<String>,
}

/// An account at Alibaba Cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AliyunAccount {
    /// The region of images that name none, 1 to 64 characters (a limit of this operator); cannot be changed. Example: `cn-hangzhou`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("regionId cannot be changed: images were made there; make a new account"))]
    pub region_id: String,
    /// The Secret with the keys `accessKeyId`, `accessKeySecret` and, for STS, `securityToken`.
    pub credentials_secret_ref: SecretRef,
    /// The ECS API, for ImageComponent, ImagePipeline, ImageBuild and AliyunImageCopy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecs: Option<AliyunEcsApi>,
    /// The BatchCompute API, for BatchComputeImage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_compute: Option<Endpoint>,
}

/// An account at Volcengine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.acep) || !has(oldSelf.acep.productId) || (has(self.acep) && has(self.acep.productId) && self.acep.productId == oldSelf.acep.productId)").message("acep.productId cannot be changed or removed: images are listed by it; make a new account"))]
pub struct VolcengineAccount {
    /// The region, 1 to 64 characters (a limit of this operator); cannot be changed. Example: `cn-beijing`.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("region cannot be changed: images were made there; make a new account"))]
    pub region: String,
    /// The Secret with the keys `accessKeyId`, `accessKeySecret` and, for STS, `securityToken`.
    pub credentials_secret_ref: SecretRef,
    /// The cloud phone API (ACEP), for AospImage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acep: Option<AcepApi>,
    /// The ECS API, for ImageExport.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecs: Option<VolcengineEcsApi>,
}

/// How Volcengine's ECS API is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolcengineEcsApi {
    /// Base address instead of `https://open.volcengineapi.com`, at most 512 characters (a limit of this operator); `http`
    /// and other hosts need a matching `--allow-endpoint`. For an account at BytePlus: `https://open.byteplusapi.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = address())]
    pub endpoint: Option<String>,
    /// How long a new task may take to show in DescribeTasks, as a duration from `1s` to `1h`: after a lost answer, an
    /// export is not asked for again before. Default: `60s`. The vendor states no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("listDelay must be between 1s and 1h"))]
    pub list_delay: Option<Period>,
    /// Who exports images in this account and region. A task of the vendor's names neither bucket nor file, so when the
    /// answer to ExportImage was lost, a task that began at that moment may be the console's: with `Anyone`, the default, the
    /// ImageExport is `Unclear` and lists it, and a person looks whether the file is in the bucket. With `OperatorOnly`, where
    /// nothing but this operator exports (no console, no script, no other cluster), the task is taken for the lost call's, and
    /// nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported_by: Option<Exporters>,
}

/// Who exports images in an account and region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = explained_by_its_field)]
pub enum Exporters {
    /// The console, scripts, other clusters: a task may be of any of them.
    Anyone,
    /// Nothing but this operator.
    OperatorOnly,
}

/// How the cloud phone API is called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcepApi {
    /// The cloud phone product whose images are listed, 1 to 64 characters (a limit of this operator); an AospImage may
    /// name its own. Cannot be changed or removed once it is set. Example: `"1749281594201"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub product_id: Option<String>,
    /// The region in the signature, 1 to 64 characters (a limit of this operator). Default: `cn-north-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: Option<String>,
    /// Base address instead of `https://open.volcengineapi.com`, at most 512 characters (a limit of this operator); see
    /// `ecs.endpoint`. For an account at BytePlus: `https://open.byteplusapi.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = address())]
    pub endpoint: Option<String>,
    /// How long a new image may take to show in ListAOSPImage, as a duration from `1s` to `1h`: after a lost answer, an
    /// image is not built again before. Default: `10m`. The vendor states no figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("listDelay must be between 1s and 1h"))]
    pub list_delay: Option<Period>,
    /// The service name in the signature, `acep` or `ACEP`: Volcengine's own clients use both; `acep` unless the gateway
    /// refuses it.
    #[serde(default)]
    pub service_name: AcepServiceName,
}

/// The service name that ACEP requests are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(non_camel_case_types, reason = "the two spellings of the vendor")]
pub enum AcepServiceName {
    /// As the generated SDKs sign.
    #[default]
    acep,
    /// As the product's own client signs.
    ACEP,
}

/// An account at a ZStack Cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZstackAccount {
    /// Base address of the management node, at most 512 characters (a limit of this operator). The path `/zstack` is
    /// added unless there is a path.
    /// ZStack is on premises, so the operator must be started with a matching `--allow-endpoint`.
    /// Example: `http://10.0.0.2:8080`.
    #[schemars(length(max = 512))]
    #[x_kube(validation = address())]
    pub endpoint: String,
    /// The Secret with the keys `accountName` and `password`, or `accessKeyId` and `accessKeySecret`.
    pub credentials_secret_ref: SecretRef,
    /// The time zone of the management node, as an IANA name of at most 64 characters: access keys are checked against
    /// its wall clock, and its dates have no zone. Default: `UTC`. Example: `Asia/Shanghai`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// PEM certificates to trust besides the system's, at least one, at most 64 KiB (a limit of this operator), for `https` with a private CA:
    /// the CA's, or the server's own as `openssl req -x509` makes it, if that has the name in its subjectAltName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')").message("caBundle must hold PEM certificates, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"))]
    pub ca_bundle: Option<String>,
}

/// Whether an account can be used, and by how many.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// The generation of `spec` that this status speaks of; -1 until the operator has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How many image objects name this account. It cannot be deleted before this is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<i64>,
    /// The credentials in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsStatus>,
    /// `Ready`: images can use the account. `Reconciling`: it waits for something that the message names.
    /// `Stalled`: a person must change the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Which version of the Secret is in use; never what is in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// The Secret, as `namespace/name`.
    #[schemars(length(max = 512))]
    pub secret: String,
    /// The Secret's resourceVersion.
    #[schemars(length(max = 128))]
    pub resource_version: String,
    /// Since when this version is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When the vendor last accepted them, to the hour; absent if they have not been tried yet, or never with success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<Time>,
    /// How the vendor refused them, if it has not accepted them since: what to do, the vendor's code and text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32_768))]
    pub refused: Option<String>,
}

impl AccountVendor {
    /// Which Secret the account names; `None` where no vendor is given, which admission refuses.
    pub fn secret_ref(&self) -> Option<&SecretRef> {
        let volcengine = self.volcengine.as_ref().map(|account| &account.credentials_secret_ref);
        let aliyun = self.aliyun.as_ref().map(|account| &account.credentials_secret_ref);
        let zstack = self.zstack.as_ref().map(|account| &account.credentials_secret_ref);
        volcengine.or(aliyun).or(zstack)
    }

    /// The vendor, in the word that the spec has for it; empty where it names none.
    pub fn name(&self) -> &'static str {
        match self {
            Self { volcengine: Some(_), .. } => "volcengine",
            Self { aliyun: Some(_), .. } => "aliyun",
            Self { zstack: Some(_), .. } => "zstack",
            _ => "",
        }
    }

    /// Certificates to trust besides the system's.
    pub fn ca_bundle(&self) -> Option<&str> {
        self.zstack.as_ref().and_then(|account| account.ca_bundle.as_deref())
    }
}
