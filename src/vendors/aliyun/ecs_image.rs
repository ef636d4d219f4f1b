//! Custom images of Alibaba Cloud ECS: what all kinds share whose result is one. Which are there, how they are, their attributes
//! and tags, their deletion, and the snapshots that it leaves.

use super::{
    Client,
    image_component::pair,
    sharing::{self, Sharing},
    tags::{self, Tag, Thing},
};
use crate::{
    account::AccountVendor,
    engine::{
        existing::Mark,
        external::External,
        pace,
        preflight::{Needed, Obstacle},
        progress::{Deletion, Failure, Handle, Hindrance, Observation, Product},
    },
    image::ImageStatus,
    vendors::{normalise, percent::percent},
    wire::{CallError, Class, Effect, endpoint::Endpoints, pages},
};
use futures::{TryFutureExt, future::BoxFuture};
use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// What tells the rows of DescribeImages apart.
pub(super) const ROW_ID: &str = "imageId";

/// All statuses: without them, the vendor shows what is Available, so that an image in the making looks as if it were gone.
const STATUSES: &str = "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated";

/// What deletes an image.
const DELETE: &str = "DeleteImage";
/// What deletes a snapshot.
const DELETE_SNAPSHOT: &str = "DeleteSnapshot";

/// The most rows on a page.
const PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    /// In every answer of the vendor's.
    #[serde(default)]
    request_id: Option<IgnoredAny>,
    #[serde(default)]
    images: Option<Set>,
    #[serde(default)]
    total_count: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Set {
    #[serde(default)]
    image: Option<Vec<Value>>,
}

/// One page of DescribeImages in a region.
async fn describe(
    client: &Client,
    region: &str,
    filter: Vec<(String, String)>,
    next: Option<String>,
) -> Result<pages::Page, CallError> {
    let number = pages::number(next.as_deref());
    let page = [
        pair("Status", STATUSES),
        pair("PageSize", PAGE.to_string()),
        pair("PageNumber", number.to_string()),
    ];
    let params: Vec<_> = page.into_iter().chain(filter).collect();
    let answer: Images = client.ecs("DescribeImages", Effect::Read, region, &params).await?.value;
    // An answer without anything that the vendor's has does not say that there is no image: something in between gave it.
    if answer.images.is_none() && answer.request_id.is_none() {
        return Err(Effect::Read.unanswered("DescribeImages was answered with nothing".into()));
    }
    let rows = answer.images.and_then(|set| set.image).unwrap_or_default();
    Ok(pages::Page::numbered(number, PAGE, rows, answer.total_count.as_u64()))
}

/// One page of the account's own images in a region.
async fn own(
    client: &Client,
    region: &str,
    filter: &[(String, String)],
    next: Option<String>,
) -> Result<pages::Page, CallError> {
    let own = [pair("ImageOwnerAlias", "self")].into_iter().chain(filter.iter().cloned());
    describe(client, region, own.collect(), next).await
}

/// All of the account's own images in a region, or the first pages that are `enough`; keys in lowerCamelCase.
pub(super) async fn list(
    client: &Client,
    region: &str,
    filter: &[(String, String)],
    enough: impl FnMut(&[Value]) -> bool,
) -> Result<Vec<Value>, CallError> {
    pages::all(ROW_ID, |next| own(client, region, filter, next), enough).await
}

/// One page of the account's own images.
pub(super) async fn page(
    client: &Client,
    region: &str,
    next: Option<String>,
) -> Result<pages::Page, CallError> {
    own(client, region, &[], next).await
}

/// The account's own images in a region that have this name. The vendor's filter takes parts of a name, so it is compared here.
pub(super) async fn named(client: &Client, region: &str, name: &str) -> Result<Vec<Handle>, CallError> {
    let rows = list(client, region, &[pair("ImageName", name)], |_| false).await?;
    let named = rows.iter().filter_map(Image::read).filter(|image| normalise::same(name, &image.name));
    Ok(named.map(|image| Handle::image(image.id)).collect())
}

