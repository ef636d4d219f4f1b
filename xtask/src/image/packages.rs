//! Where the shared libraries come from, kept so that vulnerability scanners see them and their licences go with them.
//!
//! The layout is that of Google's distroless images, which scanners know: `/var/lib/dpkg/status.d/<package>`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Doing, Result};

/// A Debian package that an image has files of.
pub(super) struct Package {
    /// Its name, without an architecture.
    pub(super) name: String,
    /// Its paragraph of the package database.
    pub(super) record: String,
    /// Its licences.
    pub(super) copyright: PathBuf,
}

/// The packages that own these files; none where there is no dpkg.
pub(super) fn owners<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Vec<Package>> {
    let mut names = BTreeSet::new();
    for file in files {
        names.extend(owner(file));
    }
    names.into_iter().map(package).collect()
}

/// The database has a file by the path that its package gave it, before or after `/lib` became a link to `/usr/lib`.
fn owner(file: &Path) -> Option<String> {
    let real = file.canonicalize().ok()?;
    let mut paths = vec![file.to_owned(), real];
    for path in paths.clone() {
        let below = path.strip_prefix("/usr").or_else(|_| path.strip_prefix("/")).ok()?.to_owned();
        paths.extend([Path::new("/").join(&below), Path::new("/usr").join(below)]);
    }
    paths.iter().find_map(|path| {
        let found = dpkg_query(["--search".as_ref(), path.as_os_str()])?;
        // `libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6`
        let (package, _) = found.lines().find(|line| !line.starts_with("diversion"))?.split_once(": ")?;
        Some(package.to_owned())
    })
}

fn package(name: String) -> Result<Package> {
    let record =
        dpkg_query(["--status", &name]).ok_or("dpkg does not know it").doing(|| format!("find {name}"))?;
    let name = name.split(':').next().unwrap_or(&name).to_owned();
    let copyright = Path::new("/usr/share/doc").join(&name).join("copyright");
    Ok(Package { name, record, copyright })
}

/// What dpkg answers; nothing if it has no answer or is not there.
fn dpkg_query<S: AsRef<std::ffi::OsStr>>(arguments: [S; 2]) -> Option<String> {
    let output = Command::new("dpkg-query").args(arguments).env("LC_ALL", "C").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
