//! What scripts can read, and that what it shows runs.

use super::{failure, open_world, result, run};
use crate::tidy::read;
use whereby::catalog::FUNCTIONS;

/// The blocks of Lua in a Markdown text.
fn blocks(markdown: &str) -> Vec<&str> {
    markdown.split("```lua\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[tokio::test]
async fn every_example_of_the_documentation_runs() {
    let world = open_world().await;
    let guide = result(&world, "return lua_read_doc('integrations.whereby')").await;
    let guide = guide.as_str().expect("a text");
    assert!(blocks(guide).len() >= 3, "{guide}");
    let mut examples: Vec<String> = blocks(guide).into_iter().map(str::to_owned).collect();
    for function in FUNCTIONS {
        let line = format!("- `app.integrations.whereby.{}(", function.json);
        assert!(guide.contains(&line), "{guide}");
        let script = format!("return lua_read_doc('integrations.whereby.{}')", function.json);
        let page = result(&world, &script).await;
        let page = page.as_str().expect("a text");
        for member in function.params {
            assert!(page.contains(&format!("- `{}` (", member.json)), "{page}");
        }
        assert!(page.contains("\n## Returns\n"), "{page}");
        assert_eq!(blocks(page).len(), 1, "{page}");
        examples.extend(blocks(page).into_iter().map(str::to_owned));
    }
    let guide = read("docs/lua.md");
    examples.extend(blocks(&guide).into_iter().map(str::to_owned));
    for example in examples {
        let report = run(&world, &example).await;
        assert!(report.success(), "{example}\n{:?}", report.error);
    }
}

#[tokio::test]
async fn pages_are_found_by_many_names() {
    let world = open_world().await;
    let page = result(&world, "return lua_read_doc('integrations.whereby.get_room')").await;
    for name in [
        "whereby.get_room",
        "get_room",
        "whereby_get_room",
        "app.integrations.whereby.get_room",
        "integrations.whereby.work.get_room",
        "integrations.whereby.default.whereby_get_room",
    ] {
        let other = result(&world, &format!("return docs.read('{name}')")).await;
        assert_eq!(other, page, "{name}");
    }
    let guide = result(&world, "return docs.read('whereby')").await;
    assert!(guide.as_str().is_some_and(|guide| guide.starts_with("# integrations.whereby\n")));
    for (script, expected) in [
        ("lua_read_doc('integrations.zoom')", "unknown page `integrations.zoom`"),
        ("lua_read_doc('get_rom')", "did you mean `get_room`?"),
        ("lua_read_doc()", "unknown page"),
        ("lua_read_doc('integrations.whereby.hidden.get_room')", "unknown page"),
    ] {
        let (kind, message) = failure(&world, script).await;
        assert!(kind == "usage" && message.contains(expected), "{script}: {message}");
    }
    let list = result(&world, "return lua_list_docs()").await;
    let list = list.as_str().expect("a text");
    assert_eq!(list.lines().count(), 1 + FUNCTIONS.len(), "{list}");
    let found = result(&world, "return lua_search_docs('who attended')").await;
    assert!(found.as_str().is_some_and(|found| found.contains("get_meeting")), "{found}");
    let found = result(&world, "return docs.search('zebra')").await;
    assert!(found.as_str().is_some_and(|found| found.starts_with("no function matches `zebra`")));
    world.assert_untouched();
}

/// What scripts are used to that were written for the system from which the functions come.
#[tokio::test]
async fn scripts_of_the_reference_system_run_unchanged() {
    let world = open_world().await;
    world.simulator.add_room(0, &whereby::simulator::RoomSeed::named("my-meeting-room"));
    for script in [
        "local result = app.integrations.whereby.list_rooms({})
         for _, room in ipairs(result.data) do print(room.roomName, room.meetingUrl) end",
        "dump(app.integrations.whereby.list_rooms({limit = 1}))",
        "print(docs.read(\"whereby\"))",
        "print(docs.read(\"whereby.list_rooms\"))",
        "local result = app.integrations.whereby.list_rooms({ limit = 10 })
         print(result.meta.nextCursor)",
        "local result = app.integrations.whereby.get_room({ room_name = \"my-meeting-room\" })
         print(result.roomName, result.meetingUrl)",
        "local result = app.integrations.whereby.create_room({})
         print(result.roomName, result.meetingUrl)",
        "local result = app.integrations.whereby.list_meetings({ limit = 20 })
         for _, meeting in ipairs(result.data) do print(meeting.id, meeting.roomName, meeting.startDate) end",
        "local result = app.integrations.whereby.list_meetings({
             from_date = \"2025-01-01T00:00:00Z\", to_date = \"2025-01-31T23:59:59Z\",
         })
         print(#result.data .. \" meetings found\")",
        "local id = app.integrations.whereby.list_meetings({ limit = 1 }).data[1].id
         local result = app.integrations.whereby.get_meeting({ meeting_id = id })
         print(result.roomName, result.duration)
         for _, participant in ipairs(result.participants or {}) do print(participant.name, participant.joinedAt) end",
        "local result = app.integrations.whereby.get_current_user({})
         print(result.name, result.email)",
        "app.integrations.whereby.default.list_rooms({})
         app.integrations.whereby.work.list_rooms({})",
        "local result = app.integrations.whereby.delete_room({ room_name = \"my-meeting-room\" })
         print(\"Room deleted\")",
    ] {
        let report = run(&world, script).await;
        assert!(report.success(), "{script}\n{:?}", report.error);
        let quiet = script.starts_with("app.");
        assert_eq!(report.output.is_empty(), quiet, "{script}");
    }
    // Dates that have passed, ids that are none and cursors of nobody's are told.
    for (script, kind) in [
        (
            "create_room({ room_mode = 'group', start_date = '2025-01-15T10:00:00Z', end_date = '2025-01-15T11:00:00Z' })",
            "invalid-argument",
        ),
        ("get_meeting({ meeting_id = 'abc123' })", "invalid-argument"),
    ] {
        let (told, message) = failure(&world, &format!("app.integrations.whereby.{script}")).await;
        assert_eq!(told, kind, "{message}");
    }
}
