//! `AospImage`: a cloud phone's system image, built from partition images. Volcengine ACEP `BuildAOSPImage` 2025-05-01.

use super::Client;
use crate::{
    engine::{
        carpool::Carpool,
        external::{External, Submitted, Unusable},
        journal::Permit,
        pace,
        progress::{Comparison, Deletion, Failure, Handle, Observation, Product, Recovered},
    },
    image::{ImageSpec, ImageStatus, fixed, observe_needs_import},
    wire::{CallError, Class, Effect, Refusal, pages, table::lookup},
};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

// ---- What a user writes --------------------------------------------------------------------------------------------

const AGAIN: &str = "make a new AospImage";

/// A cloud phone image at Volcengine.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "AospImage",
    plural = "aospimages",
    shortname = "aosp",
    category = "cloudimages",
    namespaced,
    status = "ImageStatus",
    doc = "A system image for Volcengine's cloud phones, built from the images of its system and vendor partitions. It stands for the vendor's BuildAOSPImage.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether the image is built"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where it stands, in a word"),
    printcolumn(name = "Image ID", type_ = "string", json_path = ".status.imageId", description = "The vendor's id of the image"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    validation = fixed("imageFileFormat", AGAIN),
    validation = fixed("imageTosInfo", AGAIN),
    validation = fixed("imageUrlInfo", AGAIN),
    validation = fixed("productId", AGAIN)
)]
#[x_kube(
    validation = observe_needs_import(),
    validation = Rule::new("has(self.import) || self.forProvider.imageFileFormat != 'volc_tos' || (has(self.forProvider.imageTosInfo) && !has(self.forProvider.imageUrlInfo))").message("imageFileFormat volc_tos needs imageTosInfo, and no imageUrlInfo"),
    validation = Rule::new("has(self.import) || self.forProvider.imageFileFormat != 'url' || (has(self.forProvider.imageUrlInfo) && !has(self.forProvider.imageTosInfo))").message("imageFileFormat url needs imageUrlInfo, and no imageTosInfo"),
)]
pub struct AospImageSpec {
    /// What all kinds share.
    #[serde(flatten)]
    pub image: ImageSpec<AospMatch>,
    /// The parameters of BuildAOSPImage, under the vendor's names. Only `imageName` and `imageAnnotation` can be
    /// changed later.
    pub for_provider: AospParameters,
}

/// The parameters of BuildAOSPImage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AospParameters {
    /// The image's name, 1 to 128 characters. Can be changed. Example: `example-image-name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub image_name: Option<String>,

    /// A remark, 1 to 256 characters. Can be changed. At the vendor, the operator's marker in brackets follows it: it
    /// is how a build whose answer was lost is found again. Example: `nightly build`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("!self.contains('[cloudimages.dev/')").message("imageAnnotation must not contain [cloudimages.dev/: that is the operator's marker"))]
    pub image_annotation: Option<String>,

    /// Where the partition images are: `volc_tos` for `imageTosInfo`, `url` for `imageUrlInfo`. Default: `volc_tos`.
    /// Cannot be changed.
    #[serde(default)]
    pub image_file_format: ImageFileFormat,

    /// The partition images in a TOS bucket, with `imageFileFormat: volc_tos`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_tos_info: Option<TosInfo>,

    /// The partition images by URL, with `imageFileFormat: url`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_url_info: Option<UrlInfo>,

    /// The cloud phone product whose images are listed to find this one, 1 to 64 characters. Default: the account's
    /// `acep.productId`. Cannot be changed. Example: `"1749281594201"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub product_id: Option<String>,
}

/// Where the partition images are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "explained at AospParameters::image_file_format")]
pub enum ImageFileFormat {
    #[default]
    VolcTos,
    Url,
}

