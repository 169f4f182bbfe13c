//! The end of `whereby configure --help`: examples, and every key of the configuration file.

#[cfg(feature = "lua")]
use crate::config::limits::ScriptLimits;
use crate::config::limits::{Limit, Limits};
use crate::config::reader::{self, Key};
use whereby_authority::conditions::{KINDS, Kind};
use whereby_authority::tables;

const EXAMPLES: &str = "\
Examples:
  printf %s \"$KEY\" | whereby configure --token-stdin
  whereby configure --account work --set access_token.env=WORK_KEY --default
  whereby configure --set access_token.command='[\"/usr/bin/pass\", \"whereby\"]'
  whereby configure --read allow --write ask --function delete_room=deny
  whereby configure --set limits.timeout_seconds=60
  whereby configure --account work --remove
";

/// Returns the end of the help: examples, and every key of the configuration file.
pub(super) fn help() -> String {
    let mut help = EXAMPLES.to_owned();
    for (heading, keys) in sections().into_iter().chain([conditions()]) {
        help += &format!("\n{heading}:\n");
        let width = |part: fn(&Line) -> &str| {
            keys.iter().map(|key| part(key).chars().count()).max().unwrap_or_default()
        };
        let (names, values) = (width(|key| &key.name), width(|key| &key.value));
        for Line { name, value, what } in keys {
            help += &format!("  {name:names$}  {value:values$}  {what}\n");
        }
    }
    help.truncate(help.trim_end().len());
    help
}

/// A key as the help shows it.
struct Line {
    name: String,
    /// Its possible values, and the default.
    value: String,
    what: &'static str,
}

fn sections() -> Vec<(&'static str, Vec<Line>)> {
    let lines = |prefix: &str, keys: &[Key]| -> Vec<Line> {
        let line = |Key { name, value, default, what }: &Key| Line {
            name: match *name {
                "functions" => format!("{prefix}functions.NAME"),
                name => format!("{prefix}{name}"),
            },
            value: with_default(value, default),
            what,
        };
        // An account has the same permission keys; `--account` selects it.
        keys.iter().filter(|key| key.name != "permissions").map(line).collect()
    };
    let mut account = lines("", reader::ACCOUNT);
    // `--account` selects it, too.
    account.retain(|line| line.name != reader::PARTICIPANTS);
    account.splice(1..1, lines("access_token.", reader::TOKEN));
    let agent = lines("agents.NAME.", reader::AGENT);
    let mut others = lines("", reader::KEYS);
    others.extend(lines("component.", reader::COMPONENT));
    let mut sections = vec![
        ("Keys of the account that --account names, or of the default account", account),
        (
            "Permissions, for one account with --account (default value in brackets)",
            lines("permissions.", reader::PERMISSIONS),
        ),
        ("Agents (also with the permissions above, as agents.NAME.permissions.…)", agent),
        (
            "Privacy, for one account with --account (default value in brackets)",
            lines("privacy.", reader::PRIVACY),
        ),
        ("Approvals", lines("approvals.", reader::APPROVALS)),
        ("Audit log (default value in brackets)", lines("audit.", reader::AUDIT)),
        ("Limits (default value in brackets)", limit_lines("limits", Limits::TABLE)),
    ];
    #[cfg(feature = "lua")]
    {
        let limits = limit_lines("lua", ScriptLimits::TABLE);
        sections.push(("Limits of a Lua script (default value in brackets)", limits));
    }
    sections.push(("Other keys", others));
    sections
}

/// Returns the conditions, which `--function NAME.CONDITION=VALUE` sets.
fn conditions() -> (&'static str, Vec<Line>) {
    let kind = |kind: &Kind| Line {
        name: kind.name.to_owned(),
        value: kind.value.to_owned(),
        what: kind.what,
    };
    let otherwise = Line {
        name: tables::OTHERWISE.to_owned(),
        value: with_default("ask|deny", "deny"),
        what: "the permission if a condition does not hold",
    };
    let lines = KINDS.iter().map(kind).chain([otherwise]).collect();
    ("Conditions of a function, set with --function NAME.CONDITION=VALUE", lines)
}

fn limit_lines<L>(table: &str, keys: &[Limit<L>]) -> Vec<Line> {
    let line = |limit: &Limit<L>| Line {
        name: format!("{table}.{}", limit.name),
        value: with_default(
            &format!("{} to {}", limit.least, limit.most),
            &limit.default.to_string(),
        ),
        what: limit.what,
    };
    keys.iter().map(line).collect()
}

