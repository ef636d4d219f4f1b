//! Image objects as people look at them: read from any kind's objects, whatever version wrote them.

use super::{Error, output, unmanaged::CRDS};
use crate::{
    api_server,
    engine::{
        owned::controller,
        pace,
        status::{READY, RECONCILING, STALLED},
    },
    image::{ImageStatus, OperationState, Phase},
    kinds::{KINDS, Kind},
    kubeconfig,
    period::Period,
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::events::v1::Event, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams},
    config::KubeConfigOptions,
    runtime::{WatchStreamExt, watcher},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::HashMap, fmt::Debug, path::PathBuf};

/// How many objects one page of a list has.
const PAGE: u32 = 500;

/// Which cluster and namespace.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The namespace; the context's, if it is left out.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// The kubeconfig's context; the current one, if it is left out.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig; that of $KUBECONFIG, or ~/.kube/config, if it is left out.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
}

/// Which cluster, and one namespace of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The namespace; the context's, if it is left out.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The kubeconfig's context; the current one, if it is left out.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig; that of $KUBECONFIG, or ~/.kube/config, if it is left out.
    #[arg(long, value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
}

impl From<&Place> for Target {
    fn from(place: &Place) -> Self {
        let Place { namespace, context, kubeconfig } = place.clone();
        Self { namespace, all_namespaces: false, context, kubeconfig }
    }
}

/// A cluster's objects, in one namespace or all.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// `None`: all.
    namespace: Option<String>,
}

impl Cluster {
    /// Connects with the rights of the kubeconfig's user.
    pub async fn connect(target: &Target) -> Result<Self, Error> {
        let options = KubeConfigOptions { context: target.context.clone(), ..KubeConfigOptions::default() };
        let config = match &target.kubeconfig {
            Some(path) => Config::from_custom_kubeconfig(kubeconfig::read_from(path)?, &options).await?,
            None => match (kubeconfig::read(), Config::incluster()) {
                (Ok(kubeconfig), _) => Config::from_custom_kubeconfig(kubeconfig, &options).await?,
                // As kubectl does it in a pod, where a pipeline may run.
                (Err(_), Ok(config)) if target.context.is_none() => config,
                (Err(error), _) => return Err(error.into()),
            },
        };
        let namespace = match (&target.namespace, target.all_namespaces) {
            (_, true) => None,
            (Some(namespace), _) => Some(namespace.clone()),
            (None, _) => Some(config.default_namespace.clone()),
        };
        Ok(Self { client: api_server::client(config).map_err(Error::Client)?, namespace })
    }

    /// The way to the API server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The namespace; `None`: all.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The same cluster, and all its namespaces.
    #[must_use]
    pub fn wide(&self) -> Self {
        self.within(None)
    }

    /// The same cluster, and one namespace of it, or all.
    #[must_use]
    pub fn within(&self, namespace: Option<&str>) -> Self {
        Self { client: self.client.clone(), namespace: namespace.map(Into::into) }
    }

