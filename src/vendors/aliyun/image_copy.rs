//! `AliyunImageCopy`: a copy of an Alibaba Cloud ECS image in another region. ECS `CopyImage` 2014-05-26.

use super::{
    Client,
    ecs_image::{self, Changes, Image, ImageDeletion},
    image_component::pair,
    sharing::{self, Sharing},
    tags::{self, MARK, Tag},
};
use crate::{
    account::AccountVendor,
    engine::{
        existing::Existing,
        external::{External, Submitted, Timeout},
        index::{Reference, Referent},
        journal::Permit,
        preflight::Preflight,
        progress::{Comparison, Deletion, Difference, Handle, Lookalike, Observation, Product, Recovered},
    },
    image::{ImageRef, ImageSpec, ImageStatus, OperationState, fixed, kept, placed},
    vendors::normalise,
    wire::{CallError, Class, Effect, Refusal, pages},
};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

// ---- What a user writes --------------------------------------------------------------------------------------------

const AGAIN: &str = "delete this object and make a new one";

/// What ids of regions are made of.
const REGION: &str = "self.matches('^[a-z0-9-]+$')";

/// A copy of an image at Alibaba Cloud.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "AliyunImageCopy",
    plural = "aliyunimagecopies",
    shortname = "alicopy",
    category = "cloudimages",
    namespaced,
    status = "ImageStatus",
    doc = "A copy of a custom image of Alibaba Cloud ECS in another region. It stands for the vendor's CopyImage.",
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.forProvider.destinationRegionId", description = "The region of the copy, unless it is the account's"),
    printcolumn(name = "Progress", type_ = "integer", json_path = ".status.progress", description = "How far the copy is, in percent"),
    printcolumn(name = "Image ID", type_ = "string", json_path = ".status.imageId", description = "The vendor's id of the copy"),
    validation = placed("destinationRegionId", AGAIN),
    validation = fixed("regionId", AGAIN),
    validation = fixed("imageId", AGAIN),
    validation = fixed("imageRef", AGAIN),
    validation = fixed("encrypted", AGAIN),
    validation = fixed("kmsKeyId", AGAIN),
    validation = fixed("resourceGroupId", AGAIN),
    validation = kept("destinationImageName"),
    validation = kept("destinationDescription")
)]
#[x_kube(
    validation = Rule::new("has(self.import) || has(self.forProvider.imageId) || has(self.forProvider.imageRef)").message("forProvider.imageId or imageRef is required: the image to copy (or name an existing copy in import)"),
    validation = Rule::new("!has(self.forProvider.imageId) || !has(self.forProvider.imageRef)").message("forProvider must have only one of imageId and imageRef"),
    validation = Rule::new("!has(self.forProvider.regionId) || !has(self.forProvider.imageRef)").message("forProvider.regionId must be left out with imageRef: the object that it names says where its image is"),
    validation = Rule::new("has(self.forProvider.destinationImageName) || has(self.import)").message("forProvider.destinationImageName is required: what the copy is called, by which a copy whose answer was lost is found again"),
    validation = Rule::new("!has(self.forProvider.kmsKeyId) || (has(self.forProvider.encrypted) && self.forProvider.encrypted)").message("forProvider.kmsKeyId needs encrypted: true"),
    validation = Rule::new("!has(self.forProvider.shareWith) || self.forProvider.shareWith.size() == 0 || !has(self.forProvider.encrypted) || !self.forProvider.encrypted || has(self.forProvider.kmsKeyId)").message("forProvider.shareWith of an encrypted copy needs kmsKeyId: the vendor does not share what is encrypted with its own key of the service"),
    validation = sharing::not_both(),
    validation = sharing::policy_needs_accounts(),
)]
pub struct AliyunImageCopySpec {
    /// What all kinds share.
    #[serde(flatten)]
    pub image: ImageSpec<AliyunImageMatch>,

