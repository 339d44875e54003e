use jiff::ToSpan as _;

use super::*;

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn address() -> Address {
    Address::of("10.96.7.17").unwrap()
}

fn roots() -> Roots {
    Roots::mint(&Subject::sample(), now()).unwrap()
}

fn inspect(credential: Credential, material: &Material, roots: &Roots) -> Health {
    credential.inspect(material, roots, &Subject::sample(), address(), now())
}

#[test]
fn what_is_minted_is_good() {
    let roots = roots();
    for credential in Credential::ALL {
        let material = credential
            .mint(&roots, &Subject::sample(), address(), now())
            .unwrap();
        let fingerprint = material.fingerprint();
        assert_eq!(
            inspect(credential, &material, &roots),
            Health::Good { fingerprint }
        );
    }
}

#[test]
fn every_missing_key_is_noticed() {
    let roots = roots();
    for credential in Credential::ALL {
        let whole = credential
            .mint(&roots, &Subject::sample(), address(), now())
            .unwrap();
        for lost in whole.expose().keys() {
            let mut partial = Material::default();
            for (key, value) in whole.expose().into_iter().filter(|(key, _)| key != lost) {
                partial.insert(&key, value.0);
            }
            let health = inspect(credential, &partial, &roots);
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
    let roots = roots();
    for credential in Credential::ALL {
        let whole = credential
            .mint(&roots, &Subject::sample(), address(), now())
            .unwrap();
        for damaged in whole.expose().keys() {
            let mut broken = whole.clone();
            broken.insert(damaged, "garbage");
            let health = inspect(credential, &broken, &roots);
            assert!(
                matches!(health, Health::Flawed { .. }),
                "{credential:?} with a broken {damaged}: {health:?}"
            );
        }
    }
}

#[test]
fn another_authority_is_never_taken_for_damage() {
    let (ours, theirs) = (roots(), roots());
    for credential in [
        Credential::ControlPlane,
        Credential::Gateway,
        Credential::Sync,
    ] {
        let material = credential
            .mint(&theirs, &Subject::sample(), address(), now())
            .unwrap();
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
    let roots = roots();
    let material = Credential::ControlPlane
        .mint(&roots, &Subject::sample(), address(), now())
        .unwrap();
    let moved = Address::of("10.96.9.1").unwrap();
    let health =
        Credential::ControlPlane.inspect(&material, &roots, &Subject::sample(), moved, now());
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
    let roots = roots();
    let later = now() + (300 * 24).hours();
    for credential in Credential::ALL {
        let material = credential
            .mint(&roots, &Subject::sample(), address(), now())
            .unwrap();
        let health = credential.inspect(&material, &roots, &Subject::sample(), address(), later);
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
