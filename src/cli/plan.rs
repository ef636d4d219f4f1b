//! `plan`: what applying manifests would do to the cluster's objects and at the vendors, found out by reading only.

mod copies;
mod verdict;

use super::{
    Answer, Error,
    account::{Account, Accounts, Calling},
    manifests,
    objects::{Cluster, Place},
    output::{self, BAD, Format, GOOD, HEADING, QUIET, UNDER_WAY, styled},
    progress::Progress,
    rules::{Refusal, Rules},
    unmanaged::{CRDS, kind_of},
};
use crate::{
    engine::accounts::AccountKey,
    image::DeletionPolicy,
    kinds::{Kind, survey::Look},
};
use anstyle::Style;
use copies::Copies;
use futures::{StreamExt, future::join_all, stream};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};
use verdict::{Action, Change, Verdict};

/// What `plan` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    source: Source,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    calling: Calling,
    #[command(flatten)]
    target: Place,
}

/// Where the manifests are.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// A file, a folder with files, or `-` for standard input; may be given several times.
    #[arg(short, long = "filename", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// A folder with a kustomization.yaml.
    #[arg(short, long, value_name = "FOLDER")]
    kustomize: Option<PathBuf>,
}

/// How many objects the API server is asked about at once.
const ASKED: usize = 16;
/// How many objects are looked at at once: they share the vendor's calls.
const LOOKED_AT: usize = 500;

/// What a manifest would do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    name: String,
    #[serde(flatten)]
    verdict: Verdict,
}

/// The whole answer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan {
    /// In the manifests' order.
    objects: Vec<Entry>,
    /// How many objects each thing would be done to.
    summary: BTreeMap<Action, usize>,
    /// How often each call that creates, changes or deletes something would be made.
    calls: BTreeMap<String, usize>,
    /// Who looked at the rules of admission.
    rules: &'static str,
}

/// Prints the plan.
pub async fn run(options: Options) -> Result<Answer, Error> {
    let manifests = if let Some(folder) = &options.source.kustomize {
        manifests::kustomize(folder)?
    } else {
        let files = options.source.files.iter().map(|file| manifests::read(file));
        files.collect::<Result<Vec<_>, _>>()?.concat()
    };
    let cluster = match options.calling.account_file {
        Some(_) => None,
        None => Some(Cluster::connect(&(&options.target).into()).await?),
    };
    let default_namespace = match &cluster {
        Some(cluster) => cluster.namespace().map(Into::into),
        None => options.target.namespace.clone(),
    };
    let accounts = Accounts::new(&options.calling, cluster.as_ref())?;
    let planner = Planner {
        unasked: RefCell::default(),
        cluster,
        accounts,
        default_namespace,
        opened: HashMap::new(),
        admitted: HashMap::new(),
    };
    let plan = planner.plan(manifests, options.output == Format::Table).await;
    options.output.print(&plan, || table(&plan))?;
    let has = |action: Action| plan.summary.contains_key(&action);
    Ok(match plan.summary.keys().any(|action| *action != Action::Nothing) {
        _ if has(Action::Unknown) => {
            return Err(Error::Usage("what some of the objects would do could not be found out".into()));
        }
        true => Answer::No,
        false => Answer::Yes,
    })
}

struct Planner {
    /// Why rules were looked at here though there is a cluster: the first object, and how many there were.
    unasked: RefCell<BTreeMap<String, (String, usize)>>,
    cluster: Option<Cluster>,
    accounts: Accounts,
    default_namespace: Option<String>,
    opened: HashMap<AccountKey, Result<Account, Error>>,
    /// Whether a namespace may use an account, or why that cannot be told.
    admitted: HashMap<(AccountKey, Option<String>), Result<bool, String>>,
}

/// A manifest, and what the API server, or its rules, make of it.
struct Wanted {
    kind: Option<&'static dyn Kind>,
    title: (String, Option<String>, String),
    /// The object as it is in the cluster.
    current: Option<Value>,
    /// As it would be.
    stored: Result<Value, Vec<Refusal>>,
    trouble: Option<String>,
    /// It is an object that goes: what becomes of its image.
    deletion_policy: Option<DeletionPolicy>,
}

