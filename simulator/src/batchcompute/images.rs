//! The images of BatchCompute: registered from an ECS image, read, listed, deleted. Nothing of them ever changes.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::gateway::Caller;
use super::{Replay, Settings, State};
use crate::ledger::Change;
use crate::paging::{ascending, page, read_token};
use crate::server::Context;
use crate::wire::Refusal;

/// An image as the vendor keeps it. What a seed leaves out is chosen as the vendor would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Image {
    /// `img-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Where it is.
    pub region: String,
    /// Its name; not unique.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The ECS image that it stands for; registered at most once.
    pub ecs_image_id: String,
    /// `Linux` or `Windows`.
    pub platform: String,
    /// `Self` or `System`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was registered.
    pub creation_time: Timestamp,
    /// A cluster or job uses it, so that it cannot be deleted.
    pub in_use: bool,
    /// The ECS image cannot be unshared, so that it cannot be deleted.
    pub unshare_fails: bool,
}

fn invalid(parameter: &str, what: &str) -> Refusal {
    let message = format!("Specified parameter {parameter} is not valid.");
    let message = if what.is_empty() { message } else { format!("{message} {what}") };
    Refusal::new(400, format!("Invalid{parameter}"), message)
}

fn not_found() -> Refusal {
    Refusal::new(404, "InvalidResource.NotFound", "The specified resource does not exist.")
}

/// A text of a body within these lengths (in characters).
fn text<'a>(
    body: &'a Value,
    name: &str,
    lengths: std::ops::RangeInclusive<usize>,
    required: bool,
) -> Result<&'a str, Refusal> {
    let text = match body.get(name) {
        None if required => {
            return Err(Refusal::new(
                400,
                format!("Missing{name}"),
                format!("{name} is mandatory for this action."),
            ));
        }
        None => "",
        Some(Value::String(text)) => text,
        Some(_) => return Err(invalid(name, "Its type must be string.")),
    };
    if !lengths.contains(&text.chars().count()) {
        let (least, most) = lengths.into_inner();
        return Err(invalid(name, &format!("Its length must be in [{least}, {most}].")));
    }
    Ok(text)
}

pub(super) fn create(
    state: &mut State,
    caller: &Caller,
    token: Option<&str>,
    body: &[u8],
    context: &mut Context<'_>,
) -> Result<Value, Refusal> {
    let body: Value = serde_json::from_slice(body).map_err(|_| {
        Refusal::new(400, "InvalidJsonFormat", "The request body has an invalid json format.")
    })?;
    if !body.is_object() {
        return Err(invalid("HttpBody", "Its type must be object."));
    }
    let token = token.filter(|token| !token.is_empty());
    if token.is_some_and(|token| {
        token.len() > 64 || !token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    }) {
        return Err(invalid("IdempotentToken", ""));
    }
    let key = token.map(|token| (caller.account.clone(), caller.region.clone(), token.to_owned()));
    if let Some(replay) = key.as_ref().and_then(|key| state.tokens.get(key)) {
        let lifetime = i64::try_from(context.settings.batchcompute.token_seconds).unwrap_or(i64::MAX);
        if context.now.duration_since(replay.at) <= SignedDuration::from_secs(lifetime) {
            if replay.body == body {
                return Ok(json!({ "Id": replay.id }));
            }
            return Err(Refusal::new(400, "IdempotentTokenMismatch", "Specified idempotent token mismatch."));
        }
    }
    let image = check(state, caller, &body, context)?;
    let id = image.id.clone();
    context.effect(Change::Created, &id, token);
    if let Some(key) = key {
        state.tokens.insert(key, Replay { body, id: id.clone(), at: context.now });
    }
    state.images.insert(id.clone(), image);
    Ok(json!({ "Id": id }))
}

/// Every row of the page's table of errors, in its order.
fn check(state: &State, caller: &Caller, body: &Value, context: &Context<'_>) -> Result<Image, Refusal> {
    let settings = &context.settings.batchcompute;
    let name = text(body, "Name", 1..=64, true)?;
    if name.starts_with(|c: char| c.is_ascii_digit())
        || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    {
        return Err(invalid(
            "Name",
            "It must only contain characters within [a-zA-Z0-9_-], and must not start with [0-9].",
        ));
    }
    let description = text(body, "Description", 0..=1024, false)?;
    let ecs_image_id = text(body, "EcsImageId", 1..=256, true)?;
    let platform = text(body, "Platform", 1..=256, true)?;
    if !matches!(platform, "Linux" | "Windows") {
        return Err(invalid("Platform", ""));
    }
    let own = |image: &&Image| {
        image.account == caller.account && image.region == caller.region && image.kind == "Self"
    };
    check_ecs_image(settings, ecs_image_id)?;
    if state.images.values().filter(own).any(|image| image.ecs_image_id == ecs_image_id) {
        return Err(invalid("EcsImageId", "This EcsImageId has been registered."));
    }
    check_role(settings)?;
    if let Some(quota) = settings.image_quota
        && state.images.values().filter(own).count() >= quota
    {
        return Err(Refusal::new(
            403,
            "QuotaExhausted.MaxImageCount",
            format!("The MaxImageCount ({quota}) quota is exhausted."),
        ));
    }
    Ok(Image {
        id: format!("img-{}", context.shared.ids.alphanumeric(20)),
        account: caller.account.clone(),
        region: caller.region.clone(),
        name: name.into(),
        description: description.into(),
        ecs_image_id: ecs_image_id.into(),
        platform: platform.into(),
        kind: "Self".into(),
        creation_time: context.now,
        ..Image::default()
    })
}

