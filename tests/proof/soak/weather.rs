//! What goes wrong by itself: the network, the vendors, and the operator's machine.

use super::{KINDS, Soak, deployment::Deployment};
use crate::proof::{
    gate::{Chance, Cut, Deed, Point},
    wrong_answers::UNREPEATABLE,
};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use std::time::Duration;
use vendor_simulator::{Fault, FaultRule, When};

/// The other replica leads at the latest so long after the leader was heard of last.
const LEASE: Duration = Duration::from_secs(17);

/// Of so many requests, one meets the network.
const ONE_IN: u64 = 14;

/// What the network does often.
const OFTEN: [Deed; 11] = [
    Deed::NotSent,
    Deed::Lost,
    Deed::Truncated,
    Deed::Delay,
    Deed::Twice,
    Deed::Error(false),
    Deed::Error(true),
    Deed::BadGateway(false),
    Deed::BadGateway(true),
    Deed::Garbage,
    Deed::Hollow,
];

/// Changes everything at random until all is over; then both replicas run.
pub async fn change(soak: &Soak, deployment: &mut Deployment, random: &mut StdRng) {
    soak.world.vendor.set_faults(vendors(soak.options.seed));
    let gate = &soak.proxies.gate;
    let mut most = 14_000;
    while !soak.is_over() {
        gate.tempt(Some(chance(random.random())));
        drop(gate.arm(None));
        // After a start, what became of a lost call is looked for no sooner than a vendor's list may lag behind.
        pass(soak, deployment, random.random_range(2000..most)).await;
        most = 24_000;
        let (blow, millis) = (random.random_range(0..15), random.random_range(0..9000));
        let blow = match blow {
            0 => {
                let leader = deployment.leader().await;
                leader.kill().await;
                soak.wait(LEASE + Duration::from_millis(millis / 3)).await;
                leader.start(gate);
                "the leader killed, and away until the other replica led"
            }
            1 | 2 => {
                let leader = deployment.leader().await;
                leader.kill().await;
                soak.wait(Duration::from_millis(millis / 6)).await;
                leader.start(gate);
                "the leader killed"
            }
            3..=5 => kill_at_a_request(soak, deployment, random).await,
            6 | 7 => {
                deployment.leader().await.pause();
                soak.wait(Duration::from_millis(500 + millis)).await;
                deployment.wake();
                "the leader stopped where it was, and woken"
            }
            8 | 9 => {
                deployment.leader().await.pause();
                soak.wait(LEASE + Duration::from_millis(millis)).await;
                deployment.wake();
                "the leader stopped for longer than its Lease lasts, and woken"
            }
            10 => {
                let leader = deployment.leader().await;
                leader.end(gate).await;
                leader.start(gate);
                "the leader asked to end, and started again"
            }
            11 | 12 => {
                // As long as a restart takes, or longer than a Lease lasts.
                gate.lose_api_server(true);
                pass(soak, deployment, random.random_range(500..20_000)).await;
                gate.lose_api_server(false);
                "the API server lost, and back"
            }
            13 => {
                deployment.kill().await;
                soak.wait(Duration::from_millis(millis / 6)).await;
                deployment.start(gate);
                "both replicas killed"
            }
            _ => {
                gate.cut_watches(if random.random_bool(0.5) { Cut::Gone } else { Cut::Expired });
                "all watches cut or expired"
            }
        };
        soak.books.did("blows to the operator", blow);
        // The next one hits somebody who works: one blow after the other to who waits for the Lease would show nothing.
        let led = deployment.led();
        tokio::select! {
            () = led => {}
            () = soak.over.cancelled() => {}
            () = deployment.keep(gate) => {}
        }
    }
}

/// So many milliseconds go by, or all is over.
async fn pass(soak: &Soak, deployment: &mut Deployment, millis: u64) {
    tokio::select! {
        () = soak.wait(Duration::from_millis(millis)) => {}
        () = deployment.keep(&soak.proxies.gate) => {}
    }
}

/// Nothing goes wrong any more.
pub fn clear(soak: &Soak) {
    for (point, deed) in soak.proxies.gate.hits().into_iter().filter(|(_, deed)| !deed.kills()) {
        let of_cluster = point.label.split_once(' ').is_some_and(|(_, rest)| !rest.starts_with('/'));
        let to = if of_cluster { "API server" } else { "vendor" };
        soak.books.did("faults of the network", &format!("{to}: {deed:?}"));
    }
    soak.proxies.gate.tempt(None);
    soak.world.vendor.set_faults(vec![]);
    soak.books.calm();
}

