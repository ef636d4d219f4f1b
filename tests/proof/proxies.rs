//! The proxies between one operator and the API server, and between it and the vendors. They read each request and each
//! answer whole (of a watch only its beginning), and pass both on as they are unless the gate says otherwise.

use super::{
    gate::{Cut, Deed, Gate, To, Verdict},
    past::Past,
};
use crate::harness;
use futures::{StreamExt, future::ready, stream};
use http_body_util::{BodyExt, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    client::conn::http1 as to_vendor,
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{
    convert::Infallible,
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use vendor_simulator::Addresses;

/// How late a delayed answer is.
const DELAY: Duration = Duration::from_secs(3);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Both, and where they listen. Dropping them ends them.
pub struct Proxies {
    /// What they ask about each request.
    pub gate: Arc<Gate>,
    /// Of the vendors' proxies, in place of the vendors' own.
    pub vendors: Addresses,
    api_server: SocketAddr,
    _serving: JoinSet<()>,
}

#[derive(Clone)]
enum Upstream {
    ApiServer(kube::Client),
    Vendor(SocketAddr),
}

impl Proxies {
    /// Between an operator that has the manifests' rights and these vendors.
    pub async fn start(vendors: Addresses) -> Self {
        let gate = Arc::new(Gate::default());
        let mut serving = JoinSet::new();
        let mut listen = async |upstream: Upstream| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            serving.spawn(serve(listener, upstream, gate.clone()));
            address
        };
        let api_server = listen(Upstream::ApiServer(harness::operators_way().await)).await;
        let vendors = Addresses {
            admin: vendors.admin,
            volcengine: listen(Upstream::Vendor(vendors.volcengine)).await,
            aliyun_ecs: listen(Upstream::Vendor(vendors.aliyun_ecs)).await,
            batchcompute: listen(Upstream::Vendor(vendors.batchcompute)).await,
            zstack: listen(Upstream::Vendor(vendors.zstack)).await,
        };
        Self { gate, vendors, api_server, _serving: serving }
    }

    /// Writes a kubeconfig with which an operator of this namespace, which has its Lease there, takes the API server's proxy for the
    /// API server.
    pub fn write_kubeconfig(&self, file: &Path, namespace: &str) {
        let context = json!({ "cluster": "proxy", "user": "operator", "namespace": namespace });
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{}", self.api_server) } }],
            "contexts": [{ "name": "proxy", "context": context }],
            "users": [{ "name": "operator", "user": {} }],
        });
        std::fs::write(file, config.to_string()).expect("the kubeconfig is written");
    }
}

