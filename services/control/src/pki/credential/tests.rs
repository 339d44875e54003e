//! Credentials of a virtual cluster: made, judged, and what counts as damage.

use jiff::ToSpan as _;

use super::*;
use crate::pki::{Roots, Shared};

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn address() -> Address {
    Address::of("10.96.7.17").unwrap()
}

/// The roots of one cluster and the authorities of its installation.
struct Keys {
    roots: Roots,
    shared: Shared,
}

impl Keys {
    fn new() -> Self {
        Self {
            roots: Roots::mint(&Subject::sample(), now()).unwrap(),
            shared: Shared::sample(now()),
        }
    }

    fn mint(&self, credential: Credential) -> Material {
        let issuers = self.issuers();
        credential
            .mint(issuers, &Subject::sample(), address(), now())
            .unwrap()
    }

    fn issuers(&self) -> Issuers<'_> {
        Issuers {
            roots: &self.roots,
            shared: &self.shared,
        }
    }
}

fn inspect(credential: Credential, material: &Material, keys: &Keys) -> Health {
    credential.inspect(
        material,
        keys.issuers(),
        &Subject::sample(),
        address(),
        now(),
    )
}

#[test]
fn what_is_minted_is_good() {
    let keys = Keys::new();
    for credential in Credential::ALL {
        let material = keys.mint(credential);
        let fingerprint = material.fingerprint();
        assert_eq!(
            inspect(credential, &material, &keys),
            Health::Good { fingerprint }
        );
    }
}

#[test]
fn every_missing_key_is_noticed() {
    let keys = Keys::new();
    for credential in Credential::ALL {
        let whole = keys.mint(credential);
        for lost in whole.expose().keys() {
            let mut partial = Material::default();
            for (key, value) in whole.expose().into_iter().filter(|(key, _)| key != lost) {
                partial.insert(&key, value.0);
            }
            let health = inspect(credential, &partial, &keys);
            assert!(
                matches!(
                    health,
                    Health::Flawed {
                        flaw: Flaw::Missing,
                        ..
                    }
                ),
                "{credential:?} without {lost}: {health:?}"
            );
        }
    }
}

#[test]
fn every_damaged_key_is_noticed() {
    let keys = Keys::new();
    for credential in Credential::ALL {
        let whole = keys.mint(credential);
        for damaged in whole.expose().keys() {
            let mut broken = whole.clone();
            broken.insert(damaged, "garbage");
            let health = inspect(credential, &broken, &keys);
            assert!(
                matches!(health, Health::Flawed { .. }),
                "{credential:?} with a broken {damaged}: {health:?}"
            );
        }
    }
}

#[test]
fn another_authority_is_never_taken_for_damage() {
    let (ours, theirs) = (Keys::new(), Keys::new());
    for credential in [
        Credential::ControlPlane,
        Credential::Gateway,
        Credential::Sync,
        Credential::Dns,
    ] {
        let material = theirs.mint(credential);
        let health = inspect(credential, &material, &ours);
        assert_eq!(
            health,
            Health::OtherAuthority { key: CA_CERT },
            "{credential:?}"
        );
    }
}

#[test]
fn another_address_means_another_certificate() {
    let keys = Keys::new();
    let material = keys.mint(Credential::ControlPlane);
    let moved = Address::of("10.96.9.1").unwrap();
    let health = Credential::ControlPlane.inspect(
        &material,
        keys.issuers(),
        &Subject::sample(),
        moved,
        now(),
    );
    assert_eq!(
        health,
        Health::Flawed {
            key: API_SERVER_CERT,
            flaw: Flaw::OtherSubject
        }
    );
}

#[test]
fn credentials_are_renewed_before_they_expire() {
    let keys = Keys::new();
    let later = now() + (300 * 24).hours();
    for credential in Credential::ALL {
        let material = keys.mint(credential);
        let health = credential.inspect(
            &material,
            keys.issuers(),
            &Subject::sample(),
            address(),
            later,
        );
        assert!(
            matches!(
                health,
                Health::Flawed {
                    flaw: Flaw::Expiring,
                    ..
                }
            ),
            "{credential:?}: {health:?}"
        );
    }
}

#[test]
fn the_certificate_towards_sync_names_the_cluster_and_no_group() {
    let keys = Keys::new();
    let material = keys.mint(Credential::ControlPlane);
    let pem = material.get(layout::SYNC_CLIENT_CERT).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).unwrap();
    let leaf = pem.parse_x509().unwrap();
    assert_eq!(
        leaf.subject().to_string(),
        "CN=kube-apiserver-kubelet-client"
    );
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let names: Vec<String> = names
        .value
        .general_names
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        ["URI(vcluster://team-a/demo/0d3b6f5e-7c1a-4d58-9f0e-1a2b3c4d5e6f)"]
    );
    let trusted = material.text(layout::PLATFORM_CA_CERT);
    assert_eq!(trusted, Some(keys.shared.sync.as_str()));
}

#[test]
fn a_replaced_authority_of_the_installation_is_followed() {
    let mut keys = Keys::new();
    let material = keys.mint(Credential::ControlPlane);
    let fresh = Shared::sample(now());
    keys.shared.sync = fresh.sync;
    assert_eq!(
        inspect(Credential::ControlPlane, &material, &keys),
        Health::Flawed {
            key: layout::PLATFORM_CA_CERT,
            flaw: Flaw::Stale
        }
    );
    keys.shared.tenants = fresh.tenants;
    assert_eq!(
        inspect(Credential::ControlPlane, &material, &keys),
        Health::Flawed {
            key: layout::SYNC_CLIENT_CERT,
            flaw: Flaw::OtherIssuer
        }
    );
}

#[test]
fn a_certificate_that_names_another_tenant_is_made_again() {
    let keys = Keys::new();
    let mut material = keys.mint(Credential::ControlPlane);
    let mut other = tenant(&Subject::sample());
    other.uid = "another".to_owned();
    let leaf = Leaf::client(SYNC_CLIENT_USER, None).of_tenant(other);
    let issued = keys.shared.tenants.issue(&leaf, now()).unwrap();
    material.insert(layout::SYNC_CLIENT_CERT, issued.certificate);
    material.insert(layout::SYNC_CLIENT_KEY, issued.key.expose_secret());
    assert_eq!(
        inspect(Credential::ControlPlane, &material, &keys),
        Health::Flawed {
            key: layout::SYNC_CLIENT_CERT,
            flaw: Flaw::OtherSubject
        }
    );
}
