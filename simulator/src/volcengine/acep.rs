//! The cloud phone's AOSP images, API version 2025-05-01: built by and by, listed, renamed, deleted.
//!
//! Known: parameters and results of the SDK's models, the build states of the list's page, that a wrong `NextToken`
//! starts over, that a listing needs a product id and that a deletion answers for each image. Not known, and chosen
//! here: names are matched as parts ([`Settings::name_match`]), ten rows are a page ([`Settings::list_page_size`]), at
//! most 100 ids may be listed, what does not exist is `21342`, building images may be deleted
//! ([`Settings::delete_while_building`]), and numbers come both as `Code` and `CodeN` ([`Settings::numeric_codes`]).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Settings, State};
use crate::ledger::Change;
use crate::paging::{descending, page, read_token};
use crate::server::Context;
use crate::settings::Texts;
use crate::wire::Refusal;
use crate::work::{Stage, Work};

/// An image as the vendor keeps it. What a seed leaves out is chosen as the vendor would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AospImage {
    /// `img-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Its name; not unique.
    pub name: String,
    /// The user's remark.
    pub annotation: String,
    /// Where its files came from.
    pub source: Value,
    /// One of the vendor's own images, which everybody sees and nobody changes.
    pub public: bool,
    /// `10` to `14`.
    pub aosp_version: String,
    /// When it was last changed.
    pub updated: Timestamp,
    /// How its build goes.
    pub build: Work,
    /// For how long its status is unknown once it is built.
    pub unknown_seconds: f64,
    /// Shown instead of the status that its build has.
    pub odd_status: Option<i64>,
    /// A deletion of it is answered with this code instead of being done.
    pub delete_error: Option<i64>,
}

impl AospImage {
    /// 0 unknown, 1 queued, 2 building, 11 built, -1 failed.
    pub fn status(&self, now: Timestamp) -> i64 {
        let built = |end: Timestamp| now.duration_since(end).as_secs_f64();
        match self.build.stage(now) {
            Stage::Waiting => 1,
            Stage::Running => 2,
            Stage::Succeeded if self.build.ended().is_some_and(|end| built(end) < self.unknown_seconds) => 0,
            Stage::Succeeded => 11,
            Stage::Failed => -1,
        }
    }
}

/// How `ImageName` of a listing is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NameMatch {
    /// The name contains it.
    #[default]
    Part,
    /// The name is it.
    Exact,
}

pub(super) fn parameters_wrong(what: &str) -> Refusal {
    Refusal::new(400, "1000001", format!("invalid parameter: {what}"))
}

fn not_found(id: &str) -> Refusal {
    Refusal::new(400, "21342", format!("image build task does not exist: {id}"))
}

/// Parses the body of every action.
pub(super) fn parse(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| Refusal::new(400, "1000005", "the body is not a JSON object"))
}

/// A text that may be absent; anything else under its name is an error.
fn text<'a>(body: &'a Value, name: &str) -> Result<Option<&'a str>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(parameters_wrong(&format!("{name} must be a string"))),
    }
}

fn required<'a>(body: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    text(body, name)?
        .filter(|text| !text.is_empty())
        .ok_or_else(|| parameters_wrong(&format!("{name} is required")))
}

fn object<'a>(body: &'a Value, name: &str) -> Result<&'a Value, Refusal> {
    body.get(name)
        .filter(|value| value.is_object())
        .ok_or_else(|| parameters_wrong(&format!("{name} is required")))
}

fn ids(body: &Value) -> Result<Vec<&str>, Refusal> {
    match body.get("ImageIdList") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().ok_or_else(|| parameters_wrong("ImageIdList must hold strings")))
            .collect(),
        Some(_) => Err(parameters_wrong("ImageIdList must be a list")),
    }
}

pub(super) fn build(
    state: &mut State,
    account: &str,
    body: &Value,
    context: &mut Context<'_>,
) -> Result<Value, Refusal> {
    let source =
        match text(body, "ImageFileFormat")?.filter(|format| !format.is_empty()).unwrap_or("volc_tos") {
            "volc_tos" => tos_source(body)?,
            "url" => url_source(body)?,
            other => return Err(parameters_wrong(&format!("ImageFileFormat {other}"))),
        };
    let settings: &Settings = &context.settings.volcengine;
    let id = format!("img-{}", context.shared.ids.alphanumeric(16));
    let image = AospImage {
        id: id.clone(),
        account: account.into(),
        name: text(body, "ImageName")?.unwrap_or_default().into(),
        annotation: text(body, "ImageAnnotation")?.unwrap_or_default().into(),
        source: source.clone(),
        public: false,
        aosp_version: "13".into(),
        updated: context.now,
        build: Work::new(context.now, settings.queue_seconds, settings.build_seconds, &context.conditions),
        unknown_seconds: settings.unknown_seconds,
        odd_status: None,
        delete_error: None,
    };
    context.effect(Change::Created, &id, None);
    state.images.insert(id.clone(), image);
    Ok(json!({ "ImageId": id }))
}

fn tos_source(body: &Value) -> Result<&Value, Refusal> {
    let info = object(body, "ImageTosInfo")?;
    for name in ["Bucket", "Region", "Endpoint"] {
        required(info, name)?;
    }
    for name in ["SystemImg", "VendorImg"] {
        let file = object(info, name)?;
        required(file, "FilePath")?;
        text(file, "MD5")?;
    }
    Ok(info)
}

