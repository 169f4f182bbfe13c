//! The screen at three sizes, and what keys do to it.

use super::keys::Key;
use super::state::{Command, Data, Dialog, Screen, View};
use super::view;
use crate::config::Settings;
use crate::config::environment::Environment;
use crate::error::Error;
use crate::inbox::words::Times;
use crate::inbox::{Class, Decision, Event, Inbox, Item, Rules};
use crate::store::{
    ApprovalState, AuditOutcome, AuditRequest, AuditRow, Freeze, Selector, Store, StoredApproval,
};
use crate::system::clock::Clock;
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use whereby_authority::sentence::Sentence;

/// 2 March 2026, 12:00 UTC.
const NOW: i64 = 1_772_452_800_000;

const MINUTE: i64 = 60_000;

const SIZES: [(u16, u16); 3] = [(80, 24), (160, 50), (40, 10)];

fn approval(number: u8, function: &str, arguments: Value) -> StoredApproval {
    StoredApproval {
        id: format!("{number:032x}"),
        state: ApprovalState::Pending,
        account: "work".into(),
        api: "https://api.whereby.dev/v1".into(),
        function: function.into(),
        arguments,
        rule: "permissions.write = \"ask\" (/home/ana/.config/whereby/config.toml, line 4)".into(),
        front_end: "mcp".into(),
        client: Some("desktop 1.0".into()),
        agent: Some("assistant".into()),
        token: None,
        has_destination: false,
        needs_passkey: false,
        revoked: 0,
        is_made_by_itself: false,
        is_withdrawn: false,
        is_collected: false,
        component: None,
        created_at: NOW - (20 - i64::from(number)) * MINUTE,
        expires_at: NOW + 40 * MINUTE,
        decided_at: None,
        valid_until: None,
        used_at: None,
    }
}

fn delete() -> StoredApproval {
    approval(1, "delete_room", json!({"room_name": "standup-3f9a1c"}))
}

fn create() -> StoredApproval {
    let fields = json!([{"hostRoomUrl": true}]);
    let arguments = json!({
        "end_date": "2026-03-02T15:00:00.000Z", "room_mode": "group", "room_name_prefix": "bot-",
        "fields": fields,
    });
    approval(2, "create_room", arguments)
}

fn decided(mut approval: StoredApproval, state: ApprovalState) -> StoredApproval {
    approval.state = state;
    approval.decided_at = Some(NOW - MINUTE);
    if matches!(state, ApprovalState::Approved | ApprovalState::Used) {
        approval.valid_until = Some(NOW + 14 * MINUTE);
    }
    approval
}

fn data(approvals: Vec<StoredApproval>) -> Data {
    Data {
        times: Times { now: NOW, zone: TimeZone::UTC },
        items: Ok(approvals.into_iter().map(Item::of).collect()),
        frozen: Ok(Vec::new()),
        events: Ok(Vec::new()),
        rules: Ok(Rules { actors: Vec::new(), tokens: Vec::new(), warnings: Vec::new() }),
        accounts: Ok(Vec::new()),
        agents: vec!["assistant".into(), "reporter".into()],
        account_names: vec!["work".into()],
    }
}

fn screen(approvals: Vec<StoredApproval>) -> Screen {
    Screen::new(data(approvals), (80, 24))
}

/// Draws the screen, and returns what is on it.
fn drawn(screen: &mut Screen, (columns, rows): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| view::draw(screen, true, frame)).expect("it is drawn");
    let buffer = terminal.backend().buffer();
    let mut shown = String::new();
    for y in 0..rows {
        let mut skip = 0;
        let mut line = String::new();
        for x in 0..columns {
            let symbol = buffer[(x, y)].symbol();
            if skip == 0 {
                line.push_str(symbol);
                skip = super::words::width(symbol);
            }
            skip = skip.saturating_sub(1);
        }
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}

fn snapshots(name: &str, screen: &mut Screen) {
    for size in SIZES {
        screen.list_mut().scroll = 0;
        let shown = drawn(screen, size);
        let acts = |c: char| c != '\n' && (c.is_control() || "\u{202e}\u{200b}\u{9b}".contains(c));
        assert!(!shown.contains(acts), "{shown:?}");
        insta::assert_snapshot!(format!("{name}_{}x{}", size.0, size.1), shown);
    }
}

