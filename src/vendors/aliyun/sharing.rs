//! With whom an image of ECS is shared, for all kinds whose result is one: what a spec says of it, what the vendor tells, and the
//! calls that make the one the other.

use super::{Client, errors, image_component::pair};
use crate::{
    engine::{
        external::External,
        progress::{Difference, Product},
    },
    wire::{CallError, Effect, Refusal, outcome::one_line, pages, table::lookup},
};
use kube::{KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};
use std::collections::BTreeSet;

// ---- What a user writes --------------------------------------------------------------------------------------------

/// With whom an image is shared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sharing {
    /// The accounts of Alibaba Cloud that may use the image, by their ids, each once; at most 100 (a limit of this operator; the
    /// vendor takes 50 unless the account's quota is higher). Only in the image's own region: a copy in another is shared by
    /// itself. Can be changed: an account that is taken out here may use the image no more. What others share it with stays,
    /// unless `sharePolicy` is `Exact`. An image is unshared before it is deleted. Left out, nobody looks with whom it is shared.
    /// Example: `["1234567890123456"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), inner(length(max = 64)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(
        validation = Rule::new("self.size() <= 100").message("shareWith must have at most 100 accounts"),
        validation = Rule::new("self.all(account, account.matches('^[0-9]{1,20}$'))").message("shareWith must have ids of accounts, which are digits, for example 1234567890123456"),
    )]
    pub share_with: Option<Vec<String>>,

    /// `true`: the image is published as a community image, which every account can use. The vendor then neither shares nor copies
    /// it: copy first, publish last. It needs an agreement that is signed in the console, and is not possible in every region.
    /// `false`, or taking `true` out again: it is not published. Never given, nobody looks. Example: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub community: Option<bool>,

    /// Of the accounts that `shareWith` does not name. `Additive`: those that others share the image with stay. `Exact`: they are
    /// taken out. Needs `shareWith`. Left out, it is `Additive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_policy: Option<SharePolicy>,
}

/// What to do about accounts that others share an image with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::image::explained_by_its_field)]
pub enum SharePolicy {
    /// They stay.
    #[default]
    Additive,
    /// They are taken out.
    Exact,
}

/// For the spec of each kind that has these parameters: the vendor shares no community image.
pub fn not_both() -> Rule {
    let rule = "!has(self.forProvider.community) || !self.forProvider.community || !has(self.forProvider.shareWith) || \
                self.forProvider.shareWith.size() == 0";
    Rule::new(rule).message(
        "forProvider must not have both community: true and shareWith: every account can use a community image, and the vendor \
         does not share it",
    )
}

/// The same: what a policy is about.
pub fn policy_needs_accounts() -> Rule {
    Rule::new("!has(self.forProvider.sharePolicy) || has(self.forProvider.shareWith)")
        .message("forProvider.sharePolicy needs shareWith: with [], Exact shares the image with nobody")
}

/// The calls that `External::AMENDS` tells of.
pub(super) const MODIFY: &str = "ModifyImageSharePermission";

// ---- The vendor's requests and answers -------------------------------------------------------------------------------

/// The most accounts that one call takes: it ignores the others without a word.
const AT_ONCE: usize = 10;

/// The parameters that accounts are added by, and removed.
const ADD: &str = "AddAccount";
const REMOVE: &str = "RemoveAccount";

/// There is no such account.
const NO_ACCOUNT: &str = "InvalidAccount.NotFound";

/// Whether one of a call's accounts is refused, and the others with it.
fn is_about_one(refusal: &Refusal) -> bool {
    refusal.code.starts_with("InvalidAccount.") || refusal.code == "InvalidImageId.BidMismatch"
}

/// It is a community image; it is none.
const PUBLIC: &str = "Image.Public";
const NOT_PUBLIC: &str = "Image.NotPublic";

/// The most rows on a page.
const PAGE: usize = 100;

