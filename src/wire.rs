//! The only way out to the vendors: sign, send once, and say truthfully what became of it.

pub mod clients;
pub mod digest;
pub mod encode;
pub mod endpoint;
pub mod outcome;
pub mod pages;
pub mod proxy;
pub mod request;
pub mod table;
mod throttle;
mod trust;

pub use outcome::{CallError, Class, Refusal};

use http::{HeaderMap, StatusCode, header::InvalidHeaderValue};
use jiff::Timestamp;
use proxy::Proxies;
use std::{error::Error, time::Duration};

/// How many bytes of a body are read: many times a full page of the longest list, and what the memory can bear.
const LONGEST: usize = 8 << 20;

/// Should credentials hold what no header can, although that is looked for when the account is opened.
const UNSIGNED: &str =
    "the account's credentials hold a character that cannot stand in a request; correct its Secret";

/// What a request does at the vendor, and so what a failure may be taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing; it may be repeated at will.
    Read,
    /// Something that is the same when done twice.
    Change,
    /// Makes something. Never repeated by anything below the journal.
    Create,
}

impl Effect {
    /// What a request that was sent and had no answer that can be used comes to: a read to nothing.
    pub fn unanswered(self, why: String) -> CallError {
        if self == Self::Read { CallError::NoAnswer(why) } else { CallError::Unknown(why) }
    }
}

/// How a vendor signs requests and says no.
pub trait Protocol: Send + Sync {
    /// Adds date, nonce and signature to a request. Called right before each sending. A value that no header can hold is an
    /// error: a request without it would be another one.
    fn sign(&self, request: &mut http::Request<Vec<u8>>, now: Timestamp) -> Result<(), InvalidHeaderValue>;

    /// Reads the vendor's own error out of an answer; `None` where it does not look like the vendor's. That HTTP 429 is a
    /// throttle need not be said here.
    fn refusal(&self, action: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Refusal>;

    /// The vendor's id of an answered request.
    fn request_id(&self, headers: &HeaderMap, body: &[u8]) -> Option<String>;

    /// Whether this "no" to a creating call is certain: a fault of the vendor's own says nothing about whether it acted.
    fn is_certain(&self, refusal: &Refusal) -> bool {
        refusal.class == Class::Throttled || refusal.status < 500 && refusal.class != Class::Unavailable
    }
}

/// An answer that could be read.
#[derive(Clone, Debug)]
pub struct Answer<T> {
    /// What the vendor says.
    pub value: T,
    /// HTTP status, where it says more than the body.
    pub status: StatusCode,
    /// The vendor's id of the request.
    pub request_id: Option<String>,
}

/// Takes what an answer says, if it can be read. So all that is done to get an answer is compiled once, and not for each type.
pub type Reader<'a> = &'a mut (dyn FnMut(&[u8]) -> Result<(), serde_json::Error> + Send);

/// How requests leave the operator. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Http {
    /// Keeps connections. Only for what may be repeated: a pool repeats requests on connections that turn out closed.
    pooled: reqwest::Client,
    /// A new connection for each request, so that nothing is ever sent twice.
    single: reqwest::Client,
    proxies: Proxies,
    /// Whether there is any certificate to check an https server's with.
    trusts: bool,
}

/// What is so when a machine has no certificates of authorities.
pub const NO_AUTHORITIES: &str = "no certificates of authorities (CA) were found on this machine, so that no https server can be trusted; \
     install them (package ca-certificates), name their file in SSL_CERT_FILE, or set caBundle in the account";

impl Http {
    /// `ca_bundle`: PEM certificates to trust besides the system's.
    pub fn new(
        timeout: Duration,
        connect_timeout: Duration,
        ca_bundle: Option<&str>,
    ) -> Result<Self, String> {
        // reqwest is built without a TLS provider of its own, so that there is one in the program; whoever comes second
        // finds it installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bundled = ca_bundle.map(trust::config).transpose()?;
        let builder = || {
            reqwest::Client::builder()
                .timeout(timeout)
                .connect_timeout(connect_timeout)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .http1_only()
                .user_agent(concat!("cloud-image-operator/", env!("CARGO_PKG_VERSION")))
        };
        let both = |builder: &dyn Fn() -> reqwest::ClientBuilder| {
            let pooled = builder().build()?;
            Ok((pooled, builder().pool_max_idle_per_host(0).build()?))
        };
        let built: Result<_, reqwest::Error> = both(&|| match &bundled {
            Some(tls) => builder().tls_backend_preconfigured(tls.clone()),
            None => builder(),
        });
        let ((pooled, single), trusts) = match built {
            Ok(both) => (both, true),
            // Without any certificate there is no TLS. Endpoints of plain http do without.
            Err(_) if ca_bundle.is_none() => {
                let without: Result<_, reqwest::Error> = both(&|| builder().tls_certs_only([]));
                (without.map_err(|error| chain(&error))?, false)
            }
            Err(error) => return Err(chain(&error)),
        };
        Ok(Self { pooled, single, proxies: Proxies::from_env(), trusts })
    }

