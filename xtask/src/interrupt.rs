//! Waiting that ends when the user interrupts or is gone, so that everything started is ended in order.

use std::os::unix::process::parent_id;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Doing, Error, Result};

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Who started us, if we are to end with it. `cargo run` becomes the program that it runs, so this is the shell.
static STARTER: OnceLock<u32> = OnceLock::new();

/// How often a wait looks whether it was interrupted.
const GLANCE: Duration = Duration::from_millis(50);

/// From now on the first SIGINT or SIGTERM makes every wait of this module return [`Error::Interrupted`]; a second one
/// ends the process at once. The end of the terminal (SIGHUP) interrupts too, and with `follow_parent` that of the parent
/// process, unless SIGHUP is ignored, as under `nohup`. For programs: in a library's user (a test) signals keep the
/// meaning they have.
pub fn catch(follow_parent: bool) -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the shutdown looks at the flag before this signal sets it.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&INTERRUPTED))
            .and_then(|_| flag::register(signal, Arc::clone(&INTERRUPTED)))
            .doing(|| "listen for signals")?;
    }
    if !hangups_are_ignored()? {
        // Kernel and shell both send one, so a second one is no sign of impatience.
        flag::register(SIGHUP, Arc::clone(&INTERRUPTED)).doing(|| "listen for signals")?;
        if follow_parent {
            STARTER.get_or_init(parent_id);
        }
    }
    Ok(())
}

/// Asks a child, as what is ignored is inherited: it survives SIGHUP only if it ignores it.
pub fn hangups_are_ignored() -> Result<bool> {
    let survived = Command::new("/bin/sh").args(["-c", "kill -HUP $$"]).status();
    survived.map(|status| status.success()).doing(|| "run /bin/sh")
}

/// Fails once the process was interrupted.
pub fn check() -> Result<()> {
    let is_orphan = STARTER.get().is_some_and(|starter| *starter != parent_id());
    if is_orphan || INTERRUPTED.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

/// Sleeps for `time`, or until interrupted.
pub fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        sleep(left.min(GLANCE));
    }
}

/// Looks every `every` until `look` finds something; `None` when it has not within `limit`.
pub fn wait_for<T>(
    limit: Duration,
    every: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    let end = Instant::now() + limit;
    loop {
        check()?;
        if let Some(found) = look()? {
            return Ok(Some(found));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        pause(every)?;
    }
}
