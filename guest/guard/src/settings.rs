//! Reads the environment: the key, the API's address and the rules.

use core::cell::OnceCell;
use core::net::Ipv4Addr;

use crate::prelude::*;
use whereby_authority::answer::Redactor;
use whereby_authority::conditions::Condition;
use whereby_authority::policy::{Effect, Entry, Participants, Permission, Policy, Table};
use whereby_authority::{key, tables, text, toml};

/// The variable with the API key.
const ACCESS_TOKEN: &str = "WHEREBY_ACCESS_TOKEN";

/// The variable with the base URL of the API.
const API_URL: &str = "WHEREBY_API_URL";

/// The variable with the claims of a key that the runtime keeps.
const KEY_CLAIMS: &str = "WHEREBY_KEY_CLAIMS";

/// The variable that says what is seen of people.
const PARTICIPANTS: &str = "WHEREBY_PARTICIPANTS";

/// The variable with the rules.
const PERMISSIONS: &str = "WHEREBY_PERMISSIONS";

/// The settings of all calls.
pub(crate) struct Settings {
    pub(crate) api: Api,
    /// Absent if the runtime adds the key to the guard's requests.
    pub(crate) token: Option<String>,
    /// Made when the first response is read.
    redactor: OnceCell<Redactor>,
    /// The claims of a key that the runtime keeps.
    given_claims: Option<String>,
    pub(crate) policy: Policy,
}

/// The address of the API.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Api {
    pub(crate) is_https: bool,
    pub(crate) authority: String,
    /// Without a slash at the end.
    pub(crate) path: String,
}

impl Settings {
    /// Reads the variables. An empty one counts as absent.
    pub(crate) fn read(variables: Vec<(String, String)>) -> Result<Self, String> {
        let (mut api, mut token, mut claims) = (Api::default(), None, None);
        let mut participants = Participants::default();
        let mut table = Table::default();
        for (name, value) in variables {
            let (whole, value) = (&value, value.trim());
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                API_URL => api = Api::parse(value)?,
                // The key is not shown.
                ACCESS_TOKEN if !value.as_bytes().iter().all(u8::is_ascii_graphic) => {
                    return Err(format!("{ACCESS_TOKEN} contains characters that no API key has"));
                }
                ACCESS_TOKEN => token = Some(value.to_owned()),
                KEY_CLAIMS => claims = Some(value.to_owned()),
                PARTICIPANTS => {
                    participants = Participants::parse(value)
                        .filter(|seen| *seen != Participants::Pseudonyms)
                        .ok_or_else(|| format!("{PARTICIPANTS} must be \"names\" or \"hidden\""))?;
                }
                PERMISSIONS => {
                    table = read_permissions(whole)
                        .map_err(|wrong| format!("{PERMISSIONS}, {wrong}"))?;
                }
                _ => {}
            }
        }
        // There is nobody to ask.
        for effect in [Effect::Write, Effect::Destination] {
            let is_stated = table.effects.contains_key(&effect);
            if !is_stated {
                table.effects.insert(effect, Entry::new(Permission::Deny, 0));
            }
        }
        table.participants = participants;
        let mut policy = Policy::default();
        policy.own.file = Some(PERMISSIONS.into());
        policy.own.all = table;
        Ok(Self { api, token, redactor: OnceCell::new(), given_claims: claims, policy })
    }
}

impl Settings {
    /// Returns what removes the key from texts.
    pub(crate) fn redactor(&self) -> &Redactor {
        self.redactor.get_or_init(|| Redactor::new(self.token.as_deref().unwrap_or_default()))
    }

    /// Returns what get_current_user may know of the key.
    pub(crate) fn claims(&self) -> Option<String> {
        match &self.token {
            Some(token) => key::claims(token),
            None => self.given_claims.clone(),
        }
    }
}