    /// Whether the snapshots that the copy consists of are deleted with it: the vendor keeps them when an image is deleted, and
    /// they cost. Default: `true` for a copy that the operator made, `false` for one that it took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_snapshots: Option<bool>,

    /// The parameters of CopyImage, under the vendor's names, and with whom the copy is shared. `destinationImageName`,
    /// `destinationDescription`, `tag`, `shareWith`, `sharePolicy` and `community` can be changed later.
    pub for_provider: CopyParameters,
}

/// The parameters of CopyImage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CopyParameters {
    /// The region of the image that is copied, 1 to 64 characters (a limit of this operator). Default: that of what `imageRef`
    /// names, or the account's. Cannot be changed. Example: `cn-hangzhou`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(REGION).message("regionId must be a region's id of lower-case letters, digits and -, for example cn-hangzhou"))]
    pub region_id: Option<String>,

    /// The image that is copied, 1 to 256 characters (a limit of this operator): a custom image of the account, Available and
    /// not published as a community image; or one that is shared with it, which can be copied within its region only. Required
    /// unless `imageRef` is given. Cannot be changed. Example: `m-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_.-]*$')").message("imageId must be the id of an image: letters, digits, -, _ and ., for example m-bp67acfmxazb4p"))]
    pub image_id: Option<String>,

    /// An object in the same namespace whose image is copied, instead of `imageId`: the copy waits until it is Ready. Cannot be
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_ref: Option<ImageRef>,

    /// The region that the copy is made in, 1 to 64 characters (a limit of this operator). Five images are copied at a time in
    /// each region; others wait. Default: the account's. Cannot be changed. Example: `cn-shanghai`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new(REGION).message("destinationRegionId must be a region's id of lower-case letters, digits and -, for example cn-shanghai"))]
    pub destination_region_id: Option<String>,

    /// The copy's name, 2 to 128 characters, not beginning with `aliyun` or `acs:`, which no other image of the account in its
    /// region may have. Required. Can be changed, not taken out again. Example: `base-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.size() >= 2 && self.size() <= 128").message("destinationImageName must be 2 to 128 characters long"),
        validation = Rule::new("!self.startsWith('http://') && !self.startsWith('https://')").message("destinationImageName must not begin with http:// or https://"),
        validation = Rule::new("!self.startsWith('aliyun') && !self.startsWith('acs:')").message("destinationImageName must not begin with aliyun or acs:, which are Alibaba Cloud's own"),
    )]
    pub destination_image_name: Option<String>,

    /// What the copy is for, 2 to 256 characters. Can be changed, not taken out again. Example: `The base image of July.`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = Rule::new("self.size() >= 2 && self.size() <= 256").message("destinationDescription must be 2 to 256 characters long; leave it out for none"),
        validation = Rule::new("!self.startsWith('http://') && !self.startsWith('https://')").message("destinationDescription must not begin with http:// or https://"),
    )]
    pub destination_description: Option<String>,

    /// Whether the copy is encrypted. Left out, the vendor decides. Cannot be changed. Example: `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<bool>,

    /// The key of KMS, in the copy's region, that the copy is encrypted with, 1 to 256 characters (a limit of this operator).
    /// Needs `encrypted: true`. Default: the vendor's own key of the service, with which a copy cannot be shared. Cannot be
    /// changed. Example: `e522b26d-abf6-4e0d-b5da-04b7aaaaaaaa`.
    #[serde(rename = "kmsKeyId", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub kms_key_id: Option<String>,

    /// The resource group that the copy belongs to, 1 to 256 characters (a limit of this operator). Cannot be changed. Default:
    /// the account's default group; a RAM user without rights to that must give one. Example: `rg-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub resource_group_id: Option<String>,

    /// Tags, at most 19, each key once: the vendor takes 20, and `cloudimages.dev/attempt` is the operator's, by which it finds a
    /// copy whose answer was lost. The image's own are not copied. Can be changed: a key that is taken out here is removed at the
    /// vendor, too. Tags whose keys were never here are somebody else's, and stay. Example: `[{key: team, value: base}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    #[x_kube(validation = Rule::new("self.size() <= 19").message("tag must have at most 19 entries: the vendor takes 20, and one is the operator's"))]
    pub tag: Option<Vec<Tag>>,

    /// With whom the copy is shared.
    #[serde(flatten)]
    pub sharing: Sharing,
}

