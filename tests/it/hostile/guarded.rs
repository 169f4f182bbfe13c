//! The hostile component in the middle of a guarded one, in plain wasmtime: no host of ours is there,
//! and the guard beside it is all that stops it.

use super::plain::{Ended, Plain};
use super::{Arena, Case, Claims, ClaimsOrFault, Fault, HOSTILE, LIMITS, lines, record};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use whereby::{WriteOutcome, catalog};

/// The attempts that a component can't stop, because they only take the runtime's own time and
/// memory. An embedder limits both, as these tests do.
const NOT_STOPPED: [(&str, &str); 7] = [
    ("loop", COMPUTES),
    ("loop-with-host-calls", COMPUTES),
    ("loop-with-polls", COMPUTES),
    ("sleep", WAITS),
    ("sleep-until-the-end-of-time", WAITS),
    ("grow", GROWS),
    ("grow-at-once", GROWS),
];

const COMPUTES: &str = "it computes without end, and a component can't interrupt another";
const WAITS: &str = "it waits for the runtime's clock, as long as the runtime lets it";
const GROWS: &str = "it fills its own memory, which the runtime provides";

/// Attempts whose harm is in JSON only: a runtime that takes the result as it is has a number of the type that it
/// expects.
const NUMBERS: [&str; 3] = ["not-a-number", "infinity", "negative-infinity"];

/// How our host begins when it refuses a claim, and not a request.
const CLAIM: &str = "says that";

/// What a call of `list_rooms` may send.
const OWN: [&str; 1] = ["GET /v1/meetings"];

/// What a call of `create_room` may send.
const CREATED: [&str; 1] = ["POST /v1/meetings"];

/// What the component says of a body's length is thrown away, like the rest of its headers: the guard sends
/// the room that was asked for, with the length that it has.
const LENGTHS: [&str; 2] = ["create-with-length-too-short", "create-with-length-too-long"];

/// Time for an attempt that ends by itself. It is much more than any needs.
const LONG: Duration = Duration::from_secs(600);

/// Time for an attempt that doesn't end.
const SHORT: Duration = Duration::from_secs(1);

/// Rules under which the functions that write are called, as `[permissions]` in a configuration file.
const WRITES: &str = "write = \"allow\"";

/// The hostile component in the middle, composed by the program.
async fn guarded() -> &'static Plain {
    static GUARDED: OnceCell<Plain> = OnceCell::const_new();
    let composed =
        GUARDED.get_or_init(|| async { Plain::new(&whereby_tests::guarded(Some(HOSTILE)).await) });
    composed.await
}

