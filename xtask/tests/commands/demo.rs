//! `demo`: it comes to its end, and leaves nothing, whoever ends it.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::processes::{self, Process, signal, wait_until_gone};
use crate::{XTASK, xtask};

/// Held by the demo that runs: two that begin at once would both find the samples' ports free.
static PORTS: Mutex<()> = Mutex::new(());

/// A demo with a temporary folder of its own, all of whose programs run.
struct Demo {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    programs: Vec<Process>,
    /// Host and port of the simulated vendors' admin API.
    vendors: String,
    folder: TempDir,
    _ports: MutexGuard<'static, ()>,
}

impl Demo {
    fn start(options: &[&str]) -> Self {
        let ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let mut command = xtask(&["demo"]);
        command.args(options);
        // `cargo test --workspace` has built them; for `--package xtask` alone the demo does.
        let is_built = |name| Path::new(XTASK).with_file_name(name).is_file();
        if is_built("cloud-image-operator") && is_built("vendor-simulator") {
            command.arg("--no-build");
        }
        let mut child = command.env("TMPDIR", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut vendors = String::new();
        for line in said.by_ref().map_while(Result::ok).take_while(|line| !line.contains("The operator runs"))
        {
            if let Some((_, hosts)) = line.split_once("The simulated vendors answer at ") {
                let is_first = |c: &char| c.is_ascii_digit() || ".:".contains(*c);
                vendors = hosts.chars().take_while(is_first).collect();
            }
        }
        let programs = processes::below(child.id());
        let demo = Self { child, said, programs, vendors, folder, _ports: ports };
        for name in ["etcd", "kube-apiserver", "kube-controller-manager", "vendor-simulator"] {
            assert!(demo.programs.iter().any(|program| program.line.contains(name)), "{name}");
        }
        demo
    }

    /// Lets the vendors build so many times faster.
    fn hurry(&self, speed: u32) {
        let mut stream = TcpStream::connect(&self.vendors).unwrap();
        let body = format!(r#"{{"speed": {speed}}}"#);
        write!(stream, "PUT /_sim/clock HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }

    fn expect_nothing_left(&self) {
        wait_until_gone(&self.programs);
        let left: Vec<_> = fs::read_dir(self.folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn once_shows_every_sample_ready_and_leaves_nothing() {
    let mut demo = Demo::start(&["--once"]);
    demo.hurry(20);
    let said: Vec<_> = demo.said.by_ref().map_while(Result::ok).collect();
    assert!(demo.child.wait().unwrap().success(), "{said:#?}");
    assert!(said.iter().any(|line| line.starts_with("Every sample is Ready")), "{said:#?}");
    demo.expect_nothing_left();
}

#[test]
fn an_interrupt_leaves_nothing() {
    let mut demo = Demo::start(&[]);
    signal(demo.child.id(), "INT");
    assert_eq!(demo.child.wait().unwrap().code(), Some(130), "not every sample was Ready yet");
    demo.expect_nothing_left();
}
