//! The sample manifests below `deploy/samples`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Result};
use crate::workspace;

/// The folder of all samples, for `kubectl apply -k`.
pub fn folder() -> PathBuf {
    workspace::root().join("deploy/samples")
}

/// Those of things that must be there already, of what can be chosen, and of single uses: they are not applied with the others.
const APART: [&str; 4] = ["adoption", "factory", "policies", "uses"];

/// Those of what can be chosen: how an image is made and kept.
pub fn policies() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(&folder().join("policies"), &mut found)?;
    found.sort();
    Ok(found)
}

/// Every manifest below it that can be applied as it stands, those that others need first.
pub fn manifests() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(&folder(), &mut found)?;
    // The namespace is at the top, and nothing sorts before `accounts`.
    found.sort_by_key(|path| (path.components().count(), path.clone()));
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).doing(|| format!("list {}", folder.display()))? {
        let path = entry.doing(|| format!("list {}", folder.display()))?.path();
        if APART.iter().any(|apart| path.file_name().is_some_and(|name| name == *apart)) {
            continue;
        }
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|end| end == "yaml")
            && path.file_name().is_some_and(|name| name != "kustomization.yaml")
        {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_comes_first_and_accounts_before_images() {
        let names: Vec<_> = manifests()
            .unwrap()
            .iter()
            .map(|path| path.strip_prefix(folder()).unwrap().display().to_string())
            .collect();
        assert_eq!(names.first().map(String::as_str), Some("namespace.yaml"));
        let last = names.iter().rposition(|name| name.starts_with("accounts/")).unwrap();
        let first = names.iter().position(|name| name.ends_with("images.yaml")).unwrap();
        assert!(last < first, "{names:?}");
    }
}
