//! Whom TLS trusts besides the system's authorities: those of an account's caBundle, and a server whose own certificate stands in
//! there, also where that is of an authority, as `openssl req -x509` makes it.

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// TLS that trusts the system's certificates and these, in PEM; or what is wrong with them.
pub fn config(pem: &str) -> Result<ClientConfig, String> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = read.map_err(|error| format!("caBundle: {error}"))?;
    if certificates.is_empty() {
        return Err("caBundle holds no certificate".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        Bundled::new(certificates, provider.clone()).map_err(|error| format!("caBundle: {error}"))?;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// What the system's verifier accepts with the bundle, and servers whose own certificate stands in the bundle.
#[derive(Debug)]
struct Bundled {
    verifier: Verifier,
    certificates: Vec<CertificateDer<'static>>,
}

impl Bundled {
    fn new(certificates: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let verifier = Verifier::new_with_extra_roots(certificates.iter().cloned(), provider)?;
        Ok(Self { verifier, certificates })
    }
}

impl ServerCertVerifier for Bundled {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // That it is an authority's is found after its dates are, and before its name is.
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if format!("{why:?}").contains("CaUsedAsEndEntity")
                    && self.certificates.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)
                    .map_err(|error| with_advice(error, server_name))?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified.map_err(|error| with_advice(error, server_name)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Certificates that are made by hand often lack the names that count; what they have in their common name counts nowhere.
fn with_advice(error: Error, server_name: &ServerName<'_>) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })
            if presented.is_empty() =>
        {
            let name = server_name.to_str();
            let sort = if matches!(server_name, ServerName::IpAddress(_)) { "IP" } else { "DNS" };
            Error::General(format!(
                "the server's certificate names no host: it has no subjectAltName, and its common name does not count. Make it anew \
                 for this server with openssl req -x509 … -addext subjectAltName={sort}:{name} / 服务器证书没有 subjectAltName，\
                 请用 -addext subjectAltName={sort}:{name} 重新签发"
            ))
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
    use std::slice::from_ref;

    /// As `openssl req -x509` makes it.
    fn authority(name: &str, last_year: i32) -> CertificateDer<'static> {
        let names = if name.is_empty() { vec![] } else { vec![name.to_owned()] };
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(last_year, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    fn verify(
        bundle: &[CertificateDer<'static>],
        server: &CertificateDer<'_>,
        name: &str,
    ) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Bundled::new(bundle.to_vec(), provider).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(server, &[], &name, &[], UnixTime::now()).map(drop)
    }

    #[test]
    fn a_server_whose_own_certificate_is_in_the_bundle_is_trusted() {
        let own = authority("zstack.example", 4000);
        assert_eq!(verify(from_ref(&own), &own, "zstack.example"), Ok(()));
        let other = authority("zstack.example", 4000);
        assert!(verify(from_ref(&other), &own, "zstack.example").is_err(), "another of that name");
        assert_eq!(verify(&[other, own.clone()], &own, "zstack.example"), Ok(()));
        assert!(verify(from_ref(&own), &own, "other.example").is_err(), "another name");
        let expired = authority("zstack.example", 2021);
        assert!(verify(from_ref(&expired), &expired, "zstack.example").is_err(), "it has expired");
    }

    #[test]
    fn who_has_a_certificate_without_names_is_told_how_to_make_one() {
        let nameless = authority("", 4000);
        for (name, names) in [("zstack.example", "DNS:zstack.example"), ("10.0.0.1", "IP:10.0.0.1")] {
            let error = verify(from_ref(&nameless), &nameless, name).unwrap_err().to_string();
            assert!(error.contains(&format!("-addext subjectAltName={names}")), "{error}");
        }
    }

    #[test]
    fn a_bundle_needs_certificates() {
        for bundle in ["", "MIIB", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----"] {
            assert_eq!(config(bundle).unwrap_err(), "caBundle holds no certificate", "{bundle}");
        }
        assert!(config("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----").is_err());
    }
}