fn press(screen: &mut Screen, keys: &[Key]) -> Command {
    let mut last = Command::Draw;
    for key in keys {
        last = screen.key(key);
        drawn(screen, (80, 24));
    }
    last
}

fn typed(text: &str) -> Vec<Key> {
    text.chars().map(Key::Char).collect()
}

fn freeze(agent: Option<&str>, reason: Option<&str>) -> Freeze {
    let selector = Selector { agent: agent.map(str::to_owned), account: None };
    let reason = reason.map(str::to_owned);
    Freeze { selector, reason, time: NOW - 2 * MINUTE, by: "ana".into() }
}

fn row(number: u8, function: &str, arguments: Value, outcome: Option<AuditOutcome>) -> Event {
    let row = AuditRow {
        seq: number.into(),
        hash: "0".repeat(64),
        id: format!("{number:032x}"),
        time: NOW - i64::from(number) * MINUTE,
        front_end: "mcp".into(),
        client: Some("desktop 1.0".into()),
        agent: Some("assistant".into()),
        token: None,
        account: Some("work".into()),
        api: Some("https://api.whereby.dev/v1".into()),
        function: Some(function.into()),
        effect: Some("write".into()),
        permission: Some("allow".into()),
        rule: Some("the default permissions".into()),
        approved_by: Some("rule".into()),
        approval: None,
        traceparent: None,
        decision: None,
        arguments,
        outcome,
    };
    Event {
        sentence: Sentence::of(function, &row.arguments),
        class: Class::of(row.outcome.as_ref()),
        row,
    }
}

fn outcome(success: bool, effect: &str, error: Option<(&str, &str)>) -> AuditOutcome {
    let request = AuditRequest {
        method: "POST".into(),
        path: "/meetings".into(),
        status: Some(201),
        duration_ms: 41.2,
    };
    AuditOutcome {
        time: NOW,
        success,
        kind: error.map(|(kind, _)| kind.to_owned()),
        message: error.map(|(_, message)| message.to_owned()),
        effect: effect.into(),
        room_name: success.then(|| "/bot-3f9a".into()),
        room_id: success.then(|| "41".into()),
        requests: vec![request],
        duration_ms: 45.0,
    }
}

#[test]
fn what_waits_is_shown() {
    let mut all = screen(vec![
        delete(),
        create(),
        decided(approval(3, "get_room", json!({"room_name": "daily"})), ApprovalState::Approved),
        decided(approval(4, "create_room", json!({})), ApprovalState::Denied),
    ]);
    snapshots("waiting", &mut all);
    press(&mut all, &[Key::Down]);
    snapshots("waiting_second", &mut all);
    press(&mut all, &[Key::End]);
    snapshots("waiting_denied", &mut all);
}

#[test]
fn empty_views_say_what_will_be_there() {
    let mut empty = screen(Vec::new());
    snapshots("empty_waiting", &mut empty);
    for (view, name) in [(View::Happened, "happened"), (View::Accounts, "accounts")] {
        empty.view = view;
        snapshots(&format!("empty_{name}"), &mut empty);
    }
    empty.data.items = Err(Error::configuration("the file /state.db cannot be read\u{1b}[2J"));
    empty.view = View::Waiting;
    snapshots("unreadable", &mut empty);
}

#[test]
fn hostile_text_is_shown_and_does_nothing() {
    let hostile = "\u{1b}[2J\u{9b}31m\u{202e}evil\u{200b}\r\nY";
    let padded = format!("x{}\"room_name\": \"safe\"", " ".repeat(120));
    let mut call = approval(1, "delete_room", json!({"room_name": hostile, hostile: padded}));
    call.agent = Some(hostile.into());
    call.client = Some(hostile.repeat(20));
    call.rule = hostile.into();
    call.account = hostile.into();
    let mut hostile_call = screen(vec![call]);
    hostile_call.data.frozen = Ok(vec![freeze(Some(hostile), Some(hostile))]);
    hostile_call.say(Err(Error::usage(hostile)));
    snapshots("hostile", &mut hostile_call);
    let mut wide = screen(vec![approval(
        1,
        "delete_room",
        json!({"room_name": "会议室-会议室-会议室-会议室-会议室-🇩🇪-❤\u{fe0f}-e\u{301}-会议室"}),
    )]);
    snapshots("wide", &mut wide);
}

