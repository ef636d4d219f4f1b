//! Any state to any state: whatever was applied before, an object ends where a fresh one with the last spec ends, at the vendor
//! and in its status; and a bad state is left again by applying a good one. The specs are made from each kind's schema.

use super::{
    edits::{self, Edit, Plan, Values},
    life::{self, COPY, DISTRIBUTION},
};
use crate::{
    harness::{World, condition},
    subject::{self, Subject},
};
use futures::future::join_all;
use serde_json::{Value, json};
use std::{env, time::Duration};
use tokio::time::{Instant, sleep};
use vendor_simulator::Simulator;

/// How long both may take to end at the same; longer than a young object waits for what it names, before that counts as missing.
const PATIENCE: Duration = Duration::from_secs(200);
/// For how long two that ended may differ in the same way before that counts: longer than the vendor is looked at again.
const CALM: Duration = Duration::from_secs(15);
const GLANCE: Duration = Duration::from_millis(200);
/// How often a sequence that went wrong is tried again without some of its edits.
const SHRINKINGS: usize = 40;
/// For how long; each try may wait in vain as long as [`PATIENCE`].
const SHRINKING: Duration = Duration::from_secs(300);

/// What is waited for without an end, rather than refused: nothing happens by itself any more.
const WAITS: &[&str] =
    &["AccountNotFound", "SecretNotFound", "ReferenceNotFound", "ImportNotFound", "NotFound"];

/// What may still arrive as long as an object is young, and is for a person to mend after that: a fresh object is younger.
const ARRIVES: &[&str] = &["AccountNotFound", "SecretNotFound", "ReferenceNotFound"];

/// An object that sequences of specs are applied to, and a fresh one, each with a vendor of its own. Both are called the
/// same, in two namespaces.
struct Pair<'a> {
    subject: &'a Subject,
    sides: [&'a World; 2],
    vendors: [Simulator; 2],
    run: usize,
}

/// Begins what will not change any more.
const FINAL: &str = "for good: ";

const OLD: usize = 0;
const FRESH: usize = 1;

/// What went wrong, in lines.
type Verdict = Result<(), String>;

