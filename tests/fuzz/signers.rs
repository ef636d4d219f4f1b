//! Requests with any text in them: what the signers make of them, the simulated vendors find in order, and read as it was meant.
//! They share no code.

use super::words::{key, plain_text, text};
use cloud_image_operator::{
    vendors::{self, aliyun},
    wire::encode,
};
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use jiff::{Timestamp, tz::TimeZone};
use proptest::{prelude::*, test_runner::TestRunner};
use std::net::SocketAddr;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use vendor_simulator::{AccessKey, Addresses, Call, Simulator};

/// A request without a signature, and the parameter of it that the vendor must read.
struct Unsigned {
    request: Request<Vec<u8>>,
    meant: Option<(&'static str, String)>,
}

/// What a request is made of: a secret, a name of a parameter's value, a text for a path, a body, and which of several.
type Parts = (String, String, String, String, usize);

fn parts() -> impl Strategy<Value = Parts> {
    (key(), text(), plain_text(), text(), 0..4_usize)
}

/// Signs requests and has the vendor look at them. With another secret, it must refuse.
fn hold_against(
    runner: &mut TestRunner,
    address: fn(Addresses) -> SocketAddr,
    unsigned: impl Fn(&str, &Parts) -> Unsigned,
    sign: impl Fn(&mut Request<Vec<u8>>, &str),
) -> Result<(), String> {
    let runtime: Runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let vendor = runtime.block_on(vendor_simulator::start(vendor_simulator::Options::default()));
    let vendor = vendor.expect("the simulator starts");
    let outcome = runner.run(&parts(), |parts| {
        let secret = parts.0.clone();
        vendor.configure(|settings| settings.access_keys = vec![AccessKey::new("fuzz", secret.clone())]);
        let at = address(vendor.addresses());
        for wrong in [false, true] {
            let Unsigned { mut request, meant } = unsigned(&format!("http://{at}"), &parts);
            sign(&mut request, &if wrong { format!("{secret}x") } else { secret.clone() });
            let call = runtime.block_on(send(&vendor, at, request))?;
            prop_assert_eq!(refused(&call), wrong, "{:?}", call);
            let meant = meant.filter(|(_, value)| !wrong && value.chars().count() <= 40);
            if let Some((name, value)) = meant {
                prop_assert_eq!(call.parameters.get(name), Some(&value), "{:?}", call);
            }
        }
        Ok(())
    });
    outcome.map_err(|error| error.to_string())
}

/// For its signature.
fn refused(call: &Call) -> bool {
    let code = call.code.as_deref().unwrap_or_default();
    ["Signature", "AccessKey", "Authorization", "Unauthorized", "accessKey"]
        .iter()
        .any(|word| code.contains(word))
        || matches!(call.status, Some(401 | 403))
}

async fn send(
    vendor: &Simulator,
    at: SocketAddr,
    mut request: Request<Vec<u8>>,
) -> Result<Call, TestCaseError> {
    let failed = |error: &dyn std::fmt::Display| TestCaseError::fail(format!("not sent: {error}"));
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    *request.uri_mut() = target.parse().map_err(|error| failed(&error))?;
    if !request.headers().contains_key(header::HOST) {
        request.headers_mut().insert(header::HOST, at.to_string().parse().expect("a header"));
    }
    let before = vendor.ledger().calls.len();
    let stream = TcpStream::connect(at).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let driving = tokio::spawn(connection);
    let request = request.map(|body| Full::new(Bytes::from(body)));
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    answer.into_body().collect().await.map_err(|error| failed(&error))?;
    driving.abort();
    let calls = vendor.ledger().calls;
    calls.into_iter().nth(before).ok_or_else(|| TestCaseError::fail("no call arrived"))
}

fn request(method: &str, uri: &str, type_: &str, body: &str) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(uri);
    let request = if type_.is_empty() { request } else { request.header(header::CONTENT_TYPE, type_) };
    request.body(body.as_bytes().to_vec()).expect("a request")
}

