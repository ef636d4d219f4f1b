//! Where things are in this workspace, and cargo as a program to run in it.

use std::env;
use std::ffi::OsStr;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::controlplane::binaries::{self, ASSETS};
use crate::error::{Doing, Error, Result};
use crate::process::Launch;

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo, to run in the workspace's root.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // What it runs has other working directories, where a relative path would not lead to the same place.
    if let Ok(Some(assets)) = binaries::assets() {
        command.env(ASSETS, assets);
    }
    // Under `cargo run` these describe xtask. Build scripts that watch them would run again each time.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.starts_with(prefix))
        }) {
            command.env_remove(name);
        }
    }
    command
}

/// The path of a binary of the workspace as the dev profile builds it, whether it is built yet or not.
pub fn binary(name: &str) -> Result<PathBuf> {
    binary_of("dev", name)
}

/// The same as another profile builds it.
pub fn binary_of(profile: &str, name: &str) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let output = cargo()
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output()
        .doing(|| "run cargo metadata")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Failed(format!("cargo metadata failed: {}", reason.trim())));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout).doing(|| "understand cargo metadata")?;
    // Two profiles have folders of other names than theirs.
    let folder = match profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        other => other,
    };
    Ok(metadata.target_directory.join(folder).join(name))
}

/// Runs a program that shows its own progress and errors, and fails with its exit code.
pub fn run(command: Command) -> Result<()> {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let arguments = command.get_args().map(OsStr::to_string_lossy);
    let shown: Vec<_> = iter::once(program.to_string_lossy()).chain(arguments).collect();
    let shown = shown.join(" ");
    // It may be in the middle of writing: enough time to end well, short enough to be waited for.
    let status = Launch::new(&*shown, command).grace(Duration::from_secs(5)).start()?.wait()?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Err(Error::Exit { program: shown, code })
}
