//! The layers of the host: who may import whom, read from the tokens of its source.

use crate::tidy::{files, root};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A path in the source, as far as its first segments go: `["crate", "session", "call"]`.
type Segments = Vec<String>;

/// The source of one module of the host, without its tests.
struct Module {
    /// Its path below the crate: `["session", "outbound", "client"]`, empty for the crate itself.
    path: Segments,
    /// The name of its file, for messages.
    file: String,
    /// Every path that it mentions and that has two segments or more.
    mentions: Vec<Segments>,
}

fn modules(source: &str) -> Vec<Module> {
    let folder = root().join(source);
    let read = |path: &Path| {
        let file = path.strip_prefix(root()).expect("below it").display().to_string();
        let below = path.strip_prefix(&folder).expect("below it").with_extension("");
        let mut segments: Segments =
            below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if segments.last().is_some_and(|last| matches!(&**last, "mod" | "lib" | "main")) {
            segments.pop();
        }
        let text = std::fs::read_to_string(path).expect("a file");
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut mentions = Vec::new();
        collect(tokens, &mut mentions);
        Module { path: segments, file, mentions }
    };
    files(&folder, "rs").iter().map(|path| read(path)).collect()
}

/// Collects the paths of a piece of source, leaving out what is built for tests alone.
fn collect(tokens: TokenStream, found: &mut Vec<Segments>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        if let Some(after) = skip_test(&tokens, at) {
            at = after;
            continue;
        }
        match &tokens[at] {
            TokenTree::Ident(first) => {
                let follows_path = at > 1 && is_separator(&tokens, at - 2);
                let mut path = vec![first.to_string()];
                at += 1;
                while is_separator(&tokens, at) {
                    match tokens.get(at + 2) {
                        Some(TokenTree::Ident(next)) => {
                            path.push(next.to_string());
                            at += 3;
                        }
                        // A group of imports, each of which goes on where the path ends.
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            // What follows may be names alone.
                            if !matches!(&*path[0], "crate" | "self" | "super") {
                                found.push(path.clone());
                            }
                            let mut inner = Vec::new();
                            collect(group.stream(), &mut inner);
                            found.extend(inner.into_iter().map(|rest| {
                                let mut whole = path.clone();
                                whole.extend(rest.into_iter().filter(|part| part != "self"));
                                whole
                            }));
                            at += 3;
                        }
                        _ => break,
                    }
                }
                if !follows_path && path.len() > 1 {
                    found.push(path);
                }
            }
            TokenTree::Group(group) => {
                collect(group.stream(), found);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let colon =
        |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == ':');
    colon(at) && colon(at + 1)
}

/// Where the item that begins with `#[cfg(test)]` at this place ends.
fn skip_test(tokens: &[TokenTree], at: usize) -> Option<usize> {
    let TokenTree::Punct(hash) = &tokens[at] else { return None };
    let Some(TokenTree::Group(attribute)) = tokens.get(at + 1) else { return None };
    let text = attribute.stream().to_string().replace(' ', "");
    let is_test = hash.as_char() == '#'
        && text.starts_with("cfg(")
        && text.contains("test")
        && !text.contains("not(test");
    let end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    };
    let rest = tokens[at + 2..].iter().position(end)?;
    is_test.then_some(at + 2 + rest + 1)
}

/// The module that a path leads to, seen from another: the longest one that there is.
fn target<'a>(from: &Module, mention: &[String], all: &'a [Module]) -> Option<&'a Module> {
    let mut path: Segments = match mention.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => from.path.clone(),
        _ => return None,
    };
    for part in mention {
        match part.as_str() {
            "crate" | "self" => {}
            "super" => drop(path.pop()),
            part => path.push(part.to_owned()),
        }
    }
    let known = |path: &[String]| all.iter().find(|module| module.path == path);
    (1..=path.len()).rev().find_map(|length| known(&path[..length]))
}

/// The part of the house that a module belongs to: a folder below `src`, or a file of its own there.
fn part(module: &Module) -> String {
    let is_inner = |name: &str| matches!(name, "outbound" | "sandbox");
    match module.path.as_slice() {
        [folder, inner, ..] if folder == "session" && is_inner(inner) => {
            format!("{folder}/{inner}")
        }
        [first, ..] => first.clone(),
        [] => "the crate".into(),
    }
}