/// Only hosts under Volcengine's and Alibaba Cloud's storage domains.
fn url_source(body: &Value) -> Result<&Value, Refusal> {
    let info = object(body, "ImageUrlInfo")?;
    for name in ["SystemImg", "VendorImg"] {
        let file = object(info, name)?;
        let url = required(file, "Url")?;
        text(file, "MD5")?;
        let host = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .split(['/', '?', '#'])
            .next()
            .unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host).split(':').next().unwrap_or_default();
        let allowed = ["volces.com", "aliyuncs.com"].iter().any(|domain| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        if !allowed {
            return Err(parameters_wrong(&format!("{name}.Url must be under volces.com or aliyuncs.com")));
        }
    }
    Ok(info)
}

pub(super) fn list(
    state: &State,
    account: &str,
    body: &Value,
    context: &Context<'_>,
) -> Result<Value, Refusal> {
    let settings = &context.settings.volcengine;
    let product = text(body, "ProductId")?.filter(|id| !id.is_empty());
    let product = product.ok_or_else(|| Refusal::new(400, "2000002", "ProductId is missing"))?;
    if !settings.product_ids.iter().any(|known| known == product) {
        return Err(Refusal::new(400, "2000000", format!("product {product} does not exist")));
    }
    let ids = ids(body)?;
    if ids.len() > 100 {
        return Err(parameters_wrong("ImageIdList has more than 100 ids"));
    }
    let size = match body.get("MaxResults") {
        None | Some(Value::Null) => 0,
        Some(value) => {
            value.as_u64().filter(|size| *size <= 100).ok_or_else(|| parameters_wrong("MaxResults"))?
        }
    };
    let size = if size == 0 { settings.list_page_size } else { usize::try_from(size).unwrap_or(100) };
    let name = text(body, "ImageName")?.filter(|name| !name.is_empty());
    let version = text(body, "AOSPVersion")?.filter(|version| !version.is_empty());
    let public = body.get("IsPublic").and_then(Value::as_bool).unwrap_or(false);
    let status = body.get("ImageStatus").and_then(Value::as_i64);
    // A token that was never given starts over without a word.
    let after = text(body, "NextToken")?.filter(|_| !settings.tokens_expire).and_then(read_token);

    let matching = state.images.iter().rev().filter(|(_, image)| {
        (image.public || image.account == account)
            && image.public == public
            && image.build.begun <= context.shown_until()
            && (ids.is_empty() || ids.contains(&image.id.as_str()))
            && name.is_none_or(|name| match settings.name_match {
                NameMatch::Part => image.name.contains(name),
                NameMatch::Exact => image.name == name,
            })
            && version.is_none_or(|version| image.aosp_version == version)
            && status.is_none_or(|status| image.status(context.now) == status)
    });
    let (rows, next) = page(matching, after, size, descending);
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|image| row(image, context.now, settings.echo_annotation, context.settings.texts))
        .collect();
    Ok(json!({ "Row": rows, "NextToken": next }))
}

fn row(image: &AospImage, now: Timestamp, echo_annotation: bool, texts: Texts) -> Value {
    let status = image.odd_status.unwrap_or_else(|| image.status(now));
    let word = match status {
        0 => "UNKNOWN",
        1 => "IN_QUEUE",
        2 => "BUILDING",
        11 => "BUILT",
        -1 => "FAILED",
        _ => "ODD",
    };
    json!({
        "ImageId": image.id,
        "ImageName": image.name,
        "ImageRemark": if echo_annotation { texts.of(&image.annotation) } else { String::new() },
        "ImageStatus": status,
        "ImageStatusStr": word,
        "AOSPVersion": image.aosp_version,
        "PlatformType": "arm64",
        "ImageSize": if status == 11 { 3_221_225_472_u64 } else { 0 },
        "ImageResourceType": "AOSP",
        "ImageDownloadUrl": "",
        "PreheatStatus": 0,
        "UploadImageStatus": 0,
        "CreateAt": image.build.begun.as_second(),
        "UpdateAt": image.updated.max(image.build.moved(now)).as_second(),
    })
}

pub(super) fn update(
    state: &mut State,
    account: &str,
    body: &Value,
    context: &mut Context<'_>,
) -> Result<(), Refusal> {
    let id = required(body, "ImageId")?;
    let (name, annotation) = (text(body, "ImageName")?, text(body, "ImageAnnotation")?);
    let image = state
        .images
        .get_mut(id)
        .filter(|image| image.account == account && !image.public)
        .ok_or_else(|| not_found(id))?;
    let before = (image.name.clone(), image.annotation.clone());
    if let Some(name) = name {
        name.clone_into(&mut image.name);
    }
    if let Some(annotation) = annotation {
        annotation.clone_into(&mut image.annotation);
    }
    if before != (image.name.clone(), image.annotation.clone()) {
        image.updated = context.now;
        context.effect(Change::Changed, id, None);
    }
    Ok(())
}

pub(super) fn delete(
    state: &mut State,
    account: &str,
    body: &Value,
    context: &mut Context<'_>,
) -> Result<Value, Refusal> {
    let ids = ids(body)?;
    if ids.is_empty() || ids.len() > 10 {
        return Err(parameters_wrong("ImageIdList must have 1 to 10 ids"));
    }
    let mut items = Vec::new();
    for id in ids {
        let (code, message) =
            match state.images.get(id).filter(|image| image.account == account && !image.public) {
                None => (21342, "image build task does not exist"),
                Some(AospImage { delete_error: Some(code), .. }) => (*code, "the image cannot be deleted"),
                Some(image)
                    if !context.settings.volcengine.delete_while_building
                        && matches!(image.status(context.now), 1 | 2) =>
                {
                    (21341, "image build process abnormal")
                }
                Some(_) => {
                    state.images.remove(id);
                    context.effect(Change::Deleted, id, None);
                    (0, "")
                }
            };
        items.push(json!({ "ErrCode": code, "ImageId": id, "ErrorMsg": message }));
    }
    Ok(json!({ "Items": items }))
}
