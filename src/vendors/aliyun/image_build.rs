//! `ImageBuild`: one run of an image pipeline of Alibaba Cloud's image builder, and the image that it makes. ECS
//! `StartImagePipelineExecution` 2014-05-26.

use super::{
    Client,
    ecs_image::{self, Changes, Image, ImageDeletion},
    image_component::pair,
    sharing::{self, Sharing},
    tags::{self, MARK, Tag},
};
use crate::{
    account::AccountVendor,
    engine::{
        existing::Existing,
        external::{External, Submitted, Timeout},
        index::{Reference, Referent},
        journal::Permit,
        progress::{Comparison, Deletion, Failure, Handle, Lookalike, Observation, Product, Recovered},
    },
    image::{ImageRef, ImageSpec, ImageStatus, fixed, placed},
    wire::{CallError, Class, Effect, outcome::one_line, pages},
};
use futures::future::try_join_all;
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use std::{collections::HashMap, time::Duration};

// ---- What a user writes --------------------------------------------------------------------------------------------

const AGAIN: &str = "make a new object: each is one run";

/// One run of an image pipeline at Alibaba Cloud.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "ImageBuild",
    plural = "imagebuilds",
    shortname = "imgbuild",
    category = "cloudimages",
    namespaced,
    status = "ImageStatus",
    doc = "One run of an image pipeline of Alibaba Cloud's image builder, and the custom image of ECS that it makes. It stands for the vendor's StartImagePipelineExecution; the instances that a run needs for as long as it takes are billed.",
    printcolumn(name = "Run", type_ = "string", json_path = ".status.taskId", description = "The vendor's id of the run"),
    printcolumn(name = "Image ID", type_ = "string", json_path = ".status.imageId", description = "The vendor's id of the image"),
    validation = placed("regionId", AGAIN),
    validation = fixed("imagePipelineId", AGAIN),
    validation = fixed("pipelineRef", AGAIN)
)]
#[x_kube(
    validation = Rule::new("has(self.import) || has(self.forProvider.imagePipelineId) || has(self.forProvider.pipelineRef)").message("forProvider.pipelineRef or imagePipelineId is required: the pipeline that runs (or name an existing image in import)"),
    validation = Rule::new("!has(self.forProvider.imagePipelineId) || !has(self.forProvider.pipelineRef)").message("forProvider must have only one of pipelineRef and imagePipelineId"),
    validation = sharing::not_both(),
    validation = sharing::policy_needs_accounts(),
)]
pub struct ImageBuildSpec {
    /// What all kinds share.
    #[serde(flatten)]
    pub image: ImageSpec<BuiltImageMatch>,

    /// Whether the snapshots that the image consists of are deleted with it: the vendor keeps them when an image is deleted, and
    /// they cost. Default: `true` for an image that the operator had built, `false` for one that it took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_snapshots: Option<bool>,

    /// What becomes of the image of a run whose tests failed; the object is Stalled either way. `Delete`: it is deleted at once.
    /// `Keep`: it stays, to be looked at, until this object goes or the build is tried again. Default: `Delete`.
    #[serde(default)]
    pub on_test_failure: TestFailurePolicy,

    /// The parameters of StartImagePipelineExecution, under the vendor's names, the tags of the image, and with whom it is shared.
    /// `tag`, `shareWith`, `sharePolicy` and `community` can be changed later.
    pub for_provider: BuildParameters,
}

/// What becomes of an image whose tests failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TestFailurePolicy {
    /// It is deleted at once.
    #[default]
    Delete,
    /// It stays until the object goes or the build is tried again.
    Keep,
}

/// The parameters of StartImagePipelineExecution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuildParameters {
    /// The region of the pipeline, in which the image is made, 1 to 64 characters (a limit of this operator). Default: the
    /// account's. Cannot be changed. Example: `cn-hangzhou`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("regionId must be a region's id of lower-case letters, digits and -, for example cn-hangzhou"))]
    pub region_id: Option<String>,

    /// An ImagePipeline in the same namespace and region, instead of `imagePipelineId`: it runs when that is Ready, and is not
    /// deleted meanwhile. Cannot be changed. Example: `{name: base}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_ref: Option<ImageRef>,

    /// The vendor's id of the pipeline that runs, 1 to 64 characters (a limit of this operator); one run of a pipeline is under
    /// way at a time, others wait. Required unless `pipelineRef` is given. Cannot be changed. Example: `ip-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9-]+$')").message("imagePipelineId must be the id of a pipeline, for example ip-bp67acfmxazb4p"))]
    pub image_pipeline_id: Option<String>,

    /// Tags of the image, at most 20 with those that the pipeline gives it, each key once; they are set when it is there. Can be
    /// changed: a key that is taken out here is removed at the vendor, too. Tags whose keys were never here, those of the
    /// pipeline's `imageOptions.imageTags` among them, stay as they are. Example: `[{key: team, value: base}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    #[x_kube(validation = Rule::new("self.size() <= 20").message("tag must have at most 20 entries"))]
    pub tag: Option<Vec<Tag>>,

    /// With whom the image is shared.
    #[serde(flatten)]
    pub sharing: Sharing,
}

