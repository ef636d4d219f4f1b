//! The control plane's programs are not there: what is said, and what ends the building of them.

use std::env;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStderr, Command, Stdio};

use tempfile::TempDir;

use crate::processes::{self, Process, signal, wait_until_gone};
use crate::{XTASK, xtask};

#[test]
fn without_go_one_sentence_says_so_before_anything_is_built() {
    let empty = tempfile::tempdir().unwrap();
    for command in ["controlplane", "demo", "test"] {
        for assets in [None, Some("")] {
            let mut xtask = xtask(&[command]);
            xtask.env("PATH", empty.path()).env("XDG_CACHE_HOME", empty.path());
            match assets {
                Some(folder) => xtask.env("KUBEBUILDER_ASSETS", folder),
                None => xtask.env_remove("KUBEBUILDER_ASSETS"),
            };
            let output = xtask.output().unwrap();
            assert!(!output.status.success());
            assert_eq!(String::from_utf8_lossy(&output.stdout), "");
            let said = String::from_utf8(output.stderr).unwrap();
            let needs = "error: etcd has to be built and Go is not installed: install Go ";
            assert!(said.starts_with(needs) && said.lines().count() == 1, "{command}: {said}");
            assert!(said.contains("https://go.dev/dl/") && said.contains("KUBEBUILDER_ASSETS"), "{said}");
        }
    }
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing was begun");
}

/// `controlplane` with an empty cache and a Go that says where it is and never finishes.
struct Building {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    _folder: TempDir,
}

impl Building {
    const GO: &str = "#!/bin/sh\n[ \"$1\" = version ] || { echo some/package >&2; exec sleep 100; }\n";

    fn start(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        fs::write(&go, Self::GO).unwrap();
        fs::set_permissions(&go, Permissions::from_mode(0o700)).unwrap();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = [folder.path().to_owned()].into_iter().chain(env::split_paths(&path));
        let mut child = command
            .env("PATH", env::join_paths(path).unwrap())
            .env("XDG_CACHE_HOME", folder.path())
            .env_remove("KUBEBUILDER_ASSETS")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut building = Self { child, said, _folder: folder };
        let first = "control plane: building etcd (1 of 3); this happens once";
        assert_eq!(building.line(), first);
        building
    }

    fn line(&mut self) -> String {
        self.said.next().expect("a line").unwrap()
    }

    /// Waits until it has said that it is still at it.
    fn go_on(&mut self) {
        let line = self.line();
        let start = "control plane: building etcd (1 of 3), ";
        assert!(line.starts_with(start) && line.ends_with(" s (some/package)"), "{line}");
    }

    fn below(&self) -> Vec<Process> {
        processes::below(self.child.id())
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn building_says_how_it_goes_and_can_be_interrupted() {
    let mut building = Building::start(xtask(&["controlplane"]));
    building.go_on();
    let below = building.below();
    assert!(below.iter().any(|process| process.line == "sleep 100"), "{below:#?}");
    signal(building.child.id(), "INT");
    assert_eq!(building.child.wait().unwrap().code(), Some(130));
    wait_until_gone(&below);
}

#[test]
fn the_end_of_the_terminal_is_an_interrupt() {
    crate::let_hangups_be_heard();
    let mut building = Building::start(xtask(&["controlplane"]));
    let below = building.below();
    signal(building.child.id(), "HUP");
    assert_eq!(building.child.wait().unwrap().code(), Some(130), "it ended in order");
    wait_until_gone(&below);
}

#[test]
fn under_nohup_it_stays() {
    let mut script = Command::new("/bin/sh");
    script.args(["-c", r#"trap "" HUP; "$0" controlplane; echo never"#, XTASK]);
    let mut building = Building::start(script);
    let below = building.below();
    let xtask = below.iter().find(|process| process.line.starts_with(XTASK)).unwrap().id;
    signal(xtask, "HUP");
    building.child.kill().unwrap();
    building.child.wait().unwrap();
    building.go_on();
    signal(xtask, "INT");
    wait_until_gone(&below);
}