async fn serve(listener: TcpListener, upstream: Upstream, gate: Arc<Gate>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (upstream, gate) = (upstream.clone(), gate.clone());
        connections.spawn(async move {
            let service = service_fn(|request| handle(request, upstream.clone(), gate.clone()));
            // One that ends in the middle is what some of them are for.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// An error ends the connection without an answer.
async fn handle(
    request: Request<Incoming>,
    upstream: Upstream,
    gate: Arc<Gate>,
) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let request = Request::from_parts(head, body);
    let (to, label) = match &upstream {
        Upstream::ApiServer(_) => (To::ApiServer, api_server_label(&request)),
        Upstream::Vendor(_) => (To::Vendor, vendor_label(&request)),
    };
    let streams = label.starts_with("WATCH ");
    let path = request.uri().path().to_owned();
    let verdict = gate.arrive(to, &label);
    if verdict == Verdict::Pass && label.starts_with("LIST ") {
        let mut past = gate.past();
        // One that is not known is waited for.
        let known = past.wait_for(|past| {
            past.as_ref().is_none_or(|past| !past.is_about(&path) || past.list(&path).is_some())
        });
        let known = known.await.ok().and_then(|past| past.clone());
        if let Some(list) = known.as_ref().and_then(|past| past.list(&path)) {
            let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
            return Ok(answer.body(full(list)).expect("an answer"));
        }
    }
    let deed = match verdict {
        Verdict::Pass if streams => return Ok(cuttable(held_back(request, upstream, &gate), path, &gate)),
        Verdict::Pass => {
            let answer = upstream.send(request, false).await;
            gate.until_answered(&label).await;
            return answer;
        }
        Verdict::Held => return pending().await,
        Verdict::Hit(deed) => deed,
    };
    match deed {
        Deed::KillBefore => return pending().await,
        Deed::NotSent => return Err(io::Error::other("not sent")),
        Deed::TooMany => {
            return Ok(said(429, to, "TooManyRequests", "Too many requests, please try again later."));
        }
        Deed::Forbidden => return Ok(said(403, to, "Forbidden", "this is not allowed")),
        Deed::Conflict => {
            let message =
                "the object has been modified; please apply your changes to the latest version and try again";
            return Ok(said(409, to, "Conflict", message));
        }
        Deed::Expired => {
            let message = "The resourceVersion for the provided watch is too old.";
            return Ok(said(410, to, "Expired", message));
        }
        Deed::Throttled => {
            return Ok(said(400, to, "Throttling", "Request was denied due to request throttling."));
        }
        Deed::Error(false) => return Ok(said(500, to, "InternalError", "Something went wrong in between.")),
        Deed::BadGateway(false) => return Ok(page(502)),
        Deed::Twice => drop(upstream.send(request.clone(), streams).await),
        Deed::Overtaken => upstream.overtake(&request).await?,
        _ => {}
    }
    let answer = upstream.send(request, streams).await?;
    gate.took_effect(deed);
    match deed {
        Deed::KillAfter | Deed::Silence => pending().await,
        Deed::Lost => Err(io::Error::other("lost")),
        Deed::ConflictAfter => Ok(said(409, to, "Conflict", "the object has been modified")),
        Deed::Error(_) => Ok(said(500, to, "InternalError", "Something went wrong in between.")),
        Deed::BadGateway(_) => Ok(page(502)),
        Deed::Garbage => Ok(page(200)),
        Deed::Hollow => {
            let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
            Ok(answer.body(full("{}")).expect("an answer"))
        }
        Deed::Delay => {
            tokio::time::sleep(DELAY).await;
            Ok(answer)
        }
        Deed::Truncated if !streams => {
            let (mut head, body) = answer.into_parts();
            let whole = body.collect().await?.to_bytes();
            head.headers.insert(header::CONTENT_LENGTH, whole.len().into());
            let half = Frame::data(whole.slice(..whole.len() / 2));
            let cut = stream::iter([Ok(half), Err(io::Error::other("cut"))]);
            Ok(Response::from_parts(head, StreamBody::new(cut).boxed_unsync()))
        }
        _ => Ok(answer),
    }
}

impl Upstream {
    /// Somebody writes the object of the API server that a request is about, so that there is a newer version of it.
    async fn overtake(&self, request: &Request<Bytes>) -> Result<(), io::Error> {
        let path = request.uri().path();
        let annotations = json!({ "metadata": { "annotations": { "example.com/overtook": path } } });
        let write = Request::patch(path.trim_end_matches("/status"))
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(annotations.to_string().into())
            .map_err(io::Error::other)?;
        let answer = self.send(write, false).await?;
        if answer.status().is_success() { Ok(()) } else { Err(io::Error::other(answer.status().to_string())) }
    }

    async fn send(&self, request: Request<Bytes>, streams: bool) -> Result<Response<Body>, io::Error> {
        match self {
            Self::ApiServer(client) => {
                let (mut head, body) = request.into_parts();
                for name in [header::HOST, header::AUTHORIZATION, header::CONTENT_LENGTH, header::CONNECTION]
                {
                    head.headers.remove(name);
                }
                let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
                head.uri = target.parse().map_err(io::Error::other)?;
                let request = Request::from_parts(head, kube::client::Body::from(body.to_vec()));
                let answer = client.send(request).await.map_err(io::Error::other)?;
                if streams {
                    return Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()));
                }
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                Ok(Response::from_parts(head, full(body)))
            }
            Self::Vendor(address) => {
                let stream = TcpStream::connect(address).await?;
                let (mut sender, connection) =
                    to_vendor::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
                let driving = tokio::spawn(connection);
                let answer = sender.send_request(request.map(Full::new)).await.map_err(io::Error::other)?;
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                driving.abort();
                Ok(Response::from_parts(head, full(body)))
            }
        }
    }
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// What something in between says that answers in the API's own manner.
fn said(status: u16, to: To, code: &str, message: &str) -> Response<Body> {
    let body = match to {
        To::ApiServer => json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": code,
            "code": status,
        }),
        // Each vendor finds its own in here.
        To::Vendor => json!({
            "RequestId": "proxy", "Code": code, "Message": message,
            "ResponseMetadata": { "RequestId": "proxy", "Error": { "Code": code, "Message": message } },
        }),
    };
    let mut answer = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    if status == 429 {
        // As priority and fairness of an API server, and some gateways of vendors, do.
        answer = answer.header(header::RETRY_AFTER, 1);
    }
    answer.body(full(body.to_string())).expect("an answer")
}

