//! `ImageExport`: copies a custom image out of ECS into a bucket. Volcengine ECS `ExportImage` 2020-04-01.

use super::{Client, text};
use crate::{
    account::{AccountVendor, Exporters},
    engine::{
        existing::Existing,
        external::{External, Submitted, Timeout},
        index::{Reference, Referent},
        journal::Permit,
        pace,
        preflight::{Needed, Obstacle, Preflight},
        progress::{Comparison, Deletion, Failure, Handle, Observation, Product, Recovered},
    },
    image::{ImageRef, ImageSpec, ImageStatus, OperationState, fixed},
    vendors::{percent::percent, volcengine::BUCKET},
    wire::{CallError, Class, Effect, Refusal, pages},
};
use jiff::{SignedDuration, Timestamp};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::HashMap, time::Duration};

// ---- What a user writes --------------------------------------------------------------------------------------------

const AGAIN: &str = "make a new ImageExport";

/// What ids of images are made of, and what is said of others.
const IMAGE: &str = "self.matches('^[A-Za-z0-9_.-]+$')";
/// See [`IMAGE`].
const NO_IMAGE: &str =
    "imageId must be the id of an image: letters, digits, -, _ and ., for example image-4431h3l7hl31a0";

/// An export of an image at Volcengine.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "ImageExport",
    plural = "imageexports",
    shortname = "imgexp",
    category = "cloudimages",
    namespaced,
    status = "ImageStatus",
    doc = "An export of a custom image of Volcengine ECS into a TOS bucket. It stands for the vendor's ExportImage. The exported file is never deleted by the operator, and a running export cannot be cancelled.",
    printcolumn(name = "Progress", type_ = "integer", json_path = ".status.progress", description = "How far the export is, in percent"),
    printcolumn(name = "Artifact", type_ = "string", json_path = ".status.artifact", description = "The exported file"),
    printcolumn(name = "Task ID", type_ = "string", json_path = ".status.taskId", description = "The vendor's task"),
    validation = fixed("imageId", AGAIN),
    validation = fixed("imageRef", AGAIN),
    validation = fixed("tosBucket", AGAIN),
    validation = fixed("tosPrefix", AGAIN)
)]
#[x_kube(
    validation = Rule::new("has(self.import) || has(self.forProvider.imageId) != has(self.forProvider.imageRef)").message("forProvider needs exactly one of imageId and imageRef: which image to export"),
    validation = Rule::new("has(self.import) || has(self.forProvider.tosBucket)").message("forProvider.tosBucket is required: the bucket to export to"),
    validation = Rule::new("has(self.import) || has(self.forProvider.tosPrefix)").message("forProvider.tosPrefix is required: what the exported file's name begins with"),
)]
pub struct ImageExportSpec {
    /// What all kinds share. `import.id` is the id of an export task.
    #[serde(flatten)]
    pub image: ImageSpec<ExportMatch>,
    /// The parameters of ExportImage, under the vendor's names. None of them can be changed later.
    pub for_provider: ExportParameters,
}

/// The parameters of ExportImage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportParameters {
    /// The custom image to export, 1 to 256 characters (a limit of this operator, not published by the vendor), in the
    /// account's region. Cannot be changed. Example: `image-4431h3l7hl31a0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(IMAGE).message(NO_IMAGE))]
    pub image_id: Option<String>,

    /// Reserved for objects that make images of ECS: no kind of this version does, so give `imageId`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ref: Option<ImageRef>,

    /// The TOS bucket to export to: 3 to 63 lower-case letters, digits and hyphens, first and last a letter or digit. ECS
    /// needs the permission tos:PutObject on it. Cannot be changed. Example: `bucket-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(BUCKET).message("tosBucket must be 3 to 63 lower-case letters, digits and hyphens, first and last a letter or digit"))]
    pub tos_bucket: Option<String>,

    /// What the exported file's name begins with: 1 to 30 letters and digits. The file becomes
    /// `{tosPrefix}_{imageId}_system.qcow2`. Cannot be changed. Example: `test123`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(
        validation = Rule::new("self.size() >= 1 && self.size() <= 30").message("tosPrefix must be 1 to 30 characters long"),
        validation = Rule::new("self.matches('^[a-zA-Z0-9]*$')").message("tosPrefix must contain only letters and digits"),
    )]
    pub tos_prefix: Option<String>,
}

