//! `cargo xtask image`: the programs' container images, put together without a container engine.
//!
//! [`RootFs::of`] is the only place that decides what is in an image. The Dockerfile copies what it wrote; an OCI image
//! layout of the same, for where there is no engine, takes everything else (user, command, labels, ports) from the
//! Dockerfile.

mod layout;
mod packages;
mod program;
mod recipe;
mod rootfs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use clap::Args;

use crate::error::{Doing, Error, Result};
use crate::workspace;
pub use program::Architecture;
pub use recipe::Recipe;
pub use rootfs::RootFs;

/// The programs that have an image. Each is named as its package, its binary and its stage of the Dockerfile.
pub const PROGRAMS: [&str; 2] = ["cloud-image-operator", "vendor-simulator"];

/// How many bytes the operator may have in a release: 15 MiB. docs/adr says how it is kept small.
const LARGEST: u64 = 15 * 1024 * 1024;

/// What the user chose.
#[derive(Args, Debug)]
pub struct Options {
    /// The cargo profile that the programs are built with.
    #[arg(long, default_value = "release")]
    profile: String,
    /// Where to write: `<program>/rootfs`, the root filesystem, and `<program>/oci`, an OCI image layout of it.
    #[arg(long, value_name = "FOLDER", default_value = "target/image")]
    output: PathBuf,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<()> {
    let mut build = workspace::cargo();
    build.args(["build", "--locked", "--profile", &options.profile]);
    build.args(PROGRAMS.iter().flat_map(|program| ["--package", program]));
    build.arg("--bins");
    workspace::run(build)?;
    let output = workspace::root().join(&options.output);
    for program in PROGRAMS {
        let binary = workspace::binary_of(&options.profile, program)?;
        if (&*options.profile, program) == ("release", PROGRAMS[0]) {
            expect_small(&binary)?;
        }
        let root = RootFs::of(&binary)?;
        let folder = output.join(program);
        root.write(&folder.join("rootfs"))?;
        let digest = write_layout(&root, &recipe(program)?, &folder.join("oci"))?;
        println!("{}: {}, {digest}", folder.display(), root.architecture());
    }
    Ok(())
}

/// Fails if a program is larger than the operator may be.
fn expect_small(binary: &Path) -> Result<()> {
    let size = fs::metadata(binary).doing(|| format!("look at {}", binary.display()))?.len();
    if size > LARGEST {
        return Err(Error::Failed(format!(
            "{} has {size} bytes; {LARGEST} is the most (docs/adr says how it is kept small)",
            binary.display()
        )));
    }
    println!("{}: {size} bytes of at most {LARGEST}", binary.display());
    Ok(())
}

/// Writes an OCI image layout with one image, and gives the digest of its manifest. The same input gives the same
/// digest, on any day and any machine; `SOURCE_DATE_EPOCH` is the date that it bears (1970 without it).
pub fn write_layout(root: &RootFs, recipe: &Recipe, folder: &Path) -> Result<String> {
    let date = match env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds.parse().doing(|| format!("read SOURCE_DATE_EPOCH `{seconds}`"))?,
        Err(_) => 0,
    };
    layout::write(root, recipe, date, folder)
}

/// What the Dockerfile says of a program's image, with the version and the revision of this checkout.
pub fn recipe(program: &str) -> Result<Recipe> {
    let file = workspace::root().join("Dockerfile");
    let text = fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
    let mut arguments = vec![("VERSION", env!("CARGO_PKG_VERSION").to_owned())];
    arguments.extend(revision().map(|revision| ("REVISION", revision)));
    Recipe::read(&text, program, &arguments)
        .map_err(|problem| Error::Failed(format!("{}: {problem}", file.display())))
}

/// The commit that is checked out; nothing outside of a clone.
fn revision() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "HEAD"]).current_dir(workspace::root());
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_that_grew_too_large_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(LARGEST).unwrap();
        expect_small(file.path()).unwrap();
        file.as_file().set_len(LARGEST + 1).unwrap();
        let refusal = expect_small(file.path()).unwrap_err().to_string();
        assert!(refusal.contains("15728641 bytes; 15728640 is the most"), "{refusal}");
    }
}