impl Pair<'_> {
    fn name(&self) -> String {
        format!("{}-{}", self.subject.name, self.run)
    }

    /// The sample's spec, after the account and its Secret are made on both sides.
    async fn begin(&mut self) -> Value {
        self.run += 1;
        let mut spec = Value::Null;
        for side in [OLD, FRESH] {
            self.vendors[side].reset();
            World::quicken_at(&self.vendors[side]);
            let mut documents =
                self.subject.documents_at(self.vendors[side].addresses(), &self.run.to_string(), 1);
            let object = documents.pop().expect("an object");
            spec = object["spec"].clone();
            for mut document in documents {
                if document["kind"] != "Namespace" {
                    document["metadata"]["namespace"] = json!(self.sides[side].namespace);
                    // Samples share Secrets.
                    let _ = self.sides[side].try_create(document).await;
                }
            }
        }
        spec
    }

    async fn get(&self, side: usize) -> Option<Value> {
        self.sides[side].get(&self.subject.kind, &self.name()).await
    }

    /// Of the object, and of what it owns.
    async fn uids(&self, side: usize, object: &Value) -> Vec<String> {
        let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap_or("?").to_owned();
        let owner = uid(object);
        let owned =
            if self.subject.kind == DISTRIBUTION { self.sides[side].list(COPY).await } else { vec![] };
        let owned = owned.iter().filter(|it| it["metadata"]["ownerReferences"][0]["uid"] == *owner).map(uid);
        owned.chain([owner.clone()]).collect()
    }

    /// Applies a whole spec, or says why it is refused.
    async fn apply(&self, side: usize, spec: &Value) -> Verdict {
        let (world, kind, name) = (self.sides[side], &self.subject.kind, self.name());
        if self.get(side).await.is_none() {
            let object = json!({
                "apiVersion": "cloudimages.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec,
            });
            return world.try_create(object).await.map(drop);
        }
        let replace = json!([{ "op": "replace", "path": "/spec", "value": spec }]);
        world.try_json_patch(kind, &name, replace).await.map(drop)
    }

    async fn until(&self, what: &str, mut met: impl AsyncFnMut() -> Verdict) -> Verdict {
        let end = Instant::now() + PATIENCE;
        loop {
            let Err(why) = met().await else { return Ok(()) };
            if Instant::now() >= end || why.starts_with(FINAL) {
                let calls: Vec<_> = self.vendors.iter().map(calls).collect();
                return Err(format!("in vain waited until {what}: {why}\ncalls: {calls:#?}"));
            }
            sleep(GLANCE).await;
        }
    }

    async fn until_settled(&self, side: usize) -> Verdict {
        self.until("it is settled", async || {
            let object = self.get(side).await.unwrap_or_default();
            if is_settled(&object) { Ok(()) } else { Err(format!("{object:#}")) }
        })
        .await
    }

    async fn until_the_same(&self, what: &str) -> Verdict {
        let mut last = (String::new(), Instant::now());
        self.until(what, async || {
            let mut ends = vec![];
            let mut arrives = false;
            for side in [OLD, FRESH] {
                let object = self.get(side).await.unwrap_or_default();
                if !is_settled(&object) {
                    return Err(format!("{} is on its way: {object:#}", ["it", "the fresh one"][side]));
                }
                arrives |= waits_for_what_arrives(&object);
                let uids = self.uids(side, &object).await;
                ends.push(end(&object, &uids, &self.vendors[side], self.subject.action));
            }
            let difference = json_patch::diff(&ends[FRESH], &ends[OLD]);
            if difference.is_empty() {
                return Ok(());
            }
            let difference: String = difference.iter().map(|change| format!("\n  {change}")).collect();
            if last.0 != difference {
                last = (difference.clone(), Instant::now());
            }
            let why =
                format!("from the fresh one to this one:{difference}\nthe fresh one: {:#}", ends[FRESH]);
            Err(if last.1.elapsed() > CALM && !arrives { format!("{FINAL}{why}") } else { why })
        })
        .await
    }

    /// Applies a sequence to one object, and its last spec to another.
    async fn live(&mut self, plan: &Plan, count: &mut Counts) -> Verdict {
        let base = self.begin().await;
        let mut spec = edits::applied(&base, &plan.first, &plan.values);
        let mut good = None;
        if spec == base || self.apply(OLD, &spec).await.is_err() {
            spec = base.clone();
            self.apply(OLD, &spec).await.map_err(|refusal| format!("the sample is refused: {refusal}"))?;
        }
        for step in &plan.steps {
            if step.waits {
                self.until_settled(OLD).await?;
                if is_ready(&self.get(OLD).await.unwrap_or_default()) {
                    good = Some(spec.clone());
                }
            }
            let changed = edits::applied(&spec, &step.edits, &plan.values);
            match self.apply(OLD, &changed).await {
                Ok(()) => {
                    count.taken += 1;
                    spec = changed;
                }
                Err(refusal) if refusal.trim().is_empty() => return Err("refused without a reason".into()),
                Err(_) => count.refused += 1,
            }
        }
        // To be suspended is a pause rather than a place to be.
        let last = edits::applied(&spec, &[Edit::set("suspend", json!(false))], &plan.values);
        if last != spec {
            self.apply(OLD, &last)
                .await
                .map_err(|refusal| format!("suspend: false is refused: {refusal}"))?;
        }
        self.apply(FRESH, &last).await.map_err(|refusal| {
            format!("what it has come to is refused where nothing is there yet: {refusal}\n{last:#}")
        })?;
        self.until_the_same("both ended at the same").await?;

        let object = self.get(OLD).await.unwrap_or_default();
        if !is_ready(&object) {
            count.bad += 1;
            let good = good.unwrap_or(base);
            for side in [OLD, FRESH] {
                // While a call is under way, what it asks for cannot be changed, even if it is about to be refused once more.
                let leave = async || self.apply(side, &good).await;
                self.until("a bad state can be left", leave)
                    .await
                    .map_err(|why| format!("{why}\n{good:#}\nit is {object:#}"))?;
            }
            // What they wait for is there, even if both were looked at before their account was known.
            self.until("a good spec was applied, and both are Ready", async || {
                for side in [OLD, FRESH] {
                    let object = self.get(side).await.unwrap_or_default();
                    if !is_ready(&object) {
                        return Err(format!("{object:#}"));
                    }
                }
                Ok(())
            })
            .await?;
            self.until_the_same("both are as the good spec says").await?;
        }
        self.leave().await
    }

    /// Deletes both; the same must be left of them at their vendors.
    async fn leave(&self) -> Verdict {
        for side in [OLD, FRESH] {
            self.sides[side].try_delete(&self.subject.kind, &self.name()).await;
        }
        self.until("both are gone", async || {
            for side in [OLD, FRESH] {
                if let Some(object) = self.get(side).await {
                    return Err(format!("{object:#}"));
                }
            }
            Ok(())
        })
        .await?;
        let [old, fresh] = [OLD, FRESH].map(|side| left(&self.vendors[side], self.subject.action));
        if old != fresh {
            return Err(format!(
                "{old} are left of it, {fresh} of the fresh one; calls: {:#?}",
                calls(&self.vendors[OLD])
            ));
        }
        Ok(())
    }

    /// Whatever is left of a run that went wrong must not disturb the next one.
    async fn clear(&self) {
        for world in self.sides {
            if world.get(&self.subject.kind, &self.name()).await.is_some() {
                world.try_delete(&self.subject.kind, &self.name()).await;
                let none = json!({ "metadata": { "finalizers": null } });
                let _ = world.try_patch(&self.subject.kind, &self.name(), none).await;
            }
        }
    }

    /// The same fault by fewer edits, as far as there is time for it.
    async fn shrink(&mut self, mut plan: Plan, mut why: String) -> (Plan, String) {
        let mut left = SHRINKINGS;
        let mut progress = true;
        let end = Instant::now() + SHRINKING;
        while progress && left > 0 {
            progress = false;
            for smaller in plan.smaller() {
                if left == 0 || Instant::now() >= end {
                    break;
                }
                left -= 1;
                self.clear().await;
                if let Err(again) = self.live(&smaller, &mut Counts::default()).await {
                    (plan, why, progress) = (smaller, again, true);
                    break;
                }
            }
        }
        self.clear().await;
        (plan, why)
    }
}