/// Which of the account's export tasks to take over: the only one of this image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportMatch {
    /// The exported image, 1 to 256 characters. Example: `image-4431h3l7hl31a0`.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(IMAGE).message(NO_IMAGE))]
    pub image_id: String,
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exported {
    task_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    tasks: Option<Vec<Value>>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    #[serde(default)]
    images: Option<Vec<Value>>,
    #[serde(default)]
    next_token: Option<String>,
}

/// The statuses that are documented. Without them, which ones a list shows is not.
const STATUSES: [&str; 3] = ["available", "creating", "error"];

/// DescribeImages of up to 100 ids, by id.
async fn images(client: &Client, ids: &[String]) -> Result<HashMap<String, Value>, CallError> {
    let numbered = |name: &str, index: usize| format!("{name}.{}", index + 1);
    let mut params = vec![("MaxResults".to_owned(), "100".to_owned())];
    params.extend(ids.iter().enumerate().map(|(index, id)| (numbered("ImageIds", index), id.clone())));
    params.extend(
        STATUSES.iter().enumerate().map(|(index, status)| (numbered("Status", index), (*status).to_owned())),
    );
    let read = async |token: Option<String>| {
        let mut params = params.clone();
        params.extend(token.map(|token| ("NextToken".to_owned(), token)));
        let page: Images = client.ecs("DescribeImages", Effect::Read, &params).await?.value;
        Ok(pages::Page {
            rows: page.images.unwrap_or_default(),
            next: page.next_token,
            ..pages::Page::default()
        })
    };
    let rows = pages::all("imageId", read, |_| false).await?;
    Ok(rows.into_iter().map(|row| (text(&row["imageId"]), row)).collect())
}

/// What of an image is known to make its export fail: that it is not there, is one of the vendor's public ones, or is not
/// available. Whether one that others share can be exported is not documented, so the vendor says that.
fn unfit(needed: &Needed<'_>, row: Option<&Value>) -> Option<Obstacle> {
    let image = needed.id;
    let Some(row) = row else {
        return Some(Obstacle::lasting(format!(
            "DescribeImages shows no image {image} in the account's region; correct imageId, or the account / 账号所在地域查不到\
             镜像 {image}，请修改 imageId 或账号"
        )));
    };
    if text(&row["visibility"]) == "public" {
        return Some(Obstacle::lasting(format!(
            "{image} is a public image, and only custom images of the account's own can be exported; name one of those / {image} \
             是公共镜像，只能导出账号自己的自定义镜像，请改用自定义镜像"
        )));
    }
    match text(&row["status"]).as_str() {
        "creating" => Some(Obstacle::passing(format!("the image {image} is still being created"))),
        "error" => Some(Obstacle::lasting(format!(
            "the image {image} has the status error; name another image, or have it made again / 镜像 {image} 状态为 error，请更换\
             镜像或重新制作"
        ))),
        _ => None,
    }
}

/// A row of DescribeTasks. What is not as the documents have it is empty.
#[derive(Debug)]
struct Task {
    id: String,
    kind: String,
    status: String,
    percent: Option<u8>,
    created: Option<Timestamp>,
}

impl Task {
    /// `None`: it has no id. Keys in lowerCamelCase.
    fn read(row: &Value) -> Option<Self> {
        Some(Self {
            id: row.get("id")?.as_str()?.to_owned(),
            kind: text(&row["type"]),
            status: text(&row["status"]),
            percent: percent(&row["process"]),
            created: text(&row["createdAt"]).parse().ok(),
        })
    }