/// Queries, unsorted, and JSON bodies.
pub fn volcengine(runner: &mut TestRunner) -> Result<(), String> {
    use vendors::volcengine::sign::{Keys, Scope, sign};
    let unsigned = |at: &str, (_, value, other, body, which): &Parts| {
        let (value, other) = (encode::component(value), encode::component(other));
        if which % 2 == 0 {
            let uri =
                format!("{at}/?ZZ={value}&Action=DescribeTasks&Version=2020-04-01&AA={other}&ZZ.1={value}");
            Unsigned { request: request("GET", &uri, "", ""), meant: None }
        } else {
            let uri = format!("{at}/?Version=2025-05-01&Action=ListAOSPImage&P={value}");
            Unsigned { request: request("POST", &uri, "application/json", body), meant: None }
        }
    };
    let sign = |request: &mut Request<Vec<u8>>, secret: &str| {
        let keys = Keys { access_key: "fuzz".into(), secret_key: secret.into(), session_token: None };
        let service = if request.method() == "GET" { "ecs" } else { "acep" };
        let region = if service == "ecs" { "cn-beijing" } else { "cn-north-1" };
        sign(request, &keys, Scope { region, service }, Timestamp::now()).expect("header text");
    };
    hold_against(runner, |at| at.volcengine, unsigned, sign)
}

/// Forms, and queries.
pub fn aliyun(runner: &mut TestRunner) -> Result<(), String> {
    let unsigned = |at: &str, (_, value, other, _, which): &Parts| {
        let pairs = encode::sorted([("Name", value.as_str()), ("RegionId", "cn-hangzhou"), ("Zz", other)]);
        let request = if which % 2 == 0 {
            request("POST", &format!("{at}/"), "application/x-www-form-urlencoded", &pairs)
        } else {
            request("POST", &format!("{at}/?{pairs}"), "", "")
        };
        Unsigned { request, meant: Some(("Name", value.clone())) }
    };
    let sign = |request: &mut Request<Vec<u8>>, secret: &str| {
        let keys = aliyun::sign::Keys {
            access_key_id: "fuzz".into(),
            access_key_secret: secret.into(),
            security_token: None,
        };
        let nonce = uuid::Uuid::new_v4().to_string();
        let stamp = aliyun::sign::Stamp {
            action: "DescribeImageComponents",
            version: "2014-05-26",
            now: Timestamp::now(),
            nonce: &nonce,
        };
        aliyun::sign::sign(request, &keys, &stamp).expect("header text");
    };
    hold_against(runner, |at| at.aliyun_ecs, unsigned, sign)
}

/// Paths with ids, queries with markers, and JSON bodies.
pub fn batch_compute(runner: &mut TestRunner) -> Result<(), String> {
    use aliyun::batch_compute::sign::{Stamp, sign};
    let unsigned = |at: &str, (_, value, other, body, which): &Parts| {
        let (marker, id) = (encode::component(value), encode::component(other));
        let request = match which {
            0 => request("GET", &format!("{at}/images?MaxItems=100&Marker={marker}"), "", ""),
            1 => request("GET", &format!("{at}/images/x{id}"), "", ""),
            2 => request("DELETE", &format!("{at}/images/x{id}"), "", ""),
            _ => request("POST", &format!("{at}/images"), "application/json", body),
        };
        Unsigned { request, meant: None }
    };
    let sign = |request: &mut Request<Vec<u8>>, secret: &str| {
        let keys = aliyun::sign::Keys {
            access_key_id: "fuzz".into(),
            access_key_secret: secret.into(),
            security_token: None,
        };
        let nonce = uuid::Uuid::new_v4().to_string();
        let stamp = Stamp { region: "cn-hangzhou", now: Timestamp::now(), nonce: &nonce };
        sign(request, &keys, &stamp).expect("header text");
    };
    hold_against(runner, |at| at.batchcompute, unsigned, sign)
}

/// Paths with uuids, and queries, which are not signed.
pub fn zstack(runner: &mut TestRunner) -> Result<(), String> {
    use vendors::zstack::sign::{Keys, sign};
    let unsigned = |at: &str, (_, value, other, body, which): &Parts| {
        let (value, id) = (encode::component(value), encode::component(other));
        let request = match which % 2 {
            0 => request("GET", &format!("{at}/zstack/v1/images?q=name%3D{value}&limit=1"), "", ""),
            _ => request("PUT", &format!("{at}/zstack/v1/images/x{id}/actions"), "application/json", body),
        };
        Unsigned { request, meant: None }
    };
    let sign = |request: &mut Request<Vec<u8>>, secret: &str| {
        let keys = Keys { access_key_id: "fuzz".into(), access_key_secret: secret.into() };
        // The simulated node's.
        let zone = TimeZone::get("Asia/Shanghai").expect("a zone");
        sign(request, &keys, "/zstack", &zone, Timestamp::now()).expect("header text");
    };
    hold_against(runner, |at| at.zstack, unsigned, sign)
}
