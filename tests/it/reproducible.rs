//! The component is the same bytes wherever it is built, so that its digest says which it is.

#[path = "../../host/build/artifact.rs"]
mod artifact;
#[expect(
    dead_code,
    clippy::print_stdout,
    reason = "a build script ends in its own way, and a test in another"
)]
#[path = "../../host/build/component.rs"]
mod component;
#[path = "../../host/build/compose.rs"]
mod compose;
#[path = "../../host/build/direct.rs"]
mod direct;
#[path = "../../host/build/documentation.rs"]
mod documentation;
#[path = "../../host/build/merge.rs"]
mod merge;
#[path = "../../host/build/metadata.rs"]
mod metadata;
#[path = "../../host/build/short.rs"]
mod short;

use std::fs;
use std::path::Path;
use wasmtime::component::{Component, Linker, Val};
use wasmtime::{Engine, Instance, Module, Store};

/// Copies what is built, and what cargo wants to see of the rest.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name();
        let is_output =
            name == "target" || name == ".git" || name == "corpus" || name == "node_modules";
        match entry.file_type().expect("a type").is_dir() {
            true if is_output => {}
            true => copy(&source, &target),
            false => drop(fs::copy(&source, &target).expect("a copy")),
        }
    }
}

#[tokio::test]
async fn a_build_in_another_place_gives_the_same_components() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let place = tempfile::tempdir().expect("a temporary directory");
    let elsewhere = place.path().join("a folder of another name");
    copy(root, &elsewhere);
    let target_dir = &place.path().join("out");
    let artifact = artifact::Artifact { workspace: &elsewhere, target_dir, writes: true };
    let (functions, gateway) = artifact.build().expect("it builds");
    for (built, own) in
        [(functions, whereby::BUILT_IN_COMPONENT), (gateway, whereby::BUILT_IN_GATEWAY)]
    {
        assert_eq!(built.len(), own.len());
        assert!(built == own, "the same size, and other bytes");
    }
    // A guarded component contains its parts as they were built.
    let guarded = whereby_tests::guarded(None).await;
    let (guard, front) = artifact.guard().expect("it builds");
    for (name, part) in [("guard", guard), ("front", front)] {
        assert!(guarded.windows(part.len()).any(|window| window == part), "another {name}");
    }
}

