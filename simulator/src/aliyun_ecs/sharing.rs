//! `ModifyImageSharePermission` and `DescribeImageSharePermission`: with whom an image is shared, and community images.
//!
//! Known: that a call takes ten accounts to add and ten to remove and ignores the others without a word, that an image is shared
//! with 50 at most by default, that `IsPublic` goes with no other parameter, that neither a community image is shared nor one that
//! is encrypted with the key of the service, and the codes.
//! Not known, and chosen here: that adding an account that is there and removing one that is not are harmless, that a shared image
//! can be published, that publishing what is published is refused, whether an account that was closed can be removed
//! ([`Settings::missing_accounts_can_be_removed`](super::Settings::missing_accounts_can_be_removed)), and whether ids are shown as
//! numbers or as texts ([`Settings::account_ids_are_texts`](super::Settings::account_ids_are_texts)).

use serde_json::{Map, Value, json};

use super::images::{image_not_found, page};
use super::parameters::Parameters;
use super::{Place, State};
use crate::ledger::Change;
use crate::server::Context;
use crate::wire::Refusal;

/// Accounts of one call that are not ignored.
const AT_ONCE: usize = 10;

pub(super) fn modify(
    state: &mut State,
    place: &Place,
    parameters: &Parameters,
    context: &mut Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let (id, settings) = (parameters.required("ImageId")?, &context.settings.aliyun_ecs);
    let first =
        |name| -> Vec<String> { parameters.list(name).into_iter().take(AT_ONCE).map(Into::into).collect() };
    let (added, removed) = (first("AddAccount"), first("RemoveAccount"));
    let publish = parameters.get("IsPublic").filter(|value| !value.is_empty());
    let publish = publish.map(|value| value.eq_ignore_ascii_case("true"));
    let image = state.image_mut(place, id).ok_or_else(image_not_found)?;
    let refused = |code: &str, message: &str| Err(Refusal::new(403, code, message));
    if image.status(context.now) != "Available" {
        return refused(
            "OperationDenied.InvalidImageStatus",
            "The current status of the image does not support it.",
        );
    }
    let before = image.clone();
    if let Some(publish) = publish {
        if !added.is_empty() || !removed.is_empty() {
            return refused("InvalidParameter.IsPublic", "IsPublic cannot be used with other parameters.");
        }
        if publish == image.public {
            let (code, message) = if publish {
                ("Image.Public", "The image is public already.")
            } else {
                ("Image.NotPublic", "The image is not public.")
            };
            return refused(code, message);
        }
        if publish && !settings.community_agreement {
            return refused("PublicImageAgreement.NotSigned", "The agreement has not been signed.");
        }
        if publish && settings.regions_without_community.contains(&place.region) {
            return refused(
                "CurrentRegion.NotSupportPublicImage",
                "The region does not support community images.",
            );
        }
        image.public = publish;
    }
    if image.public && !added.is_empty() {
        return refused("Image.Public", "A community image cannot be shared.");
    }
    if image.encrypted && image.kms_key.is_none() && !added.is_empty() {
        return refused(
            "InvalidOperation.ServiceKeyEncryptedImageUnsupported",
            "The specified service key encrypted image is not supported for this operation. Please switch to a CMK (Customer \
             Master Key) encrypted image and retry.",
        );
    }
    if added.contains(&place.account) {
        return Err(Refusal::new(
            404,
            "InvalidAccount.Forbbiden",
            "The image cannot be shared with its owner.",
        ));
    }
    let is_missing = |account: &String| settings.missing_accounts.contains(account);
    let removes_missing = !settings.missing_accounts_can_be_removed && removed.iter().any(is_missing);
    if removes_missing || added.iter().any(is_missing) {
        return Err(Refusal::new(404, "InvalidAccount.NotFound", "The specified account does not exist."));
    }
    let mut accounts = image.shared_with.clone();
    accounts.retain(|account| !removed.contains(account));
    accounts.extend(added);
    if accounts.len() > settings.share_quota.max(before.shared_with.len()) {
        return refused("QuotaExceed.ShareImageUser", "The image is shared with too many accounts.");
    }
    image.shared_with = accounts;
    if *image != before {
        context.effect(Change::Changed, id, None);
    }
    Ok(Map::new())
}

pub(super) fn describe(
    state: &State,
    place: &Place,
    parameters: &Parameters,
    context: &Context<'_>,
) -> Result<Map<String, Value>, Refusal> {
    let id = parameters.required("ImageId")?;
    let image = state.image(place, id).ok_or_else(image_not_found)?;
    let (number, size) = page(parameters)?;
    let shown = |account: &String| match account.parse::<u64>() {
        Ok(number) if !context.settings.aliyun_ecs.account_ids_are_texts => json!({ "AliyunId": number }),
        _ => json!({ "AliyunId": account }),
    };
    let accounts = image.shared_with.iter().skip((number - 1).saturating_mul(size)).take(size);
    let accounts: Vec<Value> = accounts.map(shown).collect();
    Ok(Map::from_iter([
        ("ImageId".to_owned(), id.into()),
        ("RegionId".to_owned(), place.region.clone().into()),
        ("PageNumber".to_owned(), number.into()),
        ("PageSize".to_owned(), size.into()),
        ("TotalCount".to_owned(), image.shared_with.len().into()),
        ("Accounts".to_owned(), json!({ "Account": accounts })),
        ("ShareGroups".to_owned(), json!({ "ShareGroup": [] })),
    ]))
}
