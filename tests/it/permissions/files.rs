//! The machine's policy and the files of project folders: they only ever make it stricter.

use super::{PERMISSIONS, assert_came_to, configure, rank};
use crate::wire::{kind, message};
use serde_json::json;
use whereby::policy::{Entry, Permission, Rules, Table};
use whereby::simulator::RoomSeed;
use whereby::{Call, Session, Settings, WriteOutcome};
use whereby_tests::{World, run};

/// The places of files that tighten, and what is called from where.
const PLACES: [&str; 4] =
    ["policy.toml", "project/.whereby.toml", ".whereby.toml", "project/deep/er/.whereby.toml"];

/// A session that works in `project/deep/er`.
fn deep_session(world: &World) -> Session {
    std::fs::create_dir_all(world.path("project/deep/er")).expect("folders");
    let mut environment = world.environment();
    environment.directory = world.path("project/deep/er");
    let settings = Settings::load(None, &environment).expect("a good configuration");
    let cache = environment.platform_directory("cache");
    let builder = Session::builder().settings(settings).environment(environment).cache(cache);
    builder.build().expect("a session")
}

#[tokio::test]
async fn a_file_that_tightens_never_loosens() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    for place in PLACES {
        for own in PERMISSIONS {
            for theirs in PERMISSIONS {
                configure(&world, &format!("[permissions]\nread = \"{own}\"\n"));
                deep_session(&world);
                let file = world.write(place, &format!("[permissions]\nread = \"{theirs}\"\n"));
                let strictest = if rank(theirs) > rank(own) { theirs } else { own };
                let plan = deep_session(&world).plan(Call::new("list_rooms", json!({})));
                let verdict = plan.expect("a plan").verdict;
                assert_eq!(verdict.permission.as_str(), strictest, "{own}, {theirs} in {place}");
                let decided_by = verdict.rule.place.map(|(file, _)| file);
                let is_theirs = rank(theirs) > rank(own);
                assert_eq!(decided_by == Some(file.clone()), is_theirs, "{own}, {theirs}");
                std::fs::remove_file(file).expect("it was there");
            }
        }
    }
}

#[tokio::test]
async fn silence_means_allow_and_rules_for_accounts_and_functions_count_too() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    configure(&world, "[permissions]\nwrite = \"allow\"\n");
    for (rules, work, other) in [
        ("", "allow", "allow"),
        ("[permissions]\nwrite = \"deny\"\n", "allow", "allow"),
        ("[permissions.functions]\nlist_rooms = \"ask\"\n", "ask", "ask"),
        ("[accounts.other.permissions]\nread = \"deny\"\n", "allow", "deny"),
        ("[accounts.other.permissions.functions]\nlist_rooms = \"deny\"\n", "allow", "deny"),
        ("[accounts.nobody.permissions]\nread = \"deny\"\n", "allow", "allow"),
        (
            "[permissions]\nread = \"deny\"\n[permissions.functions]\nlist_rooms = \"allow\"\n",
            "allow",
            "allow",
        ),
    ] {
        for place in ["policy.toml", "project/.whereby.toml"] {
            world.write(place, rules);
            let session = world.session();
            for (account, expected) in [("work", work), ("other", other)] {
                let outcome = session.call(Some(account), "list_rooms", json!({})).await;
                assert_came_to(&world, &outcome, expected, &format!("{account}: {rules}"));
            }
            world.write(place, "");
        }
    }
}

#[tokio::test]
async fn of_several_files_the_strictest_holds() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    configure(&world, "");
    deep_session(&world);
    for strict in PLACES {
        for place in PLACES {
            world.write(place, "[permissions]\nread = \"allow\"\nwrite = \"allow\"\n");
        }
        let file = world.write(strict, "\n[permissions]\nread = \"deny\"\n");
        let outcome = deep_session(&world).call(None, "list_rooms", json!({})).await;
        assert_came_to(&world, &outcome, "deny", strict);
        let text = message(&outcome);
        assert!(text.contains(&format!("({}, line 3)", file.display())), "{text}");
        let hint = outcome.result.expect_err("denied").hint(WriteOutcome::None).expect("a hint");
        assert!(hint.contains(&file.display().to_string()), "{hint}");
    }
}

#[tokio::test]
async fn force_is_forbidden_by_any_file() {
    let world = World::with_rooms(Vec::new()).await;
    configure(&world, "[permissions]\nforce = \"allow\"\n");
    deep_session(&world);
    for place in PLACES {
        let file = world.write(place, "[permissions]\nforce = \"deny\"\n");
        let call = Call::new("create_room", json!({})).force(true);
        let outcome = deep_session(&world).run(call).await;
        assert_eq!(kind(&outcome), "denied", "{place}");
        assert!(message(&outcome).contains(&file.display().to_string()));
        world.assert_untouched();
        std::fs::remove_file(file).expect("it was there");
    }
}

#[tokio::test]
async fn a_file_of_a_folder_beside_the_working_directory_is_none_of_its_business() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    std::fs::create_dir_all(world.path("beside")).expect("a folder");
    std::fs::create_dir_all(world.path("project/deep")).expect("a folder");
    world.write("beside/.whereby.toml", "[permissions]\nread = \"deny\"\n");
    world.write("project/deep/.whereby.toml", "[permissions]\nread = \"deny\"\n");
    assert!(world.call("list_rooms", json!({})).await.result.is_ok());
}