#[test]
fn a_component_that_the_linker_did_not_make_is_not_connected() {
    for (component, message) in [
        (whereby::BUILT_IN_COMPONENT, "a shim has another name"),
        (whereby::BUILT_IN_GATEWAY, "the component has 0 modules, not the linker's three"),
    ] {
        let error = direct::connect(component).expect_err("a component of another shape");
        assert_eq!(error.to_string(), message);
    }
    let main = r#"(memory (export "memory") 1) (func (export "cabi_realloc"))"#;
    let shim = r#"(table 1 funcref) (func (export "0") i32.const 0 call_indirect)"#;
    let filler = r#"(import "" "0" (func)) (import "" "$imports" (table 1 funcref)) (elem (i32.const 0) func 0)"#;
    let start = format!("{filler} (start 0)");
    let swapped = filler.replace("func 0", "func 0 0");
    for (modules, message) in [
        (
            [r#"(import "a" "b" (global i32))"#, shim, filler],
            "the main module imports more than functions",
        ),
        (["", shim, filler], "the module has no memory"),
        (["(memory 1)", shim, filler], "the module has no cabi_realloc"),
        (
            [main, r#"(table 1 funcref) (func (export "1") i32.const 0 call_indirect)"#, filler],
            "a shim has another name",
        ),
        (
            [main, r#"(table 1 funcref) (func (export "0") i32.const 1 call_indirect)"#, filler],
            "a shim calls another function",
        ),
        ([main, r#"(func (export "0"))"#, filler], "a shim does more than call"),
        ([main, shim, &start], "the linker's third module does more than fill the table"),
        ([main, shim, &swapped], "the table is filled in another order"),
    ] {
        let modules = modules.map(|module| format!("(core module {module})")).concat();
        let component = wat::parse_str(format!("(component {modules})")).expect("a component");
        let error = direct::connect(&component).expect_err("a component of another shape");
        assert_eq!(error.to_string(), message, "{modules}");
    }
}

/// As the linker makes a component that exports a resource, and that passes text to what it imports.
const WITH_DESTRUCTOR: &str = r#"(component
    (import "tell" (func $tell (param "text" string)))
    (core module $main
        (import "" "tell" (func $tell (param i32 i32)))
        (import "" "new" (func $new (param i32) (result i32)))
        (table 1 funcref)
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 64)
        (func (export "t#[dtor]r") (param i32)
            local.get 0 i32.const 0 call_indirect (param i32))
        (func $drop (param i32) i32.const 8 local.get 0 call $tell)
        (func (export "t#make") (result i32) i32.const 7 call $new)
        (func (export "cabi_post_t#make") (param i32))
        (elem (i32.const 0) $drop)
        (data (i32.const 8) "dropped, and no more"))
    (core module $shim
        (table (export "$imports") 2 2 funcref)
        (func (export "0") (param i32 i32)
            local.get 0 local.get 1 i32.const 0 call_indirect (param i32 i32))
        (func (export "1") (param i32) local.get 0 i32.const 1 call_indirect (param i32)))
    (core module $filler
        (import "" "0" (func (param i32 i32)))
        (import "" "1" (func (param i32)))
        (import "" "$imports" (table 2 2 funcref))
        (elem (i32.const 0) func 0 1))
    (core instance $shim (instantiate $shim))
    (alias core export $shim "1" (core func $destructor))
    (type $r (resource (rep i32) (dtor (func $destructor))))
    (core func $new (canon resource.new $r))
    (core func $drop (canon resource.drop $r))
    (alias core export $shim "0" (core func $told))
    (core instance $imports (export "tell" (func $told)) (export "new" (func $new)))
    (core instance $main (instantiate $main (with "" (instance $imports))))
    (alias core export $main "memory" (core memory $memory))
    (alias core export $shim "$imports" (core table $table))
    (core func $lowered (canon lower (func $tell) (memory $memory)))
    (alias core export $main "t#[dtor]r" (core func $dropped))
    (core instance $functions
        (export "$imports" (table $table)) (export "0" (func $lowered)) (export "1" (func $dropped)))
    (core instance (instantiate $filler (with "" (instance $functions))))
    (alias core export $main "cabi_post_t#make" (core func $after))
    (alias core export $main "t#make" (core func $make))
    (export $exported "r" (type $r))
    (func (export "make") (result (own $exported))
        (canon lift (core func $make) (post-return (func $after))))
)"#;

/// Returns what a component tells when its resource is dropped.
fn told(component: &[u8]) -> Vec<String> {
    let engine = Engine::default();
    let component = Component::new(&engine, component).expect("a component");
    let mut linker = Linker::<Vec<String>>::new(&engine);
    let tell = linker.root().func_wrap("tell", |mut store, (text,): (String,)| {
        store.data_mut().push(text);
        Ok(())
    });
    tell.expect("a new name");
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &component).expect("an instance");
    let make = instance.get_func(&mut store, "make").expect("a function");
    let mut made = [Val::Bool(false)];
    make.call(&mut store, &[], &mut made).expect("a resource");
    let [Val::Resource(resource)] = made else { panic!("{made:?}") };
    assert!(store.data().is_empty());
    resource.resource_drop(&mut store).expect("a destructor");
    store.into_data()
}

#[test]
fn a_resource_is_dropped_by_its_own_destructor() {
    let component = wat::parse_str(WITH_DESTRUCTOR).expect("a component");
    let connected = direct::connect(&component).expect("a component of this shape");
    let shortened = short::shorten(&connected).expect("a component");
    for component in [component, connected, shortened] {
        assert_eq!(told(&component), ["dropped"]);
    }
}

#[test]
fn what_does_nothing_after_a_function_goes() {
    let empty = r#"(func (export "cabi_post_t#make") (param i32))"#;
    let other =
        r#"(func (export "cabi_post_t#make") (param i32) i32.const 0 local.get 0 i32.store)"#;
    for (after, stays) in [(empty, false), (other, true)] {
        let text = WITH_DESTRUCTOR.replacen(empty, after, 1);
        let component = wat::parse_str(text).expect("a component");
        let connected = direct::connect(&component).expect("a component of this shape");
        assert_eq!(connected.windows(10).any(|window| window == b"cabi_post_"), stays);
        assert_eq!(told(&connected), ["dropped"]);
    }
}

#[test]
fn a_resource_of_another_shape_is_not_connected() {
    let dropped = r#"(export "1" (func $dropped))"#;
    let other = r#"(alias core export $main "t#make" (core func $other))
        (core instance (export "$imports" (table $table)) (export "1" (func $other)))"#;
    for (from, to, message) in [
        (dropped, r#"(export "1" (func $drop))"#, "the table lacks the destructor 1"),
        (dropped, "", "the table lacks the destructor 1"),
        (dropped, r#"(export "1" (func $destructor))"#, "the module has no 1"),
        (dropped, &format!(r#"{dropped} (export "2" (func $dropped))"#), "2 is another destructor"),
        ("(elem (i32.const 0) $drop)", "", "the main module fills no table"),
        (
            "(core instance $functions",
            &format!("{other} (core instance $functions"),
            "t#make is needed before the main module exists",
        ),
        (
            "(alias core export $main \"t#make\" (core func $make))",
            "(func (export \"drop\") (param \"rep\" u32) (canon lift (core func $dropped)))
             (alias core export $main \"t#make\" (core func $make))",
            "t#[dtor]r is more than a destructor",
        ),
        (
            "(alias core export $main \"t#make\" (core func $make))",
            "(func (export \"after\") (param \"rep\" u32) (canon lift (core func $after)))
             (alias core export $main \"t#make\" (core func $make))",
            "cabi_post_t#make is called, and not only after a function",
        ),
        (
            "(core func $new (canon resource.new $r))",
            "(core func $new (canon resource.new $r)) (type (resource (rep i32) (dtor (func $new))))",
            "a destructor is not the shim's",
        ),
        (
            "i32.const 64)",
            "(drop (call_indirect (result i32) (i32.const 0))) i32.const 64)",
            "the connected component is invalid",
        ),
    ] {
        let text = WITH_DESTRUCTOR.replacen(from, to, 1);
        assert_ne!(text, WITH_DESTRUCTOR);
        let component = wat::parse_str(text).expect("a component");
        let error = direct::connect(&component).expect_err("a component of another shape");
        assert_eq!(error.to_string(), message);
    }
}

/// A module with functions that are equal, and with some that only seem so.
const WITH_EQUAL_FUNCTIONS: &str = r#"(module
    (import "host" "one" (func $one (result i32)))
    (table 4 funcref)
    (memory 1)
    (global $started (mut i32) (i32.const 0))
    ;; The same numbers, and other types.
    (func $long (result i64) i64.const 5)
    (func $a (param i32) (result i32) local.get 0 i32.const 5 i32.add)
    (func $b (param i32) (result i32) local.get 0 i32.const 5 i32.add)
    (func $c (param i32) (result i32) local.get 0 i32.const 6 i32.add)
    (func $of-a (param i32) (result i32) local.get 0 call $a)
    (func $of-b (param i32) (result i32) local.get 0 call $b)
    (func $of-c (param i32) (result i32) local.get 0 call $c)
    (func $short (result i32) i32.const 5)
    (func $start i32.const 40 global.set $started)
    (func $sum (export "sum") (result i32)
        i32.const 1 call $of-a
        i32.const 2 call $of-b
        i32.const 3 call $of-c
        call $one
        call $one
        call $short
        call $long i32.wrap_i64
        global.get $started
        i32.const 10 i32.const 0 call_indirect (param i32) (result i32)
        i32.const 10 i32.const 1 call_indirect (param i32) (result i32)
        i32.const 10 i32.const 2 call_indirect (param i32) (result i32)
        i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add i32.add)
    (func (export "b") (param i32) (result i32) local.get 0 i32.const 5 i32.add)
    (elem (i32.const 0) $of-b $of-c $a)
    (start $start))"#;

/// Returns what a module's functions return.
fn results(module: &[u8]) -> (i32, i32) {
    let engine = Engine::default();
    let module = Module::new(&engine, module).expect("a module");
    let mut store = Store::new(&engine, ());
    let one = wasmtime::Func::wrap(&mut store, || 1_i32);
    let instance = Instance::new(&mut store, &module, &[one.into()]).expect("an instance");
    let sum = instance.get_typed_func::<(), i32>(&mut store, "sum").expect("a function");
    let b = instance.get_typed_func::<i32, i32>(&mut store, "b").expect("a function");
    (sum.call(&mut store, ()).expect("a sum"), b.call(&mut store, 20).expect("a sum"))
}

/// Returns the number of functions of a module, without the imported ones.
fn functions(module: &[u8]) -> u32 {
    let payloads = wasmparser::Parser::new(0).parse_all(module);
    let sections = payloads.filter_map(|payload| match payload.expect("a module") {
        wasmparser::Payload::FunctionSection(section) => Some(section.count()),
        _ => None,
    });
    sections.sum()
}

#[test]
fn equal_functions_become_one_and_do_the_same() {
    let module = wat::parse_str(WITH_EQUAL_FUNCTIONS).expect("a module");
    let merged = merge::merge(&module).expect("a module");
    // 1 + 5, 2 + 5, 3 + 6, twice 1, twice 5, 40, and 10 with 5, 6 and 5 more.
    assert_eq!(results(&module), (6 + 7 + 9 + 2 + 10 + 40 + 15 + 16 + 15, 25));
    assert_eq!(results(&merged), results(&module));
    // Of $a, $b and the exported one, and of $of-a and $of-b, one stays.
    assert_eq!((functions(&module), functions(&merged)), (11, 8));
}

#[test]
fn short_names_stay_different_and_go_nowhere_else() {
    let component = wat::parse_str(WITH_DESTRUCTOR).expect("a component");
    let shortened = short::shorten(&component).expect("a component");
    let has = |component: &[u8], name: &str| {
        component.windows(name.len()).any(|window| window == name.as_bytes())
    };
    // Only what the component itself imports and exports keeps its name.
    for (name, stays) in [
        ("tell", true),
        ("make", true),
        ("cabi_realloc", false),
        ("$imports", false),
        ("t#", false),
    ] {
        assert!(has(&component, name), "{name}");
        assert_eq!(has(&shortened, name), stays, "{name}");
    }
    assert!(shortened.len() < component.len());
    assert_eq!(told(&shortened), ["dropped"]);
    // What it does not know stays refused.
    assert!(short::shorten(&component[..component.len() - 1]).is_err());
}
