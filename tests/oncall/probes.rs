//! `/healthz` and `/readyz`, and what they say is missing.

use crate::harness::{World, rights};
use cloud_image_operator::kinds;
use serde_json::{Value, json};
use std::time::Duration;

const CRD: &str = "CustomResourceDefinition";
const COMPONENTS: &str = "imagecomponents.cloudimages.dev";

/// One story, since what it does to the CRDs would be seen by another.
#[tokio::test]
async fn who_could_lead_is_ready_and_crds_that_are_older_are_named_until_they_are_upgraded() {
    let world = World::with_account("probes").await;
    let start = || world.start_program_with(&["--leader-elect"], Some(Duration::from_secs(20)));
    let leader = start();
    leader
        .until("/readyz", "it leads", |status, body| status == 200 && body.contains("this replica leads"))
        .await;
    let standby = start();
    let body = standby.until("/readyz", "the other is ready too", |status, _| status == 200).await;
    assert_eq!(body, "ok\nthis replica stands by: another one leads\n");

    // As an older operator had them.
    let status = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties";
    let phases =
        kinds::crds(kinds::KINDS).into_iter().find(|crd| crd.metadata.name.as_deref() == Some(COMPONENTS));
    let phases =
        serde_json::to_value(phases).unwrap().pointer(&format!("{status}/phase/enum")).unwrap().clone();
    let mut older = phases.clone();
    older.as_array_mut().unwrap().retain(|phase| phase != "Unclear");
    let replace = async |phases: &Value| {
        let path = format!("{status}/phase/enum");
        world.json_patch(CRD, COMPONENTS, json!([{ "op": "replace", "path": path, "value": phases }])).await;
    };
    replace(&older).await;
    let late = start();
    for operator in [&late, &leader, &standby] {
        let told = |status, body: &str| {
            status == 503
                && body.starts_with(&format!("the CRD {COMPONENTS} that is installed is older than this operator"))
                && body.contains("does not know status.phase: Unclear; upgrade the CRDs: cloud-image-operator crds | kubectl apply")
        };
        let body = operator.until("/readyz", "it tells of the older CRD", told).await;
        // What else is missing may stand below it.
        let line = body.lines().next().expect("a line");
        assert!(operator.log().contains(line), "{body}\n{}", operator.log());
        assert_eq!(operator.get("/healthz").await, Some((200, "ok\n".into())));
    }
    replace(&phases).await;
    for operator in [&late, &leader, &standby] {
        operator.until("/readyz", "the CRD is as it should be", |status, _| status == 200).await;
    }
    let (code, log) = leader.stop().await;
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn what_the_command_line_cannot_mean_is_refused_with_what_it_can() {
    let world = World::with_account("arguments").await;
    for (argument, sentence) in [
        (
            "--namespace=",
            "an empty name is no namespace; name one, or leave --namespace out to watch all of them",
        ),
        ("--namespace=Images", "no namespace can have that name"),
        ("--metrics-addr=8080", "write it like [::]:8080, :8080, localhost:8080 or 10.0.0.1:8080"),
        ("--metrics-addr=[::1]:8o8o", "write it like [::]:8080"),
    ] {
        let (code, log) = world.start_program_with(&[argument], Some(Duration::from_secs(60))).ended().await;
        assert!(code == Some(1) && log.contains(sentence), "{argument}: {code:?} {log}");
    }
}

/// Each that is missing stands in `/readyz` with what it keeps from being read, until it is granted.
#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    const USER: &str = "probed-operator";
    let world = World::with_account("unrighted").await;
    let all = |group: &str, resources: &[&str]| json!([{ "apiGroups": [group], "resources": resources, "verbs": ["*"] }]);
    let ours = |kinds: &[&str]| all("cloudimages.dev", kinds);
    let granted = ours(&[
        "aliyunimagecopies",
        "aospimages",
        "batchcomputeimages",
        "imagebuilds",
        "imagecomponents",
        "imagedistributions",
        "imagepipelines",
        "rootvolumetemplates",
        "cloudaccounts",
    ]);
    let (exports, everybodys) = (ours(&["imageexports"]), ours(&["clustercloudaccounts"]));
    for object in rights("ClusterRole", USER, USER, granted) {
        world.create(object).await;
    }
    let grace = Some(Duration::from_secs(20));
    let operator = world.start_program_as(USER, &[], grace);
    let names = |status: u16, body: &str, resources: &[&str]| {
        let named = |resource: &&str| {
            body.lines().any(|line| {
                line.starts_with("still to be read: ")
                    && line.contains(&format!("cannot list resource \"{resource}\""))
            })
        };
        status == 503 && resources.iter().all(named) && body.lines().count() == resources.len()
    };
    let both = ["imageexports", "clustercloudaccounts"];
    let body = operator.until("/readyz", "it names both", |status, body| names(status, body, &both)).await;
    assert!(body.contains("forbidden"), "{body}");
    assert_eq!(operator.get("/healthz").await, Some((200, "ok\n".into())));
    let (exporting, accounting) = (format!("{USER}-exports"), format!("{USER}-accounts"));
    for object in rights("ClusterRole", &accounting, USER, everybodys) {
        world.create(object).await;
    }
    operator.until("/readyz", "it names one", |status, body| names(status, body, &["imageexports"])).await;
    for object in rights("ClusterRole", &exporting, USER, exports) {
        world.create(object).await;
    }
    operator.until("/readyz", "nothing is missing", |status, body| (status, body) == (200, "ok\n")).await;
    assert_eq!(operator.stop().await.0, Some(0));

    // Who may not see the Lease could never lead.
    let candidate = world.start_program_as(USER, &["--leader-elect"], grace);
    let lease = |status, body: &str| status == 503 && body.contains("leases.coordination.k8s.io");
    candidate.until("/readyz", "it names the Lease", lease).await;
}
