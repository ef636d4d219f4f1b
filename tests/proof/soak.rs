//! Users of all kinds do what they may at random, while everything goes wrong at random that can: of two replicas, that which leads
//! is killed, stopped and started again, and both proxies and the vendors lose, delay, repeat, cut and replace answers. All the while
//! the vendors' ledger is compared with the objects; when everything is over and deleted, nothing is left.
//!
//! The same seed makes the same users, kills and faults; what meets what depends on the machine.

mod books;
mod deployment;
mod users;
mod weather;

use super::{proxies::Proxies, report};
use crate::harness::{World, account_at};
use books::{Books, Tally};
use cloud_image_operator::kinds;
use deployment::Deployment;
use indicatif::{ProgressBar, ProgressStyle};
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    env, fmt,
    io::{IsTerminal, stderr},
    path::PathBuf,
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use xtask::workspace;

/// All of them.
const KINDS: [&str; 9] = [
    "ImageComponent",
    "ImagePipeline",
    "ImageBuild",
    "AliyunImageCopy",
    "BatchComputeImage",
    "AospImage",
    "ImageExport",
    "RootVolumeTemplate",
    DISTRIBUTION,
];
const _: () = assert!(KINDS.len() == kinds::KINDS.len() + 1, "a kind is left out");

/// What owns images of the kind [`COPY`], one in each region of its list, and calls no vendor itself.
const DISTRIBUTION: &str = "ImageDistribution";
const COPY: &str = "AliyunImageCopy";

/// Where distributions may have copies.
const REGIONS: [&str; 4] = ["cn-shanghai", "cn-beijing", "cn-shenzhen", "cn-chengdu"];

/// For so long a lost call may still turn up in a vendor's list; longer than any lag that there is here.
const LIST_DELAY: &str = "5s";

/// How long an object may take for a step from when nothing goes wrong any more; it counts as lost after that.
const STEP: Duration = Duration::from_secs(300);

/// One run.
#[derive(Clone, Debug)]
struct Options {
    /// What all choices follow from.
    seed: u64,
    /// For how long users make new objects.
    lasts: Duration,
    /// How many there are.
    users: u64,
}

/// Everything of one run.
struct Soak {
    options: Options,
    world: World,
    proxies: Proxies,
    books: Books,
    over: CancellationToken,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// With which it can be repeated.
    pub seed: u64,
    /// For how long users made new objects.
    pub seconds: u64,
    /// How many users there were.
    pub users: u64,
    /// What they, the vendors and the weather did, and how often.
    pub tally: Tally,
    /// What must never be.
    pub violations: Vec<String>,
    /// What took longest to come to rest: for how many seconds, when it did, and what it said until then.
    pub slowest: Vec<(u64, String)>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_header(["", "what", "how often"]);
        for (group, rows) in &self.tally {
            for (what, count) in rows {
                table.add_row([group.as_str(), what, &count.to_string()]);
            }
        }
        writeln!(out, "{table}\nslowest to come to rest")?;
        self.slowest.iter().try_for_each(|(seconds, which)| writeln!(out, "{seconds} s, until {which}"))?;
        let (seed, seconds, users) = (self.seed, self.seconds, self.users);
        writeln!(out, "seed {seed}, {seconds} s, {users} users: {} violations", self.violations.len())?;
        self.violations.iter().try_for_each(|violation| writeln!(out, "- {violation}"))
    }
}

impl Soak {
    async fn begin(name: &str, options: Options) -> Self {
        eprintln!("SOAK_SEED={} SOAK_SECONDS={}", options.seed, options.lasts.as_secs());
        let world = World::empty(name).await;
        world.quicken();
        let proxies = Proxies::start(world.vendor.addresses()).await;
        for kind in KINDS {
            for mut object in account_at(kind, &kind.to_lowercase(), proxies.vendors) {
                if let Some(account) = object["spec"].get_mut("volcengine") {
                    account["acep"]["listDelay"] = json!(LIST_DELAY);
                    account["ecs"]["listDelay"] = json!(LIST_DELAY);
                }
                world.create(object).await;
            }
        }
        Self { options, world, proxies, books: Books::default(), over: CancellationToken::new() }
    }

