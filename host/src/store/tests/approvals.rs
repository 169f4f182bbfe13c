//! Approvals through the store.

use super::*;
use whereby_authority::grant::WriteOutcome;

#[test]
fn an_approval_admits_one_call_once() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    assert!(!store.is_approved(&daily, false).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &daily)));
    let id = pending(&store, &daily);
    // Another process gets the same approval.
    assert_eq!(pending(&home.store(), &daily), id);
    assert_eq!(state(&store, &id), ApprovalState::Pending);
    assert!(is_refused(&claim(&store, "1", &daily)));

    let approved = home.store().approve(&id).expect("approved");
    assert_eq!(approved.state, ApprovalState::Approved);
    assert_eq!(approved.valid_until, Some(home.store().shared.now() + 15 * MINUTE));
    assert_eq!(state(&store, &id), ApprovalState::Approved);
    assert!(store.is_approved(&daily, false).expect("an answer"));
    // Requesting it again names the approval.
    assert_eq!(pending(&store, &daily), id);
    let weekly = digest(&store, "weekly");
    assert!(!store.is_approved(&weekly, false).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &weekly)));

    assert_eq!(claim(&store, "1", &daily).expect("claimed"), Some(id.clone()));
    assert!(is_refused(&claim(&store, "2", &daily)));
    assert!(!store.is_approved(&daily, false).expect("an answer"));
    assert_eq!(state(&store, &id), ApprovalState::Used);
    assert_ne!(pending(&store, &daily), id);
    // Refused calls are not in the log.
    let rows = calls(&store);
    assert_eq!(ids(&rows), ["1"]);
    assert_eq!(rows[0].approval, Some(id.clone()));
    let used = store.approval(&id).expect("readable").expect("there");
    assert_eq!(used.state, ApprovalState::Used);
    assert_eq!(used.to_json()["used_at"], "2026-03-02T09:00:00.000Z");
}

#[test]
fn a_stored_question_is_answered_by_a_client_once() {
    let home = Home::new();
    let store = home.store();
    let (daily, weekly) = (digest(&store, "daily"), digest(&store, "weekly"));
    let id = pending(&store, &daily);
    let answered = |row_id: &str, id: &str, digest: &Digest| {
        begun(
            &store,
            &row(row_id, "write"),
            Some(Claim::Answered { id, digest, by: &someone() }),
            &[],
            None,
        )
    };
    // An answer is for one question.
    assert!(is_refused(&answered("1", &id, &weekly)));
    assert!(is_refused(&answered("1", &new_id().expect("an id"), &daily)));
    assert!(!store.decline(&id, &weekly, &someone()).expect("an answer"));
    assert_eq!(answered("1", &id, &daily).expect("claimed"), Some(id.clone()));
    assert!(is_refused(&answered("2", &id, &daily)));
    assert!(!store.decline(&id, &daily, &someone()).expect("an answer"));

    let id = pending(&store, &weekly);
    assert!(store.decline(&id, &weekly, &someone()).expect("an answer"));
    assert!(is_refused(&answered("2", &id, &weekly)));
    assert_eq!(state(&store, &id), ApprovalState::Denied);
}

#[test]
fn a_denial_holds_for_an_hour() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    home.wait(59 * MINUTE);
    assert_eq!(store.deny(&id).expect("denied").state, ApprovalState::Denied);
    let until = store.shared.now() + 60 * MINUTE;
    assert_eq!(file(&store, &daily), Filed::Denied { id: id.clone(), until });
    home.wait(60 * MINUTE - 1);
    assert_eq!(file(&store, &daily), Filed::Denied { id: id.clone(), until });
    home.wait(1);
    assert_ne!(pending(&store, &daily), id);
}

#[test]
fn a_person_can_approve_what_was_denied_and_the_last_word_counts() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let denied = pending(&store, &daily);
    assert!(store.decline(&denied, &daily, &someone()).expect("an answer"));
    home.wait(30 * MINUTE);
    let approved = store.approve(&denied).expect("approved");
    assert_eq!(approved.state, ApprovalState::Approved);
    assert_ne!(approved.id, denied, "the denial stays as it was");
    assert_eq!(state(&store, &denied), ApprovalState::Denied);
    assert!(message(store.approve(&denied)).contains("was denied at"), "it is approved already");
    claim(&store, "1", &daily).expect("claimed");
    // The call was approved after it was denied, so approval is required again.
    let again = pending(&store, &daily);
    assert!(again != denied && again != approved.id);
    store.deny(&again).expect("denied");
    let until = store.shared.now() + 60 * MINUTE;
    assert_eq!(file(&store, &daily), Filed::Denied { id: again.clone(), until });
    home.wait(60 * MINUTE);
    assert!(message(store.approve(&again)).contains("make the call again"), "its hour is over");
}

