//! The operator on a real control plane, against vendors that say what they really made. Each file is one story.

#[path = "harness/harness.rs"]
mod harness;

mod e2e {
    mod accounts;
    mod advice;
    mod aliyun_image_copy;
    mod aosp_image;
    mod batch_compute_image;
    mod calm;
    mod cli;
    mod clocks;
    mod conflict;
    mod crash;
    mod crowd;
    mod dead_api_server;
    mod disaster;
    mod echoes;
    mod error_classes;
    mod factory;
    mod habits;
    mod image_build;
    mod image_distribution;
    mod image_export;
    mod image_pipeline;
    mod image_sharing;
    mod import;
    mod intent;
    mod life;
    mod locks;
    mod lost_answers;
    mod malformed;
    mod marks;
    mod moving;
    mod namespaces;
    mod owners;
    mod policies;
    mod preflight;
    mod races;
    mod replicas;
    mod restored_distribution;
    mod rights;
    mod root_volume_template;
    mod samples;
    mod scale;
    mod shards;
    mod snapshots;
    mod tags;
    mod unclear;
    mod versions;
    mod writes;
}
