//! `ImageComponent`: a reusable step of Alibaba Cloud's image building. ECS `CreateImageComponent` 2014-05-26.

use super::{
    Client,
    tags::{self, Tag, Thing},
};
use crate::{
    account::AccountVendor,
    engine::{
        existing::Existing,
        external::{External, Submitted, Timeout},
        journal::Permit,
        progress::{Comparison, Deletion, Difference, Handle, Lookalike, Observation, Product, Recovered},
        versions::Succession,
    },
    image::{ImageSpec, ImageStatus, VersionPolicy, fixed, kept, placed, versioned},
    vendors::normalise,
    wire::{CallError, Class, Effect, digest::sha256_hex, endpoint::Endpoints, pages},
};
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    time::Duration,
};

// ---- What a user writes --------------------------------------------------------------------------------------------

const AGAIN: &str = "make a new object with another name or componentVersion";
const BUMP: &str = "make a new object with another name or componentVersion, or set versionPolicy: Bump and change it while nothing \
                    is under way, to have a new version made";

/// Content in YAML, whose scripts may have any word at the beginning of a line.
const YAML: &str = r#"(?m)^"?(Tasks|Parameters)"?[ \\t]*:|\\A\\s*[{]"#;
/// A line that begins with FROM and does not continue the one before.
const FROM: &str = r"(?i)(^|(^|[^\\\\\\r])\\r?\\n)[ \\t]*FROM(\\s|$)";

/// A line with a command that needs an argument, and neither has one nor continues on the next line.
const BARE: &str =
    r"(?i)(^|(^|[^\\\\\\r])\\r?\\n)[ \\t]*(RUN|ENV|LABEL|COPY|ENTRYPOINT|CMD|WORKDIR|USER)[ \\t]*(\\r?\\n|$)";
/// A line with the command that must have none, and one.
const RESTART: &str = r"(?i)(^|(^|[^\\\\\\r])\\r?\\n)[ \\t]*RESTART[ \\t]+[^ \\t\\r\\n]";

/// An image component at Alibaba Cloud.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "ImageComponent",
    plural = "imagecomponents",
    shortname = "imgcomp",
    category = "cloudimages",
    namespaced,
    status = "ImageStatus",
    doc = "A component of Alibaba Cloud's image builder: commands that image templates run, by name and version. It stands for the vendor's CreateImageComponent.",
    printcolumn(name = "Image ID", type_ = "string", json_path = ".status.imageId", description = "The vendor's id of the component"),
    validation = placed("regionId", AGAIN),
    validation = fixed("name", AGAIN),
    validation = versioned("description", BUMP),
    validation = fixed("systemType", AGAIN),
    validation = fixed("componentType", AGAIN),
    validation = versioned("content", BUMP),
    validation = versioned("componentVersion", BUMP),
    validation = kept("resourceGroupId")
)]
#[x_kube(
    validation = Rule::new("has(self.forProvider.content) || has(self.import)").message("forProvider.content is required: what the component runs (or name an existing component in import)"),
    validation = Rule::new("!has(self.versionPolicy) || self.versionPolicy != 'Bump' || has(self.forProvider.name)").message("versionPolicy Bump needs forProvider.name: versions are told apart within a name"),
    validation = Rule::new("!has(self.versionPolicy) || self.versionPolicy != 'Bump' || !has(self.__import__) || (has(self.forProvider.systemType) && has(self.forProvider.componentType))").message("versionPolicy Bump with import needs forProvider.systemType and forProvider.componentType, so that the next version is like the one that is taken over"),
)]
pub struct ImageComponentSpec {
    /// What all kinds share.
    #[serde(flatten)]
    pub image: ImageSpec<ComponentMatch>,

    /// What a change of `forProvider.content` or `forProvider.description` does when the component is there, since the vendor
    /// cannot change it. `Never`: it is refused. `Bump`: a new component of the same name is made, with the next patch number
    /// that nobody has used (`1.0.0`, `1.0.1`, …); `forProvider.componentVersion` is the lowest that it may have, and
    /// `status.versions` shows the newest and those before it. Needs `forProvider.name`. Default: `Never`.
    #[serde(default)]
    pub version_policy: VersionPolicy,

    /// How many versions stay at the vendor with `versionPolicy: Bump`, the newest included, 1 to 100: older ones that this
    /// object made are deleted once the newest is Ready, unless an image template or pipeline uses them. Left out: all of
    /// them, up to 100. Example: `3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub versions_to_keep: Option<u32>,

