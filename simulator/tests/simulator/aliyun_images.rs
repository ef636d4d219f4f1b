//! Custom images of Alibaba Cloud ECS: copies with their phases, lists with their habits, and what a deletion leaves.

use std::time::Duration;

use serde_json::{Value, json};
use vendor_simulator::{Change, ClockChange, Fault, FaultRule, Simulator, aliyun_ecs::Image};

use crate::support::{Reply, ecs, start};

async fn copy(simulator: &Simulator, parameters: &[(&str, &str)]) -> Reply {
    let usual = [("ImageId", "m-source"), ("DestinationRegionId", "cn-shanghai")];
    ecs(simulator, "CopyImage", &[&usual[..], parameters].concat()).await
}

fn id(reply: &Reply) -> String {
    reply.json()["ImageId"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}

async fn describe(simulator: &Simulator, parameters: &[(&str, &str)]) -> (Vec<Value>, u64) {
    let there = [("RegionId", "cn-shanghai")];
    let reply = ecs(simulator, "DescribeImages", &[parameters, &there[..]].concat()).await;
    let rows =
        reply.json()["Images"]["Image"].as_array().unwrap_or_else(|| panic!("{}", reply.text())).clone();
    (rows, reply.json()["TotalCount"].as_u64().expect("a number"))
}

async fn in_shanghai(simulator: &Simulator, action: &str, parameters: &[(&str, &str)]) -> String {
    ecs(simulator, action, &[parameters, &[("RegionId", "cn-shanghai")]].concat()).await.verdict()
}

#[tokio::test]
async fn a_copy_is_made_in_its_region_and_leaves_a_snapshot() {
    let simulator = start().await;
    simulator.configure(|settings| settings.aliyun_ecs.copy_seconds = 100.0);
    let parameters = [("DestinationImageName", "base"), ("ClientToken", "t-1"), ("Tag.1.Key", "team")];
    let made = id(&copy(&simulator, &parameters).await);
    assert_eq!(id(&copy(&simulator, &parameters).await), made, "the same token, the same copy");
    let other = [("DestinationImageName", "other"), ("ClientToken", "t-1")];
    assert_eq!(copy(&simulator, &other).await.verdict(), "400 IdempotentParameterMismatch");

    // An image in the making looks as if it were gone.
    assert_eq!(describe(&simulator, &[("ImageId", &made)]).await.0, Vec::<Value>::new());
    let all =
        [("ImageId", &*made), ("Status", "Creating,Waiting,Available,UnAvailable,CreateFailed,Deprecated")];
    simulator.advance(Duration::from_secs(50));
    let row = &describe(&simulator, &all).await.0[0];
    assert_eq!((&row["Status"], &row["IsCopied"]), (&"Creating".into(), &true.into()));
    assert_eq!(row["Progress"], "50%");
    assert_eq!(row["DiskDeviceMappings"]["DiskDeviceMapping"][0]["SnapshotId"], "");
    assert_eq!(
        in_shanghai(&simulator, "DeleteImage", &[("ImageId", &made)]).await,
        "403 OperationDenied.ImageCopying"
    );
    simulator.advance(Duration::from_secs(51));
    let row = &describe(&simulator, &[]).await.0[0];
    assert_eq!((&row["Status"], &row["Tags"]["Tag"][0]["TagKey"]), (&"Available".into(), &"team".into()));
    let snapshot =
        row["DiskDeviceMappings"]["DiskDeviceMapping"][0]["SnapshotId"].as_str().expect("an id").to_owned();

    let about = [("SnapshotId", &*snapshot)];
    assert_eq!(
        in_shanghai(&simulator, "CancelCopyImage", &[("ImageId", &made)]).await,
        "400 IncorrectImageStatus"
    );
    assert_eq!(in_shanghai(&simulator, "DeleteSnapshot", &about).await, "403 SnapshotCreatedImage");
    // In the region that it was copied from, nobody knows it.
    assert_eq!(
        ecs(&simulator, "DeleteImage", &[("ImageId", &made)]).await.verdict(),
        "404 InvalidImageId.NotFound"
    );
    assert_eq!(in_shanghai(&simulator, "DeleteImage", &[("ImageId", &made)]).await, "200");
    assert_eq!(simulator.aliyun_ecs().snapshots().len(), 1, "it stays, and costs");
    assert_eq!(in_shanghai(&simulator, "DeleteSnapshot", &about).await, "200");
    assert_eq!(in_shanghai(&simulator, "DeleteSnapshot", &about).await, "404 InvalidSnapshotId.NotFound");
    let changes: Vec<_> = simulator.ledger().effects.iter().map(|effect| effect.change).collect();
    assert_eq!(changes, [Change::Created, Change::Deleted, Change::Deleted]);
}

#[tokio::test]
async fn five_are_copied_at_a_time_and_a_cancelled_one_is_gone() {
    let simulator = start().await;
    simulator.configure(|settings| settings.aliyun_ecs.copy_seconds = 100.0);
    let mut ids = vec![];
    for _ in 0..7 {
        ids.push(id(&copy(&simulator, &[]).await));
    }
    let elsewhere = [("ImageId", "m-source"), ("DestinationRegionId", "cn-beijing")];
    let elsewhere = id(&ecs(&simulator, "CopyImage", &elsewhere).await);
    let now = || simulator.clock().world;
    let status = |id: &str| simulator.aliyun_ecs().image(id).expect("it is there").status(now()).to_owned();
    let statuses = || ids.iter().map(|id| status(id)).collect::<Vec<_>>();
    assert_eq!(
        statuses(),
        ["Creating", "Creating", "Creating", "Creating", "Creating", "Waiting", "Waiting"]
    );
    assert_eq!(status(&elsewhere), "Creating", "each region has its own five");
    simulator.advance(Duration::from_secs(101));
    assert_eq!(statuses()[4..], ["Available", "Creating", "Creating"]);
    assert_eq!(in_shanghai(&simulator, "CancelCopyImage", &[("ImageId", &ids[6])]).await, "200");
    assert_eq!(simulator.aliyun_ecs().image(&ids[6]), None);
    assert_eq!(simulator.aliyun_ecs().snapshots(), []);
}

#[tokio::test]
async fn a_cancelled_copy_makes_place_for_the_one_that_has_waited_longest() {
    let simulator = start().await;
    simulator.configure(|settings| {
        settings.aliyun_ecs.copy_seconds = 100.0;
        settings.aliyun_ecs.copies_at_once = 2;
    });
    let still = ClockChange { speed: Some(0.0), ..ClockChange::default() };
    simulator.set_clock(&still).expect("a speed");
    let mut ids = vec![];
    for _ in 0..5 {
        ids.push(id(&copy(&simulator, &[]).await));
        simulator.advance(Duration::from_secs(10));
    }
    let now = || simulator.clock().world;
    let status = |id: &str| simulator.aliyun_ecs().image(id).map(|image| image.status(now()).to_owned());
    let statuses = || ids.iter().map(|id| status(id).unwrap_or_default()).collect::<Vec<_>>();
    let cancel = async |id: &str| in_shanghai(&simulator, "CancelCopyImage", &[("ImageId", id)]).await;
    assert_eq!(statuses(), ["Creating", "Creating", "Waiting", "Waiting", "Waiting"]);
    // 50 seconds after the first: one that waits goes without anybody else's gain, one that runs lets the next begin now.
    assert_eq!(cancel(&ids[3]).await, "200");
    assert_eq!(statuses(), ["Creating", "Creating", "Waiting", "", "Waiting"]);
    assert_eq!(cancel(&ids[0]).await, "200");
    assert_eq!(statuses(), ["", "Creating", "Creating", "", "Waiting"]);
    // The second ends after 110 seconds, the third after 150, and then the last, which began when the second was done, after 210.
    simulator.advance(Duration::from_secs(61));
    assert_eq!(statuses(), ["", "Available", "Creating", "", "Creating"]);
    simulator.advance(Duration::from_secs(40));
    assert_eq!(statuses(), ["", "Available", "Available", "", "Creating"]);
    simulator.advance(Duration::from_secs(60));
    assert_eq!(statuses(), ["", "Available", "Available", "", "Available"]);
}

#[tokio::test]
async fn a_call_that_is_still_being_processed_is_not_answered_again() {
    let simulator = start().await;
    simulator.configure(|settings| settings.aliyun_ecs.processing_seconds = 30);
    let parameters = [("DestinationImageName", "base"), ("ClientToken", "t-1")];
    let made = id(&copy(&simulator, &parameters).await);
    assert_eq!(copy(&simulator, &parameters).await.verdict(), "400 IdempotentProcessing");
    let other = [("DestinationImageName", "other"), ("ClientToken", "t-1")];
    assert_eq!(copy(&simulator, &other).await.verdict(), "400 IdempotentParameterMismatch");
    let another = [("DestinationImageName", "other"), ("ClientToken", "t-2")];
    assert_eq!(copy(&simulator, &another).await.verdict(), "200", "it is about one token");
    simulator.advance(Duration::from_secs(31));
    assert_eq!(id(&copy(&simulator, &parameters).await), made);
    assert_eq!(simulator.count_effects("CopyImage"), 2);
}

#[tokio::test]
async fn an_image_can_be_listed_before_its_tags() {
    let simulator = start().await;
    simulator.set_faults(vec![FaultRule::new(Fault::TagLag { seconds: 30 }).action("DescribeImages")]);
    let made = id(&copy(&simulator, &[("Tag.1.Key", "team"), ("Tag.1.Value", "base")]).await);
    let all = [("Status", "ALL"), ("ImageOwnerAlias", "self")];
    let tagged = [("Status", "ALL"), ("Tag.1.Key", "team")];
    let row = &describe(&simulator, &all).await.0[0];
    assert_eq!((&row["ImageId"], &row["Tags"]["Tag"]), (&made.into(), &json!([])));
    assert_eq!(describe(&simulator, &tagged).await.1, 0, "nor is it found by them");
    simulator.advance(Duration::from_secs(31));
    let row = &describe(&simulator, &all).await.0[0];
    assert_eq!(row["Tags"]["Tag"], json!([{ "TagKey": "team", "TagValue": "base" }]));
    assert_eq!(describe(&simulator, &tagged).await.1, 1);
}

#[tokio::test]
async fn a_list_has_numbered_pages_and_takes_parts_of_a_name() {
    let simulator = start().await;
    for number in 0..25 {
        let (name, region) = (format!("base-{number}"), "cn-shanghai".into());
        simulator.aliyun_ecs().seed_image(Image { name, region, ..Image::default() });
    }
    for (parameters, rows, total) in [
        (&[][..], 10, 25),
        (&[("PageSize", "20"), ("PageNumber", "2")], 5, 25),
        (&[("PageSize", "20"), ("PageNumber", "3")], 0, 25),
        (&[("ImageName", "ase-1"), ("PageSize", "100")], 11, 11),
        (&[("ImageOwnerAlias", "self"), ("PageSize", "100")], 25, 25),
        (&[("ImageOwnerAlias", "others")], 0, 0),
        (&[("Status", "Deprecated")], 0, 0),
        (&[("Status", "ALL"), ("PageSize", "100")], 25, 25),
    ] {
        let seen = describe(&simulator, parameters).await;
        assert_eq!((seen.0.len(), seen.1), (rows, total), "{parameters:?}");
    }
}

#[tokio::test]
async fn what_the_pages_refuse_is_refused() {
    let simulator = start().await;
    let mine = |id: &str| Image { id: id.into(), name: id.into(), ..Image::default() };
    let ecs_images = simulator.aliyun_ecs();
    ecs_images.seed_image(Image { public: true, ..mine("m-public") });
    ecs_images.seed_image(Image { odd_status: Some("Creating".into()), ..mine("m-young") });
    let theirs =
        Image { account: "other".into(), shared_with: ["100000000000001".into()].into(), ..mine("m-theirs") };
    ecs_images.seed_image(theirs);
    simulator.configure(|settings| settings.aliyun_ecs.missing_kms_keys = vec!["gone".into()]);
    assert_eq!(copy(&simulator, &[("DestinationImageName", "taken")]).await.verdict(), "200");
    for (parameters, verdict) in [
        (&[("DestinationImageName", "taken")][..], "400 InvalidImageName.Duplicated"),
        (&[("DestinationImageName", "taken"), ("DestinationRegionId", "cn-beijing")], "200"),
        (&[("DestinationImageName", "x")], "400 InvalidImageName.Malformed"),
        (&[("DestinationImageName", "aliyun-base")], "400 InvalidImageName.Malformed"),
        (&[("DestinationDescription", "x")], "400 InvalidDescription.Malformed"),
        (&[("DestinationRegionId", "mars-1")], "400 DestinationRegion.NotFound"),
        (&[("RegionId", "mars-1")], "400 SourceRegion.NotFound"),
        (&[("KMSKeyId", "k")], "400 InvalidParameter.EncryptedIllegal"),
        (&[("KMSKeyId", "gone"), ("Encrypted", "true")], "404 InvalidParameter.KMSKeyId.NotFound"),
        (&[("KMSKeyId", "k"), ("Encrypted", "true")], "200"),
        (&[("ImageId", "other")], "404 InvalidImageId.NotFound"),
        (&[("ImageId", "m-public")], "400 OperationDenied.CommunityImage"),
        (&[("ImageId", "m-young")], "400 IncorrectImageStatus"),
        (&[("ImageId", "m-theirs")], "403 OperationDenied.SameRegionOnly"),
        (&[("ImageId", "m-theirs"), ("DestinationRegionId", "cn-hangzhou")], "200"),
        (&[("ResourceGroupId", "rg-none")], "404 InvalidResourceGroup.NotFound"),
        (&[("Tag.1.Key", "acs:x")], "400 InvalidTagKey.Malformed"),
    ] {
        assert_eq!(copy(&simulator, parameters).await.verdict(), verdict, "{parameters:?}");
    }
    simulator.configure(|settings| settings.aliyun_ecs.copy_conflict_seconds = 10);
    assert_eq!(copy(&simulator, &[]).await.verdict(), "400 OperationDenied.ImageCopyConflict");
    simulator.advance(Duration::from_secs(11));
    simulator.configure(|settings| settings.aliyun_ecs.image_quota = Some(1));
    assert_eq!(copy(&simulator, &[]).await.verdict(), "403 QuotaExceed.Image");
    simulator.configure(|settings| {
        settings.aliyun_ecs.image_quota = None;
        settings.aliyun_ecs.snapshot_quota = Some(1);
        settings.aliyun_ecs.regions_without_kms = vec!["cn-shanghai".into()];
    });
    for (parameters, verdict) in [
        (&[][..], "403 QuotaExceed.Snapshot"),
        (&[("DestinationRegionId", "cn-chengdu")], "200"),
        (&[("Encrypted", "true")], "400 InvalidParameter.KmsNotEnabled"),
        (&[("Encrypted", "true"), ("KMSKeyId", "k")], "400 InvalidParameter.KmsNotEnabled"),
        (&[("Encrypted", "true"), ("DestinationRegionId", "cn-qingdao")], "200"),
    ] {
        simulator.advance(Duration::from_secs(11));
        assert_eq!(copy(&simulator, parameters).await.verdict(), verdict, "{parameters:?}");
    }
    for (change, verdict) in [
        ((|image| image.in_use = true) as fn(&mut Image), "403 ImageUsingByInstance"),
        (|image| image.public = true, "403 ImageIsPublic"),
        (|image| image.shared_with = ["1".into()].into(), "403 ImageUseShared"),
    ] {
        let mut image = mine("m-kept");
        change(&mut image);
        ecs_images.seed_image(image);
        assert_eq!(ecs(&simulator, "DeleteImage", &[("ImageId", "m-kept")]).await.verdict(), verdict);
    }
}

#[tokio::test]
async fn ten_accounts_of_a_call_are_heard_and_a_community_image_is_shared_with_nobody() {
    let simulator = start().await;
    let seeded = Image { id: "m-1".into(), region: "cn-shanghai".into(), ..Image::default() };
    simulator.aliyun_ecs().seed_image(seeded);
    let modify = async |parameters: &[(&str, &str)]| {
        in_shanghai(
            &simulator,
            "ModifyImageSharePermission",
            &[&[("ImageId", "m-1")][..], parameters].concat(),
        )
        .await
    };
    let accounts = async |parameters: &[(&str, &str)]| {
        let about = [&[("ImageId", "m-1"), ("RegionId", "cn-shanghai")][..], parameters].concat();
        let reply = ecs(&simulator, "DescribeImageSharePermission", &about).await.json();
        let ids: Vec<_> = reply["Accounts"]["Account"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| row["AliyunId"].clone())
            .collect();
        (ids, reply["TotalCount"].as_u64().expect("a number"))
    };
    let names: Vec<_> =
        (1..=11).map(|number| (format!("AddAccount.{number}"), format!("10{number:02}"))).collect();
    let names: Vec<_> = names.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(modify(&names).await, "200");
    assert_eq!(
        accounts(&[("PageSize", "4"), ("PageNumber", "3")]).await,
        (vec![1009.into(), 1010.into()], 10)
    );
    assert_eq!(accounts(&[]).await.0.len(), 10, "the eleventh was not heard");
    simulator.configure(|settings| settings.aliyun_ecs.account_ids_are_texts = true);
    assert_eq!(accounts(&[("PageSize", "1")]).await.0, ["1001"]);

    // Shared, it is another account's to see, and nobody's to delete.
    assert_eq!(in_shanghai(&simulator, "DeleteImage", &[("ImageId", "m-1")]).await, "403 ImageUseShared");
    simulator.configure(|settings| {
        settings.aliyun_ecs.share_quota = 10;
        settings.aliyun_ecs.missing_accounts = vec!["404".into()];
        settings.aliyun_ecs.regions_without_community = vec!["cn-beijing".into()];
    });
    for (parameters, verdict) in [
        (&[("AddAccount.1", "7")][..], "403 QuotaExceed.ShareImageUser"),
        (&[("AddAccount.1", "7"), ("RemoveAccount.1", "1001")], "200"),
        (&[("AddAccount.1", "7")], "200"),
        (&[("AddAccount.1", "404"), ("RemoveAccount.1", "7")], "404 InvalidAccount.NotFound"),
        (&[("AddAccount.1", "100000000000001")], "404 InvalidAccount.Forbbiden"),
        (&[("IsPublic", "true"), ("AddAccount.1", "7")], "403 InvalidParameter.IsPublic"),
        (&[("IsPublic", "false")], "403 Image.NotPublic"),
        (&[("IsPublic", "true")], "200"),
        (&[("IsPublic", "true")], "403 Image.Public"),
        (&[("RemoveAccount.1", "7")], "200"),
        (&[("AddAccount.1", "7")], "403 Image.Public"),
        (&[("IsPublic", "false")], "200"),
        (&[("ImageId", "m-none")], "404 InvalidImageId.NotFound"),
    ] {
        assert_eq!(modify(parameters).await, verdict, "{parameters:?}");
    }
    assert_eq!(modify(&[("RemoveAccount.1", "404")]).await, "200");
    simulator.configure(|settings| settings.aliyun_ecs.missing_accounts_can_be_removed = false);
    assert_eq!(modify(&[("RemoveAccount.1", "404")]).await, "404 InvalidAccount.NotFound");
    simulator.configure(|settings| settings.aliyun_ecs.community_agreement = false);
    assert_eq!(modify(&[("IsPublic", "true")]).await, "403 PublicImageAgreement.NotSigned");
    simulator.configure(|settings| {
        settings.aliyun_ecs.community_agreement = true;
        settings.aliyun_ecs.regions_without_community = vec!["cn-shanghai".into()];
    });
    assert_eq!(modify(&[("IsPublic", "true")]).await, "403 CurrentRegion.NotSupportPublicImage");
    let encrypted = "403 InvalidOperation.ServiceKeyEncryptedImageUnsupported";
    for (key, verdict) in [(None, encrypted), (Some("key"), "200")] {
        simulator.aliyun_ecs().modify_image("m-1", |image| {
            (image.encrypted, image.kms_key) = (true, key.map(Into::into));
        });
        let shared: [&[_]; 2] = [&[("AddAccount.1", "8")], &[("RemoveAccount.1", "8")]];
        assert_eq!((modify(shared[0]).await.as_str(), modify(shared[1]).await.as_str()), (verdict, "200"));
    }
    simulator.aliyun_ecs().modify_image("m-1", |image| image.odd_status = Some("Deprecated".into()));
    assert_eq!(modify(&[("AddAccount.1", "7")]).await, "403 OperationDenied.InvalidImageStatus");
}