    /// Whether it is an export, or the vendor does not say what it is.
    fn may_be_export(&self) -> bool {
        matches!(self.kind.as_str(), "ExportImage" | "UnknownType" | "")
    }

    fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "Succeeded" | "Failed")
    }

    /// Whether it may be what a call made. A failed one from before the call is an earlier attempt's; should the clocks
    /// differ so far that it is this one's, asking again makes nothing twice, since it made nothing.
    fn may_be_of(&self, call: Call) -> bool {
        let Some(created) = self.created else { return true };
        let from = if self.status == "Failed" { call.sent } else { call.earliest };
        created >= from && call.latest.is_none_or(|latest| created <= latest)
    }

    /// Whether it began when the call was made, so that it is not likely to be somebody else's: a task says neither to which
    /// bucket nor for whom it exports, and the console can export the same image. Where it is not known when the call was
    /// made, only one that has not ended is: there was none before the call.
    fn is_likely_of(&self, call: Call) -> bool {
        if !call.known {
            return self.status != "Succeeded";
        }
        self.created.is_some_and(|created| created >= call.sent && created <= call.over)
    }
}

/// When a call was sent by our clock, and what the vendor's may have shown when it acted.
#[derive(Clone, Copy, Debug)]
struct Call {
    /// By a vendor's clock that is far behind.
    earliest: Timestamp,
    /// By one that is right.
    sent: Timestamp,
    /// By one that is right, the vendor had acted, or did not act any more.
    over: Timestamp,
    /// By one that is far ahead, with a vendor that takes its time.
    latest: Option<Timestamp>,
    known: bool,
}

impl Call {
    /// `known`: the time of the call is stored. Otherwise all that is known is that it was not sent earlier, and an export
    /// from the console may have ended before it.
    fn new(earliest: Timestamp, known: bool) -> Self {
        let after = |time: SignedDuration| earliest.checked_add(time).unwrap_or(earliest);
        let seconds = |time: Duration| SignedDuration::try_from(time).unwrap_or_default();
        // Clocks that are right are not equal.
        let sent = pace::SKEW - pace::CLOCKS;
        // Storing the intent and sending have to fit in.
        let over = pace::SKEW + seconds(pace::PERMIT_AGE + pace::REQUEST_TIMEOUT) + pace::CLOCKS;
        Self {
            earliest,
            sent: after(sent),
            over: after(over),
            latest: known.then(|| after(pace::SKEW * 3)),
            known,
        }
    }
}

/// Of what may be a lost call's, what is taken for it, and what a person must tell. Where others export too, time tells nothing:
/// the call may never have reached the vendor, and an export from the console have begun in the same second. If all have
/// failed, nothing was exported, whoever asked for it, and asking again makes nothing twice. `earlier`: how many attempts of the
/// same object came before this one.
fn told_apart(maybe: Vec<Task>, call: Call, earlier: u32, exported_by: Exporters) -> (Vec<Task>, Vec<Task>) {
    match exported_by {
        Exporters::OperatorOnly => {
            without_earlier(maybe, earlier).into_iter().partition(|task| task.is_likely_of(call))
        }
        Exporters::Anyone if maybe.iter().all(|task| task.status == "Failed") => (vec![], vec![]),
        Exporters::Anyone => (vec![], maybe),
    }
}

/// A vendor that fails at once leaves the tasks of earlier attempts so close to a call that time does not tell them from it. Each
/// of those attempts left one at most, which failed, or there were no later one; and the last task is not an earlier one's.
fn without_earlier(mut maybe: Vec<Task>, earlier: u32) -> Vec<Task> {
    // Of the same second, the one that failed is the earlier one.
    maybe.sort_by_key(|task| (task.created, task.status != "Failed"));
    let Some(last) = maybe.pop() else { return maybe };
    for _ in 0..earlier {
        if let Some(index) = maybe.iter().position(|task| task.status == "Failed") {
            maybe.remove(index);
        }
    }
    maybe.push(last);
    maybe
}