/// Reads the rules, and refuses those that need a person or a memory.
// In a function of its own, because most settings have none.
#[cold]
#[inline(never)]
fn read_permissions(text: &str) -> Result<Table, toml::Error> {
    let document = toml::Document::parse(text)?;
    let root = document.root();
    let entries = root.entries();
    if let [("permissions", node)] = entries.as_slice() {
        return Err(node.error(
            "leave out `permissions`: write only the contents of [permissions] of config.toml, such as \
             write = \"deny\" or [functions.create_room]",
        ));
    }
    // Without a person, they would have no effect.
    for (key, node) in entries {
        if matches!(key, "force" | "elicitation") {
            return Err(node.error(&format!(
                "`{key}` is about asking a person, but this component can't ask anyone; leave it out"
            )));
        }
    }
    let table = tables::read(&root)?;
    if let Some(node) = first_ask(&root) {
        return Err(node.error(
            "\"ask\" needs a person, but this component can't ask anyone; write \"allow\" with conditions or \
             \"deny\", or run the program whereby, which asks",
        ));
    }
    let needs_memory = |condition: &Condition| {
        condition.is_quota() || matches!(condition, Condition::CreatedBy(_))
    };
    let entries = table.effects.values().chain(table.functions.values());
    let wrong = entries
        .flat_map(|entry| &entry.conditions)
        .find(|stated| needs_memory(&stated.condition))
        .map(|stated| toml::Error {
            line: stated.line,
            message: format!(
                "`{}` needs a memory of earlier calls, which this component does not have; use rooms, \
                 room_modes, max_duration, fields or valid_until, or run the program whereby",
                stated.condition.name()
            ),
        });
    wrong.map_or(Ok(table), Err)
}

/// Returns the first permission that is `ask`, in rules that are valid.
fn first_ask<'a>(table: &toml::TableNode<'a, '_>) -> Option<toml::Node<'a>> {
    table.entries().into_iter().find_map(|(key, node)| {
        if node.is_table() {
            return first_ask(&node.table(key).ok()?);
        }
        // A pattern is the only other value that can be this word.
        (key != "rooms" && node.text(key).is_ok_and(|word| word == "ask")).then_some(node)
    })
}

impl Default for Api {
    fn default() -> Self {
        Self { is_https: true, authority: "api.whereby.dev".into(), path: "/v1".into() }
    }
}

impl Api {
    /// Reads an https URL, or an http URL of a loopback address. The value is not shown, because it may
    /// contain a password.
    fn parse(url: &str) -> Result<Self, String> {
        Self::read(url).ok_or_else(|| {
            format!(
                "{API_URL} must be an https URL without user, query or fragment, such as \
                 https://api.whereby.dev/v1; http is only for loopback addresses, such as \
                 http://127.0.0.1:8080/v1"
            )
        })
    }

    fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let rest = rest.strip_prefix("//")?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
        let path = path.trim_end_matches('/');
        let fits =
            is_authority(authority) && (is_https || is_loopback(authority)) && text::is_path(path);
        fits.then(|| Self {
            is_https,
            authority: authority.to_ascii_lowercase(),
            path: path.into(),
        })
    }

    /// Returns the URL.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        [scheme, "://", &self.authority, &self.path].concat()
    }
}

/// The one address of IP version 6 that an authority may be: this machine.
const IP_V6_LOOPBACK: &str = "[::1]";

/// Splits an authority into its host and its port.
fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = split(authority);
    let is_name = |host: &str| {
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let mut labels = host.as_bytes().split(|byte| *byte == b'.');
        labels.all(|label| !label.is_empty() && label.iter().all(is_letter))
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    (is_name(host) || host == IP_V6_LOOPBACK) && port.is_none_or(is_port)
}

