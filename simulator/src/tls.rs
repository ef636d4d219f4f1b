//! A service over TLS, with a certificate of an authority that nobody trusts yet: private clouds are like that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// An address over TLS.
#[derive(Clone, Debug)]
pub struct TlsAddress {
    /// Where it listens; the certificate is for `localhost` and `127.0.0.1`.
    pub address: SocketAddr,
    /// The authority's certificate, in PEM.
    pub authority: String,
}

/// A new authority's certificate in PEM, and what accepts connections in its name.
pub(crate) fn acceptor() -> io::Result<(TlsAcceptor, String)> {
    let failed = |error: rcgen::Error| io::Error::other(error);
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "vendor-simulator");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority_key = KeyPair::generate().map_err(failed)?;
    let pem = authority.self_signed(&authority_key).map_err(failed)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = server.signed_by(&key, &issuer).map_err(failed)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(io::Error::other)?;
    Ok((TlsAcceptor::from(Arc::new(config)), pem))
}
