//! RootVolumeTemplate: built by a job, changed in place, deleted and expunged, with one session for all.

use crate::harness::{World, condition, secret};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{
    Fault, FaultRule, When,
    zstack::{images::DeletionPolicy, images::Image, sessions::Account},
};

const KIND: &str = "RootVolumeTemplate";
const CREATE: &str = "CreateRootVolumeTemplateFromRootVolume";
const VOLUME: &str = "b94ff32725d133fea53e8ada5ea7f0fc";

/// A world with an account `default` at the simulated ZStack, whose builds take two seconds. `spec`: a JSON merge patch.
async fn world_with(name: &str, keys: Value, spec: Value) -> World {
    let mut world = World::empty(name).await;
    world.beat = Duration::from_secs(1);
    world.vendor.configure(|settings| settings.zstack.create_seconds = 2.0);
    world
        .create(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "zstack" }, "stringData": keys }))
        .await;
    let mut account = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "CloudAccount",
        "metadata": { "name": "default" },
        "spec": { "zstack": {
            "endpoint": format!("http://{}", world.vendor.addresses().zstack),
            "credentialsSecretRef": { "name": "zstack" },
            "timeZone": "Asia/Shanghai",
        } },
    });
    json_patch::merge(&mut account["spec"]["zstack"], &spec);
    let endpoint = account["spec"]["zstack"]["endpoint"].as_str().expect("an endpoint").to_owned();
    world.create(account).await;
    world.start_operator_with(&[], &[&endpoint]).await;
    world
}

async fn world(name: &str) -> World {
    world_with(name, json!({ "accountName": "admin", "password": "password" }), json!({})).await
}

/// A template that the vendor accepts, changed by a JSON merge patch of `forProvider`.
fn template(name: &str, parameters: Value) -> Value {
    let mut object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": KIND,
        "metadata": { "name": name },
        "spec": { "forProvider": { "name": name, "rootVolumeUuid": VOLUME } },
    });
    json_patch::merge(&mut object["spec"]["forProvider"], &parameters);
    object
}

fn is_deleted(world: &World) -> bool {
    world.vendor.zstack().images().is_empty()
}

#[tokio::test]
async fn a_template_is_built_changed_in_place_and_expunged() {
    let mut world = world("template-life").await;
    let parameters = json!({
        "description": "for tests", "guestOsType": "CentOS", "platform": "Linux", "architecture": "x86_64",
        "system": false, "virtio": true, "backupStorageUuids": ["a94ff32725d133fea53e8ada5ea7f0fc"],
        "systemTags": ["bootMode::UEFI"], "userTags": ["team-base"],
    });
    world.create(template("life", parameters)).await;
    let building =
        world.until(KIND, "life", "it is building", |object| object["status"]["phase"] == "Building").await;
    let job = building["status"]["taskId"].as_str().expect("a task").to_owned();
    assert!(world.vendor.zstack().jobs().iter().any(|known| known.uuid == job), "{job}");

    let object = world.until_ready(KIND, "life").await;
    let [made] = world.vendor.zstack().images().try_into().expect("one image");
    assert_eq!(object["status"]["imageId"], made.uuid.as_str());
    assert_eq!(object["status"]["operation"]["token"], job);
    assert_eq!((made.name.as_str(), made.guest_os_type.as_deref()), ("life", Some("CentOS")));
    assert_eq!(
        (made.system_tags, made.user_tags),
        (vec!["bootMode::UEFI".to_owned()], vec!["team-base".to_owned()])
    );
    let seen = &object["status"]["atProvider"];
    assert_eq!(seen["backupStorageRefs"][0]["backupStorageUuid"], "a94ff32725d133fea53e8ada5ea7f0fc");
    assert_eq!(seen["status"], "Ready");
    // By the management node's clock, eight hours ahead.
    let created: jiff::Timestamp =
        seen["createDate"].as_str().expect("a date").parse().expect("with its zone");
    assert!(
        created.duration_since(made.creation.begun).abs() < jiff::SignedDuration::from_secs(2),
        "{created}"
    );

    let wanted = json!({ "name": "other", "description": "changed", "guestOsType": "Windows 11", "platform": "Windows", "architecture": "aarch64", "system": true, "virtio": false });
    world.patch(KIND, "life", json!({ "spec": { "forProvider": wanted } })).await;
    let object = world.until_ready(KIND, "life").await;
    for (field, value) in wanted.as_object().expect("fields") {
        assert_eq!(&object["status"]["atProvider"][field], value, "{field}");
    }
    assert_eq!((world.effects("UpdateImage"), world.effects(CREATE)), (1, 1));

    world.delete(KIND, "life").await;
    world.until_gone(KIND, "life").await;
    assert!(is_deleted(&world));
    assert_eq!((world.effects("DeleteImage"), world.effects("ExpungeImage")), (1, 1));
    assert_eq!((world.calls("LogInByAccount"), world.vendor.zstack().sessions().len()), (1, 1));
    world.stop_operator().await;
    assert_eq!(world.vendor.zstack().sessions().len(), 0, "logged out");
}

