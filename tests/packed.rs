//! What is kept of an object between two passes: all of it, in few bytes.

use cloud_image_operator::{
    engine::{
        external::External,
        guarded::{Guarded, Unread},
        object::{Object, kind},
        packed::{Packed, Packer},
        store::{Seen, Store},
    },
    image::Phase,
    vendors::{aliyun::image_component::ImageComponent, volcengine::image_export::ImageExport},
};
use kube::{Resource, ResourceExt, api::ObjectMeta};
use serde_json::{Value, json};
use std::collections::HashSet;

fn component(name: &str, phase: &str) -> Value {
    let uid = format!("{:08x}-5c1e-4b6c-9d53-0c8a3b8a2f10", name.len() * 7919 + phase.len());
    let token = format!("{uid}-1");
    let conditions = ["Ready", "Reconciling", "Stalled"].map(|type_| {
        json!({
            "type": type_, "status": if type_ == phase { "True" } else { "False" }, "reason": "Reason",
            "message": "a message of some length, as they are", "observedGeneration": 2,
            "lastTransitionTime": "2026-01-02T03:04:06Z",
        })
    });
    json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ImageComponent",
        "metadata": {
            "name": name, "namespace": "images", "uid": uid, "resourceVersion": "4711", "generation": 2,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "finalizers": ["cloudimages.dev/external"],
            "annotations": { "cloudimages.dev/attempt": format!("{uid} 1 2026-01-02T03:04:05Z"), "mine": "一" },
            "managedFields": [{ "manager": "kubectl", "operation": "Apply" }],
        },
        "spec": {
            "accountRef": { "name": "aliyun" }, "resyncInterval": "30m", "deletionPolicy": "Retain",
            "forProvider": {
                "name": name, "componentVersion": "1.0.0", "description": "Says hello.",
                "content": "Tasks:\n  - Name: HelloWorld\n    Action: RunShellCommand\n    Properties:\n      commandContent: echo\n",
                "tag": [{ "key": "team", "value": "base" }],
            },
        },
        "status": {
            "phase": phase, "observedGeneration": 2, "imageId": format!("ic-{name}"), "lastSeenAt": "2026-01-02T03:04:06Z",
            "managedTags": ["team"],
            "operation": {
                "action": "CreateImageComponent", "attempt": 1, "token": token, "state": "Succeeded", "generation": 1,
                "startedAt": "2026-01-02T03:04:05.123456789Z", "requestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E",
            },
            "atProvider": { "imageComponentId": format!("ic-{name}"), "componentType": "Build", "number": 1.5, "big": u64::MAX },
            "conditions": conditions,
        },
    })
}

fn unread(object: &Value) -> Unread {
    serde_json::from_value(object.clone()).expect("it is there")
}

fn pack<K: External>(packer: &Packer, object: &Value) -> Packed {
    let unread = unread(object);
    packer.pack(&unread.read(kind::<K>()), unread.text())
}

fn in_json(object: &Guarded<Object>) -> Value {
    let text = object.0.as_ref().expect("it can be read").json().expect("it is there");
    serde_json::from_slice(&text).expect("it is JSON")
}

#[test]
fn what_is_unpacked_is_what_was_packed() {
    let packer = Packer::default();
    for (name, phase) in [("a", "Pending"), ("one", "Ready"), ("another", "Ready"), ("b", "Failed")] {
        let object = unread(&component(name, phase)).read(kind::<ImageComponent>());
        let whole = in_json(&object);
        let packed = pack::<ImageComponent>(&packer, &component(name, phase));
        assert_eq!(in_json(&packed.unpack(kind::<ImageComponent>())), whole);
        assert_eq!(whole.pointer("/status/atProvider/big"), Some(&json!(u64::MAX)));
        assert_eq!(whole.pointer("/metadata/managedFields"), None);
        assert_eq!((&*packed.name().1, packed.metadata().uid), (name, object.uid()));
        let times = |metadata: &ObjectMeta| (metadata.generation, metadata.creation_timestamp.clone());
        assert_eq!(times(&packed.metadata()), times(object.meta()));
    }
}

#[test]
fn what_is_at_rest_takes_little() {
    let packer = Packer::default();
    pack::<ImageComponent>(&packer, &component("first", "Pending"));
    pack::<ImageComponent>(&packer, &component("first", "Ready"));
    let whole = component("second", "Ready").to_string().len();
    let packed = pack::<ImageComponent>(&packer, &component("second", "Ready")).bytes();
    assert!(packed < whole / 5, "{packed} of {whole} bytes");
    assert!(size_of::<Packed>() <= 200, "{}", size_of::<Packed>());
}