#[test]
fn an_approval_can_be_revoked_until_it_is_used() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    store.approve(&id).expect("approved");
    assert_eq!(store.deny(&id).expect("denied").valid_until, None);
    assert!(!store.is_approved(&daily, false).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &daily)));
}

#[test]
fn undecided_and_unused_approvals_expire() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    home.wait(60 * MINUTE - 1);
    assert_eq!(state(&store, &id), ApprovalState::Pending);
    home.wait(1);
    assert_eq!(state(&store, &id), ApprovalState::Expired);
    let state = |id: &str| store.approval(id).expect("readable").expect("there").state;
    assert_eq!(state(&id), ApprovalState::Expired);
    assert!(store.approvals(false).expect("a list").is_empty());
    assert!(!store.decline(&id, &daily, &someone()).expect("an answer"));

    let second = pending(&store, &daily);
    assert_ne!(second, id);
    store.approve(&second).expect("approved");
    home.wait(15 * MINUTE - 1);
    assert!(store.is_approved(&daily, false).expect("an answer"));
    home.wait(1);
    assert!(!store.is_approved(&daily, false).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &daily)));
    assert_eq!(state(&second), ApprovalState::Expired);
    let third = pending(&store, &daily);
    let all = store.approvals(true).expect("a list");
    assert_eq!(all.iter().map(|a| a.id.clone()).collect::<Vec<_>>(), [id, second, third]);
}

#[test]
fn setting_the_clock_back_extends_no_approval() {
    let home = Home::new();
    let store = home.store();
    let (daily, weekly) = (digest(&store, "daily"), digest(&store, "weekly"));
    let (approved, waiting) = (pending(&store, &daily), pending(&store, &weekly));
    home.wait(MINUTE);
    store.approve(&approved).expect("approved");
    // A running clock is corrected by a little.
    home.wait(-2 * MINUTE);
    assert!(store.is_approved(&daily, false).expect("an answer"));
    assert_eq!(state(&store, &approved), ApprovalState::Approved);
    assert_eq!(state(&store, &waiting), ApprovalState::Pending);
    assert_eq!(store.approvals(false).expect("a list").len(), 2);
    home.wait(-1);
    assert!(!store.is_approved(&daily, false).expect("an answer"));
    assert!(is_refused(&claim(&store, "1", &daily)));
    home.wait(-5 * MINUTE);
    for id in [&approved, &waiting] {
        assert_eq!(state(&store, id), ApprovalState::Expired);
        assert!(store.approve(id).is_err());
    }
    // What has expired stays expired when the clock goes on.
    home.wait(10 * MINUTE);
    assert!(!store.is_approved(&daily, false).expect("an answer"));
    for id in [&approved, &waiting] {
        assert_eq!(state(&store, id), ApprovalState::Expired);
    }
}

#[test]
fn an_approval_from_the_future_is_void_and_the_error_says_so() {
    let home = Home::new();
    let store = home.store();
    let waiting = pending(&store, &digest(&store, "waiting"));
    let approved = pending(&store, &digest(&store, "approved"));
    store.approve(&approved).expect("approved");
    let denied = pending(&store, &digest(&store, "denied"));
    store.deny(&denied).expect("denied");
    // This stays so when the clock goes on.
    for ms in [-20 * MINUTE, 21 * MINUTE] {
        home.wait(ms);
        for id in [&waiting, &approved] {
            for text in [message(store.approve(id)), message(store.deny(id))] {
                assert!(text.contains("clock was set back"), "{text}");
                assert!(!text.contains("expired"), "{text}");
            }
        }
    }
    home.wait(-20 * MINUTE);
    let text = message(store.approve(&denied));
    assert!(text.contains("make the call again"), "{text}");
    assert_ne!(pending(&store, &digest(&store, "denied")), denied);
    home.wait(2 * 60 * MINUTE);
    assert!(message(store.approve(&waiting)).contains(" expired at "));
    assert!(message(store.approve(&approved)).contains("was not used and expired at "));
    assert!(message(store.approve(&denied)).contains("was denied at "));
}

