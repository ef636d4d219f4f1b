//! The control plane's own certificate authority and the certificates that it signs.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use crate::error::{Doing, Result};

/// Names that the API server is reached by; the last two are what it calls itself inside a cluster.
const SERVER_NAMES: [&str; 4] = ["127.0.0.1", "localhost", "kubernetes.default.svc", "10.0.0.1"];

/// A certificate authority that one control plane trusts and nobody else.
#[derive(Debug)]
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its private key (ECDSA P-256).
#[derive(Debug)]
pub(super) struct Identity {
    /// The certificate.
    pub(super) certificate: Certificate,
    /// The private key.
    pub(super) key: KeyPair,
}

impl Authority {
    /// A new authority with a new key.
    pub(super) fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("control plane", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        CertifiedIssuer::self_signed(params, new_key()?).doing(|| "make a certificate authority").map(Self)
    }

    /// The authority's certificate.
    pub(super) fn certificate(&self) -> &Certificate {
        self.0.as_ref()
    }

    /// A certificate for the API server on loopback.
    pub(super) fn server(&self) -> Result<Identity> {
        let names = SERVER_NAMES.map(String::from);
        let mut params = CertificateParams::new(names).doing(|| "name the API server")?;
        params.distinguished_name = named("kube-apiserver", None);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate that makes its holder the Kubernetes user `user`, in the group `group`.
    pub(super) fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = new_key()?;
        let certificate = params.signed_by(&key, &self.0).doing(|| "sign a certificate")?;
        Ok(Identity { certificate, key })
    }
}

/// A new private key, also good for signing service account tokens.
pub(super) fn new_key() -> Result<KeyPair> {
    KeyPair::generate().doing(|| "make a key")
}

fn named(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name
}
