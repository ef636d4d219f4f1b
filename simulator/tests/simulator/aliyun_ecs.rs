//! Image components of Alibaba Cloud ECS: what is made, found, changed and deleted, and who may ask.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use vendor_simulator::{Change, Simulator};

use crate::support::{Reply, Rpc, ecs, hmac_sha1_base64, nonce, owned, query, raw, send, start};

const YAML: &str =
    "Tasks:\n  - Name: HelloWorld\n    Action: RunShellCommand\n    Properties: {commandContent: echo hi}\n";

fn id(reply: &Reply) -> String {
    reply.json()["ImageComponentId"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

async fn create(simulator: &Simulator, parameters: &[(&str, &str)]) -> Reply {
    ecs(simulator, "CreateImageComponent", &[&[("Content", YAML)], parameters].concat()).await
}

async fn describe(simulator: &Simulator, parameters: &[(&str, &str)]) -> Vec<Value> {
    let reply = ecs(simulator, "DescribeImageComponents", parameters).await;
    reply.json()["ImageComponent"]["ImageComponentSet"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", reply.text()))
        .clone()
}

#[tokio::test]
async fn a_component_is_made_found_changed_and_deleted() {
    let simulator = start().await;
    let made = create(
        &simulator,
        &[
            ("Name", "镜像-1"),
            ("Description", "two words"),
            ("ClientToken", "t-1"),
            ("Tag.1.Key", "team"),
            ("Tag.1.Value", "base"),
        ],
    )
    .await;
    assert_eq!(made.header("x-acs-request-id"), made.json()["RequestId"].as_str());
    let id = id(&made);

    let shown = &describe(&simulator, &[("ImageComponentId.1", &id)]).await[0];
    assert_eq!(shown["Name"], "镜像-1");
    assert_eq!(shown["ComponentVersion"], "1.0.0");
    assert_eq!(
        (&shown["SystemType"], &shown["ComponentType"], &shown["Owner"]),
        (&"Linux".into(), &"Build".into(), &"SELF".into())
    );
    assert_eq!(shown["Tags"]["Tag"][0]["TagKey"], "team");
    assert_eq!(shown["Content"], YAML);
    assert!(shown.get("Status").is_none());

    let about = [("ResourceType", "imagecomponent"), ("ResourceId.1", &id)];
    let tags = [("Tag.1.Key", "team"), ("Tag.1.Value", "top"), ("Tag.2.Key", "empty")];
    assert_eq!(ecs(&simulator, "TagResources", &[&about[..], &tags].concat()).await.status, 200);
    let untag = ecs(&simulator, "UntagResources", &[&about[..], &[("TagKey.1", "empty")]].concat()).await;
    assert_eq!(untag.status, 200, "{}", untag.text());
    let group =
        [("ResourceType", "imagecomponent"), ("ResourceId", &id), ("ResourceGroupId", "rg-bp67acfmxazb4p01")];
    assert_eq!(ecs(&simulator, "JoinResourceGroup", &group).await.status, 200);
    let component = simulator.aliyun_ecs().get(&id).unwrap();
    assert_eq!(component.tags, [("team".to_owned(), "top".to_owned())].into());
    assert_eq!(component.resource_group_id, "rg-bp67acfmxazb4p01");

    assert_eq!(ecs(&simulator, "DeleteImageComponent", &[("ImageComponentId", &id)]).await.status, 200);
    assert!(describe(&simulator, &[("ImageComponentId.1", &id)]).await.is_empty());
    let again = ecs(&simulator, "DeleteImageComponent", &[("ImageComponentId", &id)]).await;
    assert_eq!(again.verdict(), "404 InvalidImageComponent.NotFound");

    let ledger = simulator.ledger();
    let changes: Vec<_> =
        ledger.effects.iter().map(|effect| (effect.action.as_str(), effect.change)).collect();
    assert_eq!(
        changes,
        [
            ("CreateImageComponent", Change::Created),
            ("TagResources", Change::Changed),
            ("UntagResources", Change::Changed),
            ("JoinResourceGroup", Change::Changed),
            ("DeleteImageComponent", Change::Deleted),
        ]
    );
    assert_eq!(ledger.effects[0].token.as_deref(), Some("t-1"));
    assert_eq!(ledger.effects[0].id, id);
    assert_eq!(ledger.created("aliyun-ecs"), 1);
    let first = &ledger.calls[0];
    assert_eq!((first.status, first.access_key.as_deref()), (Some(200), Some("simulator")));
    assert_eq!(first.parameters["Name"], "镜像-1");
    assert_eq!(first.request_id, made.json()["RequestId"]);
}

#[tokio::test]
async fn a_client_token_gives_the_first_result_again() {
    let simulator = start().await;
    let first = create(&simulator, &[("Name", "one"), ("ClientToken", "abc")]).await;
    let again = create(&simulator, &[("ClientToken", "abc"), ("Name", "one")]).await;
    assert_eq!(id(&first), id(&again));
    assert_ne!(first.json()["RequestId"], again.json()["RequestId"]);
    assert_eq!(simulator.aliyun_ecs().count(), 1);
    let other = create(&simulator, &[("Name", "two"), ("ClientToken", "abc")]).await;
    assert_eq!(other.verdict(), "400 IdempotentParameterMismatch");
    // Tokens are case-sensitive.
    assert_eq!(create(&simulator, &[("Name", "two"), ("ClientToken", "ABC")]).await.status, 200);

    simulator.advance(Duration::from_hours(25));
    let late = create(&simulator, &[("Name", "one"), ("ClientToken", "abc")]).await;
    assert_ne!(id(&first), id(&late), "the token was forgotten");
    assert_eq!(simulator.count_calls("CreateImageComponent"), 5);
    assert_eq!(simulator.count_effects("CreateImageComponent"), 3);
}

#[tokio::test]
async fn versions_are_unique_by_name_and_count_up() {
    let simulator = start().await;
    for expected in ["1.0.0", "2.0.0"] {
        let id = id(&create(&simulator, &[("Name", "app")]).await);
        assert_eq!(simulator.aliyun_ecs().get(&id).unwrap().version, expected);
    }
    assert_eq!(create(&simulator, &[("Name", "app"), ("ComponentVersion", "7.1.0")]).await.status, 200);
    let id = id(&create(&simulator, &[("Name", "app")]).await);
    assert_eq!(simulator.aliyun_ecs().get(&id).unwrap().version, "8.0.0");
    let twice = create(&simulator, &[("Name", "app"), ("ComponentVersion", "7.1.0")]).await;
    assert_eq!(twice.verdict(), "403 InvalidComponentVersion.Exist");
    assert_eq!(create(&simulator, &[("Name", "other"), ("ComponentVersion", "7.1.0")]).await.status, 200);

    let found = describe(&simulator, &[("Name", "app"), ("ComponentVersion", "*.1.0")]).await;
    assert_eq!(found.len(), 1);
    let nameless = describe(&simulator, &[]).await;
    assert_eq!(nameless.len(), 5);
}

#[tokio::test]
async fn a_nameless_component_is_named_after_its_id() {
    let simulator = start().await;
    let id = id(&create(&simulator, &[]).await);
    assert_eq!(simulator.aliyun_ecs().get(&id).unwrap().name, id);
}

#[tokio::test]
async fn pages_follow_each_other_to_the_end() {
    let simulator = start().await;
    for number in 0..7 {
        assert_eq!(create(&simulator, &[("Name", &format!("n-{number}"))]).await.status, 200);
    }
    let (mut names, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = ecs(&simulator, "DescribeImageComponents", &[("MaxResults", "3"), ("NextToken", &token)])
            .await
            .json();
        assert_eq!((&page["TotalCount"], &page["MaxResults"]), (&7.into(), &3.into()));
        for component in page["ImageComponent"]["ImageComponentSet"].as_array().unwrap() {
            names.push(component["Name"].as_str().unwrap().to_owned());
        }
        pages += 1;
        token = page["NextToken"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, names.len()), (3, 7));
    assert_eq!(names[6], "n-6");
    let whole = ecs(&simulator, "DescribeImageComponents", &[("MaxResults", "7")]).await.json();
    assert_eq!(whole["NextToken"], "");
}

#[tokio::test]
async fn filters_narrow_together() {
    let simulator = start().await;
    let tags = [("Tag.1.Key", "k"), ("Tag.1.Value", "v")];
    create(&simulator, &[&[("Name", "aa"), ("ComponentType", "Test")][..], &tags].concat()).await;
    create(
        &simulator,
        &[("Name", "bb"), ("SystemType", "Windows"), ("ResourceGroupId", "rg-bp67acfmxazb4p02")],
    )
    .await;
    simulator.aliyun_ecs().seed(vendor_simulator::aliyun_ecs::Component {
        name: "system".into(),
        owner: "ALIYUN".into(),
        account: "alibaba".into(),
        ..Default::default()
    });
    for (filter, expected) in [
        (vec![("Tag.1.Key", "k")], vec!["aa"]),
        (vec![("Tag.1.Key", "k"), ("Tag.1.Value", "w")], vec![]),
        (vec![("SystemType", "Windows")], vec!["bb"]),
        (vec![("ComponentType", "Test")], vec!["aa"]),
        (vec![("ResourceGroupId", "rg-bp67acfmxazb4p02")], vec!["bb"]),
        (vec![("Owner", "ALIYUN")], vec!["system"]),
        (vec![("Owner", "SELF")], vec!["aa", "bb"]),
        (vec![("Name", "a")], vec![]),
        (vec![("RegionId", "cn-beijing"), ("Name", "aa")], vec![]),
    ] {
        let found = describe(&simulator, &filter).await;
        let names: Vec<_> = found.iter().map(|component| component["Name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn over_the_limit_a_caller_waits_for_the_next_minute() {
    let simulator = start().await;
    simulator.set_clock(&vendor_simulator::ClockChange { speed: Some(0.0), ..Default::default() }).unwrap();
    simulator.configure(|settings| settings.aliyun_ecs.flow_limits[0].requests = 2);
    simulator.configure(|settings| settings.aliyun_ecs.retry_after = Some(1000));
    // To the beginning of a minute, so that 59 seconds later is the same one.
    let second = simulator.clock().world.as_second().rem_euclid(60);
    simulator.advance(Duration::from_secs(60 - second.unsigned_abs()));
    for expected in ["200", "200", "400 Throttling"] {
        assert_eq!(create(&simulator, &[]).await.verdict(), expected);
    }
    simulator.advance(Duration::from_secs(58));
    let throttled = create(&simulator, &[]).await;
    assert_eq!(
        (throttled.verdict().as_str(), throttled.header("x-acs-retry-after")),
        ("400 Throttling", Some("1000"))
    );
    // Other actions and other regions have limits of their own.
    assert!(!describe(&simulator, &[]).await.is_empty());
    assert_eq!(create(&simulator, &[("RegionId", "cn-beijing")]).await.status, 200);
    simulator.advance(Duration::from_secs(2));
    assert_eq!(create(&simulator, &[]).await.status, 200);
    simulator.configure(|settings| settings.aliyun_ecs.throttling_status = 503);
    create(&simulator, &[]).await;
    assert_eq!(create(&simulator, &[]).await.verdict(), "503 Throttling");
}

#[tokio::test]
async fn parameters_are_read_from_query_and_form() {
    let simulator = start().await;
    let mut call = Rpc::new("CreateImageComponent", &[("Content", YAML)]);
    call.query = owned(&[("Name", "mixed 中"), ("Description", "a+b c/d~*")]);
    call.query[0].1 = "mixed".into();
    let reply = call.send(&simulator).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let component = simulator.aliyun_ecs().components().remove(0);
    assert_eq!((component.name.as_str(), component.description.as_deref()), ("mixed", Some("a+b c/d~*")));

    // 16 KB of the worst characters on the request line, as the SDK sends them.
    let content = format!("RUN echo {}", "镜".repeat(5400));
    let mut long = Rpc::new("CreateImageComponent", &[]);
    long.query = std::mem::take(&mut long.form);
    long.query.push(("Content".into(), content));
    let reply = long.send(&simulator).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn calls_that_are_not_signed_well_are_refused() {
    let simulator = start().await;
    simulator.configure(|settings| {
        let token = |token: &str, expires_at| vendor_simulator::AccessKey {
            security_token: Some(token.into()),
            expires_at,
            ..vendor_simulator::AccessKey::new(format!("STS.{token}"), "s")
        };
        settings.access_keys.push(token("good", None));
        settings.access_keys.push(token("old", Some(Timestamp::UNIX_EPOCH)));
    });
    let call = || Rpc::new("DescribeImageComponents", &[]);
    let ago = |minutes| {
        (Timestamp::now() - SignedDuration::from_mins(minutes)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let address = simulator.addresses().aliyun_ecs;
    for (what, bytes, expected) in [
        ("a good one", call().bytes(&[]), "200"),
        ("14 minutes old", call().header("x-acs-date", &ago(14)).bytes(&[]), "200"),
        ("16 minutes old", call().header("x-acs-date", &ago(16)).bytes(&[]), "400 InvalidTimeStamp.Expired"),
        (
            "16 minutes ahead",
            call().header("x-acs-date", &ago(-16)).bytes(&[]),
            "400 InvalidTimeStamp.Expired",
        ),
        (
            "another format",
            call().header("x-acs-date", "2026-11-21 08:30").bytes(&[]),
            "400 InvalidTimeStamp.Format",
        ),
        ("unknown key", call().key("nobody", "x").bytes(&[]), "404 InvalidAccessKeyId.NotFound"),
        ("wrong secret", call().key("simulator", "x").bytes(&[]), "400 SignatureDoesNotMatch"),
        ("no nonce", call().without("x-acs-signature-nonce").bytes(&[]), "400 IncompleteSignature"),
        ("no date", call().without("x-acs-date").bytes(&[]), "400 IncompleteSignature"),
        ("host not signed", call().bytes(&["host"]), "400 IncompleteSignature"),
        ("version not signed", call().bytes(&["x-acs-version"]), "400 IncompleteSignature"),
        ("type not signed", call().bytes(&["content-type"]), "400 IncompleteSignature"),
        ("unknown action", Rpc::new("MakeCoffee", &[]).bytes(&[]), "404 InvalidAction.NotFound"),
        ("other version", call().header("x-acs-version", "2016-03-14").bytes(&[]), "400 InvalidVersion"),
        (
            "unknown region",
            Rpc::new("DescribeImageComponents", &[("RegionId", "mars")]).bytes(&[]),
            "404 InvalidRegionId.NotFound",
        ),
        (
            "no region",
            Rpc::new("DescribeImageComponents", &[("RegionId", "")]).bytes(&[]),
            "400 MissingParameter",
        ),
        ("token", call().key("STS.good", "s").header("x-acs-security-token", "good").bytes(&[]), "200"),
        ("token not sent", call().key("STS.good", "s").bytes(&[]), "400 MissingParameter"),
        (
            "another token",
            call().key("STS.good", "s").header("x-acs-security-token", "bad").bytes(&[]),
            "400 InvalidSecurityToken.MismatchWithAccessKey",
        ),
        (
            "expired token",
            call().key("STS.old", "s").header("x-acs-security-token", "old").bytes(&[]),
            "400 InvalidSecurityToken.Expired",
        ),
        (
            "token with a key that has none",
            call().header("x-acs-security-token", "good").bytes(&[]),
            "400 InvalidSecurityToken.MismatchWithAccessKey",
        ),
    ] {
        let reply = send(address, &bytes).await.unwrap();
        assert_eq!(reply.verdict(), expected, "{what}: {}", reply.text());
        if reply.status != 200 {
            let body = reply.json();
            for field in ["RequestId", "HostId", "Code", "Message", "Recommend"] {
                assert!(body[field].is_string(), "{what}: {field}");
            }
        }
    }
}

/// The older signature, in the query of a GET or the form of a POST.
fn v1(method: &str, changes: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut parameters = owned(&[
        ("Action", "DescribeImageComponents"),
        ("Version", "2014-05-26"),
        ("Format", "JSON"),
        ("AccessKeyId", "simulator"),
        ("SignatureMethod", "HMAC-SHA1"),
        ("SignatureType", ""),
        ("SignatureVersion", "1.0"),
        ("SignatureNonce", &nonce()),
        ("Timestamp", &Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        ("RegionId", "cn-hangzhou"),
        ("Name", "with space*~+"),
    ]);
    parameters.retain(|(name, _)| !changes.contains(&(name.as_str(), None)));
    parameters.sort();
    let encoded = crate::support::encode(&query(&parameters));
    let signature = hmac_sha1_base64(b"simulator-secret&", format!("{method}&%2F&{encoded}").as_bytes());
    parameters.push(("Signature".into(), signature));
    for (name, value) in changes {
        if let (Some(parameter), Some(value)) = (parameters.iter_mut().find(|(key, _)| key == name), value) {
            parameter.1 = (*value).into();
        }
    }
    let mut headers = owned(&[("host", "ecs.cn-hangzhou.aliyuncs.com")]);
    if method == "GET" {
        return raw(method, &format!("/?{}", query(&parameters)), &headers, b"");
    }
    headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
    raw(method, "/", &headers, query(&parameters).as_bytes())
}

#[tokio::test]
async fn the_older_signature_is_checked_too() {
    let simulator = start().await;
    for (what, bytes, expected) in [
        ("GET", v1("GET", &[]), "200"),
        ("POST", v1("POST", &[]), "200"),
        ("changed after signing", v1("GET", &[("Name", Some("other"))]), "400 SignatureDoesNotMatch"),
        ("no time", v1("GET", &[("Timestamp", None)]), "400 MissingParameter"),
        ("no nonce", v1("GET", &[("SignatureNonce", None)]), "400 MissingParameter"),
        ("no key", v1("GET", &[("AccessKeyId", None)]), "400 MissingParameter"),
        ("unknown key", v1("GET", &[("AccessKeyId", Some("nobody"))]), "404 InvalidAccessKeyId.NotFound"),
        ("other method", v1("GET", &[("SignatureMethod", Some("MD5"))]), "400 InvalidSignatureMethod"),
        ("unknown action", v1("GET", &[("Action", Some("X"))]), "404 InvalidAction.NotFound"),
    ] {
        let reply = send(simulator.addresses().aliyun_ecs, &bytes).await.unwrap();
        assert_eq!(reply.verdict(), expected, "{what}: {}", reply.text());
    }
    let bytes = v1("GET", &[]);
    send(simulator.addresses().aliyun_ecs, &bytes).await;
    let again = send(simulator.addresses().aliyun_ecs, &bytes).await.unwrap();
    assert_eq!(again.verdict(), "400 SignatureNonceUsed");
}

#[tokio::test]
async fn the_older_signature_is_answered_in_xml_unless_it_wants_json() {
    let simulator = start().await;
    simulator.aliyun_ecs().seed(vendor_simulator::aliyun_ecs::Component {
        name: "with space*~+".into(),
        description: Some("a<b".into()),
        ..Default::default()
    });
    let reply = send(simulator.addresses().aliyun_ecs, &v1("GET", &[("Format", None)])).await.unwrap();
    let text = reply.text();
    assert!(
        text.contains("<DescribeImageComponentsResponse>") && text.contains("<TotalCount>1</TotalCount>"),
        "{text}"
    );
    assert!(text.contains("<ImageComponent><ImageComponentSet><"), "{text}");
    assert!(text.contains("<Description>a&lt;b</Description>"), "{text}");
    let refused = v1("GET", &[("Format", None), ("SignatureNonce", None)]);
    let reply = send(simulator.addresses().aliyun_ecs, &refused).await.unwrap();
    assert!(reply.text().contains("<Error><Code>MissingParameter</Code>"), "{}", reply.text());
}

#[tokio::test]
async fn accounts_do_not_see_each_other() {
    let simulator = start().await;
    simulator.configure(|settings| {
        settings.access_keys.push(vendor_simulator::AccessKey {
            account: "another".into(),
            ..vendor_simulator::AccessKey::new("second", "s")
        });
    });
    let id = id(&create(&simulator, &[("Name", "mine")]).await);
    let theirs = Rpc::new("DeleteImageComponent", &[("ImageComponentId", &id)]).key("second", "s");
    assert_eq!(theirs.send(&simulator).await.unwrap().verdict(), "404 InvalidImageComponent.NotFound");
    let list = Rpc::new("DescribeImageComponents", &[]).key("second", "s").send(&simulator).await.unwrap();
    assert_eq!(list.json()["TotalCount"], 0);
}
