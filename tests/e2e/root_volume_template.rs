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

/// Ready means usable. What is there and is not is looked at until it is, and counts as made.
#[tokio::test]
async fn an_image_that_cannot_be_used_says_so_and_recovers_by_itself() {
    let world = world("template-unusable").await;
    let vendor = || world.vendor.zstack();
    let ids = async |name: &str| {
        world.until_ready(KIND, name).await["status"]["imageId"].as_str().expect("an id").to_owned()
    };
    let unusable = async |name: &str, stalled: bool, said: &str| {
        let is_so = |object: &Value| {
            let (ready, stall) = (condition(object, "Ready"), condition(object, "Stalled"));
            ready["status"] == "False"
                && ready["reason"] == "Unusable"
                && ready["message"].as_str().is_some_and(|message| message.contains(said))
                && (stall["status"] == "True") == stalled
                && (condition(object, "Reconciling")["status"] == "True") != stalled
        };
        world.until(KIND, name, &format!("it is Unusable: {said}"), is_so).await
    };
    for name in ["disabled", "odd", "gone"] {
        let mut object = template(name, json!({}));
        object["spec"]["recreatePolicy"] = "WhenMissing".into();
        world.create(object).await;
    }
    let (disabled, odd, gone) = tokio::join!(ids("disabled"), ids("odd"), ids("gone"));
    assert!(vendor().modify(&disabled, |image| image.disabled = true));
    assert!(vendor().modify(&odd, |image| image.odd_status = Some("Verifying".into())));
    assert!(vendor().modify(&gone, |image| image.disabled = true));
    for name in ["disabled", "odd", "gone"] {
        world.request(KIND, name, "1").await;
    }
    let object = unusable("disabled", true, "enable it in ZStack").await;
    assert_eq!(object["status"]["atProvider"]["state"], "Disabled");
    assert_eq!(
        (&object["status"]["imageId"], &object["status"]["phase"]),
        (&json!(disabled), &json!("Failed"))
    );
    unusable("odd", false, "Verifying").await;
    unusable("gone", true, "is disabled").await;
    world.until_event("disabled", "Unusable").await;
    let events = world.events("disabled").await;
    let warned = |event: &Value| event["type"] == "Warning" && event["reason"] == "Unusable";
    assert_eq!(events.iter().filter(|event| warned(event)).count(), 1, "{events:#?}");
    // What can be changed at the vendor is, all the same.
    world.patch(KIND, "disabled", json!({ "spec": { "forProvider": { "description": "changed" } } })).await;
    world.until_true("it is changed", || world.effects("UpdateImage") == 1).await;

    assert!(vendor().modify(&disabled, |image| image.disabled = false));
    assert!(vendor().modify(&odd, |image| image.odd_status = None));
    vendor().remove(&gone);
    for name in ["disabled", "odd"] {
        world.until_ready(KIND, name).await;
    }
    // It was made once, so it is made again.
    let object = world.until_ready(KIND, "gone").await;
    assert_ne!(object["status"]["imageId"], json!(gone));
    assert_eq!((world.effects(CREATE), world.effects("UpdateImage")), (4, 1));

    // The first look that finds it unusable is the one that finds it made.
    world.vendor.configure(|settings| settings.zstack.moving_seconds = 3600.0);
    let mut object = template("moved", json!({}));
    object["spec"]["recreatePolicy"] = "WhenMissing".into();
    world.create(object).await;
    let object = unusable("moved", false, "is being moved").await;
    world.vendor.configure(|settings| settings.zstack.moving_seconds = 0.0);
    vendor().remove(object["status"]["imageId"].as_str().expect("an id"));
    let object = world.until_ready(KIND, "moved").await;
    assert_eq!(object["status"]["operation"]["attempt"], 2);
    world.delete(KIND, "moved").await;
    world.until_gone(KIND, "moved").await;
}

