//! Hostile scripts: each is stopped within its limit, with a clear error, and leaves nothing behind.

use super::open_world;
use std::time::Duration;
use whereby::lua::{Limits, Runtime, machines};
use whereby_tests::World;

/// Set for the process in which nothing else takes memory.
const ALONE: &str = "WHEREBY_TEST_ALONE";

/// How a script ends, and what its message says.
type Case = (&'static str, &'static str, &'static str);

/// Loops that catch whatever is raised.
const LOOPS: &[Case] = &[
    ("while true do end", "step-limit", "100000 steps"),
    ("repeat until false", "step-limit", ""),
    ("for i = 1, math.huge do end", "step-limit", ""),
    ("while true do pcall(error) end", "step-limit", ""),
    ("while true do pcall(function() while true do end end) end", "step-limit", ""),
    (
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "step-limit",
        "",
    ),
    ("local function f() pcall(f) pcall(f) while true do end end f()", "step-limit", ""),
    ("local function f() xpcall(f, f) f() end f()", "step-limit", ""),
    (
        "local t = setmetatable({}, { __index = function() while true do end end }) pcall(function() return t.x end) return t.x",
        "step-limit",
        "",
    ),
    (
        "local t = setmetatable({}, { __eq = function() while true do end end }) while true do pcall(function() return t == setmetatable({}, getmetatable(t)) end) end",
        "step-limit",
        "",
    ),
    (
        "local t = setmetatable({}, { __tostring = function() while true do end end }) while true do pcall(print, t) end",
        "step-limit",
        "",
    ),
    (
        "local t = setmetatable({}, { __call = function(self) return self() end }) return t()",
        "script",
        "stack overflow",
    ),
    (
        "local t = setmetatable({}, { __iter = function() return function() return 1 end end }) for _ in t do end",
        "step-limit",
        "",
    ),
    (
        "local t = setmetatable({}, { __concat = function() while true do end end }) return t .. t",
        "step-limit",
        "",
    ),
    (
        "local co = coroutine.wrap(function() while true do coroutine.yield() end end) while true do co() end",
        "step-limit",
        "",
    ),
    (
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "step-limit",
        "",
    ),
    ("while true do pcall(coroutine.wrap(function() while true do end end)) end", "step-limit", ""),
    (
        "local function f() return coroutine.wrap(f)() end while true do pcall(f) end",
        "step-limit",
        "",
    ),
    (
        "local t = {} for i = 1, 100 do t[i] = function() while true do pcall(coroutine.yield) end end end app.parallel(t)",
        "step-limit",
        "",
    ),
    (
        "app.parallel{ function() while true do end end, function() while true do end end }",
        "step-limit",
        "",
    ),
    ("while true do pcall(app.parallel, { function() error(app) end }) end", "step-limit", ""),
    ("while true do pcall(function() return app.nothing end) end", "step-limit", ""),
    ("local f = string.gmatch(('a'):rep(1e5), 'a*') while true do f() end", "step-limit", ""),
    ("table.sort(table.create(50000, 1), function() return true end)", "step-limit", ""),
    (
        "local t = table.create(4, 1) table.sort(t, function() while true do end end)",
        "step-limit",
        "",
    ),
    ("table.foreach(table.create(100, 1), function() while true do end end)", "step-limit", ""),
    (
        "local m = { __eq = function() while true do end end } table.find({ setmetatable({}, m) }, setmetatable({}, m))",
        "step-limit",
        "",
    ),
];

/// Patterns that go back and forth.
const PATTERNS: &[Case] = &[
    ("return (('a'):rep(1000):find(('a*'):rep(30) .. 'b'))", "step-limit", ""),
    ("return (('a'):rep(1000):match(('.-'):rep(30) .. 'b'))", "step-limit", ""),
    (
        "for _ in ('a'):rep(1000):gmatch(('a?'):rep(30) .. ('a'):rep(30) .. 'b') do end",
        "step-limit",
        "",
    ),
    ("return (('a'):rep(1000):gsub(('(a*)'):rep(20) .. 'b', ''))", "step-limit", ""),
    (
        "while true do pcall(string.find, ('a'):rep(1000), ('a*'):rep(30) .. 'b') end",
        "step-limit",
        "",
    ),
    (
        "return ('a'):rep(2^20):find(('a'):rep(2^19) .. 'b', 1, true)",
        "script",
        "the string and the pattern are too long together",
    ),
    (
        "return ('a'):rep(2^20):match('[' .. ('b'):rep(2^10) .. ']*')",
        "script",
        "the string and the pattern are too long together",
    ),
    (
        "return ('a'):rep(2^20):split(('a'):rep(2^10) .. 'b')",
        "script",
        "the string and the pattern are too long together",
    ),
    ("return ('x'):find(('('):rep(1000))", "script", "too many captures"),
    ("return ('x'):rep(1000):find(('x?'):rep(1000))", "script", "pattern too complex"),
    ("return ('x'):gsub('x', '%9')", "script", "invalid capture index"),
    ("return ('x'):find('%')", "script", "malformed pattern"),
];

/// Whatever takes memory.
const MEMORY: &[Case] = &[
    ("return ('x'):rep(2^30)", "memory-limit", "more than 4 MiB"),
    ("local s = 'x' while true do s = s .. s end", "memory-limit", ""),
    ("local t = {} while true do t[#t + 1] = {} end", "memory-limit", ""),
    ("local t = {} while true do t = { t } end", "memory-limit", ""),
    ("local t = {} for i = 1, 1e9 do t[i], t[-i], t[i + 0.5] = i, i, i end", "memory-limit", ""),
    ("local t = {} while true do t[{}] = 1 end", "memory-limit", ""),
    ("return buffer.create(2^30)", "memory-limit", ""),
    ("return table.create(2^26)", "memory-limit", ""),
    ("return table.create(2^30)", "script", "table overflow"),
    ("local t = {} for i = 1, 100000 do t[i] = coroutine.create(print) end", "memory-limit", ""),
    ("return table.concat(table.create(100, ('x'):rep(100000)))", "memory-limit", ""),
    ("return ('x'):rep(100000):gsub('x', ('y'):rep(1000))", "memory-limit", ""),
    (
        "return string.format(('%s'):rep(50), table.unpack(table.create(50, ('x'):rep(100000))))",
        "memory-limit",
        "",
    ),
    ("return json.decode('[' .. ('[],'):rep(90000) .. '1]')", "memory-limit", ""),
    (
        "local t = {} while pcall(function() t[#t + 1] = ('x'):rep(1000) .. #t end) do end return t[1]:rep(2^20)",
        "memory-limit",
        "",
    ),
    // Refused, and caught, and refused again.
    ("while true do pcall(string.rep, 'x', 2^30) end", "step-limit", ""),
    (
        "while true do pcall(function() local t = {} while true do t = { t } end end) end",
        "step-limit",
        "",
    ),
    ("return string.format('%99999d', 1)", "script", "width or precision too long"),
    (
        "return string.format(('%d'):rep(200), table.unpack(table.create(200, 1)))",
        "script",
        "at most 100 values",
    ),
    ("return string.pack('s4', ('x'):rep(2^23))", "memory-limit", ""),
    ("return table.unpack({}, 1, 1e8)", "script", "too many results"),
    ("return (('x'):rep(2^21)):byte(1, -1)", "script", "string slice too long"),
];

/// Ranges that a function of C would go through.
const RANGES: &[Case] = &[
    ("table.move({}, 1, 2^31 - 2, 1, {})", "script", "table.move moves at most"),
    ("table.move({}, 1, 2^20 + 1, 1, {})", "script", "table.move moves at most"),
    ("table.move({}, -2^31, 0, 1)", "script", "table.move moves at most"),
    ("table.concat({}, 'x', 1, 2^31 - 1)", "script", "invalid value (nil) at index 1"),
    ("table.insert({}, 2^53, 1) table.create(-1)", "script", "size out of range"),
    ("os.date(('%c'):rep(100))", "script", "at most 100 characters"),
    ("bit32.lshift(1, 2^31) string.char(256)", "script", "invalid value"),
    ("return math.random(1, 0)", "script", "interval is empty"),
];

/// Output, calls and results.
const OUTPUT: &[Case] = &[
    ("while true do print('x') end", "output-limit", "4096 bytes"),
    ("while true do pcall(print, 'x') end", "output-limit", ""),
    ("print(('x'):rep(5000))", "output-limit", ""),
    ("while true do pcall(dump, { 'x' }) end", "output-limit", ""),
    ("return ('x'):rep(5000)", "script", "the result is too large: at most 4096 bytes"),
    (
        "local t = { 1 } for i = 1, 50 do t = { t, t } end dump(t)",
        "script",
        "the value is too large",
    ),
    ("error(('x'):rep(1000000))", "script", "xxxx"),
    (
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        "script",
        "a table without a message",
    ),
    (
        "while true do pcall(app.integrations.whereby.get_room, {}) end",
        "call-limit",
        "more than 5 calls",
    ),
    (
        "local t = {} for i = 1, 60 do t[i] = function() app.integrations.whereby.list_rooms({ limit = 0 }) end end app.parallel(t)",
        "call-limit",
        "",
    ),
    (
        "while true do pcall(app.integrations.whereby.list_rooms, { cursor = 1 }) end",
        "call-limit",
        "",
    ),
];

/// Ways out, all of them closed.
const ESCAPES: &[Case] = &[
    ("return io.open('/etc/passwd')", "script", "attempt to index nil"),
    ("return os.getenv('HOME')", "script", "attempt to call a nil"),
    ("os.execute('true')", "script", "attempt to call a nil"),
    ("return require('./x')", "script", "attempt to call a nil"),
    ("return package.path", "script", "attempt to index nil"),
    ("return loadstring('return 1')()", "script", "attempt to call a nil"),
    ("return load('return 1')()", "script", "attempt to call a nil"),
    ("return dofile('/etc/passwd')", "script", "attempt to call a nil"),
    ("return getfenv(print)", "script", "attempt to call a nil"),
    ("setfenv(1, {})", "script", "attempt to call a nil"),
    ("return debug.info(1, 'f')", "script", "attempt to call a nil"),
    ("return debug.getregistry()", "script", "attempt to call a nil"),
    ("return newproxy(true)", "script", "attempt to call a nil"),
    ("return string.dump(print)", "script", "attempt to call a nil"),
    ("collectgarbage('stop')", "script", "invalid option"),
    ("collectgarbage('collect')", "script", "invalid option"),
    ("getmetatable('').__index = {}", "script", "attempt to modify a readonly table"),
    ("getmetatable(app).__index = nil", "script", ""),
    ("rawset(app, 'integrations', {})", "script", "readonly"),
    ("rawset(string, 'rep', print)", "script", "readonly"),
    ("rawset(getmetatable(_G).__index, 'print', nil)", "script", "readonly"),
    ("setmetatable(app.integrations.whereby, {})", "script", "protected metatable"),
    ("setmetatable(json.decode('{}'), {})", "script", "protected metatable"),
    ("table.clear(app.integrations.whereby)", "script", "readonly"),
    ("table.insert(app.integrations.whereby, 1)", "script", "readonly"),
    ("table.clone(app.integrations)", "script", "protected metatable"),
    ("\u{1b}Lua", "syntax", ""),
    ("\u{5}\u{3}\u{0}", "syntax", ""),
];

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.timeout = Duration::from_secs(60);
    limits.memory_bytes = 4 * 1024 * 1024;
    limits.steps = 100_000;
    limits.calls = 5;
    limits.output_bytes = 4096;
    limits
}

