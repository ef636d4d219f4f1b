//! Volcengine ECS, API version 2020-04-01: how its calls are written, and the images that exports start from.
//!
//! Known: parameters, limits and page sizes of the SDK's models and the reference pages. Not known, and chosen here:
//! codes for wrong paging parameters, and that a `NextToken` that was never given starts over as it does for ACEP.

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::gateway::Admitted;
use super::{Settings, State};
use crate::ledger::Change;
use crate::paging::{descending, page, read_token};
use crate::server::Context;
use crate::wire::Refusal;

/// An image as the vendor keeps it. What a seed leaves out is chosen as the vendor would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EcsImage {
    /// `image-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// `available`, `creating` or `error`.
    pub status: String,
    /// `private` (a custom image), `public` or `shared`; only custom images can be exported.
    pub visibility: String,
    /// `Linux` or `Windows`.
    pub os_type: String,
    /// When it was made.
    pub created: Timestamp,
    /// Another operation holds it.
    pub locked: bool,
}

/// The parameters of a call: names and values, lists as `Name.1`, `Name.2`, …
pub(super) struct Query<'a>(pub(super) &'a [(String, String)]);

impl<'a> Query<'a> {
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn required(&self, name: &str) -> Result<&'a str, Refusal> {
        self.get(name).ok_or_else(|| {
            Refusal::new(
                400,
                format!("MissingParameter.{name}"),
                format!("The required parameter {name} is not supplied."),
            )
        })
    }

    /// At most `limit` values of `name.1`, `name.2`, …
    pub(super) fn list(&self, name: &str, limit: usize) -> Result<Vec<&'a str>, Refusal> {
        let mut items: Vec<(u32, &str)> = self
            .0
            .iter()
            .filter_map(|(key, value)| {
                Some((key.strip_prefix(name)?.strip_prefix('.')?.parse().ok()?, value.as_str()))
            })
            .collect();
        if items.len() > limit {
            return Err(Refusal::new(
                400,
                format!("LimitExceeded.{name}"),
                format!("The number of {name} exceeds {limit}."),
            ));
        }
        items.sort_unstable_by_key(|(number, _)| *number);
        Ok(items.into_iter().map(|(_, value)| value).collect())
    }

    /// How many rows, and after which place.
    pub(super) fn paging(&self, default: usize) -> Result<(usize, Option<u64>), Refusal> {
        let size = match self.get("MaxResults") {
            None => default,
            Some(text) => text.parse().ok().filter(|size| (1..=100).contains(size)).ok_or_else(|| {
                Refusal::new(
                    400,
                    "InvalidMaxResults.Malformed",
                    "The specified MaxResults must be between 1 and 100.",
                )
            })?,
        };
        Ok((size, self.get("NextToken").and_then(read_token)))
    }
}

pub(super) fn image_not_found() -> Refusal {
    Refusal::new(404, "InvalidImage.NotFound", "The specified image does not exist.")
}

impl State {
    /// An image that the account may use. Unless told otherwise any `image-…` exists, so that nobody has to seed one.
    pub(super) fn ecs_image(&self, id: &str, account: &str, settings: &Settings) -> Option<EcsImage> {
        match self.ecs_images.get(id) {
            Some(image) => (image.account == account || image.visibility != "private").then(|| image.clone()),
            None if settings.any_image_exists
                && id.starts_with("image-")
                && !self.removed_images.contains(id) =>
            {
                let mut image = EcsImage { id: id.into(), account: account.into(), ..EcsImage::default() };
                image.complete(Timestamp::UNIX_EPOCH);
                Some(image)
            }
            None => None,
        }
    }
}

impl EcsImage {
    pub(super) fn complete(&mut self, now: Timestamp) {
        for (value, default) in [
            (&mut self.status, "available"),
            (&mut self.visibility, "private"),
            (&mut self.os_type, "Linux"),
            (&mut self.name, self.id.as_str()),
        ] {
            if value.is_empty() {
                default.clone_into(value);
            }
        }
        if self.created == Timestamp::UNIX_EPOCH {
            self.created = now;
        }
    }
}

