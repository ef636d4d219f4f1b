//! The chart, the plain manifests and the samples, with the tools that users have, on a control plane of its own.

#[path = "chart/conform.rs"]
mod conform;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/identity.rs"]
mod identity;
#[path = "chart/kubelet.rs"]
mod kubelet;
#[path = "chart/life.rs"]
mod life;
#[path = "docs/page.rs"]
#[expect(dead_code, reason = "what else a page has is for other tests")]
mod page;
#[path = "chart/reader.rs"]
mod reader;
#[path = "chart/rendered.rs"]
mod rendered;

use std::sync::LazyLock;
use xtask::{controlplane::ControlPlane, kubectl::Kubectl};

/// One for tests that need not be the first to install anything. Never dropped, as statics are not: it ends when it notices
/// the end of this process.
static PLANE: LazyLock<ControlPlane> =
    LazyLock::new(|| ControlPlane::start().expect("the control plane starts"));

/// kubectl for it.
fn kubectl() -> Kubectl {
    Kubectl::new(PLANE.kubeconfig()).expect("kubectl")
}