/// Which of the account's images in the region to take over: the only one with this name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuiltImageMatch {
    /// The image's name, exactly, 2 to 128 characters. Example: `base_exec-5fb8facb8ed7427c`.
    #[schemars(length(min = 2, max = 128))]
    pub name: String,
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Started {
    execution_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// In every answer of the vendor's.
    #[serde(default)]
    request_id: Option<IgnoredAny>,
    #[serde(default)]
    image_pipeline_execution: Option<Set>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Set {
    #[serde(default)]
    image_pipeline_execution_set: Option<Vec<Value>>,
}

/// The pipeline is gone, and with it the records of all its runs.
const NO_PIPELINE: &str = "InvalidImagePipeline.NotFound";
/// The run has gone on, so that it cannot be cancelled any more.
const NOT_CANCELLED: &[&str] = &["InvalidStatus.CancelFailed", "InvalidStatus.ImagePipelineExecution"];
/// What tells the rows of runs apart.
const RUN_ID: &str = "executionId";
/// The statuses of runs that have not ended.
const UNDER_WAY: &str = "PREPARING,REPAIRING,BUILDING,TESTING,DISTRIBUTING,RELEASING,CANCELLING";
/// What the ids of runs begin with; those of images do not.
const RUN: &str = "exec-";
/// Where the report on an image says how its run went.
const EXECUTION: &str = "execution";

/// DescribeImagePipelineExecutions with all its pages; rows in lowerCamelCase. Whoever's pipeline is gone has no runs.
async fn describe(
    client: &Client,
    region: &str,
    filter: &[(String, String)],
) -> Result<Vec<Value>, CallError> {
    let page = async |token: Option<String>| {
        let mut params = vec![pair("MaxResults", "100")];
        params.extend_from_slice(filter);
        params.extend(token.map(|token| pair("NextToken", token)));
        let answer: Page =
            client.ecs("DescribeImagePipelineExecutions", Effect::Read, region, &params).await?.value;
        // An answer without anything that the vendor's has does not say that there is no run: something in between gave it.
        if answer.image_pipeline_execution.is_none() && answer.request_id.is_none() {
            let why = "DescribeImagePipelineExecutions was answered with nothing";
            return Err(Effect::Read.unanswered(why.into()));
        }
        let rows = answer.image_pipeline_execution.and_then(|set| set.image_pipeline_execution_set);
        Ok(pages::Page { rows: rows.unwrap_or_default(), next: answer.next_token, ..pages::Page::default() })
    };
    match pages::all(RUN_ID, page, |_| false).await {
        Err(CallError::Refused(refusal)) if refusal.code == NO_PIPELINE => Ok(vec![]),
        rows => rows,
    }
}

/// A row of DescribeImagePipelineExecutions. What is absent or of another type than documented must not hide the rest.
#[derive(Clone, Debug, PartialEq)]
struct Run {
    id: String,
    status: String,
    /// The image that it makes, as soon as the vendor tells.
    image: Option<String>,
    created: Option<Timestamp>,
    /// The token of the attempt that began it.
    mark: Option<String>,
    /// What the vendor says of it.
    said: String,
    row: Value,
}

impl Run {
    /// `None`: it has no id.
    fn read(row: &Value) -> Option<Self> {
        let text = |name: &str| row[name].as_str().map(str::trim).filter(|text| !text.is_empty());
        let said: Vec<_> = ["errorCode", "errorInfo", "message"].into_iter().filter_map(text).collect();
        Some(Self {
            id: text(RUN_ID)?.to_owned(),
            status: text("status").unwrap_or_default().to_ascii_uppercase(),
            image: text("imageId").map(str::to_owned),
            created: text("creationTime").and_then(|time| time.parse().ok()),
            mark: tags::mark(&tags::read(row)).map(str::to_owned),
            said: one_line(&said.join(": "), 1000),
            row: row.clone(),
        })
    }

    /// Whether it is one of the object of which an attempt has this token, and is to have its result.
    fn is_of_object(&self, token: &str) -> bool {
        self.status != "CANCELLING" && self.mark.as_deref().is_some_and(|mark| tags::same_maker(mark, token))
    }

    /// What of it the vendor still does.
    fn stage(&self) -> Stage {
        match self.status.as_str() {
            "PREPARING" | "REPAIRING" | "BUILDING" => Stage::Cancellable,
            "SUCCESS" | "PARTITION_SUCCESS" | "FAILED" | "TEST_FAILED" | "CANCELLED" => Stage::Over,
            _ => Stage::Committed,
        }
    }

    /// What the vendor says of it, in brackets.
    fn remark(&self) -> String {
        if self.said.is_empty() { String::new() } else { format!(" ({})", self.said.trim_end_matches('.')) }
    }

    fn warning(&self) -> Option<String> {
        (self.status == "PARTITION_SUCCESS").then(|| {
            format!(
                "the vendor says of {} that it succeeded in part (PARTITION_SUCCESS){}: the image is there, but copying or sharing it, \
                 or releasing the instance, disks and network that the run needed, may have failed; look in the console for what is \
                 left, and delete it there / 构建任务 {} 部分成功：镜像已生成，但分发、共享或释放临时资源可能失败，请在控制台检查并\
                 清理残留资源",
                self.id,
                self.remark(),
                self.id
            )
        })
    }

    /// What it comes to, with the row of its image, if there is one.
    fn observation(&self, image: Option<&Value>) -> Observation {
        let image = image.map(|row| self.with(row));
        match self.status.as_str() {
            "PREPARING" | "REPAIRING" | "BUILDING" => Observation::Building { percent: None, note: None },
            "SUCCESS" | "PARTITION_SUCCESS" => match image.as_ref().and_then(ecs_image::observation) {
                // Which image that is, is known, and it goes with the object.
                Some(Observation::Failed(failure)) => Self::failed(&failure.reason, failure.message, image),
                Some(seen) => seen,
                None => self.unseen(),
            },
            // What is to become of its image, and of that's snapshots, can be said when it shows.
            "TEST_FAILED" if image.is_none() && self.image.is_some() => self.unseen(),
            "TEST_FAILED" => {
                let message = format!(
                    "the tests of the image that {} built have failed{}; correct the pipeline's steps, whose output the console has: \
                     onTestFailure: Keep leaves the image there to be looked at / 构建任务 {} 的镜像测试失败，请修改流水线步骤；设置 \
                     onTestFailure: Keep 可保留镜像以便排查",
                    self.id,
                    self.remark(),
                    self.id
                );
                Self::failed("TestFailed", message, image)
            }
            "FAILED" => {
                let message = format!(
                    "the vendor's run {} failed{}; look at its output in the console / 构建任务 {} 失败，请在控制台查看其输出",
                    self.id,
                    self.remark(),
                    self.id
                );
                Self::failed("BuildFailed", message, image)
            }
            "CANCELLED" => {
                let message = format!(
                    "the vendor's run {} was cancelled{}, and not by this operator / 构建任务 {} 已被取消（并非由本 Operator 取消）",
                    self.id,
                    self.remark(),
                    self.id
                );
                Self::failed("BuildFailed", message, image)
            }
            status => {
                let note = format!("the vendor says that {} is {status}{}", self.id, self.remark());
                Observation::Building { percent: None, note: Some(note) }
            }
        }
    }

    /// The vendor's lists may lag behind.
    fn unseen(&self) -> Observation {
        let image = self.image.as_deref().unwrap_or("the image");
        let note = format!("{} has ended, and the vendor does not show {image} yet", self.id);
        Observation::Building { percent: None, note: Some(note) }
    }

    /// The report on its image, with what there is to know of the run.
    fn with(&self, image: &Value) -> Value {
        let mut row = image.clone();
        if let Some(row) = row.as_object_mut() {
            row.insert(EXECUTION.into(), self.row.clone());
        }
        row
    }

    fn failed(reason: &str, message: String, image: Option<Value>) -> Observation {
        let left = image.map(|row| Product {
            image_id: row[ecs_image::ROW_ID].as_str().map(str::to_owned),
            at_provider: row,
            ..Product::default()
        });
        Observation::Failed(Failure { reason: reason.into(), message, left })
    }
}

/// How far a run is, for those who want it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It can be cancelled.
    Cancellable,
    /// It goes on until it has ended.
    Committed,
    Over,
}