impl Planner {
    /// `is_watched`: somebody waits who wants to see how far it is.
    async fn plan(mut self, manifests: Vec<Value>, is_watched: bool) -> Plan {
        let (mut known, mut unknown, mut others) = (vec![], vec![], BTreeMap::new());
        for manifest in manifests {
            match definition(&manifest) {
                Some(crd) => known.push((crd, manifest)),
                None if is_of_our_group(&manifest) => unknown.push(manifest),
                None => {
                    *others.entry(manifest["kind"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
                }
            }
        }
        for (kind, count) in others {
            output::note(&format!("{count} of kind {kind} left out: nothing of this operator's"));
        }
        let mut rules = HashMap::new();
        for (crd, _) in &known {
            rules.entry(crd.spec.names.kind.clone()).or_insert_with(|| Rules::of(crd));
        }
        let progress = Progress::new("asking the API server", is_watched);
        let mut wanted = vec![];
        {
            let mut asked = stream::iter(&known)
                .map(|(crd, manifest)| self.wanted(crd, &rules[&crd.spec.names.kind], manifest))
                .buffered(ASKED);
            while let Some(one) = asked.next().await {
                wanted.push(one);
                progress.at(wanted.len() as u64, Some(known.len() as u64));
            }
        }
        drop(progress);
        let wanted = self.with_copies(wanted).await;
        for (why, (first, count)) in self.unasked.take() {
            let of = if count == 1 { first } else { format!("{first} and {} more", count - 1) };
            output::note(&format!("{of}: rules evaluated here, since {why}"));
        }
        for one in &wanted {
            self.open(one).await;
        }
        let looks = wanted.iter().map(|one| self.entry(one));
        let progress = Progress::new("asking the vendor", is_watched);
        let seen = |done: usize| progress.at(done as u64, Some(wanted.len() as u64));
        let looked = stream::iter(looks).buffered(LOOKED_AT).enumerate().map(|(index, entry)| {
            seen(index + 1);
            entry
        });
        let mut objects: Vec<_> = looked.collect().await;
        objects.extend(unknown.iter().map(|manifest| self.mistyped(manifest)));
        drop(progress);
        join_all(self.opened.values().flatten().map(|account| account.connection.close())).await;
        let (mut summary, mut calls) = (BTreeMap::new(), BTreeMap::new());
        for entry in &objects {
            *summary.entry(entry.verdict.action).or_insert(0) += 1;
            for call in &entry.verdict.calls {
                *calls.entry(call.clone()).or_insert(0) += 1;
            }
        }
        let rules = if self.cluster.is_some() {
            "the API server's (server-side dry run)"
        } else {
            "evaluated here (no cluster)"
        };
        Plan { objects, summary, calls, rules }
    }

    /// An ImageDistribution calls no vendor itself: what it would do is what the objects would do that it makes. They stand
    /// after it, and with them those that it would delete.
    async fn with_copies(&self, wanted: Vec<Wanted>) -> Vec<Wanted> {
        let (crd, rules) = (copies::crd(), OnceCell::new());
        let mut all = vec![];
        for one in wanted {
            let stored = one.stored.as_ref().ok().filter(|_| one.title.0 == copies::OWNER);
            let Some(copies) = stored.and_then(Copies::of) else {
                all.push(one);
                continue;
            };
            let mut owned = vec![];
            for manifest in &copies.manifests {
                let rules = rules.get_or_init(|| Rules::of(&crd));
                owned.push(self.wanted(&crd, rules, manifest).await.owned_by(one.current.as_ref()));
            }
            if let (Some(cluster), Some(there)) = (&self.cluster, &one.current) {
                match copies.leaving(cluster, there).await {
                    Ok(leaving) => owned
                        .extend(leaving.into_iter().map(|it| Wanted::leaving(it, copies.deletion_policy))),
                    Err(error) => {
                        let name = &one.title.2;
                        output::note(&format!(
                            "{name}: which of its copies would be deleted is not known: {error}"
                        ));
                    }
                }
            }
            all.push(one);
            all.extend(owned);
        }
        all
    }

    /// The group is ours, and the rest is not.
    fn mistyped(&self, manifest: &Value) -> Entry {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kinds: Vec<_> = CRDS
            .iter()
            .map(|crd| {
                let version =
                    crd.spec.versions.first().map(|version| version.name.clone()).unwrap_or_default();
                format!("{} ({}/{version})", crd.spec.names.kind, crd.spec.group)
            })
            .collect();
        let (version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
        let namespace = manifest["metadata"]["namespace"].as_str().map(Into::into);
        let sentence = format!("there is no kind {kind} in {version}; there are {}", kinds.join(", "));
        Entry {
            kind,
            namespace: namespace.or_else(|| self.default_namespace.clone()),
            name: text(&manifest["metadata"]["name"]),
            verdict: Verdict::refused(&[Refusal { field: "kind".into(), sentence }]),
        }
    }

    /// What the API server makes of a manifest.
    async fn wanted(&self, crd: &CustomResourceDefinition, rules: &Rules, manifest: &Value) -> Wanted {
        let is_namespaced = crd.spec.scope == "Namespaced";
        let own = manifest["metadata"]["namespace"].as_str().map(Into::into);
        let namespace = own.or_else(|| self.default_namespace.clone()).filter(|_| is_namespaced);
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut wanted = Wanted {
            kind: kind_of(manifest),
            title: (crd.spec.names.kind.clone(), namespace.clone(), name.clone()),
            current: None,
            stored: Ok(Value::Null),
            trouble: None,
            deletion_policy: None,
        };
        if name.is_empty() {
            let sentence = "is required: a plan cannot say what generateName would make".to_owned();
            wanted.stored = Err(vec![Refusal { field: "metadata.name".into(), sentence }]);
            return wanted;
        }
        let mut object = manifest.clone();
        if let Some(namespace) = &namespace {
            object["metadata"]["namespace"] = namespace.as_str().into();
        }
        let Some(cluster) = &self.cluster else {
            let object = rules.defaulted(&object);
            let refusals = rules.check(&object, None);
            wanted.stored = if refusals.is_empty() { Ok(object) } else { Err(refusals) };
            return wanted;
        };
        let api = cluster.in_namespace(crd, namespace.as_deref());
        match api.get_opt(&name).await {
            Ok(current) => wanted.current = current.and_then(|it| serde_json::to_value(it).ok()),
            Err(error) => {
                wanted.trouble = Some(super::said(&error));
                return wanted;
            }
        }
        match dry_run(&api, &name, &object, wanted.current.as_ref(), rules).await {
            Ok(answer) => wanted.stored = answer,
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                // Whoever may only read has the rules looked at here.
                let object = merged(&rules.defaulted(&object), wanted.current.as_ref());
                let refusals = rules.check(&object, wanted.current.as_ref());
                wanted.stored = if refusals.is_empty() { Ok(object) } else { Err(refusals) };
                let (kind, _, name) = &wanted.title;
                self.unasked
                    .borrow_mut()
                    .entry(status.message)
                    .or_insert_with(|| (format!("{kind}/{name}"), 0))
                    .1 += 1;
            }
            Err(error) => wanted.trouble = Some(super::said(&error)),
        }
        wanted
    }

    async fn open(&mut self, wanted: &Wanted) {
        let Some(key) = wanted.account() else { return };
        if !self.opened.contains_key(&key) {
            let opened = self.accounts.open(self.cluster.as_ref(), key.clone()).await;
            self.opened.insert(key.clone(), opened);
        }
        let user = (key, wanted.title.1.clone());
        if let Some(Ok(account)) = self.opened.get(&user.0)
            && !self.admitted.contains_key(&user)
        {
            let namespace = user.1.as_deref().unwrap_or_default();
            let admitted = account.admits(self.cluster.as_ref(), namespace).await;
            self.admitted.insert(user, admitted);
        }
    }

    async fn entry(&self, wanted: &Wanted) -> Entry {
        let (kind, namespace, name) = wanted.title.clone();
        Entry { kind, namespace, name, verdict: self.verdict(wanted).await }
    }

    async fn verdict(&self, wanted: &Wanted) -> Verdict {
        if let Some(trouble) = &wanted.trouble {
            return Verdict::unknown(trouble.clone());
        }
        let current = wanted.current.as_ref();
        let stored = match &wanted.stored {
            Ok(stored) => stored,
            Err(refusals) => return Verdict::refused(refusals),
        };
        if let Some(policy) = wanted.deletion_policy {
            return Verdict::deletion(stored, policy);
        }
        if let Some(verdict) = current.and_then(Verdict::of_deleting) {
            return verdict;
        }
        let changes = verdict::object_changes(current, stored);
        let Some(kind) = wanted.kind else { return Verdict::of_object(current.is_none(), changes) };
        if stored["spec"]["suspend"] == true {
            return Verdict::of_object(current.is_none(), changes).because("suspended: no call is made");
        }
        let account = wanted.account().and_then(|key| self.opened.get(&key));
        let mut note = None;
        if let Some(Ok(account)) = account {
            match self.admitted.get(&(account.key.clone(), wanted.title.1.clone())) {
                Some(Ok(false)) => {
                    let why = format!("{} does not allow this namespace (allowedNamespaces)", account.key);
                    return Verdict::blocked(changes, &why);
                }
                Some(Err(why)) => {
                    note = Some(format!("whether {} allows this namespace is not known: {why}", account.key));
                }
                _ => {}
            }
        }
        let look = match account {
            Some(Ok(account)) => kind.look(&account.connection, stored).await,
            Some(Err(error @ Error::NotFound(..))) if current.is_none() => {
                let verdict = if stored["spec"]["import"].is_object() {
                    Verdict::adopted()
                } else {
                    verdict::of(kind, current, stored, changes, Look::Free(vec![]))
                };
                return verdict.because(&format!("nobody looked at the vendor: {error}"));
            }
            Some(Err(error)) => return Verdict::unknown(error.to_string()),
            None => return Verdict::unknown("it names no account".into()),
        };
        match look {
            Ok(look) => {
                let verdict = verdict::of(kind, current, stored, changes, look);
                note.map_or(verdict.clone(), |note| verdict.because(&note))
            }
            Err(trouble) => Verdict::unknown(trouble.to_string()),
        }
    }
}

impl Wanted {
    /// An object that goes.
    fn leaving(object: Value, policy: DeletionPolicy) -> Self {
        Self {
            kind: kind_of(&object),
            title: title(&object),
            stored: Ok(object.clone()),
            current: Some(object),
            trouble: None,
            deletion_policy: Some(policy),
        }
    }

    /// A copy: one of that name that is not the owner's stays as it is, and is in the way.
    fn owned_by(mut self, owner: Option<&Value>) -> Self {
        if self.current.as_ref().is_some_and(|copy| !owner.is_some_and(|owner| copies::is_owned(copy, owner)))
        {
            let sentence =
                "there is an object of that name, which the ImageDistribution does not own".to_owned();
            self.stored = Err(vec![Refusal { field: "metadata.name".into(), sentence }]);
        } else if let (Ok(stored), Some(current)) = (&mut self.stored, &self.current) {
            // One copy may be stopped by itself, and take over what is there.
            if current["spec"]["suspend"] == true {
                stored["spec"]["suspend"] = true.into();
            }
            if let Some(import) = current["spec"].get("import") {
                stored["spec"]["import"] = import.clone();
            }
        }
        self
    }

    fn account(&self) -> Option<AccountKey> {
        let spec = &self.stored.as_ref().ok()?["spec"];
        self.kind?;
        let reference = serde_json::from_value(spec["accountRef"].clone()).unwrap_or_default();
        Some(AccountKey::of(&reference, self.title.1.as_deref().unwrap_or_default()))
    }
}

/// Kind, namespace and name of an object that is there.
fn title(object: &Value) -> (String, Option<String>, String) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let metadata = &object["metadata"];
    (
        text(&object["kind"]).unwrap_or_default(),
        text(&metadata["namespace"]),
        text(&metadata["name"]).unwrap_or_default(),
    )
}

/// Whether an object is meant for this operator, by its group.
fn is_of_our_group(manifest: &Value) -> bool {
    let group = manifest["apiVersion"].as_str().and_then(|version| version.split_once('/'));
    group.is_some_and(|(group, _)| CRDS.iter().any(|crd| crd.spec.group == group))
}

/// The CRD of an object of ours.
fn definition(manifest: &Value) -> Option<&'static CustomResourceDefinition> {
    let (group, version) = manifest["apiVersion"].as_str()?.split_once('/')?;
    CRDS.iter().find(|crd| {
        let is_served = || crd.spec.versions.iter().any(|served| served.name == version);
        manifest["kind"] == crd.spec.names.kind && crd.spec.group == group && is_served()
    })
}

