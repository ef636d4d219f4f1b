//! A client that sends exactly the bytes it is told to, and signers written for these tests alone.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vendor_simulator::{Options, Simulator};

pub(crate) async fn start() -> Simulator {
    vendor_simulator::start(Options::default()).await.expect("free ports on loopback")
}

/// An answer as it came.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body is as long as its head says.
    pub(crate) complete: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `status code` of an error in the vendors' JSON, `status` of anything else.
    pub(crate) fn verdict(&self) -> String {
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(Value::Object(body)) if body.contains_key("Code") => {
                format!("{} {}", self.status, body["Code"].as_str().unwrap_or_default())
            }
            // Volcengine's envelope, in which null is no error.
            Ok(body) if body["error"].is_object() => {
                format!("{} {}", self.status, body["error"]["code"].as_str().unwrap_or_default())
            }
            Ok(body) if body["ResponseMetadata"]["Error"].is_object() => {
                let code = body["ResponseMetadata"]["Error"]["Code"].as_str().unwrap_or_default();
                format!("{} {code}", self.status)
            }
            _ => self.status.to_string(),
        }
    }
}

/// Sends the bytes on a connection of its own and reads to its end; none when it ends without an answer.
pub(crate) async fn send(address: SocketAddr, request: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).await.expect("the simulator listens");
    stream.write_all(request).await.expect("the simulator reads");
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let mut reply = Reply { status, headers, body, complete: true };
    let length = reply.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    reply.complete = reply.body.len() == length;
    Some(reply)
}

/// A raw HTTP/1.1 request; its connection ends with the answer.
pub(crate) fn raw(method: &str, target: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut lines = vec![format!("{method} {target} HTTP/1.1")];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.push(format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()));
    [lines.join("\r\n").as_bytes(), body].concat()
}

/// RFC 3986, byte by byte.
pub(crate) fn encode(text: &str) -> String {
    let encoded: Vec<String> = text
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect();
    encoded.concat()
}