/// The image with this id, whoever's it is; keys in lowerCamelCase.
pub(super) async fn get(client: &Client, region: &str, id: &str) -> Result<Option<Value>, CallError> {
    let read = |next| describe(client, region, vec![pair("ImageId", id)], next);
    let is_it = |row: &Value| row[ROW_ID].as_str() == Some(id);
    let rows = pages::all(ROW_ID, read, |rows| rows.iter().any(is_it)).await?;
    Ok(rows.into_iter().find(is_it))
}

/// The rows of these images. Several are looked for in the list of all, in at most as many pages; whatever a list does not show,
/// since a deletion moved it or it is not the account's, is asked for by its id.
pub(super) async fn rows(
    client: &Client,
    region: &str,
    handles: &[Handle],
) -> Result<HashMap<Handle, Value>, CallError> {
    rows_within(client, region, handles, usize::MAX).await
}

/// The same in no more than so many calls: what they are not enough for has the row `null`.
async fn rows_within(
    client: &Client,
    region: &str,
    handles: &[Handle],
    most: usize,
) -> Result<HashMap<Handle, Value>, CallError> {
    let mut found = HashMap::new();
    let mut calls = 0;
    if handles.len() > 1 {
        let shows = |rows: &[Value], handle: &Handle| {
            rows.iter().any(|row| row[ROW_ID].as_str() == Some(handle.id()))
        };
        let listed = list(client, region, &[], |rows| {
            calls += 1;
            calls >= handles.len() || handles.iter().all(|handle| shows(rows, handle))
        });
        for row in listed.await? {
            if let Some(id) = row[ROW_ID].as_str() {
                found.insert(id.to_owned(), row);
            }
        }
        // The last page, of which nobody asks whether it is enough.
        calls += 1;
    }
    let mut seen = HashMap::new();
    for handle in handles {
        let row = match found.remove(handle.id()) {
            Some(row) => Some(row),
            None if calls >= most => Some(Value::Null),
            None => {
                calls += 1;
                get(client, region, handle.id()).await?
            }
        };
        seen.extend(row.map(|row| (handle.clone(), row)));
    }
    Ok(seen)
}

/// What would be in vain to copy, before it is asked for: see `External::preflight`.
pub(super) fn uncopiable(needed: &Needed<'_>, row: Option<&Value>) -> Option<Obstacle> {
    let id = needed.id;
    // What the vendor does not show may be another account's: it says so at once when it is asked to copy it.
    let row = row?;
    if sharing::is_public(row) {
        return Some(Obstacle::lasting(format!(
            "{id} is published as a community image, which the vendor does not copy: copy it before it is published, or copy \
             another image / 镜像 {id} 已发布为社区镜像，厂商不支持复制，请在发布前复制，或改用其他镜像"
        )));
    }
    match row["status"].as_str()? {
        status @ ("Creating" | "Waiting") => Some(Obstacle::passing(format!(
            "the image {id} is still being made (status {status}), and is copied when it is Available"
        ))),
        status @ ("CreateFailed" | "Deprecated" | "UnAvailable") => Some(Obstacle::lasting(format!(
            "the image {id} has the status {status}, and the vendor copies only what is Available; copy another image, or see to \
             this one in the console / 镜像 {id} 的状态为 {status}，厂商只复制可用的镜像；请改用其他镜像，或在控制台处理"
        ))),
        _ => None,
    }
}

/// Whether the name of a copy is another's, whatever made that: names are unique in a region. What bears the object's own mark, and
/// what bears none and is not older than the object, may have come of an earlier call of its own.
pub(super) fn name_taken(needed: &Needed<'_>, row: Option<&Value>) -> Option<Obstacle> {
    let image = Image::read(row?)?;
    let is_anothers = match (image.maker(), needed.born) {
        (Some(Mark::Of(uid)), _) => uid != needed.uid,
        // Nothing was asked for yet by what the API server does not have.
        (_, None) => true,
        (_, Some(born)) => {
            let before = born.checked_sub(pace::SKEW).unwrap_or(Timestamp::UNIX_EPOCH);
            image.created.is_some_and(|created| created < before)
        }
    };
    let (id, name) = (&image.id, needed.id);
    is_anothers.then(|| {
        Obstacle::taken(format!(
            "{id} in the copy's region has the name {name} already, and names are unique in a region; use another \
             destinationImageName, or take it over with spec.import / 目标地域的镜像 {id} 已使用名称 {name}，同一地域内镜像名称必须\
             唯一；请更换 destinationImageName，或用 spec.import 接管"
        ))
    })
}

