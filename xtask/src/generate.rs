//! `cargo xtask generate`: rewrites every file that follows from the code, or says which ones are stale.

mod chart;
mod diff;
mod docs;
mod health;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Doing, Error, Result};
use crate::{interrupt, picture, workspace};

/// Generated files: path from the workspace's root → content.
type Files = BTreeMap<PathBuf, String>;

/// Makes files out of the operator's program and of what earlier stages wrote.
type Producer = fn(&Operator) -> Result<Files>;

/// What is made in one go, and the folders in which it makes every file, so that one which it does not make any more is
/// deleted.
struct Stage {
    producers: &'static [Producer],
    owned: &'static [&'static str],
}

/// One line in here for each sort of file. What one stage makes, the next one reads.
const STAGES: &[Stage] = &[
    Stage {
        producers: &[
            crds,
            embedded,
            kinds_table,
            metrics_table,
            dashboard,
            chart::crds,
            chart::kinds,
            docs::pages,
        ],
        owned: &["crds", chart::CRDS, docs::REFERENCE],
    },
    Stage { producers: &[chart::readme, chart::manifests], owned: &[chart::BASE] },
    Stage { producers: &[health::files], owned: &[health::ARGOCD, health::FLUX] },
];

/// The first line of a generated YAML file.
const HEADER: &str = "# Written by `cargo xtask generate`; do not edit.\n";

/// Runs the command: writes what differs, or with `check` only shows it and fails.
pub fn run(check: bool) -> Result<()> {
    let mut build = workspace::cargo();
    build.args(["build", "--quiet", "--bin", Operator::NAME]);
    workspace::run(build)?;
    with_built_operator(check)
}

/// Like [`run`], with the operator's binary as the last build of the workspace left it.
pub(crate) fn with_built_operator(check: bool) -> Result<()> {
    with_operator(&workspace::binary(Operator::NAME)?, check)
}

/// Like [`run`], with an operator's binary that is there already.
pub fn with_operator(binary: &Path, check: bool) -> Result<()> {
    let operator = Operator { binary: binary.into() };
    let mut stale = 0;
    for stage in STAGES {
        let mut wanted = Files::new();
        for producer in stage.producers {
            interrupt::check()?;
            wanted.append(&mut producer(&operator)?);
        }
        let changes = changes(workspace::root(), wanted, stage.owned)?;
        stale += changes.len();
        for change in &changes {
            if check {
                print!("{}", diff::show(&change.path, change.old.as_deref(), change.new.as_deref()));
                continue;
            }
            change.apply(workspace::root())?;
            let verb = if change.new.is_some() { "wrote" } else { "deleted" };
            println!("{verb} {}", change.path.display());
        }
    }
    if check && stale > 0 {
        return Err(Error::Failed(format!(
            "{stale} generated file(s) are not what the code says; run `cargo xtask generate`"
        )));
    }
    Ok(())
}

/// The operator as a program.
struct Operator {
    binary: PathBuf,
}

impl Operator {
    const NAME: &str = "cloud-image-operator";

    /// What one of its printing commands prints.
    fn print(&self, command: &str) -> Result<String> {
        let name = format!("{} {command}", Self::NAME);
        let output = Command::new(&self.binary)
            .arg(command)
            .stderr(Stdio::inherit())
            .output()
            .doing(|| format!("run {}", self.binary.display()))?;
        if !output.status.success() {
            return Err(Error::Failed(format!("`{name}` failed ({})", output.status)));
        }
        String::from_utf8(output.stdout).doing(|| format!("read what `{name}` prints"))
    }
}

/// `crds/<plural>.<group>.yaml`, one file per kind.
fn crds(operator: &Operator) -> Result<Files> {
    documents(&operator.print("definitions")?)
        .map(|document| {
            let name = object_name(document)?;
            let text = format!("{HEADER}{document}");
            Ok((Path::new("crds").join(format!("{name}.yaml")), text))
        })
        .collect()
}

/// The CRDs as the operator's program holds them: one a line. What makes them from its code is not in a release.
fn embedded(operator: &Operator) -> Result<Files> {
    let stream = operator.print("definitions")?;
    let line = |document| {
        let crd: Value = serde_saphyr::from_str(document).doing(|| "read a CRD")?;
        Ok(format!("{crd}\n"))
    };
    let lines = documents(&stream).map(line).collect::<Result<String>>()?;
    Ok(Files::from([("src/kinds/definitions.json".into(), lines)]))
}

/// The READMEs with their table of kinds.
fn kinds_table(operator: &Operator) -> Result<Files> {
    let table = operator.print("kinds")?;
    let rows = table.split_once('\n').map_or("", |(_, rows)| rows);
    let chinese = format!("| 资源类型 | 短名 | 厂商 | 厂商接口 | 状态 |\n{rows}");
    [("README.md", &table), ("README.zh-CN.md", &chinese)]
        .into_iter()
        .map(|(file, table)| docs::part(file, "kinds", table))
        .collect()
}

/// The page on operating with its table of metrics.
fn metrics_table(operator: &Operator) -> Result<Files> {
    Ok(Files::from([docs::part("docs/operating.md", "metrics", &operator.print("metrics")?)?]))
}

