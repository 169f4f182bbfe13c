//! Files that are wired in each wrong way. Their interfaces are empty, so that all of them are valid and
//! only the check can tell them apart; the real ones are in `tests/it/guarded.rs`.

use super::*;

const GUARD: &str = r#"(component
  (import "wasi:cli/environment@0.2.12" (instance))
  (import "wasi:http/outgoing-handler@0.2.12" (instance))
  (import "wasi:http/types@0.2.12" (instance))
  (import "wasi:io/streams@0.2.12" (instance))
  (instance)
  (export "whereby:guard/grants@0.1.0" (instance 4))
  (export "wasi:cli/environment@0.2.12" (instance 0))
  (export "wasi:cli/exit@0.2.12" (instance 4))
  (export "wasi:http/outgoing-handler@0.2.12" (instance 1))
  (export "wasi:http/types@0.2.12" (instance 2))
  (export "wasi:io/streams@0.2.12" (instance 3)))"#;

const FRONT: &str = r#"(component
  (import "whereby:guard/grants@0.1.0" (instance))
  (import "whereby:agent/types@0.1.0" (instance))
  (import "whereby:agent/read@0.1.0" (instance))
  (import "whereby:agent/write@0.1.0" (instance))
  (export "whereby:agent/read@0.1.0" (instance 2))
  (export "whereby:agent/write@0.1.0" (instance 3)))"#;

const MIDDLE: &str = r#"(component
  (import "wasi:cli/environment@0.2.12" (instance))
  (import "wasi:cli/exit@0.2.6" (instance))
  (import "wasi:http/outgoing-handler@0.2.12" (instance))
  (import "wasi:http/types@0.2.12" (instance))
  (import "wasi:io/streams@0.2.12" (instance))
  (import "wasi:io/poll@0.2.12" (instance))
  (import "wasi:random/random@0.2.6" (instance))
  (instance)
  (export "whereby:agent/types@0.1.0" (instance 7))
  (export "whereby:agent/read@0.1.0" (instance 7))
  (export "whereby:agent/write@0.1.0" (instance 7)))"#;

const HANDLER: &str = r#"(component
  (import "wasi:http/types@0.2.12" (instance))
  (import "wasi:cli/environment@0.2.12" (instance))
  (import "whereby:agent/types@0.1.0" (instance))
  (import "whereby:agent/read@0.1.0" (instance))
  (import "whereby:agent/write@0.1.0" (instance))
  (instance)
  (export "wasi:http/incoming-handler@0.2.12" (instance 5)))"#;

/// A right composition.
const COMPOSED: &str = r#"(component
  (import "wasi:cli/environment@0.2.12" (instance $environment))
  (import "wasi:http/outgoing-handler@0.2.12" (instance $outgoing))
  (import "wasi:http/types@0.2.12" (instance $http))
  (import "wasi:io/streams@0.2.12" (instance $streams))
  (import "wasi:io/poll@0.2.12" (instance $poll))
  (import "wasi:random/random@0.2.12" (instance $random))
  GUARD
  FRONT
  MIDDLE
  (instance $guard (instantiate 0
    (with "wasi:cli/environment@0.2.12" (instance $environment))
    (with "wasi:http/outgoing-handler@0.2.12" (instance $outgoing))
    (with "wasi:http/types@0.2.12" (instance $http))
    (with "wasi:io/streams@0.2.12" (instance $streams))))
  (alias export $guard "wasi:cli/environment@0.2.12" (instance $guard-environment))
  (alias export $guard "wasi:cli/exit@0.2.12" (instance $guard-exit))
  (alias export $guard "wasi:http/outgoing-handler@0.2.12" (instance $guard-outgoing))
  (alias export $guard "wasi:http/types@0.2.12" (instance $guard-http))
  (alias export $guard "wasi:io/streams@0.2.12" (instance $guard-streams))
  (alias export $guard "whereby:guard/grants@0.1.0" (instance $grants))
  (instance $middle (instantiate 2
    (with "wasi:cli/environment@0.2.12" (instance $guard-environment))
    (with "wasi:cli/exit@0.2.6" (instance $guard-exit))
    (with "wasi:http/outgoing-handler@0.2.12" (instance $guard-outgoing))
    (with "wasi:http/types@0.2.12" (instance $guard-http))
    (with "wasi:io/streams@0.2.12" (instance $guard-streams))
    (with "wasi:io/poll@0.2.12" (instance $poll))
    (with "wasi:random/random@0.2.6" (instance $random))))
  (alias export $middle "whereby:agent/types@0.1.0" (instance $types))
  (alias export $middle "whereby:agent/read@0.1.0" (instance $middle-read))
  (alias export $middle "whereby:agent/write@0.1.0" (instance $middle-write))
  (instance $front (instantiate 1
    (with "whereby:guard/grants@0.1.0" (instance $grants))
    (with "whereby:agent/types@0.1.0" (instance $types))
    (with "whereby:agent/read@0.1.0" (instance $middle-read))
    (with "whereby:agent/write@0.1.0" (instance $middle-write))))
  (alias export $front "whereby:agent/read@0.1.0" (instance $read))
  (alias export $front "whereby:agent/write@0.1.0" (instance $write))
  (export "whereby:agent/types@0.1.0" (instance $types))
  (export "whereby:agent/read@0.1.0" (instance $read))
  (export "whereby:agent/write@0.1.0" (instance $write)))"#;

