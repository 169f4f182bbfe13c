//! `approvals.notify`: a command that is told of each new approval request.

use crate::agents::{script, server};
use crate::cli::ran;
use crate::mcp::ask;
use crate::wire::daily;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use whereby::Settings;
use whereby::inbox::Inbox;
use whereby_tests::{World, run};

const DELETE: [&str; 4] = ["call", "delete_room", "--arg", "room_name=daily"];

/// A world whose requests for approval run this shell script.
async fn world(script: &str) -> World {
    let world = World::with_rooms(vec![daily()]).await;
    let home = world.path("");
    let file = world.write_script("notify", &format!("cd '{}'\n{script}", home.display()));
    world.configure(&format!(
        "[approvals]\nnotify = [\"{}\", \"one\"]\n[agents.a]\n",
        file.display()
    ));
    world
}

/// Makes a pipe, which a script writes to and a test reads.
fn pipe(world: &World) -> PathBuf {
    let path = world.path("pipe");
    let made = Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
    assert!(made.success());
    path
}

fn read(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.path(name)).unwrap_or_default()
}

#[tokio::test]
async fn the_command_line_tells_once_what_waits_and_no_secret() {
    let world =
        world("cat >> told; echo >> told; env > variables; echo \"$1 $(pwd)\" > argument").await;
    let mut environment = world.environment();
    for name in ["WHEREBY_MCP_TOKEN", "WHEREBY_SOMETHING", "OWN"] {
        environment.variables.insert(name.into(), "tops3cret".into());
    }
    let call = [&DELETE[..], &["--json", "--agent", "a"]].concat();
    let stored = run(&call, environment, "", false).await;
    assert_eq!(stored.code, 5, "{stored:?}");
    let id = stored.json()["meta"]["approval_id"].clone();
    let told: Value = serde_json::from_str(&read(&world, "told")).expect("one document");
    let approval = &ran(&world, &["approvals", "show", id.as_str().expect("an id"), "--json"], 0)
        .await
        .json()["approval"];
    let expires_at = told["expires_at"].as_str().expect("a date");
    assert_eq!(approval["expires_at"].as_str().map(|date| &date[..19]), Some(&expires_at[..19]));
    assert_eq!(
        told,
        json!({
            "id": id,
            "agent": "a",
            "account": "work",
            "function": "delete_room",
            "sentence": "Permanently deletes the room `daily` and removes everyone in it.",
            "expires_at": expires_at,
            "link": null,
        })
    );
    let variables = read(&world, "variables");
    assert!(variables.contains("OWN=") && !variables.contains("WHEREBY_"), "{variables}");
    assert!(!variables.contains(world.simulator.token()), "{variables}");
    assert!(read(&world, "argument").starts_with("one "));
    // The same call waits already.
    ran(&world, &call, 5).await;
    assert_eq!(read(&world, "told").lines().count(), 1);
    // Another one does not.
    ran(&world, &DELETE, 5).await;
    assert_eq!(read(&world, "told").lines().count(), 2);
    world.assert_untouched();
}

#[tokio::test]
async fn mcp_clients_and_scripts_tell_too() {
    let world = world("cat > pipe").await;
    let path = pipe(&world);
    let server = server(&world, Some("a"));
    let delete = "return app.integrations.whereby.delete_room({ room_name = 'daily' })";
    let tool = json!({"name": "whereby_delete_room", "arguments": {"room_name": "daily"}});
    let create = "return app.integrations.whereby.create_room({ room_name_prefix = 'x-' })";
    let lua = json!({"name": "whereby_run_lua", "arguments": {"script": create}});
    for (agent, function) in
        [("tool", "delete_room"), ("script", "create_room"), ("lua", "delete_room")]
    {
        let path = path.clone();
        let told = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
        let session = world.session();
        match agent {
            "tool" => drop(ask(server.clone(), "tools/call", tool.clone()).await),
            "script" => drop(ask(server.clone(), "tools/call", lua.clone()).await),
            _ => drop(script(&world, None, delete).await),
        }
        let told = told.await.expect("no panic").expect("read");
        let told: Value = serde_json::from_str(&told).expect("one document");
        assert_eq!(told["function"], function);
        assert_eq!(told["agent"], if agent == "lua" { Value::Null } else { json!("a") });
        drop(session);
    }
    let ran = ran(&world, &["approvals", "list", "--json"], 0).await.json();
    assert_eq!(ran["approvals"].as_array().map(Vec::len), Some(3));
    world.assert_untouched();
}

