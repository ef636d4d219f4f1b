//! Root volume templates: made from a root volume, changed, deleted softly, expunged, recovered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bodies::{Action, Wanted};
use super::jobs::{first_scan, lose_image};
use super::sessions::Caller;
use super::{ApiError, Settings, State, dates, query};
use crate::clock::shifted;
use crate::ledger::Change;
use crate::server::Context;
use crate::work::{Stage, Work};

/// An image as the vendor keeps it. What a seed leaves out is chosen as the vendor would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Image {
    /// 32 hex digits.
    pub uuid: String,
    /// Whose it is.
    pub account_uuid: String,
    /// Its name; not unique.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// What the guest's system is called.
    pub guest_os_type: Option<String>,
    /// `Linux`, `Windows`, `Other`, `Paravirtualization` or `WindowsVirtio`.
    pub platform: String,
    /// `x86_64` and others.
    pub architecture: String,
    /// `qcow2` or `raw`.
    pub format: String,
    /// `RootVolumeTemplate` and others.
    pub media_type: String,
    /// An image for the cloud's own machines.
    pub system: bool,
    /// Whether guests have virtio drivers.
    pub virtio: bool,
    /// `state` is `Disabled` instead of `Enabled`.
    pub disabled: bool,
    /// For how long it is `Migrating` once it is made.
    pub moving_seconds: f64,
    /// Shown instead of `Ready`.
    pub odd_status: Option<String>,
    /// The volume that it was made from.
    pub root_volume_uuid: String,
    /// Where it is stored.
    pub backup_storage_uuids: Vec<String>,
    /// `name::value` tags of the system.
    pub system_tags: Vec<String>,
    /// Tags of the user.
    pub user_tags: Vec<String>,
    /// How its creation goes.
    pub creation: Work,
    /// When it was last changed.
    pub last_operation: Timestamp,
    /// When it was deleted softly.
    pub deleted: Option<Timestamp>,
}

/// What becomes of the data of a deleted image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// It is kept, with status `Deleted`, until it is expunged or old.
    #[default]
    Delay,
    /// It is gone at once.
    Direct,
    /// The record is gone at once, the data stays for ever.
    Never,
}

/// Dash-less UUIDs of versions 1 to 5.
pub(super) fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 32
        && bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && (b'1'..=b'5').contains(&bytes[12])
        && b"89ab".contains(&bytes[16])
}

pub(super) fn invalid(what: impl Into<String>) -> ApiError {
    ApiError::new("SYS.1007", "One or more API argument is invalid", what)
}

fn not_found(what: &str, uuid: &str) -> ApiError {
    ApiError::new("SYS.1003", "Resource cannot be found", format!("cannot find {what}[uuid:{uuid}]"))
}

impl Image {
    /// `Creating`, `Ready`, `Migrating`, `Error`, `Deleted`, or an odd one.
    pub fn status(&self, now: Timestamp) -> &str {
        let made = |end: Timestamp| now.duration_since(end).as_secs_f64();
        match self.creation.stage(now) {
            _ if self.deleted.is_some() => "Deleted",
            Stage::Waiting | Stage::Running => "Creating",
            Stage::Succeeded if self.odd_status.is_some() => self.odd_status.as_deref().unwrap_or_default(),
            Stage::Succeeded if self.creation.ended().is_some_and(|end| made(end) < self.moving_seconds) => {
                "Migrating"
            }
            Stage::Succeeded => "Ready",
            Stage::Failed => "Error",
        }
    }

    /// Whether it was deleted so long ago that it is expunged.
    pub(super) fn is_expunged(&self, now: Timestamp, settings: &Settings) -> bool {
        let expunged = self.deleted.map(|at| first_scan(shifted(at, settings.expunge_seconds), settings));
        expunged.is_some_and(|at| at <= now)
    }

    /// Whether no record is left of it: its creation failed or was given up, or it is expunged.
    pub(super) fn is_gone(&self, now: Timestamp, settings: &Settings) -> bool {
        let given_up = || shifted(self.creation.begun, settings.api_timeout_seconds) <= now;
        self.creation.stage(now) == Stage::Failed
            || self.creation.ended().is_none() && given_up()
            || self.is_expunged(now, settings)
    }

