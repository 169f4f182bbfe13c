//! Text from outside that would act on a terminal, from the server, the arguments, and files.

use super::still_world;
use serde_json::json;
use whereby::simulator::Reply;
use whereby::text;
use whereby_tests::run;

/// What clears a screen, changes colours, rings, hides text, or turns it round.
const EVIL: &str =
    "a\u{1b}[2Jb\u{9b}31mc\u{7}d\re\u{202e}f\u{200b}g\u{7f}h\u{2066}i\u{feff}j\u{e0041}";

/// The characters of a text that would act on a terminal.
fn acting(text: &str) -> String {
    let is_shown = |c: char| text::printable(&c.to_string(), 9) == c.to_string();
    text.chars().filter(|c| *c != '\n' && !is_shown(*c)).collect()
}

#[test]
fn the_hostile_text_is_hostile() {
    assert_eq!(acting(EVIL).chars().count(), 10);
    assert_eq!(acting("plain text\n"), "");
}

#[tokio::test]
async fn server_text_is_never_printed_raw() {
    let (world, _) = still_world().await;
    let row = json!({
        "meetingId": EVIL, "roomName": format!("/{EVIL}"), "roomUrl": format!("https://a.b/{EVIL}"),
        "startDate": EVIL, "endDate": EVIL,
    });
    let page = json!({"results": [row, row], "cursor": EVIL});
    for reply in [
        Reply::status(200).json(&page),
        Reply::status(400).json(&json!({"error": EVIL})),
        Reply::status(401).json(&json!({"message": EVIL})),
        Reply::status(500).body(EVIL),
    ] {
        for arguments in [&["call", "list_rooms"][..], &["call", "list_rooms", "--json"]] {
            world.simulator.script("GET", "/v1/meetings", 1, reply.clone());
            let ran = run(arguments, world.environment(), "", true).await;
            assert_eq!(acting(&ran.stdout), "", "{arguments:?}: {ran:?}");
            assert_eq!(acting(&ran.stderr), "", "{arguments:?}: {ran:?}");
        }
    }
    let names = world.simulator.add_session(
        0,
        "daily",
        &crate::wire::meeting(crate::wire::hours(20))
            .participant(whereby::simulator::ParticipantSeed::named(EVIL)),
    );
    let id = format!("meeting_id=daily:{}", names.expect("a session"));
    for json in [&[][..], &["--json"]] {
        let arguments = [&["call", "get_meeting", "--arg", &id], json].concat();
        let ran = run(&arguments, world.environment(), "", true).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(acting(&ran.stdout), "", "{ran:?}");
    }
}

#[tokio::test]
async fn argument_text_is_never_printed_raw() {
    let (world, _) = still_world().await;
    world.configure("");
    let invisible = "a\u{202e}b\u{200b}c\u{2066}";
    let stream = json!({"fields": [{"recording": {"type": "cloud", "destination": {"provider": "s3", "bucket": invisible}}}]});
    let stream = stream.to_string();
    let cursor = format!("cursor={EVIL}");
    let invisible_cursor = format!("cursor={invisible}");
    let name = format!("{EVIL}=1");
    for arguments in [
        &["call", EVIL][..],
        &[EVIL],
        &["call", "list_rooms", EVIL],
        &["call", "list_rooms", "--arg", EVIL],
        &["call", "list_rooms", "--arg", &cursor],
        &["call", "list_rooms", "--arg", &invisible_cursor, "--dry-run"],
        &["call", "list_rooms", "--arg", &name],
        &["call", "list_rooms", "--account", EVIL],
        &["call", "list_rooms", "--config", EVIL],
        &["call", "list_rooms", "--component", EVIL],
        &["call", "list_rooms", EVIL, EVIL],
        &["docs", EVIL],
        &["schema", EVIL],
        &["component", "inspect", EVIL],
        &["component", "export", "absent\u{1b}/x.wasm"],
        &["component", "export", "b\u{1b}\u{9b}.wasm"],
        &["call", "create_room", &stream],
        &["call", "create_room", &stream, "--dry-run"],
        &["simulate", "--listen", EVIL],
        &["list", "--account", EVIL],
    ] {
        for json in [&[][..], &["--json"]] {
            let arguments = [arguments, json].concat();
            let ran = run(&arguments, world.environment(), "n\n", true).await;
            assert_eq!(acting(&ran.stdout), "", "{arguments:?}: {ran:?}");
            assert_eq!(acting(&ran.stderr), "", "{arguments:?}: {ran:?}");
        }
    }
    world.assert_untouched();
}

#[tokio::test]
async fn project_file_text_and_paths_are_never_printed_raw() {
    let (world, _) = still_world().await;
    let folder = world.path("evil\u{1b}[2J\u{202e}");
    std::fs::create_dir(&folder).expect("a folder");
    let mut environment = world.environment();
    environment.directory = folder.clone();
    for contents in [
        "[permissions]\nread = \"deny\"\n".to_owned(),
        format!("\"{}\" = 1\n", EVIL.replace(|c: char| c.is_ascii_control(), "\\u001b")),
        format!("{EVIL} = 1\n"),
        format!("[permissions]\nread = '{EVIL}'\n"),
        format!("[accounts.'{}']\n", EVIL.replace(|c: char| c.is_control(), "")),
        EVIL.to_owned(),
    ] {
        std::fs::write(folder.join(".whereby.toml"), &contents).expect("a file");
        for arguments in [
            &["call", "list_rooms"][..],
            &["call", "list_rooms", "--json"],
            &["call", "list_rooms", "--dry-run"],
            &["call", "list_rooms", "--dry-run", "--json"],
        ] {
            let ran = run(arguments, environment.clone(), "", true).await;
            assert!(matches!(ran.code, 3 | 4), "{ran:?}");
            assert_eq!(acting(&ran.stdout), "", "{contents:?}: {ran:?}");
            assert_eq!(acting(&ran.stderr), "", "{contents:?}: {ran:?}");
        }
    }
    world.assert_untouched();
}
