//! A creating call that is refused for what it has made itself, since it arrived twice or its answer was lost, while the vendor's
//! lists are behind: nothing is asked for under another token until it is known what became of the first, and nothing stays.

use crate::harness::{World, image_of};
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When};

const COPY: (&str, &str) = ("AliyunImageCopy", "CopyImage");
const BUILD: (&str, &str) = ("ImageBuild", "StartImagePipelineExecution");
const PIPELINE: (&str, &str) = ("ImagePipeline", "CreateImagePipeline");

/// An object whose first call takes its effect and is refused for it.
struct Case {
    kind: (&'static str, &'static str),
    name: &'static str,
    refused: (u16, &'static str),
    /// What tells its call from those of others.
    of: (&'static str, &'static str),
}

const CASES: [Case; 4] = [
    Case {
        kind: COPY,
        name: "busy",
        refused: (400, "OperationDenied.ImageCopyConflict"),
        of: ("ImageId", "m-busy"),
    },
    Case {
        kind: COPY,
        name: "named",
        refused: (400, "InvalidImageName.Duplicated"),
        of: ("ImageId", "m-named"),
    },
    Case {
        kind: BUILD,
        name: "run",
        refused: (403, "InvalidImagePipeline.HasRunningExecution"),
        of: ("ImagePipelineId", "ip-run"),
    },
    Case {
        kind: PIPELINE,
        name: "pipeline",
        refused: (409, "InvalidOperation.Conflict"),
        of: ("Name", "pipeline-pipeline"),
    },
];

impl Case {
    async fn create(&self, world: &World) {
        world.create(image_of(self.kind.0, self.name)).await;
    }

    fn rule(&self) -> FaultRule {
        let (status, code) = self.refused;
        let refused = Fault::VendorError { status, code: code.into(), message: "No.".into(), effect: true };
        FaultRule::new(refused).action(self.kind.1).parameter(self.of.0, self.of.1).when(When::first(1))
    }

    fn calls(&self, world: &World) -> usize {
        let ledger = world.vendor.ledger();
        let is_its = |value: &String| value == self.of.1;
        ledger.calls_of(self.kind.1).filter(|call| call.parameters.get(self.of.0).is_some_and(is_its)).count()
    }

    /// How many things were made for it.
    async fn made(&self, world: &World) -> usize {
        let object = world.get(self.kind.0, self.name).await.expect("it is there");
        let uid = object["metadata"]["uid"].as_str().expect("a uid").to_owned();
        let ledger = world.vendor.ledger();
        let effects = ledger.effects_of(self.kind.1);
        effects.filter(|effect| effect.token.as_deref().is_some_and(|token| token.starts_with(&uid))).count()
    }
}

fn lag() -> Vec<FaultRule> {
    ["DescribeImages", "DescribeImagePipelineExecutions", "DescribeImagePipelines"]
        .map(|look| FaultRule::new(Fault::ListLag { seconds: 7200 }).action(look))
        .into()
}

fn faults(cases: &[Case]) -> Vec<FaultRule> {
    cases.iter().map(Case::rule).chain(lag()).collect()
}

fn is_waiting(object: &Value) -> bool {
    object["status"]["operation"]["token"].is_string()
}

fn assert_nothing_left(world: &World) {
    let ecs = world.vendor.aliyun_ecs();
    assert_eq!((ecs.images(), ecs.snapshots(), ecs.pipelines()), (vec![], vec![], vec![]));
    assert!(ecs.executions().iter().all(|run| run.has_made || run.cancelled.is_some()));
}

#[tokio::test]
async fn a_call_that_is_refused_for_itself_is_not_made_anew_while_lists_are_behind() {
    let world = World::new("echo-lag").await;
    world.quicken();
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_seconds = 3600.0);
    world.vendor.set_faults(faults(&CASES));
    for case in &CASES {
        case.create(&world).await;
    }
    for case in &CASES {
        world.until_true("it is asked again, and still nothing shows", || case.calls(&world) >= 2).await;
    }
    world.vendor.set_faults(vec![]);
    for case in &CASES {
        let begun = |object: &Value| {
            object["status"]["imageId"].is_string() || object["status"]["taskId"].is_string()
        };
        let object = world.until(case.kind.0, case.name, "what was made is found", begun).await;
        assert_eq!(object["status"]["operation"]["attempt"], 1, "{object:#}");
        assert_eq!(case.made(&world).await, 1, "{}: {:#?}", case.name, world.call_log());
    }
    world.vendor.advance(Duration::from_secs(3700));
    for case in &CASES {
        world.until_ready(case.kind.0, case.name).await;
        assert_eq!(case.made(&world).await, 1, "{}: {:#?}", case.name, world.call_log());
        world.delete(case.kind.0, case.name).await;
        world.until_gone(case.kind.0, case.name).await;
    }
    assert_nothing_left(&world);
}

/// The number was used up for a call of which nobody knew better, by this operator or an older one.
#[tokio::test]
async fn what_an_earlier_number_made_is_the_object_s_own_all_the_same() {
    let mut world = World::new("echo-number").await;
    world.quicken();
    world.vendor.configure(|settings| settings.aliyun_ecs.execution_seconds = 3600.0);
    let cases = &CASES[..3];
    world.vendor.set_faults(faults(cases));
    for case in cases {
        case.create(&world).await;
        world.until(case.kind.0, case.name, "it waits", is_waiting).await;
    }
    world.stop_operator().await;
    world.vendor.set_faults(vec![]);
    for case in cases {
        let object = world.get(case.kind.0, case.name).await.expect("it is there");
        let uid = object["metadata"]["uid"].as_str().expect("a uid").to_owned();
        let operation =
            json!({ "attempt": 2, "token": format!("{uid}-2"), "state": "NotDone", "reason": null });
        let status = json!({ "phase": "Pending", "operation": operation });
        world.patch_status(case.kind.0, case.name, status).await;
    }
    world.start_operator().await;
    for case in cases {
        let begun = |object: &Value| {
            object["status"]["imageId"].is_string() || object["status"]["taskId"].is_string()
        };
        let object = world.until(case.kind.0, case.name, "what was made is found", begun).await;
        assert_eq!(object["status"]["operation"]["attempt"], 2, "{object:#}");
    }
    world.vendor.advance(Duration::from_secs(3700));
    for case in cases {
        world.until_ready(case.kind.0, case.name).await;
        assert_eq!(case.made(&world).await, 1, "{}: {:#?}", case.name, world.call_log());
        world.delete(case.kind.0, case.name).await;
        world.until_gone(case.kind.0, case.name).await;
    }
    assert_nothing_left(&world);
}

/// Whoever lets the object go before the vendor shows what it made would leave it there.
#[tokio::test]
async fn an_object_that_goes_before_what_it_made_shows_takes_it_along() {
    let world = World::new("echo-goes").await;
    world.quicken();
    world.vendor.configure(|settings| {
        settings.aliyun_ecs.execution_seconds = 3600.0;
        settings.aliyun_ecs.copy_seconds = 3600.0;
    });
    world.vendor.set_faults(faults(&CASES));
    for case in &CASES {
        case.create(&world).await;
        world.until(case.kind.0, case.name, "it waits", is_waiting).await;
        world.delete(case.kind.0, case.name).await;
    }
    for case in &CASES {
        world.until_true("it is asked again, and still nothing shows", || case.calls(&world) >= 2).await;
    }
    world.vendor.set_faults(vec![]);
    for case in &CASES {
        world.until_gone(case.kind.0, case.name).await;
    }
    assert_nothing_left(&world);
}
