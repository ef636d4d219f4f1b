//! `BatchComputeImage`: an ECS image registered for Alibaba Cloud BatchCompute. `CreateImage` 2015-11-11.

use super::Client;
use crate::{
    account::AccountVendor,
    engine::{
        existing::Existing,
        external::{External, Submitted, Timeout},
        index::{Reference, Referent},
        journal::Permit,
        progress::{Comparison, Deletion, Difference, Handle, Lookalike, Observation, Product, Recovered},
    },
    image::{ImageRef, ImageSpec, ImageStatus, fixed},
    vendors::normalise,
    wire::{
        CallError, Class, Effect, Refusal,
        encode::{self, lower_camel},
        endpoint::Endpoints,
        pages,
    },
};
use http::Method;
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use std::{collections::HashMap, time::Duration};

// ---- What a user writes --------------------------------------------------------------------------------------------

const AGAIN: &str = "delete this object and make a new one";

/// What ids of ECS images are made of; an empty one has its own rule.
const ECS_IMAGE: &str = "self.matches('^[A-Za-z0-9_.-]*$')";

/// An image at Alibaba Cloud BatchCompute.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "BatchComputeImage",
    plural = "batchcomputeimages",
    shortname = "bcimg",
    category = "cloudimages",
    namespaced,
    status = "ImageStatus",
    doc = "An ECS image registered for Alibaba Cloud BatchCompute. It stands for the vendor's CreateImage. The vendor calls BatchCompute deprecated and no longer maintains its documents; use it only for what already runs there. Nothing about such an image can be changed.",
    printcolumn(name = "Image ID", type_ = "string", json_path = ".status.imageId", description = "The vendor's id of the image"),
    validation = fixed("name", AGAIN),
    validation = fixed("description", AGAIN),
    validation = fixed("ecsImageId", AGAIN),
    validation = fixed("ecsImageRef", AGAIN),
    validation = fixed("platform", AGAIN)
)]
#[x_kube(
    validation = Rule::new("has(self.forProvider.name) || has(self.import)").message("forProvider.name is required: what the image is called (or name an existing image in import)"),
    validation = Rule::new("has(self.forProvider.platform) || has(self.import)").message("forProvider.platform is required: Linux or Windows"),
    validation = Rule::new("has(self.import) || has(self.forProvider.ecsImageId) || has(self.forProvider.ecsImageRef)").message("forProvider.ecsImageId or ecsImageRef is required: the ECS image to register"),
    validation = Rule::new("!has(self.forProvider.ecsImageId) || !has(self.forProvider.ecsImageRef)").message("forProvider must have only one of ecsImageId and ecsImageRef"),
)]
pub struct BatchComputeImageSpec {
    /// What all kinds share.
    #[serde(flatten)]
    pub image: ImageSpec<BatchComputeMatch>,
    /// The parameters of CreateImage, under the vendor's names. None of them can be changed later: the vendor has no
    /// call for it. The region is the account's.
    pub for_provider: BatchComputeParameters,
}

/// The parameters of CreateImage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchComputeParameters {
    /// The image's name: 1 to 64 letters, digits, `_` and `-`, not beginning with a digit. It need not be unique.
    /// Required. Cannot be changed. Example: `ImageName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(
        validation = Rule::new("self.size() >= 1 && self.size() <= 64").message("name must be 1 to 64 characters long"),
        validation = Rule::new("self.matches('^[a-zA-Z0-9_-]*$')").message("name must contain only letters, digits, underscores (_) and hyphens (-)"),
        validation = Rule::new("!self.matches('^[0-9]')").message("name must not start with a digit"),
    )]
    pub name: Option<String>,

    /// What the image is for, at most 1024 characters. Default: empty. Cannot be changed.
    /// Example: `ImageDescription`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    #[x_kube(validation = Rule::new("self.size() <= 1024").message("description must be at most 1024 characters long"))]
    pub description: Option<String>,

    /// The ECS image to register, 1 to 256 characters: a custom image of the account in its region. Each can be
    /// registered once. Required. Cannot be changed. Example: `m-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.size() >= 1 && self.size() <= 256").message("ecsImageId must be 1 to 256 characters long"),
        validation = Rule::new(ECS_IMAGE).message("ecsImageId must be the id of an image: letters, digits, -, _ and ., for example m-bp67acfmxazb4p"),
    )]
    pub ecs_image_id: Option<String>,

    /// An object in the same namespace whose ECS image is registered, in the account's region, instead of `ecsImageId`: it waits
    /// until that is Ready. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecs_image_ref: Option<ImageRef>,

    /// The operating system of the image: `Linux` or `Windows`. Required. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// The operating system of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[expect(missing_docs, reason = "explained at BatchComputeParameters::platform")]
pub enum Platform {
    Linux,
    Windows,
}