/// The run with this id.
async fn run(client: &Client, region: &str, id: &str) -> Result<Option<Run>, CallError> {
    let rows = describe(client, region, &[pair("ExecutionId", id)]).await?;
    Ok(rows.iter().filter_map(Run::read).find(|run| run.id == id))
}

/// Whether a name is that of a run's image: the pipeline's name for images, and the run's id.
fn is_of(name: &str, run: &str) -> bool {
    name.strip_suffix(run).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('_'))
}

/// The run that an image's name says it is of.
fn run_of(image: &Image) -> Option<&str> {
    let run = image.name.get(image.name.rfind(RUN)?..)?;
    (image.is_copied != Some(true) && is_of(&image.name, run)).then_some(run)
}

/// The image of a run of which the vendor has no record any more, since its pipeline is gone.
async fn image_of_forgotten(client: &Client, region: &str, run: &str) -> Result<Option<Value>, CallError> {
    let rows = ecs_image::list(client, region, &[pair("ImageName", run)], |_| false).await?;
    Ok(rows.into_iter().find(|row| Image::read(row).is_some_and(|image| is_of(&image.name, run))))
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

impl External for ImageBuild {
    type Client = Client;
    type Match = BuiltImageMatch;

    const ACTION: &'static str = "StartImagePipelineExecution";
    const BATCH: usize = 20;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(6 * 3600),
        why: "a run takes tens of minutes, hours with large disks and long tests, and the vendor publishes no limit of its own",
    };
    const IMMEDIATE: bool = false;
    const LEAVES: bool = true;
    const ECHOES: &'static [Class] = &[Class::Busy];
    const ROW_ID: &'static str = ecs_image::ROW_ID;
    const PLACE: Option<&'static str> = Some("regionId");
    const YIELDS: Option<&'static str> = Some(super::ECS_IMAGE);
    const TAKES: &'static [&'static str] = &[super::IMAGE_PIPELINE];
    const UNTOLD: &'static [&'static str] = &["imagePipelineId"];
    const WHEN_OVERDUE: Option<&'static str> = Some(
        "deleting this object cancels the run, as far as it can still be cancelled / 删除此对象会取消仍可取消的构建任务",
    );
    const AMENDS: &'static [(&'static str, &'static str)] =
        &[("tag", "TagResources"), ("shareWith", sharing::MODIFY), ("community", sharing::MODIFY)];

    fn spec(&self) -> &ImageSpec<BuiltImageMatch> {
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
        ecs_image::realm(account, self.spec.for_provider.region_id.as_deref())
    }

    /// Only so long that a request that was on its way has arrived: the token does the rest.
    fn settle(&self, _: &Client) -> Duration {
        Duration::from_secs(5)
    }

    fn references(&self) -> Vec<Reference> {
        self.spec.for_provider.pipeline_ref.iter().map(reference).collect()
    }

    fn resolved(&self, referents: &[Referent]) -> Self {
        let mut object = self.clone();
        let parameters = &mut object.spec.for_provider;
        if let Some(pipeline) = &parameters.pipeline_ref
            && let Some(referent) = reference(pipeline).among(referents)
        {
            parameters.image_pipeline_id = Some(referent.id.clone());
        }
        object
    }

    /// The vendor runs a pipeline once at a time.
    fn exclusive(&self) -> Option<String> {
        self.spec.for_provider.image_pipeline_id.clone()
    }

    /// ClientToken: at most 64 ASCII characters. It is the run's mark, too.
    fn token(uid: &str, attempt: u32) -> String {
        format!("{uid}-{attempt}")
    }

    /// A run, or its image.
    fn handle(id: &str) -> Handle {
        if id.starts_with(RUN) { Handle::task(id) } else { Handle::image(id) }
    }

    async fn submit(&self, client: &Client, permit: Permit) -> Result<Submitted, CallError> {
        let Some(pipeline) = &self.spec.for_provider.image_pipeline_id else {
            return Err(CallError::NotSent("which pipeline is to run is not known".into()));
        };
        let mark = Tag { key: MARK.into(), value: permit.token().into() };
        let mut params = vec![pair("ImagePipelineId", pipeline), pair("ClientToken", permit.token())];
        params.extend(tags::params([&mark]));
        let answer =
            client.ecs::<Started>(Self::ACTION, Effect::Create, &self.region(client), &params).await?;
        Ok(Submitted { handle: Handle::task(answer.value.execution_id), request_id: answer.request_id })
    }

    /// The run that bears the mark of the attempt that is under way: one of an earlier attempt is another one.
    async fn lookalikes(&self, client: &Client) -> Result<Vec<Lookalike>, CallError> {
        let operation = self.status.as_ref().and_then(|status| status.operation.as_ref());
        let first = || Self::token(self.metadata.uid.as_deref().unwrap_or_default(), 1);
        let token = operation.map_or_else(first, |operation| operation.token.clone());
        let runs = self.marked(client, &token).await?;
        let lookalike =
            |run: Run| Lookalike { id: run.id, created: run.created, comparison: Comparison::Same };
        Ok(runs.into_iter().map(lookalike).collect())
    }

    /// What bears the mark of the attempt is it; and what bears that of another one of the object's and is under way, since of an
    /// attempt that is over no run is: that is waited for. Where nothing does, the same ClientToken yields the same run, and one
    /// that the vendor has forgotten is refused as long as that runs.
    async fn recover(&self, client: &Client, token: &str, _: Timestamp) -> Result<Recovered, CallError> {
        let mut runs = self.marked(client, token).await?;
        if runs.is_empty() {
            runs = self.under_way(client).await?;
            runs.retain(|run| run.is_of_object(token));
        }
        Ok(Recovered::marked(runs.into_iter().map(|run| Handle::task(run.id)).collect()))
    }

    /// One run of a pipeline is under way at a time.
    async fn is_others(&self, client: &Client) -> Result<bool, CallError> {
        let own = Self::token(self.metadata.uid.as_deref().unwrap_or_default(), 1);
        Ok(self.under_way(client).await?.iter().any(|run| !run.is_of_object(&own)))
    }

    /// What is made is looked at as an image, whatever became of its run; of what is not, the run is asked about.
    async fn observe(
        client: &Client,
        region: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let (mut runs, mut wanted) = (vec![], vec![]);
        let mut seen = HashMap::new();
        let (made, begun): (Vec<_>, Vec<_>) = handles.iter().partition(|handle| handle.image.is_some());
        wanted.extend(made.iter().map(|handle| Handle::image(handle.id())));
        // The vendor shows one run by its id, or those of one pipeline, of which one is under way at a time: one call for each.
        let looks =
            begun.into_iter().map(async |handle| Ok((handle, run(client, region, handle.id()).await?)));
        for (handle, run) in try_join_all(looks).await? {
            if let Some(run) = run {
                let image = run.image.as_ref().filter(|_| run.stage() == Stage::Over);
                wanted.extend(image.map(Handle::image));
                runs.push((handle, run));
            } else {
                let image = image_of_forgotten(client, region, handle.id()).await?;
                let observation = image.as_ref().and_then(ecs_image::observation);
                seen.extend(observation.map(|observation| (handle.clone(), observation)));
            }
        }
        let rows = ecs_image::rows(client, region, &wanted).await?;
        let row = |id: &str| rows.get(&Handle::image(id));
        for handle in made {
            let observation = row(handle.id()).and_then(ecs_image::observation);
            seen.extend(observation.map(|observation| (handle.clone(), observation)));
        }
        for (handle, run) in runs {
            let image = run.image.as_deref().and_then(row);
            seen.insert(handle.clone(), run.observation(image));
        }
        Ok(seen)
    }

    /// Of an image that is looked at by its id, only the status knows how its run went.
    fn finished(&self, mut product: Product) -> Product {
        let status = self.status.as_ref().filter(|status| status.image_id == product.image_id);
        let known = status.and_then(|status| status.at_provider.as_ref()?.get(EXECUTION));
        if let (Some(row), Some(known)) = (product.at_provider.as_object_mut(), known) {
            row.entry(EXECUTION).or_insert_with(|| known.clone());
        }
        product.warning = Run::read(&product.at_provider[EXECUTION]).and_then(|run| run.warning());
        product
    }

    fn named(&self) -> Vec<String> {
        let parameters = &self.spec.for_provider;
        let tags = parameters.tag.iter().flatten().map(|tag| tag.key.clone());
        tags.chain(parameters.sharing.named()).collect()
    }

    async fn completed(&self, client: &Client, product: Product) -> Result<Product, CallError> {
        self.spec.for_provider.sharing.completed(client, self, product).await
    }

    async fn find(&self, client: &Client, matching: &BuiltImageMatch) -> Result<Vec<Handle>, CallError> {
        ecs_image::named(client, &self.region(client), &matching.name).await
    }

    /// An image's run has the mark, as long as the vendor has a record of it: the image has none of its own, unless it is a copy.
    async fn made_for(
        &self,
        client: &Client,
        handle: &Handle,
        seen: &Observation,
    ) -> Result<Option<String>, CallError> {
        let region = self.region(client);
        let image = match &handle.image {
            Some(id) => ecs_image::seen(client, &region, id, seen).await?,
            None => None,
        };
        if let Some(uid) = image.as_ref().and_then(Image::made_for) {
            return Ok(Some(uid));
        }
        let Some(id) = handle.task.as_deref().or_else(|| image.as_ref().and_then(run_of)) else {
            return Ok(None);
        };
        let mark = run(client, &region, id).await?.and_then(|run| run.mark);
        Ok(mark.as_deref().and_then(tags::made_for).map(str::to_owned))
    }

    async fn page(client: &Client, region: &str, next: Option<String>) -> Result<pages::Page, CallError> {
        ecs_image::page(client, region, next).await
    }

    /// Images that have the name that runs give theirs.
    fn existing(row: &Value) -> Option<Existing> {
        let image = Image::read(row).filter(|image| run_of(image).is_some())?;
        let seen = Existing::new(&image.id, ecs_image::observation(row)?).named(&image.name);
        Some(seen.with("tag", image.own_tags()))
    }

    fn compare(&self, _: &Client, product: &Product) -> Comparison {
        let Some(image) = Image::read(&product.at_provider) else { return Comparison::Same };
        let Changes { tags, sharing, .. } = self.changes(&image, &product.at_provider);
        let differs: Vec<_> = tags.difference(&image.tags).into_iter().chain(sharing.differences()).collect();
        if differs.is_empty() { Comparison::Same } else { Comparison::Amendable(differs) }
    }

    async fn amend(&self, client: &Client, product: &Product) -> Result<(), CallError> {
        let Some(image) = Image::read(&product.at_provider) else { return Ok(()) };
        let changes = self.changes(&image, &product.at_provider);
        ecs_image::amend(client, &self.region(client), &image.id, changes).await
    }

    /// What of a run's image the tests said no to stays if its user wants to look at it; nobody asked for anything else.
    fn clears(&self) -> bool {
        let operation = self.status.as_ref().and_then(|status| status.operation.as_ref());
        let reason = operation.and_then(|operation| operation.reason.as_deref());
        self.spec.on_test_failure == TestFailurePolicy::Delete || reason != Some("TestFailed")
    }

    /// A run that is under way is cancelled, or waited for where it is too late for that. Then its image is unshared and goes, and
    /// the snapshots that this consists of.
    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let region = self.region(client);
        let image = match &handle.image {
            Some(image) => Some(image.clone()),
            None => match end(client, &region, handle.id()).await? {
                Ended::No(deletion) => return Ok(deletion),
                Ended::Yes(image) => image,
            },
        };
        let Some(image) = image else { return Ok(Deletion::Gone) };
        let row = ecs_image::get(client, &region, &image).await?;
        let deletion = ImageDeletion::of(self, self.spec.delete_snapshots, &self.spec.for_provider.sharing);
        let known = self.status().and_then(|status| status.image_id.as_ref());
        if handle.image.is_none() && known != Some(&image) {
            // Whose it is by now is asked before it is deleted.
            let at_provider = row.unwrap_or_default();
            return Ok(Deletion::Seen(Product { image_id: Some(image), at_provider, ..Product::default() }));
        }
        deletion.delete(client, &region, &image, row.as_ref()).await
    }
}