/// The manifest's spec, and its labels and annotations among those that are there.
fn merged(manifest: &Value, current: Option<&Value>) -> Value {
    let Some(current) = current else { return manifest.clone() };
    let mut object = current.clone();
    object["spec"] = manifest["spec"].clone();
    for part in ["labels", "annotations"] {
        if let Some(given) = manifest["metadata"][part].as_object() {
            let there = object["metadata"][part].as_object().cloned().unwrap_or_default();
            let all: Map<_, _> = there.into_iter().chain(given.clone()).collect();
            object["metadata"][part] = all.into();
        }
    }
    object
}

/// The object as the API server would store it, or what it has against it.
async fn dry_run(
    api: &Api<DynamicObject>,
    name: &str,
    manifest: &Value,
    current: Option<&Value>,
    rules: &Rules,
) -> Result<Result<Value, Vec<Refusal>>, kube::Error> {
    let object = merged(manifest, current);
    // What is there already was admitted.
    if let Some(current) = current.filter(|current| rules.defaulted(&object) == **current) {
        return Ok(Ok(current.clone()));
    }
    let typed: DynamicObject = match serde_json::from_value(object) {
        Ok(typed) => typed,
        Err(error) => return Ok(Err(vec![Refusal { field: String::new(), sentence: error.to_string() }])),
    };
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let answer = match current {
        Some(_) => api.replace(name, &params, &typed).await,
        None => api.create(&params, &typed).await,
    };
    match answer {
        Ok(stored) => Ok(Ok(serde_json::to_value(stored).map_err(kube::Error::SerdeError)?)),
        Err(kube::Error::Api(status)) if status.code == 422 || status.code == 400 => {
            let causes = status.details.map(|details| details.causes).unwrap_or_default();
            let mut refusals: Vec<_> =
                causes.into_iter().map(|it| Refusal { field: it.field, sentence: it.message }).collect();
            if refusals.is_empty() {
                refusals.push(Refusal { field: String::new(), sentence: status.message });
            }
            Ok(Err(refusals))
        }
        Err(error) => Err(error),
    }
}