/// A picture of the chart's dashboard.
fn dashboard(_: &Operator) -> Result<Files> {
    let file = "charts/cloud-image-operator/files/dashboard.json";
    let text = fs::read_to_string(workspace::root().join(file)).doing(|| format!("read {file}"))?;
    let dashboard = serde_json::from_str(&text).doing(|| format!("understand {file}"))?;
    Ok(Files::from([("docs/dashboard.svg".into(), picture::dashboard(&dashboard))]))
}

/// The documents of a YAML stream, without the `---` lines and without empty ones.
fn documents(stream: &str) -> impl Iterator<Item = &str> {
    let mut starts = vec![0];
    let mut ends = Vec::new();
    let mut at = 0;
    for line in stream.split_inclusive('\n') {
        if line.trim_end() == "---" {
            ends.push(at);
            starts.push(at + line.len());
        }
        at += line.len();
    }
    ends.push(at);
    starts
        .into_iter()
        .zip(ends)
        .map(|(start, end)| &stream[start..end])
        .filter(|text| !text.trim().is_empty())
}

/// `metadata.name` of a Kubernetes object in YAML.
fn object_name(document: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    let object: Object = serde_saphyr::from_str(document).doing(|| "read a CRD's name")?;
    Ok(object.metadata.name)
}

/// `text` with `inner` between the two marker lines; `None` if they are not there in this order.
fn between(text: &str, (begin, end): (&str, &str), inner: &str) -> Option<String> {
    let start = text.find(begin)? + begin.len();
    let stop = start + text[start..].find(end)?;
    Some(format!("{}\n{}\n{}", &text[..start], inner.trim_end(), &text[stop..]))
}

/// One file that differs from what it should be. Missing content means: no such file.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    path: PathBuf,
    old: Option<String>,
    new: Option<String>,
}

impl Change {
    fn apply(&self, root: &Path) -> Result<()> {
        let path = root.join(&self.path);
        let done = match &self.new {
            Some(text) => {
                path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text))
            }
            None => fs::remove_file(&path),
        };
        done.doing(|| format!("write {}", path.display()))
    }
}

/// How the files under `root` differ from `wanted`; in the folders `owned` there are no others.
fn changes(root: &Path, wanted: Files, owned: &[&str]) -> Result<Vec<Change>> {
    let mut wanted: BTreeMap<PathBuf, Option<String>> =
        wanted.into_iter().map(|(path, text)| (path, Some(text))).collect();
    for folder in owned {
        let entries = match fs::read_dir(root.join(folder)) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
            entries => entries.doing(|| format!("list {folder}"))?,
        };
        for entry in entries {
            let name = entry.doing(|| format!("list {folder}"))?.file_name();
            wanted.entry(Path::new(folder).join(name)).or_insert(None);
        }
    }
    let mut changes = Vec::new();
    for (path, new) in wanted {
        let old = match fs::read_to_string(root.join(&path)) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => None,
            text => Some(text.doing(|| format!("read {}", path.display()))?),
        };
        if old != new {
            changes.push(Change { path, old, new });
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_split_at_its_separators_only() {
        let stream = "---\na: 1\n---\nb: |\n  ---x\n  - --- -\n---\n";
        assert_eq!(documents(stream).collect::<Vec<_>>(), ["a: 1\n", "b: |\n  ---x\n  - --- -\n"]);
        assert_eq!(documents("a: 1").collect::<Vec<_>>(), ["a: 1"]);
    }

    #[test]
    fn the_name_is_read_from_the_metadata() {
        let document =
            "kind: CustomResourceDefinition\nmetadata:\n  name: a.b.c\nspec: {names: {name: no}}\n";
        assert_eq!(object_name(document).unwrap(), "a.b.c");
        assert!(object_name("kind: Nameless").is_err());
    }

    #[test]
    fn the_table_goes_between_the_markers() {
        let text = "# Title\n<begin>\nold\n<end>\nrest\n";
        let new = between(text, ("<begin>", "<end>"), "| a |\n").unwrap();
        assert_eq!(new, "# Title\n<begin>\n| a |\n<end>\nrest\n");
        assert_eq!(
            between(&new, ("<begin>", "<end>"), "| a |").unwrap(),
            new,
            "the second time changes nothing"
        );
        assert_eq!(between("<end> <begin>", ("<begin>", "<end>"), "x"), None);
    }

    #[test]
    fn changed_new_and_stale_files_are_found_and_then_written() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("crds")).unwrap();
        for (name, text) in [("crds/same", "1"), ("crds/changed", "2"), ("crds/stale", "3"), ("else", "4")] {
            fs::write(root.path().join(name), text).unwrap();
        }
        let wanted: Files = [("crds/same", "1"), ("crds/changed", "two"), ("new/file", "5")]
            .into_iter()
            .map(|(path, text)| (path.into(), text.into()))
            .collect();
        let change = |path: &str, old: Option<&str>, new: Option<&str>| Change {
            path: path.into(),
            old: old.map(Into::into),
            new: new.map(Into::into),
        };
        let found = changes(root.path(), wanted.clone(), &["crds"]).unwrap();
        assert_eq!(
            found,
            [
                change("crds/changed", Some("2"), Some("two")),
                change("crds/stale", Some("3"), None),
                change("new/file", None, Some("5")),
            ]
        );
        found.iter().try_for_each(|change| change.apply(root.path())).unwrap();
        assert_eq!(changes(root.path(), wanted, &["crds"]).unwrap(), []);
        assert_eq!(fs::read_to_string(root.path().join("else")).unwrap(), "4");
    }
}
