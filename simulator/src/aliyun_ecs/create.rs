//! `CreateImageComponent`: every rule of its page, in the order of its parameters.

use jiff::SignedDuration;
use serde_json::{Map, Value};

use super::parameters::{Parameters, check_tags};
use super::{Component, Place, Replay, State, content};
use crate::clock::shifted;
use crate::ledger::Change;
use crate::server::Context;
use crate::wire::Refusal;

pub(super) fn create(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let token = parameters.get("ClientToken").filter(|token| !token.is_empty());
    if let Some(id) = replayed(state, place, parameters, context, token)? {
        return Ok(answer(id));
    }
    let component = check(state, place, parameters, context)?;
    let id = component.id.clone();
    context.effect(Change::Created, &id, token);
    remember(state, place, parameters, context, token, &id);
    state.components.insert(id.clone(), component);
    Ok(answer(id))
}

fn answer(id: String) -> Map<String, Value> {
    Map::from_iter([("ImageComponentId".to_owned(), id.into())])
}

fn token_key(place: &Place, context: &Context<'_>, token: &str) -> (String, String, String, String) {
    (place.account.clone(), place.region.clone(), context.action().into(), token.into())
}

/// Keeps what a call with a token came to.
pub(super) fn remember(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
    token: Option<&str>,
    id: &str,
) {
    if let Some(token) = token {
        let replay = Replay { parameters: parameters.clone(), id: id.to_owned(), at: context.now };
        state.tokens.insert(token_key(place, context, token), replay);
    }
}

/// The id that an earlier call with this token and the same parameters was given.
pub(super) fn replayed(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
    token: Option<&str>,
) -> Result<Option<String>, Refusal> {
    let Some(token) = token else { return Ok(None) };
    if !token.is_ascii() || token.len() > 64 {
        return Err(Refusal::new(
            400,
            "InvalidParameter.ClientToken",
            "The specified ClientToken is invalid: at most 64 ASCII characters.",
        ));
    }
    let lifetime = i64::try_from(context.settings.aliyun_ecs.client_token_seconds).unwrap_or(i64::MAX);
    let lifetime = SignedDuration::from_secs(lifetime);
    match state.tokens.get(&token_key(place, context, token)) {
        Some(replay) if context.now.duration_since(replay.at) <= lifetime => {
            if replay.parameters != *parameters {
                return Err(Refusal::new(
                    400,
                    "IdempotentParameterMismatch",
                    "The request uses the same client token as a previous, but non-identical request. Do not reuse a client \
                     token with different requests, unless the requests are identical.",
                ));
            }
            if shifted(replay.at, context.settings.aliyun_ecs.processing_seconds) > context.now {
                return Err(Refusal::new(
                    400,
                    "IdempotentProcessing",
                    "The previous idempotent request is still being processed.",
                ));
            }
            Ok(Some(replay.id.clone()))
        }
        _ => Ok(None),
    }
}

