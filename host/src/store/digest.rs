//! The digest that an approval is bound to, handles for MCP clients, and the key of people's pseudonyms.
//! All use the installation's key.

use crate::error::Error;
use crate::system::digest::hex;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt;

/// A call, as an approval is bound to it. The arguments are normalized and not masked; only the digest
/// is stored.
pub(crate) struct Subject<'a> {
    pub(crate) account: &'a str,
    pub(crate) agent: Option<&'a str>,
    /// The id of the first block of the call's capability token.
    pub(crate) token: Option<&'a str>,
    pub(crate) api: &'a str,
    pub(crate) key_fingerprint: &'a [u8],
    pub(crate) component: &'a str,
    pub(crate) function: &'a str,
    pub(crate) arguments: &'a Value,
}

/// The HMAC of a call.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Digest(pub(super) [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(…)")
    }
}

impl Digest {
    /// Returns the HMAC-SHA256 of the call as canonical JSON (RFC 8785).
    pub(super) fn of(subject: &Subject<'_>, key: &[u8; 32]) -> Result<Self, Error> {
        let Subject { account, agent, token, api, key_fingerprint, component, function, arguments } =
            subject;
        if has_inexact_number(arguments) {
            return Err(Error::InvalidArgument {
                message: format!(
                    "the arguments of {function} contain an integer that JSON cannot represent \
                     exactly, so no approval can be bound to it; use integers up to 2^53"
                ),
            });
        }
        let mut call = json!({
            "account": account,
            "api": api,
            "key_fingerprint": hex(key_fingerprint),
            "component": component,
            "function": function,
            "arguments": arguments,
        });
        // A call without an agent or a token has the digest that it had before there were any.
        for (member, value) in [("agent", agent), ("token", token)] {
            if let Some(value) = value {
                call[member] = (*value).into();
            }
        }
        let canonical = serde_json_canonicalizer::to_vec(&call).map_err(|error| {
            Error::internal(format!("cannot serialize a call as canonical JSON: {error}"))
        })?;
        Ok(Self(hmac(key, &[&canonical])?))
    }
}

/// Returns the handle for an id: the id with a code that only this installation can make.
pub(super) fn handle(id: &str, key: &[u8; 32]) -> Result<String, Error> {
    let code = hmac(key, &[b"handle:", id.as_bytes()])?;
    Ok(format!("{id}.{}", hex(&code[..16])))
}

/// Returns the digest of an account's key, from its fingerprint.
pub(super) fn of_key(fingerprint: &[u8], key: &[u8; 32]) -> Result<[u8; 32], Error> {
    hmac(key, &[b"key:", fingerprint])
}

/// Returns the public name of this installation, which passkeys are bound to.
pub(super) fn of_installation(key: &[u8; 32]) -> Result<String, Error> {
    Ok(hex(&hmac(key, &[b"installation:"])?[..16]))
}

/// Returns the key that seals calls and their results.
pub(super) fn of_seal(key: &[u8; 32]) -> Result<[u8; 32], Error> {
    hmac(key, &[b"seal:"])
}

/// Returns the key that makes people's pseudonyms.
pub(super) fn of_people(key: &[u8; 32]) -> Result<[u8; 32], Error> {
    hmac(key, &[b"participants:"])
}

/// Compares two handles in constant time.
pub(super) fn is_same(made: &str, given: &str) -> bool {
    let differs = made.bytes().zip(given.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    made.len() == given.len() && differs == 0
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> Result<[u8; 32], Error> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key)
        .map_err(|error| Error::internal(format!("cannot use the key: {error}")))?;
    parts.iter().for_each(|part| hmac.update(part));
    Ok(hmac.finalize().into_bytes().into())
}

/// Returns whether a value contains an integer that its canonical form, where numbers are doubles,
/// does not represent exactly.
fn has_inexact_number(value: &Value) -> bool {
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number > EXACT,
            (None, Some(number)) => number.unsigned_abs() > EXACT,
            (None, None) => false,
        },
        Value::Array(items) => items.iter().any(has_inexact_number),
        Value::Object(object) => object.values().any(has_inexact_number),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(arguments: &Value) -> Subject<'_> {
        Subject {
            account: "work",
            agent: None,
            token: None,
            api: "https://api.whereby.dev/v1",
            key_fingerprint: &[1, 2],
            component: "c0de",
            function: "delete_room",
            arguments,
        }
    }

    #[test]
    fn a_digest_is_of_one_call_under_one_key() {
        let arguments = json!({"room_name": "daily", "fields": [1, 2.5]});
        let digest = |subject: &Subject<'_>| Digest::of(subject, &[7; 32]).expect("a digest");
        let first = digest(&subject(&arguments));
        // The order of members does not matter.
        let turned = json!({"fields": [1, 2.5], "room_name": "daily"});
        assert_eq!(digest(&subject(&turned)), first);
        assert_ne!(Digest::of(&subject(&arguments), &[8; 32]).expect("a digest"), first);
        let other = json!({"room_name": "daily ", "fields": [1, 2.5]});
        let base = subject(&arguments);
        for changed in [
            Subject { account: "other", ..base },
            Subject { agent: Some("other"), ..base },
            Subject { token: Some("other"), ..base },
            Subject { api: "http://127.0.0.1:1/v1", ..base },
            Subject { key_fingerprint: &[1, 3], ..base },
            Subject { component: "c0df", ..base },
            Subject { function: "create_room", ..base },
            Subject { arguments: &other, ..base },
        ] {
            assert_ne!(digest(&changed), first);
        }
        assert_eq!(format!("{first:?}"), "Digest(…)");
    }

    #[test]
    fn numbers_that_canonical_json_makes_equal_have_no_digest() {
        // The first two are the same double.
        for (number, has_one) in [
            (json!(9_007_199_254_740_992_u64), true),
            (json!(9_007_199_254_740_993_u64), false),
            (json!(-9_007_199_254_740_993_i64), false),
            (json!(u64::MAX), false),
            (json!(0.1), true),
        ] {
            let arguments = json!({"fields": [{"a": number}]});
            assert_eq!(Digest::of(&subject(&arguments), &[7; 32]).is_ok(), has_one, "{number}");
        }
    }
}