/// Only addresses count, because a name such as localhost depends on the resolver.
fn is_loopback(authority: &str) -> bool {
    let (host, _) = split(authority);
    host == IP_V6_LOOPBACK || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<Settings, String> {
        Settings::read(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn only_https_and_loopback_are_accepted() {
        for (text, shown) in [
            ("https://api.whereby.dev/v1", "https://api.whereby.dev/v1"),
            ("https://API.whereby.dev/v1/", "https://api.whereby.dev/v1"),
            ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(
                read(API_URL, text).map(|settings| settings.api.url()).as_deref(),
                Ok(shown)
            );
        }
        for text in [
            "api.whereby.dev",
            "http://api.whereby.dev/v1",
            "http://localhost:8080/v1",
            "http://127.0.0.1.example.com/v1",
            "http://2130706433/v1",
            "http://0.0.0.0/v1",
            "http://[::2]/v1",
            "https://user:secret@api.whereby.dev/v1",
            "https://api.whereby.dev:0x50/v1",
            "https://api.whereby.dev:/v1",
            "https://api.whereby.dev/v1?x=1",
            "https://api.whereby.dev/v1#x",
            "https://api.whereby.dev/../v1",
            "https://api..dev/v1",
            "https:///v1",
            "ftp://127.0.0.1/v1",
        ] {
            let error = read(API_URL, text).err().expect(text);
            assert!(error.starts_with(API_URL) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn rules_that_need_a_person_or_a_memory_are_refused() {
        for (rules, line, what) in [
            ("write = \"ask\"", 1, "\"ask\""),
            ("\n[functions]\ndelete_room = \"ask\"", 3, "\"ask\""),
            (
                "[functions.create_room]\npermission = \"allow\"\nrooms = [\"bot-*\"]\notherwise = \"ask\"",
                4,
                "\"ask\"",
            ),
            ("[functions.create_room]\npermission = \"ask\"\nrooms = [\"bot-*\"]", 2, "\"ask\""),
            (
                "[functions.create_room]\npermission = \"allow\"\nmax_per_hour = 5",
                3,
                "`max_per_hour`",
            ),
            (
                "[functions.create_room]\npermission = \"allow\"\nmax_per_day = 5",
                3,
                "`max_per_day`",
            ),
            (
                "[functions.delete_room]\npermission = \"allow\"\ncreated_by = \"host\"",
                3,
                "`created_by`",
            ),
            ("[permissions]\nwrite = \"allow\"", 1, "leave out `permissions`"),
            ("\nforce = \"deny\"", 2, "`force`"),
            ("elicitation = \"allow\"", 1, "`elicitation`"),
            ("wirte = \"allow\"", 1, "unknown key `wirte`"),
            ("write = allow", 1, "not TOML"),
        ] {
            let error = read(PERMISSIONS, rules).err().expect(rules);
            let place = format!("{PERMISSIONS}, line {line}: ");
            assert!(error.starts_with(&place) && error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_room_may_be_called_ask() {
        let rules = "[functions.delete_room]\npermission = \"allow\"\nrooms = \"ask\"";
        assert!(read(PERMISSIONS, rules).is_ok());
    }

    #[test]
    fn a_key_is_one_word_and_its_error_does_not_show_it() {
        let error = read(ACCESS_TOKEN, "s3cret\nkey").err().expect("an error");
        assert!(error.contains(ACCESS_TOKEN) && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn the_claims_are_those_of_the_key_if_there_is_one() {
        let claims = |variables: &[(&str, &str)]| {
            let owned = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            Settings::read(owned.collect()).ok().and_then(|settings| settings.claims())
        };
        let given = (KEY_CLAIMS, "{\"organizationId\":\"7\"}");
        assert_eq!(claims(&[given]).as_deref(), Some(given.1));
        let token = (ACCESS_TOKEN, "e30.eyJvcmdhbml6YXRpb25JZCI6IjkiLCJqdGkiOiJ4In0.c2ln");
        assert_eq!(claims(&[given, token]).as_deref(), Some("{\"organizationId\":\"9\"}"));
        assert_eq!(claims(&[given, (ACCESS_TOKEN, "opaque")]), None);
    }
}
