//! What ZStack has of images: QueryImage, and what of a row decides something.

use super::{Call, Client, dates};
use crate::wire::{CallError, Effect, encode, pages};
use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// What tells one row from another.
pub(super) const ROW_ID: &str = "uuid";
/// How many rows a query answers unless it asks for another number.
const PAGE: usize = 1000;
/// How many are asked for where they are not all held at once.
pub(super) const LISTED: usize = 100;
/// What all images of the kind have in common.
pub(super) const TEMPLATES: &str = "mediaType=RootVolumeTemplate";

#[derive(Deserialize)]
struct Page {
    inventories: Vec<Value>,
    /// Of all rows, where that is asked for.
    #[serde(default, deserialize_with = "pages::total")]
    total: Option<u64>,
}

/// The part of an image's inventory that decides something.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) uuid: String,
    pub(super) status: String,
    pub(super) state: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) guest_os_type: Option<String>,
    pub(super) platform: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) system: Option<bool>,
    pub(super) virtio: Option<bool>,
    pub(super) create_date: Option<Timestamp>,
    pub(super) backup_storage_uuids: Vec<String>,
}

impl Inventory {
    /// One whose date cannot be read may be older.
    pub(super) fn is_young(&self, since: Timestamp) -> bool {
        self.create_date.is_some_and(|created| created >= since)
    }
}

/// What is absent or of another type than documented must not hide the rest.
pub(super) fn read(row: &Value) -> Inventory {
    let text = |row: &Value, name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let own = |name| text(row, name);
    let flag = |name| row.get(name).and_then(Value::as_bool);
    let storages = row.get("backupStorageRefs").and_then(Value::as_array);
    Inventory {
        uuid: own("uuid").unwrap_or_default(),
        status: own("status").unwrap_or_default(),
        state: own("state").unwrap_or_default(),
        name: own("name").unwrap_or_default(),
        description: own("description"),
        guest_os_type: own("guestOsType"),
        platform: own("platform"),
        architecture: own("architecture"),
        system: flag("system"),
        virtio: flag("virtio"),
        create_date: own("createDate").and_then(|date| date.parse().ok()),
        backup_storage_uuids: storages
            .into_iter()
            .flatten()
            .filter_map(|storage| text(storage, "backupStorageUuid"))
            .collect(),
    }
}

/// QueryImage, all pages; dates with their zone.
pub(super) async fn query(client: &Client, conditions: &[String]) -> Result<Vec<Value>, CallError> {
    let read = |after| page(client, conditions, PAGE, after);
    pages::all(ROW_ID, read, |_| false).await
}

/// One page of QueryImage: what comes `after` a uuid, in the order of uuids. The server's own `start` counts rows, so that one which
/// is deleted between two pages would hide another.
pub(super) async fn page(
    client: &Client,
    conditions: &[String],
    size: usize,
    after: Option<String>,
) -> Result<pages::Page, CallError> {
    // How many there are in all is for those who wait for the last page, and is told with the first.
    let counts = size == LISTED && after.is_none();
    let (limit, after) = (size.to_string(), after.map(|uuid| format!("uuid>{uuid}")));
    let mut pairs = vec![("limit", limit.as_str()), ("sort", "+uuid")];
    pairs.extend(counts.then_some(("replyWithCount", "true")));
    pairs.extend(conditions.iter().chain(&after).map(|condition| ("q", condition.as_str())));
    let target = format!("/v1/images?{}", encode::sorted(pairs));
    let call = Call::new("QueryImage", Effect::Read, Method::GET, target);
    let Page { inventories: mut rows, total } = client.ask::<Page>(&call).await?.0.value;
    let last =
        rows.last().filter(|_| rows.len() >= size).and_then(|row| row["uuid"].as_str().map(str::to_owned));
    for row in &mut rows {
        dates::with_zone(row, &client.0.zone);
    }
    Ok(pages::Page { next: last, rows, total, ..pages::Page::default() })
}

/// One image; a missing one is an empty list to the vendor.
pub(super) async fn get(client: &Client, uuid: &str) -> Result<Option<Value>, CallError> {
    let target = format!("/v1/images/{}", encode::component(uuid));
    let call = Call::new("QueryImage", Effect::Read, Method::GET, target);
    let mut row = client.ask::<Page>(&call).await?.0.value.inventories.into_iter().next();
    if let Some(row) = &mut row {
        dates::with_zone(row, &client.0.zone);
    }
    Ok(row)
}