#[test]
fn the_error_says_why_an_approval_is_not_open() {
    let home = Home::new();
    let store = home.store();
    let unknown = new_id().expect("an id");
    assert!(message(store.approve(&unknown)).contains("there is no approval"));
    assert!(!home.path().exists(), "looking made something");
    let filed = |room: &str| {
        let digest = digest(&store, room);
        (pending(&store, &digest), digest)
    };
    let (used, digest) = filed("used");
    store.approve(&used).expect("approved");
    claim(&store, "1", &digest).expect("claimed");
    let (denied, _) = filed("denied");
    store.deny(&denied).expect("denied");
    let (over, _) = filed("over");
    let (unused, _) = filed("unused");
    store.approve(&unused).expect("approved");
    home.wait(60 * MINUTE);
    let (approved, _) = filed("approved");
    store.approve(&approved).expect("approved");
    for (id, approve, deny) in [
        (&unknown, "there is no approval", "there is no approval"),
        (&used, "was used at 2026-03-02T09:00:00.000Z", "whereby audit"),
        (
            &denied,
            "was denied at 2026-03-02T09:00:00.000Z; make the call again",
            "was already denied at ",
        ),
        (&over, "expired at 2026-03-02T10:00:00.000Z", "has expired"),
        (&unused, "was not used and expired at 2026-03-02T09:15:00.000Z", "has expired"),
        (&approved, "is already approved until 2026-03-02T10:15:00.000Z", ""),
        (&used[..31].to_owned(), "give all 32 characters", "give all 32 characters"),
    ] {
        let text = message(store.approve(id));
        assert!(text.contains(approve), "{text}");
        assert!(text.contains(id), "{text}");
        if !deny.is_empty() {
            let text = message(store.deny(id));
            assert!(text.contains(deny), "{text}");
        }
    }
    assert!(message(store.approval("abc")).contains("give all 32 characters"));
}

#[test]
fn the_beginning_of_an_id_means_the_only_one_that_begins_so() {
    let home = Home::new();
    let store = home.store();
    let error = |beginning: &str| message(store.approval_id(beginning));
    // Without a database there is none.
    assert!(error("abcdef").contains("no approval has an id that begins with abcdef"));
    let ids: Vec<String> =
        ["one", "other"].map(|name| pending(&store, &digest(&store, name))).into();
    for id in &ids {
        for length in 6..=32 {
            assert_eq!(&store.approval_id(&id[..length]).expect("an id"), id);
        }
    }
    // Ids are random, so one that begins like another is made so.
    let next = if ids[0][7..].starts_with('0') { "1" } else { "0" };
    let twin = format!("{}{}", &ids[0][..7], next.repeat(25));
    let added = store.shared.write(|transaction| {
        let others =
            "state, account, api, function, arguments, rule, front_end, client, created_at,
            expires_at, asker_group, asker, agent, token";
        let sql = format!(
            "INSERT INTO approvals (id, digest, {others})
             SELECT ?1, randomblob(32), {others} FROM approvals WHERE id = ?2"
        );
        transaction.execute(&sql, [&twin, &ids[1]])
    });
    assert_eq!(added.expect("added"), 1);
    for length in 6..=7 {
        let text = error(&ids[0][..length]);
        assert!(text.contains("2 approvals have ids that begin with"), "{text}");
    }
    assert_eq!(store.approval_id(&twin[..8]).expect("an id"), twin);
    // Whether there is one with a whole id is left to what uses it.
    let whole = "f".repeat(32);
    assert_eq!(store.approval_id(&whole).expect("an id"), whole);
}

/// Requests approvals of different calls until one is refused. Returns their ids and the error.
pub(super) fn fill(store: &Store, asker: &Asker, next: &mut usize) -> (Vec<String>, Error) {
    let mut filed = Vec::new();
    loop {
        *next += 1;
        match file_for(store, &digest(store, &next.to_string()), asker) {
            Ok(Filed::Pending { id, .. }) => filed.push(id),
            Ok(denied) => panic!("{denied:?}"),
            Err(error) => return (filed, error),
        }
    }
}

