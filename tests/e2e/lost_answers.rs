//! Whatever goes wrong with the creating call, its object becomes Ready and exactly one thing is made.

use crate::harness::{World, account, component, condition, secret};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When, aliyun_ecs::Component};

const KIND: &str = "ImageComponent";
const CREATE: &str = "CreateImageComponent";

/// Objects are told apart at the vendor by their description, since some of them have no name of their own.
fn described(name: &str, mut parameters: Value) -> Value {
    parameters["description"] = marker(name).into();
    component(name, json!({ "forProvider": parameters }))
}

fn marker(name: &str) -> String {
    format!("made for {name}.")
}

fn rule(name: &str, fault: Fault, when: When) -> FaultRule {
    FaultRule::new(fault).action(CREATE).parameter("Description", marker(name)).when(when)
}

/// Creates one object for each fault, waits until all are Ready, and counts what was made.
async fn all_become_ready_and_each_is_made_once(world: &World, faults: Vec<(&str, Fault, When)>) {
    // With a name and version the vendor would refuse a second one; without, nothing but the operator prevents it.
    let variants = [
        ("named", json!({})),
        ("unversioned", json!({ "componentVersion": null })),
        ("nameless", json!({ "name": null, "componentVersion": null })),
    ];
    let cases: Vec<_> = faults
        .into_iter()
        .flat_map(|(label, fault, when)| {
            variants.clone().map(|(variant, parameters)| {
                (format!("{label}-{variant}"), parameters, fault.clone(), when.clone())
            })
        })
        .collect();
    let rules = cases.iter().map(|(name, _, fault, when)| rule(name, fault.clone(), when.clone()));
    world.vendor.set_faults(rules.collect());
    join_all(cases.iter().map(|(name, parameters, ..)| world.create(described(name, parameters.clone()))))
        .await;
    let ready = join_all(cases.iter().map(|(name, ..)| world.until_ready(KIND, name))).await;

    for state in world.vendor.faults() {
        assert!(state.hit > 0, "{:?} never came about", state.rule);
    }
    let ledger = world.vendor.ledger();
    for ((name, ..), object) in cases.iter().zip(ready) {
        let uid = object["metadata"]["uid"].as_str().expect("a uid");
        let made: Vec<_> = ledger
            .effects_of(CREATE)
            .filter(|effect| effect.token.as_deref().is_some_and(|token| token.starts_with(uid)))
            .collect();
        assert_eq!(made.len(), 1, "{name}: {made:#?}");
        assert_eq!(object["status"]["imageId"], made[0].id.as_str(), "{name}");
        assert_eq!(object["status"]["operation"]["token"].as_str(), made[0].token.as_deref(), "{name}");
    }
    assert_eq!(ledger.effects_of(CREATE).count(), cases.len());
    assert_eq!(world.vendor.aliyun_ecs().count(), cases.len());
}

#[tokio::test]
async fn an_answer_that_is_lost_or_unreadable_makes_nothing_twice() {
    let world = World::new("lost-answers").await;
    let once = || When::first(1);
    let gone = |status, effect| Fault::VendorError {
        status,
        code: "ServiceUnavailable".into(),
        message: "The request has failed due to a temporary failure of the server.".into(),
        effect,
    };
    let faults = vec![
        ("lost", Fault::AnswerLost, once()),
        ("lost-thrice", Fault::AnswerLost, When::first(3)),
        ("closed", Fault::ConnectionClosed, once()),
        ("closed-twice", Fault::ConnectionClosed, When::first(2)),
        ("broken", Fault::InternalError { effect: false }, once()),
        ("broken-after", Fault::InternalError { effect: true }, once()),
        ("gateway", Fault::BadGateway { effect: false }, once()),
        ("gateway-after", Fault::BadGateway { effect: true }, once()),
        ("unavailable", gone(503, false), once()),
        ("unavailable-after", gone(503, true), once()),
        ("truncated", Fault::TruncatedBody, once()),
        ("cut", Fault::CutBody, once()),
        ("slow", Fault::SlowAnswer { millis: 4000 }, once()),
        ("redirect", Fault::Redirect { location: None }, once()),
        ("skew", Fault::ClockSkew { seconds: 3600 }, once()),
    ];
    all_become_ready_and_each_is_made_once(&world, faults).await;
}

/// For how long a token is honoured is not published: it is looked before a call is repeated.
#[tokio::test]
async fn a_token_that_the_vendor_has_forgotten_makes_nothing_twice() {
    let world = World::new("forgotten-tokens").await;
    world.vendor.configure(|settings| settings.aliyun_ecs.client_token_seconds = 0);
    let faults = vec![
        ("lost", Fault::AnswerLost, When::first(1)),
        ("closed", Fault::ConnectionClosed, When::first(1)),
        ("broken", Fault::InternalError { effect: true }, When::first(1)),
    ];
    all_become_ready_and_each_is_made_once(&world, faults).await;
}

