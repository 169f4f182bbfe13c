//! Replays the corpora in the tests of the fuzzed crates.

use std::path::Path;

/// Runs a target on each input of its corpus.
pub(crate) fn replay(target: &str, run: impl Fn(&[u8])) {
    // The crate that includes this file can be at any depth of the workspace.
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let corpora = folders.map(|folder| folder.join("tests/fuzz/corpus"));
    let corpus = corpora.into_iter().find(|folder| folder.is_dir()).expect("the corpora");
    let folder = corpus.join(target);
    let entries = std::fs::read_dir(folder).expect("a corpus");
    let inputs: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(inputs.len() >= 5, "{target} has {} inputs", inputs.len());
    for path in inputs {
        run(&std::fs::read(path).expect("an input"));
    }
}