/// Which of the account's images to take over: the only one that has all that is given here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.name) || has(self.ecsImageId)").message("import.match needs name or ecsImageId"))]
pub struct BatchComputeMatch {
    /// The image's name, exactly, 1 to 64 characters. Example: `ImageName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub name: Option<String>,
    /// The ECS image that it was registered from, 1 to 256 characters. Example: `m-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new(ECS_IMAGE).message("ecsImageId must be the id of an image: letters, digits, -, _ and ., for example m-bp67acfmxazb4p"))]
    pub ecs_image_id: Option<String>,
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Creation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ecs_image_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    items: Vec<Value>,
    #[serde(default)]
    next_marker: Option<String>,
}

/// The part of an image that decides something.
#[derive(Debug)]
struct Row {
    id: String,
    name: String,
    description: String,
    ecs_image_id: String,
    platform: String,
    creation_time: String,
}

/// The code about the image itself. That of an ECS image that is gone is another, though the same for callers who create.
const NO_IMAGE: &str = "InvalidResource.NotFound";
/// The code about the ECS image behind it.
const NO_ECS_IMAGE: &str = "InvalidEcsImageId";
/// What to do where the vendor cannot stop sharing the ECS image.
const SHARED: &str = "BatchCompute stops sharing the ECS image before it deletes its own, and could not: look at the ECS image and the RAM role AliyunBatchComputeDefaultRole, or set deletionPolicy: Retain; it is tried again / 批量计算删除镜像前须先取消共享 ECS 镜像，但未成功，请检查该 ECS 镜像及 RAM 角色 AliyunBatchComputeDefaultRole，或设置 deletionPolicy: Retain，将自动重试";

/// GetImage; `None` for one that does not exist.
async fn get(client: &Client, id: &str) -> Result<Option<Value>, CallError> {
    let target = format!("/images/{}", encode::component(id));
    match client.batch_compute("GetImage", Effect::Read, Method::GET, &target, vec![]).await {
        Ok(answer) => told(lower_camel(answer.value)).map(Some),
        Err(CallError::Refused(refusal)) if refusal.code == NO_IMAGE => Ok(None),
        Err(error) => Err(error),
    }
}

/// What GetImage tells of an image. What has no id is no image, though the answer was no "no": something in between gave it.
fn told(row: Value) -> Result<Value, CallError> {
    if row.get(BatchComputeImage::ROW_ID).is_some_and(Value::is_string) {
        return Ok(row);
    }
    Err(Effect::Read.unanswered("GetImage was answered without an image".into()))
}

/// ListImages: the account's own images, all or the first pages that are `enough`.
async fn list(client: &Client, enough: impl FnMut(&[Value]) -> bool) -> Result<Vec<Value>, CallError> {
    pages::all(BatchComputeImage::ROW_ID, |marker| page(client, marker), enough).await
}

/// One page of ListImages.
async fn page(client: &Client, marker: Option<String>) -> Result<pages::Page, CallError> {
    let mut query = vec![("MaxItemCount", "100")];
    query.extend(marker.as_deref().map(|marker| ("Marker", marker)));
    let target = format!("/images?{}", encode::sorted(query));
    let page: Page =
        client.batch_compute("ListImages", Effect::Read, Method::GET, &target, vec![]).await?.value;
    Ok(pages::Page { rows: page.items, next: page.next_marker, ..pages::Page::default() })
}

