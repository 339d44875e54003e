//! Credentials: signed, checked, and refused when anything differs.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use vcluster_chassis::testing::ManualClock;

use super::*;

struct Fixture {
    pem: String,
    clock: ManualClock,
    keys: Keys,
    credentials: Credentials,
}

fn pem() -> String {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .unwrap()
        .serialize_pem()
}

fn fixture() -> Fixture {
    vcluster_chassis::crypto::install();
    let (pem, clock) = (pem(), ManualClock::default());
    let keys = Keys::from_pem(&pem.clone().into()).unwrap();
    let credentials = Credentials::new(keys.clone(), Arc::new(clock.clone()));
    Fixture {
        pem,
        clock,
        keys,
        credentials,
    }
}

fn cluster() -> ClusterKey {
    ClusterKey::parse("team-a", "demo").unwrap()
}

fn jane() -> Identity {
    let mut jane = Identity::user("jane")
        .group("devs")
        .group("system:authenticated");
    jane.uid = Some("u1".to_owned());
    jane.extra
        .insert("scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
    jane
}

impl Fixture {
    fn issue(&self) -> Issued {
        self.credentials
            .issue(&jane(), &cluster(), Duration::from_mins(10))
            .unwrap()
    }

    /// The header and claims of a good token.
    fn parts(&self) -> (Value, Value) {
        let issued = self.issue();
        let mut parts = issued.token.expose_secret().split('.').map(|part| {
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default())
                .unwrap_or(Value::Null)
        });
        (parts.next().unwrap(), parts.next().unwrap())
    }

    /// Signs whatever claims with the real key.
    fn sign(&self, claims: &Value) -> SecretString {
        let (header, _) = self.parts();
        let header: Header = serde_json::from_value(header).unwrap();
        let key = EncodingKey::from_ec_pem(self.pem.as_bytes()).unwrap();
        jsonwebtoken::encode(&header, claims, &key).unwrap().into()
    }

    async fn verify(&self, token: &SecretString) -> Result<Arc<Credential>, Error> {
        self.credentials.verify(token).await
    }
}

fn assemble(header: &Value, claims: &Value, signature: &[u8]) -> SecretString {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    format!("{}.{}.{signature}", part(header), part(claims)).into()
}

#[tokio::test]
async fn a_credential_says_what_it_was_issued_for() {
    let f = fixture();
    let issued = f.issue();
    assert!(Credentials::claims_to_be_ours(&issued.token));
    let found = f.verify(&issued.token).await.unwrap();
    assert_eq!(found.identity, jane());
    assert_eq!(found.cluster, cluster());
    assert_eq!(
        (found.id.as_str(), found.expires_at),
        (issued.id.as_str(), issued.expires_at)
    );
    // The second time it comes from memory.
    assert_eq!(f.verify(&issued.token).await.unwrap(), found);
}

#[tokio::test]
async fn a_credential_ends_at_its_time_also_when_it_is_remembered() {
    let f = fixture();
    let issued = f.issue();
    f.verify(&issued.token).await.unwrap();
    f.clock.advance(Duration::from_secs(599));
    assert!(f.verify(&issued.token).await.is_ok());
    f.clock.advance(Duration::from_secs(1));
    assert_eq!(f.verify(&issued.token).await, Err(Error::Expired));
}

#[tokio::test]
async fn a_credential_of_the_future_is_not_good_yet() {
    let f = fixture();
    let now = f.clock.now();
    f.clock.advance(Duration::from_secs(100));
    let issued = f.issue();
    f.clock.set(now);
    assert_eq!(f.verify(&issued.token).await, Err(Error::Early));
}

#[tokio::test]
async fn claims_of_a_wrong_type_or_value_are_refused() {
    let f = fixture();
    let (_, good) = f.parts();
    assert!(
        f.verify(&f.sign(&good)).await.is_ok(),
        "the table starts from a good one"
    );
    let wrong = [
        json!("9999999999"),
        json!([9_999_999_999_i64]),
        json!({}),
        json!(true),
        json!(1e300),
        json!(9_999_999_999.5),
        Value::Null,
        json!(i64::MAX),
        json!(u64::MAX),
        json!(""),
    ];
    for claim in ["exp", "nbf", "iat"] {
        for value in &wrong {
            // An issue time, which nothing depends on, may be any integer.
            if claim == "iat" && value.is_i64() {
                continue;
            }
            let mut claims = good.clone();
            claims[claim] = value.clone();
            assert!(
                f.verify(&f.sign(&claims)).await.is_err(),
                "{claim}: {value}"
            );
        }
    }
    for (claim, values) in [
        (
            "aud",
            vec![
                json!(["vcluster.dev/team-a/demo"]),
                json!(["vcluster.dev/team-a/demo", "vcluster.dev/team-b/other"]),
                Value::Null,
                json!(1),
                json!("team-a/demo"),
                json!("vcluster.dev/team-a"),
                json!(""),
                json!("vcluster.dev/team-a/demo/x"),
                json!("vcluster.dev/TEAM-A/demo"),
                json!("https://kubernetes.default.svc"),
            ],
        ),
        (
            "iss",
            vec![
                json!("vcluster.dev/control"),
                json!(["vcluster.dev/connect"]),
                Value::Null,
                json!(""),
            ],
        ),
        (
            "sub",
            vec![json!(""), json!(["jane"]), Value::Null, json!(1)],
        ),
        (
            "groups",
            vec![
                json!("system:masters"),
                json!([1]),
                Value::Null,
                json!({"a": "b"}),
            ],
        ),
        ("extra", vec![json!([]), json!({"a": "b"}), Value::Null]),
        ("uid", vec![json!(1), json!(["u"])]),
    ] {
        for value in values {
            let mut claims = good.clone();
            claims[claim] = value.clone();
            assert_eq!(
                f.verify(&f.sign(&claims)).await,
                Err(Error::Forged),
                "{claim}: {value}"
            );
        }
    }
    for claim in [
        "exp", "nbf", "iat", "aud", "iss", "sub", "jti", "groups", "extra",
    ] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(
            f.verify(&f.sign(&claims)).await,
            Err(Error::Forged),
            "without {claim}"
        );
    }
}

