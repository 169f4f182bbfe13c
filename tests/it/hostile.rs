//! The hostile component: every attempt of its, what stops it, and that nothing came of it.

mod authority;
mod claims;
mod contrast;
mod creation;
mod deletion;
mod escape;
mod exhaustion;
mod files;
mod guarded;
mod lies;
mod people;
mod plain;
mod record;
mod theft;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use whereby::simulator::{RecordedRequest, RoomSeed};
use whereby::{Outcome, Session, WriteOutcome};
use whereby_tests::World;

/// The component of `tests/hostile`.
pub(crate) static HOSTILE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hostile.wasm"));

/// Each call that may be under way takes address space, and here there are few.
const LIMITS: &str = "[limits]\nconcurrent_calls = 4\n";

/// What is to come of an attempt.
enum Expected {
    /// The call fails as component-fault, and the message says this of what was tried.
    Fault(&'static str),
    /// The call is stopped when its time is up.
    TimesOut,
    /// The component returns, and its report says this: it was given nothing, or nothing new.
    Claims(&'static str),
    /// Either of `Claims` and `Fault`: the component does not wait for what it tried.
    ClaimsOrFault(&'static str),
}
use Expected::{Claims, ClaimsOrFault, Fault, TimesOut};

/// An attempt, and what is to come of it.
struct Case {
    /// The attempt's name in the component's tables.
    name: &'static str,
    expected: Expected,
    /// What reaches the API, each as method and path.
    reaches: &'static [&'static str],
    /// Whether less may reach it, because the call may end before a request has left.
    or_less: bool,
    write: WriteOutcome,
    prepare: Option<fn(&Arena)>,
}

const fn case(name: &'static str, expected: Expected) -> Case {
    let (reaches, write) = (&[], WriteOutcome::None);
    Case { name, expected, reaches, or_less: false, write, prepare: None }
}

impl Case {
    /// That these permitted requests are sent.
    const fn reaching(mut self, requests: &'static [&'static str]) -> Self {
        self.reaches = requests;
        self
    }

    /// That these permitted requests, or the first of them, or none are sent.
    const fn reaching_at_most(mut self, requests: &'static [&'static str]) -> Self {
        self.or_less = true;
        self.reaching(requests)
    }

    /// That something was changed, as far as the host knows.
    const fn leaving(mut self, write: WriteOutcome) -> Self {
        self.write = write;
        self
    }

    /// That the API is to behave in a certain way.
    const fn with(mut self, prepare: fn(&Arena)) -> Self {
        self.prepare = Some(prepare);
        self
    }
}

/// A world with a hostile component in it, and with a server that is none of its business.
struct Arena {
    world: World,
    session: Session,
    other: Other,
}

impl Arena {
    /// The rooms are named after the attempts that are about them.
    async fn new(rooms: &[&str], limits: &str) -> Self {
        let world = World::with_rooms(rooms.iter().copied().map(RoomSeed::named).collect()).await;
        world.configure(&format!("{limits}[permissions]\nwrite = \"allow\"\n"));
        let session = world.session_with(None, Some(HOSTILE.to_vec()));
        Self { world, session, other: Other::start().await }
    }

    async fn attempt(&self, function: &str, name: &str) -> Outcome {
        self.session.call(None, function, self.arguments(function, name)).await
    }

    /// The arguments that tell the component which attempt to make.
    fn arguments(&self, function: &str, name: &str) -> Value {
        match function {
            "list_rooms" => json!({ "cursor": format!("{name} {}", self.other.address) }),
            "list_meetings" => json!({ "cursor": name, "room_name": "asked-for" }),
            "get_meeting" => {
                json!({ "meeting_id": format!("{name}:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10") })
            }
            "create_room" if name.ends_with("-default") => json!({ "room_name_prefix": name }),
            "create_room" => {
                json!({ "room_name_prefix": name, "end_date": "2099-01-01T00:00:00Z" })
            }
            "delete_room" if name.ends_with("-another-host") => {
                json!({ "room_name": format!("https://other-demo.whereby.com/{name}") })
            }
            "get_current_user" => json!({}),
            _ => json!({ "room_name": name }),
        }
    }

    /// Makes an attempt and checks what is to come of it, and whatever holds for every attempt.
    async fn check(&self, function: &str, case: &Case) {
        let Case { name, reaches, .. } = case;
        self.world.simulator.clear_requests();
        self.world.simulator.clear_scripts();
        if let Some(prepare) = case.prepare {
            prepare(self);
        }
        let outcome = self.attempt(function, name).await;
        match (&outcome.result, &case.expected) {
            (Err(error), Fault(fragment) | ClaimsOrFault(fragment)) => {
                assert_eq!(error.kind(), "component-fault", "{name}: {error}");
                assert!(error.to_string().contains(fragment), "{name}: {error}");
            }
            (Err(error), TimesOut) => assert_eq!(error.kind(), "timeout", "{name}: {error}"),
            (Ok(result), Claims(fragment)) => {
                let report = report(function, result);
                assert!(report.contains(fragment), "{name}: {report}");
            }
            (Ok(_), ClaimsOrFault(_)) => {}
            (result, _) => panic!("{name}: {result:?}"),
        }
        let requests = self.world.requests();
        let reached = lines(&requests);
        if case.or_less {
            assert!(reaches.iter().take(reached.len()).eq(&reached), "{name}: {reached:?}");
            // What was not sent changed nothing; what was sent may have.
            let written = reached.iter().any(|line| !line.starts_with("GET "));
            assert!(!written || outcome.write != WriteOutcome::None, "{name}: {outcome:?}");
        } else {
            assert_eq!(reached, *reaches, "{name}");
            assert_eq!(outcome.write, case.write, "{name}");
            assert_eq!(outcome.requests.len(), reached.len(), "{name}: {:?}", outcome.requests);
        }
        self.check_requests(name, &requests);
        for request in &requests {
            let agent = request.header("user-agent").unwrap_or_default();
            assert!(agent.starts_with("whereby/"), "{name}: {agent}");
            assert_eq!(request.header("transfer-encoding"), None, "{name}");
        }
        self.check_secrecy(name, &outcome);
        assert_eq!(self.other.connections(), 0, "{name} reached another server");
        self.world.simulator.clear_scripts();
        let next = self.session.call(None, "list_rooms", json!({})).await;
        let next = next.result.unwrap_or_else(|error| panic!("the call after {name}: {error}"));
        assert_eq!(report("list_rooms", &next), "200", "the call after {name}");
    }

