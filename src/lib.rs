//! Cloud images, declarative: a Kubernetes operator for Volcengine, Alibaba Cloud and ZStack.
//!
//! A map of the crate. A user writes an image object (`vendors/<vendor>/<api>.rs`, sharing `image`) that names an
//! `account`. `kinds` lists the kinds; `engine` runs the same controller for each, which decides purely
//! (`engine::progress`), writes its intent down before it creates anything (`engine::journal`), and calls the vendor
//! through the kind (`engine::external`; to the engine, all kinds are one type, `engine::object`). `distribution` owns objects
//! of one kind and calls nobody. Every request to a vendor leaves through `wire`. `run` puts it together, `api_server` is the way to the cluster (`kubeconfig` says
//! which), `log` and `traces` are what the operator tells, `docs` has what the documentation is generated from, and
//! `cli` is the command line for people.

pub mod account;
pub mod api_server;
pub mod cli;
pub mod distribution;
pub mod docs;
pub mod engine;
pub mod image;
pub mod kinds;
pub mod kubeconfig;
#[cfg(test)]
mod lock_tests;
pub mod log;
pub mod panics;
pub mod period;
pub mod run;
pub mod serve;
pub mod served;
pub mod traces;
pub mod vendors;
pub mod wire;