fn check(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Component, Refusal> {
    let settings = &context.settings.aliyun_ecs;
    let name = parameters.get("Name");
    if let Some(name) = name {
        check_name(name)?;
    }
    let description = parameters.get("Description");
    if let Some(text) = description {
        check_description(text)?;
    }
    let system_type =
        one_of(parameters, "SystemType", &["Linux", "Windows"], "InvalidSystemType.NotSupportedValue")?;
    let component_type =
        one_of(parameters, "ComponentType", &["Build", "Test"], "InvalidComponentType.NotSupportedValue")?;
    let text = parameters.get("Content").unwrap_or_default();
    content::check(text, system_type)?;
    let tags = parameters.tags();
    check_tags(&tags)?;

    let id = format!("ic-bp{}", context.shared.ids.alphanumeric(18));
    let name = name.unwrap_or(&id);
    let version = version(state, place, name, parameters.get("ComponentVersion"))?;
    let resource_group_id = match parameters.get("ResourceGroupId").filter(|group| !group.is_empty()) {
        None => settings.resource_groups.first().cloned().unwrap_or_default(),
        Some(group) if settings.resource_groups.iter().any(|known| known == group) => group.to_owned(),
        Some(_) => return Err(unknown_resource_group()),
    };
    if !settings.service_linked_role {
        return Err(Refusal::new(
            403,
            "InvalidOperation.NoPermissionCreateServiceLinkedRole",
            "You are not authorized to create Service-linked role. The system will automatically create it when the API is \
             called for the first time. Check your RAM policies, and ensure that you are using the correct credentials.",
        ));
    }
    if let Some(quota) = settings.component_quota
        && state.components.values().filter(|component| place.holds(component)).count() >= quota
    {
        return Err(Refusal::new(
            400,
            "QuotaExceed.ImageComponent",
            format!("The number of image components exceeds the quota {quota}."),
        ));
    }
    Ok(Component {
        name: name.to_owned(),
        id,
        account: place.account.clone(),
        region: place.region.clone(),
        version,
        description: description.map(Into::into),
        content: text.to_owned(),
        system_type: system_type.to_owned(),
        component_type: component_type.to_owned(),
        owner: "SELF".into(),
        resource_group_id,
        tags: tags.iter().map(|tag| (tag.key.to_owned(), tag.value.unwrap_or_default().to_owned())).collect(),
        creation_time: context.now,
        in_use: false,
    })
}

pub(super) fn unknown_resource_group() -> Refusal {
    Refusal::new(
        404,
        "InvalidResourceGroup.NotFound",
        "The ResourceGroup provided does not exist in our records.",
    )
}

/// 2 to 128 characters; first a letter or Chinese, then also digits, `:`, `_`, `.` and `-`.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    let letter = |c: char| c.is_ascii_alphabetic() || is_chinese(c);
    let fits = (2..=128).contains(&name.chars().count())
        && name.starts_with(letter)
        && !has_web_scheme(name)
        && name.chars().all(|c| letter(c) || c.is_ascii_digit() || matches!(c, ':' | '_' | '.' | '-'));
    if fits {
        return Ok(());
    }
    Err(Refusal::new(400, "InvalidName.Malformed", "The specified Name is malformed."))
}

/// 2 to 256 characters.
pub(super) fn check_description(text: &str) -> Result<(), Refusal> {
    if (2..=256).contains(&text.chars().count()) && !has_web_scheme(text) {
        return Ok(());
    }
    Err(Refusal::new(400, "InvalidDescription.Malformed", "The specified Description is malformed."))
}

pub(super) fn has_web_scheme(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The blocks of Unicode that hold Chinese characters.
fn is_chinese(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
        || matches!(c, '〇' | '々')
}

/// The value of an enumeration, the first of which is the default.
fn one_of<'a>(
    parameters: &'a Parameters,
    name: &str,
    values: &[&'a str],
    code: &str,
) -> Result<&'a str, Refusal> {
    let value = parameters.get(name).filter(|value| !value.is_empty()).unwrap_or(values[0]);
    if values.contains(&value) {
        return Ok(value);
    }
    Err(Refusal::new(400, code, format!("The specified {name} {value} is not supported.")))
}

/// The version asked for, or one major number above the highest that the name has.
fn version(state: &State, place: &Place, name: &str, wanted: Option<&str>) -> Result<String, Refusal> {
    let mut existing = state.components.named(name).filter(|component| place.holds(component));
    let Some(wanted) = wanted.filter(|version| !version.is_empty()) else {
        let highest = existing.filter_map(|component| Some(parse_version(&component.version)?[0])).max();
        return Ok(format!("{}.0.0", highest.map_or(1, |major| major.saturating_add(1))));
    };
    let Some(numbers) = parse_version(wanted) else {
        return Err(Refusal::new(
            400,
            "InvalidParameter.ComponentVersion",
            "The specified ComponentVersion is invalid.",
        ));
    };
    if existing.any(|component| parse_version(&component.version) == Some(numbers)) {
        return Err(Refusal::new(
            403,
            "InvalidComponentVersion.Exist",
            "The specified ComponentVersion does exist with the specified Name.",
        ));
    }
    Ok(wanted.to_owned())
}

/// Three numbers that are not negative.
fn parse_version(text: &str) -> Option<[u64; 3]> {
    let mut parts = text
        .split('.')
        .map(|part| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok()).flatten());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}
