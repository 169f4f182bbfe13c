//! The question on the terminal, and what each answer does.

use super::{Screen, still_world};
use whereby_tests::run;

const DELETE: [&str; 4] = ["call", "delete_room", "--arg", "room_name=Daily"];

#[tokio::test]
async fn a_person_at_the_terminal_is_asked_and_only_yes_is_yes() {
    let (world, _) = still_world().await;
    world.configure("");
    let mut screen = Screen::new(&world);
    for (typed, exit) in [
        ("n\n", 4),
        ("NO\n", 4),
        ("\n", 4),
        ("", 5),
        // Anything else is asked about again, and is never a yes.
        ("yep\nn\n", 4),
        ("Y es\n", 4),
        ("yy\nyess\nja\ny\n", 4),
        ("yep\ny\n", 0),
    ] {
        let ran = run(&DELETE, world.environment(), typed, true).await;
        screen.text += &format!("# typed: {typed:?}\n");
        screen.add(&DELETE, &ran);
        // The end of input is nobody's answer.
        assert_eq!(ran.code, exit, "{typed:?}: {ran:?}");
        let question = "Call delete_room by the account `work`? [y/N] ";
        assert!(ran.stderr.contains(question), "{ran:?}");
        let api = format!("at {}", world.simulator.url());
        assert!(ran.stderr.contains(&api), "{ran:?}");
        assert!(!ran.stderr.contains("This sends"), "{ran:?}");
        if exit != 0 {
            world.assert_untouched();
        }
    }
    assert_eq!(world.requests().len(), 2);
    screen.finish("prompt");
}

#[tokio::test]
async fn the_question_warns_about_a_destination() {
    let (world, _) = still_world().await;
    world.configure("");
    let fields =
        r#"fields=[{"streaming": {"destination": {"url": "rtmp://a.example/live/s3cret"}}}]"#;
    let arguments = ["call", "create_room", "--arg", fields];
    let ran = run(&arguments, world.environment(), "n\n", true).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    for words in ["This sends the room's audio, video or transcript", "rtmp://a.example/live/***("]
    {
        assert!(ran.stderr.contains(words), "`{words}` is missing: {ran:?}");
    }
    assert!(!ran.stderr.contains("s3cret"), "{ran:?}");
    world.assert_untouched();
}

#[tokio::test]
async fn nobody_is_asked_without_a_terminal_under_json_or_with_force() {
    let (world, _) = still_world().await;
    world.configure("");
    for (arguments, terminal, exit) in [
        (&["call", "create_room"][..], false, 5),
        (&["call", "create_room", "--json"], true, 5),
        (&["call", "create_room", "--dry-run"], true, 0),
    ] {
        let ran = run(arguments, world.environment(), "y\n", terminal).await;
        assert_eq!(ran.code, exit, "{ran:?}");
        assert!(!ran.stderr.contains("[y/N]"), "{ran:?}");
        world.assert_untouched();
    }
    let ran = run(&["call", "create_room", "--force"], world.environment(), "n\n", true).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stderr.contains("[y/N]"), "{ran:?}");
    let document = world.run(&["call", "create_room", "--force", "--json"]).await.json();
    assert_eq!(document["meta"]["forced"], true);
}

#[tokio::test]
async fn nobody_is_asked_where_a_ci_system_runs_the_program() {
    let (world, _) = still_world().await;
    world.configure("");
    for (variable, value, exit) in
        [("CI", "true", 5), ("CI", "1", 5), ("TF_BUILD", "True", 5), ("CI", "false", 0)]
    {
        world.simulator.clear_requests();
        let mut environment = world.environment();
        environment.variables.insert(variable.into(), value.into());
        let ran = run(&["call", "create_room"], environment.clone(), "y\n", true).await;
        assert_eq!(ran.code, exit, "{variable}={value}: {ran:?}");
        assert_eq!(ran.stderr.contains("[y/N]"), exit == 0, "{ran:?}");
        if exit == 5 {
            assert!(ran.stderr.contains("whereby approvals approve"), "{ran:?}");
            world.assert_untouched();
            // Nor does a console wait for lines.
            let ran = run(&["lua"], environment, "return 1\n", true).await;
            assert_eq!(ran.code, 2, "{ran:?}");
        }
    }
}

#[tokio::test]
async fn a_denied_call_is_not_asked_for() {
    let (world, _) = still_world().await;
    world.configure("[permissions]\nwrite = \"deny\"\n");
    let ran = run(&DELETE, world.environment(), "y\n", true).await;
    assert_eq!(ran.code, 4);
    assert!(!ran.stderr.contains("[y/N]"), "{ran:?}");
    world.assert_untouched();
}
