//! What of the chart follows from the registry, and the manifests that follow from the chart.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::{Files, Operator, documents};
use crate::error::{Doing, Error, Result};
use crate::{tools, workspace};

/// The chart's name, which is also that of its release and namespace in the plain manifests.
const NAME: &str = "cloud-image-operator";

/// Where the CRDs' templates are.
pub(super) const CRDS: &str = "charts/cloud-image-operator/templates/crds";

/// Where the kustomize base is.
pub(super) const BASE: &str = "deploy/base";

const WRITTEN: &str = "# Written by `cargo xtask generate`; do not edit.\n";

/// The same in a template, which does not print it.
const GENERATED: &str = "{{- /* Written by `cargo xtask generate`; do not edit. */}}\n";

/// The older Kubernetes that plain manifests are made for: they must mean the same on all that the chart supports.
const KUBERNETES: &str = "1.30.0";

/// What is read of a CRD.
#[derive(Debug, Deserialize)]
struct Crd {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Spec {
    scope: String,
    names: Names,
}

#[derive(Debug, Deserialize)]
struct Names {
    plural: String,
}

impl Crd {
    fn read(document: &str) -> Result<Self> {
        serde_saphyr::from_str(document).doing(|| "read a CRD")
    }
}

/// The CRDs as templates, which is how `helm upgrade` upgrades them.
pub(super) fn crds(operator: &Operator) -> Result<Files> {
    documents(&operator.print("definitions")?)
        .map(|document| {
            let name = Crd::read(document)?.metadata.name;
            Ok((Path::new(CRDS).join(format!("{name}.yaml")), crd_template(&name, document)?))
        })
        .collect()
}

fn crd_template(name: &str, document: &str) -> Result<String> {
    let line = format!("metadata:\n  name: {name}\n");
    let (before, after) = document
        .split_once(&line)
        .ok_or_else(|| Error::Failed(format!("the CRD {name} does not begin its metadata with its name")))?;
    let metadata = "  {{- include \"cloud-image-operator.crdMetadata\" . | nindent 2 }}\n";
    let text = format!("{}{line}{metadata}{}", literal(before), literal(after));
    Ok(format!("{GENERATED}{{{{- if .Values.crds.install }}}}\n{text}{{{{- end }}}}\n"))
}

/// Text that a template prints as it is.
fn literal(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

/// The names of the kinds, which the roles grant.
pub(super) fn kinds(operator: &Operator) -> Result<Files> {
    let stream = operator.print("definitions")?;
    let crds = documents(&stream).map(Crd::read).collect::<Result<Vec<_>>>()?;
    Ok(Files::from([(
        PathBuf::from("charts/cloud-image-operator/templates/_kinds.tpl"),
        kinds_template(&crds),
    )]))
}

fn kinds_template(crds: &[Crd]) -> String {
    let plurals = |which: &dyn Fn(&Crd) -> bool, end: &str| {
        let names = crds.iter().filter(|crd| which(crd)).map(|crd| format!("{}{end}", crd.spec.names.plural));
        format!("[{}]", names.collect::<Vec<_>>().join(", "))
    };
    let account = |crd: &Crd| crd.spec.names.plural.ends_with("cloudaccounts");
    let cluster = |crd: &Crd| crd.spec.scope == "Cluster";
    let lists = [
        ("images", "The image kinds.", plurals(&|crd| !account(crd), "")),
        ("accounts", "Who calls the vendors.", plurals(&account, "")),
        ("statuses", "The statuses of all.", plurals(&|_| true, "/status")),
        ("kinds", "All.", plurals(&|_| true, "")),
        ("namespaced", "What is in namespaces.", plurals(&|crd| !cluster(crd), "")),
        ("clusterScoped", "What is not.", plurals(&cluster, "")),
    ];
    let mut text = GENERATED.to_owned();
    for (name, what, list) in lists {
        let _ = write!(
            text,
            "\n{{{{- /* {what} */}}}}\n{{{{- define \"{NAME}.{name}\" -}}}}\n{list}\n{{{{- end }}}}\n"
        );
    }
    text
}

/// The chart's README, of its template and the comments in `values.yaml`.
pub(super) fn readme(_: &Operator) -> Result<Files> {
    let mut docs = Command::new(tools::helm_docs()?);
    docs.args(["--dry-run", "--chart-search-root=charts", "--sort-values-order=file", "--log-level=error"])
        .arg("--template-files=README.md.gotmpl");
    let text = output(&mut docs)?;
    Ok(Files::from([(PathBuf::from("charts/cloud-image-operator/README.md"), format!("{}\n", text.trim()))]))
}

/// `deploy/operator.yaml`, for who applies it as it is, and the same in parts as a base for kustomize.
pub(super) fn manifests(_: &Operator) -> Result<Files> {
    let chart = "charts/cloud-image-operator";
    let mut helm = Command::new(tools::helm4()?);
    helm.args(["template", NAME, chart, "--namespace", NAME, "--kube-version", KUBERNETES])
        // What is left out when the chart is uninstalled has no meaning here.
        .args(["--set", "crds.keep=false"]);
    let rendered = output(&mut helm)?;
    let namespace = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAME}\n  labels:\n    pod-security.kubernetes.io/enforce: restricted\n"
    );
    let mut parts =
        [("namespace", vec![namespace]), ("crds", vec![]), ("rbac", vec![]), ("operator", vec![])];
    for document in documents(&rendered) {
        let document = plain(document);
        let kind = document.lines().find_map(|line| line.strip_prefix("kind: ")).unwrap_or_default();
        let part = match kind {
            "" => continue,
            "CustomResourceDefinition" => 1,
            "ServiceAccount" | "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => 2,
            _ => 3,
        };
        parts[part].1.push(document);
    }
    let mut files = Files::new();
    let mut whole = WRITTEN.to_owned();
    let mut kustomization =
        format!("{WRITTEN}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n");
    for (name, documents) in parts {
        let text: String = documents.iter().map(|document| format!("---\n{document}")).collect();
        whole += &text;
        let _ = writeln!(kustomization, "  - {name}.yaml");
        files.insert(Path::new(BASE).join(format!("{name}.yaml")), format!("{WRITTEN}{text}"));
    }
    files.insert(Path::new(BASE).join("kustomization.yaml"), kustomization);
    files.insert("deploy/operator.yaml".into(), whole);
    Ok(files)
}

