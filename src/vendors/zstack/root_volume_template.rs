//! `RootVolumeTemplate`: an image made of a root volume of ZStack. `CreateRootVolumeTemplateFromRootVolume`.

use super::{
    Call, Client, errors,
    inventory::{self, Inventory, get, query, read},
    job::Job,
};
use crate::{
    account::AccountVendor,
    engine::{
        existing::{Existing, Mark},
        external::{External, Submitted, Timeout},
        journal::Permit,
        pace,
        progress::{
            Comparison, Deletion, Difference, Failure, Handle, Hindrance, Observation, Product, Recovered,
        },
    },
    image::{ImageSpec, ImageStatus, OperationState, fixed, kept},
    vendors::normalise,
    wire::{CallError, Class, Effect, Refusal, encode, endpoint::Endpoints, pages},
};
use futures::future;
use http::Method;
use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Map, Value, json};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};
use uuid::Uuid;

// ---- What a user writes --------------------------------------------------------------------------------------------

const AGAIN: &str = "make a new object";

/// Which field `status.managedTags` keeps beside tags and remarks.
const DESCRIPTION: &str = "description";

/// A root volume template at ZStack.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "RootVolumeTemplate",
    plural = "rootvolumetemplates",
    shortname = "rvt",
    category = "cloudimages",
    namespaced,
    status = "ImageStatus",
    doc = "An image of ZStack made of a virtual machine's root volume. It stands for the vendor's CreateRootVolumeTemplateFromRootVolume. When the object is deleted, the image is deleted and expunged.",
    printcolumn(name = "Progress", type_ = "integer", json_path = ".status.progress", description = "How far the build is, in percent"),
    printcolumn(name = "Image ID", type_ = "string", json_path = ".status.imageId", description = "The vendor's uuid of the image"),
    printcolumn(name = "Task ID", type_ = "string", json_path = ".status.taskId", description = "The vendor's job that makes the image"),
    validation = fixed("rootVolumeUuid", AGAIN),
    validation = fixed("backupStorageUuids", AGAIN),
    validation = fixed("resourceUuid", AGAIN),
    validation = fixed("systemTags", AGAIN),
    validation = fixed("userTags", AGAIN),
    validation = kept("guestOsType"),
    validation = kept("platform"),
    validation = kept("system"),
    validation = kept("architecture"),
    validation = kept("virtio")
)]
#[x_kube(
    validation = Rule::new("has(self.forProvider.name) || has(self.import)").message("forProvider.name is required: what the image is called (or name an existing image in import)"),
    validation = Rule::new("has(self.forProvider.rootVolumeUuid) || has(self.import)").message("forProvider.rootVolumeUuid is required: the root volume that the image is made of"),
    // By its plain name, the API server does not find how long an id is, and takes the rule for too expensive.
    validation = Rule::new("!has(self.__import__) || !has(self.__import__.id) || self.__import__.id.matches('^[0-9a-f]{32}$')").message("import.id must be a uuid: 32 hex digits in lower case, without dashes"),
)]
pub struct RootVolumeTemplateSpec {
    /// What all kinds share.
    #[serde(flatten)]
    pub image: ImageSpec<TemplateMatch>,
    /// The parameters of CreateRootVolumeTemplateFromRootVolume, under the vendor's names. `name`, `description`,
    /// `guestOsType`, `platform`, `system`, `architecture` and `virtio` can be changed later.
    pub for_provider: TemplateParameters,
}