/// A management node dies, and with it the record of the job that it did; or the record was too old.
#[tokio::test]
async fn an_order_that_the_vendor_lost_is_given_again() {
    let world = world("template-dead-node").await;
    let dies = |name: &str, image| {
        let fault = Fault::NodeDies { image };
        FaultRule::new(fault).action(CREATE).parameter("name", name).when(When::first(1))
    };
    let stalls = FaultRule::new(Fault::StallBuild).action(CREATE).parameter("name", "expunged");
    world.vendor.set_faults(vec![
        dies("lost", false),
        dies("lost-chosen", false),
        dies("going", true),
        stalls.when(When::first(1)),
    ]);
    let uuid = "fadea0efc22e3e6fa43f537f1af6ee6b";
    world.create(template("lost", json!({}))).await;
    world.create(template("lost-chosen", json!({ "resourceUuid": uuid }))).await;
    world.create(template("going", json!({}))).await;
    world.create(template("expunged", json!({}))).await;
    let building = async |name: &str| {
        let is_so = |object: &Value| object["status"]["phase"] == "Building";
        let status = world.until(KIND, name, "it is building", is_so).await["status"].clone();
        let text = |field: &str| status[field].as_str().expect("an id").to_owned();
        (text("taskId"), text("imageId"))
    };
    // Somebody expunges what was made before anybody saw it, so that its uuid cannot be had again.
    let (job, image) = building("expunged").await;
    assert!(world.vendor.zstack().expunge(&image).is_some() && world.vendor.zstack().forget_job(&job));
    // With an image that nobody goes on making, a deletion ends at once: no job says that it is waited for.
    building("going").await;
    world.delete(KIND, "going").await;
    world.until_gone(KIND, "going").await;

    let lost = world.until_ready(KIND, "lost").await;
    let chosen = world.until_ready(KIND, "lost-chosen").await;
    for object in [&lost, &chosen] {
        assert_eq!(object["status"]["operation"]["attempt"], 1, "the uuids are the same");
    }
    assert_eq!(chosen["status"]["imageId"], uuid);
    let expunged = world.until_ready(KIND, "expunged").await;
    assert_ne!(expunged["status"]["imageId"], json!(image));
    assert_eq!(expunged["status"]["operation"]["attempt"], 2, "a new uuid for a new attempt");
    assert_eq!(world.vendor.zstack().images().len(), 3);

    // A uuid of the user's own is not given again either, and only he can choose another.
    world.patch(KIND, "lost-chosen", json!({ "spec": { "recreatePolicy": "WhenMissing" } })).await;
    world.vendor.zstack().expunge(uuid);
    world.request(KIND, "lost-chosen", "1").await;
    let message = world.until_condition(KIND, "lost-chosen", "Stalled", "True", "AlreadyExists").await;
    assert!(message.contains("Duplicate entry") && message.contains("only once"), "{message}");
    let other = json!({ "spec": { "forProvider": { "resourceUuid": "fadea0efc22e3e6fa43f537f1af6ee6c" } } });
    world.patch(KIND, "lost-chosen", other).await;
    world.until_ready(KIND, "lost-chosen").await;
}

/// Nobody can stop a build, and one whose management node died never ends.
#[tokio::test]
async fn the_deletion_of_a_build_that_never_ends_ends() {
    let world = world("template-stuck").await;
    world.vendor.set_faults(vec![FaultRule::new(Fault::StallBuild).action(CREATE)]);
    for name in ["with-image", "without"] {
        world.create(template(name, json!({}))).await;
    }
    let begun = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(13);
    for name in ["with-image", "without"] {
        let is_so = |object: &Value| object["status"]["phase"] == "Building";
        let object = world.until(KIND, name, "it is building", is_so).await;
        if name == "without" {
            world.vendor.zstack().remove(object["status"]["imageId"].as_str().expect("an id"));
        }
        world.delete(KIND, name).await;
        let message = world.until_condition(KIND, name, "Ready", "False", "DeletionWaits").await;
        assert!(message.contains("spec.timeout"), "{message}");
        let status =
            json!({ "operation": { "startedAt": begun.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() } });
        world.patch_status(KIND, name, status).await;
        world.until_gone(KIND, name).await;
    }
    assert!(is_deleted(&world));
    let released = world.until_event("without", "Released").await;
    assert!(
        released["note"].as_str().is_some_and(|note| note.contains("has no image of it")),
        "{released:#}"
    );
}

/// What a management node was making when it died stays Creating, with or without a record of its job.
#[tokio::test]
async fn an_image_that_a_dead_node_left_is_named_and_goes_with_its_object() {
    let world = world("template-abandoned").await;
    let fault =
        |name: &str, fault| FaultRule::new(fault).action(CREATE).parameter("name", name).when(When::first(1));
    world.vendor.set_faults(vec![
        fault("running", Fault::StallBuild),
        fault("forgotten", Fault::NodeDies { image: true }),
    ]);
    let begun = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(13);
    for name in ["running", "forgotten"] {
        world.create(template(name, json!({}))).await;
        let is_so = |object: &Value| object["status"]["phase"] == "Building";
        world.until(KIND, name, "it is building", is_so).await;
        let status =
            json!({ "operation": { "startedAt": begun.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() } });
        world.patch_status(KIND, name, status).await;
        world.request(KIND, name, "look").await;
        let message = world.until_condition(KIND, name, "Stalled", "True", "TimedOut").await;
        assert!(message.contains("management node") && message.contains("delete this object"), "{message}");
        let images = world.vendor.zstack().images();
        assert!(images.iter().any(|image| image.name == name), "{images:?}");
    }
    // As the message says.
    for name in ["running", "forgotten"] {
        world.delete(KIND, name).await;
        world.until_gone(KIND, name).await;
        assert!(world.vendor.zstack().images().iter().all(|image| image.name != name));
        world.create(template(name, json!({}))).await;
        world.until_ready(KIND, name).await;
    }
    assert_eq!(world.vendor.zstack().images().len(), 2);
}