#[test]
fn there_are_few_examples() {
    let packer = Packer::default();
    let mut examples = HashSet::new();
    for length in 1..2000 {
        let mut object = component("long", "Ready");
        object["spec"]["forProvider"]["content"] = "x".repeat(8 * length).into();
        examples.insert(pack::<ImageComponent>(&packer, &object).example_bytes());
    }
    assert!(examples.len() < 10, "{examples:?}");
}

#[test]
fn what_others_ask_needs_no_unpacking() {
    let packer = Packer::default();
    let packed = pack::<ImageComponent>(&packer, &component("it", "Ready"));
    let other = |change: &dyn Fn(&mut Value)| {
        let mut object = component("it", "Ready");
        change(&mut object);
        pack::<ImageComponent>(&packer, &object).summary().clone()
    };
    assert_eq!(packed.summary().phase, Some(Phase::Ready));
    assert!(!packed.summary().under_way);
    let ours = other(&|object| object["status"]["phase"] = "Failed".into());
    assert_eq!((ours.wishes, ours.phase), (packed.summary().wishes, Some(Phase::Failed)));
    for change in ["/metadata/generation", "/metadata/annotations/mine", "/metadata/finalizers/0"] {
        let theirs = other(&|object| {
            let field = object.pointer_mut(change).expect("it is there");
            *field = if field.is_number() { json!(3) } else { json!("other") };
        });
        assert_ne!(theirs.wishes, packed.summary().wishes, "{change}");
    }
    let running = other(&|object| object["status"]["operation"]["state"] = "Running".into());
    assert!(running.under_way);
}

#[test]
fn what_cannot_be_read_keeps_what_is_known_of_it() {
    let mut odd = component("odd", "Ready");
    odd["spec"]["forProvider"] = json!(7);
    let packed = pack::<ImageExport>(&Packer::default(), &odd);
    assert!(!packed.is_readable());
    assert_eq!(packed.unpack(kind::<ImageExport>()).0.expect_err("it cannot be read").held, ["ic-odd"]);
    assert_eq!(packed.name().1, "odd");
}

/// What the watch told of, kept by name.
#[test]
fn the_store_knows_what_is_there_and_what_is_news() {
    let (store, packer) = (Store::default(), Packer::default());
    let keep = |name: &str, change: Value| {
        let mut object = component(name, "Ready");
        for (field, value) in change.as_object().expect("fields") {
            object["metadata"][field] = value.clone();
        }
        store.keep(pack::<ImageComponent>(&packer, &object))
    };
    store.begin_list();
    let Seen { name, is_news, former } = keep("one", json!({ "uid": "u-1" }));
    assert!(is_news && former.is_none() && !store.is_complete());
    keep("two", json!({ "uid": "u-2" }));
    assert!(store.end_list().is_empty());
    assert!(store.is_complete() && store.knows("u-1") && store.knows("u-2"));
    let again = keep("one", json!({ "uid": "u-1", "resourceVersion": "4712" }));
    assert!(!again.is_news && again.former.is_none(), "nobody else wrote it");
    assert!(std::sync::Arc::ptr_eq(&name, &again.name), "a name is held once");
    assert!(keep("one", json!({ "uid": "u-1", "generation": 3 })).is_news);
    let another = keep("one", json!({ "uid": "u-3", "generation": 3 }));
    let former = another.former.map(|former| former.uid().to_string());
    assert_eq!((another.is_news, former.as_deref()), (true, Some("u-1")), "another object of that name");
    assert!(store.knows("u-3") && !store.knows("u-1"));

    // What a new list does not have went unseen.
    store.begin_list();
    assert!(!keep("one", json!({ "uid": "u-3", "generation": 3 })).is_news);
    assert_eq!(store.all().len(), 2, "until the list has ended, it may still come");
    let gone: Vec<_> = store.end_list().iter().map(|object| object.uid().to_string()).collect();
    assert_eq!(gone, ["u-2"]);
    let there: Vec<_> = store.all().iter().map(|object| object.uid().to_string()).collect();
    assert_eq!((there, store.knows("u-2")), (vec!["u-3".to_owned()], false));
    store.remove(&name);
    assert!(store.get(&name).is_none() && !store.knows("u-3"));
}
