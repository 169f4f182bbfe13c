//! What the documentation tells a user to type works: the commands and outputs in the README and the guide,
//! the examples of every `--help`, and the commands of cargo.

#[path = "../benches/calls/arguments.rs"]
mod benchmark;

use crate::guide::{Block, blocks, inline_code, pages};
use crate::tidy::read;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use toml_edit::DocumentMut;
use whereby::simulator::RoomSeed;
use whereby_tests::{World, run};

/// The command lines of a block for the shell; a line that ends in a backslash goes on.
fn commands(block: &Block) -> Vec<String> {
    let text = block.text().replace("\\\n", " ");
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned()).collect()
}

/// The words of a command line, single and double quotes taken off.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn a_command_line_is_taken_apart_as_a_shell_does() {
    let line = r#"whereby call list_rooms '{"limit": 2}' --arg "a b" ''"#;
    assert_eq!(
        words(line),
        ["whereby", "call", "list_rooms", r#"{"limit": 2}"#, "--arg", "a b", ""]
    );
    let page = "x\n```sh\n# a\none\n\ntwo # b\nthree \\\n  four\n```\n";
    let [block] = blocks("page.md", page).try_into().expect("one block");
    assert_eq!(commands(&block), ["one", "two", "three    four"]);
    assert_eq!(typed(&words("printf '%s\\n' \"$KEY\"")).as_deref(), Some("$KEY\n"));
    assert_eq!(typed(&words("echo a 'b  c'")).as_deref(), Some("a b  c\n"));
    assert_eq!(typed(&words("pass whereby")), None);
}

/// What `echo` or `printf` writes; `None` of any other command.
fn typed(words: &[String]) -> Option<String> {
    let (command, rest) = words.split_first()?;
    match (command.as_str(), rest) {
        ("echo", rest) => Some(rest.join(" ") + "\n"),
        ("printf", [format, value]) if format.starts_with("%s") => {
            Some(format.replacen("%s", value, 1).replace("\\n", "\n"))
        }
        ("printf", [text]) => Some(text.replace("\\n", "\n")),
        _ => None,
    }
}

/// The commands that go on until they are stopped, or that need a terminal.
const NOT_RUN: [&str; 5] = ["inbox", "mcp", "serve", "setup", "simulate"];

/// The subcommands of cargo that the documentation may name. What they run is checked against the packages
/// by [`the_commands_of_cargo_name_what_there_is`].
const CARGO: [&str; 8] = ["bench", "build", "clippy", "doc", "fmt", "install", "run", "test"];

/// What came of trying a command line of the documentation.
#[derive(PartialEq)]
enum Tried {
    /// It ran, and ended well.
    Ran,
    /// It is none of the program's, or serves until it is stopped.
    Other,
}

/// Runs a command line as a user would who may do everything, from one and the same home.
async fn try_out(world: &World, line: &str) -> Tried {
    let parts: Vec<&str> = line.split(" | ").collect();
    let own = parts.iter().position(|part| part.starts_with("whereby ")).unwrap_or(0);
    let command = parts[own].split(" > ").next().unwrap_or_default();
    let typed_words = words(command);
    let arguments: Vec<&str> = typed_words.iter().skip(1).map(String::as_str).collect();
    // What comes before the program is its standard input; what comes after it gets its output.
    let stdin = match own {
        // A person is asked for the key.
        0 if arguments.contains(&"--token-stdin") => "a-key\n".to_owned(),
        0 => String::new(),
        1 => typed(&words(parts[0])).unwrap_or_else(|| panic!("nobody knows the input of: {line}")),
        _ => panic!("a long pipe: {line}"),
    };
    // `INSTA_UPDATE=always cargo test`
    let is_set =
        |word: &&String| word.split_once('=').is_some_and(|(name, _)| name.to_uppercase() == name);
    match typed_words.iter().find(|word| !is_set(word)).map(String::as_str) {
        Some("whereby") => {
            check_spelling(world, &typed_words).await;
            if NOT_RUN.contains(&arguments[0]) {
                return Tried::Other;
            }
            world.configure(crate::wire::ALLOW_ALL);
            let ran = run(&arguments, world.environment(), &stdin, false).await;
            assert_eq!(ran.code, 0, "{line}: {ran:?}");
            Tried::Ran
        }
        Some("cargo" | "rustup") => {
            for part in line.split("cargo ").skip(1) {
                let name = part.split(' ').next().unwrap_or_default();
                assert!(CARGO.contains(&name), "{line}");
            }
            Tried::Other
        }
        _ => panic!("the documentation has a command that nobody tries: {line}"),
    }
}

