//! What the tests of the fuzzed crates share: the kept inputs, gone through in every run.

use std::path::Path;

/// Runs a target on each of its kept inputs.
pub(crate) fn replay(target: &str, run: impl Fn(&[u8])) {
    // Of the crate that includes this, which stands beside `tests`.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus").join(target);
    let entries = std::fs::read_dir(folder).expect("a corpus");
    let inputs: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(inputs.len() >= 5, "{target} has {} inputs", inputs.len());
    for path in inputs {
        run(&std::fs::read(path).expect("an input"));
    }
}
