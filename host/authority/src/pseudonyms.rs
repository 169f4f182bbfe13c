//! The pseudonyms of people: an HMAC of an id, under a key of the installation.

use crate::people::REDACTED;
use crate::prelude::*;
use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// The members that the same person has in every session, the most reliable one first. The ids that
/// Whereby makes for one visit come last but for the name, which two people can share.
const IDENTITIES: [&str; 4] = ["externalId", "userId", "participantId", "displayName"];

/// The smallest number of hexadecimal digits of a pseudonym.
pub(crate) const DIGITS: usize = 6;

type Digest = [u8; 32];

/// The pseudonyms of one account in one call.
pub struct Pseudonyms {
    /// HMAC-SHA256 under the key of the account.
    of_account: Hmac<Sha256>,
    /// The people who were named so far, with the number of digits of each.
    named: BTreeMap<Digest, usize>,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(…)")
    }
}

impl Pseudonyms {
    /// Returns the pseudonyms of an account, under a key of the installation.
    #[must_use]
    pub fn new(key: &[u8; 32], account: &str) -> Self {
        let of_account = digest(&keyed(key), &[account.as_bytes()]);
        Self { of_account: keyed(&of_account), named: BTreeMap::new() }
    }

    /// Returns the digest of the person in a row; `None` if the row does not say who it is.
    pub(crate) fn person(&self, row: &Value) -> Option<Digest> {
        IDENTITIES.iter().find_map(|member| {
            let identity = match row.get(member)? {
                Value::String(text) if is_telling(text) => text.trim().to_owned(),
                Value::Number(number) if *member != "displayName" => number.to_string(),
                _ => return None,
            };
            Some(digest(&self.of_account, &[member.as_bytes(), b"\0", identity.as_bytes()]))
        })
    }

    /// Names people. Those whose pseudonyms would be the same get longer ones; people who have a pseudonym
    /// already keep it.
    pub(crate) fn name(&mut self, people: BTreeSet<Digest>) {
        let mut all: BTreeSet<Digest> = self.named.keys().copied().collect();
        all.extend(&people);
        for person in people {
            // Among sorted digests, the neighbors have the longest common beginnings.
            let neighbors = [all.range(..person).next_back(), all.range(person..).nth(1)];
            let shared = neighbors.into_iter().flatten().map(|other| shared_digits(&person, other));
            let digits = shared.map(|shared| shared + 1).fold(DIGITS, usize::max);
            self.named.entry(person).or_insert(digits);
        }
    }

    /// Returns the pseudonym of a person who was named.
    pub(crate) fn pseudonym(&self, person: &Digest) -> String {
        let digits = self.named.get(person).copied().unwrap_or(2 * person.len());
        let hex: String = person.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("Participant {}", hex.get(..digits).unwrap_or(&hex))
    }
}

/// Whether a name or an id is about one person.
pub(crate) fn is_telling(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text != REDACTED
}

/// Returns the number of hexadecimal digits that two digests have in common at their beginnings.
fn shared_digits(a: &Digest, b: &Digest) -> usize {
    let halves = |digest: &Digest| digest.map(|byte| [byte >> 4, byte & 15]).concat();
    halves(a).iter().zip(&halves(b)).take_while(|(a, b)| a == b).count()
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC fills a short key up with zeros, so this is the key itself.
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    <Hmac<Sha256> as Mac>::new(&block.into())
}

fn digest(keyed: &Hmac<Sha256>, parts: &[&[u8]]) -> Digest {
    let mut hmac = keyed.clone();
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}
