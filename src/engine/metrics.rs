//! What people on call are told in numbers. Everything here is counted where it happens or read at a scrape from what is
//! in memory anyway; labels take values that the code, or the number of kinds and accounts, bounds.

use super::{
    accounts::{AccountKey, Accounts},
    limits::Budget,
};
use crate::wire::CallError;
use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, text},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Mutex, PoisonError, Weak, atomic::AtomicU64},
    time::Duration,
};
use tokio::time::Instant;

/// The prefix of every name.
const PREFIX: &str = "cloud_image_operator";
/// Where accounts without a label value of their own are counted.
const OTHER: &str = "other";
/// How many reasons of one kind are told apart at most: there are far fewer, and a status can be written by others.
const REASONS: usize = 64;

type Real = Gauge<f64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Labels: a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Objects {
    kind: String,
    phase: String,
    account: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reasons {
    kind: String,
    reason: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transitions {
    kind: String,
    to: &'static str,
    reason: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Drift {
    kind: String,
    field: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Calls {
    vendor: &'static str,
    action: String,
    outcome: &'static str,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Action {
    vendor: &'static str,
    action: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Account {
    account: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Quotas {
    account: String,
    vendor: &'static str,
    action: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Writes {
    verb: &'static str,
    resource: String,
    code: String,
}
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// One object, as far as it is counted.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its phase, in a word.
    pub phase: String,
    /// The account that it names.
    pub account: Option<AccountKey>,
    /// Why it is Stalled, if it is.
    pub stalled: Option<String>,
    /// Since when it is on the way, if it is.
    pub waiting_since: Option<Timestamp>,
}

/// One account, as far as it is counted.
#[derive(Clone, Debug)]
pub struct AccountFacts {
    /// Which one.
    pub key: AccountKey,
    /// Since when it is there.
    pub created: Option<Timestamp>,
    /// Since when it has its credentials.
    pub credentials_since: Option<Timestamp>,
    /// Why images cannot use it, if they cannot.
    pub unusable: Option<String>,
    /// Its vendor.
    pub vendor: &'static str,
    /// How much each action may be used, and is.
    pub budgets: Vec<Budget>,
}

/// A family of metrics, for the table in the documentation.
#[derive(Clone, Debug)]
pub struct Described {
    /// As it is scraped, with the prefix.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub type_: &'static str,
    /// The names of its labels.
    pub labels: &'static str,
    /// What it counts.
    pub help: String,
}

/// All metrics of one operator.
pub struct Metrics {
    registry: Registry,
    described: Vec<Described>,
    /// How many accounts have a label value of their own.
    most_accounts: usize,
    sources: Mutex<Vec<Weak<Accounts>>>,
    scraping: Mutex<()>,
    objects: Family<Objects, Gauge>,
    stalled: Family<Reasons, Gauge>,
    unclear: Family<Kind, Gauge>,
    oldest: Family<Kind, Real>,
    credentials: Family<Account, Real>,
    accounts: Family<Reason, Gauge>,
    quotas: Family<Quotas, Real>,
    rates: Family<Quotas, Real>,
    transitions: Family<Transitions, Counter>,
    drift: Family<Drift, Counter>,
    creations: Histograms<Kind>,
    calls: Family<Calls, Counter>,
    durations: Histograms<Action>,
    waits: Histograms<Action>,
    waiting: Family<Action, Gauge>,
    batches: Histograms<Kind>,
    passes: Histograms<Kind>,
    running: Family<Kind, Gauge>,
    writes: Family<Writes, Counter>,
    leads: Gauge,
    shards: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(100)
    }
}

fn histograms<L: Clone + std::hash::Hash + Eq>(make: fn() -> Histogram) -> Histograms<L> {
    Family::new_with_constructor(make)
}

/// Registers and describes.
struct Registrar {
    registry: Registry,
    described: Vec<Described>,
}

impl Registrar {
    fn add<M>(&mut self, name: &str, labels: &'static str, help: &str, metric: M) -> M
    where
        M: Metric + EncodeMetric + Clone,
    {
        let (type_, suffix) = match metric.metric_type() {
            MetricType::Counter => ("counter", "_total"),
            MetricType::Gauge => ("gauge", ""),
            MetricType::Histogram => ("histogram", ""),
            _ => ("info", "_info"),
        };
        let described =
            Described { name: format!("{PREFIX}_{name}{suffix}"), type_, labels, help: help.into() };
        self.described.push(described);
        self.registry.register(name, help, metric.clone());
        metric
    }
}

impl Metrics {
    /// `most_accounts` is how many accounts have a label value of their own; all others are `other`.
    #[expect(clippy::too_many_lines, reason = "one entry for each family")]
    pub fn new(most_accounts: usize) -> Self {
        let mut to = Registrar { registry: Registry::with_prefix(PREFIX), described: vec![] };
        to.described.push(Described {
            name: format!("{PREFIX}_build_info"),
            type_: "info",
            labels: "version",
            help: "The version of the operator".into(),
        });
        let build = Build { version: env!("CARGO_PKG_VERSION") };
        to.registry.register("build", "The version of the operator", Info::new(build));
        Self {
            leads: to.add(
                "leader",
                "",
                "1 for the replica that works, 0 for one that stands by; with shards, how many the replica looks after",
                Gauge::default(),
            ),
            shards: to.add(
                "shards",
                "",
                "Into how many shards the work is divided: as many must have a leader",
                Gauge::default(),
            ),
            objects: to.add(
                "objects",
                "kind, phase, account",
                "Image objects, by kind, phase and account",
                Family::default(),
            ),
            stalled: to.add(
                "stalled_objects",
                "kind, reason",
                "Image objects that do not go on without a person or a new spec, by the reason of their Stalled condition",
                Family::default(),
            ),
            unclear: to.add(
                "unclear_objects",
                "kind",
                "Image objects whose creating call was made and whose outcome only a person can find out",
                Family::default(),
            ),
            oldest: to.add(
                "oldest_waiting_object_age_seconds",
                "kind",
                "For how long the object that has been on its way for longest has been; 0 when none is",
                Family::default(),
            ),
            transitions: to.add(
                "transitions",
                "kind, to, reason",
                "Transitions of image objects, by the state entered and the reason",
                Family::default(),
            ),
            drift: to.add(
                "drift_corrections",
                "kind, field",
                "Fields that somebody else changed at the vendor and that were set as the spec says, by kind and field of spec.forProvider",
                Family::default(),
            ),
            creations: to.add(
                "creation_to_ready_seconds",
                "kind",
                "Time from the creation of an object until it was Ready",
                histograms(|| {
                    Histogram::new([5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0])
                }),
            ),
            calls: to.add(
                "vendor_calls",
                "vendor, action, outcome",
                "Calls to vendors, by outcome class",
                Family::default(),
            ),
            durations: to.add(
                "vendor_call_duration_seconds",
                "vendor, action",
                "Duration of calls to vendors",
                histograms(|| Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0])),
            ),
            waits: to.add(
                "rate_limit_wait_seconds",
                "vendor, action",
                "How long calls waited for the account's rate limit, or behind a throttle of the vendor's",
                histograms(|| Histogram::new([0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0])),
            ),
            waiting: to.add(
                "rate_limit_waiting_calls",
                "vendor, action",
                "Calls that wait for the account's rate limit now: the depth of the queue",
                Family::default(),
            ),
            quotas: to.add(
                "rate_limit_used_ratio",
                "account, vendor, action",
                "How much of the account's limit for the action is used up, where 1 is all of it",
                Family::default(),
            ),
            rates: to.add(
                "rate_limit_calls_per_second",
                "account, vendor, action",
                "How many calls of the action the account may make in a second: the limit that the vendor publishes or the account \
                 sets, or less where throttled answers have taught so; none where nothing is known",
                Family::default(),
            ),
            batches: to.add(
                "batch_fill_ratio",
                "kind",
                "How full the shared calls were that look at several objects, where 1 is a full batch",
                histograms(|| Histogram::new([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])),
            ),
            credentials: to.add(
                "credentials_age_seconds",
                "account",
                "For how long an account has had the credentials that it has",
                Family::default(),
            ),
            accounts: to.add(
                "unusable_accounts",
                "reason",
                "Accounts that images cannot use, by the reason of their Ready condition",
                Family::default(),
            ),
            passes: to.add(
                "reconcile_duration_seconds",
                "kind",
                "Duration of passes over image objects",
                histograms(|| Histogram::new([0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0])),
            ),
            running: to.add(
                "reconciles_running",
                "kind",
                "Passes over image objects under way now",
                Family::default(),
            ),
            writes: to.add(
                "api_server_write_failures",
                "verb, resource, code",
                "Writes to the API server that failed, by HTTP status code, which is none where there was no answer; 409, \
                 somebody else wrote meanwhile, is part of the work",
                Family::default(),
            ),
            most_accounts,
            sources: Mutex::default(),
            scraping: Mutex::default(),
            registry: to.registry,
            described: to.described,
        }
    }

    /// All families, in the order in which they are served.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// The documentation's table of all families.
    pub fn table(&self) -> String {
        let mut table = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
        for Described { name, type_, labels, help } in &self.described {
            let labels: Vec<_> = labels.split(", ").filter(|label| !label.is_empty()).collect();
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            table += &format!("| `{name}` | {type_} | {} | {help} |\n", labels.join(", "));
        }
        table
    }

    /// From now on, what is in memory about these accounts and their objects is read at each scrape.
    pub fn observe(&self, accounts: Weak<Accounts>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.retain(|source| source.strong_count() > 0);
        sources.push(accounts);
    }

    /// OpenMetrics text.
    pub fn open_metrics(&self) -> String {
        let _one = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Who led, and stands by now, has nothing to count any more.
        if !sources.is_empty() {
            let sources: Vec<_> = sources.iter().filter_map(Weak::upgrade).collect();
            let facts: Vec<_> = sources.iter().flat_map(|accounts| accounts.facts()).collect();
            let kinds = sources.iter().flat_map(|accounts| accounts.index().facts()).collect();
            self.count(&facts, kinds, Timestamp::now());
        }
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    /// The older text format, for whoever does not ask for OpenMetrics: `curl`, and tools that check what is served.
    pub fn text(&self) -> String {
        classic(&self.open_metrics())
    }

    fn count(&self, accounts: &[AccountFacts], kinds: Vec<(String, Vec<Facts>)>, now: Timestamp) {
        let labels = labels(accounts, self.most_accounts);
        let label = |key: Option<&AccountKey>| {
            key.and_then(|key| labels.get(key)).cloned().unwrap_or_else(|| OTHER.to_owned())
        };
        self.objects.clear();
        self.stalled.clear();
        self.unclear.clear();
        self.oldest.clear();
        self.credentials.clear();
        self.accounts.clear();
        self.quotas.clear();
        self.rates.clear();
        let age = |since: Timestamp| now.duration_since(since).as_secs_f64().max(0.0);
        let mut oldest = BTreeMap::<String, f64>::new();
        for (kind, objects) in kinds {
            let unclear = objects.iter().filter(|object| object.phase == "Unclear").count();
            let of_kind = Kind { kind: kind.clone() };
            self.unclear.get_or_create(&of_kind).inc_by(i64::try_from(unclear).unwrap_or(i64::MAX));
            let longest = oldest.entry(kind.clone()).or_default();
            for Facts { phase, account, waiting_since, .. } in &objects {
                let (phase, account) = (phase.clone(), label(account.as_ref()));
                self.objects.get_or_create(&Objects { kind: kind.clone(), phase, account }).inc();
                *longest = longest.max(waiting_since.map_or(0.0, age));
            }
            for (reason, count) in bounded(objects.into_iter().filter_map(|object| object.stalled)) {
                self.stalled.get_or_create(&Reasons { kind: kind.clone(), reason }).inc_by(count);
            }
        }
        for (kind, longest) in oldest {
            self.oldest.get_or_create(&Kind { kind }).set(longest);
        }
        // Of those that have no label value of their own, the highest counts.
        let highest = |gauge: &Real, value: f64| {
            gauge.set(gauge.get().max(value));
        };
        for (reason, count) in bounded(accounts.iter().filter_map(|account| account.unusable.clone())) {
            self.accounts.get_or_create(&Reason { reason }).inc_by(count);
        }
        for account in accounts {
            let name = label(Some(&account.key));
            if let Some(since) = account.credentials_since {
                highest(&self.credentials.get_or_create(&Account { account: name.clone() }), age(since));
            }
            for Budget { action, used, rate } in &account.budgets {
                let labels = Quotas { account: name.clone(), vendor: account.vendor, action: action.clone() };
                if let Some(used) = used {
                    highest(&self.quotas.get_or_create(&labels), *used);
                }
                if let Some(rate) = rate {
                    highest(&self.rates.get_or_create(&labels), *rate);
                }
            }
        }
    }

    /// A pass over an object begins; it ends when this is dropped.
    pub fn pass(&self, kind: &str) -> Pass {
        let kind = Kind { kind: kind.into() };
        let running = self.running.get_or_create_owned(&kind);
        running.inc();
        Pass { running, duration: self.passes.get_or_create_owned(&kind), began: Instant::now() }
    }

    /// A transition has been stored.
    pub(super) fn transition(&self, kind: &str, to: &'static str, reason: &str) {
        let labels = Transitions { kind: kind.into(), to, reason: reason.into() };
        self.transitions.get_or_create(&labels).inc();
    }

    /// A field was set right that somebody else had changed; `None`: one that the kind does not name as one that can be.
    pub(super) fn drift(&self, kind: &str, field: Option<&'static str>) {
        let labels = Drift { kind: kind.into(), field: field.unwrap_or(OTHER) };
        self.drift.get_or_create(&labels).inc();
    }

    /// An object that was created then is Ready now.
    pub(super) fn ready(&self, kind: &str, created: Timestamp) {
        let taken = Timestamp::now().duration_since(created).as_secs_f64().max(0.0);
        self.creations.get_or_create(&Kind { kind: kind.into() }).observe(taken);
    }

    /// A call to a vendor.
    pub fn call<T>(&self, vendor: &'static str, action: &str, took: Duration, answer: &Result<T, CallError>) {
        let outcome = answer.as_ref().map_or_else(CallError::reason, |_| "ok");
        self.calls.get_or_create(&Calls { vendor, action: action.into(), outcome }).inc();
        self.durations.get_or_create(&Action { vendor, action: action.into() }).observe(took.as_secs_f64());
    }

    /// A call begins to wait for its account's rate limit; it does until this is dropped.
    pub fn wait(&self, vendor: &'static str, action: &str) -> Wait {
        let labels = Action { vendor, action: action.into() };
        let waiting = self.waiting.get_or_create_owned(&labels);
        waiting.inc();
        Wait { waiting, duration: self.waits.get_or_create_owned(&labels), began: Instant::now() }
    }

    /// A shared call looked at so many things, of so many that it could have.
    pub fn batch(&self, kind: &str, size: usize, most: usize) {
        let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let kind = Kind { kind: kind.into() };
        self.batches.get_or_create(&kind).observe(count(size) / count(most.max(1)));
    }

    /// A request to the API server has been answered, or not (`None`).
    pub fn api_request(&self, method: &http::Method, path: &str, status: Option<http::StatusCode>) {
        let verb = match *method {
            http::Method::POST => "create",
            http::Method::PUT => "update",
            http::Method::PATCH => "patch",
            http::Method::DELETE => "delete",
            _ => return,
        };
        if status.is_some_and(|status| status.is_success()) {
            return;
        }
        let code = status.map_or_else(|| "none".to_owned(), |status| status.as_u16().to_string());
        self.writes.get_or_create(&Writes { verb, resource: resource(path), code }).inc();
    }

    /// Into how many shards the work is divided.
    pub fn divided(&self, shards: u32) {
        self.shards.set(shards.into());
    }

    /// This replica works, or looks after one more shard, until this is dropped.
    pub fn leads(&self) -> Leading {
        self.leads.inc();
        Leading(self.leads.clone())
    }
}

/// A replica works, or looks after a shard.
#[derive(Debug)]
pub struct Leading(Gauge);

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A pass over an object, under way.
pub struct Pass {
    running: Gauge,
    duration: Histogram,
    began: Instant,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.running.dec();
        self.duration.observe(self.began.elapsed().as_secs_f64());
    }
}

/// A call that waits for its account's rate limit.
pub struct Wait {
    waiting: Gauge,
    duration: Histogram,
    began: Instant,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waiting.dec();
        self.duration.observe(self.began.elapsed().as_secs_f64());
    }
}

/// How often each reason comes, and all others beyond so many.
fn bounded(reasons: impl Iterator<Item = String>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for reason in reasons {
        let known = counts.len() < REASONS || counts.contains_key(&reason);
        *counts.entry(if known { reason } else { OTHER.into() }).or_default() += 1;
    }
    counts
}

/// The label values of the accounts that have one of their own: those that are there for longest, so that the series of
/// one do not come and go with others.
fn labels(accounts: &[AccountFacts], most: usize) -> HashMap<AccountKey, String> {
    let mut oldest: Vec<_> =
        accounts.iter().map(|account| (account.created, account.key.to_string(), &account.key)).collect();
    oldest.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    oldest.into_iter().take(most).map(|(_, _, key)| (key.clone(), key.label())).collect()
}

/// The resource that a request to the API server is about, such as `imagecomponents/status`.
fn resource(path: &str) -> String {
    let mut parts = path.trim_start_matches('/').split('/').skip_while(|part| !part.starts_with('v')).skip(1);
    let mut first = parts.next().unwrap_or_default();
    if first == "namespaces" {
        let name = parts.next();
        match parts.next() {
            Some(within) => first = within,
            None => return name.map_or("", |_| "namespaces").into(),
        }
    }
    match (parts.next(), parts.next()) {
        (Some(_), Some(part)) => format!("{first}/{part}"),
        _ => first.into(),
    }
}

/// OpenMetrics as the older text format: the names of families are those of their samples, and there are no other types
/// than it knows.
fn classic(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let lines: Vec<_> = open.lines().collect();
    let mut types = HashMap::new();
    for line in &lines {
        if let Some((name, type_)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            types.insert(name, type_);
        }
    }
    let suffix = |name: &str| match types.get(name) {
        Some(&"counter") => "_total",
        Some(&"info") => "_info",
        _ => "",
    };
    for line in lines {
        let words: Vec<_> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "EOF"] | ["#", "UNIT", ..] => continue,
            ["#", "HELP", name, help] => out += &format!("# HELP {name}{} {help}", suffix(name)),
            ["#", "TYPE", name, "info"] => out += &format!("# TYPE {name}_info gauge"),
            ["#", "TYPE", name, type_] => out += &format!("# TYPE {name}{} {type_}", suffix(name)),
            _ => out += line,
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::AccountKind;
    use http::{Method, StatusCode};

    fn account(name: &str, second: i64) -> AccountFacts {
        let key = AccountKey {
            kind: AccountKind::CloudAccount,
            namespace: Some("images".into()),
            name: name.into(),
        };
        let created = Timestamp::from_second(second).ok();
        AccountFacts {
            key,
            created,
            credentials_since: created,
            unusable: None,
            vendor: "vendor",
            budgets: vec![Budget {
                action: "Create".into(),
                used: Some(f64::from(u32::try_from(second).unwrap()) / 10_000.0),
                rate: None,
            }],
        }
    }

    #[test]
    fn thousands_of_accounts_make_no_more_series_than_allowed_and_none_is_lost() {
        let metrics = Metrics::new(3);
        let accounts: Vec<_> = (0..5000).rev().map(|second| account(&format!("a{second}"), second)).collect();
        let object = |account: &AccountFacts| Facts {
            phase: "Building".into(),
            account: Some(account.key.clone()),
            stalled: Some(format!("Reason{}", account.key.name)),
            waiting_since: account.created,
        };
        let objects: Vec<_> = accounts.iter().map(object).collect();
        metrics.count(&accounts, vec![("Kind".into(), objects)], Timestamp::from_second(6000).unwrap());
        let text = metrics.text();
        let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
        let objects = lines("cloud_image_operator_objects{");
        assert_eq!(objects.len(), 4, "{objects:#?}");
        let other = r#"cloud_image_operator_objects{kind="Kind",phase="Building",account="other"} 4997"#;
        assert!(objects.contains(&other), "{objects:#?}");
        let oldest = r#"cloud_image_operator_objects{kind="Kind",phase="Building",account="images/a0"} 1"#;
        assert!(objects.contains(&oldest), "{objects:#?}");
        assert_eq!(lines("cloud_image_operator_stalled_objects{").len(), REASONS + 1);
        assert_eq!(
            lines("cloud_image_operator_oldest_waiting_object_age_seconds"),
            [r#"cloud_image_operator_oldest_waiting_object_age_seconds{kind="Kind"} 6000.0"#]
        );
        let quotas = lines("cloud_image_operator_rate_limit_used_ratio{account=\"other\"");
        assert_eq!(quotas.len(), 1);
        assert!(quotas[0].ends_with(" 0.4999"), "{quotas:?}");
        assert_eq!(lines("cloud_image_operator_credentials_age_seconds{").len(), 4);
        // What is gone is not shown any more.
        metrics.count(&[], vec![("Kind".into(), vec![])], Timestamp::now());
        let text = metrics.text();
        assert!(!text.contains("images/a0") && !text.contains("phase="), "{text}");
        assert!(text.contains("cloud_image_operator_unclear_objects{kind=\"Kind\"} 0"), "{text}");
    }

    #[test]
    fn failed_writes_are_counted_by_resource_and_code_and_reads_are_not() {
        let metrics = Metrics::default();
        let status = "/apis/cloudimages.dev/v1alpha1/namespaces/images/imagecomponents/hello/status";
        metrics.api_request(&Method::PATCH, status, Some(StatusCode::UNPROCESSABLE_ENTITY));
        metrics.api_request(&Method::PATCH, status, Some(StatusCode::OK));
        metrics.api_request(&Method::GET, status, None);
        metrics.api_request(&Method::POST, "/apis/events.k8s.io/v1/namespaces/images/events", None);
        let text = metrics.text();
        let failures: Vec<_> = text.lines().filter(|line| line.contains("write_failures_total{")).collect();
        assert_eq!(failures.len(), 2, "{failures:#?}");
        assert!(text.contains(r#"{verb="patch",resource="imagecomponents/status",code="422"} 1"#), "{text}");
        assert!(text.contains(r#"{verb="create",resource="events",code="none"} 1"#), "{text}");
        for (path, name) in [
            ("/api/v1/namespaces/images", "namespaces"),
            ("/api/v1/namespaces/images/secrets/keys", "secrets"),
            ("/apis/cloudimages.dev/v1alpha1/clustercloudaccounts/a/status", "clustercloudaccounts/status"),
            ("/apis/coordination.k8s.io/v1/namespaces/v1/leases/x", "leases"),
            ("", ""),
        ] {
            assert_eq!(resource(path), name, "{path}");
        }
    }

    #[test]
    fn both_formats_say_the_same() {
        let metrics = Metrics::default();
        metrics.call("vendor", "Create", Duration::from_secs(1), &Ok(()));
        let _leading = metrics.leads();
        let (open, text) = (metrics.open_metrics(), metrics.text());
        assert!(
            open.ends_with("# EOF\n") && open.contains("# TYPE cloud_image_operator_vendor_calls counter")
        );
        assert!(text.contains("# TYPE cloud_image_operator_vendor_calls_total counter\n"), "{text}");
        assert!(text.contains("# HELP cloud_image_operator_build_info "), "{text}");
        assert!(text.contains("# TYPE cloud_image_operator_build_info gauge\n"), "{text}");
        let samples = |text: &str| {
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(samples(&open), samples(&text));
    }
}