fn table(plan: &Plan) -> String {
    let mut text = String::new();
    for Entry { kind, namespace, name, verdict } in &plan.objects {
        let Verdict { action, reason, changes, calls, .. } = verdict;
        if *action == Action::Nothing && reason.is_none() {
            continue;
        }
        let (sign, style) = sign(*action);
        let place = namespace.as_deref().map(|namespace| format!("  -n {namespace}")).unwrap_or_default();
        let calls = if calls.is_empty() { String::new() } else { format!("  [{}]", calls.join(", ")) };
        text += &styled(style, &format!("{sign} {kind}/{name}: {}", action.word()));
        text += &(styled(QUIET, &format!("{place}{calls}")) + "\n");
        for Change { field, old, new } in changes {
            text += &format!("    {field}: {old} → {new}\n");
        }
        if let Some(reason) = reason {
            text += &format!("    {reason}\n");
        }
    }
    let counts: Vec<_> =
        plan.summary.iter().map(|(action, count)| format!("{count} {}", action.word())).collect();
    let is_quiet = plan.summary.keys().all(|action| *action == Action::Nothing);
    let head = if is_quiet { "Nothing to do".to_owned() } else { format!("Plan: {}", counts.join(", ")) };
    text += &styled(HEADING, &head);
    if is_quiet {
        text += &format!(": {} as the manifests say", plan.objects.len());
    }
    let calls: Vec<_> = plan.calls.iter().map(|(call, count)| format!("{call} {count}")).collect();
    let calls = if calls.is_empty() { "none".to_owned() } else { calls.join(", ") };
    text + &format!(
        ".\nCalls that create, change or delete something: {calls}. Rules of admission: {}.\n",
        plan.rules
    )
}

