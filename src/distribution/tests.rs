//! What is to be done about copies, and what is shown of them, in tables.

use super::{
    DistributionStatus, ImageDistribution, Row,
    shown::{Trouble, status},
    steps::{Copy, LONGEST_NAME, ORPHAN, Step, copy_name, new_copy, request, steps, wanted},
};
use crate::{
    engine::status::{Detail, READY, RECONCILING, STALLED, condition},
    image::{DeletionPolicy, Import, Phase, REQUESTED_AT},
    vendors::aliyun::image_copy::AliyunImageCopy,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn distribution(regions: &[&str], spec: Value) -> ImageDistribution {
    let regions: Vec<_> = regions.iter().map(|region| json!({ "regionId": region })).collect();
    let mut whole = json!({
        "accountRef": { "name": "aliyun" }, "regions": regions, "forProvider": { "imageId": "m-1", "destinationImageName": "base-1" },
    });
    json_patch::merge(&mut whole, &spec);
    let mut distribution = ImageDistribution::new("base", serde_json::from_value(whole).unwrap());
    distribution.metadata.uid = Some("u-1".into());
    distribution.metadata.generation = Some(2);
    distribution
}

/// A copy as the distribution wants it, with the conditions that are true.
fn copy(distribution: &ImageDistribution, region: &str, conditions: &[&str], reason: &str) -> Copy {
    let wanted = wanted(distribution).into_iter().find(|wanted| wanted.name == copy_name("base", region));
    let mut object = AliyunImageCopy::new(&copy_name("base", region), wanted.unwrap().spec);
    object.metadata.generation = Some(1);
    let conditions: Vec<_> = [READY, RECONCILING, STALLED]
        .iter()
        .map(|type_| {
            condition(
                type_,
                conditions.contains(type_),
                reason,
                "it says why.",
                1,
                &[],
                Timestamp::UNIX_EPOCH,
            )
        })
        .collect();
    let phase = match reason {
        "Available" => "Ready",
        "Building" => "Building",
        _ => "Failed",
    };
    let status = json!({ "observedGeneration": 1, "phase": phase, "imageId": format!("m-{region}"), "conditions": conditions });
    object.status = Some(serde_json::from_value(status).unwrap());
    Copy { name: object.name_any(), object: Some(Box::new(object)) }
}

fn ready(distribution: &ImageDistribution, region: &str) -> Copy {
    copy(distribution, region, &[READY], "Available")
}

fn building(distribution: &ImageDistribution, region: &str) -> Copy {
    copy(distribution, region, &[RECONCILING], "Building")
}

fn failed(distribution: &ImageDistribution, region: &str) -> Copy {
    copy(distribution, region, &[STALLED], "QuotaExceeded")
}

fn with(mut copy: Copy, change: impl FnOnce(&mut AliyunImageCopy)) -> Copy {
    change(copy.object.as_mut().unwrap());
    copy
}

fn going(copy: Copy) -> Copy {
    with(copy, |object| {
        object.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        object.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
    })
}

/// The steps in words.
fn done(distribution: &ImageDistribution, copies: &[Copy]) -> Vec<String> {
    let word = |step| match step {
        Step::Create(name, _) => format!("create {name}"),
        Step::Amend(name, _) => format!("amend {name}"),
        Step::Delete(name, None) => format!("delete {name}"),
        Step::Delete(name, Some(_)) => format!("tell and delete {name}"),
    };
    steps(distribution, copies).into_iter().map(word).collect()
}

#[test]
fn names_are_the_same_each_time_and_never_too_long() {
    assert_eq!(copy_name("base", "cn-shanghai"), "base-cn-shanghai");
    let names: BTreeSet<_> = ["cn-shanghai", "cn-shenzhen", &"r".repeat(64)]
        .iter()
        .flat_map(|region| {
            ["a".repeat(253), "a.".repeat(126) + "b", "a".repeat(51)].map(|name| copy_name(&name, region))
        })
        .collect();
    assert_eq!(names.len(), 9);
    for name in names {
        assert!(name.len() <= LONGEST_NAME, "{name}");
        assert!(!name.contains(".-") && !name.contains("--"), "{name}");
    }
}

#[test]
fn a_copy_is_what_the_spec_says_of_all_and_of_its_region() {
    let spec = json!({
        "deletionPolicy": "Retain", "deleteSnapshots": false, "timeout": "24h", "recreatePolicy": "WhenMissing",
        "regions": [{ "regionId": "cn-a", "kmsKeyId": "key-a" }, { "regionId": "cn-b", "encrypted": false }],
        "forProvider": { "encrypted": true, "tag": [{ "key": "team", "value": "base" }], "regionId": "cn-c" },
    });
    let distribution = distribution(&[], spec);
    let object = new_copy(&distribution, "base-cn-a", &wanted(&distribution)[0].spec);
    assert_eq!(
        object["metadata"]["ownerReferences"],
        json!([{
            "apiVersion": "cloudimages.dev/v1alpha1", "kind": "ImageDistribution", "name": "base", "uid": "u-1",
            "controller": true, "blockOwnerDeletion": true,
        }])
    );
    let spec = &object["spec"];
    assert_eq!(
        spec["forProvider"],
        json!({
            "regionId": "cn-c", "imageId": "m-1", "destinationRegionId": "cn-a", "destinationImageName": "base-1",
            "encrypted": true, "kmsKeyId": "key-a", "tag": [{ "key": "team", "value": "base" }],
        })
    );
    assert_eq!(
        (
            &spec["accountRef"]["name"],
            &spec["deletionPolicy"],
            &spec["deleteSnapshots"],
            &spec["timeout"],
            &spec["recreatePolicy"]
        ),
        (&json!("aliyun"), &json!("Retain"), &json!(false), &json!("24h"), &json!("WhenMissing"))
    );
    let other = &wanted(&distribution)[1].spec.for_provider;
    assert_eq!((other.encrypted, &other.kms_key_id), (Some(false), &None));
}

#[test]
fn what_is_missing_is_made_as_far_as_there_are_places() {
    let regions = &["a", "b", "c", "d"];
    let distribution = distribution(regions, json!({ "maxParallel": 2 }));
    let is = |copies: &[Copy], expected: &[&str]| {
        assert_eq!(done(&distribution, copies), expected);
    };
    is(&[], &["create base-a", "create base-b"]);
    is(&[building(&distribution, "a")], &["create base-b"]);
    is(&[building(&distribution, "a"), building(&distribution, "b")], &[]);
    is(&[ready(&distribution, "a"), building(&distribution, "b")], &["create base-c"]);
    // What needs a person, is stopped, or goes, keeps nobody waiting.
    let suspended = copy(&distribution, "b", &[], "Suspended");
    is(&[failed(&distribution, "a"), suspended], &["create base-c", "create base-d"]);
    is(&[going(building(&distribution, "a"))], &["create base-b", "create base-c"]);
    // What nobody has seen yet is under way, and so is what has a new spec.
    let unseen = with(ready(&distribution, "a"), |object| object.status = None);
    let stale = with(failed(&distribution, "b"), |object| object.metadata.generation = Some(2));
    is(&[unseen, stale], &[]);
    is(&regions.map(|region| ready(&distribution, region)), &[]);
}

#[test]
fn what_differs_is_set_right_and_what_is_not_wanted_goes_as_the_policy_says() {
    let before = distribution(&["a", "b", "c"], json!({}));
    let distribution = distribution(&["a", "b"], json!({ "deletionPolicy": "Retain" }));
    let right = ready(&distribution, "a");
    let renamed = with(right.clone(), |object| {
        object.spec.for_provider.destination_image_name = Some("other".into());
    });
    assert_eq!(
        done(&distribution, &[renamed.clone(), ready(&before, "c")]),
        ["tell and delete base-c", "amend base-a", "create base-b"]
    );
    // One that is being deleted is not worth it, but for what becomes of its image.
    let all = [going(renamed.clone()), ready(&distribution, "b"), going(ready(&before, "c"))];
    assert_eq!(done(&distribution, &all), ["tell and delete base-c"]);
    let told = with(ready(&before, "c"), |object| {
        object.spec.image.deletion_policy = Some(DeletionPolicy::Retain);
    });
    assert_eq!(
        done(&distribution, &[right.clone(), ready(&distribution, "b"), told.clone()]),
        ["delete base-c"]
    );
    assert!(done(&distribution, &[right.clone(), ready(&distribution, "b"), going(told)]).is_empty());
    // One may be stopped by itself.
    let stopped = with(right.clone(), |object| object.spec.image.suspend = true);
    assert!(done(&distribution, &[stopped, ready(&distribution, "b")]).is_empty());
    // And take over what is there.
    let import = Import { id: Some("m-1".into()), matching: None, made_for: None };
    let taking = with(right.clone(), |object| object.spec.image.import = Some(import.clone()));
    assert!(done(&distribution, &[taking, ready(&distribution, "b")]).is_empty());
    let both = with(renamed.clone(), |object| object.spec.image.import = Some(import.clone()));
    let steps = steps(&distribution, &[both, ready(&distribution, "b")]);
    let [Step::Amend(_, spec)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(spec.image.import, Some(import));
    let mut suspended = distribution.clone();
    suspended.spec.suspend = true;
    assert!(done(&suspended, &[renamed]).is_empty());
    let mut deleted = distribution.clone();
    deleted.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(done(&deleted, std::slice::from_ref(&right)), ["delete base-a"]);
    deleted.metadata.finalizers = Some(vec![ORPHAN.into()]);
    assert!(done(&deleted, &[right]).is_empty());
}

fn shown(
    distribution: &ImageDistribution,
    copies: &[Copy],
    troubles: &[Trouble],
) -> (DistributionStatus, String) {
    let (new, detail) = status(distribution, copies, troubles, Timestamp::UNIX_EPOCH);
    let new = new.expect("news");
    let mut again = distribution.clone();
    again.status = Some(new.clone());
    assert_eq!(status(&again, copies, troubles, Timestamp::now()).0, None, "nothing is written twice");
    let is_true: Vec<_> =
        new.conditions.iter().filter(|it| it.status == "True").map(|it| it.type_.as_str()).collect();
    let told = format!("{} {}: {}", is_true.join(), new.conditions[0].reason, new.conditions[0].message);
    assert_eq!(detail.is_none(), is_true == [READY]);
    (new, told)
}

trait Join {
    fn join(&self) -> String;
}

impl Join for Vec<&str> {
    fn join(&self) -> String {
        self.as_slice().join("+")
    }
}

#[test]
fn it_is_ready_when_all_copies_are_and_says_which_is_not() {
    let distribution = distribution(&["a", "b"], json!({}));
    let three = self::distribution(&["a", "b", "c"], json!({}));
    let trouble = |reason: &str| Trouble { name: "base-b".into(), detail: Detail::stalled(reason, "why") };
    let one = ready(&distribution, "a");
    for (copies, troubles, count, phase, told) in [
        (
            vec![],
            vec![],
            "0/2",
            Phase::Pending,
            "Reconciling Distributing: 0 of 2 copies are Ready; a waits for its turn; b waits for its turn",
        ),
        (
            vec![one.clone()],
            vec![],
            "1/2",
            Phase::Building,
            "Reconciling Distributing: 1 of 2 copies are Ready; b waits for its turn",
        ),
        (
            vec![one.clone(), building(&distribution, "b")],
            vec![],
            "1/2",
            Phase::Building,
            "Reconciling Distributing: 1 of 2 copies are Ready; b: Building",
        ),
        (
            vec![one.clone(), ready(&distribution, "b")],
            vec![],
            "2/2",
            Phase::Ready,
            "Ready Available: all 2 copies are Ready",
        ),
        (
            vec![one.clone(), failed(&distribution, "b")],
            vec![],
            "1/2",
            Phase::Failed,
            "Stalled CopyStalled: b: AliyunImageCopy base-b: QuotaExceeded: it says why; 1 of 2 copies are Ready",
        ),
        (
            vec![building(&distribution, "a"), failed(&distribution, "b")],
            vec![],
            "0/2",
            Phase::Failed,
            "Stalled CopyStalled: b: AliyunImageCopy base-b: QuotaExceeded: it says why; 0 of 2 copies are Ready; a: Building",
        ),
        (
            vec![one.clone()],
            vec![trouble("NameTaken")],
            "1/2",
            Phase::Failed,
            "Stalled NameTaken: b: why; 1 of 2 copies are Ready",
        ),
        // So is what a new spec needs to be dealt with.
        (
            vec![
                one.clone(),
                with(failed(&distribution, "b"), |object| {
                    object.status.as_mut().unwrap().observed_generation = Some(0);
                }),
            ],
            vec![],
            "1/2",
            Phase::Failed,
            "Stalled CopyStalled: b: AliyunImageCopy base-b: QuotaExceeded: it says why; 1 of 2 copies are Ready",
        ),
        // What the spec asks for now is not there yet.
        (
            vec![one.clone(), with(ready(&distribution, "b"), |object| object.metadata.generation = Some(2))],
            vec![],
            "1/2",
            Phase::Building,
            "Reconciling Distributing: 1 of 2 copies are Ready; b: Ready",
        ),
        (
            vec![one.clone(), ready(&distribution, "b"), going(ready(&three, "c"))],
            vec![],
            "2/2",
            Phase::Building,
            "Reconciling Distributing: 2 of 2 copies are Ready; c is being deleted",
        ),
    ] {
        let (status, said) = shown(&distribution, &copies, &troubles);
        assert_eq!((status.copies.as_deref(), status.phase, said.as_str()), (Some(count), Some(phase), told));
        assert_eq!(status.observed_generation, Some(2));
        assert_eq!(status.regions.len(), 2 + usize::from(copies.len() > 2), "a row for each");
    }
    let (status, _) = shown(&distribution, &[one, failed(&distribution, "b")], &[]);
    let row = |region: &str, phase, reason: Option<&str>| Row {
        region_id: region.into(),
        name: format!("base-{region}"),
        image_id: Some(format!("m-{region}")),
        phase: Some(phase),
        reason: reason.map(Into::into),
    };
    assert_eq!(
        status.regions,
        [row("a", Phase::Ready, None), row("b", Phase::Failed, Some("QuotaExceeded"))]
    );
}

#[test]
fn suspended_it_is_as_it_was_until_its_spec_asks_for_more() {
    let distribution = distribution(&["a"], json!({ "suspend": true }));
    let (_, told) = shown(&distribution, &[ready(&distribution, "a")], &[]);
    assert_eq!(told, "Ready Available: all 1 copies are Ready");
    let renamed = with(ready(&distribution, "a"), |object| {
        object.spec.for_provider.destination_image_name = Some("b".into());
    });
    for copies in [vec![], vec![renamed], vec![building(&distribution, "a")]] {
        let (_, told) = shown(&distribution, &copies, &[]);
        assert!(told.starts_with(" Suspended: suspend is true"), "{told}");
    }
}

#[test]
fn while_it_is_deleted_it_says_what_it_waits_for() {
    let mut distribution = distribution(&["a", "b"], json!({}));
    let copies = [going(building(&distribution, "a")), failed(&distribution, "b")];
    distribution.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let (status, told) = shown(&distribution, &copies[..1], &[]);
    assert_eq!(
        (status.phase, told.as_str()),
        (Some(Phase::Deleting), "Reconciling Deleting: waiting until the copies are gone: a")
    );
    // What is in the way of one is said.
    let waits = with(going(copy(&distribution, "a", &[RECONCILING], "SecretNotFound")), |object| {
        object.metadata.generation = object.status.as_ref().and_then(|status| status.observed_generation);
    });
    let (_, told) = shown(&distribution, &[waits], &[]);
    let expected = "Reconciling Deleting: waiting until the copies are gone: a (AliyunImageCopy base-a: SecretNotFound: it says why)";
    assert_eq!(told, expected);
    let (_, told) = shown(&distribution, &copies, &[]);
    assert!(told.starts_with("Stalled CopyStalled: b: AliyunImageCopy base-b: QuotaExceeded"), "{told}");
    distribution.spec.suspend = true;
    assert!(shown(&distribution, &copies, &[]).1.starts_with(" Suspended: "));
}

#[test]
fn a_request_is_passed_on_once() {
    let mut distribution = distribution(&["a"], json!({}));
    assert_eq!(request(&distribution), None);
    distribution.metadata.annotations = Some([(REQUESTED_AT.to_owned(), "now".to_owned())].into());
    assert_eq!(request(&distribution), Some("now"));
    distribution.spec.suspend = true;
    assert_eq!(request(&distribution), None);
    distribution.spec.suspend = false;
    distribution.status = status(&distribution, &[], &[], Timestamp::UNIX_EPOCH).0;
    assert_eq!(request(&distribution), None);
}
