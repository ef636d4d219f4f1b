//! `cargo xtask sdk`: the simulated vendors driven by the vendors' own SDKs, so that what the simulator takes for the
//! vendors' protocols is what their clients speak.
//!
//! The SDKs are Python packages, pinned in `tests/sdk/requirements.txt` and installed into a virtual environment in the
//! user's cache. The checks are `tests/sdk/main.py`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use sha2::{Digest, Sha256};

use crate::error::{Doing, Error, Result};
use crate::simulator::{self, Ports};
use crate::tools::cache_base;
use crate::{scratch, workspace};

/// What must be there before the SDKs are built and installed, and the SDKs.
const REQUIREMENTS: [&str; 2] = ["build-requirements.txt", "requirements.txt"];

/// What the user chose.
#[derive(Args, Debug)]
pub struct Options {
    /// Check only this service (repeatable): volcengine, aliyun-ecs, batchcompute or zstack.
    #[arg(long, value_name = "SERVICE")]
    only: Vec<String>,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    let python = environment()?;
    let mut build = workspace::cargo();
    build.args(["build", "--package", simulator::PROGRAM, "--bins"]);
    workspace::run(build)?;

    let folder = scratch::folder("sdk-")?;
    let ports = Ports::choose()?;
    let _simulator = simulator::start(&ports, folder.path())?;
    let mut checks = Command::new(python);
    checks.arg(source().join("main.py"));
    for (service, address) in ports.addresses() {
        checks.arg(format!("--{service}={address}"));
    }
    for service in &options.only {
        checks.arg(format!("--only={service}"));
    }
    // Nothing but loopback is asked, and the sources stay as they are.
    checks.env("NO_PROXY", "127.0.0.1").env("PYTHONDONTWRITEBYTECODE", "1");
    workspace::run(checks)
}

fn source() -> PathBuf {
    workspace::root().join("tests/sdk")
}

/// The Python of the virtual environment with the SDKs, which is made if need be.
fn environment() -> Result<PathBuf> {
    let folder = cache_base()?.join("sdk").join(key(&source())?);
    let python = folder.join("bin/python");
    let complete = folder.join("complete");
    if complete.is_file() {
        return Ok(python);
    }
    expect_python()?;
    println!("Installing the vendors' SDKs into {}; this happens once", folder.display());
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    workspace::run(venv)?;
    for file in REQUIREMENTS {
        let mut pip = Command::new(&python);
        // Without isolation, since one of the SDKs wants to download a build tool of 2014 where none is installed.
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation"])
            .arg("--requirement")
            .arg(source().join(file));
        workspace::run(pip)?;
    }
    fs::write(&complete, "").doing(|| format!("write {}", complete.display()))?;
    Ok(python)
}

fn expect_python() -> Result<()> {
    let version =
        Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if version.is_err_and(|cause| cause.kind() == ErrorKind::NotFound) {
        return Err(Error::Failed(
            "the vendors' SDKs need Python, which is not installed: install Python 3.11 or newer".into(),
        ));
    }
    Ok(())
}

/// Names the environment: 16 hexadecimal digits of the hash of what is pinned.
fn key(source: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    for file in REQUIREMENTS.map(|name| source.join(name)) {
        hash.update(fs::read(&file).doing(|| format!("read {}", file.display()))?);
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_one_version() {
        for file in REQUIREMENTS {
            let text = fs::read_to_string(source().join(file)).unwrap();
            let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            for line in lines {
                let version = line.split_once("==").map(|(_, version)| version).unwrap_or_default();
                assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{file}: {line}");
                assert!(!version.contains([',', ' ', '*']), "{file}: {line}");
            }
        }
    }
}
