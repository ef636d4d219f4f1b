//! Where a copy stands, as its distribution sees it.

use super::steps::is_deleting;
use crate::{
    engine::status::{READY, RECONCILING},
    image::Phase,
    vendors::aliyun::image_copy::AliyunImageCopy,
};

/// Where a copy stands, as far as its owner is concerned.
pub(super) struct State<'a> {
    pub(super) phase: Phase,
    pub(super) is_ready: bool,
    /// Why it is not Ready, if it says so.
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    /// Whether it goes on by itself.
    pub(super) goes_on: bool,
    /// Whether it is being deleted, and something is in the way.
    pub(super) lingers: bool,
}

impl<'a> State<'a> {
    pub(super) fn of(copy: &'a AliyunImageCopy) -> Self {
        let status = copy.status.as_ref();
        let conditions = status.map(|status| &*status.conditions).unwrap_or_default();
        let condition = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_);
        let is_true = |type_: &str| condition(type_).is_some_and(|condition| condition.status == "True");
        // What speaks of an older spec, or of the time before the deletion, says nothing about this one. What is in the way of one
        // is told before it is dealt with.
        let is_current = status.is_some_and(|status| status.observed_generation == copy.metadata.generation);
        let ready = condition(READY);
        let tells = ready.filter(|ready| ready.observed_generation == copy.metadata.generation);
        let deleting = is_deleting(copy);
        let phase = status.and_then(|status| status.phase).unwrap_or(Phase::Pending);
        let suspended = ready.is_some_and(|ready| ready.reason == "Suspended");
        Self {
            phase: if deleting { Phase::Deleting } else { phase },
            is_ready: is_current && !deleting && is_true(READY),
            reason: ready.map_or("", |ready| &ready.reason),
            message: ready.map_or("", |ready| &ready.message),
            lingers: deleting && tells.is_some_and(|ready| ready.reason != "Deleting"),
            goes_on: !suspended && (tells.is_none() || is_true(RECONCILING) || is_true(READY)),
        }
    }

    /// Whether it takes one of the places.
    pub(super) fn is_under_way(&self) -> bool {
        !self.is_ready && self.goes_on && self.phase != Phase::Deleting
    }
}
