//! The way for tests to look at what the vendor keeps, and to change it behind the vendor's back.

use super::acep::AospImage;
use super::ecs::EcsImage;
use super::exports::Task;
use super::{Volcengine, complete_aosp_image, complete_ecs_image, complete_task};
use crate::server::Shared;
use crate::work::Stage;

/// What a test may do behind the vendor's back; none of it is in the ledger.
pub struct Inventory<'a> {
    service: &'a Volcengine,
    shared: &'a Shared,
}

impl<'a> Inventory<'a> {
    pub(crate) fn new(service: &'a Volcengine, shared: &'a Shared) -> Self {
        Self { service, shared }
    }

    /// All AOSP images, oldest first.
    pub fn aosp_images(&self) -> Vec<AospImage> {
        self.service.state().images.values().cloned().collect()
    }

    /// The AOSP image with this id.
    pub fn aosp_image(&self, id: &str) -> Option<AospImage> {
        self.service.state().images.get(id).cloned()
    }

    /// Adds an AOSP image and tells its id; empty fields are filled as the vendor would, a build without times is over.
    pub fn seed_aosp_image(&self, mut image: AospImage) -> String {
        let id = complete_aosp_image(&mut image, self.shared);
        self.service.state().images.insert(id.clone(), image);
        id
    }

    /// Takes an AOSP image away.
    pub fn remove_aosp_image(&self, id: &str) -> Option<AospImage> {
        self.service.state().images.remove(id)
    }

    /// Changes an AOSP image; false when it does not exist.
    pub fn modify_aosp_image(&self, id: &str, change: impl FnOnce(&mut AospImage)) -> bool {
        self.service.state().images.get_mut(id).map(change).is_some()
    }

    /// All tasks, oldest first, forgotten ones too.
    pub fn tasks(&self) -> Vec<Task> {
        self.service.state().tasks.values().cloned().collect()
    }

    /// Adds a task and tells its id; empty fields are filled as the vendor would.
    pub fn seed_task(&self, mut task: Task) -> String {
        let id = complete_task(&mut task, self.shared);
        self.service.state().tasks.insert(id.clone(), task);
        id
    }

    /// Changes a task; false when it does not exist.
    pub fn modify_task(&self, id: &str, change: impl FnOnce(&mut Task)) -> bool {
        self.service.state().tasks.get_mut(id).map(change).is_some()
    }

    /// Lets the vendor forget a task.
    pub fn remove_task(&self, id: &str) -> Option<Task> {
        self.service.state().tasks.remove(id)
    }

    /// Adds an ECS image and tells its id; empty fields are filled as the vendor would.
    pub fn seed_image(&self, mut image: EcsImage) -> String {
        let id = complete_ecs_image(&mut image, self.shared);
        self.service.state().ecs_images.insert(id.clone(), image);
        id
    }

    /// Takes an ECS image away, also one that was never seeded.
    pub fn remove_image(&self, id: &str) {
        let mut state = self.service.state();
        state.ecs_images.remove(id);
        state.removed_images.insert(id.into());
    }

    /// Objects that ended exports have written, as `tos://bucket/object`.
    pub fn exported_objects(&self) -> Vec<String> {
        let now = self.shared.clock.now();
        let state = self.service.state();
        let done = state.tasks.values().filter(|task| task.work.stage(now) == Stage::Succeeded);
        done.filter(|task| task.kind == "ExportImage").map(Task::object).collect()
    }

    /// Pairs of exports of one image that were under way at the same time; there must never be one.
    pub fn overlapping_exports(&self) -> Vec<(String, String)> {
        let tasks = self.tasks();
        let overlap = |a: &Task, b: &Task| {
            a.resource_id == b.resource_id
                && a.account == b.account
                && a.work.ended().is_none_or(|end| b.work.begun < end)
                && b.work.ended().is_none_or(|end| a.work.begun < end)
        };
        let pairs =
            tasks.iter().enumerate().flat_map(|(index, a)| tasks[..index].iter().map(move |b| (b, a)));
        pairs.filter(|(a, b)| overlap(a, b)).map(|(a, b)| (a.id.clone(), b.id.clone())).collect()
    }
}