/// The next request of some sort: before it is forwarded, or after it took its effect.
async fn kill_at_a_request(soak: &Soak, deployment: &mut Deployment, random: &mut StdRng) -> &'static str {
    let gate = &soak.proxies.gate;
    let kind = *KINDS.choose(random).expect("a kind");
    let calls: &[&str] = match kind {
        "ImageComponent" => &["CreateImageComponent", "DeleteImageComponent", "DescribeImageComponents"],
        "ImagePipeline" => &["CreateImagePipeline", "DeleteImagePipeline", "DescribeImagePipelines"],
        "ImageBuild" => &[
            "StartImagePipelineExecution",
            "CancelImagePipelineExecution",
            "DescribeImagePipelineExecutions",
        ],
        "AliyunImageCopy" => &["CopyImage", "DeleteImage", "DescribeImages"],
        "BatchComputeImage" => &["POST /images", "DELETE /images/{id}"],
        "ImageDistribution" => {
            &["CREATE aliyunimagecopies", "PATCH aliyunimagecopies", "DELETE aliyunimagecopies"]
        }
        "AospImage" => &["BuildAOSPImage", "DeleteAOSPImage", "ListAOSPImage"],
        "ImageExport" => &["ExportImage", "DescribeTasks"],
        _ => &[
            "POST /zstack/v1/images/root-volume-templates/from/volumes/{id}",
            "DELETE /zstack/v1/images/{id}",
        ],
    };
    let plural = match kind {
        "AliyunImageCopy" => "aliyunimagecopies".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    let label = match random.random_range(0..3) {
        0 => format!("PATCH {plural}"),
        1 => format!("PATCH {plural}/status"),
        _ => (*calls.choose(random).expect("a call")).to_owned(),
    };
    let deed = *[Deed::KillBefore, Deed::KillAfter].choose(random).expect("a deed");
    let hit = gate.arm(Some((Point { label, nth: random.random_range(1..3) }, deed)));
    let hit = tokio::select! {
        hit = hit => hit.is_ok(),
        () = soak.wait(Duration::from_secs(8)) => false,
    };
    gate.hold();
    let leader = deployment.leader().await;
    leader.kill().await;
    // Were it met later, nobody would kill for it, and the gate stay shut.
    drop(gate.arm(None));
    leader.start(gate);
    match (hit, deed) {
        (true, Deed::KillBefore) => "the leader killed before a request was forwarded",
        (true, _) => "the leader killed after a request took its effect",
        _ => "the leader killed",
    }
}

fn chance(seed: u64) -> Chance {
    let with = |rare: &[Deed]| {
        // A vendor that throttles is left alone for a while, and silence lasts.
        let often = OFTEN.iter().copied().cycle().take(OFTEN.len() * 4);
        often.chain(rare.iter().copied()).collect()
    };
    Chance {
        seed,
        one_in: ONE_IN,
        most: u32::MAX,
        vendor: with(&[Deed::TooMany, Deed::Throttled, Deed::Silence]),
        api_server: with(&[Deed::TooMany, Deed::TooMany, Deed::Conflict, Deed::Conflict, Deed::Silence]),
        unrepeatable: UNREPEATABLE.to_vec(),
    }
}

/// What the vendors do themselves.
fn vendors(seed: u64) -> Vec<FaultRule> {
    let sometimes =
        |fault, chance, stream: u64| FaultRule::new(fault).when(When::chance(chance, seed ^ (stream << 40)));
    let unavailable = Fault::VendorError {
        status: 503,
        code: "ServiceUnavailable".into(),
        message: "The request has failed due to a temporary failure of the server.".into(),
        effect: false,
    };
    let failing = |action, stream| sometimes(Fault::FailBuild, 0.08, stream).action(action);
    vec![
        sometimes(Fault::ListLag { seconds: 2 }, 0.2, 1),
        sometimes(Fault::ForgetTask { after_seconds: 0 }, 0.2, 2).service("zstack"),
        sometimes(Fault::ForgetTask { after_seconds: 240 }, 0.2, 3).action("ExportImage"),
        failing("BuildAOSPImage", 4),
        failing("ExportImage", 5),
        failing("CreateRootVolumeTemplateFromRootVolume", 6),
        sometimes(Fault::AnswerLost, 0.01, 7),
        sometimes(Fault::CutBody, 0.01, 8),
        sometimes(Fault::TruncatedBody, 0.01, 9),
        sometimes(Fault::CloseAfterAnswer, 0.02, 10),
        sometimes(Fault::InternalError { effect: true }, 0.005, 11),
        sometimes(Fault::InternalError { effect: false }, 0.005, 12),
        sometimes(unavailable, 0.005, 13),
        sometimes(Fault::ClockSkew { seconds: 3600 }, 0.002, 14),
        sometimes(Fault::SlowAnswer { millis: 4000 }, 0.01, 15),
        sometimes(Fault::Redirect { location: None }, 0.005, 16),
        failing("CopyImage", 17),
        failing("StartImagePipelineExecution", 18),
    ]
}
