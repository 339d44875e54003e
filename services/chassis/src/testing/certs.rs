//! Certificates minted in the test that uses them.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};

use crate::tls::{Identity, Roots};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Issued {
    /// The same, ready to sign.
    pub fn identity(&self) -> Identity {
        Identity::from_pem(self.certificate.as_bytes(), self.key.as_bytes())
            .expect("a certificate that was just issued is readable")
    }
}

impl Authority {
    /// Makes an authority of that name.
    pub fn new(name: &str) -> Self {
        crate::crypto::install();
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, key()).expect(MINT);
        Self { issuer }
    }

    /// The authority's certificate in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Trust in this authority alone.
    pub fn roots(&self) -> Roots {
        Roots::from_pem(self.pem().as_bytes()).expect("an authority that was just made is readable")
    }

    /// Issues a certificate for a server, by DNS names and addresses.
    pub fn server(&self, names: &[&str]) -> Issued {
        let mut params = named("server", &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = names.iter().map(|name| alternative(name)).collect();
        self.issue(&params)
    }

    /// Issues a certificate for a client: the common name is the user, organizations are groups.
    pub fn client(&self, user: &str, groups: &[&str]) -> Issued {
        let mut params = named(user, groups);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    /// Issues a certificate for a client that is named by URIs.
    pub fn client_of(&self, user: &str, uris: &[&str]) -> Issued {
        let mut params = named(user, &[]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = |uri: &&str| SanType::URI((*uri).try_into().expect("URIs in tests are ASCII"));
        params.subject_alt_names = uris.iter().map(uri).collect();
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> Issued {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect(MINT);
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

const MINT: &str = "parameters of test certificates are well-formed";

fn key() -> KeyPair {
    KeyPair::generate().expect("the provider makes keys")
}

fn named(name: &str, groups: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params
            .distinguished_name
            .push(DnType::OrganizationName, *group);
    }
    params
}

fn alternative(name: &str) -> SanType {
    match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_not_an_address) => {
            SanType::DnsName(name.try_into().expect("names in tests are ASCII"))
        }
    }
}
