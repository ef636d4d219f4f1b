//! One folder for each vendor, one file in it for each image API. They translate; the engine decides.

pub mod aliyun;
mod normalise;
mod percent;
pub mod volcengine;
pub mod zstack;

use crate::{
    account::AccountVendor,
    engine::{
        accounts::Vendors,
        external::{Connect, Material, Unusable},
    },
};
use std::time::Duration;

/// What the engine must know of the vendors without naming one.
pub const VENDORS: Vendors = Vendors {
    check,
    secret_keys: &["accessKeyId", "accessKeySecret", "securityToken", "accountName", "password"],
    published_limits,
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

fn published_limits(account: &AccountVendor) -> &'static [(&'static str, u32, Duration)] {
    if account.aliyun.is_some() {
        aliyun::PUBLISHED_LIMITS
    } else if account.volcengine.is_some() {
        volcengine::PUBLISHED_LIMITS
    } else if account.zstack.is_some() {
        zstack::PUBLISHED_LIMITS
    } else {
        &[]
    }
}

/// What a kind says when its account is of another vendor.
fn wrong_vendor(kind_of: &str) -> Unusable {
    Unusable::new(
        "WrongVendor",
        format!("the account is not of {kind_of}; name one that is in spec.accountRef"),
    )
}
