//! `search`, `completions`, `man` and `help`, and the commands as a reference has them.

use super::configure::{CONFIG, written};
use super::{Screen, assert_call_document, still_world};
use whereby::catalog::FUNCTIONS;
use whereby_tests::run;

const COMMANDS: [&str; 13] = [
    "setup",
    "call",
    "list",
    "docs",
    "schema",
    "search",
    "configure",
    "accounts",
    "doctor",
    "component",
    "completions",
    "man",
    "simulate",
];

#[tokio::test]
async fn functions_are_found_by_words_and_with_typing_errors() {
    let (world, _) = still_world().await;
    let mut screen = Screen::new(&world);
    for query in [&["rooms"][..], &["delete", "room"], &["craete", "rom"], &["invoice"]] {
        screen.run(&[&["search"], query].concat()).await;
    }
    screen.run(&["search", "who attended", "--json"]).await;
    screen.run(&["search", "invoice", "--json"]).await;
    screen.run(&["search"]).await;
    screen.finish("search");
    for query in ["kick a participant", "mute someone"] {
        let ran = world.run(&["search", query]).await;
        assert!(ran.stdout.starts_with("No function removes or mutes a single"), "{ran:?}");
        let document = world.run(&["search", query, "--json"]).await.json();
        assert!(document["notice"].is_string(), "{document}");
    }
    let found = world.run(&["search", "craete", "rom", "--json"]).await.json();
    assert_eq!(found["functions"][0]["name"], "create_room", "{found}");
    // It needs no configuration.
    world.write(CONFIG, "nonsense");
    assert_eq!(world.run(&["search", "rooms"]).await.code, 0);
    world.assert_untouched();
}

#[tokio::test]
async fn completions_know_the_commands_and_a_shell_can_be_wrong() {
    let (world, _) = still_world().await;
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = world.run(&["completions", shell]).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{shell}");
        for command in COMMANDS {
            assert!(ran.stdout.contains(command), "{shell} does not know {command}");
        }
        for flag in ["token-stdin", "dry-run"] {
            assert!(ran.stdout.contains(flag), "{shell} does not know {flag}");
        }
        // The flags that take a function, and, where the shell completes arguments, three commands.
        let times = match shell {
            "bash" | "zsh" | "fish" => 3 + 1 + 3,
            _ => 0,
        };
        for function in FUNCTIONS {
            let known = ran.stdout.matches(function.json).count();
            assert!(known >= times, "{shell} knows {} {known} times", function.json);
        }
        assert!(times == 0 || ran.stdout.contains("delete_room=deny"), "{shell}");
        let document = world.run(&["completions", shell, "--json"]).await.json();
        assert_eq!(document["script"], ran.stdout, "{shell}");
    }
    assert_eq!(world.run(&["completions", "tcsh"]).await.code, 2);
    assert_eq!(world.run(&["completions"]).await.code, 2);
}

