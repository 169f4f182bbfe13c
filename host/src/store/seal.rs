//! Seals what is kept of calls for a while: an approved call until it is made, and its result until the
//! caller has it. Both may contain secrets, so the database and the spool never have them as text.

use crate::error::Error;
use crate::system::random::random;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// What is sealed. It cannot be opened as anything else.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// A call that waits for approval.
    Call,
    /// The result of a call that was approved.
    Result,
}

impl Content {
    /// Returns what the seal covers besides the content.
    fn label(self, approval: &str) -> Vec<u8> {
        let content = match self {
            Self::Call => "call",
            Self::Result => "result",
        };
        format!("{content}:{approval}").into_bytes()
    }
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key);
    key.map(LessSafeKey::new).map_err(|_| Error::internal("cannot use the key that seals"))
}

/// Seals a content of an approval.
pub(super) fn seal(
    key: &[u8; 32],
    content: Content,
    approval: &str,
    plain: &[u8],
) -> Result<Vec<u8>, Error> {
    let nonce: [u8; NONCE_LEN] = random()?;
    let mut sealed = plain.to_vec();
    let label = Aad::from(content.label(approval));
    let done = cipher(key)?.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        label,
        &mut sealed,
    );
    done.map_err(|_| Error::internal("cannot seal a call"))?;
    Ok([&nonce[..], &sealed].concat())
}

/// Opens a sealed content; `None` if it is not that of this approval and this installation.
pub(super) fn open(
    key: &[u8; 32],
    content: Content,
    approval: &str,
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut opened = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let label = Aad::from(content.label(approval));
    let length = cipher(key).ok()?.open_in_place(nonce, label, &mut opened).ok()?.len();
    opened.truncate(length);
    Some(opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_as_itself_only() {
        let key = [7; 32];
        let sealed = seal(&key, Content::Call, "id", b"secret").expect("sealed");
        assert_eq!(open(&key, Content::Call, "id", &sealed).as_deref(), Some(&b"secret"[..]));
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_ne!(seal(&key, Content::Call, "id", b"secret").expect("sealed"), sealed);
        for (key, content, approval) in [
            ([8; 32], Content::Call, "id"),
            (key, Content::Result, "id"),
            (key, Content::Call, "other"),
        ] {
            assert_eq!(open(&key, content, approval, &sealed), None);
        }
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(open(&key, Content::Call, "id", &changed), None, "{index}");
            assert_eq!(open(&key, Content::Call, "id", &sealed[..index]), None, "{index}");
        }
    }
}