/// A right composition of a gateway.
const GATEWAY: &str = r#"(component
  (import "wasi:cli/environment@0.2.12" (instance $environment))
  (import "wasi:http/outgoing-handler@0.2.12" (instance $outgoing))
  (import "wasi:http/types@0.2.12" (instance $http))
  (import "wasi:io/streams@0.2.12" (instance $streams))
  (import "wasi:io/poll@0.2.12" (instance $poll))
  (import "wasi:random/random@0.2.12" (instance $random))
  COMPOSED
  HANDLER
  (instance $guarded (instantiate 0
    (with "wasi:cli/environment@0.2.12" (instance $environment))
    (with "wasi:http/outgoing-handler@0.2.12" (instance $outgoing))
    (with "wasi:http/types@0.2.12" (instance $http))
    (with "wasi:io/streams@0.2.12" (instance $streams))
    (with "wasi:io/poll@0.2.12" (instance $poll))
    (with "wasi:random/random@0.2.12" (instance $random))))
  (alias export $guarded "whereby:agent/types@0.1.0" (instance $types))
  (alias export $guarded "whereby:agent/read@0.1.0" (instance $read))
  (alias export $guarded "whereby:agent/write@0.1.0" (instance $write))
  (instance $handler (instantiate 1
    (with "wasi:http/types@0.2.12" (instance $http))
    (with "wasi:cli/environment@0.2.12" (instance $environment))
    (with "whereby:agent/types@0.1.0" (instance $types))
    (with "whereby:agent/read@0.1.0" (instance $read))
    (with "whereby:agent/write@0.1.0" (instance $write))))
  (alias export $handler "wasi:http/incoming-handler@0.2.12" (instance $incoming))
  (export "wasi:http/incoming-handler@0.2.12" (instance $incoming)))"#;

/// Functions that need nothing, which a gateway can't tell from guarded ones.
const UNGUARDED: &str = r#"(component
  (instance)
  (export "whereby:agent/types@0.1.0" (instance 0))
  (export "whereby:agent/read@0.1.0" (instance 0))
  (export "whereby:agent/write@0.1.0" (instance 0)))"#;

fn encode(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Writes out a composition.
fn fill(text: &str) -> String {
    [
        ("COMPOSED", COMPOSED),
        ("HANDLER", HANDLER),
        ("GUARD", GUARD),
        ("FRONT", FRONT),
        ("MIDDLE", MIDDLE),
    ]
    .iter()
    .fold(text.to_owned(), |text, (name, part)| text.replace(name, part))
}

fn check_text(text: &str) -> Result<Guarded, Unproven> {
    let [guard, front, handler, functions] = [GUARD, FRONT, HANDLER, MIDDLE].map(encode);
    let parts = Parts {
        guard: &guard,
        fronts: [&front, &front],
        handlers: [&handler, &handler],
        functions: [&functions, &functions],
    };
    check_parts(&encode(&fill(text)), &parts)
}

/// Replaces the only place of a text.
fn replace(text: &str, (old, new): (&str, &str)) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old}");
    text.replace(old, new)
}