#[tokio::test]
async fn a_failure_is_a_warning_and_changes_nothing_about_the_call() {
    let world = world("exit 3").await;
    let failed = ran(&world, &DELETE, 5).await;
    let said = &failed.stderr;
    assert!(
        said.contains("warning: approvals.notify: ") && said.contains("exit status: 3"),
        "{said}"
    );
    assert!(said.contains("needs a person's approval"), "{said}");
    world.configure("[approvals]\nnotify = [\"/no/such/program\"]\n");
    let missing = ran(&world, &["call", "create_room", "--json"], 5).await;
    assert!(missing.stderr.contains("could not be started"), "{missing:?}");
    assert_eq!(missing.json()["error"]["kind"], "approval-required");
    let quiet =
        ran(&world, &["call", "create_room", "--arg", "room_name_prefix=y-", "--quiet"], 5).await;
    assert!(!quiet.stderr.contains("approvals.notify"), "{quiet:?}");
    world.assert_untouched();
}

#[tokio::test]
async fn nobody_else_can_have_a_command_run() {
    let world = world("echo run > told").await;
    for (file, toml, words) in [
        (
            "project/.whereby.toml",
            "[approvals]\nnotify = [\"/bin/true\"]\n",
            "must not make the program run",
        ),
        ("policy.toml", "[approvals]\nnotify = [\"/bin/true\"]\n", "must not make the program run"),
        (
            "config/whereby/config.toml",
            "[approvals]\nnotify = [\"notify-send\"]\n",
            "absolute path",
        ),
        ("config/whereby/config.toml", "[approvals]\nnotify = []\n", "absolute path"),
        ("config/whereby/config.toml", "[approvals]\nnotify = \"/bin/true\"\n", "must be an array"),
        (
            "config/whereby/config.toml",
            "[approvals]\nnotfy = [\"/bin/true\"]\n",
            "did you mean `notify`?",
        ),
    ] {
        let before = read(&world, file);
        let path = world.write(file, toml);
        let error = Settings::load(None, &world.environment()).expect_err(toml);
        let text = error.to_string();
        assert_eq!(error.kind(), "configuration");
        assert!(text.contains(words) && text.contains(", line "), "{toml}: {text}");
        ran(&world, &DELETE, 3).await;
        if before.is_empty() {
            std::fs::remove_file(path).expect("removed");
        } else {
            world.write(file, &before);
        }
    }
    assert_eq!(read(&world, "told"), "");
    world.assert_untouched();
}

#[tokio::test]
async fn the_link_leads_to_the_approval_on_the_page_that_is_served() {
    let world = world("cat >> told; echo >> told").await;
    let inbox = Inbox::new(world.store(), world.environment(), None);
    let page = inbox.listen(([127, 0, 0, 1], 0).into()).await.expect("it listens");
    let stored = ran(&world, &[&DELETE[..], &["--json"]].concat(), 5).await.json();
    let id = stored["meta"]["approval_id"].as_str().expect("an id");
    let address = format!("{}approvals/{id}", page.url());
    let told: Value = serde_json::from_str(&read(&world, "told")).expect("one document");
    assert_eq!(told["link"], address);
    let hint = stored["error"]["hint"].as_str().expect("a hint");
    assert!(hint.contains(&address), "{hint}");
    // It opens nothing by itself.
    let opened = crate::inbox::http().get(&address).send().await.expect("a response");
    assert_eq!(opened.status(), 401);
    page.stop().await;
    // Without a page, there is none.
    let other = ["call", "create_room", "--json"];
    ran(&world, &other, 5).await;
    let told = read(&world, "told");
    let told: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
    assert_eq!(told["link"], Value::Null);
    world.assert_untouched();
}
