//! `cargo xtask demo`: the whole thing at work from a bare checkout, without an account at any vendor.

mod cluster;
mod progress;
pub(crate) mod services;
mod watch;

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::process::Process;
use crate::simulator::{self, Ports};
use crate::{controlplane, interrupt, kubectl, scratch, workspace};
use cluster::{Cluster, NAMESPACE};
use progress::Progress;
use services::OPERATOR;
use watch::{Change, Watch};

/// How long all samples together may take to be Ready. They take seconds; this is for slow machines.
const LIMIT: Duration = Duration::from_mins(5);

/// How often the programs are looked at while no object changes.
const LOOK: Duration = Duration::from_millis(100);

/// What the user chose.
#[derive(Args, Debug)]
pub struct Options {
    /// End as soon as every sample is Ready (exit code 0) instead of staying until interrupted.
    #[arg(long)]
    once: bool,
    /// Use this context of your kubeconfig instead of a control plane of the demo's own.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Run the programs as the last build left them. For tests: what runs them has just built them in its own way.
    #[arg(long, hide = true)]
    no_build: bool,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    // First what can be wrong at once.
    if options.context.is_none() {
        controlplane::expect_programs()?;
    }
    kubectl::expect_program()?;
    if !options.no_build {
        println!("Building the operator and the simulated vendors");
        let mut build = workspace::cargo();
        build.args(["build", "--package", OPERATOR, "--package", simulator::PROGRAM, "--bins"]);
        workspace::run(build)?;
    }
    let folder = scratch::folder("demo-")?;
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
    let mut simulator = simulator::start(&ports, folder)?;
    stage.say(&format!("The simulated vendors answer at {} (log: {})", ports.hosts(), simulator.log_path()));
    cluster.install_kinds()?;
    let mut operator = services::operator_of(&ports, &cluster, folder)?;
    stage.say(&format!("The operator runs (log: {})", operator.log_path()));

    let samples = services::samples(&ports, folder)?;
    let watch = Watch::start(&cluster, folder)?;
    let programs = [&mut simulator, &mut operator];
    let mut show = Show { stage, cluster: &cluster, programs, watch, progress: Progress::default() };
    let shown = show.all(&samples, options.once, &ports);
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
    /// The programs without which nothing more will happen.
    programs: [&'a mut Process; 2],
    watch: Watch,
    progress: Progress,
}

impl Show<'_> {
    fn all(&mut self, samples: &Path, once: bool, ports: &Ports) -> Result<()> {
        self.stage.say("Applying one sample of every kind");
        self.apply(samples)?;
        let objects = self.cluster.objects(samples)?;
        if objects.is_empty() {
            return Err(Error::Failed("deploy/samples has no objects for the operator".into()));
        }
        self.until_ready(&objects)?;
        let table = self.cluster.kubectl().run(["get", "cloudimages", "--all-namespaces"])?;
        println!("\n{}\n", table.trim_end());
        if once {
            println!("Every sample is Ready. Without --once the demo stays, so that you can look around.");
            return Ok(());
        }
        println!("{}\n", hints(self.cluster, ports, &objects));
        loop {
            match self.look() {
                Err(Error::Interrupted) => return Ok(()),
                other => other?,
            }
        }
    }

    /// Applies the samples, and shows meanwhile what that leads to.
    fn apply(&mut self, samples: &Path) -> Result<()> {
        let cluster = self.cluster;
        thread::scope(|scope| {
            let applying = scope.spawn(|| cluster.apply(samples));
            while !applying.is_finished() {
                self.look()?;
            }
            applying.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Shows each change until all of `objects` are Ready.
    fn until_ready(&mut self, objects: &[Value]) -> Result<()> {
        let end = Instant::now() + LIMIT;
        while !objects.iter().all(|object| self.progress.is_ready(object)) {
            self.look()?;
            if Instant::now() > end {
                return Err(self.not_ready(objects)?);
            }
        }
        Ok(())
    }

    /// Describes what is not Ready, in Kubernetes' words and in the operator's.
    fn not_ready(&self, objects: &[Value]) -> Result<Error> {
        for object in objects.iter().filter(|object| !self.progress.is_ready(object)) {
            println!("\n{}", self.cluster.describe(object)?.trim_end());
        }
        let [_, operator] = &self.programs;
        Ok(operator.failure(&format!("runs, but after {} s not every sample is Ready", LIMIT.as_secs())))
    }

    /// Shows the next change, or finds after a moment that there is none.
    fn look(&mut self) -> Result<()> {
        interrupt::check()?;
        match self.watch.next(LOOK)? {
            Some(change) if self.concerns(&change) => {
                if let Some(line) = self.progress.note(&change) {
                    self.stage.say(&line);
                }
            }
            Some(_) => {}
            None => self.programs.iter_mut().try_for_each(|program| program.expect_running())?,
        }
        Ok(())
    }

    /// Whether an object is the demo's business: in a user's cluster there may be others.
    fn concerns(&self, change: &Change) -> bool {
        let (Change::Seen(object) | Change::Gone(object)) = change;
        !self.cluster.is_users()
            || object["metadata"]["namespace"].as_str().is_none_or(|name| name == NAMESPACE)
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