/// For [`name_taken`]: the account's own images with these names, by name. One name is a filter; several are looked for in the list
/// of all.
pub(super) fn by_name(
    client: Client,
    region: String,
    names: Vec<String>,
) -> BoxFuture<'static, Result<HashMap<String, Value>, CallError>> {
    Box::pin(async move {
        let filter = match &*names {
            [name] => vec![pair("ImageName", name)],
            _ => vec![],
        };
        let (mut found, mut calls, mut is_cut) = (HashMap::new(), 0, false);
        let most = names.len();
        let rows = list(&client, &region, &filter, |_| {
            calls += 1;
            is_cut = calls >= most;
            is_cut
        });
        for row in rows.await? {
            if let Some(name) = row["imageName"].as_str() {
                found.insert(name.to_owned(), row);
            }
        }
        let row = |name: String| match found.remove(&name) {
            None if is_cut => Some((name, Value::Null)),
            row => Some((name, row?)),
        };
        Ok(names.into_iter().filter_map(row).collect())
    })
}

/// For [`uncopiable`]: the rows of these images by their ids.
pub(super) fn by_id(
    client: Client,
    region: String,
    ids: Vec<String>,
) -> BoxFuture<'static, Result<HashMap<String, Value>, CallError>> {
    let handles: Vec<_> = ids.into_iter().map(Handle::image).collect();
    let rows = async move { rows_within(&client, &region, &handles, handles.len()).await };
    Box::pin(
        rows.map_ok(|rows| rows.into_iter().map(|(handle, row)| (handle.id().to_owned(), row)).collect()),
    )
}

/// The part of a row that decides something.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) status: String,
    pub(super) resource_group_id: String,
    pub(super) created: Option<Timestamp>,
    pub(super) tags: Vec<Tag>,
    /// The token of the attempt that made it.
    pub(super) mark: Option<String>,
    /// `Some(false)`: Available came before it can be used.
    pub(super) usable: Option<bool>,
    pub(super) is_copied: Option<bool>,
}

impl Image {
    /// `None`: it has no id. Keys in lowerCamelCase. What is absent or of another type than documented must not hide the rest.
    pub(super) fn read(row: &Value) -> Option<Self> {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let (mark, tags): (Vec<_>, Vec<_>) =
            tags::read(row).into_iter().partition(|tag| tag.key == tags::MARK);
        Some(Self {
            id: row[ROW_ID].as_str()?.to_owned(),
            name: text("imageName"),
            description: text("description"),
            status: text("status"),
            resource_group_id: text("resourceGroupId"),
            created: text("creationTime").parse().ok(),
            tags,
            mark: mark.into_iter().next().map(|tag| tag.value),
            usable: flag(&row["usable"]),
            is_copied: flag(&row["isCopied"]),
        })
    }

    /// Whose it is, as its mark says.
    pub(super) fn maker(&self) -> Option<Mark> {
        self.made_for().map(Mark::Of)
    }

    /// The uid in its mark.
    pub(super) fn made_for(&self) -> Option<String> {
        self.mark.as_deref().and_then(tags::made_for).map(str::to_owned)
    }

    /// Tags that users can set.
    pub(super) fn own_tags(&self) -> Vec<Value> {
        self.tags.iter().filter(|tag| tag.is_users()).map(|tag| serde_json::json!(tag)).collect()
    }
}

