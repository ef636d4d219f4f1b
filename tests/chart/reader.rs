//! A reader of the documentation at a checkout of the project: what a page says to type is typed as it stands.

use super::{
    helm::{Helm, run},
    page::page,
};
use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;
use xtask::kubectl::Kubectl;

/// A checkout, and a shell in it.
pub struct Reader {
    folder: TempDir,
    path: OsString,
    kubeconfig: PathBuf,
}

impl Reader {
    /// With one of the Helms. `aim` changes what the samples say of addresses.
    pub fn new(kubectl: &Kubectl, helm: &Helm, aim: impl Fn(&str) -> String) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for part in ["charts", "crds", "deploy"] {
            copy(&xtask::workspace::root().join(part), &folder.path().join(part), &aim);
        }
        let programs = folder.path().join("bin");
        fs::create_dir(&programs).expect("a folder");
        symlink(kubectl.program(), programs.join("kubectl")).expect("a link");
        symlink(helm.program(), programs.join("helm")).expect("a link");
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([programs].into_iter().chain(env::split_paths(&path))).expect("a path");
        Self { folder, path, kubeconfig: kubectl.kubeconfig().to_owned() }
    }

    /// A file of the checkout.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Types the blocks of a page's section, from some on and so many, and gives what they print. Files that stand between
    /// them are written.
    pub fn types(&self, file: &str, section: &str, blocks: std::ops::Range<usize>) -> String {
        let all = page(file).blocks.into_iter().filter(|block| block.under == section).collect::<Vec<_>>();
        let blocks =
            all.get(blocks).unwrap_or_else(|| panic!("{file}, {section:?}: only {} blocks", all.len()));
        let mut printed = String::new();
        for block in blocks {
            match block.language.as_str() {
                "sh" => {
                    let ran = self.runs(&block.text);
                    printed += &ran.unwrap_or_else(|error| panic!("{file}, {section:?}: {error}"));
                }
                "yaml" => {
                    let name = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
                    let path = self
                        .file(name.unwrap_or_else(|| panic!("{file}, {section:?}: a file without a name")));
                    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                    fs::write(path, &block.text).expect("a file");
                }
                other => panic!("{file}, {section:?}: nobody can type {other}"),
            }
        }
        printed
    }

    /// What a script prints, or what is wrong.
    pub fn runs(&self, script: &str) -> Result<String, String> {
        let mut shell = Command::new("sh");
        shell.args(["-euc", &format!("cd \"$0\"\n{script}")]).arg(self.folder.path());
        shell.env("PATH", &self.path).env("KUBECONFIG", &self.kubeconfig);
        run(Helm::at_home(&mut shell)).map_err(|error| format!("{script}: {error}"))
    }
}

fn copy(from: &Path, to: &Path, aim: &impl Fn(&str) -> String) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to, aim);
        } else {
            let text = fs::read_to_string(&from).expect("a text");
            let is_sample = from.components().any(|part| part.as_os_str() == "samples");
            fs::write(to, if is_sample { aim(&text) } else { text }).expect("a file");
        }
    }
}