/// DescribeTasks with all its pages: without `MaxResults` it answers 20 rows, however many ids were asked for.
async fn describe(client: &Client, filter: &[(String, String)]) -> Result<Vec<Value>, CallError> {
    pages::all(ImageExport::ROW_ID, |token| page(client, filter, token), |_| false).await
}

/// One page of DescribeTasks.
async fn page(
    client: &Client,
    filter: &[(String, String)],
    token: Option<String>,
) -> Result<pages::Page, CallError> {
    let mut params = vec![("MaxResults".to_owned(), "100".to_owned())];
    params.extend_from_slice(filter);
    params.extend(token.map(|token| ("NextToken".to_owned(), token)));
    let page: Page = client.ecs("DescribeTasks", Effect::Read, &params).await?.value;
    Ok(pages::Page { rows: page.tasks.unwrap_or_default(), next: page.next_token, ..pages::Page::default() })
}

fn exports_of(image: &str) -> [(String, String); 1] {
    [("ResourceIds.1".to_owned(), image.to_owned())]
}

fn reference(image: &ImageRef) -> Reference {
    image.reference(super::ECS_IMAGE, "forProvider.imageId")
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

impl External for ImageExport {
    type Client = Client;
    type Match = ExportMatch;

    const ACTION: &'static str = "ExportImage";
    const BATCH: usize = 100;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(2 * 3600),
        why: "the vendor publishes no duration; give large images more",
    };
    const IMMEDIATE: bool = false;
    const FORGETS: bool = true;
    const TAKES: &'static [&'static str] = &[super::ECS_IMAGE];
    const ROW_ID: &'static str = "id";
    const UNTOLD: &'static [&'static str] = &["tosBucket", "tosPrefix"];

    fn spec(&self) -> &ImageSpec<ExportMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    fn region(&self, client: &Client) -> String {
        client.0.ecs.region.clone()
    }

    fn realm(&self, account: &AccountVendor) -> String {
        let account = account.volcengine.as_ref();
        let ecs = account.and_then(|account| account.ecs.as_ref());
        let region = account.map(|account| account.region.as_str()).unwrap_or_default();
        super::realm("ecs", ecs.and_then(|ecs| ecs.endpoint.as_deref()), region)
    }

    fn settle(&self, client: &Client) -> Duration {
        client.0.ecs.unlisted()
    }

    fn references(&self) -> Vec<Reference> {
        self.spec.for_provider.image_ref.iter().map(reference).collect()
    }

    fn resolved(&self, referents: &[Referent]) -> Self {
        let mut object = self.clone();
        let parameters = &mut object.spec.for_provider;
        if let Some(image) = &parameters.image_ref
            && let Some(referent) = reference(image).among(referents)
        {
            parameters.image_id = Some(referent.id.clone());
        }
        object
    }

    /// The image. Nothing of a bucket can be looked at: it is not ECS's, but TOS's, which is signed otherwise.
    fn preflight(&self, client: &Client) -> Vec<Preflight<Client>> {
        let image = self.spec.for_provider.image_id.iter().map(|image| Preflight {
            what: "image",
            region: self.asked_in(client),
            id: image.clone(),
            read: |client, _, ids| Box::pin(async move { images(&client, &ids).await }),
            batch: Self::BATCH,
            judge: unfit,
        });
        image.collect()
    }

    /// A task carries neither bucket nor prefix: two exports of one image could not be told apart.
    fn exclusive(&self) -> Option<String> {
        self.spec.for_provider.image_id.clone()
    }

    /// For people only: ExportImage takes no token.
    fn token(uid: &str, attempt: u32) -> String {
        format!("{uid}-{attempt}")
    }

    fn handle(id: &str) -> Handle {
        Handle::task(id)
    }

    /// An export that runs already, of an object that was let go of, from the console or from another cluster: a second
    /// one could not be told from it.
    async fn clear(&self, client: &Client) -> Result<(), CallError> {
        let Some(image) = &self.spec.for_provider.image_id else { return Ok(()) };
        let rows = describe(client, &exports_of(image)).await?;
        let mut tasks = rows.iter().filter_map(Task::read);
        let Some(task) = tasks.find(|task| task.may_be_export() && !task.has_ended()) else { return Ok(()) };
        Err(CallError::Refused(Refusal {
            action: Self::ACTION.into(),
            status: 200,
            code: "ExportRunning".into(),
            message: format!("task {} of {image} is {} and has not ended", task.id, task.status),
            request_id: String::new(),
            class: Class::Busy,
            hint: "Only one export of an image can run at a time; it is tried again / 同一镜像同时只能导出一次，稍后自动重试",
            retry_after: None,
        }))
    }

    async fn submit(&self, client: &Client, _: Permit) -> Result<Submitted, CallError> {
        let ExportParameters { image_id, image_ref: _, tos_bucket, tos_prefix } = &self.spec.for_provider;
        let given = [("ImageId", image_id), ("TOSBucket", tos_bucket), ("TOSPrefix", tos_prefix)];
        let params: Vec<_> =
            given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
        let answer = client.ecs::<Exported>(Self::ACTION, Effect::Create, &params).await?;
        Ok(Submitted { handle: Handle::task(answer.value.task_id), request_id: answer.request_id })
    }

    async fn recover(&self, client: &Client, _: &str, since: Timestamp) -> Result<Recovered, CallError> {
        let Some(image) = &self.spec.for_provider.image_id else { return Ok(Recovered::Undecidable(vec![])) };
        let rows = describe(client, &exports_of(image)).await?;
        // Where only the finalizer stands for the intent, the call may have been made long after `since`.
        let operation = self.status.as_ref().and_then(|status| status.operation.as_ref());
        let call = Call::new(since, operation.is_some_and(|operation| operation.started_at.is_some()));
        let tasks = rows.iter().filter_map(Task::read);
        let maybe = tasks.filter(|task| task.may_be_export() && task.may_be_of(call)).collect();
        let earlier = operation.map_or(0, |operation| operation.attempt.saturating_sub(1));
        let (likely, doubtful) = told_apart(maybe, call, earlier, client.0.exported_by);
        let handles = |tasks: Vec<Task>| tasks.into_iter().map(|task| Handle::task(task.id)).collect();
        Ok(Recovered::Doubtful { likely: handles(likely), doubtful: handles(doubtful) })
    }

    async fn observe(
        client: &Client,
        _: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let ids: Vec<_> = handles
            .iter()
            .zip(1..)
            .map(|(handle, index)| (format!("TaskIds.{index}"), handle.id().to_owned()))
            .collect();
        let rows = describe(client, &ids).await?;
        let by_id: HashMap<&str, &Value> =
            rows.iter().filter_map(|row| Some((row.get("id")?.as_str()?, row))).collect();
        let seen = |handle: &Handle| Some((handle.clone(), observation(by_id.get(handle.id())?)?));
        Ok(handles.iter().filter_map(seen).collect())
    }

    fn finished(&self, product: Product) -> Product {
        let ExportParameters { image_id, tos_bucket: Some(bucket), tos_prefix: Some(prefix), .. } =
            &self.spec.for_provider
        else {
            return product;
        };
        // The task knows what was exported; what the spec refers to may have another image by now.
        let exported = Some(text(&product.at_provider["resourceId"])).filter(|id| !id.is_empty());
        let Some(image) = exported.or_else(|| image_id.clone()) else { return product };
        Product { artifact: Some(format!("tos://{bucket}/{prefix}_{image}_system.qcow2")), ..product }
    }

    async fn find(&self, client: &Client, matching: &ExportMatch) -> Result<Vec<Handle>, CallError> {
        let rows = describe(client, &exports_of(&matching.image_id)).await?;
        let tasks = rows.iter().filter_map(Task::read).filter(|task| task.kind == "ExportImage");
        Ok(tasks.map(|task| Handle::task(task.id)).collect())
    }

    /// Tasks of every sort: what they are is not asked for, since the filter's words are not published.
    async fn page(client: &Client, _: &str, next: Option<String>) -> Result<pages::Page, CallError> {
        page(client, &[], next).await
    }

    fn existing(row: &Value) -> Option<Existing> {
        let task = Task::read(row).filter(|task| task.kind == "ExportImage")?;
        let image = text(&row["resourceId"]);
        Some(Existing::new(task.id, observation(row)?).named(&image).with("imageId", image))
    }

    /// Nothing of an export can differ: its task names only the image, which was asked for by id.
    fn compare(&self, _: &Client, _: &Product) -> Comparison {
        Comparison::Same
    }

    async fn amend(&self, _: &Client, _: &Product) -> Result<(), CallError> {
        Ok(())
    }

    /// There is no call that cancels a task or deletes one, and the exported file is the user's.
    fn remains(&self, handle: &Handle) -> Option<String> {
        let running = |status: &ImageStatus| {
            status.operation.as_ref().is_some_and(|operation| operation.state == OperationState::Running)
        };
        (!self.status.as_ref().is_some_and(running)).then(|| self.what_remains(handle))
    }

    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        if let Some(what) = self.remains(handle) {
            return Ok(Deletion::Remains(what));
        }
        match Self::observe(client, "", std::slice::from_ref(handle)).await?.get(handle) {
            Some(Observation::Building { percent, .. }) => {
                let far = percent.map(|percent| format!(" ({percent} %)")).unwrap_or_default();
                Ok(Deletion::Waiting(format!(
                    "the export {}{far} is running, and the vendor has no call to cancel it; this object goes when it ends, \
                     or at once with deletionPolicy: Retain",
                    handle.id()
                )))
            }
            None if super::may_be_unlisted(self.status.as_ref(), &client.0.ecs) => Ok(Deletion::Waiting(
                format!("the vendor does not list the export {} yet, which began a moment ago", handle.id()),
            )),
            _ => Ok(Deletion::Remains(self.what_remains(handle))),
        }
    }
}