    /// One object; `what` it is for people.
    pub async fn get<K: Clone + DeserializeOwned + Debug>(
        &self,
        api: &Api<K>,
        name: &str,
        what: &str,
    ) -> Result<K, Error> {
        match api.get(name).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) if is_about_an_object(&status) => {
                Err(Error::NotFound(what.into(), "the cluster".into()))
            }
            Err(error) => Err(Error::Read { what: what.into(), error: error.into() }),
        }
    }

    /// Where it looks, for people.
    pub fn place(&self) -> String {
        self.namespace.as_ref().map_or_else(|| "any namespace".into(), |it| format!("namespace {it}"))
    }

    /// Whether objects of several namespaces may come.
    pub fn is_wide(&self) -> bool {
        self.namespace.is_none()
    }

    /// Reads everything of a resource, page by page, so that not all of it is held at once.
    pub async fn each(
        &self,
        crd: &CustomResourceDefinition,
        mut seen: impl FnMut(DynamicObject),
    ) -> Result<(), Error> {
        let (api, resource) = self.api(crd);
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = api.list(&params).await;
            let page =
                page.map_err(|error| Error::Read { what: resource.plural.clone(), error: error.into() })?;
            page.items.into_iter().for_each(&mut seen);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => return Ok(()),
            }
        }
    }

    /// The interface to a resource, in this namespace if it has any.
    pub fn in_namespace(
        &self,
        crd: &CustomResourceDefinition,
        namespace: Option<&str>,
    ) -> Api<DynamicObject> {
        self.within(namespace).api(crd).0
    }

    /// The interface to a resource, in one namespace or all.
    pub fn api(&self, crd: &CustomResourceDefinition) -> (Api<DynamicObject>, ApiResource) {
        let names = &crd.spec.names;
        let version = crd.spec.versions.first().map(|version| version.name.clone()).unwrap_or_default();
        let resource = ApiResource {
            group: crd.spec.group.clone(),
            api_version: format!("{}/{version}", crd.spec.group),
            version,
            kind: names.kind.clone(),
            plural: names.plural.clone(),
        };
        let api = match &self.namespace {
            Some(namespace) if crd.spec.scope == "Namespaced" => {
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
            _ => Api::all_with(self.client.clone(), &resource),
        };
        (api, resource)
    }

    /// Everything of a resource.
    pub async fn list(&self, crd: &CustomResourceDefinition) -> Result<Vec<DynamicObject>, Error> {
        let mut all = vec![];
        self.each(crd, |object| all.push(object)).await?;
        Ok(all)
    }

    /// The objects that are selected, by kind, namespace and name.
    pub async fn objects(&self, selected: &Selected) -> Result<Vec<Object>, Error> {
        let mut objects = vec![];
        for crd in selected.crds() {
            let all = self.list(&crd).await?;
            let read = all.iter().map(|object| Object::read(&crd.spec.names.kind, object));
            objects.extend(read.filter(|object| selected.has(object)));
        }
        objects.sort_by_key(Object::key);
        Ok(objects)
    }

    /// What happens to the objects that are selected, from what is there now on. What goes wrong is tried again.
    pub fn watch(
        &self,
        selected: &Selected,
    ) -> impl Stream<Item = Result<News, watcher::Error>> + Send + use<> {
        let watches = selected.crds().into_iter().map(|crd| {
            let (api, _) = self.api(&crd);
            let (kind, selected) = (crd.spec.names.kind, selected.clone());
            let told_of = kind.clone();
            let read = move |object| Some(Object::read(&kind, &object)).filter(|object| selected.has(object));
            watcher(api, watcher::Config::default().timeout(pace::WATCH))
                .default_backoff()
                .try_filter_map(move |event| {
                    let news = match event {
                        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                            read(object).map(|object| News::There(Box::new(object)))
                        }
                        watcher::Event::Delete(object) => {
                            read(object).map(|object| News::Gone(Box::new(object)))
                        }
                        watcher::Event::Init => Some(News::Anew(told_of.clone())),
                        watcher::Event::InitDone => Some(News::Complete(told_of.clone())),
                    };
                    futures::future::ready(Ok(news))
                })
                .boxed()
        });
        stream::select_all(watches.collect::<Vec<_>>())
    }

    /// The newest Event of each object, by its uid; none where Events may not be read, since they only add to what is shown.
    pub async fn events(&self) -> HashMap<String, String> {
        let api: Api<Event> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let mut newest: HashMap<String, (Timestamp, String)> = HashMap::new();
        // Those of others are many, in a big cluster.
        let mut params = ListParams::default().limit(PAGE).fields(OURS);
        // They come in the order of their names, so that the newest may be on the last page.
        while let Ok(page) = api.list(&params).await {
            for event in page.items {
                let Some(Told { uid, at, text }) = told(event) else { continue };
                if newest.get(&uid).is_none_or(|(before, _)| *before < at) {
                    newest.insert(uid, (at, text));
                }
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => break,
            }
        }
        let now = Timestamp::now();
        let shown = |(at, text)| format!("{text} ({} ago)", output::ago(at, now));
        newest.into_iter().map(|(uid, event)| (uid, shown(event))).collect()
    }

    /// Events from now on, after those that are there; none where they may not be read, since they only add to what is shown.
    pub fn watch_events(&self) -> impl Stream<Item = Told> + Send + use<> {
        let api: Api<Event> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        watcher(api, watcher::Config::default().timeout(pace::WATCH).fields(OURS))
            .default_backoff()
            .filter_map(|event| {
                let event = match event {
                    Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) => told(event),
                    _ => None,
                };
                futures::future::ready(event)
            })
    }
}