#[test]
fn open_approvals_are_limited_in_total_per_group_and_per_client() {
    let home = Home::new();
    let store = home.store();
    let mut next = 0;
    for (group, client, count, words) in [
        ("mcp 1", Some("1"), 25, "25 of this client"),
        ("mcp 1", Some("2"), 25, "25 of this client"),
        ("mcp 1", Some("3"), 25, "25 of this client"),
        ("mcp 1", Some("4"), 25, "25 of this client"),
        // A fifth client replaces requests of those with the most, until it has as many.
        ("mcp 1", Some("5"), 20, "100 of this MCP server"),
        // Other servers and front ends have their own limits.
        ("mcp 2", Some("1"), 25, "25 of this client"),
        ("cli", None, 88, "approvals: 200; they expire"),
        ("lua", None, 59, "approvals: 200; they expire"),
    ] {
        let (filed, error) = fill(&store, &asker(group, client), &mut next);
        assert_eq!((filed.len(), error.kind()), (count, "denied"), "{group} {client:?}");
        assert!(error.to_string().contains(words), "{group} {client:?}: {error}");
        let hint = error.hint(WriteOutcome::None).unwrap_or_default();
        assert!(hint.contains("approvals deny --all"), "{hint}");
    }
    assert_eq!(store.approvals(false).expect("read").len(), 200);
    let denied = store.deny_all(|open| open.account == "work").expect("denied");
    assert_eq!(denied.len(), 200);
    assert!(denied.iter().all(|denied| denied.state == ApprovalState::Denied));
    assert!(store.approvals(false).expect("read").is_empty());
    assert_eq!(fill(&store, &asker("cli", None), &mut next).0.len(), 100);
}

#[test]
fn a_decision_makes_room_and_an_approved_call_is_never_replaced() {
    let home = Home::new();
    let store = home.store();
    let (mut next, own) = (0, asker("mcp", Some("1")));
    let (filed, _) = fill(&store, &own, &mut next);
    // A pending call keeps its approval.
    let waiting = file_for(&store, &digest(&store, "1"), &own).expect("it waits");
    assert!(matches!(waiting, Filed::Pending { id, .. } if id == filed[0]));
    store.deny(&filed[0]).expect("denied");
    assert_eq!(fill(&store, &own, &mut next).0.len(), 1);
    for id in &filed[1..] {
        store.approve(id).expect("approved");
    }
    for client in 2..5 {
        fill(&store, &asker("mcp", Some(&client.to_string())), &mut next);
    }
    fill(&store, &asker("mcp", Some("late")), &mut next);
    for id in &filed[1..] {
        let approved = store.approval(id).expect("read").expect("there");
        assert_eq!(approved.state, ApprovalState::Approved);
    }
}

#[test]
fn denying_all_revokes_approvals_and_respects_the_filter() {
    let home = Home::new();
    let store = home.store();
    assert!(store.deny_all(|_| true).expect("nothing").is_empty());
    let (daily, weekly) = (digest(&store, "daily"), digest(&store, "weekly"));
    let approved = pending(&store, &daily);
    store.approve(&approved).expect("approved");
    let left = pending(&store, &weekly);
    let denied = store.deny_all(|open| open.id != left).expect("denied");
    assert_eq!(denied.iter().map(|denied| &denied.id).collect::<Vec<_>>(), [&approved]);
    assert!(claim(&store, "call", &daily).is_err());
    assert_eq!(pending(&store, &weekly), left);
}

