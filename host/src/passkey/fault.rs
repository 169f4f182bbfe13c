//! Why a passkey, or what it signed, is refused.

use super::{LIFETIME, MAX_RESPONSE, RP_ID};

/// Why a response, or the record of one, is refused. The message says what is wrong and where;
/// [`Fault::advice`] says what a person on the page can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the browser's response is longer than {MAX_RESPONSE} bytes")]
    ResponseTooLong,
    #[error("{what} is longer than {most} bytes")]
    TooLong { what: &'static str, most: usize },
    #[error("{what} is not valid JSON: {problem}")]
    Json { what: &'static str, problem: String },
    #[error("{what} is missing or wrong; expected {expected}")]
    Member { what: &'static str, expected: &'static str },
    #[error("{what} is not base64url without padding")]
    Base64 { what: &'static str },
    #[error("{what} is not valid CBOR: {problem}")]
    Cbor { what: &'static str, problem: &'static str },
    #[error("the authenticator data is malformed: {0}")]
    AuthenticatorData(&'static str),
    #[error("the public key is malformed: {0}")]
    PublicKey(&'static str),
    #[error("the passkey's algorithm is {0}; expected ES256, EdDSA or RS256")]
    Algorithm(i64),
    #[error("the attestation cannot be used: {0}")]
    Attestation(&'static str),
    #[error("the client data is of type `{found}`; expected `{expected}`")]
    Type { found: String, expected: &'static str },
    #[error(
        "the passkey signed another challenge: that of another call, scope, decision or request"
    )]
    Challenge,
    #[error("the request is older than {} minutes", LIFETIME / 60_000)]
    Expired,
    #[error("the passkey was used on a page of `{found}`; expected {expected}")]
    Origin { found: String, expected: String },
    #[error("the passkey was used while another page showed this one in a frame")]
    Framed,
    #[error("the passkey signed for another site than {RP_ID}")]
    RelyingParty,
    #[error("the authenticator does not say that a person was there (flag UP)")]
    NotPresent,
    #[error("the authenticator does not say that it verified the person (flag UV)")]
    NotVerified,
    #[error("the passkey's backup flags (BE, BS) contradict each other or its registration")]
    Backup,
    #[error("the passkey is registered already, or was")]
    Duplicate,
    #[error("no passkey is registered")]
    NoCredential,
    #[error("the passkey is not registered")]
    UnknownCredential,
    #[error("the passkey `{0}` was removed")]
    Removed(String),
    #[error("the passkey belongs to another user or another installation")]
    User,
    #[error(
        "the passkey's counter went from {stored} to {found}, so there may be a copy of the passkey"
    )]
    SignCount { stored: u32, found: u32 },
    #[error("the signature is wrong: another key made it, or it is of other data")]
    Signature,
    #[error("the name of the passkey is not 1 to {} printable characters", super::MAX_NAME)]
    Name,
    #[error("the passkey was not registered at the time of the decision")]
    NotRegisteredThen,
    #[error("the decision cannot be written as JSON: {0}")]
    Decision(String),
}

impl Fault {
    /// Returns what the person on the page can do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::ResponseTooLong
            | Self::TooLong { .. }
            | Self::Cbor { .. }
            | Self::AuthenticatorData(_)
            | Self::PublicKey(_)
            | Self::Algorithm(_)
            | Self::Attestation(_)
            | Self::Duplicate => "use another passkey",
            Self::Json { .. }
            | Self::Member { .. }
            | Self::Base64 { .. }
            | Self::Type { .. }
            | Self::Challenge
            | Self::Expired
            | Self::Decision(_) => "reload the page and try again",
            Self::Origin { .. } | Self::Framed => {
                "open the page by itself, at the address that the command printed"
            }
            Self::NotPresent => "try again and confirm on the authenticator",
            Self::NotVerified => "use an authenticator with a PIN, a fingerprint or a screen lock",
            Self::RelyingParty
            | Self::NoCredential
            | Self::UnknownCredential
            | Self::Removed(_)
            | Self::User
            | Self::Signature
            | Self::NotRegisteredThen => {
                "use a registered passkey, or add one: whereby inbox --add-passkey"
            }
            Self::SignCount { .. } | Self::Backup => "remove the passkey and add it again",
            Self::Name => "choose another name",
        }
    }
}
