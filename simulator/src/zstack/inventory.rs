//! The way for tests to look at what the vendor keeps, and to change it behind the vendor's back.

use super::images::Image;
use super::jobs::Job;
use super::sessions::Session;
use super::{State, ZStack, complete};
use crate::server::Shared;

/// What a test may do behind the vendor's back; none of it is in the ledger.
pub struct Inventory<'a> {
    service: &'a ZStack,
    shared: &'a Shared,
}

impl<'a> Inventory<'a> {
    pub(crate) fn new(service: &'a ZStack, shared: &'a Shared) -> Self {
        Self { service, shared }
    }

    /// The state as it is by the clock.
    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.service.state();
        state.sweep(self.shared.clock.now(), &self.shared.settings().zstack);
        look(&mut state)
    }

    /// All images, oldest first, softly deleted ones too.
    pub fn images(&self) -> Vec<Image> {
        self.state(|state| state.images.values().cloned().collect())
    }

    /// The image with this uuid.
    pub fn get(&self, uuid: &str) -> Option<Image> {
        self.state(|state| state.images.get(uuid).cloned())
    }

    /// Adds an image and tells its uuid; empty fields are filled as the vendor would.
    pub fn seed(&self, mut image: Image) -> String {
        let uuid = complete(&mut image, self.shared);
        self.state(|state| state.images.insert(uuid.clone(), image));
        uuid
    }

    /// Takes an image away.
    pub fn remove(&self, uuid: &str) -> Option<Image> {
        self.state(|state| state.images.remove(uuid))
    }

    /// Expunges an image, which spends its uuid.
    pub fn expunge(&self, uuid: &str) -> Option<Image> {
        self.state(|state| {
            state.spent.insert(uuid.to_owned());
            state.images.remove(uuid)
        })
    }

    /// Changes an image; false when it does not exist.
    pub fn modify(&self, uuid: &str, change: impl FnOnce(&mut Image)) -> bool {
        self.state(|state| state.images.get_mut(uuid).map(change).is_some())
    }

    /// Sessions that live.
    pub fn sessions(&self) -> Vec<Session> {
        self.state(|state| state.sessions.values().cloned().collect())
    }

    /// Ends a session.
    pub fn end_session(&self, uuid: &str) -> bool {
        self.state(|state| state.sessions.remove(uuid).is_some())
    }

    /// Ends all sessions, as a restart of the management node does.
    pub fn end_all_sessions(&self) {
        self.state(|state| state.sessions.retain(|_| false));
    }

    /// Jobs that the vendor still knows.
    pub fn jobs(&self) -> Vec<Job> {
        self.state(|state| state.jobs.values().cloned().collect())
    }

    /// Lets the vendor forget a job.
    pub fn forget_job(&self, uuid: &str) -> bool {
        self.state(|state| state.jobs.remove(uuid).is_some())
    }
}