fn sign(action: Action) -> (char, Style) {
    match action {
        Action::Create => ('+', GOOD),
        Action::Adopt => ('<', GOOD),
        Action::Change => ('~', UNDER_WAY),
        Action::Replace | Action::Refused | Action::Blocked => ('!', BAD),
        Action::Unknown => ('?', BAD),
        Action::Delete => ('-', BAD),
        Action::Nothing => ('=', QUIET),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// To make a CRD takes longer than all else that is done with an object.
    #[test]
    fn a_definition_is_made_once_and_is_that_of_the_version() {
        let manifest = |version: &str, kind: &str| json!({ "apiVersion": version, "kind": kind });
        for crd in &*CRDS {
            let object = manifest("cloudimages.dev/v1alpha1", &crd.spec.names.kind);
            assert!(definition(&object).is_some_and(|found| std::ptr::eq(found, crd)), "{object}");
        }
        for (version, kind, is_ours) in [
            ("cloudimages.dev/v1alpha7", "ImageExport", true),
            ("cloudimages.dev/v1alpha1", "imageexport", true),
            ("cloudimages.dev/v1alpha1", "", true),
            ("apps/v1", "ImageExport", false),
            ("v1", "ConfigMap", false),
        ] {
            let object = manifest(version, kind);
            assert_eq!(
                (definition(&object).is_none(), is_of_our_group(&object)),
                (true, is_ours),
                "{object}"
            );
        }
    }
}
