//! The chart, the plain manifests and the samples, with the tools that users have, on a control plane of its own.

#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/identity.rs"]
mod identity;
#[path = "chart/kubelet.rs"]
mod kubelet;
#[path = "chart/life.rs"]
mod life;
#[path = "chart/rendered.rs"]
mod rendered;
