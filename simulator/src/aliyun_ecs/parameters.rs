//! The parameters of an RPC call: flat names and texts, lists as `Name.1`, `Name.2`, …

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::server::Context;
use crate::wire::Refusal;

/// Parameters by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Parameters {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| missing(name))
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The values of `name.1`, `name.2`, … in the order of their numbers.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let mut items: Vec<(u32, &str)> = self
            .iter()
            .filter_map(|(key, value)| {
                Some((key.strip_prefix(name)?.strip_prefix('.')?.parse().ok()?, value))
            })
            .collect();
        items.sort_unstable_by_key(|(number, _)| *number);
        items.into_iter().map(|(_, value)| value).collect()
    }

    /// `Tag.N.Key` and `Tag.N.Value` in the order of their numbers.
    pub(super) fn tags(&self) -> Vec<Tag<'_>> {
        let mut tags: BTreeMap<u32, Tag<'_>> = BTreeMap::new();
        for (name, value) in self.iter() {
            let Some((number, field)) = name.strip_prefix("Tag.").and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            let Ok(number) = number.parse() else { continue };
            match field {
                "Key" => tags.entry(number).or_default().key = value,
                "Value" => tags.entry(number).or_default().value = Some(value),
                _ => {}
            }
        }
        tags.into_values().collect()
    }
}

/// One tag of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) key: &'a str,
    pub(super) value: Option<&'a str>,
}

/// The tags of something that was made then, as a list shows and knows them.
pub(super) fn shown_tags<'a>(
    tags: &'a BTreeMap<String, String>,
    created: Timestamp,
    context: &Context<'_>,
) -> &'a BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    if context.shows_tags_of(created) { tags } else { &NONE }
}

/// Whether something with these tags has all that a list is to be about.
pub(super) fn has_tags(tags: &BTreeMap<String, String>, wanted: &[Tag<'_>]) -> bool {
    wanted
        .iter()
        .all(|tag| tags.get(tag.key).is_some_and(|value| tag.value.is_none_or(|wanted| wanted == value)))
}

/// Tags as rows have them.
pub(super) fn tag_rows(tags: &BTreeMap<String, String>) -> Value {
    let rows: Vec<Value> =
        tags.iter().map(|(key, value)| json!({ "TagKey": key, "TagValue": value })).collect();
    json!({ "Tag": rows })
}

/// Checks the tags of a call that sets them (1 to 20 of them; limits of the `TagResources` page).
pub(super) fn check_tags(tags: &[Tag<'_>]) -> Result<(), Refusal> {
    if tags.len() > 20 {
        return Err(Refusal::new(400, "NumberExceed.Tags", "The maximum number of Tags is exceeded."));
    }
    for (index, tag) in tags.iter().enumerate() {
        let key = tag.key;
        if key.is_empty() || key.chars().count() > 128 || reserved(key) || has_scheme(key) {
            return Err(Refusal::new(
                400,
                "InvalidTagKey.Malformed",
                "The specified Tag.n.Key is not valid.",
            ));
        }
        if tag.value.is_some_and(|value| value.chars().count() > 128 || has_scheme(value)) {
            return Err(Refusal::new(
                400,
                "InvalidTagValue.Malformed",
                "The specified Tag.n.Value is not valid.",
            ));
        }
        if tags[..index].iter().any(|earlier| earlier.key == key) {
            return Err(Refusal::new(400, "Duplicate.TagKey", "The Tag.N.Key contain duplicate key."));
        }
    }
    Ok(())
}

fn reserved(key: &str) -> bool {
    key.starts_with("aliyun") || key.starts_with("acs:")
}

fn has_scheme(text: &str) -> bool {
    text.contains("http://") || text.contains("https://")
}

pub(super) fn missing(name: &str) -> Refusal {
    Refusal::new(
        400,
        "MissingParameter",
        format!(
            "The input parameter \"{name}\" that is mandatory for processing this request is not supplied."
        ),
    )
}
