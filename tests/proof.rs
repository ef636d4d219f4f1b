//! Never twice, never lost: the operator as users run it, a process of its own, killed and lied to from outside. Between it
//! and the API server, and between it and the vendors, stands a proxy; the vendors' ledger says what was really made.

#[path = "harness/harness.rs"]
mod harness;

#[allow(dead_code, reason = "the conformance suite uses the rest")]
#[path = "conformance/subject.rs"]
mod subject;

#[path = "support/schema.rs"]
mod schema;

mod proof {
    mod accounts;
    mod each_request;
    mod edits;
    mod gate;
    mod life;
    mod outage;
    mod past;
    mod proxies;
    mod refusals;
    mod replicas;
    mod report;
    mod soak;
    mod stale;
    mod states;
    mod wrong_answers;
}
