//! The operator's own HTTP server: `/metrics`, `/healthz`, `/readyz`.

use crate::engine::telemetry::Telemetry;
use axum::{Router, extract::State, http::StatusCode, routing::get};
use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Whether the operator works: it watches, and leads if it was asked to wait for that.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }
}

/// Serves until `stop` resolves.
pub async fn serve(
    address: SocketAddr,
    telemetry: Telemetry,
    ready: Readiness,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving /metrics, /healthz and /readyz");
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz).with_state(ready))
        .route("/metrics", get(metrics).with_state(telemetry));
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

async fn readyz(State(Readiness(ready)): State<Readiness>) -> (StatusCode, &'static str) {
    if ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not yet")
    }
}

async fn metrics(State(telemetry): State<Telemetry>) -> ([(&'static str, &'static str); 1], String) {
    ([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], telemetry.metrics())
}