/// The Events of this operator.
const OURS: &str = "reportingController=cloud-image-operator";

/// What an Event tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The object's.
    pub uid: String,
    /// When it was told last.
    pub at: Timestamp,
    /// Reason and note.
    pub text: String,
}

fn told(event: Event) -> Option<Told> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let at = series.or(event.event_time.as_ref().map(|time| time.0))?;
    let uid = event.regarding.as_ref()?.uid.clone()?;
    let (reason, note) = (event.reason.unwrap_or_default(), event.note.unwrap_or_default());
    Some(Told { uid, at, text: format!("{reason}: {}", note.replace('\n', " ")) })
}

/// Whether it is an object that is not there, and not its kind.
fn is_about_an_object(status: &kube::core::Status) -> bool {
    status.code == 404 && status.details.as_ref().is_some_and(|details| !details.name.is_empty())
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub enum News {
    /// This is how it stands.
    There(Box<Object>),
    /// It is gone.
    Gone(Box<Object>),
    /// All that is there of this kind is told, now or again, since the watch was lost.
    Anew(String),
    /// Everything of this kind that is there has been told.
    Complete(String),
}

/// Which objects, as `KIND` or `KIND/NAME`; none: all.
#[derive(Clone, Debug, Default)]
pub struct Selected(Vec<(String, Option<String>)>);

impl Selected {
    /// Reads what was typed; kinds go by any name that kubectl takes.
    pub fn parse(words: &[String]) -> Result<Self, Error> {
        Self::parse_among(words, shown())
    }

    /// The same where only image kinds mean something.
    pub fn parse_images(words: &[String]) -> Result<Self, Error> {
        // What owns objects of them comes last.
        Self::parse_among(words, &shown()[..KINDS.len()])
    }

    fn parse_among(words: &[String], crds: &[CustomResourceDefinition]) -> Result<Self, Error> {
        let parsed = words.iter().map(|word| {
            let (kind, name) =
                word.split_once('/').map_or((&**word, None), |(kind, name)| (kind, Some(name)));
            let found = crds.iter().find(|crd| is_called(crd, kind));
            let found = found.ok_or_else(|| Error::UnknownKind(kind.into(), kinds(crds)))?;
            Ok((found.spec.names.kind.clone(), name.map(Into::into)))
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// The image kinds that are looked at.
    pub fn kinds(&self) -> impl Iterator<Item = &'static dyn Kind> {
        let named = KINDS.iter().zip(shown()).filter(|(_, crd)| self.has_kind(&crd.spec.names.kind));
        named.map(|(kind, _)| *kind)
    }

    /// What is looked at: image kinds, and what owns objects of them.
    pub fn crds(&self) -> Vec<CustomResourceDefinition> {
        shown().iter().filter(|crd| self.has_kind(&crd.spec.names.kind)).cloned().collect()
    }

    fn has_kind(&self, kind: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|(wanted, _)| wanted == kind)
    }

    /// Whether an object is among them.
    pub fn has(&self, object: &Object) -> bool {
        let is = |kind: &String, name: &Option<String>| {
            *kind == object.kind && name.as_ref().is_none_or(|name| *name == object.name)
        };
        self.0.is_empty() || self.0.iter().any(|(kind, name)| is(kind, name))
    }

    /// What was named and is not among `objects`.
    pub fn missing(&self, objects: &[Object]) -> Option<String> {
        let named = self.0.iter().filter_map(|(kind, name)| Some((kind, name.as_ref()?)));
        let missing = named.into_iter().find(|(kind, name)| {
            !objects.iter().any(|object| object.kind == **kind && object.name == **name)
        });
        missing.map(|(kind, name)| format!("{kind}/{name}"))
    }
}

/// The kind that kubectl would take this word for.
pub fn kind_called(word: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| is_called(&kind.crd(), word))
}

fn is_called(crd: &CustomResourceDefinition, word: &str) -> bool {
    let (names, word) = (&crd.spec.names, word.to_lowercase());
    let group = format!("{}.{}", names.plural, crd.spec.group);
    let short = names.short_names.iter().flatten().map(String::as_str);
    let all = [&*names.kind, &names.plural, &group].into_iter().chain(names.singular.as_deref()).chain(short);
    all.into_iter().any(|name| name.to_lowercase() == word)
}

/// All that stands for images, of one or of many: the registry's kinds in its order, and then what owns objects of them.
fn shown() -> &'static [CustomResourceDefinition] {
    let accounts = CRDS.len().saturating_sub(KINDS.len() + 1);
    &CRDS[accounts..]
}

