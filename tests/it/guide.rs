//! The README and the guide are true: their blocks are checked, their links lead somewhere, every
//! configuration key has a row, and the code map names what there is.

mod links;
mod map;
mod picture;

use crate::tidy::{files, read, root};
use whereby::catalog::FUNCTIONS;
use whereby_tests::World;

/// A fenced block of a page.
#[derive(Debug)]
pub(crate) struct Block {
    /// The page and the line on which the block begins.
    pub(crate) place: String,
    /// What follows the opening fence: `sh`, `console`, `toml`.
    pub(crate) language: String,
    pub(crate) lines: Vec<String>,
    /// Whether the comment `<!-- not run: REASON -->` stands before it.
    pub(crate) is_not_run: bool,
}

impl Block {
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }
}

/// The pages that users read, by their paths. Pages of other languages and runtimes have their own tests.
pub(crate) fn pages() -> Vec<String> {
    let own = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "BENCHMARKS.md", "CHANGELOG.md"];
    let guide = files(&root().join("docs"), "md");
    let guide = guide.iter().filter_map(|path| path.strip_prefix(root()).ok());
    own.into_iter().map(str::to_owned).chain(guide.map(|path| path.display().to_string())).collect()
}

/// The fenced blocks of a page.
pub(crate) fn blocks(page: &str, text: &str) -> Vec<Block> {
    let (mut blocks, mut open, mut is_not_run) = (Vec::new(), None::<Block>, false);
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.lines.push(line.to_owned()),
            (None, Some(language)) => {
                open = Some(Block {
                    place: format!("{page}:{}", number + 1),
                    language: language.to_owned(),
                    lines: Vec::new(),
                    is_not_run,
                });
            }
            (None, None) => {}
        }
        is_not_run = line
            .strip_prefix("<!-- not run: ")
            .and_then(|rest| rest.strip_suffix(" -->"))
            .is_some_and(|reason| !reason.trim().is_empty());
    }
    assert!(open.is_none(), "{page}: a block does not end");
    blocks
}

/// The parts of a page between backticks, outside of its blocks.
pub(crate) fn inline_code(text: &str) -> Vec<String> {
    let mut is_within = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        is_within ^= is_fence;
        !is_within && !is_fence
    });
    lines.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

#[test]
fn blocks_and_code_are_told_apart() {
    let page = "a `b` c\n<!-- not run: why -->\n```sh\none `two`\n```\n<!-- not run: -->\n```toml\n```\n`d`";
    let found = blocks("page.md", page);
    let seen: Vec<_> = found.iter().map(|b| (b.language.as_str(), b.is_not_run)).collect();
    assert_eq!(seen, [("sh", true), ("toml", false)]);
    assert_eq!((found[0].place.as_str(), found[0].text().as_str()), ("page.md:3", "one `two`\n"));
    assert_eq!(inline_code(page), ["b", "d"]);
}

#[test]
fn the_readme_can_be_read_to_its_end() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines <= 130, "README.md has {lines} lines; details belong in docs/");
    // What CI runs on a clean checkout.
    let demo = "rustup target add wasm32-wasip2 && cargo run --release -- demo";
    assert!(readme.lines().any(|line| line == demo), "README.md does not say: {demo}");
}

/// The cells of a row of a table, without the backticks around them.
fn cells(row: &str) -> Option<Vec<String>> {
    let row = row.strip_prefix('|')?.strip_suffix('|')?.replace("\\|", "\0");
    Some(row.split('|').map(|cell| cell.trim().replace('\0', "|")).collect())
}

#[tokio::test]
async fn every_configuration_key_is_in_the_reference() {
    let page = read("docs/configuration.md");
    let rows: Vec<Vec<String>> = page.lines().filter_map(cells).collect();
    let world = World::with_rooms(Vec::new()).await;
    let help = world.run(&["configure", "--help"]).await.stdout;
    let sections = help.split_once("\nKeys of the account").expect("the keys").1;
    let conditions = sections.split_once("\nConditions of a function").expect("conditions").1;
    let conditions: Vec<&str> =
        conditions.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let mut keys = 0;
    for line in sections.lines() {
        let Some((key, rest)) = line.strip_prefix("  ").and_then(|line| line.split_once("  "))
        else {
            continue;
        };
        // `1 to 600 [30]  time of a call`: the value, its default and what it is.
        let value = rest.trim_start().split("  ").next().unwrap_or_default();
        let (value, default) =
            match value.strip_suffix(']').and_then(|value| value.rsplit_once(" [")) {
                Some((value, default)) if !value.is_empty() => (value, default),
                _ => (value, ""),
            };
        // Conditions are listed by their own names.
        let is_condition = conditions.contains(&key);
        let prefix = if is_condition { "permissions.functions.NAME." } else { "" };
        let name = format!("`{prefix}{key}`");
        let row = rows.iter().find(|row| row[0] == name);
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for {name}"));
        // Where there is no default of its own, a row may say which one follows from elsewhere.
        assert_eq!(row[1], value, "{name}");
        assert!(default.is_empty() || row[2] == default, "{name}: the default is {default}");
        keys += 1;
    }
    assert!(keys >= 25, "only {keys} keys");
}

#[tokio::test]
async fn every_variable_of_the_program_is_in_the_reference() {
    let page = read("docs/configuration.md");
    let mut variables = 0;
    for path in files(&root().join("host/src"), "rs") {
        let text = std::fs::read_to_string(&path).expect("a file");
        for name in text.split('"').filter(|part| {
            part.starts_with("WHEREBY_")
                && part.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
                && part.len() > "WHEREBY_".len()
        }) {
            // What other runtimes hand to the component, and what cargo hands to the build.
            let is_elsewhere = read("docs/embedding.md").contains(name);
            assert!(is_elsewhere || page.contains(&format!("`{name}`")), "{name} is in no page");
            variables += 1;
        }
    }
    assert!(variables >= 4, "only {variables} variables");
}

#[tokio::test]
async fn the_requests_of_every_function_are_in_the_guide() {
    let page = read("docs/sandbox.md");
    let rows: Vec<Vec<String>> = page.lines().filter_map(cells).collect();
    let world = World::with_rooms(Vec::new()).await;
    let session = "meeting_id=a:7be3d6c2-0a41-4b1f-8d0e-2f6f0f4f9a10";
    for function in FUNCTIONS {
        let name = function.json;
        let mut arguments = vec!["call", name, "--dry-run", "--json"];
        // Only these need an argument.
        match name {
            "get_room" | "delete_room" => arguments.extend(["--arg", "room_name=a"]),
            "get_meeting" => arguments.extend(["--arg", session]),
            _ => {}
        }
        let planned = world.run(&arguments).await.json();
        let requests = planned["data"]["requests"].as_array().expect("requests").clone();
        let requests: Vec<&str> = requests.iter().filter_map(serde_json::Value::as_str).collect();
        let row = [format!("`{name}`"), requests.join(", ")];
        assert!(rows.iter().any(|cells| cells[..] == row), "docs/sandbox.md has no row {row:?}");
    }
}
