//! What an authenticator makes: its data, public keys and signatures.

use super::{Fault, json, rp_id_hash};
use ciborium::Value;
use ring::signature;
use serde::{Deserialize, Serialize};

/// The maximum depth of CBOR. An attestation has three levels.
const MAX_DEPTH: usize = 8;

/// The maximum number of entries of a CBOR map. A key has five.
const MAX_ENTRIES: usize = 16;

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENSIONS: u8 = 1 << 7;

/// The authenticator data of a response.
#[derive(Debug)]
pub(super) struct AuthenticatorData {
    rp_id_hash: [u8; 32],
    flags: u8,
    pub(super) sign_count: u32,
    /// The new credential, in a registration.
    pub(super) attested: Option<Attested>,
}

/// A new credential.
#[derive(Debug)]
pub(super) struct Attested {
    pub(super) id: Vec<u8>,
    pub(super) public_key: PublicKey,
}

impl AuthenticatorData {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut rest = bytes;
        let rp_id_hash = take(&mut rest)?;
        let [flags] = take(&mut rest)?;
        let sign_count = u32::from_be_bytes(take(&mut rest)?);
        let attested = if flags & ATTESTED == 0 {
            None
        } else {
            // The model of the authenticator, which is of no interest without an attestation.
            let _: [u8; 16] = take(&mut rest)?;
            let length = u16::from_be_bytes(take(&mut rest)?).into();
            if length == 0 || length > json::MAX_ID {
                return Err(Fault::AuthenticatorData(
                    "the credential's id has 0 or over 1023 bytes",
                ));
            }
            let id = take_slice(&mut rest, length)?.to_vec();
            let before = rest;
            cbor("the public key", &mut rest)?;
            let public_key = PublicKey::from_cose(&before[..before.len() - rest.len()])?;
            Some(Attested { id, public_key })
        };
        if flags & EXTENSIONS != 0
            && cbor("the extensions of the authenticator data", &mut rest)?.as_map().is_none()
        {
            return Err(Fault::AuthenticatorData("the extensions are not a map"));
        }
        if !rest.is_empty() {
            return Err(Fault::AuthenticatorData("something follows its last part"));
        }
        Ok(Self { rp_id_hash, flags, sign_count, attested })
    }

    /// Checks for which site the authenticator signed, and that it verified its user.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.rp_id_hash != rp_id_hash() {
            return Err(Fault::RelyingParty);
        }
        if self.flags & USER_PRESENT == 0 {
            return Err(Fault::NotPresent);
        }
        if self.flags & USER_VERIFIED == 0 {
            return Err(Fault::NotVerified);
        }
        if self.flags & BACKED_UP != 0 && !self.is_backup_eligible() {
            return Err(Fault::Backup);
        }
        Ok(())
    }

    /// Whether the passkey can be copied to other devices of its owner.
    pub(super) fn is_backup_eligible(&self) -> bool {
        self.flags & BACKUP_ELIGIBLE != 0
    }
}

fn take<const COUNT: usize>(rest: &mut &[u8]) -> Result<[u8; COUNT], Fault> {
    let taken = take_slice(rest, COUNT)?.try_into();
    taken.map_err(|_| Fault::AuthenticatorData("it is cut short"))
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Fault> {
    let split = rest.split_at_checked(length);
    let (taken, after) = split.ok_or(Fault::AuthenticatorData("it is cut short"))?;
    *rest = after;
    Ok(taken)
}

/// Reads one CBOR item from the beginning of bytes, and leaves what follows it.
fn cbor(what: &'static str, rest: &mut &[u8]) -> Result<Value, Fault> {
    use ciborium::de::Error;
    let read = ciborium::de::from_reader_with_recursion_limit(rest, MAX_DEPTH);
    read.map_err(|error| Fault::Cbor {
        what,
        problem: match error {
            Error::Io(_) => "it is cut short",
            Error::RecursionLimitExceeded => "it is nested too deep",
            Error::Syntax(_) | Error::Semantic(..) => "an item cannot be read",
        },
    })
}

/// Reads bytes that are one CBOR map, and returns its entries.
pub(super) fn cbor_map(what: &'static str, bytes: &[u8]) -> Result<Vec<(Value, Value)>, Fault> {
    let mut rest = bytes;
    let value = cbor(what, &mut rest)?;
    let fault = |problem| Fault::Cbor { what, problem };
    if !rest.is_empty() {
        return Err(fault("something follows it"));
    }
    let entries = value.into_map().map_err(|_| fault("it is not a map"))?;
    if entries.len() > MAX_ENTRIES {
        return Err(fault("it has too many entries"));
    }
    for (index, (key, _)) in entries.iter().enumerate() {
        if entries[..index].iter().any(|(earlier, _)| earlier == key) {
            return Err(fault("a key is there twice"));
        }
    }
    Ok(entries)
}

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// What Windows Hello uses.
    #[serde(rename = "RS256")]
    Rs256,
}