impl Arena {
    /// The guard's whole configuration.
    fn guard(&self, permissions: Option<&'static str>) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("WHEREBY_API_URL", self.world.simulator.url()),
            ("WHEREBY_ACCESS_TOKEN", self.world.simulator.token().to_owned()),
        ];
        variables.extend(permissions.map(|rules| ("WHEREBY_PERMISSIONS", rules.to_owned())));
        variables
    }

    /// Makes a call through the guard, in an instance of its own.
    async fn call_guarded(&self, function: &str, arguments: &Value, time: Duration) -> Ended {
        let variables = self.guard(Some(WRITES));
        let function = catalog::function(function).expect("a function");
        guarded().await.call(&variables, function, arguments, time).await
    }

    /// Makes an attempt through the guard and checks that it came to nothing.
    async fn check_guarded(&self, group: &str, function: &str, case: &Case) {
        let name = case.name;
        self.world.simulator.clear_requests();
        self.world.simulator.clear_scripts();
        if let Some(prepare) = case.prepare {
            prepare(self);
        }
        let unstoppable = NOT_STOPPED.iter().find(|(known, _)| *known == name);
        let time = if unstoppable.is_some() { SHORT } else { LONG };
        let ended = self.call_guarded(function, &self.arguments(function, name), time).await;
        let is_cut_off = matches!(ended, Ended::CutOff);
        assert_eq!(is_cut_off, unstoppable.is_some(), "{name}: {ended:?}");

        let requests = self.world.requests();
        let reached = lines(&requests);
        match case.expected {
            _ if LENGTHS.contains(&name) => assert_eq!(reached, CREATED, "{name}: {ended:?}"),
            // Here, these headers can be set, and are thrown away.
            Claims(said) if said.starts_with("unsendable") && !reached.is_empty() => {
                assert_eq!(reached, OWN, "{name}: {ended:?}");
            }
            _ if group == "exhaustion" => {
                let is_allowed = reached.iter().all(|line| case.reaches.contains(&line.as_str()));
                assert!(is_allowed, "{name}: {reached:?}");
            }
            // All that comes before the attempt, which is therefore made.
            Fault(_) if !case.or_less => assert_eq!(reached, *case.reaches, "{name}: {ended:?}"),
            _ => {
                let allowed = case.reaches.iter().take(reached.len());
                assert!(allowed.eq(&reached), "{name}: {reached:?} {ended:?}");
            }
        }
        self.check_requests(name, &requests);
        assert_eq!(self.other.connections(), 0, "{name} reached another server");
        self.check_told(name, &ended);

        // What our host calls a fault of the component is an error here, too.
        if let Fault(said) = case.expected
            && group != "exhaustion"
            && !NUMBERS.contains(&name)
            && !LENGTHS.contains(&name)
        {
            let is_stopped = match &ended {
                // After a change, it says that there was one.
                Ended::Failed(text) => {
                    text.contains("access-denied")
                        || text.contains("made its change, and then")
                        || said.starts_with(CLAIM)
                }
                ended => matches!(ended, Ended::Trapped(_)),
            };
            assert!(is_stopped, "{name}: {ended:?}");
        }
        if matches!(case.expected, ClaimsOrFault(_))
            && reached.is_empty()
            && function != "list_rooms"
        {
            assert!(!matches!(ended, Ended::Succeeded(_)), "{name}: {ended:?}");
        }
    }

    /// The key is in nothing that the embedder gets.
    fn check_told(&self, name: &str, ended: &Ended) {
        for token in self.world.simulator.tokens() {
            assert!(!ended.text().contains(token.as_str()), "{name} shows the key: {ended:?}");
            // Also not if it is told in pieces: the middle never has it.
            let half = &token[..token.len() / 2];
            let told: String = ended.text().split(' ').collect();
            assert!(!told.contains(half), "{name} shows half of the key: {ended:?}");
        }
    }
}