/// The parameters of CreateRootVolumeTemplateFromRootVolume, and how the image is deleted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateParameters {
    /// The image's name, 1 to 255 characters, not blank. It need not be unique. Required. Can be changed.
    /// Example: `TinyLinux`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.size() >= 1 && self.size() <= 255").message("name must be 1 to 255 characters long"),
        validation = Rule::new("self.matches('[^\\\\s]')").message("name must not be blank"),
    )]
    pub name: Option<String>,

    /// What the image is for, at most 2048 characters. Can be changed; once it is taken out here, it is emptied at the vendor.
    /// Where it was never here, what the vendor has stays. Example: `A tiny Linux for tests.`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8192))]
    #[x_kube(validation = Rule::new("self.size() <= 2048").message("description must be at most 2048 characters long"))]
    pub description: Option<String>,

    /// What the guest's operating system is called, at most 255 characters (a limit of this operator). Can be changed, not taken
    /// out again; where it was never here, what the vendor has stays. Example: `CentOS 7.9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub guest_os_type: Option<String>,

    /// The backup storages to keep the image on, by their uuids of 32 hex digits; 1 to 32 (a limit of this operator), each once. ZStack
    /// leaves out those that it cannot reach, and succeeds if one of them works: `status.atProvider.backupStorageRefs` shows where the image
    /// is. Default: the vendor chooses one. Cannot be changed. Example: `[b94ff32725d133fea53e8ada5ea7f0fc]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), inner(length(max = 64)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(uuid, uuid.matches('^[0-9a-f]{32}$'))").message("backupStorageUuids must be uuids: 32 hex digits in lower case, without dashes"))]
    pub backup_storage_uuids: Option<Vec<String>>,

    /// The root volume that the image is made of, by its uuid of 32 hex digits. Required. Cannot be changed.
    /// Example: `b94ff32725d133fea53e8ada5ea7f0fc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{32}$')").message("rootVolumeUuid must be a uuid: 32 hex digits in lower case, without dashes"))]
    pub root_volume_uuid: Option<String>,

    /// The platform of the guest: `Linux`, `Windows`, `Other`, `Paravirtualization` or `WindowsVirtio`. Default: the
    /// vendor's. Can be changed, not taken out again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,

    /// `true`: an image for the cloud's own machines. Default: the vendor's (`false`). Can be changed, not
    /// taken out again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<bool>,

    /// The uuid that the image gets: 32 hex digits, a UUID of version 1 to 5 without dashes. ZStack gives a uuid only once: no
    /// image may have it, or have had it, not even one that was deleted and expunged, so that `recreatePolicy: WhenMissing`
    /// cannot make the image again under it. Default: chosen by the operator, anew for each attempt. Cannot be changed.
    /// Example: `fadea0efc22e4e6fa43f537f1af6ee6b`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{12}[1-5][0-9a-f]{3}[89ab][0-9a-f]{15}$')").message("resourceUuid must be a UUID of version 1 to 5: 32 hex digits in lower case, without dashes"))]
    pub resource_uuid: Option<String>,

    /// The processor architecture: `x86_64`, `aarch64`, `mips64el` or `loongarch64`. ZStack takes the virtual machine's
    /// when it makes the image; another one that is given here is set afterwards. Default: the virtual machine's. Can be
    /// changed, not taken out again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,

    /// Whether guests have virtio drivers. ZStack takes what the virtual machine has when it makes the image; another
    /// value that is given here is set afterwards. Default: the virtual machine's. Can be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtio: Option<bool>,

    /// Tags that mean something to ZStack, as `name::value`; at most 32 of at most 256 characters (limits of this operator). The
    /// vendor does not tell them again. Cannot be changed. Example: `["bootMode::UEFI"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub system_tags: Option<Vec<String>>,

    /// Tags of your own; at most 32 of at most 256 characters (limits of this operator). The vendor does not tell them
    /// again. Cannot be changed.
    /// Example: `["team-base"]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub user_tags: Option<Vec<String>>,

    /// How the image is deleted at the vendor. `Permissive`: deleted and expunged; the vendor may refuse while the image is
    /// in use. `Enforcing`: deleted and expunged all the same. `Recycle`: deleted as `Permissive` does, and not expunged: it
    /// stays in ZStack's recycle bin for as long as that keeps things (3 days unless it is told otherwise), and can be
    /// recovered there. Can be changed. Default: `Permissive`.
    #[serde(default)]
    pub delete_mode: DeleteMode,
}

/// The platform of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[expect(missing_docs, reason = "explained at TemplateParameters::platform")]
pub enum Platform {
    Linux,
    Windows,
    Other,
    Paravirtualization,
    WindowsVirtio,
}

/// The architecture of a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "explained at TemplateParameters::architecture")]
pub enum Architecture {
    #[serde(rename = "x86_64")]
    X86,
    Aarch64,
    Mips64el,
    Loongarch64,
}

/// How an image is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
#[expect(missing_docs, reason = "explained at TemplateParameters::delete_mode")]
pub enum DeleteMode {
    #[default]
    Permissive,
    Enforcing,
    Recycle,
}

impl DeleteMode {
    /// What DeleteImage is told.
    fn sent(self) -> Self {
        if self == Self::Recycle { Self::Permissive } else { self }
    }
}

/// Which of the images to take over: the only root volume template with this name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMatch {
    /// The image's name, exactly, 1 to 255 characters. Example: `TinyLinux`.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

/// How things are with what a handle means.
#[derive(Debug)]
enum Standing {
    /// The vendor has it.
    Image(Value),
    /// An image has the uuid that the user chose, and whether this job made it is not on record any more. It had not been
    /// there before the job was asked for: see [`External::clear`].
    Doubtful(Value),
    /// The job is under way.
    Making,
    /// The job ended without an image.
    Refused(Refusal),
    /// Neither an image nor a job that could lead to one.
    Gone,
}

/// Asks the job only where the image alone does not tell.
async fn standing(client: &Client, handle: &Handle, row: Option<Value>) -> Result<Standing, CallError> {
    let Some(task) = &handle.task else { return Ok(row.map_or(Standing::Gone, Standing::Image)) };
    let row = match row {
        Some(row) if handle.image.as_ref() == Some(&image_uuid(task)) => return Ok(Standing::Image(row)),
        row => row,
    };
    Ok(match (client.job(RootVolumeTemplate::ACTION, task).await?, row) {
        (Job::Running, _) => Standing::Making,
        // The vendor only gave up waiting: the image tells how it went on.
        (Job::Refused(refusal), Some(row)) if refusal.code == errors::TIMED_OUT => Standing::Image(row),
        // A failed job leaves no image, so that this one was there before.
        (Job::Refused(refusal), Some(_)) => {
            Standing::Refused(Refusal { class: Class::Conflict, hint: errors::UUID_IN_USE, ..refusal })
        }
        // What had the uuid is expunged, and was this object's, since nobody else gives it: the next attempt has another.
        (Job::Refused(refusal), None)
            if refusal.class == Class::Conflict && handle.image.as_ref() == Some(&image_uuid(task)) =>
        {
            Standing::Refused(Refusal { class: Class::Busy, hint: errors::UUID_SPENT, ..refusal })
        }
        (Job::Refused(refusal), None) => Standing::Refused(refusal),
        (Job::Done(_), Some(row)) => Standing::Image(row),
        // It may have come into being between the two looks.
        (Job::Done(_), None) => get(client, handle.id()).await?.map_or(Standing::Gone, Standing::Image),
        (Job::Unknown, row) => row.map_or(Standing::Gone, Standing::Doubtful),
    })
}

