//! What vendors do to texts, and how loosely they look things up: neither makes a difference, nor a match.

use crate::harness::{World, account, aosp_image, component, secret};
use serde_json::json;
use vendor_simulator::{Texts, aliyun_ecs::Component};

const HABITS: [Texts; 6] =
    [Texts::AsSent, Texts::Trimmed, Texts::Crlf, Texts::Lf, Texts::Nfc, Texts::NfdWithLineEnd];

/// Blocks of YAML end with a line end, and editors write CRLF.
const TEXTS: [&str; 3] = ["nightly build\n", "first line\r\nsecond line\r\n", "cafe\u{301} 中文\n"];

#[tokio::test]
async fn what_vendors_do_to_a_text_is_no_difference() {
    let world = World::at_volcengine("habits").await;
    world.run(20.0);
    world.create(secret("aliyun")).await;
    world.create(account("aliyun", world.endpoint())).await;
    for (number, texts) in HABITS.into_iter().enumerate() {
        world.vendor.configure(|settings| settings.texts = texts);
        for (other, text) in TEXTS.into_iter().enumerate() {
            let name = format!("text-{number}-{other}");
            let parameters = json!({
                "name": name, "description": text, "content": format!("RUN echo {number}\r\nRUN echo {other}\n"),
            });
            let spec = json!({ "accountRef": { "name": "aliyun" }, "forProvider": parameters });
            world.create(component(&name, spec)).await;
            let remark = json!({ "forProvider": { "imageAnnotation": text } });
            world.create(aosp_image(&name, remark)).await;
        }
        for other in 0..TEXTS.len() {
            let name = format!("text-{number}-{other}");
            world.until_ready("ImageComponent", &name).await;
            world.until_ready("AospImage", &name).await;
        }
    }
    let ledger = world.vendor.ledger();
    assert_eq!(
        ledger.calls.iter().filter(|call| call.action == "UpdateAOSPImage").count(),
        0,
        "{:#?}",
        world.call_log()
    );
}

#[tokio::test]
async fn a_laxer_filter_of_the_vendor_is_no_match() {
    let world = World::new("lax").await;
    for name in ["GOLDEN-Base", "golden-base"] {
        world.vendor.aliyun_ecs().seed(Component { name: name.into(), ..Component::default() });
    }
    world.vendor.configure(|settings| settings.aliyun_ecs.names_without_case = true);
    let spec = json!({
        "import": { "match": { "name": "golden-base" } },
        "forProvider": { "name": null, "componentVersion": null, "content": null },
    });
    world.create(component("golden", spec)).await;
    let object = world.until_ready("ImageComponent", "golden").await;
    let id = object["status"]["imageId"].as_str().expect("an id");
    assert_eq!(world.vendor.aliyun_ecs().get(id).expect("it is there").name, "golden-base");
}

#[tokio::test]
async fn who_observes_reads_the_vendors_own_too() {
    let world = World::new("public").await;
    let id = world.vendor.aliyun_ecs().seed(Component {
        name: "public".into(),
        owner: "ALIYUN".into(),
        account: "aliyun".into(),
        ..Component::default()
    });
    let spec = json!({
        "managementPolicy": "Observe",
        "import": { "id": id },
        "forProvider": { "name": null, "componentVersion": null, "content": null },
    });
    world.create(component("public", spec)).await;
    let object = world.until_ready("ImageComponent", "public").await;
    assert_eq!(object["status"]["atProvider"]["owner"], "ALIYUN");
}
