//! `AospImage`: a cloud phone's system image, built from partition images. Volcengine ACEP `BuildAOSPImage` 2025-05-01.

use super::{Client, text};
use crate::{
    account::AccountVendor,
    engine::{
        batcher::Batcher,
        existing::{Existing, Mark},
        external::{External, Submitted, Timeout, Unusable},
        journal::Permit,
        pace,
        preflight::{Needed, Obstacle, Preflight},
        progress::{
            Comparison, Deletion, Difference, Failure, Handle, Hindrance, Observation, Product, Recovered,
        },
    },
    image::{ImageSpec, ImageStatus, fixed, fixed_once_found, kept},
    vendors::{normalise, volcengine::BUCKET},
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
    printcolumn(name = "Image ID", type_ = "string", json_path = ".status.imageId", description = "The vendor's id of the image"),
    validation = fixed("imageFileFormat", AGAIN),
    validation = fixed("imageTosInfo", AGAIN),
    validation = fixed("imageUrlInfo", AGAIN),
    validation = fixed_once_found("productId", AGAIN),
    validation = kept("imageName")
)]
#[x_kube(
    validation = Rule::new("has(self.import) || self.forProvider.imageFileFormat != 'volc_tos' || has(self.forProvider.imageTosInfo)").message("imageFileFormat volc_tos needs imageTosInfo"),
    validation = Rule::new("has(self.import) || self.forProvider.imageFileFormat != 'url' || has(self.forProvider.imageUrlInfo)").message("imageFileFormat url needs imageUrlInfo"),
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
    /// The image's name, 1 to 256 characters (a limit of this operator, not published by the vendor). Can be changed, not
    /// taken out again. Example: `example-image-name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub image_name: Option<String>,

    /// A remark, 1 to 1024 characters (a limit of this operator, not published by the vendor). Can be changed; taken out of the
    /// spec, it is removed at the vendor, and one that was never in the spec is somebody else's and stays. At the vendor, the
    /// operator's marker in brackets, of about 60 characters, stands before it: it is how a build whose answer was lost is
    /// found again. How long a remark may be is not documented: if the vendor cuts this one, the object says so, then shorten
    /// it. Example: `nightly build`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("!self.contains('[cloudimages.dev/')").message("imageAnnotation must not contain [cloudimages.dev/: that is the operator's marker"))]
    pub image_annotation: Option<String>,

    /// Where the partition images are: `volc_tos` for `imageTosInfo`, `url` for `imageUrlInfo`. Both may be given, as in
    /// the vendor's own example; only the one that this asks for is sent. Default: `volc_tos`. Cannot be changed.
    #[serde(default)]
    pub image_file_format: ImageFileFormat,

    /// The partition images in a TOS bucket, with `imageFileFormat: volc_tos`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_tos_info: Option<TosInfo>,

    /// The partition images by URL, with `imageFileFormat: url`. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_url_info: Option<UrlInfo>,

    /// The cloud phone product whose images are listed to find this one, 1 to 64 characters (a limit of this operator).
    /// Default: the account's `acep.productId`. Cannot be changed, unless the vendor does not know it. Example: `"1749281594201"`.
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TosInfo {
    /// The bucket: 3 to 63 lower-case letters, digits and hyphens, first and last a letter or digit. Example: `bucket`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new(BUCKET).message("bucket must be 3 to 63 lower-case letters, digits and hyphens, first and last a letter or digit"))]
    pub bucket: String,
    /// The bucket's region, 1 to 64 characters (a limit of this operator). Example: `cn-beijing`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9-]*$')").message("region must be the id of a region: letters, digits and hyphens, for example cn-beijing"))]
    pub region: String,
    /// The bucket's endpoint, 1 to 512 characters (a limit of this operator). Example: `tos-cn-beijing.volces.com`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[^\\\\s@&]*$')").message("endpoint must be an address without user, password and blanks, for example tos-cn-beijing.volces.com"))]
    pub endpoint: String,
    /// The image of the system partition.
    pub system_img: TosFile,
    /// The image of the vendor partition.
    pub vendor_img: TosFile,
}