/// The uuid that an image gets unless the user chose one.
fn image_uuid(job: &str) -> String {
    let namespace = Uuid::parse_str(job).unwrap_or(Uuid::NAMESPACE_OID);
    Uuid::new_v5(&namespace, b"image").simple().to_string()
}

// ---- How one becomes the other -------------------------------------------------------------------------------------

impl External for RootVolumeTemplate {
    type Client = Client;
    type Match = TemplateMatch;

    const ACTION: &'static str = "CreateRootVolumeTemplateFromRootVolume";
    const BATCH: usize = 100;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(12 * 3600),
        why: "copying a large volume takes hours, and ZStack itself gives a job up after 72 hours",
    };
    const IMMEDIATE: bool = false;
    const REPEATABLE: bool = true;
    const ROW_ID: &'static str = inventory::ROW_ID;
    const MARKED: bool = true;
    const UNTOLD: &'static [&'static str] = &["rootVolumeUuid", "systemTags", "userTags"];
    const WHEN_OVERDUE: Option<&'static str> = Some(ABANDONED);
    const AMENDS: &'static [(&'static str, &'static str)] = &[
        ("name", UPDATE),
        ("description", UPDATE),
        ("guestOsType", UPDATE),
        ("platform", UPDATE),
        ("system", UPDATE),
        ("architecture", UPDATE),
        ("virtio", UPDATE),
    ];

    fn spec(&self) -> &ImageSpec<TemplateMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    /// A management node has no regions.
    fn region(&self, _: &Client) -> String {
        String::new()
    }

    /// A cloud is its management node; accounts within it see each other's uuids.
    fn realm(&self, account: &AccountVendor) -> String {
        let endpoint = account.zstack.as_ref().map(|account| account.endpoint.as_str());
        let endpoint = Endpoints::normal(endpoint.unwrap_or_default());
        // As the client does.
        let has_path = endpoint.splitn(4, '/').nth(3).is_some();
        format!("zstack {endpoint}{}", if has_path { "" } else { "/zstack" })
    }

    /// Only so long that a request that was on its way has arrived: the uuids do the rest.
    fn settle(&self, _: &Client) -> Duration {
        pace::REQUEST_TIMEOUT
    }

    /// The job's uuid, sent as `X-Job-UUID`: a UUID of version 5 without dashes. That of the image follows from it.
    fn token(uid: &str, attempt: u32) -> String {
        let name = format!("https://cloudimages.dev/{uid}/{attempt}");
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).simple().to_string()
    }

    /// A job that finds its uuid taken fails, and its record may be gone before it is looked at: then what was there would
    /// be taken for what it made.
    async fn clear(&self, client: &Client) -> Result<(), CallError> {
        let Some(uuid) = &self.spec.for_provider.resource_uuid else { return Ok(()) };
        let Some(row) = get(client, uuid).await? else { return Ok(()) };
        let image = read(&row);
        Err(CallError::Refused(Refusal {
            action: Self::ACTION.into(),
            status: 200,
            class: Class::Conflict,
            code: "UuidInUse".into(),
            message: format!(
                "the image {} ({}) has that uuid already; its status is {}",
                uuid, image.name, image.status
            ),
            request_id: String::new(),
            hint: errors::UUID_IN_USE,
            retry_after: None,
        }))
    }

    async fn submit(&self, client: &Client, permit: Permit) -> Result<Submitted, CallError> {
        let handle = self.handle_of(permit.token());
        let parameters = &self.spec.for_provider;
        let volume = parameters.root_volume_uuid.as_deref().unwrap_or_default();
        let target = format!("/v1/images/root-volume-templates/from/volumes/{}", encode::component(volume));
        let call = Call::new(Self::ACTION, Effect::Create, Method::POST, target)
            .with(parameters.to_request(handle.id()))
            .of_job(permit.token());
        match client.ask::<IgnoredAny>(&call).await {
            // A job of this uuid was accepted before, and nobody else makes these.
            Err(CallError::Refused(refusal)) if refusal.class == Class::Conflict && refusal.status == 400 => {
            }
            done => drop(done?),
        }
        // The vendor has no request ids; the job's uuid is what its log knows the call by.
        Ok(Submitted { request_id: handle.task.clone(), handle })
    }

    /// The image and the job tell. Where neither is there, asking again with the same uuids is safe even if the call is
    /// still on its way, since the vendor takes each of them once; for an object that goes, there is nothing to ask.
    async fn recover(&self, client: &Client, token: &str, since: Timestamp) -> Result<Recovered, CallError> {
        let handle = self.handle_of(token);
        let row = get(client, handle.id()).await?;
        Ok(match standing(client, &handle, row).await? {
            Standing::Image(_) | Standing::Making | Standing::Refused(_) => {
                Recovered::Candidates(vec![handle])
            }
            Standing::Gone if self.metadata.deletion_timestamp.is_some() => Recovered::Candidates(vec![]),
            Standing::Gone => Recovered::Replay,
            Standing::Doubtful(row) if self.fits(&read(&row), since) => Recovered::Candidates(vec![handle]),
            Standing::Doubtful(_) => Recovered::Undecidable(vec![handle.id().to_owned()]),
        })
    }

    async fn observe(
        client: &Client,
        _: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        // What a person names by annotation may be anything.
        let is_uuid = |id: &&str| id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let uuids: Vec<_> = handles.iter().map(Handle::id).filter(is_uuid).collect();
        let rows = match &uuids[..] {
            [] => vec![],
            uuids => query(client, &[format!("uuid?={}", uuids.join(","))]).await?,
        };
        let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (read(&row).uuid, row)).collect();
        let mut seen = HashMap::new();
        for handle in handles {
            let standing = standing(client, handle, rows.remove(handle.id())).await?;
            seen.extend(observed(standing).map(|observation| (handle.clone(), observation)));
        }
        measure(client, &mut seen).await;
        Ok(seen)
    }

    /// With several storages, it is a success if one of them works, and no edit of the spec could improve it.
    fn finished(&self, product: Product) -> Product {
        let wanted = self.spec.for_provider.backup_storage_uuids.as_deref().unwrap_or_default();
        let there = read(&product.at_provider).backup_storage_uuids;
        let left_out: Vec<_> =
            wanted.iter().filter(|uuid| !there.contains(uuid)).map(String::as_str).collect();
        if left_out.is_empty() || left_out.len() == wanted.len() {
            return product;
        }
        let left_out = left_out.join(", ");
        let note = format!(
            "it is not on all backup storages, since ZStack left out those that failed or were not connected: {left_out}; make a \
             new object to have it on all of them / 镜像未保存到全部镜像服务器，ZStack 跳过了失败或未连接的：{left_out}；如需\
             全部保存，请新建对象"
        );
        Product { note: Some(note), ..product }
    }

    async fn find(&self, client: &Client, matching: &TemplateMatch) -> Result<Vec<Handle>, CallError> {
        let mut conditions = vec![inventory::TEMPLATES.to_owned()];
        // The server splits a condition at the first operator that it knows, wherever it stands: a name with one in it
        // would be misread, so all templates are read for it.
        if !matching.name.contains(['=', '!', '?', '~', '<', '>']) {
            conditions.push(format!("name={}", matching.name));
        }
        let images = query(client, &conditions).await?;
        // Its database compares names without case and without blanks behind them: a match is what matches here, too.
        let matches =
            |image: &Inventory| image.status != "Deleted" && normalise::same(&matching.name, &image.name);
        let there = images.iter().map(read).filter(matches);
        Ok(there.map(|image| Handle::image(image.uuid)).collect())
    }

    async fn page(client: &Client, _: &str, next: Option<String>) -> Result<pages::Page, CallError> {
        inventory::page(client, &[inventory::TEMPLATES.to_owned()], inventory::LISTED, next).await
    }

    fn existing(row: &Value) -> Option<Existing> {
        let image = read(row);
        let uuid = image.uuid.clone();
        let seen = Existing::new(&*uuid, observed(Standing::Image(row.clone()))?).named(&image.name);
        Some(Existing {
            mark: (uuid.as_bytes().get(12) == Some(&b'5')).then_some(Mark::Like(
                "its uuid is of version 5, as the operator's are and ZStack's own are not",
            )),
            ..seen
                .with("name", image.name)
                .with("description", image.description)
                .with("guestOsType", image.guest_os_type)
                .with("platform", image.platform)
                .with("system", image.system)
                .with("architecture", image.architecture)
                .with("virtio", image.virtio)
                .with("backupStorageUuids", image.backup_storage_uuids)
        })
    }

    /// An image that is being made has its uuid before the object has it in its status.
    fn claims(&self) -> Vec<String> {
        let status = self.status.as_ref();
        let image = status.and_then(|status| status.image_id.clone());
        let import = self.spec.image.import.as_ref().and_then(|import| import.id.clone());
        let operation = status.and_then(|status| status.operation.as_ref());
        let (attempt, uid) =
            (operation.map_or(1, |operation| operation.attempt), self.metadata.uid.as_deref());
        // Those of all attempts cannot be told from a status that says that there were a billion.
        let attempts = attempt.saturating_sub(9).max(1)..=attempt;
        let made =
            uid.into_iter().flat_map(|uid| attempts.clone().map(|it| image_uuid(&Self::token(uid, it))));
        let chosen = self.spec.for_provider.resource_uuid.clone();
        [image, import, chosen].into_iter().flatten().chain(made).collect()
    }

    fn named(&self) -> Vec<String> {
        self.spec.for_provider.description.iter().map(|_| DESCRIPTION.to_owned()).collect()
    }

    fn compare(&self, _: &Client, product: &Product) -> Comparison {
        self.wanted().compare(&read(&product.at_provider))
    }

    async fn amend(&self, client: &Client, product: &Product) -> Result<(), CallError> {
        let image = read(&product.at_provider);
        let changes = self.wanted().changes(&image);
        let target = format!("/v1/images/{}/actions", encode::component(&image.uuid));
        let body = json!({ "updateImage": changes });
        client.change(UPDATE, Method::PUT, &target, body).await.map(drop)
    }

    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let row = get(client, handle.id()).await?;
        let row = match standing(client, handle, row).await? {
            Standing::Image(row) => row,
            Standing::Doubtful(row) if self.is_ours(&read(&row)) => row,
            Standing::Doubtful(_) => return Ok(waiting(DOUBTFUL)),
            Standing::Making if self.is_overdue() => return Ok(abandoned(handle)),
            Standing::Making => return Ok(waiting(MAKING)),
            Standing::Refused(_) | Standing::Gone => return Ok(Deletion::Gone),
        };
        let image = read(&row);
        // What is being made is let be, unless it takes so long that its management node must be dead: then the vendor would
        // only give it up after days. The job fails, should it go on after all.
        if let (true, Some(task)) = (image.status == "Creating" && !self.is_overdue(), &handle.task)
            && client.job(Self::ACTION, task).await? == Job::Running
        {
            return Ok(waiting(MAKING));
        }
        self.remove(client, &image).await
    }
}