/// Components like the one that was asked for, which no object holds: nobody can tell whether one is what the lost call made.
#[tokio::test]
async fn what_somebody_else_made_is_not_taken_for_what_a_lost_call_made() {
    let world = World::new("strangers").await;
    let minute = Duration::from_secs(60);
    let seed = |name: &str, version: &str, age: Duration| {
        world.vendor.aliyun_ecs().seed(Component {
            name: name.into(),
            version: version.into(),
            content: "RUN echo hello".into(),
            creation_time: jiff::Timestamp::now() - age,
            ..Component::default()
        })
    };
    let cases = [
        // Made before it, unless the clocks differ.
        ("older", vec![seed("older", "1.0.0", 5 * minute)]),
        ("two", vec![seed("two", "1.0.0", Duration::ZERO), seed("two", "2.0.0", Duration::ZERO)]),
    ];
    let rules = cases.iter().map(|(name, _)| {
        FaultRule::new(Fault::ConnectionClosed).action(CREATE).parameter("Name", *name).when(When::first(1))
    });
    world.vendor.set_faults(rules.collect());
    for (name, _) in &cases {
        world.create(component(name, json!({ "forProvider": { "componentVersion": null } }))).await;
    }
    for (name, mut ids) in cases {
        world.until_condition(KIND, name, "Stalled", "True", "OutcomeUnknown").await;
        let object = world.get(KIND, name).await.expect("it is there");
        let mut candidates =
            object["status"]["operation"]["candidates"].as_array().cloned().unwrap_or_default();
        candidates.sort_by_key(ToString::to_string);
        ids.sort();
        assert_eq!(json!(candidates), json!(ids), "{name}");
    }
    assert_eq!(world.effects(CREATE), 0);
}

/// Nothing was asked before, so nothing that is there is ours, however much alike; and the vendor may take the number for used.
#[tokio::test]
async fn a_refusal_for_its_token_is_shown_and_the_next_attempt_has_another() {
    let world = World::new("used-tokens").await;
    let theirs = Component { content: "RUN echo hello".into(), ..Component::default() };
    let theirs = world.vendor.aliyun_ecs().seed(theirs);
    let refused = |code: &str, status| Fault::VendorError {
        status,
        code: code.into(),
        message: "No.".into(),
        effect: false,
    };
    world.vendor.set_faults(vec![
        FaultRule::new(refused("IdempotentParameterMismatch", 400)).action(CREATE).when(When::first(1)),
        FaultRule::new(refused("QuotaExceed.ImageComponent", 400))
            .action(CREATE)
            .when(When::first(1).after(1)),
    ]);
    world
        .create(component("used", json!({ "forProvider": { "name": null, "componentVersion": null } })))
        .await;
    let message = world.until_condition(KIND, "used", "Stalled", "True", "TokenReused").await;
    assert!(message.contains("IdempotentParameterMismatch") && message.contains("request id"), "{message}");
    world.request(KIND, "used", "again").await;
    let object = world.until_ready(KIND, "used").await;
    assert_ne!(object["status"]["imageId"], theirs.as_str());
    let sent: Vec<_> = world
        .vendor
        .ledger()
        .calls_of(CREATE)
        .map(|call| call.parameters["ClientToken"].rsplit('-').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(sent, ["1", "2", "3"]);
    assert_eq!(object["status"]["operation"]["attempt"], 3);
}

/// Apart from the others: a request that is never answered holds its place among the account's requests for 20 s.
#[tokio::test]
async fn a_request_that_is_never_answered_makes_nothing_twice() {
    let world = World::new("hanging").await;
    let faults = vec![
        ("hang", Fault::Hang { effect: false }, When::first(1)),
        ("hang-after", Fault::Hang { effect: true }, When::first(1)),
    ];
    all_become_ready_and_each_is_made_once(&world, faults).await;
}

/// Apart from the others: a throttle stops all creating calls of the account for a while.
#[tokio::test]
async fn being_throttled_is_waited_out() {
    let world = World::new("throttled").await;
    let faults = vec![
        ("quota", Fault::Throttle, When::first(1)),
        ("quota-429", Fault::TooManyRequests, When::first(1)),
    ];
    let names: Vec<_> = faults
        .iter()
        .flat_map(|(label, ..)| {
            ["named", "unversioned", "nameless"].map(|variant| format!("{label}-{variant}"))
        })
        .collect();
    all_become_ready_and_each_is_made_once(&world, faults).await;
    for name in names {
        // It happened to all of them at once, and was nobody's to mend.
        let [event] = world.until_events(&name, 1).await.try_into().expect("one Event");
        assert_eq!(event["reason"], "Ready", "{name}");
    }
}

/// What the vendor did shows only when it lists; that a listing fails or lags must not lead to another attempt.
#[tokio::test]
async fn listings_that_fail_or_lag_make_nothing_twice() {
    let world = World::new("blind").await;
    let fault = |fault, when| FaultRule::new(fault).action("DescribeImageComponents").when(when);
    world.vendor.set_faults(vec![
        FaultRule::new(Fault::AnswerLost).action(CREATE).when(When::first(1)),
        fault(Fault::ListLag { seconds: 4 }, When::always()),
        fault(Fault::AnswerLost, When::first(2)),
        fault(Fault::TruncatedBody, When::first(1).after(2)),
    ]);
    world
        .create(component("blind", json!({ "forProvider": { "name": null, "componentVersion": null } })))
        .await;
    world.until_ready(KIND, "blind").await;
    assert_eq!(world.effects(CREATE), 1);
}

/// The vendor cannot be reached at all for a while: nothing was sent, so nothing is in doubt.
#[tokio::test]
async fn a_vendor_that_cannot_be_reached_is_tried_until_it_can() {
    let mut world = World::empty("unreachable").await;
    // Bound and not listening, so that it refuses, and nobody else can be given its port meanwhile.
    let refusing = tokio::net::TcpSocket::new_v4().expect("a socket");
    refusing.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let nowhere = format!("http://{}", refusing.local_addr().expect("an address"));
    world.create(secret("aliyun")).await;
    world.create(account("default", &nowhere)).await;
    world.start_operator_with(&[], &[&nowhere]).await;
    world.create(component("patient", json!({}))).await;
    let message = world.until_condition(KIND, "patient", "Ready", "False", "VendorUnreachable").await;
    assert!(message.to_lowercase().contains("connect"), "{message}");
    let waiting = world.get(KIND, "patient").await.expect("it is there");
    assert_eq!(condition(&waiting, "Stalled")["status"], "False");
    world
        .patch(
            "CloudAccount",
            "default",
            json!({ "spec": { "aliyun": { "ecs": { "endpoint": world.endpoint() } } } }),
        )
        .await;
    tokio::time::timeout(Duration::from_secs(10), world.until_ready(KIND, "patient"))
        .await
        .expect("a corrected account works at once");
    assert_eq!(world.effects(CREATE), 1);
}

/// What a lost call made is as the spec was then: to the vendor, its token now stands for something else.
#[tokio::test]
async fn what_was_made_before_the_spec_changed_is_never_given_up() {
    let mut world = World::new("lost-token").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::AnswerLost).action(CREATE)]);
    world.create(component("token", json!({}))).await;
    let lost = |object: &Value| object["status"]["operation"]["state"] == "InFlight";
    world.until(KIND, "token", "the answer is lost", lost).await;
    world.stop_operator().await;
    world.vendor.set_faults(vec![]);
    world.patch_status(KIND, "token", json!({ "phase": "Pending" })).await;
    let other = json!({ "spec": { "forProvider": { "content": "RUN echo other" } } });
    world.patch(KIND, "token", other).await;
    world.start_operator().await;
    world.until_condition(KIND, "token", "Stalled", "True", "OutcomeUnknown").await;
    let object = world.get(KIND, "token").await.expect("it is there");
    let made: Vec<_> = world.vendor.ledger().effects_of(CREATE).map(|effect| effect.id.clone()).collect();
    assert_eq!((object["status"]["phase"].as_str(), made.len()), (Some("Unclear"), 1));
    assert_eq!(object["status"]["operation"]["candidates"], json!(made));
    let codes: Vec<_> = world.vendor.ledger().calls_of(CREATE).filter_map(|call| call.code.clone()).collect();
    assert_eq!(codes, ["IdempotentParameterMismatch"]);
}

