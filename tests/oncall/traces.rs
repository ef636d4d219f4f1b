//! Traces, as a collector gets them.

use crate::harness::{World, component};
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use serde_json::json;
use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

type Requests = Arc<Mutex<Vec<(HeaderMap, ExportTraceServiceRequest)>>>;

async fn take(State(seen): State<Requests>, headers: HeaderMap, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(&*body).expect("protobuf");
    seen.lock().expect("no panic").push((headers, request));
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tokio::test]
async fn a_collector_gets_each_pass_and_the_calls_to_the_vendor_in_it_with_their_request_ids() {
    let world = World::with_account("traced").await;
    let seen = Requests::default();
    let collector = Router::new().route("/v1/traces", post(take)).with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move { axum::serve(listener, collector).await });
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token"),
    ];
    let operator = world.start_program_in(&environment, &[], Some(Duration::from_secs(20)));
    world.create(component("seen", json!({}))).await;
    world.until_ready("ImageComponent", "seen").await;
    // What is left is sent at the end.
    let (code, log) = operator.stop().await;
    assert_eq!(code, Some(0), "{log}");
    server.abort();

    let requests = std::mem::take(&mut *seen.lock().expect("no panic"));
    let (headers, first) = requests.first().expect("a request");
    assert_eq!(headers["authorization"], "Bearer token");
    let resource = first.resource_spans[0].resource.as_ref().expect("a resource");
    assert_eq!(text(&resource.attributes, "service.name"), Some("cloud-image-operator"));
    let spans: Vec<&Span> = requests
        .iter()
        .flat_map(|(_, request)| &request.resource_spans)
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scope| &scope.spans)
        .collect();
    let call = spans.iter().find(|span| span.name == "CreateImageComponent").expect("the call");
    assert_eq!(text(&call.attributes, "vendor"), Some("aliyun"));
    assert_eq!(text(&call.attributes, "outcome"), Some("ok"));
    let request_id = text(&call.attributes, "request_id").expect("a request id");
    let pass = spans.iter().find(|span| span.span_id == call.parent_span_id).expect("the pass around it");
    assert_eq!(pass.name, "reconcile");
    assert_eq!(text(&pass.attributes, "object"), Some("traced/seen"));
    assert_eq!(text(&pass.attributes, "account"), Some("traced/default"));
    let object = world.get("ImageComponent", "seen").await.expect("the object");
    assert_eq!(object["status"]["operation"]["requestId"], request_id);
    // A look that objects share is part of the pass that asked first.
    let look = spans.iter().find(|span| span.name == "DescribeImageComponents").expect("a look");
    assert!(spans.iter().any(|span| span.span_id == look.parent_span_id && span.name == "reconcile"));
}
