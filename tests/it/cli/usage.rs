//! Command lines that are wrong, and help.

use super::{Screen, assert_call_document, still_world};
use whereby_tests::World;

const WRONG: [&[&str]; 15] = [
    &[],
    &["cal"],
    &["call"],
    &["call", "list_rooms", "--limit", "2"],
    &["call", "list_rooms", "limit=2"],
    &["list_rooms"],
    &["get-room", "daily"],
    &["call", "list_rooms", "{}", "{}"],
    &["call", "list_rooms", "--account"],
    &["call", "list_rooms", "--quiet", "--verbose"],
    &["list", "extra"],
    &["schema"],
    &["component"],
    &["component", "export"],
    &["simulate", "--listen", "nowhere"],
];

#[tokio::test]
async fn a_wrong_command_line_has_a_message() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    for arguments in WRONG {
        let ran = screen.run(arguments).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
    }
    screen.finish("usage");
}

#[tokio::test]
async fn a_wrong_command_line_is_one_document_under_json() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    for arguments in WRONG {
        let spellings = [[arguments, &["--json"]].concat(), [&["--json"], arguments].concat()];
        for (index, arguments) in spellings.into_iter().enumerate() {
            let ran = world.run(&arguments).await;
            if index == 0 {
                screen.add(&arguments, &ran);
            }
            let document = assert_call_document(&ran);
            assert_eq!((ran.code, ran.stderr.as_str()), (2, ""), "{arguments:?}");
            assert_eq!(document["error"]["kind"], "usage", "{arguments:?}");
            assert_eq!(document["error"]["effect"], "none");
        }
    }
    screen.finish("usage_json");
}

#[tokio::test]
async fn help_shows_the_commands_and_the_exit_statuses() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    for arguments in [&["--help"][..], &["call", "--help"], &["component", "--help"]] {
        let ran = screen.run(arguments).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
    screen.finish("help");
    let version = world.run(&["--version"]).await;
    assert_eq!(version.stdout, format!("whereby {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_simulator_cannot_be_had_on_an_address_that_others_reach() {
    let (world, _) = still_world().await;
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let ran = world.run(&["simulate", "--listen", address, "--json"]).await;
        assert_eq!(assert_call_document(&ran)["error"]["kind"], "usage", "{address}");
    }
}

#[tokio::test]
async fn what_people_write_who_know_another_command_has_a_tip() {
    let world = World::new().await;
    world.configure("");
    for (arguments, words) in [
        (&["agents", "add", "bot", "--until", "x"][..], "with --valid-until DATE"),
        (&["configure", "--agent", "bot"], "--set agents.NAME.permissions.write=ask"),
        (&["docs", "create_room", "--agent", "bot"], "whereby permissions --agent NAME"),
        (&["freeze", "--for", "1h"], "a freeze lasts until: whereby unfreeze"),
        (&["approvals", "revoke", "abc"], "whereby approvals deny ID"),
        (&["call", "list_rooms", "--wait", "abc"], "expected an integer"),
        (&["mcp", "--listen", "127.0.0.1"], "expected an IP address and a port"),
        (&["mcp", "--listen", "localhost:0"], "expected an IP address and a port"),
        (&["approvals", "approve", "abc", "--uses", "0"], "expected an integer from 1 to 1000"),
    ] {
        let refused = world.run(arguments).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(words), "{arguments:?}: {refused:?}");
        assert!(!refused.stderr.contains("'--function'"), "{refused:?}");
    }
    let warned = world.run(&["agents", "add", "bot", "--write", "allow"]).await.stderr;
    let fix = "to change that, run: whereby configure --account work --set permissions.write=allow";
    assert!(warned.contains(fix), "{warned}");
}
