//! Traces by OTLP, where OpenTelemetry's standard environment variables ask for them: what one pass over an object did,
//! and each call to a vendor in it.

use crate::{engine::pace, panics, wire::Http};
use axum::body::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use std::{
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::runtime::Handle;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

/// The name of the service, unless `OTEL_SERVICE_NAME` says another.
const SERVICE: &str = "cloud-image-operator";
/// How long what is left to send may take at the end.
const FAREWELL: Duration = Duration::from_secs(2);

/// Traces that are sent. To be ended by [`Traces::end`], or the last ones are lost.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send traces from `runtime`, if the environment asks for it; or says why it cannot.
    pub fn start(
        runtime: &Handle,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, String> {
        if !is_wanted(variable)? {
            return Ok(None);
        }
        let http = Http::new(Duration::from_secs(10), pace::CONNECT_TIMEOUT, None)?;
        let sender = Sender { http, runtime: runtime.clone(), fails: AtomicBool::new(false) };
        // Where to, with which headers and how long: the exporter reads that from the environment by itself.
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender)
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| error.to_string())?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(SERVICE);
        }
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        Ok(Some(Self(provider.build())))
    }

    /// What turns this program's spans into traces.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let ours = Targets::new().with_target("cloud_image_operator", LevelFilter::INFO);
        let tracer = self.0.tracer(SERVICE);
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_threads(false)
            .with_location(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
    }

    /// Sends what is left. Blocks for a moment, and needs the runtime to be there still.
    pub fn end(self) {
        // Whether a collector hears the last of it is not worth an error.
        let _ = self.0.shutdown_with_timeout(FAREWELL);
    }
}

/// Whether the environment asks for traces, or why they cannot be had as it asks.
fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> Result<bool, String> {
    let set =
        |name: &'static str| variable(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    let exporter = set("OTEL_TRACES_EXPORTER");
    let exporter = exporter.as_ref().map(|(_, value)| value.as_str());
    let is_disabled = set("OTEL_SDK_DISABLED").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
    let endpoint = set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| set("OTEL_EXPORTER_OTLP_ENDPOINT"));
    match exporter {
        _ if is_disabled => return Ok(false),
        Some("none") => return Ok(false),
        Some("otlp") => {}
        Some(other) => return Err(format!("OTEL_TRACES_EXPORTER is {other}; only otlp and none can be had")),
        None if endpoint.is_none() => return Ok(false),
        None => {}
    }
    let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
    match protocol {
        Some((name, other)) if other != "http/protobuf" => Err(format!(
            "{name} is {other}; only http/protobuf can be had, which most collectors take at port 4318"
        )),
        _ => Ok(true),
    }
}

/// Sends what the exporter's own thread, which has no runtime, wants to be sent.
#[derive(Debug)]
struct Sender {
    http: Http,
    runtime: Handle,
    /// So that a collector that is away is told of once.
    fails: AtomicBool,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>;

impl HttpClient for Sender {
    // As async-trait writes it.
    fn send_bytes<'life0, 'async_trait>(&'life0 self, request: Request<Bytes>) -> Answer<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let http = self.http.clone();
        Box::pin(async move {
            let sent = self
                .runtime
                .spawn(panics::alone(async move { http.pass(request.map(Vec::from)).await }))
                .await;
            let answer = sent.map_err(|error| error.to_string()).and_then(|answer| answer);
            let trouble = match &answer {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("HTTP {}", answer.status())),
                Err(error) => Some(error.clone()),
            };
            match (self.fails.swap(trouble.is_some(), Ordering::Relaxed), trouble) {
                (false, Some(trouble)) => tracing::warn!("traces cannot be sent: {trouble}"),
                (true, None) => tracing::info!("traces can be sent again"),
                _ => {}
            }
            answer.map(|answer| answer.map(Bytes::from)).map_err(HttpError::from)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn traces_are_sent_where_the_standard_variables_ask_for_it() {
        let asked = |set: &'static [(&str, &str)]| {
            is_wanted(|name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(asked(&[]), Ok(false));
        assert_eq!(asked(&[ENDPOINT]), Ok(true));
        assert_eq!(
            asked(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")]),
            Ok(true)
        );
        assert_eq!(asked(&[("OTEL_TRACES_EXPORTER", "otlp")]), Ok(true));
        assert_eq!(asked(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(false));
        assert_eq!(asked(&[ENDPOINT, ("OTEL_SDK_DISABLED", "True")]), Ok(false));
        assert_eq!(asked(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]), Ok(true));
        let grpc = asked(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(grpc.contains("OTEL_EXPORTER_OTLP_PROTOCOL is grpc; only http/protobuf"), "{grpc}");
        assert!(asked(&[("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err().contains("only otlp"));
    }
}
