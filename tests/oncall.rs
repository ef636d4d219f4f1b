//! The operator as people on call see it: probes, metrics, logs, traces; and what keeps it from working.

#[path = "harness/harness.rs"]
mod harness;

mod oncall {
    mod probes;
}
