//! `whereby lua` as it is seen from outside.

use super::open_world;
use crate::wire::ALLOW_ALL;
use serde_json::{Value, json};
use whereby_tests::{Ran, World, run};

/// The one document of a script, which is there whatever happens.
fn document(ran: &Ran) -> Value {
    assert_eq!(ran.stdout.matches('\n').count(), 1, "one line: {ran:?}");
    let document = ran.json();
    let members: Vec<&String> = document.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["success", "output", "result", "error", "calls", "duration_ms"]);
    assert_eq!(document["success"] == true, ran.code == 0, "{ran:?}");
    assert_eq!(document["error"].is_null(), ran.code == 0, "{ran:?}");
    document
}

async fn lua(world: &World, arguments: &[&str]) -> Ran {
    world.run(&[&["lua"], arguments].concat()).await
}

#[tokio::test]
async fn a_script_is_a_file_an_argument_or_standard_input() {
    let world = open_world().await;
    world.write(
        "project/rooms.lua",
        "#!/usr/bin/env -S whereby lua\nprint('from a file')\nreturn { n = 1 }\n",
    );
    let ran = lua(&world, &["rooms.lua"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "from a file\nn  1\n"), "{ran:?}");
    for flag in ["-e", "--execute", "--eval"] {
        let ran = lua(&world, &[flag, "print(1, 'a\\tb') return 'done'"]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "1\ta\tb\ndone\n"), "{ran:?}");
    }
    let ran = run(&["lua", "-"], world.environment(), "return 2 + 2", false).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "4\n"), "{ran:?}");
    let ran = world
        .run(&[
            "integrations:lua",
            "--eval",
            "dump(app.integrations.whereby.list_rooms({limit = 1}))",
            "--json",
        ])
        .await;
    assert_eq!(document(&ran)["calls"][0]["function"], "list_rooms");
    // What scripts print does not act on the terminal.
    let ran = lua(&world, &["-e", "print('\\27[2J\\226\\128\\174')"]).await;
    assert_eq!(ran.stdout, "\\u{1b}[2J\\u202e\n");
}

#[tokio::test]
async fn the_document_is_printed_whatever_happens() {
    let world = open_world().await;
    world.write("project/long.lua", &"-- long\n".repeat(10_000));
    for (arguments, kind, code) in [
        (&["-e", "error('x')"][..], "script", 1),
        (&["-e", "x ="], "syntax", 1),
        (&["-e", "while true do end", "--max-steps", "1"], "step-limit", 1),
        (&["-e", "app.integrations.whereby.get_room({ room_name = 'nowhere' })"], "not-found", 6),
        (&["-e", "app.integrations.whereby.get_room({})"], "invalid-argument", 2),
        (&["-e", "return print"], "script", 1),
        (&[], "usage", 2),
        (&["nowhere.lua"], "usage", 2),
        (&["long.lua"], "usage", 2),
        (&["a.lua", "-e", "return 1"], "usage", 2),
        (&["--force", "-e", "return 1"], "usage", 2),
        (&["--timeout", "0", "-e", "return 1"], "usage", 2),
        (&["--max-calls", "many", "-e", "return 1"], "usage", 2),
        (&["--account", "nobody", "-e", "return 1"], "usage", 2),
    ] {
        for arguments in [[arguments, &["--json"]].concat(), [&["--json"], arguments].concat()] {
            let ran = lua(&world, &arguments).await;
            assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{arguments:?}: {ran:?}");
            assert_eq!(document(&ran)["error"]["kind"], kind, "{arguments:?}");
        }
    }
    let ran = world.run(&["--json", "--account", "work", "lua", "--nonsense"]).await;
    assert_eq!(document(&ran)["error"]["kind"], "usage");
    world.write("config/whereby/config.toml", "nonsense = 1\n");
    let ran = lua(&world, &["-e", "return 1", "--json"]).await;
    assert_eq!((document(&ran)["error"]["kind"].clone(), ran.code), (json!("configuration"), 3));
}

#[tokio::test]
async fn people_are_told_where_and_why() {
    let world = open_world().await;
    world.configure("");
    world.write("project/bad.lua", "print('before')\n\nlocal x = nil\nx.y = 1\n");
    for (arguments, code, stdout, stderr) in [
        (&["bad.lua"][..], 1, "before\n", "error: bad.lua:4: attempt to index nil with 'y'\n"),
        (
            &["-e", "app.integrations.whereby.list_rooms(10)"],
            2,
            "",
            "error: script:1: list_rooms takes one table of named arguments, not a number\n\
             hint: for example: app.integrations.whereby.list_rooms({ limit = 10 })\n",
        ),
        (
            &["-e", "app.integrations.whereby.list_rooms(10)", "--quiet"],
            2,
            "",
            "error: script:1: list_rooms takes one table of named arguments, not a number\n\
             hint: for example: app.integrations.whereby.list_rooms({ limit = 10 })\n",
        ),
    ] {
        let ran = lua(&world, arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (code, stdout, stderr));
    }
    let ran = lua(&world, &["-e", "app.integrations.whereby.create_room({})"]).await;
    assert_eq!(ran.code, 5, "{ran:?}");
    let stored = world.store().approvals(false).expect("read");
    let command = format!("whereby approvals approve {}", stored[0].id);
    assert!(ran.stderr.contains(&command), "{}", ran.stderr);
    world.assert_untouched();
}

