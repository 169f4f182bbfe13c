//! JSON to Lua and back.

use super::{failure, open_world, result};
use serde_json::json;

#[tokio::test]
async fn values_survive_both_ways() {
    let world = open_world().await;
    for (script, expected) in [
        ("return nil", json!(null)),
        ("", json!(null)),
        ("return true, 1, 'x'", json!([true, 1, "x"])),
        ("return 1.5", json!(1.5)),
        ("return -0.0", json!(0)),
        ("return 2^53", json!(9_007_199_254_740_992_u64)),
        ("return 'ünïcode 会议 \\0'", json!("ünïcode 会议 \0")),
        ("return {}", json!([])),
        ("return app.object()", json!({})),
        ("return app.array{}", json!([])),
        (
            "return { a = {}, b = app.object{}, c = { 1, { d = 2 } } }",
            json!({"a": [], "b": {}, "c": [1, {"d": 2}]}),
        ),
        // Empty ones are what they were, also when they were emptied.
        (
            "return json.decode('{\"list\": [], \"object\": {}, \"null\": null}')",
            json!({"list": [], "object": {}, "null": null}),
        ),
        ("local l = json.decode('[1]') table.remove(l) return l", json!([])),
        ("local o = json.decode('{\"a\": 1}') o.a = nil return o", json!({})),
        (
            "return json.encode({ b = 1, a = {} }), json.encode('x')",
            json!(["{\"a\":[],\"b\":1}", "\"x\""]),
        ),
        // Beyond what a number of Lua's holds, it is itself.
        (
            "return json.decode('[9007199254740993, -9007199254740993, 9007199254740992]')",
            json!([9_007_199_254_740_993_u64, -9_007_199_254_740_993_i64, 9_007_199_254_740_992_u64]),
        ),
        (
            "local texts = {}
             for _, n in ipairs({ '9007199254740993', '-9223372036854775808', '18446744073709551615' }) do
                 table.insert(texts, json.encode(json.decode(n)))
                 table.insert(texts, json.encode({ moved = json.decode('{\"id\":' .. n .. '}').id }))
             end
             return texts",
            json!([
                "9007199254740993", "{\"moved\":9007199254740993}",
                "-9223372036854775808", "{\"moved\":-9223372036854775808}",
                "18446744073709551615", "{\"moved\":18446744073709551615}",
            ]),
        ),
        (
            "local n = json.decode('9007199254740993')
             return tostring(n), 'n' .. n .. 1, `{n}`, string.format('%s', n),
                n == json.decode('9007199254740993'), n == json.decode('9007199254740994'),
                tonumber(tostring(n)) == 2^53, typeof(n)",
            json!([
                "9007199254740993", "n90071992547409931", "9007199254740993", "9007199254740993",
                true, false, true, "integer",
            ]),
        ),
        // Half of an emoji is no character, and hides nothing else. A byte order mark is none.
        (
            r#"return json.decode('{"a\\ud800": ["\\ude00x", "\\ud83d\\ude00"]}')"#,
            json!({"a\u{fffd}": ["\u{fffd}x", "\u{1f600}"]}),
        ),
        (r"return json.decode('\u{feff}[1]')", json!([1])),
        ("\u{feff}return 1", json!(1)),
        ("return json.decode('null') == nil", json!(true)),
        // Nulls stay where they are.
        ("return json.decode('[1, null, 2]')", json!([1, null, 2])),
        ("return #json.decode('[null, null]')", json!(2)),
        (
            "local n = 0 for _ in ipairs(json.decode('[1, null, 2]')) do n += 1 end return n",
            json!(3),
        ),
        ("return json.decode('[null]')[1] == json.null, json.null == nil", json!([true, false])),
        ("return { json.null, a = nil }, json.null", json!([[null], null])),
        ("return json.decode('{\"a\": null}').a == nil", json!(true)),
        ("local o = json.decode('{\"a\": null}') o.a = 1 return o", json!({"a": 1})),
        ("return { o = json.decode('{\"a\": null}') }", json!({"o": {"a": null}})),
        // What the functions return has no member where there is null.
        (
            "local user = app.integrations.whereby.get_current_user({})
             return user.name == nil, rawget(user, 'name') == nil",
            json!([true, true]),
        ),
        (
            "return getmetatable(json.decode('[]')), getmetatable(json.decode('{}'))",
            json!(["array", "object"]),
        ),
    ] {
        assert_eq!(result(&world, script).await, expected, "{script}");
    }
}

#[tokio::test]
async fn what_was_decoded_is_encoded_to_the_same() {
    let world = open_world().await;
    for text in [
        "[1,null,2]",
        "[null]",
        "[[null,[]],{}]",
        "null",
        "{\"a\":null}",
        "{\"a\":{\"b\":null,\"c\":[null,{\"d\":null}]},\"e\":false}",
        "[{\"a\":1,\"b\":null},{\"a\":null,\"b\":2}]",
    ] {
        let script = format!("return json.encode(json.decode('{text}'))");
        assert_eq!(result(&world, &script).await, text, "{script}");
    }
    world.assert_untouched();
}