/// Ready means usable, and of a disabled image no machine can be made.
#[tokio::test]
async fn a_disabled_image_is_not_ready() {
    let world = world("template-disabled").await;
    let disabled = |is| {
        world
            .vendor
            .zstack()
            .images()
            .iter()
            .all(|image| world.vendor.zstack().modify(&image.uuid, |image| image.disabled = is))
    };
    world.create(template("disabled", json!({}))).await;
    world.until_ready(KIND, "disabled").await;
    assert!(disabled(true));
    world.request(KIND, "disabled", "1").await;
    let message = world.until_condition(KIND, "disabled", "Ready", "False", "Building").await;
    assert!(message.contains("is disabled") && message.contains("enable it in ZStack"), "{message}");
    assert!(disabled(false));
    world.until_ready(KIND, "disabled").await;
    assert_eq!((world.effects(CREATE), world.effects("UpdateImage")), (1, 0));
}

#[tokio::test]
async fn whatever_is_lost_one_image_is_made() {
    let world = world("template-lost").await;
    let rule =
        |name: &str, fault| FaultRule::new(fault).action(CREATE).parameter("name", name).when(When::first(1));
    let cases = [
        ("lost", Fault::AnswerLost),
        ("closed", Fault::ConnectionClosed),
        ("broken", Fault::InternalError { effect: false }),
        ("broken-after", Fault::InternalError { effect: true }),
        ("gateway-after", Fault::BadGateway { effect: true }),
        ("truncated", Fault::TruncatedBody),
        ("record-gone", Fault::ForgetTask { after_seconds: 0 }),
    ];
    world.vendor.set_faults(cases.iter().map(|(name, fault)| rule(name, fault.clone())).collect());
    join_all(cases.iter().map(|(name, _)| world.create(template(name, json!({}))))).await;
    for (name, _) in &cases {
        let object = world.until_ready(KIND, name).await;
        assert_eq!(object["status"]["operation"]["attempt"], 1, "{name}");
    }
    assert_eq!(world.effects(CREATE), cases.len());
    assert_eq!(world.calls("LogInByAccount"), 1);
}

/// Under other vendors' 503 nobody would know whether something was made.
#[tokio::test]
async fn an_error_of_the_api_under_503_is_its_answer() {
    let world = world("template-503").await;
    let refused = |name: &str, code: &str, message: &str| {
        let fault =
            Fault::VendorError { status: 503, code: code.into(), message: message.into(), effect: false };
        // Whoever is not allowed stays so: it is tried again from time to time.
        let when = if ["denied", "impossible"].contains(&name) { When::always() } else { When::first(1) };
        FaultRule::new(fault).action(CREATE).parameter("name", name).when(when)
    };
    world.vendor.set_faults(vec![
        refused("invalid", "SYS.1007", "One or more API argument is invalid"),
        refused("denied", "ID.1002", "Permission denied"),
        refused("impossible", "SYS.1006", "Operation error"),
        refused("dead", "ID.1001", "Session expired"),
    ]);
    world.create(template("invalid", json!({}))).await;
    let message = world.until_condition(KIND, "invalid", "Stalled", "True", "InvalidSpec").await;
    assert!(message.contains("SYS.1007"), "{message}");
    world.create(template("denied", json!({}))).await;
    world.until_condition(KIND, "denied", "Ready", "False", "PermissionDenied").await;
    world.create(template("impossible", json!({}))).await;
    world.until_condition(KIND, "impossible", "Ready", "False", "VendorBusy").await;
    assert_eq!(world.effects(CREATE), 0);

    world.create(template("dead", json!({}))).await;
    world.until_ready(KIND, "dead").await;
    assert_eq!(world.effects(CREATE), 1);
}

