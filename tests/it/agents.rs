//! Agents: who they are, what each may do, and that an unknown one may do nothing.

use crate::cli::ran;
use crate::mcp::ask;
use crate::wire::{ALLOW_ALL, daily, kind, message, sent};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use whereby::lua::{Report, Runtime};
use whereby::mcp::Server;
use whereby::{Call, Outcome, Settings};
use whereby_tests::{World, run};

const CONFIG: &str = "config/whereby/config.toml";

/// A server for one agent that follows the configuration, as `whereby mcp --agent` does.
pub(crate) fn server(world: &World, agent: Option<&str>) -> Server {
    let environment = world.environment();
    let files = Settings::files(None, &environment).expect("known files");
    let reload = move || Settings::load(None, &environment);
    Server::builder(world.session()).agent(agent).reload(files, reload).scripts(true).build()
}

/// Calls a tool, and returns the document of its error.
pub(crate) async fn tool_error(server: &Server, function: &str, arguments: Value) -> Value {
    let params = json!({"name": format!("whereby_{function}"), "arguments": arguments});
    let result = ask(server.clone(), "tools/call", params).await;
    assert_eq!(result["isError"], true, "{result}");
    result["_meta"]["whereby/error"].clone()
}

async fn tool_names(server: &Server) -> Vec<Value> {
    let result = ask(server.clone(), "tools/list", json!({})).await;
    result["tools"].as_array().expect("a list").clone()
}

pub(crate) async fn script(world: &World, agent: Option<&str>, source: &str) -> Report {
    Runtime::new(world.session()).agent(agent).run(source, "test.lua").await
}

async fn call(world: &World, agent: &str, account: Option<&str>, function: &str) -> Outcome {
    let arguments = match function {
        "delete_room" | "get_room" => json!({"room_name": "daily"}),
        _ => json!({}),
    };
    let call = Call::new(function, arguments).account(account).agent(Some(agent));
    world.session().run(call).await
}

async fn world(toml: &str) -> World {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure(toml);
    world
}

#[tokio::test]
async fn an_unknown_agent_is_refused_everywhere_and_that_is_recorded() {
    let world = world("[agents.assistant]\n[agents.writer]\n").await;
    let ran = ran(&world, &["call", "list_rooms", "--agent", "asistant"], 4).await;
    for words in [
        "no agent is called `asistant` (did you mean `assistant`?); the agents are assistant, writer",
        "to add the agent, run: whereby agents add asistant",
    ] {
        assert!(ran.stderr.contains(words), "{ran:?}");
    }
    let error = tool_error(&server(&world, Some("asistant")), "list_rooms", json!({})).await;
    assert_eq!(error["kind"], "denied");
    let report =
        script(&world, Some("asistant"), "return app.integrations.whereby.list_rooms({})").await;
    let lua = report.error.expect("refused").to_json();
    for error in [error, lua] {
        assert_eq!(error["kind"], "denied");
        assert_eq!(error["message"], "no agent is called `asistant`");
        let hint = error["hint"].as_str().expect("a hint");
        assert!(hint.starts_with("do not try again"), "{hint}");
        assert!(!hint.contains("whereby agents"), "{hint}");
    }
    let list = world.run(&["list", "--agent", "asistant"]).await;
    assert_eq!(list.code, 4, "{list:?}");
    let rows = world.audit();
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert_eq!(row.agent.as_deref(), Some("asistant"));
        let outcome = row.outcome.expect("an outcome");
        assert_eq!(outcome.kind.as_deref(), Some("denied"));
        assert!(outcome.requests.is_empty());
    }
    world.assert_untouched();
}

