//! The HTTP server under every service: reads requests whole, applies faults, keeps the ledger, and controls the connection.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::{StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::clock::{Clock, shifted};
use crate::faults::{Conditions, Fault, Identity, Rules};
use crate::ids::Ids;
use crate::ledger::{Book, Call, Change, Effect};
use crate::settings::Settings;
use crate::store::{AdminRefusal, AdminRequest};
use crate::wire::{Answer, Refusal, Request};

/// What all services of one simulator share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) rules: Rules,
    pub(crate) book: Book,
    pub(crate) ids: Ids,
    settings: RwLock<Arc<Settings>>,
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            clock: Clock::new(),
            rules: Rules::default(),
            book: Book::default(),
            ids: Ids::new(settings.seed),
            settings: RwLock::new(Arc::new(settings)),
        }
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_settings(&self, settings: Settings) {
        if settings.seed != self.settings().seed {
            self.ids.reseed(settings.seed);
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}

/// A vendor's API: reads what a request says of itself, and answers it. It never touches a connection and never waits.
pub(crate) trait Service: Send + Sync + 'static {
    /// As it is called in rules, the ledger and admin paths.
    fn name(&self) -> &'static str;

    /// What the request claims to be, before anything is checked.
    fn identify(&self, request: &Request) -> Identity;

    /// Checks the request and does what it asks for. Everything that is made, changed or deleted is told to the context.
    fn serve(&self, request: &Request, context: &mut Context<'_>) -> Answer;

    /// The vendor's envelope around an error.
    fn refuse(&self, request: &Request, context: &Context<'_>, refusal: Refusal) -> Answer;

    /// What the vendor says to a caller that is too fast, under this HTTP status or its own.
    fn throttled(&self, settings: &Settings, status: Option<u16>) -> Refusal;

    /// What the vendor says when it is broken.
    fn broken(&self) -> Refusal;

    /// An id for one request, as the vendor writes them.
    fn request_id(&self, shared: &Shared) -> String {
        shared.ids.dashed_uuid()
    }

    /// What the service keeps, as the admin API calls it.
    fn collections(&self) -> &'static [&'static str];

    /// Lets the admin API look at and change what the service keeps.
    fn administer(&self, request: &AdminRequest, shared: &Shared) -> Result<Value, AdminRefusal>;

    /// Forgets everything.
    fn reset(&self);
}

/// What one call needs to know, and where it says what it did.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) settings: Arc<Settings>,
    /// The world's time.
    pub(crate) now: Timestamp,
    /// The gateway's time, for request timestamps.
    pub(crate) gateway: Timestamp,
    pub(crate) conditions: Conditions,
    pub(crate) request_id: String,
    sequence: u64,
    service: &'static str,
    action: String,
    effects: Vec<Effect>,
}

