//! ZStack Cloud: REST with JSON on premises, by session or access key; what changes something is a job.

pub mod dates;
pub mod errors;
mod inventory;
mod job;
pub mod root_volume_template;
mod session;
pub mod sign;

use crate::{
    account::AccountVendor,
    engine::{
        credentials::Credentials,
        external::{Connect, Material, Unusable},
    },
    wire::{Answer, CallError, Class, Effect, Protocol, Refusal, table::lookup},
};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{self, InvalidHeaderValue},
};
use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use session::Session;
use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

/// A connection to a management node with one account's credentials.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    /// Scheme, host, port and context path, without a slash at the end.
    base: String,
    /// The context path, such as `/zstack`.
    context: String,
    /// The management node's.
    zone: TimeZone,
    login: Login,
    material: Material,
    /// The vendor has no call that tells how far a job is.
    tells_no_progress: AtomicBool,
}

enum Login {
    Account(Box<Session>),
    Key(sign::Keys),
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "zstack::Client({})", self.0.base)
    }
}

impl Connect for Client {
    fn connect(account: &AccountVendor, material: Material) -> Result<Self, Unusable> {
        let account = account.zstack.as_ref().ok_or_else(|| super::wrong_vendor("ZStack (zstack)"))?;
        let endpoint = material
            .endpoints
            .check(&account.endpoint, &[])
            .map_err(|denied| Unusable::new("EndpointNotAllowed", format!("zstack: {denied}")))?;
        let context = Some(endpoint.path().trim_end_matches('/')).filter(|path| !path.is_empty());
        let context = context.unwrap_or("/zstack").to_owned();
        let zone = account.time_zone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(zone).map_err(|_| {
            Unusable::new(
                "InvalidAccount",
                format!("zstack.timeZone {zone:?} is not a time zone; write it like Asia/Shanghai"),
            )
        })?;
        Ok(Self(Arc::new(Inner {
            base: endpoint.origin().ascii_serialization() + &context,
            context,
            zone,
            login: Login::read(&material.secret)?,
            material,
            tells_no_progress: AtomicBool::new(false),
        })))
    }

    async fn begin(&self) -> Result<(), CallError> {
        match &self.0.login {
            Login::Account(session) => session.get(self, true).await.map(drop),
            Login::Key(_) => Ok(()),
        }
    }

    async fn close(&self) {
        if let Login::Account(session) = &self.0.login {
            session.close(self).await;
        }
    }
}

impl Login {
    fn read(secret: &Credentials) -> Result<Self, Unusable> {
        if secret.has("accountName") {
            return Ok(Self::Account(Box::new(Session::new(
                secret.name("accountName")?,
                secret.password("password")?,
            ))));
        }
        if secret.has("accessKeyId") {
            return Ok(Self::Key(sign::Keys {
                access_key_id: secret.name("accessKeyId")?.into(),
                access_key_secret: secret.get("accessKeySecret")?.into(),
            }));
        }
        Err(Unusable::new(
            "SecretKeyMissing",
            format!(
                "Secret {} has neither accountName and password nor accessKeyId and accessKeySecret; add one pair",
                secret.source()
            ),
        ))
    }
}

/// One request, as the API's documents write it.
#[derive(Clone, Debug)]
struct Call<'a> {
    action: &'static str,
    effect: Effect,
    method: Method,
    /// The path from `/v1` on with its query, percent-encoded.
    target: String,
    /// `X-Job-UUID`.
    job: Option<&'a str>,
    /// Null: none.
    body: Value,
}

impl<'a> Call<'a> {
    fn new(action: &'static str, effect: Effect, method: Method, target: String) -> Self {
        Self { action, effect, method, target, job: None, body: Value::Null }
    }
    fn with(self, body: Value) -> Self {
        Self { body, ..self }
    }
    fn of_job(self, job: &'a str) -> Self {
        Self { job: Some(job), ..self }
    }
}