/// `a=b&c=d`, encoded, in the order given.
pub(crate) fn query(parameters: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

pub(crate) fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn sha256(data: &[u8]) -> String {
    hex::encode(Sha256::digest(data))
}

pub(crate) fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

/// A text that no other call uses.
pub(crate) fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("nonce-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A call of Alibaba Cloud's RPC gateway that can be bent before it is signed and sent.
#[derive(Clone)]
pub(crate) struct Rpc {
    pub(crate) method: String,
    pub(crate) query: Vec<(String, String)>,
    /// A form body, if it is not empty.
    pub(crate) form: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl Rpc {
    /// Parameters go into the form; the region is added unless it is given.
    pub(crate) fn new(action: &str, parameters: &[(&str, &str)]) -> Self {
        let mut form = owned(parameters);
        if !form.iter().any(|(name, _)| name == "RegionId") {
            form.push(("RegionId".into(), "cn-hangzhou".into()));
        }
        let headers = [
            ("host", "ecs.cn-hangzhou.aliyuncs.com".to_owned()),
            ("x-acs-action", action.to_owned()),
            ("x-acs-version", "2014-05-26".to_owned()),
            ("x-acs-date", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ("x-acs-signature-nonce", nonce()),
        ];
        Self {
            method: "POST".into(),
            query: Vec::new(),
            form,
            headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            key: "simulator".into(),
            secret: "simulator-secret".into(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }

    pub(crate) fn key(mut self, key: &str, secret: &str) -> Self {
        (self.key, self.secret) = (key.into(), secret.into());
        self
    }

    /// The bytes of the call, with an ACS3-HMAC-SHA256 signature over all headers but those named.
    pub(crate) fn bytes(&self, unsigned: &[&str]) -> Vec<u8> {
        let body = query(&self.form).into_bytes();
        let mut headers = self.headers.clone();
        headers.push(("x-acs-content-sha256".into(), sha256(&body)));
        if !body.is_empty() {
            headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
        }
        headers.sort();
        let signed: Vec<&(String, String)> =
            headers.iter().filter(|(name, _)| !unsigned.contains(&name.as_str())).collect();
        let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let lines: Vec<String> = signed.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let mut sorted = self.query.clone();
        sorted.sort();
        let canonical = format!(
            "{}\n/\n{}\n{}\n\n{}\n{}",
            self.method,
            query(&sorted),
            lines.join("\n"),
            names.join(";"),
            sha256(&body)
        );
        let to_sign = format!("ACS3-HMAC-SHA256\n{}", sha256(canonical.as_bytes()));
        let signature = hex::encode(hmac_sha256(self.secret.as_bytes(), to_sign.as_bytes()));
        let authorization = format!(
            "ACS3-HMAC-SHA256 Credential={},SignedHeaders={},Signature={signature}",
            self.key,
            names.join(";")
        );
        headers.push(("Authorization".into(), authorization));
        let target = if self.query.is_empty() { "/".to_owned() } else { format!("/?{}", query(&self.query)) };
        raw(&self.method, &target, &headers, &body)
    }

    pub(crate) async fn send(&self, simulator: &Simulator) -> Option<Reply> {
        send(simulator.addresses().aliyun_ecs, &self.bytes(&[])).await
    }
}

/// Sends a well-formed call of Alibaba Cloud ECS and returns its answer.
pub(crate) async fn ecs(simulator: &Simulator, action: &str, parameters: &[(&str, &str)]) -> Reply {
    Rpc::new(action, parameters).send(simulator).await.expect("an answer")
}

/// A call of Volcengine that can be bent before it is signed and sent.
#[derive(Clone)]
pub(crate) struct Volc {
    pub(crate) method: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl Volc {
    fn new(method: &str, action: &str, version: &str, service: &str, region: &str) -> Self {
        let headers = [
            ("host", "open.volcengineapi.com".to_owned()),
            ("x-date", Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()),
        ];
        Self {
            method: method.into(),
            query: owned(&[("Action", action), ("Version", version)]),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            body: Vec::new(),
            region: region.into(),
            service: service.into(),
            key: "simulator".into(),
            secret: "simulator-secret".into(),
        }
    }

    /// A call of the cloud phone: JSON in the body.
    pub(crate) fn acep(action: &str, body: &Value) -> Self {
        let call = Self::new("POST", action, "2025-05-01", "acep", "cn-north-1")
            .header("content-type", "application/json");
        Self { body: body.to_string().into_bytes(), ..call }
    }

    /// A call of ECS: everything in the query.
    pub(crate) fn ecs(action: &str, parameters: &[(&str, &str)]) -> Self {
        let mut call = Self::new("GET", action, "2020-04-01", "ecs", "cn-beijing");
        call.query.extend(owned(parameters));
        call
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }

    pub(crate) fn key(mut self, key: &str, secret: &str) -> Self {
        (self.key, self.secret) = (key.into(), secret.into());
        self
    }

    /// The bytes of the call, with all headers signed but those named.
    pub(crate) fn bytes(&self, unsigned: &[&str]) -> Vec<u8> {
        let mut headers = self.headers.clone();
        headers.push(("x-content-sha256".into(), sha256(&self.body)));
        headers.sort();
        let signed: Vec<&(String, String)> =
            headers.iter().filter(|(name, _)| !unsigned.contains(&name.as_str())).collect();
        let names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).collect();
        let lines: Vec<String> = signed.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let mut sorted = self.query.clone();
        sorted.sort();
        let names = names.join(";");
        let canonical = format!(
            "{}\n/\n{}\n{}\n\n{names}\n{}",
            self.method,
            query(&sorted),
            lines.join("\n"),
            sha256(&self.body)
        );
        let date =
            self.headers.iter().find(|(name, _)| name == "x-date").map_or("", |(_, value)| value.as_str());
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/{}/request", self.region, self.service);
        let to_sign = format!("HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let mut key = self.secret.as_bytes().to_vec();
        for part in [day, &self.region, &self.service, "request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        let signature = hex::encode(hmac_sha256(&key, to_sign.as_bytes()));
        let authorization = format!(
            "HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key
        );
        headers.push(("Authorization".into(), authorization));
        raw(&self.method, &format!("/?{}", query(&self.query)), &headers, &self.body)
    }

    pub(crate) async fn send(&self, simulator: &Simulator) -> Option<Reply> {
        send(simulator.addresses().volcengine, &self.bytes(&[])).await
    }

    /// What a well-formed call is answered.
    pub(crate) async fn reply(&self, simulator: &Simulator) -> Reply {
        self.send(simulator).await.expect("an answer")
    }

    /// `Result` of a call that must succeed.
    pub(crate) async fn result(&self, simulator: &Simulator) -> Value {
        let reply = self.reply(simulator).await;
        assert_eq!(reply.verdict(), "200", "{}", reply.text());
        reply.json()["Result"].clone()
    }
}

/// A call of BatchCompute that can be bent before it is signed and sent.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) method: String,
    /// Path and query as they are sent and signed.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl Batch {
    pub(crate) fn new(method: &str, target: &str, body: &str) -> Self {
        let headers = [
            ("host", "batchcompute.cn-hangzhou.aliyuncs.com".to_owned()),
            ("date", Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()),
            ("accept", "application/json".to_owned()),
            ("content-type", "application/json".to_owned()),
            ("x-acs-region-id", "cn-hangzhou".to_owned()),
            ("x-acs-signature-method", "HMAC-SHA1".to_owned()),
            ("x-acs-signature-version", "1.0".to_owned()),
            ("x-acs-version", "2015-11-11".to_owned()),
            ("x-acs-signature-nonce", nonce()),
        ];
        Self {
            method: method.into(),
            target: target.into(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            body: body.into(),
            key: "simulator".into(),
            secret: "simulator-secret".into(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }

    pub(crate) fn key(mut self, key: &str, secret: &str) -> Self {
        (self.key, self.secret) = (key.into(), secret.into());
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header = |name: &str| {
            self.headers
                .iter()
                .find(|(key, _)| key == name)
                .map_or("", |(_, value)| value.as_str())
                .to_owned()
        };
        let mut own: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-acs-"))
            .map(|(name, value)| format!("{name}:{value}"))
            .collect();
        own.sort();
        let to_sign = format!(
            "{}\n{}\n\n{}\n{}\n{}\n{}",
            self.method,
            header("accept"),
            header("content-type"),
            header("date"),
            own.join("\n"),
            self.target
        );
        let signature = hmac_sha1_base64(self.secret.as_bytes(), to_sign.as_bytes());
        let mut headers = self.headers.clone();
        headers.push(("Authorization".into(), format!("acs {}:{signature}", self.key)));
        raw(&self.method, &self.target, &headers, &self.body)
    }

    pub(crate) async fn reply(&self, simulator: &Simulator) -> Reply {
        send(simulator.addresses().batchcompute, &self.bytes()).await.expect("an answer")
    }
}

pub(crate) fn hmac_sha1_base64(key: &[u8], data: &[u8]) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(data);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A client of ZStack: a session or an access key, and what it is told.
pub(crate) struct Stack<'a> {
    pub(crate) simulator: &'a Simulator,
    pub(crate) authorization: Option<String>,
}

impl<'a> Stack<'a> {
    /// Without any authorization.
    pub(crate) fn new(simulator: &'a Simulator) -> Self {
        Self { simulator, authorization: None }
    }

    /// Logged in.
    pub(crate) async fn log_in(simulator: &'a Simulator, account: &str, password: &str) -> Self {
        let reply = log_in(simulator, account, password).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let uuid = reply.json()["inventory"]["uuid"].as_str().unwrap().to_owned();
        Self { simulator, authorization: Some(format!("OAuth {uuid}")) }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.call_with(method, path, body, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Reply {
        let mut all = owned(&[("host", "zstack"), ("content-type", "application/json;charset=UTF-8")]);
        all.extend(owned(headers));
        all.extend(self.authorization.clone().map(|value| ("authorization".to_owned(), value)));
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = raw(method, &format!("/zstack/v1/{path}"), &all, body.as_bytes());
        send(self.simulator.addresses().zstack, &request).await.expect("an answer")
    }

    /// The job that an accepted call started.
    pub(crate) fn job(accepted: &Reply) -> String {
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        accepted.json()["location"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    }

    pub(crate) async fn poll(&self, job: &str) -> Reply {
        Stack::new(self.simulator).call("GET", &format!("api-jobs/{job}"), &Value::Null).await
    }

    /// Calls, lets the world's time pass until every job is done, and returns what the job came to.
    pub(crate) async fn finish(&self, method: &str, path: &str, body: &Value) -> Reply {
        let accepted = self.call(method, path, body).await;
        let job = Self::job(&accepted);
        self.simulator.advance(std::time::Duration::from_secs(61));
        self.poll(&job).await
    }
}

pub(crate) async fn log_in(simulator: &Simulator, account: &str, password: &str) -> Reply {
    let password = hex::encode(sha2::Sha512::digest(password.as_bytes()));
    let body = serde_json::json!({"logInByAccount": {"accountName": account, "password": password}});
    Stack::new(simulator).call("PUT", "accounts/login", &body).await
}
