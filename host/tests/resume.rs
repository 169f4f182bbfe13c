//! Approved calls with several processes at once, killed at any time: each is made once, and what is not
//! known of one is said to be unknown.

#![cfg(all(unix, feature = "simulator", feature = "mcp"))]

mod world;

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use whereby::simulator::Reply;
use whereby::{ApprovalState, Store};
use world::World;

/// A user whose writes need approval.
async fn new() -> World {
    let world = World::new("[limits]\ntimeout_seconds = 10").await;
    // The component is compiled once, so that no program is killed while it does that.
    let mut first = world.command(&["call", "list_rooms"]).spawn().expect("the program starts");
    let first = tokio::task::spawn_blocking(move || first.wait()).await.expect("no panic");
    assert!(first.expect("it ends").success());
    world
}

fn store(world: &World) -> Arc<Store> {
    Store::new(world.home.path().join(".local/state/whereby"))
}

/// How many requests that create a room came for each prefix.
fn created(world: &World) -> HashMap<String, usize> {
    let mut created = HashMap::new();
    for request in world.simulator.requests().iter().filter(|of| of.method == "POST") {
        // Empty if the program was killed before it sent all of it.
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let prefix = body["roomNamePrefix"].as_str().unwrap_or_default().to_owned();
        *created.entry(prefix).or_default() += 1;
    }
    created
}

fn room(prefix: &str) -> Value {
    json!({"room_name_prefix": prefix, "end_date": "2999-01-01T00:00:00Z"})
}

/// An MCP server in a process of its own.
struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    asked: u64,
}

impl Program {
    fn start(world: &World) -> Self {
        let mut child =
            world.command(&["mcp"]).stdin(Stdio::piped()).spawn().expect("the program starts");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, input, output, asked: 0 }
    }

    fn begin(&mut self) {
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "tester", "version": "1"}});
        self.ask("initialize", params);
        writeln!(self.input, r#"{{"jsonrpc":"2.0","method":"notifications/initialized"}}"#)
            .expect("written");
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let request =
            json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        writeln!(self.input, "{request}").expect("written");
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).expect("read") > 0, "it has ended");
            let mut answer: Value = serde_json::from_str(&line).expect("JSON");
            if answer["id"] == self.asked {
                return answer["result"].take();
            }
        }
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Makes a call that is stored for approval; its id.
    fn stored(&mut self, prefix: &str) -> String {
        let result = self.call("whereby_create_room", room(prefix));
        let error = &result["_meta"]["whereby/error"];
        error["approval_id"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned()
    }

    fn resume(&mut self, id: &str) -> Value {
        self.call("whereby_resume", json!({"approval_id": id, "wait_seconds": 60}))
    }

    /// The program ends by itself.
    fn end(self) {
        let Self { mut child, input, output, .. } = self;
        drop((input, output));
        child.wait().expect("it ends");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixteen_programs_one_makes_the_approved_call() {
    let world = Arc::new(new().await);
    let own = Arc::clone(&world);
    let work = move || {
        let mut first = Program::start(&own);
        first.begin();
        let ids: Vec<String> = ["a-", "b-"].iter().map(|prefix| first.stored(prefix)).collect();
        first.end();
        for id in &ids {
            store(&own).approve(id).expect("approved");
        }
        let arguments = room("b-").to_string();
        let results: Vec<Value> = std::thread::scope(|scope| {
            let servers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut program = Program::start(&own);
                        program.begin();
                        let result = program.resume(&ids[0]);
                        program.end();
                        result
                    })
                })
                .collect();
            // The same of the other call, which the servers make too.
            let calls: Vec<_> = (0..8)
                .map(|_| {
                    let call = ["call", "create_room", &arguments, "--json"];
                    let call = own.command(&call).spawn().expect("it starts");
                    scope.spawn(move || call.wait_with_output().expect("it ends").status.code())
                })
                .collect();
            let codes = calls.into_iter().map(|call| call.join().expect("no panic"));
            let made = codes.filter(|code| *code == Some(0)).count();
            assert!(made <= 1, "{made} have one result");
            servers.into_iter().map(|server| server.join().expect("no panic")).collect()
        });
        for result in &results {
            assert_eq!(result["isError"], false, "{result}");
            assert_eq!(result["structuredContent"], results[0]["structuredContent"]);
        }
    };
    tokio::task::spawn_blocking(work).await.expect("no panic");
    let created = created(&world);
    assert_eq!((created.get("a-"), created.get("b-")), (Some(&1), Some(&1)), "{created:?}");
}

/// How many programs are killed.
const KILLS: usize = 200;

/// How many calls are stored before programs are killed. One client may store 25.
const BATCH: usize = 20;

/// The longest time that a program has before it is killed.
const LONGEST: Duration = Duration::from_millis(300);

/// Random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_killed_makes_no_call_twice_and_hides_none() {
    let seed = match std::env::var("WHEREBY_TEST_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64 | 1,
    };
    println!("WHEREBY_TEST_SEED={seed}");
    let world = Arc::new(new().await);
    // So that some are killed while Whereby works.
    let slow = Reply::carried_out().delayed(Duration::from_millis(40));
    world.simulator.script("POST", "/v1/meetings", usize::MAX, slow);
    let own = Arc::clone(&world);
    let work = move || {
        let mut random = Random(seed);
        let mut calls: Vec<(String, String)> = Vec::new();
        let kept = store(&own);
        for batch in 0..KILLS / 2 / BATCH {
            let mut program = Program::start(&own);
            program.begin();
            let prefix = |number: usize| format!("k{batch}-{number}-");
            let stored: Vec<(String, String)> = (0..BATCH)
                .map(|number| (program.stored(&prefix(number)), prefix(number)))
                .collect();
            program.end();
            for (id, _) in &stored {
                kept.approve(id).expect("approved");
                let running: Vec<Program> = (0..2).map(|_| Program::start(&own)).collect();
                for mut program in running {
                    let limit = LONGEST.as_micros() as u64;
                    std::thread::sleep(Duration::from_micros(random.below(limit)));
                    program.child.kill().expect("killed");
                    program.child.wait().expect("gone");
                }
            }
            calls.extend(stored);
        }
        // What no program began is made by the next one, and it tells what became of all others.
        let mut program = Program::start(&own);
        program.begin();
        let mut effects = HashMap::new();
        for (id, prefix) in &calls {
            let result = program.resume(id);
            let effect = match &result["_meta"]["whereby/error"]["effect"] {
                Value::String(effect) => effect.clone(),
                _ => "done".to_owned(),
            };
            assert_eq!(result["isError"] == true, effect == "unknown", "{prefix}: {result}");
            effects.insert(prefix.clone(), effect);
            let state = kept.approval(id).expect("read").expect("an approval").state;
            assert_eq!(state, ApprovalState::Used, "{prefix}");
        }
        program.end();
        effects
    };
    let effects = tokio::task::spawn_blocking(work).await.expect("no panic");
    let created = created(&world);
    for (prefix, effect) in &effects {
        let count = created.get(prefix).copied().unwrap_or_default();
        match effect.as_str() {
            "done" => assert_eq!(count, 1, "{prefix}"),
            _ => assert!(count <= 1, "{prefix}: {count}"),
        }
    }
    let of = |wanted: &str| effects.values().filter(|effect| *effect == wanted).count();
    println!("done: {}, unknown: {}", of("done"), of("unknown"));
    assert_eq!(of("done") + of("unknown"), KILLS / 2);
}
