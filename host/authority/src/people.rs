//! Replaces the people in Whereby's list of participants, so that the component never reads who they are.
//!
//! A person's name and ids become a pseudonym such as `Participant 3f9a1c`, or null. Times and roles stay.

use crate::prelude::*;
#[cfg(feature = "std")]
pub use crate::pseudonyms::Pseudonyms;
use serde_json::{Map, Value};

/// The string that Whereby shows instead of a name if the organization redacts names.
pub(crate) const REDACTED: &str = "[[redacted]]";

/// Replaces a message of Whereby's that could name a person.
pub const MESSAGE_LEFT_OUT: &str = "the message is left out, because it could name a participant";

/// The members of a participant that say who it is.
const NAMES: [&str; 3] = ["displayName", "externalId", "participantId"];

/// The member that only the host reads, for pseudonyms.
#[cfg(feature = "std")]
const USER_ID: &str = "userId";

/// How a call sees the people in meetings.
#[derive(Debug, Default)]
pub enum View {
    /// By their names and ids.
    #[default]
    Names,
    /// By pseudonyms.
    #[cfg(feature = "std")]
    Pseudonyms(Box<Pseudonyms>),
    /// Not at all: names and ids are null.
    Hidden,
}

impl View {
    /// Whether the call sees names.
    pub(crate) fn shows_names(&self) -> bool {
        matches!(self, Self::Names)
    }

    /// Whether pseudonyms depend on a member that only the host reads.
    pub(crate) fn reads_user_ids(&self) -> bool {
        #[cfg(feature = "std")]
        return matches!(self, Self::Pseudonyms(_));
        #[cfg(not(feature = "std"))]
        false
    }

    /// Replaces the people on a rebuilt page of participants.
    pub(crate) fn replace(&mut self, page: &mut Value) {
        let Some(rows) = page.get_mut("results").and_then(Value::as_array_mut) else { return };
        #[cfg(feature = "std")]
        if let Self::Pseudonyms(pseudonyms) = self {
            pseudonyms.name(rows.iter().filter_map(|row| pseudonyms.person(row)).collect());
        }
        for row in rows {
            let pseudonym = match self {
                Self::Names => continue,
                #[cfg(feature = "std")]
                Self::Pseudonyms(pseudonyms) => {
                    pseudonyms.person(row).map(|person| pseudonyms.pseudonym(&person))
                }
                Self::Hidden => None,
            };
            if let Value::Object(row) = row {
                replace_in(row, &pseudonym.map_or(Value::Null, Value::String));
            }
        }
    }
}

