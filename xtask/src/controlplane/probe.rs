//! Asks the API server whether something is there, and nothing else: readiness needs no Kubernetes client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{IpAddr, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::certificates::{Authority, Identity};
use crate::error::{Doing, Result};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client of one API server on loopback.
#[derive(Debug)]
pub(super) struct Probe {
    port: u16,
    tls: Arc<ClientConfig>,
}

impl Probe {
    /// A client that trusts `authority` and is known as `identity`.
    pub(super) fn new(port: u16, authority: &Authority, identity: &Identity) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().der().clone()).doing(|| "trust the authority")?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.serialize_pem().as_bytes())
            .doing(|| "read the client's key")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .doing(|| "set up TLS")?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![identity.certificate.der().clone()], key)
            .doing(|| "use the client's certificate")?;
        Ok(Self { port, tls: Arc::new(tls) })
    }

    /// Whether a GET of `path` is answered with 200. A server that is not up yet is a no.
    pub(super) fn is_ok(&self, path: &str) -> Result<bool> {
        let name = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST)));
        let session = ClientConnection::new(Arc::clone(&self.tls), name).doing(|| "set up TLS")?;
        Ok(self.status_line(session, path).is_ok_and(|line| line.contains(" 200 ")))
    }

    fn status_line(&self, session: ClientConnection, path: &str) -> std::io::Result<String> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(session, socket);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n", self.port)?;
        let mut start = [0; 64]; // far longer than any status line that matters
        let read = stream.read(&mut start)?;
        let text = String::from_utf8_lossy(&start[..read]);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}
