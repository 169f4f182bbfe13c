//! Capability tokens: they list what an agent may do, this installation signs them, and any holder can
//! narrow them.
//!
//! A token is a [biscuit](https://www.biscuitsec.org) whose blocks have nothing but the facts of
//! [`block`]. Each block restricts calls further, so a block can be added without the key, and none can
//! be changed, moved or taken away.

mod block;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

pub(crate) use block::{to_json, words};

use crate::store::TokenUse;
use crate::system::digest::hex;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use biscuit_auth::datalog::SymbolTable;
use biscuit_auth::format::schema;
use biscuit_auth::{
    Algorithm, Biscuit, BiscuitBuilder, BlockBuilder, KeyPair, PrivateKey, UnverifiedBiscuit,
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use std::fmt;
use whereby_authority::conditions::Condition;
use whereby_authority::policy::Restrictions;
use whereby_authority::timestamp::Timestamp;

/// The maximum length of a token's text, in bytes.
pub(crate) const MAX_TEXT: usize = 8 * 1024;

/// The maximum number of blocks.
const MAX_BLOCKS: usize = 16;

/// Why a token cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NotAToken,
    TooLong,
    TooManyBlocks,
    /// The block with this number has something else than this program writes.
    Foreign(usize),
    OtherInstallation,
    Forged,
    /// It can be used, but not narrowed.
    Sealed,
    Internal,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAToken => f.write_str("it is not a capability token"),
            Self::TooLong => write!(f, "it is longer than {MAX_TEXT} bytes"),
            Self::TooManyBlocks => write!(f, "it has more than {MAX_BLOCKS} blocks"),
            Self::Foreign(number) => {
                write!(f, "it has a block that this program did not write (block {number})")
            }
            Self::OtherInstallation => f.write_str("it is of another installation"),
            Self::Forged => f.write_str("it is forged or tampered with: its signature is wrong"),
            Self::Sealed => f.write_str("it is sealed, so nothing can be added"),
            Self::Internal => f.write_str("it cannot be written"),
        }
    }
}

/// The key of this installation, which signs the first block of its tokens.
pub(crate) struct Key(KeyPair);

impl Key {
    pub(crate) fn of(secret: &[u8; 32]) -> Result<Self, Fault> {
        let private = PrivateKey::from_bytes(secret, Algorithm::Ed25519);
        Ok(Self(KeyPair::from(&private.map_err(|_| Fault::Internal)?)))
    }

    /// Returns the number by which a token names the key.
    fn id(&self) -> u32 {
        let digest = Sha256::digest(self.0.public().to_bytes());
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    /// Returns a new token.
    pub(crate) fn create(&self, limits: &Restrictions) -> Result<String, Fault> {
        let mut builder = BiscuitBuilder::new().root_key_id(self.id());
        for fact in block::facts(limits) {
            builder = builder.fact(fact).map_err(|_| Fault::Internal)?;
        }
        let token = builder.build(&self.0).and_then(|token| token.to_vec());
        written(&token.map_err(|_| Fault::Internal)?)
    }
}

/// A token that was read. Its signature was not verified.
#[derive(Clone)]
pub(crate) struct Token {
    bytes: Vec<u8>,
    root_key_id: Option<u32>,
    blocks: Vec<Restrictions>,
    ids: Vec<String>,
}

impl Token {
    /// Reads the text of a token.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        Self::read(Message::decode(bytes_of(text)?)?)
    }

    fn read(Message { bytes, token }: Message) -> Result<Self, Fault> {
        let mut symbols = SymbolTable::new();
        let (mut blocks, mut ids) = (Vec::new(), Vec::new());
        for (signed, number) in std::iter::once(&token.authority).chain(&token.blocks).zip(1..) {
            let foreign = || Fault::Foreign(number);
            // With a version, or with the signature of a third party.
            if signed.version.is_some() || signed.external_signature.is_some() {
                return Err(foreign());
            }
            let content = signed.block.as_slice();
            let block = schema::Block::decode(content).map_err(|_| foreign())?;
            if block.encode_to_vec() != content {
                return Err(foreign());
            }
            let added = SymbolTable::from(block.symbols.clone());
            let extended = added.and_then(|added| symbols.extend(&added));
            extended.map_err(|_| foreign())?;
            blocks.push(block::read(&block, &symbols).ok_or_else(foreign)?);
            ids.push(id_of(&signed.signature));
        }
        Ok(Self { bytes, root_key_id: token.root_key_id, blocks, ids })
    }

    /// Returns what each block restricts calls to, from the first.
    pub(crate) fn blocks(&self) -> &[Restrictions] {
        &self.blocks
    }

