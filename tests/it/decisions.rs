//! What people decide, in the audit log: who, where and what, once each, and without any secret.

use crate::cli::ran;
use crate::mcp::questions;
use crate::wire::{ALLOW_ALL, daily};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::Path;
use whereby_tests::{World, run};

fn room(prefix: &str) -> Value {
    json!({"room_name_prefix": prefix, "end_date": "2999-01-01T00:00:00Z"})
}

async fn stored(world: &World, arguments: Value) -> String {
    let outcome = world.call("create_room", arguments).await;
    outcome.approval.clone().unwrap_or_else(|| panic!("{outcome:?}"))
}

/// The decisions since the last look, each as what was decided, where, and for which function.
struct Log<'a> {
    world: &'a World,
    seen: usize,
}

impl Log<'_> {
    fn new_ones(&mut self) -> Vec<Value> {
        let rows = self.world.decisions();
        let new = rows[self.seen..].iter().map(whereby::AuditRow::to_json).collect();
        self.seen = rows.len();
        new
    }

    fn one(&mut self, what: &str, place: &str, context: &str) -> Value {
        let new = self.new_ones();
        assert_eq!(new.len(), 1, "{context}: {new:?}");
        let decision = &new[0]["decision"];
        assert_eq!(
            (&decision["what"], &decision["place"]),
            (&json!(what), &json!(place)),
            "{context}: {new:?}"
        );
        let user = decision["user"].as_str().expect("a user");
        assert!(!user.is_empty(), "{new:?}");
        let own = std::fs::metadata(self.world.path("")).expect("a folder");
        assert_eq!(decision["uid"], std::os::unix::fs::MetadataExt::uid(&own), "{new:?}");
        assert_eq!(new[0]["outcome"], Value::Null);
        new.into_iter().next().expect("one")
    }
}

#[tokio::test]
async fn each_decision_is_one_row_that_says_who_and_where() {
    let world = World::with_rooms(vec![daily()]).await;
    world.configure("[agents.a]\n");
    let mut log = Log { world: &world, seen: 0 };
    // Approvals.
    let id = stored(&world, room("a-")).await;
    assert_eq!(log.new_ones(), [] as [Value; 0], "asking decides nothing");
    ran(&world, &["approvals", "approve", &id], 0).await;
    let row = log.one("approve", "terminal", "approve");
    assert_eq!((&row["approval_id"], &row["function"]), (&json!(id), &json!("create_room")));
    assert_eq!((&row["account"], &row["front_end"]), (&json!("work"), &json!("cli")));
    ran(&world, &["approvals", "approve", &id], 2).await;
    assert_eq!(log.new_ones(), [] as [Value; 0], "it was approved before");
    ran(&world, &["approvals", "deny", &id], 0).await;
    log.one("revoke", "terminal", "an approval that was given");
    let id = stored(&world, room("b-")).await;
    ran(&world, &["approvals", "deny", &id], 0).await;
    log.one("deny", "terminal", "deny");
    ran(&world, &["approvals", "approve", &id], 0).await;
    log.one("approve", "terminal", "what was denied");
    // Standing ones.
    let id = stored(&world, room("bot-")).await;
    let more = ["--uses", "3", "--rooms", "bot-*"];
    ran(&world, &[&["approvals", "approve", &id], &more[..]].concat(), 0).await;
    let row = log.one("approve", "terminal", "a standing approval");
    let details = &row["decision"]["details"];
    assert_eq!(
        (&details["uses"], &details["conditions"]),
        (&json!(3), &json!({"rooms": ["bot-*"]}))
    );
    let standing = details["standing"].as_str().expect("an id");
    ran(&world, &["approvals", "deny", standing], 0).await;
    let row = log.one("revoke", "terminal", "a standing approval");
    assert_eq!(row["decision"]["details"]["standing"], standing);
    ran(&world, &["approvals", "deny", standing], 2).await;
    assert_eq!(log.new_ones(), [] as [Value; 0]);
    // A person on a terminal.
    for (answer, what, code) in [("y\n", "approve", 0), ("n\n", "deny", 4)] {
        let call = ["call", "create_room", "{}"];
        let asked = run(&call, world.environment(), answer, true).await;
        assert_eq!(asked.code, code, "{asked:?}");
        log.one(what, "terminal", "a question on the terminal");
    }
    // A freeze.
    ran(&world, &["freeze", "--agent", "a", "--reason", "a plan"], 0).await;
    let row = log.one("freeze", "terminal", "freeze");
    assert_eq!(row["decision"]["details"]["reason"], "a plan");
    ran(&world, &["unfreeze", "--agent", "a"], 0).await;
    log.one("unfreeze", "terminal", "unfreeze");
    // Changes of the configuration by the program.
    for command in [
        &["configure", "--set", "permissions.read=ask"][..],
        &["configure", "--unset", "permissions.read"],
        &["agents", "add", "b"],
        &["agents", "remove", "b"],
        &["token", "create", "--uses", "3"],
    ] {
        ran(&world, command, 0).await;
        log.one("configure", "terminal", &command.join(" "));
    }
    let tokens = ran(&world, &["token", "list", "--json"], 0).await.json();
    let token = tokens["tokens"][0]["id"].as_str().expect("an id").to_owned();
    ran(&world, &["token", "revoke", &token], 0).await;
    let new = log.new_ones();
    assert_eq!(new.len(), 1, "{new:?}");
    // What fails decides nothing.
    for command in [
        &["configure", "--set", "permissions.read=perhaps"][..],
        &["agents", "remove", "nobody"],
        &["token", "revoke", "00000000"],
        &["unfreeze", "--agent", "nobody"],
    ] {
        world.run(command).await;
        assert_eq!(log.new_ones(), [] as [Value; 0], "{command:?}");
    }
}