/// Checks that a command of the program and each of its flags is one, without running it.
async fn check_spelling(world: &World, words: &[String]) {
    let line = words.join(" ");
    let mut command: Vec<&str> = Vec::new();
    let mut help = world.run(&["--help"]).await.stdout;
    for word in words.iter().skip(1) {
        let is_subcommand = help.lines().any(|line| {
            line.strip_prefix("  ").and_then(|line| line.split(' ').next()) == Some(word)
        });
        match is_subcommand {
            true if word == "help" => break,
            true => command.push(word),
            false => break,
        }
        help = world.run(&[&command[..], &["--help"]].concat()).await.stdout;
    }
    let is_known =
        !command.is_empty() || ["help", "--help", "--version"].contains(&words[1].as_str());
    assert!(is_known, "there is no command: {line}");
    for word in words {
        let flag = word.split('=').next().unwrap_or(word);
        let names = |line: &str| line.split([' ', ',', '=']).any(|part| part == flag);
        let is_flag = flag.starts_with("--") && flag.len() > 2;
        assert!(
            !is_flag || flag == "--version" || help.lines().any(names),
            "there is no {flag}: {line}"
        );
    }
}

/// Checks commands that cannot run here: those of the program that are among them are spelled right.
async fn check_unrun(world: &World, lines: impl IntoIterator<Item = &str>) -> usize {
    let mut checked = 0;
    for line in lines {
        let words = words(line.trim_start_matches("ExecStart="));
        let is_program = |word: &String| word == "whereby" || word.ends_with("/bin/whereby");
        // `claude mcp add whereby -- whereby mcp`: the last one is the program.
        let Some(at) = words.iter().rposition(is_program) else { continue };
        // `sudo install -o whereby -m 700`: that is the user.
        if words.get(at + 1).is_some_and(|next| !next.starts_with(['-', '/'])) {
            check_spelling(world, &words[at..]).await;
            checked += 1;
        }
    }
    checked
}

/// Plays a transcript: each command that follows a `$` shows what the page says. The user has the default
/// rules and nobody to ask. In what is shown, `…` stands for anything; in a command, `ID` stands for the
/// approval that was asked for last.
async fn play(world: &World, block: &Block) {
    world.configure("");
    let text = format!("\n{}", block.text());
    let mut steps = text.split("\n$ ");
    assert_eq!(steps.next(), Some(""), "{}: a transcript begins with a command", block.place);
    for step in steps {
        let (line, expected) = step.split_once('\n').unwrap_or((step, ""));
        let mut words = words(line);
        assert_eq!(words[0], "whereby", "{}: {line}", block.place);
        check_spelling(world, &words).await;
        for word in words.iter_mut().filter(|word| *word == "ID") {
            *word = pending(world).await;
        }
        let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let ran = world.run(&arguments).await;
        let place = format!("{}: {line}: {ran:?}", block.place);
        assert_eq!(ran.code != 0, expected.starts_with("error:"), "{place}");
        let shown = ran.stdout.clone() + &ran.stderr;
        assert!(expected.trim().is_empty() || fits(expected.trim(), shown.trim()), "{place}");
    }
}

/// The id of the approval that was asked for last. Where there is none, a call asks for one.
async fn pending(world: &World) -> String {
    let newest = async || {
        let listed = world.run(&["approvals", "list", "--json"]).await.json();
        let newest = listed["approvals"].as_array().and_then(|all| all.last().cloned());
        newest.and_then(|one| one["id"].as_str().map(str::to_owned))
    };
    if let Some(id) = newest().await {
        return id;
    }
    world.run(&["call", "create_room"]).await;
    newest().await.expect("an approval")
}

/// Whether a text is as a pattern says, where `…` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
        last = Some(part);
    }
    last.map_or(rest.is_empty(), |last| text.ends_with(last))
}

#[test]
fn an_ellipsis_stands_for_anything() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("…b", "aab", true),
        ("a…c…e", "abcde", true),
        ("a…\n…", "a b\nc", true),
        ("a…d", "abc", false),
        ("b…", "ab", false),
        ("…b", "abb", true),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}

async fn world() -> World {
    World::with_rooms(vec![RoomSeed::named("daily-standup"), crate::wire::daily()]).await
}