fn reference(pipeline: &ImageRef) -> Reference {
    pipeline.reference(super::IMAGE_PIPELINE, "forProvider.imagePipelineId").nearby()
}

/// Whether a run has ended.
enum Ended {
    /// With this image, if it made one.
    Yes(Option<String>),
    No(Deletion),
}

/// Ends a run, where that is possible in the phase that it is in.
async fn end(client: &Client, region: &str, id: &str) -> Result<Ended, CallError> {
    let waits = |why: &str| {
        Ended::No(Deletion::Waiting(format!("the vendor's run {id} {why}: what it made is deleted then")))
    };
    let cancelling = "is being cancelled, which is waited for";
    let Some(run) = run(client, region, id).await? else {
        // What the list does not show may be too new for it, or have lost its pipeline: the vendor is told to cancel it all the same.
        if cancel(client, region, id).await? == Cancelling::Begun {
            return Ok(waits(cancelling));
        }
        let image = image_of_forgotten(client, region, id).await?;
        return Ok(Ended::Yes(image.as_ref().and_then(Image::read).map(|image| image.id)));
    };
    Ok(match run.stage() {
        Stage::Over => Ended::Yes(run.image),
        Stage::Committed if run.status == "CANCELLING" => waits(cancelling),
        Stage::Committed => {
            waits(&format!("is {}, and cannot be cancelled any more; its end is waited for", run.status))
        }
        Stage::Cancellable => match cancel(client, region, id).await? {
            Cancelling::Begun => waits(cancelling),
            Cancelling::TooLate => waits("could not be cancelled any more; its end is waited for"),
            // The next look sees that, too.
            Cancelling::Unknown => Ended::No(Deletion::Underway),
        },
    })
}