/// What changes an image in place.
const UPDATE: &str = "UpdateImage";

const MAKING: &str = "ZStack is still making the image, and cannot be told to stop; it is deleted as soon as it is there, or when spec.timeout is over even if it is not, or stays there with deletionPolicy: Retain / ZStack 仍在制作镜像，无法中止；镜像完成后立即删除，超过 spec.timeout 也会删除，或设置 deletionPolicy: Retain 保留";
const ABANDONED: &str = "ZStack leaves an image whose management node died in the build as Creating, and its job as running, for up to three days: delete this object, which deletes that image too, and create it anew / 若制作期间管理节点故障，ZStack 会让镜像停留在 Creating、任务停留在运行中长达三天：请删除此对象（该镜像也会被删除）后重新创建";
const DOUBTFUL: &str = "an image has the uuid of forProvider.resourceUuid, and ZStack has no record any more of whether this object made it; delete it there, or set deletionPolicy: Retain to leave it";
const DELETING: &str = "ZStack is at it";

fn waiting(why: &str) -> Deletion {
    Deletion::Waiting(why.to_owned())
}

/// Nothing will come of a job whose management node died, and nobody can tell it from one that is very slow.
fn abandoned(handle: &Handle) -> Deletion {
    let (image, job) = (handle.id(), handle.task.as_deref().unwrap_or_default());
    Deletion::Remains(format!(
        "ZStack has not ended the job {job} within spec.timeout, and has no image of it, so that there is nothing to delete; should \
         {image} appear there after all, delete it / ZStack 在 spec.timeout 内未结束任务 {job}，且没有对应镜像，无可删除；若之后\
         出现镜像 {image}，请手动删除"
    ))
}

