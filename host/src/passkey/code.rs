//! The one-time code that a person needs to add a passkey. A terminal prints it, and the page asks for it.

use super::{Bytes, hash, is_valid_at};
use serde::{Deserialize, Serialize};

/// How long a code can be used, in milliseconds.
pub(crate) const LIFETIME: i64 = 10 * 60 * 1000;

/// How many wrong tries make a code invalid.
const MAX_WRONG: u32 = 5;

/// The number of characters, each of 5 bits.
const LENGTH: usize = 10;

/// Crockford's alphabet: no letter in it looks like a digit or another letter.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A one-time code, as it is stored: without the code itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolmentCode {
    salt: Bytes,
    digest: Bytes,
    expires_at: i64,
    wrong: u32,
    used: bool,
}

/// Why a code is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodeFault {
    #[error("this is not a code: expected {LENGTH} letters and digits, as in 4F7KM-9QXRT")]
    NotACode,
    #[error("the code is wrong; tries left: {left}")]
    Wrong { left: u32 },
    #[error(
        "the code is invalid after {MAX_WRONG} wrong tries; print a new one: whereby inbox --add-passkey"
    )]
    TooManyTries,
    #[error("the code has expired; print a new one: whereby inbox --add-passkey")]
    Expired,
    #[error("the code was used already; print a new one: whereby inbox --add-passkey")]
    Used,
}

impl EnrolmentCode {
    /// Returns a new code: what to store, and what to print.
    pub(crate) fn new(random: [u8; 32], now: i64) -> (Self, String) {
        let (salt, letters) = random.split_at(random.len() - LENGTH);
        let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte & 31)]);
        let code: String = letters.iter().map(letter).collect();
        let stored = Self {
            digest: digest(salt, &code),
            salt: Bytes(salt.to_vec()),
            expires_at: now + LIFETIME,
            wrong: 0,
            used: false,
        };
        let (first, second) = code.split_at(LENGTH / 2);
        (stored, format!("{first}-{second}"))
    }

    /// Checks what a person typed. Whatever the result is, store the code afterwards, before anything else
    /// follows from it.
    pub(crate) fn check(&mut self, typed: &str, now: i64) -> Result<(), CodeFault> {
        if self.used {
            return Err(CodeFault::Used);
        }
        if self.wrong >= MAX_WRONG {
            return Err(CodeFault::TooManyTries);
        }
        if !is_valid_at(now, self.expires_at, LIFETIME) {
            return Err(CodeFault::Expired);
        }
        let typed = normal(typed).ok_or(CodeFault::NotACode)?;
        // How long this takes tells nothing, because nobody knows the salt.
        if digest(&self.salt.0, &typed) == self.digest {
            self.used = true;
            return Ok(());
        }
        self.wrong += 1;
        match MAX_WRONG - self.wrong {
            0 => Err(CodeFault::TooManyTries),
            left => Err(CodeFault::Wrong { left }),
        }
    }
}

fn digest(salt: &[u8], code: &str) -> Bytes {
    Bytes(hash("whereby enrolment code v1", &[salt, code.as_bytes()].concat()).to_vec())
}

/// Brings what a person typed into the form that a code has; `None` if it is no code.
fn normal(typed: &str) -> Option<String> {
    if typed.len() > 4 * LENGTH {
        return None;
    }
    let letters = typed.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let code: String = letters
        .map(|c| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        })
        .collect();
    let is_code = code.len() == LENGTH && code.bytes().all(|byte| ALPHABET.contains(&byte));
    is_code.then_some(code)
}