#[test]
fn a_call_that_changed_nothing_returns_its_approval() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = used(&store, &daily, "1");
    // The next request finds it at once, even if the row is still in the spool.
    let given_back = |call: &str, effect: &str| {
        let end = End { give_back: Some(id.clone()), ..outcome(call, effect) };
        store.record(None, Some(&end), call == "2").expect("recorded");
        store.is_approved(&daily, false).expect("an answer")
    };
    // A call that did not use it does not return it.
    begun(&store, &row("2", "write"), None, &[], None).expect("begun");
    assert!(!given_back("2", "none"));
    home.wait(10 * MINUTE);
    assert!(given_back("1", "none"));
    // It is valid for as long as before.
    home.wait(5 * MINUTE - 1);
    assert_eq!(claim(&store, "3", &daily).expect("claimed"), Some(id.clone()));
    // A call returns it once, and only if it changed nothing.
    assert!(!given_back("1", "none"));
    assert!(!given_back("3", "unknown"));
    assert_eq!(state(&store, &id), ApprovalState::Used);
    // It stays used if approval was requested again.
    let weekly = digest(&store, "weekly");
    let id = used(&store, &weekly, "4");
    let again = pending(&store, &weekly);
    let end = End { give_back: Some(id.clone()), ..outcome("4", "none") };
    store.record(None, Some(&end), true).expect("recorded");
    store.flush().expect("moved");
    assert_eq!(state(&store, &id), ApprovalState::Used);
    assert_eq!(state(&store, &again), ApprovalState::Pending);
}

#[test]
fn one_of_many_calls_uses_an_approval() {
    let home = Home::new();
    let stores: Vec<Arc<Store>> = (0..4).map(|_| home.patient_store(PATIENCE)).collect();
    for round in 0..10 {
        let daily = digest(&stores[0], "daily");
        let filed = race(&stores, |store, _| pending(store, &daily));
        assert!(filed.iter().all(|id| *id == filed[0]), "{filed:?}");
        let is_answered = round % 2 == 1;
        if !is_answered {
            stores[1].approve(&filed[0]).expect("approved");
        }
        let used = race(&stores, |store, racer| {
            let by = someone();
            let claim = match is_answered {
                true => Claim::Answered { id: &filed[0], digest: &daily, by: &by },
                false => Claim::Approved(&daily),
            };
            match begun(store, &row(&format!("{round}-{racer}"), "write"), Some(claim), &[], None) {
                Ok(id) => Some(id.expect("an id")),
                Err(BeginError::NotApproved) => None,
                Err(error) => panic!("{error:?}"),
            }
        });
        let winners: Vec<String> = used.into_iter().flatten().collect();
        assert_eq!(winners, [filed[0].clone()]);
        assert_eq!(calls(&stores[0]).len(), round + 1);
    }
}

#[test]
fn old_approvals_are_deleted_and_open_ones_never() {
    const DAY: i64 = 24 * 60 * MINUTE;
    let home = Home::new();
    let store = home.store();
    let denied = pending(&store, &digest(&store, "denied"));
    store.deny(&denied).expect("denied");
    let over = pending(&store, &digest(&store, "over"));
    let used = used(&store, &digest(&store, "used"), "1");
    let all = || -> Vec<String> {
        store.approvals(true).expect("a list").into_iter().map(|approval| approval.id).collect()
    };
    home.wait(30 * DAY);
    let late = pending(&store, &digest(&store, "late"));
    assert_eq!(all(), [denied, over, used, late.clone()]);
    // Any next transaction deletes them.
    home.wait(DAY);
    store.record(Some(&row("2", "read")), None, false).expect("recorded");
    store.flush().expect("moved");
    assert_eq!(all(), [late.as_str()]);
    home.wait(400 * DAY);
    let next = pending(&store, &digest(&store, "late"));
    assert_eq!(all(), [next.as_str()]);
    store.approve(&next).expect("approved");
    // Setting the clock back deletes nothing, and does not prevent a new request.
    home.wait(-31 * DAY);
    let back = pending(&store, &digest(&store, "late"));
    assert_eq!(all(), [next, back.clone()]);
    store.approve(&back).expect("approved");
    assert_eq!(ids(&calls(&store)), ["1", "2"]);
}

#[test]
fn a_client_can_answer_after_a_person_approved() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    home.wait(MINUTE);
    let until = store.approve(&id).expect("approved").valid_until;
    home.wait(MINUTE);
    let by = someone();
    let claim = Claim::Answered { id: &id, digest: &daily, by: &by };
    let begun = begun(&store, &row("1", "write"), Some(claim), &[], None).expect("claimed");
    assert_eq!(begun, Some(id.clone()));
    let used = store.approval(&id).expect("readable").expect("there");
    assert_eq!((used.state, used.valid_until), (ApprovalState::Used, until));
}

