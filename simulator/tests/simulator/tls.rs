//! A service over TLS is trusted by whom it gave its authority to, and by nobody else.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use vendor_simulator::TlsAddress;

use crate::support::{owned, raw, start};

/// The body of a call over TLS, or why there is none.
async fn get(at: &TlsAddress, trusted: &str) -> Result<Vec<u8>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(at.address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let request = raw("GET", "/zstack/v1/accounts/sessions/x/valid", &owned(&[("host", "localhost")]), b"");
    stream.write_all(&request).await?;
    let mut bytes = Vec::new();
    // The server closes the TCP connection without a farewell; what came before counts.
    let _ = stream.read_to_end(&mut bytes).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
    Ok(bytes.split_off(end))
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_given() {
    let simulator = start().await;
    let (one, other) =
        (simulator.over_tls("zstack").await.unwrap(), simulator.over_tls("zstack").await.unwrap());
    let body: Value = serde_json::from_slice(&get(&one, &one.authority).await.unwrap()).unwrap();
    assert_eq!(body["valid"], false);
    assert!(get(&one, &other.authority).await.is_err());
    assert_eq!(simulator.ledger().calls.len(), 1);
    assert!(simulator.over_tls("nobody").await.is_err());
}