    /// The parameters of CreateImageComponent, under the vendor's names. Only `tag` and `resourceGroupId` can be
    /// changed later; with `versionPolicy: Bump`, `content` and `description` as well, of which a new version is made.
    pub for_provider: ComponentParameters,
}

/// The parameters of CreateImageComponent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentParameters {
    /// The region that the component is made in, 1 to 64 characters (a limit of this operator). Default: the account's. Cannot
    /// be changed. Example: `cn-hangzhou`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9-]+$')").message("regionId must be a region's id of lower-case letters, digits and -, for example cn-hangzhou"))]
    pub region_id: Option<String>,

    /// The resource group that the component belongs to, 1 to 256 characters (a limit of this operator, not published by the
    /// vendor). Can be changed, not taken out again. Default: the account's default group. Example: `rg-bp67acfmxazb4p`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub resource_group_id: Option<String>,

    /// Tags, at most 20, each key once. Can be changed: a key that is taken out here is removed at the vendor, too. Tags whose
    /// keys were never here are somebody else's, and stay. Example: `[{key: team, value: base}]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    #[x_kube(validation = Rule::new("self.size() <= 20").message("tag must have at most 20 entries"))]
    pub tag: Option<Vec<Tag>>,

    /// The component's name: 2 to 128 characters, first a letter or Chinese, not beginning with `http://` or
    /// `https://`; then letters, Chinese, digits, colon, underscore, full stop and hyphen. Name and version together
    /// are unique in the account. Default: the id that the vendor gives. Cannot be changed. Example: `testComponent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.size() >= 2 && self.size() <= 128").message("name must be 2 to 128 characters long"),
        validation = Rule::new("!self.startsWith('http://') && !self.startsWith('https://')").message("name must not begin with http:// or https://"),
        validation = Rule::new("self.matches('^[a-zA-Z\\\\p{Han}]')").message("name must begin with a letter or a Chinese character"),
        validation = Rule::new("self.matches('^(https?://|[a-zA-Z0-9\\\\p{Han}:_.-]*$)')").message("name must contain only letters, Chinese characters, digits, colons (:), underscores (_), full stops (.) and hyphens (-)"),
    )]
    pub name: Option<String>,

    /// What the component is for: 2 to 256 characters, not beginning with `http://` or `https://`. Can be changed only with
    /// `versionPolicy: Bump`, which makes a new version of it. Example: `This is description.`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = Rule::new("self.size() >= 2 && self.size() <= 256").message("description must be 2 to 256 characters long; leave it out for none"),
        validation = Rule::new("!self.startsWith('http://') && !self.startsWith('https://')").message("description must not begin with http:// or https://"),
    )]
    pub description: Option<String>,

    /// The operating system that the component is for: `Linux` or `Windows`. Left out, it is `Linux` for what is made,
    /// and whatever the vendor has for what is imported. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_type: Option<SystemType>,

    /// `Build`: the component builds an image. `Test`: it tests one. Left out, it is `Build` for what is made, and
    /// whatever the vendor has for what is imported. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component_type: Option<ComponentType>,

    /// The commands, at most 16 KB: either YAML with a list `Tasks` of `Name`, `Action` and `Properties` (Linux and
    /// Windows), or lines like a Dockerfile's without `FROM` (Linux). At most 127 commands. Can be
    /// changed only with `versionPolicy: Bump`, which makes a new version of it.
    /// Example: `RUN echo hello world`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    #[x_kube(
        validation = Rule::new("bytes(self).size() <= 16384").message("content must be at most 16 KB (16384 bytes)"),
        validation = Rule::new(format!("self.matches('{YAML}') || !self.matches('{FROM}')")).message("content must not contain the command FROM: a component has no base image"),
        validation = Rule::new(format!("self.matches('{YAML}') || !self.matches('{BARE}')")).message("content has a command without an argument: RUN, ENV, LABEL, COPY, ENTRYPOINT, CMD, WORKDIR and USER need one"),
        validation = Rule::new(format!("self.matches('{YAML}') || !self.matches('{RESTART}')")).message("content has a RESTART with an argument: it takes none"),
        validation = Rule::new("self.matches('[^\\\\s\\\\v\\\\p{Z}]')").message("content must not be blank"),
    )]
    pub content: Option<String>,

    /// The component's version, major.minor.patch, each a non-negative integer. Name and version together are unique
    /// in the account. Default: the vendor takes the highest major version of that name plus one. Cannot be changed; with
    /// `versionPolicy: Bump` it can, and is the lowest version that the next one may have. Example: `1.0.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+[.][0-9]+[.][0-9]+$')").message("componentVersion must be major.minor.patch, each a non-negative integer, for example 1.0.0"))]
    pub component_version: Option<String>,
}

