//! One object from applied to gone: created, changed, deleted, with an operator that is a process of its own and may be
//! killed at a request of each step. Nobody helps it.

use super::{
    gate::{Chance, Deed, Gate, Point, To},
    past::CLUSTER_ACCOUNT,
    proxies::Proxies,
};
use crate::{
    harness::{self, Program, World},
    subject::{self, Subject},
};
use cloud_image_operator::{
    distribution::ImageDistribution, engine::external::External, kinds::KINDS,
    vendors::aliyun::image_copy::AliyunImageCopy,
};
use futures::FutureExt;
use kube::CustomResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    any::Any, collections::BTreeMap, fs, net::SocketAddr, panic::AssertUnwindSafe, path::PathBuf,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::sleep;
use vendor_simulator::{Addresses, Change, Ledger};
use xtask::workspace;

/// For so long nothing must have been asked before a step counts as over: longer than Events and an account's numbers are
/// collected before they are written.
const QUIET: Duration = Duration::from_secs(3);

/// What owns objects of the kind [`COPY`], and calls no vendor itself.
pub const DISTRIBUTION: &str = "ImageDistribution";
pub const COPY: &str = "AliyunImageCopy";

/// One of each kind, and of what owns objects of a kind.
pub fn subjects() -> Vec<Subject> {
    let distribution = subject::of(&ImageDistribution::crd(), AliyunImageCopy::ACTION);
    subject::all(KINDS).into_iter().chain([distribution]).collect()
}

/// How many things the sample of a kind makes.
pub fn things(kind: &str) -> usize {
    if kind == DISTRIBUTION { 2 } else { 1 }
}

/// What is applied, the object last, whose account is of this kind.
pub fn documents(
    subject: &Subject,
    account: &str,
    namespace: &str,
    vendors: Addresses,
    number: usize,
) -> Vec<Value> {
    let mut documents = subject.documents_at(vendors, "proof", number);
    if account != CLUSTER_ACCOUNT {
        return documents;
    }
    // They are everybody's.
    let name = format!("of-{namespace}");
    for document in &mut documents {
        if document["kind"] == "CloudAccount" {
            document["kind"] = json!(CLUSTER_ACCOUNT);
            document["metadata"]["name"] = json!(name);
            for vendor in document["spec"].as_object_mut().expect("a spec").values_mut() {
                if let Some(secret) = vendor.get_mut("credentialsSecretRef") {
                    secret["namespace"] = json!(namespace);
                }
            }
            document["spec"]["allowedNamespaces"] = json!({ "names": [namespace] });
        } else if let Some(reference) = document.pointer_mut("/spec/accountRef") {
            *reference = json!({ "kind": CLUSTER_ACCOUNT, "name": name });
        }
    }
    documents
}

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// It is applied while no operator runs; then one starts.
    Start,
    /// It is applied.
    Create,
    /// Its spec is changed.
    Change,
    /// Its spec is changed in what the vendor cannot change, of which a new version is made; the one before is one too many.
    Bump,
    /// It is deleted.
    Delete,
}

impl Step {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Create => "create",
            Self::Change => "change",
            Self::Bump => "new version",
            Self::Delete => "delete",
        }
    }
}

/// One request, and what is done to it.
pub type Plan = Option<(Point, Deed)>;

/// What came of one step.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which.
    pub step: Step,
    /// What was to happen.
    pub plan: Plan,
    /// Whether it did: the operator may have had no reason for that request.
    pub reached: bool,
    /// The requests that were made in it until its end, or until the operator was killed.
    pub seen: Vec<(To, Point)>,
    /// Where the object arrived; or why that is not known.
    pub arrived: Result<Arrived, String>,
}

/// Where an object is after a step. Two lives of the same kind that went the same way are equal in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arrived {
    /// The object, without what differs from life to life. Null where it is gone.
    pub object: Value,
    /// The copies that a distribution owns, likewise, by name.
    pub owned: BTreeMap<String, Value>,
    /// Everything that the vendor ever did for it, by service and action.
    pub effects: BTreeMap<String, usize>,
    /// How many things the vendor ever made for it.
    pub made: usize,
    /// How many of them in each region, where the call that makes one names a region.
    pub regions: BTreeMap<String, usize>,
    /// How many of them are left.
    pub left: usize,
}

/// A life to be lived.
pub struct Life {
    world: World,
    subject: Subject,
    account: &'static str,
    number: usize,
    proxies: Proxies,
    operator: Operator,
    then: Vec<Deed>,
}

