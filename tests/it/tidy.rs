//! Upkeep: what is written in one place and has to be true in another.

use std::path::{Path, PathBuf};
use whereby::catalog::FUNCTIONS;
use whereby_tests::{World, run};

/// The folder of the whole project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
    let (folders, others): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let mut found: Vec<PathBuf> = others
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == ending))
        .collect();
    found.extend(folders.iter().flat_map(|folder| files(folder, ending)));
    found.sort();
    found
}

/// The code of a file without its comments and its tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_function_of_the_wit_is_in_the_readme_and_has_tests_of_its_own() {
    let wit = read("wit/read.wit") + &read("wit/write.wit");
    let declared: Vec<String> = wit
        .lines()
        .filter_map(|line| line.trim().strip_suffix("func("))
        .chain(wit.lines().filter_map(|line| line.trim().split_once(": func()").map(|(n, _)| n)))
        .map(|name| name.trim().trim_end_matches(':').replace('-', "_"))
        .collect();
    assert_eq!(declared.len(), 7, "{declared:?}");
    let readme = read("README.md");
    for function in declared {
        assert!(FUNCTIONS.iter().any(|known| known.json == function), "{function}");
        let row = format!("| `{function}` |");
        assert!(readme.lines().any(|line| line.starts_with(&row)), "README.md has no {row}");
        assert!(read(&format!("tests/it/functions/{function}.rs")).contains("#[tokio::test]"));
        let module = format!("mod {function};");
        assert!(read("tests/it/functions/mod.rs").contains(&module), "{module}");
    }
}

#[test]
fn deciding_knows_neither_the_engine_nor_the_network_nor_files() {
    for file in ["policy", "grant", "request", "creation", "arguments", "names"] {
        let code = code(&read(&format!("host/src/{file}.rs")));
        for foreign in
            ["wasmtime", "tokio", "reqwest", "std::fs", "std::net", "std::env", "std::io"]
        {
            assert!(!code.contains(foreign), "{file}.rs mentions {foreign}");
        }
    }
}

#[test]
fn clap_is_known_to_the_command_line_alone() {
    for path in files(&root().join("host/src"), "rs") {
        let name = path.strip_prefix(root()).expect("below it").display().to_string();
        let code = code(&std::fs::read_to_string(&path).expect("a file"));
        let may = name.starts_with("host/src/cli/") || name == "host/src/main.rs";
        assert!(may || !code.contains("clap"), "{name} mentions clap");
    }
}

#[test]
fn only_two_places_enforce() {
    for path in files(&root().join("host/src"), "rs") {
        let name = path.strip_prefix(root()).expect("below it").display().to_string();
        let code = code(&std::fs::read_to_string(&path).expect("a file"));
        let file = name.rsplit('/').next().unwrap_or_default();
        let known = ["session.rs", "http.rs", "grant.rs", "grant_tests.rs", "policy.rs"];
        if known.contains(&file) {
            continue;
        }
        for word in [".admit(", "Grant::issue", "Approval(())"] {
            assert!(!code.contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn nothing_is_ignored_or_sleeps_among_the_tests() {
    let own = Path::new("it/tidy.rs");
    for path in files(&root().join("tests"), "rs") {
        if path.ends_with(own) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a file");
        for word in ["#[ignore", "thread::sleep", "time::sleep"] {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn snapshots_hold_no_token_and_none_is_left_over() {
    let folder = root().join("tests/it/snapshots");
    let tests: String = files(&root().join("tests/it"), "rs")
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a file"))
        .collect();
    let snapshots = files(&folder, "snap");
    assert!(!snapshots.is_empty());
    for path in snapshots {
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(!text.contains("eyJ"), "{} holds a JWT", path.display());
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        assert!(tests.contains(&format!("\"{name}\")")), "{name}.snap belongs to no test");
    }
}

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

#[tokio::test]
async fn the_commands_of_the_readme_work() {
    let commands = commands(&read("README.md"));
    for known in SETTING_UP {
        assert!(commands.iter().any(|line| line == known), "README.md does not say: {known}");
    }
    let daily = crate::wire::daily();
    let world = World::with_rooms(vec![daily]).await;
    world.configure(crate::wire::ALLOW_ALL);
    let (mut tried, mut skipped) = (0, Vec::new());
    for line in commands {
        let parts: Vec<&str> = line.split(" | ").collect();
        let own = parts.iter().position(|part| part.starts_with("whereby ")).unwrap_or(0);
        // What comes before the program is its standard input; what comes after it gets its output.
        let Some(stdin) = (match own {
            0 => Some(String::new()),
            1 => typed(&words(parts[0])),
            _ => None,
        }) else {
            skipped.push(line);
            continue;
        };
        let command = parts[own].split(" > ").next().unwrap_or_default();
        let words = words(command);
        let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        match words.first().map(String::as_str) {
            // It serves until it is stopped.
            Some("whereby") if arguments.first() == Some(&"simulate") => {}
            Some("whereby") => {
                // Each finds the same home.
                world.configure(crate::wire::ALLOW_ALL);
                let ran = run(&arguments, world.environment(), &stdin, false).await;
                assert_eq!(ran.code, 0, "{line}: {ran:?}");
                tried += 1;
            }
            Some("export") => {
                assert!(words[1].starts_with("WHEREBY_"), "{line}");
            }
            Some("cargo" | "rustup") => {
                let is_known = SETTING_UP.contains(&line.as_str())
                    || line.starts_with("cargo install --path host");
                assert!(is_known, "{line}");
            }
            _ => panic!("README.md has a command that nobody tries: {line}"),
        }
    }
    assert!(skipped.len() <= 1, "too many commands of README.md are not tried: {skipped:?}");
    assert!(tried >= 10, "README.md has only {tried} commands of the program");
}

#[tokio::test]
async fn the_configuration_in_the_readme_is_one() {
    let readme = read("README.md");
    let blocks: Vec<&str> =
        readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "README.md shows no configuration");
    let world = World::with_rooms(Vec::new()).await;
    for block in blocks {
        world.write("config/whereby/config.toml", block);
        let settings = whereby::Settings::load(None, &world.environment());
        assert!(settings.is_ok(), "{block}: {:?}", settings.err());
    }
}
