//! What a hostile component may cost before it runs: it is counted and refused, or compiled within
//! bounds, and what is kept of compiled code is bounded, too.

use serde_json::json;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use whereby::{Inspection, Session, Settings};
use whereby_tests::{World, run, set_mode};

/// A number as the binary format writes it.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A string, or anything else that has its length before it.
fn sized(contents: &[u8]) -> Vec<u8> {
    [number(contents.len()), contents.to_vec()].concat()
}

fn section(id: u8, contents: &[u8]) -> Vec<u8> {
    [vec![id], sized(contents)].concat()
}

/// A section of so many equal entries.
fn section_of(id: u8, count: usize, entry: &[u8]) -> Vec<u8> {
    section(id, &[number(count), entry.repeat(count)].concat())
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0".to_vec(), sections.concat()].concat()
}

fn nested(sections: &[Vec<u8>]) -> Vec<u8> {
    section(4, &component(sections))
}

/// A core module, as a section of a component.
fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    section(1, &[b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat())
}

/// The type of a function with so many parameters.
fn type_of(params: usize) -> Vec<u8> {
    section(1, &[vec![1, 0x60], number(params), vec![0x7f; params], vec![0]].concat())
}

/// A module of functions of one type, whose bodies are given without their ends.
fn functions(params: usize, bodies: &[Vec<u8>]) -> Vec<u8> {
    let body = |body: &Vec<u8>| sized(&[&[0], &body[..], &[0x0b]].concat());
    let code: Vec<u8> = bodies.iter().flat_map(body).collect();
    let code = [number(bodies.len()), code].concat();
    module(&[type_of(params), section_of(3, bodies.len(), &[0]), section(10, &code)])
}

/// Code that does nothing, of so many bytes: constants in their longest form, which are dropped.
fn padding(bytes: usize) -> Vec<u8> {
    let constant = [&[0x42][..], &[0x80; 9], &[0, 0x1a]].concat();
    let rest = vec![0x01; bytes % constant.len()];
    [constant.repeat(bytes / constant.len()), rest].concat()
}

/// A million empty functions, and a hundred thousand loops within each other.
fn extremes() -> [(&'static str, Vec<u8>, &'static str); 2] {
    let loops = [[0x03, 0x40].repeat(100_000), vec![0x0b; 100_000]].concat();
    [
        (
            "functions",
            component(&[functions(0, &vec![vec![]; 1_000_000])]),
            "1000000 functions, limit 10000; to allow it, raise limits.component_functions",
        ),
        (
            "loops",
            component(&[functions(0, &[loops])]),
            "300002 bytes of code in one function, limit 262144; use a smaller component",
        ),
    ]
}

/// A component that grows by instantiating the one before it twice, so many times.
fn doubled(times: usize) -> Vec<u8> {
    let mut sections = vec![nested(&[])];
    for before in 0..times {
        let outer = section(6, &[vec![1, 4, 2, 1], number(before)].concat());
        sections.push(nested(&[outer, section_of(5, 2, &[0, 0, 0])]));
    }
    sections.push(section(5, &[vec![1, 0], number(times), vec![0]].concat()));
    component(&sections)
}

/// A component that may pass to a function of the host, in so many ways, ten tuples of ten tuples, and
/// so on, five levels deep.
fn tuples(ways: usize) -> Vec<u8> {
    let mut types = vec![7, 0x6f, 2, 0x7d, 0x7d];
    for before in 0..5 {
        types.extend([vec![0x6f, 10], vec![before; 10]].concat());
    }
    types.extend([0x40, 1, 1, b'x', 5, 1, 0]);
    component(&[
        section(7, &types),
        section(10, &[1, 0, 1, b'f', 1, 6]),
        module(&[section(5, &[1, 0, 1]), section(7, &[1, 1, b'm', 2, 0])]),
        section(2, &[1, 0, 0, 0]),
        section(6, &[1, 0, 2, 1, 0, 1, b'm']),
        section_of(8, ways, &[1, 0, 0, 1, 3, 0]),
    ])
}

/// A world with a place of its own for compiled code.
struct Place {
    world: World,
    cache: PathBuf,
}

impl Place {
    async fn new(limits: &str) -> Self {
        let world = World::new().await;
        world.configure(&format!("[limits]\nconcurrent_calls = 4\n{limits}"));
        let cache = world.path("cache/whereby");
        std::fs::create_dir_all(&cache).expect("a folder");
        set_mode(&cache, 0o700);
        Self { world, cache }
    }