/// The operating system that a component is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[expect(missing_docs, reason = "explained at ComponentParameters::system_type")]
pub enum SystemType {
    #[default]
    Linux,
    Windows,
}

/// What a component does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[expect(missing_docs, reason = "explained at ComponentParameters::component_type")]
pub enum ComponentType {
    #[default]
    Build,
    Test,
}

/// Which of the account's components to take over: the only one with this name, and this version if it is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ComponentMatch {
    /// The component's name, exactly, 2 to 128 characters. Example: `testComponent`.
    #[schemars(length(min = 2, max = 128))]
    pub name: String,
    /// The component's version; without it, the name must have only one version. Example: `1.0.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub component_version: Option<String>,
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    image_component_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    /// In every answer of the vendor's.
    #[serde(default)]
    request_id: Option<IgnoredAny>,
    #[serde(default)]
    image_component: Option<Set>,
    #[serde(default)]
    next_token: Option<String>,
    #[serde(default, deserialize_with = "pages::total")]
    total_count: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Set {
    #[serde(default)]
    image_component_set: Option<Vec<Value>>,
}

impl Page {
    /// An answer without anything that the vendor's has does not say that there is no component: something in between gave it.
    fn rows(self) -> Result<Vec<Value>, CallError> {
        if self.image_component.is_none() && self.request_id.is_none() {
            return Err(Effect::Read.unanswered("DescribeImageComponents was answered with nothing".into()));
        }
        Ok(self.image_component.and_then(|set| set.image_component_set).unwrap_or_default())
    }
}

/// The part of a row of DescribeImageComponents that decides something.
#[derive(Debug)]
struct Component {
    image_component_id: String,
    name: String,
    component_version: String,
    component_type: String,
    system_type: String,
    description: String,
    content: String,
    creation_time: String,
    resource_group_id: String,
    tags: Vec<Tag>,
}

/// Whose components are asked for: without an owner, the vendor's own public ones too, which can be observed.
const OWN: &str = "SELF";

/// DescribeImageComponents with all its pages; rows in lowerCamelCase.
async fn describe(
    client: &Client,
    region: &str,
    filter: &[(String, String)],
) -> Result<Vec<Value>, CallError> {
    pages::all(ImageComponent::ROW_ID, |token| page(client, region, filter, token), |_| false).await
}

/// One page of DescribeImageComponents.
async fn page(
    client: &Client,
    region: &str,
    filter: &[(String, String)],
    token: Option<String>,
) -> Result<pages::Page, CallError> {
    let mut params = vec![pair("MaxResults", "100")];
    params.extend_from_slice(filter);
    params.extend(token.map(|token| pair("NextToken", token)));
    let mut page: Page = client.ecs("DescribeImageComponents", Effect::Read, region, &params).await?.value;
    let (next, total) = (page.next_token.take(), page.total_count);
    Ok(pages::Page { rows: page.rows()?, next, total, ..pages::Page::default() })
}

pub(super) fn pair(key: impl Into<String>, value: impl Into<String>) -> (String, String) {
    (key.into(), value.into())
}

pub(super) fn numbered<'a>(
    name: &'a str,
    values: impl IntoIterator<Item = impl Into<String>> + 'a,
) -> impl Iterator<Item = (String, String)> + 'a {
    values.into_iter().enumerate().map(move |(index, value)| (format!("{name}.{}", index + 1), value.into()))
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

impl External for ImageComponent {
    type Client = Client;
    type Match = ComponentMatch;