#[tokio::test]
async fn without_any_agent_the_refusal_says_how_to_add_one() {
    let world = world("").await;
    let ran = ran(&world, &["call", "list_rooms", "--agent", "x", "--json"], 4).await;
    let error = ran.json()["error"].clone();
    let expected = "no agent is called `x`; the configuration has no agents";
    assert_eq!(error["message"], expected);
    assert_eq!(error["hint"], "to add the agent, run: whereby agents add x");
    // A name that no agent can have is not one to add.
    let ran = self::ran(&world, &["call", "list_rooms", "--agent", "X; rm", "--json"], 4).await;
    assert_eq!(
        ran.json()["error"]["hint"],
        "do not try again; a person must start this program for \
                                             another agent"
    );
    world.assert_untouched();
    // A call without an agent has the account's own rules.
    self::ran(&world, &["call", "list_rooms"], 0).await;
}

#[tokio::test]
async fn the_flag_comes_before_the_variable_and_an_empty_variable_is_none() {
    let world = world("[agents.reader.permissions]\nwrite = \"deny\"\n[agents.none.permissions]\nread = \"deny\"\n").await;
    let list = |variable: &'static str, flag: &'static [&'static str]| {
        let mut environment = world.environment();
        environment.variables.insert("WHEREBY_AGENT".into(), variable.into());
        let arguments = [&["call", "list_rooms", "--json"], flag].concat();
        async move { run(&arguments, environment, "", false).await }
    };
    assert_eq!(list("none", &[]).await.code, 4);
    assert_eq!(list("ghost", &[]).await.code, 4);
    assert_eq!(list("reader", &["--agent", "none"]).await.code, 4);
    world.assert_untouched();
    assert_eq!(list("none", &["--agent", "reader"]).await.code, 0);
    world.simulator.clear_requests();
    // To ignore it would loosen the rules.
    let ran = list("", &[]).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    world.assert_untouched();
    let agents: Vec<_> = world.audit().into_iter().map(|row| row.agent).collect();
    let names = ["none", "ghost", "none", "reader"].map(|name| Some(name.to_owned()));
    assert_eq!(agents[..4], names);
    assert_eq!(agents[4].as_deref(), Some(""));
}

#[tokio::test]
async fn an_agent_uses_its_accounts_alone() {
    let world = world("[agents.a]\naccounts = [\"other\"]\n").await;
    // Its only account, although another is the default.
    let outcome = call(&world, "a", None, "list_rooms").await;
    assert_eq!(outcome.account.as_deref(), Some("other"));
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    let outcome = call(&world, "a", Some("default"), "list_rooms").await;
    assert_eq!(outcome.account.as_deref(), Some("other"));
    world.simulator.clear_requests();

    let outcome = call(&world, "a", Some("work"), "list_rooms").await;
    assert_eq!(kind(&outcome), "denied");
    let file = world.path(CONFIG);
    let rule = format!("agents.a.accounts = [\"other\"] ({}, line 3)", file.display());
    assert!(message(&outcome).contains(&rule), "{}", message(&outcome));
    // An agent is told which it may use, and not where that is written.
    let server = server(&world, Some("a"));
    let error = tool_error(&server, "list_rooms", json!({"account": "work"})).await;
    assert_eq!(error["kind"], "invalid-argument", "there is nothing to choose");
    let source = "return app.integrations.whereby.work.list_rooms({})";
    let error = script(&world, Some("a"), source).await.error.expect("no such account");
    assert!(error.message.contains("has no `work`"), "{error:?}");
    let outcome = call(&world, "a", Some("nobody"), "list_rooms").await;
    assert!(message(&outcome).ends_with("the agent `a` may use other"), "{}", message(&outcome));
    world.assert_untouched();

    let names =
        |tools: &[Value]| tools.iter().all(|t| t["inputSchema"]["properties"]["account"].is_null());
    assert!(names(&tool_names(&server).await));
    let listed = ran(&world, &["list", "--agent", "a", "--json"], 0).await.json();
    assert_eq!(listed["functions"][0]["permissions"], json!({"other": "allow"}));
}