/// Partition images in a TOS bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TosInfo {
    /// The bucket, 1 to 63 characters. Example: `bucket`.
    #[schemars(length(min = 1, max = 63))]
    pub bucket: String,
    /// The bucket's region, 1 to 64 characters. Example: `cn-beijing`.
    #[schemars(length(min = 1, max = 64))]
    pub region: String,
    /// The bucket's endpoint, 1 to 256 characters. Example: `tos-cn-beijing.volces.com`.
    #[schemars(length(min = 1, max = 256))]
    pub endpoint: String,
    /// The image of the system partition.
    pub system_img: TosFile,
    /// The image of the vendor partition.
    pub vendor_img: TosFile,
}

/// A file in a TOS bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TosFile {
    /// The file's path in the bucket, 1 to 1024 characters. Example: `images/system.img`.
    #[schemars(length(min = 1, max = 1024))]
    pub file_path: String,
    /// The file's MD5, 1 to 64 characters; the vendor checks it. Default: not checked.
    /// Example: `0cc175b9c0f1b6a831c399e269772661`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub md5: Option<String>,
}

/// Partition images by URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlInfo {
    /// The image of the system partition.
    pub system_img: UrlFile,
    /// The image of the vendor partition.
    pub vendor_img: UrlFile,
}

/// A file by URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UrlFile {
    /// The file's URL, at most 2048 characters, at a host under `volces.com` or `aliyuncs.com`.
    /// Example: `https://bucket.tos-cn-beijing.volces.com/system.img`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^https?://([a-zA-Z0-9_-]+[.])*(volces|aliyuncs)[.]com(:[0-9]+)?([/?].*)?$')").message("url must be an http(s) URL at a host under volces.com or aliyuncs.com"))]
    pub url: String,
    /// The file's MD5, 1 to 64 characters; the vendor checks it. Default: not checked.
    /// Example: `0cc175b9c0f1b6a831c399e269772661`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub md5: Option<String>,
}

/// Which of the product's images to take over: the only one with this name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AospMatch {
    /// The image's name, exactly, 1 to 128 characters. Example: `example-image-name`.
    #[schemars(length(min = 1, max = 128))]
    pub image_name: String,
}

// ---- What the vendor speaks ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Built {
    image_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    row: Option<Vec<Value>>,
    #[serde(default)]
    next_token: Option<String>,
}