impl ImageExport {
    fn what_remains(&self, handle: &Handle) -> String {
        let artifact = self.status.as_ref().and_then(|status| status.artifact.as_deref());
        let file = artifact.unwrap_or("what it wrote to the bucket");
        format!(
            "the vendor's record of task {} and {file} remain: the vendor has no call that deletes a task, and the file is yours; \
             delete it in TOS if it is not needed",
            handle.id()
        )
    }
}

/// Statuses: Pending, Running, Succeeded, Failed, UnknownStatus. A task has no field that says why it failed.
fn observation(row: &Value) -> Option<Observation> {
    let task = Task::read(row)?;
    let percent = task.percent;
    Some(match task.status.as_str() {
        "Succeeded" => Observation::Ready(Product { at_provider: row.clone(), ..Product::default() }),
        "Failed" => Observation::Failed(Failure {
            reason: "ExportFailed".into(),
            message: format!(
                "the vendor's task {} failed{}; the API gives no reason: check that ECS may write to the bucket (tos:PutObject), that \
                 the image is available, and the quotas / 厂商的导出任务 {} 失败，接口未给出原因，请检查 ECS 对存储桶的写权限 \
                 (tos:PutObject)、镜像是否可用以及配额",
                task.id,
                percent.map(|percent| format!(" at {percent} %")).unwrap_or_default(),
                task.id,
            ),
            left: None,
        }),
        "Pending" | "Running" => Observation::Building { percent, note: None },
        other => Observation::Building {
            percent,
            note: Some(format!("the vendor says that task {} is {other:?}", task.id)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode::lower_camel;
    use serde_json::json;

    #[test]
    fn every_status_has_a_meaning_and_none_is_a_panic() {
        let row = |status: &str| {
            lower_camel(json!({"Id": "t-1", "Type": "ExportImage", "Status": status, "Process": "40%"}))
        };
        assert!(matches!(
            observation(&row("Pending")),
            Some(Observation::Building { percent: Some(40), note: None })
        ));
        assert!(matches!(observation(&row("Running")), Some(Observation::Building { note: None, .. })));
        assert!(matches!(
            observation(&row("UnknownStatus")),
            Some(Observation::Building { note: Some(_), .. })
        ));
        assert!(matches!(observation(&row("Succeeded")), Some(Observation::Ready(_))));
        let Some(Observation::Failed(failure)) = observation(&row("Failed")) else { panic!() };
        assert!(
            failure.message.contains("t-1")
                && failure.message.contains("40 %")
                && failure.message.contains("tos:PutObject")
        );
    }

    #[test]
    fn a_row_that_is_not_as_documented_still_counts() {
        let task =
            Task::read(&json!({"id": "t-1", "type": null, "status": 7, "process": [], "createdAt": null}));
        let task = task.unwrap();
        assert!(task.may_be_export() && !task.has_ended());
        assert!(task.may_be_of(Call::new(Timestamp::now(), true)));
        let odd = observation(&json!({"id": "t-1", "status": null}));
        assert!(matches!(odd, Some(Observation::Building { note: Some(_), .. })), "{odd:?}");
    }

    #[test]
    fn only_what_is_known_to_make_an_export_fail_keeps_it_from_being_asked_for() {
        let row = |visibility: Value, status: Value| json!({ "imageId": "image-1", "visibility": visibility, "status": status });
        for (row, passes) in [
            (None, Some(false)),
            (Some(row("private".into(), "available".into())), None),
            (Some(row("private".into(), "creating".into())), Some(true)),
            (Some(row("private".into(), "error".into())), Some(false)),
            (Some(row("public".into(), "available".into())), Some(false)),
            (Some(row("shared".into(), "available".into())), None),
            (Some(row("private".into(), "a-new-word".into())), None),
            (Some(row(Value::Null, json!(7))), None),
            (Some(json!({})), None),
        ] {
            let obstacle = unfit(&Needed { id: "image-1", uid: "", born: None }, row.as_ref());
            assert_eq!(obstacle.as_ref().map(|obstacle| obstacle.passes), passes, "{row:?}");
            let why = obstacle.map(|obstacle| obstacle.why).unwrap_or_default();
            assert!(passes.is_none() || why.contains("image-1"), "{why}");
            assert!(passes != Some(false) || why.contains(" / "), "a person has to act: {why}");
        }
    }

    #[test]
    fn a_lost_call_s_task_is_told_by_when_it_began() {
        let call = Timestamp::from_second(1_000_000_000).unwrap();
        let earliest = call - pace::SKEW;
        let task = |status: &str, minutes: i64| {
            let created = (call + SignedDuration::from_mins(minutes)).to_string();
            Task::read(&json!({"id": "t", "type": "ExportImage", "status": status, "createdAt": created}))
                .unwrap()
        };
        for (status, minutes, known, expected) in [
            ("Running", -16, true, false),
            ("Running", -14, true, true),
            ("Succeeded", -14, true, true),
            ("Failed", -14, true, false),
            ("Failed", 0, true, true),
            ("Running", 15, true, true),
            ("Running", 29, true, true),
            ("Running", 31, true, false),
            ("Running", 31, false, true),
        ] {
            let is = task(status, minutes).may_be_of(Call::new(earliest, known));
            assert_eq!(is, expected, "{status} {minutes} {known}");
        }
        for (status, minutes, known, expected) in [
            ("Succeeded", -2, true, false),
            ("Running", -2, true, false),
            ("Succeeded", 0, true, true),
            ("Failed", 0, true, true),
            // What was begun from the console while it was looked for.
            ("Running", 2, true, false),
            ("Succeeded", 5, true, false),
            ("Succeeded", 0, false, false),
            ("Succeeded", 31, false, false),
            ("Running", 31, false, true),
            ("Failed", 0, false, true),
        ] {
            let is = task(status, minutes).is_likely_of(Call::new(earliest, known));
            assert_eq!(is, expected, "likely: {status} {minutes} {known}");
        }
        let undated = Task::read(&json!({"id": "t", "status": "Succeeded"})).unwrap();
        assert!(!undated.is_likely_of(Call::new(earliest, true)));
        assert!(
            task("Running", 0).may_be_of(Call::new(Timestamp::UNIX_EPOCH, false)),
            "a call of unknown time"
        );
    }

    #[test]
    fn where_others_export_too_a_person_tells_whose_a_task_is() {
        let at = Timestamp::from_second(1_000_000_000).unwrap();
        let call = Call::new(at - pace::SKEW, true);
        for (statuses, exported_by, expected) in [
            (&["Running"][..], Exporters::OperatorOnly, (1, 0)),
            (&["Running"], Exporters::Anyone, (0, 1)),
            (&["Succeeded", "Failed"], Exporters::Anyone, (0, 2)),
            (&["Failed", "Failed"], Exporters::Anyone, (0, 0)),
            (&["Failed"], Exporters::OperatorOnly, (1, 0)),
            (&[], Exporters::Anyone, (0, 0)),
        ] {
            let row = |status| json!({"id": "t", "type": "ExportImage", "status": status, "createdAt": at.to_string()});
            let tasks = statuses.iter().filter_map(|status| Task::read(&row(status))).collect();
            let (likely, doubtful) = told_apart(tasks, call, 0, exported_by);
            assert_eq!((likely.len(), doubtful.len()), expected, "{statuses:?} {exported_by:?}");
        }
    }

    #[test]
    fn what_earlier_attempts_left_is_not_the_lost_call_s() {
        let at = Timestamp::from_second(1_000_000_000).unwrap();
        let call = Call::new(at - pace::SKEW, true);
        for (statuses, earlier, expected) in [
            (&["Failed", "Running"][..], 1, &["1"][..]),
            (&["Failed", "Failed"], 1, &["1"]),
            (&["Failed"], 1, &["0"]),
            (&["Failed", "Failed", "Succeeded"], 3, &["2"]),
            // These are more than earlier attempts can have left, or none of theirs.
            (&["Failed", "Running"], 0, &["0", "1"]),
            (&["Failed", "Failed", "Running"], 1, &["1", "2"]),
            (&["Running", "Succeeded"], 1, &["0", "1"]),
            (&["Running", "Failed"], 1, &["0", "1"]),
        ] {
            let rows = (0_i64..).zip(statuses).map(|(second, status)| {
                let created = (at + SignedDuration::from_secs(second)).to_string();
                json!({"id": second.to_string(), "type": "ExportImage", "status": status, "createdAt": created})
            });
            // Vendors list the newest first.
            let mut tasks: Vec<_> = rows.filter_map(|row| Task::read(&row)).collect();
            tasks.reverse();
            let (likely, doubtful) = told_apart(tasks, call, earlier, Exporters::OperatorOnly);
            let likely: Vec<_> = likely.into_iter().map(|task| task.id).collect();
            assert_eq!(
                (likely, doubtful.len()),
                (expected.iter().map(|id| (*id).to_owned()).collect(), 0),
                "{statuses:?}"
            );
        }
    }

    #[test]
    fn the_file_is_named_after_the_image_that_was_exported() {
        let spec = json!({"forProvider": {"imageId": "image-new", "tosBucket": "b", "tosPrefix": "p"}});
        let export = ImageExport::new("e", serde_json::from_value(spec).unwrap());
        let artifact = |at_provider| export.finished(Product { at_provider, ..Product::default() }).artifact;
        let old = artifact(json!({"resourceId": "image-old"}));
        assert_eq!(old.as_deref(), Some("tos://b/p_image-old_system.qcow2"));
        assert_eq!(artifact(json!({})).as_deref(), Some("tos://b/p_image-new_system.qcow2"));
    }
}