/// A rendered document without what only Helm understands.
fn plain(document: &str) -> String {
    let helms = ["# Source: ", "helm.sh/chart: ", "app.kubernetes.io/managed-by: Helm"];
    let lines =
        document.lines().filter(|line| !helms.iter().any(|start| line.trim_start().starts_with(start)));
    lines.filter(|line| !line.trim().is_empty()).map(|line| format!("{line}\n")).collect()
}

/// What a tool prints, run in the workspace's root.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .doing(|| format!("run {name}"))?;
    if !output.status.success() {
        return Err(Error::Failed(format!("{name} failed ({})", output.status)));
    }
    String::from_utf8(output.stdout).doing(|| format!("read what {name} prints"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crd_becomes_a_template_that_prints_it() {
        let document = "kind: CustomResourceDefinition\nmetadata:\n  name: a.b\nspec:\n  x: '{{ y }}'\n";
        let template = crd_template("a.b", document).unwrap();
        assert!(
            template.contains("  name: a.b\n  {{- include \"cloud-image-operator.crdMetadata\""),
            "{template}"
        );
        assert!(template.ends_with("spec:\n  x: '{{ \"{{\" }} y }}'\n{{- end }}\n"), "{template}");
        assert!(crd_template("other", document).is_err());
    }

    #[test]
    fn the_kinds_are_told_apart_by_name_and_scope() {
        let crd = |plural: &str, scope: &str| Crd {
            metadata: Metadata { name: format!("{plural}.b") },
            spec: Spec { scope: scope.into(), names: Names { plural: plural.into() } },
        };
        let text = kinds_template(&[
            crd("cloudaccounts", "Namespaced"),
            crd("clustercloudaccounts", "Cluster"),
            crd("images", "Namespaced"),
        ]);
        let defined = |name: &str| {
            let (_, after) = text.split_once(&format!("define \"{NAME}.{name}\" -}}}}\n")).unwrap();
            after.lines().next().unwrap().to_owned()
        };
        assert_eq!(defined("images"), "[images]");
        assert_eq!(defined("accounts"), "[cloudaccounts, clustercloudaccounts]");
        assert_eq!(defined("statuses"), "[cloudaccounts/status, clustercloudaccounts/status, images/status]");
        assert_eq!(defined("namespaced"), "[cloudaccounts, images]");
        assert_eq!(defined("clusterScoped"), "[clustercloudaccounts]");
    }

    #[test]
    fn plain_manifests_name_no_helm() {
        let rendered = "# Source: a/b.yaml\nkind: X\nmetadata:\n  labels:\n    helm.sh/chart: a-1\n    app.kubernetes.io/managed-by: Helm\n    app: a\n\nspec: {}\n";
        assert_eq!(plain(rendered), "kind: X\nmetadata:\n  labels:\n    app: a\nspec: {}\n");
    }
}