/// What the vendor says to a cancellation.
#[derive(PartialEq)]
enum Cancelling {
    Begun,
    /// The run has gone on, or has ended.
    TooLate,
    /// There is no such run.
    Unknown,
}

async fn cancel(client: &Client, region: &str, id: &str) -> Result<Cancelling, CallError> {
    let params = [pair("ExecutionId", id)];
    let action = "CancelImagePipelineExecution";
    match client.ecs::<IgnoredAny>(action, Effect::Change, region, &params).await {
        Ok(_) => Ok(Cancelling::Begun),
        Err(CallError::Refused(refusal)) if NOT_CANCELLED.contains(&refusal.code.as_str()) => {
            Ok(Cancelling::TooLate)
        }
        Err(CallError::Refused(refusal)) if refusal.class == Class::NotFound => Ok(Cancelling::Unknown),
        Err(error) => Err(error),
    }
}

impl ImageBuild {
    /// The runs of the pipeline that bear this mark.
    async fn marked(&self, client: &Client, token: &str) -> Result<Vec<Run>, CallError> {
        let Some(pipeline) = &self.spec.for_provider.image_pipeline_id else { return Ok(vec![]) };
        let filter = [pair("ImagePipelineId", pipeline), pair("Tag.1.Key", MARK), pair("Tag.1.Value", token)];
        let rows = describe(client, &self.region(client), &filter).await?;
        // Whether the vendor takes tags for a filter here, not all of its pages say.
        let runs = rows.iter().filter_map(Run::read);
        Ok(runs.filter(|run| run.mark.as_deref() == Some(token)).collect())
    }