#[test]
fn imports_go_in_one_direction() {
    let all = modules("host/src");
    let mut graph: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for module in all.iter().filter(|module| !module.path.is_empty() && module.path != ["fuzzing"])
    {
        for mention in &module.mentions {
            let Some(to) = target(module, mention, &all) else { continue };
            let (from, to) = (part(module), part(to));
            if from != to {
                let example = format!("{} mentions {}", module.file, mention.join("::"));
                graph.entry(from).or_default().entry(to).or_insert(example);
            }
        }
    }
    let parts: Vec<&String> = graph.keys().collect();
    assert!(parts.len() >= 9, "the graph has only {parts:?}");
    // What imports nothing that is left is taken away; what remains goes in circles.
    let mut left = graph.clone();
    loop {
        let ends: Vec<String> = left
            .iter()
            .filter(|(_, to)| !to.keys().any(|to| left.contains_key(to)))
            .map(|(from, _)| from.clone())
            .collect();
        if ends.is_empty() {
            break;
        }
        ends.iter().for_each(|end| drop(left.remove(end)));
    }
    let names: BTreeSet<String> = left.keys().cloned().collect();
    left.values_mut().for_each(|to| to.retain(|to, _| names.contains(to)));
    assert!(left.is_empty(), "imports in a circle: {left:#?}");
}

#[test]
fn a_library_is_known_where_it_belongs_and_nowhere_else() {
    let places: &[(&str, &[&str])] = &[
        ("clap", &["cli"]),
        ("clap_complete", &["cli"]),
        ("rustyline", &["cli"]),
        ("rmcp", &["mcp"]),
        ("axum", &["inbox", "listener", "mcp"]),
        ("maud", &["inbox"]),
        ("ratatui", &["inbox"]),
        ("mlua", &["lua"]),
        ("rusqlite", &["store"]),
        ("biscuit_auth", &["token"]),
        ("prost", &["token"]),
        ("ciborium", &["passkey"]),
        ("ring", &["passkey", "store"]),
        ("toml_edit", &["cli", "config"]),
        ("jsonc_parser", &["cli"]),
        ("similar", &["cli"]),
        ("wasmtime", &["session", "session/sandbox"]),
        ("wasmtime_wasi", &["session/sandbox"]),
        ("wasmtime_wasi_http", &["session/sandbox", "session/outbound"]),
        ("wasmparser", &["session/sandbox"]),
        ("wac_graph", &["session/sandbox"]),
        ("hyper_rustls", &["session/outbound"]),
        ("hyper_util", &["session/outbound", "listener"]),
    ];
    let all = modules("host/src");
    for (library, allowed) in places {
        let users: Vec<&Module> = all
            .iter()
            .filter(|module| !module.path.is_empty())
            .filter(|module| module.mentions.iter().any(|path| path[0] == *library))
            .collect();
        assert!(!users.is_empty(), "nothing uses {library}");
        for module in users {
            let part = part(module);
            assert!(allowed.contains(&&*part), "{} uses {library}", module.file);
        }
    }
}

#[test]
fn authority_is_used_up_in_the_session_alone() {
    let all = modules("host/src");
    let users = |ends: &[&str]| -> BTreeSet<&str> {
        let mentions = |module: &&Module| {
            module.mentions.iter().any(|path| {
                path.ends_with(&ends.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
            })
        };
        all.iter().filter(mentions).map(|module| module.file.as_str()).collect()
    };
    assert_eq!(users(&["Grant", "issue"]), BTreeSet::from(["host/src/session/mod.rs"]));
    assert_eq!(users(&["Approval", "given"]), BTreeSet::from(["host/src/session/mod.rs"]));
    // Calls are made of what a script asks for in one place, where none is forced.
    let calls = users(&["Call", "new"]);
    let lua: Vec<&&str> = calls.iter().filter(|file| file.starts_with("host/src/lua/")).collect();
    assert_eq!(lua, [&"host/src/lua/mod.rs"]);
}

#[test]
fn the_environment_is_read_where_it_belongs() {
    for module in modules("host/src") {
        let reads = |path: &Segments| {
            path.windows(2).any(|two| {
                matches!([&*two[0], &*two[1]], ["env", "var" | "var_os" | "vars" | "vars_os"])
            })
        };
        let may = ["config/environment.rs"].iter().any(|file| module.file.ends_with(file));
        assert!(may || !module.mentions.iter().any(reads), "{} reads a variable", module.file);
    }
}