#[tokio::test]
async fn several_accounts_without_the_default_are_to_be_chosen_from() {
    let world = world("[agents.a]\naccounts = [\"work\", \"other\"]\n").await;
    let text = std::fs::read_to_string(world.path(CONFIG)).expect("the configuration");
    world.write(CONFIG, &text.replace("default_account = \"work\"\n", ""));
    let outcome = call(&world, "a", None, "list_rooms").await;
    assert_eq!(kind(&outcome), "configuration");
    assert!(message(&outcome).contains("several accounts (work, other)"), "{}", message(&outcome));
    let error = tool_error(&server(&world, Some("a")), "list_rooms", json!({})).await;
    assert_eq!(error["kind"], "invalid-argument");
    world.assert_untouched();
}

#[tokio::test]
async fn every_layer_can_only_make_it_stricter() {
    // The account, the agent, the project file, and what comes of it.
    for (account, agent, project, expected) in [
        ("allow", "allow", "allow", "allow"),
        ("allow", "ask", "allow", "ask"),
        ("allow", "deny", "allow", "deny"),
        ("allow", "allow", "deny", "deny"),
        ("allow", "ask", "deny", "deny"),
        ("allow", "deny", "ask", "deny"),
        ("ask", "allow", "allow", "ask"),
        ("deny", "allow", "allow", "deny"),
    ] {
        let world = world(&format!(
            "[permissions]\nwrite = \"{account}\"\n[agents.a.permissions]\nwrite = \"{agent}\"\n"
        ))
        .await;
        let rules = format!("[permissions]\nwrite = \"{project}\"\n");
        world.write("project/.whereby.toml", &rules);
        let outcome = call(&world, "a", None, "delete_room").await;
        let case = format!("{account} {agent} {project}");
        match expected {
            "allow" => assert!(outcome.result.is_ok(), "{case}"),
            _ => {
                let kinds = [("ask", "approval-required"), ("deny", "denied")];
                assert!(kinds.contains(&(expected, kind(&outcome))), "{case}");
                world.assert_untouched();
            }
        }
    }
}

#[tokio::test]
async fn an_agent_is_refused_from_its_last_date_on() {
    let world = world(ALLOW_ALL).await;
    ran(&world, &["agents", "add", "a", "--for", "1h"], 0).await;
    let server = server(&world, Some("a"));
    assert!(call(&world, "a", None, "list_rooms").await.result.is_ok());
    world.simulator.clear_requests();
    world.move_clock(60 * 60);
    let outcome = call(&world, "a", None, "list_rooms").await;
    assert_eq!(kind(&outcome), "denied");
    assert!(message(&outcome).contains("agents.a.valid_until = \""), "{}", message(&outcome));
    let error = tool_error(&server, "list_rooms", json!({})).await;
    assert_eq!(error["kind"], "denied");
    assert!(!error.to_string().contains("config.toml"), "{error}");
    let report = script(&world, Some("a"), "return app.integrations.whereby.list_rooms({})").await;
    assert_eq!(report.error.expect("refused").kind, "denied");
    // Not forced either.
    let forced = ["call", "delete_room", "--arg", "room_name=daily", "--agent", "a", "--force"];
    ran(&world, &forced, 4).await;
    world.assert_untouched();
    // Others are not concerned.
    assert!(world.call("list_rooms", json!({})).await.result.is_ok());
}

#[tokio::test]
async fn a_running_server_follows_the_agents_of_the_configuration() {
    let world = world(ALLOW_ALL).await;
    let server = server(&world, Some("late"));
    let error = tool_error(&server, "list_rooms", json!({})).await;
    assert_eq!(error["message"], "no agent is called `late`");
    world.assert_untouched();
    ran(&world, &["agents", "add", "late", "--write", "deny"], 0).await;
    let tools = tool_names(&server).await;
    assert!(tools.iter().any(|tool| tool["name"] == "whereby_list_rooms"));
    assert!(tools.iter().all(|tool| tool["name"] != "whereby_delete_room"));
    let params = json!({"name": "whereby_list_rooms", "arguments": {"account": "work"}});
    let result = ask(server.clone(), "tools/call", params).await;
    assert_ne!(result["isError"], true, "{result}");
    assert_eq!(sent(&world).len(), 1);
    ran(&world, &["agents", "remove", "late"], 0).await;
    let error = tool_error(&server, "list_rooms", json!({})).await;
    assert_eq!(error["kind"], "denied");
    assert_eq!(sent(&world).len(), 1);
}

