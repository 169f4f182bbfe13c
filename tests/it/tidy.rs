//! Upkeep: what is written in one place and has to be true in another.

use std::path::{Path, PathBuf};
use whereby::catalog::FUNCTIONS;

/// The folder of the whole project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

pub(crate) fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder with this ending.
pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
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

#[test]
fn every_function_of_the_wit_is_in_the_readme_and_has_tests_of_its_own() {
    let wit = read("wit/read.wit") + &read("wit/write.wit");
    let declared: Vec<String> = wit
        .lines()
        .filter_map(|line| line.trim().strip_suffix("func("))
        .chain(wit.lines().filter_map(|line| line.trim().split_once(": func()").map(|(n, _)| n)))
        .map(|name| name.trim().trim_end_matches(':').replace('-', "_"))
        .collect();
    assert_eq!(declared.len(), FUNCTIONS.len(), "{declared:?}");
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
fn nothing_is_ignored_or_sleeps_among_the_tests() {
    let own = Path::new("it/tidy.rs");
    for path in files(&root().join("tests"), "rs") {
        // A benchmark measures, and may wait.
        if path.ends_with(own) || path.starts_with(root().join("tests/benches")) {
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

#[test]
fn the_promises_of_the_security_page_have_their_tests() {
    let page = read("SECURITY.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let mut proofs = 0;
    for row in rows {
        let (promise, proof) = row.trim_matches(['|', ' ']).rsplit_once(" | ").expect("two cells");
        let files: Vec<&str> = proof.split('`').filter(|part| part.contains('.')).collect();
        assert!(!files.is_empty(), "nothing proves: {promise}");
        for file in files {
            let is_whole = file.starts_with("tests/") || file.starts_with("host/");
            let path = if is_whole { file.into() } else { format!("tests/it/{file}") };
            let text = read(&path);
            let has_tests = ["#[tokio::test", "#[test]", "def test_", "\ntest(\""];
            // A file of attempts is run by the one that collects them.
            let is_run =
                has_tests.iter().any(|word| text.contains(word)) || text.contains("fn cases()");
            assert!(is_run, "{path} has no test");
        }
        proofs += 1;
    }
    assert!(proofs >= 15, "only {proofs} promises");
}