#[test]
fn long_arguments_are_read_to_the_end_before_they_are_approved() {
    let list: Vec<String> = (0..60).map(|number| format!("value-{number}")).collect();
    let mut long = screen(vec![approval(1, "create_room", json!({"fields": list}))]);
    snapshots("long", &mut long);
    drawn(&mut long, (80, 24));
    assert_eq!(press(&mut long, &typed("a")), Command::Draw);
    assert!(long.dialog.is_none(), "it is not read");
    let said = long.said.clone().expect("it is said").text;
    assert!(said.contains("more to read"), "{said}");
    // It can be denied at once.
    press(&mut long, &typed("d"));
    assert!(matches!(long.dialog, Some(Dialog::Decide { decision: Decision::Deny, .. })));
    press(&mut long, &[Key::Escape]);
    let mut shown = drawn(&mut long, (80, 24));
    for _ in 0..10 {
        press(&mut long, &typed(" "));
        shown += &drawn(&mut long, (80, 24));
    }
    for value in list {
        assert!(shown.contains(&format!("\"{value}\"")), "{value} was not shown");
    }
    press(&mut long, &typed("a"));
    assert!(long.dialog.is_some());
}

#[test]
fn what_is_frozen_is_shown() {
    let mut frozen = screen(vec![delete()]);
    frozen.data.frozen = Ok(vec![freeze(None, Some("deleted the wrong room"))]);
    snapshots("frozen", &mut frozen);
    frozen.data.frozen = Err(Error::configuration("/state/frozen.json: unreadable"));
    snapshots("frozen_unknown", &mut frozen);
}

#[test]
fn a_decision_is_asked_about_again() {
    let mut all = screen(vec![create(), delete()]);
    let is_first = |screen: &Screen| screen.item().map(|item| item.approval.function.clone());
    drawn(&mut all, (80, 24));
    assert_eq!(is_first(&all).as_deref(), Some("delete_room"), "it waits the longest");
    press(&mut all, &typed("a"));
    snapshots("approve_destructive", &mut all);
    drawn(&mut all, (80, 24));
    for wrong in [&typed("y")[..], &[Key::Enter], &[Key::Paste("es".into())], &[Key::Enter]] {
        assert_eq!(press(&mut all, wrong), Command::Draw, "{wrong:?}");
    }
    press(&mut all, &typed("es"));
    assert_eq!(
        press(&mut all, &[Key::Enter]),
        Command::Decide {
            id: delete().id,
            decision: Decision::Approve,
            seen: ApprovalState::Pending
        }
    );
    press(&mut all, &[Key::Down, Key::PageDown]);
    press(&mut all, &typed("a"));
    snapshots("approve", &mut all);
    drawn(&mut all, (80, 24));
    assert_eq!(press(&mut all, &typed("x")), Command::Draw);
    assert_eq!(
        press(&mut all, &typed("y")),
        Command::Decide {
            id: create().id,
            decision: Decision::Approve,
            seen: ApprovalState::Pending
        }
    );
    press(&mut all, &typed("d"));
    snapshots("deny", &mut all);
    drawn(&mut all, (80, 24));
    for no in [Key::Escape, Key::Char('n')] {
        press(&mut all, &[no]);
        assert!(all.dialog.is_none());
        press(&mut all, &typed("d"));
    }
    let denied =
        Command::Decide { id: create().id, decision: Decision::Deny, seen: ApprovalState::Pending };
    assert_eq!(press(&mut all, &typed("y")), denied);
}

#[test]
fn keys_before_the_drawing_decide_nothing() {
    // All of it at once, as in a paste.
    let mut all = screen(vec![create(), delete()]);
    for key in typed("ayyes").iter().chain(&[Key::Enter]) {
        assert_eq!(all.key(key), Command::Draw);
    }
    assert!(all.dialog.is_none(), "nothing was drawn");
    drawn(&mut all, (80, 24));
    for key in typed("ayes").iter().chain(&[Key::Enter]) {
        assert_eq!(all.key(key), Command::Draw);
    }
    assert!(matches!(&all.dialog, Some(dialog) if dialog.typed() == Some("")), "not drawn");
    press(&mut all, &[Key::Escape]);
    // What was selected and not drawn is not decided.
    all.key(&Key::Down);
    all.key(&Key::Char('d'));
    assert!(all.dialog.is_none());
}