async fn run_all(world: &World) {
    let runtime = Runtime::new(world.session()).limits(limits());
    let cases = [LOOPS, PATTERNS, MEMORY, RANGES, OUTPUT, ESCAPES].concat();
    assert!(cases.len() >= 40);
    let mut wrong = Vec::new();
    for (script, kind, message) in cases {
        let report = runtime.run(script, "test.lua").await;
        match report.error {
            Some(error) if error.kind == kind && error.message.contains(message) => {
                assert!(error.message.chars().count() <= 4001, "{script}");
            }
            other => wrong.push(format!("{script}\n  wanted {kind} {message}\n  {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The runtime is as good as ever.
    let report = runtime.run("return 1", "test.lua").await;
    assert_eq!(report.result, 1, "{:?}", report.error);
}

#[tokio::test]
async fn each_is_stopped_within_its_limit_with_a_clear_error() {
    let world = open_world().await;
    run_all(&world).await;
    world.assert_untouched();
}

#[tokio::test]
async fn the_clock_stops_what_takes_few_steps() {
    let world = open_world().await;
    let mut limits = limits();
    limits.timeout = Duration::from_millis(200);
    limits.steps = u64::MAX;
    limits.memory_bytes = 16 * 1024 * 1024;
    let runtime = Runtime::new(world.session()).limits(limits);
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local s = ('a'):rep(2^20) while true do s:find(('a'):rep(60) .. 'b', 1, true) end",
        "local s = ('a'):rep(2^20) while true do s:match('[^' .. ('b'):rep(50) .. ']*c') end",
        "local s = ('a'):rep(2^21) while true do local _ = s:upper() .. s:reverse() end",
        "local t = table.create(2^18, 1) while true do table.concat(t) end",
        "while true do table.move({}, 1, 2^18, 1, {}) end",
        "local b = buffer.create(2^22) while true do buffer.fill(b, 0, 1) end",
        "local m = { __tostring = function() return table.concat(table.create(2^18, '')) end } local t = table.create(99, setmetatable({}, m)) while true do string.format(('%*'):rep(99), table.unpack(t)) end",
        "app.parallel{ function() while true do coroutine.yield() end end }",
    ] {
        let report = runtime.run(script, "test.lua").await;
        let error = report.error.expect(script);
        assert_eq!(error.kind, "time-limit", "{script}: {}", error.message);
    }
    world.assert_untouched();
}

#[tokio::test]
async fn a_console_goes_on_after_each() {
    let world = open_world().await;
    let runtime = Runtime::new(world.session()).limits(limits());
    let mut console = runtime.console().expect("a console");
    for (script, kind, _) in [LOOPS, MEMORY].concat() {
        let (report, _) = console.run(script, std::future::pending()).await;
        assert_eq!(report.error.expect(script).kind, kind, "{script}");
        let (report, _) = console.run("kept = (kept or 0) + 1", std::future::pending()).await;
        assert!(report.success(), "after {script}: {:?}", report.error);
    }
    let (report, _) = console.run("kept", std::future::pending()).await;
    assert_eq!(report.result, (LOOPS.len() + MEMORY.len()) as u64);
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number") * 4096
}

#[test]
#[cfg(target_os = "linux")]
fn memory_is_back_where_it_was() {
    const NAME: &str = "lua::hostile::memory_is_back_where_it_was";
    if std::env::var_os(ALONE).is_none() {
        // In a process of its own, because other tests take memory as well.
        let program = std::env::current_exe().expect("this program");
        let mut command = std::process::Command::new(program);
        // One heap for all threads: each script has a thread of its own, and what another heap keeps
        // for the next one would look like a leak.
        command.args([NAME, "--exact"]).env(ALONE, "1").env("MALLOC_ARENA_MAX", "1");
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let world = open_world().await;
        run_all(&world).await;
        let before = resident();
        for _ in 0..2 {
            run_all(&world).await;
        }
        while machines() > 0 {
            tokio::task::yield_now().await;
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 8 * 1024 * 1024, "{grown} bytes more than before");
    });
}

/// Scripts that would have the host take many times as much memory as they may have themselves.
const IN_THE_HOST: &[&str] = &[
    "return #json.decode('[' .. string.rep('{},', 270000) .. '0]')",
    "return #json.decode('[' .. string.rep('[],', 270000) .. '0]')",
    "return json.decode(string.rep('[{\"a\":', 60) .. '[' .. string.rep('{\"a\":1},', 90000) .. '1]' .. string.rep('}]', 60))",
    "local t = {} for i = 1, 60000 do t[i] = {} end return json.encode(t)",
    "local t = {} for i = 1, 20000 do t[i] = { a = 1 } end dump(t)",
    "local t = {} for i = 1, 20000 do t[i] = { a = 1 } end return t",
    "local t = {} for i = 1, 9000 do t[i] = { a = 1 } end return t, t, t, t, t, t, t, t",
    "local t = {} for i = 1, 9000 do t[i] = { a = 1 } end
     local f = function() app.integrations.whereby.get_room({ room_name = t }) end
     return app.parallel(table.create(4, f))",
];

#[tokio::test]
async fn what_the_host_makes_for_a_script_is_the_script_s_memory() {
    let world = open_world().await;
    let mut limits = Limits::default();
    limits.memory_bytes = 4 * 1024 * 1024;
    limits.output_bytes = 1024 * 1024;
    let runtime = Runtime::new(world.session()).limits(limits);
    for script in IN_THE_HOST {
        let report = runtime.run(script, "test.lua").await;
        assert_eq!(
            report.error.as_ref().expect(script).kind,
            "memory-limit",
            "{script}: {report:?}"
        );
    }
    // What there is room for is made, also often, and nothing of it is counted for ever.
    let script = "local text = '[' .. string.rep('{\"a\":[1,null]},', 2000) .. '0]'
        for i = 1, 100 do
            local value = json.decode(text)
            assert(json.encode(value) == text)
            pcall(error, {})
            pcall(json.decode, '[')
            app.integrations.whereby.list_rooms({ limit = 1 })
        end
        return true";
    let report = runtime.run(script, "test.lua").await;
    assert_eq!(report.result, true, "{:?}", report.error);
}
