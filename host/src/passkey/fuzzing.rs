//! The body of the fuzz target for passkeys, and the decision that its corpus and the tests have.

use super::authenticator::{AuthenticatorData, PublicKey};
use super::client_data::ClientData;
use super::decision::{Decision, Record, Request, Scope, Verdict, verify_record};
use super::registration::{Attestation, Registration};
use super::{Credential, Fault, RelyingParty};
use serde_json::json;
use whereby_authority::conditions::Condition;

/// The challenge of all registrations here.
pub(super) const CHALLENGE: [u8; 32] = [7; 32];

/// The nonce of all requests here.
pub(super) const NONCE: [u8; 32] = [9; 32];

pub(super) fn party() -> RelyingParty {
    RelyingParty { port: 45841, installation: "3f9a1c".into() }
}

pub(super) fn decision() -> Decision {
    let rooms = Condition::parse("rooms", &json!(["bot-*"]), None).expect("a condition");
    Decision {
        installation: party().installation,
        approval: "00112233445566778899aabbccddeeff".into(),
        call: [5; 32],
        verdict: Verdict::AllowMore,
        scope: Scope { uses: 8, expires_at: 1_772_366_400_000, conditions: vec![rooms] },
    }
}

pub(super) fn registration() -> Registration {
    Registration::new("laptop", CHALLENGE, 0).expect("a registration")
}

pub(crate) fn passkeys(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match registration().verify(&party(), &text, &[], 1) {
        Ok(credential) => {
            written_again(&credential);
            let again = registration().verify(&party(), &text, &[credential], 1);
            assert_eq!(again.expect_err("registered twice"), Fault::Duplicate);
        }
        Err(fault) => assert_message(&fault),
    }
    let registered: Credential =
        serde_json::from_str(include_str!("recorded-credential.json")).expect("a credential");
    let registered = [registered];
    match Request::new(NONCE, 1).verify(&decision(), &party(), &text, &registered, 2) {
        Ok(assertion) => {
            let verified = verify_record(&assertion.record, &registered[0], &decision());
            verified.expect("what was accepted verifies again");
            written_again(&assertion.credential);
            let json = serde_json::to_string(&assertion.record).expect("JSON");
            let again: Record = serde_json::from_str(&json).expect("what was written can be read");
            assert_eq!(again, assertion.record);
        }
        Err(fault) => assert_message(&fault),
    }
    if let Ok(credential) = serde_json::from_str::<Credential>(&text) {
        written_again(&credential);
    }
    if let Ok(record) = serde_json::from_str::<Record>(&text)
        && let Err(fault) = verify_record(&record, &registered[0], &decision())
    {
        assert_message(&fault);
    }
    let parsed = [
        AuthenticatorData::parse(data).err(),
        Attestation::parse(data).err(),
        PublicKey::from_cose(data).err(),
        ClientData::parse(data).err(),
    ];
    parsed.iter().flatten().for_each(assert_message);
}

fn written_again(credential: &Credential) {
    let json = serde_json::to_string(credential).expect("JSON");
    let again: Credential = serde_json::from_str(&json).expect("what was written can be read");
    assert_eq!(again, *credential);
}

/// Checks that a fault has a message in one line without control characters.
fn assert_message(fault: &Fault) {
    let text = format!("{fault}; {}", fault.advice());
    assert!(text.len() < 4096, "{} bytes", text.len());
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
}