fn reference(image: &ImageRef) -> Reference {
    image.reference(super::ECS_IMAGE, "forProvider.ecsImageId")
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

impl External for BatchComputeImage {
    type Client = Client;
    type Match = BatchComputeMatch;

    const ACTION: &'static str = "CreateImage";
    const BATCH: usize = 100;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(600),
        why: "the vendor's call answers when the image is there, so that one which cannot be seen after ten minutes is stuck",
    };
    const IMMEDIATE: bool = true;
    const TAKES: &'static [&'static str] = &[super::ECS_IMAGE];
    const ROW_ID: &'static str = "id";

    fn spec(&self) -> &ImageSpec<BatchComputeMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    fn region(&self, client: &Client) -> String {
        client.region().to_owned()
    }

    fn realm(&self, account: &AccountVendor) -> String {
        let account = account.aliyun.as_ref();
        let region = account.map(|account| account.region_id.as_str()).unwrap_or_default();
        let endpoint = account.and_then(|account| account.batch_compute.as_ref()?.endpoint.as_deref());
        format!("aliyun batchcompute {} {region}", Endpoints::place(endpoint, super::DOMAINS))
    }

    /// Only so long that a request that was on its way has arrived: the token does the rest.
    fn settle(&self, _: &Client) -> Duration {
        Duration::from_secs(5)
    }

    fn references(&self) -> Vec<Reference> {
        self.spec.for_provider.ecs_image_ref.iter().map(reference).collect()
    }

    fn resolved(&self, referents: &[Referent]) -> Self {
        let mut resolved = self.clone();
        let parameters = &mut resolved.spec.for_provider;
        if let Some(image) = &parameters.ecs_image_ref
            && let Some(referent) = reference(image).among(referents)
        {
            parameters.ecs_image_id = Some(referent.id.clone());
        }
        resolved
    }

    /// IdempotentToken: at most 64 letters, digits and underscores.
    fn token(uid: &str, attempt: u32) -> String {
        format!("{}_{attempt}", uid.replace('-', "_"))
    }

    async fn submit(&self, client: &Client, permit: Permit) -> Result<Submitted, CallError> {
        let parameters = &self.spec.for_provider;
        let body = serde_json::to_vec(&parameters.to_request())
            .map_err(|error| CallError::NotSent(error.to_string()))?;
        let target = format!("/images?IdempotentToken={}", encode::component(permit.token()));
        let call = client.batch_compute::<Created>(Self::ACTION, Effect::Create, Method::POST, &target, body);
        let answer = call.await?;
        Ok(Submitted { handle: Handle::image(answer.value.id), request_id: answer.request_id })
    }

    /// The image that has this ECS image: there is at most one.
    async fn lookalikes(&self, client: &Client) -> Result<Vec<Lookalike>, CallError> {
        let registered = |rows: &[Value]| {
            let mut rows = rows.iter().filter_map(read);
            rows.find(|row| Some(&row.ecs_image_id) == self.spec.for_provider.ecs_image_id.as_ref())
        };
        let rows = list(client, |rows| registered(rows).is_some()).await?;
        let lookalike = |row: Row| Lookalike {
            created: row.creation_time.parse().ok(),
            comparison: self.spec.for_provider.compare(&row),
            id: row.id,
        };
        Ok(registered(&rows).map(lookalike).into_iter().collect())
    }

    /// The same IdempotentToken yields the same image, so asking again is the way to find out.
    async fn recover(&self, _: &Client, _: &str, _: Timestamp) -> Result<Recovered, CallError> {
        Ok(Recovered::Replay)
    }

    /// The vendor has no call for several ids: one is asked for by its id. For several, the list is read for at most as
    /// many pages; what it does not show, since it is the system's or new, is asked for by its id as well.
    async fn observe(
        client: &Client,
        _: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let mut found = HashMap::new();
        if handles.len() > 1 {
            let mut calls = 0;
            let rows = list(client, |_| {
                calls += 1;
                calls >= handles.len()
            });
            for row in rows.await? {
                if let Some(id) = row.get("id").and_then(Value::as_str) {
                    found.insert(id.to_owned(), row);
                }
            }
        }
        let mut seen = HashMap::new();
        for handle in handles {
            let row = match found.remove(handle.id()) {
                Some(row) => Some(row),
                None => get(client, handle.id()).await?,
            };
            seen.extend(row.map(|row| (handle.clone(), ready(handle.id(), row))));
        }
        Ok(seen)
    }

    async fn find(&self, client: &Client, matching: &BatchComputeMatch) -> Result<Vec<Handle>, CallError> {
        let fits = |wanted: &Option<String>, is: &str| !normalise::differs(wanted.as_deref(), is);
        let rows = list(client, |_| false).await?;
        Ok(rows
            .iter()
            .filter_map(read)
            .filter(|row| fits(&matching.name, &row.name) && fits(&matching.ecs_image_id, &row.ecs_image_id))
            .map(|row| Handle::image(row.id))
            .collect())
    }

    async fn page(client: &Client, _: &str, next: Option<String>) -> Result<pages::Page, CallError> {
        page(client, next).await
    }

    fn existing(row: &Value) -> Option<Existing> {
        let Row { id, name, description, ecs_image_id, platform, creation_time: _ } = read(row)?;
        Some(
            Existing::new(&id, ready(&id, row.clone()))
                .named(&name)
                .with("name", name)
                .with("description", description)
                .with("ecsImageId", ecs_image_id)
                .with("platform", platform),
        )
    }

    fn compare(&self, _: &Client, product: &Product) -> Comparison {
        read(&product.at_provider).map_or(Comparison::Same, |row| self.spec.for_provider.compare(&row))
    }

    /// The vendor has no call that changes an image.
    async fn amend(&self, _: &Client, _: &Product) -> Result<(), CallError> {
        Ok(())
    }

    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let target = format!("/images/{}", encode::component(handle.id()));
        let call = client.batch_compute::<IgnoredAny>(
            "DeleteImage",
            Effect::Change,
            Method::DELETE,
            &target,
            vec![],
        );
        match call.await {
            Err(CallError::Refused(refusal)) if refusal.code == NO_IMAGE => Ok(Deletion::Gone),
            // Not the spec's fault, whatever the same code means to a creating call.
            Err(CallError::Refused(refusal)) if refusal.code == NO_ECS_IMAGE => {
                Err(CallError::Refused(Refusal { class: Class::Busy, hint: SHARED, ..refusal }))
            }
            done => done.map(|_| Deletion::Gone),
        }
    }
}

