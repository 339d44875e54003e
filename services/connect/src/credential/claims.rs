//! The claims of a credential, with exactly one JSON type for each.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vcluster_chassis::identity::Identity;

use super::{Credential, Error};
use crate::route::ClusterKey;

/// `typ` of the header: a token of another type is not ours (RFC 8725, 3.11).
pub(super) const TYPE: &str = "vcluster-credential+jwt";
/// Issuer.
pub(super) const ISSUER: &str = "vcluster.dev/connect";
/// Audiences are this and `HOST-NAMESPACE/NAME`.
const AUDIENCE_PREFIX: &str = "vcluster.dev/";
/// How much earlier than issued a credential is good, for clocks that differ.
const EARLIER: Duration = Duration::from_secs(30);

/// What stands in a credential. Every claim is required and has one type; an audience is one string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) aud: String,
    pub(super) sub: String,
    pub(super) jti: String,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    pub(super) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) uid: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

impl Claims {
    pub(super) fn new(
        identity: &Identity,
        cluster: &ClusterKey,
        now: Timestamp,
        lifetime: Duration,
    ) -> Self {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let now = now.as_second();
        Self {
            iss: ISSUER.to_owned(),
            aud: format!("{AUDIENCE_PREFIX}{cluster}"),
            sub: identity.user.clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            iat: now,
            nbf: now.saturating_sub(seconds(EARLIER)),
            exp: now.saturating_add(seconds(lifetime)),
            uid: identity.uid.clone(),
            groups: identity.groups.clone(),
            extra: identity.extra.clone(),
        }
    }

    /// Reads the claims of a token whose signature is good.
    pub(super) fn into_credential(self) -> Result<Credential, Error> {
        let cluster = self
            .aud
            .strip_prefix(AUDIENCE_PREFIX)
            .and_then(|names| names.split_once('/'))
            .and_then(|(namespace, name)| ClusterKey::parse(namespace, name).ok())
            .ok_or(Error::Forged)?;
        if self.iss != ISSUER || self.sub.is_empty() || self.nbf > self.exp {
            return Err(Error::Forged);
        }
        let at = |second| Timestamp::from_second(second).map_err(|_out_of_range| Error::Forged);
        Ok(Credential {
            identity: Identity {
                user: self.sub,
                uid: self.uid,
                groups: self.groups,
                extra: self.extra,
            },
            cluster,
            id: self.jti,
            expires_at: at(self.exp)?,
            not_before: at(self.nbf)?,
        })
    }
}

/// Whether the header of a token names our type, whatever else it says.
pub(super) fn header_says_ours(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Header {
        typ: Option<serde_json::Value>,
    }
    let Some((header, _)) = token.split_once('.') else {
        return false;
    };
    BASE64_URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Header>(&bytes).ok())
        .is_some_and(|header| header.typ.is_some_and(|typ| typ == TYPE))
}
