//! Programs that never outlive the one who started them, however that one ends.
//!
//! Each runs under a small POSIX shell script that holds a pipe to us. When we close it, or the kernel does because we
//! died (a panic, SIGKILL), the script ends the program. Both are in a process group of their own, so that Ctrl-C in a
//! terminal reaches only us and things end in order.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::error::{Doing, Error, Result};
use crate::interrupt;

/// How often a wait asks whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How many lines of a log an error shows.
const TAIL: usize = 20;

/// A program about to be started.
#[derive(Debug)]
pub struct Launch {
    name: String,
    command: Command,
    log: Option<PathBuf>,
    grace: Duration,
    scratch: Option<PathBuf>,
}

impl Launch {
    /// `name` is what errors call the program. Of `command`, program, arguments, environment and working directory
    /// count; its standard input is empty, its output goes where ours goes unless [`Launch::log`] says otherwise.
    pub fn new(name: impl Into<String>, command: Command) -> Self {
        Self { name: name.into(), command, log: None, grace: Duration::ZERO, scratch: None }
    }

    /// Both outputs go to this file, which is made anew.
    #[must_use]
    pub fn log(mut self, file: impl Into<PathBuf>) -> Self {
        self.log = Some(file.into());
        self
    }

    /// When ended, the program gets SIGTERM and this long (whole seconds) before SIGKILL; without it SIGKILL at once.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A folder that is deleted when the program is ended from here, or because we died. One that ended by itself
    /// leaves it, log and all, to whoever wants to know why.
    #[must_use]
    pub fn scratch(mut self, folder: impl Into<PathBuf>) -> Self {
        self.scratch = Some(folder.into());
        self
    }

    /// Starts it. A program that cannot be executed counts as started and ended with code 126 or 127.
    pub fn start(self) -> Result<Process> {
        let mut supervisor = Command::new("/bin/sh");
        supervisor
            .args(["-c", include_str!("process/supervise.sh"), "supervise"])
            .arg(self.grace.as_secs().to_string())
            .arg(self.scratch.as_deref().map_or(OsStr::new(""), Path::as_os_str))
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::piped())
            .process_group(0);
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => supervisor.env(name, value),
                None => supervisor.env_remove(name),
            };
        }
        if let Some(folder) = self.command.get_current_dir() {
            supervisor.current_dir(folder);
        }
        if let Some(log) = &self.log {
            let file = File::create(log).doing(|| format!("write {}", log.display()))?;
            let copy = file.try_clone().doing(|| format!("write {}", log.display()))?;
            supervisor.stdout(file).stderr(copy);
        }
        let supervisor = supervisor.spawn().doing(|| format!("start {}", self.name))?;
        Ok(Process { name: self.name, log: self.log, supervisor })
    }
}

/// A running program. Dropping it ends it and waits until it is gone.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: Option<PathBuf>,
    supervisor: Child,
}

impl Process {
    /// Of the shell that looks after the program, which is its child.
    pub fn supervisor(&self) -> u32 {
        self.supervisor.id()
    }

    /// Of the program itself: the first child of that shell. `None` once it has ended, and where there is no `/proc`.
    pub fn program(&self) -> Option<u32> {
        let shell = self.supervisor.id();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// How it ended, if it has. A program killed by signal n shows as exit code 128 + n, as in shells.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.supervisor.try_wait().doing(|| format!("look at {}", self.name))
    }

    /// Fails with the end of the log when the program is not running any more.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.exited()? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("has ended ({status})"))),
        }
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            interrupt::check()?;
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            interrupt::pause(LOOK)?;
        }
    }

    /// Ends it, as said at its start, and waits until it is gone.
    pub fn stop(mut self) -> Result<ExitStatus> {
        self.end().doing(|| format!("end {}", self.name))
    }

    /// An error about this program, with the end of its log.
    pub fn failure(&self, what: &str) -> Error {
        let log = self.log.as_deref().map(tail).unwrap_or_default();
        Error::Failed(format!("{} {what}{log}", self.name))
    }

    /// The whole log so far; empty if there is none.
    pub fn log(&self) -> String {
        let bytes = self.log.as_deref().and_then(|log| fs::read(log).ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where the log is, for people; empty if there is none.
    pub fn log_path(&self) -> String {
        self.log.as_deref().map(|log| log.display().to_string()).unwrap_or_default()
    }

    fn end(&mut self) -> std::io::Result<ExitStatus> {
        drop(self.supervisor.stdin.take()); // this closes the pipe
        self.supervisor.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end(); // nobody is left to tell, and the closed pipe does its work in any case
    }
}

/// The last lines of a log, indented, below a line that names the file; ready to follow an error's sentence.
pub fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let mut shown = format!("\nthe end of {}:", log.display());
    for line in &lines[lines.len().saturating_sub(TAIL)..] {
        shown.push_str("\n  ");
        shown.push_str(line);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Launch {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Launch::new("script", command)
    }

    #[test]
    fn a_program_that_ends_by_itself_keeps_its_exit_code() {
        let mut process = shell("exit 7").start().unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn a_failure_shows_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo first; echo last >&2").log(folder.path().join("log")).start().unwrap();
        process.wait().unwrap();
        let Err(Error::Failed(message)) = process.expect_running() else { panic!("it has ended") };
        assert!(message.contains("script has ended") && message.ends_with("  first\n  last"), "{message}");
    }

    #[test]
    fn stopping_asks_first_and_cleans_up_after() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done";
        let process = shell(script)
            .log(folder.path().join("log"))
            .grace(Duration::from_mins(1))
            .scratch(&scratch)
            .start()
            .unwrap();
        let limit = Duration::from_secs(20);
        let ready = interrupt::wait_for(limit, LOOK, || Ok(process.log().contains("ready").then_some(())));
        assert!(ready.unwrap().is_some());
        assert_eq!(process.stop().unwrap().code(), Some(3));
        assert!(!scratch.exists());
    }

    #[test]
    fn a_program_that_ends_by_itself_keeps_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        let log = scratch.join("log");
        let mut process = shell("echo the reason; exit 1").log(&log).scratch(&scratch).start().unwrap();
        assert_eq!(process.wait().unwrap().code(), Some(1));
        let message = process.expect_running().unwrap_err().to_string();
        assert!(message.contains(log.to_str().unwrap()) && message.ends_with("  the reason"), "{message}");
    }

    #[test]
    fn a_program_that_will_not_end_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
        let process =
            shell(script).log(folder.path().join("log")).grace(Duration::from_secs(1)).start().unwrap();
        let limit = Duration::from_secs(20);
        let ready = interrupt::wait_for(limit, LOOK, || Ok(process.log().contains("ready").then_some(())));
        assert!(ready.unwrap().is_some());
        assert_eq!(process.stop().unwrap().code(), Some(128 + 9));
    }
}
