//! The operator as people on call see it: probes, metrics, logs, traces; and what keeps it from working.

#[path = "harness/harness.rs"]
mod harness;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/server.rs"]
#[expect(dead_code, reason = "what else it can do is for others")]
mod server;

mod oncall {
    mod logs;
    mod long_names;
    mod metrics;
    mod panics;
    mod probes;
    mod rules;
    mod secrets;
    mod traces;
    mod ways;
}