/// A file in a TOS bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TosFile {
    /// The file's path in the bucket, 1 to 2048 characters (a limit of this operator, not published by the vendor). Example:
    /// `images/system.img`.
    #[schemars(length(min = 1, max = 2048))]
    pub file_path: String,
    /// The file's MD5, 32 hexadecimal digits; the vendor checks it. Default: not checked.
    /// Example: `0cc175b9c0f1b6a831c399e269772661`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{32}$')").message("md5 must be 32 hexadecimal digits"))]
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
    /// The file's URL, without blanks, at a host under `volces.com` or `aliyuncs.com`. At most 8192
    /// characters (a limit of this operator, not published by the vendor), since presigned URLs are long.
    /// Example: `https://bucket.tos-cn-beijing.volces.com/system.img`.
    #[schemars(length(min = 1, max = 8192))]
    #[x_kube(validation = Rule::new("self.matches('^https?://([a-zA-Z0-9_-]+[.])*(volces|aliyuncs)[.]com(:[0-9]+)?([/?][^\\\\s]*)?$')").message("url must be an http(s) URL without blanks at a host under volces.com or aliyuncs.com"))]
    pub url: String,
    /// The file's MD5, 32 hexadecimal digits; the vendor checks it. Default: not checked.
    /// Example: `0cc175b9c0f1b6a831c399e269772661`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-fA-F]{32}$')").message("md5 must be 32 hexadecimal digits"))]
    pub md5: Option<String>,
}

/// Which of the product's images to take over: the only one with this name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AospMatch {
    /// The image's name, exactly, 1 to 256 characters. Example: `example-image-name`.
    #[schemars(length(min = 1, max = 256))]
    pub image_name: String,
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

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

/// A row of ListAOSPImage. What is not as the documents have it is empty.
#[derive(Debug)]
struct Row {
    id: String,
    name: String,
    /// What was sent as `ImageAnnotation`, by all that is known.
    remark: String,
    status: Option<i64>,
    status_text: String,
    /// Seconds since the epoch.
    created: Option<i64>,
}