/// Two objects of two accounts at one vendor ask for the same, but for a tag, which can be changed, and a description, of which
/// one says nothing. One call had no effect; the other had, and its answer is not there yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_object_asks_for_at_the_same_time_is_not_taken_for_what_a_lost_call_made() {
    let mut world = World::with_account("lost-alike").await;
    world.create(account("second", world.endpoint())).await;
    let uid = |object: Value| object["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let nameless = |name: &str, account: &str, mut parameters: Value| {
        parameters["name"] = Value::Null;
        parameters["componentVersion"] = Value::Null;
        component(name, json!({ "accountRef": { "name": account }, "forProvider": parameters }))
    };
    let one = uid(world.create(nameless("one", "default", json!({}))).await);
    let parameters = json!({ "description": "Theirs.", "tag": [{ "key": "team", "value": "base" }] });
    let other = uid(world.create(nameless("other", "second", parameters)).await);
    let rule = |fault, uid: &str| {
        FaultRule::new(fault).action(CREATE).parameter("ClientToken", uid).when(When::first(1))
    };
    world
        .vendor
        .set_faults(vec![rule(Fault::ConnectionClosed, &one), rule(Fault::Hang { effect: true }, &other)]);
    world.start_operator().await;
    for (name, uid) in [("one", one), ("other", other)] {
        let object = world.until_ready(KIND, name).await;
        let ledger = world.vendor.ledger();
        let mut made =
            ledger.effects_of(CREATE).filter(|it| it.token.as_deref().is_some_and(|it| it.starts_with(&uid)));
        assert_eq!(object["status"]["imageId"].as_str(), made.next().map(|made| made.id.as_str()), "{name}");
    }
    assert_eq!(world.effects(CREATE), 2, "{:#?}", world.call_log());
}
