//! The documentation that scripts can read.

use super::namespaces::{Namespaces, ROOT};
use crate::docs::search as functions;
use crate::docs::{lua_call, reference};
use std::fmt::Write as _;
use whereby_authority::arguments::first_sentence;
use whereby_authority::suggest;
use whereby_authority::text;
use whereby_catalog::Function;

/// The guide, which is not about a single function.
const GUIDE: &str = include_str!("guide.md");

/// Examples that use the results of functions; others have a plain call. A test runs all of them.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "list_rooms",
        r#"local page = app.integrations.whereby.list_rooms({ limit = 10 })
for _, room in ipairs(page.data) do
    print(room.roomName, room.meetingUrl)
end
if page.meta.nextCursor then
    page = app.integrations.whereby.list_rooms({ limit = 10, cursor = page.meta.nextCursor })
end"#,
    ),
    (
        "get_room",
        r#"local room = app.integrations.whereby.get_room({ room_name = "daily-standup" })
print(room.meetingUrl, room.endDate)"#,
    ),
    (
        "create_room",
        r#"local room = app.integrations.whereby.create_room({
    room_mode = "group",
    room_name_prefix = "standup-",
    fields = { "hostRoomUrl" },
})
print(room.roomName, room.meetingUrl, room.endDate)"#,
    ),
    (
        "delete_room",
        r#"local done, problem = pcall(app.integrations.whereby.delete_room, { room_name = "no-such-room" })
if not done then
    print(problem.kind, problem.message)
end"#,
    ),
    (
        "list_meetings",
        r#"local page = app.integrations.whereby.list_meetings({ from_date = "2026-01-01", limit = 20 })
for _, meeting in ipairs(page.data) do
    print(meeting.id, meeting.startDate, meeting.duration)
end"#,
    ),
    (
        "get_meeting",
        r#"local page = app.integrations.whereby.list_meetings({ limit = 1 })
for _, found in ipairs(page.data) do
    local meeting = app.integrations.whereby.get_meeting({ meeting_id = found.id })
    for _, participant in ipairs(meeting.participants) do
        print(participant.name or "a guest", participant.joinedAt)
    end
end"#,
    ),
    (
        "get_current_user",
        r#"local user = app.integrations.whereby.get_current_user({})
print(user.organizationId, user.subdomain)"#,
    ),
];

/// Returns an example call of the function with this name.
pub(crate) fn example_call(name: &str) -> String {
    whereby_catalog::function(name).map_or_else(|| format!("{ROOT}.list_rooms({{}})"), lua_call)
}

/// Returns the list of pages.
pub(crate) fn list(namespaces: &Namespaces) -> String {
    let mut out = String::from("integrations.whereby: all functions, and how scripts run\n");
    out.extend(namespaces.known.iter().map(|function| line(function)));
    out
}

/// Returns the functions that match the words, in the form of `list`.
pub(crate) fn search(words: &str, namespaces: &Namespaces) -> String {
    let notice = functions::notice(words).map(|notice| format!("{notice}\n"));
    let found: String = functions::search(words)
        .into_iter()
        .filter(|function| namespaces.has_function(function))
        .map(line)
        .collect();
    if found.is_empty() {
        format!("no function matches `{}`; run: lua_list_docs()\n", text::printable(words, 100))
    } else {
        notice.unwrap_or_default() + &found
    }
}

fn line(function: &Function) -> String {
    format!("integrations.whereby.{}: {}\n", function.json, first_sentence(function.docs))
}

/// Returns a page: `integrations.whereby` or `integrations.whereby.FUNCTION`.
///
/// # Errors
///
/// Returns a sentence that suggests existing pages.
pub(crate) fn read(name: &str, namespaces: &Namespaces) -> Result<String, String> {
    let mut segments: Vec<&str> = name.trim().split('.').collect();
    for known in ["app", "integrations", "whereby"] {
        if segments.first() == Some(&known) {
            segments.remove(0);
        }
    }
    let function = match segments.as_slice() {
        [] => return Ok(overview(namespaces)),
        [name] | [_, name] => name.strip_prefix("whereby_").unwrap_or(name),
        _ => "",
    };
    let is_account = |name: &str| name == "default" || namespaces.has(name);
    let known =
        whereby_catalog::function(function).filter(|function| namespaces.has_function(function));
    match (segments.as_slice(), known) {
        ([account], None) if is_account(account) => Ok(overview(namespaces)),
        ([_], Some(function)) => Ok(page(function, namespaces)),
        ([account, _], Some(function)) if is_account(account) => Ok(page(function, namespaces)),
        _ => {
            let mut names = vec!["integrations.whereby"];
            names.extend(namespaces.known.iter().map(|function| function.json));
            Err(format!(
                "unknown page `{}`{}; pages are integrations.whereby and, for example, \
                 integrations.whereby.list_rooms",
                text::printable(name, 80),
                suggest::did_you_mean(function, &names)
            ))
        }
    }
}

fn overview(namespaces: &Namespaces) -> String {
    let mut out = format!("{GUIDE}\n## Functions\n\n");
    for function in &namespaces.known {
        let names: Vec<String> = function
            .params
            .iter()
            .map(|p| if p.is_optional() { format!("{}?", p.json) } else { p.json.to_owned() })
            .collect();
        let _ = writeln!(
            out,
            "- `{ROOT}.{}({{ {} }})`: {}",
            function.json,
            names.join(", "),
            first_sentence(function.docs)
        );
    }
    out
}

/// Returns the page of a function.
fn page(function: &Function, namespaces: &Namespaces) -> String {
    let name = format!("{ROOT}.{}", function.json);
    let result = "## Returns\n\nA table. Null reads as nil.";
    let mut out = reference(function, &name, result);
    if let Some(allowed) = namespaces.allowed.get(function.json) {
        let _ = write!(out, "\n## Permission\n\n{allowed}\n");
    }
    if let Some((_, example)) = EXAMPLES.iter().find(|(name, _)| *name == function.json) {
        let _ = write!(out, "\n## Example\n\n```lua\n{example}\n```\n");
    }
    out
}