/// An image that was looked at: what is not usable yet, or failed, is not shown whole.
pub(super) async fn seen(
    client: &Client,
    region: &str,
    id: &str,
    seen: &Observation,
) -> Result<Option<Image>, CallError> {
    match seen.product() {
        Some(product) => Ok(Image::read(&product.at_provider)),
        None => Ok(get(client, region, id).await?.as_ref().and_then(Image::read)),
    }
}

pub(super) fn flag(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.trim().to_ascii_lowercase().parse().ok())
}

fn disks(row: &Value) -> impl Iterator<Item = &Value> {
    row["diskDeviceMappings"]["diskDeviceMapping"].as_array().into_iter().flatten()
}

/// The snapshots that an image consists of. They stay when it is deleted, and cost.
pub(super) fn snapshots(row: &Value) -> Vec<String> {
    let ids = disks(row).filter_map(|disk| disk["snapshotId"].as_str()).filter(|id| !id.is_empty());
    ids.map(str::to_owned).collect()
}

/// How it is. `None`: the row has no id.
pub(super) fn observation(row: &Value) -> Option<Observation> {
    let Image { id, status, usable, .. } = Image::read(row)?;
    let product = || Product { image_id: Some(id.clone()), at_provider: row.clone(), ..Product::default() };
    let unusable = |why: String, hindrance| Observation::Unusable { product: product(), why, hindrance };
    Some(match status.as_str() {
        "Available" if usable == Some(false) => unusable(
            format!("the vendor has {id}, which is Available and cannot be used yet"),
            Hindrance::Passing,
        ),
        "Available" => Observation::Ready(product()),
        "Creating" => Observation::Building { percent: percent(&row["progress"]), note: remaining(&id, row) },
        "Waiting" => Observation::Building {
            percent: None,
            note: Some(format!(
                "{id} waits at the vendor for its turn: five images are copied at a time in each region"
            )),
        },
        "CreateFailed" => Observation::Failed(Failure {
            reason: "BuildFailed".into(),
            message: format!(
                "the vendor could not make {id} (CreateFailed), and says no more; look at it in the console, and try again / 厂商\
                 未能生成镜像 {id}（CreateFailed），且未说明原因；请在控制台查看后重试"
            ),
            left: None,
        }),
        "Deprecated" => unusable(
            format!(
                "{id} is deprecated at the vendor, so that nobody can use it; make it Available again in the console / 镜像 {id} \
                 已被弃用，无法使用；请在控制台恢复为可用"
            ),
            Hindrance::Lasting,
        ),
        "UnAvailable" => unusable(
            format!(
                "{id} is UnAvailable at the vendor; it is looked at until it is Available, look at it in the console if that stays / \
                 镜像 {id} 在厂商侧不可用（UnAvailable）；恢复后会自动继续，若持续如此，请在控制台查看"
            ),
            Hindrance::Unknown,
        ),
        _ => Observation::Building {
            percent: percent(&row["progress"]),
            note: Some(format!("the vendor says that {id} has status {}", row["status"])),
        },
    })
}

/// How long it still takes, as the vendor says of its slowest disk: in steps, since each word of it is a write of the status.
fn remaining(id: &str, row: &Value) -> Option<String> {
    let seconds =
        |disk: &Value| disk["remainTime"].as_u64().or_else(|| disk["remainTime"].as_str()?.parse().ok());
    let left = disks(row).filter_map(seconds).max()?;
    let left = match left {
        0..=120 => return None,
        121..=600 => "at most ten minutes".to_owned(),
        601..=1800 => "at most half an hour".to_owned(),
        1801..=3600 => "at most an hour".to_owned(),
        more => format!("about {} hours", more.div_ceil(3600)),
    };
    Some(format!("the vendor says that {id} takes {left} more"))
}

/// What an image is to be, as far as the vendor can change it. `None`: as it is.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) tags: tags::Changes,
    pub(super) sharing: sharing::Changes,
}