    fn session(&self, component: Option<Vec<u8>>) -> Session {
        let environment = self.world.environment();
        let settings = Settings::load(None, &environment).expect("a good configuration");
        let builder = Session::builder().settings(settings).environment(environment);
        let builder = builder.cache(Some(self.cache.clone()));
        let builder = match component {
            Some(bytes) => builder.component(bytes),
            None => builder,
        };
        builder.build().expect("a session")
    }

    /// What a call of a component says that is no good.
    async fn failure(&self, component: Vec<u8>) -> String {
        let session = self.session(Some(component));
        let error = session.call(None, "list_rooms", json!({})).await.result.expect_err("a fault");
        assert_eq!(error.kind(), "component-fault", "{error}");
        let again = session.call(None, "list_rooms", json!({})).await.result.expect_err("a fault");
        assert_eq!(again.to_string(), error.to_string());
        self.world.assert_untouched();
        error.to_string()
    }

    fn kept(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.cache).expect("the folder");
        let name = |file: std::io::Result<std::fs::DirEntry>| {
            file.expect("a file").file_name().into_string().expect("UTF-8")
        };
        let mut names: Vec<_> = files.map(name).collect();
        names.sort();
        names
    }
}

/// What is said of a component that may not be compiled.
const TOO_MUCH: &str = "too large to compile";

