//! Faults as a client meets them on the wire.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vendor_simulator::{Fault, FaultRule, Simulator, When};

use crate::support::{Reply, Rpc, ecs, start};

const CREATE: &str = "CreateImageComponent";

fn creation() -> Rpc {
    Rpc::new(CREATE, &[("Content", "RUN true")])
}

/// One creation under one fault: the answer, and how many components there are afterwards.
async fn under(fault: Fault) -> (Option<Reply>, usize) {
    let simulator = start().await;
    simulator.set_faults(vec![FaultRule::new(fault).service("aliyun-ecs").action(CREATE)]);
    let reply = creation().send(&simulator).await;
    assert_eq!(simulator.ledger().effects.len(), simulator.aliyun_ecs().count());
    (reply, simulator.aliyun_ecs().count())
}

#[tokio::test]
async fn an_answer_gets_lost_after_the_effect() {
    let (reply, made) = under(Fault::AnswerLost).await;
    assert!(reply.is_none());
    assert_eq!(made, 1);
}

#[tokio::test]
async fn a_connection_closes_before_the_effect() {
    let (reply, made) = under(Fault::ConnectionClosed).await;
    assert!(reply.is_none());
    assert_eq!(made, 0);
}

#[tokio::test]
async fn refusals_come_in_the_vendors_envelope() {
    for (fault, expected, made) in [
        (Fault::TooManyRequests, "429 Throttling", 0),
        (Fault::Throttle, "400 Throttling", 0),
        (Fault::InternalError { effect: false }, "500 InternalError", 0),
        (Fault::InternalError { effect: true }, "500 InternalError", 1),
        (
            Fault::VendorError {
                status: 403,
                code: "Forbidden.RAM".into(),
                message: "no".into(),
                effect: false,
            },
            "403 Forbidden.RAM",
            0,
        ),
        (Fault::ClockSkew { seconds: 1000 }, "400 InvalidTimeStamp.Expired", 0),
    ] {
        let (reply, really) = under(fault.clone()).await;
        let reply = reply.unwrap();
        assert_eq!((reply.verdict().as_str(), really), (expected, made), "{fault:?}");
        assert!(reply.json()["RequestId"].is_string());
    }
}

#[tokio::test]
async fn a_proxy_answers_with_html() {
    let (reply, made) = under(Fault::BadGateway { effect: true }).await;
    let reply = reply.unwrap();
    assert_eq!((reply.status, reply.header("content-type"), made), (502, Some("text/html"), 1));
    assert!(reply.text().starts_with("<html>"));
}

#[tokio::test]
async fn bodies_are_truncated_and_cut() {
    let (reply, made) = under(Fault::TruncatedBody).await;
    let reply = reply.unwrap();
    assert!(reply.complete && serde_json::from_slice::<serde_json::Value>(&reply.body).is_err());
    assert_eq!((reply.status, made), (200, 1));

    let (reply, made) = under(Fault::CutBody).await;
    let reply = reply.unwrap();
    assert!(!reply.complete && !reply.body.is_empty());
    assert_eq!((reply.status, made), (200, 1));
}

#[tokio::test]
async fn a_kept_connection_closes_unannounced() {
    let simulator = start().await;
    let request = String::from_utf8(creation().bytes(&[])).unwrap().replace("connection: close\r\n", "");
    for closes in [false, true] {
        let fault = FaultRule::new(Fault::CloseAfterAnswer);
        simulator.set_faults(if closes { vec![fault] } else { Vec::new() });
        let mut stream = TcpStream::connect(simulator.addresses().aliyun_ecs).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let patience = if closes { Duration::from_secs(10) } else { Duration::from_millis(300) };
        let ended = tokio::time::timeout(patience, stream.read_to_end(&mut bytes)).await;
        assert_eq!(ended.is_ok(), closes);
        let answer = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 ") && !answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn a_redirect_points_back_and_does_nothing() {
    let (reply, made) = under(Fault::Redirect { location: None }).await;
    let reply = reply.unwrap();
    assert_eq!((reply.status, reply.header("location"), made), (307, Some("/"), 0));
}

#[tokio::test]
async fn a_hanging_call_never_answers() {
    for effect in [false, true] {
        let simulator = start().await;
        simulator.set_faults(vec![FaultRule::new(Fault::Hang { effect })]);
        let mut stream = TcpStream::connect(simulator.addresses().aliyun_ecs).await.unwrap();
        stream.write_all(&creation().bytes(&[])).await.unwrap();
        until(|| !simulator.ledger().calls.is_empty()).await;
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
        assert!(read.is_err(), "{read:?}");
        assert_eq!(simulator.aliyun_ecs().count(), usize::from(effect));
        let call = simulator.ledger().calls.remove(0);
        assert_eq!((call.status, call.fault.as_deref()), (None, Some("hang")));
        // The servers end with the simulator, and so does the connection.
        drop(simulator);
        assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0);
    }
}

async fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "it did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn seconds_of_a_call(simulator: &Simulator) -> f64 {
    let begin = Instant::now();
    assert_eq!(creation().send(simulator).await.unwrap().status, 200);
    begin.elapsed().as_secs_f64()
}

#[tokio::test]
async fn answers_take_their_time() {
    let simulator = start().await;
    simulator.configure(|settings| settings.latency_millis = 120);
    assert!(seconds_of_a_call(&simulator).await >= 0.12);
    simulator.set_faults(vec![FaultRule::new(Fault::SlowAnswer { millis: 100 })]);
    assert!(seconds_of_a_call(&simulator).await >= 0.22);
}

#[tokio::test]
async fn listings_lag_behind_by_the_worlds_clock() {
    let simulator = start().await;
    simulator
        .set_faults(vec![FaultRule::new(Fault::ListLag { seconds: 30 }).action("DescribeImageComponents")]);
    creation().send(&simulator).await;
    let count = async || ecs(&simulator, "DescribeImageComponents", &[]).await.json()["TotalCount"].clone();
    assert_eq!(count().await, 0);
    simulator.advance(Duration::from_secs(31));
    assert_eq!(count().await, 1);
}

#[tokio::test]
async fn rules_hit_the_calls_that_they_name() {
    let simulator = start().await;
    simulator.set_faults(vec![
        FaultRule::new(Fault::Throttle).action(CREATE).parameter("Name", "unlucky"),
        FaultRule::new(Fault::AnswerLost).service("volcengine"),
        FaultRule::new(Fault::InternalError { effect: false }).action(CREATE).when(When::every(2)),
    ]);
    let mut verdicts = Vec::new();
    for name in ["a1", "a2", "unlucky", "a4"] {
        verdicts.push(ecs(&simulator, CREATE, &[("Content", "RUN true"), ("Name", name)]).await.verdict());
    }
    assert_eq!(verdicts, ["200", "500 InternalError", "400 Throttling", "500 InternalError"]);
    let counts: Vec<_> = simulator.faults().iter().map(|state| (state.seen, state.hit)).collect();
    assert_eq!(counts, [(1, 1), (0, 0), (4, 2)]);
    simulator.set_faults(Vec::new());
    assert_eq!(creation().send(&simulator).await.unwrap().status, 200);
}
