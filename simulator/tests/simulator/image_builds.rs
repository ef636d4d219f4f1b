//! Runs of image pipelines: their phases, one at a time, what can be cancelled, and what they leave.

use std::time::Duration;

use serde_json::Value;
use vendor_simulator::{
    Change, ClockChange, Fault, FaultRule, Simulator, When, aliyun_ecs::executions::Ending,
};

use crate::support::{Reply, ecs, start as simulator};

async fn start() -> Simulator {
    let simulator = simulator().await;
    simulator.configure(|settings| settings.aliyun_ecs.execution_seconds = 1000.0);
    // Only what a test lets pass passes.
    let still = ClockChange { speed: Some(0.0), ..ClockChange::default() };
    simulator.set_clock(&still).expect("a speed");
    simulator
}

async fn pipeline(simulator: &Simulator, parameters: &[(&str, &str)]) -> String {
    let base = [("BaseImageType", "IMAGE"), ("BaseImage", "m-base")];
    let reply = ecs(simulator, "CreateImagePipeline", &[&base[..], parameters].concat()).await;
    reply.json()["ImagePipelineId"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

async fn begin(simulator: &Simulator, pipeline: &str, parameters: &[(&str, &str)]) -> Reply {
    let about = [("ImagePipelineId", pipeline)];
    ecs(simulator, "StartImagePipelineExecution", &[&about[..], parameters].concat()).await
}

fn id(reply: &Reply) -> String {
    reply.json()["ExecutionId"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

async fn list(simulator: &Simulator, parameters: &[(&str, &str)]) -> Vec<Value> {
    let reply = ecs(simulator, "DescribeImagePipelineExecutions", parameters).await;
    let rows = &reply.json()["ImagePipelineExecution"]["ImagePipelineExecutionSet"];
    rows.as_array().unwrap_or_else(|| panic!("{}", reply.text())).clone()
}

async fn row(simulator: &Simulator, execution: &str) -> Value {
    list(simulator, &[("ExecutionId", execution)]).await.pop().expect("it is there")
}

async fn status(simulator: &Simulator, execution: &str) -> String {
    row(simulator, execution).await["Status"].as_str().expect("a status").to_owned()
}

async fn cancel(simulator: &Simulator, execution: &str) -> String {
    ecs(simulator, "CancelImagePipelineExecution", &[("ExecutionId", execution)]).await.verdict()
}

#[tokio::test]
async fn a_run_goes_through_its_phases_and_leaves_an_image_and_its_snapshot() {
    let simulator = start().await;
    let options = [
        ("ImageOptions.ImageName", "base"),
        ("ImageOptions.ImageTags.1.Key", "team"),
        ("ImageOptions.ImageTags.1.Value", "base"),
        ("TestContent", "RUN true"),
        ("RepairMode", "Standard"),
    ];
    let pipeline = pipeline(&simulator, &options).await;
    let run = id(&begin(&simulator, &pipeline, &[("Tag.1.Key", "mark"), ("Tag.1.Value", "a")]).await);
    let mut seen = vec![];
    for _ in 0..24 {
        let row = row(&simulator, &run).await;
        let (status, image) = (row["Status"].as_str().expect("a status"), row["ImageId"] != "");
        if seen.last().is_none_or(|(last, _)| last != status) {
            seen.push((status.to_owned(), image));
        }
        simulator.advance(Duration::from_secs(50));
    }
    let seen: Vec<_> = seen.iter().map(|(status, image)| (status.as_str(), *image)).collect();
    assert_eq!(
        seen,
        [
            ("PREPARING", false),
            ("REPAIRING", false),
            ("BUILDING", false),
            ("TESTING", true),
            ("DISTRIBUTING", true),
            ("RELEASING", true),
            ("SUCCESS", true),
        ]
    );
    let row = row(&simulator, &run).await;
    assert_eq!(
        (&row["ImagePipelineId"], &row["Tags"]["Tag"][0]["TagKey"]),
        (&pipeline.into(), &"mark".into())
    );
    let made = row["ImageId"].as_str().expect("an id");
    let image = simulator.aliyun_ecs().image(made).expect("it is there");
    assert_eq!(image.name, format!("base_{run}"));
    assert_eq!(image.tags, [("team".to_owned(), "base".to_owned())].into());
    assert_eq!(ecs(&simulator, "DeleteImage", &[("ImageId", made)]).await.verdict(), "200");
    assert_eq!(simulator.aliyun_ecs().snapshots().len(), 1, "it stays, and costs");
    let ledger = simulator.ledger();
    let of_image: Vec<_> =
        ledger.effects.iter().filter(|it| it.id == made).map(|it| (it.action.as_str(), it.change)).collect();
    assert_eq!(
        of_image,
        [("StartImagePipelineExecution", Change::Created), ("DeleteImage", Change::Deleted)]
    );
}

#[tokio::test]
async fn a_pipeline_runs_once_at_a_time_and_goes_with_the_records_of_its_runs() {
    let simulator = start().await;
    let pipeline = pipeline(&simulator, &[]).await;
    let token = [("ClientToken", "t-1")];
    let first = id(&begin(&simulator, &pipeline, &token).await);
    assert_eq!(id(&begin(&simulator, &pipeline, &token).await), first, "the same token, the same run");
    let busy = "403 InvalidImagePipeline.HasRunningExecution";
    assert_eq!(begin(&simulator, &pipeline, &[("ClientToken", "t-2")]).await.verdict(), busy);
    let about = [("ImagePipelineId", &*pipeline)];
    assert_eq!(ecs(&simulator, "DeleteImagePipeline", &about).await.verdict(), busy);
    // A run of another is nobody's business; and nobody has made that pipeline.
    assert_eq!(begin(&simulator, "ip-other", &[]).await.verdict(), "200");
    simulator.advance(Duration::from_secs(1001));
    let second = id(&begin(&simulator, &pipeline, &[("ClientToken", "t-2")]).await);
    simulator.advance(Duration::from_secs(1001));
    let ids: Vec<_> = list(&simulator, &about).await.iter().map(|row| row["ExecutionId"].clone()).collect();
    assert_eq!(ids, [first.as_str(), second.as_str()]);
    assert_eq!(ecs(&simulator, "DeleteImagePipeline", &about).await.verdict(), "200");
    let gone = "404 InvalidImagePipeline.NotFound";
    assert_eq!(ecs(&simulator, "DescribeImagePipelineExecutions", &about).await.verdict(), gone);
    assert_eq!(begin(&simulator, &pipeline, &[]).await.verdict(), gone);
    assert_eq!(list(&simulator, &[("ExecutionId", &first)]).await, Vec::<Value>::new());
    assert_eq!(simulator.aliyun_ecs().images().len(), 3, "the images stay");
}

#[tokio::test]
async fn only_early_phases_can_be_cancelled() {
    let simulator = start().await;
    let pipeline = pipeline(&simulator, &[]).await;
    let first = id(&begin(&simulator, &pipeline, &[]).await);
    simulator.advance(Duration::from_secs(300));
    assert_eq!(status(&simulator, &first).await, "BUILDING");
    assert_eq!(cancel(&simulator, &first).await, "200");
    assert_eq!(status(&simulator, &first).await, "CANCELLING");
    let late = "403 InvalidStatus.ImagePipelineExecution";
    assert_eq!(cancel(&simulator, &first).await, late);
    assert_eq!(
        begin(&simulator, &pipeline, &[]).await.verdict(),
        "403 InvalidImagePipeline.HasRunningExecution"
    );
    simulator.advance(Duration::from_secs(1000));
    assert_eq!(status(&simulator, &first).await, "CANCELLED");
    assert_eq!(simulator.aliyun_ecs().images(), []);
    let second = id(&begin(&simulator, &pipeline, &[]).await);
    simulator.advance(Duration::from_secs(650));
    assert_eq!(status(&simulator, &second).await, "DISTRIBUTING");
    assert_eq!(cancel(&simulator, &second).await, late);
    simulator.advance(Duration::from_secs(1000));
    assert_eq!(status(&simulator, &second).await, "SUCCESS");
    assert_eq!(cancel(&simulator, &second).await, "400 InvalidStatus.CancelFailed");
    assert_eq!(cancel(&simulator, "exec-none").await, "404 InvalidImagePipelineExecution.NotFound");
}

#[tokio::test]
async fn what_fails_late_leaves_an_image_and_what_fails_early_none() {
    let simulator = start().await;
    for (ending, expected, images) in [
        (Ending::TestFailed, "TEST_FAILED", 1),
        (Ending::PartitionSuccess, "PARTITION_SUCCESS", 2),
        (Ending::Failed, "FAILED", 2),
    ] {
        simulator.configure(|settings| settings.aliyun_ecs.execution_ending = ending);
        let run = id(&begin(&simulator, "ip-any", &[]).await);
        simulator.advance(Duration::from_secs(1001));
        let row = row(&simulator, &run).await;
        assert_eq!(row["Status"], expected);
        assert!(row["Message"].as_str().is_some_and(|message| !message.is_empty()), "{row}");
        assert_eq!(row["ImageId"] != "", ending != Ending::Failed);
        assert_eq!(simulator.aliyun_ecs().images().len(), images, "{ending:?}");
    }
    simulator.set_faults(vec![
        FaultRule::new(Fault::StallBuild).action("StartImagePipelineExecution").when(When::first(1)),
    ]);
    let stuck = id(&begin(&simulator, "ip-any", &[]).await);
    simulator.advance(Duration::from_hours(100));
    assert_eq!(status(&simulator, &stuck).await, "BUILDING");
}

#[tokio::test]
async fn the_list_is_of_one_pipeline_or_run_and_may_filter() {
    let simulator = start().await;
    let tagged = [("Tag.1.Key", "mark"), ("Tag.1.Value", "a")];
    let marked = id(&begin(&simulator, "ip-a", &tagged).await);
    simulator.advance(Duration::from_secs(1001));
    let plain = id(&begin(&simulator, "ip-a", &[]).await);
    let ids = async |parameters: &[(&str, &str)]| -> Vec<String> {
        let about = [("ImagePipelineId", "ip-a")];
        let rows = list(&simulator, &[&about[..], parameters].concat()).await;
        rows.iter().map(|row| row["ExecutionId"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&[]).await, [marked.clone(), plain.clone()]);
    assert_eq!(ids(&tagged).await, std::slice::from_ref(&marked));
    assert_eq!(ids(&[("Status", "PREPARING,BUILDING")]).await, std::slice::from_ref(&plain));
    simulator.configure(|settings| settings.aliyun_ecs.executions_by_tag = false);
    assert_eq!(ids(&tagged).await, [marked, plain], "some pages call the filter unavailable");
    let verdict = async |parameters: &[(&str, &str)]| {
        ecs(&simulator, "DescribeImagePipelineExecutions", parameters).await.verdict()
    };
    assert_eq!(verdict(&[]).await, "400 MissingParameter.ImagePipelineId");
    assert_eq!(
        verdict(&[("ImagePipelineId", "ip-a"), ("Status", "TIRED")]).await,
        "400 InvalidParameter.Status"
    );
    assert_eq!(verdict(&[("ImagePipelineId", "ip-a"), ("NextToken", "?")]).await, "403 Invalid.NextToken");
    assert_eq!(verdict(&[("ImagePipelineId", "x-a")]).await, "404 InvalidImagePipeline.NotFound");
    simulator.configure(|settings| settings.aliyun_ecs.any_pipeline_exists = false);
    assert_eq!(begin(&simulator, "ip-b", &[]).await.verdict(), "404 InvalidImagePipeline.NotFound");
    simulator.configure(|settings| settings.aliyun_ecs.base_images = Some(vec!["m-base".into()]));
    let made = pipeline(&simulator, &[]).await;
    simulator.configure(|settings| settings.aliyun_ecs.base_images = Some(vec![]));
    assert_eq!(begin(&simulator, &made, &[]).await.verdict(), "404 InvalidImagePipeline.BaseImageNotFound");
    assert_eq!(
        begin(&simulator, &made, &[("Tag.1.Key", "acs:x")]).await.verdict(),
        "400 InvalidTagKey.Malformed"
    );
}
