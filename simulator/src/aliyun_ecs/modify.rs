//! What happens to a component after it was made: tags, resource group, deletion; and tags and resource groups of pipelines
//! and images.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::create::unknown_resource_group;
use super::parameters::{Parameters, check_tags, missing};
use super::pipelines::Pipeline;
use super::{Component, Image, Place, State};
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
    if component.in_use || state.pipelines.values().any(|pipeline| pipeline.uses(component)) {
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
    let kind = Kind::read(parameters, context)?;
    let ids = resources(state, place, kind, parameters)?;
    let tags = parameters.tags();
    if tags.is_empty() {
        return Err(missing("Tag"));
    }
    check_tags(&tags)?;
    // All resources are checked before the first is changed.
    for id in &ids {
        let Some(thing) = kind.get(state, place, id) else { continue };
        let new = tags.iter().filter(|tag| !thing.tags.contains_key(tag.key)).count();
        if thing.tags.len() + new > 20 {
            return Err(Refusal::new(400, "NumberExceed.Tags", "The maximum number of Tags is exceeded."));
        }
    }
    for id in &ids {
        let Some(thing) = kind.get(state, place, id) else { continue };
        let before = thing.tags.clone();
        thing.tags.extend(tags.iter().map(|tag| (tag.key.into(), tag.value.unwrap_or_default().into())));
        if *thing.tags != before {
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
    let kind = Kind::read(parameters, context)?;
    let ids = resources(state, place, kind, parameters)?;
    let keys = parameters.list("TagKey");
    let all = parameters.get("All").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    if keys.is_empty() && !all {
        return Err(missing("TagKey"));
    }
    if keys.len() > 20 {
        return Err(Refusal::new(400, "NumberExceed.Tags", "The maximum number of Tags is exceeded."));
    }
    for id in &ids {
        let Some(thing) = kind.get(state, place, id) else { continue };
        let before = thing.tags.len();
        // Keys win over All, as the page of UntagResources says.
        thing.tags.retain(|key, _| if keys.is_empty() { !all } else { !keys.contains(&key.as_str()) });
        if thing.tags.len() != before {
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
    let kind = Kind::read(parameters, context)?;
    let id = parameters.required("ResourceId")?;
    let groups = &context.settings.aliyun_ecs.resource_groups;
    let group = match parameters.get("ResourceGroupId").filter(|group| !group.is_empty()) {
        None => groups.first().cloned().unwrap_or_default(),
        Some(group) if groups.iter().any(|known| known == group) => group.to_owned(),
        Some(_) => return Err(unknown_resource_group()),
    };
    let thing = kind.get(state, place, id).ok_or_else(unknown_resource)?;
    if *thing.resource_group_id != group {
        *thing.resource_group_id = group;
        context.effect(Change::Changed, id, None);
    }
    Ok(Map::new())
}

/// What has tags and a resource group.
#[derive(Clone, Copy)]
enum Kind {
    Component,
    Pipeline,
    Image,
}

/// Those of one thing.
struct Tagged<'a> {
    tags: &'a mut BTreeMap<String, String>,
    resource_group_id: &'a mut String,
}

impl Kind {
    fn read(parameters: &Parameters, context: &Context<'_>) -> Result<Self, Refusal> {
        let kind = parameters.required("ResourceType")?;
        if kind.eq_ignore_ascii_case("imagecomponent") {
            return Ok(Self::Component);
        }
        if kind.eq_ignore_ascii_case(&context.settings.aliyun_ecs.pipeline_resource_type) {
            return Ok(Self::Pipeline);
        }
        if kind.eq_ignore_ascii_case("image") {
            return Ok(Self::Image);
        }
        Err(Refusal::new(
            404,
            "InvalidResourceType.NotFound",
            "The ResourceType provided does not exist in our records.",
        ))
    }

    /// The caller's thing of this id.
    fn get<'a>(self, state: &'a mut State, place: &Place, id: &str) -> Option<Tagged<'a>> {
        match self {
            Self::Component => {
                let component = state.components.tagged(id).filter(|component| place.holds(component))?;
                let Component { tags, resource_group_id, .. } = component;
                Some(Tagged { tags, resource_group_id })
            }
            Self::Pipeline => {
                let pipeline = state.pipelines.get_mut(id).filter(|pipeline| place.has(&**pipeline))?;
                let Pipeline { tags, resource_group_id, .. } = pipeline;
                Some(Tagged { tags, resource_group_id })
            }
            Self::Image => {
                let Image { tags, resource_group_id, .. } = state.image_mut(place, id)?;
                Some(Tagged { tags, resource_group_id })
            }
        }
    }
}

fn unknown_resource() -> Refusal {
    Refusal::new(404, "InvalidResourceId.NotFound", "The specified ResourceIds are not found in our records.")
}

/// The things that a tagging call is about: 1 to 50, all of which must exist.
fn resources(
    state: &mut State,
    place: &Place,
    kind: Kind,
    parameters: &Parameters,
) -> Result<Vec<String>, Refusal> {
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
    if !ids.iter().all(|id| kind.get(state, place, id).is_some()) {
        return Err(unknown_resource());
    }
    Ok(ids.into_iter().map(Into::into).collect())
}