impl Algorithm {
    /// All of them, the preferred one first.
    pub(super) const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// Returns the number that COSE gives it.
    pub(super) fn cose(self) -> i64 {
        match self {
            Self::Es256 => -7,
            Self::EdDsa => -8,
            Self::Rs256 => -257,
        }
    }
}

/// The public key of a passkey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub(crate) struct PublicKey {
    /// The key as COSE writes it.
    cose: Vec<u8>,
    key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// A point of the curve P-256, uncompressed. That it is one is checked with each signature.
    P256([u8; 65]),
    Ed25519([u8; 32]),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
}

/// A public key in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    algorithm: Algorithm,
    cose_key: super::Bytes,
}

impl From<PublicKey> for Written {
    fn from(key: PublicKey) -> Self {
        Self { algorithm: key.algorithm(), cose_key: super::Bytes(key.cose) }
    }
}

impl TryFrom<Written> for PublicKey {
    type Error = Fault;

    fn try_from(written: Written) -> Result<Self, Fault> {
        let key = Self::from_cose(&written.cose_key.0)?;
        if key.algorithm() == written.algorithm {
            Ok(key)
        } else {
            Err(Fault::PublicKey("it is of another algorithm than the record says"))
        }
    }
}

impl PublicKey {
    /// Reads a `COSE_Key` (RFC 9052) with the parameters that WebAuthn requires, and no others.
    pub(super) fn from_cose(cose: &[u8]) -> Result<Self, Fault> {
        let entries = cbor_map("the public key", cose)?;
        let parameter = |label: i64| {
            let label = Value::from(label);
            entries.iter().find(|(key, _)| *key == label).map(|(_, value)| value)
        };
        let number = |label| {
            let number = parameter(label).and_then(Value::as_integer);
            number.and_then(|number| i64::try_from(number).ok())
        };
        let bytes = |label| parameter(label).and_then(Value::as_bytes);
        let algorithm = number(3).ok_or(Fault::PublicKey("it names no algorithm"))?;
        let known = Algorithm::ALL.into_iter().find(|known| known.cose() == algorithm);
        let known = known.ok_or(Fault::Algorithm(algorithm))?;
        let (key, parameters) = match (known, number(1)) {
            // EC2, with the curve P-256.
            (Algorithm::Es256, Some(2)) if number(-1) == Some(1) => {
                let mut point = [4; 65];
                for (label, part) in [(-2, 1..33), (-3, 33..65)] {
                    let coordinate = bytes(label).filter(|bytes| bytes.len() == 32);
                    let coordinate = coordinate
                        .ok_or(Fault::PublicKey("a coordinate is not a string of 32 bytes"))?;
                    point[part].copy_from_slice(coordinate);
                }
                (Key::P256(point), 5)
            }
            // OKP, with the curve Ed25519.
            (Algorithm::EdDsa, Some(1)) if number(-1) == Some(6) => {
                let point = bytes(-2).and_then(|point| point.as_slice().try_into().ok());
                let point = point.ok_or(Fault::PublicKey("x is not a string of 32 bytes"))?;
                (Key::Ed25519(point), 4)
            }
            (Algorithm::Rs256, Some(3)) => {
                let fits = |bytes: &&Vec<u8>, least, most| {
                    (least..=most).contains(&bytes.len()) && bytes.first() != Some(&0)
                };
                let n = bytes(-1).filter(|n| fits(n, 256, 1024));
                let n = n.ok_or(Fault::PublicKey("n does not have 2048 to 8192 bits"))?;
                let e = bytes(-2).filter(|e| fits(e, 1, 4));
                let e = e.ok_or(Fault::PublicKey("e does not have 1 to 4 bytes"))?;
                (Key::Rsa { n: n.clone(), e: e.clone() }, 4)
            }
            _ => return Err(Fault::PublicKey("its type or curve is not the algorithm's")),
        };
        if entries.len() != parameters {
            return Err(Fault::PublicKey("it has a parameter that WebAuthn does not allow"));
        }
        Ok(Self { cose: cose.to_vec(), key })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::P256(_) => Algorithm::Es256,
            Key::Ed25519(_) => Algorithm::EdDsa,
            Key::Rsa { .. } => Algorithm::Rs256,
        }
    }

    /// Checks a signature.
    pub(super) fn verify(&self, message: &[u8], signed: &[u8]) -> Result<(), Fault> {
        let unparsed = |algorithm: &'static dyn signature::VerificationAlgorithm, point: &[u8]| {
            signature::UnparsedPublicKey::new(algorithm, point).verify(message, signed)
        };
        let verified = match &self.key {
            Key::P256(point) => unparsed(&signature::ECDSA_P256_SHA256_ASN1, point),
            Key::Ed25519(point) => unparsed(&signature::ED25519, point),
            Key::Rsa { n, e } => signature::RsaPublicKeyComponents { n, e }.verify(
                &signature::RSA_PKCS1_2048_8192_SHA256,
                message,
                signed,
            ),
        };
        verified.map_err(|_| Fault::Signature)
    }
}