/// How many jobs of a batch are asked at most how far they are: that takes a call for each.
const MEASURED: usize = 10;

/// Adds to what is being made how far it is, as far as the vendor tells. Of many jobs, others are asked each time.
async fn measure(client: &Client, seen: &mut HashMap<Handle, Observation>) {
    let mut jobs: Vec<_> = seen
        .iter_mut()
        .filter_map(|(handle, seen)| match seen {
            Observation::Building { percent, .. } => Some((handle.task.clone()?, percent)),
            _ => None,
        })
        .collect();
    if jobs.len() > MEASURED {
        let by_chance = |(job, _): &(String, _)| RandomState::new().hash_one(job);
        jobs.sort_by_cached_key(by_chance);
    }
    jobs.truncate(MEASURED);
    let told = future::join_all(jobs.iter().map(|(job, _)| client.percent(job))).await;
    for ((_, percent), told) in jobs.into_iter().zip(told) {
        *percent = told;
    }
}

impl RootVolumeTemplate {
    /// What an attempt leads to, whether its answer is known or not.
    fn handle_of(&self, token: &str) -> Handle {
        let image = self.spec.for_provider.resource_uuid.clone().unwrap_or_else(|| image_uuid(token));
        Handle { image: Some(image), task: Some(token.to_owned()) }
    }

    /// Whether the build takes longer than the spec allows.
    fn is_overdue(&self) -> bool {
        let operation = self.status.as_ref().and_then(|status| status.operation.as_ref());
        let since = operation.and_then(|operation| operation.started_at.as_ref());
        let limit = self.timeout();
        since.is_some_and(|since| {
            Duration::try_from(Timestamp::now().duration_since(since.0)).is_ok_and(|taken| taken > limit)
        })
    }

    /// Whether an image is as the spec asks for and not older than `since`.
    fn fits(&self, image: &Inventory, since: Timestamp) -> bool {
        image.is_young(since) && self.spec.for_provider.compare(image) == Comparison::Same
    }

    /// Whether an image of the uuid that the user chose is this object's, without a record of the job that made it: it
    /// was seen to be, or it could come of nothing else.
    fn is_ours(&self, image: &Inventory) -> bool {
        let operation = self.status.as_ref().and_then(|status| status.operation.as_ref());
        let Some(operation) = operation else { return false };
        let since = operation.started_at.as_ref().and_then(|at| at.0.checked_sub(pace::SKEW).ok());
        match operation.state {
            OperationState::Succeeded => true,
            // It may have been deleted softly; the spec may have changed since.
            OperationState::Missing => since.is_some_and(|since| image.is_young(since)),
            // The build went wrong, and the spec has changed for the next attempt; or the vendor refused it, and somebody
            // else took the uuid since.
            OperationState::Failed if matches!(image.status.as_str(), "Error" | "Deleted") => {
                since.is_some_and(|since| image.is_young(since))
            }
            _ => since.is_some_and(|since| self.fits(image, since)),
        }
    }