/// Which of the account's images in the region to take over: the only one with this name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AliyunImageMatch {
    /// The image's name, exactly, 2 to 128 characters. Example: `base-1`.
    #[schemars(length(min = 2, max = 128))]
    pub name: String,
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Copied {
    image_id: String,
}

fn reference(image: &ImageRef) -> Reference {
    image.reference(super::ECS_IMAGE, "forProvider.imageId")
}

/// CancelCopyImage of something that cannot be cancelled any more, or was never copied: it is to be deleted.
const NOT_COPYING: &[&str] = &["IncorrectImageStatus", "ImageCreatedNotFromCopy"];
/// CancelCopyImage of something that cannot be cancelled at all: it is to be waited for.
const NOT_CANCELLED: &str = "CancelNotSupported";
/// DeleteImage of something that is being copied.
const COPYING: &str = "OperationDenied.ImageCopying";
/// The call that ends, and so deletes, a copy that is under way.
const CANCEL: &str = "CancelCopyImage";

// ---- How one becomes the other -------------------------------------------------------------------------------------

impl External for AliyunImageCopy {
    type Client = Client;
    type Match = AliyunImageMatch;

    const ACTION: &'static str = "CopyImage";
    const BATCH: usize = 100;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(12 * 3600),
        why: "a large image takes hours from one continent to another, and waits before that where five are being copied already",
    };
    const IMMEDIATE: bool = false;
    const LEAVES: bool = true;
    const ECHOES: &'static [Class] = &[Class::Busy, Class::Conflict];
    const ROW_ID: &'static str = ecs_image::ROW_ID;
    const PLACE: Option<&'static str> = Some("destinationRegionId");
    const YIELDS: Option<&'static str> = Some(super::ECS_IMAGE);
    const TAKES: &'static [&'static str] = &[super::ECS_IMAGE];
    const MARKED: bool = true;
    const UNTOLD: &'static [&'static str] = &["regionId", "imageId", "encrypted", "kmsKeyId"];
    const AMENDS: &'static [(&'static str, &'static str)] = &[
        ("destinationImageName", "ModifyImageAttribute"),
        ("destinationDescription", "ModifyImageAttribute"),
        ("tag", "TagResources"),
        ("shareWith", sharing::MODIFY),
        ("community", sharing::MODIFY),
    ];

    fn spec(&self) -> &ImageSpec<AliyunImageMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    /// Where the copy is.
    fn region(&self, client: &Client) -> String {
        self.spec.for_provider.destination_region_id.clone().unwrap_or_else(|| client.region().to_owned())
    }

    /// Where the image is that is copied.
    fn asked_in(&self, client: &Client) -> String {
        self.spec.for_provider.region_id.clone().unwrap_or_else(|| client.region().to_owned())
    }

    fn realm(&self, account: &AccountVendor) -> String {
        ecs_image::realm(account, self.spec.for_provider.destination_region_id.as_deref())
    }

    /// Only so long that a request that was on its way has arrived: the token does the rest.
    fn settle(&self, _: &Client) -> Duration {
        Duration::from_secs(5)
    }

    fn references(&self) -> Vec<Reference> {
        self.spec.for_provider.image_ref.iter().map(reference).collect()
    }

    fn resolved(&self, referents: &[Referent]) -> Self {
        let mut object = self.clone();
        let parameters = &mut object.spec.for_provider;
        if let Some(image) = &parameters.image_ref
            && let Some(referent) = reference(image).among(referents)
        {
            parameters.image_id = Some(referent.id.clone());
            parameters.region_id = referent.region.clone().or(parameters.region_id.take());
        }
        object
    }

    /// The image, where it is, and the name, where the copy is to be.
    fn preflight(&self, client: &Client) -> Vec<Preflight<Client>> {
        let parameters = &self.spec.for_provider;
        let image = parameters.image_id.iter().map(|image| Preflight {
            what: "image",
            region: self.asked_in(client),
            id: image.clone(),
            read: ecs_image::by_id,
            batch: Self::BATCH,
            judge: ecs_image::uncopiable,
        });
        let name = parameters.destination_image_name.iter().map(|name| Preflight {
            what: "name",
            region: self.region(client),
            id: name.clone(),
            read: ecs_image::by_name,
            batch: Self::BATCH,
            judge: ecs_image::name_taken,
        });
        image.chain(name).collect()
    }

    fn place(&self, account: &AccountVendor) -> Option<String> {
        super::place(account, self.spec.for_provider.destination_region_id.as_deref())
    }

    /// ClientToken: at most 64 ASCII characters. It is the copy's mark, too.
    fn token(uid: &str, attempt: u32) -> String {
        format!("{uid}-{attempt}")
    }

    async fn submit(&self, client: &Client, permit: Permit) -> Result<Submitted, CallError> {
        let mut params = self.spec.for_provider.to_request(permit.token());
        params.push(pair("DestinationRegionId", self.region(client)));
        params.push(pair("ClientToken", permit.token()));
        let answer =
            client.ecs::<Copied>(Self::ACTION, Effect::Create, &self.asked_in(client), &params).await?;
        Ok(Submitted { handle: Handle::image(answer.value.image_id), request_id: answer.request_id })
    }

    /// What bears this object's mark, and what has the name, which is unique in a region.
    async fn lookalikes(&self, client: &Client) -> Result<Vec<Lookalike>, CallError> {
        let rows = ecs_image::list(client, &self.region(client), &[], |_| false).await?;
        let uid = self.metadata.uid.as_deref().unwrap_or_default();
        let name = self.spec.for_provider.destination_image_name.as_deref();
        Ok(rows.iter().filter_map(Image::read).filter_map(|image| self.lookalike(image, uid, name)).collect())
    }

    /// What bears the mark of the attempt is it; and what bears that of another one of the object's and has the name, since names
    /// are unique. Where nothing does, the same ClientToken yields the same copy, and one that the vendor has forgotten is refused
    /// for the name.
    async fn recover(&self, client: &Client, token: &str, _: Timestamp) -> Result<Recovered, CallError> {
        let rows = ecs_image::list(client, &self.region(client), &[], |_| false).await?;
        Ok(Recovered::marked(self.own(rows.iter().filter_map(Image::read).collect(), token)))
    }

    async fn observe(
        client: &Client,
        region: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let rows = ecs_image::rows(client, region, handles).await?;
        Ok(rows
            .into_iter()
            .filter_map(|(handle, row)| Some((handle, ecs_image::observation(&row)?)))
            .collect())
    }

    fn named(&self) -> Vec<String> {
        let parameters = &self.spec.for_provider;
        let tags = parameters.tag.iter().flatten().map(|tag| tag.key.clone());
        tags.chain(parameters.sharing.named()).collect()
    }

    async fn completed(&self, client: &Client, product: Product) -> Result<Product, CallError> {
        self.spec.for_provider.sharing.completed(client, self, product).await
    }

    async fn find(&self, client: &Client, matching: &AliyunImageMatch) -> Result<Vec<Handle>, CallError> {
        ecs_image::named(client, &self.region(client), &matching.name).await
    }

    async fn made_for(
        &self,
        client: &Client,
        handle: &Handle,
        seen: &Observation,
    ) -> Result<Option<String>, CallError> {
        let image = ecs_image::seen(client, &self.region(client), handle.id(), seen).await?;
        Ok(image.and_then(|image| image.made_for()))
    }

    async fn page(client: &Client, region: &str, next: Option<String>) -> Result<pages::Page, CallError> {
        ecs_image::page(client, region, next).await
    }

    fn existing(row: &Value) -> Option<Existing> {
        let image = Image::read(row).filter(|image| image.is_copied != Some(false))?;
        let (mark, tags) = (image.maker(), image.own_tags());
        let seen = Existing::new(&image.id, ecs_image::observation(row)?).named(&image.name);
        Some(Existing {
            mark,
            ..seen
                .with("destinationImageName", image.name)
                .with("destinationDescription", image.description)
                .with("resourceGroupId", image.resource_group_id)
                .with("tag", tags)
        })
    }

    fn compare(&self, _: &Client, product: &Product) -> Comparison {
        match Image::read(&product.at_provider) {
            Some(image) => self.spec.for_provider.compare(&image, &product.at_provider, &self.dropped()),
            None => Comparison::Same,
        }
    }

    async fn amend(&self, client: &Client, product: &Product) -> Result<(), CallError> {
        let Some(image) = Image::read(&product.at_provider) else { return Ok(()) };
        let changes = self.spec.for_provider.changes(&image, &product.at_provider, &self.dropped());
        ecs_image::amend(client, &self.region(client), &image.id, changes).await
    }

    /// A copy that is under way is cancelled, which deletes it. Anything else is unshared and deleted, and then the snapshots
    /// that it leaves, of which only the status knows by then. What a list does not show, since it is new, is deleted by its id
    /// all the same.
    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let (region, id) = (self.region(client), handle.id());
        let mut row = ecs_image::get(client, &region, id).await?;
        let status = row.as_ref().and_then(Image::read).map(|image| image.status).unwrap_or_default();
        if matches!(status.as_str(), "Creating" | "Waiting") {
            match ecs_image::change(client, CANCEL, &region, id).await {
                Ok(true) => return Ok(Deletion::Underway),
                Err(CallError::Refused(refusal)) if refusal.code == NOT_CANCELLED => {
                    return Ok(uncancelled(id));
                }
                // It is done meanwhile, and has snapshots now, which are to be known before it goes.
                Err(CallError::Refused(refusal)) if NOT_COPYING.contains(&refusal.code.as_str()) => {
                    row = ecs_image::get(client, &region, id).await?;
                }
                Ok(false) => {}
                Err(error) => return Err(error),
            }
        }
        match self.deletion().delete(client, &region, id, row.as_ref()).await {
            Err(CallError::Refused(Refusal { code, .. })) if code == COPYING && row.is_none() => {
                ecs_image::change(client, CANCEL, &region, id).await.map(|_| Deletion::Underway)
            }
            Err(CallError::Refused(Refusal { code, .. })) if code == COPYING => Ok(uncancelled(id)),
            done => done,
        }
    }
}