#[tokio::test]
async fn a_session_that_ended_is_made_anew() {
    let world = world("template-session").await;
    world.create(template("first", json!({}))).await;
    world.until_ready(KIND, "first").await;
    world.vendor.zstack().end_all_sessions();
    world.create(template("second", json!({}))).await;
    world.until_ready(KIND, "second").await;
    world.vendor.zstack().end_all_sessions();
    world.patch(KIND, "first", json!({ "spec": { "forProvider": { "description": "changed" } } })).await;
    world.until_ready(KIND, "first").await;
    assert_eq!((world.effects(CREATE), world.vendor.zstack().sessions().len()), (2, 1));
    assert_eq!(world.calls("LogInByAccount"), 3);

    // A new password: a new session, and the old one does not stay.
    world.vendor.configure(|settings| settings.zstack.accounts[0].password = "changed".into());
    world.patch("Secret", "zstack", json!({ "stringData": { "password": "changed" } })).await;
    world.create(template("third", json!({}))).await;
    world.until_ready(KIND, "third").await;
    world.until_true("only the new session lives", || world.vendor.zstack().sessions().len() == 1).await;
    assert_eq!(world.calls("LogOut"), 1);
}

#[tokio::test]
async fn a_login_that_is_refused_is_the_accounts_fault() {
    let keys = json!({ "accountName": "admin", "password": " blanks count \n" });
    let world = world_with("template-login", keys, json!({})).await;
    world.vendor.configure(|settings| settings.zstack.accounts[0].password = " blanks count ".into());
    let fault = Fault::VendorError {
        status: 503,
        code: "SYS.1007".into(),
        message: "One or more API argument is invalid".into(),
        effect: false,
    };
    world.vendor.set_faults(vec![FaultRule::new(fault).action("LogInByAccount")]);
    world.create(template("login", json!({}))).await;
    let message = world.until_condition(KIND, "login", "Ready", "False", "CredentialsRefused").await;
    assert!(message.contains("SYS.1007") && message.contains("accountName"), "{message}");
    let object = world.get(KIND, "login").await.expect("it is there");
    assert_eq!(condition(&object, "Stalled")["status"], "True", "a person has to act");
    world.vendor.set_faults(vec![]);
    // Else the login would only be tried again after a while.
    world.patch("Secret", "zstack", json!({ "stringData": { "note": "new" } })).await;
    world.until_ready(KIND, "login").await;
    assert_eq!(world.effects(CREATE), 1);
}

#[tokio::test]
async fn two_hundred_at_once_use_one_session() {
    let world = world("template-many").await;
    let names: Vec<_> = (0..200).map(|number| format!("many-{number}")).collect();
    join_all(names.iter().map(|name| world.create(template(name, json!({}))))).await;
    join_all(names.iter().map(|name| world.until_ready(KIND, name))).await;
    assert_eq!((world.effects(CREATE), world.calls(CREATE)), (200, 200));
    assert_eq!((world.calls("LogInByAccount"), world.vendor.zstack().sessions().len()), (1, 1));
    assert!(world.calls("QueryImage") < 200, "{}", world.calls("QueryImage"));
}

#[tokio::test]
async fn a_uuid_that_is_taken_is_nobody_elses_to_take() {
    let world = world("template-taken").await;
    let uuid = "fadea0efc22e3e6fa43f537f1af6ee6b";
    world.vendor.zstack().seed(Image { uuid: uuid.into(), name: "theirs".into(), ..Image::default() });
    let object = template("taken", json!({ "resourceUuid": uuid }));
    world.create(object.clone()).await;
    let message = world.until_condition(KIND, "taken", "Stalled", "True", "AlreadyExists").await;
    assert!(message.contains("resourceUuid") && message.contains("spec.import"), "{message}");
    world.delete(KIND, "taken").await;
    world.until_gone(KIND, "taken").await;
    assert_eq!(world.vendor.zstack().images().len(), 1, "it is not ours to delete");

    world.vendor.zstack().remove(uuid);
    world.create(object).await;
    let object = world.until_ready(KIND, "taken").await;
    assert_eq!(object["status"]["imageId"], uuid);
}

