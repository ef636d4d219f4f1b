//! Does what `distribution` decides: reads what its watch and the one of the copies have seen, and writes to the API server.

use super::{
    ImageDistribution,
    shown::{Trouble, status},
    steps::{self, Copy, Step, is_deleting, is_held, new_copy, request},
};
use crate::{
    engine::{
        self, Shared,
        accounts::{AccountKey, Accounts},
        guarded::{Guarded, Unread},
        health::Reading,
        index::Index,
        lookup::ObjectName,
        malformed,
        owned::{Change, controller},
        pace, runner,
        status::{Detail, READY, Telling},
        telemetry::{Telemetry, Told},
    },
    image::{FIELD_MANAGER, FINALIZER, REQUESTED_AT},
    panics::{self, Panicked},
    vendors::aliyun::image_copy::{AliyunImageCopy, AliyunImageCopySpec},
    wire::outcome::one_line,
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
        Preconditions,
    },
    runtime::watcher,
};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How many objects one page of a list has.
const PAGE: u32 = 500;

/// The controller of distributions, in one namespace or all, until it is told to stop.
pub fn run(shared: Shared, namespace: Option<String>) -> impl Future<Output = ()> + Send + 'static {
    let Shared { client, accounts, telemetry, health, stopping, shard, .. } = shared;
    let reading = health.reading(engine::name_of(&ImageDistribution::plural(&()), namespace.as_deref()));
    let api = Unread::of(&resource(), client.clone(), namespace.as_deref());
    let world = Arc::new(World { client, accounts, telemetry, known: Mutex::default() });
    let moving = reading.clone();
    let (seeing, hearing, looking, passing) = (world.clone(), world.clone(), world.clone(), world.clone());
    // Its copies use the same account, so that they are in the same shard.
    let is_ours = move |object: &Guarded<ImageDistribution>| {
        let account = match &object.0 {
            Ok(object) => &object.spec.account_ref,
            Err(unreadable) => &unreadable.account,
        };
        shard.holds(&AccountKey::of(account, &object.namespace().unwrap_or_default()))
    };
    let seen = engine::events(api, ImageDistribution::kind(&()), reading.clone());
    let seen = seen.flat_map(move |event| {
        let woken = event.map(|event| seeing.see(&event, &is_ours, &reading));
        stream::iter(woken.unwrap_or_default())
    });
    let heard = world.accounts.index().changes().flat_map(move |change| stream::iter(hearing.hear(&change)));
    let beats = Reading::beats().map(move |()| {
        moving.moves();
        None
    });
    let woken = stream::select_all([seen.boxed(), heard.boxed(), beats.boxed()]);
    let is_ready = move || looking.known().is_complete && looking.accounts.index().is_filled();
    let begin = move |name: &ObjectName| {
        let object = passing.known().objects.get(name).cloned()?;
        let world = passing.clone();
        Some(async move {
            match panics::caught(world.pass(&object)).await {
                Ok(wait) => wait,
                Err(Panicked) => {
                    Some(malformed::report_panic(&world.client, &resource(), object.meta()).await)
                }
            }
        })
    };
    runner::run(woken, stopping.cancelled_owned(), is_ready, begin)
}

impl Told for ImageDistribution {
    fn kind_name(&self) -> Cow<'static, str> {
        Self::kind(&())
    }
    fn metadata(&self) -> &ObjectMeta {
        self.meta()
    }
    fn reference(&self) -> ObjectReference {
        self.object_ref(&())
    }
}

fn resource() -> ApiResource {
    ApiResource::erase::<ImageDistribution>(&())
}

/// What passes over distributions need.
struct World {
    client: Client,
    accounts: Arc<Accounts>,
    telemetry: Telemetry,
    known: Mutex<Known>,
}

/// The distributions that the watch has seen.
#[derive(Default)]
struct Known {
    objects: HashMap<ObjectName, Arc<Guarded<ImageDistribution>>>,
    /// Those of the list that is being read.
    listed: HashSet<ObjectName>,
    is_complete: bool,
}

/// Why a pass ended early.
enum Stop {
    /// What was seen is not the newest any more: it is looked at again.
    Outdated,
    /// The object is gone.
    Gone,
    /// The API server.
    Kube(kube::Error),
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) if status.code == 404 => Self::Gone,
            kube::Error::Api(status) if status.code == 409 => Self::Outdated,
            _ => Self::Kube(error),
        }
    }
}