#[tokio::test]
async fn what_a_client_answers_is_a_decision_in_the_client() {
    let world = World::with_rooms(vec![daily()]).await;
    questions(&world, "create_room", room("a-")).await;
    let mut log = Log { world: &world, seen: 0 };
    let row = log.one("approve", "client", "accept");
    assert_eq!((&row["client"], &row["front_end"]), (&json!("tester 1.0"), &json!("mcp")));
    assert!(row["approval_id"].is_string(), "{row}");
    crate::mcp::refuses(&world, "create_room", room("b-")).await;
    log.one("deny", "client", "no");
    let session = world.session_with(Some(std::sync::Arc::new(Yes)), None);
    assert!(session.call(None, "create_room", room("c-")).await.result.is_ok());
    log.one("approve", "program", "a program that embeds the library");
}

struct Yes;

impl whereby::Approver for Yes {
    fn ask<'a>(
        &'a self,
        _: &'a whereby::Question,
    ) -> std::pin::Pin<Box<dyn Future<Output = whereby::Answer> + Send + 'a>> {
        Box::pin(std::future::ready(whereby::Answer::Approved))
    }
}

#[tokio::test]
async fn decisions_are_shown_archived_and_not_replayed() {
    let world = World::with_rooms(vec![daily()]).await;
    let id = stored(&world, room("a-")).await;
    ran(&world, &["approvals", "approve", &id], 0).await;
    assert!(world.call("create_room", room("a-")).await.result.is_ok());
    let table = ran(&world, &["audit"], 0).await.stdout;
    assert!(table.contains("approve"), "{table}");
    let replayed = ran(&world, &["permissions", "replay", "--json"], 0).await.json();
    let replay = &replayed["replay"];
    assert_eq!((&replay["decided"], &replay["undecided"]), (&json!(2), &json!(0)), "{replayed}");
    ran(&world, &["audit", "archive", "old.db"], 0).await;
    assert_eq!(world.decisions(), []);
    let database = rusqlite::Connection::open(world.path("project/old.db")).expect("an archive");
    let sql = "SELECT decision FROM calls WHERE decision IS NOT NULL";
    let decision: String = database.query_row(sql, [], |row| row.get(0)).expect("one");
    assert!(decision.contains("\"what\":\"approve\""), "{decision}");
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let name = path.display().to_string();
            found.push((name, std::fs::read(&path).expect("a file")));
        }
    }
    found
}

/// Fails where a file of the state directory has a secret, as it is, in Base64 or in hexadecimal.
fn assert_nowhere(world: &World, secret: &str, when: &str) {
    use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex];
    // In the middle of something longer, it begins at one of three places in a group of four.
    for skip in 0..3 {
        for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            let part = &bytes[skip..];
            let whole = &part[..part.len() / 3 * 3];
            forms.push(engine.encode(whole));
        }
    }
    for (name, contents) in files(&world.path("state")) {
        for form in &forms {
            let found = contents.windows(form.len()).any(|part| part == form.as_bytes());
            assert!(!found, "{when}: {form} is in {name}");
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_any_file_before_and_after_the_call() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("[permissions]\nwrite = \"ask\"\ndestination = \"ask\"\n");
    let token = ran(&world, &["token", "create"], 0).await.stdout.trim().to_owned();
    let key = "s3cret/key+1=of-a-bucket";
    let stream = "rtmp-stream-s3cret-name";
    let arguments = json!({
        "room_name_prefix": "open-",
        "fields": [
            "hostRoomUrl",
            {"recording": {"type": "cloud", "destination": {
                "provider": "s3", "authenticationType": "access-key", "bucket": "b",
                "accessKeyId": "AKIA", "accessKeySecret": key}}},
            {"streaming": {"destination": {"url": format!("rtmp://a.example/live/{stream}")}}},
        ],
    });
    let secrets = [key, stream, token.as_str(), world.simulator.token()];
    let (id, result) = crate::mcp::resume::over_http(&world, &token, &arguments, async |id| {
        for secret in secrets {
            assert_nowhere(&world, secret, "before");
        }
        ran(&world, &["approvals", "approve", id], 0).await;
    })
    .await;
    let host = result["hostRoomUrl"].as_str().expect("a host's URL");
    let (_, host_key) = host.split_once("roomKey=").expect("its key");
    for secret in secrets.into_iter().chain([host_key]) {
        assert_nowhere(&world, secret, "after");
    }
    // What the program writes of a change of its configuration.
    let account = "accounts.work.access_token=s3cret-key-of-the-account";
    world.run(&["configure", "--set", account]).await;
    assert_nowhere(&world, "s3cret-key-of-the-account", "configure");
    let shown = ran(&world, &["audit", "--json"], 0).await.stdout;
    assert!(!shown.contains("s3cret") && shown.contains(&id), "{shown}");
    world.configure(ALLOW_ALL);
}