/// ModifyImageAttribute, UntagResources, TagResources and ModifyImageSharePermission, as far as something changes.
pub(super) async fn amend(
    client: &Client,
    region: &str,
    id: &str,
    changes: Changes,
) -> Result<(), CallError> {
    let Changes { name, description, tags, sharing } = changes;
    let attributes = [("ImageName", name), ("Description", description)];
    let attributes: Vec<_> =
        attributes.into_iter().filter_map(|(key, value)| Some(pair(key, value?))).collect();
    if !attributes.is_empty() {
        let params: Vec<_> = [pair("ImageId", id)].into_iter().chain(attributes).collect();
        client.ecs::<IgnoredAny>("ModifyImageAttribute", Effect::Change, region, &params).await?;
    }
    tags.make(client, region, Thing { resource_type: "image", id }).await?;
    sharing.make(client, region, id).await
}

/// A call of one image that changes it. A missing one is as good as changed: `Ok(false)`.
pub(super) async fn change(
    client: &Client,
    action: &'static str,
    region: &str,
    id: &str,
) -> Result<bool, CallError> {
    match client.ecs::<IgnoredAny>(action, Effect::Change, region, &[pair("ImageId", id)]).await {
        Ok(_) => Ok(true),
        Err(CallError::Refused(refusal)) if refusal.class == Class::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// DeleteSnapshot of each. What is gone already counts as deleted.
pub(super) async fn delete_snapshots(client: &Client, region: &str, ids: &[String]) -> Result<(), CallError> {
    for id in ids {
        match client
            .ecs::<IgnoredAny>(DELETE_SNAPSHOT, Effect::Change, region, &[pair("SnapshotId", id)])
            .await
        {
            Err(CallError::Refused(refusal)) if refusal.class == Class::NotFound => {}
            done => drop(done?),
        }
    }
    Ok(())
}

/// What an object knows of the snapshots that its image consists of: the vendor keeps them when the image is deleted, and only the
/// status knows of them then.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// They are deleted with the image.
    pub(super) deletes: bool,
    /// Those of which the status tells.
    pub(super) known: Vec<String>,
}

impl Snapshots {
    /// As the status has it.
    pub(super) fn of(status: Option<&ImageStatus>, deletes: bool) -> Self {
        let row = status.and_then(|status| status.at_provider.as_ref());
        Self { deletes, known: row.map(snapshots).unwrap_or_default() }
    }

    /// What has to be in the status before the image is deleted, of which `row` is what the vendor shows. `None`: it is there.
    pub(super) fn unseen(&self, id: &str, row: &Value) -> Option<Product> {
        let is_known = || snapshots(row).iter().all(|id| self.known.contains(id));
        (self.deletes && !is_known()).then(|| Product {
            image_id: Some(id.to_owned()),
            at_provider: row.clone(),
            ..Product::default()
        })
    }
}

/// The deletion of an object's image: what is taken back before, and which snapshots go after it.
#[derive(Debug)]
pub(super) struct ImageDeletion<'a> {
    pub(super) snapshots: Snapshots,
    sharing: &'a Sharing,
    /// What of its sharing and tags the spec names, or named once.
    ours: BTreeSet<String>,
}

impl<'a> ImageDeletion<'a> {
    /// `deletes_snapshots`: what the spec says of them. Unless it says anything, those of an image that was there before go on.
    pub(super) fn of(object: &impl External, deletes_snapshots: Option<bool>, sharing: &'a Sharing) -> Self {
        let deletes = deletes_snapshots.unwrap_or_else(|| !object.took_over());
        Self {
            snapshots: Snapshots::of(object.status(), deletes),
            sharing,
            ours: object.named().into_iter().chain(object.dropped()).collect(),
        }
    }

    /// The calls of [`Self::delete`] that change something, and the snapshots that they delete, as far as the status tells. `row`:
    /// what it has of the image.
    pub(super) fn calls(&self, row: Option<&Value>) -> (Vec<&'static str>, Vec<String>) {
        let Snapshots { deletes, known, .. } = &self.snapshots;
        let snapshots = if *deletes { known.clone() } else { vec![] };
        let unshared = row.map_or(0, |row| self.sharing.calls_to_end(row, &self.ours));
        let calls =
            [vec![sharing::MODIFY; unshared], vec![DELETE], vec![DELETE_SNAPSHOT; snapshots.len()]].concat();
        (calls, snapshots)
    }