/// Whether the API server has understood, and does not do it: to ask again at once does not help.
fn refusal(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 413 | 422) => {
            Some(&status.message)
        }
        _ => None,
    }
}

fn code(error: &kube::Error) -> u16 {
    if let kube::Error::Api(status) = error { status.code } else { 0 }
}

impl World {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the watch has seen, and names who is to be looked at; `None` once all have been seen.
    fn see(
        &self,
        event: &watcher::Event<Unread>,
        is_ours: &impl Fn(&Guarded<ImageDistribution>) -> bool,
        reading: &Reading,
    ) -> Vec<Option<ObjectName>> {
        let mut known = self.known();
        let name_of = |object: &Unread| Arc::new((object.namespace().unwrap_or_default(), object.name_any()));
        match event {
            watcher::Event::Init => {
                known.listed.clear();
                vec![]
            }
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                let name = name_of(object);
                let object = object.read_by(|text| serde_json::from_str::<ImageDistribution>(text));
                if !is_ours(&object) {
                    known.objects.remove(&name);
                    return vec![];
                }
                known.listed.insert(name.clone());
                known.objects.insert(name.clone(), Arc::new(object));
                vec![Some(name)]
            }
            watcher::Event::Delete(object) => {
                let name = name_of(object);
                known.objects.remove(&name);
                vec![]
            }
            watcher::Event::InitDone => {
                let Known { objects, listed, is_complete } = &mut *known;
                objects.retain(|name, _| listed.contains(name));
                listed.clear();
                *is_complete = true;
                reading.done();
                vec![None]
            }
        }
    }

    /// Who is to be looked at since something happened to a copy.
    fn hear(&self, change: &Change) -> Vec<Option<ObjectName>> {
        if change.name.is_empty() {
            // It may be the last kind to be read.
            return vec![None];
        }
        if change.kind != AliyunImageCopy::kind(&()) {
            return vec![];
        }
        match &change.owner {
            Some((kind, owner)) if *kind == ImageDistribution::kind(&()) => {
                vec![Some(Arc::new((change.namespace.clone(), owner.clone())))]
            }
            _ => self.who_want(&change.namespace, &change.name).into_iter().map(Some).collect(),
        }
    }

    /// The distributions that have a copy of this name, or would have one if it were not somebody else's.
    fn who_want(&self, namespace: &str, copy: &str) -> Vec<ObjectName> {
        let wants = |object: &Guarded<ImageDistribution>| {
            let status = object.0.as_ref().ok().and_then(|object| object.status.as_ref());
            status.is_some_and(|status| status.regions.iter().any(|row| row.name == copy))
        };
        let known = self.known();
        let of_namespace = known.objects.iter().filter(|(name, _)| name.0 == namespace);
        of_namespace.filter(|(_, object)| wants(object)).map(|(name, _)| name.clone()).collect()
    }

    fn index(&self) -> &Index {
        self.accounts.index()
    }

    /// One pass: after what time the next one is to begin, if nothing happens.
    async fn pass(&self, object: &Guarded<ImageDistribution>) -> Option<Duration> {
        let distribution = match &object.0 {
            Ok(distribution) => distribution,
            Err(unreadable) => {
                let (metadata, error) = (&unreadable.metadata, &unreadable.error);
                let told = malformed::report(&self.client, &resource(), metadata, error).await;
                return told.is_err().then(|| pace::api_backoff(1));
            }
        };
        match self.work(distribution).await {
            Ok(wait) => wait,
            Err(Stop::Gone) => None,
            Err(Stop::Outdated) => Some(pace::AGAIN),
            Err(Stop::Kube(error)) => {
                tracing::warn!(distribution = distribution.name_any(), %error, "the API server failed");
                Some(if refusal(&error).is_some() { pace::OTHERS } else { pace::api_backoff(3) })
            }
        }
    }

    async fn work(&self, distribution: &ImageDistribution) -> Result<Option<Duration>, Stop> {
        let mut copies = self.copies(distribution);
        let steps = steps::steps(distribution, &copies);
        let asked = request(distribution).filter(|_| !copies.is_empty());
        let waits_for_none = is_deleting(distribution) && copies.is_empty() && !distribution.spec.suspend;
        if waits_for_none {
            if !is_held(distribution) {
                return Ok(None);
            }
            // What was made a moment ago may not have been seen.
            copies = self.copies_there_are(distribution).await?;
            if copies.is_empty() {
                let others = distribution.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER);
                self.metadata(distribution, json!({ "finalizers": others.collect::<Vec<_>>() })).await?;
                return Ok(None);
            }
        }
        let steps = if waits_for_none { steps::steps(distribution, &copies) } else { steps };
        let mut troubles = vec![];
        let mut done = Done::default();
        let mut wait = None;
        if !steps.is_empty() || asked.is_some() {
            // Nothing is done for what is not the newest version, and nothing that nobody would clean up.
            let mut metadata = json!({});
            if !is_held(distribution) && !is_deleting(distribution) {
                let finalizers = distribution.finalizers().iter().map(String::as_str).chain([FINALIZER]);
                metadata = json!({ "finalizers": finalizers.collect::<Vec<_>>() });
            }
            self.metadata(distribution, metadata).await?;
        }
        for step in steps {
            let outcome = match &step {
                Step::Create(name, spec) => self.create(distribution, name, spec, &mut copies).await?,
                Step::Amend(name, spec) => self.amend(name, &json!(spec), &mut copies).await?,
                Step::Delete(name, patch) => self.delete(name, patch.as_ref(), &copies).await?,
            };
            let name = match &step {
                Step::Create(name, _) | Step::Amend(name, _) | Step::Delete(name, _) => name.clone(),
            };
            match (outcome, &step) {
                (Outcome::Done, Step::Create(..)) => done.created.push(name),
                (Outcome::Done, Step::Amend(..)) => done.amended.push(name),
                (Outcome::Done, Step::Delete(..)) => done.deleted.push(name),
                (Outcome::Outdated, _) => wait = Some(pace::AGAIN),
                (Outcome::Unseen, _) => wait = wait.or(Some(pace::OTHERS)),
                (Outcome::Trouble(detail), _) => {
                    wait = wait.or(Some(pace::SLOW_LOOK));
                    troubles.push(Trouble { name, detail });
                }
            }
        }
        if let Some(asked) = asked {
            for copy in &copies {
                self.ask(distribution, &copy.name, asked).await?;
            }
        }
        if waits_for_none {
            wait = wait.or(Some(pace::OTHERS));
        }
        self.show(distribution, &copies, &troubles, &done).await?;
        Ok(wait)
    }

    /// The copies that a distribution owns, as the watch has seen them.
    fn copies(&self, distribution: &ImageDistribution) -> Vec<Copy> {
        let owned = self.index().owned_by(distribution.meta().uid.as_deref().unwrap_or_default());
        let copies = owned.into_iter().filter(|owned| owned.kind == AliyunImageCopy::kind(&()));
        let copy = |owned: engine::owned::Owned| Copy {
            name: owned.name.1.clone(),
            object: owned.json.and_then(|json| serde_json::from_slice(&json).ok()),
        };
        copies.map(copy).collect()
    }

    /// The same, as the API server has them now, of whatever shard.
    async fn copies_there_are(&self, distribution: &ImageDistribution) -> Result<Vec<Copy>, kube::Error> {
        let copies = ApiResource::erase::<AliyunImageCopy>(&());
        let api = Unread::of(&copies, self.client.clone(), distribution.namespace().as_deref());
        let mut params = ListParams::default().limit(PAGE);
        let mut copies = vec![];
        loop {
            let page = api.list(&params).await?;
            let owned = page.items.iter().filter(|object| is_owned(object.meta(), distribution));
            copies.extend(owned.map(|object| Copy {
                name: object.name_any(),
                object:
                    object.read_by(|text| serde_json::from_str::<AliyunImageCopy>(text)).0.ok().map(Box::new),
            }));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                return Ok(copies);
            }
        }
    }

    async fn create(
        &self,
        distribution: &ImageDistribution,
        name: &str,
        spec: &AliyunImageCopySpec,
        copies: &mut Vec<Copy>,
    ) -> Result<Outcome, kube::Error> {
        let api = self.api::<AliyunImageCopy>(distribution);
        let object =
            serde_json::from_value(new_copy(distribution, name, spec)).map_err(kube::Error::SerdeError)?;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        match api.create(&params, &object).await {
            Ok(made) => {
                copies.push(copy_of(made));
                Ok(Outcome::Done)
            }
            Err(error) if code(&error) == 409 => {
                let Some(there) = api.get_opt(name).await? else { return Ok(Outcome::Outdated) };
                if is_owned(&there.metadata, distribution) {
                    copies.push(copy_of(there));
                    return Ok(Outcome::Unseen);
                }
                // Of what was restored, an object of the same name may have been the owner.
                let whose = controller(&there.metadata).map_or_else(
                    || "nobody".into(),
                    |owner| format!("{} {} with the uid {}", owner.kind, owner.name, owner.uid),
                );
                Ok(Outcome::Trouble(Detail::stalled(
                    "NameTaken",
                    format!(
                        "{} {name} is there already, and this object does not own it ({whose} does), so it is left alone; delete \
                         or rename it, or take the region out",
                        AliyunImageCopy::kind(&())
                    ),
                )))
            }
            Err(error) => refused(error, "made", name),
        }
    }

    async fn amend(&self, name: &str, spec: &Value, copies: &mut [Copy]) -> Result<Outcome, kube::Error> {
        let Some(copy) = copies.iter_mut().find(|copy| copy.name == name) else {
            return Ok(Outcome::Outdated);
        };
        let Some(object) = copy.object.as_deref() else { return Ok(Outcome::Outdated) };
        let patch = json!([
            { "op": "test", "path": "/metadata/uid", "value": object.uid() },
            { "op": "replace", "path": "/metadata/resourceVersion", "value": object.resource_version() },
            { "op": "replace", "path": "/spec", "value": spec },
        ]);
        let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
        let api = self.api::<AliyunImageCopy>(object);
        match api.patch(name, &params(), &Patch::Json::<()>(patch)).await {
            Ok(amended) => {
                *copy = copy_of(amended);
                let is_as_asked = copy.object.as_ref().is_some_and(|object| json!(object.spec) == *spec);
                Ok(if is_as_asked { Outcome::Done } else { Outcome::Trouble(not_as_asked(name)) })
            }
            Err(error) if matches!(code(&error), 404 | 409) => Ok(Outcome::Outdated),
            Err(error) => refused(error, "set as this object's spec says", name),
        }
    }

    /// Only as it was seen: one that somebody has let go of in the meantime is not ours to delete.
    async fn delete(&self, name: &str, changes: Option<&Value>, copies: &[Copy]) -> Result<Outcome, Stop> {
        let Some(copy) = copies.iter().find(|copy| copy.name == name) else { return Ok(Outcome::Outdated) };
        let Some(object) = copy.object.as_deref() else {
            let message = format!(
                "{} {name} cannot be read, so it is not deleted; delete it",
                AliyunImageCopy::kind(&())
            );
            return Ok(Outcome::Trouble(Detail::stalled("CopyRefused", message)));
        };
        let api = self.api::<AliyunImageCopy>(object);
        let mut version = object.resource_version();
        if let Some(changes) = changes {
            let metadata = json!({ "uid": object.uid(), "resourceVersion": version });
            let patch = json!({ "metadata": metadata, "spec": changes });
            match api.patch(name, &params(), &Patch::Merge(patch)).await {
                Ok(told) => version = told.resource_version(),
                Err(error) if matches!(code(&error), 404 | 409) => return Ok(Outcome::Outdated),
                Err(error) => return Ok(refused(error, "told what becomes of its image", name)?),
            }
        }
        if is_deleting(object) {
            return Ok(Outcome::Done);
        }
        let preconditions = Preconditions { uid: object.uid(), resource_version: version };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(name, &params).await {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if matches!(code(&error), 404 | 409) => Ok(Outcome::Outdated),
            Err(error) => Ok(refused(error, "deleted", name)?),
        }
    }

    /// Passes on that somebody wants it looked at.
    async fn ask(&self, distribution: &ImageDistribution, name: &str, asked: &str) -> Result<(), Stop> {
        let patch = json!({ "metadata": { "annotations": { REQUESTED_AT: asked } } });
        match self.api::<AliyunImageCopy>(distribution).patch(name, &params(), &Patch::Merge(patch)).await {
            Err(error) if refusal(&error).is_none() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Changes the distribution's metadata, or nothing, if it is the newest version.
    async fn metadata(&self, distribution: &ImageDistribution, mut metadata: Value) -> Result<(), Stop> {
        metadata["uid"] = json!(distribution.uid());
        metadata["resourceVersion"] = json!(distribution.resource_version());
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let api = self.api::<ImageDistribution>(distribution);
        Ok(api.patch(&distribution.name_any(), &params(), &patch).await.map(drop)?)
    }

    /// Writes the status, if there is anything new, and tells of it.
    async fn show(
        &self,
        distribution: &ImageDistribution,
        copies: &[Copy],
        troubles: &[Trouble],
        done: &Done,
    ) -> Result<(), Stop> {
        let (new, detail) = status(distribution, copies, troubles, Timestamp::now());
        if let Some(new) = &new {
            let patch = json!([
                { "op": "test", "path": "/metadata/uid", "value": distribution.uid() },
                { "op": "add", "path": "/status", "value": new },
            ]);
            let patch = serde_json::from_value(patch).map_err(kube::Error::SerdeError)?;
            let api = self.api::<ImageDistribution>(distribution);
            api.patch_status(&distribution.name_any(), &params(), &Patch::Json::<()>(patch)).await?;
        }
        self.tell(distribution, new.is_some(), detail.as_ref(), done).await;
        Ok(())
    }

    async fn tell(
        &self,
        distribution: &ImageDistribution,
        is_news: bool,
        detail: Option<&Detail>,
        done: &Done,
    ) {
        let names = |names: &[String]| format!("{} {}", AliyunImageCopy::plural(&()), names.join(", "));
        let (created, amended, deleted) = (names(&done.created), names(&done.amended), names(&done.deleted));
        let old = distribution.status.as_ref().map(|status| &*status.conditions).unwrap_or_default();
        let before = old.iter().find(|condition| condition.type_ == READY);
        let told = [
            (!done.created.is_empty()).then(|| Detail::waiting("CopyCreated", format!("made {created}"))),
            (!done.amended.is_empty())
                .then(|| Detail::waiting("CopyChanged", format!("set {amended} as the spec says"))),
            (!done.deleted.is_empty()).then(|| Detail::waiting("CopyDeleted", format!("deleted {deleted}"))),
            match detail {
                _ if !is_news => None,
                None => before
                    .is_none_or(|before| before.status != "True")
                    .then(|| Detail::waiting("Ready", "all copies are Ready")),
                Some(detail) => {
                    let is_new = before.is_none_or(|before| before.reason != detail.reason);
                    (detail.event == Telling::Warning && is_new).then(|| detail.clone())
                }
            },
        ];
        for detail in told.into_iter().flatten() {
            self.telemetry.told(distribution, &detail).await;
        }
    }

    fn api<K: Resource<DynamicType = ()>>(&self, beside: &impl ResourceExt) -> Api<DynamicObject> {
        let namespace = beside.namespace().unwrap_or_default();
        Api::namespaced_with(self.client.clone(), &namespace, &ApiResource::erase::<K>(&()))
    }
}

/// What came of a step.
enum Outcome {
    Done,
    /// It is not as it was seen; the news are on their way.
    Outdated,
    /// It is there, and the watch has not shown it.
    Unseen,
    Trouble(Detail),
}

/// The names of the copies that something was done about.
#[derive(Default)]
struct Done {
    created: Vec<String>,
    amended: Vec<String>,
    deleted: Vec<String>,
}

fn not_as_asked(name: &str) -> Detail {
    let message = format!(
        "{} {name} is not stored as it was written: a webhook or a policy changes it, or the CRD is of another version",
        AliyunImageCopy::kind(&())
    );
    Detail::stalled("CopyRefused", message)
}

fn refused(error: kube::Error, what: &str, name: &str) -> Result<Outcome, kube::Error> {
    let Some(message) = refusal(&error) else { return Err(error) };
    let message = format!(
        "the API server does not let {} {name} be {what}: {}",
        AliyunImageCopy::kind(&()),
        one_line(message.trim_end_matches('.'), 600)
    );
    Ok(Outcome::Trouble(Detail::stalled("CopyRefused", message)))
}

fn copy_of(object: DynamicObject) -> Copy {
    let name = object.name_any();
    Copy { name, object: object.try_parse().ok().map(Box::new) }
}

fn is_owned(metadata: &kube::api::ObjectMeta, distribution: &ImageDistribution) -> bool {
    controller(metadata).is_some_and(|owner| Some(&owner.uid) == distribution.meta().uid.as_ref())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() }
}
