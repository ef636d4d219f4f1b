//! `controlplane`: it works, several at once, and it never outlives its starter.

use std::env;
use std::io::{BufRead, BufReader, Write, stdin};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use xtask::controlplane::{self, ControlPlane};
use xtask::kubectl::Kubectl;

use crate::processes::{self, wait_until_gone, wait_until_nothing_is_left};
use crate::{XTASK, xtask};

/// A running control plane, and the process that we started for it.
struct Started {
    child: Child,
    kubectl: Kubectl,
    folder: PathBuf,
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill(); // a failed test; after a passed one it is long gone
        let _ = self.child.wait();
    }
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).spawn().expect("it starts")
}

/// Waits until it has printed its kubeconfig's path.
fn started(mut child: Child) -> Started {
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut lines = output.lines().map_while(Result::ok);
    let kubeconfig = lines.find(|line| line.ends_with(".kubeconfig")).expect("a kubeconfig");
    let kubeconfig = PathBuf::from(kubeconfig);
    let folder = kubeconfig.parent().expect("a folder").to_owned();
    Started { child, kubectl: Kubectl::new(kubeconfig).expect("a kubectl"), folder }
}

#[test]
fn two_at_once_work_apart_and_leave_nothing_when_killed_or_interrupted() {
    // One has a temporary folder whose path is too long for sockets, one takes its programs from a relative path.
    let home = tempfile::tempdir().unwrap();
    let deep = home.path().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    symlink(controlplane::programs().unwrap(), home.path().join("programs")).unwrap();
    let mut relative = xtask(&["controlplane"]);
    relative.current_dir(home.path()).env("KUBEBUILDER_ASSETS", "programs");
    let [mut killed, mut interrupted] =
        [start(xtask(&["controlplane"]).env("TMPDIR", deep)), start(&mut relative)].map(started);

    // They work, and they are two.
    killed.kubectl.run(["create", "namespace", "only-here"]).unwrap();
    killed.kubectl.run(["run", "pod", "--image=none"]).expect("a service account is there for pods");
    let namespaces = ["get", "namespaces", "--output=name"];
    assert!(killed.kubectl.run(namespaces).unwrap().contains("namespace/only-here"));
    assert!(!interrupted.kubectl.run(namespaces).unwrap().contains("namespace/only-here"));
    let answer = killed.kubectl.run(["auth", "can-i", "list", "pods", "--as=somebody"]).unwrap_err();
    assert!(answer.to_string().contains("can-i"), "RBAC lets nobody do anything by default: {answer}");

    for started in [&killed, &interrupted] {
        for program in ["/etcd", "/kube-apiserver", "/kube-controller-manager"] {
            let running = processes::of(&started.folder);
            assert!(running.iter().any(|one| one.line.contains(program)), "{program} is in {running:#?}");
        }
    }

    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    wait_until_nothing_is_left(&killed.folder);

    processes::signal(interrupted.child.id(), "INT");
    assert!(interrupted.child.wait().unwrap().success(), "an interrupt is how it is meant to end");
    wait_until_nothing_is_left(&interrupted.folder);
}

#[test]
fn it_ends_with_the_script_that_started_it() {
    crate::let_hangups_be_heard();
    let script = r#""$0" controlplane; echo "never the last command, or the shell would become it""#;
    let mut shell = started(start(Command::new("/bin/sh").args(["-c", script, XTASK])));
    let below = processes::below(shell.child.id());
    assert!(below.iter().any(|process| process.line.starts_with(XTASK)), "{below:#?}");
    shell.child.kill().unwrap();
    shell.child.wait().unwrap();
    wait_until_nothing_is_left(&shell.folder);
    wait_until_gone(&below);
}

#[test]
fn a_panic_of_its_holder_ends_it() {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "controlplane::holder_that_panics", "--ignored", "--nocapture"]);
    let mut holder = started(start(child.stdin(Stdio::piped()).stderr(Stdio::null())));
    assert!(!processes::of(&holder.folder).is_empty());
    drop(holder.child.stdin.take());
    assert_eq!(holder.child.wait().unwrap().code(), Some(101), "it panicked");
    wait_until_nothing_is_left(&holder.folder);
}

/// Not a test, but the process of the one above: holds a control plane until its input ends.
#[test]
#[ignore = "run by a_panic_of_its_holder_ends_it"]
fn holder_that_panics() {
    let control_plane = ControlPlane::start().unwrap();
    println!("\n{}", control_plane.kubeconfig().display());
    std::io::stdout().flush().unwrap();
    stdin().lock().lines().for_each(drop);
    panic!("with a control plane in hand");
}