#[test]
fn a_call_that_moves_is_not_the_one_that_is_decided() {
    let mut all = screen(vec![delete(), create()]);
    drawn(&mut all, (80, 24));
    let earlier = StoredApproval { created_at: 0, ..approval(9, "create_room", json!({})) };
    all.load(data(vec![earlier.clone(), delete(), create()]));
    assert_eq!(all.item().map(|item| item.approval.id.clone()), Some(delete().id));
    press(&mut all, &typed("d"));
    assert!(matches!(&all.dialog, Some(Dialog::Decide { id, .. }) if *id == delete().id));
    press(&mut all, &[Key::Escape]);
    // It is gone, and another one is in its place.
    all.load(data(vec![earlier, create()]));
    for key in typed("ady") {
        assert_eq!(all.key(&key), Command::Draw);
    }
    assert!(all.dialog.is_none());
}

#[test]
fn after_a_decision_the_selection_stays_in_its_place() {
    let call = |n: u8| StoredApproval {
        created_at: i64::from(n),
        ..approval(n, "create_room", json!({}))
    };
    let all = || (1..=5).map(call).collect::<Vec<_>>();
    for (downs, expected) in [(0, 2), (2, 4), (4, 4)] {
        let mut screen = screen(all());
        press(&mut screen, &vec![Key::Down; downs]);
        let id = screen.item().expect("a call").approval.id.clone();
        let (decision, seen) = (Decision::Approve, ApprovalState::Pending);
        let place = screen.place_of(&Command::Decide { id: id.clone(), decision, seen });
        let now = all().into_iter().map(|own| match own.id == id {
            true => decided(own, ApprovalState::Used),
            false => own,
        });
        screen.load(data(now.collect()));
        screen.go_on(place.expect("it waited"));
        assert_eq!(screen.item().expect("a call").approval.id, call(expected).id, "{downs}");
    }
    // One that did not wait stays selected.
    let mut screen = screen(vec![decided(call(1), ApprovalState::Approved), call(2)]);
    press(&mut screen, &[Key::Down]);
    let id = screen.item().expect("a call").approval.id.clone();
    let (decision, seen) = (Decision::Deny, ApprovalState::Approved);
    assert_eq!(screen.place_of(&Command::Decide { id, decision, seen }), None);
}

#[test]
fn the_next_calls_are_allowed_as_it_was_typed() {
    let mut all = screen(vec![create()]);
    drawn(&mut all, (80, 24));
    press(&mut all, &typed("m"));
    snapshots("allow-more", &mut all);
    drawn(&mut all, (80, 24));
    press(&mut all, &typed("8 2h bot-*"));
    let (id, seen) = (create().id, ApprovalState::Pending);
    let terms = "8 2h bot-*".to_owned();
    assert_eq!(press(&mut all, &[Key::Enter]), Command::AllowMore { id, seen, terms });
    assert!(all.dialog.is_none());
    // Not for what can't be undone, and not for what was decided elsewhere meanwhile.
    let mut all = screen(vec![delete()]);
    drawn(&mut all, (80, 24));
    press(&mut all, &typed("m"));
    assert!(all.dialog.is_none());
    assert!(all.said.as_ref().is_some_and(|said| said.text.contains("--destructive")));
    let mut all = screen(vec![create()]);
    drawn(&mut all, (80, 24));
    press(&mut all, &typed("m8"));
    all.load(data(vec![decided(create(), ApprovalState::Denied)]));
    assert!(all.dialog.is_none());
    assert_eq!(all.key(&Key::Enter), Command::Draw);
}

