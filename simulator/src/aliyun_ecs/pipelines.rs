//! `CreateImagePipeline`, `DescribeImagePipelines` and `DeleteImagePipeline`.
//!
//! Sources: the reference pages of the three, and the page of Image Builder's commands. Not documented, and chosen here: whether
//! names are unique (they are not), which base images exist ([`super::Settings::base_images`]), and how tagging calls name a
//! pipeline ([`super::Settings::pipeline_resource_type`]).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::create::{check_description, check_name, remember, replayed, unknown_resource_group};
use super::parameters::{Parameters, check_tags, has_tags, shown_tags, tag_rows};
use super::{Component, Place, State, content};
use crate::ledger::Change;
use crate::paging::{ascending, page, read_token};
use crate::server::{Context, Shared};
use crate::wire::Refusal;

/// An image pipeline as the vendor keeps it. What a seed leaves out is chosen as the vendor would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Pipeline {
    /// `ip-…`.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// Where it is.
    pub region: String,
    /// Its name; the id when none was given.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// `IMAGE`, `IMAGE_FAMILY` or `OSS`.
    pub base_image_type: String,
    /// The id of an image, or the name of a family.
    pub base_image: Option<String>,
    /// The steps that build.
    pub build_content: Option<String>,
    /// The steps that test.
    pub test_content: Option<String>,
    /// All other parameters that were given, by their flat names.
    pub others: BTreeMap<String, String>,
    /// The resource group that it is in.
    pub resource_group_id: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made.
    pub creation_time: Timestamp,
    /// Whether an execution is under way, so that it cannot be deleted.
    pub has_running_execution: bool,
}

impl Pipeline {
    /// Whether one of its steps names the component.
    pub(super) fn uses(&self, component: &Component) -> bool {
        let steps = [&self.build_content, &self.test_content].into_iter().flatten();
        let mut named = steps.flat_map(|steps| content::components(steps));
        self.region == component.region && named.any(|name| means(&name, component))
    }
}

/// Whether a step's word for a component means this one: its id, or a name and a version with `*` for any.
fn means(word: &str, component: &Component) -> bool {
    if word == component.id {
        return true;
    }
    let Some((name, version)) =
        word.split_once(":imagecomponent/").and_then(|(_, rest)| rest.rsplit_once(':'))
    else {
        return false;
    };
    let mut parts = version.split('.').zip(component.version.split('.'));
    name == component.name && parts.all(|(wanted, is)| wanted == "*" || wanted == is)
}

pub(super) fn create(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let token = parameters.get("ClientToken").filter(|token| !token.is_empty());
    let answer = |id: String| Map::from_iter([("ImagePipelineId".to_owned(), id.into())]);
    if let Some(id) = replayed(state, place, parameters, context, token)? {
        return Ok(answer(id));
    }
    let pipeline = check(state, place, parameters, context)?;
    let id = pipeline.id.clone();
    context.effect(Change::Created, &id, token);
    remember(state, place, parameters, context, token, &id);
    state.pipelines.insert(id.clone(), pipeline);
    Ok(answer(id))
}

fn refused(code: &str) -> Refusal {
    Refusal::new(400, code, "The specified parameter is not valid.")
}

/// What is mandatory is missed with HTTP 404 here.
fn given<'a>(parameters: &'a Parameters, name: &str) -> Result<&'a str, Refusal> {
    parameters.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
        Refusal::new(404, format!("MissingParameter.{name}"), format!("The parameter {name} is missing."))
    })
}

fn within(parameters: &Parameters, name: &str, least: u32, most: u32, code: &str) -> Result<(), Refusal> {
    let Some(value) = parameters.get(name).filter(|value| !value.is_empty()) else { return Ok(()) };
    let fits = value.parse().is_ok_and(|value: u32| (least..=most).contains(&value));
    if fits { Ok(()) } else { Err(refused(code)) }
}