#[test]
fn a_right_composition_is_proven() {
    let functions = sha256(&encode(MIDDLE));
    let guarded = Guarded { is_gateway: false, is_built_in: true, functions };
    assert_eq!(check_text(COMPOSED), Ok(guarded.clone()));
    assert_eq!(check_text(GATEWAY), Ok(Guarded { is_gateway: true, ..guarded }));
    // Without those that write.
    let reader =
        COMPOSED.replace("\n  (export \"whereby:agent/write@0.1.0\" (instance $write))", "");
    assert_ne!(reader, COMPOSED);
    assert!(check_text(&reader).is_ok());
}

#[test]
fn another_component_is_named_by_its_digest() {
    let other = change(MIDDLE);
    let found = check_text(&replace(COMPOSED, ("MIDDLE", &other))).expect("a right composition");
    assert_eq!(found.functions, sha256(&encode(&other)));
    assert!(!found.is_built_in);
}

/// Adds something to a component that nobody uses.
fn change(component: &str) -> String {
    component.replacen("(component", "(component (type string)", 1)
}

#[test]
fn a_part_of_other_bytes_is_refused() {
    for (text, part, bytes, expected) in [
        (COMPOSED, "GUARD", GUARD, "it does not contain the guard of this version"),
        (COMPOSED, "FRONT", FRONT, "it does not contain the front of this version"),
        (GATEWAY, "HANDLER", HANDLER, "it does not contain the guard of this version"),
    ] {
        let refused = check_text(&replace(text, (part, &change(bytes))));
        assert_eq!(refused, Err(Unproven(expected.to_owned())), "{part}");
    }
}

#[test]
fn a_gateway_that_is_wired_in_another_way_is_refused() {
    for (change, expected) in [
        (
            (
                "(with \"whereby:agent/write@0.1.0\" (instance $write))",
                "(with \"whereby:agent/write@0.1.0\" (instance $read))",
            ),
            "whereby:agent/write@0.1.0 of the gateway does not come from the guarded component",
        ),
        (
            (
                "(instance $http))\n    (with \"wasi:cli/environment@0.2.12\" (instance $environment))\n    (with \"whereby",
                "(instance $streams))\n    (with \"wasi:cli/environment@0.2.12\" (instance $environment))\n    (with \"whereby",
            ),
            "wasi:http/types@0.2.12 of the gateway does not come from the runtime",
        ),
        (
            ("(instance $random))))", "(instance $poll))))"),
            "wasi:random/random@0.2.12 of the guarded component does not come from the runtime",
        ),
        (
            (
                "(export \"wasi:http/incoming-handler@0.2.12\" (instance $incoming))",
                "(export \"whereby:agent/write@0.1.0\" (instance $write))",
            ),
            "the export whereby:agent/write@0.1.0 is not allowed",
        ),
        (
            (
                "(instance $incoming))\n",
                "(instance $incoming)) (alias export $guarded \"whereby:agent/read@0.1.0\" (instance $more)) (export \"whereby:agent/read@0.1.0\" (instance $more))\n",
            ),
            "the export whereby:agent/read@0.1.0 is not allowed",
        ),
        (("HANDLER\n", "HANDLER HANDLER\n"), "it contains the gateway more than once"),
        (
            ("HANDLER\n", "HANDLER (component)\n"),
            "it contains other components than the gateway and a guarded component",
        ),
        (("HANDLER\n", "HANDLER (core module)\n"), "a core module is outside of the components"),
        // The functions alone, with the same exports.
        (("COMPOSED", UNGUARDED), "it does not contain the guard of this version"),
    ] {
        let refused = check_text(&replace(GATEWAY, change));
        let Err(Unproven(reason)) = refused else { panic!("{change:?} is accepted") };
        assert_eq!(reason, expected, "{change:?}");
    }
}

