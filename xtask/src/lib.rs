//! The project's own commands, as a library that its tests use too.
//!
//! [`controlplane`] starts a real Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager) on loopback;
//! [`process`] keeps its programs from outliving whoever started them; [`identity`] is who the operator is in it.
//! [`bench`], [`demo`], [`docs`], [`generate`], [`image`], [`picture`], [`sdk`] and [`test`] are the commands of the same
//! names, [`proof`] has `soak` and `fuzz`; [`tools`] has the programs that tests hold our files and objects against.
//! Nothing here knows the operator's code: it is driven as the program that a user runs.

pub mod bench;
pub mod controlplane;
pub mod demo;
pub mod docs;
pub mod error;
pub mod generate;
pub mod identity;
pub mod image;
pub mod interrupt;
pub mod kubectl;
pub mod picture;
pub mod process;
pub mod proof;
pub mod samples;
mod scratch;
pub mod sdk;
mod simulator;
pub mod test;
pub mod tools;
pub mod workspace;

pub use error::{Error, Result};
