//! Custom images of ECS, their snapshots, and `DescribeImages` and `DescribeSnapshots`.
//!
//! Known: that `DescribeImages` shows what is Available unless it is asked for other statuses, that its filter by name takes
//! parts of a name, its pages by number, the phases of a copy, and that snapshots stay when their image is deleted. Not known,
//! and chosen here: how long a copy takes ([`Settings::copy_seconds`](super::Settings::copy_seconds)), whether and when
//! `Usable` is told, the order of the list (newest first), and codes for wrong pages.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::parameters::{Parameters, has_tags, shown_tags, tag_rows};
use super::{Place, State};
use crate::clock::shifted;
use crate::server::Context;
use crate::wire::Refusal;
use crate::work::{Stage, Work};

/// A custom image as the vendor keeps it. What a seed leaves out is chosen as the vendor would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Image {
    /// `m-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Where it is.
    pub region: String,
    /// Unique in its account and region.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// The resource group that it is in.
    pub resource_group_id: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was asked for.
    pub creation_time: Timestamp,
    /// The image that it is a copy of; none: it was made otherwise.
    pub copied_from: Option<String>,
    /// How the copy goes.
    pub work: Work,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The key of KMS that it is encrypted with; none: that of the service.
    pub kms_key: Option<String>,
    /// The snapshots that it consists of when it is there.
    pub snapshots: Vec<String>,
    /// A community image.
    pub public: bool,
    /// The accounts that it is shared with.
    pub shared_with: BTreeSet<String>,
    /// Whether an instance uses it.
    pub in_use: bool,
    /// Shown instead of the status that its work has, such as `Deprecated`.
    pub odd_status: Option<String>,
}

impl Image {
    /// What `DescribeImages` says.
    pub fn status(&self, now: Timestamp) -> &str {
        match self.work.stage(now) {
            _ if self.odd_status.is_some() => self.odd_status.as_deref().unwrap_or_default(),
            Stage::Waiting => "Waiting",
            Stage::Running => "Creating",
            Stage::Succeeded => "Available",
            Stage::Failed => "CreateFailed",
        }
    }

    /// Whether it is being copied, or waits for its turn.
    pub fn is_being_copied(&self, now: Timestamp) -> bool {
        matches!(self.work.stage(now), Stage::Waiting | Stage::Running)
    }

    /// The snapshots that there are of it: those of a copy that is not done, or failed, are none.
    fn snapshots_at(&self, now: Timestamp) -> &[String] {
        if self.work.stage(now) == Stage::Succeeded { &self.snapshots } else { &[] }
    }
}

/// A snapshot whose image is gone. It costs until somebody deletes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Snapshot {
    /// `s-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Where it is.
    pub region: String,
    /// The image that it was made for.
    pub image: String,
}

impl State {
    /// The account's image with this id in this region.
    pub(super) fn image(&self, place: &Place, id: &str) -> Option<&Image> {
        self.images.get(id).filter(|image| place.has(*image))
    }

    pub(super) fn image_mut(&mut self, place: &Place, id: &str) -> Option<&mut Image> {
        self.images.get_mut(id).filter(|image| place.has(&**image))
    }

    /// Takes an image away; its snapshots stay.
    pub(super) fn remove_image(&mut self, id: &str, now: Timestamp) -> Option<Image> {
        let image = self.images.remove(id)?;
        for snapshot in image.snapshots_at(now) {
            let left = Snapshot {
                id: snapshot.clone(),
                account: image.account.clone(),
                region: image.region.clone(),
                image: image.id.clone(),
            };
            self.snapshots.insert(snapshot.clone(), left);
        }
        Some(image)
    }

    /// How many snapshots the account has in the region, with those of images that are being made.
    pub(super) fn snapshots_of(&self, place: &Place) -> usize {
        let used = self.images.values().filter(|image| place.has(*image)).map(|image| image.snapshots.len());
        self.snapshots.values().filter(|left| place.has(*left)).count() + used.sum::<usize>()
    }

    /// Where the snapshot is, whoever's it is.
    pub(super) fn region_of_snapshot(&self, id: &str) -> Option<String> {
        let is_it = |snapshots: &[String]| snapshots.iter().any(|snapshot| snapshot == id);
        let of_image = self.images.values().find(|image| is_it(&image.snapshots)).map(|image| &image.region);
        self.snapshots.get(id).map(|left| &left.region).or(of_image).cloned()
    }

    /// Whether the snapshot is one of an image that is there.
    pub(super) fn is_in_an_image(&self, place: &Place, snapshot: &str, now: Timestamp) -> bool {
        let mut images = self.images.values();
        images.any(|image| place.has(image) && image.snapshots_at(now).iter().any(|id| id == snapshot))
    }
}

pub(super) fn image_not_found() -> Refusal {
    Refusal::new(404, "InvalidImageId.NotFound", "The specified ImageId does not exist.")
}

/// All statuses that there are.
const STATUSES: [&str; 6] = ["Creating", "Waiting", "Available", "UnAvailable", "CreateFailed", "Deprecated"];

