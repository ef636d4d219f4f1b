//! For whom a call is made, and how long it can wait: what a user has just changed comes first, looks from time to time last.

use std::{cell::RefCell, future::Future, sync::Arc};

/// How long something can wait, from what a person waits for to what nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A user has just asked for it.
    #[default]
    Changed,
    /// Something is to go.
    Deletion,
    /// The vendor is at work on it, or it is tried again.
    Running,
    /// Nothing has happened: its time to be looked at has come.
    Resync,
}

/// How many sorts of [`Urgency`] there are.
pub const URGENCIES: usize = 4;

impl Urgency {
    /// All, from the most urgent on.
    pub const ALL: [Self; URGENCIES] = [Self::Changed, Self::Deletion, Self::Running, Self::Resync];

    /// Its place among all.
    pub fn rank(self) -> usize {
        self as usize
    }
}

/// What a piece of work is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errand {
    /// How long it can wait.
    pub urgency: Urgency,
    /// Whose objects it is about: namespaces take turns.
    pub namespace: Arc<str>,
}

impl Errand {
    /// An errand for a namespace.
    pub fn new(urgency: Urgency, namespace: &str) -> Self {
        Self { urgency, namespace: namespace.into() }
    }
}

tokio::task_local! {
    static ERRAND: RefCell<Errand>;
}

/// Does a piece of work on an errand.
pub fn within<F: Future>(errand: Errand, work: F) -> impl Future<Output = F::Output> {
    ERRAND.scope(RefCell::new(errand), work)
}

/// What this task's work is for. Work for no object in particular is as urgent as any.
pub fn current() -> Errand {
    ERRAND.try_with(|errand| errand.borrow().clone()).unwrap_or_default()
}
