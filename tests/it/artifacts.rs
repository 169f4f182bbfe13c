//! What the components that are handed out say of themselves, and what they ask of a runtime.

use crate::tidy::read;
use wasm_metadata::{AddMetadata, AddMetadataField, Payload, Version};
use whereby::Inspection;
use wit_parser::decoding::{DecodedWasm, decode};

/// Each with its name.
const ARTIFACTS: [(&str, &[u8]); 4] = [
    ("whereby", whereby::BUILT_IN_COMPONENT),
    ("whereby-reader", whereby::BUILT_IN_READER),
    ("whereby-gateway", whereby::BUILT_IN_GATEWAY),
    ("whereby-reader-gateway", whereby::BUILT_IN_READER_GATEWAY),
];

/// The greatest size of the component by itself, in bytes.
const BUDGET: usize = 225 * 1024;

#[test]
fn every_artifact_says_what_it_is_whose_version_and_under_which_licence() {
    for (name, bytes) in ARTIFACTS {
        let payload = Payload::from_binary(bytes).expect("sections that can be read");
        let metadata = payload.metadata();
        let text = |field: Option<&dyn ToString>| field.map(ToString::to_string);
        assert_eq!(metadata.name.as_deref(), Some(name));
        let description = metadata.description.as_ref().expect(name).to_string();
        assert!(description.starts_with("Whereby video meetings for AI agents: "), "{description}");
        for (found, expected) in [
            (metadata.version.as_ref().map(|field| field as _), env!("CARGO_PKG_VERSION")),
            (metadata.licenses.as_ref().map(|field| field as _), env!("CARGO_PKG_LICENSE")),
            (metadata.homepage.as_ref().map(|field| field as _), env!("CARGO_PKG_HOMEPAGE")),
            (metadata.source.as_ref().map(|field| field as _), env!("CARGO_PKG_REPOSITORY")),
        ] {
            assert_eq!(text(found).as_deref(), Some(expected), "{name}");
        }
    }
}

#[test]
fn a_component_carries_the_documentation_of_its_world_and_stays_small() {
    for (bytes, world) in
        [(whereby::BUILT_IN_COMPONENT, "integration"), (whereby::BUILT_IN_READER, "reader")]
    {
        let DecodedWasm::Component(resolve, root) = decode(bytes).expect("its WIT") else {
            panic!("{world} is no component");
        };
        let docs = resolve.worlds[root].docs.contents.as_deref().expect("documentation");
        let mut source = wit_parser::Resolve::default();
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
        let (package, _) = source.push_dir(wit).expect("the WIT");
        let expected = source.packages[package].worlds[world];
        assert_eq!(Some(docs), source.worlds[expected].docs.contents.as_deref());
        assert!(bytes.len() <= BUDGET, "{world}: {} bytes", bytes.len());
    }
}

#[test]
fn the_words_of_a_component_are_shown_as_plain_text() {
    let mut add = AddMetadata::default();
    add.name = AddMetadataField::Set("evil\u{1b}[2J\nsha256  0".into());
    add.version = AddMetadataField::Set(Version::new("1\u{202e}\r"));
    let bytes = add.to_wasm(whereby::BUILT_IN_READER_GATEWAY).expect("a component");
    let text = Inspection::of(&bytes).expect("a component").to_text();
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text:?}");
    assert_eq!(text.lines().filter(|line| line.starts_with("sha256")).count(), 1, "{text:?}");
}

#[test]
fn the_wit_package_is_published_with_the_same_words() {
    let wkg = read("wkg.toml");
    for (key, value) in [
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("homepage", env!("CARGO_PKG_HOMEPAGE")),
        ("source", env!("CARGO_PKG_REPOSITORY")),
    ] {
        let line = format!("{key} = \"{value}\"");
        assert!(wkg.lines().any(|other| other == line), "wkg.toml does not say: {line}");
    }
}

/// What an artifact imports. A runtime must have all of it, in this version or a later one of 0.2, so
/// that a new line here is a decision.
const IMPORTS: [&str; 9] = [
    "wasi:cli/environment@0.2.12",
    "wasi:clocks/monotonic-clock@0.2.12",
    WALL_CLOCK,
    "wasi:http/outgoing-handler@0.2.12",
    "wasi:http/types@0.2.12",
    "wasi:io/error@0.2.12",
    "wasi:io/poll@0.2.12",
    "wasi:io/streams@0.2.12",
    "wasi:random/random@0.2.12",
];

/// From which the end of a new room is counted.
const WALL_CLOCK: &str = "wasi:clocks/wall-clock@0.2.12";

#[test]
fn every_artifact_imports_what_is_listed_here_and_nothing_else() {
    for (name, bytes) in ARTIFACTS {
        let mut expected = IMPORTS.to_vec();
        if name.starts_with("whereby-reader") {
            expected.retain(|import| *import != WALL_CLOCK);
        }
        let mut imports = Inspection::of(bytes).expect("a component").imports;
        imports.sort_unstable();
        assert_eq!(imports, expected, "{name}");
    }
}