fn uncancelled(id: &str) -> Deletion {
    Deletion::Waiting(format!(
        "the vendor is copying {id} and does not cancel that: it is deleted when the copy is done"
    ))
}

impl AliyunImageCopy {
    fn deletion(&self) -> ImageDeletion<'_> {
        ImageDeletion::of(self, self.spec.delete_snapshots, &self.spec.for_provider.sharing)
    }

    /// The calls with which a deletion of the copy changes something, in their order, and the snapshots that they delete, as far as
    /// its status tells.
    pub fn deletion_calls(&self) -> (Vec<&'static str>, Vec<String>) {
        let state = self.status.as_ref().and_then(|status| Some(status.operation.as_ref()?.state));
        if state == Some(OperationState::Running) {
            return (vec![CANCEL], vec![]);
        }
        self.deletion().calls(self.status.as_ref().and_then(|status| status.at_provider.as_ref()))
    }

    /// Which of these the attempt made that has this token, or is in the way of what it would make though it is the object's.
    fn own(&self, images: Vec<Image>, token: &str) -> Vec<Handle> {
        let bears = |image: &Image, is: fn(&str, &str) -> bool| {
            image.mark.as_deref().is_some_and(|mark| is(mark, token))
        };
        let name = self.spec.for_provider.destination_image_name.as_deref();
        let is_named = |image: &Image| name.is_some_and(|name| normalise::same(name, &image.name));
        let (exact, others): (Vec<_>, Vec<_>) =
            images.into_iter().partition(|image| bears(image, |mark, token| mark == token));
        let found = if exact.is_empty() {
            let is_own = |image: &Image| is_named(image) && bears(image, tags::same_maker);
            others.into_iter().filter(is_own).collect()
        } else {
            exact
        };
        found.into_iter().map(|image| Handle::image(image.id)).collect()
    }

    fn lookalike(&self, image: Image, uid: &str, name: Option<&str>) -> Option<Lookalike> {
        let maker = image.mark.as_deref().map(|mark| mark.rsplit_once('-').map_or(mark, |(uid, _)| uid));
        let is_ours = maker.is_some_and(|maker| maker == uid);
        if !is_ours && !name.is_some_and(|name| normalise::same(name, &image.name)) {
            return None;
        }
        Some(Lookalike {
            // What bears another's mark is older than any call of this attempt, whenever it was made.
            created: if is_ours || maker.is_none() { image.created } else { Some(Timestamp::UNIX_EPOCH) },
            comparison: if is_ours {
                self.spec.for_provider.compare(&image, &Value::Null, &BTreeSet::new())
            } else {
                let difference =
                    Difference::new(&format!("the tag {MARK}"), image.mark.as_deref(), Value::Null);
                Comparison::Fixed(vec![difference])
            },
            id: image.id,
        })
    }
}