    /// Deletes and expunges, as far as it gets; the next call goes on from there.
    async fn remove(&self, client: &Client, image: &Inventory) -> Result<Deletion, CallError> {
        let target = format!("/v1/images/{}", encode::component(&image.uuid));
        if image.status != "Deleted" {
            let target = format!("{target}?deleteMode={}", self.spec.for_provider.delete_mode.sent());
            if !client.change("DeleteImage", Method::DELETE, &target, Value::Null).await? {
                return Ok(waiting(DELETING));
            }
            // By the vendor's policy, it is gone, or only marked as deleted.
            let Some(row) = get(client, &image.uuid).await? else { return Ok(Deletion::Gone) };
            if read(&row).status != "Deleted" {
                return Ok(waiting(DELETING));
            }
        }
        if self.spec.for_provider.delete_mode == DeleteMode::Recycle {
            return Ok(Deletion::Gone);
        }
        let target = format!("{target}/actions");
        let expunged =
            client.change("ExpungeImage", Method::PUT, &target, json!({ "expungeImage": {} })).await;
        let there = get(client, &image.uuid).await?.is_some();
        match expunged {
            _ if !there => Ok(Deletion::Gone),
            Err(error) => Err(error),
            Ok(_) => Ok(waiting(DELETING)),
        }
    }
}

impl TemplateParameters {
    fn to_request(&self, uuid: &str) -> Value {
        let Self {
            name,
            description,
            guest_os_type,
            backup_storage_uuids,
            root_volume_uuid,
            platform,
            system,
            resource_uuid: _,
            architecture,
            virtio,
            system_tags,
            user_tags,
            delete_mode: _,
        } = self;
        json!({
            "params": given([
                ("name", json!(name)),
                ("description", json!(description)),
                ("guestOsType", json!(guest_os_type)),
                ("backupStorageUuids", json!(backup_storage_uuids)),
                ("rootVolumeUuid", json!(root_volume_uuid)),
                ("platform", json!(platform)),
                ("system", json!(system)),
                ("resourceUuid", json!(uuid)),
                ("architecture", json!(architecture)),
                ("virtio", json!(virtio)),
            ]),
            "systemTags": system_tags.as_deref().unwrap_or_default(),
            "userTags": user_tags.as_deref().unwrap_or_default(),
        })
    }

    /// What UpdateImage has to set: what is given and differs.
    fn changes(&self, image: &Inventory) -> Map<String, Value> {
        given(self.differing(image).map(|(key, ours, _)| (key, ours)))
    }

    /// The fields that UpdateImage sets and that differ: ours and theirs.
    fn differing(&self, image: &Inventory) -> impl Iterator<Item = (&'static str, Value, Value)> + use<> {
        let fields = [
            ("name", json!(self.name), json!(image.name)),
            // The vendor leaves an empty description out.
            (DESCRIPTION, json!(self.description), json!(image.description.as_deref().unwrap_or_default())),
            ("guestOsType", json!(self.guest_os_type), json!(image.guest_os_type)),
            ("platform", json!(self.platform), json!(image.platform)),
            ("system", json!(self.system), json!(image.system)),
            ("architecture", json!(self.architecture), json!(image.architecture)),
            ("virtio", json!(self.virtio), json!(image.virtio)),
        ];
        // A version that does not know a field would never show it; `guestOsType` is left out while nobody set it.
        let known = |key, theirs: &Value| key == "guestOsType" || !theirs.is_null();
        let same = |ours: &Value, theirs: &Value| match (ours.as_str(), theirs.as_str()) {
            (Some(ours), Some(theirs)) => normalise::same(ours, theirs),
            _ => ours == theirs,
        };
        fields
            .into_iter()
            .filter(move |(key, ours, theirs)| !ours.is_null() && !same(ours, theirs) && known(*key, theirs))
    }

    fn compare(&self, image: &Inventory) -> Comparison {
        let mut fixed = vec![];
        if let Some(uuid) = self.resource_uuid.as_deref().filter(|uuid| *uuid != image.uuid) {
            fixed.push(Difference::new("resourceUuid", &*image.uuid, uuid));
        }
        // Of several storages, the vendor leaves out those that fail: that the image is on one of them is a success, which
        // no edit of the spec could improve.
        let on_one = |wanted: &Vec<String>| {
            wanted.is_empty() || wanted.iter().any(|uuid| image.backup_storage_uuids.contains(uuid))
        };
        if self.backup_storage_uuids.as_ref().is_some_and(|wanted| !on_one(wanted)) {
            let (theirs, ours) = (json!(image.backup_storage_uuids), json!(self.backup_storage_uuids));
            fixed.push(Difference::new("backupStorageUuids", theirs, ours));
        }
        if !fixed.is_empty() {
            return Comparison::Fixed(fixed);
        }
        let changes = self.differing(image).map(|(field, ours, theirs)| Difference::new(field, theirs, ours));
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() { Comparison::Same } else { Comparison::Amendable(changes) }
    }
}

impl RootVolumeTemplate {
    /// What the image is to be like: a description that was taken out of the spec is empty.
    fn wanted(&self) -> TemplateParameters {
        let mut wanted = self.spec.for_provider.clone();
        if self.dropped().contains(DESCRIPTION) {
            wanted.description = Some(String::new());
        }
        wanted
    }
}

/// Without what is null.
fn given(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    let there = fields.into_iter().filter(|(_, value)| !value.is_null());
    there.map(|(key, value)| (key.to_owned(), value)).collect()
}