#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    refused: usize,
    bad: usize,
}

fn calls(vendor: &Simulator) -> Vec<String> {
    let ledger = vendor.ledger();
    let line = |call: &vendor_simulator::Call| {
        format!("{} {} {:?} {:?}", call.time, call.action, call.status, call.code)
    };
    ledger.calls.iter().filter(|call| !call.action.is_empty()).map(line).collect()
}

fn is_ready(object: &Value) -> bool {
    crate::harness::is_ready(object)
}

/// Whether nothing happens by itself any more.
fn is_settled(object: &Value) -> bool {
    let ready = condition(object, "Ready");
    let waits = ready["reason"].as_str().is_some_and(|reason| WAITS.contains(&reason));
    // What is being built cannot be looked at by what the spec says wrong.
    let is_under_way = ["Submitting", "Building"].map(Value::from).contains(&object["status"]["phase"]);
    ready["observedGeneration"] == object["metadata"]["generation"]
        && (condition(object, "Stalled")["status"] == "True" || !is_under_way || waits)
        && (condition(object, "Reconciling")["status"] == "False" || waits)
}

/// Whether what an object names may be there and not be known yet: on a machine that is busy that takes seconds.
fn waits_for_what_arrives(object: &Value) -> bool {
    let reason = condition(object, "Ready")["reason"].clone();
    condition(object, "Stalled")["status"] != "True" && ARRIVES.iter().any(|arrives| reason == **arrives)
}

fn left(vendor: &Simulator, action: &str) -> usize {
    let ledger = vendor.ledger();
    subject::made(&ledger, action).iter().filter(|id| !subject::deleted(&ledger, id)).count()
}

/// Where an object is and what its vendor has of it, without ids and times.
fn end(object: &Value, uids: &[String], vendor: &Simulator, action: &str) -> Value {
    let status = &object["status"];
    let ids = ["imageId", "taskId"].map(|field| status[field].as_str().unwrap_or_default());
    // The task that made an image is history.
    let of_interest = ids.into_iter().find(|id| !id.is_empty());
    let copies = status["regions"].as_array().into_iter().flatten();
    let copies: Vec<_> = copies.filter_map(|row| row["imageId"].as_str()).collect();
    let of_condition = |type_: &str| {
        let condition = condition(object, type_);
        json!([type_, condition["status"], condition["reason"]])
    };
    let mut things = vec![];
    for (service, collections) in vendor.things().as_object().into_iter().flatten() {
        for (collection, rows) in collections.as_object().into_iter().flatten() {
            for row in rows.as_array().into_iter().flatten() {
                let id = row["id"].as_str().or(row["uuid"].as_str()).unwrap_or("?");
                if Some(id) == of_interest || copies.contains(&id) {
                    let mut row = row.clone();
                    // Whose copy was made first gets the first one's.
                    row["snapshots"].as_array_mut().into_iter().flatten().for_each(|id| *id = json!("(id)"));
                    things.push(json!([service, collection, row]));
                }
            }
        }
    }
    let mut conditions = ["Ready", "Reconciling", "Stalled"].map(of_condition).to_vec();
    if ARRIVES.iter().any(|reason| conditions[0][2] == **reason) {
        conditions.truncate(1);
    }
    let has = ids.map(|id| !id.is_empty());
    if !is_ready(object) {
        // What was there before stays where the new spec cannot be had.
        return json!({ "conditions": conditions });
    }
    let mut end = json!({
        "finalizers": object["metadata"]["finalizers"],
        "phase": status["phase"],
        "conditions": conditions,
        "state": status["operation"]["state"],
        "action": status["operation"]["action"],
        "has": has,
        "artifact": status["artifact"],
        "managedTags": status["managedTags"],
        "atProvider": status["atProvider"],
        "things": things,
        "left": left(vendor, action),
        "copies": [status["copies"], status["regions"]],
    });
    let hidden = ids.into_iter().chain(copies).chain(uids.iter().map(String::as_str));
    let hidden: Vec<_> = hidden.filter(|id| !id.is_empty()).collect();
    mask(&mut end, &hidden);
    // In which order copies are made is nobody's concern.
    if let Some(things) = end["things"].as_array_mut() {
        things.sort_by_key(Value::to_string);
    }
    end
}