pub(super) fn describe(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let text = |name| parameters.get(name).filter(|value: &&str| !value.is_empty());
    let statuses: Vec<&str> = match text("Status") {
        None => vec!["Available"],
        Some("ALL") => STATUSES.to_vec(),
        Some(list) => list.split(',').map(str::trim).collect(),
    };
    if statuses.iter().any(|status| !STATUSES.contains(status)) {
        return Err(invalid("Status", "is not valid"));
    }
    let owner = text("ImageOwnerAlias");
    let tags = parameters.tags();
    let (number, size) = page(parameters)?;
    let matching: Vec<&Image> = state
        .images
        .values()
        .rev()
        .filter(|image| image.region == place.region && image.creation_time <= context.shown_until())
        .filter(|image| match owner {
            Some("self") => image.account == place.account,
            Some("others") => {
                image.account != place.account && (image.public || image.shared_with.contains(&place.account))
            }
            Some(_) => false,
            None => {
                image.account == place.account || image.public || image.shared_with.contains(&place.account)
            }
        })
        .filter(|image| text("ImageId").is_none_or(|id| id == image.id))
        .filter(|image| text("ImageName").is_none_or(|part| image.name.contains(part)))
        .filter(|image| {
            let status = image.status(context.now);
            statuses.contains(&status) || !STATUSES.contains(&status)
        })
        .filter(|image| has_tags(shown_tags(&image.tags, image.creation_time, context), &tags))
        .collect();
    let total = matching.len();
    let rows = matching.into_iter().skip((number - 1).saturating_mul(size)).take(size);
    let rows: Vec<Value> = rows.map(|image| shown(image, place, context)).collect();
    Ok(Map::from_iter([
        ("Images".to_owned(), json!({ "Image": rows })),
        ("RegionId".to_owned(), place.region.clone().into()),
        ("PageNumber".to_owned(), number.into()),
        ("PageSize".to_owned(), size.into()),
        ("TotalCount".to_owned(), total.into()),
    ]))
}

/// `PageNumber` and `PageSize`, which is 10 unless something else is said, and 100 at most.
pub(super) fn page(parameters: &Parameters) -> Result<(usize, usize), Refusal> {
    let number = |name: &str, default: usize, most: usize| match parameters
        .get(name)
        .filter(|text| !text.is_empty())
    {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|value| (1..=most).contains(value))
            .ok_or_else(|| invalid(name, "is out of range")),
    };
    Ok((number("PageNumber", 1, usize::MAX)?, number("PageSize", 10, 100)?))
}

fn invalid(name: &str, what: &str) -> Refusal {
    Refusal::new(400, format!("InvalidParameter.{name}"), format!("The specified {name} {what}."))
}

fn shown(image: &Image, place: &Place, context: &Context<'_>) -> Value {
    let (now, texts) = (context.now, context.settings.texts);
    let status = image.status(now);
    let progress = format!("{}%", image.work.percent(now));
    let left = image.work.ended().map_or(0, |end| end.duration_since(now).as_secs().max(0));
    let disk = |snapshot: Option<&String>| {
        json!({
            "SnapshotId": snapshot.map(String::as_str).unwrap_or_default(),
            "Device": "/dev/xvda",
            "Type": "system",
            "Size": "40",
            "Format": "",
            "Progress": progress,
            "RemainTime": left,
            "Encrypted": image.encrypted,
        })
    };
    let disks: Vec<Value> = match image.snapshots_at(now) {
        [] => vec![disk(None)],
        snapshots => snapshots.iter().map(|snapshot| disk(Some(snapshot))).collect(),
    };
    let mut row = json!({
        "ImageId": image.id,
        "ImageName": texts.of(&image.name),
        "Description": image.description.as_deref().map(|text| texts.of(text)).unwrap_or_default(),
        "ImageOwnerAlias": if image.account == place.account { "self" } else { "others" },
        "Status": status,
        "Progress": progress,
        "CreationTime": image.creation_time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "IsCopied": image.copied_from.is_some(),
        "IsPublic": image.public,
        "ResourceGroupId": image.resource_group_id,
        "Size": 40,
        "Tags": tag_rows(shown_tags(&image.tags, image.creation_time, context)),
        "DiskDeviceMappings": { "DiskDeviceMapping": disks },
    });
    if let Some(seconds) = context.settings.aliyun_ecs.usable_after_seconds {
        let is_usable = image.work.ended().is_some_and(|end| shifted(end, seconds) <= now);
        row["Usable"] = json!(status == "Available" && is_usable);
    }
    row
}

pub(super) fn describe_snapshots(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let (number, size) = page(parameters)?;
    let left = state.snapshots.values().filter(|left| place.has(*left)).map(|left| &left.id);
    let images = state.images.values().filter(|image| place.has(*image));
    let used = images.flat_map(|image| image.snapshots_at(context.now));
    let all: Vec<&String> = left.chain(used).collect();
    let total = all.len();
    let rows = all.into_iter().skip((number - 1).saturating_mul(size)).take(size);
    let rows: Vec<Value> = rows.map(|id| json!({ "SnapshotId": id, "Status": "accomplished" })).collect();
    Ok(Map::from_iter([
        ("Snapshots".to_owned(), json!({ "Snapshot": rows })),
        ("PageNumber".to_owned(), number.into()),
        ("PageSize".to_owned(), size.into()),
        ("TotalCount".to_owned(), total.into()),
    ]))
}
