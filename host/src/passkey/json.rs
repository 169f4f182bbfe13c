//! Reads what a browser sends: JSON, and base64url in it.

use super::{Fault, MAX_RESPONSE};
use crate::strict_json;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The maximum length of a credential's id, in bytes, as WebAuthn has it.
pub(super) const MAX_ID: usize = 1023;

/// The maximum length of the client data, in bytes.
pub(super) const MAX_CLIENT_DATA: usize = 4 * 1024;

/// The maximum length of binary data that an authenticator makes, in bytes.
pub(super) const MAX_BINARY: usize = 16 * 1024;

/// The maximum length of a signature, in bytes: that of an RSA key of 8192 bits.
pub(super) const MAX_SIGNATURE: usize = 1024;

/// A response of `navigator.credentials`.
pub(super) struct Response(Value);

impl Response {
    /// Reads a response and checks the members that every response has. Other members are ignored, because
    /// browsers add some.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > MAX_RESPONSE {
            return Err(Fault::ResponseTooLong);
        }
        let response = Self(parse("the browser's response", text)?);
        let text = |what: &'static str, value: &Value| {
            value.as_str().map(str::to_owned).ok_or(Fault::Member { what, expected: "a string" })
        };
        if text("`type`", &response.0["type"])? != "public-key" {
            return Err(Fault::Member { what: "`type`", expected: "`public-key`" });
        }
        if text("`id`", &response.0["id"])? != text("`rawId`", &response.0["rawId"])? {
            return Err(Fault::Member { what: "`rawId`", expected: "the same as `id`" });
        }
        Ok(response)
    }

    /// Returns the credential's id.
    pub(super) fn id(&self) -> Result<Vec<u8>, Fault> {
        binary("`id`", &self.0["id"], MAX_ID)
    }

    pub(super) fn client_data(&self) -> Result<Vec<u8>, Fault> {
        binary("`clientDataJSON`", &self.0["response"]["clientDataJSON"], MAX_CLIENT_DATA)
    }

    pub(super) fn attestation(&self) -> Result<Vec<u8>, Fault> {
        binary("`attestationObject`", &self.0["response"]["attestationObject"], MAX_BINARY)
    }

    pub(super) fn authenticator_data(&self) -> Result<Vec<u8>, Fault> {
        binary("`authenticatorData`", &self.0["response"]["authenticatorData"], MAX_BINARY)
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, Fault> {
        binary("`signature`", &self.0["response"]["signature"], MAX_SIGNATURE)
    }

    /// Returns the user handle, which an authenticator may leave out.
    pub(super) fn user_handle(&self) -> Result<Option<Vec<u8>>, Fault> {
        match &self.0["response"]["userHandle"] {
            Value::Null => Ok(None),
            value => binary("`userHandle`", value, 64).map(Some),
        }
    }

    /// Returns how a browser can reach the authenticator. It is a hint: what is not known is left out.
    pub(super) fn transports(&self) -> Vec<String> {
        const KNOWN: [&str; 6] = ["ble", "hybrid", "internal", "nfc", "smart-card", "usb"];
        let given = self.0["response"]["transports"].as_array();
        let has = |name: &&str| given.is_some_and(|given| given.iter().any(|item| item == name));
        KNOWN.into_iter().filter(has).map(str::to_owned).collect()
    }
}

/// Reads JSON that others wrote.
pub(super) fn parse(what: &'static str, text: &str) -> Result<Value, Fault> {
    let read = strict_json::from_str(text);
    read.map_err(|error| Fault::Json { what, problem: error.to_string() })
}

fn binary(what: &'static str, value: &Value, most: usize) -> Result<Vec<u8>, Fault> {
    let text = value.as_str().ok_or(Fault::Member { what, expected: "a string in base64url" })?;
    from_base64(what, text, most)
}

/// Reads base64url without padding. Each value has one spelling.
pub(super) fn from_base64(what: &'static str, text: &str, most: usize) -> Result<Vec<u8>, Fault> {
    if text.len() > most.div_ceil(3) * 4 {
        return Err(Fault::TooLong { what, most });
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault::Base64 { what })?;
    if bytes.len() > most { Err(Fault::TooLong { what, most }) } else { Ok(bytes) }
}

pub(super) fn to_base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
