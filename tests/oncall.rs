//! The operator as people on call see it: probes, metrics, logs, traces; and what keeps it from working.

#[path = "harness/harness.rs"]
mod harness;
#[path = "support/proxy.rs"]
mod proxy;

mod oncall {
    mod metrics;
    mod probes;
    mod ways;
}