    /// Unshares and deletes an image, of which `row` is what the vendor shows, and then the snapshots that it leaves. What a list
    /// does not show, since it is new, is deleted by its id all the same. To be called again until it is gone.
    pub(super) async fn delete(
        &self,
        client: &Client,
        region: &str,
        id: &str,
        row: Option<&Value>,
    ) -> Result<Deletion, CallError> {
        let Snapshots { deletes, known, .. } = &self.snapshots;
        if let Some(row) = row {
            if let Some(product) = self.snapshots.unseen(id, row) {
                return Ok(Deletion::Seen(product));
            }
            if let Some(why) = self.sharing.end(client, region, row, &self.ours).await? {
                return Ok(Deletion::Waiting(why));
            }
        }
        let was_there = change(client, DELETE, region, id).await?;
        if row.is_some() {
            return Ok(Deletion::Underway);
        }
        if *deletes {
            delete_snapshots(client, region, known).await?;
        }
        Ok(if *deletes && was_there && known.is_empty() {
            Deletion::Remains(format!(
                "{id} is deleted at the vendor, which took that and had never shown it: the snapshots that it may have left are not \
                 known, and cost; look for those of {id} in the console, and delete them there / 厂商已受理删除 {id}，但从未显示过该镜像，\
                 其可能遗留的快照未知且会计费，请在控制台查找并删除"
            ))
        } else {
            Deletion::Gone
        })
    }
}

