//! Accounts and names, and that the policy decides here as everywhere.

use super::{failure, open_world, result, run};
use crate::wire::ALLOW_ALL;
use serde_json::json;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use whereby::lua::Runtime;
use whereby::{Answer, Approver, Call, Question};

#[tokio::test]
async fn each_account_has_a_namespace_and_each_function_two_names() {
    let world = open_world().await;
    let script = "
        local whereby = app.integrations.whereby
        local function first(page) return page.data[1].roomName end
        assert(first(whereby.list_rooms({ limit = 1 })) == first(whereby.default.list_rooms({ limit = 1 })))
        assert(first(whereby.whereby_list_rooms({ limit = 1 })) == first(whereby.work.whereby_list_rooms({ limit = 1 })))
        return first(whereby.other.list_rooms({}))";
    let report = run(&world, script).await;
    assert_eq!(report.result, "elsewhere", "{:?}", report.error);
    let accounts: Vec<_> = report.calls.iter().map(|call| call.account.as_deref()).collect();
    assert_eq!(accounts, [Some("work"), Some("work"), Some("work"), Some("work"), Some("other")]);
}

#[tokio::test]
async fn an_account_that_is_switched_off_is_not_there() {
    let world = open_world().await;
    let file = world.configure(ALLOW_ALL);
    let text = std::fs::read_to_string(&file).expect("the configuration");
    world.write(
        "config/whereby/config.toml",
        &text.replace("[accounts.other]", "[accounts.other]\nenabled = false"),
    );
    let (kind, message) = failure(&world, "app.integrations.whereby.other.list_rooms({})").await;
    assert_eq!(kind, "usage");
    assert!(message.starts_with("app.integrations.whereby has no `other`"), "{message}");
    assert!(message.ends_with("default, work"), "{message}");
    world.assert_untouched();
}

#[tokio::test]
async fn one_account_alone_hides_the_others() {
    let world = open_world().await;
    let runtime = Runtime::new(world.session()).account(Some("other"));
    let script = "local w = app.integrations.whereby
        return w.list_rooms({}).data[1].roomName, rawget(w, 'work') == nil";
    let report = runtime.run(script, "test.lua").await;
    assert_eq!(report.result, json!(["elsewhere", true]), "{:?}", report.error);
    let report = Runtime::new(world.session()).account(Some("nobody")).run("", "test.lua").await;
    assert_eq!(report.error.expect("no such account").kind, "usage");
}

#[tokio::test]
async fn without_a_default_account_the_others_are_named() {
    let world = open_world().await;
    let file = world.configure("");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    world.write("config/whereby/config.toml", &text.replace("default_account = \"work\"\n", ""));
    let (kind, message) = failure(&world, "app.integrations.whereby.list_rooms({})").await;
    assert_eq!(kind, "configuration");
    assert!(message.contains("use one of other, work"), "{message}");
    world.assert_untouched();
    let script = "return #app.integrations.whereby.other.list_rooms({}).data";
    assert_eq!(result(&world, script).await, 1);
}

#[tokio::test]
async fn a_denied_call_sends_nothing_and_cannot_be_forced() {
    let world = open_world().await;
    world.configure("[permissions]\nwrite = \"deny\"\n");
    for (script, expected) in [
        ("create_room({})", "denied"),
        ("delete_room({ room_name = 'daily' })", "denied"),
        ("create_room({ force = true })", "invalid-argument"),
    ] {
        let (kind, _) = failure(&world, &format!("app.integrations.whereby.{script}")).await;
        assert_eq!(kind, expected, "{script}");
    }
    // A front end cannot force one either.
    world.configure("");
    let forcing = Runtime::new(world.session()).calls(|account, function, arguments| {
        Call::new(function, arguments).account(Some(account)).force(true)
    });
    let report = forcing.run("app.integrations.whereby.create_room({})", "test.lua").await;
    assert_eq!(report.error.expect("nobody approved").kind, "approval-required");
    world.assert_untouched();
}

/// Says no, and remembers what it was asked.
#[derive(Default)]
struct SaysNo(Mutex<Vec<String>>);

impl Approver for SaysNo {
    fn ask<'a>(
        &'a self,
        question: &'a Question,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        let asked = format!("{} {}", question.function.json, question.arguments);
        self.0.lock().expect("no panic").push(asked);
        Box::pin(std::future::ready(Answer::Declined))
    }
}

#[tokio::test]
async fn each_call_is_asked_for_like_any_other() {
    let world = open_world().await;
    world.configure("");
    let approver = Arc::new(SaysNo::default());
    let session = world.session_with(Some(Arc::clone(&approver) as Arc<dyn Approver>), None);
    let script = "for i = 1, 2 do
            local ok, e = pcall(app.integrations.whereby.create_room, { room_name_prefix = 'a-' })
            assert(not ok and e.kind == 'denied' and e.effect == 'none', tostring(e))
        end";
    let report = Runtime::new(session).run(script, "test.lua").await;
    assert!(report.success(), "{:?}", report.error);
    let asked = approver.0.lock().expect("no panic").clone();
    assert_eq!(asked, vec!["create_room {\"room_name_prefix\":\"a-\"}"; 2]);
    world.assert_untouched();
}

#[tokio::test]
async fn no_script_sees_a_token_or_the_environment() {
    let world = open_world().await;
    let script = "
        local seen, found = {}, {}
        local function walk(value, depth)
            if type(value) == 'string' then table.insert(found, value) end
            if type(value) ~= 'table' or seen[value] or depth > 12 then return end
            seen[value] = true
            for k, v in next, value do walk(k, depth + 1) walk(v, depth + 1) end
            local meta = getmetatable(value)
            walk(meta, depth + 1)
        end
        walk(_G, 0) walk(getmetatable(_G), 0) walk(getmetatable(''), 0)
        walk(app.integrations.whereby.get_current_user({}), 0)
        local _, e = pcall(app.integrations.whereby.get_room, { room_name = 'no' }) walk(e, 0)
        table.insert(found, lua_read_doc('integrations.whereby') .. lua_list_docs())
        return (table.concat(found, ' '):gsub('[\\128-\\255]', '?'))";
    let found = result(&world, script).await;
    let found = found.as_str().expect("a text");
    assert!(found.len() > 1000, "{found}");
    let home = world.path("").display().to_string();
    for secret in world.simulator.tokens().iter().map(|token| token.to_string()).chain([home]) {
        assert!(!found.contains(&secret), "{found}");
    }
}