    const ACTION: &'static str = "CreateImageComponent";
    const BATCH: usize = 20;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(600),
        why: "the vendor's call answers when the component is there, so that one which cannot be seen after ten minutes is stuck",
    };
    const IMMEDIATE: bool = true;
    const ROW_ID: &'static str = "imageComponentId";
    const YIELDS: Option<&'static str> = Some(super::IMAGE_COMPONENT);
    const PLACE: Option<&'static str> = Some("regionId");
    const AMENDS: &'static [(&'static str, &'static str)] =
        &[("tag", "TagResources"), ("resourceGroupId", "JoinResourceGroup")];

    fn spec(&self) -> &ImageSpec<ComponentMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    fn region(&self, client: &Client) -> String {
        self.spec.for_provider.region_id.clone().unwrap_or_else(|| client.region().to_owned())
    }

    fn place(&self, account: &AccountVendor) -> Option<String> {
        super::place(account, self.spec.for_provider.region_id.as_deref())
    }

    fn realm(&self, account: &AccountVendor) -> String {
        let account = account.aliyun.as_ref();
        let own = account.map(|account| account.region_id.as_str()).unwrap_or_default();
        let region = self.spec.for_provider.region_id.as_deref().unwrap_or(own);
        let endpoint = account.and_then(|account| account.ecs.as_ref()?.endpoint.as_deref());
        format!("aliyun ecs {} {region}", Endpoints::place(endpoint, super::DOMAINS))
    }

    /// Only so long that a request that was on its way has arrived: the token does the rest.
    fn settle(&self, _: &Client) -> Duration {
        Duration::from_secs(5)
    }

    /// ClientToken: at most 64 ASCII characters.
    fn token(uid: &str, attempt: u32) -> String {
        format!("{uid}-{attempt}")
    }

    async fn submit(&self, client: &Client, permit: Permit) -> Result<Submitted, CallError> {
        let region = self.region(client);
        let mut params = self.spec.for_provider.to_request();
        params.push(pair("ClientToken", permit.token()));
        let answer = client.ecs::<Created>(Self::ACTION, Effect::Create, &region, &params).await?;
        Ok(Submitted {
            handle: Handle::image(answer.value.image_component_id),
            request_id: answer.request_id,
        })
    }

    /// Those of the same name and version; those that were given no name have their id for one.
    async fn lookalikes(&self, client: &Client) -> Result<Vec<Lookalike>, CallError> {
        let parameters = &self.spec.for_provider;
        let mut filter = vec![pair("Owner", OWN)];
        filter.extend(parameters.name.iter().map(|name| pair("Name", name)));
        if parameters.name.is_some() {
            filter
                .extend(parameters.component_version.iter().map(|version| pair("ComponentVersion", version)));
        }
        let rows = describe(client, &self.region(client), &filter).await?;
        let lookalike = |component: Component| Lookalike {
            created: component.creation_time.parse().ok(),
            comparison: parameters.compare(&component, false, &BTreeSet::new()),
            id: component.image_component_id,
        };
        let is_nameless = |component: &Component| component.name == component.image_component_id;
        let there = rows.iter().filter_map(read);
        let there = there.filter(|component| parameters.name.is_some() || is_nameless(component));
        Ok(there.map(lookalike).collect())
    }

    /// The same ClientToken yields the same component, so asking again is the way to find out.
    async fn recover(&self, _: &Client, _: &str, _: Timestamp) -> Result<Recovered, CallError> {
        Ok(Recovered::Replay)
    }

    async fn observe(
        client: &Client,
        region: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let ids: Vec<_> = numbered("ImageComponentId", handles.iter().map(Handle::id)).collect();
        let rows = describe(client, region, &ids).await?;
        let by_id: HashMap<&str, &Value> =
            rows.iter().filter_map(|row| Some((row.get("imageComponentId")?.as_str()?, row))).collect();
        let seen =
            |handle: &Handle| by_id.get(handle.id()).map(|row| Observation::Ready(product(handle.id(), row)));
        Ok(handles.iter().filter_map(|handle| Some((handle.clone(), seen(handle)?))).collect())
    }

    fn named(&self) -> Vec<String> {
        self.spec.for_provider.tag.iter().flatten().map(|tag| tag.key.clone()).collect()
    }

    async fn find(&self, client: &Client, matching: &ComponentMatch) -> Result<Vec<Handle>, CallError> {
        let mut filter = vec![pair("Owner", OWN), pair("Name", &matching.name)];
        filter.extend(matching.component_version.as_ref().map(|version| pair("ComponentVersion", version)));
        let rows = describe(client, &self.region(client), &filter).await?;
        // How exactly the vendor's filters compare is not documented: a match is what matches here, too.
        let matches = |component: &Component| {
            normalise::same(&matching.name, &component.name)
                && !normalise::differs(matching.component_version.as_deref(), &component.component_version)
        };
        let found = rows.iter().filter_map(read).filter(matches);
        Ok(found.map(|component| Handle::image(component.image_component_id)).collect())
    }

    async fn page(client: &Client, region: &str, next: Option<String>) -> Result<pages::Page, CallError> {
        page(client, region, &[pair("Owner", OWN)], next).await
    }

    fn existing(row: &Value) -> Option<Existing> {
        let component = read(row)?;
        let id = &component.image_component_id;
        // What was given no name has its id for one; to give that as a name would be to ask for it.
        let name = if component.name == *id { "" } else { &component.name };
        let tags: Vec<_> =
            component.tags.iter().filter(|tag| tag.is_users()).map(|tag| serde_json::json!(tag)).collect();
        Some(
            Existing::new(id, Observation::Ready(product(id, row)))
                .named(&format!("{name} {}", component.component_version))
                .with("name", name)
                .with("componentVersion", component.component_version)
                .with("description", component.description)
                .with("systemType", component.system_type)
                .with("componentType", component.component_type)
                .with("content", component.content)
                .with("resourceGroupId", component.resource_group_id)
                .with("tag", tags),
        )
    }

    fn compare(&self, _: &Client, product: &Product) -> Comparison {
        match read(&product.at_provider) {
            Some(component) => {
                let mut parameters = Cow::Borrowed(&self.spec.for_provider);
                if self.bumps() {
                    // It only says from which number on.
                    parameters.to_mut().component_version = None;
                }
                parameters.compare(&component, self.took_over(), &self.dropped())
            }
            None => Comparison::Same,
        }
    }

    async fn amend(&self, client: &Client, product: &Product) -> Result<(), CallError> {
        let Some(component) = read(&product.at_provider) else { return Ok(()) };
        let region = self.region(client);
        let thing = Thing { resource_type: "imagecomponent", id: &component.image_component_id };
        let parameters = &self.spec.for_provider;
        parameters.tag_changes(&component, &self.dropped()).make(client, &region, thing).await?;
        let group = parameters.resource_group_id.as_ref();
        match group.filter(|group| **group != component.resource_group_id) {
            Some(group) => thing.join_group(client, &region, group).await,
            None => Ok(()),
        }
    }

    fn succession(&self) -> Option<Succession> {
        let ComponentParameters { content, description, .. } = &self.spec.for_provider;
        let text = serde_json::json!([content, description]).to_string();
        self.bumps().then(|| Succession {
            keep: self.spec.versions_to_keep.and_then(|keep| keep.try_into().ok()),
            digest: sha256_hex(text.as_bytes()),
        })
    }

    fn is_outdated(&self, product: &Product) -> bool {
        let Some(component) = read(&product.at_provider) else { return false };
        let ComponentParameters { content, description, .. } = &self.spec.for_provider;
        normalise::differs(content.as_deref(), &component.content)
            || normalise::differs(description.as_deref(), &component.description)
    }

    fn version_of(product: &Product) -> Option<String> {
        read(&product.at_provider).map(|component| component.component_version).filter(|it| !it.is_empty())
    }

    async fn versions(&self, client: &Client) -> Result<Vec<(String, String)>, CallError> {
        let Some(name) = self.spec.for_provider.name.as_ref().filter(|_| self.bumps()) else {
            return Ok(vec![]);
        };
        let rows = describe(client, &self.region(client), &[pair("Owner", OWN), pair("Name", name)]).await?;
        let there = rows.iter().filter_map(read).filter(|component| normalise::same(name, &component.name));
        Ok(there.map(|component| (component.image_component_id, component.component_version)).collect())
    }

    fn next_version(&self, used: &[String], last: Option<&str>) -> Option<String> {
        next_version(used, last, self.spec.for_provider.component_version.as_deref())
    }

    fn with_version(&self, version: &str) -> Self {
        let mut object = self.clone();
        object.spec.for_provider.component_version = Some(version.to_owned());
        object
    }

    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let params = [pair("ImageComponentId", handle.id())];
        match client
            .ecs::<IgnoredAny>("DeleteImageComponent", Effect::Change, &self.region(client), &params)
            .await
        {
            Err(CallError::Refused(refusal)) if refusal.class == Class::NotFound => Ok(Deletion::Gone),
            done => done.map(|_| Deletion::Gone),
        }
    }
}