/// Where the ids of a region's images mean what they do. `region`: the account's unless something else says.
pub(super) fn realm(account: &AccountVendor, region: Option<&str>) -> String {
    let account = account.aliyun.as_ref();
    let own = account.map(|account| account.region_id.as_str()).unwrap_or_default();
    let endpoint = account.and_then(|account| account.ecs.as_ref()?.endpoint.as_deref());
    format!("aliyun ecs {} {}", Endpoints::place(endpoint, super::DOMAINS), region.unwrap_or(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_says_how_an_image_is() {
        let row = |status: &str, more: Value| {
            let mut row = json!({ "imageId": "m-1", "status": status });
            json_patch(&mut row, more);
            observation(&row)
        };
        let minutes = |seconds: Value| json!({ "progress": "32%", "diskDeviceMappings": { "diskDeviceMapping": [{ "remainTime": seconds }, {}] } });
        let building = |percent, note: &str| {
            Some(Observation::Building { percent, note: (!note.is_empty()).then(|| note.to_owned()) })
        };
        for (status, more, expected) in [
            ("Creating", json!({ "progress": "32%" }), building(Some(32), "")),
            ("Creating", minutes(json!(90)), building(Some(32), "")),
            (
                "Creating",
                minutes(json!(500)),
                building(Some(32), "the vendor says that m-1 takes at most ten minutes more"),
            ),
            (
                "Creating",
                minutes(json!("7300")),
                building(Some(32), "the vendor says that m-1 takes about 3 hours more"),
            ),
            ("Creating", json!({ "progress": null, "diskDeviceMappings": 7 }), building(None, "")),
            ("Sleeping", json!({}), building(None, "the vendor says that m-1 has status \"Sleeping\"")),
        ] {
            assert_eq!(row(status, more.clone()), expected, "{status} {more}");
        }
        assert!(matches!(
            row("Waiting", json!({})),
            Some(Observation::Building { note: Some(_), percent: None })
        ));
        for usable in [json!(null), json!(true), json!("true"), json!(7)] {
            assert!(
                matches!(row("Available", json!({ "usable": usable })), Some(Observation::Ready(_))),
                "{usable}"
            );
        }
        for (status, usable, expected) in [
            ("Available", json!(false), Hindrance::Passing),
            ("Available", json!("False"), Hindrance::Passing),
            ("UnAvailable", json!(true), Hindrance::Unknown),
            ("Deprecated", json!(true), Hindrance::Lasting),
        ] {
            let seen = row(status, json!({ "usable": usable }));
            assert!(
                matches!(seen, Some(Observation::Unusable { hindrance, .. }) if hindrance == expected),
                "{status}"
            );
        }
        assert!(matches!(row("CreateFailed", json!({})), Some(Observation::Failed(_))));
        assert_eq!(observation(&json!({ "status": "Available" })), None);
    }

    #[test]
    fn a_name_is_taken_by_what_did_not_come_of_a_call_of_ones_own() {
        const UID: &str = "123e4567-e89b-12d3-a456-426655440000";
        let born: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
        let judge = |row: Value, born: Option<Timestamp>| {
            name_taken(&Needed { id: "base", uid: UID, born }, Some(&row)).map(|obstacle| obstacle.reason)
        };
        let row = |mark: Option<String>, created: Value| {
            let tags: Vec<_> =
                mark.iter().map(|mark| json!({ "tagKey": tags::MARK, "tagValue": mark })).collect();
            json!({ "imageId": "m-1", "imageName": "base", "creationTime": created, "tags": { "tag": tags } })
        };
        let others = "00000000-e89b-12d3-a456-426655440000-1".to_owned();
        let (old, new) = (json!("2026-11-26T11:40:00Z"), json!("2026-11-26T12:00:30Z"));
        for (mark, created, taken) in [
            (Some(format!("{UID}-1")), &new, false),
            (Some(format!("{UID}-7")), &old, false),
            (Some(others.clone()), &new, true),
            (Some(others), &old, true),
            // It may be that the vendor does not show tags at once, or that clocks differ.
            (None, &new, false),
            (None, &json!("2026-11-26T11:50:00Z"), false),
            (None, &Value::Null, false),
            (None, &old, true),
            (Some("nonsense".into()), &old, true),
        ] {
            let expected = taken.then_some("AlreadyExists");
            assert_eq!(judge(row(mark.clone(), created.clone()), Some(born)), expected, "{mark:?} {created}");
        }
        // What the API server does not have yet asked for nothing.
        assert_eq!(judge(row(None, new), None), Some("AlreadyExists"));
        assert_eq!(judge(Value::Null, Some(born)), None, "not looked for to the end");
        assert_eq!(name_taken(&Needed { id: "base", uid: UID, born: None }, None), None);
    }

    fn json_patch(row: &mut Value, more: Value) {
        if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
            row.extend(more);
        }
    }

    #[test]
    fn a_mark_names_its_object_and_is_no_tag_of_the_users() {
        let tags = |value: &str| json!({ "tag": [{ "tagKey": tags::MARK, "tagValue": value }, { "tagKey": "a", "tagValue": "b" }, { "tagKey": "acs:rm", "tagValue": "x" }] });
        let image = |value| Image::read(&json!({ "imageId": "m-1", "tags": tags(value) })).unwrap();
        for (mark, maker) in [
            ("5c2f-4000-2", Some(Mark::Of("5c2f-4000".into()))),
            ("5c2f", None),
            ("-1", None),
            ("a-b", None),
            ("", None),
        ] {
            assert_eq!(image(mark).maker(), maker, "{mark}");
        }
        let image = image("u-1");
        assert_eq!((image.tags.len(), image.own_tags()), (2, vec![json!({ "key": "a", "value": "b" })]));
    }

    #[test]
    fn snapshots_are_read_as_far_as_they_are_told() {
        let row = |disks: Value| json!({ "diskDeviceMappings": { "diskDeviceMapping": disks } });
        assert_eq!(
            snapshots(&row(
                json!([{ "snapshotId": "s-1" }, { "snapshotId": "" }, {}, { "snapshotId": "s-2" }])
            )),
            ["s-1", "s-2"]
        );
        for none in [row(json!(null)), json!({}), row(json!("s"))] {
            assert!(snapshots(&none).is_empty());
        }
    }
}