#[tokio::test]
async fn commands_edit_the_agents_and_keep_the_rest_of_the_file() {
    let world = world("# Mine.\n").await;
    let before = std::fs::read_to_string(world.path(CONFIG)).expect("the configuration");
    let add = [
        "agents",
        "add",
        "helper",
        "--account",
        "work",
        "--account",
        "other",
        "--valid-until",
        "2999-01-31T12:00:00+01:00",
        "--write",
        "ask",
        "--function",
        "delete-room=deny",
        "--json",
    ];
    let document = ran(&world, &add, 0).await.json();
    let file = world.path(CONFIG);
    let expected = json!({"success": true, "file": file, "agent": "helper", "tokens": []});
    assert_eq!(document, expected);
    let after = std::fs::read_to_string(world.path(CONFIG)).expect("the configuration");
    assert!(after.starts_with(&before), "{after}");
    let added = "[agents.helper]\naccounts = [\"work\", \"other\"]\n\
                 valid_until = 2999-01-31T11:00:00Z\n\n[agents.helper.permissions]\nwrite = \"ask\"\n\n\
                 [agents.helper.permissions.functions]\ndelete_room = \"deny\"\n";
    assert!(after.contains(added), "{after}");
    let mode = std::fs::metadata(world.path(CONFIG)).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    ran(&world, &["agents", "add", "plain"], 0).await;

    let list = ran(&world, &["agents", "list", "--json"], 0).await.json();
    assert_eq!(
        list["agents"][0],
        json!({
            "name": "helper",
            "accounts": ["work", "other"],
            "valid_until": "2999-01-31T11:00:00Z",
            "frozen": false,
            "freezes": [],
        })
    );
    assert_eq!(list["agents"][1]["accounts"], Value::Null);
    let shown = ran(&world, &["agents", "list"], 0).await.stdout;
    assert!(shown.contains("work, other") && shown.contains("all"), "{shown}");

    // What cannot be is refused, and changes nothing.
    let before = std::fs::read_to_string(world.path(CONFIG)).expect("the configuration");
    for (arguments, words) in [
        (&["add", "helper"][..], "there is an agent `helper` already"),
        (&["add", "Helper"], "cannot be an agent's name"),
        (&["add", "list_rooms"], "cannot be an agent's name"),
        (&["add", "x", "--account", "wrk"], "no account is called `wrk` (did you mean `work`?)"),
        (&["add", "x", "--valid-until", "2020-01-01T00:00:00Z"], "is not in the future"),
        (
            &["add", "x", "--valid-until", "2999-01-01"],
            "--valid-until 2999-01-01: expected a date with a time zone",
        ),
        (&["add", "x", "--for", "soon"], "--for soon: expected a time such as 90m"),
        (&["add", "x", "--for", "0d"], "--for 0d: expected a time such as 90m"),
        (
            &["add", "x", "--for", "1h", "--valid-until", "2999-01-01T00:00:00Z"],
            "cannot be used with",
        ),
        (&["add", "x", "--write", "perhaps"], "expected allow, ask or deny"),
        (&["remove", "helpr"], "no agent is called `helpr` (did you mean `helper`?)"),
    ] {
        let ran = ran(&world, &[&["agents"], arguments].concat(), 2).await;
        assert!(ran.stderr.contains(words), "{arguments:?}: {ran:?}");
    }
    let same = std::fs::read_to_string(world.path(CONFIG)).expect("the configuration");
    assert_eq!(same, before);
    for name in ["helper", "plain"] {
        ran(&world, &["agents", "remove", name], 0).await;
    }
    let shown = ran(&world, &["agents", "list"], 0).await.stdout;
    assert_eq!(shown, "no agents; to add one, run: whereby agents add NAME\n");
    // The account of an agent cannot be removed under it.
    ran(&world, &["agents", "add", "a", "--account", "other"], 0).await;
    let ran = world.run(&["configure", "--account", "other", "--remove"]).await;
    assert_ne!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("`agents.a.accounts` names the unknown account"), "{ran:?}");
}

