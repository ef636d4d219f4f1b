//! Where things are in this workspace, and cargo as a program to run in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::{Doing, Error, Result};

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Cargo, to run in the workspace's root.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
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
    Ok(metadata.target_directory.join("debug").join(name))
}
