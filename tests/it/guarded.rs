//! The guarded component: how it is exported and proven, and that this host runs it too.

use crate::wire::{ALLOW_ALL, calls, daily_world, sent};
use serde_json::json;
use std::collections::HashMap;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, NodeId};
use whereby::Inspection;
use whereby_tests::World;

/// The options of each guarded component, with its name and what it exports.
const VARIANTS: [(&[&str], &str, &[&str]); 4] = [
    (&[], "whereby-guarded", &[TYPES, READ, WRITE]),
    (&["--reader"], "whereby-reader-guarded", &[TYPES, READ]),
    (&["--gateway"], "whereby-guarded-gateway", &[INCOMING]),
    (&["--gateway", "--reader"], "whereby-reader-guarded-gateway", &[INCOMING]),
];

const TYPES: &str = "whereby:agent/types@0.1.0";
const READ: &str = "whereby:agent/read@0.1.0";
const WRITE: &str = "whereby:agent/write@0.1.0";
const INCOMING: &str = "wasi:http/incoming-handler@0.2.12";
const OUTGOING: &str = "wasi:http/outgoing-handler@0.2.12";
const HTTP: &str = "wasi:http/types@0.2.12";
const STREAMS: &str = "wasi:io/streams@0.2.12";
const ENVIRONMENT: &str = "wasi:cli/environment@0.2.12";
const WALL_CLOCK: &str = "wasi:clocks/wall-clock@0.2.12";
const GRANTS: &str = "whereby:guard/grants@0.1.0";

/// How much larger a component may be for its guard, in bytes.
const BUDGET: usize = 300 * 1024;

