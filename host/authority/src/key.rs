//! What an API key says about itself: it is a JSON Web Token (RFC 7519).

use crate::prelude::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
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
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    match crate::text::parse_json(&payload) {
        Some(Value::Object(payload)) => Some(payload),
        _ => None,
    }
}
