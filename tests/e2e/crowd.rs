//! Many objects of one account at Volcengine: none is made twice, and no image is exported twice at once.

use crate::harness::{World, aosp_image, image_export};
use futures::future::join_all;
use serde_json::json;
use vendor_simulator::{Fault, FaultRule, When};

const BUILD: &str = "BuildAOSPImage";
const EXPORT: &str = "ExportImage";

/// No limits of the user's own making: these tests are about other things.
async fn unlimited(world: &World) {
    let limit = |action: &str| json!({ "action": action, "requests": 100_000, "period": "60s" });
    let limits = [BUILD, EXPORT, "DescribeTasks"].map(limit);
    world.patch("CloudAccount", "default", json!({ "spec": { "limits": limits } })).await;
}

/// Three hundred builds and three exports of each of a hundred images, while every tenth answer to a creating call is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_are_made_once_each_though_answers_are_lost() {
    let world = World::at_volcengine("crowd").await;
    unlimited(&world).await;
    world.vendor.configure(|settings| {
        settings.volcengine.queue_seconds = 1.0;
        settings.volcengine.build_seconds = 5.0;
        settings.volcengine.export_queue_seconds = 1.0;
        settings.volcengine.export_seconds = 4.0;
        // The vendor is not the one who keeps exports apart.
        settings.volcengine.lock_while_exporting = false;
    });
    let lost = |action| FaultRule::new(Fault::AnswerLost).action(action).when(When::every(10));
    world.vendor.set_faults(vec![lost(BUILD), lost(EXPORT)]);
    world.run(1.0);

    let builds: Vec<_> = (0..300).map(|number| format!("phone-{number}")).collect();
    let exports: Vec<_> =
        (0..300).map(|number| (format!("export-{number}"), format!("image-{}", number % 100))).collect();
    let images = builds.iter().map(|name| world.create(aosp_image(name, json!({}))));
    let copies = exports.iter().map(|(name, image)| world.create(image_export(name, image, json!({}))));
    join_all(images.chain(copies)).await;
    join_all(builds.iter().map(|name| world.until_ready("AospImage", name))).await;
    join_all(exports.iter().map(|(name, _)| world.until_ready("ImageExport", name))).await;

    assert_eq!((world.effects(BUILD), world.effects(EXPORT)), (300, 300));
    assert!(world.vendor.faults().iter().all(|rule| rule.hit >= 30), "{:?}", world.vendor.faults());
    assert_eq!(world.vendor.volcengine().overlapping_exports(), []);
    assert_eq!(world.vendor.volcengine().exported_objects().len(), 300);
}
