//! What an authority signs.

use std::fmt;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType,
};
use secrecy::SecretString;
use vcluster_resources::TenantUri;

use super::Error;

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Serving.
    Server,
    /// Calling.
    Client,
    /// Both.
    Both,
}

/// A certificate as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Common name: the user, for a client.
    pub common_name: String,
    /// Organization: the group, for a client.
    pub organization: Option<&'static str>,
    /// DNS names and IP addresses that it is valid for.
    pub names: Vec<String>,
    /// The virtual cluster that it speaks for.
    pub tenant: Option<TenantUri>,
    /// What it may be used for.
    pub usage: Usage,
}

/// A certificate and its key. `Debug` does not show the key.
pub struct Issued {
    /// Certificate, PEM.
    pub certificate: String,
    /// Private key, PEM (PKCS #8).
    pub key: SecretString,
}

impl Leaf {
    /// A client of that name.
    pub fn client(common_name: impl Into<String>, organization: Option<&'static str>) -> Self {
        Self {
            common_name: common_name.into(),
            organization,
            names: Vec::new(),
            tenant: None,
            usage: Usage::Client,
        }
    }

    /// The same, speaking for a virtual cluster.
    pub fn of_tenant(self, tenant: TenantUri) -> Self {
        Self {
            tenant: Some(tenant),
            ..self
        }
    }

    /// A server for those names.
    pub fn server(common_name: impl Into<String>, names: Vec<String>) -> Self {
        Self {
            common_name: common_name.into(),
            organization: None,
            names,
            tenant: None,
            usage: Usage::Server,
        }
    }

    pub(super) fn params(&self) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::new(self.names.clone()).map_err(Error::Generate)?;
        if let Some(tenant) = &self.tenant {
            let uri = tenant.to_string().try_into().map_err(Error::Generate)?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.distinguished_name = DistinguishedName::new();
        if let Some(organization) = self.organization {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match self.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => {
                vec![
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::ClientAuth,
                ]
            }
        };
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}