    async fn run(self) -> Report {
        let mut deployment = Deployment::new(&self.world, &self.proxies).await;
        deployment.start(&self.proxies.gate);
        tokio::select! {
            () = self.go(&mut deployment) => {}
            () = self.books.keep(&self.world) => {}
        }
        deployment.kill().await;
        let log = deployment.log();
        if log.contains("panicked at") {
            self.books.violation("the operator panicked".into());
        }
        self.books.close(&self.world.vendor.ledger());
        let report = Report {
            seed: self.options.seed,
            seconds: self.options.lasts.as_secs(),
            users: self.options.users,
            tally: self.books.tally(),
            violations: self.books.violations(),
            slowest: self.books.slowest(),
        };
        report.keep(&log, &self.world.call_log());
        report
    }

    async fn go(&self, deployment: &mut Deployment) {
        let time = async {
            self.show_progress().await;
            self.over.cancel();
        };
        let users = (0..self.options.users).map(|number| users::live(self, number));
        let mut random = self.random(1 << 32);
        let users = async {
            tokio::join!(time, futures::future::join_all(users));
            // Whatever there is settles, and goes.
            users::end_everything(self).await;
        };
        let weather = async {
            weather::change(self, deployment, &mut random).await;
            weather::clear(self);
            deployment.keep(&self.proxies.gate).await;
        };
        tokio::select! {
            () = users => {}
            () = weather => {}
        }
    }

    fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Waits so long, or until all is over.
    async fn wait(&self, most: Duration) {
        tokio::select! {
            () = sleep(most) => {}
            () = self.over.cancelled() => {}
        }
    }

    fn random(&self, stream: u64) -> StdRng {
        StdRng::seed_from_u64(self.options.seed.wrapping_add(stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    async fn show_progress(&self) {
        let seconds = self.options.lasts.as_secs();
        let bar = ProgressBar::new(seconds);
        let style = ProgressStyle::with_template("{elapsed} {wide_bar} {percent} % {msg}");
        bar.set_style(style.expect("a style"));
        let begun = Instant::now();
        while begun.elapsed() < self.options.lasts {
            sleep(Duration::from_secs(1).min(self.options.lasts)).await;
            let elapsed = begun.elapsed().as_secs();
            bar.set_position(elapsed);
            bar.set_message(self.books.line());
            if !stderr().is_terminal() && elapsed.is_multiple_of(30) {
                eprintln!("{elapsed} of {seconds} s: {}", self.books.line());
            }
        }
        bar.finish_and_clear();
    }
}

impl Report {
    fn keep(&self, log: &str, calls: &[String]) {
        let folder = folder();
        let text = serde_json::to_string_pretty(self).expect("JSON");
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join("soak.json"), text))
            .and_then(|()| std::fs::write(folder.join("operator.log"), log))
            .and_then(|()| std::fs::write(folder.join("calls.log"), calls.join("\n")))
            .expect("the results are written");
    }
}

/// Where results and logs go.
pub fn folder() -> PathBuf {
    workspace::root().join("target/soak")
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// A little of it, each time with another seed; settling takes longer than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_nothing_is_made_twice_and_nothing_is_lost() {
    let options = Options {
        seed: number("SOAK_SEED").unwrap_or_else(|| rand::random_range(0..1_000_000)),
        lasts: Duration::from_secs(15),
        users: 8,
    };
    let report = Soak::begin("soak-short", options).await.run().await;
    assert!(report.violations.is_empty(), "{report}");
}

/// `cargo xtask soak`. `SOAK_SECONDS`, `SOAK_SEED`, `SOAK_USERS`; with `SOAK_PAGE`, the page is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as is asked for; cargo xtask soak"]
async fn soak() {
    let options = Options {
        seed: number("SOAK_SEED").unwrap_or_else(|| rand::random_range(0..1_000_000)),
        lasts: Duration::from_secs(number("SOAK_SECONDS").unwrap_or(600)),
        users: number("SOAK_USERS").unwrap_or(12),
    };
    let report = Soak::begin("soak", options).await.run().await;
    println!("{report}");
    if env::var_os("SOAK_PAGE").is_some() {
        report::write_soak(&report);
    }
    assert!(report.violations.is_empty(), "{} violations", report.violations.len());
}