/// Takes out what no two lives have in common: these ids, times, and what an attempt is numbered.
fn mask(value: &mut Value, ids: &[&str]) {
    match value {
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => *text = "(time)".into(),
        Value::String(text) => {
            for id in ids {
                *text = text.replace(id, "(id)");
            }
            if let Some((before, after)) = text.split_once("(id)-")
                && (before.is_empty() || before.ends_with('/'))
            {
                let after = after.trim_start_matches(|char: char| char.is_ascii_digit());
                *text = format!("{before}(id)-(attempt){after}");
            }
        }
        // Seconds since 1970, or sizes, which no spec has an influence on.
        Value::Number(number) if number.as_f64().is_some_and(|number| number > 1e9) => {
            *value = "(large)".into();
        }
        Value::Array(values) => values.iter_mut().for_each(|value| mask(value, ids)),
        Value::Object(values) => {
            // Vendors leave an empty text out, or do not.
            values.retain(|_, value| !value.is_null() && value != "");
            values.values_mut().for_each(|value| mask(value, ids));
        }
        _ => {}
    }
}

/// Lives so many sequences of each kind side by side.
async fn run(namespace: &str, seed: u64, sequences: usize, kinds: &str) {
    eprintln!("seed {seed}, {sequences} sequences for each kind");
    let subjects: Vec<_> = life::subjects()
        .into_iter()
        .filter(|subject| kinds.is_empty() || kinds.split(',').any(|kind| kind == subject.kind))
        .collect();
    let mut old = World::empty(namespace).await;
    let fresh = World::empty(&format!("{namespace}-fresh")).await;
    old.beat = Duration::from_secs(1);
    let mut vendors = vec![];
    for _ in 0..2 * sequences * subjects.len() {
        vendors
            .push(vendor_simulator::start(vendor_simulator::Options::default()).await.expect("a simulator"));
    }
    let endpoints: Vec<_> = vendors.iter().flat_map(World::endpoints_of).collect();
    let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
    old.start_operator_with(&[&fresh.namespace], &endpoints).await;
    let mut lives = vec![];
    for subject in &subjects {
        let values = Values::of(&subject.kind);
        for number in 0..sequences {
            let plan = Plan::new(seed, number, &values);
            let vendors = [vendors.pop().expect("a simulator"), vendors.pop().expect("a simulator")];
            // Runs are numbered so that no two have an object or an account in common.
            let run = (lives.len() + 1) * 1_000;
            let mut pair = Pair { subject, sides: [&old, &fresh], vendors, run };
            lives.push(async move {
                let mut count = Counts::default();
                let lived = pair.live(&plan, &mut count).await;
                let failure = match lived {
                    Ok(()) => None,
                    Err(why) => {
                        eprintln!(
                            "{} {number} of seed {seed} failed: {plan}\n{why}\nshrinking",
                            subject.kind
                        );
                        let (plan, why) = pair.shrink(plan, why).await;
                        Some(format!("{} {number} of seed {seed}: {plan}\n{why}", subject.kind))
                    }
                };
                (subject.kind.clone(), count, failure)
            });
        }
    }
    let mut total = std::collections::BTreeMap::<String, Counts>::new();
    let mut failures = vec![];
    for (kind, count, failure) in join_all(lives).await {
        let sum = total.entry(kind).or_default();
        sum.taken += count.taken;
        sum.refused += count.refused;
        sum.bad += count.bad;
        failures.extend(failure);
    }
    eprintln!("{total:#?}");
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
    for (kind, count) in total {
        assert!(
            count.taken + count.refused > sequences,
            "{kind}: hardly any spec is applied, so that little is tested"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_applied_before_the_last_spec_counts() {
    run("states", 1, 3, "").await;
}

/// `STATES_SEED`, `STATES` (how many sequences for each kind, 20 at a time) and `STATES_KINDS` choose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo xtask test --states"]
async fn any_state_to_any_state() {
    let number = |name: &str, default: u64| {
        env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
    };
    let kinds = env::var("STATES_KINDS").unwrap_or_default();
    let sequences = usize::try_from(number("STATES", 20)).unwrap_or(20);
    run("states-long", number("STATES_SEED", 2), sequences, &kinds).await;
}
