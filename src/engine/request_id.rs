//! The vendor's id of the request that was answered last within one piece of work, such as a pass over an object, so that
//! whatever the work has to say can name it.

use std::{cell::RefCell, future::Future};

tokio::task_local! {
    static LAST: RefCell<Option<String>>;
}

/// Does a piece of work, and gives what came of it and the id of the request that was answered last.
pub async fn within<T>(work: impl Future<Output = T>) -> (T, Option<String>) {
    LAST.scope(RefCell::default(), async {
        let done = work.await;
        (done, last())
    })
    .await
}

/// A request was answered. Outside any piece of work, nobody asks for it.
pub fn note(id: Option<&str>) {
    if let Some(id) = id {
        let _ = LAST.try_with(|last| *last.borrow_mut() = Some(id.to_owned()));
    }
}

/// The request that was answered last.
pub fn last() -> Option<String> {
    LAST.try_with(|last| last.borrow().clone()).ok().flatten()
}
