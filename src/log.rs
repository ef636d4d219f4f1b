//! Where log lines go, and how they look.

use crate::{panics, run::LogFormat, traces::Traces};
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// From now on log lines go to standard error, panics among them, and spans to where traces go.
pub fn start(format: LogFormat, traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,kube_client=error,kube_runtime=error"));
    let log = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let log = match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().boxed(),
    };
    // Not an optional layer: one that is not there has every span kept, those of libraries too, which are entered thousands
    // of times a second.
    let log = log.with_filter(filter);
    match traces {
        Some(traces) => tracing_subscriber::registry().with(log).with(traces.layer()).init(),
        None => tracing_subscriber::registry().with(log).init(),
    }
    panics::end_the_process();
}
