//! An [`Identity`] as request headers, by Kubernetes' request-header (front-proxy) authentication.
//!
//! `X-Remote-User`, `X-Remote-Uid`, one `X-Remote-Group` per group, and one `X-Remote-Extra-<key>` per
//! value. Keys are lower-cased (in ASCII) and percent-encoded where a byte is illegal in a header name (and `%`
//! itself), as client-go's transport writes and k8s.io/apiserver's `headerrequest` reads them.
//!
//! Reading headers proves nothing: only a request whose connection was authenticated as the front
//! proxy's may be asked. Everybody else's are removed with [`is_identity_header`].

use std::collections::BTreeMap;

use http::header::{HeaderMap, HeaderName, HeaderValue, InvalidHeaderName, InvalidHeaderValue};

use super::Identity;

/// Header of the user's name.
pub const USER: HeaderName = HeaderName::from_static("x-remote-user");
/// Header of the user's UID.
pub const UID: HeaderName = HeaderName::from_static("x-remote-uid");
/// Header of each group.
pub const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
/// Prefix of the headers of extra attributes.
pub const EXTRA_PREFIX: &str = "x-remote-extra-";
/// Prefix under which no client may send anything, known today or not.
const PREFIX: &str = "x-remote-";

/// An identity that cannot be written as headers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The user's name is empty, which would mean nobody.
    #[error("the user's name is empty")]
    NoUser,
    /// A value holds control characters.
    #[error("the value of {header} cannot be a header")]
    Value {
        /// The header it was meant for.
        header: String,
        /// What is wrong.
        source: InvalidHeaderValue,
    },
    /// A value begins or ends with a space, which HTTP/1 takes away: it would arrive as another one.
    #[error("the value of {header} begins or ends with a space")]
    Space {
        /// The header it was meant for.
        header: String,
    },
    /// The key of an extra attribute is empty or too long.
    #[error("extra key {key:?} cannot be a header")]
    Key {
        /// The key.
        key: String,
        /// What is wrong.
        source: InvalidHeaderName,
    },
    /// Two keys of extra attributes differ in case only.
    #[error("extra key {key:?} stands twice but for case")]
    Twice {
        /// The key in lower case.
        key: String,
    },
}

/// Headers that are not an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Several users, or several UIDs.
    #[error("{header} stands more than once")]
    Twice {
        /// The header.
        header: HeaderName,
    },
    /// A value is not UTF-8.
    #[error("the value of {header} is not text")]
    NotText {
        /// The header.
        header: HeaderName,
    },
    /// There are groups, a UID or extra attributes, but no user.
    #[error("identity headers without {USER}")]
    NoUser,
    /// An extra header has no key, or one that is badly percent-encoded.
    #[error("{header} is not a key of extra attributes")]
    Key {
        /// The header.
        header: HeaderName,
    },
}

/// Whether a header is one that only the front proxy may set.
pub fn is_identity_header(name: &HeaderName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// Removes every header that only the front proxy may set.
pub fn strip(headers: &mut HeaderMap) {
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_identity_header(name))
        .cloned()
        .collect();
    for name in found {
        headers.remove(name);
    }
}

/// Writes an identity as headers.
pub fn encode(identity: &Identity) -> Result<HeaderMap, EncodeError> {
    if identity.user.is_empty() {
        return Err(EncodeError::NoUser);
    }
    let mut headers = HeaderMap::new();
    headers.insert(USER, value(&USER, &identity.user)?);
    if let Some(uid) = &identity.uid {
        headers.insert(UID, value(&UID, uid)?);
    }
    // An empty group is none to who reads these headers.
    for group in identity.groups.iter().filter(|group| !group.is_empty()) {
        headers.append(GROUP, value(&GROUP, group)?);
    }
    for (key, values) in &identity.extra {
        let name = HeaderName::try_from(format!("{EXTRA_PREFIX}{}", encode_key(key))).map_err(
            |source| EncodeError::Key {
                key: key.clone(),
                source,
            },
        )?;
        if headers.contains_key(&name) {
            return Err(EncodeError::Twice {
                key: key.to_ascii_lowercase(),
            });
        }
        for item in values {
            headers.append(&name, value(&name, item)?);
        }
    }
    Ok(headers)
}

/// Reads an identity from headers; `None` if there is none at all.
pub fn decode(headers: &HeaderMap) -> Result<Option<Identity>, DecodeError> {
    if !headers.keys().any(is_identity_header) {
        return Ok(None);
    }
    let user = single(headers, &USER)?.filter(|user| !user.is_empty());
    let user = user.ok_or(DecodeError::NoUser)?;
    let uid = single(headers, &UID)?.filter(|uid| !uid.is_empty());
    let mut groups = all(headers, &GROUP)?;
    groups.retain(|group| !group.is_empty());
    let mut extra = BTreeMap::<_, Vec<_>>::new();
    for name in headers.keys() {
        if let Some(encoded) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            let key = decode_key(encoded).ok_or_else(|| DecodeError::Key {
                header: name.clone(),
            })?;
            // Two spellings of one key are one key.
            extra.entry(key).or_default().extend(all(headers, name)?);
        }
    }
    Ok(Some(Identity {
        user,
        uid,
        groups,
        extra,
    }))
}

fn value(header: &HeaderName, text: &str) -> Result<HeaderValue, EncodeError> {
    if text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']) {
        return Err(EncodeError::Space {
            header: header.to_string(),
        });
    }
    // From bytes, not from a visible-ASCII string: names of users are UTF-8.
    HeaderValue::from_bytes(text.as_bytes()).map_err(|source| EncodeError::Value {
        header: header.to_string(),
        source,
    })
}

fn all(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<String>, DecodeError> {
    let text = |value: &HeaderValue| {
        let text = std::str::from_utf8(value.as_bytes());
        text.map(ToOwned::to_owned)
            .map_err(|_error| DecodeError::NotText {
                header: name.clone(),
            })
    };
    headers.get_all(name).iter().map(text).collect()
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, DecodeError> {
    let mut values = all(headers, name)?;
    if values.len() > 1 {
        return Err(DecodeError::Twice {
            header: name.clone(),
        });
    }
    Ok(values.pop())
}

/// Lower-cases a key, as header names are, and percent-encodes what may not stand in a header name.
fn encode_key(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.to_ascii_lowercase().bytes() {
        if is_legal(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 0xF] {
                encoded
                    .extend(char::from_digit(u32::from(digit), 16).map(|d| d.to_ascii_uppercase()));
            }
        }
    }
    encoded
}

/// Bytes of RFC 7230's `token`, without the percent sign, which escapes the others.
fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte)
}

fn decode_key(encoded: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    let key = String::from_utf8(decoded).ok()?;
    (!key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests;