impl Life {
    /// Of a namespace of this name with vendors of its own.
    pub async fn begin(subject: &Subject, name: &str, number: usize) -> Self {
        let world = World::empty(name).await;
        world.quicken();
        let proxies = Proxies::start(world.vendor.addresses()).await;
        let operator = Operator::new(name, &proxies);
        let (subject, account) = (subject.clone(), "CloudAccount");
        Self { world, subject, account, number, proxies, operator, then: vec![] }
    }

    /// With an account of this kind.
    pub fn with_account(mut self, account: &'static str) -> Self {
        self.account = account;
        self
    }

    /// After what is planned for the creation was met, these are done to the next requests to the vendor.
    pub fn then(mut self, deeds: Vec<Deed>) -> Self {
        self.then = deeds;
        self
    }

    /// Lives it: the first step is `Start` or `Create`. After a step that went wrong, the others are not taken. Gives what came
    /// of each, and what was done to which requests.
    pub async fn live(
        mut self,
        plans: Vec<(Step, Plan)>,
        mut chance: Option<Chance>,
    ) -> (Vec<Ended>, Vec<(Point, Deed)>) {
        let mut ended: Vec<Ended> = vec![];
        for (step, plan) in plans {
            let mut reached = false;
            // Each step has its own luck.
            self.gate().tempt(chance.clone());
            if let Some(chance) = &mut chance {
                chance.seed = chance.seed.wrapping_add(1_000_003);
            }
            let taken = AssertUnwindSafe(self.take(step, plan.as_ref(), &mut reached)).catch_unwind().await;
            let arrived = taken.unwrap_or_else(|panic| Err(said(panic.as_ref())));
            let failed = arrived.is_err();
            ended.push(Ended { step, plan, reached, seen: self.gate().seen(), arrived });
            if failed {
                self.keep_logs();
                break;
            }
        }
        self.operator.kill().await;
        let hits = self.gate().hits();
        (ended, hits)
    }

    /// Through which its operator's requests pass, also while it is lived.
    pub fn shared_gate(&self) -> std::sync::Arc<Gate> {
        self.proxies.gate.clone()
    }

    fn gate(&self) -> &Gate {
        &self.proxies.gate
    }

    async fn take(
        &mut self,
        step: Step,
        plan: Option<&(Point, Deed)>,
        reached: &mut bool,
    ) -> Result<Arrived, String> {
        match step {
            Step::Start => self.apply().await,
            Step::Create => {
                self.operator.start(&self.proxies.gate);
                self.operator.until_it_watches(&self.proxies.gate).await?;
            }
            Step::Change | Step::Bump | Step::Delete => {}
        }
        let hit = self.gate().arm(plan.cloned());
        if step == Step::Create && plan.is_some() {
            self.gate().then(self.then.iter().copied());
        }
        match step {
            Step::Start => self.operator.start(&self.proxies.gate),
            Step::Create => self.apply().await,
            Step::Change => drop(self.world.patch(&self.subject.kind, &self.name(), self.change()).await),
            Step::Bump => drop(self.world.patch(&self.subject.kind, &self.name(), bump()).await),
            Step::Delete => self.world.delete(&self.subject.kind, &self.name()).await,
        }
        let name = self.name();
        if let Some((_, deed)) = plan {
            tokio::select! {
                hit = hit => *reached = hit.is_ok(),
                () = arrive(&self.world, &self.subject.kind, &name, &self.proxies.gate, step) => {}
            }
            if *reached && deed.kills() {
                self.proxies.gate.hold();
                self.operator.kill().await;
                self.operator.start(&self.proxies.gate);
            }
        }
        tokio::select! {
            () = arrive(&self.world, &self.subject.kind, &name, &self.proxies.gate, step) => {}
            () = self.operator.keep(&self.proxies.gate) => {}
        }
        Ok(self.arrived(step).await)
    }

    async fn arrived(&self, step: Step) -> Arrived {
        let object = match step {
            Step::Delete => Value::Null,
            _ => {
                self.world.get(&self.subject.kind, &self.name()).await.map_or(Value::Null, |it| essence(&it))
            }
        };
        let owned = if self.subject.kind == DISTRIBUTION { self.copies().await } else { BTreeMap::new() };
        let ledger = self.world.vendor.ledger();
        let made = subject::made(&ledger, self.subject.action);
        let left = made.iter().filter(|id| !subject::deleted(&ledger, id)).count();
        let regions = made_in(&ledger, self.subject.action);
        Arrived { object, owned, effects: ledger.effect_counts(), made: made.len(), regions, left }
    }

    async fn copies(&self) -> BTreeMap<String, Value> {
        let copies = self.world.list(COPY).await;
        copies.iter().map(|it| (text(&it["metadata"]["name"]), essence(it))).collect()
    }