/// A watch that is asked for once there is nothing to hold back; its answer begins at once.
fn held_back(request: Request<Bytes>, upstream: Upstream, gate: &Gate) -> Response<Body> {
    let (path, mut past) = (request.uri().path().to_owned(), gate.past());
    let body = async move {
        until_told(&mut past, &path).await;
        let body = match upstream.send(request, true).await {
            Ok(answer) => answer.into_body(),
            Err(error) => StreamBody::new(stream::iter([Err(error)])).boxed_unsync(),
        };
        BodyStream::new(body)
    };
    let body = StreamBody::new(stream::once(body).flatten()).boxed_unsync();
    let answer = Response::builder().header(header::CONTENT_TYPE, "application/json");
    answer.body(body).expect("an answer")
}

async fn until_told(past: &mut watch::Receiver<Option<Arc<Past>>>, path: &str) {
    let _ = past.wait_for(|past| past.as_ref().is_none_or(|past| !past.is_about(path))).await;
}

/// A watch that ends when the gate says so, and tells nothing while the past is shown.
fn cuttable(answer: Response<Body>, path: String, gate: &Gate) -> Response<Body> {
    let (mut cuts, past) = (gate.cuts(), gate.past());
    let cut = async move {
        let cut = cuts.changed().await.ok().and_then(|()| *cuts.borrow());
        match cut {
            Some(Cut::Expired) => {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410,
                    "reason": "Expired", "message": "The resourceVersion for the provided watch is too old.",
                });
                let line = json!({ "type": "ERROR", "object": status });
                Ok(Frame::data(Bytes::from(format!("{line}\n"))))
            }
            Some(Cut::Gone) => Err(io::Error::other("cut")),
            // The gate is gone.
            None => pending().await,
        }
    };
    answer.map(|body| {
        // Without an end of its own: what was cut ends the connection.
        let told = move |frame| {
            let (mut past, path) = (past.clone(), path.clone());
            async move {
                until_told(&mut past, &path).await;
                frame
            }
        };
        let frames = BodyStream::new(body).then(told).map(Some).chain(stream::iter([None]));
        let cut = stream::once(cut).map(Some).chain(stream::iter([None]));
        let whole = stream::select(frames, cut).take_while(|frame| ready(frame.is_some())).filter_map(ready);
        StreamBody::new(whole).boxed_unsync()
    })
}

/// What a gateway or a portal says to people.
fn page(status: u16) -> Response<Body> {
    let answer = Response::builder().status(status).header(header::CONTENT_TYPE, "text/html");
    answer.body(full("<html><body><h1>Please try again</h1></body></html>")).expect("an answer")
}

/// Such as `PATCH imagecomponents/status` or `WATCH secrets`.
fn api_server_label(request: &Request<Bytes>) -> String {
    let parts: Vec<_> = request.uri().path().split('/').filter(|part| !part.is_empty()).collect();
    let rest = match parts.as_slice() {
        ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
        other => return format!("{} /{}", request.method(), other.join("/")),
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        rest => rest,
    };
    let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let verb = match (request.method().as_str(), rest) {
        ("GET", [_]) if watches => "WATCH",
        ("GET", [_]) => "LIST",
        ("POST", _) => "CREATE",
        ("PUT", _) => "UPDATE",
        (other, _) => other,
    };
    match rest {
        [resource, _, subresource, ..] => format!("{verb} {resource}/{subresource}"),
        [resource, ..] => format!("{verb} {resource}"),
        [] => format!("{verb} {}", request.uri().path()),
    }
}

/// The action where the vendor names one, else method and path without ids.
fn vendor_label(request: &Request<Bytes>) -> String {
    if let Some(action) = request.headers().get("x-acs-action").and_then(|action| action.to_str().ok()) {
        return action.to_owned();
    }
    let query = request.uri().query().unwrap_or_default();
    if let Some((_, action)) =
        url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "Action")
    {
        return action.into_owned();
    }
    let parts = request.uri().path().trim_matches('/').split('/');
    let parts = parts.map(|part| {
        let is_id = part.len() > 4 && part.bytes().any(|byte| byte.is_ascii_digit());
        if is_id { "{id}" } else { part }
    });
    format!("{} /{}", request.method(), parts.collect::<Vec<_>>().join("/"))
}
