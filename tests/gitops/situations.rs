//! Every situation of an object, stored the way the operator stores it.

use super::samples;
use crate::harness::World;
use cloud_image_operator::{
    engine::external::External,
    vendors::{
        aliyun::{
            batch_compute_image::BatchComputeImage, image_build::ImageBuild, image_component::ImageComponent,
            image_copy::AliyunImageCopy, image_pipeline::ImagePipeline,
        },
        volcengine::{aosp_image::AospImage, image_export::ImageExport},
        zstack::root_volume_template::RootVolumeTemplate,
    },
};
use cloud_image_operator::{
    engine::{
        progress::{Failure, Handle, Intent, Origin, Product, Progress},
        status::{Detail, Shown, status},
    },
    image::{ImageStatus, Referent},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A place in an object's life.
#[derive(Clone, Debug)]
pub struct Situation {
    /// A name that an object can have.
    pub name: &'static str,
    /// Where it stands; `None`: the operator has not seen it.
    pub progress: Option<Progress>,
    /// What else there is to say.
    pub detail: Option<Detail>,
    /// Whether it has been deleted, and waits.
    pub deleting: bool,
    /// Whether the spec has changed since, in a way that is not dealt with.
    pub outdated: bool,
}

impl Situation {
    fn new(name: &'static str, progress: Progress) -> Self {
        Self { progress: Some(progress), ..unseen().renamed(name) }
    }

    /// The same under another name.
    pub fn renamed(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    /// The same, with more to say.
    pub fn with(self, name: &'static str, detail: Detail) -> Self {
        Self { name, detail: Some(detail), ..self }
    }

    /// The same, while the object is being deleted.
    pub fn deleting(self, name: &'static str) -> Self {
        Self { name, deleting: true, ..self }
    }

    /// The same, with a spec that nobody has looked at.
    pub fn outdated(self, name: &'static str) -> Self {
        Self { name, outdated: true, ..self }
    }

    /// Puts an object of each kind into this situation, changed by a JSON merge patch, and gives them as they are stored.
    pub async fn store(&self, world: &World, change: &Value) -> Vec<Value> {
        let mut stored = vec![];
        for mut image in samples::images(world, self.name) {
            json_patch::merge(&mut image, change);
            if self.deleting {
                image["metadata"]["finalizers"] = json!(["tests.cloudimages.dev/wait"]);
            }
            let kind = image["kind"].as_str().expect("a kind").to_owned();
            let mut image = world.create(image).await;
            if self.deleting {
                world.delete(&kind, self.name).await;
                image = world.get(&kind, self.name).await.expect("it waits");
            }
            if let Some(progress) = &self.progress {
                let mut status = json!(self.status(progress, &image));
                if status["operation"].is_object() {
                    // Another object's token would tell that this one was restored.
                    let uid = image["metadata"]["uid"].as_str().expect("a uid");
                    status["operation"]["token"] = json!(token(&kind, uid));
                }
                image = world.patch_status(&kind, self.name, status).await;
            }
            if self.outdated {
                image = world.patch(&kind, self.name, json!({ "spec": { "timeout": "3h" } })).await;
            }
            stored.push(image);
        }
        stored
    }

    fn status(&self, progress: &Progress, object: &Value) -> ImageStatus {
        let shown = Shown {
            named: vec![],
            versions: vec![],
            next_token: None,
            overdue_at: None,
            last_seen: None,
            progress,
            detail: self.detail.as_ref(),
            action: "CreateImage",
            creates: "CreateImage",
            deleting: self.deleting,
            generation: object["metadata"]["generation"].as_i64().expect("a generation"),
            settled: true,
            request_id: Some("473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E"),
            handled_request: None,
            handled_outcome: None,
        };
        status(&shown, None, Timestamp::now()).expect("it says something")
    }
}

/// An object that was created a moment ago.
pub fn unseen() -> Situation {
    Situation { name: "unseen", progress: None, detail: None, deleting: false, outdated: false }
}

/// Every sort of progress, in the order of a life.
pub fn phases() -> Vec<Situation> {
    let intent = Intent {
        token: "token".into(),
        attempt: 1,
        since: Some(Timestamp::UNIX_EPOCH),
        references: vec![Referent { id: "image-44".into(), ..Referent::default() }],
        version: None,
        origin: Origin::Made,
    };
    let handle = Handle { image: Some("image-1".into()), task: Some("t-1".into()) };
    let product = Product {
        image_id: Some("image-1".into()),
        artifact: Some("tos://bucket-1/test123_image-44_system.qcow2".into()),
        at_provider: json!({ "name": "image" }),
        note: None,
        warning: None,
    };
    let failure = Failure { reason: "Refused".into(), message: "The vendor says no.".into(), left: None };
    let missing = |was_ready| Progress::Missing { intent: intent.clone(), handle: handle.clone(), was_ready };
    vec![
        Situation::new("pending", Progress::New { attempt: 1, tried: None }),
        Situation::new("submitting", Progress::Submitting(intent.clone())),
        Situation::new(
            "building",
            Progress::Building { intent: intent.clone(), handle: handle.clone(), percent: Some(42) },
        ),
        Situation::new(
            "ready",
            Progress::Ready { intent: intent.clone(), handle: handle.clone(), product: product.clone() },
        ),
        Situation::new("failed", Progress::Failed { intent: intent.clone(), handle: None, failure }),
        Situation::new(
            "unclear",
            Progress::Unclear { intent: intent.clone(), candidates: vec!["image-1".into()], restored: false },
        ),
        Situation::new("missing", missing(true)),
        Situation::new("lost", missing(false)),
        Situation::new(
            "unusable",
            Progress::Unusable {
                intent: intent.clone(),
                handle: handle.clone(),
                product,
                why: "The image is disabled; enable it.".into(),
            },
        ),
    ]
}

/// What the first attempt of an object goes by.
fn token(kind: &str, uid: &str) -> String {
    match kind {
        "AospImage" => AospImage::token(uid, 1),
        "ImageExport" => ImageExport::token(uid, 1),
        "ImageComponent" => ImageComponent::token(uid, 1),
        "ImagePipeline" => ImagePipeline::token(uid, 1),
        "ImageBuild" => ImageBuild::token(uid, 1),
        "AliyunImageCopy" => AliyunImageCopy::token(uid, 1),
        "BatchComputeImage" => BatchComputeImage::token(uid, 1),
        "RootVolumeTemplate" => RootVolumeTemplate::token(uid, 1),
        other => panic!("no token of {other}"),
    }
}