#[tokio::test]
async fn a_file_with_a_wrong_agent_is_refused_with_its_line() {
    for (toml, words) in [
        ("agents = 1\n", "`agents` must be a table"),
        ("[agents.Bad]\n", "cannot be an agent's name"),
        ("[agents.get-room]\n", "cannot be an agent's name"),
        ("[agents.a]\naccount = [\"work\"]\n", "did you mean `accounts`?"),
        ("[agents.a]\naccounts = \"work\"\n", "must be an array of strings"),
        ("[agents.a]\naccounts = []\n", "is empty"),
        (
            "[agents.a]\naccounts = [\"wrok\"]\n",
            "names the unknown account `wrok` (did you mean `work`?)",
        ),
        ("[agents.a]\nvalid_until = 2999-01-01\n", "must be a date with a time zone"),
        ("[agents.a]\nvalid_until = 2999-01-01T00:00:00\n", "must be a date with a time zone"),
        ("[agents.a.permissions]\nwrites = \"ask\"\n", "did you mean `write`?"),
        (
            "[agents.a.permissions.functions.list_rooms]\npermission = \"allow\"\nrooms = [\"x\"]\n",
            "rooms",
        ),
    ] {
        let world = world(toml).await;
        let error = Settings::load(None, &world.environment()).expect_err(toml);
        assert_eq!(error.kind(), "configuration");
        let text = error.to_string();
        assert!(text.contains(words) && text.contains(", line "), "{toml}: {text}");
    }
    // Nobody else's file can say who is an agent.
    let world = world("").await;
    world.write("project/.whereby.toml", "[agents.a]\n");
    let error = Settings::load(None, &world.environment()).expect_err("a project's agent");
    assert!(error.to_string().contains("`agents` is not allowed here"), "{error}");
}

#[tokio::test]
async fn people_see_which_agent_asks() {
    let world = world("[agents.a]\n[agents.b]\n").await;
    let delete = ["call", "delete_room", "--arg", "room_name=daily", "--json"];
    let mut ids = Vec::new();
    for agent in [&[][..], &["--agent", "a"], &["--agent", "b"]] {
        let stored = ran(&world, &[&delete[..], agent].concat(), 5).await.json();
        ids.push(stored["meta"]["approval_id"].as_str().expect("an id").to_owned());
    }
    // Each has an approval of its own.
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    let list = ran(&world, &["approvals", "list"], 0).await.stdout;
    assert!(list.contains("a via cli") && list.contains("b via cli"), "{list}");
    let show = ran(&world, &["approvals", "show", &ids[1]], 0).await.stdout;
    assert!(show.contains("a via cli"), "{show}");
    let shown = ran(&world, &["approvals", "show", &ids[1], "--json"], 0).await.json();
    assert_eq!(shown["approval"]["agent"], "a");
    ran(&world, &["approvals", "approve", &ids[1]], 0).await;
    // The approval of one agent is none of another's.
    for agent in [&[][..], &["--agent", "b"]] {
        ran(&world, &[&delete[..], agent].concat(), 5).await;
    }
    world.assert_untouched();
    ran(&world, &[&delete[..], &["--agent", "a"]].concat(), 0).await;

    let audit = ran(&world, &["audit", "--agent", "a", "--json"], 0).await.json();
    let rows = audit["audit"].as_array().expect("rows");
    // Two calls, and what a person decided in between.
    let decided: Vec<&Value> = rows.iter().map(|row| &row["decision"]["what"]).collect();
    assert_eq!(decided, [&Value::Null, &"approve".into(), &Value::Null], "{audit}");
    assert!(rows.iter().all(|row| row["agent"] == "a"), "{audit}");
    let table = ran(&world, &["audit", "--agent", "b"], 0).await.stdout;
    assert!(table.contains("b via cli") && !table.contains("a via cli"), "{table}");
    assert_eq!(ran(&world, &["audit", "--agent", "nobody"], 0).await.stdout, "no calls\n");
}