#[test]
fn a_late_key_changes_nothing_and_says_so() {
    let mut all = screen(vec![create()]);
    drawn(&mut all, (80, 24));
    press(&mut all, &typed("a"));
    assert!(all.dialog.is_some());
    // Decided elsewhere while the question is open.
    all.load(data(vec![decided(create(), ApprovalState::Denied)]));
    assert!(all.dialog.is_none());
    assert_eq!(all.key(&Key::Char('y')), Command::Draw);
    snapshots("late", &mut all);
    // The state that is not drawn yet is not decided on either.
    all.load(data(vec![decided(create(), ApprovalState::Approved)]));
    assert_eq!(all.key(&Key::Char('d')), Command::Draw);
    assert!(all.dialog.is_none());
    // There is nothing to decide about a call that was made.
    all.load(data(vec![decided(create(), ApprovalState::Used)]));
    drawn(&mut all, (80, 24));
    for key in ["a", "d"] {
        press(&mut all, &typed(key));
        assert!(all.dialog.is_none());
        assert!(all.said.as_ref().is_some_and(|said| said.text.contains("Nothing to decide")));
    }
}

#[test]
fn a_question_that_does_not_fit_takes_no_answer() {
    let long = json!({"room_name": "a".repeat(119), "room_name_prefix": "b".repeat(119)});
    let streams = json!([{"streaming": {"destination": {"url": "c".repeat(119)}}},
        {"recording": {"type": "cloud", "destination": {"bucket": "d".repeat(119)}}}]);
    let mut arguments = long;
    arguments["fields"] = streams;
    let mut all = screen(vec![approval(1, "create_room", arguments)]);
    all.read.insert(approval(1, "", json!({})).id);
    drawn(&mut all, (40, 10));
    all.key(&Key::Char('a'));
    let shown = drawn(&mut all, (40, 10));
    assert!(shown.contains("Make the window larger"), "{shown}");
    assert_eq!(all.key(&Key::Char('y')), Command::Draw);
    assert!(all.dialog.is_some());
    let shown = drawn(&mut all, (80, 24));
    assert!(shown.contains("y: approve"), "{shown}");
    assert!(matches!(all.key(&Key::Char('y')), Command::Decide { .. }));
}

#[test]
fn a_window_that_is_too_small_says_so() {
    let mut all = screen(vec![create()]);
    for size in [(39, 24), (80, 9), (10, 3), (1, 1)] {
        let shown = drawn(&mut all, size);
        assert!(size.0 < 30 || shown.contains("Too small"), "{shown}");
        all.key(&Key::Char('d'));
        assert!(all.dialog.is_none());
    }
    assert_eq!(all.key(&Key::Char('q')), Command::Quit);
    assert_eq!(all.key(&Key::Ctrl('c')), Command::Interrupt);
}

#[test]
fn any_size_can_be_drawn() {
    let mut all = screen(vec![delete(), create()]);
    all.data.frozen = Ok(vec![freeze(None, Some("why"))]);
    for columns in [40, 41, 79, 119, 120, 121, 300] {
        for rows in 10..30 {
            drawn(&mut all, (columns, rows));
            all.key(&Key::Char('a'));
            drawn(&mut all, (columns, rows));
            all.key(&Key::Escape);
        }
    }
}

#[test]
fn what_happened_is_shown_and_filtered() {
    let mut all = screen(Vec::new());
    assert_eq!(press(&mut all, &typed("2")), Command::Read);
    let events = || {
        let refused = ("denied", "delete_room by the account `work` is denied by a rule");
        vec![
            row(1, "create_room", json!({"room_name_prefix": "bot-"}), {
                Some(outcome(true, "done", None))
            }),
            row(2, "delete_room", json!({"room_name": "daily"}), {
                Some(outcome(false, "none", Some(refused)))
            }),
            row(3, "delete_room", json!({"room_name": "other"}), {
                Some(outcome(false, "unknown", Some(("network", "no response within 30 s"))))
            }),
            row(4, "list_rooms", json!({}), None),
        ]
    };
    let load = |screen: &mut Screen, events: Vec<Event>| {
        screen.load(Data { events: Ok(events), ..data(Vec::new()) });
    };
    load(&mut all, events());
    snapshots("happened", &mut all);
    press(&mut all, &[Key::Down, Key::Down]);
    snapshots("happened_unclear", &mut all);
    // The selection stays on its call; at the top it follows the newest.
    let newer = || row(0, "get_room", json!({"room_name": "daily"}), None);
    load(&mut all, std::iter::once(newer()).chain(events()).collect());
    assert_eq!(all.event().map(|event| event.row.seq), Some(3));
    press(&mut all, &[Key::Home]);
    load(&mut all, events());
    load(&mut all, std::iter::once(newer()).chain(events()).collect());
    assert_eq!(all.event().map(|event| event.row.seq), Some(0));
    for (key, read) in [
        ("g", ("assistant", "agent")),
        ("g", ("reporter", "agent")),
        ("r", ("Done", "result")),
        ("c", ("work", "account")),
        ("n", (whereby_catalog::FUNCTIONS[0].json, "function")),
    ] {
        assert_eq!(press(&mut all, &typed(key)), Command::Read);
        let shown = drawn(&mut all, (160, 50));
        assert!(shown.contains(&format!("{}: {}", read.1, read.0)), "{shown}");
    }
    press(&mut all, &typed("g"));
    assert_eq!(all.filter.agent, None, "all of them come after the last");
    press(&mut all, &typed("x"));
    assert_eq!((&all.filter.result, &all.filter.function), (&None, &None));
    press(&mut all, &typed("a"));
    assert!(all.dialog.is_none(), "nothing is decided here");
}

