//! Registered passkeys, as they are stored.

use super::Bytes;
use super::authenticator::PublicKey;
use serde::{Deserialize, Serialize};

/// A registered passkey. Times are in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    pub(crate) id: Bytes,
    /// The key, with its algorithm.
    pub(crate) public_key: PublicKey,
    /// The counter of the last response. Many passkeys have none, and always say 0.
    pub(crate) sign_count: u32,
    /// Whether the passkey can be copied to other devices of its owner. It never changes.
    pub(crate) backup_eligible: bool,
    /// What its owner calls it.
    pub(crate) name: String,
    pub(crate) created_at: i64,
    /// When its owner removed it. The record remains, for decisions that were made before.
    pub(crate) removed_at: Option<i64>,
    /// How a browser can reach it.
    pub(crate) transports: Vec<String>,
}