fn kinds(crds: &[CustomResourceDefinition]) -> String {
    let names = crds.iter().map(|crd| {
        let names = crd.spec.names.clone();
        let short = names.short_names.unwrap_or_default().join(", ");
        if short.is_empty() { names.kind } else { format!("{} ({short})", names.kind) }
    });
    names.collect::<Vec<_>>().join(", ")
}

/// An image object, as people look at it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its account: kind and name.
    pub account: String,
    /// The status of its condition Ready: `True`, `False` or `Unknown`.
    pub ready: String,
    /// Its phase; `Pending` before the operator has seen it.
    pub phase: String,
    /// How far its build is, in percent, where the vendor tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// The vendor's id of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// How many of its copies are Ready, of how many, where it has copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<String>,
    /// Why it is Ready or not, in a word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why it is Ready or not, in a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether a person has to act.
    pub stalled: bool,
    /// Whether it is on its way.
    pub reconciling: bool,
    /// Whether all this is about the present spec.
    pub current: bool,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When the creating call that is under way was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When the vendor is looked at again.
    pub next_look: NextLook,
    /// What its spec refers to, as `field: Kind/name`; the kind is left out where the spec leaves it out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refers_to: Vec<Reference>,
    /// The object that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Reference>,
    /// Its newest Event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event: Option<String>,
    #[serde(skip)]
    pub(super) uid: String,
}

/// A field that names another object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// The field, such as `imageRef`.
    pub field: String,
    /// The kind, where it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The name.
    pub name: String,
}

/// When the vendor is looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum NextLook {
    /// Not before something about the object changes.
    #[default]
    OnChange,
    /// Not while it is suspended.
    Suspended,
    /// Within so many seconds.
    Within(u64),
    /// In so many seconds, in its turn of the resync.
    In(u64),
}

impl NextLook {
    /// For people.
    pub fn text(self) -> String {
        let span =
            |seconds: u64| output::span(SignedDuration::from_secs(seconds.try_into().unwrap_or(i64::MAX)));
        match self {
            Self::OnChange => "on change".into(),
            Self::Suspended => "suspended".into(),
            Self::Within(seconds) => format!("< {}", span(seconds)),
            Self::In(seconds) => format!("in {}", span(seconds)),
        }
    }
}