#[tokio::test]
async fn the_blocks_of_the_guide_work() {
    let library = read("host/src/lib.rs").replace("//! ", "").replace("//!\n", "\n");
    let (mut ran, mut played, mut unrun) = (0, 0, 0);
    for page in pages() {
        let world = world().await;
        for block in blocks(&page, &read(&page)) {
            let (place, text) = (&block.place, block.text());
            match block.language.as_str() {
                _ if block.is_not_run => {
                    unrun += check_unrun(&world, block.lines.iter().map(String::as_str)).await;
                }
                "sh" => {
                    for line in commands(&block) {
                        ran += usize::from(try_out(&world, &line).await == Tried::Ran);
                    }
                }
                "console" => {
                    play(&world, &block).await;
                    played += 1;
                }
                "toml" => {
                    // The rules of a guarded component are the contents of `[permissions]`.
                    let is_of_guard = page == "docs/embedding.md";
                    let within = if is_of_guard { "[permissions.functions" } else { "[functions" };
                    let text = text.replace("[functions", within);
                    world.write("config/whereby/config.toml", &text);
                    let settings = whereby::Settings::load(None, &world.environment());
                    assert!(settings.is_ok(), "{place}: {:?}", settings.err());
                }
                "json" => {
                    let document: Value = serde_json::from_str(&text).expect(place);
                    let servers = document.as_object().and_then(|all| all.values().next());
                    let server = &servers.expect(place)["whereby"];
                    assert_eq!(
                        (&server["command"], &server["args"][0]),
                        (&"whereby".into(), &"mcp".into()),
                        "{place}"
                    );
                }
                "ini" => {
                    let lines = block.lines.iter().map(String::as_str);
                    let starts = lines.filter(|line| line.starts_with("ExecStart="));
                    assert_eq!(check_unrun(&world, starts).await, 1, "{place}");
                }
                // These run elsewhere: in the library's documentation, and with the pages about Lua.
                "rust" => {
                    for part in text.split("\n\n") {
                        assert!(
                            library.contains(part.trim()),
                            "{place}: host/src/lib.rs has no\n{part}"
                        );
                    }
                }
                "lua" => assert_eq!(page, "docs/lua.md", "{place}"),
                // The tests of packages run the workflow's steps.
                "yaml" => assert_eq!(page, "docs/scripts-and-ci.md", "{place}"),
                "text" => {
                    let starts = ["$ ", "whereby ", "cargo ", "sudo "];
                    let is_command =
                        |line: &String| starts.iter().any(|word| line.starts_with(word));
                    assert!(!block.lines.iter().any(is_command), "{place} looks like commands");
                }
                other => panic!("{place}: nothing tries a block of the language `{other}`"),
            }
        }
        for code in inline_code(&read(&page)) {
            let words = words(&code);
            if words.len() > 1 && words[0] == "whereby" {
                check_spelling(&world, &words).await;
            }
        }
    }
    assert!(ran >= 35, "only {ran} commands of the program");
    assert!(played >= 6, "only {played} transcripts");
    assert!(unrun >= 3, "only {unrun} commands that cannot run");
}

#[tokio::test]
async fn the_examples_of_every_help_work() {
    let world = world().await;
    let help = world.run(&["--help"]).await.stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // A description goes on further in.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 13, "{commands:?}");
    let mut ran = 0;
    for name in commands {
        let help = world.run(&[name, "--help"]).await.stdout;
        assert_eq!(help.contains("Exit status:"), name == "call", "{name} --help");
        let examples: Vec<&str> = help
            .lines()
            .skip_while(|line| !line.starts_with("Example"))
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            .collect();
        assert!(!examples.is_empty(), "{name} --help has no example");
        for line in examples {
            // A narrow terminal shows it in one line, as it is typed.
            assert!(line.chars().count() <= 80, "{line}");
            let tried = try_out(&world, line.trim()).await;
            assert!(tried == Tried::Ran || NOT_RUN.contains(&name), "{line}");
            ran += 1;
        }
    }
    assert!(ran >= 20, "only {ran} examples");
}

/// The packages of the workspace, as `cargo metadata` describes them.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The targets of a package: their kinds and names.
fn targets(package: &Value) -> impl Iterator<Item = (&str, &str)> {
    let targets = package["targets"].as_array().into_iter().flatten();
    targets.filter_map(|target| Some((target["kind"][0].as_str()?, target["name"].as_str()?)))
}

/// The commands of cargo in a page: in its blocks for the shell, and within its text.
fn cargo_commands(page: &str) -> Vec<String> {
    let text = read(page);
    let all = blocks(page, &text).into_iter().filter(|block| block.language == "sh");
    let all = all.flat_map(|block| commands(&block)).chain(inline_code(&text));
    let parts = all.flat_map(|line| line.split(" && ").map(str::to_owned).collect::<Vec<_>>());
    // A variable may be set before it.
    let parts = parts.filter_map(|line| Some(line[line.find("cargo ")?..].to_owned()));
    parts.filter(|line| CARGO.contains(&line.split(' ').nth(1).unwrap_or_default())).collect()
}