/// Files a call that can be made by itself; its id.
fn pending_with_call(store: &Store, digest: &Digest) -> String {
    let arguments = json!({"room_name": "daily"});
    let asker = asker("program", None);
    let asking = Asking { call: Some(b"the call"), ..asking(digest, &arguments, &asker) };
    match store.file_approval(&asking).expect("filed") {
        Filed::Pending { id, .. } => id,
        denied => panic!("{denied:?}"),
    }
}

fn resumed(store: &Store, call: &str, id: &str, digest: &Digest) -> bool {
    let claim = Claim::Resumed { id, digest };
    match begun(store, &row(call, "write"), Some(claim), &[], None) {
        Ok(used) => used.as_deref() == Some(id),
        Err(BeginError::NotApproved) => false,
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_result_is_that_of_the_last_attempt() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending_with_call(&store, &daily);
    store.approve(&id).expect("approved");
    assert_eq!(store.runnable("c0de").expect("read"), std::slice::from_ref(&id));
    assert_eq!(store.runnable("other").expect("read"), [] as [String; 0]);
    assert!(resumed(&store, "1", &id, &daily));
    assert!(store.made(&id).expect("read").is_under_way);
    // The first attempt sends nothing, and gives the approval back.
    let kept = store.seal_result(&id, b"no connection").expect("sealed");
    let end = End { give_back: Some(id.clone()), kept: Some(kept), ..outcome("1", "none") };
    store.record(None, Some(&end), true).expect("recorded");
    assert_eq!(state(&store, &id), ApprovalState::Approved);
    assert_eq!(store.made(&id).expect("read").result.as_deref(), Some(&b"no connection"[..]));
    // A program does not try it again by itself, and its caller may.
    assert_eq!(store.runnable("c0de").expect("read"), [] as [String; 0]);
    assert!(resumed(&store, "2", &id, &daily));
    let made = store.made(&id).expect("read");
    assert_eq!((made.result, made.is_under_way), (None, true));
    assert_eq!(made.row.map(|row| row.id).as_deref(), Some("2"));
    // The program was killed, so what came of it is not known, even if the clock is set back.
    for seconds in [70, -30 * 86_400] {
        home.wait(seconds * 1000);
        let made = store.made(&id).expect("read");
        assert_eq!((made.result, made.is_under_way), (None, false), "{seconds}");
        assert!(made.row.is_some_and(|row| row.id == "2" && row.outcome.is_none()));
    }
}

#[test]
fn a_reason_why_a_call_was_refused_ends_its_approval() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending_with_call(&store, &daily);
    assert!(!store.fail(&id, b"too early").expect("read"), "nobody has approved it");
    store.approve(&id).expect("approved");
    assert!(store.fail(&id, b"denied").expect("kept"));
    assert_eq!(state(&store, &id), ApprovalState::Expired);
    assert_eq!(store.runnable("c0de").expect("read"), [] as [String; 0]);
    let ended = message(store.approve(&id));
    assert!(ended.contains("was not used and expired at"), "{ended}");
    assert!(!store.fail(&id, b"too late").expect("read"));
    assert!(!resumed(&store, "1", &id, &daily));
    assert_eq!(store.made(&id).expect("read").result.as_deref(), Some(&b"denied"[..]));
    home.wait(61 * MINUTE);
    assert_eq!(store.made(&id).expect("read").result, None, "it is kept for an hour");
}

#[test]
fn one_caller_gets_a_result() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending_with_call(&store, &daily);
    store.approve(&id).expect("approved");
    assert!(resumed(&store, "1", &id, &daily));
    assert_eq!(store.uncollected(&daily).expect("read"), Some(id.clone()));
    let stores: Vec<Arc<Store>> = (0..4).map(|_| home.patient_store(PATIENCE)).collect();
    let first = race(&stores, |store, _| store.collect(&id).expect("written"));
    assert_eq!(first.iter().filter(|first| **first).count(), 1);
    assert_eq!(store.uncollected(&daily).expect("read"), None);
}

#[test]
fn a_standing_approval_that_is_revoked_admits_no_call_that_has_not_begun() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    let until = store.shared.now() + 60 * MINUTE;
    let terms = Terms { uses: 3, until, conditions: Vec::new(), is_destructive: true };
    let (_, standing) = store.approve_more(&id, &terms, &someone()).expect("approved");
    let begin = |call: &str| {
        begun(&store, &row(call, "write"), Some(Claim::Standing(&standing.id)), &[], None)
    };
    assert_eq!(begin("1").expect("begun").as_deref(), Some(standing.id.as_str()));
    home.store().revoke_standing(&standing.id, &someone()).expect("revoked");
    assert!(is_refused(&begin("2")));
    assert_eq!(ids(&calls(&store)), ["1"]);
}

