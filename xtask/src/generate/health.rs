//! What tells Argo CD and Flux the health of every kind: the same two texts for all.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Files, HEADER, Operator, documents};
use crate::error::{Doing, Result};

/// Argo CD's health check, as its documentation has them.
const LUA: &str = include_str!("health.lua");

/// Flux' health check. Flux itself looks at the generation first, and takes what none of these is for in progress.
const IN_PROGRESS: &str = "has(metadata.deletionTimestamp) || !has(status.conditions) \
    || status.conditions.exists(c, c.type == 'Reconciling' && c.status == 'True')";
const FAILED: &str = "status.conditions.exists(c, c.type == 'Stalled' && c.status == 'True')";
const CURRENT: &str = "status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')";

/// Where there is nothing else.
pub(super) const ARGOCD: &str = "deploy/argocd";
pub(super) const FLUX: &str = "deploy/flux";

/// Argo CD's `health.yaml` and Flux' `images.yaml`.
pub(super) fn files(operator: &Operator) -> Result<Files> {
    let crds = operator.print("definitions")?;
    let kinds = documents(&crds)
        .map(|document| serde_saphyr::from_str(document).doing(|| "read a CRD"))
        .collect::<Result<Vec<Crd>>>()?;
    Ok(Files::from([
        (Path::new(ARGOCD).join("health.yaml"), argocd(&kinds)),
        (Path::new(FLUX).join("images.yaml"), flux(&kinds)?),
    ]))
}

/// The part of a CRD that matters here.
#[derive(Deserialize)]
struct Crd {
    spec: Spec,
}
#[derive(Deserialize)]
struct Spec {
    group: String,
    names: Names,
    versions: Vec<Version>,
}
#[derive(Deserialize)]
struct Names {
    kind: String,
}
#[derive(Deserialize)]
struct Version {
    name: String,
}

/// By hand, since a script is only readable as a block.
fn argocd(kinds: &[Crd]) -> String {
    let mut text = format!(
        "{HEADER}\
         # How Argo CD knows the health of the objects: without it, it takes all of them for healthy. Merge it into your own:\n\
         #   kubectl patch configmap argocd-cm -n argocd --type merge --patch-file deploy/argocd/health.yaml\n\
         apiVersion: v1\n\
         kind: ConfigMap\n\
         metadata:\n  name: argocd-cm\n  namespace: argocd\n  labels:\n    app.kubernetes.io/part-of: argocd\n\
         data:\n"
    );
    for Crd { spec } in kinds {
        text += &format!("  resource.customizations.health.{}_{}: |\n", spec.group, spec.names.kind);
        for line in LUA.lines() {
            text += &format!("    {line}\n");
        }
    }
    text
}

/// A check as Flux has them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check<'a> {
    api_version: String,
    kind: &'a str,
    in_progress: &'a str,
    failed: &'a str,
    current: &'a str,
}

fn flux(kinds: &[Crd]) -> Result<String> {
    let mut checks = vec![];
    for Crd { spec } in kinds {
        for version in &spec.versions {
            checks.push(Check {
                api_version: format!("{}/{}", spec.group, version.name),
                kind: &spec.names.kind,
                in_progress: IN_PROGRESS,
                failed: FAILED,
                current: CURRENT,
            });
        }
    }
    let checks = serde_saphyr::to_string(&checks).doing(|| "write the health checks")?;
    let checks: String = checks.lines().map(|line| format!("    {line}\n")).collect();
    Ok(format!(
        "{HEADER}\
         # A Kustomization of images, Ready when all of them are, and not Ready as soon as one needs a person. Take over\n\
         # what follows `spec`, and put your own source and path in.\n\
         apiVersion: kustomize.toolkit.fluxcd.io/v1\n\
         kind: Kustomization\n\
         metadata:\n  name: images\n  namespace: flux-system\n\
         spec:\n\
         \x20 interval: 1h\n\
         \x20 retryInterval: 10m\n\
         \x20 # Longer than the slowest build: spec.timeout of an image, 12h for a RootVolumeTemplate and 2h for other\n\
         \x20 # builds unless it says otherwise.\n\
         \x20 timeout: 13h\n\
         \x20 sourceRef:\n    kind: GitRepository\n    name: fleet\n\
         \x20 path: ./images\n\
         \x20 prune: true\n\
         \x20 # Objects that cannot be changed in place are not to be deleted and made anew: that would build a new image.\n\
         \x20 force: false\n\
         \x20 wait: true\n\
         \x20 healthCheckExprs:\n{checks}"
    ))
}