impl BatchComputeParameters {
    fn to_request(&self) -> Creation<'_> {
        Creation {
            name: self.name.as_deref(),
            description: self.description.as_deref(),
            ecs_image_id: self.ecs_image_id.as_deref(),
            platform: self.platform,
        }
    }

    /// Only fields that are given can differ.
    fn compare(&self, row: &Row) -> Comparison {
        let platform = self.platform.map(|platform| platform.to_string());
        let fields = [
            ("name", self.name.as_deref(), &row.name),
            ("description", self.description.as_deref(), &row.description),
            ("ecsImageId", self.ecs_image_id.as_deref(), &row.ecs_image_id),
            ("platform", platform.as_deref(), &row.platform),
        ];
        // All but the description have to be there, so that an empty one says nothing.
        let differs = |field: &str, ours: Option<&str>, theirs: &str| {
            normalise::differs(ours, theirs) && (field == "description" || !theirs.is_empty())
        };
        let different = fields.into_iter().filter(|(field, ours, theirs)| differs(field, *ours, theirs));
        let different: Vec<_> =
            different.map(|(field, ours, theirs)| Difference::new(field, theirs.as_str(), ours)).collect();
        if different.is_empty() { Comparison::Same } else { Comparison::Fixed(different) }
    }
}

/// The vendor has no states: what is there can be used.
fn ready(id: &str, row: Value) -> Observation {
    Observation::Ready(Product { image_id: Some(id.to_owned()), at_provider: row, ..Product::default() })
}

/// Keys are in lowerCamelCase, as in `status.atProvider`. What is absent, null or of another type than documented must not
/// hide the rest; only without an id it is nothing.
fn read(row: &Value) -> Option<Row> {
    let text = |name| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let rest = |name| text(name).unwrap_or_default();
    Some(Row {
        id: text("id")?,
        name: rest("name"),
        description: rest("description"),
        ecs_image_id: rest("ecsImageId"),
        platform: rest("platform"),
        creation_time: rest("creationTime"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> BatchComputeParameters {
        serde_json::from_value(serde_json::json!({ "name": "n", "ecsImageId": "m-1", "platform": "Linux" }))
            .unwrap()
    }

    fn row(change: impl FnOnce(&mut Value)) -> Row {
        let mut row = serde_json::json!({
            "Id": "img-1", "Name": "n", "Type": "Self", "Description": "", "EcsImageId": "m-1", "OwnerId": 12,
            "Platform": "Linux", "CreationTime": "2026-11-21T11:53:19.110809Z",
        });
        change(&mut row);
        read(&lower_camel(row)).unwrap()
    }

    #[test]
    fn an_answer_without_an_image_is_none() {
        for nothing in [serde_json::json!({}), serde_json::json!([]), serde_json::json!({ "id": null })] {
            assert!(matches!(told(nothing), Err(CallError::NoAnswer(_))));
        }
        assert!(told(serde_json::json!({ "id": "img-1" })).is_ok());
    }

    #[test]
    fn whatever_differs_cannot_be_changed() {
        assert_eq!(parameters().compare(&row(|_| ())), Comparison::Same);
        for (key, field) in [("Name", "name"), ("EcsImageId", "ecsImageId"), ("Platform", "platform")] {
            assert_eq!(
                parameters().compare(&row(|row| row[key] = "other".into())),
                Comparison::Fixed(vec![field.into()])
            );
        }
        let described = row(|row| row["Description"] = "theirs".into());
        assert_eq!(parameters().compare(&described), Comparison::Same, "not given, not compared");
        for key in ["Description", "Platform"] {
            let bare = row(|row| row[key] = Value::Null);
            assert_eq!(parameters().compare(&bare), Comparison::Same, "{key} is null");
        }
        let mut described = parameters();
        described.description = Some("ours".into());
        let bare = row(|row| row["Description"] = Value::Null);
        assert_eq!(described.compare(&bare), Comparison::Fixed(vec!["description".into()]));
    }

    #[test]
    fn a_request_has_what_is_given() {
        let body = serde_json::to_value(parameters().to_request()).unwrap();
        assert_eq!(body, serde_json::json!({ "Name": "n", "EcsImageId": "m-1", "Platform": "Linux" }));
    }

    #[test]
    fn a_token_fits_the_vendors_alphabet() {
        let token = BatchComputeImage::token("123e4567-e89b-12d3-a456-426655440000", u32::MAX);
        assert!(token.len() <= 64, "{token}");
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{token}");
    }
}