    /// Returns the id of each block, from the first. The last is that of the token.
    pub(crate) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Returns the token with one more block.
    pub(crate) fn narrow(&self, more: &Restrictions) -> Result<String, Fault> {
        if self.blocks.len() >= MAX_BLOCKS {
            return Err(Fault::TooManyBlocks);
        }
        let token = UnverifiedBiscuit::from(&self.bytes).map_err(|_| Fault::Forged)?;
        let mut builder = BlockBuilder::new();
        for fact in block::facts(more) {
            builder = builder.fact(fact).map_err(|_| Fault::Internal)?;
        }
        let narrowed = token.append(builder).and_then(|token| token.to_vec());
        written(&narrowed.map_err(|error| match error {
            biscuit_auth::error::Token::AppendOnSealed
            | biscuit_auth::error::Token::AlreadySealed => Fault::Sealed,
            _ => Fault::Internal,
        })?)
    }

    /// Checks the signatures of all blocks, with the key of this installation if it has one.
    pub(crate) fn verify(self, key: Option<&Key>) -> Result<Verified, Fault> {
        check_signatures(&self.bytes, self.root_key_id, key)?;
        let text = URL_SAFE.encode(&self.bytes);
        Ok(Verified { blocks: self.blocks, ids: self.ids, text })
    }
}

/// Reads the text of a token as bytes.
fn bytes_of(text: &str) -> Result<Vec<u8>, Fault> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(Fault::TooLong);
    }
    URL_SAFE.decode(text).map_err(|_| Fault::NotAToken)
}

/// A token whose blocks were not read.
struct Message {
    bytes: Vec<u8>,
    token: schema::Biscuit,
}

impl Message {
    fn decode(bytes: Vec<u8>) -> Result<Self, Fault> {
        let token = schema::Biscuit::decode(bytes.as_slice()).map_err(|_| Fault::NotAToken)?;
        // Another spelling of the same token could have something in it that nobody reads.
        if token.encode_to_vec() != bytes {
            return Err(Fault::NotAToken);
        }
        if token.blocks.len() >= MAX_BLOCKS {
            return Err(Fault::TooManyBlocks);
        }
        Ok(Self { bytes, token })
    }
}

fn check_signatures(
    bytes: &[u8],
    root_key_id: Option<u32>,
    key: Option<&Key>,
) -> Result<(), Fault> {
    let own = key.filter(|key| root_key_id == Some(key.id()));
    let key = own.ok_or(Fault::OtherInstallation)?;
    Biscuit::from(bytes, key.0.public()).map(drop).map_err(|_| Fault::Forged)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("ids", &self.ids).finish_non_exhaustive()
    }
}

/// Returns the text of a token.
fn written(bytes: &[u8]) -> Result<String, Fault> {
    let text = URL_SAFE.encode(bytes);
    // What cannot be read again is not given out.
    Token::parse(&text).map(|_| text)
}

/// Returns the id of a block, which its signature identifies.
fn id_of(signature: &[u8]) -> String {
    hex(&Sha256::digest(signature)[..16])
}

/// A token of this installation, with correct signatures. It may be revoked, expired or used up.
pub(crate) struct Verified {
    blocks: Vec<Restrictions>,
    ids: Vec<String>,
    text: String,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("ids", &self.ids).finish_non_exhaustive()
    }
}

impl Verified {
    /// Reads the text of a token, and checks the signatures of all blocks before their contents.
    pub(crate) fn parse(text: &str, key: Option<&Key>) -> Result<Self, Fault> {
        Self::read(Message::decode(bytes_of(text)?)?, key)
    }

    fn read(message: Message, key: Option<&Key>) -> Result<Self, Fault> {
        check_signatures(&message.bytes, message.token.root_key_id, key)?;
        let Token { bytes, blocks, ids, .. } = Token::read(message)?;
        Ok(Self { blocks, ids, text: URL_SAFE.encode(bytes) })
    }

    /// Returns the text of the token, which is a secret.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns what each block restricts calls to, from the first.
    pub(crate) fn blocks(&self) -> &[Restrictions] {
        &self.blocks
    }

    /// Returns the id of each block, from the first. The last is that of the token.
    pub(crate) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Returns the agent whose token it is. Only the first block says so: what is added later can demand
    /// an agent, but not make the call another's.
    pub(crate) fn agent(&self) -> Option<&str> {
        self.blocks.first()?.agent.as_deref()
    }

    /// Returns what a call uses of the token.
    pub(crate) fn to_use(&self) -> TokenUse {
        let uses = |(id, block): (&String, &Restrictions)| Some((id.clone(), block.uses?));
        TokenUse {
            ids: self.ids.clone(),
            uses: self.ids.iter().zip(&self.blocks).filter_map(uses).collect(),
            valid_until: valid_until(&self.blocks).map(|date| date.to_unix_ms()),
        }
    }
}

/// Returns the earliest end of these blocks.
pub(crate) fn valid_until(blocks: &[Restrictions]) -> Option<Timestamp> {
    let conditions = blocks.iter().flat_map(|block| &block.conditions);
    let ends = conditions.filter_map(|stated| match stated.condition {
        Condition::ValidUntil(date) => Some(date),
        _ => None,
    });
    ends.min_by_key(|date| date.to_unix_ms())
}

#[cfg(test)]
mod tests;