#[tokio::test]
async fn the_manual_page_has_the_commands_and_the_exit_statuses() {
    let (world, _) = still_world().await;
    let ran = world.run(&["man"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains(".TH whereby 1"), "{}", ran.stdout);
    for words in COMMANDS.into_iter().chain(["denied by policy"]) {
        assert!(ran.stdout.contains(words), "`{words}` is missing: {}", ran.stdout);
    }
    assert_eq!(world.run(&["man", "--json"]).await.json()["page"], ran.stdout);
    let call = world.run(&["man", "call"]).await.stdout;
    for words in [
        "[\\fB\\-\\-wait\\fR \\fISECONDS\\fR]",
        "[\\fB\\-\\-dry\\-run\\fR] [\\fB\\-\\-force\\fR]",
        "[\\fB\\-\\-if\\-exists\\fR]",
        "[\\fB\\-\\-arg\\fR \\fINAME=VALUE\\fR]...",
        "[\\fIGLOBAL OPTIONS\\fR] \\fIFUNCTION\\fR [\\fIARGUMENTS\\fR]\n",
        "\n.SH \"EXAMPLES\"\n",
        "\n.SH \"EXIT STATUS\"\n",
    ] {
        assert!(call.contains(words), "{words:?} is missing: {call}");
    }
    assert!(!call.contains("[\\fB\\-\\-help"), "{call}");
    // A command of several forms has each of them.
    let deny = world.run(&["man", "approvals", "deny"]).await.stdout;
    let forms = ".SH SYNOPSIS\n\\fBwhereby approvals deny\\fR [OPTIONS] <ID>\n.br\n\
                 \\fBwhereby approvals deny\\fR [OPTIONS] \\-\\-all [\\-\\-client <NAME>] [\\-\\-yes]\n";
    assert!(deny.contains(forms), "{deny}");
    for page in [&ran.stdout, &call] {
        assert!(page.contains(".SH \"EXIT STATUS\"") && !page.contains("EXTRA"), "{page}");
    }
}

/// The manual pages that a page refers to.
fn references(page: &str) -> Vec<String> {
    let page = page.replace('\\', "");
    let ends = page.match_indices("(1)").map(|(end, _)| &page[..end]);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    ends.filter_map(|text| text.rsplit(|c| !is_name(c)).next().map(str::to_owned)).collect()
}

#[tokio::test]
async fn manual_pages_refer_to_pages_that_there_are() {
    let (world, _) = still_world().await;
    std::fs::create_dir(world.path("project/pages")).expect("a folder");
    let ran = world.run(&["man", "--dir", "pages"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let mut pages = 0;
    for entry in std::fs::read_dir(world.path("project/pages")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let page = std::fs::read_to_string(&path).expect("a page");
        for name in references(&page) {
            let known = world.path(&format!("project/pages/{name}.1"));
            assert!(known.is_file(), "{} refers to {name}(1)", path.display());
        }
        // Each is printed, by its own name and by the words of the command.
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let printed = world.run(&["man", name]).await;
        assert_eq!(printed.stdout, page, "{name}");
        assert!(ran.stdout.contains(&format!("{name}.1\n")), "{ran:?}");
        pages += 1;
    }
    assert!(pages > COMMANDS.len(), "{pages} pages");
    let main = world.run(&["man"]).await.stdout;
    let listed = references(&main);
    for command in COMMANDS {
        assert!(listed.contains(&format!("whereby-{command}")), "{command}: {listed:?}");
    }
    let nested = world.run(&["man", "component", "export"]).await;
    assert!(nested.stdout.contains(".TH whereby-component-export 1"), "{nested:?}");
    let ran = world.run(&["man", "cal"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("did you mean `whereby-call`?"), "{ran:?}");
    assert_eq!(world.run(&["man", "--dir", "nowhere"]).await.code, 2);
}

#[tokio::test]
async fn help_is_a_command_and_a_flag_of_every_command() {
    let (world, _) = still_world().await;
    for command in COMMANDS {
        let flag = world.run(&[command, "--help"]).await;
        assert_eq!((flag.code, flag.stderr.as_str()), (0, ""), "{command}");
        assert_eq!(world.run(&["help", command]).await.stdout, flag.stdout, "{command}");
    }
    assert_eq!(world.run(&["help"]).await.stdout, world.run(&["--help"]).await.stdout);
    assert_eq!(world.run(&["help", "cal"]).await.code, 2);
    let nested = world.run(&["help", "component", "export"]).await;
    assert_eq!(nested.stdout, world.run(&["component", "export", "--help"]).await.stdout);
    assert_eq!(nested.code, 0, "{nested:?}");
    let function = world.run(&["help", "list_rooms"]).await;
    assert!(function.stderr.contains("whereby call list_rooms"), "{function:?}");
    let codes = world.run(&["help", "exit-codes"]).await;
    assert!(codes.code == 0 && codes.stdout.starts_with("Exit status:\n"), "{codes:?}");
    assert!(world.run(&["--help"]).await.stdout.contains("`whereby help exit-codes`"));
    let call = world.run(&["call", "--help"]).await.stdout;
    assert!(call.trim_end().ends_with(codes.stdout.trim_end()), "{call}");
    // A command of a command has its help in each spelling.
    let spelled = world.run(&["component", "help", "export"]).await;
    assert_eq!(spelled.stdout, nested.stdout);
    let mut screen = Screen::new(&world);
    screen.run(&["configure", "--help"]).await;
    screen.run(&["doctor", "-h"]).await;
    screen.run(&["search", "--help"]).await;
    screen.finish("help_configure");
}

/// The headings of a help, and the options below each.
fn options(help: &str) -> Vec<(String, Vec<String>)> {
    let mut headings: Vec<(String, Vec<String>)> = Vec::new();
    for line in help.lines() {
        let option = line
            .trim_start()
            .split("--")
            .nth(1)
            .filter(|_| line.starts_with(' ') && line.trim_start().starts_with('-'));
        match (line.strip_suffix(':').filter(|line| !line.starts_with(' ')), option) {
            (Some(heading), _) => headings.push((heading.to_owned(), Vec::new())),
            (None, Some(option)) => {
                let name = option.split([' ', '<', ',']).next().unwrap_or_default();
                headings.last_mut().expect("a heading").1.push(name.to_owned());
            }
            _ => {}
        }
    }
    headings.retain(|(_, options)| !options.is_empty());
    headings
}

#[tokio::test]
async fn a_command_s_own_options_are_apart_from_those_of_all_commands() {
    let (world, _) = still_world().await;
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let help = world.run(&[command, flag]).await.stdout;
            let found = options(&help);
            let (last, own) = found.split_last().expect("options");
            let global = ["config", "account", "component", "json", "verbose", "quiet"];
            assert_eq!(last.0, "Global options", "{command} {flag}: {help}");
            assert_eq!(last.1, global, "{command} {flag}: {help}");
            assert_eq!(own[0].0, "Options", "{command} {flag}: {help}");
            let mut own = own.iter().flat_map(|(_, options)| options);
            assert!(own.all(|name| !global.contains(&name.as_str())), "{command} {flag}: {help}");
        }
    }
}

#[tokio::test]
async fn the_commands_of_the_reference_work_as_they_stand() {
    let (world, _) = still_world().await;
    let token = world.simulator.token().to_owned();
    let url = world.simulator.url();
    world
        .write(CONFIG, &format!("[accounts.default]\napi_url = \"{url}\"\naccess_token = \"x\"\n"));
    let set = format!("access_token={token}");
    let configure = ["whereby", "--set", &set, "--enable", "--read", "allow", "--write", "ask"];
    let arguments = [&["integrations:configure"], &configure[..], &["--json"]].concat();
    let ran = world.run(&arguments).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["changed"], true);
    assert!(!format!("{ran:?}").contains(&token), "the token was printed");
    assert_eq!(
        written(&world),
        format!(
            "[accounts.default]\napi_url = \"{url}\"\naccess_token = \"{token}\"\nenabled = true\n\n\
             [permissions]\nread = \"allow\"\nwrite = \"ask\"\n"
        )
    );
    let call = ["integrations:call", "whereby.whereby_list_rooms", "{\"limit\":1}", "--json"];
    let ran = world.run(&call).await;
    let document = assert_call_document(&ran);
    assert_eq!(document["success"], true, "{document}");
    assert_eq!(document["data"]["data"].as_array().map(Vec::len), Some(1), "{document}");
    for (reference, own) in [
        (&["integrations:docs"][..], &["docs"][..]),
        (&["integrations:docs", "whereby"], &["docs"]),
        (&["integrations:docs", "whereby.list_rooms"], &["docs", "list_rooms"]),
        (&["integrations:schema", "whereby.list_rooms"], &["schema", "list_rooms"]),
        (&["integrations:search", "rooms"], &["search", "rooms"]),
        (&["integrations:list"], &["list"]),
    ] {
        let ran = world.run(reference).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{reference:?}");
        assert!(ran.stdout.contains("list_rooms"), "{reference:?}: {ran:?}");
        assert_eq!(ran.stdout, world.run(own).await.stdout, "{reference:?}");
    }
}

#[tokio::test]
async fn a_function_is_documented_by_the_name_that_it_is_called_by() {
    let (world, _) = still_world().await;
    for function in FUNCTIONS {
        let name = function.json;
        let plain = world.run(&["docs", name]).await;
        for spelling in [
            format!("whereby.{name}"),
            format!("whereby.whereby_{name}"),
            format!("whereby.work.{name}"),
            name.replace('_', "-"),
        ] {
            let ran = run(&["docs", &spelling], world.environment(), "", false).await;
            assert_eq!(ran.stdout, plain.stdout, "{spelling}");
        }
    }
}

#[tokio::test]
async fn an_unknown_account_is_a_usage_error() {
    let (world, _) = still_world().await;
    for command in ["list", "accounts"] {
        let ran = world.run(&[command, "--account", "wrok"]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        assert!(ran.stderr.contains("did you mean `work`"), "{ran:?}");
        let ran = world.run(&[command, "--account", "wrok", "--json"]).await;
        assert_eq!(assert_call_document(&ran)["error"]["kind"], "usage");
    }
    let ran = world.run(&["accounts", "--account", "other", "--json"]).await;
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).expect("a document");
    let names: Vec<_> = document["accounts"].as_array().expect("a list").iter().collect();
    assert!(names.len() == 1 && names[0]["name"] == "other", "{document}");
}