#[tokio::test]
async fn adding_an_agent_says_where_the_rules_of_its_accounts_are_stricter() {
    let given = [
        (&["--write", "ask"][..], &[][..], &["is stricter"][..]),
        (&[], &[], &["is stricter"]),
        (
            &["--write", "allow", "--account", "work"],
            &["the account `work` is stricter than what you gave the agent `a`: the default \
               permissions.write = \"ask\" applies to create_room, delete_room"],
            &["`other`", "get_room"],
        ),
        (
            &["--read", "allow"],
            &[
                "the account `work` is stricter than what you gave the agent `a`: \
                 permissions.functions.get_room = \"deny\"",
                "the account `other` is stricter than what you gave the agent `a`: \
                 accounts.other.permissions.read = \"deny\"",
            ],
            &["create_room"],
        ),
        (
            &["--function", "delete_room=allow", "--destination", "allow", "--account", "work"],
            &["applies to delete_room", "applies to recording and streaming"],
            &["create_room"],
        ),
        // A condition alone leaves the word to the account.
        (&["--function", "create_room.rooms=bot-*"], &[], &["is stricter"]),
    ];
    for (options, there, absent) in given {
        let world = world("[permissions.functions]\nget_room = \"deny\"\n").await;
        let text = std::fs::read_to_string(world.path(CONFIG)).expect("the configuration");
        let other = "[accounts.other]\npermissions.read = \"deny\"\n";
        world.write(CONFIG, &text.replace("[accounts.other]\n", other));
        let said = ran(&world, &[&["agents", "add", "a"], options].concat(), 0).await.stderr;
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for words in there {
            assert!(said.contains(words), "{options:?}: {said}");
        }
        for words in absent {
            assert!(!said.contains(words), "{options:?}: {said}");
        }
    }
}

#[tokio::test]
async fn the_tokens_of_a_removed_agent_are_named_when_it_goes_and_when_it_comes_back() {
    let world = world("[agents.a]\n[agents.b]\n").await;
    let mut ids = Vec::new();
    for limits in [&["--agent", "a"][..], &["--agent", "b"], &["--agent", "a", "--for", "1h"]] {
        let created =
            ran(&world, &[&["token", "create", "--json"], limits].concat(), 0).await.json();
        ids.push(created["token"]["id"].as_str().expect("an id").to_owned());
    }
    let removed = ran(&world, &["agents", "remove", "a"], 0).await.stdout;
    assert!(
        removed.contains("its tokens work again if an agent with this name is added"),
        "{removed}"
    );
    let commands = [0, 2].map(|index| format!("whereby token revoke {}", &ids[index][..8]));
    assert!(commands.iter().all(|command| removed.contains(command)), "{removed}");
    assert!(!removed.contains(&ids[1][..8]), "{removed}");
    // What is over is not.
    world.move_clock(2 * 3600);
    let added = ran(&world, &["agents", "add", "a"], 0).await;
    let said = added.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("tokens of an earlier agent with this name work again"), "{said}");
    assert!(said.contains(&commands[0]) && !said.contains(&commands[1]), "{said}");
    ran(&world, &["token", "revoke", &ids[0][..8]], 0).await;
    let removed = ran(&world, &["agents", "remove", "a", "--json"], 0).await.json();
    assert_eq!(removed["tokens"], json!([]));
    let added = ran(&world, &["agents", "add", "a"], 0).await;
    assert!(!added.stderr.contains("earlier agent"), "{added:?}");
}