impl CopyParameters {
    fn to_request(&self, token: &str) -> Vec<(String, String)> {
        let Self {
            region_id: _,
            destination_region_id: _,
            image_ref: _,
            image_id,
            destination_image_name,
            destination_description,
            encrypted,
            kms_key_id,
            resource_group_id,
            tag,
            sharing: _,
        } = self;
        let optional = [
            ("ImageId", image_id.clone()),
            ("DestinationImageName", destination_image_name.clone()),
            ("DestinationDescription", destination_description.clone()),
            ("Encrypted", encrypted.map(|encrypted| encrypted.to_string())),
            ("KMSKeyId", kms_key_id.clone()),
            ("ResourceGroupId", resource_group_id.clone()),
        ];
        let mut params: Vec<_> =
            optional.into_iter().filter_map(|(key, value)| Some(pair(key, value?))).collect();
        let mut tags = vec![Tag { key: MARK.into(), value: token.into() }];
        tags.extend(tag.iter().flatten().cloned());
        params.extend(tags::params(&tags));
        params
    }

    /// `row`: what says with whom it is shared. `dropped`: the keys of tags, and accounts, that the spec had and has no more.
    fn changes(&self, image: &Image, row: &Value, dropped: &BTreeSet<String>) -> Changes {
        let other =
            |ours: &Option<String>, theirs: &str| ours.clone().filter(|ours| !normalise::same(ours, theirs));
        Changes {
            name: other(&self.destination_image_name, &image.name),
            description: other(&self.destination_description, &image.description),
            tags: tags::Changes::between(self.tag.as_deref().unwrap_or_default(), &image.tags, dropped),
            sharing: self.sharing.changes(row, dropped),
        }
    }