#[tokio::test]
async fn a_rule_that_a_program_sets_for_something_that_is_no_function_makes_no_session() {
    let world = World::with_rooms(Vec::new()).await;
    let deny = || Entry::new(Permission::Deny, 0);
    let table = |name: &str| {
        let mut table = Table::default();
        table.functions.insert(name.into(), deny());
        table
    };
    let places: [fn(&mut Settings, Table); 4] = [
        |settings, table| settings.policy.own.all = table,
        |settings, table| drop(settings.policy.own.accounts.insert("work".into(), table)),
        |settings, table| {
            let mut rules = Rules::default();
            rules.all = table;
            settings.policy.tightening.push(rules);
        },
        |settings, table| {
            let mut rules = Rules::default();
            rules.accounts.insert("nobody".into(), table);
            settings.policy.tightening.push(rules);
        },
    ];
    for set in places {
        for (name, is_function) in [
            ("delete_room", true),
            ("delete-room", false),
            ("delete_rooms", false),
            ("", false),
            ("\u{1b}[2J", false),
        ] {
            let mut settings = Settings::load(None, &world.environment()).expect("good");
            set(&mut settings, table(name));
            let built = Session::builder().settings(settings).build();
            assert_eq!(built.is_ok(), is_function, "{name:?}");
            let Err(error) = built else { continue };
            assert_eq!(error.kind(), "configuration", "{name:?}");
            let text = error.to_string();
            assert!(text.contains("the unknown function"), "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
            let near = name.starts_with("delete") == text.contains("did you mean `delete_room`");
            assert!(near, "{text}");
        }
    }
}

#[tokio::test]
async fn a_project_file_may_be_read_and_written_by_others() {
    let world = World::with_rooms(vec![RoomSeed::named("daily")]).await;
    let file = world.write("project/.whereby.toml", "[permissions]\nread = \"deny\"\n");
    whereby_tests::set_mode(&file, 0o666);
    let outcome = world.call("list_rooms", json!({})).await;
    assert_came_to(&world, &outcome, "deny", "a file of a shared checkout");
}

#[tokio::test]
async fn a_file_with_very_many_rules_is_read_with_one_warning() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("");
    let rules: String = (0..5500)
        .map(|index| format!("[accounts.a{index}.permissions]\nread = \"deny\"\n"))
        .collect();
    let mut environment = world.environment();
    for folder in ["project", "project/a", "project/a/b"] {
        std::fs::create_dir_all(world.path(folder)).expect("a folder");
        world.write(&format!("{folder}/.whereby.toml"), &rules);
        environment.directory = world.path(folder);
    }
    let ran = run(&["call", "list_rooms", "--json"], environment.clone(), "", false).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 3, "{}", ran.stderr);
    for line in ran.stderr.lines() {
        assert!(line.contains("rules for 5500 accounts that do not exist, such as"), "{line}");
        assert!(line.len() < 500, "{line}");
    }
}

#[tokio::test]
async fn more_rules_than_are_read_are_refused() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("");
    let padding = format!("# {}\n", "x".repeat(255 * 1024));
    for (levels, contents, words) in [
        (65, "", "at most 64 .whereby.toml files"),
        (9, &*padding, "2 MiB in total"),
        (1, &*padding.repeat(2), "larger than 262144 bytes"),
        (1, &*format!("{} = 1\n", vec!["a"; 50_000].join(".")), "not TOML"),
        (1, &*format!("a = {}\n", "[".repeat(100_000)), "not TOML"),
        (1, &*format!("{} = 1\n", "k".repeat(200_000)), "is not allowed here"),
        (1, &*format!("a = [{}]\n", "1,".repeat(100_000)), "is not allowed here"),
    ] {
        let mut folder = "project".to_owned();
        let mut environment = world.environment();
        for _ in 0..levels {
            folder += "/d";
            std::fs::create_dir_all(world.path(&folder)).expect("a folder");
            world.write(&format!("{folder}/.whereby.toml"), contents);
        }
        environment.directory = world.path(&folder);
        let ran = run(&["call", "list_rooms", "--json"], environment, "", false).await;
        assert_eq!(ran.code, 3, "{words}: {ran:?}");
        let document = ran.json();
        let message = document["error"]["message"].as_str().expect("a message");
        assert!(message.contains(words) && message.len() < 1000, "no {words:?}: {message}");
        std::fs::remove_dir_all(world.path("project/d")).expect("removed");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_machine_or_a_user_with_very_many_rules_is_told_what_is_wrong_with_them() {
    let world = World::with_rooms(Vec::new()).await;
    world.configure("");
    let large = format!("# {}\n", "x".repeat(300 * 1024));
    world.write("policy.toml", &large);
    let ran = world.run(&["call", "list_rooms", "--json"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("policy.toml: is larger than 262144 bytes"), "{ran:?}");
    world.write("policy.toml", "");
    let accounts: String =
        (0..4000).map(|index| format!("[accounts.a{index}]\naccess_token = \"k\"\n")).collect();
    world.write("config/whereby/config.toml", &accounts);
    for arguments in
        [&["call", "list_rooms", "--json"][..], &["call", "list_rooms", "--json", "--account", "b"]]
    {
        let ran = world.run(arguments).await;
        assert!(ran.stdout.contains("and 3990 more"), "{arguments:?}: {}", ran.stdout.len());
        assert!(ran.stdout.len() < 2000, "{arguments:?}: {}", ran.stdout.len());
    }
    world.assert_untouched();
}