fn unusable(row: Value, hindrance: Hindrance, why: String) -> Observation {
    let image_id = Some(read(&row).uuid);
    let product = Product { image_id, at_provider: row, ..Product::default() };
    Observation::Unusable { product, why, hindrance }
}

/// What the engine is to make of it; `None`: the vendor does not have it.
fn observed(standing: Standing) -> Option<Observation> {
    let building = |note| Some(Observation::Building { percent: None, note });
    match standing {
        Standing::Making => building(None),
        Standing::Gone => None,
        Standing::Refused(refusal) => Some(match refusal.class {
            Class::Unavailable | Class::Unlisted => Observation::Failed(Failure {
                reason: "BuildFailed".into(),
                message: refusal.to_string(),
                left: None,
            }),
            _ => Observation::Refused(refusal),
        }),
        Standing::Image(row) | Standing::Doubtful(row) => {
            let image = read(&row);
            match image.status.as_str() {
                "Ready" if image.state == "Disabled" => Some(unusable(
                    row,
                    Hindrance::Lasting,
                    format!(
                        "the image {0} is disabled, so that no machine can be made of it; enable it in ZStack / 镜像 {0} 已停用，无法\
                         用于创建云主机，请在 ZStack 中启用",
                        image.uuid
                    ),
                )),
                "Ready" => Some(Observation::Ready(Product {
                    image_id: Some(image.uuid),
                    at_provider: row,
                    ..Product::default()
                })),
                // It can be recovered until it is expunged, and then it is seen again.
                "Deleted" => None,
                "Error" => Some(Observation::Failed(Failure {
                    reason: "BuildFailed".into(),
                    message: format!(
                        "the image {0} has the status Error; look at it in ZStack / 镜像 {0} 的状态为 Error，请在 ZStack 中查看",
                        image.uuid
                    ),
                    left: None,
                })),
                "Creating" | "Downloading" => building(None),
                "Migrating" => Some(unusable(
                    row,
                    Hindrance::Passing,
                    format!(
                        "the image {0} is being moved to another backup storage, and can be used again afterwards / 镜像 {0} 正在迁移\
                         到其他镜像服务器，完成后恢复可用",
                        image.uuid
                    ),
                )),
                other => Some(unusable(
                    row,
                    Hindrance::Unknown,
                    format!(
                        "the image {0} has the status {other}, which is not known here, so that it may not be usable; look at it in \
                         ZStack / 镜像 {0} 的状态为未知的 {other}，可能无法使用，请在 ZStack 中查看",
                        image.uuid
                    ),
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::table::lookup;

    fn parameters(change: Value) -> TemplateParameters {
        let mut parameters = json!({
            "name": "n", "rootVolumeUuid": "b94ff32725d133fea53e8ada5ea7f0fc", "platform": "Linux",
            "backupStorageUuids": ["a94ff32725d133fea53e8ada5ea7f0fc"],
        });
        json_patch::merge(&mut parameters, &change);
        serde_json::from_value(parameters).unwrap()
    }

    fn row(change: Value) -> Value {
        let mut row = json!({
            "uuid": "fadea0efc22e4e6fa43f537f1af6ee6b", "name": "n", "status": "Ready", "platform": "Linux",
            "architecture": "x86_64", "system": false, "virtio": true, "size": 5,
            "backupStorageRefs": [{ "backupStorageUuid": "a94ff32725d133fea53e8ada5ea7f0fc" }, { "backupStorageUuid": "other" }],
        });
        json_patch::merge(&mut row, &change);
        row
    }

    fn refusal(code: &str, message: &str) -> Refusal {
        let (class, hint) = lookup(&[errors::TABLE], code, message);
        Refusal {
            action: RootVolumeTemplate::ACTION.into(),
            status: 503,
            code: code.into(),
            message: message.into(),
            request_id: String::new(),
            class,
            hint,
            retry_after: None,
        }
    }

    #[test]
    fn both_uuids_follow_from_uid_and_attempt_and_are_what_the_server_takes() {
        let uid = "123e4567-e89b-12d3-a456-426655440000";
        let (first, second) = (RootVolumeTemplate::token(uid, 1), RootVolumeTemplate::token(uid, 2));
        assert_eq!(first, RootVolumeTemplate::token(uid, 1));
        let all = [image_uuid(&first), image_uuid(&second), first, second];
        for (index, uuid) in all.iter().enumerate() {
            let bytes = uuid.as_bytes();
            assert_eq!(bytes.len(), 32);
            assert!(bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{uuid}");
            assert!((b'1'..=b'5').contains(&bytes[12]) && b"89ab".contains(&bytes[16]), "{uuid}");
            assert!(!all[..index].contains(uuid));
        }
    }

    #[test]
    fn what_differs_decides_what_can_be_done() {
        let amendable =
            |fields: &[&str]| Comparison::Amendable(fields.iter().map(|&field| field.into()).collect());
        let fixed = |field: &str| Comparison::Fixed(vec![field.into()]);
        for (spec, vendor, expected) in [
            (json!({}), json!({}), Comparison::Same),
            (json!({ "name": "m" }), json!({}), amendable(&["name"])),
            (
                json!({ "description": "d", "guestOsType": "g" }),
                json!({}),
                amendable(&["description", "guestOsType"]),
            ),
            (json!({ "description": "" }), json!({}), Comparison::Same),
            (json!({ "platform": "Windows" }), json!({}), amendable(&["platform"])),
            (
                json!({ "architecture": "aarch64", "virtio": false }),
                json!({}),
                amendable(&["architecture", "virtio"]),
            ),
            (json!({}), json!({ "description": "theirs", "guestOsType": "theirs" }), Comparison::Same),
            (json!({ "system": true }), json!({}), amendable(&["system"])),
            (
                json!({ "platform": "Windows", "architecture": "aarch64", "virtio": false, "system": true }),
                json!({ "platform": null, "architecture": null, "virtio": null, "system": null }),
                Comparison::Same,
            ),
            (json!({ "backupStorageUuids": ["missing"] }), json!({}), fixed("backupStorageUuids")),
            (json!({ "resourceUuid": "x" }), json!({}), fixed("resourceUuid")),
        ] {
            assert_eq!(parameters(spec.clone()).compare(&read(&row(vendor))), expected, "{spec}");
        }
    }

    #[test]
    fn a_request_has_what_is_given_and_the_uuid() {
        let body = parameters(json!({ "virtio": true, "systemTags": ["bootMode::UEFI"] })).to_request("u");
        assert_eq!(
            body,
            json!({
                "params": {
                    "name": "n", "rootVolumeUuid": "b94ff32725d133fea53e8ada5ea7f0fc", "platform": "Linux",
                    "backupStorageUuids": ["a94ff32725d133fea53e8ada5ea7f0fc"], "virtio": true, "resourceUuid": "u",
                },
                "systemTags": ["bootMode::UEFI"],
                "userTags": [],
            })
        );
    }

    #[test]
    fn the_image_s_status_is_what_counts() {
        let seen = |status: &str| observed(Standing::Image(row(json!({ "status": status }))));
        assert!(matches!(seen("Ready"), Some(Observation::Ready(_))));
        assert!(matches!(seen("Error"), Some(Observation::Failed(_))));
        assert_eq!(seen("Deleted"), None);
        assert_eq!(seen("Creating"), Some(Observation::Building { percent: None, note: None }));
        let hindrance = |seen| match seen {
            Some(Observation::Unusable { hindrance, product, .. }) => {
                assert_eq!(product.image_id.as_deref(), Some("fadea0efc22e4e6fa43f537f1af6ee6b"));
                hindrance
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(hindrance(seen("Migrating")), Hindrance::Passing);
        assert_eq!(hindrance(seen("Verifying")), Hindrance::Unknown);
        let disabled = Standing::Image(row(json!({ "status": "Ready", "state": "Disabled" })));
        assert_eq!(hindrance(observed(disabled)), Hindrance::Lasting);
    }

    #[test]
    fn an_image_of_a_chosen_uuid_is_ours_as_far_as_it_is_known() {
        let is_ours = |state: &str, change: Value| {
            let status = json!({ "operation": {
                "action": "a", "token": "t", "attempt": 1, "startedAt": "2026-11-21T12:00:00Z", "state": state,
            } });
            let spec = json!({ "forProvider": parameters(json!({ "name": "changed since" })) });
            let mut template = RootVolumeTemplate::new("t", serde_json::from_value(spec).unwrap());
            template.status = Some(serde_json::from_value(status).unwrap());
            let mut row = row(json!({ "createDate": "2026-11-21T12:01:00Z" }));
            json_patch::merge(&mut row, &change);
            template.is_ours(&read(&row))
        };
        let old = json!({ "status": "Error", "createDate": "2026-11-20T12:00:00Z" });
        for (state, change, expected) in [
            ("Succeeded", json!({}), true),
            ("Missing", json!({}), true),
            ("Running", json!({}), false),
            ("Running", json!({ "name": "changed since" }), true),
            ("Failed", json!({ "status": "Error" }), true),
            ("Failed", json!({ "status": "Deleted" }), true),
            ("Failed", json!({ "status": "Ready" }), false),
            ("Failed", old, false),
        ] {
            assert_eq!(is_ours(state, change.clone()), expected, "{state} {change}");
        }
    }

    #[test]
    fn storages_that_were_left_out_are_named_unless_all_were() {
        let note = |storages: Value| {
            let spec = json!({ "forProvider": parameters(json!({ "backupStorageUuids": storages })) });
            let template = RootVolumeTemplate::new("t", serde_json::from_value(spec).unwrap());
            let at_provider = row(json!({}));
            template.finished(Product { at_provider, ..Product::default() }).note
        };
        let (there, away) = ("a94ff32725d133fea53e8ada5ea7f0fc", "b94ff32725d133fea53e8ada5ea7f0fc");
        assert_eq!(note(json!([there])), None);
        assert_eq!(note(json!([away])), None, "that is a difference");
        assert!(note(json!([there, away])).is_some_and(|note| note.contains(away) && !note.contains(there)));
    }

    #[test]
    fn a_job_that_failed_for_want_of_something_is_asked_again_and_a_broken_build_is_not() {
        let seen = |code| observed(Standing::Refused(refusal(code, "why")));
        for code in ["ID.1003", errors::SESSION_EXPIRED, "SYS.1003", "SYS.1006", "SYS.1007", "SYS.1012"] {
            assert!(matches!(seen(code), Some(Observation::Refused(_))), "{code}");
        }
        for code in ["IMG.1000", "SYS.1000", "HOST.1001"] {
            assert!(matches!(seen(code), Some(Observation::Failed(_))), "{code}");
        }
    }
}
