//! `CopyImage`, and what can be done to an image afterwards: cancelling the copy, its attributes, deleting it and its snapshots.
//!
//! Known: the pages' codes, that five copies run at a time in each region and others wait, that the call goes to the source's
//! region, and that a deletion leaves the snapshots. Not known, and chosen here: for how long a second copy of the same image is
//! refused ([`Settings::copy_conflict_seconds`](super::Settings::copy_conflict_seconds)), whether a copy can be cancelled
//! ([`Settings::copies_can_be_cancelled`](super::Settings::copies_can_be_cancelled)), what deleting a missing image says, in
//! which region copies are counted, and KMS is to be enabled (the target's), that a cancelled copy makes place for the one that
//! has waited longest, and that a copy which is under way counts as the snapshot that it will have.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::create::{has_web_scheme, remember, replayed, unknown_resource_group};
use super::images::{Image, image_not_found};
use super::parameters::{Parameters, check_tags};
use super::{Place, State};
use crate::clock::shifted;
use crate::ledger::Change;
use crate::server::Context;
use crate::wire::Refusal;
use crate::work::{Stage, Work};

pub(super) fn copy(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let token = parameters.get("ClientToken").filter(|token| !token.is_empty());
    if let Some(id) = replayed(state, place, parameters, context, token)? {
        return Ok(answer(id));
    }
    let image = check(state, place, parameters, context)?;
    if parameters.get("DryRun").is_some_and(|dry| dry.eq_ignore_ascii_case("true")) {
        return Err(Refusal::new(
            400,
            "DryRunOperation",
            "Request validation has been passed with DryRun flag set.",
        ));
    }
    let id = image.id.clone();
    context.effect(Change::Created, &id, token);
    remember(state, place, parameters, context, token, &id);
    state.images.insert(id.clone(), image);
    Ok(answer(id))
}

fn answer(id: String) -> Map<String, Value> {
    Map::from_iter([("ImageId".to_owned(), id.into())])
}

