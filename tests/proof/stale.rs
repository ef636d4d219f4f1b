//! An API server that lags behind. The operator is started again and again, each time against one that shows another version of
//! the past, and holds back what happened since: as long as that lasts, nothing happens at the vendor; when it is over, each
//! object is where it was. And what came and went while nobody was told of it.

use super::{
    each_request::AROUND_THE_CALL,
    gate::{Cut, Deed, Point},
    life::{self, COPY, DISTRIBUTION, Operator, documents, things},
    past::{CLUSTER_ACCOUNT, History, Past, Version},
    proxies::Proxies,
};
use crate::{
    harness::{self, World, component},
    subject::{self, Subject},
};
use cloud_image_operator::kinds::KINDS;
use futures::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{collections::BTreeMap, env, time::Duration};
use tokio::time::{sleep, timeout};
use vendor_simulator::{Fault, FaultRule, When};

/// For so long the past is shown: long enough for every call that it is reason for.
const PAST: Duration = Duration::from_secs(3);

/// For so long nothing must have been asked before an operator counts as at rest.
const QUIET: Duration = Duration::from_millis(1500);

/// How an API server comes up to date.
#[derive(Clone, Copy, Debug)]
enum Switch {
    /// It tells all that it held back.
    CatchesUp,
    /// The connection ends, and another one answers, which is up to date.
    Another,
    /// Another one answers, which has not kept what was in between.
    Expired,
}

const SWITCHES: [Switch; 3] = [Switch::CatchesUp, Switch::Another, Switch::Expired];

/// The kinds of accounts.
const ACCOUNTS: [&str; 2] = ["CloudAccount", CLUSTER_ACCOUNT];

/// One object of a kind, and the vendors, proxies and operator around it.
struct Stage {
    world: World,
    subject: Subject,
    /// Of which kind its account is, what it is called, and its Secret.
    account: (&'static str, String, String),
    proxies: Proxies,
    operator: Operator,
    history: History,
    name: String,
    wrong: Vec<String>,
}

impl Stage {
    async fn begin(subject: &Subject, account: &'static str, namespace: &str) -> Self {
        let world = World::empty(namespace).await;
        world.quicken();
        let proxies = Proxies::start(world.vendor.addresses()).await;
        let operator = Operator::new(namespace, &proxies);
        let mut kinds = vec![&*subject.kind, account, "Secret"];
        if subject.kind == DISTRIBUTION {
            kinds.push(COPY);
        }
        let history = History::record(&world, &kinds);
        let name = format!("{}-proof", subject.name);
        let documents = documents(subject, account, namespace, proxies.vendors, 1);
        let account = (account, name_of(&documents, account), name_of(&documents, "Secret"));
        Self { world, subject: subject.clone(), account, proxies, operator, history, name, wrong: vec![] }
    }

    async fn apply(&self) {
        let Self { world, subject, proxies, .. } = self;
        for document in documents(subject, self.account.0, &world.namespace, proxies.vendors, 1) {
            world.create(document).await;
        }
    }

    fn start(&mut self) {
        self.operator.start(&self.proxies.gate);
    }

    /// Waits until it is Ready or gone, and nothing is asked any more; then the operator is killed.
    async fn settle(&mut self, gone: bool) {
        if gone {
            self.world.until_gone(&self.subject.kind, &self.name).await;
        } else {
            self.world.until_ready(&self.subject.kind, &self.name).await;
        }
        while self.proxies.gate.idle() < QUIET {
            sleep(Duration::from_millis(100)).await;
        }
        self.operator.kill().await;
    }

    fn effects(&self) -> BTreeMap<String, usize> {
        self.world.vendor.ledger().effect_counts()
    }

    /// The object, and what it owns.
    async fn object(&self) -> Value {
        let object = self.world.get(&self.subject.kind, &self.name).await;
        let Some(object) = object else { return Value::Null };
        let copies: Vec<_> = self.copies().await.iter().map(life::essence).collect();
        json!({ "object": life::essence(&object), "copies": copies })
    }

    async fn copies(&self) -> Vec<Value> {
        if self.subject.kind == DISTRIBUTION { self.world.list(COPY).await } else { vec![] }
    }