/// Types with a function among them, which nothing would decide about.
#[test]
fn types_with_a_function_are_refused() {
    let functions = replace(
        MIDDLE,
        (
            "(instance)\n  (export \"whereby:agent/types@0.1.0\" (instance 7))",
            "(import \"wasi:io/error@0.2.12\" (instance (export \"send\" (func)))) (instance)
             (export \"whereby:agent/types@0.1.0\" (instance 7))",
        ),
    );
    let functions = functions.replace("@0.1.0\" (instance 7)", "@0.1.0\" (instance X)");
    let functions = functions
        .replacen("(instance X)", "(instance 7)", 1)
        .replace("(instance X)", "(instance 8)");
    let composed = replace(COMPOSED, ("MIDDLE", &functions));
    let composed = replace(
        &composed,
        (
            "(import \"wasi:io/poll@0.2.12\" (instance $poll))",
            "(import \"wasi:io/poll@0.2.12\" (instance $poll))
             (import \"wasi:io/error@0.2.12\" (instance $error (export \"send\" (func))))",
        ),
    );
    let composed = replace(
        &composed,
        (
            "(with \"wasi:io/poll@0.2.12\" (instance $poll))",
            "(with \"wasi:io/poll@0.2.12\" (instance $poll)) (with \"wasi:io/error@0.2.12\" (instance $error))",
        ),
    );
    let refused = check_text(&composed);
    let expected = "the export whereby:agent/types@0.1.0 has more than types";
    assert_eq!(refused, Err(Unproven(expected.to_owned())));
}

#[test]
fn a_composition_that_is_wired_in_another_way_is_refused() {
    for (change, expected) in [
        // The guard is there, and the functions go around it.
        (
            ("(instance $guard-outgoing))\n    (with", "(instance $outgoing))\n    (with"),
            "wasi:http/outgoing-handler@0.2.12 of the functions does not come from the guard",
        ),
        (
            ("(instance $guard-http))\n    (with", "(instance $http))\n    (with"),
            "wasi:http/types@0.2.12 of the functions does not come from the guard",
        ),
        (
            ("(instance $guard-streams))\n    (with", "(instance $streams))\n    (with"),
            "wasi:io/streams@0.2.12 of the functions does not come from the guard",
        ),
        (
            ("(instance $guard-environment))\n    (with", "(instance $environment))\n    (with"),
            "wasi:cli/environment@0.2.12 of the functions does not come from the guard",
        ),
        (
            (
                "\"wasi:cli/exit@0.2.6\" (instance $guard-exit)",
                "\"wasi:cli/exit@0.2.6\" (instance $environment)",
            ),
            "wasi:cli/exit@0.2.6 of the functions does not come from the guard",
        ),
        // An interface of the guard under another name.
        (
            ("(instance $guard-exit))\n    (with", "(instance $guard-streams))\n    (with"),
            "wasi:cli/exit@0.2.6 of the functions does not come from the guard",
        ),
        (
            ("(instance $poll))\n    (with", "(instance $grants))\n    (with"),
            "wasi:io/poll@0.2.12 of the functions does not come from the runtime",
        ),
        // More than the functions may have.
        (
            (
                "(with \"wasi:random/random@0.2.6\" (instance $random))",
                "(with \"wasi:random/random@0.2.6\" (instance $random)) \
                 (with \"whereby:guard/grants@0.1.0\" (instance $grants))",
            ),
            "whereby:guard/grants@0.1.0 of the functions is not allowed",
        ),
        (
            (
                "(with \"wasi:random/random@0.2.6\" (instance $random))",
                "(with \"wasi:random/random@0.2.6\" (instance $random)) \
                 (with \"wasi:sockets/tcp@0.2.12\" (instance $outgoing))",
            ),
            "wasi:sockets/tcp@0.2.12 of the functions does not come from the guard",
        ),
        (
            (
                "(with \"wasi:random/random@0.2.6\" (instance $random))",
                "(with \"wasi:random/random@0.2.6\" (instance $random)) \
                 (with \"wasi:http/client@0.3.0\" (instance $outgoing))",
            ),
            "wasi:http/client@0.3.0 of the functions is not allowed",
        ),
        // The guard or the front gets something from the functions, or from the wrong place.
        (
            (
                "(with \"whereby:guard/grants@0.1.0\" (instance $grants))",
                "(with \"whereby:guard/grants@0.1.0\" (instance $types))",
            ),
            "whereby:guard/grants@0.1.0 of the front does not come from the guard",
        ),
        (
            ("(instance $middle-write))))", "(instance $middle-read))))"),
            "whereby:agent/write@0.1.0 of the front does not come from the functions",
        ),
        (
            ("(instance $streams))))", "(instance $http))))"),
            "wasi:io/streams@0.2.12 of the guard does not come from the runtime",
        ),
        // The front is there, and is passed by.
        (
            (
                "(export \"whereby:agent/write@0.1.0\" (instance $write))",
                "(export \"whereby:agent/write@0.1.0\" (instance $middle-write))",
            ),
            "the export whereby:agent/write@0.1.0 does not come from the front",
        ),
        (
            (
                "(export \"whereby:agent/read@0.1.0\" (instance $read))",
                "(export \"whereby:agent/read@0.1.0\" (instance $middle-read))",
            ),
            "the export whereby:agent/read@0.1.0 does not come from the front",
        ),
        (
            (
                "(export \"whereby:agent/read@0.1.0\" (instance $read))",
                "(export \"whereby:agent/read@0.1.0\" (instance $write))",
            ),
            "the export whereby:agent/read@0.1.0 does not come from the front",
        ),
        // An export is an instance of its own, and no more than what it exports.
        (
            (
                "(export \"whereby:agent/write@0.1.0\" (instance $write))",
                "(export $more \"more\" (instance $middle-write)) \
                 (export \"whereby:agent/write@0.1.0\" (instance $more))",
            ),
            "the export more is not allowed",
        ),
        (
            (
                "(export \"whereby:agent/write@0.1.0\" (instance $write))",
                "(export \"whereby:guard/grants@0.1.0\" (instance $grants))",
            ),
            "the export whereby:guard/grants@0.1.0 is not allowed",
        ),
        (
            (
                "(export \"whereby:agent/write@0.1.0\" (instance $write))",
                "(export \"wasi:http/outgoing-handler@0.2.12\" (instance $outgoing))",
            ),
            "the export wasi:http/outgoing-handler@0.2.12 is not allowed",
        ),
        // A second instance, which may have another grant or another key.
        (
            (
                "(instance $middle (instantiate 2",
                "(instance $second (instantiate 0 \
                 (with \"wasi:cli/environment@0.2.12\" (instance $environment)) \
                 (with \"wasi:http/outgoing-handler@0.2.12\" (instance $outgoing)) \
                 (with \"wasi:http/types@0.2.12\" (instance $http)) \
                 (with \"wasi:io/streams@0.2.12\" (instance $streams)))) \
                 (instance $middle (instantiate 2",
            ),
            "a component is instantiated more than once",
        ),
        // Other components, or the same twice.
        (("MIDDLE\n", "MIDDLE GUARD\n"), "it contains the guard more than once"),
        (("MIDDLE\n", "MIDDLE FRONT\n"), "it contains the front more than once"),
        (
            ("MIDDLE\n", "MIDDLE (component)\n"),
            "it contains other components than the guard, the front and the functions",
        ),
        // Something of its own.
        (("MIDDLE\n", "MIDDLE (core module)\n"), "a core module is outside of the components"),
        (
            ("MIDDLE\n", "MIDDLE (type $r (resource (rep i32)))\n"),
            "a resource type is outside of the components",
        ),
        (
            (
                "MIDDLE\n",
                "MIDDLE (type $r (resource (rep i32))) (core func (canon resource.drop $r))\n",
            ),
            "a resource type is outside of the components",
        ),
        (
            (
                "(import \"wasi:random/random@0.2.12\" (instance $random))",
                "(import \"wasi:random/random@0.2.12\" (instance $random)) (core type (func))",
            ),
            "a section of kind 3 has no place outside of the components",
        ),
        (
            (
                "(import \"wasi:random/random@0.2.12\" (instance $random))",
                "(import \"wasi:random/random@0.2.12\" (instance $random)) \
                 (import \"send\" (func $send)) (core func (canon lower (func $send)))",
            ),
            "the import send is not known",
        ),
        (
            (
                "(import \"wasi:io/streams@0.2.12\" (instance $streams))",
                "(import \"wasi:io/streams@0.2.12\" (instance $streams \
                 (export \"send\" (func)))) \
                 (alias export $streams \"send\" (func $send))",
            ),
            "an item that is not an interface is taken out of an instance",
        ),
        (
            (
                "(import \"wasi:io/poll@0.2.12\" (instance $poll))",
                "(import \"wasi:io/poll@0.2.12\" (instance $all (export \"in\" (instance)))) \
                 (alias export $all \"in\" (instance $poll))",
            ),
            "an interface is taken out of another interface",
        ),
        (
            (
                "(alias export $guard \"whereby:guard/grants@0.1.0\" (instance $grants))",
                "(instance $grants)",
            ),
            "an instance is made of single items",
        ),
        (
            ("MIDDLE\n", "MIDDLE (@custom \"evil\" \"words\")\n"),
            "the custom section evil is not known",
        ),
        // Imports that are not known, or of a later version.
        (
            ("(import \"wasi:random/random@0.2.12\"", "(import \"wasi:random/random@0.2.13\""),
            "the import wasi:random/random@0.2.13 is not known",
        ),
        (
            ("(import \"wasi:random/random@0.2.12\"", "(import \"wasi:random/random@0.3.0\""),
            "the import wasi:random/random@0.3.0 is not known",
        ),
        (
            ("(import \"wasi:random/random@0.2.12\"", "(import \"evil:random/random@0.2.12\""),
            "the import evil:random/random@0.2.12 is not known",
        ),
        (
            (
                "(import \"wasi:random/random@0.2.12\" (instance $random))",
                "(import \"wasi:random/random@0.2.12\" (instance $random)) \
                 (import \"evil\" (type (sub resource)))",
            ),
            "the import evil is not known",
        ),
        (("MIDDLE\n", "MIDDLE (import \"evil\" (component))\n"), "the import evil is not known"),
        (
            (
                "(import \"wasi:http/types@0.2.12\" (instance $http))",
                "(import \"wasi:http/types@0.2.12\" (instance $http \
                 (export \"fields\" (type (sub resource))))) \
                 (alias export $http \"fields\" (type $fields)) \
                 (core func (canon resource.drop $fields))",
            ),
            "a canonical function is outside of the components",
        ),
        (("MIDDLE\n", "MIDDLE (core instance)\n"), "a section of kind 2 has no place"),
    ] {
        let refused = check_text(&replace(COMPOSED, change));
        let Err(Unproven(reason)) = refused else { panic!("{change:?} is accepted") };
        assert!(reason.starts_with(expected), "{change:?}: {reason}");
    }
}

/// A runtime that keeps a bit of its own in addresses of resources could be misled with larger ones.
#[test]
fn the_memory_of_the_guard_is_bounded() {
    use wasmparser::{Parser, Payload};
    let memories: Vec<_> = Parser::new(0)
        .parse_all(BUILT_IN_GUARD)
        .filter_map(|payload| match payload.expect("the guard is valid") {
            Payload::MemorySection(memories) => Some(memories),
            _ => None,
        })
        .flatten()
        .map(|memory| memory.expect("the guard is valid"))
        .collect();
    let [memory] = memories.as_slice() else { panic!("{memories:?}") };
    // In pages of 64 KiB.
    assert!(memory.maximum.is_some_and(|pages| pages <= 2048), "{memory:?}");
}
