//! Running processes, as `ps` shows them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use xtask::interrupt;

/// How long the end of processes is waited for: far longer than the grace of any.
const LIMIT: Duration = Duration::from_secs(30);

/// A process, alive or ended a moment ago.
#[derive(Clone, Debug)]
pub struct Process {
    pub id: u32,
    parent: u32,
    /// The command line.
    pub line: String,
}

/// All that run. (One that is dead and not yet reaped does not.)
fn all() -> Vec<Process> {
    let listed =
        Command::new("ps").args(["-A", "-ww", "-o", "pid=,ppid=,stat=,args="]).output().expect("ps runs");
    let understand = |line: &str| {
        let mut words = line.split_whitespace();
        let (id, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let is_dead = words.next()?.starts_with('Z');
        (!is_dead).then(|| Process { id, parent, line: words.collect::<Vec<_>>().join(" ") })
    };
    String::from_utf8_lossy(&listed.stdout).lines().filter_map(understand).collect()
}

/// Those whose command line names the folder.
pub fn of(folder: &Path) -> Vec<Process> {
    let folder = folder.to_str().expect("a readable path");
    all().into_iter().filter(|process| process.line.contains(folder)).collect()
}

/// The children of a process, their children, and so on.
pub fn below(id: u32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = Vec::new();
    let mut next = vec![id];
    while let Some(id) = next.pop() {
        let children = all.iter().filter(|process| process.parent == id);
        next.extend(children.clone().map(|child| child.id));
        found.extend(children.cloned());
    }
    found
}

/// Waits until none of them runs any more.
pub fn wait_until_gone(processes: &[Process]) {
    let mut left = Vec::new();
    let gone = interrupt::wait_for(LIMIT, Duration::from_millis(20), || {
        left = all();
        left.retain(|process| processes.iter().any(|one| one.id == process.id && one.line == process.line));
        Ok(left.is_empty().then_some(()))
    });
    assert!(gone.unwrap().is_some(), "left: {left:#?}");
}

/// Waits until a folder is gone and no process names it.
pub fn wait_until_nothing_is_left(folder: &Path) {
    let gone = interrupt::wait_for(LIMIT, Duration::from_millis(20), || {
        Ok((of(folder).is_empty() && !folder.exists()).then_some(()))
    });
    assert!(gone.unwrap().is_some(), "left: {:#?}", of(folder));
}

/// Sends a signal, like `INT`.
pub fn signal(id: u32, signal: &str) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status();
    assert!(sent.expect("kill runs").success(), "{id} is there");
}
