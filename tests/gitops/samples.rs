//! The project's samples, as objects in a test's namespace, at its vendors.

use crate::harness::World;
use cloud_image_operator::kinds::KINDS;
use serde_json::{Value, json};
use std::{fs, path::Path};

/// All objects of all samples: Secrets, accounts, and then images in the order of the registry.
pub fn all(world: &World) -> Vec<Value> {
    let files = xtask::samples::manifests().expect("the samples");
    let mut all: Vec<Value> = files.iter().flat_map(|file| documents(world, file)).collect();
    // What makes objects of image kinds by itself is left out, so that what the vendors made is theirs.
    all.retain(|object| object["kind"] != "Namespace" && object["kind"] != "ImageDistribution");
    all.sort_by_key(|object| match object["kind"].as_str() {
        Some("Secret") => 0,
        _ => 1 + number(object).map_or(0, |number| number + 1),
    });
    all
}

/// The sample of each image kind in the order of the registry, under another name.
pub fn images(world: &World, name: &str) -> Vec<Value> {
    let named = |mut image: Value| {
        image["metadata"]["name"] = json!(name);
        image
    };
    let images: Vec<_> = all(world).into_iter().filter(is_image).map(named).collect();
    assert_eq!(images.len(), KINDS.len(), "one of each kind");
    images
}

/// Whether it is an object of an image kind.
pub fn is_image(object: &Value) -> bool {
    number(object).is_some()
}

/// The kind's place in the registry.
fn number(object: &Value) -> Option<usize> {
    KINDS.iter().position(|kind| object["kind"] == kind.crd().spec.names.kind.as_str())
}

/// A sample's text, at a world's vendors.
pub fn text(world: &World, file: &Path) -> String {
    let mut text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let addresses = world.vendor.addresses();
    for (port, address) in [
        (8801, addresses.volcengine),
        (8802, addresses.aliyun_ecs),
        (8803, addresses.batchcompute),
        (8804, addresses.zstack),
    ] {
        text = text.replace(&format!("http://127.0.0.1:{port}"), &format!("http://{address}"));
    }
    text
}

fn documents(world: &World, file: &Path) -> Vec<Value> {
    let text = text(world, file);
    let mut documents: Vec<Value> =
        text.split("\n---\n").map(|text| serde_saphyr::from_str(text).expect("YAML")).collect();
    for document in &mut documents {
        document["metadata"]["namespace"] = json!(world.namespace);
    }
    documents
}