/// What tells the rows apart.
const ROW_ID: &str = "aliyunId";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Permissions {
    /// In every answer of the vendor's.
    #[serde(default)]
    request_id: Option<IgnoredAny>,
    #[serde(default)]
    accounts: Option<Set>,
    #[serde(default)]
    total_count: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Set {
    #[serde(default)]
    account: Option<Vec<Value>>,
}

/// The accounts that an image is shared with, in their order: all pages of DescribeImageSharePermission.
async fn accounts(client: &Client, region: &str, id: &str) -> Result<BTreeSet<String>, CallError> {
    let read = |next: Option<String>| async move {
        let number = pages::number(next.as_deref());
        let params =
            [pair("ImageId", id), pair("PageSize", PAGE.to_string()), pair("PageNumber", number.to_string())];
        let action = "DescribeImageSharePermission";
        let answer: Permissions = client.ecs(action, Effect::Read, region, &params).await?.value;
        // An answer without anything that the vendor's has does not say that nobody may use it: something in between gave it.
        if answer.accounts.is_none() && answer.request_id.is_none() {
            return Err(Effect::Read.unanswered(format!("{action} was answered with nothing")));
        }
        let rows = answer.accounts.and_then(|set| set.account).unwrap_or_default();
        let rows = rows.into_iter().map(with_text_id).collect();
        Ok(pages::Page::numbered(number, PAGE, rows, answer.total_count.as_u64()))
    };
    let rows = pages::all(ROW_ID, read, |_| false).await?;
    Ok(rows.iter().filter_map(|row| row[ROW_ID].as_str().map(str::to_owned)).collect())
}

/// Ids are numbers in the vendor's examples, and texts elsewhere.
fn with_text_id(mut row: Value) -> Value {
    if let Some(id) = row.get("AliyunId").and_then(Value::as_u64) {
        row["AliyunId"] = id.to_string().into();
    }
    row
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

/// What the status remembers among the keys of tags, and no key of a user's begins with: an account that the spec named.
const ACCOUNT: &str = "acs:account/";
/// The same of `community`.
const COMMUNITY: &str = "acs:community";

/// Whether a row says that the image is a community image.
pub(super) fn is_public(row: &Value) -> bool {
    super::ecs_image::flag(&row["isPublic"]) == Some(true)
}

/// With whom a row says that the image is shared, if anybody looked; see [`Sharing::complete`].
fn shared_with(row: &Value) -> Option<BTreeSet<String>> {
    let accounts = row["accounts"]["account"].as_array()?;
    Some(accounts.iter().filter_map(|account| account[ROW_ID].as_str().map(str::to_owned)).collect())
}

impl Sharing {
    /// For `External::named`: what of it is the object's own.
    pub(super) fn named(&self) -> impl Iterator<Item = String> {
        let accounts = self.share_with.iter().flatten().map(|account| format!("{ACCOUNT}{account}"));
        accounts.chain(self.community.map(|_| COMMUNITY.to_owned()))
    }

    fn is_exact(&self) -> bool {
        self.share_with.is_some() && self.share_policy == Some(SharePolicy::Exact)
    }

    /// Whether it matters with whom an image is shared: that takes a call for each image.
    fn is_asked_for(&self, dropped: &BTreeSet<String>) -> bool {
        self.share_with.is_some() || dropped.iter().any(|key| key.starts_with(ACCOUNT))
    }

    /// Adds to a row of DescribeImages with whom the image is shared, under the names of DescribeImageSharePermission, where
    /// that matters and the image can be shared.
    async fn complete(
        &self,
        client: &Client,
        region: &str,
        dropped: &BTreeSet<String>,
        row: &mut Value,
    ) -> Result<(), CallError> {
        if !self.is_asked_for(dropped) || row["status"].as_str() != Some("Available") {
            return Ok(());
        }
        let Some(id) = row[super::ecs_image::ROW_ID].as_str() else { return Ok(()) };
        let accounts = accounts(client, region, id).await?;
        // Whoever asks no more, and has taken all of his back, has no business with the others.
        if self.share_with.is_none() && !accounts.iter().any(|id| dropped.contains(&format!("{ACCOUNT}{id}")))
        {
            return Ok(());
        }
        let accounts: Vec<_> = accounts.into_iter().map(|account| json!({ ROW_ID: account })).collect();
        row["accounts"] = json!({ "account": accounts });
        Ok(())
    }

    /// For `External::completed`: with whom an object's image is shared takes a call for each.
    pub(super) async fn completed(
        &self,
        client: &Client,
        object: &impl External<Client = Client>,
        mut product: Product,
    ) -> Result<Product, CallError> {
        let (region, dropped) = (object.region(client), object.dropped());
        self.complete(client, &region, &dropped, &mut product.at_provider).await?;
        Ok(product)
    }

    /// What is to be changed of what a row says. `dropped`: what the spec named once and names no more. Nothing is changed of an
    /// image that cannot be used.
    pub(super) fn changes(&self, row: &Value, dropped: &BTreeSet<String>) -> Changes {
        if row["status"].as_str() != Some("Available") {
            return Changes::default();
        }
        let was_public = is_public(row);
        let wanted = self.community.or_else(|| dropped.contains(COMMUNITY).then_some(false));
        let publish = wanted.filter(|wanted| *wanted != was_public);
        let theirs = shared_with(row);
        let named: BTreeSet<_> = self.share_with.iter().flatten().cloned().collect();
        let (added, removed) = match &theirs {
            Some(theirs) => {
                let was_ours = |account: &String| dropped.contains(&format!("{ACCOUNT}{account}"));
                let is_to_go = |account: &&String| self.is_exact() || was_ours(account);
                let others = theirs.difference(&named).filter(is_to_go);
                (named.difference(theirs).cloned().collect(), others.cloned().collect())
            }
            // Nobody has looked since the spec said so.
            None => (named.into_iter().collect(), vec![]),
        };
        Changes { was_public, publish, added, removed }
    }

    /// How many calls [`Self::end`] makes that change something, as far as a row tells that was seen before: what the spec names is
    /// taken for shared, whether or not anybody has looked since.
    pub(super) fn calls_to_end(&self, row: &Value, ours: &BTreeSet<String>) -> usize {
        if row["status"].as_str() == Some("CreateFailed") {
            return 0;
        }
        let is_published = ours.contains(COMMUNITY) && (is_public(row) || self.community == Some(true));
        let others = shared_with(row).filter(|_| self.is_exact()).unwrap_or_default();
        let named = ours.iter().filter_map(|key| key.strip_prefix(ACCOUNT));
        let accounts: BTreeSet<_> = named.chain(others.iter().map(String::as_str)).collect();
        usize::from(is_published) + accounts.len().div_ceil(AT_ONCE)
    }

    /// Takes back, of an image that is to be deleted, what is the object's: the vendor deletes no image that is shared. `ours`:
    /// what the spec names, and what it named once. The end of a sentence where others share it, too.
    pub(super) async fn end(
        &self,
        client: &Client,
        region: &str,
        row: &Value,
        ours: &BTreeSet<String>,
    ) -> Result<Option<String>, CallError> {
        let Some(id) = row[super::ecs_image::ROW_ID].as_str() else { return Ok(None) };
        if row["status"].as_str() == Some("CreateFailed") {
            return Ok(None);
        }
        if is_public(row) && ours.contains(COMMUNITY) {
            Changes { publish: Some(false), ..Changes::default() }.make(client, region, id).await?;
        }
        if !self.is_exact() && !ours.iter().any(|key| key.starts_with(ACCOUNT)) {
            return Ok(None);
        }
        let accounts = accounts(client, region, id).await?;
        let is_ours = |account: &String| self.is_exact() || ours.contains(&format!("{ACCOUNT}{account}"));
        let (removed, others): (Vec<_>, Vec<_>) = accounts.into_iter().partition(is_ours);
        Changes { removed, ..Changes::default() }.make(client, region, id).await?;
        let others = one_line(&others.join(", "), 200);
        Ok((!others.is_empty()).then(|| {
            format!(
                "{id} is shared with {others}, which this object's spec never named, and the vendor deletes no image that is \
                 shared: stop sharing it in the console, or set shareWith: [] with sharePolicy: Exact / 镜像 {id} 还共享给 \
                 {others}（并非由此对象设置），厂商不会删除共享中的镜像：请在控制台取消共享，或设置 shareWith: [] 与 sharePolicy: Exact"
            )
        }))
    }
}

/// What of an image's sharing is to be changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Whether it is a community image as it is.
    was_public: bool,
    /// Whether it is to be one, where that changes.
    publish: Option<bool>,
    added: Vec<String>,
    removed: Vec<String>,
}

impl Changes {
    /// Only of what changes, as with tags: other accounts are nobody's business.
    pub(super) fn differences(&self) -> impl Iterator<Item = Difference> {
        let shown = |accounts: &[String]| (!accounts.is_empty()).then(|| accounts.join(", "));
        let accounts = (!self.added.is_empty() || !self.removed.is_empty())
            .then(|| Difference::new("shareWith", shown(&self.removed), shown(&self.added)));
        let community = self.publish.map(|publish| Difference::new("community", !publish, publish));
        accounts.into_iter().chain(community)
    }

    /// Makes them: what is taken back first, since a community image cannot be shared, and a quota may be full.
    pub(super) async fn make(self, client: &Client, region: &str, id: &str) -> Result<(), CallError> {
        let Self { was_public, publish, added, removed } = self;
        if was_public && publish != Some(false) && !added.is_empty() {
            return Err(refused_as_public(id));
        }
        let modify = async |params: Vec<(String, String)>| {
            let params: Vec<_> = [pair("ImageId", id)].into_iter().chain(params).collect();
            client.ecs::<IgnoredAny>(MODIFY, Effect::Change, region, &params).await
        };
        // That it is so already is as good as done: the next look shows it.
        let set_public = async |publish: bool| match modify(vec![pair("IsPublic", publish.to_string())]).await
        {
            Err(CallError::Refused(refusal)) if refusal.code == if publish { PUBLIC } else { NOT_PUBLIC } => {
                Ok(())
            }
            done => done.map(drop),
        };
        if publish == Some(false) {
            set_public(false).await?;
        }
        let named = |key: &str, accounts: &[String]| {
            accounts.iter().zip(1..).map(|(id, number)| pair(format!("{key}.{number}"), id)).collect()
        };
        let mut refused = None;
        for (key, accounts) in [(REMOVE, &removed), (ADD, &added)] {
            for chunk in accounts.chunks(AT_ONCE) {
                match modify(named(key, chunk)).await {
                    // One that the vendor does not take keeps the others neither from being added nor from being removed.
                    Err(CallError::Refused(refusal)) if is_about_one(&refusal) => {
                        for one in chunk.chunks(1) {
                            match modify(named(key, one)).await {
                                // Whoever is there no more uses nothing.
                                Err(CallError::Refused(it)) if key == REMOVE && it.code == NO_ACCOUNT => {}
                                Err(CallError::Refused(it)) if is_about_one(&it) => {
                                    refused.get_or_insert(CallError::Refused(it));
                                }
                                done => drop(done?),
                            }
                        }
                    }
                    done => drop(done?),
                }
            }
        }
        if let Some(error) = refused {
            return Err(error);
        }
        if publish == Some(true) {
            set_public(true).await?;
        }
        Ok(())
    }
}

/// What the vendor would say, without asking it.
fn refused_as_public(id: &str) -> CallError {
    let (class, hint) = lookup(&[errors::TABLE], PUBLIC, "");
    CallError::Refused(Refusal {
        action: MODIFY.into(),
        status: 403,
        code: PUBLIC.into(),
        message: format!("{id} is published as a community image"),
        request_id: String::new(),
        class,
        hint,
        retry_after: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharing(value: Value) -> Sharing {
        serde_json::from_value(value).expect("parameters")
    }

    fn keys(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn row(public: bool, accounts: &[&str]) -> Value {
        let accounts: Vec<_> = accounts.iter().map(|account| json!({ "aliyunId": account })).collect();
        json!({ "imageId": "m-1", "status": "Available", "isPublic": public, "accounts": { "account": accounts } })
    }

    #[test]
    fn what_others_share_stays_and_what_the_spec_dropped_goes() {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        for (spec, theirs, dropped, added, removed) in [
            (json!({}), &["7"][..], &[][..], &[][..], &[][..]),
            (json!({ "shareWith": ["2", "1"] }), &["7"], &[], &["1", "2"], &[]),
            (json!({ "shareWith": ["1"] }), &["1", "7"], &[], &[], &[]),
            (json!({ "shareWith": ["1"], "sharePolicy": "Exact" }), &["1", "7"], &[], &[], &["7"]),
            (json!({ "shareWith": [], "sharePolicy": "Exact" }), &["1", "7"], &[], &[], &["1", "7"]),
            (
                json!({ "shareWith": ["1"] }),
                &["1", "2", "7"],
                &["acs:account/2", "acs:account/3"],
                &[],
                &["2"],
            ),
            (json!({}), &["2", "7"], &["acs:account/2", "team"], &[], &["2"]),
        ] {
            let changes = sharing(spec.clone()).changes(&row(false, theirs), &keys(dropped));
            let expected = Changes { added: texts(added), removed: texts(removed), ..Changes::default() };
            assert_eq!(changes, expected, "{spec} {theirs:?} {dropped:?}");
            let differs = changes.differences().count();
            assert_eq!(differs, usize::from(!added.is_empty() || !removed.is_empty()));
        }
    }

    #[test]
    fn an_image_is_published_and_taken_back_only_where_the_spec_says_or_said_so() {
        for (spec, public, dropped, publish) in [
            (json!({}), true, &[][..], None),
            (json!({}), true, &[COMMUNITY][..], Some(false)),
            (json!({}), false, &[COMMUNITY], None),
            (json!({ "community": true }), false, &[], Some(true)),
            (json!({ "community": true }), true, &[], None),
            (json!({ "community": false }), true, &[], Some(false)),
        ] {
            let changes = sharing(spec.clone()).changes(&row(public, &[]), &keys(dropped));
            assert_eq!(changes.publish, publish, "{spec} {public} {dropped:?}");
        }
    }

    #[test]
    fn what_nobody_has_looked_at_differs_and_what_cannot_be_used_does_not() {
        let spec = sharing(json!({ "shareWith": ["1"], "community": false }));
        let mut unread = row(false, &[]);
        unread.as_object_mut().expect("a row").remove("accounts");
        assert_eq!(spec.changes(&unread, &keys(&[])).added, ["1"]);
        assert_eq!(sharing(json!({})).changes(&unread, &keys(&["acs:account/2"])), Changes::default());
        unread["status"] = json!("Deprecated");
        assert_eq!(spec.changes(&unread, &keys(&[])), Changes::default());
    }

    #[test]
    fn what_is_remembered_is_no_key_of_a_tag_of_a_user_s() {
        let named: Vec<_> = sharing(json!({ "shareWith": ["1"], "community": false })).named().collect();
        assert_eq!(named, ["acs:account/1", COMMUNITY]);
        for key in named {
            let tag = super::super::tags::Tag { key, value: String::new() };
            assert!(!tag.is_users());
        }
    }

    #[test]
    fn ids_are_numbers_or_texts() {
        for id in [json!(1_234_567_890_123_456_u64), json!("1234567890123456")] {
            assert_eq!(with_text_id(json!({ "AliyunId": id }))["AliyunId"], "1234567890123456");
        }
    }
}
