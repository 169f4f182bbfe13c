//! What an API key says about itself: it is a JSON Web Token (RFC 7519).

use crate::prelude::*;
use serde_json::{Map, Value};

/// Returns the claims that get_current_user shows, as a JSON object, or `None` if the key is not a JWT.
///
/// The signature is not checked: only Whereby has its secret.
#[must_use]
pub fn claims(key: &str) -> Option<String> {
    let payload = payload(key)?;
    let shown = |value: &Value| match value {
        Value::Number(_) => true,
        Value::String(text) => text.len() <= 100,
        _ => false,
    };
    let mut claims = Map::new();
    for name in ["organizationId", "iat", "exp"] {
        if let Some(value) = payload.get(name).filter(|value| shown(value)) {
            claims.insert(name.to_owned(), value.clone());
        }
    }
    Some(Value::Object(claims).to_string())
}

/// Decodes the payload of a JWT.
#[must_use]
pub fn payload(key: &str) -> Option<Map<String, Value>> {
    let mut parts = key.split('.');
    let (Some(_), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    match crate::text::parse_json(&decode(payload.trim_end_matches('='))?) {
        Some(Value::Object(payload)) => Some(payload),
        _ => None,
    }
}

/// Decodes base64 for URLs (RFC 4648) without padding. The guarded component has no room for a crate that does.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    // The bits that are not yet in a byte, and their number.
    let (mut bits, mut count) = (0_u32, 0);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // One character too many, or bits that no byte has.
    (count < 6 && bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn texts_are_decoded_as_the_crate_does(text in "[A-Za-z0-9_-]{0,9}", other in "[ -~]{0,5}") {
            prop_assert_eq!(decode(&text), URL_SAFE_NO_PAD.decode(&text).ok());
            prop_assert_eq!(decode(&other), URL_SAFE_NO_PAD.decode(&other).ok());
        }

        #[test]
        fn bytes_are_decoded(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&URL_SAFE_NO_PAD.encode(&bytes)), Some(bytes));
        }
    }
}