/// An image that was deleted softly keeps its uuid until it is expunged.
#[tokio::test]
async fn a_uuid_is_taken_until_its_image_is_expunged() {
    let world = world("template-soft").await;
    let (uuid, now) = ("fadea0efc22e3e6fa43f537f1af6ee6b", jiff::Timestamp::now());
    let theirs = Image { uuid: uuid.into(), deleted: Some(now), ..Image::default() };
    world.vendor.zstack().seed(theirs);
    let mut object = template("soft", json!({ "resourceUuid": uuid }));
    object["spec"]["recreatePolicy"] = "WhenMissing".into();
    world.create(object).await;
    let taken = || world.until_condition(KIND, "soft", "Stalled", "True", "AlreadyExists");
    let message = taken().await;
    assert!(message.contains("its status is Deleted") && message.contains("expunge that image"), "{message}");
    world.vendor.zstack().remove(uuid);
    world.request(KIND, "soft", "1").await;
    world.until_ready(KIND, "soft").await;

    // It is missing, and cannot be made again yet.
    world.vendor.zstack().modify(uuid, |image| image.deleted = Some(now));
    world.request(KIND, "soft", "2").await;
    taken().await;
    world.vendor.zstack().remove(uuid);
    world.request(KIND, "soft", "3").await;
    let object = world.until_ready(KIND, "soft").await;
    assert_eq!(object["status"]["imageId"], uuid);
    assert_eq!(world.effects(CREATE), 2);
}

/// A job that failed because the uuid is taken looks, once its record is gone, like one that made what is there.
#[tokio::test]
async fn a_uuid_that_is_taken_stays_its_owners_without_a_record_of_the_job() {
    let world = world("template-unrecorded").await;
    let uuid = "fadea0efc22e3e6fa43f537f1af6ee6b";
    let theirs = Image { uuid: uuid.into(), name: "theirs".into(), ..Image::default() };
    world.vendor.zstack().seed(theirs);
    let forget = FaultRule::new(Fault::ForgetTask { after_seconds: 0 }).action(CREATE);
    world.vendor.set_faults(vec![forget]);
    world.create(template("taken", json!({ "resourceUuid": uuid }))).await;
    let message = world.until_condition(KIND, "taken", "Stalled", "True", "AlreadyExists").await;
    assert!(message.contains("theirs") && message.contains("spec.import"), "{message}");
    world.delete(KIND, "taken").await;
    world.until_gone(KIND, "taken").await;
    assert_eq!((world.calls(CREATE), world.calls("UpdateImage"), world.calls("DeleteImage")), (0, 0, 0));
    let [theirs] = world.vendor.zstack().images().try_into().expect("one image");
    assert_eq!((theirs.name.as_str(), theirs.deleted), ("theirs", None));
}

/// The vendor forgets a job as soon as it is done, if it took long enough.
#[tokio::test]
async fn what_was_made_under_a_uuid_of_the_users_is_deleted_without_a_record_of_the_job() {
    let world = world("template-long").await;
    world.vendor.configure(|settings| settings.zstack.create_seconds = 6.0);
    let uuid = "fadea0efc22e3e6fa43f537f1af6ee6b";
    world.create(template("long", json!({ "resourceUuid": uuid }))).await;
    let building =
        world.until(KIND, "long", "it is building", |object| object["status"]["phase"] == "Building").await;
    world.delete(KIND, "long").await;
    world.until_condition(KIND, "long", "Ready", "False", "DeletionWaits").await;
    let job = building["status"]["taskId"].as_str().expect("a task");
    world.vendor.zstack().forget_job(job);
    world.until_gone(KIND, "long").await;
    assert!(is_deleted(&world));
}

#[tokio::test]
async fn a_build_that_fails_says_why_and_is_tried_again_when_asked() {
    let world = world("template-fails").await;
    let once = |fault| FaultRule::new(fault).action(CREATE).when(When::first(1));
    world.vendor.set_faults(vec![once(Fault::FailBuild)]);
    world.create(template("fails", json!({}))).await;
    let message = world.until_condition(KIND, "fails", "Stalled", "True", "BuildFailed").await;
    assert!(message.contains("IMG.1000") && message.contains("request id"), "{message}");
    let other =
        json!({ "spec": { "forProvider": { "rootVolumeUuid": "a94ff32725d133fea53e8ada5ea7f0fc" } } });
    world.patch(KIND, "fails", other).await;
    let object = world.until_ready(KIND, "fails").await;
    assert_eq!(object["status"]["operation"]["attempt"], 2);
    assert_eq!(world.vendor.zstack().images().len(), 1);
}

