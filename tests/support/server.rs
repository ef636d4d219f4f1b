//! A server that does with requests what real ones do on bad days.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// What to do with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// End the connection before reading.
    Close,
    /// Read the request, then end the connection.
    ReadAndClose,
    /// Read the request and never answer.
    Hang,
    /// Read the request and answer with this text; the connection ends after text that does not say how long it is.
    Say(String),
}

/// An answer after which the connection stays open.
pub fn answer(status: u16, body: &str) -> Act {
    let length = body.len();
    Act::Say(format!(
        "HTTP/1.1 {status} S\r\nContent-Type: application/json\r\nx-acs-request-id: R-1\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// The server. It does one act after the other, whichever connection asks, and after the last one only closes.
pub struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: AbortHandle,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: AtomicUsize,
    acts: Mutex<std::vec::IntoIter<Act>>,
}

impl Server {
    pub async fn start(acts: Vec<Act>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen { acts: Mutex::new(acts.into_iter()), ..Seen::default() });
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, shared.clone()));
            }
        });
        Self { address, seen, task: task.abort_handle() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many requests were read to their end.
    pub fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) {
    let next = || seen.acts.lock().expect("no panic").next().unwrap_or(Act::Close);
    loop {
        // What is done is chosen when a request comes, so that an idle connection uses nothing up.
        if !matches!(stream.peek(&mut [0]).await, Ok(1)) {
            return;
        }
        let act = next();
        if matches!(act, Act::Close) || !read_request(&mut stream).await {
            return;
        }
        seen.requests.fetch_add(1, Ordering::SeqCst);
        match act {
            Act::Close | Act::ReadAndClose => return,
            Act::Hang => std::future::pending().await,
            Act::Say(text) => {
                if stream.write_all(text.as_bytes()).await.is_err() || !is_whole(&text) {
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = vec![];
    // A GET has no body, and says nothing of its length.
    let has_come = |text: &str| is_whole(text) || text.starts_with("GET ") && text.ends_with("\r\n\r\n");
    while !has_come(&String::from_utf8_lossy(&read)) {
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
    true
}

/// Whether it has a head, and as much of a body as the head says.
fn is_whole(message: &str) -> bool {
    let Some((head, body)) = message.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}
