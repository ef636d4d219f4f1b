//! `cargo xtask docs`: the documentation as a site, made by mdBook.
//!
//! mdBook is a program of its own and not a dependency, so that nothing else waits for it: the tests read the pages
//! themselves.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Doing, Result};
use crate::tools::cache_base;
use crate::workspace;

/// The version of mdBook.
const MDBOOK: &str = "0.5.4";

/// Runs the command: builds the site into `target/book`, or shows it until interrupted.
pub fn run(serve: bool) -> Result<()> {
    let mut command = Command::new(mdbook()?);
    command.arg(if serve { "serve" } else { "build" }).arg("docs").current_dir(workspace::root());
    workspace::run(command)
}

/// mdBook, installed into the cache at the first call.
fn mdbook() -> Result<PathBuf> {
    let folder = cache_base()?.join(format!("mdbook-{MDBOOK}"));
    let program = folder.join("bin/mdbook");
    if !program.is_file() {
        fs::create_dir_all(&folder).doing(|| format!("make {}", folder.display()))?;
        let mut install = workspace::cargo();
        // A target folder of its own kind would be left behind; cargo removes the one that it chooses itself.
        install
            .args(["install", "mdbook", "--locked", "--version", MDBOOK])
            .args(["--no-default-features", "--features", "search,serve,watch", "--root"])
            .arg(&folder)
            .env_remove("CARGO_TARGET_DIR");
        workspace::run(install)?;
    }
    Ok(program)
}