    pub(super) fn inventory(&self, now: Timestamp, settings: &Settings) -> Value {
        let status = self.status(now);
        let stored = status != "Creating";
        let date = |time| dates::write(time, settings.utc_offset_hours);
        let (created, last) =
            (date(self.creation.begun), date(self.last_operation.max(self.creation.moved(now))));
        let refs: Vec<Value> = self
            .backup_storage_uuids
            .iter()
            .zip(1..)
            .map(|(storage, id)| {
                let path = format!("zstore://{}/{}", self.uuid, storage);
                json!({
                    "id": id,
                    "imageUuid": self.uuid,
                    "backupStorageUuid": storage,
                    "installPath": if stored { path } else { String::new() },
                    "status": status,
                    "createDate": created,
                    "lastOpDate": last,
                })
            })
            .collect();
        let mut inventory = json!({
            "uuid": self.uuid,
            "name": self.name,
            "state": if self.disabled { "Disabled" } else { "Enabled" },
            "status": status,
            "size": if stored { 10_737_418_240_u64 } else { 0 },
            "actualSize": if stored { 1_503_238_553_u64 } else { 0 },
            "md5Sum": "not calculated",
            "url": format!("volume://{}", self.root_volume_uuid),
            "mediaType": self.media_type,
            "type": "zstack",
            "platform": self.platform,
            "architecture": self.architecture,
            "format": self.format,
            "system": self.system,
            "virtio": self.virtio,
            "createDate": created,
            "lastOpDate": last,
            "backupStorageRefs": refs,
        });
        // What is null is left out of the vendor's JSON.
        for (name, value) in [("description", &self.description), ("guestOsType", &self.guest_os_type)] {
            if let Some(value) = value {
                inventory[name] = value.clone().into();
            }
        }
        inventory
    }
}

/// What an image can be asked for by.
const FIELDS: &[&str] = &[
    "uuid",
    "name",
    "description",
    "state",
    "status",
    "size",
    "actualSize",
    "md5Sum",
    "url",
    "mediaType",
    "type",
    "platform",
    "architecture",
    "format",
    "system",
    "virtio",
    "guestOsType",
    "createDate",
    "lastOpDate",
    "backupStorageRefs",
];

pub(super) fn create(
    state: &mut State,
    caller: &Caller,
    root_volume: &str,
    wanted: Wanted,
    job: Option<&str>,
    context: &mut Context<'_>,
) -> Result<(Value, Option<Work>), ApiError> {
    let settings = &context.settings.zstack;
    if wanted.name.is_none() {
        return Err(invalid("field[name] cannot be null"));
    }
    wanted.check()?;
    let is_in = |list: &[String], uuid: &str| list.iter().any(|listed| listed == uuid);
    if !is_hex_uuid(root_volume) || is_in(&settings.missing_volumes, root_volume) {
        return Err(not_found("root volume", root_volume));
    }
    let storages = wanted.backup_storage_uuids.clone().filter(|list| !list.is_empty());
    let storages =
        storages.unwrap_or_else(|| settings.backup_storages.first().cloned().into_iter().collect());
    let works = |uuid: &&String| !is_in(&settings.broken_backup_storages, uuid);
    if let Some(missing) =
        storages.iter().find(|uuid| !is_hex_uuid(uuid) || is_in(&settings.missing_backup_storages, uuid))
    {
        return Err(not_found("backup storage", missing));
    }
    let uuid = match wanted.resource_uuid.clone() {
        None => context.shared.ids.uuid(),
        Some(uuid) if is_uuid(&uuid) => uuid,
        Some(uuid) => return Err(invalid(format!("field[resourceUuid] is not a valid uuid: {uuid}"))),
    };
    if state.images.get(&uuid).is_some() || state.spent.contains(&uuid) {
        let database = ApiError::new(
            "SYS.1000",
            "An internal error happened in system",
            format!("Duplicate entry '{uuid}' for key 'PRIMARY'"),
        );
        return Err(database.into_fault(&settings.duplicate_code));
    }
    let used: Vec<_> = storages.iter().filter(works).cloned().collect();
    if used.is_empty() {
        let what = format!("unable to allocate backup storage, tried {storages:?}");
        return Err(ApiError::new("SYS.1006", "Operation error", what));
    }
    let mine = state.images.values().filter(|image| image.account_uuid == caller.account_uuid).count();
    if !caller.admin && mine >= settings.image_quota {
        return Err(ApiError::new(
            "ID.1003",
            "Quota exceeded",
            format!(
                "quota exceeding. Current used[{mine}], quota[name:image.num, value:{}]",
                settings.image_quota
            ),
        ));
    }
    let creation = Work::new(context.now, 0.0, settings.create_seconds, &context.conditions);
    let mut image = Image {
        uuid: uuid.clone(),
        account_uuid: caller.account_uuid.clone(),
        root_volume_uuid: root_volume.into(),
        backup_storage_uuids: used,
        moving_seconds: settings.moving_seconds,
        system_tags: wanted.system_tags.clone(),
        user_tags: wanted.user_tags.clone(),
        creation: creation.clone(),
        ..Image::default()
    };
    wanted.apply(&mut image);
    // Of the virtual machine, whatever was asked for.
    image.architecture.clone_from(&settings.vm_architecture);
    image.virtio = settings.vm_virtio;
    image.complete(context.now);
    let ready = creation.ended().unwrap_or(context.now);
    let result = json!({ "inventory": image.inventory(ready, settings) });
    if context.conditions.node_dies != Some(false) {
        context.effect(Change::Created, &uuid, job);
        state.images.insert(uuid, image);
    }
    Ok((result, Some(creation)))
}

