//! Sees every change of the operator's objects as it happens, through `kubectl proxy`.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::cluster::Cluster;
use crate::error::Result;
use crate::interrupt;
use crate::process::{Launch, Process};

/// The API group and version of the operator's kinds.
const API: &str = "/apis/cloudimages.dev/v1alpha1";

/// How long the proxy may take until it listens.
const LIMIT: Duration = Duration::from_secs(30);

/// How soon a watch that the server has ended, as it does every few minutes, is opened again.
const AGAIN: Duration = Duration::from_millis(500);

/// What happened to an object. After a watch was opened again, known objects come once more.
#[derive(Debug)]
pub(super) enum Change {
    /// It is there and looks like this.
    Seen(Value),
    /// It is not there any more; it last looked like this.
    Gone(Value),
}

/// A running watch of all kinds and namespaces.
pub(super) struct Watch {
    changes: Receiver<Change>,
    proxy: Process,
}

impl Watch {
    /// Starts watching every kind of the operator.
    pub(super) fn start(cluster: &Cluster, folder: &Path) -> Result<Self> {
        // The proxy speaks for the user to whoever can open the socket, so nobody else may enter its folder.
        let socket = folder.join("proxy.sock");
        let mut command = cluster.kubectl().command();
        command.arg("proxy").arg(format!("--unix-socket={}", socket.display()));
        let mut proxy = Launch::new("kubectl proxy", command).log(folder.join("proxy.log")).start()?;
        let listens = interrupt::wait_for(LIMIT, Duration::from_millis(50), || {
            proxy.expect_running()?;
            Ok(UnixStream::connect(&socket).ok())
        })?;
        listens.ok_or_else(|| proxy.failure("does not listen"))?;

        let (sender, changes) = mpsc::channel();
        for kind in cluster.kinds()? {
            let (socket, sender) = (socket.clone(), sender.clone());
            thread::spawn(move || follow(&socket, &format!("{API}/{kind}?watch=1"), &sender));
        }
        Ok(Self { changes, proxy })
    }

    /// The next change, if there is one within `limit`.
    pub(super) fn next(&mut self, limit: Duration) -> Result<Option<Change>> {
        match self.changes.recv_timeout(limit) {
            Ok(change) => Ok(Some(change)),
            Err(RecvTimeoutError::Timeout) => self.proxy.expect_running().map(|()| None),
            Err(RecvTimeoutError::Disconnected) => Err(self.proxy.failure("does not answer any more")),
        }
    }
}

/// Passes changes on until nobody listens or the proxy is gone.
fn follow(socket: &Path, path: &str, sender: &Sender<Change>) {
    while let Ok(answer) = get(socket, path) {
        // Anything but a body is passing: a kind that was made a moment ago may be unknown for another one.
        for line in answer.into_iter().flat_map(BufRead::lines).map_while(std::io::Result::ok) {
            if change(&line).is_some_and(|change| sender.send(change).is_err()) {
                return;
            }
        }
        thread::sleep(AGAIN);
    }
}

/// One line of a watch. Bookmarks and errors, after which the server ends the watch, are no changes.
fn change(line: &str) -> Option<Change> {
    #[derive(Deserialize)]
    struct Event {
        r#type: String,
        object: Value,
    }
    let event: Event = serde_json::from_str(line).ok()?;
    match event.r#type.as_str() {
        "ADDED" | "MODIFIED" => Some(Change::Seen(event.object)),
        "DELETED" => Some(Change::Gone(event.object)),
        _ => None,
    }
}

/// The body of the answer to a GET, if it is 200. HTTP/1.0, so that it ends with the connection and has no chunks.
fn get(socket: &Path, path: &str) -> std::io::Result<Option<impl BufRead + use<>>> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = BufReader::new(stream);
    let mut status = String::new();
    answer.read_line(&mut status)?;
    if status.split(' ').nth(1) != Some("200") {
        return Ok(None);
    }
    let mut header = String::new();
    while answer.read_line(&mut header)? > 2 {
        header.clear();
    }
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn lines_of_a_watch_are_understood() {
        let line = |kind: &str| format!(r#"{{"type": "{kind}", "object": {{"kind": "A"}}}}"#);
        assert!(matches!(change(&line("ADDED")), Some(Change::Seen(object)) if object["kind"] == "A"));
        assert!(matches!(change(&line("MODIFIED")), Some(Change::Seen(_))));
        assert!(matches!(change(&line("DELETED")), Some(Change::Gone(_))));
        assert!(change(&line("BOOKMARK")).is_none());
        assert!(change("half a li").is_none());
    }

    #[test]
    fn the_body_begins_after_the_headers_and_only_200_has_one() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = thread::spawn(move || {
            for answer in ["200 OK\r\nA: b\r\n\r\none\n\ntwo\n", "404 Not Found\r\n\r\nno\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                let request = BufReader::new(stream.try_clone().unwrap());
                assert!(request.lines().any(|line| line.unwrap().is_empty()), "the request ends");
                write!(stream, "HTTP/1.0 {answer}").unwrap();
            }
        });
        let mut body = String::new();
        get(&socket, "/path").unwrap().unwrap().read_to_string(&mut body).unwrap();
        assert_eq!(body, "one\n\ntwo\n");
        assert!(get(&socket, "/path").unwrap().is_none());
        server.join().unwrap();
        fs::remove_file(&socket).unwrap();
        assert!(get(&socket, "/path").is_err());
    }
}
