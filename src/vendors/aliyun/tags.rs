//! Tags and resource groups of ECS's things, as requests and rows have them: the same for every kind.

use super::Client;
use crate::{
    engine::progress::Difference,
    wire::{CallError, Effect},
};
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use std::collections::BTreeSet;

/// The tag that says which attempt of which object made a thing: its token.
pub(super) const MARK: &str = "cloudimages.dev/attempt";

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tag {
    /// The tag's key, 1 to 128 characters, not beginning with `aliyun` or `acs:`, without `http://` and `https://`.
    /// Example: `team`.
    #[schemars(length(min = 1, max = 128))]
    pub key: String,
    /// The tag's value, at most 128 characters, without `http://` and `https://`. Default: empty. Example: `base`.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub value: String,
}

impl Tag {
    /// Whether users set it: those of the vendor's own cannot be set, and that of the operator is the operator's.
    pub(super) fn is_users(&self) -> bool {
        !self.key.starts_with("aliyun") && !self.key.starts_with("acs:") && self.key != MARK
    }
}

/// For the list of tags of each kind that has one: what the vendor refuses of a key.
pub(super) fn not_the_vendors() -> Rule {
    Rule::new("self.all(tag, !tag.key.startsWith('aliyun') && !tag.key.startsWith('acs:'))")
        .message("a tag's key must not begin with aliyun or acs:, which are Alibaba Cloud's own")
}

/// The same: of a key and a value.
pub(super) fn no_addresses() -> Rule {
    let of_value = "has(tag.value) && (tag.value.contains('http://') || tag.value.contains('https://'))";
    Rule::new(format!(
        "self.all(tag, !tag.key.contains('http://') && !tag.key.contains('https://') && !({of_value}))"
    ))
    .message("a tag's key and value must not contain http:// or https://")
}

/// The same, where things bear a mark: [`MARK`] is not the user's to set.
pub(super) fn not_the_operators() -> Rule {
    Rule::new("self.all(tag, !tag.key.startsWith('cloudimages.dev/'))")
        .message("a tag's key must not begin with cloudimages.dev/, which is the operator's own")
}

/// Which attempt made a thing, by its tags.
pub(super) fn mark(tags: &[Tag]) -> Option<&str> {
    tags.iter().find(|tag| tag.key == MARK).map(|tag| tag.value.as_str())
}

/// As requests have them: `Tag.1.Key`, `Tag.1.Value`, and so on.
pub(super) fn params<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> impl Iterator<Item = (String, String)> {
    tags.into_iter().zip(1..).flat_map(|(tag, index)| {
        [(format!("Tag.{index}.Key"), tag.key.clone()), (format!("Tag.{index}.Value"), tag.value.clone())]
    })
}

/// Those of a row, keys in lowerCamelCase. What is of another type than documented must not hide the rest.
pub(super) fn read(row: &Value) -> Vec<Tag> {
    row["tags"]["tag"].as_array().into_iter().flatten().filter_map(read_tag).collect()
}

/// `None`: it has no key. Rows say `TagKey` and `TagValue` where requests say `Key` and `Value`.
fn read_tag(row: &Value) -> Option<Tag> {
    let text = |name, other| row.get(name).or_else(|| row.get(other)).and_then(Value::as_str);
    Some(Tag {
        key: text("tagKey", "key")?.to_owned(),
        value: text("tagValue", "value").unwrap_or_default().to_owned(),
    })
}

/// What of a thing's tags is to be changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) set: Vec<Tag>,
    pub(super) removed: Vec<String>,
}

impl Changes {
    /// Tags that neither the spec nor `dropped`, what it named once, names are not looked at.
    pub(super) fn between(wanted: &[Tag], theirs: &[Tag], dropped: &BTreeSet<String>) -> Self {
        let set = wanted.iter().filter(|tag| !theirs.contains(tag)).cloned().collect();
        let is_there = |key: &&String| theirs.iter().any(|tag| tag.key == **key);
        Self { set, removed: dropped.iter().filter(is_there).cloned().collect() }
    }

    /// Only of the tags that change: the others are nobody's business. `None`: none does.
    pub(super) fn difference(&self, theirs: &[Tag]) -> Option<Difference> {
        let changes =
            |tag: &&Tag| self.removed.contains(&tag.key) || self.set.iter().any(|other| other.key == tag.key);
        let shown = |tags: &mut dyn Iterator<Item = &Tag>| {
            let tags: Vec<_> = tags.map(|tag| format!("{}={}", tag.key, tag.value)).collect();
            (!tags.is_empty()).then(|| tags.join(", "))
        };
        let is_any = !self.set.is_empty() || !self.removed.is_empty();
        let theirs = shown(&mut theirs.iter().filter(changes));
        let calls = [(self.removed.is_empty(), "UntagResources"), (self.set.is_empty(), "TagResources")];
        let calls = calls.into_iter().filter_map(|(none, call)| (!none).then_some(call));
        is_any.then(|| Difference::new("tag", theirs, shown(&mut self.set.iter())).by(calls))
    }

    /// Makes them.
    pub(super) async fn make(self, client: &Client, region: &str, thing: Thing<'_>) -> Result<(), CallError> {
        let of = || [pair("ResourceType", thing.resource_type), pair("ResourceId.1", thing.id)].into_iter();
        if !self.removed.is_empty() {
            let keys = self.removed.into_iter().zip(1..).map(|(key, index)| (format!("TagKey.{index}"), key));
            let params: Vec<_> = of().chain(keys).collect();
            client.ecs::<IgnoredAny>("UntagResources", Effect::Change, region, &params).await?;
        }
        if !self.set.is_empty() {
            let params: Vec<_> = of().chain(params(&self.set)).collect();
            client.ecs::<IgnoredAny>("TagResources", Effect::Change, region, &params).await?;
        }
        Ok(())
    }
}

/// One of ECS's things, as the calls name it that are the same for all of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thing<'a> {
    pub(super) resource_type: &'a str,
    pub(super) id: &'a str,
}

impl Thing<'_> {
    /// Puts it into another resource group.
    pub(super) async fn join_group(
        self,
        client: &Client,
        region: &str,
        group: &str,
    ) -> Result<(), CallError> {
        let params = [
            pair("ResourceType", self.resource_type),
            pair("ResourceId", self.id),
            pair("ResourceGroupId", group),
        ];
        client.ecs::<IgnoredAny>("JoinResourceGroup", Effect::Change, region, &params).await?;
        Ok(())
    }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.into(), value.into())
}