#[test]
fn a_decision_on_another_state_than_the_person_saw_changes_nothing() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    let saw = |state| Decider { saw: Some(state), ..someone() };
    store.deny(&id).expect("denied");
    // An approval of a denied call would make a new one.
    store.decide(&id, Decision::Approve, &saw(ApprovalState::Pending)).expect_err("too late");
    assert_eq!(store.approvals(false).expect("read"), []);
    assert_eq!(state(&store, &id), ApprovalState::Denied);
    let again = store.decide(&id, Decision::Approve, &saw(ApprovalState::Denied));
    assert_ne!(again.expect("approved").id, id);
}

fn terms(store: &Store, uses: u32) -> Terms {
    let until = store.shared.now() + 60 * MINUTE;
    Terms { uses, until, conditions: Vec::new(), is_destructive: true }
}

fn file_with_passkey(store: &Store, digest: &Digest, passkey: bool) -> (String, bool) {
    let (arguments, asker) = (json!({"room_name": "daily"}), asker("program", None));
    let asking = Asking { passkey, ..asking(digest, &arguments, &asker) };
    match store.file_approval(&asking).expect("filed") {
        Filed::Pending { id, needs_passkey, .. } => (id, needs_passkey),
        denied => panic!("{denied:?}"),
    }
}

#[test]
fn a_call_that_needed_a_passkey_when_it_was_asked_for_needs_one_for_good() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let (id, _) = file_with_passkey(&store, &daily, true);
    // Another program has rules that ask for none.
    assert_eq!(file_with_passkey(&store, &daily, false), (id.clone(), true));
    let refused = |result: Result<StoredApproval, Error>| {
        let told = message(result);
        assert!(told.contains("nothing but a passkey approves this call"), "{told}");
        assert!(!store.is_approved(&daily, false).expect("read"));
    };
    refused(store.approve(&id));
    let more = store.approve_more(&id, &terms(&store, 2), &someone());
    refused(more.map(|(approved, _)| approved));
    let by = someone();
    let answered = Claim::Answered { id: &id, digest: &daily, by: &by };
    assert!(is_refused(&begun(&store, &row("1", "write"), Some(answered), &[], None)));
    assert_eq!(store.standing().expect("read"), []);
    // What was denied does not come back without one either.
    store.deny(&id).expect("denied");
    refused(store.approve(&id));
    assert_eq!(store.approvals(true).expect("read").len(), 1);
    assert!(calls(&store).is_empty());
    for change in ["needs_passkey = 0", "state = 'approved', valid_until = decided_at + 1"] {
        let (weekly, change) = (digest(&store, change), change.to_owned());
        let (id, _) = file_with_passkey(&store, &weekly, true);
        let sql = format!("UPDATE approvals SET decided_at = created_at, {change} WHERE id = ?1");
        home.raw().execute(&sql, [&id]).expect_err("the schema keeps it");
    }
}

#[test]
fn an_approval_without_a_passkey_ends_when_one_is_needed() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let (id, needs_passkey) = file_with_passkey(&store, &daily, false);
    assert!(!needs_passkey);
    store.approve(&id).expect("approved");
    let (other, needs_passkey) = file_with_passkey(&store, &daily, true);
    assert!(other != id && needs_passkey);
    assert_eq!(state(&store, &id), ApprovalState::Expired);
    assert!(is_refused(&claim(&store, "1", &daily)));
    // One that is pending needs it from now on.
    let weekly = digest(&store, "weekly");
    let (id, _) = file_with_passkey(&store, &weekly, false);
    assert_eq!(file_with_passkey(&store, &weekly, true), (id.clone(), true));
    message(store.approve(&id));
}