fn replace_in(row: &mut Map<String, Value>, pseudonym: &Value) {
    #[cfg(feature = "std")]
    row.remove(USER_ID);
    for member in NAMES {
        let Some(value) = row.get_mut(member) else { continue };
        match value {
            Value::String(text) if text.trim() == REDACTED => *text = REDACTED.to_owned(),
            Value::String(text) if text.trim().is_empty() => text.clear(),
            Value::String(_) => *value = pseudonym.clone(),
            Value::Number(_) if member != "displayName" => *value = pseudonym.clone(),
            // A value of another type is empty since the response was rebuilt.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudonyms::{DIGITS, is_telling};
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;
    use serde_json::json;

    const KEY: [u8; 32] = [7; 32];

    fn pseudonyms(key: [u8; 32], account: &str) -> View {
        View::Pseudonyms(Box::new(Pseudonyms::new(&key, account)))
    }

    fn seen(view: &mut View, rows: Value) -> Value {
        let mut page = json!({ "results": rows });
        view.replace(&mut page);
        page["results"].take()
    }

    fn one(row: Value) -> Value {
        seen(&mut pseudonyms(KEY, "work"), json!([row]))[0].take()
    }

    #[test]
    fn what_says_who_somebody_is_is_replaced_and_the_rest_stays() {
        let row = json!({
            "roomSessionId": "s", "participantId": "p-1", "roleName": "host",
            "displayName": "Ines Falk", "joinedAt": "2026-03-01T12:00:00Z",
            "leftAt": "2026-03-01T12:30:00Z", "externalId": "crm-118", "userId": "u-1",
        });
        let who = "Participant c059ed";
        let shown = one(row.clone());
        let expected = json!({
            "roomSessionId": "s", "participantId": who, "roleName": "host",
            "displayName": who, "joinedAt": "2026-03-01T12:00:00Z",
            "leftAt": "2026-03-01T12:30:00Z", "externalId": who,
        });
        assert_eq!(shown, expected);
        let hidden = json!({
            "roomSessionId": "s", "participantId": null, "roleName": "host",
            "displayName": null, "joinedAt": "2026-03-01T12:00:00Z",
            "leftAt": "2026-03-01T12:30:00Z", "externalId": null,
        });
        assert_eq!(seen(&mut View::Hidden, json!([row.clone()])), json!([hidden]));
        assert_eq!(seen(&mut View::Names, json!([row.clone()])), json!([row]));
    }

    #[test]
    fn what_says_nothing_stays_what_it_is() {
        for row in [
            json!({}),
            json!({"displayName": null, "externalId": null}),
            json!({"displayName": "", "externalId": "", "participantId": ""}),
            json!({"displayName": "[[redacted]]"}),
            json!({"displayName": false, "externalId": [], "participantId": {}}),
            json!({"displayName": 0}),
            json!(0),
            json!(""),
            json!(null),
        ] {
            assert_eq!(one(row.clone()), row);
            assert_eq!(seen(&mut View::Hidden, json!([row.clone()])), json!([row]));
        }
        assert_eq!(one(json!({"displayName": " \u{2003}\n"})), json!({"displayName": ""}));
        let redacted = json!({"displayName": " [[redacted]] "});
        assert_eq!(one(redacted), json!({"displayName": "[[redacted]]"}));
        for page in [json!(0), json!({}), json!({"results": {}}), json!({"results": "x"})] {
            let mut shown = page.clone();
            pseudonyms(KEY, "work").replace(&mut shown);
            assert_eq!(shown, page);
        }
    }

    #[test]
    fn two_visits_are_one_persons_by_the_most_reliable_id_that_both_have() {
        let name = |row: Value| one(row)["displayName"].take();
        for (one, other, is_same) in [
            (
                json!({"displayName": "Ines", "externalId": "crm-1", "userId": "u-1"}),
                json!({"displayName": "Ines F.", "externalId": "crm-1", "userId": "u-2"}),
                true,
            ),
            (
                json!({"displayName": "Ines", "externalId": 118}),
                json!({"displayName": "Ines F.", "externalId": "118"}),
                true,
            ),
            (
                json!({"displayName": "Ines", "externalId": "", "userId": "u-1", "participantId": "p-1"}),
                json!({"displayName": "Ines F.", "userId": "u-1", "participantId": "p-2"}),
                true,
            ),
            (
                json!({"displayName": "Ines", "participantId": "p-1"}),
                json!({"displayName": "Ines", "participantId": "p-2"}),
                false,
            ),
            (json!({"displayName": "Ines"}), json!({"displayName": " Ines "}), true),
            (json!({"displayName": "Ines"}), json!({"displayName": "ines"}), false),
            // The same text as another kind of id is somebody else's.
            (
                json!({"displayName": "x", "externalId": "u-1"}),
                json!({"displayName": "x", "userId": "u-1"}),
                false,
            ),
        ] {
            assert_eq!(name(one.clone()) == name(other.clone()), is_same, "{one} {other}");
        }
        // Redacted names are nobody's.
        let visit = |id: &str| json!({"displayName": "[[redacted]]", "participantId": id});
        assert_ne!(one(visit("p-1")), one(visit("p-2")));
    }

    #[test]
    fn somebody_who_is_called_like_a_pseudonym_is_replaced_too() {
        let name = |name: &str| one(json!({"displayName": name}))["displayName"].take();
        let called = name("Participant 3f9a1c");
        assert_ne!(called, "Participant 3f9a1c");
        // A second pass replaces pseudonyms by others, and shows nothing.
        let twice = name(called.as_str().expect("a text"));
        assert!(twice.as_str().is_some_and(|text| text.starts_with("Participant ")), "{twice}");
    }

    #[test]
    fn pseudonyms_that_would_be_the_same_are_longer() {
        let person = |first: u32, rest: u8| {
            let mut digest = [rest; 32];
            digest[..4].copy_from_slice(&first.to_be_bytes());
            digest
        };
        let mut named = Pseudonyms::new(&KEY, "work");
        let [a, b, c, d] = [
            person(0x3f9a_1c00, 0),
            person(0x3f9a_1c7e, 0),
            person(0x3f9a_1d00, 0),
            person(0x3f9a_1c01, 0),
        ];
        named.name([a, b, c].into());
        for (person, pseudonym) in
            [(a, "Participant 3f9a1c0"), (b, "Participant 3f9a1c7"), (c, "Participant 3f9a1d")]
        {
            assert_eq!(named.pseudonym(&person), pseudonym);
        }
        // On a later page, only the new one is longer.
        named.name([a, d].into());
        assert_eq!(named.pseudonym(&a), "Participant 3f9a1c0");
        assert_eq!(named.pseudonym(&d), "Participant 3f9a1c01");
        let mut almost = a;
        almost[31] = 1;
        named.name([almost].into());
        assert_eq!(named.pseudonym(&almost).len(), "Participant ".len() + 64);
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", pseudonyms(KEY, "work")), "Pseudonyms(Pseudonyms(…))");
    }

    fn member() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            Just(json!("")),
            Just(json!("[[redacted]]")),
            "[a-c]{1,2}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            any::<u32>().prop_map(Value::from),
            Just(json!("Participant 3f9a1c")),
        ]
    }

    fn row() -> impl Strategy<Value = Value> {
        (member(), member(), member(), member(), any::<String>()).prop_map(
            |(name, external, participant, user, role)| {
                json!({
                    "displayName": name.as_str(), "externalId": external, "userId": user,
                    "participantId": participant, "roleName": role, "joinedAt": role,
                })
            },
        )
    }

    proptest! {
        #[test]
        fn pseudonyms_are_stable_and_show_nobody(rows in prop::collection::vec(row(), 0..8)) {
            let rows = Value::from(rows);
            let mut view = pseudonyms(KEY, "work");
            let shown = seen(&mut view, rows.clone());
            prop_assert_eq!(seen(&mut view, rows.clone()), shown.clone(), "on the next page");
            prop_assert_eq!(seen(&mut pseudonyms(KEY, "work"), rows.clone()), shown.clone(), "in the next call");
            let hidden = seen(&mut View::Hidden, rows.clone());
            for ((row, shown), hidden) in rows.as_array().into_iter().flatten()
                .zip(shown.as_array().into_iter().flatten())
                .zip(hidden.as_array().into_iter().flatten())
            {
                let kept = |row: &Value| row.as_object().map(|row| {
                    let mut row = row.clone();
                    row.retain(|name, _| !NAMES.contains(&name.as_str()) && name != USER_ID);
                    row
                });
                prop_assert_eq!(kept(shown), kept(row));
                prop_assert_eq!(kept(hidden), kept(row));
                for name in NAMES {
                    let tells = match &row[name] {
                        Value::String(text) => is_telling(text),
                        Value::Number(_) => true,
                        _ => false,
                    };
                    if tells {
                        let text = shown[name].as_str().unwrap_or_default();
                        let digits = text.strip_prefix("Participant ").unwrap_or_default();
                        prop_assert!(digits.len() >= DIGITS, "{}", text);
                        prop_assert!(digits.bytes().all(|c| c.is_ascii_hexdigit()), "{}", text);
                        prop_assert_ne!(&shown[name], &row[name]);
                        prop_assert_eq!(&hidden[name], &Value::Null);
                    } else {
                        prop_assert_eq!(&shown[name], &hidden[name]);
                    }
                }
                // Everything that a row says is about one person.
                let named: BTreeSet<&str> = NAMES.iter().filter_map(|name| shown[*name].as_str())
                    .filter(|text| text.starts_with("Participant ")).collect();
                prop_assert!(named.len() <= 1, "{:?}", named);
            }
        }

        #[test]
        fn accounts_and_installations_have_their_own(name in "[a-z]{1,8}", other in "[a-z]{1,8}") {
            let row = || json!([{"displayName": name}]);
            let own = seen(&mut pseudonyms(KEY, "work"), row());
            prop_assert_ne!(&seen(&mut pseudonyms(KEY, "other"), row()), &own);
            prop_assert_ne!(&seen(&mut pseudonyms([8; 32], "work"), row()), &own);
            if name != other {
                let both = seen(&mut pseudonyms(KEY, "work"), json!([{"displayName": name}, {"displayName": other}]));
                prop_assert_ne!(&both[0], &both[1]);
            }
        }
    }
}