#[tokio::test]
async fn each_limit_admits_what_is_just_within_it_and_nothing_more() {
    const STEPS: &str = "limits.component_steps_millions";
    let place = Place::new("timeout_seconds = 600\n").await;
    let empty = module(&[]);
    let nops = |count: usize| vec![0x01; count];
    // Each makes a component that has exactly so many.
    type Make<'a> = &'a dyn Fn(usize) -> Vec<u8>;
    let cases: [(&str, usize, &str, Make<'_>); 15] = [
        ("core modules", 16, "", &|n| component(&vec![empty.clone(); n])),
        ("nested components", 100, "", &|n| component(&vec![nested(&[]); n])),
        ("functions", 10_000, "limits.component_functions", &|n| {
            component(&[functions(0, &vec![vec![]; n])])
        }),
        ("levels of nested blocks", 512, "", &|n| {
            let blocks = [[0x02, 0x40].repeat(n), vec![0x0b; n]].concat();
            component(&[functions(0, &[blocks])])
        }),
        ("parameters and results of one function", 64, "", &|n| {
            component(&[functions(n, &[vec![]])])
        }),
        ("elements in one table", 10_000, "", &|n| {
            component(&[module(&[section(4, &[vec![1, 0x70, 0], number(n)].concat())])])
        }),
        ("bytes of code in one function", 262_144, "", &|n| {
            // Besides, there are the number of local variables and the end.
            component(&[functions(0, &[padding(n - 2)])])
        }),
        ("bytes of code", 4_194_304, "", &|n| {
            let mut bodies = vec![padding(262_000 - 2); 16];
            bodies.push(padding(n - 16 * 262_003 - 2 - 2));
            component(&[functions(0, &bodies)])
        }),
        ("steps of compiling one function", 100_000, STEPS, &|n| {
            component(&[functions(0, &[nops(n - 8)])])
        }),
        ("steps of compiling", 3_000_000, STEPS, &|n| {
            let mut bodies = vec![nops(100_000 - 108); 29];
            bodies.push(nops(n - 29 * 100_000 - 150 - 108));
            component(&[functions(0, &bodies)])
        }),
        ("bytes of types, imports and exports", 524_288, "", &|n| {
            let import = |name: usize| [sized(&vec![b'a'; name]), vec![0, 3, 0x7f, 0]].concat();
            let imports = [vec![6], import(99_000).repeat(5), import(n - 1 - 5 * 99_007 - 7)];
            component(&[module(&[section(2, &imports.concat())])])
        }),
        ("bytes of types, imports and exports in instances", 524_288, "", &|n| {
            // The type of an enumeration with one case takes as many bytes as its name, and six.
            let ty = |bytes: usize| {
                section(7, &[vec![1, 0x6d, 1], sized(&vec![b'a'; bytes - 6])].concat())
            };
            let inner = nested(&[ty(50_000)]);
            component(&[inner, section_of(5, 10, &[0, 0, 0]), ty(n - 31 - 500_000)])
        }),
        ("resource types", 500, "", &|n| component(&[section_of(7, n, &[0x3f, 0x7f, 0])])),
        ("uses of instance types", 300, "", &|n| {
            let import = |at| [vec![0], sized(format!("i{at}").as_bytes()), vec![5, 0]].concat();
            let imports = (0..n).flat_map(import).collect();
            component(&[section(7, &[1, 0x42, 0]), section(10, &[number(n), imports].concat())])
        }),
        ("uses of instance types within types", 4, "", &|n| {
            let exports = (0..n as u8).flat_map(|at| [4, 0, 1, b'a' + at, 5, 0]).collect();
            // It has the type before it, and uses that.
            let alias = vec![2, 0x42, 0, 0x42, n as u8 + 1, 2, 3, 2, 1, 0];
            component(&[section(7, &[alias, exports].concat())])
        }),
    ];
    for (what, most, key, make) in cases {
        let message = place.failure(make(most)).await;
        assert!(!message.contains(TOO_MUCH), "{most} {what}: {message}");
        let before = place.kept();
        let message = place.failure(make(most + 1)).await;
        let advice = match key {
            "" => "use a smaller component".to_owned(),
            key => format!("to allow it, raise {key}"),
        };
        let words = format!("{} {what}, limit {most}; {advice}", most + 1);
        assert!(message.contains(TOO_MUCH) && message.ends_with(&words), "{message}");
        assert_eq!(place.kept(), before, "what is refused leaves nothing");
    }
}

#[tokio::test]
async fn what_would_take_for_ever_is_refused_everywhere_and_can_be_looked_at() {
    let place = Place::new("").await;
    let mut environment = place.world.environment();
    let cache = place.world.path("cache").display().to_string();
    environment.variables.insert("XDG_CACHE_HOME".into(), cache);
    for (name, bytes, words) in extremes() {
        let file = place.world.path(name);
        std::fs::write(&file, &bytes).expect("a file");
        let file = file.display().to_string();
        let command = ["--component", &file, "call", "list_rooms", "--json"];
        let ran = run(&command, environment.clone(), "", false).await;
        assert_eq!(ran.code, 9, "{name}: {ran:?}");
        let error = &ran.json()["error"];
        assert_eq!(error["kind"], "component-fault", "{name}");
        assert_eq!(error["effect"], "none", "{name}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(TOO_MUCH) && message.ends_with(words), "{name}: {message}");
        let ran = run(&["component", "inspect", &file], environment.clone(), "", false).await;
        assert_eq!(ran.code, 0, "{name}: {ran:?}");
        assert!(ran.stdout.ends_with("imports\nexports\n"), "{name}: {ran:?}");
        // It is valid, and was not compiled to find that out.
        assert_eq!(Inspection::of(&bytes).expect("a component").bytes, bytes.len());
        assert_eq!(place.kept(), [""; 0], "{name}");
    }
    place.world.assert_untouched();
}

#[tokio::test]
async fn what_grows_when_it_is_put_together_is_counted_as_large_as_it_becomes() {
    let place = Place::new("").await;
    for times in [20, 60] {
        let message = place.failure(doubled(times)).await;
        assert!(message.contains("bytes of types, imports and exports in instances"), "{message}");
        // To find out what it is takes as long.
        let error = Inspection::of(&doubled(times)).expect_err("too much");
        assert_eq!(error.to_string(), message);
    }
    let message = place.failure(tuples(2)).await;
    assert!(message.contains("bytes of types, imports and exports in instances"), "{message}");
    for harmless in [doubled(5), tuples(1)] {
        let message = place.failure(harmless).await;
        assert!(!message.contains(TOO_MUCH), "{message}");
    }
    assert!(!place.kept().is_empty(), "what can be compiled is kept");
}

#[tokio::test]
async fn limits_that_are_raised_admit_more() {
    let place = Place::new("component_functions = 10001\n").await;
    let many = component(&[functions(0, &vec![vec![]; 10_001])]);
    let message = place.failure(many.clone()).await;
    assert!(message.contains("the component exports nothing"), "{message}");
    // What was compiled under other limits counts for nothing.
    place.world.configure("[limits]\nconcurrent_calls = 4\n");
    let message = place.failure(many).await;
    assert!(
        message.contains("limit 10000; to allow it, raise limits.component_functions"),
        "{message}"
    );
}

/// Bodies of functions that take the compiler longest for their size, about as large as they may be.
fn worst() -> [(&'static str, Vec<u8>); 4] {
    let rotated = [0x20, 0, 0x20, 0, 0x77, 0x1a].repeat(1200);
    let indirect = [0x20, 0, 0x11, 1, 0].repeat(600);
    let branches = [0x20, 0, 0x04, 0x40, 0x20, 0, 0x21, 0, 0x0b].repeat(700);
    let loops = [[0x03, 0x40, 0x20, 0, 0x0d, 0].repeat(512), vec![0x0b; 512]].concat();
    [("rotated", rotated), ("indirect", indirect), ("branches", branches), ("loops", loops)]
}

#[tokio::test]
async fn the_worst_code_within_limits_is_compiled() {
    let place = Place::new("component_steps_millions = 1\ntimeout_seconds = 600\n").await;
    for (name, body) in worst() {
        let code = [&[0][..], &body, &[0x0b]].concat();
        let bytes = component(&[module(&[
            section(1, &[2, 0x60, 1, 0x7f, 0, 0x60, 0, 0]),
            section_of(3, 10, &[0]),
            section(4, &[1, 0x70, 0, 10]),
            section_of(10, 10, &sized(&code)),
        ])]);
        let message = place.failure(bytes).await;
        assert!(message.contains("the component exports nothing"), "{name}: {message}");
    }
}

/// Makes a file that was used so many hours ago.
fn old_file(folder: &Path, name: &str, bytes: u64, hours: u64) {
    let file = File::create(folder.join(name)).expect("a file");
    // Sparse: it takes no room.
    file.set_len(bytes).expect("a size");
    let time = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
    file.set_modified(time).expect("a time");
}

#[tokio::test]
async fn what_was_not_used_for_longest_makes_room_and_nothing_else_goes() {
    const MIB: u64 = 1024 * 1024;
    let place = Place::new("cache_mib = 16\n").await;
    let name = |digit: &str| format!("{}-{}.cwasm", digit.repeat(64), digit.repeat(16));
    for (digit, hours) in [("1", 2), ("2", 30), ("3", 3), ("4", 400)] {
        old_file(&place.cache, &name(digit), 6 * MIB, hours);
    }
    let unfinished = |hours: u64| name("5").replace("cwasm", &format!("{hours}-0-1.tmp"));
    for hours in [0, 5] {
        old_file(&place.cache, &unfinished(hours), MIB, hours);
    }
    let foreign = ["notes.txt", "x.cwasm", "x.tmp"];
    for name in foreign {
        old_file(&place.cache, name, 50 * MIB, 9999);
    }
    std::os::unix::fs::symlink("notes.txt", place.cache.join(name("6"))).expect("a link");
    let outcome = place.session(None).call(None, "list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);

    let kept = place.kept();
    let is_kept = |name: &String| kept.contains(name);
    // Two of 6 MiB go beside the new one, those that were used last.
    assert!(is_kept(&name("1")) && is_kept(&name("3")), "{kept:?}");
    assert!(!is_kept(&name("2")) && !is_kept(&name("4")), "{kept:?}");
    assert!(is_kept(&unfinished(0)) && !is_kept(&unfinished(5)), "{kept:?}");
    assert!(is_kept(&name("6")) && foreign.iter().all(|name| is_kept(&(*name).into())));
    assert_eq!(kept.len(), 2 + 1 + 1 + 1 + foreign.len(), "{kept:?}");

    // Use is noted, so that what is used stays.
    let old = ["1", "3", "6"].map(name);
    let is_new = |kept: &&String| kept.len() == old[0].len() && !old.contains(kept);
    let new = place.cache.join(kept.iter().find(is_new).expect("the built-in component's"));
    let file = File::options().append(true).open(&new).expect("the file");
    file.set_modified(SystemTime::now() - Duration::from_secs(100 * 60 * 60)).expect("a time");
    let outcome = place.session(None).call(None, "list_rooms", json!({})).await;
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    let age = new.metadata().and_then(|found| found.modified()).expect("a time").elapsed();
    let age = age.unwrap_or_default();
    assert!(age < Duration::from_secs(60 * 60), "{age:?}");
}