impl Object {
    /// Reads an object. What cannot be read of it, as of a newer version, is left out.
    pub fn read(kind: &str, object: &DynamicObject) -> Self {
        let (spec, status) = (&object.data["spec"], &object.data["status"]);
        let copies = status["copies"].as_str().map(Into::into);
        let status: ImageStatus = serde_json::from_value(status.clone()).unwrap_or_default();
        let condition = |type_: &str| status.conditions.iter().find(|condition| condition.type_ == type_);
        let is_true = |type_: &str| condition(type_).is_some_and(|condition| condition.status == "True");
        let ready = condition(READY);
        let text = |of: fn(&Condition) -> &String| ready.map(of).cloned().unwrap_or_default();
        let operation = status.operation.as_ref();
        let is_running = operation.is_some_and(|operation| {
            matches!(operation.state, OperationState::InFlight | OperationState::Running)
        });
        Self {
            kind: kind.into(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
            account: account(spec),
            ready: ready.map_or("Unknown", |ready| &ready.status).into(),
            phase: format!("{:?}", status.phase.unwrap_or(Phase::Pending)),
            percent: status.progress.and_then(|percent| u8::try_from(percent).ok()),
            image_id: status.image_id.clone(),
            reason: text(|ready| &ready.reason),
            message: text(|ready| &ready.message),
            stalled: is_true(STALLED),
            reconciling: is_true(RECONCILING),
            current: status.observed_generation == object.metadata.generation,
            created: object.creation_timestamp().map(|time| time.0),
            started: operation.filter(|_| is_running).and_then(|it| it.started_at.as_ref()).map(|at| at.0),
            next_look: match &copies {
                // It looks at its copies, which look at the vendor.
                Some(_) if spec["suspend"] != true => NextLook::OnChange,
                _ => next_look(spec, &status, &object.uid().unwrap_or_default()),
            },
            copies,
            refers_to: references(spec),
            owner: owner(object),
            last_event: None,
        }
    }

    /// Kind and name, as kubectl writes them.
    pub fn title(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// What tells it from all others, in the order in which objects are shown.
    pub fn key(&self) -> (String, String, String) {
        (self.namespace.clone(), self.kind.clone(), self.name.clone())
    }
}

fn owner(object: &DynamicObject) -> Option<Reference> {
    let owner = controller(&object.metadata)?;
    Some(Reference { field: "owner".into(), kind: Some(owner.kind.clone()), name: owner.name.clone() })
}

fn account(spec: &Value) -> String {
    let part = |name: &str, default| spec["accountRef"][name].as_str().unwrap_or(default);
    format!("{}/{}", part("kind", "CloudAccount"), part("name", "default"))
}

fn references(spec: &Value) -> Vec<Reference> {
    let mut references = vec![];
    refers_to(&spec["forProvider"], &mut references);
    references
}

/// Wherever a reference stands in a value, once each.
fn refers_to(value: &Value, references: &mut Vec<Reference>) {
    for value in value.as_array().into_iter().flatten() {
        refers_to(value, references);
    }
    for (field, value) in value.as_object().into_iter().flatten() {
        let Some(name) = value["name"].as_str().filter(|_| field.ends_with("Ref")) else {
            refers_to(value, references);
            continue;
        };
        let kind = value["kind"].as_str().map(Into::into);
        let reference = Reference { field: field.clone(), kind, name: name.into() };
        if !references.contains(&reference) {
            references.push(reference);
        }
    }
}

fn next_look(spec: &Value, status: &ImageStatus, uid: &str) -> NextLook {
    if spec["suspend"] == true {
        return NextLook::Suspended;
    }
    match status.phase {
        Some(Phase::Submitting | Phase::Building | Phase::Deleting) => NextLook::Within(pace::BEAT.as_secs()),
        Some(Phase::Ready) => {
            let interval = serde_json::from_value::<Period>(spec["resyncInterval"].clone());
            let now = Timestamp::now().duration_since(Timestamp::UNIX_EPOCH).try_into().unwrap_or_default();
            let wait = interval.ok().and_then(|interval| pace::to_next_resync(now, interval.into(), uid));
            wait.map_or(NextLook::OnChange, |wait| NextLook::In(wait.as_secs()))
        }
        _ => NextLook::OnChange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(spec: Value, status: Value) -> Object {
        let object = json!({
            "apiVersion": "cloudimages.dev/v1alpha1", "kind": "ImageExport",
            "metadata": { "name": "nightly", "namespace": "team", "uid": "u-1", "generation": 2 },
            "spec": spec, "status": status,
        });
        Object::read("ImageExport", &serde_json::from_value(object).unwrap())
    }

    #[test]
    fn an_object_that_nobody_has_seen_is_pending() {
        let seen = object(json!({}), json!({ "observedGeneration": -1 }));
        assert_eq!((&*seen.phase, &*seen.ready, seen.current), ("Pending", "Unknown", false));
        assert_eq!(seen.account, "CloudAccount/default");
        assert_eq!(seen.title(), "ImageExport/nightly");
    }

    #[test]
    fn a_build_under_way_shows_how_far_it_is_and_what_it_refers_to() {
        let seen = object(
            json!({ "accountRef": { "kind": "ClusterCloudAccount", "name": "shared" },
                    "forProvider": { "ecsImageRef": { "name": "base" }, "bucketName": "b" } }),
            json!({ "observedGeneration": 2, "phase": "Building", "progress": 45,
                    "operation": { "action": "ExportImage", "token": "t", "attempt": 1, "state": "Running",
                                   "startedAt": "2026-01-01T00:00:00Z" } }),
        );
        assert_eq!((seen.percent, seen.current), (Some(45), true));
        assert_eq!(seen.started, Some("2026-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(seen.next_look.text(), "< 15s");
        assert_eq!(seen.account, "ClusterCloudAccount/shared");
        let base = Reference { field: "ecsImageRef".into(), kind: None, name: "base".into() };
        assert_eq!(seen.refers_to, [base]);
    }

    #[test]
    fn a_reference_is_found_wherever_it_stands() {
        let step = |name: &str| json!({ "componentRef": { "name": name } });
        let seen = object(
            json!({ "forProvider": { "build": [step("one"), { "run": "true" }, step("two"), step("one")],
                                     "baseImageRef": { "name": "base", "kind": "ImageBuild" }, "test": null } }),
            json!({}),
        );
        let names: Vec<_> = seen.refers_to.iter().map(|it| (&*it.field, &*it.name)).collect();
        assert_eq!(names, [("baseImageRef", "base"), ("componentRef", "one"), ("componentRef", "two")]);
    }

    #[test]
    fn the_next_look_is_that_of_the_resync() {
        let ready = json!({ "phase": "Ready" });
        let NextLook::In(seconds) = object(json!({ "resyncInterval": "30m" }), ready.clone()).next_look
        else {
            panic!("no look");
        };
        assert!(seconds <= 1800);
        assert_eq!(object(json!({ "resyncInterval": "0s" }), ready.clone()).next_look, NextLook::OnChange);
        assert_eq!(object(json!({ "suspend": true }), ready).next_look, NextLook::Suspended);
    }

    #[test]
    fn kinds_go_by_all_their_names() {
        let is = |word: &str, kind: &str| {
            let selected = Selected::parse(&[word.to_owned()]).unwrap();
            let kinds: Vec<_> = selected.kinds().map(|kind| kind.crd().spec.names.kind).collect();
            assert_eq!(kinds, [kind], "{word}");
        };
        for kind in KINDS {
            let names = kind.crd().spec.names;
            is(&names.kind, &names.kind);
            is(&names.plural, &names.kind);
            is(&format!("{}.cloudimages.dev/some", names.plural), &names.kind);
            names.short_names.iter().flatten().for_each(|short| is(short, &names.kind));
        }
        let distributions = Selected::parse(&["imgdist/base".to_owned()]).unwrap().crds();
        assert_eq!(distributions.len(), 1);
        assert!(Selected::parse_images(&["imgdist".to_owned()]).is_err(), "the vendor has none");
        let unknown = Selected::parse(&["pods".to_owned()]).unwrap_err().to_string();
        assert!(unknown.contains("ImageExport"), "{unknown}");
    }
}