    /// Sends a request that is no vendor's, such as one with traces.
    pub async fn pass(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, String> {
        let circumstances = self.circumstances(request.uri());
        let failed = |error: reqwest::Error| chain(&error) + &circumstances;
        let request = reqwest::Request::try_from(request).map_err(failed)?;
        let answer = self.pooled.execute(request).await.map_err(failed)?;
        let mut passed = http::Response::new(vec![]);
        (*passed.status_mut(), *passed.headers_mut()) = (answer.status(), answer.headers().clone());
        *passed.body_mut() = whole(answer).await?;
        Ok(passed)
    }

    /// Whether https servers can be trusted at all: see [`NO_AUTHORITIES`].
    pub fn trusts(&self) -> bool {
        self.trusts
    }

    /// What else there is to know of a request that had no answer.
    fn circumstances(&self, target: &http::Uri) -> String {
        let proxy = self.proxies.of(target);
        let proxy = proxy.map(|proxy| format!(" (through the proxy {proxy})")).unwrap_or_default();
        let distrust = !self.trusts && target.scheme_str() == Some("https");
        if distrust { format!("{proxy}; {NO_AUTHORITIES}") } else { proxy }
    }
}

/// Signs and sends a request once, tells whether nothing at all came back (`silent`), and has the answer read.
pub async fn send(
    http: &Http,
    protocol: &dyn Protocol,
    action: &str,
    effect: Effect,
    mut request: http::Request<Vec<u8>>,
    silent: &mut bool,
    read: Reader<'_>,
) -> Result<Answer<()>, CallError> {
    protocol.sign(&mut request, Timestamp::now()).map_err(|_| CallError::NotSent(UNSIGNED.into()))?;
    let target = request.uri().clone();
    let request = reqwest::Request::try_from(request).map_err(|error| CallError::NotSent(chain(&error)))?;
    let client = if effect == Effect::Create { &http.single } else { &http.pooled };
    let answer = client.execute(request).await.map_err(|error| {
        *silent = true;
        let why = chain(&error) + &http.circumstances(&target);
        // Without a connection nothing was sent; everything later may have arrived.
        if error.is_connect() || error.is_builder() {
            CallError::NotSent(why)
        } else {
            effect.unanswered(why)
        }
    })?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = whole(answer).await.map_err(|why| effect.unanswered(format!("HTTP {status}, then {why}")))?;
    let request_id = protocol.request_id(&headers, &body);
    let mut refusal = protocol.refusal(action, status, &headers, &body);
    if status == StatusCode::TOO_MANY_REQUESTS {
        refusal = Some(throttle::throttled(refusal, action, &headers, &body, request_id.as_deref()));
    }
    if let Some(refusal) = refusal {
        let doubtful = effect == Effect::Create && !protocol.is_certain(&refusal);
        return Err(if doubtful {
            CallError::Unknown(refusal.to_string())
        } else {
            CallError::Refused(refusal)
        });
    }
    let unreadable = |what: &str| {
        effect.unanswered(format!(
            "HTTP {status} with {what}: {}{}",
            excerpt(&body),
            id_note(request_id.as_deref())
        ))
    };
    if !status.is_success() {
        return Err(unreadable("an answer that is not the vendor's"));
    }
    let text = if status == StatusCode::NO_CONTENT { b"null" } else { &*body };
    match read(text) {
        Ok(value) => Ok(Answer { value, status, request_id }),
        Err(error) => Err(unreadable(&format!("an answer that cannot be read ({error})"))),
    }
}

/// Reads a body to its end, or says why not.
async fn whole(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = vec![];
    while let Some(chunk) = answer.chunk().await.map_err(|error| chain(&error))? {
        if body.len() + chunk.len() > LONGEST {
            return Err(format!("more than the {} MiB that an answer may have", LONGEST >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An error with its causes, without the URL, whose query may be signed.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let line = error.to_string();
        let line = line.split(" for url (").next().unwrap_or_default();
        if !text.contains(line) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(line);
        }
        next = error.source();
    }
    text
}

fn excerpt(body: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(body);
    let mut short: String = text.chars().filter(|char| !char.is_control()).take(MOST).collect();
    if text.chars().count() > MOST {
        short.push('…');
    }
    if short.is_empty() { "an empty body".into() } else { short }
}

fn id_note(request_id: Option<&str>) -> String {
    request_id.map(|id| format!(" [request id {id}]")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_needs_a_certificate() {
        let new = |bundle| Http::new(Duration::from_secs(1), Duration::from_secs(1), bundle);
        assert!(new(None).is_ok());
        for bundle in ["", "MIIB", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"] {
            assert_eq!(new(Some(bundle)).unwrap_err(), "caBundle holds no certificate", "{bundle}");
        }
    }
}
