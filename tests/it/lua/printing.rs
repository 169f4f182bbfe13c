//! What scripts print, and what they find when they look around.

use super::{failure, open_world, result, run};
use serde_json::json;
use whereby::catalog::FUNCTIONS;

#[tokio::test]
async fn a_table_is_printed_by_what_it_holds() {
    let world = open_world().await;
    for (values, expected) in [
        ("nil, true, 1, 1.5, -0.0, 2^53, 'text'", "nil\ttrue\t1\t1.5\t-0\t9007199254740992\ttext"),
        ("{ 1, 'two', { three = 3 } }", r#"[1,"two",{"three":3}]"#),
        ("{ b = 1, a = {} }", r#"{"a":[],"b":1}"#),
        ("app.object()", "{}"),
        ("app.array()", "[]"),
        ("json.decode('[1,null,{\"a\":null}]')", r#"[1,null,{"a":null}]"#),
        ("json.null", "null"),
        ("'a\\tb'", "a\tb"),
        ("{ 'quo\"te\\n' }", r#"["quo\"te\n"]"#),
        // What JSON does not have.
        ("{ 1, x = 2 }", r#"{"x":2,[1]:1}"#),
        ("{ [3] = 'c' }", r#"{[3]:"c"}"#),
        ("{ 0/0, 1/0 }", "[NaN,inf]"),
        ("vector.create(1, 2, 3), { vector.create(1, 2, 3) }", "1, 2, 3\t[vector(1, 2, 3)]"),
        ("setmetatable({}, { __tostring = function() return 'mine' end })", "mine"),
        ("{ setmetatable({ 1 }, { __tostring = function() return 'mine' end }) }", "[[1]]"),
    ] {
        let script = format!("print({values})");
        let report = run(&world, &script).await;
        assert!(report.success(), "{script}: {:?}", report.error);
        assert_eq!(report.output.trim_end(), expected, "{script}");
    }
    world.assert_untouched();
    let report = run(&world, "print(app.integrations.whereby.list_rooms({ limit = 1 }))").await;
    assert!(report.output.starts_with(r#"{"data":[{""#), "{report:?}");
    assert!(report.output.contains(r#""roomName":"daily"#), "{report:?}");
    // The same in each way of making text of it.
    let same = "local page = app.integrations.whereby.list_rooms({ limit = 1 })
        local text = json.encode(page)
        return tostring(page) == text, string.format('%s', page) == text, `{page}` == text,
            ('%*'):format(page) == text, string.format('%5d%%%s', 1, page) == '    1%' .. text";
    assert_eq!(result(&world, same).await, json!([true, true, true, true, true]));
}

#[tokio::test]
async fn a_long_or_endless_table_is_cut_off() {
    let world = open_world().await;
    let report = run(&world, "print(table.create(100000, 'x'))").await;
    assert!(report.success(), "{report:?}");
    assert!(report.output.ends_with("…\n"), "{}", report.output.len());
    assert!((16_000..17_000).contains(&report.output.len()), "{}", report.output.len());
    for script in [
        "print({ ('x'):rep(100000) })",
        "local t = {} for i = 1, 20000 do t['key' .. i] = i end print(t)",
        "local t = { 'x' } for i = 1, 50 do t = { t, t } end print(t)",
        "local t = {} for i = 1, 15 do local u = { t } for j = 1, 9000 do u['k' .. j] = t end t = u end print(t)",
    ] {
        let report = run(&world, script).await;
        assert!(report.success(), "{script}: {:?}", report.error);
        assert!(report.output.len() < 17_000, "{script}: {}", report.output.len());
    }
    let report = run(&world, "local t = { 1 } t.me = t print(t)").await;
    assert_eq!(report.output, "{\"me\":table: 1,[1]:1}\n");
}

#[tokio::test]
async fn nothing_shows_an_address_of_the_host() {
    let world = open_world().await;
    let values = "local values = { {}, print, function() end, coroutine.create(print),
        buffer.create(4), setmetatable({}, {}), app, _G, string, getmetatable(''), { print },
        { [print] = print }, select(2, pcall(error, {})), coroutine.wrap(function() end), json.null, (coroutine.running()),
        json.decode('9007199254740993') } ";
    for show in [
        "tostring(value)",
        "string.format('%s', value)",
        "string.format('%*', value)",
        "('%s'):format(value)",
        "`{value}`",
        "string.format('%d%% %-5s', 1, value)",
        "select(2, pcall(error, value))",
        "tostring(select(2, pcall(function() return 1 .. value end)))",
        "tostring(select(2, pcall(function() return value < 1 end)))",
        "tostring(select(2, pcall(string.rep, value)))",
        "tostring(select(2, pcall(string.format, '%d', value)))",
        "tostring(select(2, pcall(table.concat, { value })))",
        "tostring(select(2, pcall(assert, false, value)))",
        "tostring(select(2, pcall(app.parallel, { function() error(value) end })))",
        "tostring(select(2, pcall(string.format, '%p', value)))",
        "tostring(select(2, pcall(json.encode, value)))",
        "tostring(select(2, pcall(json.decode, value)))",
        "tostring(select(2, pcall(next, {}, value)))",
        "tostring(select(2, pcall(setmetatable, value, value)))",
        "tostring(select(2, pcall(app.integrations.whereby.get_room, { room_name = value })))",
        "debug.traceback()",
    ] {
        let script = format!("{values} for _, value in values do print({show}) end");
        let report = run(&world, &script).await;
        assert!(report.success(), "{script}: {:?}", report.error);
        assert!(!report.output.contains("0x"), "{show}: {}", report.output);
        assert!(report.output.lines().count() >= 14, "{show}: {}", report.output);
    }
    for script in [
        "error({})",
        "error({ code = 5 })",
        "error(print)",
        "error({ print })",
        "local t = {} t.t = t json.encode(t)",
        "local t = {} t.t = t return t",
    ] {
        let (_, message) = failure(&world, script).await;
        assert!(!message.contains("0x"), "{script}: {message}");
    }
    let (_, message) = failure(&world, "error({ code = 5 })").await;
    assert_eq!(message, r#"the script raised a table without a message: {"code":5}"#);
    let raised = "app.parallel{ function() error({ code = 5 }) end }";
    let (_, message) = failure(&world, raised).await;
    assert!(message.ends_with(r#": {"code":5}"#), "{message}");
    world.assert_untouched();
}

#[tokio::test]
async fn a_label_stands_for_one_value() {
    let world = open_world().await;
    let script = "
        local f, t = function() end, {}
        assert(tostring(f) == tostring(f) and tostring(f) ~= tostring(print))
        assert(tostring(t) == `{t}` and tostring(t) ~= tostring({}))
        return tostring(t), (tostring(f):match('^function: %d+$'))";
    assert_eq!(result(&world, script).await, json!(["table: 3", "function: 1"]));
    // The first number of chance is not made from an address, nor the same each time.
    let numbers = [
        result(&world, "return math.random(2^30)").await,
        result(&world, "return math.random(2^30)").await,
    ];
    assert_ne!(numbers[0], numbers[1]);
}

#[tokio::test]
async fn who_looks_around_finds_everything() {
    let world = open_world().await;
    let names = |table: &str| {
        format!(
            "local names = {{}} for name in pairs({table}) do names[name] = true end return names"
        )
    };
    let globals = result(&world, &names("_G")).await;
    for name in [
        "app",
        "docs",
        "dump",
        "json",
        "print",
        "lua_list_docs",
        "lua_read_doc",
        "lua_search_docs",
        "string",
        "_G",
    ] {
        assert_eq!(globals[name], true, "{name}: {globals}");
    }
    let app = result(&world, &names("app")).await;
    assert_eq!(app, json!({"array": true, "integrations": true, "object": true, "parallel": true}));
    for table in ["app.integrations.whereby", "_G.app.integrations.whereby.other"] {
        let found = result(&world, &names(table)).await;
        for function in FUNCTIONS {
            assert_eq!(found[function.json], true, "{table}: {found}");
        }
    }
    let found = result(&world, &names("app.integrations.whereby")).await;
    assert!(found["work"] == true && found["other"] == true && found["default"] == true, "{found}");
    // A name that is set is the script's own, and one that is taken away is there again.
    let script = "
        local original = print
        print = function() end
        assert(_G.print == print and print ~= original)
        rawset(_G, 'print', nil)
        return _G.print == original";
    assert_eq!(result(&world, script).await, json!(true));
    assert_eq!(result(&world, "return tostring(print) == nil").await, json!(false));
    // Nothing of one script is there for the next.
    result(&world, "print = nil app = nil mine = 1 _G.json = nil").await;
    let script =
        "return mine == nil and json ~= nil and #app.integrations.whereby.list_rooms({}).data";
    assert_eq!(result(&world, script).await, 2);
}
