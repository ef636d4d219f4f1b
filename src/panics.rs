//! What a panic ends: the process, unless it is in work that others wait for and can do without.

use futures::{FutureExt, TryFutureExt};
use std::{
    panic::{AssertUnwindSafe, PanicHookInfo},
    process,
};

/// The exit code after a panic, which is Rust's own.
const PANICKED: i32 = 101;

tokio::task_local! {
    static ALONE: ();
}

/// Work for a task of its own that ends alone when it panics: whoever waits for it hears that it has ended.
pub fn alone<W: Future>(work: W) -> impl Future<Output = W::Output> {
    ALONE.scope((), work)
}

/// Work panicked, and ended by it. The log says where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked")]
pub struct Panicked;

/// Work that ends alone when it panics, within the task that it is in. What it wrote and did until then is as after a crash.
pub fn caught<W: Future>(work: W) -> impl Future<Output = Result<W::Output, Panicked>> {
    // No `async fn`, which would have room for the work twice.
    AssertUnwindSafe(alone(work)).catch_unwind().map_err(|_| Panicked)
}

/// From now on a panic is a log line, and ends the process. A task that panics ends by itself otherwise, and an operator that
/// lacks a part looks alive: whoever started it starts it anew, and it goes on from what is written down.
pub fn end_the_process() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let ends_alone = ALONE.try_with(|()| ()).is_ok();
        tracing::error!(location, "panicked: {}", message(panic));
        if !ends_alone {
            process::exit(PANICKED);
        }
    }));
}

/// What a panic says, where that stands in the code. One that was put together as it happened may hold what was worked on,
/// a piece of a Secret for one.
fn message<'a>(panic: &PanicHookInfo<'a>) -> &'a str {
    match panic.payload().downcast_ref::<&'static str>() {
        Some(message) => message,
        None => "what it says may hold a secret, and is not shown",
    }
}