#[tokio::test]
async fn limits_are_the_configuration_s_and_the_command_line_s() {
    let world = open_world().await;
    world.configure(&format!("{ALLOW_ALL}[lua]\ncalls = 1\nsteps_millions = 1\n"));
    let twice = "for i = 1, 2 do app.integrations.whereby.list_rooms({}) end";
    let ran = lua(&world, &["-e", twice, "--json"]).await;
    assert_eq!(document(&ran)["error"]["kind"], "call-limit");
    let configured = "do less at a time, or have the user raise calls in [lua]";
    assert_eq!(document(&ran)["error"]["hint"], configured);
    let ran = lua(&world, &["-e", twice, "--json", "--max-calls", "1"]).await;
    let error = document(&ran)["error"].clone();
    assert_eq!(error["message"], "the script made more than 1 call and was stopped");
    assert_eq!(error["hint"], "do less at a time, or raise --max-calls");
    for (script, flag) in [
        ("while true do end", "--max-steps"),
        ("return string.rep('x', 2^22)", "--memory-mib"),
        ("print(string.rep('x', 2000))", "--max-output-kib"),
    ] {
        let value = if flag == "--memory-mib" { "2" } else { "1" };
        let ran = lua(&world, &["-e", script, "--json", flag, value]).await;
        let hint = document(&ran)["error"]["hint"].clone();
        let words = format!(", or raise {flag}");
        assert!(hint.as_str().is_some_and(|hint| hint.ends_with(&words)), "{script}: {ran:?}");
    }
    let ran = lua(&world, &["-e", twice, "--json", "--max-calls", "2"]).await;
    assert_eq!(document(&ran)["error"], json!(null));
    for (toml, expected) in [
        ("[lua]\ncall = 1\n", "unknown key `lua.call` (did you mean `calls`?)"),
        ("[lua]\ncalls = -1\n", "`lua.calls` must be an integer from 0 to 10000"),
        ("[lua]\nmemory_mib = 1\n", "`lua.memory_mib` must be an integer from 2 to 256"),
        ("lua = 1\n", "`lua` must be a table"),
    ] {
        world.configure(toml);
        let ran = lua(&world, &["-e", "return 1"]).await;
        assert!(ran.code == 3 && ran.stderr.contains(expected), "{toml}: {ran:?}");
    }
}

#[tokio::test]
async fn a_person_approves_a_call_of_a_script_on_the_terminal() {
    let world = open_world().await;
    world.configure("");
    let script =
        "return app.integrations.whereby.create_room({ room_name_prefix = 'asked-' }).roomName";
    let ran = run(&["lua", "-e", script], world.environment(), "n\n", true).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("Call create_room by the account `work`? [y/N]"), "{ran:?}");
    world.assert_untouched();
    let ran = run(&["lua", "-e", script], world.environment(), "y\n", true).await;
    assert!(ran.code == 0 && ran.stdout.starts_with("asked-"), "{ran:?}");
}

#[tokio::test]
async fn a_console_runs_what_is_typed() {
    let world = open_world().await;
    let typed = "x = 40\nx + 2\nfor i = 1, 2 do\nprint(i)\nend\nx.y.z\n= =\nprint\n{ print }\n'a', 1\nhelp\nhelp get_rom\n\
                 #app.integrations.whereby.list_rooms({}).data\n\nexit\nprint('no more')\n";
    let ran = run(&["lua", "--timeout", "20"], world.environment(), typed, true).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let said: Vec<&str> = ran.stdout.lines().collect();
    for expected in [
        "lua> lua> 42",
        "lua> ...> ...> 1",
        "2",
        "lua> lua> lua> (function)",
        "lua> [function: 1]",
        "lua> a",
        "1",
        "lua> 2",
    ] {
        assert!(said.contains(&expected), "{expected}: {said:#?}");
    }
    assert!(ran.stdout.contains("app.integrations.whereby.list_rooms({ limit = 2 })"), "{ran:?}");
    assert!(ran.stdout.contains("did you mean `get_room`?"), "{ran:?}");
    assert!(ran.stderr.contains("attempt to index number with 'y'"), "{ran:?}");
    assert!(ran.stderr.contains("got '='"), "{ran:?}");
    assert!(!ran.stdout.contains("no more"), "{ran:?}");
}
