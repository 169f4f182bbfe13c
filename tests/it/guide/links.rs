//! Links within the project.

use crate::tidy::{read, root};
use std::path::{Path, PathBuf};

/// Every page of the project, also those of other languages, without what was built or fetched.
fn all_pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let is_foreign = ["target", "node_modules", "corpus", "dist"].contains(&name.as_str());
            if !is_foreign && !name.starts_with('.') {
                pages.extend(all_pages(&path));
            }
        } else if name.ends_with(".md") {
            pages.push(path);
        }
    }
    pages
}

/// The lines of a page outside of its blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_within = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_within ^= is_fence;
        !is_within && !is_fence
    })
}

/// Where the links and images of a page lead.
fn targets(text: &str) -> Vec<String> {
    let links = prose(text).flat_map(|line| line.split("](").skip(1));
    links.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn anchors_are_those_that_github_makes() {
    let page = "# `[lua]`\n```sh\n# no heading\n```\n## Python and Node.js\n### What it's for\n";
    assert_eq!(anchors(page), ["lua", "python-and-nodejs", "what-its-for"]);
    assert_eq!(targets("a [b](c.md#d) ![e](f.svg)\n```\n[g](h)\n```"), ["c.md#d", "f.svg"]);
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in all_pages(&root()) {
        let text = std::fs::read_to_string(&page).expect("a page");
        for target in targets(&text) {
            if target.contains("://") {
                continue;
            }
            let shown = format!("{}: {target}", page.display());
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => page.clone(),
                file => page.parent().expect("a folder").join(file),
            };
            assert!(path.exists(), "{shown} does not exist");
            if !anchor.is_empty() {
                let path = if path.is_dir() { path.join("README.md") } else { path };
                let there = anchors(&std::fs::read_to_string(&path).expect("a page"));
                assert!(there.iter().any(|known| known == anchor), "{shown}: {there:?}");
            }
            links += 1;
        }
    }
    assert!(links >= 50, "only {links} links");
}

#[test]
fn every_page_of_the_guide_is_in_its_index() {
    let index = targets(&read("docs/README.md"));
    for page in super::pages() {
        if let Some(name) = page.strip_prefix("docs/").filter(|name| *name != "README.md") {
            assert!(index.iter().any(|target| target == name), "docs/README.md has no {name}");
        }
    }
}