fn check_ecs_image(settings: &Settings, id: &str) -> Result<(), Refusal> {
    let is_in = |list: &[String]| list.iter().any(|listed| listed == id);
    if is_in(&settings.missing_ecs_images) {
        return Err(invalid("EcsImageId", "The specified EcsImageId does not exist or not you onwer."));
    }
    if is_in(&settings.unavailable_ecs_images) {
        return Err(invalid("EcsImageId", "The image is not available."));
    }
    if is_in(&settings.unsharable_ecs_images) {
        return Err(invalid(
            "EcsImageId",
            "The share Image Quota exceeds or the shared image user quota exceeds.",
        ));
    }
    Ok(())
}

fn check_role(settings: &Settings) -> Result<(), Refusal> {
    if !settings.role_exists {
        return Err(invalid("RoleArn", "You haven\u{2019}t created AliyunBatchComputeDefaultRole yet."));
    }
    if !settings.role_can_share {
        return Err(invalid(
            "RoleArn",
            "AliyunBatchComputeDefaultRole don\u{2019}t have access to share image.",
        ));
    }
    Ok(())
}

/// What a caller sees: its own images and the system's.
fn seen<'a>(state: &'a State, caller: &Caller, id: &str) -> Result<&'a Image, Refusal> {
    let image = state.images.get(id).filter(|image| image.region == caller.region);
    image.filter(|image| image.account == caller.account || image.kind == "System").ok_or_else(not_found)
}

pub(super) fn get(
    state: &State,
    caller: &Caller,
    id: &str,
    settings: &crate::settings::Settings,
) -> Result<Value, Refusal> {
    seen(state, caller, id).map(|image| shown(image, settings))
}

pub(super) fn list(
    state: &State,
    caller: &Caller,
    query: &[(String, String)],
    context: &Context<'_>,
) -> Result<Value, Refusal> {
    let get = |name: &str| {
        query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    };
    let size = match get("MaxItemCount") {
        None => 50,
        Some(text) => text
            .parse()
            .ok()
            .filter(|size| (1..=100).contains(size))
            .ok_or_else(|| invalid("MaxItemCount", "Its value must be in [1, 100]."))?,
    };
    let after = match get("Marker") {
        None => None,
        Some(marker) => Some(read_token(marker).ok_or_else(|| invalid("Marker", ""))?),
    };
    // An unknown type is ignored.
    let kind = if get("Type") == Some("System") { "System" } else { "Self" };
    let matching = state.images.iter().filter(|(_, image)| {
        image.kind == kind
            && image.region == caller.region
            && (image.account == caller.account || kind == "System")
            && image.creation_time <= context.shown_until()
    });
    let (rows, next) = page(matching, after, size, ascending);
    let items: Vec<Value> = rows.into_iter().map(|image| shown(image, &context.settings)).collect();
    Ok(json!({ "NextMarker": next, "Items": items }))
}

fn shown(image: &Image, settings: &crate::settings::Settings) -> Value {
    let owner = match image.account.parse::<u64>() {
        Ok(number) if settings.batchcompute.owner_id_as_number => json!(number),
        _ => json!(image.account),
    };
    json!({
        "Id": image.id,
        "Name": image.name,
        "Type": image.kind,
        "Description": if image.description.is_empty() { String::new() } else { settings.texts.of(&image.description) },
        "EcsImageId": image.ecs_image_id,
        "OwnerId": owner,
        "Platform": image.platform,
        "CreationTime": image.creation_time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
    })
}

pub(super) fn delete(
    state: &mut State,
    caller: &Caller,
    id: &str,
    context: &mut Context<'_>,
) -> Result<(), Refusal> {
    let image = seen(state, caller, id)?;
    if image.kind == "System" {
        return Err(Refusal::new(
            403,
            "Forbidden",
            "User not authorized to operate on the specified resource.",
        ));
    }
    if image.in_use {
        return Err(Refusal::new(409, "StateConflict", "The image is in use."));
    }
    check_role(&context.settings.batchcompute)?;
    if image.unshare_fails {
        return Err(invalid("EcsImageId", "The image cannot be unshared."));
    }
    state.images.remove(id);
    context.effect(Change::Deleted, id, None);
    Ok(())
}
