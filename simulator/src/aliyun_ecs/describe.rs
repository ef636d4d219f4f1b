//! `DescribeImageComponents`: filters and pages; what does not exist is not there, and no error.

use serde_json::{Map, Value, json};

use super::parameters::{Parameters, Tag, has_tags, shown_tags, tag_rows};
use super::{Component, Place, State};
use crate::paging::{ascending, page, read_token};
use crate::server::Context;
use crate::wire::Refusal;

pub(super) fn describe(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let filter = Filter::read(parameters, context.settings.aliyun_ecs.names_without_case)?;
    let page_size = match parameters.get("MaxResults").filter(|text| !text.is_empty()) {
        None => 50,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|size| (1..=500).contains(size))
            .ok_or_else(|| invalid("MaxResults", "must be between 1 and 500"))?,
    };
    let after = match parameters.get("NextToken").filter(|text| !text.is_empty()) {
        None => None,
        Some(token) => {
            Some(read_token(token).ok_or_else(|| invalid("NextToken", "is not one that was given"))?)
        }
    };
    let matching: Vec<(u64, &Component)> = state
        .components
        .iter()
        .filter(|(_, component)| component.creation_time <= context.shown_until())
        .filter(|(_, component)| filter.matches(component, place, context))
        .collect();
    let total = matching.len();
    let (rows, next) = page(matching, after, page_size, ascending);
    let set: Vec<Value> = rows.into_iter().map(|row| shown(row, context)).collect();
    Ok(Map::from_iter([
        ("ImageComponent".to_owned(), json!({ "ImageComponentSet": set })),
        ("NextToken".to_owned(), next.into()),
        ("MaxResults".to_owned(), page_size.into()),
        ("TotalCount".to_owned(), total.into()),
    ]))
}

fn invalid(name: &str, what: &str) -> Refusal {
    Refusal::new(400, format!("InvalidParameter.{name}"), format!("The specified {name} {what}."))
}

struct Filter<'a> {
    ids: Vec<&'a str>,
    names_without_case: bool,
    name: Option<&'a str>,
    version: Option<Vec<&'a str>>,
    system_type: Option<&'a str>,
    component_type: Option<&'a str>,
    owner: Option<&'a str>,
    resource_group: Option<&'a str>,
    tags: Vec<Tag<'a>>,
}

impl<'a> Filter<'a> {
    fn read(parameters: &'a Parameters, names_without_case: bool) -> Result<Self, Refusal> {
        let text = |name| parameters.get(name).filter(|value: &&str| !value.is_empty());
        let ids = parameters.list("ImageComponentId");
        if ids.len() > 20 {
            return Err(invalid("ImageComponentId", "has more than 20 ids"));
        }
        let name = text("Name");
        let version: Option<Vec<&str>> = text("ComponentVersion").map(|version| version.split('.').collect());
        if let Some(parts) = &version {
            let number = |part: &&&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let stars = parts.iter().filter(|part| **part == "*").count();
            if name.is_none()
                || parts.len() != 3
                || stars > 1
                || parts.iter().filter(number).count() + stars != 3
            {
                return Err(invalid("ComponentVersion", "needs a Name, three parts, and at most one *"));
            }
        }
        let owner = text("Owner");
        if owner.is_some_and(|owner| !matches!(owner, "SELF" | "ALIYUN")) {
            return Err(invalid("Owner", "must be SELF or ALIYUN"));
        }
        let tags = parameters.tags();
        if tags.len() > 20 {
            return Err(Refusal::new(400, "NumberExceed.Tags", "The maximum number of Tags is exceeded."));
        }
        Ok(Self {
            ids,
            names_without_case,
            name,
            version,
            system_type: text("SystemType"),
            component_type: text("ComponentType"),
            owner,
            resource_group: text("ResourceGroupId"),
            tags,
        })
    }

    fn matches(&self, component: &Component, place: &Place, context: &Context<'_>) -> bool {
        let same = |wanted: Option<&str>, value: &str| wanted.is_none_or(|wanted| wanted == value);
        component.region == place.region
            && (component.account == place.account || component.owner == "ALIYUN")
            && (self.ids.is_empty() || self.ids.contains(&component.id.as_str()))
            && self.name.is_none_or(|name| {
                name == component.name
                    || self.names_without_case && name.to_lowercase() == component.name.to_lowercase()
            })
            && same(self.system_type, &component.system_type)
            && same(self.component_type, &component.component_type)
            && same(self.owner, &component.owner)
            && same(self.resource_group, &component.resource_group_id)
            && self.version.as_ref().is_none_or(|wanted| {
                component
                    .version
                    .split('.')
                    .zip(wanted)
                    .all(|(part, wanted)| *wanted == "*" || *wanted == part)
            })
            && has_tags(shown_tags(&component.tags, component.creation_time, context), &self.tags)
    }
}

/// A component as the API shows it; there is no field that tells a status.
fn shown(component: &Component, context: &Context<'_>) -> Value {
    let texts = context.settings.texts;
    json!({
        "ImageComponentId": component.id,
        "Name": component.name,
        "ComponentVersion": component.version,
        "ComponentType": component.component_type,
        "SystemType": component.system_type,
        "Content": texts.of(&component.content),
        "Description": component.description.as_deref().map(|text| texts.of(text)).unwrap_or_default(),
        "Owner": component.owner,
        "ResourceGroupId": component.resource_group_id,
        "CreationTime": component.creation_time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "Tags": tag_rows(shown_tags(&component.tags, component.creation_time, context)),
        "Parameters": { "Parameter": super::content::declared_parameters(&component.content) },
    })
}