    /// Whatever reached the API came from the host, or the guard: its headers, and the token once.
    fn check_requests(&self, name: &str, requests: &[RecordedRequest]) {
        let bearer = format!("Bearer {}", self.world.simulator.token());
        let lookup = format!("roomName%5BstartsWith%5D=%2F{name}");
        for request in requests {
            let query = request.query.as_str();
            let own = query.is_empty() || query.starts_with("cursor=") || query == lookup;
            assert!(own, "{name}: {query}");
            assert_eq!(request.header("authorization"), Some(bearer.as_str()), "{name}");
            assert_eq!(request.headers.get_all("authorization").iter().count(), 1, "{name}");
            let own = [
                "accept",
                "accept-encoding",
                "authorization",
                "content-length",
                "content-type",
                "host",
                "transfer-encoding",
                "user-agent",
            ];
            for header in request.headers.keys() {
                assert!(own.contains(&header.as_str()), "{name}: {header}");
            }
            assert_eq!(request.header("accept"), Some("application/json"), "{name}");
            assert_ne!(request.header("user-agent"), Some("mine"), "{name}");
        }
    }

    /// The token is nowhere in what a caller gets to see.
    fn check_secrecy(&self, name: &str, outcome: &Outcome) {
        let shown = match &outcome.result {
            Ok(result) => result.to_string(),
            Err(error) => {
                format!("{error} {:?} {}", error.hint(outcome.write), error.to_json(outcome.write))
            }
        };
        for token in self.world.simulator.tokens() {
            assert!(!shown.contains(token.as_str()), "{name} shows the token");
            assert!(!format!("{outcome:?}").contains(token.as_str()), "{name}: Debug");
        }
    }
}

/// The attempts of one group, by the function during whose call they are made.
type Group = Vec<(&'static str, Vec<Case>)>;

/// Every group with its attempts.
fn groups() -> [(&'static str, Group); 7] {
    [
        ("escape", escape::cases()),
        ("authority", authority::cases()),
        ("creation", creation::cases()),
        ("deletion", deletion::cases()),
        ("theft", theft::cases()),
        ("exhaustion", exhaustion::cases()),
        ("lies", lies::cases()),
    ]
}

/// What the component tells of its attempt, in a result that claims success.
fn report<'a>(function: &str, result: &'a Value) -> &'a str {
    let place = match function {
        "list_rooms" => "/data/0/roomName",
        "list_meetings" => "/meta/nextCursor",
        "get_meeting" => "/id",
        "get_current_user" => "/unavailableReason",
        _ => "/roomName",
    };
    result.pointer(place).and_then(Value::as_str).unwrap_or_else(|| panic!("{result}"))
}

/// The requests as methods and paths.
fn lines(requests: &[RecordedRequest]) -> Vec<String> {
    let path = |request: &RecordedRequest| match request.path.rsplit_once('/') {
        Some(("/v1/meetings", _)) => "/v1/meetings/{id}".to_owned(),
        _ => request.path.clone(),
    };
    requests.iter().map(|request| format!("{} {}", request.method, path(request))).collect()
}

/// Makes the attempts of a group, one after the other in the same session; those that leave
/// requests under way get a world of their own, where nothing can arrive late.
async fn check_all(rooms: &[&str], limits: &str, groups: Group) -> Arena {
    let arena = Arena::new(rooms, limits).await;
    for (function, cases) in groups {
        for case in cases {
            if case.or_less {
                Arena::new(&[case.name], limits).await.check(function, &case).await;
            } else {
                arena.check(function, &case).await;
            }
        }
    }
    arena
}

/// A server that nothing is to reach.
struct Other {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Other {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        // It ends with the test's runtime.
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn every_attempt_of_the_component_is_made_by_a_test() {
    let arena = Arena::new(&[], LIMITS).await;
    let arguments = json!({ "cursor": "attempts" });
    let page = arena.session.call(None, "list_rooms", arguments).await.result.expect("the names");
    let rooms = page["data"].as_array().expect("a list").iter();
    let made: BTreeSet<&str> = rooms.filter_map(|room| room["roomName"].as_str()).collect();
    let groups = groups();
    let tested: Vec<String> = groups
        .iter()
        .flat_map(|(_, functions)| functions)
        .flat_map(|(function, cases)| {
            cases.iter().map(move |case| format!("{function}:{}", case.name))
        })
        .collect();
    let unique: BTreeSet<&str> = tested.iter().map(String::as_str).collect();
    assert_eq!(unique, made);
    assert_eq!(unique.len(), tested.len(), "an attempt is tested twice");
}
