//! What a passkey signs, in the log.

use super::*;
use crate::passkey::Credential;
use crate::passkey::decision::{Record, Request, verify_record};
use crate::passkey::tests::{Device, NOW};
use crate::store::passkeys::{Answer, recorded};
use crate::store::{Decision, Terms};
use whereby_authority::conditions::Condition;

/// A store with one passkey, and that passkey.
fn registered(home: &Home) -> (Arc<Store>, Device, Credential) {
    let (store, device) = (home.store(), Device::new());
    let installation = store.installation().expect("a name");
    let (registration, party, response) = device.registers(&installation);
    let credential = store.add_passkey(&registration, &party, &response, &someone());
    (store, device, credential.expect("registered"))
}

/// Returns a person who signs with a passkey.
fn signed(store: &Store, device: &Device, id: &str, terms: Option<&Terms>, nonce: u8) -> Decider {
    let request = Request::new([nonce; 32], NOW);
    let options = store.passkey_options(id, terms, &request).expect("options");
    let (_, party, _) = device.registers(&store.installation().expect("a name"));
    let answer = Answer { request, party, response: device.signs(&options) };
    Decider { passkey: Some(answer), ..someone() }
}

/// Returns the details of the newest decision.
fn newest(store: &Store) -> (Option<String>, Value) {
    store.flush().expect("written");
    let filter = AuditFilter { decisions: Some(true), ..AuditFilter::default() };
    let rows = store.audit(&filter).expect("readable");
    let row = rows.last().and_then(|row| row.decision.clone()).expect("a decision");
    (row.passkey, row.details)
}

#[test]
fn the_log_has_what_verifies_the_decision_again() {
    let home = Home::new();
    let (store, device, credential) = registered(&home);
    let known = String::from(credential.id.clone());
    let verify = |details: &Value, credential: &Credential| {
        let (record, decision) = recorded(details).expect("what was signed");
        verify_record(&record, credential, &decision)
    };

    let id = pending(&store, &digest(&store, "daily"));
    let by = signed(&store, &device, &id, None, 1);
    store.decide(&id, Decision::Approve, &by).expect("approved");
    let (passkey, one) = newest(&store);
    assert_eq!(passkey.as_deref(), Some(&*known));
    verify(&one, &credential).expect("it verifies");

    let id = pending(&store, &digest(&store, "weekly"));
    let rooms = Condition::parse("rooms", &json!(["dail*"]), None).expect("a condition");
    let until = NOW + 60 * MINUTE;
    let terms = Terms { uses: 3, until, conditions: vec![rooms], is_destructive: true };
    let by = signed(&store, &device, &id, Some(&terms), 2);
    // The counter of the passkey does not go up, so the signature is one of a copy.
    let copied = store.approve_more(&id, &terms, &by).expect_err("refused");
    assert!(copied.to_string().contains("a copy of the passkey"), "{copied}");
    assert_eq!(state(&store, &id), ApprovalState::Pending);
    assert_eq!(newest(&store).1, one);
    let home = Home::new();
    let (store, device, credential) = registered(&home);
    let id = pending(&store, &digest(&store, "weekly"));
    let by = signed(&store, &device, &id, Some(&terms), 2);
    // Other terms than the signed ones are not carried out.
    for other in [
        Terms { uses: 4, ..terms.clone() },
        Terms { until: until + 1, ..terms.clone() },
        Terms { conditions: Vec::new(), ..terms.clone() },
    ] {
        let refused = store.approve_more(&id, &other, &by).expect_err("refused");
        assert!(refused.to_string().contains("another challenge"), "{refused}");
    }
    let refused = store.decide(&id, Decision::Approve, &by).expect_err("refused");
    assert!(refused.to_string().contains("another challenge"), "{refused}");
    assert_eq!(state(&store, &id), ApprovalState::Pending);
    store.approve_more(&id, &terms, &by).expect("approved");
    let (_, more) = newest(&store);
    verify(&more, &credential).expect("it verifies");
    let ended = Credential { removed_at: Some(NOW), ..credential.clone() };
    verify(&more, &ended).expect_err("it was removed then");

    // No change of the row goes unnoticed.
    for (member, value) in [
        ("installation", json!("another")),
        ("approval_id", json!("0".repeat(32))),
        ("call", json!("0".repeat(64))),
        ("decision", json!("approve")),
        ("uses", json!(4)),
        ("expires_at", json!(until + 1)),
        ("conditions", json!({})),
        ("conditions", json!({"rooms": ["*"]})),
    ] {
        let mut changed = more.clone();
        changed["passkey"][member] = value;
        verify(&changed, &credential).expect_err(member);
    }
    let mut of_other = more.clone();
    of_other["passkey"]["assertion"] = one["passkey"]["assertion"].clone();
    verify(&of_other, &credential).expect_err("another signature");
    let _: Record = serde_json::from_value(more["passkey"]["assertion"].clone()).expect("a record");
    assert!(recorded(&json!({})).is_none());
}

#[test]
fn what_a_removed_passkey_signed_and_no_call_has_used_ends() {
    let home = Home::new();
    let (store, device, credential) = registered(&home);
    let (daily, weekly) = (digest(&store, "daily"), digest(&store, "weekly"));
    let (one, more) = (pending(&store, &daily), pending(&store, &weekly));
    let without = pending(&store, &digest(&store, "without"));
    let waits = pending(&store, &digest(&store, "waits"));
    let terms =
        Terms { uses: 3, until: NOW + 60 * MINUTE, conditions: Vec::new(), is_destructive: true };
    let by = signed(&store, &device, &more, Some(&terms), 1);
    let (_, standing) = store.approve_more(&more, &terms, &by).expect("approved");
    store.approve(&without).expect("approved");
    let claimed = claim(&store, "1", &weekly).expect("claimed");
    assert_eq!(claimed.as_deref(), Some(more.as_str()), "it is used");
    // The same device, whose counter stays, signs once only.
    home.raw()
        .execute("UPDATE approvals SET passkey = 'a passkey' WHERE id = ?1", [&without])
        .expect("as if another one had signed");
    home.raw()
        .execute(
            "UPDATE approvals SET passkey = ?2, state = 'approved', decided_at = created_at,
                 valid_until = created_at + 900000 WHERE id = ?1",
            [&one, &String::from(credential.id.clone())],
        )
        .expect("as if it had signed");
    assert!(store.is_approved(&daily, true).expect("read"));
    let removed = store.remove_passkey(&String::from(credential.id.clone()), &someone());
    let removed = removed.expect("written").expect("there");
    assert_eq!(removed, Voided { approvals: 1, standing: 1 });
    for (id, expected) in [
        (&one, ApprovalState::Expired),
        (&more, ApprovalState::Used),
        (&without, ApprovalState::Approved),
        (&waits, ApprovalState::Pending),
    ] {
        assert_eq!(state(&store, id), expected);
    }
    let begin = |claim| begun(&store, &row("2", "write"), Some(claim), &[], None);
    assert!(is_refused(&begin(Claim::Approved(&daily))));
    assert!(is_refused(&begin(Claim::Standing(&standing.id))));
    let (_, details) = newest(&store);
    assert_eq!((&details["approvals"], &details["standing approvals"]), (&json!(1), &json!(1)));
}
