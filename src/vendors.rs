//! One folder for each vendor, one file in it for each image API. They translate; the engine decides.

pub mod aliyun;
pub mod normalise;
mod percent;
pub mod volcengine;
pub mod zstack;

use crate::{
    account::AccountVendor,
    engine::{
        accounts::Vendors,
        external::{Connect, Material, Unusable},
        limits::Published,
    },
    wire::endpoint::Endpoints,
};

/// What the engine must know of the vendors without naming one.
pub const VENDORS: Vendors = Vendors {
    check,
    secret_keys: &["accessKeyId", "accessKeySecret", "securityToken", "accountName", "password"],
    published_limits,
    place,
};

fn check(account: &AccountVendor, material: Material) -> Result<(), Unusable> {
    if account.aliyun.is_some() {
        return aliyun::Client::connect(account, material).map(drop);
    }
    if account.volcengine.is_some() {
        return volcengine::Client::connect(account, material).map(drop);
    }
    if account.zstack.is_some() {
        return zstack::Client::connect(account, material).map(drop);
    }
    Err(Unusable::new("InvalidAccount", "the account names no vendor; correct its spec"))
}

fn published_limits(account: &AccountVendor) -> &'static [Published] {
    if account.aliyun.is_some() {
        aliyun::PUBLISHED_LIMITS
    } else if account.volcengine.is_some() {
        volcengine::PUBLISHED_LIMITS
    } else {
        // ZStack publishes no limits, and its server has none.
        &[]
    }
}

fn place(account: &AccountVendor) -> String {
    if let Some(account) = &account.aliyun {
        let ecs = account.ecs.as_ref().and_then(|api| api.endpoint.as_deref());
        let batch = account.batch_compute.as_ref().and_then(|api| api.endpoint.as_deref());
        let [ecs, batch] = [ecs, batch].map(|own| Endpoints::place(own, aliyun::DOMAINS));
        return format!("aliyun {ecs} {batch}");
    }
    if let Some(account) = &account.volcengine {
        let acep = account.acep.as_ref().and_then(|acep| acep.endpoint.as_deref());
        let ecs = account.ecs.as_ref().and_then(|ecs| ecs.endpoint.as_deref());
        let [acep, ecs] = [acep, ecs].map(|own| Endpoints::place(own, volcengine::DOMAINS));
        return format!("volcengine {acep} {ecs}");
    }
    let endpoint = account.zstack.as_ref().map(|account| account.endpoint.as_str());
    format!("zstack {}", Endpoints::normal(endpoint.unwrap_or_default()))
}

/// What a kind says when its account is of another vendor.
fn wrong_vendor(kind_of: &str) -> Unusable {
    Unusable::new(
        "WrongVendor",
        format!("the account is not of {kind_of}; name one that is in spec.accountRef"),
    )
}