/// A row of ListAOSPImage, keys in lowerCamelCase.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    image_id: String,
    #[serde(default)]
    image_name: String,
    /// What was sent as `ImageAnnotation`, by all that is known.
    #[serde(default)]
    image_remark: Option<String>,
    #[serde(default)]
    image_status: i64,
    #[serde(default)]
    image_status_str: Option<Value>,
    /// Seconds since the epoch.
    #[serde(default)]
    create_at: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteItems {
    #[serde(default)]
    items: Vec<DeleteItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteItem {
    image_id: String,
    #[serde(default)]
    err_code: i64,
    #[serde(default)]
    error_msg: String,
}

/// What DeleteAOSPImage says of one image: the code, 0 for none, its text and the request's id.
#[derive(Clone, Debug)]
pub struct Deleted {
    code: i64,
    message: String,
    request_id: Option<String>,
}

/// DeleteAOSPImage takes at most 10 ids.
const DELETES: usize = 10;

/// ListAOSPImage of the product's own images, with all its pages; rows in lowerCamelCase.
async fn list(client: &Client, product: &str, mut body: Value) -> Result<Vec<Value>, CallError> {
    body["ProductId"] = json!(product);
    body["IsPublic"] = json!(false);
    body["MaxResults"] = json!(100);
    let read = |token: Option<String>| {
        let mut body = body.clone();
        if let Some(token) = token {
            body["NextToken"] = json!(token);
        }
        async move {
            let page: Page = client.acep("ListAOSPImage", Effect::Read, &body).await?.value;
            Ok(pages::Page { rows: page.row.unwrap_or_default(), next: page.next_token })
        }
    };
    pages::all("imageId", read, |_| false).await
}

impl Client {
    /// Deletes in calls that all objects share which are being deleted at that moment.
    async fn delete_image(&self, id: &str) -> Result<Option<Deleted>, CallError> {
        // Weak, or client and pool would keep each other alive.
        let inner = std::sync::Arc::downgrade(&self.0);
        let pool = self.0.deletes.get_or_init(|| {
            Carpool::start(DELETES, pace::CAR_WINDOW, move |ids: Vec<String>| {
                let client = inner.upgrade().map(Client);
                async move {
                    let client = client
                        .ok_or_else(|| CallError::NotSent("the connection was replaced meanwhile".into()))?;
                    let answer = client
                        .acep::<DeleteItems>(
                            "DeleteAOSPImage",
                            Effect::Change,
                            &json!({ "ImageIdList": ids }),
                        )
                        .await?;
                    let request_id = answer.request_id;
                    let deleted = |item: DeleteItem| Deleted {
                        code: item.err_code,
                        message: item.error_msg,
                        request_id: request_id.clone(),
                    };
                    Ok(answer
                        .value
                        .items
                        .into_iter()
                        .map(|item| (item.image_id.clone(), deleted(item)))
                        .collect())
                }
            })
        });
        pool.ask(id.to_owned()).await
    }
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

/// What the marker begins with, after the user's own text.
const MARKER: &str = "[cloudimages.dev/";

impl External for AospImage {
    type Client = Client;
    type Match = AospMatch;

    const ACTION: &'static str = "BuildAOSPImage";
    const BATCH: usize = 100;
    const IMMEDIATE: bool = false;

    fn spec(&self) -> &ImageSpec<AospMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    /// Lists are of one product.
    fn lane(&self, client: &Client) -> String {
        self.spec.for_provider.product_id.clone().or_else(|| client.0.product_id.clone()).unwrap_or_default()
    }

    fn settle(&self, client: &Client) -> Duration {
        client.0.acep.list_delay
    }

    /// Without a product id the image could be built, but never found again.
    fn check(&self, client: &Client) -> Result<(), Unusable> {
        if self.lane(client).is_empty() {
            let message = "ListAOSPImage needs a product id, and there is none: set acep.productId in the account, or forProvider.productId";
            return Err(Unusable::new("ProductIdMissing", message));
        }
        Ok(())
    }

    /// Goes into the annotation, in brackets.
    fn token(uid: &str, attempt: u32) -> String {
        format!("{uid}-{attempt}")
    }

    async fn submit(&self, client: &Client, permit: Permit) -> Result<Submitted, CallError> {
        let answer = client
            .acep::<Built>(Self::ACTION, Effect::Create, &self.spec.for_provider.to_request(permit.token()))
            .await?;
        Ok(Submitted { handle: Handle::image(answer.value.image_id), request_id: answer.request_id })
    }

    async fn recover(&self, client: &Client, token: &str, since: Timestamp) -> Result<Recovered, CallError> {
        let rows = list(client, &self.lane(client), json!({})).await?;
        let rows: Vec<_> = rows.iter().filter_map(read).collect();
        Ok(self.spec.for_provider.candidates(&rows, token, since))
    }

    async fn observe(
        client: &Client,
        product: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let ids: Vec<_> = handles.iter().map(Handle::id).collect();
        let rows = list(client, product, json!({ "ImageIdList": ids })).await?;
        let by_id: HashMap<&str, &Value> =
            rows.iter().filter_map(|row| Some((row.get("imageId")?.as_str()?, row))).collect();
        let seen = |handle: &Handle| Some((handle.clone(), observation(by_id.get(handle.id())?)?));
        Ok(handles.iter().filter_map(seen).collect())
    }

    /// Whether the vendor's filter takes the name exactly is not known, so it is compared here as well.
    async fn find(&self, client: &Client, matching: &AospMatch) -> Result<Vec<Handle>, CallError> {
        let rows = list(client, &self.lane(client), json!({ "ImageName": matching.image_name })).await?;
        let named = rows.iter().filter_map(read).filter(|row| row.image_name == matching.image_name);
        Ok(named.map(|row| Handle::image(row.image_id)).collect())
    }

    fn compare(&self, _: &Client, product: &Product) -> Comparison {
        let Some(row) = read(&product.at_provider) else { return Comparison::Same };
        let differs = self.spec.for_provider.differences(&row, self.spec.image.import.is_some());
        if differs.is_empty() { Comparison::Same } else { Comparison::Amendable(differs) }
    }

    async fn amend(&self, client: &Client, product: &Product) -> Result<(), CallError> {
        let Some(row) = read(&product.at_provider) else { return Ok(()) };
        let AospParameters { image_name, image_annotation, .. } = &self.spec.for_provider;
        let (_, marker) = split(row.image_remark.as_deref().unwrap_or_default());
        let mut body = json!({ "ImageId": row.image_id });
        if let Some(name) = image_name {
            body["ImageName"] = json!(name);
        }
        body["ImageAnnotation"] = json!(join(image_annotation.as_deref().unwrap_or_default(), marker));
        client.acep::<IgnoredAny>("UpdateAOSPImage", Effect::Change, &body).await.map(drop)
    }

    /// What the codes mean is not documented, so a "no" is checked against the list.
    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let deleted = client.delete_image(handle.id()).await?;
        if matches!(deleted, Some(Deleted { code: 0, .. })) {
            return Ok(Deletion::Underway);
        }
        let still_there = Self::observe(client, &self.lane(client), std::slice::from_ref(handle)).await?;
        match deleted {
            _ if still_there.is_empty() => Ok(Deletion::Gone),
            None => Ok(Deletion::Underway),
            Some(Deleted { code, message, request_id }) => {
                let code = code.to_string();
                let (class, hint) = lookup(&[super::errors::TABLE], &code, "");
                let request_id = request_id.unwrap_or_default();
                // That a table calls it final must not end a deletion.
                let class = if class.is_final() { Class::Unlisted } else { class };
                Err(CallError::Refused(Refusal {
                    action: "DeleteAOSPImage".into(),
                    status: 200,
                    code,
                    message,
                    request_id,
                    class,
                    hint,
                    retry_after: None,
                }))
            }
        }
    }
}

impl AospParameters {
    fn to_request(&self, token: &str) -> Value {
        let Self {
            image_name,
            image_annotation,
            image_file_format,
            image_tos_info,
            image_url_info,
            product_id: _,
        } = self;
        let marker = format!("{MARKER}{token}]");
        let mut body = json!({
            "ImageAnnotation": join(image_annotation.as_deref().unwrap_or_default(), &marker),
            "ImageFileFormat": image_file_format,
        });
        if let Some(name) = image_name {
            body["ImageName"] = json!(name);
        }
        if let Some(TosInfo { bucket, region, endpoint, system_img, vendor_img }) = image_tos_info {
            let file = |TosFile { file_path, md5 }: &TosFile| {
                with_md5(json!({ "FilePath": file_path }), md5.as_ref())
            };
            body["ImageTosInfo"] = json!({
                "Bucket": bucket, "Region": region, "Endpoint": endpoint, "SystemImg": file(system_img), "VendorImg": file(vendor_img),
            });
        }
        if let Some(UrlInfo { system_img, vendor_img }) = image_url_info {
            let file = |UrlFile { url, md5 }: &UrlFile| with_md5(json!({ "Url": url }), md5.as_ref());
            body["ImageUrlInfo"] = json!({ "SystemImg": file(system_img), "VendorImg": file(vendor_img) });
        }
        body
    }

    /// Images that bear this object's marker, of whatever attempt. Without one: if there are images that may be it and
    /// whose annotation did not come back, nobody can tell.
    fn candidates(&self, rows: &[Row], token: &str, since: Timestamp) -> Recovered {
        let object = token.rsplit_once('-').map_or(token, |(uid, _)| uid);
        let mark = format!("{MARKER}{object}-");
        let marked: Vec<_> = rows
            .iter()
            .filter(|row| row.image_remark.as_deref().is_some_and(|remark| remark.contains(&mark)))
            .collect();
        if !marked.is_empty() {
            return Recovered::Candidates(marked.iter().map(|row| Handle::image(&row.image_id)).collect());
        }
        let young = |row: &&Row| row.create_at.is_none_or(|created| created >= since.as_second());
        let unmarked = |row: &&Row| row.image_remark.as_deref().is_none_or(str::is_empty);
        let named = |row: &&Row| self.image_name.as_ref().is_none_or(|name| *name == row.image_name);
        let maybe: Vec<_> = rows
            .iter()
            .filter(young)
            .filter(unmarked)
            .filter(named)
            .map(|row| row.image_id.clone())
            .collect();
        if maybe.is_empty() { Recovered::Candidates(vec![]) } else { Recovered::Undecidable(maybe) }
    }

    fn differences(&self, row: &Row, imported: bool) -> Vec<String> {
        let mut fields = vec![];
        if self.image_name.as_ref().is_some_and(|name| *name != row.image_name) {
            fields.push("imageName".to_owned());
        }
        let remark = row.image_remark.as_deref().unwrap_or_default();
        let (text, _) = split(remark);
        let wanted = self.image_annotation.as_deref();
        // An annotation that did not come back says nothing; an import that asks for none keeps its own.
        let comparable = if imported { wanted.is_some() } else { !remark.is_empty() };
        if comparable && text != wanted.unwrap_or_default() {
            fields.push("imageAnnotation".to_owned());
        }
        fields
    }
}

fn with_md5(mut file: Value, md5: Option<&String>) -> Value {
    if let Some(md5) = md5 {
        file["MD5"] = json!(md5);
    }
    file
}

/// The user's text and, after it, the marker.
fn join(text: &str, marker: &str) -> String {
    match (text, marker) {
        ("", marker) => marker.to_owned(),
        (text, "") => text.to_owned(),
        (text, marker) => format!("{text} {marker}"),
    }
}

/// The reverse of [`join`].
fn split(remark: &str) -> (&str, &str) {
    match remark.find(MARKER) {
        Some(at) => (remark[..at].trim_end(), &remark[at..]),
        None => (remark, ""),
    }
}

fn read(row: &Value) -> Option<Row> {
    Row::deserialize(row).ok()
}

/// ImageStatus: 1 importing or queued, 2 building, 11 built, -1 failed. Others are shown and waited out.
fn observation(value: &Value) -> Option<Observation> {
    let row = read(value)?;
    Some(match row.image_status {
        1 | 2 => Observation::Building { percent: None, note: None },
        11 => Observation::Ready(Product {
            image_id: Some(row.image_id),
            artifact: None,
            at_provider: value.clone(),
        }),
        -1 => Observation::Failed(Failure {
            reason: "BuildFailed".into(),
            message: format!(
                "the vendor could not build {}{}; check the partition images, their paths and their MD5",
                row.image_id,
                said(row.image_status_str.as_ref())
            ),
        }),
        other => Observation::Building {
            percent: None,
            note: Some(format!(
                "the vendor says that {} has status {other}{}",
                row.image_id,
                said(row.image_status_str.as_ref())
            )),
        },
    })
}

fn said(text: Option<&Value>) -> String {
    match text {
        Some(Value::String(text)) if !text.is_empty() => format!(" ({text})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, name: &str, remark: Option<&str>, created: i64) -> Row {
        Row {
            image_id: id.into(),
            image_name: name.into(),
            image_remark: remark.map(Into::into),
            image_status: 2,
            image_status_str: None,
            create_at: Some(created),
        }
    }

    #[test]
    fn the_users_text_and_the_marker_come_apart_again() {
        for (text, marker) in [
            ("", "[cloudimages.dev/u-1]"),
            ("nightly", "[cloudimages.dev/u-1]"),
            ("nightly", ""),
            ("", ""),
            ("夜间 [1]", "[cloudimages.dev/u-2]"),
        ] {
            assert_eq!(split(&join(text, marker)), (text, marker));
        }
    }

    #[test]
    fn drift_ignores_the_marker_and_an_annotation_that_does_not_come_back() {
        let parameters = AospParameters {
            image_name: Some("n".into()),
            image_annotation: Some("mine".into()),
            ..Default::default()
        };
        assert!(
            parameters.differences(&row("i", "n", Some("mine [cloudimages.dev/u-1]"), 0), false).is_empty()
        );
        assert!(parameters.differences(&row("i", "n", None, 0), false).is_empty());
        assert_eq!(
            parameters.differences(&row("i", "x", Some("other [cloudimages.dev/u-1]"), 0), false),
            ["imageName", "imageAnnotation"]
        );
        let silent = AospParameters::default();
        assert_eq!(
            silent.differences(&row("i", "n", Some("old [cloudimages.dev/u-1]"), 0), false),
            ["imageAnnotation"]
        );
        assert!(silent.differences(&row("i", "n", Some("theirs"), 0), true).is_empty());
    }

    #[test]
    fn a_lost_build_is_found_by_its_marker_or_not_guessed() {
        let since = Timestamp::from_second(10_000).unwrap();
        let parameters = AospParameters { image_name: Some("n".into()), ..Default::default() };
        let find = |rows: &[Row]| parameters.candidates(rows, "a-b-c-2", since);
        let candidates =
            |ids: &[&str]| Recovered::Candidates(ids.iter().copied().map(Handle::image).collect());
        let strangers =
            || [row("x", "n", Some("text"), 10_001), row("y", "n", None, 1), row("z", "other", None, 10_001)];
        assert_eq!(find(&strangers()), candidates(&[]), "another's remark, too old, another name");
        let mut rows = Vec::from(strangers());
        rows.push(row("ours", "n", Some("text [cloudimages.dev/a-b-c-2]"), 10_001));
        assert_eq!(find(&rows), candidates(&["ours"]));
        rows.push(row("earlier", "n", Some("[cloudimages.dev/a-b-c-1]"), 9_000));
        assert_eq!(find(&rows), candidates(&["ours", "earlier"]));
        assert_eq!(find(&[row("mute", "n", Some(""), 10_001)]), Recovered::Undecidable(vec!["mute".into()]));
    }

    #[test]
    fn every_status_has_a_meaning() {
        let seen = |status: i64| {
            observation(&json!({"imageId": "i", "imageStatus": status, "imageStatusStr": "odd"})).unwrap()
        };
        assert!(matches!(seen(1), Observation::Building { note: None, .. }));
        assert!(matches!(seen(2), Observation::Building { note: None, .. }));
        assert!(matches!(seen(11), Observation::Ready(_)));
        assert!(matches!(seen(-1), Observation::Failed(_)));
        let Observation::Building { note: Some(note), .. } = seen(7) else { panic!() };
        assert!(note.contains('7') && note.contains("odd"));
    }

    #[test]
    fn a_request_is_as_the_page_shows_it() {
        let parameters: AospParameters = serde_json::from_value(json!({
            "imageName": "example-image-name", "imageAnnotation": "text",
            "imageTosInfo": {"bucket": "bucket", "region": "cn-beijing", "endpoint": "e", "systemImg": {"filePath": "s", "md5": "m"}, "vendorImg": {"filePath": "v"}},
        }))
        .unwrap();
        let expected = json!({
            "ImageName": "example-image-name", "ImageAnnotation": "text [cloudimages.dev/u-1]", "ImageFileFormat": "volc_tos",
            "ImageTosInfo": {"Bucket": "bucket", "Region": "cn-beijing", "Endpoint": "e", "SystemImg": {"FilePath": "s", "MD5": "m"}, "VendorImg": {"FilePath": "v"}},
        });
        assert_eq!(parameters.to_request("u-1"), expected);
    }
}