/// 32 hex digits of whatever version: what a volume or a backup storage may be called.
fn is_hex_uuid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Image {
    /// Defaults of the API.
    pub(super) fn complete(&mut self, now: Timestamp) {
        for (value, default) in [
            (&mut self.name, "image"),
            (&mut self.platform, "Linux"),
            (&mut self.architecture, "x86_64"),
            (&mut self.format, "qcow2"),
            (&mut self.media_type, "RootVolumeTemplate"),
        ] {
            if value.is_empty() {
                default.clone_into(value);
            }
        }
        self.last_operation = self.last_operation.max(now);
    }
}

/// An image that the caller may see.
fn find<'a>(state: &'a mut State, caller: &Caller, uuid: &str) -> Result<&'a mut Image, ApiError> {
    let image =
        state.images.get_mut(uuid).filter(|image| caller.admin || image.account_uuid == caller.account_uuid);
    image.ok_or_else(|| not_found("image", uuid))
}

/// `GET /v1/images`
pub(super) fn list(
    state: &State,
    caller: &Caller,
    parameters: &[(String, String)],
    context: &Context<'_>,
) -> Result<Value, ApiError> {
    let rows = state
        .images
        .values()
        .filter(|image| caller.admin || image.account_uuid == caller.account_uuid)
        .filter(|image| image.creation.begun <= context.shown_until())
        .map(|image| image.inventory(context.now, &context.settings.zstack));
    query::answer(rows.collect(), FIELDS, parameters)
}

/// `GET /v1/images/{uuid}`: a missing one is an empty list.
pub(super) fn get(state: &mut State, caller: &Caller, uuid: &str, context: &Context<'_>) -> Value {
    let rows: Vec<Value> = find(state, caller, uuid)
        .map(|image| image.inventory(context.now, &context.settings.zstack))
        .into_iter()
        .collect();
    json!({ "inventories": rows })
}

pub(super) fn act(
    state: &mut State,
    caller: &Caller,
    uuid: &str,
    action: Action,
    context: &mut Context<'_>,
) -> Result<(Value, Option<Work>), ApiError> {
    let operation_error =
        |what: &str| ApiError::new("SYS.1006", "Operation error", format!("image[uuid:{uuid}] {what}"));
    let image = find(state, caller, uuid)?;
    let before = image.clone();
    match action {
        Action::Expunge => {
            if image.deleted.is_none() {
                return Err(operation_error("is not deleted, it cannot be expunged"));
            }
            state.images.remove(uuid);
            state.spent.insert(uuid.to_owned());
            context.effect(Change::Deleted, uuid, None);
            return Ok((json!({}), None));
        }
        Action::Update(wanted) => {
            wanted.check()?;
            wanted.apply(image);
        }
        Action::Recover if image.deleted.is_some() => image.deleted = None,
        Action::Recover => return Err(operation_error("is not deleted, it cannot be recovered")),
        Action::ChangeState { disable } => image.disabled = disable,
    }
    let changed = *image != before;
    if changed {
        image.last_operation = context.now;
    }
    let result = json!({ "inventory": image.inventory(context.now, &context.settings.zstack) });
    if changed {
        context.effect(Change::Changed, uuid, None);
    }
    Ok((result, None))
}

/// `DELETE /v1/images/{uuid}`
pub(super) fn delete(
    state: &mut State,
    caller: &Caller,
    uuid: &str,
    context: &mut Context<'_>,
) -> Result<(Value, Option<Work>), ApiError> {
    let Ok(image) = find(state, caller, uuid) else {
        // What does not exist is deleted already, if it is a uuid at all.
        return if is_uuid(uuid) { Ok((json!({}), None)) } else { Err(not_found("image", uuid)) };
    };
    if context.settings.zstack.deletion_policy == DeletionPolicy::Delay {
        if image.deleted.is_none() {
            image.deleted = Some(context.now);
            context.effect(Change::Changed, uuid, None);
        }
    } else {
        state.images.remove(uuid);
        state.spent.insert(uuid.to_owned());
        context.effect(Change::Deleted, uuid, None);
    }
    lose_image(state, uuid, context.now);
    Ok((json!({}), None))
}
