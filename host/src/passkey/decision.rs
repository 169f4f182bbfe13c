//! Decisions that a passkey signs, and their records.

use super::authenticator::AuthenticatorData;
use super::client_data::{ClientData, Page};
use super::json::{Response, to_base64};
use super::registration::signed_data;
use super::{
    Bytes, Credential, Fault, LIFETIME, RP_ID, RelyingParty, descriptors, hash, is_valid_at,
};
use crate::system::digest::hex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use whereby_authority::conditions::Condition;

/// What a person decides about a call. The passkey signs all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    /// The id of this installation.
    pub(crate) installation: String,
    /// The id of the approval.
    pub(crate) approval: String,
    /// The digest of the call.
    pub(crate) call: [u8; 32],
    pub(crate) verdict: Verdict,
    pub(crate) scope: Scope,
}

/// What is decided. Denying needs no passkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The call may be made.
    Approve,
    /// The next calls like it may be made, too.
    AllowMore,
}

impl Verdict {
    pub(crate) const ALL: [Self; 2] = [Self::Approve, Self::AllowMore];

    /// Returns its name in the challenge and in the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::AllowMore => "allow-more",
        }
    }
}

/// What the decision covers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scope {
    /// How many calls.
    pub(crate) uses: u32,
    /// Until when, in milliseconds since 1970.
    pub(crate) expires_at: i64,
    /// On which conditions. Their order does not matter.
    pub(crate) conditions: Vec<Condition>,
}

impl Decision {
    /// Returns the challenge: SHA-256 of `whereby decision v1`, a zero byte, and the decision with the nonce
    /// as canonical JSON (RFC 8785). The numbers that JSON might not represent exactly are strings.
    pub(crate) fn challenge(&self, nonce: &[u8]) -> Result<[u8; 32], Fault> {
        let Self { installation, approval, call, verdict, scope } = self;
        let mut conditions: Vec<(&str, Value)> = scope
            .conditions
            .iter()
            .map(|condition| (condition.name(), condition.value()))
            .collect();
        conditions.sort_by_key(|(name, value)| (*name, value.to_string()));
        let written = json!({
            "installation": installation,
            "approval": approval,
            "call": hex(call),
            "decision": verdict.as_str(),
            "uses": scope.uses,
            "expires_at": scope.expires_at.to_string(),
            "conditions": conditions,
            "nonce": hex(nonce),
        });
        let canonical = serde_json_canonicalizer::to_vec(&written);
        let canonical = canonical.map_err(|error| Fault::Decision(error.to_string()))?;
        Ok(hash("whereby decision v1", &canonical))
    }
}

/// A request to sign a decision. It is for one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    nonce: [u8; 32],
    expires_at: i64,
}

impl Request {
    /// Begins a request with a random nonce.
    pub(crate) fn new(nonce: [u8; 32], now: i64) -> Self {
        Self { nonce, expires_at: now.saturating_add(LIFETIME) }
    }

    /// Returns the options of `navigator.credentials.get`.
    pub(crate) fn options(
        &self,
        decision: &Decision,
        registered: &[Credential],
    ) -> Result<Value, Fault> {
        let allowed = descriptors(registered);
        // With an empty list, the browser would offer the passkeys of other programs.
        if allowed == json!([]) {
            return Err(Fault::NoCredential);
        }
        Ok(json!({
            "rpId": RP_ID,
            "challenge": to_base64(&decision.challenge(&self.nonce)?),
            "allowCredentials": allowed,
            "timeout": LIFETIME,
            "userVerification": "required",
        }))
    }

    /// Verifies the browser's response. The decision is the one that the caller is about to carry out.
    pub(crate) fn verify(
        &self,
        decision: &Decision,
        party: &RelyingParty,
        response: &str,
        registered: &[Credential],
        now: i64,
    ) -> Result<Assertion, Fault> {
        if !is_valid_at(now, self.expires_at, LIFETIME) {
            return Err(Fault::Expired);
        }
        let response = Response::parse(response)?;
        let id = response.id()?;
        let known = registered.iter().find(|credential| credential.id.0 == id);
        let known = known.ok_or(Fault::UnknownCredential)?;
        if known.removed_at.is_some() {
            return Err(Fault::Removed(known.name.clone()));
        }
        if response.user_handle()?.is_some_and(|handle| handle != party.user_handle()) {
            return Err(Fault::User);
        }
        let record = Record {
            credential: known.id.clone(),
            nonce: Bytes(self.nonce.to_vec()),
            client_data: Bytes(response.client_data()?),
            authenticator_data: Bytes(response.authenticator_data()?),
            signature: Bytes(response.signature()?),
            decided_at: now,
        };
        let found = record.verify(known, decision, Page::Open(party))?.sign_count;
        let stored = known.sign_count;
        // A passkey without a counter always says 0.
        if (stored, found) != (0, 0) && found <= stored {
            return Err(Fault::SignCount { stored, found });
        }
        Ok(Assertion { record, credential: Credential { sign_count: found, ..known.clone() } })
    }
}

/// A decision that a registered passkey signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assertion {
    /// What to store with the decision.
    pub(crate) record: Record,
    /// What to store in place of the credential.
    pub(crate) credential: Credential,
}

/// The proof that a passkey signed a decision, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// The id of the credential.
    pub(crate) credential: Bytes,
    nonce: Bytes,
    client_data: Bytes,
    authenticator_data: Bytes,
    signature: Bytes,
    /// When the passkey was used, in milliseconds since 1970.
    pub(crate) decided_at: i64,
}

impl Record {
    fn verify(
        &self,
        credential: &Credential,
        decision: &Decision,
        page: Page<'_>,
    ) -> Result<AuthenticatorData, Fault> {
        let asked = ClientData::parse(&self.client_data.0)?;
        asked.check("webauthn.get", &decision.challenge(&self.nonce.0)?, page)?;
        let data = AuthenticatorData::parse(&self.authenticator_data.0)?;
        if data.attested.is_some() {
            return Err(Fault::AuthenticatorData(
                "it has a new credential, which nobody asked for",
            ));
        }
        data.check()?;
        if data.is_backup_eligible() != credential.backup_eligible {
            return Err(Fault::Backup);
        }
        let signed = signed_data(&self.authenticator_data.0, &self.client_data.0);
        credential.public_key.verify(&signed, &self.signature.0)?;
        Ok(data)
    }
}

/// Verifies a record again, without the page: that this passkey signed this decision, and was registered
/// and not removed at the time.
///
/// The time, and so the order of decisions, is only as good as the audit log that the record is in. The
/// counter was checked when the decision was made.
pub(crate) fn verify_record(
    record: &Record,
    credential: &Credential,
    decision: &Decision,
) -> Result<(), Fault> {
    if record.credential != credential.id {
        return Err(Fault::UnknownCredential);
    }
    let is_removed = credential.removed_at.is_some_and(|removed| removed <= record.decided_at);
    if is_removed || record.decided_at < credential.created_at {
        return Err(Fault::NotRegisteredThen);
    }
    record.verify(credential, decision, Page::Recorded).map(drop)
}