fn check(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Image, Refusal> {
    let (settings, now) = (&context.settings.aliyun_ecs, context.now);
    let text = |name| parameters.get(name).filter(|value: &&str| !value.is_empty());
    let source = parameters.required("ImageId")?;
    let to = Place {
        account: place.account.clone(),
        region: parameters.required("DestinationRegionId")?.to_owned(),
    };
    if !settings.regions.contains(&to.region) {
        return Err(Refusal::new(
            400,
            "DestinationRegion.NotFound",
            "The specified destination region does not exist.",
        ));
    }
    check_source(state, place, &to, source, context)?;
    let name = text("DestinationImageName");
    if let Some(name) = name {
        check_name(name)?;
    }
    let description = text("DestinationDescription");
    if let Some(text) = description {
        check_description(text)?;
    }
    let encrypted = text("Encrypted").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if encrypted && settings.regions_without_kms.contains(&to.region) {
        return Err(Refusal::new(
            400,
            "InvalidParameter.KmsNotEnabled",
            "The specified operation need enable KMS.",
        ));
    }
    if let Some(key) = text("KMSKeyId") {
        if !encrypted {
            return Err(Refusal::new(
                400,
                "InvalidParameter.EncryptedIllegal",
                "The value of parameter Encrypted must be true when the KMSKeyId is specified.",
            ));
        }
        if settings.missing_kms_keys.iter().any(|missing| missing == key) {
            return Err(Refusal::new(
                404,
                "InvalidParameter.KMSKeyId.NotFound",
                "The specified KMSKeyId does not exist.",
            ));
        }
    }
    let tags = parameters.tags();
    check_tags(&tags)?;
    let resource_group_id = match text("ResourceGroupId") {
        None => settings.resource_groups.first().cloned().unwrap_or_default(),
        Some(group) if settings.resource_groups.iter().any(|known| known == group) => group.to_owned(),
        Some(_) => return Err(unknown_resource_group()),
    };
    let id = format!("m-{}", context.shared.ids.alphanumeric(20));
    let name = name.unwrap_or(&id);
    check_unique(state, &to, name, None)?;
    let there = state.images.values().filter(|image| to.has(*image));
    if settings.image_quota.is_some_and(|quota| there.count() >= quota) {
        return Err(Refusal::new(403, "QuotaExceed.Image", "The maximum number of images is exceeded."));
    }
    if settings.snapshot_quota.is_some_and(|quota| state.snapshots_of(&to) >= quota) {
        return Err(Refusal::new(403, "QuotaExceed.Snapshot", "The snapshot quota exceeds."));
    }
    let under_way = state.images.values().filter(|image| to.has(*image) && image.is_being_copied(now));
    let waits = waits(under_way.map(end).collect(), settings.copies_at_once, now);
    Ok(Image {
        name: name.to_owned(),
        account: to.account,
        region: to.region,
        description: description.map(Into::into),
        resource_group_id,
        tags: tags.iter().map(|tag| (tag.key.to_owned(), tag.value.unwrap_or_default().to_owned())).collect(),
        creation_time: now,
        copied_from: Some(source.to_owned()),
        work: Work::new(now, waits, settings.copy_seconds, &context.conditions),
        encrypted,
        kms_key: text("KMSKeyId").map(Into::into),
        snapshots: vec![format!("s-{}", context.shared.ids.alphanumeric(20))],
        id,
        ..Image::default()
    })
}

/// The source: the account's own, or one that is shared with it. One that nobody has seeded is there if the settings say so.
fn check_source(
    state: &State,
    place: &Place,
    to: &Place,
    id: &str,
    context: &Context<'_>,
) -> Result<(), Refusal> {
    let settings = &context.settings.aliyun_ecs;
    match state.images.get(id) {
        None if settings.any_image_exists && id.starts_with("m-") => {}
        None => return Err(image_not_found()),
        Some(image) => {
            let is_own = image.account == place.account;
            if image.region != place.region
                || !is_own && !image.public && !image.shared_with.contains(&place.account)
            {
                return Err(image_not_found());
            }
            if image.public {
                return Err(Refusal::new(
                    400,
                    "OperationDenied.CommunityImage",
                    "The community image cannot be copied.",
                ));
            }
            if !is_own && to.region != place.region {
                return Err(Refusal::new(
                    403,
                    "OperationDenied.SameRegionOnly",
                    "The shared image can only be copied in the same region.",
                ));
            }
            if image.status(context.now) != "Available" {
                return Err(Refusal::new(
                    400,
                    "IncorrectImageStatus",
                    "The current status of the image does not support this operation.",
                ));
            }
        }
    }
    let seconds = settings.copy_conflict_seconds;
    let just = |image: &Image| {
        image.copied_from.as_deref() == Some(id)
            && image.account == place.account
            && shifted(image.creation_time, seconds) > context.now
    };
    if state.images.values().any(just) {
        return Err(Refusal::new(
            400,
            "OperationDenied.ImageCopyConflict",
            "The image is being copied by another request.",
        ));
    }
    Ok(())
}

/// When a copy is done, and its place free.
fn end(image: &Image) -> Timestamp {
    image.work.ended().unwrap_or(Timestamp::MAX)
}

/// For how many seconds a copy waits until fewer than so many of those are under way that end then.
fn waits(mut ends: Vec<Timestamp>, at_once: usize, now: Timestamp) -> f64 {
    ends.sort_unstable();
    let Some(before) = ends.len().checked_sub(at_once.max(1)) else { return 0.0 };
    ends.get(before).map_or(0.0, |end| end.duration_since(now).as_secs_f64())
}

/// Gives the place that has become free to the copy that has waited longest, and that one's to the next.
fn move_up(state: &mut State, place: &Place, at_once: usize, now: Timestamp) {
    let copies = state.images.values().filter(|image| place.has(*image) && image.is_being_copied(now));
    let (waiting, running): (Vec<&Image>, Vec<_>) =
        copies.partition(|image| image.work.stage(now) == Stage::Waiting);
    let mut ends: Vec<_> = running.into_iter().map(end).collect();
    let waiting: Vec<String> = waiting.into_iter().map(|image| image.id.clone()).collect();
    for id in waiting {
        let seconds = waits(ends.clone(), at_once, now);
        if let Some(image) = state.images.get_mut(&id) {
            image.work.waiting_seconds = now.duration_since(image.work.begun).as_secs_f64() + seconds;
            ends.push(end(image));
        }
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let is_reserved = name.starts_with("acs:") || name.starts_with("aliyun");
    if (2..=128).contains(&name.chars().count()) && !has_web_scheme(name) && !is_reserved {
        return Ok(());
    }
    Err(Refusal::new(400, "InvalidImageName.Malformed", "The specified Image name is wrongly formed."))
}

fn check_description(text: &str) -> Result<(), Refusal> {
    if (2..=256).contains(&text.chars().count()) && !has_web_scheme(text) {
        return Ok(());
    }
    Err(Refusal::new(400, "InvalidDescription.Malformed", "The specified description is wrongly formed."))
}

fn check_unique(state: &State, place: &Place, name: &str, but: Option<&str>) -> Result<(), Refusal> {
    let mut there = state.images.values().filter(|image| place.has(*image) && but != Some(image.id.as_str()));
    if there.any(|image| image.name == name) {
        return Err(Refusal::new(
            400,
            "InvalidImageName.Duplicated",
            "The specified Image name has already been used.",
        ));
    }
    Ok(())
}

pub(super) fn cancel(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let id = parameters.required("ImageId")?;
    let image = state.image(place, id).ok_or_else(image_not_found)?;
    if image.copied_from.is_none() {
        return Err(Refusal::new(
            400,
            "ImageCreatedNotFromCopy",
            "The specified image was not created from a copy.",
        ));
    }
    if !image.is_being_copied(context.now) {
        return Err(Refusal::new(
            400,
            "IncorrectImageStatus",
            "The current status of the image does not support this operation.",
        ));
    }
    if !context.settings.aliyun_ecs.copies_can_be_cancelled {
        return Err(Refusal::new(
            400,
            "CancelNotSupported",
            "The product does not support cancel some specify images.",
        ));
    }
    state.remove_image(id, context.now);
    move_up(state, place, context.settings.aliyun_ecs.copies_at_once, context.now);
    context.effect(Change::Deleted, id, None);
    Ok(Map::new())
}

pub(super) fn delete(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let id = parameters.required("ImageId")?;
    let force = parameters.get("Force").is_some_and(|force| force.eq_ignore_ascii_case("true"));
    let Some(image) = state.image(place, id) else {
        return if context.settings.aliyun_ecs.missing_images_are_ignored {
            Ok(Map::new())
        } else {
            Err(image_not_found())
        };
    };
    let refused = [
        (image.is_being_copied(context.now), "OperationDenied.ImageCopying", "The image is being copied."),
        (image.public, "ImageIsPublic", "The image is public."),
        (!image.shared_with.is_empty(), "ImageUseShared", "The image is shared."),
        (image.in_use && !force, "ImageUsingByInstance", "The image is used by an instance."),
    ];
    if let Some((_, code, message)) = refused.into_iter().find(|(is, ..)| *is) {
        return Err(Refusal::new(403, code, message));
    }
    state.remove_image(id, context.now);
    context.effect(Change::Deleted, id, None);
    Ok(Map::new())
}

pub(super) fn modify(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let id = parameters.required("ImageId")?;
    let image = state.image(place, id).ok_or_else(image_not_found)?;
    if image.is_being_copied(context.now) {
        return Err(Refusal::new(403, "InvalidStatus.ImageIsCreating", "The image is being created."));
    }
    let (name, description) = (parameters.get("ImageName"), parameters.get("Description"));
    if let Some(name) = name {
        check_name(name)?;
        check_unique(state, place, name, Some(id))?;
    }
    if let Some(text) = description {
        check_description(text)?;
    }
    let Some(image) = state.image_mut(place, id) else { return Err(image_not_found()) };
    let before = image.clone();
    if let Some(name) = name {
        name.clone_into(&mut image.name);
    }
    if let Some(text) = description {
        image.description = Some(text.to_owned());
    }
    if *image != before {
        context.effect(Change::Changed, id, None);
    }
    Ok(Map::new())
}

pub(super) fn delete_snapshot(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let id = parameters.required("SnapshotId")?;
    if state.is_in_an_image(place, id, context.now) {
        return Err(Refusal::new(
            403,
            "SnapshotCreatedImage",
            "The snapshot has been used to create custom images.",
        ));
    }
    if !state.snapshots.get(id).is_some_and(|left| place.has(left)) {
        return Err(Refusal::new(
            404,
            "InvalidSnapshotId.NotFound",
            "The specified SnapshotId is not found.",
        ));
    }
    state.snapshots.remove(id);
    context.effect(Change::Deleted, id, None);
    Ok(Map::new())
}
