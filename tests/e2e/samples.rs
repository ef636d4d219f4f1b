//! The samples that are not applied together: each does what it is for.

use crate::harness::{World, account_of, condition, is_ready};
use serde_json::{Value, json};
use std::{fs, path::Path};
use vendor_simulator::{aliyun_ecs, volcengine::acep::AospImage, zstack::images::Image};

/// The objects of a folder's files, in the world's namespace and at its vendors.
fn samples(world: &World, folder: &str) -> Vec<(String, Vec<Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/samples").join(folder);
    let list = fs::read_to_string(folder.join("kustomization.yaml")).expect("a kustomization");
    let list: Value = serde_saphyr::from_str(&list).expect("YAML");
    let mut files: Vec<_> =
        list["resources"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    files.sort_unstable();
    let count = fs::read_dir(&folder).expect("a folder").count();
    assert_eq!(count, files.len() + 1, "the kustomization of {} lists all", folder.display());
    let read = |file: &&str| {
        let text = fs::read_to_string(folder.join(file)).expect("a sample");
        let text = text.replace("http://127.0.0.1:8802", &world.endpoint());
        let text = text.replace("namespace: images", &format!("namespace: {}", world.namespace));
        let text = text.replace("names: [images]", &format!("names: [{}]", world.namespace));
        // Accounts of the cluster are shared by all tests.
        let text = text.replace("shared-aliyun", &format!("shared-{}", world.namespace));
        let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str(text).expect("YAML"));
        ((*file).to_owned(), documents.collect())
    };
    files.iter().map(read).collect()
}

async fn with_accounts(name: &str) -> World {
    let world = World::new(name).await;
    world.quicken();
    for (kind, account) in
        [("ImageComponent", "aliyun"), ("AospImage", "volcengine"), ("RootVolumeTemplate", "zstack")]
    {
        let [secret, object] = account_of(kind, account, &world.vendor);
        if account != "aliyun" {
            world.create(secret).await;
        }
        world.create(object).await;
    }
    world
}

#[tokio::test]
async fn each_use_does_what_its_sample_says() {
    let world = with_accounts("samples-uses").await;
    for (file, objects) in samples(&world, "uses") {
        let image = objects.last().expect("an object").clone();
        for object in objects {
            world.create(object).await;
        }
        let (kind, name) =
            (image["kind"].as_str().expect("a kind"), image["metadata"]["name"].as_str().expect("a name"));
        let is_there = |object: &Value| match &*file {
            "suspend.yaml" => condition(object, "Ready")["reason"] == "Suspended",
            _ => is_ready(object),
        };
        world.until(kind, name, &file, is_there).await;
    }
    // What they are for.
    let ecs = world.vendor.aliyun_ecs();
    world
        .patch(
            "ImageComponent",
            "base",
            json!({ "spec": { "forProvider": { "content": "RUN echo better" } } }),
        )
        .await;
    let object = world.until_ready("ImageComponent", "base").await;
    assert_eq!(object["status"]["versions"].as_array().map(Vec::len), Some(2), "{object:#}");
    for name in ["archive", "base"] {
        world.delete("ImageComponent", name).await;
        world.until_gone("ImageComponent", name).await;
    }
    let left: Vec<_> =
        ecs.components().into_iter().map(|it| it.name).filter(|it| it == "archive" || it == "base").collect();
    assert_eq!(left, ["archive"]);
    let id = |object: &Value| object["status"]["imageId"].as_str().expect("an id").to_owned();
    let shared = id(&world.until_ready("ImageComponent", "shared").await);
    ecs.modify(&shared, |component| component.tags.clear());
    world.request("ImageComponent", "shared", "now").await;
    world.until_condition("ImageComponent", "shared", "Ready", "True", "Drifted").await;
    let lasting = id(&world.until_ready("ImageComponent", "lasting").await);
    ecs.remove(&lasting);
    world.request("ImageComponent", "lasting", "now").await;
    let again = |object: &Value| is_ready(object) && object["status"]["imageId"] != lasting.as_str();
    world.until("ImageComponent", "lasting", "it is made again", again).await;
}

#[tokio::test]
async fn the_samples_of_adoption_take_over_and_change_nothing() {
    let world = with_accounts("samples-adoption").await;
    world.vendor.aliyun_ecs().seed(aliyun_ecs::Component {
        id: "ic-bp67acfmxazb4p".into(),
        name: "hello".into(),
        version: "1.0.0".into(),
        content: "RUN echo hello".into(),
        tags: [("team".to_owned(), "base".to_owned())].into(),
        ..aliyun_ecs::Component::default()
    });
    world.vendor.volcengine().seed_aosp_image(AospImage { name: "nightly".into(), ..AospImage::default() });
    world.vendor.zstack().seed(Image {
        uuid: "fadea0efc22e4e6fa43f537f1af6ee6b".into(),
        name: "TinyLinux".into(),
        description: Some("A tiny Linux for tests.".into()),
        ..Image::default()
    });
    for (file, objects) in samples(&world, "adoption") {
        let [object] = <[Value; 1]>::try_from(objects).expect("one object");
        let (kind, name) =
            (object["kind"].as_str().expect("a kind"), object["metadata"]["name"].as_str().expect("a name"));
        world.create(object.clone()).await;
        let seen = world.until_ready(kind, name).await;
        assert_eq!(condition(&seen, "Ready")["reason"], "Available", "{file} {seen:#}");
    }
    assert_eq!(world.vendor.ledger().effects, [], "nothing is changed");
}