impl ImageComponent {
    fn bumps(&self) -> bool {
        self.spec.version_policy == VersionPolicy::Bump
    }
}

/// The next patch number after `last`, above all that are in use of its major and minor version; at least `floor`. Of a version
/// that cannot be read, nothing follows.
fn next_version(used: &[String], last: Option<&str>, floor: Option<&str>) -> Option<String> {
    let parts = |version: &str| {
        let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
        let version = (parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    };
    let used: Vec<_> = used.iter().filter_map(|version| parts(version)).collect();
    let free = |(major, minor, patch): (u64, u64, u64)| {
        let highest = used.iter().filter(|it| (it.0, it.1) == (major, minor)).map(|it| it.2).max();
        let next =
            highest.map_or(Some(patch), |highest| highest.checked_add(1).map(|next| next.max(patch)))?;
        Some((major, minor, next))
    };
    let floor = floor.and_then(parts);
    let after =
        last.and_then(parts).and_then(|(major, minor, patch)| Some((major, minor, patch.checked_add(1)?)));
    let (major, minor, patch) = match (after, floor) {
        (Some(after), Some(floor)) => free(after.max(floor)),
        (Some(start), None) | (None, Some(start)) => free(start),
        (None, None) => None,
    }?;
    Some(format!("{major}.{minor}.{patch}"))
}

impl ComponentParameters {
    fn to_request(&self) -> Vec<(String, String)> {
        let Self {
            region_id: _,
            resource_group_id,
            tag,
            name,
            description,
            system_type,
            component_type,
            content,
            component_version,
        } = self;
        let optional = [
            ("ResourceGroupId", resource_group_id),
            ("Name", name),
            ("Description", description),
            ("Content", content),
            ("ComponentVersion", component_version),
        ];
        let mut params: Vec<_> =
            optional.into_iter().filter_map(|(key, value)| Some(pair(key, value.as_ref()?))).collect();
        params.push(pair("SystemType", system_type.unwrap_or_default().to_string()));
        params.push(pair("ComponentType", component_type.unwrap_or_default().to_string()));
        params.extend(tags::params(tag.iter().flatten()));
        params
    }

    /// `dropped`: the keys that the spec had and has no more.
    fn compare(&self, component: &Component, imported: bool, dropped: &BTreeSet<String>) -> Comparison {
        // An import is content with whatever is there where its spec is silent; what was made was asked for with these.
        let system_type = self.system_type.or((!imported).then(SystemType::default));
        let component_type = self.component_type.or((!imported).then(ComponentType::default));
        let system_type = system_type.map(|system_type| system_type.to_string());
        let component_type = component_type.map(|component_type| component_type.to_string());
        let fixed = [
            ("name", self.name.as_deref(), component.name.as_str()),
            ("componentVersion", self.component_version.as_deref(), &component.component_version),
            ("description", self.description.as_deref(), &component.description),
            ("content", self.content.as_deref(), &component.content),
            ("systemType", system_type.as_deref(), &component.system_type),
            ("componentType", component_type.as_deref(), &component.component_type),
        ];
        let fixed = fixed.into_iter().filter_map(|(field, ours, theirs)| {
            ours.filter(|ours| !normalise::same(ours, theirs))
                .map(|ours| Difference::new(field, theirs, ours))
        });
        let fixed: Vec<_> = fixed.collect();
        if !fixed.is_empty() {
            return Comparison::Fixed(fixed);
        }
        let mut amendable = vec![];
        amendable.extend(self.tag_changes(component, dropped).difference(&component.tags));
        if let Some(group) =
            self.resource_group_id.as_deref().filter(|group| *group != component.resource_group_id)
        {
            amendable.push(Difference::new("resourceGroupId", &*component.resource_group_id, group));
        }
        if amendable.is_empty() { Comparison::Same } else { Comparison::Amendable(amendable) }
    }

    fn tag_changes(&self, component: &Component, dropped: &BTreeSet<String>) -> tags::Changes {
        tags::Changes::between(self.tag.as_deref().unwrap_or_default(), &component.tags, dropped)
    }
}

fn product(id: &str, row: &Value) -> Product {
    Product { image_id: Some(id.to_owned()), at_provider: row.clone(), ..Product::default() }
}

/// `None`: it has no id. Keys in lowerCamelCase. What is absent or of another type than documented must not hide the rest.
fn read(row: &Value) -> Option<Component> {
    let text = |name| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let rest = |name| text(name).unwrap_or_default();
    Some(Component {
        image_component_id: text("imageComponentId")?,
        name: rest("name"),
        component_version: rest("componentVersion"),
        component_type: rest("componentType"),
        system_type: rest("systemType"),
        description: rest("description"),
        content: rest("content"),
        creation_time: rest("creationTime"),
        resource_group_id: rest("resourceGroupId"),
        tags: tags::read(row),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::encode::lower_camel;

    fn parameters() -> ComponentParameters {
        serde_json::from_value(serde_json::json!({
            "name": "n", "componentVersion": "1.0.0", "content": "RUN true\n", "resourceGroupId": "rg-1",
            "tag": [{"key": "team", "value": "base"}, {"key": "empty"}],
        }))
        .unwrap()
    }

    fn component(change: impl FnOnce(&mut Value)) -> Component {
        let mut row = serde_json::json!({
            "ImageComponentId": "ic-1", "Name": "n", "ComponentVersion": "1.0.0", "Content": "RUN true", "SystemType": "Linux",
            "ComponentType": "Build", "ResourceGroupId": "rg-1",
            "Tags": {"Tag": [{"TagKey": "team", "TagValue": "base"}, {"TagKey": "empty", "TagValue": ""}, {"TagKey": "acs:rm", "TagValue": "x"}]},
        });
        change(&mut row);
        read(&lower_camel(row)).unwrap()
    }

    #[test]
    fn what_differs_decides_what_can_be_done() {
        type Change = fn(&mut Value);
        let table: [(&str, Change, Comparison); 6] = [
            ("the same", |_| (), Comparison::Same),
            (
                "tag value",
                |row| row["Tags"]["Tag"][0]["TagValue"] = "x".into(),
                Comparison::Amendable(vec!["tag".into()]),
            ),
            ("no tags", |row| row["Tags"] = serde_json::json!({}), Comparison::Amendable(vec!["tag".into()])),
            (
                "group",
                |row| row["ResourceGroupId"] = "rg-2".into(),
                Comparison::Amendable(vec!["resourceGroupId".into()]),
            ),
            ("content", |row| row["Content"] = "RUN false".into(), Comparison::Fixed(vec!["content".into()])),
            (
                "system",
                |row| row["SystemType"] = "Windows".into(),
                Comparison::Fixed(vec!["systemType".into()]),
            ),
        ];
        for (name, change, expected) in table {
            assert_eq!(parameters().compare(&component(change), false, &none()), expected, "{name}");
        }
        let windows = component(|row| row["SystemType"] = "Windows".into());
        assert_eq!(
            parameters().compare(&windows, true, &none()),
            Comparison::Same,
            "an import that does not say"
        );
    }

    #[test]
    fn a_row_that_is_not_as_documented_still_counts() {
        let odd = component(|row| {
            (row["Description"], row["CreationTime"]) = (Value::Null, 7.into());
            row["Tags"]["Tag"][1]["TagValue"] = Value::Null;
        });
        assert_eq!(parameters().compare(&odd, false, &none()), Comparison::Same);
        for tags in [Value::Null, "none".into(), serde_json::json!({ "Tag": null })] {
            let untagged = component(|row| {
                row["Tags"] = tags;
                row["Content"] = "RUN false".into();
            });
            assert!(untagged.tags.is_empty());
            assert_eq!(
                parameters().compare(&untagged, false, &none()),
                Comparison::Fixed(vec!["content".into()])
            );
        }
        assert!(read(&serde_json::json!({ "imageComponentId": null })).is_none());
    }

    #[test]
    fn a_page_without_rows_is_empty() {
        for page in [
            serde_json::json!({ "RequestId": "r" }),
            serde_json::json!({ "RequestId": "r", "ImageComponent": null }),
            serde_json::json!({ "ImageComponent": {} }),
            serde_json::json!({ "ImageComponent": { "ImageComponentSet": null } }),
        ] {
            assert_eq!(Page::deserialize(&page).unwrap().rows(), Ok(vec![]), "{page}");
        }
        for nothing in [serde_json::json!({}), serde_json::json!({ "Message": "please log in" })] {
            assert!(Page::deserialize(&nothing).unwrap().rows().is_err(), "{nothing}");
        }
    }

    fn none() -> BTreeSet<String> {
        BTreeSet::new()
    }

    #[test]
    fn tags_that_the_spec_never_named_are_not_looked_at() {
        let component = component(|row| row["Tags"]["Tag"][0]["TagKey"] = "old".into());
        let dropped: BTreeSet<_> = ["old", "gone"].map(Into::into).into();
        let team = || vec![Tag { key: "team".into(), value: "base".into() }];
        let old = || vec!["old".to_owned()];
        let silent = ComponentParameters { tag: None, ..parameters() };
        let emptied = ComponentParameters { tag: Some(vec![]), ..parameters() };
        for (spec, dropped, set, removed) in [
            (&parameters(), &none(), team(), vec![]),
            (&parameters(), &dropped, team(), old()),
            (&silent, &none(), vec![], vec![]),
            (&emptied, &none(), vec![], vec![]),
            (&silent, &dropped, vec![], old()),
            (&emptied, &dropped, vec![], old()),
        ] {
            let changes = spec.tag_changes(&component, dropped);
            assert_eq!(changes, tags::Changes { set, removed }, "{spec:?} {dropped:?}");
            let differs = changes != tags::Changes::default();
            assert_eq!(spec.compare(&component, false, dropped) == Comparison::Same, !differs);
            assert_eq!(changes.difference(&component.tags).is_some(), differs);
        }
        let changes = parameters().tag_changes(&component, &dropped);
        let difference = changes.difference(&component.tags).unwrap();
        assert_eq!((&*difference.theirs, &*difference.ours), ("\"old=base\"", "\"team=base\""));
        assert_eq!(difference.calls, ["UntagResources", "TagResources"]);
    }

    #[test]
    fn a_request_has_every_parameter_that_is_given() {
        let params = parameters().to_request();
        for (key, value) in [
            ("Name", "n"),
            ("SystemType", "Linux"),
            ("Tag.1.Key", "team"),
            ("Tag.2.Value", ""),
            ("ResourceGroupId", "rg-1"),
        ] {
            assert!(params.contains(&pair(key, value)), "{key}");
        }
        assert!(!params.iter().any(|(key, _)| key == "Description"));
    }

    #[test]
    fn the_next_version_is_above_all_that_were_used() {
        for (used, last, floor, expected) in [
            (&["1.0.0"][..], Some("1.0.0"), Some("1.0.0"), Some("1.0.1")),
            (&["1.0.0"], Some("1.0.0"), None, Some("1.0.1")),
            (&["1.0.0", "1.0.7", "2.0.0"], Some("1.0.0"), None, Some("1.0.8")),
            (&[], Some("1.0.3"), None, Some("1.0.4")),
            (&["1.0.0"], Some("1.0.0"), Some("2.0.0"), Some("2.0.0")),
            (&["1.0.0", "2.0.0"], Some("1.0.0"), Some("2.0.0"), Some("2.0.1")),
            (&["2.1.4"], Some("2.1.4"), Some("1.0.0"), Some("2.1.5")),
            (&["1.0.9"], Some("1.0.9"), Some("1.0.3"), Some("1.0.10")),
            (&["odd", "1.0"], None, Some("1.0.0"), Some("1.0.0")),
            (&[], None, None, None),
            (&[], Some("1.0.18446744073709551615"), None, None),
            (&["1.0.18446744073709551615"], Some("1.0.1"), None, None),
        ] {
            let used: Vec<_> = used.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(next_version(&used, last, floor).as_deref(), expected, "{used:?} {last:?} {floor:?}");
        }
    }

    #[test]
    fn only_what_a_version_is_made_of_asks_for_a_new_one() {
        let object = |change: fn(&mut ImageComponentSpec)| {
            let mut spec = ImageComponentSpec {
                image: ImageSpec::default(),
                version_policy: VersionPolicy::Bump,
                versions_to_keep: Some(2),
                for_provider: parameters(),
            };
            change(&mut spec);
            ImageComponent::new("n", spec)
        };
        let row = serde_json::json!({
            "imageComponentId": "ic-1", "name": "n", "componentVersion": "1.0.7", "content": "RUN true", "systemType": "Linux",
            "componentType": "Build", "resourceGroupId": "rg-1",
            "tags": {"tag": [{"tagKey": "team", "tagValue": "base"}, {"tagKey": "empty", "tagValue": ""}]},
        });
        let product = product("ic-1", &row);
        let same = object(|_| ());
        let digest = same.succession().map(|it| it.digest);
        assert_eq!(same.succession().and_then(|it| it.keep), Some(2));
        assert!(!same.is_outdated(&product));
        for (change, outdated) in [
            (
                (|spec| spec.for_provider.content = Some("RUN false".into())) as fn(&mut ImageComponentSpec),
                true,
            ),
            (|spec| spec.for_provider.description = Some("another".into()), true),
            (|spec| spec.for_provider.tag = None, false),
            (|spec| spec.for_provider.component_version = Some("2.0.0".into()), false),
        ] {
            let changed = object(change);
            assert_eq!(changed.is_outdated(&product), outdated, "{changed:?}");
            assert_eq!(changed.succession().map(|it| it.digest) != digest, outdated, "{changed:?}");
        }
        let off = object(|spec| spec.version_policy = VersionPolicy::Never);
        assert_eq!(off.succession(), None);
        assert_eq!(ImageComponent::version_of(&product).as_deref(), Some("1.0.7"));
        assert_eq!(off.with_version("3.0.0").spec.for_provider.component_version.as_deref(), Some("3.0.0"));
    }

    #[test]
    fn a_token_fits_the_vendors_64_ascii_characters() {
        let token = ImageComponent::token("123e4567-e89b-12d3-a456-426655440000", u32::MAX);
        assert!(token.len() <= 64 && token.is_ascii());
    }
}