impl Client {
    /// Makes a call as the account, and tells with which session. One that failed for the session's sake is made again
    /// with a new one, unless it creates something. Creating calls must hold a rate permit already.
    async fn ask<T: DeserializeOwned + Send>(
        &self,
        call: &Call<'_>,
    ) -> Result<(Answer<T>, Option<String>), CallError> {
        let session = match &self.0.login {
            Login::Key(keys) => return Ok((self.send(call, Authorization::Key(keys)).await?, None)),
            Login::Account(session) => session,
        };
        let mut first = true;
        loop {
            let uuid = session.get(self, call.effect != Effect::Read).await?;
            match self.send(call, Authorization::Session(&uuid)).await {
                Err(CallError::Refused(refusal)) if refusal.code == errors::SESSION_EXPIRED => {
                    session.forget(&uuid);
                    if !first || call.effect == Effect::Create {
                        return Err(CallError::Refused(refusal));
                    }
                    first = false;
                }
                Ok(answer) => {
                    // What is only accepted says nothing about the session.
                    if answer.status != StatusCode::ACCEPTED {
                        session.proven(&uuid);
                    }
                    return Ok((answer, Some(uuid)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The vendor does not know this session any more.
    fn forget(&self, uuid: Option<&str>) {
        if let (Login::Account(session), Some(uuid)) = (&self.0.login, uuid) {
            session.forget(uuid);
        }
    }

    async fn send<T: DeserializeOwned + Send>(
        &self,
        call: &Call<'_>,
        authorization: Authorization<'_>,
    ) -> Result<Answer<T>, CallError> {
        let Inner { base, context, zone, material, .. } = &*self.0;
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(format!("{base}{}", call.target))
            .header(header::ACCEPT, "application/json");
        if let Some(job) = call.job {
            request = request.header("X-Job-UUID", job);
        }
        let mut body = vec![];
        if !call.body.is_null() {
            request = request.header(header::CONTENT_TYPE, "application/json;charset=UTF-8");
            body = call.body.to_string().into_bytes();
        }
        let request = request.body(body).map_err(|error| CallError::NotSent(error.to_string()))?;
        let protocol = Rest { authorization, context, zone };
        material.call(&protocol, "", call.action, call.effect, request).await
    }
}

/// Who calls.
#[derive(Clone, Copy)]
enum Authorization<'a> {
    None,
    Session(&'a str),
    Key(&'a sign::Keys),
}

/// How calls are authorized and refused.
struct Rest<'a> {
    authorization: Authorization<'a>,
    context: &'a str,
    zone: &'a TimeZone,
}

#[derive(Deserialize)]
struct Failed {
    error: ErrorCode,
}

/// The vendor's `ErrorCode`; `cause` is the error that led to it.
#[derive(Deserialize)]
struct ErrorCode {
    code: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    cause: Option<Box<ErrorCode>>,
}

impl ErrorCode {
    /// The code that says most, with its class and hint. A fault of the vendor's own may have been caused by something that it
    /// can name: how an error is wrapped depends on the way that it took.
    fn verdict(&self) -> (&str, (Class, &'static str)) {
        let is_fault = |class| matches!(class, Class::Unavailable | Class::Unlisted);
        let known = |error: &Self| lookup(&[errors::TABLE], &error.code, &error.message());
        let own = known(self);
        if !is_fault(own.0) || self.code == errors::TIMED_OUT {
            return (&self.code, own);
        }
        let mut next = self.cause.as_deref();
        while let Some(cause) = next {
            let (class, hint) = known(cause);
            if !is_fault(class) {
                return (&cause.code, (class, hint));
            }
            next = cause.cause.as_deref();
        }
        (&self.code, own)
    }

    fn message(&self) -> String {
        let mut parts: Vec<&str> = vec![];
        let mut next = Some(self);
        while let Some(error) = next {
            for part in [&error.description, &error.details].into_iter().flatten() {
                let part = part.trim().trim_end_matches('.');
                if !part.is_empty() && !parts.contains(&part) {
                    parts.push(part);
                }
            }
            next = error.cause.as_deref();
        }
        parts.join(": ")
    }
}

impl Protocol for Rest<'_> {
    fn sign(&self, request: &mut http::Request<Vec<u8>>, now: Timestamp) -> Result<(), InvalidHeaderValue> {
        match self.authorization {
            Authorization::None => {}
            Authorization::Session(uuid) => {
                let mut value = HeaderValue::from_str(&format!("OAuth {uuid}"))?;
                value.set_sensitive(true);
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            Authorization::Key(keys) => sign::sign(request, keys, self.context, self.zone, now)?,
        }
        Ok(())
    }

    /// JSON is the API's answer; plain text is the REST layer's, before it accepted the call.
    fn refusal(&self, action: &str, status: StatusCode, _: &HeaderMap, body: &[u8]) -> Option<Refusal> {
        if status.is_success() {
            return None;
        }
        let (code, message, (class, hint)) = if let Ok(Failed { error }) = serde_json::from_slice(body) {
            let (code, known) = error.verdict();
            (code.to_owned(), error.message(), known)
        } else {
            let text = std::str::from_utf8(body).ok()?.trim();
            let foreign = status.as_u16() > 500 || text.is_empty() || text.starts_with(['<', '{']);
            if foreign || text.len() > 2000 {
                return None;
            }
            let known = errors::lookup_text(status.as_u16(), text);
            (status.canonical_reason().unwrap_or("an error").to_owned(), text.to_owned(), known)
        };
        Some(Refusal {
            action: action.into(),
            status: status.as_u16(),
            class,
            code,
            message,
            request_id: String::new(),
            hint,
            retry_after: None,
        })
    }

    /// The vendor gives none.
    fn request_id(&self, _: &HeaderMap, _: &[u8]) -> Option<String> {
        None
    }

    /// HTTP 503 with an error of the API is its normal way to say no; only two of them may follow after something was
    /// made. What the REST layer says of a fault of its own may come at any time.
    fn is_certain(&self, refusal: &Refusal) -> bool {
        refusal.class != Class::Unavailable
            || refusal.status == 503 && ![errors::INTERNAL, errors::TIMED_OUT].contains(&&*refusal.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(status: u16, body: &str) -> Option<Refusal> {
        let rest = Rest { authorization: Authorization::None, context: "/zstack", zone: &TimeZone::UTC };
        rest.refusal("Act", StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    fn is_certain(refusal: &Refusal) -> bool {
        let rest = Rest { authorization: Authorization::None, context: "/zstack", zone: &TimeZone::UTC };
        rest.is_certain(refusal)
    }

    #[test]
    fn an_error_of_the_api_under_503_is_its_answer() {
        let body = r#"{"error":{"code":"SYS.1003","description":"Resource cannot be found","details":"no volume","opaque":null,
            "cause":{"code":"SYS.1000","description":"database","details":"no volume"}}}"#;
        let refusal = refusal(503, body).unwrap();
        assert_eq!((refusal.code.as_str(), refusal.class), ("SYS.1003", Class::NotFound));
        assert_eq!(refusal.message, "Resource cannot be found: no volume: database");
        assert!(is_certain(&refusal));
    }

    #[test]
    fn a_fault_is_what_caused_it_where_that_has_a_name() {
        let nested = |codes: &[(&str, &str)]| {
            let error = codes.iter().rev().fold(Value::Null, |cause, (code, details)| {
                json!({ "code": code, "description": "said", "details": details, "cause": cause })
            });
            let refusal = refusal(503, &json!({ "error": error }).to_string()).unwrap();
            (refusal.code, refusal.class)
        };
        let fault = ("SYS.1000", "an internal error");
        for (codes, code, class) in [
            (
                &[fault, ("SYS.1000", "Duplicate entry 'a' for key 'PRIMARY'")][..],
                "SYS.1000",
                Class::Conflict,
            ),
            (&[fault, fault, ("X.1", "Duplicate entry 'a' for key 'PRIMARY'")], "SYS.1000", Class::Conflict),
            (&[fault, ("SYS.1006", "unable to allocate backup storage")], "SYS.1006", Class::Busy),
            (&[fault, fault, ("ID.1003", "quota")], "ID.1003", Class::Quota),
            (&[fault, ("ID.1001", "session")], errors::SESSION_EXPIRED, Class::Busy),
            (&[fault, ("HOST.1001", "why")], "SYS.1000", Class::Unavailable),
            // What was waited for may go on whatever it waited for.
            (&[("SYS.1001", "timeout"), ("SYS.1006", "why")], errors::TIMED_OUT, Class::Unavailable),
            (&[("SYS.1006", "why"), ("ID.1003", "quota")], "SYS.1006", Class::Busy),
        ] {
            assert_eq!(nested(codes), (code.to_owned(), class), "{codes:?}");
        }
    }

    #[test]
    fn a_fault_of_the_vendors_own_says_nothing_about_whether_it_acted() {
        for (status, body) in [(503, r#"{"error":{"code":"SYS.1000"}}"#), (500, "an internal error")] {
            assert!(!is_certain(&refusal(status, body).unwrap()), "{body}");
        }
    }

    #[test]
    fn that_something_could_not_be_done_is_certain() {
        for code in ["SYS.1002", "SYS.1004", "SYS.1006", "SYS.1016", "SYS.1017", "IMG.1000", "HOST.1001"] {
            assert!(
                is_certain(&refusal(503, &format!(r#"{{"error":{{"code":"{code}"}}}}"#)).unwrap()),
                "{code}"
            );
        }
        let late = r#"{"error":{"code":"SYS.1001"}}"#;
        assert!(!is_certain(&refusal(503, late).unwrap()));
    }

    #[test]
    fn what_others_answer_on_the_way_is_not_the_vendors_no() {
        for (status, body) in [
            (503, "Service Unavailable"),
            (502, "<html><body>Bad Gateway</body></html>"),
            (504, "upstream request timeout"),
            (404, "<html></html>"),
            (503, ""),
            (503, r#"{"error":"x"}"#),
        ] {
            assert_eq!(refusal(status, body), None, "{status} {body}");
        }
        assert_eq!(refusal(202, "{}"), None);
    }
}