    /// The runs of the pipeline that have not ended.
    async fn under_way(&self, client: &Client) -> Result<Vec<Run>, CallError> {
        let Some(pipeline) = &self.spec.for_provider.image_pipeline_id else { return Ok(vec![]) };
        let filter = [pair("ImagePipelineId", pipeline), pair("Status", UNDER_WAY)];
        let rows = describe(client, &self.region(client), &filter).await?;
        Ok(rows.iter().filter_map(Run::read).filter(|run| run.stage() != Stage::Over).collect())
    }

    /// `row`: what says with whom it is shared.
    fn changes(&self, image: &Image, row: &Value) -> Changes {
        let (parameters, dropped) = (&self.spec.for_provider, self.dropped());
        let wanted = parameters.tag.as_deref().unwrap_or_default();
        Changes {
            tags: tags::Changes::between(wanted, &image.tags, &dropped),
            sharing: parameters.sharing.changes(row, &dropped),
            ..Changes::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(spec: Value, status: Value) -> ImageBuild {
        let object = json!({
            "apiVersion": "cloudimages.dev/v1alpha1", "kind": "ImageBuild", "metadata": { "name": "n", "uid": "u-1" },
            "spec": spec, "status": status,
        });
        serde_json::from_value(object).expect("a build")
    }

    fn a_run(status: &str) -> Run {
        let row =
            json!({ "executionId": "exec-1", "status": status, "imageId": "m-1", "message": "It is so." });
        Run::read(&row).expect("a run")
    }

    fn image(status: &str) -> Value {
        json!({
            "imageId": "m-1", "imageName": "base_exec-1", "status": status,
            "diskDeviceMappings": { "diskDeviceMapping": [{ "snapshotId": "s-1" }] },
        })
    }

    #[test]
    fn each_of_the_twelve_statuses_is_told_apart() {
        let row = image("Available");
        for (status, stage) in [
            ("PREPARING", Stage::Cancellable),
            ("REPAIRING", Stage::Cancellable),
            ("BUILDING", Stage::Cancellable),
            ("TESTING", Stage::Committed),
            ("DISTRIBUTING", Stage::Committed),
            ("RELEASING", Stage::Committed),
            ("CANCELLING", Stage::Committed),
            ("SLEEPING", Stage::Committed),
            ("SUCCESS", Stage::Over),
            ("PARTITION_SUCCESS", Stage::Over),
            ("FAILED", Stage::Over),
            ("TEST_FAILED", Stage::Over),
            ("CANCELLED", Stage::Over),
        ] {
            let run = a_run(status);
            assert_eq!(run.stage(), stage, "{status}");
            let seen = run.observation(Some(&row));
            match (stage, seen) {
                (Stage::Cancellable, Observation::Building { note: None, .. }) => {}
                (Stage::Committed, Observation::Building { note: Some(note), .. }) => {
                    assert!(note.contains(status), "{note}");
                }
                (Stage::Over, Observation::Ready(product)) if status.ends_with("SUCCESS") => {
                    assert_eq!(product.at_provider[EXECUTION]["status"], status);
                }
                (Stage::Over, Observation::Failed(failure)) if !status.ends_with("SUCCESS") => {
                    let tests = if status == "TEST_FAILED" { "TestFailed" } else { "BuildFailed" };
                    assert_eq!(failure.reason, tests);
                    assert!(failure.message.contains("exec-1") && failure.message.contains("It is so"));
                    let left = failure.left.expect("what it left");
                    assert_eq!(left.image_id.as_deref(), Some("m-1"));
                    assert_eq!(ecs_image::snapshots(&left.at_provider), ["s-1"]);
                }
                (_, seen) => panic!("{status}: {seen:?}"),
            }
            if stage == Stage::Over {
                let without = run.observation(None);
                let expected = match without {
                    Observation::Building { note: Some(_), .. } => {
                        status.ends_with("SUCCESS") || status == "TEST_FAILED"
                    }
                    Observation::Failed(failure) => failure.left.is_none(),
                    _ => false,
                };
                assert!(expected, "{status} without an image");
            }
        }
        let broken = a_run("SUCCESS").observation(Some(&image("CreateFailed")));
        assert!(matches!(broken, Observation::Failed(Failure { left: Some(_), .. })), "{broken:?}");
    }

    #[test]
    fn what_a_run_left_undone_stays_known_when_its_image_is_looked_at_alone() {
        let parameters = json!({ "forProvider": { "imagePipelineId": "ip-1" } });
        for (status, is_warned) in [("PARTITION_SUCCESS", true), ("SUCCESS", false)] {
            let Observation::Ready(first) = a_run(status).observation(Some(&image("Available"))) else {
                panic!("{status}")
            };
            let new = object(parameters.clone(), Value::Null);
            let first = new.finished(first);
            assert_eq!(first.warning.is_some(), is_warned, "{status}");
            let stored = json!({ "imageId": "m-1", "taskId": "exec-1", "atProvider": first.at_provider });
            let later = Product {
                image_id: Some("m-1".into()),
                at_provider: image("Available"),
                ..Product::default()
            };
            assert_eq!(object(parameters.clone(), stored).finished(later.clone()), first, "{status}");
            let other = json!({ "imageId": "m-2", "atProvider": first.at_provider });
            assert_eq!(object(parameters.clone(), other).finished(later).warning, None, "another's run");
        }
    }

    #[test]
    fn a_run_that_is_under_way_is_its_object_s_whichever_attempt_began_it() {
        for (mark, status, expected) in [
            ("u-1", "BUILDING", true),
            ("u-2", "TESTING", true),
            ("v-2", "BUILDING", false),
            ("u-1", "CANCELLING", false),
            ("", "BUILDING", false),
        ] {
            let tags = json!({ "tag": [{ "tagKey": MARK, "tagValue": mark }] });
            let row = json!({ "executionId": "exec-1", "status": status, "tags": tags });
            assert_eq!(Run::read(&row).expect("a run").is_of_object("u-2"), expected, "{mark} {status}");
        }
    }

    #[test]
    fn a_run_s_image_is_known_by_its_name() {
        for (name, expected) in [
            ("base_exec-1", true),
            ("exec-1", true),
            ("base_exec-12", false),
            ("baseexec-1", false),
            ("base_exec-1-old", false),
            ("", false),
        ] {
            assert_eq!(is_of(name, "exec-1"), expected, "{name}");
        }
        let row = |name: &str, copied: bool| {
            let row =
                json!({ "imageId": "m-1", "imageName": name, "status": "Available", "isCopied": copied });
            ImageBuild::existing(&row).is_some()
        };
        assert!(row("base_exec-5fb8", false));
        assert!(!row("base_exec-5fb8", true) && !row("base", false));
    }

    #[test]
    fn what_failed_goes_unless_its_user_wants_to_look_at_it() {
        let build = |policy: &str, reason: &str| {
            let operation =
                json!({ "action": "Start", "token": "t", "attempt": 1, "state": "Failed", "reason": reason });
            object(json!({ "onTestFailure": policy, "forProvider": {} }), json!({ "operation": operation }))
        };
        assert!(build("Delete", "TestFailed").clears());
        assert!(!build("Keep", "TestFailed").clears());
        assert!(build("Keep", "BuildFailed").clears(), "that is no image to look at");
    }

    #[test]
    fn an_id_is_that_of_a_run_or_of_an_image() {
        assert_eq!(ImageBuild::handle("exec-1"), Handle::task("exec-1"));
        assert_eq!(ImageBuild::handle("m-1"), Handle::image("m-1"));
    }

    #[test]
    fn a_row_of_any_shape_is_read_as_far_as_it_goes() {
        for none in [json!(null), json!(7), json!({ "executionId": 7 }), json!({ "executionId": "" })] {
            assert_eq!(Run::read(&none), None, "{none}");
        }
        let odd =
            json!({ "executionId": "exec-1", "status": 7, "imageId": "", "tags": "x", "creationTime": "?" });
        let run = Run::read(&odd).expect("it has an id");
        assert_eq!((run.stage(), run.image, run.created, run.mark), (Stage::Committed, None, None, None));
    }
}
