//! `cargo xtask demo`: the whole thing at work from a bare checkout, without an account at any vendor.

mod cluster;
mod progress;
mod services;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::error::{Doing, Error, Result};
use crate::process::Process;
use crate::{interrupt, workspace};
use cluster::{Cluster, NAMESPACE};
use progress::Progress;
use services::{OPERATOR, Ports, SIMULATOR};

/// How long all samples together may take to be Ready. They take seconds; this is for slow machines.
const LIMIT: Duration = Duration::from_mins(5);

/// How often the objects are looked at while something is awaited.
const LOOK: Duration = Duration::from_millis(400);

/// How often they are looked at afterwards.
const IDLE_LOOK: Duration = Duration::from_secs(2);

/// What the user chose.
#[derive(Args, Debug)]
pub struct Options {
    /// End as soon as every sample is Ready (exit code 0) instead of staying until interrupted.
    #[arg(long)]
    once: bool,
    /// Use this context of your kubeconfig instead of a control plane of the demo's own.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    println!("Building the operator and the simulated vendors");
    let mut build = workspace::cargo();
    build.args(["build", "--package", OPERATOR, "--package", SIMULATOR, "--bins"]);
    workspace::run(build)?;
    let folder = tempfile::Builder::new().prefix("demo-").tempdir().doing(|| "make a temporary folder")?;
    let played = play(options, folder.path());
    let has_logs = folder.path().join(services::OPERATOR_LOG).exists();
    if has_logs && played.as_ref().is_err_and(|error| !matches!(error, Error::Interrupted)) {
        eprintln!("The logs stay in {}", folder.keep().display());
    }
    played
}

fn play(options: &Options, folder: &Path) -> Result<()> {
    let stage = Stage::new();
    let cluster = match &options.context {
        Some(context) => Cluster::of_user(context, folder)?,
        None => Cluster::own()?,
    };
    stage.say(&format!("Kubernetes is there: {}", cluster.name()));

    // Locals end in reverse order: the operator first, while all that it needs is still there.
    let ports = Ports::choose()?;
    let mut simulator = services::simulator(&ports, folder)?;
    stage.say(&format!("The simulated vendors answer at {} (log: {})", ports.hosts(), simulator.log_path()));
    cluster.install_kinds()?;
    let mut operator = services::operator(&ports, &cluster, folder)?;
    stage.say(&format!("The operator runs (log: {})", operator.log_path()));

    let samples = services::samples(&ports, folder)?;
    let programs = [&mut simulator, &mut operator];
    let mut show =
        Show { stage, cluster: &cluster, samples: &samples, programs, progress: Progress::default() };
    let shown = show.all(options.once, &ports);
    cluster.tidy(&samples);
    shown
}

/// The seconds since the start, before each line.
struct Stage(Instant);

impl Stage {
    fn new() -> Self {
        Self(Instant::now())
    }

    fn say(&self, line: &str) {
        println!("{:>6.1} s  {line}", self.0.elapsed().as_secs_f64());
    }
}

/// What the user watches.
struct Show<'a> {
    stage: Stage,
    cluster: &'a Cluster,
    /// The folder of the manifests.
    samples: &'a Path,
    /// The programs without which nothing more will happen.
    programs: [&'a mut Process; 2],
    progress: Progress,
}

impl Show<'_> {
    fn all(&mut self, once: bool, ports: &Ports) -> Result<()> {
        self.cluster.apply(self.samples)?;
        self.stage.say("One sample of every kind is applied");
        let objects = self.until_ready()?;
        let table = self.cluster.kubectl().run(["get", "cloudimages", "--all-namespaces"])?;
        println!("\n{}\n", table.trim_end());
        if once {
            println!("Every sample is Ready. Without --once the demo stays, so that you can look around.");
            return Ok(());
        }
        println!("{}", hints(self.cluster, ports, &objects));
        self.stay()
    }

    /// Shows each change until every sample is Ready, and returns the samples' objects.
    fn until_ready(&mut self) -> Result<Vec<Value>> {
        let mut objects = Vec::new();
        let ready = interrupt::wait_for(LIMIT, LOOK, || {
            objects = self.cluster.objects(self.samples)?;
            self.look(&objects)?;
            Ok((!objects.is_empty() && objects.iter().all(progress::is_ready)).then_some(()))
        })?;
        if ready.is_some() {
            return Ok(objects);
        }
        for object in objects.iter().filter(|object| !progress::is_ready(object)) {
            println!("\n{}", self.cluster.describe(object)?.trim_end());
        }
        let [_, operator] = &self.programs;
        Err(operator.failure(&format!("runs, but after {} s not every sample is Ready", LIMIT.as_secs())))
    }

    /// Shows what happens to any image, until interrupted.
    fn stay(&mut self) -> Result<()> {
        loop {
            let looked = self.cluster.images().and_then(|objects| self.look(&objects));
            match looked.and_then(|()| interrupt::pause(IDLE_LOOK)) {
                Err(Error::Interrupted) => return Ok(()),
                other => other?,
            }
        }
    }

    fn look(&mut self, objects: &[Value]) -> Result<()> {
        for line in self.progress.changes(objects) {
            self.stage.say(&line);
        }
        self.programs.iter_mut().try_for_each(|program| program.expect_running())
    }
}

/// The commands to look around with.
fn hints(cluster: &Cluster, ports: &Ports, objects: &[Value]) -> String {
    let kubectl = cluster.kubectl();
    // One that was built is in no PATH, so its whole path is part of the commands.
    let program = match kubectl.program() {
        built if cluster::is_on_path(built) => "kubectl".to_owned(),
        built => built.display().to_string(),
    };
    let sample = objects.iter().find(|object| cluster::is_image(object));
    let kind = sample.and_then(|sample| sample["kind"].as_str()).unwrap_or("imagecomponent").to_lowercase();
    let name = sample.and_then(|sample| sample["metadata"]["name"].as_str()).unwrap_or("hello");
    let lines = [
        format!("export KUBECONFIG={}", kubectl.kubeconfig().display()),
        format!("{program} get cloudimages --all-namespaces"),
        format!("{program} explain {kind}.spec.forProvider"),
        format!("{program} describe {kind} --namespace {NAMESPACE} {name}"),
        format!("{program} delete {kind} --namespace {NAMESPACE} {name}"),
        format!("curl http://{}/_sim/ledger", ports.admin()),
    ];
    format!("Look around from another terminal:\n\n  {}\n\nCtrl-C ends everything.", lines.join("\n  "))
}
