//! `whereby configure` where the outcome would not work: it says why, and the file stays as it was.

use super::assert_call_document;
use super::configure::{CONFIG, TOKEN, configure, configure_typing, empty_world, written};
use whereby_tests::World;

const GOOD: &str = "# mine\ndefault_account = \"work\"\n[accounts.work]\n\
                    access_token = \"s3cret-token\"\n\n[accounts.school]\n\
                    access_token = { env = \"SCHOOL\" } # there\n";

async fn world() -> World {
    let world = empty_world().await;
    std::fs::create_dir_all(world.path("config/whereby")).expect("a folder");
    world.write(CONFIG, GOOD);
    world
}

#[tokio::test]
async fn an_outcome_that_would_not_work_is_refused_and_the_file_stays_as_it_was() {
    let world = world().await;
    for (arguments, code, words) in [
        (&["--set", "limits.timeout_second=1"][..], 3, "timeout_second"),
        (&["--set", "limits.timeout_seconds=0"], 3, "timeout_seconds"),
        (&["--set", "limits.timeout_seconds=soon"], 3, "timeout_seconds"),
        (&["--set", "limits=3"], 3, "limits"),
        (&["--set", "colour=red"], 3, "colour"),
        (&["--set", "default_account.name=work"], 3, "default_account"),
        (&["--set", "default_account=wrok"], 3, "did you mean `work`"),
        (&["--set", "api_url=http://api.example"], 3, "api_url"),
        (&["--set", "access_token="], 3, "it is empty"),
        (&["--set", "access_token.env=7"], 3, "env"),
        (&["--set", "access_token.envv=A"], 3, "envv"),
        (&["--set", "access_token.command=pass"], 3, "command"),
        (&["--set", "access_token.command=[\"pass\"]"], 3, "absolute"),
        (&["--unset", "access_token"], 3, "no access_token"),
        (&["--unset", "accounts.work"], 3, "default_account"),
        (&["--account", "new", "--enable"], 2, "to add an account, give its key, too"),
        (&["--account", "new", "--write", "deny"], 2, "to add an account, give its key, too"),
        (&["--set", "component.sha256=ab"], 3, "sha256"),
        (&["--set", "permissions.force=ask"], 3, "force"),
        (&["--set", "permissions.functions.delete_rom=deny"], 3, "delete_rom"),
        (&["--account", "Work", "--set", "access_token.env=A"], 2, "`Work`"),
        (&["--account", "a.b", "--set", "access_token.env=A"], 2, "`a.b`"),
        (&["--account", "list-rooms", "--set", "access_token.env=A"], 2, "`list-rooms`"),
        (&["--account", "", "--set", "access_token.env=A"], 2, "account"),
        (&["--account", "wrok", "--remove"], 2, "did you mean `work`"),
        (&["--remove"], 2, "--account"),
        (&["--account", "work", "--remove", "--enable"], 2, "--remove"),
        (&["--enable", "--disable"], 2, "--disable"),
        (&["--set", "limits"], 2, "key=value"),
        (&["--set", "limits..x=1"], 2, "is not a key"),
        (&["--set", "=1"], 2, "is not a key"),
        (&["--unset", "a b"], 2, "is not a key"),
        (&["--unset", "limits.timeout_second"], 3, "(did you mean `timeout_seconds`?)"),
        (&["--unset", "limits.timeout_seconds.x"], 3, "is not a table"),
        (&["--unset", "limit"], 3, "(did you mean `limits`?)"),
        (&["--unset", "lua.call"], 3, "(did you mean `calls`?)"),
        (&["--unset", "permissions.functions.delete_rom"], 3, "delete_room"),
        (
            &["--account", "work", "--unset", "permissions.reed"],
            3,
            "accounts.work.permissions.reed",
        ),
        (&["--unset", "access_token.envv"], 3, "accounts.work.access_token.envv"),
        (&["--unset", "accounts.work.api_ur"], 3, "api_url"),
        (&["--account", "wrok", "--unset", "api_url"], 2, "did you mean `work`"),
        (&["--unset", "accounts.wrok.api_url"], 2, "did you mean `work`"),
        (&["--read", "maybe"], 2, "allow, ask or deny"),
        (&["--function", "delete_room"], 2, "delete_room=deny"),
        (&["--function", "delete_rom=deny"], 2, "delete_room"),
        (&["--function", "delete_room=no"], 2, "allow, ask or deny"),
        (&["--token-stdin"], 2, "no access token"),
        (&[], 2, "nothing to change"),
        (&["whereby"], 2, "nothing to change"),
        (&["zoom", "--read", "allow"], 2, "--set key=value"),
    ] {
        let ran = configure(&world, arguments).await;
        assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains(words), "{arguments:?}: `{words}` is missing: {ran:?}");
        let ran = configure(&world, &[arguments, &["--json"]].concat()).await;
        let document = assert_call_document(&ran);
        assert_eq!(ran.code, code, "{arguments:?}: {document}");
        assert_eq!(written(&world), GOOD, "{arguments:?}");
        assert!(!world.path("config/whereby/config.toml.new").exists(), "{arguments:?}");
    }
}