/// Runs `whereby component export`, and returns the file.
async fn export(world: &World, arguments: &[&str]) -> Vec<u8> {
    let file = world.path("project/exported.wasm");
    let ran = world.run(&[&["component", "export", "exported.wasm"], arguments].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let bytes = std::fs::read(&file).expect("the file");
    std::fs::remove_file(file).expect("the file");
    bytes
}

#[tokio::test]
async fn every_guarded_component_proves_its_wiring_and_imports_nothing_but_what_is_known() {
    let world = World::new().await;
    for (options, name, exports) in VARIANTS {
        let bytes = export(&world, &[&["--guarded"], options].concat()).await;
        let again = export(&world, &[&["--guarded"], options].concat()).await;
        assert!(bytes == again, "{name}: two exports differ");
        let bare = export(&world, options).await;
        let (found, bare) = (Inspection::of(&bytes), Inspection::of(&bare));
        let (found, bare) = (found.expect("a component"), bare.expect("a component"));
        let sorted = |mut imports: Vec<String>| {
            imports.sort_unstable();
            imports
        };
        let mut expected = bare.imports;
        // The guard's rules may have an end.
        if options.contains(&"--reader") {
            expected.push(WALL_CLOCK.to_owned());
        }
        assert_eq!(sorted(found.imports), sorted(expected), "{name}");
        assert_eq!(found.name.as_deref(), Some(name));
        assert_eq!(found.version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert!(found.exports.iter().map(|(export, _)| export).eq(exports), "{:?}", found.exports);
        // Some programs refuse a file in which two components have documentation.
        let documented = b"package-docs";
        let sections = bytes.windows(documented.len()).filter(|window| window == documented);
        assert_eq!(sections.count(), 1, "{name}");
        let guarded = found.guarded.expect(name);
        assert!(guarded.is_built_in, "{name}");
        assert_eq!(guarded.is_gateway, exports == [INCOMING]);
        let why = bare.guarded.expect_err("a bare component");
        assert_eq!(why, "it does not contain the guard of this version", "{name}");
        let writes = bytes.windows(WRITE.len()).any(|window| window == WRITE.as_bytes());
        assert_eq!(writes, !options.contains(&"--reader"), "{name}");
    }
}

#[tokio::test]
async fn a_guard_is_small() {
    let world = World::new().await;
    for (options, name, _) in VARIANTS {
        let guarded = export(&world, &[&["--guarded"], options].concat()).await;
        let bare = export(&world, options).await;
        let more = guarded.len() - bare.len();
        assert!(more <= BUDGET, "{name} is {more} bytes larger than without a guard");
    }
}

/// Some runtimes keep flags in the upper bits of a resource's address, and mix up resources above 1 GiB. Only the
/// functions have no resources of their own, so only their memory may be without a limit.
#[tokio::test]
async fn the_guards_resources_are_at_small_addresses() {
    let world = World::new().await;
    let guarded = export(&world, &["--guarded"]).await;
    let mut limits = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(&guarded) {
        if let wasmparser::Payload::MemorySection(memories) = payload.expect("a component") {
            limits.extend(memories.into_iter().map(|memory| memory.expect("a memory").maximum));
        }
    }
    let (limited, unlimited): (Vec<_>, Vec<_>) = limits.into_iter().partition(Option::is_some);
    // In pages of 64 KiB: 128 MiB.
    assert_eq!((limited, unlimited), (vec![Some(2048); 2], vec![None]));
}

#[tokio::test]
async fn an_inspection_says_whether_a_file_is_guarded() {
    let world = World::new().await;
    std::fs::write(world.path("project/reader.wasm"), whereby::BUILT_IN_READER).expect("a file");
    let ran = world.run(&["component", "export", "--guarded", "guarded.wasm"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let other = ["component", "export", "--guarded", "--reader", "other.wasm"];
    let ran = world.run(&[&other[..], &["--component", "reader.wasm"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    // The built-in reader is a component of this program, also if it comes from a file.
    for (file, text, guarded) in [
        (
            "guarded.wasm",
            "guarded yes, the built-in functions; the wiring was checked\n",
            json!({"proven": true, "gateway": false, "functions": {
                "builtIn": true,
                "sha256": Inspection::of(whereby::BUILT_IN_COMPONENT).expect("a component").sha256,
            }}),
        ),
        (
            "other.wasm",
            "guarded yes, the built-in functions; the wiring was checked\n",
            json!({"proven": true, "gateway": false, "functions": {
                "builtIn": true,
                "sha256": Inspection::of(whereby::BUILT_IN_READER).expect("a component").sha256,
            }}),
        ),
        (
            "reader.wasm",
            "guarded no: it does not contain the guard of this version\n",
            json!({"proven": false, "reason": "it does not contain the guard of this version"}),
        ),
    ] {
        let ran = world.run(&["component", "inspect", file]).await;
        assert!(ran.stdout.contains(text), "{ran:?}");
        let ran = world.run(&["component", "inspect", file, "--json"]).await;
        assert_eq!(ran.json()["guarded"], guarded, "{file}");
    }
}

/// A component with imports of its own.
fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    use wasm_encoder::{
        Component, ComponentExportKind, ComponentExportSection, ComponentImportSection,
        ComponentInstanceSection, ComponentTypeRef, ComponentTypeSection, InstanceType,
    };
    let mut types = ComponentTypeSection::new();
    types.instance(&InstanceType::new());
    let mut imported = ComponentImportSection::new();
    for import in imports {
        imported.import(*import, ComponentTypeRef::Instance(0));
    }
    let mut instances = ComponentInstanceSection::new();
    instances.export_items(Vec::<(&str, ComponentExportKind, u32)>::new());
    let own = u32::try_from(imports.len()).expect("a few");
    let mut exported = ComponentExportSection::new();
    for export in exports {
        exported.export(*export, ComponentExportKind::Instance, own, None);
    }
    let mut component = Component::new();
    component.section(&types).section(&imported).section(&instances).section(&exported);
    component.finish()
}

/// A component whose functions do nothing, with one more function among the types.
fn with_function_among_types() -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) =
        resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).expect("the WIT");
    let types = resolve.packages[package].interfaces["types"];
    let own = wit_parser::Function {
        name: "own".into(),
        kind: wit_parser::FunctionKind::Freestanding,
        params: Vec::new(),
        result: None,
        docs: wit_parser::Docs::default(),
        stability: wit_parser::Stability::default(),
        span: wit_parser::Span::default(),
        external_id: None,
    };
    resolve.interfaces[types].functions.insert("own".into(), own);
    let world = resolve.packages[package].worlds["integration"];
    let names = wit_parser::ManglingAndAbi::Standard32;
    let mut module = wit_component::dummy_module(&resolve, world, names);
    let encoding = wit_component::StringEncoding::default();
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding)
        .expect("a world");
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(&module).expect("a module").encode().expect("a component")
}

/// The built-in component that only reads, with one more import: an interface with a module in it.
fn with_module_in_interface() -> Vec<u8> {
    use wasm_encoder::{
        ComponentImportSection, ComponentSection as _, ComponentTypeRef, ComponentTypeSection,
        InstanceType, ModuleType,
    };
    let mut component = whereby::BUILT_IN_READER.to_vec();
    let known = wasmparser::Validator::new().validate_all(&component).expect("a component");
    let mut interface = InstanceType::new();
    interface.core_type().module(&ModuleType::new());
    interface.export("module", ComponentTypeRef::Module(0));
    let mut types = ComponentTypeSection::new();
    types.instance(&interface);
    let own = ComponentTypeRef::Instance(known.as_ref().component_type_count());
    let mut imports = ComponentImportSection::new();
    imports.import("wasi:random/insecure@0.2.12", own);
    types.append_to_component(&mut component);
    imports.append_to_component(&mut component);
    component
}

#[tokio::test]
async fn a_component_that_cannot_be_guarded_is_refused_with_what_to_do() {
    let world = World::new().await;
    for (bytes, options, code, message) in [
        (b"no component".to_vec(), &[][..], 9, "not a component: the file is not WebAssembly"),
        (
            component(&[], &[]),
            &[],
            9,
            "the component cannot be guarded: it does not export whereby:agent/types@0.1.0, \
             whereby:agent/read@0.1.0, whereby:agent/write@0.1.0; build it from the worlds of the \
             WIT package whereby:agent",
        ),
        (
            whereby::BUILT_IN_GATEWAY.to_vec(),
            &["--reader"],
            9,
            "the component cannot be guarded: it does not export whereby:agent/types@0.1.0, \
             whereby:agent/read@0.1.0; build it from",
        ),
        (
            whereby::BUILT_IN_READER.to_vec(),
            &[],
            9,
            "the component cannot be guarded: it does not export whereby:agent/write@0.1.0; if it \
             only reads, add --reader",
        ),
        (
            component(
                &["wasi:filesystem/types@0.2.6", "wasi:io/poll@0.2.6"],
                &[TYPES, READ, WRITE],
            ),
            &[],
            9,
            "the component cannot be guarded: it imports wasi:filesystem/types@0.2.6; build it with \
             nothing but wasi:cli/environment, ",
        ),
        (
            component(&["wasi:io/poll@0.2.13", "mine:own/thing"], &[TYPES, READ, WRITE]),
            &["--gateway"],
            9,
            "the component cannot be guarded: it imports wasi:io/poll@0.2.13, mine:own/thing; build",
        ),
        (
            component(&[], &[TYPES, READ, WRITE, "mine:own/thing"]),
            &[],
            9,
            "the component cannot be guarded: it also exports mine:own/thing; build it from",
        ),
        (component(&[], &[TYPES, READ, WRITE]), &[], 9, "the component cannot be guarded: "),
        (
            with_function_among_types(),
            &[],
            9,
            "the component cannot be guarded: the export whereby:agent/types@0.1.0 has more than types",
        ),
        (component(&[HTTP], &[TYPES, READ]), &["--reader"], 9, "the component cannot be guarded: "),
        (
            with_module_in_interface(),
            &["--reader"],
            9,
            "the component cannot be guarded: wasi:random/insecure@0.2.12 must consist of functions \
             and types only; build it from",
        ),
    ] {
        std::fs::write(world.path("project/own.wasm"), bytes).expect("a file");
        let command = ["component", "export", "--guarded", "--component", "own.wasm", "new.wasm"];
        let ran = world.run(&[&command[..], options].concat()).await;
        assert_eq!(ran.code, code, "{message}: {ran:?}");
        assert!(ran.stderr.starts_with(&format!("error: {message}")), "{message}: {ran:?}");
        assert!(!ran.stderr.contains("hint:"), "{ran:?}");
        assert!(!world.path("project/new.wasm").exists(), "{message}: it was written");
    }
    let ran = world.run(&["component", "export", "new.wasm", "--component", "own.wasm"]).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("--guarded"), "{ran:?}");
    let absent = ["component", "export", "--guarded", "new.wasm", "--component", "absent.wasm"];
    assert_eq!(world.run(&absent).await.code, 3);
    assert!(!world.path("project/new.wasm").exists(), "it was written");
}

/// The parts of a guarded component, to be composed in wrong ways.
struct Parts {
    graph: CompositionGraph,
    instances: HashMap<&'static str, NodeId>,
}

impl Parts {
    async fn new(world: &World) -> Self {
        let mut graph = CompositionGraph::new();
        let mut instances = HashMap::new();
        let parts = [
            ("guard", export(world, &["--part", "guard"]).await),
            ("functions", whereby::BUILT_IN_COMPONENT.to_vec()),
            ("front", export(world, &["--part", "front"]).await),
        ];
        for (name, bytes) in parts {
            let types = graph.types_mut();
            let package = Package::from_bytes(&format!("test:{name}"), None, bytes, types);
            let package = graph.register_package(package.expect("a component")).expect("a package");
            instances.insert(name, graph.instantiate(package));
        }
        Self { graph, instances }
    }

    fn connect(&mut self, from: &str, interface: &str, to: &str) {
        let export = self.graph.alias_instance_export(self.instances[from], interface);
        let export = export.expect("an export");
        self.graph
            .set_instantiation_argument(self.instances[to], interface, export)
            .expect("the types of the import");
    }

    fn export(&mut self, from: &str, interface: &str) {
        let export = self.graph.alias_instance_export(self.instances[from], interface);
        self.graph.export(export.expect("an export"), interface).expect("a new name");
    }

    fn encode(&self) -> Vec<u8> {
        self.graph.encode(EncodeOptions::default()).expect("a composition")
    }
}

/// Composes the real parts, except that these interfaces of the functions come from the runtime, and
/// these exports from the functions.
async fn compose(world: &World, from_runtime: &[&str], from_functions: &[&str]) -> Vec<u8> {
    let mut parts = Parts::new(world).await;
    for interface in [OUTGOING, HTTP, STREAMS, ENVIRONMENT] {
        if !from_runtime.contains(&interface) {
            parts.connect("guard", interface, "functions");
        }
    }
    parts.connect("guard", GRANTS, "front");
    for interface in [TYPES, READ, WRITE] {
        parts.connect("functions", interface, "front");
    }
    parts.export("functions", TYPES);
    for interface in [READ, WRITE] {
        let is_from_functions = from_functions.contains(&interface);
        parts.export(if is_from_functions { "functions" } else { "front" }, interface);
    }
    parts.encode()
}

#[tokio::test]
async fn the_real_parts_in_another_wiring_are_not_taken_for_a_guarded_component() {
    let world = World::new().await;
    let guarded = |bytes: &[u8]| Inspection::of(bytes).expect("a component").guarded;
    let right = compose(&world, &[], &[]).await;
    let imports = |bytes: &[u8]| Inspection::of(bytes).expect("a component").imports;
    assert!(guarded(&right).is_ok(), "{:?}", guarded(&right));
    for (from_runtime, from_functions, reason) in [
        (&[ENVIRONMENT][..], &[][..], "wasi:cli/environment@0.2.12 of the functions"),
        (&[OUTGOING, HTTP, STREAMS], &[], " of the functions does not come from the guard"),
        (&[], &[WRITE], "the export whereby:agent/write@0.1.0 does not come from the front"),
        (&[], &[READ], "the export whereby:agent/read@0.1.0 does not come from the front"),
    ] {
        let bytes = compose(&world, from_runtime, from_functions).await;
        // What it imports does not give it away.
        assert_eq!(imports(&bytes).len(), imports(&right).len());
        let why = guarded(&bytes).expect_err("another wiring");
        assert!(why.contains(reason), "{why}");
    }
}

#[tokio::test]
async fn a_byte_of_a_part_is_enough_to_be_another_component() {
    let world = World::new().await;
    let bytes = export(&world, &["--guarded"]).await;
    for part in [&["--part", "guard"][..], &["--part", "front"]] {
        let part = export(&world, part).await;
        let found = bytes.windows(part.len()).position(|window| window == part);
        let (mut changed, at) = (bytes.clone(), found.expect("the part's own bytes") + part.len());
        // Its last byte is in a data or a name section, whose content is not checked.
        changed[at - 1] ^= 1;
        let inspected = Inspection::of(&changed);
        let is_guarded = inspected.is_ok_and(|inspection| inspection.guarded.is_ok());
        assert!(!is_guarded);
    }
}

#[tokio::test]
async fn this_host_runs_a_guarded_component_by_its_own_rules() {
    let (world, meeting) = daily_world().await;
    let bytes = export(&world, &["--guarded"]).await;
    std::fs::write(world.path("config/whereby/guarded.wasm"), &bytes).expect("a file");
    let component = "[component]\npath = \"guarded.wasm\"\n";
    world.configure(&format!("{component}[permissions]\nwrite = \"deny\"\n"));
    for (function, arguments) in
        [("create_room", "{}"), ("delete_room", "{\"room_name\": \"daily\"}")]
    {
        let ran = world.run(&["call", function, arguments, "--json"]).await;
        assert_eq!((ran.code, &ran.json()["error"]["kind"]), (4, &json!("denied")), "{function}");
    }
    world.assert_untouched();
    world.configure(&format!("{component}{ALLOW_ALL}"));
    for (function, arguments) in calls(&meeting) {
        let ran = world.run(&["call", function, &arguments.to_string(), "--json"]).await;
        assert_eq!(ran.code, 0, "{function}: {ran:?}");
    }
    let sent = sent(&world);
    let writes = |method: &str| sent.iter().filter(|line| line.starts_with(method)).count();
    assert_eq!((writes("POST "), writes("DELETE ")), (1, 1), "{sent:?}");
}

#[tokio::test]
async fn as_many_guarded_calls_as_others_run_at_once() {
    let (world, _) = daily_world().await;
    let bytes = export(&world, &["--guarded"]).await;
    std::fs::write(world.path("config/whereby/guarded.wasm"), &bytes).expect("a file");
    world.configure("[component]\npath = \"guarded.wasm\"\n[limits]\nconcurrent_calls = 4\n");
    let session = world.session();
    let calls = (0..4).map(|_| {
        let session = session.clone();
        tokio::spawn(async move { session.call(None, "list_rooms", json!({})).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let outcome = call.await.expect("it ends");
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    }
}
