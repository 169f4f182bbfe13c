//! Tests of the guard's rules: what may leave, what comes back, and what the front is told.

use super::*;

const KEY: &str = "s3cret-key-of-the-account";
const API: &str = "http://127.0.0.1:8080/v1";
const LISTED: &str = r#"{"results":[
    {"meetingId":"7","roomName":"/daily","roomUrl":"https://a.whereby.com/daily","endDate":"2026-01-01T00:00:00Z"},
    {"meetingId":"8","roomName":"/daily-2","roomUrl":"https://a.whereby.com/daily-2"}]}"#;

fn now() -> Timestamp {
    Timestamp::parse("2026-03-02T09:00:00Z").expect("a date")
}

fn guard(rules: &str) -> Guard {
    let variables =
        [("WHEREBY_ACCESS_TOKEN", KEY), ("WHEREBY_API_URL", API), ("WHEREBY_PERMISSIONS", rules)];
    Guard::new(
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        Past::NONE,
    )
}

fn open(rules: &str, function: &str, arguments: &str) -> Guard {
    let mut guard = guard(rules);
    guard.open(function, arguments, now()).expect("it is allowed");
    guard
}

fn request(method: &str, path: &str) -> Outgoing {
    Outgoing {
        method: method.to_owned().into(),
        scheme: "http".into(),
        authority: "127.0.0.1:8080".into(),
        path_and_query: format!("/v1{path}"),
        headers: vec!["content-type".into()],
    }
}

impl Guard {
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<Admitted, Stopped> {
        let number = self.begin()?;
        self.admit(number, &request(method, path), body.as_bytes(), now())
    }

    fn answer(&mut self, admitted: &Admitted, status: u16, body: &str) -> Result<Answer, Stopped> {
        let body = Some(body.as_bytes().to_vec());
        let number = self.past.number;
        self.answered(number, admitted, Incoming { status, headers: Vec::new(), body })
    }