    fn compare(&self, image: &Image, row: &Value, dropped: &BTreeSet<String>) -> Comparison {
        let group = self.resource_group_id.as_deref();
        // A vendor that does not tell it says nothing against it.
        let told = Some(image.resource_group_id.as_str()).filter(|told| !told.is_empty());
        if let (Some(ours), Some(theirs)) = (group, told)
            && ours != theirs
        {
            return Comparison::Fixed(vec![Difference::new("resourceGroupId", theirs, ours)]);
        }
        let Changes { name, description, tags, sharing } = self.changes(image, row, dropped);
        let texts = [
            ("destinationImageName", name, &image.name),
            ("destinationDescription", description, &image.description),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(field, ours, theirs)| Some(Difference::new(field, theirs.as_str(), ours?)));
        let differs: Vec<_> =
            texts.chain(tags.difference(&image.tags)).chain(sharing.differences()).collect();
        if differs.is_empty() { Comparison::Same } else { Comparison::Amendable(differs) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const UID: &str = "123e4567-e89b-12d3-a456-426655440000";

    fn copy(more: Value) -> AliyunImageCopy {
        let mut parameters = json!({
            "imageId": "m-1", "destinationRegionId": "cn-shanghai", "destinationImageName": "base",
            "tag": [{ "key": "team", "value": "base" }],
        });
        parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut copy =
            AliyunImageCopy::new("c", serde_json::from_value(json!({ "forProvider": parameters })).unwrap());
        copy.metadata.uid = Some(UID.into());
        copy
    }

    fn image(more: Value) -> Image {
        let mut row = json!({
            "imageId": "m-2", "imageName": "base", "status": "Available", "creationTime": "2026-11-26T10:00:00Z",
            "resourceGroupId": "rg-1",
            "tags": { "tag": [{ "tagKey": "team", "tagValue": "base" }, { "tagKey": MARK, "tagValue": format!("{UID}-1") }] },
        });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Image::read(&row).unwrap()
    }

    #[test]
    fn a_request_has_every_parameter_that_is_given_and_the_mark_of_its_attempt() {
        let copy = copy(
            json!({ "encrypted": true, "kmsKeyId": "key", "destinationDescription": "text", "resourceGroupId": "rg-1" }),
        );
        let params = copy.spec.for_provider.to_request("u-1");
        for (key, value) in [
            ("ImageId", "m-1"),
            ("DestinationImageName", "base"),
            ("DestinationDescription", "text"),
            ("Encrypted", "true"),
            ("KMSKeyId", "key"),
            ("ResourceGroupId", "rg-1"),
            ("Tag.1.Key", MARK),
            ("Tag.1.Value", "u-1"),
            ("Tag.2.Key", "team"),
        ] {
            assert!(params.contains(&pair(key, value)), "{key}: {params:?}");
        }
        let token = AliyunImageCopy::token(UID, u32::MAX);
        assert!(token.len() <= 64 && token.is_ascii());
    }

    #[test]
    fn what_differs_decides_what_can_be_done() {
        let none = BTreeSet::new();
        for (spec, row, expected) in [
            (json!({}), json!({}), Comparison::Same),
            (json!({}), json!({ "imageName": " base\n" }), Comparison::Same),
            (
                json!({}),
                json!({ "imageName": "other" }),
                Comparison::Amendable(vec!["destinationImageName".into()]),
            ),
            (
                json!({ "destinationDescription": "text" }),
                json!({ "tags": {} }),
                Comparison::Amendable(vec!["destinationDescription".into(), "tag".into()]),
            ),
            (
                json!({ "resourceGroupId": "rg-2" }),
                json!({}),
                Comparison::Fixed(vec!["resourceGroupId".into()]),
            ),
            (json!({ "resourceGroupId": "rg-2" }), json!({ "resourceGroupId": null }), Comparison::Same),
            (json!({ "encrypted": true }), json!({}), Comparison::Same),
        ] {
            let found =
                copy(spec.clone()).spec.for_provider.compare(&image(row.clone()), &Value::Null, &none);
            assert_eq!(found, expected, "{spec} {row}");
        }
    }

    #[test]
    fn what_another_attempt_of_the_object_made_is_its_own_if_it_has_the_name() {
        let copy = copy(json!({}));
        let marked = |id: &str, name: &str, mark: &str| {
            let tags = json!({ "tag": [{ "tagKey": MARK, "tagValue": mark }] });
            image(json!({ "imageId": id, "imageName": name, "tags": tags }))
        };
        let first = || marked("m-1", "base", &format!("{UID}-1"));
        let renamed = || marked("m-2", "other", &format!("{UID}-2"));
        let theirs = || marked("m-3", "base", "00000000-e89b-12d3-a456-426655440000-3");
        let unmarked = || image(json!({ "imageId": "m-4", "tags": {} }));
        for (images, attempt, expected) in [
            (vec![first(), renamed(), theirs(), unmarked()], 1, vec!["m-1"]),
            (vec![first(), renamed()], 2, vec!["m-2"]),
            (vec![first(), theirs(), unmarked()], 3, vec!["m-1"]),
            (vec![renamed(), theirs(), unmarked()], 3, vec![]),
        ] {
            let found = copy.own(images, &format!("{UID}-{attempt}"));
            assert_eq!(found.iter().map(Handle::id).collect::<Vec<_>>(), expected, "{attempt}");
        }
    }

    #[test]
    fn ours_and_a_stranger_s_namesake_are_told_apart() {
        let copy = copy(json!({}));
        let mark = |mark: &str| json!({ "tag": [{ "tagKey": MARK, "tagValue": mark }, { "tagKey": "team", "tagValue": "base" }] });
        let seen = |row: Value| copy.lookalike(image(row), UID, Some("base"));
        let made = Some("2026-11-26T10:00:00Z".parse().unwrap());
        for (row, created, fits) in [
            (json!({}), made, true),
            // Renamed since, or asked for by another name.
            (json!({ "imageName": "other" }), made, true),
            // It may be that the vendor does not show tags at once.
            (json!({ "tags": {} }), made, false),
            (
                json!({ "tags": mark("00000000-e89b-12d3-a456-426655440000-1") }),
                Some(Timestamp::UNIX_EPOCH),
                false,
            ),
            (json!({ "tags": mark("nonsense") }), Some(Timestamp::UNIX_EPOCH), false),
        ] {
            let lookalike = seen(row.clone()).unwrap();
            assert_eq!(lookalike.created, created, "{row}");
            assert_eq!(!matches!(lookalike.comparison, Comparison::Fixed(_)), fits, "{row}");
        }
        assert_eq!(seen(json!({ "imageName": "other", "tags": {} })), None);
        assert!(seen(json!({ "imageName": "base\n", "tags": {} })).is_some(), "as some vendors keep a name");
        assert_eq!(seen(json!({ "imageName": "BASE", "tags": mark("x-1") })), None);
    }

    #[test]
    fn snapshots_go_with_what_was_made_and_are_written_down_before() {
        let operation = |action: &str, state: &str| json!({ "action": action, "token": "t", "attempt": 1, "state": state });
        let with = |delete: Option<bool>, operation: Value| {
            let mut copy = copy(json!({}));
            copy.spec.delete_snapshots = delete;
            let disks = json!({ "diskDeviceMapping": [{ "snapshotId": "s-1" }] });
            copy.status = Some(
                serde_json::from_value(
                    json!({ "operation": operation, "atProvider": { "diskDeviceMappings": disks } }),
                )
                .unwrap(),
            );
            copy
        };
        for (delete, action, state, deletes) in [
            (None, "CopyImage", "Running", true),
            (None, "CopyImage", "Succeeded", true),
            (None, "CopyImage", "Failed", true),
            (Some(false), "CopyImage", "Succeeded", false),
            (None, "Import", "Succeeded", false),
            (Some(true), "Import", "Succeeded", true),
        ] {
            let copy = with(delete, operation(action, state));
            let snapshots = copy.deletion().snapshots;
            assert_eq!(snapshots.deletes, deletes, "{delete:?} {action} {state}");
            assert_eq!(snapshots.known, ["s-1"]);
            let row = |ids: &[&str]| {
                let disks: Vec<_> = ids.iter().map(|id| json!({ "snapshotId": id })).collect();
                json!({ "diskDeviceMappings": { "diskDeviceMapping": disks } })
            };
            assert_eq!(snapshots.unseen("m-2", &row(&["s-1"])), None);
            let seen = snapshots.unseen("m-2", &row(&["s-1", "s-2"]));
            assert_eq!(seen.is_some(), deletes, "{delete:?} {action} {state}");
        }
    }
}