    async fn apply(&self) {
        let Self { world, subject, account, proxies, number, .. } = self;
        for document in documents(subject, account, &world.namespace, proxies.vendors, *number) {
            world.create(document).await;
        }
    }

    fn name(&self) -> String {
        format!("{}-proof", self.subject.name)
    }

    fn change(&self) -> Value {
        let mut change = change(&self.subject.kind, "changed");
        if self.subject.kind == DISTRIBUTION {
            // One goes, one comes, and the one that stays is changed.
            change["spec"]["regions"] = json!([{ "regionId": "cn-shenzhen" }, { "regionId": "cn-chengdu" }]);
        }
        change
    }

    /// Where people find it.
    fn keep_logs(&self) {
        let hits: String =
            self.gate().hits().iter().map(|(point, deed)| format!("{point}: {deed:?}\n")).collect();
        let seen: String = self.gate().seen().iter().map(|(_, point)| format!("{point}\n")).collect();
        let calls = self.world.call_log().join("\n");
        let log = self.operator.log();
        let text = format!("{log}\n---- hits\n{hits}---- requests\n{seen}---- calls\n{calls}\n");
        let file = folder().join(format!("{}.log", self.world.namespace));
        let _ = fs::create_dir_all(folder()).and_then(|()| fs::write(file, text));
    }
}

/// What can be changed at the vendor, where anything can; else of the spec alone.
pub fn change(kind: &str, to: &str) -> Value {
    json!({ "spec": match kind {
        "ImageComponent" | "ImagePipeline" | "ImageBuild" | "AliyunImageCopy" | "ImageDistribution" => {
            json!({ "forProvider": { "tag": [{ "key": "team", "value": to }] } })
        }
        "AospImage" => json!({ "forProvider": { "imageAnnotation": to } }),
        "RootVolumeTemplate" => json!({ "forProvider": { "description": to } }),
        _ => json!({ "resyncInterval": "9h" }),
    } })
}

/// The policy comes with the edit, so that nothing is in the list of versions yet.
fn bump() -> Value {
    let parameters = json!({ "content": "RUN echo another" });
    json!({ "spec": { "versionPolicy": "Bump", "versionsToKeep": 1, "forProvider": parameters } })
}

/// Whether nothing is left but what `bump` has made, and all is well.
fn is_alone(object: &Value) -> bool {
    let versions = object["status"]["versions"].as_array().map_or(0, Vec::len);
    harness::is_ready(object) && versions == 1
}

/// Waits until the step is over and nothing is asked any more.
async fn arrive(world: &World, kind: &str, name: &str, gate: &Gate, step: Step) {
    loop {
        match step {
            Step::Delete => world.until_gone(kind, name).await,
            // What is too many goes when the newest is Ready; what keeps it is tried again by and by.
            Step::Bump => drop(world.until(kind, name, "only its newest version is left", is_alone).await),
            _ => drop(world.until_ready(kind, name).await),
        }
        match QUIET.checked_sub(gate.idle()).filter(|left| !left.is_zero()) {
            Some(left) => sleep(left).await,
            None => return,
        }
    }
}

/// The operator as a process behind the proxies, and whoever starts it again.
pub struct Operator {
    program: Option<Program>,
    folder: TempDir,
    arguments: Vec<String>,
    host: &'static str,
    logs: String,
}

