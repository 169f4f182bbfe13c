//! What the documentation tells a user to type works: the README's commands, the examples of every
//! `--help`, and the commands of cargo.

#[path = "../benches/calls/arguments.rs"]
mod benchmark;

use crate::tidy::read;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use toml_edit::DocumentMut;
use whereby::simulator::RoomSeed;
use whereby_tests::{World, run};

/// The command lines in the README's blocks for the shell.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut within = false;
    for line in readme.lines() {
        match line.trim() {
            "```sh" => within = true,
            "```" => within = false,
            line if within && !line.is_empty() && !line.starts_with('#') => {
                let line = line.strip_prefix("$ ").unwrap_or(line);
                commands.push(line.split(" #").next().unwrap_or(line).trim().to_owned());
            }
            _ => {}
        }
    }
    commands
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
    let readme = "x\n```sh\n# a\n$ one\n\ntwo # b\n```\n```toml\nthree = 1\n```\n";
    assert_eq!(commands(readme), ["one", "two"]);
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

/// The commands that set everything up and run it, or the tests.
const SETTING_UP: [&str; 2] = [
    "rustup target add wasm32-wasip2 && cargo run --release -- demo",
    "rustup target add wasm32-wasip2 && cargo test",
];

/// The commands that serve until they are stopped.
const SERVERS: [&str; 2] = ["mcp", "simulate"];

/// What came of trying a command line of the documentation.
#[derive(PartialEq)]
enum Tried {
    /// It ran, and ended well.
    Ran,
    /// It is none of the program's, or serves until it is stopped.
    Other,
    /// Its input comes from a program that there is not.
    Skipped,
}

/// Runs a command line as a user would, from one and the same home.
async fn try_out(world: &World, line: &str) -> Tried {
    let parts: Vec<&str> = line.split(" | ").collect();
    let own = parts.iter().position(|part| part.starts_with("whereby ")).unwrap_or(0);
    // What comes before the program is its standard input; what comes after it gets its output.
    let stdin = match own {
        0 => Some(String::new()),
        1 => typed(&words(parts[0])),
        _ => None,
    };
    let Some(stdin) = stdin else { return Tried::Skipped };
    let command = parts[own].split(" > ").next().unwrap_or_default();
    let words = words(command);
    let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
    match words.first().map(String::as_str) {
        Some("whereby") if arguments.first().is_some_and(|name| SERVERS.contains(name)) => {
            Tried::Other
        }
        Some("whereby") => {
            world.configure(crate::wire::ALLOW_ALL);
            let ran = run(&arguments, world.environment(), &stdin, false).await;
            assert_eq!(ran.code, 0, "{line}: {ran:?}");
            Tried::Ran
        }
        Some("cargo" | "rustup") => {
            let is_known =
                SETTING_UP.contains(&line) || line.starts_with("cargo install --path host");
            assert!(is_known, "{line}");
            Tried::Other
        }
        _ => panic!("the documentation has a command that nobody tries: {line}"),
    }
}

async fn world() -> World {
    World::with_rooms(vec![RoomSeed::named("daily-standup"), crate::wire::daily()]).await
}

#[tokio::test]
async fn the_commands_of_the_readme_work() {
    let commands = commands(&read("README.md"));
    for known in SETTING_UP {
        assert!(commands.iter().any(|line| line == known), "README.md does not say: {known}");
    }
    let world = world().await;
    let (mut ran, mut skipped) = (0, 0);
    for line in commands {
        match try_out(&world, &line).await {
            Tried::Ran => ran += 1,
            Tried::Skipped => skipped += 1,
            Tried::Other => {}
        }
    }
    assert!(skipped <= 1, "{skipped} commands of README.md are not tried");
    assert!(ran >= 10, "README.md has only {ran} commands of the program");
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
            assert!(tried == Tried::Ran || SERVERS.contains(&name), "{line}");
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
    let within = page.split('`').skip(1).step_by(2).map(str::to_owned);
    let all = commands(page).into_iter().chain(within);
    let parts = all.flat_map(|line| line.split(" && ").map(str::to_owned).collect::<Vec<_>>());
    parts.filter(|line| line.starts_with("cargo ")).collect()
}

#[test]
fn the_commands_of_cargo_name_what_there_is() {
    let packages = packages();
    let package = |name: &str| packages.iter().find(|package| package["name"] == name);
    let mut benchmarks = 0;
    for page in ["README.md", "BENCHMARKS.md", "SECURITY.md"] {
        for line in cargo_commands(&read(page)) {
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
                let taken = benchmark::is_quick(passed_on.iter().cloned());
                assert!(taken.is_ok(), "{page}: {line}: {taken:?}");
                benchmarks += 1;
            }
        }
    }
    assert!(benchmarks >= 3, "only {benchmarks} commands run the benchmarks");
    assert!(benchmark::is_quick(["--quik".to_owned()].into_iter()).is_err());
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