impl Row {
    /// `None`: it has no id. Keys in lowerCamelCase.
    fn read(row: &Value) -> Option<Self> {
        let number = |key: &str| text(&row[key]).trim().parse().ok();
        Some(Self {
            id: row.get("imageId")?.as_str()?.to_owned(),
            name: text(&row["imageName"]),
            remark: text(&row["imageRemark"]),
            status: number("imageStatus"),
            status_text: text(&row["imageStatusStr"]),
            created: number("createAt"),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteItems {
    #[serde(default)]
    items: Option<Vec<Value>>,
}

/// What DeleteAOSPImage says of one image: the code, `0` for none, its text and the request's id.
#[derive(Clone, Debug)]
pub struct Deleted {
    code: String,
    message: String,
    request_id: Option<String>,
}

/// DeleteAOSPImage takes at most 10 ids.
const DELETES: usize = 10;

/// ListAOSPImage of the product's own images, with all its pages; rows in lowerCamelCase.
async fn list(client: &Client, product: &str, body: Value) -> Result<Vec<Value>, CallError> {
    list_of(client, product, false, body).await
}

/// ListAOSPImage of the product's own images or of the public ones: an answer has only either.
async fn list_of(
    client: &Client,
    product: &str,
    public: bool,
    mut body: Value,
) -> Result<Vec<Value>, CallError> {
    body["ProductId"] = json!(product);
    body["IsPublic"] = json!(public);
    body["MaxResults"] = json!(100);
    let read = |token| page(client, body.clone(), token);
    pages::all(AospImage::ROW_ID, read, |_| false).await
}

/// One page of ListAOSPImage.
async fn page(client: &Client, mut body: Value, token: Option<String>) -> Result<pages::Page, CallError> {
    if let Some(token) = token {
        body["NextToken"] = json!(token);
    }
    let page: Page = client.acep("ListAOSPImage", Effect::Read, &body).await?.value;
    Ok(pages::Page { rows: page.row.unwrap_or_default(), next: page.next_token, ..pages::Page::default() })
}

/// Whether ListAOSPImage knows a product: its refusal, which is the answer too.
async fn ask_for(client: &Client, product: String) -> Result<HashMap<String, Value>, CallError> {
    let body = json!({ "ProductId": product, "IsPublic": false, "MaxResults": 1 });
    let answer = match page(client, body, None).await {
        Ok(_) => json!({}),
        Err(CallError::Refused(refusal)) if refusal.class == Class::NotFound => {
            json!({ "refusal": refusal.to_string() })
        }
        Err(error) => return Err(error),
    };
    Ok(HashMap::from([(product, answer)]))
}

fn unknown_product(needed: &Needed<'_>, answer: Option<&Value>) -> Option<Obstacle> {
    let product = needed.id;
    let refusal = answer?.get("refusal")?.as_str()?.trim_end_matches('.');
    Some(Obstacle::lasting(format!(
        "ListAOSPImage does not take the product id {product}, so that what is built could not be found again ({refusal}); set \
         forProvider.productId, or acep.productId in the account, to the product's id in the console / 厂商不认可 productId \
         {product}，镜像制作后将无法查到；请将 forProvider.productId 或账号的 acep.productId 改为控制台中的产品 ID"
    )))
}

impl Client {
    /// Deletes in calls that all objects share which are being deleted at that moment.
    async fn delete_image(&self, id: &str) -> Result<Option<Deleted>, CallError> {
        // Weak, or client and pool would keep each other alive.
        let inner = std::sync::Arc::downgrade(&self.0);
        let pool = self.0.deletes.get_or_init(|| {
            Batcher::start(DELETES, pace::BATCH_WINDOW, move |ids: Vec<String>| {
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
                    let deleted = |item: &Value| Deleted {
                        code: text(&item["ErrCode"]),
                        message: text(&item["ErrorMsg"]),
                        request_id: request_id.clone(),
                    };
                    let items = answer.value.items.unwrap_or_default();
                    Ok(items.iter().map(|item| (text(&item["ImageId"]), deleted(item))).collect())
                }
            })
        });
        pool.ask(id.to_owned()).await
    }
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

/// What the marker begins with.
const MARKER: &str = "[cloudimages.dev/";

impl External for AospImage {
    type Client = Client;
    type Match = AospMatch;

    const ACTION: &'static str = "BuildAOSPImage";
    const BATCH: usize = 100;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(2 * 3600),
        why: "the vendor publishes no duration; give large images more",
    };
    const IMMEDIATE: bool = false;
    const LAGS: bool = true;
    const ROW_ID: &'static str = "imageId";
    const PLACE: Option<&'static str> = Some("productId");
    const MARKED: bool = true;
    const UNTOLD: &'static [&'static str] = &["imageFileFormat", "imageTosInfo", "imageUrlInfo"];
    const AMENDS: &'static [(&'static str, &'static str)] =
        &[("imageName", "UpdateAOSPImage"), (REMARK, "UpdateAOSPImage")];

    fn spec(&self) -> &ImageSpec<AospMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    /// Lists are of one product.
    fn region(&self, client: &Client) -> String {
        self.spec.for_provider.product_id.clone().or_else(|| client.0.product_id.clone()).unwrap_or_default()
    }

    fn realm(&self, account: &AccountVendor) -> String {
        let acep = account.volcengine.as_ref().and_then(|account| account.acep.as_ref());
        let region = acep.and_then(|acep| acep.region.as_deref()).unwrap_or(super::ACEP_REGION);
        super::realm("acep", acep.and_then(|acep| acep.endpoint.as_deref()), region)
    }

    fn settle(&self, client: &Client) -> Duration {
        client.0.acep.unlisted()
    }

    /// Without a product id the image could be built, but never found again.
    fn check(&self, client: &Client) -> Result<(), Unusable> {
        if self.region(client).is_empty() {
            let message = "ListAOSPImage needs a product id, and there is none: set acep.productId in the account, or forProvider.productId";
            return Err(Unusable::new("ProductIdMissing", message));
        }
        Ok(())
    }

    /// The product: an image of one that the vendor does not know could be built, and never be found.
    fn preflight(&self, client: &Client) -> Vec<Preflight<Client>> {
        vec![Preflight {
            what: "product",
            region: self.region(client),
            id: self.region(client),
            read: |client, product, _| Box::pin(async move { ask_for(&client, product).await }),
            batch: Self::BATCH,
            judge: unknown_product,
        }]
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
        let rows = list(client, &self.region(client), json!({})).await?;
        let rows: Vec<_> = rows.iter().filter_map(Row::read).collect();
        Ok(candidates(&rows, token, since, self.name_sent()))
    }

    async fn leftovers(&self, client: &Client, token: &str) -> Result<Vec<Handle>, CallError> {
        let rows = list(client, &self.region(client), json!({})).await?;
        let rows: Vec<_> = rows.iter().filter_map(Row::read).collect();
        Ok(earlier(&rows, token))
    }

    async fn observe(
        client: &Client,
        product: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let ids: Vec<_> = handles.iter().map(Handle::id).collect();
        let mut rows = list(client, product, json!({ "ImageIdList": ids })).await?;
        let is_there = |id: &&str| rows.iter().any(|row| row["imageId"].as_str() == Some(id));
        // Public images can be observed, and are listed apart.
        let others: Vec<_> = ids.into_iter().filter(|id| !is_there(id)).collect();
        if !others.is_empty() {
            rows.extend(list_of(client, product, true, json!({ "ImageIdList": others })).await?);
        }
        let by_id: HashMap<&str, &Value> =
            rows.iter().filter_map(|row| Some((row.get("imageId")?.as_str()?, row))).collect();
        let seen = |handle: &Handle| Some((handle.clone(), observation(by_id.get(handle.id())?)?));
        Ok(handles.iter().filter_map(seen).collect())
    }

    fn named(&self) -> Vec<String> {
        self.spec.for_provider.image_annotation.iter().map(|_| REMARK.to_owned()).collect()
    }

    /// Whether the vendor's filter takes the name exactly is not known, so it is compared here as well.
    async fn find(&self, client: &Client, matching: &AospMatch) -> Result<Vec<Handle>, CallError> {
        let rows = list(client, &self.region(client), json!({ "ImageName": matching.image_name })).await?;
        let named =
            rows.iter().filter_map(Row::read).filter(|row| normalise::same(&matching.image_name, &row.name));
        Ok(named.map(|row| Handle::image(row.id)).collect())
    }

    async fn made_for(
        &self,
        client: &Client,
        handle: &Handle,
        seen: &Observation,
    ) -> Result<Option<String>, CallError> {
        let row = if let Some(product) = seen.product() {
            Row::read(&product.at_provider)
        } else {
            let only = json!({ "ImageIdList": [handle.id()] });
            list(client, &self.region(client), only).await?.first().and_then(Row::read)
        };
        Ok(row.and_then(|row| owner(&split(&row.remark).0)))
    }

    async fn page(client: &Client, product: &str, next: Option<String>) -> Result<pages::Page, CallError> {
        page(client, json!({ "ProductId": product, "IsPublic": false, "MaxResults": 100 }), next).await
    }

    fn existing(value: &Value) -> Option<Existing> {
        let row = Row::read(value)?;
        let (mark, remark) = split(&row.remark);
        let seen = Existing::new(&row.id, observation(value)?).named(&row.name);
        Some(Existing {
            mark: owner(&mark).map(Mark::Of),
            ..seen.with("imageName", row.name).with(REMARK, remark)
        })
    }

    fn compare(&self, _: &Client, product: &Product) -> Comparison {
        let Some(row) = Row::read(&product.at_provider) else { return Comparison::Same };
        let differs = self.spec.for_provider.differences(&row, self.whose());
        if differs.is_empty() { Comparison::Same } else { Comparison::Amendable(differs) }
    }

    async fn amend(&self, client: &Client, product: &Product) -> Result<(), CallError> {
        let Some(row) = Row::read(&product.at_provider) else { return Ok(()) };
        let operation = self.status.as_ref().and_then(|status| status.operation.as_ref());
        let token = operation.map(|operation| operation.token.as_str());
        let body = self.spec.for_provider.to_update(&row, self.whose(), token);
        client.acep::<IgnoredAny>("UpdateAOSPImage", Effect::Change, &body).await.map(drop)
    }

    /// What the codes mean is not documented, so a "no" is checked against the list.
    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let deleted = match client.delete_image(handle.id()).await {
            // Whether a call of several ids is refused for one of them, and which, is not documented.
            Err(CallError::Refused(refusal))
                if matches!(
                    refusal.class,
                    Class::NotFound | Class::Invalid | Class::Conflict | Class::Busy | Class::Unlisted
                ) =>
            {
                let Refusal { code, message, request_id, .. } = refusal;
                Some(Deleted { code, message, request_id: Some(request_id) })
            }
            answered => answered?,
        };
        if deleted.as_ref().is_some_and(|deleted| matches!(deleted.code.as_str(), "0" | "")) {
            return Ok(Deletion::Underway);
        }
        let still_there = Self::observe(client, &self.region(client), std::slice::from_ref(handle)).await?;
        let may_be_unlisted = super::may_be_unlisted(self.status.as_ref(), &client.0.acep);
        match deleted {
            _ if still_there.is_empty() && !may_be_unlisted => Ok(Deletion::Gone),
            None if still_there.is_empty() => {
                Ok(Deletion::Waiting(format!("the vendor does not list {} yet, which is new", handle.id())))
            }
            None => Ok(Deletion::Underway),
            Some(Deleted { code, message, request_id }) => {
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

/// What the remark is called where it is noted that the operator set it.
const REMARK: &str = "imageAnnotation";

/// How an object came to its image and its remark.
#[derive(Clone, Copy, Debug, Default)]
struct Whose {
    /// The image was there before the object.
    imported: bool,
    /// The spec had a remark, and has none any more.
    dropped: bool,
}

impl AospImage {
    fn whose(&self) -> Whose {
        Whose { imported: self.took_over(), dropped: self.dropped().contains(REMARK) }
    }

    /// What the call named the image, where that is known: a spec that has changed since may name it differently. The API
    /// server raises the generation once more when the object is to go.
    fn name_sent(&self) -> Option<&str> {
        let first = 1 + i64::from(self.metadata.deletion_timestamp.is_some());
        self.spec.for_provider.image_name.as_deref().filter(|_| self.metadata.generation == Some(first))
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
        let mut body = json!({
            "ImageAnnotation": join(&marker(token), image_annotation.as_deref().unwrap_or_default()),
            "ImageFileFormat": image_file_format,
        });
        if let Some(name) = image_name {
            body["ImageName"] = json!(name);
        }
        if let (ImageFileFormat::VolcTos, Some(info)) = (image_file_format, image_tos_info) {
            let TosInfo { bucket, region, endpoint, system_img, vendor_img } = info;
            let file = |TosFile { file_path, md5 }: &TosFile| {
                with_md5(json!({ "FilePath": file_path }), md5.as_ref())
            };
            body["ImageTosInfo"] = json!({
                "Bucket": bucket, "Region": region, "Endpoint": endpoint, "SystemImg": file(system_img), "VendorImg": file(vendor_img),
            });
        }
        if let (ImageFileFormat::Url, Some(UrlInfo { system_img, vendor_img })) =
            (image_file_format, image_url_info)
        {
            let file = |UrlFile { url, md5 }: &UrlFile| with_md5(json!({ "Url": url }), md5.as_ref());
            body["ImageUrlInfo"] = json!({ "SystemImg": file(system_img), "VendorImg": file(vendor_img) });
        }
        body
    }

    /// Only what differs. The marker stays, and comes back where it was overwritten; `token` is the last attempt's.
    fn to_update(&self, row: &Row, whose: Whose, token: Option<&str>) -> Value {
        let mut body = json!({ "ImageId": row.id });
        let differs = self.differences(row, whose);
        let differs = |field: &str| differs.iter().any(|other| other.field == field);
        if differs("imageName") {
            body["ImageName"] = json!(self.image_name);
        }
        if differs(REMARK) {
            let (mut mark, _) = split(&row.remark);
            if mark.is_empty() && !whose.imported {
                mark = token.map(marker).unwrap_or_default();
            }
            let annotation = self.image_annotation.as_deref().unwrap_or_default();
            body["ImageAnnotation"] = json!(join(&mark, annotation));
        }
        body
    }

    fn differences(&self, row: &Row, whose: Whose) -> Vec<Difference> {
        let mut fields = vec![];
        if let Some(name) = self.image_name.as_deref().filter(|name| !normalise::same(name, &row.name)) {
            fields.push(Difference::new("imageName", &*row.name, name));
        }
        let (_, is) = split(&row.remark);
        // One that the spec never named is somebody else's; one that did not come back says nothing.
        let wanted = self.image_annotation.as_deref();
        let is_ours = wanted.is_some() || whose.dropped;
        let comparable = is_ours && (whose.imported || !row.remark.is_empty());
        if comparable && !normalise::same(wanted.unwrap_or_default(), &is) {
            fields.push(Difference::new(REMARK, is, wanted));
        }
        fields
    }
}

/// The image that bears this attempt's marker. Without one: if there are young images whose annotation did not come back, or
/// not far enough to have a whole marker, nobody can tell. `name`: what the call named it, where that is known.
fn candidates(rows: &[Row], token: &str, since: Timestamp, name: Option<&str>) -> Recovered {
    let mark = marker(token);
    let marked: Vec<_> = rows.iter().filter(|row| split(&row.remark).0 == mark).collect();
    match marked.as_slice() {
        [] => {}
        [one] => return Recovered::Found(Handle::image(&one.id)),
        // One call makes one image, so that somebody has copied the remark.
        many => return Recovered::Candidates(many.iter().map(|row| Handle::image(&row.id)).collect()),
    }
    let young = |row: &&Row| row.created.is_none_or(|created| created >= since.as_second());
    let cut_off = |row: &&Row| mark.starts_with(row.remark.trim());
    let named = |row: &&Row| name.is_none_or(|name| name == row.name);
    let maybe = rows.iter().filter(young).filter(cut_off).filter(named);
    let maybe: Vec<_> = maybe.map(|row| row.id.clone()).collect();
    if maybe.is_empty() { Recovered::Candidates(vec![]) } else { Recovered::Undecidable(maybe) }
}

/// Images that bear the marker of an earlier attempt of the same object.
fn earlier(rows: &[Row], token: &str) -> Vec<Handle> {
    let Some((uid, attempt)) = token.rsplit_once('-') else { return vec![] };
    let Ok(attempt) = attempt.parse::<u32>() else { return vec![] };
    let marks: Vec<_> = (1..attempt).map(|attempt| marker(&format!("{uid}-{attempt}"))).collect();
    let marked = rows.iter().filter(|row| marks.contains(&split(&row.remark).0));
    marked.map(|row| Handle::image(&row.id)).collect()
}

fn with_md5(mut file: Value, md5: Option<&String>) -> Value {
    if let Some(md5) = md5 {
        file["MD5"] = json!(md5);
    }
    file
}

fn marker(token: &str) -> String {
    format!("{MARKER}{token}]")
}

/// The uid of the object whose marker this is.
fn owner(marker: &str) -> Option<String> {
    let token = marker.strip_prefix(MARKER)?.strip_suffix(']')?;
    let (uid, attempt) = token.rsplit_once('-')?;
    (!uid.is_empty() && attempt.parse::<u32>().is_ok()).then(|| uid.to_owned())
}

/// The marker and, after it, the user's text: should the vendor cut off what is too long, it is not the marker.
fn join(marker: &str, text: &str) -> String {
    match (marker, text) {
        (marker, "") => marker.to_owned(),
        ("", text) => text.to_owned(),
        (marker, text) => format!("{marker} {text}"),
    }
}

/// The reverse of [`join`], wherever somebody has put the marker.
fn split(remark: &str) -> (String, String) {
    let Some((before, rest)) = remark.find(MARKER).map(|at| remark.split_at(at)) else {
        return (String::new(), remark.to_owned());
    };
    let (marker, after) = rest.split_at(rest.find(']').map_or(rest.len(), |end| end + 1));
    let before = before.strip_suffix(' ').unwrap_or(before);
    (marker.to_owned(), before.to_owned() + after.strip_prefix(' ').unwrap_or(after))
}

/// ImageStatus: 0 unknown, 1 importing or queued, 2 building, 11 built, -1 failed. Others may be steps of a build that no page
/// has: they are shown and waited out.
fn observation(value: &Value) -> Option<Observation> {
    let Row { id, status, status_text, .. } = Row::read(value)?;
    let said = if status_text.is_empty() { String::new() } else { format!(" ({status_text})") };
    Some(match status {
        Some(1 | 2) => Observation::Building { percent: None, note: None },
        Some(11) => Observation::Ready(Product {
            image_id: Some(id),
            at_provider: value.clone(),
            ..Product::default()
        }),
        Some(0) => Observation::Unusable {
            why: format!(
                "the vendor lists {id} and does not know its status (0{said}), so that it may not be usable; it is looked at until it \
                 is, look at it in the console if that stays / 厂商侧镜像 {id} 的状态未知（0），可能无法使用；状态恢复后会自动\
                 继续，若持续如此，请在控制台查看"
            ),
            product: Product { image_id: Some(id), at_provider: value.clone(), ..Product::default() },
            hindrance: Hindrance::Unknown,
        },
        Some(-1) => Observation::Failed(Failure {
            reason: "BuildFailed".into(),
            message: format!(
                "the vendor could not build {id}{said}; check the partition images, their paths and their MD5 / 厂商构建 {id} \
                 失败，请检查各分区镜像、路径及 MD5"
            ),
            left: None,
        }),
        _ => Observation::Building {
            percent: None,
            note: Some(format!("the vendor says that {id} has status {}{said}", value["imageStatus"])),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn row(id: &str, name: &str, remark: &str, created: i64) -> Row {
        let row = json!({ "imageId": id, "imageName": name, "imageRemark": remark, "imageStatus": 2, "createAt": created });
        Row::read(&row).unwrap()
    }

    fn named(name: &str, annotation: Option<&str>) -> AospParameters {
        AospParameters {
            image_name: Some(name.into()),
            image_annotation: annotation.map(Into::into),
            ..Default::default()
        }
    }

    #[test]
    fn the_marker_and_the_users_text_come_apart_again() {
        for (marker, text) in [
            ("[cloudimages.dev/u-1]", ""),
            ("[cloudimages.dev/u-1]", "nightly"),
            ("[cloudimages.dev/u-1]", " lines\n\nof text \n"),
            ("", "nightly"),
            ("", ""),
            ("[cloudimages.dev/u-2]", "夜间 [1]"),
        ] {
            assert_eq!(split(&join(marker, text)), (marker.to_owned(), text.to_owned()));
        }
        for (remark, text) in [
            ("nightly [cloudimages.dev/u-1]", "nightly"),
            ("a [cloudimages.dev/u-1]b", "ab"),
            ("[cloudimages.dev/u", ""),
        ] {
            assert_eq!(split(remark).1, text, "{remark}");
        }
    }

    #[test]
    fn drift_ignores_the_marker_and_an_annotation_that_does_not_come_back() {
        let parameters = named("n", Some("mine"));
        let differences = |remark| parameters.differences(&row("i", "n", remark, 0), MADE);
        for same in ["[cloudimages.dev/u-1] mine", "mine [cloudimages.dev/u-1]", "mine\n", ""] {
            assert!(differences(same).is_empty(), "{same}");
        }
        assert_eq!(
            parameters.differences(&row("i", "x", "[cloudimages.dev/u-1] other", 0), MADE),
            ["imageName", "imageAnnotation"].map(Difference::from)
        );
        let lines = named("n", Some("mine\n"));
        for kept in ["[cloudimages.dev/u-1] mine\n", "[cloudimages.dev/u-1] mine"] {
            assert!(lines.differences(&row("i", "n", kept, 0), MADE).is_empty(), "{kept}");
        }
        let silent = AospParameters::default();
        for (remark, whose, differs) in [
            ("[cloudimages.dev/u-1] old", Whose { dropped: true, ..MADE }, true),
            ("[cloudimages.dev/u-1]", Whose { dropped: true, ..MADE }, false),
            ("[cloudimages.dev/u-1] theirs", MADE, false),
            ("theirs", MADE, false),
            ("theirs", IMPORTED, false),
            ("old", Whose { dropped: true, ..IMPORTED }, true),
            ("", Whose { dropped: true, ..IMPORTED }, false),
        ] {
            let differences = silent.differences(&row("i", "n", remark, 0), whose);
            assert_eq!(!differences.is_empty(), differs, "{remark} {whose:?}");
        }
    }

    const MADE: Whose = Whose { imported: false, dropped: false };
    const IMPORTED: Whose = Whose { imported: true, dropped: false };

    #[test]
    fn an_update_says_only_what_differs_and_keeps_the_marker() {
        let update = |parameters: AospParameters, remark: &str, imported: bool| {
            let whose = if imported { IMPORTED } else { MADE };
            parameters.to_update(&row("i", "old", remark, 0), whose, Some("u-3"))
        };
        assert_eq!(
            update(named("new", None), "theirs", true),
            json!({ "ImageId": "i", "ImageName": "new" }),
            "an import that asks for no annotation keeps its own"
        );
        assert_eq!(
            update(named("new", Some("mine")), "", false),
            json!({ "ImageId": "i", "ImageName": "new" }),
            "what does not come back is not overwritten"
        );
        for (remark, imported, annotation) in [
            ("[cloudimages.dev/u-1] other", false, "[cloudimages.dev/u-1] mine"),
            ("overwritten", false, "[cloudimages.dev/u-3] mine"),
            ("theirs", true, "mine"),
        ] {
            let expected = json!({ "ImageId": "i", "ImageAnnotation": annotation });
            assert_eq!(update(named("old", Some("mine")), remark, imported), expected, "{remark}");
        }
    }

    #[test]
    fn a_lost_build_is_found_by_its_marker_or_not_guessed() {
        let since = Timestamp::from_second(10_000).unwrap();
        let find = |rows: &[Row]| candidates(rows, "a-b-c-2", since, Some("n"));
        let none = || Recovered::Candidates(vec![]);
        let strangers =
            || [row("x", "n", "text", 10_001), row("y", "n", "", 1), row("z", "other", "", 10_001)];
        assert_eq!(find(&strangers()), none(), "another's remark, too old, another name");
        assert_eq!(
            candidates(&strangers(), "a-b-c-2", since, None),
            Recovered::Undecidable(vec!["z".into()]),
            "the name may have been another"
        );
        let mut rows = Vec::from(strangers());
        // What a tenant writes after the marker of his own image says nothing.
        rows.push(row("forged", "n", "[cloudimages.dev/d-e-f-1] [cloudimages.dev/a-b-c-2]", 10_001));
        rows.push(row("earlier", "n", "[cloudimages.dev/a-b-c-1]", 9_000));
        rows.push(row("other", "n", "[cloudimages.dev/a-b-c-22]", 10_001));
        assert_eq!(find(&rows), none());
        rows.push(row("ours", "n", "[cloudimages.dev/a-b-c-2] text", 10_001));
        assert_eq!(find(&rows), Recovered::Found(Handle::image("ours")));
        rows.push(row("copied", "n", "[cloudimages.dev/a-b-c-2] text", 10_001));
        assert_eq!(find(&rows), Recovered::Candidates(vec![Handle::image("ours"), Handle::image("copied")]));
        for cut_off in ["", " ", "[cloudimages.dev/", "[cloudimages.dev/a-b"] {
            let mute = Recovered::Undecidable(vec!["mute".into()]);
            assert_eq!(find(&[row("mute", "n", cut_off, 10_001)]), mute, "{cut_off}");
        }
        assert_eq!(find(&[row("x", "n", "[cloudimages.dev/b-", 10_001)]), none(), "another's marker");
    }

    #[test]
    fn what_an_earlier_attempt_made_is_told_by_its_marker() {
        let rows = [
            row("first", "n", "[cloudimages.dev/a-b-1] text", 1),
            row("second", "n", "[cloudimages.dev/a-b-2]", 1),
            row("ours", "n", "[cloudimages.dev/a-b-3]", 1),
            row("later", "n", "[cloudimages.dev/a-b-4]", 1),
            row("other", "n", "[cloudimages.dev/a-c-1]", 1),
            row("forged", "n", "[cloudimages.dev/a-c-1] [cloudimages.dev/a-b-1]", 1),
            row("cut", "n", "[cloudimages.dev/a-b-1", 1),
        ];
        assert_eq!(earlier(&rows, "a-b-3"), ["first", "second"].map(Handle::image));
        assert_eq!(earlier(&rows, "a-b-1"), []);
        assert_eq!(earlier(&rows, "odd"), []);
    }

    #[test]
    fn the_name_is_known_until_the_spec_changes() {
        for (deleting, generation, known) in
            [(false, 1, true), (false, 2, false), (true, 2, true), (true, 3, false)]
        {
            let mut image =
                AospImage::new("a", serde_json::from_value(json!({ "forProvider": {} })).unwrap());
            image.spec.for_provider = named("n", None);
            image.metadata.generation = Some(generation);
            image.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
            assert_eq!(image.name_sent(), known.then_some("n"), "{deleting} {generation}");
        }
    }

    #[test]
    fn a_row_that_is_not_as_documented_still_counts() {
        let odd = json!({ "imageId": "i", "imageName": null, "imageStatus": "11", "createAt": null });
        assert!(matches!(observation(&odd), Some(Observation::Ready(_))));
        let unknown = candidates(&[Row::read(&odd).unwrap()], "u-1", Timestamp::now(), None);
        assert_eq!(unknown, Recovered::Undecidable(vec!["i".into()]));
        for status in [json!(null), json!({}), json!("soon")] {
            let seen = observation(&json!({ "imageId": "i", "imageStatus": status }));
            assert!(matches!(seen, Some(Observation::Building { note: Some(_), .. })), "{seen:?}");
        }
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
            "ImageName": "example-image-name", "ImageAnnotation": "[cloudimages.dev/u-1] text", "ImageFileFormat": "volc_tos",
            "ImageTosInfo": {"Bucket": "bucket", "Region": "cn-beijing", "Endpoint": "e", "SystemImg": {"FilePath": "s", "MD5": "m"}, "VendorImg": {"FilePath": "v"}},
        });
        assert_eq!(parameters.to_request("u-1"), expected);
    }
}