impl Operator {
    /// Of one namespace; it does not run yet.
    pub fn new(namespace: &str, proxies: &Proxies) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        proxies.write_kubeconfig(&folder.path().join("kubeconfig"), namespace);
        let vendors = proxies.vendors;
        let mut arguments = vec![format!("--namespace={namespace}")];
        for address in [vendors.volcengine, vendors.aliyun_ecs, vendors.batchcompute, vendors.zstack] {
            arguments.push(format!("--allow-endpoint=http://{address}"));
        }
        Self { program: None, folder, arguments, host: "test", logs: String::new() }
    }

    /// One of several for a namespace, of which one at a time works, on a host of this name.
    pub fn replica(host: &'static str, namespace: &str, proxies: &Proxies) -> Self {
        let mut operator = Self::new(namespace, proxies);
        operator.arguments.push("--leader-elect".into());
        Self { host, ..operator }
    }

    /// It may call these, too.
    pub fn allow(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let allow = |address| format!("--allow-endpoint=http://{address}");
        self.arguments.extend(addresses.into_iter().map(allow));
    }

    /// Starts it.
    pub fn start(&mut self, gate: &Gate) {
        gate.open();
        let (environment, kubeconfig) = ([("HOSTNAME", self.host)], self.folder.path().join("kubeconfig"));
        self.program = Some(Program::start_in(&environment, &kubeconfig, &self.arguments, None));
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        let Some(program) = self.program.take() else { return };
        let (code, log) = program.stop().await;
        self.logs += &format!("{log}\n---- ended ({code:?})\n");
    }

    /// SIGTERM, and SIGKILL if it takes too long.
    pub async fn end(&mut self, gate: &Gate) {
        if let Some(program) = &self.program {
            program.terminate();
        }
        let ended = async {
            while self.program.as_mut().is_some_and(|program| !program.has_ended()) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(15), ended).await.is_err() {
            gate.hold();
        }
        self.kill().await;
    }

    /// Stops it where it is, unless it has ended by itself.
    pub fn pause(&mut self) {
        if let Some(program) = &mut self.program
            && !program.has_ended()
        {
            program.pause();
        }
    }

    /// Lets it go on.
    pub fn go_on(&mut self) {
        if let Some(program) = &mut self.program
            && !program.has_ended()
        {
            program.go_on();
        }
    }

    /// Starts it again whenever it ends by itself, as a kubelet does.
    pub async fn keep(&mut self, gate: &Gate) {
        loop {
            sleep(Duration::from_millis(250)).await;
            // None: whoever waited for its end did not wait until then.
            if self.program.as_mut().is_none_or(Program::has_ended) {
                self.kill().await;
                self.start(gate);
            }
        }
    }

    /// Waits until it looks after everything.
    pub async fn until_it_watches(&mut self, gate: &Gate) -> Result<(), String> {
        let watches = async {
            while !gate.seen().iter().any(|(_, point)| point.label == "WATCH rootvolumetemplates")
                || gate.idle() < Duration::from_secs(1)
            {
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = watches => Ok(()),
            () = self.keep(gate) => Ok(()),
            () = sleep(harness::PATIENCE) => Err("the operator never looked at the objects".into()),
        }
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        format!("{}{}", self.logs, self.program.as_ref().map(Program::log).unwrap_or_default())
    }
}

/// Where results and logs go.
pub fn folder() -> PathBuf {
    workspace::root().join("target/kill-points")
}

/// How many things a call made in each region that it names.
fn made_in(ledger: &Ledger, action: &str) -> BTreeMap<String, usize> {
    let mut regions = BTreeMap::new();
    for effect in ledger.effects_of(action).filter(|effect| effect.change == Change::Created) {
        let call = ledger.calls_of(action).find(|call| call.sequence == effect.call);
        if let Some(region) = call.and_then(|call| call.parameters.get("DestinationRegionId")) {
            *regions.entry(region.clone()).or_default() += 1;
        }
    }
    regions
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn said(panic: &(dyn Any + Send)) -> String {
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".into())
}

/// What must be the same whatever happened on the way.
pub fn essence(object: &Value) -> Value {
    let status = &object["status"];
    let of_condition = |type_: &str| {
        let condition = harness::condition(object, type_);
        json!([type_, condition["status"], condition["reason"]])
    };
    let conditions = ["Ready", "Reconciling", "Stalled"].map(of_condition);
    let has = ["imageId", "taskId", "artifact"].map(|field| status[field].is_string());
    let (mut at_provider, mut regions) = (status["atProvider"].clone(), status["regions"].clone());
    mask(&mut at_provider);
    mask(&mut regions);
    json!({
        "finalizers": object["metadata"]["finalizers"],
        "generation": object["metadata"]["generation"],
        "observedGeneration": status["observedGeneration"],
        "phase": status["phase"],
        "conditions": conditions,
        "state": status["operation"]["state"],
        "action": status["operation"]["action"],
        "has": has,
        "versions": status["versions"].as_array().map(|versions| versions.iter().map(|it| it["version"].clone()).collect::<Vec<_>>()),
        "atProvider": at_provider,
        "copies": status["copies"],
        "regions": regions,
    })
}

/// Ids, times and sizes differ from life to life; they are the words with a digit in them.
fn mask(value: &mut Value) {
    match value {
        Value::String(text) => {
            let is_word = |char: char| char.is_ascii_alphanumeric() || "-_:./".contains(char);
            let has_digit = |word: &str| word.bytes().any(|byte| byte.is_ascii_digit());
            let words = text.split_inclusive(|char| !is_word(char));
            *text = words.map(|word| if has_digit(word) { "*" } else { word }).collect();
        }
        Value::Number(number) if number.as_f64().is_some_and(|number| number > 1e6) => *value = json!("*"),
        Value::Array(values) => values.iter_mut().for_each(mask),
        Value::Object(values) => values.values_mut().for_each(mask),
        _ => {}
    }
}
