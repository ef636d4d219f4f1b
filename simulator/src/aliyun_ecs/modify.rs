//! What happens to a component after it was made: tags, resource group, deletion.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::create::unknown_resource_group;
use super::parameters::{Parameters, check_tags, missing};
use super::{Place, State};
use crate::ledger::Change;
use crate::server::Context;
use crate::wire::Refusal;

pub(super) fn delete(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let id = parameters.required("ImageComponentId")?;
    let component = state.components.get(id).filter(|component| place.holds(component)).ok_or_else(|| {
        Refusal::new(404, "InvalidImageComponent.NotFound", "The specified image component does not exist.")
    })?;
    if component.in_use {
        return Err(Refusal::new(
            403,
            "InvalidImageComponent.InUse",
            "The specified image component is used by an image pipeline.",
        ));
    }
    state.components.remove(id);
    context.effect(Change::Deleted, id, None);
    Ok(Map::new())
}

pub(super) fn tag(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let ids = resources(state, place, parameters)?;
    let tags = parameters.tags();
    if tags.is_empty() {
        return Err(missing("Tag"));
    }
    check_tags(&tags)?;
    let of_images = is_about_images(parameters);
    // All resources are checked before the first is changed.
    for id in &ids {
        let Some(there) = tags_of(state, of_images, id) else { continue };
        let new = tags.iter().filter(|tag| !there.contains_key(tag.key)).count();
        if there.len() + new > 20 {
            return Err(Refusal::new(400, "NumberExceed.Tags", "The maximum number of Tags is exceeded."));
        }
    }
    for id in &ids {
        let Some(there) = tags_of(state, of_images, id) else { continue };
        let before = there.clone();
        there.extend(tags.iter().map(|tag| (tag.key.into(), tag.value.unwrap_or_default().into())));
        if *there != before {
            context.effect(Change::Changed, id, None);
        }
    }
    Ok(Map::new())
}

pub(super) fn untag(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let ids = resources(state, place, parameters)?;
    let keys = parameters.list("TagKey");
    let all = parameters.get("All").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if keys.is_empty() && !all {
        return Err(missing("TagKey"));
    }
    if keys.len() > 20 {
        return Err(Refusal::new(400, "NumberExceed.Tags", "The maximum number of Tags is exceeded."));
    }
    let of_images = is_about_images(parameters);
    for id in &ids {
        let Some(there) = tags_of(state, of_images, id) else { continue };
        let before = there.len();
        // Keys win over All, as the page of UntagResources says.
        there.retain(|key, _| if keys.is_empty() { !all } else { !keys.contains(&key.as_str()) });
        if there.len() != before {
            context.effect(Change::Changed, id, None);
        }
    }
    Ok(Map::new())
}

pub(super) fn join_resource_group(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    check_type(parameters, &["imagecomponent"])?;
    let id = parameters.required("ResourceId")?;
    let groups = &context.settings.aliyun_ecs.resource_groups;
    let group = match parameters.get("ResourceGroupId").filter(|group| !group.is_empty()) {
        None => groups.first().cloned().unwrap_or_default(),
        Some(group) if groups.iter().any(|known| known == group) => group.to_owned(),
        Some(_) => return Err(unknown_resource_group()),
    };
    let component = state
        .components
        .get_mut(id)
        .filter(|component| place.holds(component))
        .ok_or_else(unknown_resource)?;
    if component.resource_group_id != group {
        component.resource_group_id = group;
        context.effect(Change::Changed, id, None);
    }
    Ok(Map::new())
}

/// Whether a tagging call is about images, and not about components.
fn is_about_images(parameters: &Parameters) -> bool {
    parameters.get("ResourceType").is_some_and(|name| name.eq_ignore_ascii_case("image"))
}

fn tags_of<'a>(state: &'a mut State, of_images: bool, id: &str) -> Option<&'a mut BTreeMap<String, String>> {
    if of_images {
        state.images.get_mut(id).map(|image| &mut image.tags)
    } else {
        state.components.get_mut(id).map(|component| &mut component.tags)
    }
}

fn check_type(parameters: &Parameters, known: &[&str]) -> Result<(), Refusal> {
    let given = parameters.required("ResourceType")?;
    if known.iter().any(|name| name.eq_ignore_ascii_case(given)) {
        return Ok(());
    }
    Err(Refusal::new(
        404,
        "InvalidResourceType.NotFound",
        "The ResourceType provided does not exist in our records.",
    ))
}

fn unknown_resource() -> Refusal {
    Refusal::new(404, "InvalidResourceId.NotFound", "The specified ResourceIds are not found in our records.")
}

/// The components or images that a tagging call is about: 1 to 50, all of which must exist.
fn resources(state: &State, place: &Place, parameters: &Parameters) -> Result<Vec<String>, Refusal> {
    check_type(parameters, &["imagecomponent", "image"])?;
    let ids = parameters.list("ResourceId");
    if ids.is_empty() {
        return Err(missing("ResourceId"));
    }
    if ids.len() > 50 {
        return Err(Refusal::new(
            400,
            "NumberExceed.ResourceIds",
            "The maximum number of ResourceIds is exceeded.",
        ));
    }
    let of_images = is_about_images(parameters);
    let known = |id: &str| {
        if of_images {
            state.image(place, id).is_some()
        } else {
            state.components.get(id).is_some_and(|component| place.holds(component))
        }
    };
    if !ids.iter().all(|id| known(id)) {
        return Err(unknown_resource());
    }
    Ok(ids.into_iter().map(Into::into).collect())
}
