//! The control plane as the command that users run: it works, several at once, and it never outlives its starter.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use xtask::interrupt;
use xtask::kubectl::Kubectl;

/// A running `cargo xtask controlplane`.
struct Started {
    xtask: Child,
    kubectl: Kubectl,
    folder: PathBuf,
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.xtask.kill(); // a failed test; after a passed one it is long gone
        let _ = self.xtask.wait();
    }
}

fn start() -> Child {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("controlplane")
        .stdout(Stdio::piped())
        .spawn()
        .expect("xtask starts")
}

/// Waits until it has printed its kubeconfig's path.
fn started(mut xtask: Child) -> Started {
    let mut kubeconfig = String::new();
    let output = xtask.stdout.take().expect("a pipe");
    BufReader::new(output).read_line(&mut kubeconfig).expect("a line");
    let kubeconfig = PathBuf::from(kubeconfig.trim_end());
    let folder = kubeconfig.parent().expect("a folder").to_owned();
    Started { xtask, kubectl: Kubectl::new(kubeconfig).expect("a kubectl"), folder }
}

/// The running processes whose command line names the folder. (One that is dead and not yet reaped has none.)
fn processes(folder: &Path) -> Vec<String> {
    let listed = Command::new("ps").args(["-A", "-ww", "-o", "args="]).output().expect("ps runs");
    let folder = folder.to_str().expect("a readable path");
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter(|line| line.contains(folder))
        .map(Into::into)
        .collect()
}

fn wait_until_nothing_is_left(folder: &Path) {
    let limit = Duration::from_secs(30);
    let gone = interrupt::wait_for(limit, Duration::from_millis(20), || {
        Ok((processes(folder).is_empty() && !folder.exists()).then_some(()))
    });
    assert!(gone.unwrap().is_some(), "left: {:?}", processes(folder));
}

#[test]
fn two_at_once_work_apart_and_leave_nothing_when_killed_or_interrupted() {
    let [mut killed, mut interrupted] = [start(), start()].map(started);

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
            let running = processes(&started.folder);
            assert!(running.iter().any(|line| line.contains(program)), "{program} is in {running:?}");
        }
    }

    killed.xtask.kill().unwrap();
    killed.xtask.wait().unwrap();
    wait_until_nothing_is_left(&killed.folder);

    let pid = interrupted.xtask.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(interrupted.xtask.wait().unwrap().success(), "an interrupt is how it is meant to end");
    wait_until_nothing_is_left(&interrupted.folder);
}
