//! Tags and resource groups of ECS's things, as requests and rows have them: the same for every kind.

use super::Client;
use crate::{
    engine::progress::Difference,
    wire::{CallError, Effect},
};
use kube::KubeSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use std::collections::BTreeSet;

/// The tag that says which attempt of which object made a thing: its token.
pub(super) const MARK: &str = "cloudimages.dev/attempt";

// Its rules are on its parts and not on lists of tags: they hold wherever somebody writes one, and the API server does not ask them of
// what stays as it was, so that a tag that was stored before there was a rule hinders no change of anything else.
/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Tag {
    /// The tag's key, 1 to 128 characters, not beginning with `aliyun`, `acs:` or `cloudimages.dev/`, without `http://` and
    /// `https://`. Example: `team`.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(
        validation = Rule::new("!self.startsWith('aliyun') && !self.startsWith('acs:')").message("a tag's key must not begin with aliyun or acs:, which are Alibaba Cloud's own"),
        validation = Rule::new("!self.startsWith('cloudimages.dev/')").message("a tag's key must not begin with cloudimages.dev/, which is the operator's own"),
        validation = Rule::new("!self.contains('http://') && !self.contains('https://')").message("a tag's key must not contain http:// or https://"),
    )]
    pub key: String,
    /// The tag's value, at most 128 characters, without `http://` and `https://`. Default: empty. Example: `base`.
    #[serde(default)]
    #[schemars(length(max = 128))]
    #[x_kube(validation = Rule::new("!self.contains('http://') && !self.contains('https://')").message("a tag's value must not contain http:// or https://"))]
    pub value: String,
}

impl Tag {
    /// Whether users set it: those of the vendor's own cannot be set, and those of the operator are the operator's.
    pub(super) fn is_users(&self) -> bool {
        !["aliyun", "acs:", "cloudimages.dev/"].iter().any(|own| self.key.starts_with(own))
    }
}

/// Which attempt made a thing, by its tags.
pub(super) fn mark(tags: &[Tag]) -> Option<&str> {
    tags.iter().find(|tag| tag.key == MARK).map(|tag| tag.value.as_str())
}

/// The uid of the object that an attempt's token names.
pub(super) fn made_for(token: &str) -> Option<&str> {
    let (uid, attempt) = token.rsplit_once('-')?;
    (!uid.is_empty() && attempt.parse::<u32>().is_ok()).then_some(uid)
}

/// Whether two marks are of attempts of the same object.
pub(super) fn same_maker(one: &str, other: &str) -> bool {
    made_for(one).is_some() && made_for(one) == made_for(other)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_whose_attempt_it_is() {
        for (one, other, same) in [
            ("5c2f-4000-1", "5c2f-4000-1", true),
            ("5c2f-4000-1", "5c2f-4000-12", true),
            ("5c2f-4000-1", "5c2f-4001-1", false),
            ("5c2f", "5c2f", false),
            ("-1", "-1", false),
        ] {
            assert_eq!(same_maker(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn what_nobody_may_write_is_nobody_s_to_take_over() {
        let is_users = |key: &str| Tag { key: key.into(), value: String::new() }.is_users();
        for own in ["aliyun-a", "acs:rm:rgId", MARK, "cloudimages.dev/team"] {
            assert!(!is_users(own), "{own}");
        }
        for users in ["team", "cloudimages.dev", "x-acs:a", "x/cloudimages.dev/attempt"] {
            assert!(is_users(users), "{users}");
        }
    }
}
