//! What becomes of an object whose creation a vendor refuses, class by class and vendor by vendor: what it shows, how often
//! the vendor is called, and how it goes on when the vendor has recovered.

use crate::harness::{World, account_of, condition, image_of};
use cloud_image_operator::wire::Class;
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use vendor_simulator::{Call, Fault, FaultRule, When};

/// Every class; [`way`] does not compile without a new one.
const CLASSES: [Class; 12] = [
    Class::Invalid,
    Class::Conflict,
    Class::TokenReused,
    Class::NotFound,
    Class::Throttled,
    Class::Quota,
    Class::Busy,
    Class::Permission,
    Class::Credentials,
    Class::ClockSkew,
    Class::Unavailable,
    Class::Unlisted,
];

/// A refusal that a vendor gives: the kind that meets it, HTTP status, code, message.
type Row = (Class, &'static str, u16, &'static str, &'static str);

/// Pipelines and copies share its client and its table.
const COMPONENT: &str = "ImageComponent";
const AOSP: &str = "AospImage";
const EXPORT: &str = "ImageExport";
const BATCH: &str = "BatchComputeImage";
const ZSTACK: &str = "RootVolumeTemplate";

const ROWS: &[Row] = &[
    (Class::Invalid, COMPONENT, 400, "InvalidName.Malformed", "The specified Name is malformed."),
    (Class::Invalid, AOSP, 400, "1000001", "invalid parameter"),
    (Class::Invalid, EXPORT, 400, "InvalidTOSPrefix.Malformed", "The specified TOSPrefix is malformed."),
    (Class::Invalid, BATCH, 400, "InvalidUserData", "Specified parameter UserData is not valid."),
    (Class::Invalid, ZSTACK, 503, "SYS.1007", "One or more API argument is invalid"),
    (
        Class::Conflict,
        COMPONENT,
        403,
        "InvalidComponentVersion.Exist",
        "The specified ComponentVersion does exist.",
    ),
    (
        Class::Conflict,
        BATCH,
        400,
        "InvalidEcsImageId",
        "Specified parameter EcsImageId is not valid. This EcsImageId has been registered.",
    ),
    (Class::Conflict, ZSTACK, 503, "SYS.1000", "Duplicate entry 'x' for key 'PRIMARY'"),
    (
        Class::TokenReused,
        COMPONENT,
        400,
        "IdempotentParameterMismatch",
        "The request uses the same client token.",
    ),
    (Class::TokenReused, BATCH, 400, "IdempotentTokenMismatch", "Specified idempotent token mismatch."),
    (Class::NotFound, COMPONENT, 404, "InvalidResourceGroup.NotFound", "The ResourceGroup does not exist."),
    (Class::NotFound, AOSP, 400, "2000000", "the product does not exist"),
    (Class::NotFound, EXPORT, 404, "InvalidTOSBucket.NotFound", "The specified TOSBucket does not exist."),
    (
        Class::NotFound,
        BATCH,
        400,
        "InvalidEcsImageId",
        "Specified parameter EcsImageId is not valid. The specified EcsImageId does not exist or not you onwer.",
    ),
    (Class::NotFound, ZSTACK, 503, "SYS.1003", "Resource cannot be found"),
    (Class::Throttled, COMPONENT, 400, "Throttling", "Request was denied due to request throttling."),
    (Class::Throttled, AOSP, 429, "FlowLimitExceeded", "The request is rejected because of the flow limit."),
    (Class::Throttled, EXPORT, 400, "AccountFlowLimitExceeded", "The flow limit of the account."),
    (Class::Throttled, BATCH, 400, "Throttling.User", "Request was denied due to user flow control."),
    (Class::Throttled, ZSTACK, 429, "", "too many requests"),
    (Class::Quota, COMPONENT, 400, "QuotaExceed.ImageComponent", "The maximum number is exceeded."),
    (Class::Quota, AOSP, 400, "QuotaExceeded.Image", "The quota is exceeded."),
    (Class::Quota, BATCH, 403, "QuotaExhausted.MaxImageCount", "The MaxImageCount (20) quota is exhausted."),
    (Class::Quota, ZSTACK, 503, "ID.1003", "Quota exceeded"),
    (
        Class::Busy,
        EXPORT,
        412,
        "OperationDenied.ResourceLocked",
        "Your resource is locked for another operation.",
    ),
    (Class::Busy, EXPORT, 400, "InvalidImageStatus", "The image is not in the correct status."),
    (
        Class::Busy,
        BATCH,
        400,
        "InvalidEcsImageId",
        "Specified parameter EcsImageId is not valid. The image is not available.",
    ),
    (Class::Busy, ZSTACK, 503, "SYS.1006", "unable to allocate backup storage"),
    (Class::Permission, COMPONENT, 403, "Forbidden.RAM", "User not authorized to operate on the resource."),
    (Class::Permission, AOSP, 403, "LackPolicy", "The policy is missing."),
    (Class::Permission, EXPORT, 400, "InvalidTosPutObject.AccessDenied", "tos:PutObject is not authorized."),
    (
        Class::Permission,
        BATCH,
        400,
        "InvalidRoleArn",
        "Specified parameter RoleArn is not valid. You haven\u{2019}t created AliyunBatchComputeDefaultRole yet.",
    ),
    (Class::Permission, ZSTACK, 503, "ID.1002", "Permission denied"),
    (Class::Credentials, COMPONENT, 404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."),
    (Class::Credentials, AOSP, 401, "InvalidAccessKey", "The access key is invalid."),
    (Class::Credentials, EXPORT, 401, "SignatureDoesNotMatch", "The request signature does not match."),
    (Class::Credentials, BATCH, 400, "InvalidSecurityToken", "Specified SecurityToken is not valid."),
    (Class::Credentials, ZSTACK, 403, "", "wrong accessKey signature"),
    (Class::ClockSkew, COMPONENT, 400, "InvalidTimeStamp.Expired", "Specified time stamp is expired."),
    (Class::ClockSkew, AOSP, 400, "InvalidTimestamp", "The request has expired."),
    (Class::ClockSkew, EXPORT, 400, "InvalidTimestamp", "The request has expired."),
    (Class::ClockSkew, BATCH, 400, "InvalidDate", "Specified parameter Date is not valid."),
    (Class::ClockSkew, ZSTACK, 403, "", "requestTimeTooSkewed: the difference is too large"),
    (Class::Unavailable, COMPONENT, 503, "ServiceUnavailable", "The request has failed."),
    (Class::Unavailable, AOSP, 400, "21340", "image build abnormal"),
    (Class::Unavailable, EXPORT, 500, "InternalError", "An internal error has occurred."),
    (Class::Unavailable, BATCH, 500, "InternalError", "The request processing has failed."),
    (Class::Unavailable, ZSTACK, 503, "SYS.1001", "timeout"),
    (Class::Unlisted, COMPONENT, 400, "Some.News", "Nobody has heard of it."),
    (Class::Unlisted, AOSP, 400, "Some.News", "Nobody has heard of it."),
    (Class::Unlisted, EXPORT, 400, "Some.News", "Nobody has heard of it."),
    (Class::Unlisted, BATCH, 403, "Some.News", "Nobody has heard of it."),
    (Class::Unlisted, ZSTACK, 503, "NEWS.1000", "Nobody has heard of it."),
];

/// What an object does about a refusal of a class.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// It ends as `Failed`, and tries again when asked to.
    Ends,
    /// It tries again calmly by itself. The condition that is true meanwhile: somebody has to act at the vendor, or nobody.
    Waits(&'static str),
    /// It tries again at once with a new Secret.
    WaitsForSecret,
    /// It is over before it is worth telling.
    Passes,
}

fn way(class: Class) -> Way {
    match class {
        Class::Invalid | Class::Conflict | Class::TokenReused => Way::Ends,
        Class::NotFound | Class::Quota | Class::Busy | Class::Unlisted => Way::Waits("Reconciling"),
        Class::Permission | Class::ClockSkew => Way::Waits("Stalled"),
        Class::Credentials => Way::WaitsForSecret,
        Class::Throttled | Class::Unavailable => Way::Passes,
    }
}

/// The creating call of a kind, and the parameter that has the object's name in it.
fn creation(kind: &str) -> (&'static str, &'static str) {
    match kind {
        COMPONENT => ("CreateImageComponent", "Name"),
        AOSP => ("BuildAOSPImage", "ImageName"),
        EXPORT => ("ExportImage", "ImageId"),
        BATCH => ("CreateImage", "Name"),
        _ => ("CreateRootVolumeTemplateFromRootVolume", "name"),
    }
}

/// The shortest pause between two attempts of who waits calmly.
const CALM: Duration = Duration::from_secs(7);

#[test]
fn every_class_has_a_row_and_every_kind_has_most() {
    for class in CLASSES {
        assert!(ROWS.iter().any(|row| row.0 == class), "{class:?} has no row");
    }
    for kind in [COMPONENT, AOSP, EXPORT, BATCH, ZSTACK] {
        let classes = CLASSES.iter().filter(|class| ROWS.iter().any(|row| row.0 == **class && row.1 == kind));
        assert!(classes.count() >= 8, "{kind}");
    }
}

#[tokio::test]
async fn each_class_of_refusals_has_its_way() {
    let mut world = World::empty("error-classes").await;
    world.beat = Duration::from_secs(1);
    world.quicken();
    let rows: Vec<_> = ROWS.iter().zip(0..).map(|(row, number)| Case::new(*row, number)).collect();
    world.vendor.set_faults(rows.iter().map(Case::fault).collect());
    world.start_operator().await;
    join_all(rows.iter().map(|row| row.create(&world))).await;
    join_all(rows.iter().map(|row| row.is_refused(&world))).await;
    world.vendor.set_faults(vec![]);
    join_all(rows.iter().map(|row| row.goes_on(&world))).await;
    for row in &rows {
        row.was_calm(&world);
    }
}

/// A row with the name of its object.
struct Case {
    name: String,
    row: Row,
    way: Way,
}

impl Case {
    fn new(row: Row, number: usize) -> Self {
        // No name is the beginning of another.
        let name = format!("{}-{number:02}x", row.0.reason().to_lowercase());
        Self { name, row, way: way(row.0) }
    }

    fn fault(&self) -> FaultRule {
        let (_, kind, status, code, message) = self.row;
        let (action, parameter) = creation(kind);
        let fault = Fault::VendorError { status, code: code.into(), message: message.into(), effect: false };
        let when = if self.way == Way::Passes { When::first(1) } else { When::always() };
        FaultRule::new(fault).action(action).parameter(parameter, &self.name).when(when)
    }

    /// With an account of its own: a throttle or a refused key is about all objects of an account.
    async fn create(&self, world: &World) {
        let kind = self.row.1;
        for object in account_of(kind, &self.name, &world.vendor) {
            world.create(object).await;
        }
        let mut object = image_of(kind, &self.name);
        object["spec"]["accountRef"] = json!({ "name": self.name });
        world.create(object).await;
    }

    /// What the object shows, and what it has cost the vendor by then.
    async fn is_refused(&self, world: &World) {
        let (class, kind, _, code, _) = self.row;
        let (phase, type_, reason) = match self.way {
            Way::Ends => ("Failed", "Stalled", class.reason()),
            Way::Waits(type_) => ("Pending", type_, class.reason()),
            Way::WaitsForSecret => ("Pending", "Stalled", class.reason()),
            Way::Passes => {
                return world
                    .until_true(&format!("{} was refused", self.name), || !self.calls(world).is_empty())
                    .await;
            }
        };
        let other = if type_ == "Stalled" { "Reconciling" } else { "Stalled" };
        let is = |object: &Value| {
            let shown = condition(object, type_);
            object["status"]["phase"] == phase
                && shown["status"] == "True"
                && shown["reason"] == reason
                && condition(object, "Ready")["status"] == "False"
                && condition(object, other)["status"] == "False"
        };
        let what = format!("it is {phase}, {type_}, {reason}");
        let object = world.until(kind, &self.name, &what, is).await;
        let message = condition(&object, "Ready")["message"].as_str().unwrap_or_default();
        // What no table has comes as it is, what one has with advice in two languages.
        let advises = class == Class::Unlisted || message.contains(" / ");
        assert!(message.contains(code) && advises, "{}: {message}", self.name);
        if self.way == Way::Ends {
            assert_eq!(self.calls(world).len(), 1, "{}: {:#?}", self.name, world.call_log());
        }
    }

    /// By itself, or as its message says.
    async fn goes_on(&self, world: &World) {
        let kind = self.row.1;
        match self.way {
            Way::Ends => world.request(kind, &self.name, "again").await,
            Way::WaitsForSecret => {
                world.patch("Secret", &self.name, json!({ "stringData": { "note": "new" } })).await;
            }
            Way::Waits(_) | Way::Passes => {}
        }
        world.until_ready(kind, &self.name).await;
    }

    /// Made once, after as many calls as had to be.
    fn was_calm(&self, world: &World) {
        let calls = self.calls(world);
        let log = || format!("{}: {calls:#?}", self.name);
        let ledger = world.vendor.ledger();
        let made = |call: &&Call| ledger.effects.iter().any(|effect| effect.call == call.sequence);
        assert_eq!(calls.iter().filter(made).count(), 1, "{}", log());
        match self.way {
            Way::Waits(_) => {
                for (one, next) in calls.iter().zip(&calls[1..]) {
                    let pause = next.time.duration_since(one.time);
                    assert!(Duration::try_from(pause).is_ok_and(|pause| pause >= CALM), "{}", log());
                }
                assert!(calls.len() >= 2, "{}", log());
            }
            Way::WaitsForSecret => assert!((2..=3).contains(&calls.len()), "{}", log()),
            Way::Ends | Way::Passes => assert_eq!(calls.len(), 2, "{}", log()),
        }
    }

    /// The creating calls for this object, in their order.
    fn calls(&self, world: &World) -> Vec<Call> {
        let (action, parameter) = creation(self.row.1);
        let ledger = world.vendor.ledger();
        let calls = ledger
            .calls_of(action)
            .filter(|call| call.parameters.get(parameter).is_some_and(|value| value.contains(&self.name)));
        calls.cloned().collect()
    }
}