    async fn versions(&self) -> Vec<Version> {
        let (kind, account, secret) = &self.account;
        let copies = self.copies().await;
        let copies = copies.iter().filter_map(|copy| Some((COPY, copy["metadata"]["name"].as_str()?)));
        let of = [(&*self.subject.kind, &*self.name), (*kind, &**account), ("Secret", &**secret)];
        let of: Vec<_> = of.into_iter().chain(copies).collect();
        self.history.versions(&self.world, &of).await
    }

    /// Starts the operator against the past, of which it sees so many versions, and lets it see the rest after a while.
    /// `at_rest`: it has nothing left to do, once it sees everything.
    async fn see(&mut self, scene: &str, versions: &[Version], seen: usize, switch: Switch, at_rest: bool) {
        let plural = self.subject.plural.clone();
        let (before, object) = (self.effects(), self.object().await);
        let gate = self.proxies.gate.clone();
        gate.show(Some(self.history.past(versions, seen)));
        drop(gate.arm(None));
        self.start();
        let watch = format!("WATCH {plural}");
        let listed = async {
            while !gate.seen().iter().any(|(_, point)| point.label == watch) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(harness::PATIENCE, listed).await.expect("it reads the objects");
        sleep(PAST).await;
        let what = format!("{} {scene}, version {seen} of {}, {switch:?}", self.subject.kind, versions.len());
        // A copy that was not asked for may be, whatever is shown of the others.
        if (at_rest || self.subject.kind != DISTRIBUTION) && self.effects() != before {
            let (then, now) = (&before, self.effects());
            self.wrong.push(format!("{what}: the past had an effect at the vendor: {then:?}, then {now:?}"));
        }
        gate.show(None);
        match switch {
            Switch::CatchesUp => {}
            Switch::Another => gate.cut_watches(Cut::Gone),
            Switch::Expired => gate.cut_watches(Cut::Expired),
        }
        self.settle(at_rest && object.is_null()).await;
        if at_rest && (self.effects(), self.object().await) != (before.clone(), object.clone()) {
            let (effects, now) = (self.effects(), self.object().await);
            self.wrong.push(format!("{what}: was {before:?} {object:#}, then {effects:?} {now:#}"));
        }
    }

    /// Shows some pasts, one after the other: those that are `sharp`, and one by chance; or all.
    async fn see_pasts(
        &mut self,
        scene: &str,
        random: &mut StdRng,
        all: bool,
        sharp: impl Fn(&Value) -> bool,
    ) {
        let versions = self.versions().await;
        let is_sharp = |seen: usize| seen > 0 && versions[seen - 1].object.as_ref().is_some_and(&sharp);
        // With its copies it has many, so that of those each seed shows a third.
        let one_in = if self.subject.kind == DISTRIBUTION { 3 } else { 1 };
        let offset = random.random_range(0..one_in);
        let is_its_turn = |seen: usize| all && seen % one_in == offset;
        let mut chosen: Vec<_> =
            (0..versions.len()).filter(|seen| is_its_turn(*seen) || is_sharp(*seen)).collect();
        if !all {
            chosen = chosen.last().copied().into_iter().collect();
            chosen.push(random.random_range(0..versions.len()));
        }
        for seen in chosen {
            let switch = SWITCHES[random.random_range(0..SWITCHES.len())];
            self.see(scene, &versions, seen, switch, true).await;
        }
    }

    /// The call's answer was lost with the process, and what the next one sees may be older than the intent.
    async fn recovered(&mut self, random: &mut StdRng, all: bool) {
        let row = AROUND_THE_CALL.iter().find(|row| row.0 == self.subject.kind).expect("a row");
        let creating = Point { label: row.1.into(), nth: 1 };
        self.start();
        let gate = self.proxies.gate.clone();
        let hit = gate.arm(Some((creating, Deed::KillAfter)));
        self.apply().await;
        timeout(harness::PATIENCE, hit).await.expect("the creating call is made").expect("it is told");
        gate.hold();
        self.operator.kill().await;
        let versions = self.versions().await;
        let seen = random.random_range(0..versions.len());
        self.see("recovered", &versions, seen, SWITCHES[seen % SWITCHES.len()], false).await;
        let made = subject::made(&self.world.vendor.ledger(), self.subject.action).len();
        if made != things(&self.subject.kind) {
            self.wrong.push(format!("{} recovered, version {seen}: made {made}", self.subject.kind));
        }
        if all {
            self.see_pasts("recovered", random, true, |_| false).await;
        }
    }

    /// A look was asked for, and the spec changed since.
    async fn changed(&mut self, random: &mut StdRng, all: bool) {
        let kind = self.subject.kind.clone();
        self.start();
        self.world.request(&kind, &self.name, "now").await;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == "now";
        self.world.until(&kind, &self.name, "it was looked at", handled).await;
        self.world.patch(&kind, &self.name, life::change(&kind, "changed")).await;
        self.settle(false).await;
        let asked = |object: &Value| {
            !object["metadata"]["annotations"]["reconcile.cloudimages.dev/requested-at"].is_null()
                && !handled(object)
        };
        self.see_pasts("changed", random, all, asked).await;
    }

    /// The account and its Secret were changed, and the Secret was gone for a moment.
    async fn account_changed(&mut self, random: &mut StdRng, all: bool) {
        let (kind, account, secret) = self.account.clone();
        let mut again = self.world.get("Secret", &secret).await.expect("it is there");
        self.start();
        let labels = json!({ "metadata": { "labels": { "by": "somebody" } } });
        self.world.patch("Secret", &secret, labels.clone()).await;
        self.world.patch(kind, &account, labels).await;
        let limits =
            json!({ "spec": { "limits": [{ "action": "Another", "requests": 9, "period": "1s" }] } });
        self.world.patch(kind, &account, limits).await;
        let none = json!({ "metadata": { "finalizers": null } });
        self.world.patch(kind, &account, none).await;
        self.world.delete("Secret", &secret).await;
        let name = again["metadata"]["name"].clone();
        again["metadata"] = json!({ "name": name });
        self.world.create(again).await;
        self.world.request(&self.subject.kind, &self.name, "after").await;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == "after";
        self.world.until(&self.subject.kind, &self.name, "it was looked at", handled).await;
        self.settle(false).await;
        let bare = |object: &Value| object["kind"] == kind && object["metadata"]["finalizers"].is_null();
        self.see_pasts("account changed", random, all, bare).await;
    }

    /// An object whose deletion the vendor refuses is told to let go of what it has, which another of the same name takes over.
    async fn let_go(&mut self, random: &mut StdRng, all: bool) {
        let kind = self.subject.kind.clone();
        let object = self.world.get(&kind, &self.name).await.expect("it is there");
        self.start();
        let refusal = FaultRule::new(Fault::InternalError { effect: false }).when(When::always());
        self.world.vendor.set_faults(vec![refusal]);
        self.world.delete(&kind, &self.name).await;
        let goes = |object: &Value| object["status"]["phase"] == "Deleting";
        self.world.until(&kind, &self.name, "it goes", goes).await;
        self.world.patch(&kind, &self.name, json!({ "spec": { "deletionPolicy": "Retain" } })).await;
        self.world.until_gone(&kind, &self.name).await;
        self.world.vendor.set_faults(vec![]);
        self.world.create(taken_over(&object)).await;
        self.settle(false).await;
        let sharp = |object: &Value| goes(object) && object["spec"]["deletionPolicy"].is_null();
        self.see_pasts("let go", random, all, sharp).await;
    }

    /// It is deleted, and nobody asks for it any more.
    async fn deleted(&mut self, random: &mut StdRng, all: bool) {
        self.start();
        self.world.delete(&self.subject.kind, &self.name).await;
        self.settle(true).await;
        self.see_pasts("deleted", random, all, |_| false).await;
    }

    async fn play(mut self, seed: u64, all: bool) -> Vec<String> {
        let mut random = StdRng::seed_from_u64(seed);
        self.recovered(&mut random, all).await;
        self.changed(&mut random, all).await;
        if all {
            self.account_changed(&mut random, all).await;
        }
        if can_be_taken_over(&self.subject.kind) {
            self.let_go(&mut random, all).await;
        }
        if all {
            self.deleted(&mut random, all).await;
        }
        let made_once = things(&self.subject.kind);
        let stays = usize::from(self.subject.kind == "ImageExport");
        let ledger = self.world.vendor.ledger();
        let made = subject::made(&ledger, self.subject.action);
        let left = made.iter().filter(|id| !subject::deleted(&ledger, id)).count();
        let expected = (made_once, if all { stays } else { made_once });
        if (made.len(), left) != expected {
            self.wrong.push(format!("{}: made and left {:?}", self.subject.kind, (made.len(), left)));
        }
        if !self.wrong.is_empty() {
            eprintln!("{}", self.operator.log());
        }
        self.wrong
    }
}

/// What the one of a kind among documents is called.
fn name_of(documents: &[Value], kind: &str) -> String {
    let document = documents.iter().find(|document| document["kind"] == kind).expect("there is one");
    document["metadata"]["name"].as_str().expect("a name").to_owned()
}

/// What was exported cannot be taken over by the image that it was made of, and a distribution takes nothing over itself.
fn can_be_taken_over(kind: &str) -> bool {
    kind != "ImageExport" && kind != DISTRIBUTION
}

/// The same object anew, which takes over what the former one has.
fn taken_over(former: &Value) -> Value {
    let mut spec = former["spec"].clone();
    spec["import"] = json!({ "id": former["status"]["imageId"], "madeFor": former["metadata"]["uid"] });
    spec["deletionPolicy"] = json!("Delete");
    let name = &former["metadata"]["name"];
    json!({ "apiVersion": former["apiVersion"], "kind": former["kind"], "metadata": { "name": name }, "spec": spec })
}

async fn play(seed: u64, all: bool) -> Vec<String> {
    let subjects = life::subjects();
    // With another seed, each has an account of the other kind.
    let accounts = ACCOUNTS.iter().cycle().skip(usize::from(seed.is_multiple_of(2)));
    let kinds = env::var("STALE_KINDS").unwrap_or_default();
    let wanted = |kind: &str| kinds.is_empty() || kinds.split(',').any(|wanted| wanted == kind);
    let wanted = subjects.iter().zip(accounts).filter(|(subject, _)| wanted(&subject.kind));
    let plays = wanted.map(|(subject, account)| async move {
        let namespace = format!("stale-{seed}-{}", subject.kind.to_lowercase());
        Stage::begin(subject, account, &namespace).await.play(seed, all).await
    });
    join_all(plays).await.concat()
}

/// `STALE_SEED`: which pasts are shown; `STALE_KINDS`: of which kinds, all if empty.
fn seed() -> u64 {
    env::var("STALE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_at_the_vendor_upon_what_is_over() {
    let wrong = play(seed(), false).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The account named another vendor until a moment ago, and the API server still shows that. What it named is not called any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_of_yesterday_is_not_used() {
    let subjects = life::subjects();
    let switches = SWITCHES.iter().cycle();
    let plays =
        subjects.iter().zip(ACCOUNTS.iter().cycle()).zip(switches).map(async |((subject, kind), switch)| {
            let stage =
                Stage::begin(subject, kind, &format!("yesterday-{}", subject.kind.to_lowercase())).await;
            let yesterday = World::empty(&format!("before-{}", subject.kind.to_lowercase())).await;
            let Stage { world, proxies, history, mut operator, name, account: (_, account, _), .. } = stage;
            let vendors = yesterday.vendor.addresses();
            operator.allow([vendors.volcengine, vendors.aliyun_ecs, vendors.batchcompute, vendors.zstack]);
            let documents = |at| documents(subject, kind, &world.namespace, at, 1).into_iter();
            let is_object = |document: &Value| document["kind"] == *subject.kind;
            for document in documents(vendors).filter(|document| !is_object(document)) {
                world.create(document).await;
            }
            let versions = history.versions(&world, &[(kind, &account)]).await;
            let past = history.past(&versions, versions.len()).of(kind, &world.namespace);
            let now = documents(proxies.vendors).find(|document| document["kind"] == *kind);
            let spec = now.expect("an account")["spec"].clone();
            world
                .json_patch(kind, &account, json!([{ "op": "replace", "path": "/spec", "value": spec }]))
                .await;
            for document in documents(proxies.vendors).filter(is_object) {
                world.create(document).await;
            }
            let gate = proxies.gate.clone();
            gate.show(Some(past));
            operator.start(&gate);
            operator.until_it_watches(&gate).await.expect("it reads the objects");
            sleep(PAST).await;
            let called = || yesterday.vendor.ledger().calls.len();
            let what = format!("{} with a {kind}", subject.kind);
            assert_eq!(called(), 0, "{what}: {:?}", yesterday.vendor.ledger().calls);
            gate.show(None);
            match switch {
                Switch::CatchesUp => {}
                Switch::Another => gate.cut_watches(Cut::Gone),
                Switch::Expired => gate.cut_watches(Cut::Expired),
            }
            world.until_ready(&subject.kind, &name).await;
            let made = subject::made(&world.vendor.ledger(), subject.action).len();
            assert_eq!(made, things(&subject.kind), "{what}");
            assert_eq!(called(), 0, "{what}: {:?}", yesterday.vendor.ledger().calls);
            operator.kill().await;
        });
    join_all(plays).await;
}

/// Each version of each object's life, and of its account's and Secret's, from before it was there until it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes; cargo test --test proof -- --ignored every_version_of_the_past"]
async fn every_version_of_the_past() {
    let wrong = play(seed(), true).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An object is deleted and made anew while a pass over the former one waits for the vendor. What that pass takes afterwards it
/// takes for nobody, and it is not kept from the one that has the name now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_outlives_its_object_holds_nothing() {
    const LOOK: &str = "DescribeImageComponents";
    let world = World::empty("outlived").await;
    world.quicken();
    let proxies = Proxies::start(world.vendor.addresses()).await;
    let gate = proxies.gate.clone();
    let mut operator = Operator::new("outlived", &proxies);
    let subjects = subject::all(KINDS);
    let subject = subjects.iter().find(|subject| subject.kind == "ImageComponent").expect("a kind");
    subject.apply_at(&world, proxies.vendors, "proof", 1).await;
    let (kind, name) = (&*subject.kind, format!("{}-proof", subject.name));
    operator.start(&gate);
    world.until_ready(kind, &name).await;
    let former = world.patch(kind, &name, json!({ "spec": { "deletionPolicy": "Retain" } })).await;
    world.until_ready(kind, &name).await;
    world.delete(kind, &name).await;
    world.until_gone(kind, &name).await;
    let effects = world.vendor.ledger().effect_counts();

    drop(gate.arm(None));
    gate.keep_back(Some(LOOK));
    world.create(taken_over(&former)).await;
    let looks = async {
        while !gate.seen().iter().any(|(_, point)| point.label == LOOK) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(harness::PATIENCE, looks).await.expect("it looks at what it is to take over");
    world.delete(kind, &name).await;
    world.until_gone(kind, &name).await;
    world.create(taken_over(&former)).await;
    // Its operator has seen all that when it has seen this one.
    let mut last = component("last", json!({ "suspend": true }));
    last["spec"]["accountRef"] = former["spec"]["accountRef"].clone();
    world.create(last).await;
    world.until_condition(kind, "last", "Ready", "False", "Suspended").await;
    gate.keep_back(None);
    world.until_ready(kind, &name).await;
    assert_eq!(world.vendor.ledger().effect_counts(), effects);
    operator.kill().await;
}

/// Between two events of a watch, annotations, finalizers and specs come and go, and objects are deleted and made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_and_went_unseen_changes_nothing() {
    const SLEEPER: &str = "sleeper";
    let world = World::empty("unseen").await;
    world.quicken();
    let proxies = Proxies::start(world.vendor.addresses()).await;
    let gate = proxies.gate.clone();
    let mut operator = Operator::new("unseen", &proxies);
    let subjects = life::subjects();
    let kinds: Vec<_> = subjects.iter().map(|subject| &*subject.kind).collect();
    for subject in &subjects {
        subject.apply_at(&world, proxies.vendors, "proof", 1).await;
    }
    let name = |subject: &Subject| format!("{}-proof", subject.name);
    let mut sleeper = component(SLEEPER, json!({ "suspend": true }));
    let component = subjects.iter().find(|subject| subject.kind == "ImageComponent").expect("a kind");
    operator.start(&gate);
    for subject in &subjects {
        world.until_ready(&subject.kind, &name(subject)).await;
    }
    let owner = world.get(&component.kind, &name(component)).await.expect("it is there");
    sleeper["spec"]["accountRef"] = owner["spec"]["accountRef"].clone();
    world.create(sleeper.clone()).await;
    world.until_condition("ImageComponent", SLEEPER, "Ready", "False", "Suspended").await;
    let at_rest = async || {
        while gate.idle() < QUIET {
            sleep(Duration::from_millis(100)).await;
        }
    };
    at_rest().await;
    let effects = world.vendor.ledger().effect_counts();

    gate.show(Some(Past::unknown(&kinds, &world.namespace)));
    for subject in &subjects {
        let (kind, name) = (&*subject.kind, name(subject));
        let spec = world.get(kind, &name).await.expect("it is there")["spec"].clone();
        world.request(kind, &name, "asked").await;
        let annotations =
            json!({ "reconcile.cloudimages.dev/requested-at": null, "cloudimages.dev/outcome": "resubmit" });
        world.patch(kind, &name, json!({ "metadata": { "annotations": annotations } })).await;
        let none = json!({ "metadata": { "annotations": { "cloudimages.dev/outcome": null } } });
        world.patch(kind, &name, none).await;
        for finalizers in [
            json!(["cloudimages.dev/external", "example.com/theirs"]),
            json!(null),
            json!(["cloudimages.dev/external"]),
        ] {
            world.patch(kind, &name, json!({ "metadata": { "finalizers": finalizers } })).await;
        }
        world.patch(kind, &name, life::change(kind, "for-a-moment")).await;
        let back = json!([{ "op": "replace", "path": "/spec", "value": spec }]);
        world.json_patch(kind, &name, back).await;
    }
    gate.cut_watches(Cut::Expired);
    gate.show(None);
    for subject in &subjects {
        let object = world.until_ready(&subject.kind, &name(subject)).await;
        assert_eq!(object["metadata"]["finalizers"], json!(["cloudimages.dev/external"]), "{object:#}");
    }
    at_rest().await;
    assert_eq!(world.vendor.ledger().effect_counts(), effects);

    let replaced = || subjects.iter().filter(|subject| can_be_taken_over(&subject.kind));
    gate.show(Some(Past::unknown(&kinds, &world.namespace)));
    for subject in replaced() {
        let (kind, name) = (&*subject.kind, name(subject));
        let former = world.get(kind, &name).await.expect("it is there");
        world.patch(kind, &name, json!({ "metadata": { "finalizers": null } })).await;
        world.delete(kind, &name).await;
        world.create(taken_over(&former)).await;
    }
    world.delete("ImageComponent", SLEEPER).await;
    sleeper["spec"]["suspend"] = json!(false);
    world.create(sleeper).await;
    gate.cut_watches(Cut::Expired);
    gate.show(None);
    for subject in replaced() {
        world.until_ready(&subject.kind, &name(subject)).await;
    }
    world.until_ready("ImageComponent", SLEEPER).await;
    at_rest().await;
    let mut one_more = effects.clone();
    for (action, count) in &mut one_more {
        *count += usize::from(action.ends_with(component.action));
    }
    assert_eq!(world.vendor.ledger().effect_counts(), one_more);
    // What it has is made by the same call as another kind's things.
    let distribution = subjects.iter().find(|subject| subject.kind == DISTRIBUTION).expect("there is one");
    world.delete(DISTRIBUTION, &name(distribution)).await;
    world.until_gone(DISTRIBUTION, &name(distribution)).await;
    for subject in replaced() {
        world.delete(&subject.kind, &name(subject)).await;
        world.until_gone(&subject.kind, &name(subject)).await;
        let ledger = world.vendor.ledger();
        let left =
            subject::made(&ledger, subject.action).into_iter().filter(|id| !subject::deleted(&ledger, id));
        assert_eq!(left.count(), usize::from(subject.kind == "ImageComponent"), "{}", subject.kind);
    }
    operator.kill().await;
}
