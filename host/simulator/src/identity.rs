//! Generates ids, API keys and room keys, which are the same in every run.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The kinds of ids. Each has its own sequence, so that an additional room does not change all session ids.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Room,
    Meeting,
    Session,
    Participant,
    Person,
    Recording,
    Transcription,
    Key,
}

/// A generator of ids. The same organization and order of calls give the same ids.
#[derive(Debug, Default)]
pub(super) struct Ids {
    organization: u64,
    used: [u64; 8],
}

impl Ids {
    pub(super) fn new(organization: u64) -> Self {
        Self { organization, used: [0; 8] }
    }

    fn next(&mut self, kind: Kind) -> u64 {
        let used = &mut self.used[kind as usize];
        *used += 1;
        mix(self.organization.wrapping_mul(64).wrapping_add(kind as u64) ^ mix(*used))
    }

    /// Returns an id in the form of a version 4 UUID. It is not random.
    pub(super) fn uuid(&mut self, kind: Kind) -> String {
        uuid(self.next(kind))
    }

    /// Returns eight digits. The first one is not 0.
    pub(super) fn decimal(&mut self, kind: Kind) -> String {
        (10_000_000 + self.next(kind) % 90_000_000).to_string()
    }

    /// Returns six characters that are easy to tell apart.
    pub(super) fn short(&mut self, kind: Kind) -> String {
        const LETTERS: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
        let mut bits = self.next(kind);
        let mut text = String::with_capacity(6);
        for _ in 0..6 {
            text.push(char::from(LETTERS[(bits % 31) as usize]));
            bits /= 31;
        }
        text
    }
}

fn uuid(seed: u64) -> String {
    let (high, low) = (mix(seed), mix(seed ^ 0xa5a5_a5a5_a5a5_a5a5));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | ((low >> 48) & 0x3fff),
        low & 0xffff_ffff_ffff,
    )
}

/// Returns a hash of a number: one step of splitmix64.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns a hash of strings, which is the same in every run, unlike the standard library's hashes.
pub(super) fn fingerprint(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        // The length keeps ("a", "bc") and ("ab", "c") apart.
        hash = mix(hash ^ part.len() as u64);
        for byte in part.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    mix(hash)
}

/// Returns an API key in the form of a real one. It is the same in every run.
pub(super) fn api_key(organization: u64) -> String {
    let claims = json!({
        "iss": "https://accounts.appear.in",
        "aud": "https://api.appear.in/v1",
        "exp": 9_007_199_254_740_991_u64,
        "iat": 1_767_225_600,
        "organizationId": organization,
        "jti": Ids::new(organization).uuid(Kind::Key),
    });
    token(&claims)
}

/// Returns the `roomKey` in a host's or viewer's room URL.
pub(super) fn room_key(
    organization: u64,
    meeting_id: &str,
    room_name: &str,
    key_type: &str,
    issued: i64,
) -> String {
    let claims = json!({
        "meetingId": meeting_id,
        "roomReference": { "roomName": room_name, "organizationId": organization.to_string() },
        "iss": "https://accounts.srv.whereby.com",
        "iat": issued,
        "roomKeyType": key_type,
    });
    token(&claims)
}

fn token(claims: &Value) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let signature =
        URL_SAFE_NO_PAD.encode(hmac(b"the simulator's secret guards nothing", signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Returns the HMAC-SHA256 (RFC 2104) of a message, for keys of at most one block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_repeat_from_run_to_run_but_not_within_one() {
        let (mut one, mut two) = (Ids::new(47_110), Ids::new(47_110));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let id = one.uuid(Kind::Session);
            assert_eq!(id, two.uuid(Kind::Session));
            assert_eq!((id.len(), &id[14..15]), (36, "4"));
            assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
            assert!(seen.insert(id));
        }
        let next = two.uuid(Kind::Session);
        one.uuid(Kind::Room);
        assert_eq!(one.uuid(Kind::Session), next, "each kind has its own sequence");
        assert_ne!(Ids::new(47_111).uuid(Kind::Session), Ids::new(47_110).uuid(Kind::Session));
        assert_eq!(one.decimal(Kind::Meeting).len(), 8);
        assert_eq!(one.short(Kind::Room).len(), 6);
    }

    #[test]
    fn the_signature_is_an_hmac() {
        // The second test case of RFC 4231.
        let digest = hmac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(&digest[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(&digest[28..], [0x64, 0xec, 0x38, 0x43]);
    }

    #[test]
    fn an_api_key_has_exactly_the_claims_of_a_real_one() {
        let key = api_key(47_110);
        let parts: Vec<_> = key.split('.').collect();
        let decode = |part| String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(decode(parts[0]), r#"{"alg":"HS256","typ":"JWT"}"#);
        let claims: Value = serde_json::from_str(&decode(parts[1])).unwrap();
        let names: Vec<_> = claims.as_object().unwrap().keys().collect();
        assert_eq!(names, ["iss", "aud", "exp", "iat", "organizationId", "jti"]);
        assert_eq!(claims["organizationId"], 47_110);
        assert_eq!(parts.len(), 3);
        assert_eq!(key, api_key(47_110));
    }
}
