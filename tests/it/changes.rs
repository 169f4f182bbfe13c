//! What a person changes while a script runs holds for the script's next call.

use crate::agents::server;
use crate::mcp::ask;
use crate::wire::{ALLOW_ALL, daily};
use serde_json::{Value, json};
use whereby::simulator::{Gate, Reply};
use whereby_tests::{World, run, set_mode};

/// Calls twice, and says what came of the second call.
const SCRIPT: &str = "local whereby = app.integrations.whereby
    whereby.list_rooms({ limit = 1 })
    local done, problem = pcall(whereby.list_rooms, { limit = 2 })
    return done and 'done' or problem.kind .. ': ' .. problem.message";

const FILE: &str = "config/whereby/config.toml";

type Change = (&'static str, fn(&World), &'static str);

const CHANGES: [Change; 8] = [
    ("nothing", |_| {}, "done"),
    (
        "the user's rules",
        |world| drop(world.configure(&format!("{ALLOW_ALL}read = \"deny\"\n[agents.a]\n"))),
        "denied: ",
    ),
    (
        "the agent's rules",
        |world| {
            let rules = "[agents.a.permissions.functions]\nlist_rooms = \"deny\"\n";
            world.configure(&format!("{ALLOW_ALL}{rules}"));
        },
        "denied: ",
    ),
    (
        "a project's rules",
        |world| drop(world.write("project/.whereby.toml", "[permissions]\nread = \"deny\"\n")),
        "denied: ",
    ),
    (
        "the machine's rules, which ask",
        |world| drop(world.write("policy.toml", "[permissions]\nread = \"ask\"\n")),
        "approval-required: ",
    ),
    ("the agent is removed", |world| drop(world.configure(ALLOW_ALL)), "denied: "),
    (
        "a file that cannot be read",
        |world| drop(world.write(FILE, "[permissions")),
        "configuration: ",
    ),
    ("a file that others can write", |world| set_mode(&world.path(FILE), 0o666), "configuration: "),
];

async fn world() -> World {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(&format!("{ALLOW_ALL}[agents.a]\n"));
    world
}

/// Makes a change between the two calls of a script.
async fn meanwhile(
    world: &World,
    change: impl AsyncFnOnce(&World),
    script: impl Future<Output = Value>,
) -> Value {
    let gate = Gate::new();
    world.simulator.script("GET", "/v1/meetings", 1, Reply::carried_out().held_by(&gate));
    let changing = async {
        world.simulator.wait_for_requests(1).await;
        change(world).await;
        gate.open();
    };
    let (result, ()) = tokio::join!(script, changing);
    result
}

async fn by_command_line(world: &World, token: Option<&str>) -> Value {
    let mut environment = world.environment();
    let token = token.map(|token| ("WHEREBY_TOKEN".to_owned(), token.to_owned()));
    environment.variables.extend(token);
    let arguments = ["lua", "-e", SCRIPT, "--json", "--agent", "a"];
    let ran = run(&arguments, environment, "", false).await;
    ran.json()["result"].clone()
}

async fn by_tool(world: &World) -> Value {
    let params = json!({"name": "whereby_run_lua", "arguments": {"script": SCRIPT}});
    ask(server(world, Some("a")), "tools/call", params).await["structuredContent"]["result"].clone()
}

fn assert_came_to(world: &World, result: &Value, expected: &str, what: &str) {
    let text = result.as_str().unwrap_or_else(|| panic!("{what}: {result}"));
    assert!(text.starts_with(expected), "{what}: {text}");
    let sent = if expected == "done" { 2 } else { 1 };
    assert_eq!(world.requests().len(), sent, "{what}: {text}");
}

#[tokio::test]
async fn stricter_rules_hold_for_the_next_call_of_a_script() {
    for (what, change, expected) in CHANGES {
        let own = world().await;
        let script = by_command_line(&own, None);
        let result = meanwhile(&own, async |world| change(world), script).await;
        assert_came_to(&own, &result, expected, what);
        let own = world().await;
        let result = meanwhile(&own, async |world| change(world), by_tool(&own)).await;
        assert_came_to(&own, &result, expected, what);
    }
}

#[tokio::test]
async fn what_loosens_the_rules_waits_for_the_end_of_the_script() {
    let world = World::with_rooms(vec![daily()]).await;
    let get = "whereby.get_room, { room_name = 'daily' }";
    let script = SCRIPT.replace("whereby.list_rooms, { limit = 2 }", get);
    world.configure("[permissions.functions]\nget_room = \"deny\"\n");
    let run = async {
        let ran = world.run(&["lua", "-e", &script, "--json"]).await;
        ran.json()["result"].clone()
    };
    let loosen = async |world: &World| drop(world.configure(ALLOW_ALL));
    let result = meanwhile(&world, loosen, run).await;
    assert_came_to(&world, &result, "denied: ", "looser");
}

#[tokio::test]
async fn a_revoked_token_holds_for_no_further_call_of_a_script() {
    let world = world().await;
    let created = world.run(&["token", "create", "--agent", "a"]).await;
    let token = created.stdout.trim().to_owned();
    let listed = world.run(&["token", "list", "--json"]).await.json();
    let id = listed["tokens"][0]["id"].as_str().expect("an id").to_owned();
    let revoke = async |world: &World| {
        let revoked = world.run(&["token", "revoke", &id]).await;
        assert_eq!(revoked.code, 0, "{revoked:?}");
    };
    let script = by_command_line(&world, Some(&token));
    let result = meanwhile(&world, revoke, script).await;
    assert_came_to(
        &world,
        &result,
        "denied: the capability token cannot be used: it is revoked",
        "",
    );
}
