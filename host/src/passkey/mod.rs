//! Passkeys (WebAuthn): what the browser is asked, and how its response is verified.
//!
//! A passkey is a key pair in an authenticator, such as a phone, a security key or the operating system.
//! Its owner registers it with a one-time code ([`code`], [`registration`]). After that, it signs
//! decisions about calls ([`decision`]): the challenge that it signs is a hash of the decision, so the
//! signature is good for this decision only, and can be verified again later.
//!
//! This module does no IO and knows no clock: the caller passes in times, random bytes and what is stored.
//!
//! # The page
//!
//! The options are JSON for `PublicKeyCredential.parseCreationOptionsFromJSON` and
//! `parseRequestOptionsFromJSON`, and the response is the credential as `JSON.stringify` writes it.
//! WebAuthn takes no IP address as the id of a relying party, so the page must be open at
//! `http://localhost:PORT`: at `http://127.0.0.1:PORT`, the browser refuses with a `SecurityError`.
//! Browsers treat `http://localhost` as a secure context, so it needs no TLS.
//!
//! All programs on `localhost` share one relying party id. The origin, which has the port and is signed,
//! keeps them apart; the challenge has a nonce that this program chose.
//!
//! # Crates
//!
//! `ring`, which TLS already uses, verifies the three kinds of signatures, and `ciborium` reads CBOR. The
//! rest is a few comparisons. `webauthn-rs` is under a license that this project does not allow, and it
//! and `webauthn_rp` choose the challenge themselves. `passki` brings a second set of cryptography crates,
//! and its attestation certificates are of no use here.

mod authenticator;
mod client_data;
pub(crate) mod code;
mod credential;
pub(crate) mod decision;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod json;
pub(crate) mod registration;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use credential::Credential;
pub(crate) use fault::Fault;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// The id of the relying party, which all programs on this host name share.
const RP_ID: &str = "localhost";

/// How long a person has for one answer, in milliseconds.
pub(crate) const LIFETIME: i64 = 5 * 60 * 1000;

/// The maximum length of a response, in bytes. The largest that browsers send is a tenth of it.
pub(crate) const MAX_RESPONSE: usize = 64 * 1024;

/// The maximum length of a passkey's name, in characters.
const MAX_NAME: usize = 64;

/// The page that asks for passkeys, as a browser sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelyingParty {
    /// The port that the page is served on.
    pub(crate) port: u16,
    /// The id of this installation. It is not secret.
    pub(crate) installation: String,
}

impl RelyingParty {
    /// Returns the origin that the page must be open at.
    pub(crate) fn origin(&self) -> String {
        match self.port {
            80 => format!("http://{RP_ID}"),
            port => format!("http://{RP_ID}:{port}"),
        }
    }

    /// Returns the id of the only user. An authenticator keeps one passkey for each, so it must differ from
    /// the ids of other programs on this host name.
    fn user_handle(&self) -> [u8; 32] {
        hash("whereby passkey user v1", self.installation.as_bytes())
    }
}

/// Whether a browser can have signed it as the origin of such a page, whatever its port was.
fn is_local_origin(origin: &str) -> bool {
    let port = match origin.strip_prefix("http://localhost") {
        Some("") => return true,
        Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()),
        None => None,
    };
    port.is_some_and(|port| origin == RelyingParty { port, installation: String::new() }.origin())
}

/// Returns the SHA-256 of a text in a domain: no two domains have a hash in common.
fn hash(domain: &str, text: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(domain).chain_update([0]).chain_update(text).finalize().into()
}

/// Whether something that expires can be used now. A clock that was turned back does not make it last longer.
fn is_valid_at(now: i64, expires_at: i64, lifetime: i64) -> bool {
    now < expires_at && now >= expires_at.saturating_sub(lifetime)
}

/// Returns the SHA-256 of the relying party's ID.
fn rp_id_hash() -> [u8; 32] {
    Sha256::digest(RP_ID).into()
}

/// Lists credentials for the browser, without removed ones.
fn descriptors(credentials: &[Credential]) -> Value {
    let kept = credentials.iter().filter(|credential| credential.removed_at.is_none());
    kept.map(|credential| {
        json!({"type": "public-key", "id": credential.id, "transports": credential.transports})
    })
    .collect()
}

/// Bytes, in JSON as base64url without padding.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        json::to_base64(&bytes.0)
    }
}

impl TryFrom<String> for Bytes {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        json::from_base64("a stored value", &text, MAX_RESPONSE).map(Self)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&json::to_base64(&self.0))
    }
}