impl Context<'_> {
    /// Enters into the ledger what the vendor really did.
    pub(crate) fn effect(&mut self, change: Change, id: impl Into<String>, token: Option<&str>) {
        self.effects.push(Effect {
            call: self.sequence,
            time: self.now,
            service: self.service.into(),
            action: self.action.clone(),
            change,
            id: id.into(),
            token: token.map(Into::into),
        });
    }

    /// The vendor's name of what is asked for.
    pub(crate) fn action(&self) -> &str {
        &self.action
    }

    /// The youngest creation time that a listing shows.
    pub(crate) fn shown_until(&self) -> Timestamp {
        self.ago(self.conditions.list_lag_seconds)
    }

    /// Whether a listing shows the tags of what was made then.
    pub(crate) fn shows_tags_of(&self, created: Timestamp) -> bool {
        created <= self.ago(self.conditions.tag_lag_seconds)
    }

    fn ago(&self, seconds: u64) -> Timestamp {
        shifted(self.now, -i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}

type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// Time for what was written to reach the client before its connection is closed.
const FLUSH: Duration = Duration::from_millis(20);

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
struct Closed;

/// How an answer leaves.
enum Delivery {
    Whole(Answer),
    /// All of it; the connection closes soon after, and nothing announces that.
    Last(Answer),
    /// The head and half of the body, then the connection closes.
    Half(Answer),
    Closed,
    Never,
}

/// Answers one address until it is dropped, over TLS if there is an acceptor; all its connections end with it.
pub(crate) async fn listen(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: Arc<dyn Service>,
    shared: Arc<Shared>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of file descriptors, most likely: the next connection may find some again.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                // A small answer must not wait for the client's acknowledgement of the one before.
                let _ = stream.set_nodelay(true);
                let (service, shared, tls) = (Arc::clone(&service), Arc::clone(&shared), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => connection(stream, service, shared).await,
                        // A client that does not trust the certificate says so by leaving.
                        Some(tls) => if let Ok(stream) = tls.accept(stream).await {
                            connection(stream, service, shared).await;
                        },
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one connection until either side ends it.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: Arc<dyn Service>,
    shared: Arc<Shared>,
) {
    let end = Arc::new(Notify::new());
    let ended = Arc::clone(&end);
    let handler = service_fn(move |request| {
        let (service, shared, end) = (Arc::clone(&service), Arc::clone(&shared), Arc::clone(&end));
        async move { converse(request, service.as_ref(), &shared, end).await }
    });
    let serving = http1::Builder::new().max_buf_size(1 << 20).serve_connection(TokioIo::new(stream), handler);
    tokio::select! {
        // An error here is a client that left or a fault that closed the connection: both are in the ledger.
        _ = serving => {}
        () = ended.notified() => {}
    }
}

async fn converse(
    incoming: hyper::Request<Incoming>,
    service: &dyn Service,
    shared: &Shared,
    end: Arc<Notify>,
) -> Result<hyper::Response<AnswerBody>, Closed> {
    let request = read(incoming).await.map_err(|_| Closed)?;
    let (delivery, wait) = decide(&request, service, shared);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    match delivery {
        Delivery::Whole(answer) => Ok(whole(answer)),
        Delivery::Last(answer) => {
            tokio::spawn(async move {
                tokio::time::sleep(FLUSH).await;
                end.notify_one();
            });
            Ok(whole(answer))
        }
        Delivery::Half(answer) => Ok(half(answer)),
        Delivery::Closed => Err(Closed),
        Delivery::Never => std::future::pending().await,
    }
}

async fn read(incoming: hyper::Request<Incoming>) -> Result<Request, hyper::Error> {
    let (head, body) = incoming.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    Ok(Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
    })
}

/// Everything about a call that is not waiting: which fault hits it, what the vendor does, what the ledger says.
fn decide(request: &Request, service: &dyn Service, shared: &Shared) -> (Delivery, Duration) {
    let identity = service.identify(request);
    let decision = shared.rules.decide(service.name(), &identity);
    let label = decision.label();
    let reading = shared.clock.read();
    let settings = shared.settings();
    let latency = Duration::from_millis(settings.latency_millis);
    let mut context = Context {
        shared,
        settings,
        now: reading.world,
        gateway: shifted(reading.gateway, decision.conditions.skew_seconds),
        conditions: decision.conditions,
        request_id: service.request_id(shared),
        sequence: shared.book.begin(),
        service: service.name(),
        action: identity.action,
        effects: Vec::new(),
    };
    let (delivery, delay) = deliver(decision.fault, request, service, &mut context);
    let (status, code) = match &delivery {
        Delivery::Whole(answer) | Delivery::Last(answer) | Delivery::Half(answer) => {
            (Some(answer.status), answer.code.clone())
        }
        Delivery::Closed | Delivery::Never => (None, None),
    };
    let Context { now, request_id, sequence, service, action, effects, .. } = context;
    let call = Call {
        sequence,
        time: now,
        service: service.into(),
        action,
        access_key: identity.access_key,
        parameters: identity.parameters,
        status,
        code,
        request_id,
        fault: label,
    };
    log(&call, effects.len());
    shared.book.write(call, effects);
    (delivery, latency + delay)
}

/// One line for each call.
fn log(call: &Call, effects: usize) {
    let Call { sequence, service, action, status, request_id, .. } = call;
    let (code, fault) = (call.code.as_deref(), call.fault.as_deref());
    let access_key = call.access_key.as_deref();
    tracing::info!(sequence, service, action, access_key, status, code, fault, request_id, effects, "call");
}

/// Lets the vendor act if the fault lets it, and says how the answer leaves and how much later than usual.
fn deliver(
    fault: Option<Fault>,
    request: &Request,
    service: &dyn Service,
    context: &mut Context<'_>,
) -> (Delivery, Duration) {
    let acts = fault.as_ref().is_none_or(Fault::lets_act);
    let mut answer = if acts { service.serve(request, context) } else { Answer::default() };
    let Some(fault) = fault else { return (Delivery::Whole(answer), Duration::ZERO) };
    let refuse = |refusal| Delivery::Whole(service.refuse(request, context, refusal));
    let throttled = |status| service.throttled(&context.settings, Some(status));
    let mut delay = Duration::ZERO;
    let delivery = match fault {
        Fault::AnswerLost | Fault::ConnectionClosed => Delivery::Closed,
        Fault::Hang { .. } => Delivery::Never,
        Fault::TooManyRequests => refuse(throttled(429)),
        Fault::Throttle => refuse(throttled(400)),
        Fault::InternalError { .. } => refuse(service.broken()),
        Fault::VendorError { status, code, message, .. } => refuse(Refusal { status, code, message }),
        Fault::BadGateway { .. } => Delivery::Whole(Answer::text(502, "text/html", BAD_GATEWAY)),
        Fault::TruncatedBody => {
            answer.body.truncate(answer.body.len() / 2);
            Delivery::Whole(answer)
        }
        Fault::CutBody => Delivery::Half(answer),
        Fault::CloseAfterAnswer => Delivery::Last(answer),
        Fault::SlowAnswer { millis } => {
            delay = Duration::from_millis(millis);
            Delivery::Whole(answer)
        }
        Fault::Redirect { location } => {
            let mark = if request.query.is_empty() { "" } else { "?" };
            let here = format!("{}{mark}{}", request.path, request.query);
            Delivery::Whole(
                Answer::text(307, "text/plain", "").with_header("location", location.unwrap_or(here)),
            )
        }
        // Conditions of the work; the rules never hand them out as a fault of the answer.
        Fault::ListLag { .. }
        | Fault::TagLag { .. }
        | Fault::ClockSkew { .. }
        | Fault::FailBuild
        | Fault::StallBuild
        | Fault::ForgetTask { .. }
        | Fault::NodeDies { .. } => Delivery::Whole(answer),
    };
    (delivery, delay)
}

const BAD_GATEWAY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";

fn head(answer: &Answer) -> hyper::Response<()> {
    let mut response = hyper::Response::new(());
    *response.status_mut() =
        hyper::StatusCode::from_u16(answer.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
        {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn whole(answer: Answer) -> hyper::Response<AnswerBody> {
    head(&answer).map(|()| Full::from(answer.body).map_err(|never: Infallible| match never {}).boxed_unsync())
}

fn half(mut answer: Answer) -> hyper::Response<AnswerBody> {
    let length = answer.body.len();
    answer.body.truncate(length / 2);
    let mut response = head(&answer);
    response.headers_mut().insert(hyper::header::CONTENT_LENGTH, length.into());
    let first = stream::once(std::future::ready(Ok(Frame::data(Bytes::from(answer.body)))));
    let then = stream::once(async {
        // Without a pause the error would overtake what is not flushed yet, and the client would see nothing at all.
        tokio::time::sleep(FLUSH).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    response.map(|()| StreamBody::new(first.chain(then)).boxed_unsync())
}