fn with_default(value: &str, default: &str) -> String {
    if default.is_empty() { value.to_owned() } else { format!("{value} [{default}]") }
}

#[cfg(test)]
mod tests {
    use super::super::is_account_key;
    use super::*;
    use crate::config::reader::settings;
    use std::path::Path;
    use whereby_authority::policy::{Policy, Subject};

    /// Returns a valid value of a key, in TOML.
    fn example(value: &str) -> String {
        let value = value.split(" [").next().unwrap_or_default();
        if let Some((least, _)) = value.split_once(" to ") {
            return least.to_owned();
        }
        match value {
            "true|false" => "true".into(),
            "DIGEST" => format!("\"{}\"", "0".repeat(64)),
            "URL" => "\"https://api.example/v1\"".into(),
            "DATE" => "2999-01-01T00:00:00Z".into(),
            value if value.starts_with(['[', '"']) => value.to_owned(),
            value => format!("\"{}\"", value.split('|').next().unwrap_or_default()),
        }
    }

    #[test]
    fn the_help_lists_every_key_that_a_file_can_have() {
        let mut keys = 0;
        for line in sections().into_iter().flat_map(|(_, lines)| lines) {
            let name = line.name.replace("agents.NAME", "agents.assistant");
            let name = name.replace("NAME", "delete_room");
            let mut file = match name.split_once('.') {
                _ if is_account_key(&name) => {
                    format!("[accounts.work]\n{name} = {}\n", example(&line.value))
                }
                Some((table, key)) => format!("[{table}]\n{key} = {}\n", example(&line.value)),
                None => format!("{name} = {}\n", example(&line.value)),
            };
            match name.as_str() {
                "default_account" => file += "[accounts.NAME]\naccess_token = \"x\"\n",
                "component.sha256" => file += "path = \"x\"\n",
                "api_url" | "enabled" | "participants" => file += "access_token = \"x\"\n",
                _ => {}
            }
            let file = file.replace("NAME", "work");
            let read = settings(Path::new("/config.toml"), &file);
            assert!(read.is_ok(), "{file}: {:?}", read.err());
            keys += 1;
        }
        // The defaults are those of the policy.
        let policy = Policy::default();
        for (key, function, has_destination) in [
            ("read", "list_rooms", false),
            ("write", "create_room", false),
            ("destination", "create_room", true),
        ] {
            let function = whereby_catalog::function(function).expect("a function");
            let permission =
                policy.outlook(Subject::of("work", function), has_destination).permission;
            let known = reader::PERMISSIONS.iter().find(|known| known.name == key);
            assert_eq!(known.map(|known| known.default), Some(permission.as_str()), "{key}");
        }
        // The help has every key that the reader lists.
        let help = help();
        for (file, prefix) in [
            ("x = 1", ""),
            ("[permissions]\nx = 1", "permissions."),
            ("[privacy]\nx = 1", "privacy."),
            ("[accounts.work]\nx = 1", ""),
            ("[accounts.work.access_token]\nx = 1", "access_token."),
            ("[limits]\nx = 1", "limits."),
            #[cfg(feature = "lua")]
            ("[lua]\nx = 1", "lua."),
            ("[approvals]\nx = 1", "approvals."),
            ("[audit]\nx = 1", "audit."),
            ("[component]\nx = 1", "component."),
            ("[agents.assistant]\nx = 1", "agents.NAME."),
        ] {
            let error = settings(Path::new("/config.toml"), file).expect_err(file);
            let known = error.to_string();
            let (_, known) = known.split_once("known here: ").expect("the keys");
            for name in known.split(", ") {
                let tables = [
                    "permissions",
                    "privacy",
                    "accounts",
                    "agents",
                    "approvals",
                    "audit",
                    "limits",
                    "lua",
                    "component",
                ];
                let is_list = format!("{prefix}{name}") == "agents.NAME.accounts";
                // An account has the same keys as `[privacy]`.
                let is_elsewhere = prefix.is_empty() && name == reader::PARTICIPANTS;
                let is_table = is_elsewhere || tables.contains(&name) && !is_list;
                let line = format!("  {prefix}{name}");
                let is_there = help.lines().any(|text| {
                    text.strip_prefix(&line).is_some_and(|rest| rest.starts_with([' ', '.']))
                });
                assert!(is_there || is_table, "{name} is missing: {help}");
                keys -= usize::from(!is_table);
            }
        }
        assert_eq!(keys, 0, "the help lists a key twice, or an unknown key");
        for line in help.lines().skip_while(|line| !line.starts_with("Keys of")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
