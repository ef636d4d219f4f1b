//! A way to the API server that can go silent.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};

/// Forwards connections; dropping it ends it.
pub struct Proxy {
    address: SocketAddr,
    /// How often it went silent: a connection that began before the last time forwards nothing any more.
    silences: watch::Sender<usize>,
    silenced: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Forwards whatever connects to it to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (silences, _) = watch::channel(0);
        let silenced = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn({
            let (silences, silenced) = (silences.clone(), silenced.clone());
            async move {
                while let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(forward(near, target, silences.subscribe(), silenced.clone()));
                }
            }
        });
        Self { address, silences, silenced, accepting: accepting.abort_handle() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, nothing passes over the connections that there are; they stay open. New ones work.
    pub fn silence(&self) {
        self.silences.send_modify(|silences| *silences += 1);
    }

    /// How many connections went silent.
    pub fn silenced(&self) -> usize {
        self.silenced.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn forward(
    mut near: TcpStream,
    target: SocketAddr,
    mut silences: watch::Receiver<usize>,
    silenced: Arc<AtomicUsize>,
) {
    let Ok(mut far) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => {}
        changed = silences.changed() => if changed.is_ok() {
            silenced.fetch_add(1, Ordering::SeqCst);
            // The kernel goes on acknowledging what is sent, as long as there is room for it.
            let _ = silences.wait_for(|_| false).await;
        },
    }
}
