//! What vendors do that no page tells of, all of it at once: they normalise texts, look things up loosely, hide what an error is
//! about in its cause, show what is made as unusable for a while, leave out what was asked for, and forget tokens.

use super::subject::Subject;
use crate::harness::World;
use vendor_simulator::{
    Texts,
    aliyun_ecs::{Component, Image as EcsImage, pipelines::Pipeline},
    batchcompute::images::Image as BatchComputeImage,
    volcengine::acep::AospImage,
    zstack::images::Image,
};

/// The faults that are met with these habits too: those after which it must be found out what became of a call, and those that
/// make that harder.
pub const MEETS: &[&str] = &["answer-lost", "not-sent", "500-acted", "list-lag", "forgotten-task"];

/// Lets all vendors of a world have them, with things of strangers that a loose look takes for the subjects'. `expired`: tokens
/// are forgotten at once.
pub fn take_up(world: &World, subjects: &[Subject], expired: bool) {
    world.vendor.configure(|settings| {
        settings.texts = Texts::NfdWithLineEnd;
        settings.volcengine.unknown_seconds = 1.0;
        settings.volcengine.process_as_text = true;
        settings.volcengine.null_error = true;
        settings.aliyun_ecs.names_without_case = true;
        settings.aliyun_ecs.usable_after_seconds = Some(1);
        settings.aliyun_ecs.missing_images_are_ignored = true;
        settings.aliyun_ecs.account_ids_are_texts = true;
        settings.zstack.nested_causes = true;
        settings.zstack.moving_seconds = 1.0;
        settings.zstack.tells_progress = false;
        settings.zstack.vm_architecture = "loongarch64".into();
        settings.zstack.vm_virtio = false;
        if expired {
            settings.aliyun_ecs.client_token_seconds = 0;
            settings.batchcompute.token_seconds = 0;
        }
    });
    for name in subjects.iter().filter_map(Subject::vendor_name) {
        for name in [name.to_uppercase(), format!("{name}-old")] {
            let text = || name.clone();
            world.vendor.aliyun_ecs().seed(Component { name: text(), ..Component::default() });
            let region = "cn-shanghai".into();
            world.vendor.aliyun_ecs().seed_image(EcsImage { name: text(), region, ..EcsImage::default() });
            world.vendor.aliyun_ecs().seed_pipeline(Pipeline { name: text(), ..Pipeline::default() });
            world
                .vendor
                .batchcompute()
                .seed(BatchComputeImage { name: text(), ..BatchComputeImage::default() });
            world.vendor.volcengine().seed_aosp_image(AospImage { name: text(), ..AospImage::default() });
            world.vendor.zstack().seed(Image { name: text(), ..Image::default() });
        }
    }
}
