//! The code map of `docs/architecture.md` names every folder and file of the sources, and no other.

use super::{cells, inline_code};
use crate::tidy::{read, root};
use std::collections::BTreeSet;

const PAGE: &str = "docs/architecture.md";

/// The folders of sources that the map describes, each under a heading of its own: those of the component
/// and of the host, and those of the crates beside them.
fn sources() -> BTreeSet<String> {
    let mut sources = BTreeSet::new();
    for folder in ["guest", "host"] {
        sources.insert(format!("{folder}/src"));
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder") {
            let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
            let source = format!("{folder}/{name}/src");
            if root().join(&source).is_dir() {
                sources.insert(source);
            }
        }
    }
    sources
}

/// The folders, which end in a slash, and the files of a folder.
fn entries(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() { name + "/" } else { name }
        })
        .collect()
}

#[test]
fn the_code_map_is_the_tree() {
    let page = read(PAGE);
    let mut described = BTreeSet::new();
    for section in page.split("\n### ").skip(1) {
        let (heading, body) = section.split_once('\n').expect("a section");
        let folder = heading.trim_matches('`');
        let rows = body.lines().filter_map(cells).filter(|row| row[0].starts_with('`'));
        let named: BTreeSet<String> = rows.flat_map(|row| inline_code(&row[0])).collect();
        if named.is_empty() {
            continue;
        }
        let there = entries(folder);
        let missing: Vec<_> = there.difference(&named).collect();
        assert!(missing.is_empty(), "{PAGE}, {folder}: nothing says what these are: {missing:?}");
        for name in &named {
            let path = root().join(folder).join(name);
            let is_right = if name.ends_with('/') { path.is_dir() } else { path.is_file() };
            assert!(is_right, "{PAGE}, {folder}: there is no {name}");
        }
        described.insert(folder.to_owned());
    }
    assert_eq!(described, sources(), "{PAGE}");
}

#[test]
fn every_path_on_the_page_exists() {
    let mut paths = 0;
    for code in inline_code(&read(PAGE)) {
        if ["guest", "host", "tests", "wit"].iter().any(|top| code.starts_with(&format!("{top}/")))
        {
            assert!(root().join(&code).exists(), "{PAGE}: there is no {code}");
            paths += 1;
        }
    }
    assert!(paths >= 20, "only {paths} paths");
}