#[tokio::test]
async fn other_algorithms_and_keys_are_refused() {
    let f = fixture();
    let (header, claims) = f.parts();
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        header
    };
    for alg in [
        "none", "None", "NONE", "", "HS256", "HS384", "ES384", "RS256", "EdDSA", "es256",
    ] {
        for signature in [&b""[..], b"x", &[0; 64]] {
            let token = assemble(&with("alg", json!(alg)), &claims, signature);
            assert!(
                Credentials::claims_to_be_ours(&token),
                "{alg}: never shown to TokenReview"
            );
            assert_eq!(f.verify(&token).await, Err(Error::Forged), "{alg}");
        }
    }
    // The public key as the secret of an HMAC.
    let public = KeyPair::from_pem(&f.pem).unwrap().public_key_pem();
    let raw = KeyPair::from_pem(&f.pem).unwrap();
    let raw = rcgen::PublicKeyData::der_bytes(&raw).to_vec();
    for secret in [public.into_bytes(), raw] {
        let mut confused: Header = serde_json::from_value(header.clone()).unwrap();
        confused.alg = Algorithm::HS256;
        let key = EncodingKey::from_secret(&secret);
        let token = jsonwebtoken::encode(&confused, &claims, &key)
            .unwrap()
            .into();
        assert_eq!(f.verify(&token).await, Err(Error::Forged));
    }
    // Another P-256 key, under our key's name and under its own.
    let stranger = EncodingKey::from_ec_pem(pem().as_bytes()).unwrap();
    for kid in [header["kid"].clone(), json!("0000000000000000")] {
        let header: Header = serde_json::from_value(with("kid", kid)).unwrap();
        let token = jsonwebtoken::encode(&header, &claims, &stranger)
            .unwrap()
            .into();
        assert_eq!(f.verify(&token).await, Err(Error::Forged));
    }
}

#[tokio::test]
async fn headers_that_are_not_ours_are_refused() {
    let f = fixture();
    let (header, claims) = f.parts();
    let key = EncodingKey::from_ec_pem(f.pem.as_bytes()).unwrap();
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("kid", Value::Null),
        ("kid", json!("../../key")),
        ("crit", json!(["exp"])),
    ] {
        let mut changed = header.clone();
        changed[name] = value.clone();
        let changed: Header = serde_json::from_value(changed).unwrap();
        let token = jsonwebtoken::encode(&changed, &claims, &key)
            .unwrap()
            .into();
        assert_eq!(
            f.verify(&token).await,
            Err(Error::Forged),
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn garbage_is_refused() {
    let f = fixture();
    let good = f.issue();
    let good = good.token.expose_secret();
    let mut tampered = good.to_owned().into_bytes();
    let middle = good.len() / 2;
    tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        format!("{good}."),
        format!(".{good}"),
        good[..good.len() - 2].to_owned(),
        String::from_utf8(tampered).unwrap(),
        "x".repeat(64 << 10),
    ] {
        assert_eq!(f.verify(&token.into()).await, Err(Error::Forged));
    }
}

#[tokio::test(start_paused = true)]
async fn a_replaced_key_verifies_for_as_long_as_its_credentials_may_live() {
    let f = fixture();
    let old = f.issue();
    f.keys.replace(&pem().into()).unwrap();
    let new = f.issue();
    assert!(f.verify(&old.token).await.is_ok());
    assert!(f.verify(&new.token).await.is_ok());
    tokio::time::advance(Duration::from_mins(66)).await;
    let fresh = Credentials::new(f.keys.clone(), Arc::new(f.clock.clone()));
    assert_eq!(fresh.verify(&old.token).await, Err(Error::Forged));
    assert!(fresh.verify(&new.token).await.is_ok());
}

#[tokio::test]
async fn a_broken_key_never_replaces_a_good_one() {
    let f = fixture();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519)
        .unwrap()
        .serialize_pem();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384)
        .unwrap()
        .serialize_pem();
    for broken in [
        String::new(),
        "not PEM".to_owned(),
        f.pem[..80].to_owned(),
        ed25519,
        p384,
    ] {
        assert!(f.keys.replace(&broken.into()).is_err());
    }
    let issued = f.issue();
    assert!(f.verify(&issued.token).await.is_ok());
}

#[test]
fn keys_and_tokens_are_not_shown() {
    let f = fixture();
    let issued = f.issue();
    let shown = format!("{:?} {:?} {issued:?}", f.keys, f.credentials);
    assert!(!shown.contains(issued.token.expose_secret()), "{shown}");
    assert!(!shown.contains("PRIVATE"), "{shown}");
}