#[tokio::test]
async fn of_several_changes_all_are_made_or_none() {
    let world = world().await;
    let changes = ["--set", "limits.timeout_seconds=60", "--set", "limits.nothing=1", "--disable"];
    assert_eq!(configure(&world, &changes).await.code, 3);
    assert_eq!(written(&world), GOOD);
}

#[tokio::test]
async fn an_invalid_file_is_reported_and_not_changed() {
    let world = world().await;
    for wrong in [
        "nonsense",
        "[accounts.work]\naccess_token = \"s3cret-token\n",
        "[accounts.work]\naccess_token = \"s3cret-token\"\ncolour = 1\n",
        "default_account = \"nobody\"\n",
    ] {
        world.write(CONFIG, wrong);
        let ran = configure(&world, &["--set", "limits.timeout_seconds=60"]).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.stderr.contains("config.toml"), "{ran:?}");
        assert_eq!(written(&world), wrong);
    }
    std::fs::write(world.path(CONFIG), b"\xff\xfe").expect("a file");
    assert_eq!(configure(&world, &["--read", "allow"]).await.code, 3);
    assert_eq!(std::fs::read(world.path(CONFIG)).expect("the file"), b"\xff\xfe");
}

#[tokio::test]
async fn an_error_about_a_token_does_not_contain_it() {
    let world = world().await;
    let two = format!("{TOKEN} {TOKEN}");
    let long = TOKEN.repeat(10_000);
    for stdin in ["", " \n", two.as_str(), long.as_str()] {
        for json in [&[][..], &["--json"]] {
            let arguments = [&["--token-stdin"], json].concat();
            let ran = configure_typing(&world, &arguments, stdin).await;
            assert!(matches!(ran.code, 2 | 3), "{ran:?}");
            assert_eq!(written(&world), GOOD);
        }
    }
    for arguments in [
        &["--set", "access_tokn=s3cret-token"][..],
        &["--set", "access_token.env.x=s3cret-token"],
        &["--set", "access_token.s3=s3cret-token"],
        &["--set", "access_token:s3cret-token"],
        &["--set", "access_token", "s3cret-token"],
        &["--token-stdin", "s3cret-token"],
        &["--set", "api_url=https://s3cret-token@api.example"],
        &["--set", "access_token=s3cret-token", "--set", "limits.x=1"],
    ] {
        let ran = configure(&world, arguments).await;
        assert!(matches!(ran.code, 2 | 3), "{arguments:?}: {ran:?}");
        assert_eq!(written(&world), GOOD, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_a_configuration_error() {
    let world = world().await;
    world.write("occupied", "a file");
    let ran = configure(&world, &["--read", "allow", "--config", "../occupied/config.toml"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("occupied"), "{ran:?}");
    let ran = configure(&world, &["--read", "allow", "--config", "."]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
}