#[test]
fn a_denial_revokes_what_was_allowed_with_the_approval() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    let (_, standing) = store.approve_more(&id, &terms(&store, 3), &someone()).expect("approved");
    let other = pending(&store, &digest(&store, "other"));
    store.approve_more(&other, &terms(&store, 3), &someone()).expect("approved");
    home.wait(MINUTE);
    assert_eq!(store.deny(&id).expect("denied").revoked, 1);
    let left = store.standing().expect("read");
    assert_eq!(left.iter().map(|own| &own.approval).collect::<Vec<_>>(), [&other]);
    let begin = |claim| begun(&store, &row("1", "write"), Some(claim), &[], None);
    assert!(is_refused(&begin(Claim::Standing(&standing.id))));
    // Not after the hour of the denial either.
    home.wait(61 * MINUTE);
    assert!(is_refused(&begin(Claim::Standing(&standing.id))));
    let filter = AuditFilter { approval: Some(id), ..AuditFilter::default() };
    let rows = store.audit(&filter).expect("the log");
    let rows: Vec<_> = rows.into_iter().filter_map(|row| row.decision).collect();
    let revoked: Vec<_> = rows.iter().filter(|row| row.what == "revoke").collect();
    assert_eq!(revoked.len(), 2, "{rows:?}");
    assert_eq!(revoked[0].details["standing"], standing.id);
    assert_eq!(revoked[1].details["standing approvals revoked"], 1);
    assert!(calls(&store).is_empty());
}

#[test]
fn a_use_of_a_standing_approval_that_sent_nothing_is_given_back_once() {
    let home = Home::new();
    let store = home.store();
    let daily = digest(&store, "daily");
    let id = pending(&store, &daily);
    let (_, standing) = store.approve_more(&id, &terms(&store, 3), &someone()).expect("approved");
    let used = || store.standing_approval(&standing.id).expect("read").expect("one").used;
    let begin = |call: &str| {
        let claim = Claim::Standing(&standing.id);
        begun(&store, &row(call, "write"), Some(claim), &[], None).expect("begun")
    };
    begin("1");
    assert_eq!(used(), 2);
    let give_back = Some(standing.id.clone());
    for _ in 0..2 {
        let end = End { give_back: give_back.clone(), ..outcome("1", "none") };
        store.record(None, Some(&end), true).expect("recorded");
        assert_eq!(used(), 1);
    }
    // One that may have changed something is used up, and so is that of another call.
    begin("2");
    let end = End { give_back: give_back.clone(), ..outcome("2", "unknown") };
    store.record(None, Some(&end), true).expect("recorded");
    let end = End { give_back, ..outcome("3", "none") };
    store.record(None, Some(&end), true).expect("recorded");
    assert_eq!(used(), 2);
    home.raw().execute("UPDATE standing_approvals SET used = 0", []).expect_err("at once");
}

#[test]
fn the_approvals_of_an_agent_end_together() {
    let home = Home::new();
    let store = home.store();
    assert_eq!(store.void_agent("bob", &someone()).expect("nothing"), Voided::default());
    assert!(!home.database().exists());
    let (arguments, asker) = (json!({"room_name": "daily"}), asker("program", None));
    let file = |room: &str, agent: Option<&str>| {
        let digest = digest(&store, room);
        let asking = Asking { agent, ..asking(&digest, &arguments, &asker) };
        match store.file_approval(&asking).expect("filed") {
            Filed::Pending { id, .. } => id,
            denied => panic!("{denied:?}"),
        }
    };
    let (one, two) = (file("1", Some("bob")), file("2", Some("bob")));
    let (other, nobody) = (file("3", Some("eve")), file("4", None));
    store.approve_more(&one, &terms(&store, 3), &someone()).expect("approved");
    store.approve_more(&other, &terms(&store, 3), &someone()).expect("approved");
    home.wait(MINUTE);
    let ended = store.void_agent("bob", &someone()).expect("ended");
    assert_eq!(ended, Voided { approvals: 2, standing: 1 });
    assert_eq!(ended.describe().as_deref(), Some("2 approvals and 1 standing approval"));
    for (id, expected) in [
        (&one, ApprovalState::Expired),
        (&two, ApprovalState::Expired),
        (&other, ApprovalState::Approved),
        (&nobody, ApprovalState::Pending),
    ] {
        assert_eq!(state(&store, id), expected);
    }
    assert_eq!(store.standing().expect("read").len(), 1);
    assert!(!store.is_approved(&digest(&store, "1"), false).expect("read"));
    assert_eq!(store.void_agent("bob", &someone()).expect("nothing"), Voided::default());
}