#[tokio::test]
async fn what_the_vendor_takes_from_the_machine_is_set_and_what_it_leaves_out_is_shown() {
    let world = world("template-machine").await;
    let storages = ["a94ff32725d133fea53e8ada5ea7f0fc", "b94ff32725d133fea53e8ada5ea7f0fc"];
    let broken = |storages: &[&str]| {
        let storages = storages.iter().map(|&uuid| uuid.to_owned()).collect::<Vec<_>>();
        world.vendor.configure(|settings| settings.zstack.broken_backup_storages = storages);
    };
    world.vendor.configure(|settings| {
        settings.zstack.vm_architecture = "aarch64".into();
        settings.zstack.vm_virtio = false;
        settings.zstack.nested_causes = true;
    });
    broken(&storages);
    let parameters = json!({ "architecture": "x86_64", "virtio": true, "backupStorageUuids": storages });
    world.create(template("machine", parameters)).await;
    let message = world.until_condition(KIND, "machine", "Ready", "False", "VendorBusy").await;
    assert!(message.contains("allocate backup storage"), "{message}");
    broken(&storages[1..]);
    world.request(KIND, "machine", "1").await;
    let object = world.until_ready(KIND, "machine").await;
    let seen = &object["status"]["atProvider"];
    assert_eq!((&seen["architecture"], &seen["virtio"]), (&json!("x86_64"), &json!(true)));
    assert_eq!(seen["backupStorageRefs"].as_array().map(Vec::len), Some(1));
    let ready = condition(&object, "Ready");
    let message = ready["message"].as_str().unwrap_or_default();
    assert!(message.contains(storages[1]) && message.contains("left out"), "{message}");
    assert!(!message.contains(storages[0]), "{message}");
    assert_eq!((world.effects(CREATE), world.effects("UpdateImage")), (1, 1));
    let events = world.events("machine").await;
    assert!(events.iter().all(|event| event["reason"] != "DriftCorrected"), "{events:#?}");
}

#[tokio::test]
async fn a_build_shows_how_far_it_is_where_the_vendor_tells() {
    let world = world("template-progress").await;
    world.vendor.configure(|settings| settings.zstack.create_seconds = 12.0);
    world.create(template("told", json!({}))).await;
    let is_told =
        |object: &Value| object["status"]["progress"].as_i64().is_some_and(|told| (10..=90).contains(&told));
    world.until(KIND, "told", "it is told how far it is", is_told).await;
    let object = world.until_ready(KIND, "told").await;
    assert_eq!(object["status"]["progress"], 100);
    let writes = world.writes("rootvolumetemplates");
    assert!(writes.len() <= 2 + 9 + 1, "{writes:#?}");

    // Not every version tells it, which is no failure, and is found out once.
    world.vendor.configure(|settings| {
        settings.zstack.create_seconds = 5.0;
        settings.zstack.tells_progress = false;
    });
    let asked = world.calls("GetTaskProgress");
    world.create(template("untold", json!({}))).await;
    let object = world.until_ready(KIND, "untold").await;
    assert!(object["status"]["progress"].is_null(), "{object:#}");
    assert_eq!(world.calls("GetTaskProgress"), asked + 1);
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

/// An image that was deleted softly keeps its uuid; an expunged one does, too, as long as the vendor keeps its row.
#[tokio::test]
async fn a_uuid_is_taken_as_long_as_there_is_a_row_of_it() {
    let world = world("template-soft").await;
    let (uuid, now) = ("fadea0efc22e3e6fa43f537f1af6ee6b", jiff::Timestamp::now());
    let theirs = Image { uuid: uuid.into(), deleted: Some(now), ..Image::default() };
    world.vendor.zstack().seed(theirs);
    let mut object = template("soft", json!({ "resourceUuid": uuid }));
    object["spec"]["recreatePolicy"] = "WhenMissing".into();
    world.create(object).await;
    let taken = || world.until_condition(KIND, "soft", "Stalled", "True", "AlreadyExists");
    let message = taken().await;
    assert!(message.contains("its status is Deleted") && message.contains("only once"), "{message}");
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
    // Its letters, CST, mean another zone to a node that looks at them.
    world.vendor.configure(|settings| settings.zstack.check_time_zone = true);
    let zone = json!({ "spec": { "zstack": { "timeZone": "Asia/Shanghai" } } });
    world.patch("CloudAccount", "default", zone).await;
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