/// The views of a real configuration.
#[test]
fn agents_and_accounts_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.toml");
    std::fs::write(
        &config,
        "default_account = \"work\"\n\
         [accounts.work]\naccess_token = { command = [\"/usr/bin/true\"] }\n\
         [accounts.school]\naccess_token = { env = \"NOWHERE\" }\n\
         [permissions]\nread = \"allow\"\nwrite = \"ask\"\n\
         [permissions.functions.create_room]\npermission = \"allow\"\notherwise = \"ask\"\n\
         rooms = [\"bot-*\"]\nmax_per_hour = 5\n\
         [permissions.functions.delete_room]\npermission = \"deny\"\n\
         [agents.assistant]\naccounts = [\"work\"]\nparticipants = \"pseudonyms\"\n\
         [agents.reporter]\nvalid_until = 2026-03-01T00:00:00Z\n\
         [agents.reporter.permissions]\nwrite = \"deny\"\n",
    )
    .expect("a file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    let mut environment = Environment::empty();
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(NOW.unsigned_abs());
    environment.clock = Clock::new(move || moment);
    environment.variables.insert("TZ".into(), "UTC".into());
    environment.directory = folder.path().to_owned();
    let store = Store::with_clock(folder.path().join("state"), environment.clock.clone());
    let settings = Settings::load(Some(&config), &environment).expect("settings");
    let inbox = Inbox::new(store, environment, Some(config));
    let all = |view| {
        let mut screen = screen(Vec::new());
        screen.view = view;
        screen.load(super::read(&inbox, view, &screen.filter));
        screen
    };
    assert_eq!(settings.accounts.len(), 2);
    let mut agents = all(View::Agents);
    snapshots("agents", &mut agents);
    press(&mut agents, &[Key::Down]);
    snapshots("agents_assistant", &mut agents);
    press(&mut agents, &typed("f"));
    press(&mut agents, &typed("why?"));
    press(&mut agents, &[Key::Paste(" \u{1b}pasted\nmore".into())]);
    snapshots("freeze", &mut agents);
    drawn(&mut agents, (80, 24));
    let selector = Selector { agent: Some("assistant".into()), account: None };
    let reason = "why? \u{1b}pasted".to_owned();
    let command = press(&mut agents, &[Key::Enter]);
    assert_eq!(command, Command::Freeze { selector: selector.clone(), reason });
    let said = super::perform(&inbox, command).expect("it was done").expect("it worked");
    assert_eq!(said, "Froze the agent `assistant`: no more requests are sent");
    agents.load(super::read(&inbox, View::Agents, &agents.filter));
    drawn(&mut agents, (80, 24));
    press(&mut agents, &typed("u"));
    assert_eq!(press(&mut agents, &typed("y")), Command::Unfreeze(selector));
    let mut accounts = all(View::Accounts);
    snapshots("accounts", &mut accounts);
    press(&mut accounts, &typed("?"));
    for size in SIZES {
        let shown = drawn(&mut accounts, size);
        assert!(shown.contains("Help") && shown.contains("approve"), "{shown}");
    }
}