fn long(parameters: &Parameters, name: &str, least: usize, most: usize, code: &str) -> Result<(), Refusal> {
    let Some(value) = parameters.get(name).filter(|value| !value.is_empty()) else { return Ok(()) };
    if (least..=most).contains(&value.chars().count()) { Ok(()) } else { Err(refused(code)) }
}

/// The steps that build and test: commands that can be read, and components that are there.
fn check_contents(state: &State, place: &Place, parameters: &Parameters) -> Result<(), Refusal> {
    for name in ["BuildContent", "TestContent"] {
        let Some(steps) = parameters.get(name).filter(|steps| !steps.is_empty()) else { continue };
        content::check_steps(steps)?;
        let mut named = content::components(steps).into_iter();
        let is_there = |word: &String| {
            state.components.values().any(|component| {
                component.region == place.region
                    && (component.account == place.account || component.owner == "ALIYUN")
                    && means(word, component)
            })
        };
        if !named.all(|word| is_there(&word)) {
            return Err(Refusal::new(404, "ImageComponent.NotFound", "A component does not exist."));
        }
    }
    Ok(())
}

fn check(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Pipeline, Refusal> {
    let settings = &context.settings.aliyun_ecs;
    let text = |name| parameters.get(name).filter(|value: &&str| !value.is_empty());
    let name = text("Name");
    if let Some(name) = name {
        check_name(name)?;
    }
    if let Some(text) = text("Description") {
        check_description(text)?;
    }
    let base_image_type = given(parameters, "BaseImageType")?;
    if !matches!(base_image_type, "IMAGE" | "IMAGE_FAMILY" | "OSS") {
        return Err(refused("InvalidBaseImageType.NotSupportedValue"));
    }
    let base_image = if base_image_type == "OSS" { None } else { Some(given(parameters, "BaseImage")?) };
    if let (Some(known), "IMAGE", Some(image)) = (&settings.base_images, base_image_type, base_image)
        && !known.iter().any(|known| known == image)
    {
        return Err(Refusal::new(404, "InvalidImage.NotFound", "The specified image does not exist."));
    }
    if base_image_type == "OSS"
        && parameters.get("ImportImageOptions.DiskDeviceMappings.1.OSSBucket").is_none()
    {
        return Err(Refusal::new(400, "InvalidParameterCombination", "ImportImageOptions is missing."));
    }
    check_contents(state, place, parameters)?;
    within(parameters, "SystemDiskSize", 20, 500, "InvalidSystemDiskSize.NotSupportedValue")?;
    within(
        parameters,
        "InternetMaxBandwidthOut",
        0,
        100,
        "InvalidInternetMaxBandwidthOut.NotSupportedValue",
    )?;
    long(parameters, "ImageOptions.ImageName", 2, 64, "InvalidImageName.Malformed")?;
    long(parameters, "ImageOptions.ImageFamily", 2, 128, "InvalidImageFamily.Malformed")?;
    if parameters.list("AddAccount").len() > 20 {
        return Err(refused("InvalidAddAccountSize.ExceededMaxNumber"));
    }
    if parameters.list("ToRegionId").len() > 20 {
        return Err(refused("InvalidToRegionIdSize.ExceededMaxNumber"));
    }
    let tags = parameters.tags();
    check_tags(&tags)?;
    let resource_group_id = match text("ResourceGroupId") {
        None => settings.resource_groups.first().cloned().unwrap_or_default(),
        Some(group) if settings.resource_groups.iter().any(|known| known == group) => group.to_owned(),
        Some(_) => return Err(unknown_resource_group()),
    };
    if !settings.service_linked_role {
        return Err(Refusal::new(
            403,
            "InvalidOperation.NoPermissionCreateServiceLinkedRole",
            "You are not authorized to create Service-linked role.",
        ));
    }
    let own = state.pipelines.values().filter(|pipeline| place.has(*pipeline));
    if settings.pipeline_quota.is_some_and(|quota| own.count() >= quota) {
        return Err(Refusal::new(
            400,
            "QuotaExceed.ImagePipeline",
            "The number of pipelines exceeds the quota.",
        ));
    }
    let id = format!("ip-bp{}", context.shared.ids.alphanumeric(18));
    let taken = ["Name", "Description", "BaseImageType", "BaseImage", "BuildContent", "TestContent"];
    let rest = ["RegionId", "ResourceGroupId", "ClientToken"];
    let is_other = |name: &str| !taken.contains(&name) && !rest.contains(&name) && !name.starts_with("Tag.");
    Ok(Pipeline {
        name: name.unwrap_or(&id).to_owned(),
        id,
        account: place.account.clone(),
        region: place.region.clone(),
        description: text("Description").map(Into::into),
        base_image_type: base_image_type.into(),
        base_image: base_image.map(Into::into),
        build_content: text("BuildContent").map(Into::into),
        test_content: text("TestContent").map(Into::into),
        others: parameters
            .iter()
            .filter(|(name, value)| is_other(name) && !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        resource_group_id,
        tags: tags.iter().map(|tag| (tag.key.to_owned(), tag.value.unwrap_or_default().to_owned())).collect(),
        creation_time: context.now,
        has_running_execution: false,
    })
}

pub(super) fn describe(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let text = |name| parameters.get(name).filter(|value: &&str| !value.is_empty());
    let invalid =
        |name: &str| Refusal::new(400, format!("InvalidParameter.{name}"), "The value is not valid.");
    let (ids, tags) = (parameters.list("ImagePipelineId"), parameters.tags());
    if ids.len() > 20 {
        return Err(invalid("ImagePipelineId"));
    }
    let page_size = match text("MaxResults").map(str::parse) {
        None => 50,
        Some(Ok(size)) if (1..=500).contains(&size) => size,
        Some(_) => return Err(invalid("MaxResults")),
    };
    let after = match text("NextToken") {
        None => None,
        Some(token) => Some(read_token(token).ok_or_else(|| invalid("NextToken"))?),
    };
    let loose = context.settings.aliyun_ecs.names_without_case;
    let named = |pipeline: &Pipeline, name: &str| {
        pipeline.name == name || loose && pipeline.name.to_lowercase() == name.to_lowercase()
    };
    let matches = |pipeline: &Pipeline| {
        place.has(pipeline)
            && (ids.is_empty() || ids.contains(&pipeline.id.as_str()))
            && text("Name").is_none_or(|name| named(pipeline, name))
            && text("ResourceGroupId").is_none_or(|group| pipeline.resource_group_id == group)
            && has_tags(shown_tags(&pipeline.tags, pipeline.creation_time, context), &tags)
    };
    let matching: Vec<(u64, &Pipeline)> = state
        .pipelines
        .iter()
        .filter(|(_, pipeline)| pipeline.creation_time <= context.shown_until() && matches(pipeline))
        .collect();
    let total = matching.len();
    let (rows, next) = page(matching, after, page_size, ascending);
    let set: Vec<Value> = rows.into_iter().map(|row| shown(row, context)).collect();
    Ok(Map::from_iter([
        ("ImagePipeline".to_owned(), json!({ "ImagePipelineSet": set })),
        ("NextToken".to_owned(), next.into()),
        ("MaxResults".to_owned(), page_size.into()),
        ("TotalCount".to_owned(), total.into()),
    ]))
}

/// A pipeline as the API shows it; there is no field that tells a status.
fn shown(pipeline: &Pipeline, context: &Context<'_>) -> Value {
    let texts = context.settings.texts;
    let show = |text: &Option<String>| text.as_deref().map(|text| texts.of(text)).unwrap_or_default();
    let other = |name: &str| pipeline.others.get(name).cloned();
    let number = |name: &str, default: u32| {
        pipeline.others.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let listed = |name: &str| -> Vec<&String> {
        let items = pipeline.others.iter().filter(|(key, _)| key_of_list(key, name));
        items.map(|(_, value)| value).collect()
    };
    let mut row = json!({
        "ImagePipelineId": pipeline.id,
        "Name": pipeline.name,
        "Description": show(&pipeline.description),
        "BaseImageType": pipeline.base_image_type,
        "BaseImage": pipeline.base_image.clone().unwrap_or_default(),
        "BuildContent": show(&pipeline.build_content),
        "TestContent": show(&pipeline.test_content),
        "InstanceType": other("InstanceType").unwrap_or_default(),
        "SystemDiskSize": number("SystemDiskSize", 40),
        "InternetMaxBandwidthOut": number("InternetMaxBandwidthOut", 0),
        "VSwitchId": other("VSwitchId").unwrap_or_default(),
        "DeleteInstanceOnFailure": other("DeleteInstanceOnFailure").is_none_or(|value| value == "true"),
        "ResourceGroupId": pipeline.resource_group_id,
        "CreationTime": pipeline.creation_time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "AddAccounts": { "AddAccount": listed("AddAccount") },
        "ToRegionIds": { "ToRegionId": listed("ToRegionId") },
        "Tags": tag_rows(shown_tags(&pipeline.tags, pipeline.creation_time, context)),
    });
    for (name, value) in &pipeline.others {
        let Some((group, field)) = name.split_once('.') else {
            if row.get(name).is_none() {
                row[name] = value.clone().into();
            }
            continue;
        };
        // Lists within groups are not shown.
        if !field.contains(|c: char| c.is_ascii_digit())
            && matches!(group, "ImageOptions" | "AdvancedOptions")
        {
            let at = field.split('.').fold(&mut row[group], |at, field| &mut at[field]);
            *at = value.clone().into();
        }
    }
    row
}

fn key_of_list(key: &str, name: &str) -> bool {
    key.strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|rest| rest.parse::<u32>().is_ok())
}

pub(super) fn delete(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let id = given(parameters, "ImagePipelineId")?;
    let pipeline = state.pipelines.get(id).filter(|pipeline| place.has(*pipeline)).ok_or_else(|| {
        Refusal::new(404, "InvalidImagePipeline.NotFound", "The specified image pipeline does not exist.")
    })?;
    if pipeline.has_running_execution || state.is_running(id, context.now) {
        return Err(Refusal::new(
            403,
            "InvalidImagePipeline.HasRunningExecution",
            "The specified image pipeline has a running execution.",
        ));
    }
    state.remove_pipeline(id);
    context.effect(Change::Deleted, id, None);
    Ok(Map::new())
}

/// Gives a seeded pipeline what the vendor would have given it, and tells its id.
pub(super) fn complete(pipeline: &mut Pipeline, shared: &Shared) -> String {
    let settings = shared.settings();
    let or = |value: &mut String, default: &str| {
        if value.is_empty() {
            default.clone_into(value);
        }
    };
    let id = format!("ip-{}", shared.ids.alphanumeric(20));
    or(&mut pipeline.id, &id);
    let account = settings.access_keys.first().map(|key| key.account.clone()).unwrap_or_default();
    or(&mut pipeline.account, &account);
    or(&mut pipeline.region, "cn-hangzhou");
    let name = pipeline.id.clone();
    or(&mut pipeline.name, &name);
    or(&mut pipeline.base_image_type, "IMAGE");
    if pipeline.base_image_type != "OSS" && pipeline.base_image.is_none() {
        pipeline.base_image = Some("m-base".into());
    }
    let groups = &settings.aliyun_ecs.resource_groups;
    or(&mut pipeline.resource_group_id, groups.first().map_or("", String::as_str));
    if pipeline.creation_time == Timestamp::UNIX_EPOCH {
        pipeline.creation_time = shared.clock.now();
    }
    pipeline.id.clone()
}
