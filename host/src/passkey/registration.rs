//! Registering a passkey.

use super::authenticator::{Algorithm, Attested, AuthenticatorData, PublicKey, cbor_map};
use super::client_data::{ClientData, Page};
use super::json::{Response, to_base64};
use super::{
    Bytes, Credential, Fault, LIFETIME, MAX_NAME, RP_ID, RelyingParty, descriptors, is_valid_at,
};
use ciborium::Value as Cbor;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use whereby_authority::text;

/// A registration that a correct code began. It is for one response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registration {
    challenge: [u8; 32],
    name: String,
    expires_at: i64,
}

impl Registration {
    /// Begins a registration with a random challenge. The name is what its owner calls the passkey.
    pub(crate) fn new(name: &str, challenge: [u8; 32], now: i64) -> Result<Self, Fault> {
        let name = name.trim();
        if name.is_empty() || text::printable(name, MAX_NAME) != name {
            return Err(Fault::Name);
        }
        Ok(Self { challenge, name: name.to_owned(), expires_at: now.saturating_add(LIFETIME) })
    }

    /// Returns the options of `navigator.credentials.create`.
    pub(crate) fn options(&self, party: &RelyingParty, registered: &[Credential]) -> Value {
        let parameters: Value = Algorithm::ALL
            .into_iter()
            .map(|algorithm| json!({"type": "public-key", "alg": algorithm.cose()}))
            .collect();
        json!({
            "rp": {"id": RP_ID, "name": "whereby"},
            "user": {
                "id": to_base64(&party.user_handle()),
                "name": self.name,
                "displayName": self.name,
            },
            "challenge": to_base64(&self.challenge),
            "pubKeyCredParams": parameters,
            "timeout": LIFETIME,
            "excludeCredentials": descriptors(registered),
            "authenticatorSelection": {
                "residentKey": "preferred",
                "requireResidentKey": false,
                "userVerification": "required",
            },
            "attestation": "none",
        })
    }

    /// Verifies the browser's response, and returns the new credential. `registered` lists all credentials,
    /// also removed ones.
    pub(crate) fn verify(
        &self,
        party: &RelyingParty,
        response: &str,
        registered: &[Credential],
        now: i64,
    ) -> Result<Credential, Fault> {
        if !is_valid_at(now, self.expires_at, LIFETIME) {
            return Err(Fault::Expired);
        }
        let response = Response::parse(response)?;
        let client_data = response.client_data()?;
        let asked = ClientData::parse(&client_data)?;
        asked.check("webauthn.create", &self.challenge, Page::Open(party))?;
        let attestation = Attestation::parse(&response.attestation()?)?;
        let data = AuthenticatorData::parse(&attestation.data)?;
        data.check()?;
        let (backup_eligible, sign_count) = (data.is_backup_eligible(), data.sign_count);
        let Attested { id, public_key } =
            data.attested.ok_or(Fault::AuthenticatorData("there is no new credential in it"))?;
        if response.id()? != id {
            return Err(Fault::Member { what: "`id`", expected: "the id of the new credential" });
        }
        attestation.check(&public_key, &client_data)?;
        if registered.iter().any(|credential| credential.id.0 == id) {
            return Err(Fault::Duplicate);
        }
        Ok(Credential {
            id: Bytes(id),
            public_key,
            sign_count,
            backup_eligible,
            name: self.name.clone(),
            created_at: now,
            removed_at: None,
            transports: response.transports(),
        })
    }
}

/// An attestation object: the authenticator data, and a statement about it.
#[derive(Debug)]
pub(super) struct Attestation {
    format: String,
    statement: Vec<(Cbor, Cbor)>,
    data: Vec<u8>,
}

impl Attestation {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let mut entries = cbor_map("the attestation", bytes)?;
        let mut member = |name: &str| {
            let at = entries.iter().position(|(key, _)| key.as_text() == Some(name))?;
            Some(entries.swap_remove(at).1)
        };
        let format = member("fmt").and_then(|value| value.into_text().ok());
        let statement = member("attStmt").and_then(|value| value.into_map().ok());
        let data = member("authData").and_then(|value| value.into_bytes().ok());
        match (format, statement, data) {
            (Some(format), Some(statement), Some(data)) => Ok(Self { format, statement, data }),
            _ => Err(Fault::Attestation("`fmt`, `attStmt` or `authData` is missing or wrong")),
        }
    }

    /// Checks the statement. The options ask for none, and browsers then send none, or one that the new
    /// key signed itself.
    fn check(&self, key: &PublicKey, client_data: &[u8]) -> Result<(), Fault> {
        match self.format.as_str() {
            "none" if self.statement.is_empty() => Ok(()),
            "packed" if self.statement.len() == 2 => {
                let (mut algorithm, mut signature) = (None, None);
                for (name, value) in &self.statement {
                    match name.as_text() {
                        Some("alg") => algorithm = value.as_integer(),
                        Some("sig") => signature = value.as_bytes(),
                        _ => return Err(Fault::Attestation("it has more than a signature")),
                    }
                }
                if algorithm != Some(key.algorithm().cose().into()) {
                    return Err(Fault::Attestation("its algorithm is not the key's"));
                }
                let signature = signature.ok_or(Fault::Attestation("it has no signature"))?;
                key.verify(&signed_data(&self.data, client_data), signature)
            }
            _ => Err(Fault::Attestation("it is not the key's own, and no other was asked for")),
        }
    }
}

/// Returns what a passkey signs.
pub(super) fn signed_data(authenticator_data: &[u8], client_data: &[u8]) -> Vec<u8> {
    [authenticator_data, Sha256::digest(client_data).as_slice()].concat()
}
