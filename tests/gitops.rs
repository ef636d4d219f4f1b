//! What Argo CD, Flux and kubectl make of the objects: their health in every phase, nothing out of sync, nothing lost.

#[path = "harness/harness.rs"]
mod harness;

mod gitops {
    mod artifact;
    mod defaults;
    mod drift;
    mod flux;
    mod health;
    mod samples;
    mod situations;
    mod suspended;
    mod tools;
}