/// Makes all attempts of a group, as `check_all` does in our host.
async fn check_group(group: &'static str) {
    let (_, functions) = super::groups().into_iter().find(|(name, _)| *name == group).expect(group);
    let cases = functions.iter().flat_map(|(_, cases)| cases);
    let names: Vec<String> = cases
        .flat_map(|case| [case.name.to_owned(), format!("{}-2", case.name)])
        .chain(["victim".to_owned()])
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let arena = Arena::new(&names, LIMITS).await;
    let mut apart = JoinSet::new();
    for (function, cases) in functions {
        for case in cases {
            // What doesn't end, or may still send something afterwards, has a world of its own.
            if case.or_less || NOT_STOPPED.iter().any(|(name, _)| *name == case.name) {
                apart.spawn(async move {
                    Arena::new(&[case.name], LIMITS)
                        .await
                        .check_guarded(group, function, &case)
                        .await;
                });
            } else {
                arena.check_guarded(group, function, &case).await;
            }
        }
    }
    while let Some(ended) = apart.join_next().await {
        ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
}

#[tokio::test]
async fn the_guard_lets_nothing_but_the_api_be_reached() {
    check_group("escape").await;
}

#[tokio::test]
async fn the_guard_sends_what_a_function_was_called_for() {
    check_group("authority").await;
}

#[tokio::test]
async fn the_guard_creates_the_room_that_was_asked_for_once() {
    check_group("creation").await;
}

#[tokio::test]
async fn the_guard_deletes_the_room_that_was_asked_for() {
    check_group("deletion").await;
}

#[tokio::test]
async fn the_guard_keeps_the_key() {
    check_group("theft").await;
}

#[tokio::test]
async fn the_guard_is_not_lied_to() {
    check_group("lies").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_time_and_memory_are_not_the_guards() {
    check_group("exhaustion").await;
}

#[test]
fn what_the_guard_does_not_stop_is_an_attempt_on_time_or_memory() {
    let groups = super::groups();
    let (_, exhaustion) = groups.iter().find(|(group, _)| *group == "exhaustion").expect("a group");
    for (name, reason) in NOT_STOPPED {
        let is_known = exhaustion.iter().flat_map(|(_, cases)| cases).any(|case| case.name == name);
        assert!(is_known, "{name} is no attempt, though {reason}");
        let page = crate::tidy::read("docs/sandbox.md");
        assert!(page.contains(&format!("`{name}`")), "docs/sandbox.md does not name {name}");
    }
}

/// How many attempts of a group the guard stops.
pub(super) fn stopped(group: &str, attempts: usize) -> usize {
    if group == "exhaustion" { attempts - NOT_STOPPED.len() } else { attempts }
}

#[tokio::test]
async fn the_middle_knows_where_the_api_is_and_never_the_key() {
    let arena = Arena::new(&[], LIMITS).await;
    let url = arena.world.simulator.url();
    for (function, with_claims) in [("list_rooms", false), ("get_current_user", true)] {
        let arguments = arena.arguments(function, "environment");
        let ended = arena.call_guarded(function, &arguments, LONG).await;
        let Ended::Succeeded(told) = &ended else { panic!("{ended:?}") };
        assert!(told.contains(&format!("WHEREBY_API_URL={url}")), "{told}");
        assert!(!told.contains("WHEREBY_ACCESS_TOKEN"), "{told}");
        assert!(!told.contains("WHEREBY_PERMISSIONS"), "{told}");
        if with_claims {
            assert!(told.contains("WHEREBY_KEY_CLAIMS={"), "{told}");
        }
        arena.check_told(function, &ended);
    }
    arena.world.assert_untouched();
}

/// The key, in every form in which a server may echo it to the component.
#[tokio::test]
async fn no_form_of_the_key_gets_past_the_guard() {
    let arena = Arena::new(&[], LIMITS).await;
    let token = arena.world.simulator.token().to_owned();
    let arguments = json!({ "cursor": "run get echo ok" });
    for (what, reply) in record::echoes(&token) {
        arena.world.simulator.clear_scripts();
        arena.world.simulator.script("GET", "/v1/meetings", 1, reply);
        let ended = arena.call_guarded("list_rooms", &arguments, LONG).await;
        assert_eq!(arena.world.simulator.scripts_left(), 0, "{what}: {ended:?}");
        arena.check_told(&what, &ended);
        assert!(!ended.text().contains("u00"), "{what}: {ended:?}");
    }
}

/// The guard's record of the write decides, as in our host, and not what the component claims.
#[tokio::test]
async fn an_error_after_a_write_says_what_became_of_it() {
    for (function, program, method) in
        [("create_room", "run-post", "POST"), ("delete_room", "run-get-delete", "DELETE")]
    {
        let names = record::CLAIMS.map(|(word, _)| format!("{program}-{word}"));
        let arena = Arena::new(&names.each_ref().map(String::as_str), LIMITS).await;
        for answer in record::ANSWERS {
            for ((_, claimed), name) in record::CLAIMS.into_iter().zip(&names) {
                let simulator = &arena.world.simulator;
                simulator.clear_scripts();
                simulator.script(method, "/v1/meetings", 1, record::reply(method, answer));
                let ended =
                    arena.call_guarded(function, &arena.arguments(function, name), LONG).await;
                let case = format!("{function} answered {answer:?}, claiming {claimed}: {ended:?}");
                let Ended::Failed(text) = &ended else { panic!("{case}") };
                assert_eq!(simulator.scripts_left(), 0, "{case}");
                let (kind, known) = match record::effect(method, answer) {
                    WriteOutcome::None => {
                        assert!(!text.contains("made its change"), "{case}");
                        (claimed, String::new())
                    }
                    WriteOutcome::Unknown => {
                        let open = ["timeout", "unavailable", "unexpected-response"];
                        let (kind, then) = if open.contains(&claimed) {
                            (claimed, "; the component says: ")
                        } else {
                            ("unexpected-response", ", and then the component returned an error")
                        };
                        (kind, format!("\"{function} may have made its change{then}"))
                    }
                    WriteOutcome::Done => {
                        ("unexpected-response", format!("\"{function} made its change, and then "))
                    }
                };
                assert!(text.contains(&format!("\"{kind}\"")) && text.contains(&known), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn without_rules_the_middle_cannot_write_whatever_it_does() {
    for (function, name) in [
        ("create_room", "create-as-asked"),
        ("create_room", "create-claimed-unsent"),
        ("delete_room", "delete-as-asked"),
        ("delete_room", "delete-claimed-unsent"),
    ] {
        let arena = Arena::new(&[name], LIMITS).await;
        let variables = arena.guard(None);
        let known = catalog::function(function).expect("a function");
        let arguments = arena.arguments(function, name);
        let ended = guarded().await.call(&variables, known, &arguments, LONG).await;
        let denied = matches!(&ended, Ended::Failed(text) if text.contains("access-denied"));
        assert!(denied, "{name}: {ended:?}");
        arena.world.assert_untouched();
    }
}

/// An embedder may keep an instance for many calls, which the guard survives as long as nothing traps.
#[tokio::test]
async fn a_refusal_is_forgotten_before_the_next_call_and_nothing_piles_up() {
    let arena = Arena::new(&[], LIMITS).await;
    let variables = arena.guard(None);
    let mut running = guarded().await.start(&variables).await;
    let function = catalog::function("list_rooms").expect("a function");
    for round in 0..500 {
        for (name, succeeds) in
            [("swallowed-refusal", false), ("obedience", true), ("create-in-read", false)]
        {
            let arguments = arena.arguments("list_rooms", name);
            let ended = running.call(function, &arguments, LONG).await;
            assert_eq!(matches!(ended, Ended::Succeeded(_)), succeeds, "{round} {name}: {ended:?}");
        }
    }
    let reached = lines(&arena.world.requests());
    assert_eq!(reached, vec!["GET /v1/meetings"; 500]);
}

/// The memory of a call is used again, but not that of what the component keeps.
#[tokio::test]
async fn what_a_component_keeps_stays_as_it_is_until_too_much_is_kept() {
    let arena = Arena::new(&[], LIMITS).await;
    let mut running = guarded().await.start(&arena.guard(None)).await;
    let function = catalog::function("list_rooms").expect("a function");
    let keep = arena.arguments("list_rooms", "fields-kept-for-later");
    let obey = arena.arguments("list_rooms", "obedience");
    let mut kept = 0;
    let refusal = loop {
        let ended = running.call(function, &obey, LONG).await;
        if !matches!(ended, Ended::Succeeded(_)) {
            break ended;
        }
        match running.call(function, &keep, LONG).await {
            Ended::Succeeded(text) => {
                kept += 1;
                assert!(text.contains(&format!("intact, {kept} kept")), "{text}");
            }
            ended => break ended,
        }
        assert!(kept < 200, "the guard refused no call");
    };
    let is_refused = |ended: &Ended| match ended {
        Ended::Failed(text) => text.contains("holds too many resources of earlier calls"),
        _ => false,
    };
    assert!(kept > 10 && is_refused(&refusal), "{kept} {refusal:?}");
    arena.world.simulator.clear_requests();
    let later = running.call(function, &obey, LONG).await;
    assert!(is_refused(&later), "{later:?}");
    arena.world.assert_untouched();
}

/// A component may hold a stream that leads nowhere for good, and other resources for a few calls.
#[tokio::test]
async fn memory_is_used_again_when_nothing_holds_it() {
    let arena = Arena::new(&[], LIMITS).await;
    let function = catalog::function("list_rooms").expect("a function");
    let mut running = guarded().await.start(&arena.guard(None)).await;
    // Together, the calls need more memory than the guard may have.
    for round in 0..200 {
        let intact = format!("intact, {} kept", round % 8 + 1);
        for (name, said) in [("output-kept-for-later", "Ok"), ("fields-kept-for-a-while", &*intact)]
        {
            let arguments = arena.arguments("list_rooms", name);
            let ended = running.call(function, &arguments, LONG).await;
            let is_right = matches!(&ended, Ended::Succeeded(text) if text.contains(said));
            assert!(is_right, "{round} {name}: {ended:?}");
        }
    }
}

/// A request of an earlier call is not sent under the grant of a later one, although that allows the same.
#[tokio::test]
async fn a_request_is_not_finished_in_the_next_call() {
    let arena = Arena::new(&[], LIMITS).await;
    let mut running = guarded().await.start(&arena.guard(Some(WRITES))).await;
    let create = catalog::function("create_room").expect("a function");
    let arguments = arena.arguments("create_room", "create-finished-in-the-next-call");
    for round in 0..2 {
        let ended = running.call(create, &arguments, LONG).await;
        assert!(matches!(ended, Ended::Failed(_)), "{round}: {ended:?}");
    }
    arena.world.assert_untouched();
}

/// What the component read for a call that was refused in the end, it could return in the next one.
#[tokio::test]
async fn after_a_call_that_read_too_much_all_others_are_refused() {
    let arena = Arena::new(&[], LIMITS).await;
    let rules = "[functions.get_meeting]\npermission = \"allow\"\nrooms = [\"*\"]";
    let mut running = guarded().await.start(&arena.guard(Some(rules))).await;
    let meeting = catalog::function("get_meeting").expect("a function");
    let list = catalog::function("list_rooms").expect("a function");
    let refused = |ended: &Ended, why: &str| {
        assert!(matches!(ended, Ended::Failed(text) if text.contains(why)), "{ended:?}");
    };
    let arguments = arena.arguments("get_meeting", "another-meeting");
    refused(&running.call(meeting, &arguments, LONG).await, "access-denied");
    arena.world.simulator.clear_requests();
    let arguments = arena.arguments("list_rooms", "obedience");
    refused(&running.call(list, &arguments, LONG).await, "what it may not show");
    arena.world.assert_untouched();
}

/// While the component holds something, a refused call takes no more memory.
#[tokio::test]
async fn a_refused_call_leaves_nothing_in_memory() {
    let arena = Arena::new(&[], LIMITS).await;
    let mut running = guarded().await.start(&arena.guard(None)).await;
    let list = catalog::function("list_rooms").expect("a function");
    let create = catalog::function("create_room").expect("a function");
    let keep = arena.arguments("list_rooms", "fields-kept-for-later");
    let ended = running.call(list, &keep, LONG).await;
    assert!(matches!(ended, Ended::Succeeded(_)), "{ended:?}");
    // Together, their arguments need more memory than the guard may keep.
    let long = json!({"room_name_prefix": "a".repeat(60_000)});
    for round in 0..600 {
        let ended = running.call(create, &long, LONG).await;
        assert!(matches!(ended, Ended::Failed(_)), "{round}: {ended:?}");
    }
    let ended = running.call(list, &keep, LONG).await;
    assert!(
        matches!(&ended, Ended::Succeeded(text) if text.contains("intact, 2 kept")),
        "{ended:?}"
    );
}

/// A request that is left behind in one call is not sent in the next.
#[tokio::test]
async fn nothing_is_sent_after_a_call() {
    let arena = Arena::new(&[], LIMITS).await;
    let variables = arena.guard(Some(WRITES));
    let mut running = guarded().await.start(&variables).await;
    let create = catalog::function("create_room").expect("a function");
    let list = catalog::function("list_rooms").expect("a function");
    let arguments = arena.arguments("create_room", "create-unfinished-and-leave");
    let ended = running.call(create, &arguments, LONG).await;
    assert!(!matches!(ended, Ended::Succeeded(_)), "{ended:?}");
    let arguments = arena.arguments("list_rooms", "obedience");
    let ended = running.call(list, &arguments, LONG).await;
    assert!(matches!(ended, Ended::Succeeded(_)), "{ended:?}");
    assert_eq!(lines(&arena.world.requests()), ["GET /v1/meetings"]);
}