    fn denial(mut self) -> String {
        match self.close(Ending::Success) {
            Err(Refusal::Denied(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }
}

const ROOM: &str = r#"{"endDate":"2026-03-03T09:00:00Z"}"#;
const CREATED: &str = r#"{"meetingId":"9","roomUrl":"https://a.whereby.com/x","roomName":"/x",
    "endDate":"2026-03-03T09:00:00Z","hostRoomUrl":"https://a.whereby.com/x?roomKey=k"}"#;

#[test]
fn without_rules_reading_is_allowed_and_writing_is_denied() {
    let mut guard = guard("");
    for (function, arguments) in
        [("create_room", "{}"), ("delete_room", r#"{"room_name":"daily"}"#)]
    {
        let refusal = guard.open(function, arguments, now()).expect_err(function);
        let reason = format!("{function} is denied: no rule allows functions that write");
        assert_eq!(refusal, Refusal::Denied(reason));
    }
    assert_eq!(guard.open("list_rooms", "{}", now()), Ok(()));
}

#[test]
fn recordings_need_a_rule_of_their_own() {
    let fields = r#"{"fields":[{"recording":{"type":"cloud"}}]}"#;
    let mut denied = guard("write = \"allow\"");
    let refusal = denied.open("create_room", fields, now()).expect_err("a destination");
    assert!(matches!(&refusal, Refusal::Denied(why) if why.contains("recording")), "{refusal:?}");
    let mut allowed = guard("write = \"allow\"\ndestination = \"allow\"");
    assert_eq!(allowed.open("create_room", fields, now()), Ok(()));
}

#[test]
fn a_refusal_names_the_condition_and_its_line() {
    let rules = "[functions.create_room]\npermission = \"allow\"\nrooms = [\"bot-*\"]";
    let mut guard = guard(rules);
    let refusal = guard.open("create_room", r#"{"room_name_prefix":"x-"}"#, now());
    let Err(Refusal::Denied(reason)) = refusal else { panic!("{refusal:?}") };
    assert!(reason.contains("rooms = [\"bot-*\"] (WHEREBY_PERMISSIONS, line 3)"), "{reason}");
    assert_eq!(guard.open("create_room", r#"{"room_name_prefix":"bot-"}"#, now()), Ok(()));
}

#[test]
fn invalid_settings_and_arguments_are_refused() {
    let mut wrong = guard("write = \"ask\"");
    let refusal = wrong.open("list_rooms", "{}", now());
    assert!(matches!(&refusal, Err(Refusal::Denied(why)) if why.contains("line 1")), "{refusal:?}");
    assert_eq!(wrong.environment(), []);
    let mut guard = guard("");
    for (function, arguments) in [
        ("list_rooms", r#"{"limit":0}"#),
        ("list_rooms", r#"{"other":1}"#),
        ("get_room", "{}"),
        ("no_function", "{}"),
        ("list_rooms", "{"),
    ] {
        let refusal = guard.open(function, arguments, now());
        assert!(matches!(refusal, Err(Refusal::Invalid(_))), "{function} {arguments}: {refusal:?}");
    }
}

#[test]
fn a_second_grant_and_a_second_end_are_refused() {
    let mut guard = open("", "list_rooms", "{}");
    assert!(guard.open("list_rooms", "{}", now()).is_err());
    assert_eq!(guard.close(Ending::Success), Ok(()));
    assert!(guard.close(Ending::Success).is_err());
}

#[test]
fn requests_that_the_call_does_not_need_are_refused() {
    for (method, path, body) in [
        ("POST", "/meetings", ROOM),
        ("DELETE", "/meetings/7", ""),
        ("GET", "/meetings?limit=5", ""),
        ("GET", "/meetings?roomName%5BstartsWith%5D=/daily", ""),
        ("GET", "/insights/rooms", ""),
        ("GET", "/meetings/../meetings", ""),
        ("GET", "//meetings", ""),
        ("GET", "", ""),
        ("GET", "x/meetings", ""),
        ("PUT", "/meetings", ""),
        ("GET", "/meetings", "{}"),
    ] {
        let mut guard = open("write = \"allow\"", "list_rooms", "{}");
        assert_eq!(guard.ask(method, path, body).err(), Some(Stopped::Denied), "{method} {path}");
        assert!(!guard.denial().is_empty());
    }
}

#[test]
fn other_places_and_headers_are_refused() {
    let mut others = Vec::new();
    let good = || request("GET", "/meetings");
    others.push(Outgoing { scheme: "https".into(), ..good() });
    others.push(Outgoing { scheme: "gopher".into(), ..good() });
    others.push(Outgoing { authority: "127.0.0.1".into(), ..good() });
    others.push(Outgoing { authority: "127.0.0.1:8080@evil.example".into(), ..good() });
    others.push(Outgoing { authority: "evil.example".into(), ..good() });
    others.push(Outgoing { path_and_query: "/v2/meetings".into(), ..good() });
    others.push(Outgoing { path_and_query: "/v1".into(), ..good() });
    others.push(Outgoing { headers: vec!["authorization".into()], ..good() });
    others.push(Outgoing { headers: vec!["x-forwarded-for".into()], ..good() });
    for other in others {
        let mut guard = open("", "list_rooms", "{}");
        let number = guard.begin().expect("the first");
        assert_eq!(
            guard.admit(number, &other, b"", now()).err(),
            Some(Stopped::Denied),
            "{other:?}"
        );
        assert!(guard.denial().starts_with("the component tried to"));
    }
}

#[test]
fn nothing_is_sent_before_after_or_beside_a_call() {
    let mut guard = guard("");
    assert_eq!(guard.begin(), Err(Stopped::Denied));
    guard.open("list_rooms", "{}", now()).expect("it is allowed");
    let number = guard.begin().expect("a request");
    let admitted = guard.admit(number, &request("GET", "/meetings"), b"", now()).expect("listing");
    let late = guard.begin().expect("another");
    assert_eq!(guard.close(Ending::Success), Ok(()));
    let listing = request("GET", "/meetings");
    assert_eq!(guard.admit(late, &listing, b"", now()).err(), Some(Stopped::Denied));
    // The next call does not take it for its own.
    guard.open("list_rooms", "{}", now()).expect("it is allowed");
    assert_eq!(guard.admit(late, &listing, b"", now()).err(), Some(Stopped::Denied));
    let incoming = Incoming { status: 200, headers: Vec::new(), body: Some(LISTED.into()) };
    assert_eq!(guard.answered(number, &admitted, incoming), Err(Stopped::Denied));
    assert_eq!(guard.may_read(number, 0, 1), Err(Stopped::Denied));
}

#[test]
fn a_room_is_created_once_with_a_body_of_the_guard() {
    let mut guard =
        open("write = \"allow\"", "create_room", r#"{"end_date":"2026-03-03T09:00:00Z"}"#);
    let spelled = "{ \"endDate\" : \"2026-03-03T09:00:00Z\", \"isLocked\": false }";
    assert_eq!(
        guard.ask("POST", "/meetings", spelled).err(),
        Some(Stopped::Denied),
        "a member more"
    );
    let mut guard =
        open("write = \"allow\"", "create_room", r#"{"end_date":"2026-03-03T09:00:00Z"}"#);
    let spelled = "{ \"endDate\" : \"2026-03-03T09:00:00Z\" }";
    let admitted = guard.ask("POST", "/meetings", spelled).expect("the room");
    let body: Value =
        serde_json::from_slice(&admitted.body.clone().expect("a body")).expect("JSON");
    assert_eq!(body["endDate"], "2026-03-03T09:00:00.000Z".replace(".000", ""));
    let answer = guard.answer(&admitted, 201, CREATED).expect("an answer");
    let shown = String::from_utf8(answer.body).expect("a string");
    assert!(shown.contains("meetingId") && !shown.contains("roomKey"), "{shown}");
    assert_eq!(guard.ask("POST", "/meetings", spelled).err(), Some(Stopped::Denied));
    let Err(Refusal::Unexpected(reason)) = guard.close(Ending::Success) else {
        panic!("it is made")
    };
    assert!(
        reason.starts_with("create_room made its change, and then the component tried"),
        "{reason}"
    );
    assert!(reason.contains("second time"), "{reason}");
}

/// A call that has sent its write.
fn posted() -> (Guard, Admitted) {
    let mut guard =
        open("write = \"allow\"", "create_room", r#"{"end_date":"2026-03-03T09:00:00Z"}"#);
    let admitted = guard.ask("POST", "/meetings", ROOM).expect("the room");
    (guard, admitted)
}

/// A call whose write may have happened.
fn lost() -> Guard {
    let (mut guard, admitted) = posted();
    guard.failed(guard.past.number, &admitted, true);
    guard
}

#[test]
fn an_error_after_a_change_says_that_it_was_made() {
    let (mut guard, admitted) = posted();
    guard.answer(&admitted, 201, CREATED).expect("an answer");
    let expected = "create_room made its change, and then the component returned an error";
    assert_eq!(guard.close(Ending::Failure), Err(Refusal::Unexpected(expected.into())));
    let mut guard = lost();
    guard.refuse("the component broke a rule");
    let expected = "create_room may have made its change, and then the component broke a rule";
    assert_eq!(guard.close(Ending::Failure), Err(Refusal::Unexpected(expected.into())));
}

#[test]
fn an_error_after_what_may_be_a_change_says_so() {
    let kinds: [fn(String) -> Refusal; 3] =
        [Refusal::Timeout, Refusal::Unavailable, Refusal::Unexpected];
    for kind in kinds {
        let ended = lost().close(Ending::Open(kind, "nothing was sent".into()));
        let expected = "create_room may have made its change; the component says: nothing was sent";
        assert_eq!(ended, Err(kind(expected.into())));
        // If nothing was changed, it may say what it likes.
        let mut unsent = open("write = \"allow\"", "create_room", "{}");
        assert_eq!(unsent.close(Ending::Open(kind, "late".into())), Ok(()));
    }
    let expected = "create_room may have made its change, and then the component returned an error";
    assert_eq!(lost().close(Ending::Failure), Err(Refusal::Unexpected(expected.into())));
}

#[test]
fn a_message_of_the_functions_is_cut_and_printable() {
    let message = format!("\u{1b}[2J{}", "m".repeat(5000));
    let ended = lost().close(Ending::Open(Refusal::Timeout, message));
    let Err(Refusal::Timeout(reason)) = ended else { panic!("{ended:?}") };
    assert!(!reason.contains('\u{1b}'), "{reason}");
    let count = reason.matches('m').count();
    assert!((900..=1010).contains(&count), "{count}");
}

#[test]
fn a_permission_that_ends_needs_the_current_time() {
    assert_eq!(open("", "list_rooms", "{}").time(), Some(now()));
    let rules =
        "[functions.list_rooms]\npermission = \"allow\"\nvalid_until = \"2026-03-02T10:00:00Z\"";
    let mut guard = open(rules, "list_rooms", "{}");
    assert_eq!(guard.time(), None);
    let number = guard.begin().expect("a request");
    let late = Timestamp::parse("2026-03-02T10:00:00Z").expect("a date");
    let listing = request("GET", "/meetings");
    assert_eq!(guard.admit(number, &listing, b"", late).err(), Some(Stopped::Denied));
}

#[test]
fn what_a_denied_call_read_comes_out_in_no_later_one() {
    let rules = "[functions.get_meeting]\npermission = \"allow\"\nrooms = [\"daily\"]";
    let mut guard = open(rules, "get_meeting", r#"{"meeting_id":"daily:s-1"}"#);
    let path = "/insights/participants?roomSessionId=s-1";
    let admitted = guard.ask("GET", path, "").expect("the people");
    guard.answer(&admitted, 200, r#"{"results":[{"displayName":"Maren"}]}"#).expect("an answer");
    assert!(
        matches!(guard.close(Ending::Success), Err(Refusal::Denied(_))),
        "the room is not confirmed"
    );
    let later = guard.open("list_rooms", "{}", now());
    assert!(
        matches!(later, Err(Refusal::Denied(reason)) if reason.contains("make a new instance"))
    );
}

#[test]
fn a_claimed_change_that_did_not_happen_is_an_error() {
    for (status, body, told) in
        [(500, "", "may have made its change"), (400, r#"{"error":"no"}"#, "did not confirm")]
    {
        let (mut guard, admitted) = posted();
        guard.answer(&admitted, status, body).expect("an answer");
        let Err(Refusal::Unexpected(reason)) = guard.close(Ending::Success) else {
            panic!("{status}")
        };
        assert!(reason.contains(told), "{status}: {reason}");
        assert_eq!(reason.contains("may have made"), status == 500, "{status}: {reason}");
    }
    let mut silent = open("write = \"allow\"", "create_room", "{}");
    assert!(matches!(silent.close(Ending::Success), Err(Refusal::Unexpected(_))));
    let mut honest = open("write = \"allow\"", "create_room", "{}");
    assert_eq!(honest.close(Ending::Failure), Ok(()));
}

/// A deletion that has listed its room.
fn listed() -> Guard {
    let search = "/meetings?roomName%5BstartsWith%5D=%2Fdaily&limit=100";
    let mut guard = open("write = \"allow\"", "delete_room", r#"{"room_name":"daily"}"#);
    let admitted = guard.ask("GET", search, "").expect("the search");
    guard.answer(&admitted, 200, LISTED).expect("an answer");
    guard
}

#[test]
fn only_a_listed_room_is_deleted() {
    let mut blind = open("write = \"allow\"", "delete_room", r#"{"room_name":"daily"}"#);
    assert_eq!(blind.ask("DELETE", "/meetings/7", "").err(), Some(Stopped::Denied), "not listed");
    let mut other = listed();
    assert_eq!(other.ask("DELETE", "/meetings/8", "").err(), Some(Stopped::Denied), "another name");
    let mut guard = listed();
    let deletion = guard.ask("DELETE", "/meetings/7", "").expect("the deletion");
    guard.answer(&deletion, 204, "").expect("an answer");
    assert_eq!(guard.close(Ending::Success), Ok(()));
}

#[test]
fn a_page_of_a_proxy_is_no_deletion() {
    let mut guard = listed();
    let deletion = guard.ask("DELETE", "/meetings/7", "").expect("the deletion");
    let page = guard.answer(&deletion, 404, "<!doctype html>");
    assert_eq!(page, Err(Stopped::Unreadable));
}

#[test]
fn a_long_error_is_not_parsed_and_is_no_deletion() {
    for (length, is_read) in [(10, true), (MAX_ERROR, false)] {
        let mut guard = listed();
        let deletion = guard.ask("DELETE", "/meetings/7", "").expect("the deletion");
        let list = format!("[{}[]]", "[],".repeat(length));
        assert_eq!(guard.answer(&deletion, 404, &list).is_ok(), is_read, "{length}");
    }
}

#[test]
fn the_key_does_not_come_back() {
    let mut guard = open("", "list_rooms", "{}");
    let admitted = guard.ask("GET", "/meetings", "").expect("the list");
    let echo = format!(r#"{{"results":[{{"roomName":"/{KEY}","other":"{KEY}"}}],"key":"{KEY}"}}"#);
    let answer = guard.answer(&admitted, 200, &echo).expect("an answer");
    let shown = String::from_utf8(answer.body).expect("a string");
    assert!(!shown.contains(KEY) && !shown.contains("other"), "{shown}");
    let admitted = guard.ask("GET", "/meetings", "").expect("the list");
    let answer = guard.answer(&admitted, 400, &format!(r#"{{"error":"bad {KEY}"}}"#));
    let shown = String::from_utf8(answer.expect("an answer").body).expect("a string");
    assert!(!shown.contains(KEY), "{shown}");
    assert!(guard.environment().iter().all(|(_, value)| !value.contains(KEY)));
}

#[test]
fn only_numbers_pass_in_headers() {
    let mut guard = open("", "list_rooms", "{}");
    for (status, headers, shown) in [
        (
            200,
            [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "s3cret")],
            vec![("x-ratelimit-limit", "60")],
        ),
        (429, [("retry-after", "1.5"), ("x-ratelimit-limit", "60")], vec![("retry-after", "2")]),
        (
            429,
            [("retry-after", "99999999999999999999"), ("date", "x")],
            vec![("retry-after", "2592000")],
        ),
        (429, [("retry-after", "s3cret"), ("set-cookie", "x")], vec![]),
    ] {
        let admitted = guard.ask("GET", "/meetings", "").expect("the list");
        let headers = headers.map(|(name, value)| (name, value.to_owned())).into();
        let incoming = Incoming { status, headers, body: Some(b"{}".to_vec()) };
        let answer = guard.answered(guard.past.number, &admitted, incoming).expect("an answer");
        let found: Vec<_> =
            answer.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, shown, "{status}");
    }
}

#[test]
fn what_a_call_takes_in_and_gives_out_is_bounded() {
    let mut guard = open("", "list_rooms", "{}");
    let number = guard.begin().expect("a request");
    assert_eq!(guard.may_read(number, MAX_ANSWER, 1), Err(Stopped::Unreadable));
    assert_eq!(guard.may_read(number, 0, MAX_ANSWERS), Err(Stopped::Denied));
    assert!(guard.denial().contains("bytes of responses"));
    let mut guard = open("", "list_rooms", "{}");
    assert!(!guard.may_write(MAX_BODY, 1));
    assert!(guard.denial().contains("body of more than"));
    let mut guard = open("", "list_rooms", "{}");
    assert!((0..MAX_BODIES / MAX_BODY).all(|_| guard.may_write(0, MAX_BODY)));
    assert!(!guard.may_write(0, 1));
    assert!(guard.denial().contains("bodies of more than"));
    let mut guard = open("", "list_rooms", "{}");
    assert!((0..MAX_REQUESTS).all(|_| guard.begin().is_ok()));
    assert_eq!(guard.begin(), Err(Stopped::Denied));
    assert!(guard.denial().contains("more than 64 requests"));
}

#[test]
fn after_a_broken_rule_nothing_is_sent() {
    let mut guard = open("", "list_rooms", "{}");
    let early = guard.begin().expect("a request");
    assert_eq!(guard.ask("PUT", "/meetings", "").err(), Some(Stopped::Denied));
    let listing = request("GET", "/meetings");
    assert_eq!(guard.admit(early, &listing, b"", now()).err(), Some(Stopped::Denied));
    assert_eq!(guard.begin(), Err(Stopped::Denied));
}

#[test]
fn a_body_that_is_not_whole_is_refused() {
    let mut guard = open("write = \"allow\"", "create_room", "{}");
    let number = guard.begin().expect("a request");
    guard.cut_off(number);
    assert!(guard.denial().contains("not whole"));
}

#[test]
fn people_are_hidden_if_the_settings_say_so() {
    let variables = [("WHEREBY_API_URL", API), ("WHEREBY_PARTICIPANTS", "hidden")];
    let mut guard =
        Guard::new(variables.map(|(name, value)| (name.into(), value.into())).into(), Past::NONE);
    let meeting = r#"{"meeting_id":"daily:0f7d9f2c-1111-4222-8333-444455556666"}"#;
    guard.open("get_meeting", meeting, now()).expect("it is allowed");
    let path = "/insights/participants?roomSessionId=0f7d9f2c-1111-4222-8333-444455556666";
    let admitted = guard.ask("GET", path, "").expect("the people");
    let people = r#"{"results":[{"displayName":"Ada","externalId":"a","participantId":"p"}]}"#;
    let answer = guard.answer(&admitted, 200, people).expect("an answer");
    let shown = String::from_utf8(answer.body).expect("a string");
    assert!(!shown.contains("Ada") && shown.contains("\"displayName\":null"), "{shown}");
}