#[tokio::test]
async fn what_has_no_form_in_json_is_named_with_its_place() {
    let world = open_world().await;
    for (script, expected) in [
        ("return print", "the result is a function, which JSON cannot represent"),
        ("return { a = { print } }", "the result.a[1] is a function"),
        ("return 0/0", "the result is not a number (nan)"),
        ("return { x = 1/0 }", "the result.x is infinite"),
        ("return '\\xff'", "the result is not UTF-8: byte 1 is 0xff"),
        ("return { a = { 'ok', 'a\\xffb' } }", "the result.a[2] is not UTF-8: byte 2 is 0xff"),
        ("return { ['\\xff'] = 1 }", "is not UTF-8"),
        ("local t = {} t.t = t return t", "the result.t contains itself"),
        ("return { 1, 2, nil, 4 }", "the result[3] is nil"),
        ("local t = {} t[3] = 1 return t", "the result has an item 3 but none before it"),
        ("return { 1, x = 2 }", "the result has both items and named members"),
        ("return { [true] = 1 }", "the result has a boolean as a key"),
        ("return { [1.5] = 1 }", "the result has a number as a key"),
        (
            "local t = {} for i = 1, 100 do t = { t } end return t",
            "is nested more than 64 levels deep",
        ),
        ("return vector.create(1, 2, 3)", "is a vector"),
        ("return buffer.create(1)", "is a buffer"),
        ("return coroutine.create(print)", "is a thread"),
        ("local t = { 1 } for i = 1, 40 do t = { t, t } end return t", "the result is too large"),
        ("json.encode({ f = print })", "the value.f is a function"),
        ("json.decode('{')", "the string is not JSON"),
        (
            "json.decode('{\"a\":1,\"b\":[{\"c\":1,\"c\":2}]}')",
            "the member `c` is there twice at line 1",
        ),
        ("json.decode('{\"a\":null,\"a\":null}')", "the member `a` is there twice"),
        ("json.decode('{\"a\":null,\"a\":1}')", "the member `a` is there twice"),
        ("json.decode('{\"a\":false,\"a\":null}')", "the member `a` is there twice"),
        ("json.decode(1)", "json.decode takes a string, not a number"),
        ("app.array(1)", "app.array takes a table, not a number"),
        ("app.array(setmetatable({}, {}))", "app.array takes a table that is not frozen"),
    ] {
        let (kind, message) = failure(&world, script).await;
        assert!(message.contains(expected), "{script}: {message}");
        assert!(kind == "script" || kind == "usage", "{script}: {kind}");
    }
}

#[tokio::test]
async fn arguments_are_put_right_or_explained() {
    let world = open_world().await;
    let right = [
        "return app.integrations.whereby.list_rooms()",
        "return app.integrations.whereby.list_rooms(nil)",
        "return app.integrations.whereby.list_rooms({})",
        "return app.integrations.whereby.list_rooms(app.object{ limit = 10 })",
        "return app.integrations.whereby.create_room({ fields = {} })",
        "return app.integrations.whereby.create_room({ fields = json.null, room_mode = json.null })",
        "return app.integrations.whereby.create_room({ fields = { { recording = { type = 'none' } } } })",
    ];
    for script in right {
        result(&world, script).await;
    }
    let before = world.requests().len();
    for (script, kind, expected) in [
        ("list_rooms(10)", "usage", "list_rooms takes one table of named arguments, not a number"),
        ("list_rooms({ 10 })", "usage", "list_rooms takes named arguments, not positional ones"),
        ("list_rooms({}, 1)", "usage", "not 2 values"),
        ("get_room()", "invalid-argument", "get_room needs `room_name`"),
        ("get_room('daily')", "usage", "not a string"),
        ("get_room({ roomname = 'daily' })", "invalid-argument", "(did you mean `room_name`?)"),
        (
            "get_room({ room_name = '\\xff' })",
            "invalid-argument",
            "get_room.room_name is not UTF-8",
        ),
        (
            "create_room({ fields = { 1, nil, 3 } })",
            "invalid-argument",
            "create_room.fields[2] is nil",
        ),
        (
            "create_room({ fields = { { recording = print } } })",
            "invalid-argument",
            "create_room.fields[1].recording is a function",
        ),
        ("create_room({ fields = 'hostRoomUrl' })", "invalid-argument", "fields must be an array"),
        ("list_rooms({ limit = 0/0 })", "invalid-argument", "list_rooms.limit is not a number"),
        ("list_rooms({ limit = 1.5 })", "invalid-argument", "limit must be an integer"),
        (
            "list_rooms({ cursor = ('x'):rep(200000) })",
            "invalid-argument",
            "list_rooms is too large",
        ),
    ] {
        let script = format!("app.integrations.whereby.{script}");
        let report = super::run(&world, &script).await;
        let error = report.error.expect(&script);
        assert_eq!(error.kind, kind, "{script}: {}", error.message);
        assert!(error.message.contains(expected), "{script}: {}", error.message);
        // The right call is shown.
        let hint = error.hint.expect(&script);
        assert!(hint.starts_with("for example: app.integrations.whereby."), "{script}: {hint}");
        assert_eq!(error.line, Some(1), "{script}");
    }
    let (_, message) = failure(&world, "app.integrations.whereby:list_rooms({})").await;
    assert_eq!(message, "call list_rooms with a dot, not a colon");
    assert_eq!(world.requests().len(), before, "nothing more was sent");
}