#[tokio::test]
async fn what_a_job_lacks_is_waited_for() {
    let keys = json!({ "accountName": "tenant", "password": "password" });
    let world = world_with("template-quota", keys, json!({})).await;
    let tenant = Account {
        name: "tenant".into(),
        password: "password".into(),
        uuid: "46c27e8ff05c4780bf6d2fa65700f22e".into(),
        admin: false,
    };
    world.vendor.configure(|settings| {
        settings.zstack.accounts.push(tenant);
        settings.zstack.image_quota = 0;
    });
    world.create(template("quota", json!({}))).await;
    let message = world.until_condition(KIND, "quota", "Ready", "False", "QuotaExceeded").await;
    assert!(message.contains("ID.1003"), "{message}");
    let object = world.get(KIND, "quota").await.expect("it is there");
    assert_eq!(condition(&object, "Stalled")["status"], "False");
    world.vendor.configure(|settings| settings.zstack.image_quota = 20);
    world.request(KIND, "quota", "1").await;
    let object = world.until_ready(KIND, "quota").await;
    assert!(object["status"]["operation"]["attempt"].as_u64() > Some(1), "{object:#}");
    assert_eq!(world.effects(CREATE), 1);
}

#[tokio::test]
async fn images_are_deleted_by_whatever_policy() {
    let world = world("template-policy").await;
    world.vendor.configure(|settings| settings.zstack.deletion_policy = DeletionPolicy::Direct);
    world.create(template("direct", json!({ "deleteMode": "Enforcing" }))).await;
    world.until_ready(KIND, "direct").await;
    world.delete(KIND, "direct").await;
    world.until_gone(KIND, "direct").await;
    assert!(is_deleted(&world));
    assert_eq!(world.calls("ExpungeImage"), 0);
    let ledger = world.vendor.ledger();
    let call = ledger.calls_of("DeleteImage").next().expect("a call");
    assert_eq!(call.parameters.get("deleteMode").map(String::as_str), Some("Enforcing"));

    // One that is deleted while it is being made: the vendor cannot be stopped, so it is waited for.
    world.vendor.configure(|settings| {
        settings.zstack.deletion_policy = DeletionPolicy::Delay;
        settings.zstack.create_seconds = 5.0;
    });
    world.create(template("early", json!({}))).await;
    world.until(KIND, "early", "it is building", |object| object["status"]["phase"] == "Building").await;
    world.delete(KIND, "early").await;
    world.until_condition(KIND, "early", "Ready", "False", "DeletionWaits").await;
    world.until_gone(KIND, "early").await;
    assert!(is_deleted(&world));
}

#[tokio::test]
async fn access_keys_are_signed_by_the_nodes_clock() {
    let keys = secret("zstack")["stringData"].clone();
    let world = world_with("template-keys", keys, json!({ "timeZone": "UTC" })).await;
    world.create(template("skewed", json!({}))).await;
    let message = world.until_condition(KIND, "skewed", "Ready", "False", "ClockSkew").await;
    assert!(message.contains("zstack.timeZone"), "{message}");
    world
        // Its zone has no letters of its own.
        .patch("CloudAccount", "default", json!({ "spec": { "zstack": { "timeZone": "Asia/Singapore" } } }))
        .await;
    world.until_ready(KIND, "skewed").await;
    world.delete(KIND, "skewed").await;
    world.until_gone(KIND, "skewed").await;
    assert!(is_deleted(&world));
    assert_eq!(world.calls("LogInByAccount"), 0);
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_the_account_says_so() {
    let mut world = World::empty("template-tls").await;
    world.beat = Duration::from_secs(1);
    world.vendor.configure(|settings| settings.zstack.create_seconds = 2.0);
    let private = world.vendor.over_tls("zstack").await.expect("it listens");
    let endpoint = format!("https://{}", private.address);
    world.start_operator_with(&[], &[&endpoint]).await;
    world
        .create(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "zstack" },
            "stringData": { "accountName": "admin", "password": "password" },
        }))
        .await;
    world
        .create(json!({
            "apiVersion": "cloudimages.dev/v1alpha1",
            "kind": "CloudAccount",
            "metadata": { "name": "default" },
            "spec": { "zstack": { "endpoint": endpoint, "credentialsSecretRef": { "name": "zstack" } } },
        }))
        .await;
    world.create(template("private", json!({}))).await;
    let message = world.until_condition(KIND, "private", "Ready", "False", "VendorUnreachable").await;
    assert!(message.contains("certificate"), "{message}");
    let trust = json!({ "spec": { "zstack": { "caBundle": private.authority } } });
    world.patch("CloudAccount", "default", trust).await;
    world.until_ready(KIND, "private").await;
}