#[test]
fn the_commands_of_cargo_name_what_there_is() {
    let packages = packages();
    let package = |name: &str| packages.iter().find(|package| package["name"] == name);
    let mut benchmarks = 0;
    for page in pages() {
        for line in cargo_commands(&page) {
            let words = words(&line);
            let (own, passed_on) = match words.iter().position(|word| word == "--") {
                Some(at) => (&words[..at], &words[at + 1..]),
                None => (&words[..], &[][..]),
            };
            for pair in own.windows(2) {
                let [flag, name] = pair else { continue };
                let is_there = match flag.as_str() {
                    "-p" => package(name).is_some(),
                    "--example" | "--test" | "--bench" => {
                        let target = (flag.trim_start_matches('-'), name.as_str());
                        packages.iter().flat_map(targets).any(|known| known == target)
                    }
                    "--path" => {
                        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).is_dir()
                    }
                    _ => true,
                };
                assert!(is_there, "{page}: {line}: there is no {name}");
            }
            if own[1] == "bench" {
                let taken = benchmark::Arguments::read(passed_on.iter().cloned());
                assert!(taken.is_ok(), "{page}: {line}: {taken:?}");
                benchmarks += 1;
            }
        }
    }
    assert!(benchmarks >= 3, "only {benchmarks} commands run the benchmarks");
    let read = |argument: &str| benchmark::Arguments::read([argument.to_owned()].into_iter());
    assert!(read("--quick").is_ok_and(|read| read.is_quick && !read.counts_only));
    assert!(read("--instructions").is_ok_and(|read| read.counts_only));
    assert!(read("--quik").is_err());
}

#[test]
fn the_demonstration_builds_the_program_alone_and_benchmarks_measure_what_is_distributed() {
    let manifest = |name: &str| read(name).parse::<DocumentMut>().expect("TOML");
    assert_eq!(manifest("host/Cargo.toml")["package"]["default-run"].as_str(), Some("whereby"));
    let workspace = manifest("Cargo.toml");
    let profile = |name: &str| &workspace["profile"][name];
    assert_eq!(profile("bench")["inherits"].as_str(), Some("dist"));
    assert_eq!(profile("dist")["lto"].as_str(), Some("thin"));
    assert_eq!(profile("release")["lto"].as_str(), Some("off"));
    // What `release` overrides for a quick build, `dist` must set back.
    let packages = |name: &str| profile(name)["package"].as_table_like().expect("packages");
    for (package, _) in packages("release").iter() {
        let distributed =
            packages("dist").get(package).and_then(|item| item["opt-level"].as_integer());
        assert_eq!(distributed, Some(3), "{package}");
    }
}

/// Cargo gives the flags of a benchmark to every target that it would measure, and a target that runs
/// by the standard harness refuses those that the harness does not know.
#[test]
fn nothing_but_the_benchmarks_is_given_their_flags() {
    let mut benchmarks = 0;
    for package in packages() {
        let file = package["manifest_path"].as_str().expect("a manifest");
        let manifest: DocumentMut =
            std::fs::read_to_string(file).expect("a manifest").parse().expect("TOML");
        let of = |kind: &str, name: &str, key: &str| {
            let section = manifest.get(kind)?;
            let one = section.as_table().filter(|_| kind == "lib");
            let many = section.as_array_of_tables().into_iter().flat_map(|tables| tables.iter());
            let mut found =
                one.into_iter().chain(many.filter(|table| {
                    table.get("name").and_then(toml_edit::Item::as_str) == Some(name)
                }));
            found.next()?.get(key)?.as_bool()
        };
        for (kind, name) in targets(&package) {
            match kind {
                "bench" => {
                    assert_eq!(of("bench", name, "harness"), Some(false), "{file}: {name}");
                    benchmarks += 1;
                }
                "bin" => assert_eq!(of("bin", name, "bench"), Some(false), "{file}: {name}"),
                "test" | "example" | "custom-build" => {
                    assert_ne!(of(kind, name, "bench"), Some(true), "{file}: {name}");
                }
                _ => assert_eq!(of("lib", name, "bench"), Some(false), "{file}: {name}"),
            }
        }
    }
    assert!(benchmarks >= 1, "there is no benchmark");
}
