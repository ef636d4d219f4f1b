//! What the API server accepts and refuses, and with which sentence: each rule with good and bad samples.

#[path = "harness/harness.rs"]
mod harness;

#[path = "support/schema.rs"]
mod schema;

mod admission {
    mod accounts;
    mod aliyun_image_copy;
    mod aosp_image;
    mod ask;
    mod batch_compute_image;
    mod changes;
    mod defaults;
    mod image_build;
    mod image_component;
    mod image_distribution;
    mod image_export;
    mod image_pipeline;
    mod readable;
    mod root_volume_template;
    mod schema;
    mod sharing;
    mod tags;
}