/// RFC 3339 with the offset `+08:00`, to the second.
pub(super) fn beijing_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::fixed(tz::offset(8))).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

pub(super) fn describe_images(
    state: &State,
    caller: &Admitted,
    query: &Query<'_>,
    context: &Context<'_>,
) -> Result<Value, Refusal> {
    let ids = query.list("ImageIds", 100)?;
    let statuses = query.list("Status", 10)?;
    let (name, visibility) = (query.get("ImageName"), query.get("Visibility"));
    let (size, after) = query.paging(15)?;
    let settings = &context.settings.volcengine;
    let kept =
        state.ecs_images.iter().rev().filter(|(_, image)| ids.is_empty() || ids.contains(&image.id.as_str()));
    let kept = kept.map(|(place, image)| (place, image.clone()));
    // Images that exist without having been seeded are found by id only, after all others.
    let implied = ids.iter().filter(|id| state.ecs_images.get(id).is_none());
    let implied = implied.filter_map(|id| Some((0, state.ecs_image(id, &caller.account, settings)?)));
    let matching: Vec<(u64, EcsImage)> = kept
        .chain(implied)
        .filter(|(_, image)| {
            (image.account == caller.account || image.visibility != "private")
                && image.created <= context.shown_until()
                && (statuses.is_empty() || statuses.contains(&image.status.as_str()))
                && name.is_none_or(|name| image.name == name)
                && visibility.is_none_or(|visibility| image.visibility == visibility)
        })
        .collect();
    let total = matching.len();
    let (rows, next) = page(matching, after, size, descending);
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|image| {
            json!({
                "ImageId": image.id,
                "ImageName": image.name,
                "Description": image.description,
                "Status": image.status,
                "Visibility": image.visibility,
                "OsType": image.os_type,
                "CreatedAt": beijing_time(image.created),
                "UpdatedAt": beijing_time(image.created),
            })
        })
        .collect();
    Ok(json!({ "Images": rows, "TotalCount": total, "NextToken": next }))
}

pub(super) fn modify_image(
    state: &mut State,
    caller: &Admitted,
    query: &Query<'_>,
    context: &mut Context<'_>,
) -> Result<Value, Refusal> {
    let id = query.required("ImageId")?;
    let image = state.ecs_image(id, &caller.account, &context.settings.volcengine);
    let before = image.filter(|image| image.visibility == "private").ok_or_else(image_not_found)?;
    let mut image = before.clone();
    if let Some(name) = query.get("ImageName") {
        name.clone_into(&mut image.name);
    }
    if let Some(description) = query.get("Description") {
        description.clone_into(&mut image.description);
    }
    if image != before {
        context.effect(Change::Changed, id, None);
        state.ecs_images.insert(id, image);
    }
    Ok(json!({}))
}

pub(super) fn delete_images(
    state: &mut State,
    caller: &Admitted,
    query: &Query<'_>,
    context: &mut Context<'_>,
) -> Result<Value, Refusal> {
    let ids = query.list("ImageIds", 100)?;
    if ids.is_empty() {
        query.required("ImageIds")?;
    }
    let mut details = Vec::new();
    for id in ids {
        let image = state.ecs_image(id, &caller.account, &context.settings.volcengine);
        let error = match image {
            None => Some(("InvalidImage.NotFound", "The specified image does not exist.")),
            Some(image) if image.visibility != "private" => Some((
                "InvalidImage.Shared",
                "The specified image has already been shared and may be in use by other users.",
            )),
            Some(image) if image.status == "creating" => Some((
                "InvalidImageStatus",
                "The specified image is not in the correct status for the request.",
            )),
            Some(_) if state.export_of(id, context.now).is_some() => Some((
                "OperationDenied.ImageIsExporting",
                "The specified operation is denied as your image is exporting.",
            )),
            Some(_) => None,
        };
        if let Some((code, message)) = error {
            details.push(json!({ "ImageId": id, "Error": { "Code": code, "Message": message } }));
        } else {
            state.ecs_images.remove(id);
            state.removed_images.insert(id.into());
            context.effect(Change::Deleted, id, None);
            details.push(json!({ "ImageId": id }));
        }
    }
    Ok(json!({ "OperationDetails": details }))
}
