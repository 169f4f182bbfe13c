//! The switches: one for each behaviour of the real API that is not known for certain, and a few for tests.

use std::fmt;

/// One switch: what a command line needs to offer it.
#[derive(Clone, Copy, Debug)]
pub struct SwitchInfo {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// What it can be set to.
    pub values: SwitchValues,
    /// What it decides, in one sentence.
    pub help: &'static str,
}

/// What a switch can be set to.
#[derive(Clone, Copy, Debug)]
pub enum SwitchValues {
    /// One of these words; the first is the default.
    Choice(&'static [&'static str]),
    /// A whole number.
    Number {
        /// The default.
        default: u32,
        /// The smallest allowed.
        least: u32,
        /// The largest allowed.
        most: u32,
        /// What is counted.
        unit: &'static str,
    },
}

impl fmt::Display for SwitchValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice(words) => f.write_str(&words.join(" or ")),
            Self::Number { least, most, unit, .. } => {
                write!(f, "a whole number of {unit} from {least} to {most}")
            }
        }
    }
}

macro_rules! switches {
    (
        choices { $(
            $choice:ident: $Type:ident {
                $First:ident = $first:literal $(, $Variant:ident = $value:literal)+
            } $choice_name:literal $choice_help:literal;
        )+ }
        numbers { $(
            $number:ident = $default:literal, $least:literal to $most:literal $unit:literal
            $number_name:literal $number_help:literal;
        )+ }
    ) => {
        $(
            #[doc = $choice_help]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub enum $Type {
                #[doc = concat!("`", $first, "`, the default.")]
                #[default]
                $First,
                $(
                    #[doc = concat!("`", $value, "`.")]
                    $Variant,
                )+
            }
        )+

        /// How the simulated API behaves where the real one's behaviour is unknown or can vary.
        ///
        /// [`SWITCHES`] lists them by name, for command lines.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Switches {
            $(
                #[doc = $choice_help]
                pub $choice: $Type,
            )+
            $(
                #[doc = $number_help]
                pub $number: u32,
            )+
        }

        impl Default for Switches {
            fn default() -> Self {
                Self { $($choice: $Type::default(),)+ $($number: $default,)+ }
            }
        }

        /// Every switch, in the order in which help shows them.
        pub const SWITCHES: &[SwitchInfo] = &[
            $(SwitchInfo {
                name: $choice_name,
                values: SwitchValues::Choice(&[$first $(, $value)+]),
                help: $choice_help,
            },)+
            $(SwitchInfo {
                name: $number_name,
                values: SwitchValues::Number {
                    default: $default,
                    least: $least,
                    most: $most,
                    unit: $unit,
                },
                help: $number_help,
            },)+
        ];

        impl Switches {
            /// Sets a switch by its name.
            ///
            /// # Errors
            ///
            /// An unknown name is refused with the known ones, an unfit value with what is allowed.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
                match name {
                    $($choice_name => self.$choice = match value {
                        $first => $Type::$First,
                        $($value => $Type::$Variant,)+
                        _ => return Err(unfit(name, value)),
                    },)+
                    $($number_name => self.$number = match value.parse::<u32>() {
                        Ok(number) if ($least..=$most).contains(&number) => number,
                        _ => return Err(unfit(name, value)),
                    },)+
                    _ => return Err(unknown(name)),
                }
                Ok(())
            }

            /// What a switch is set to, spelt as [`Switches::set`] takes it.
            #[must_use]
            pub fn value(&self, name: &str) -> Option<String> {
                Some(match name {
                    $($choice_name => match self.$choice {
                        $Type::$First => $first,
                        $($Type::$Variant => $value,)+
                    }.to_owned(),)+
                    $($number_name => self.$number.to_string(),)+
                    _ => return None,
                })
            }
        }
    };
}

switches! {
    choices {
        error_body: ErrorBody { Json = "json", Empty = "empty", Html = "html" }
            "error-body" "The body of an error other than 429: an object with `error`, nothing, or an HTML page.";
        room_name_filter: RoomNameFilter { Honoured = "honoured", Ignored = "ignored" }
            "room-name-filter" "Whether GET /meetings honours or ignores `roomName[startsWith]`.";
        sort_by_dates: SortByDates { Accepted = "accepted", Rejected = "rejected" }
            "sort-by-dates" "Whether insights accept `startedAt` and `lastSessionStartedAt` as sort keys, or respond 400.";
        unknown_session: UnknownSession { Empty = "empty", NotFound = "404" }
            "unknown-session" "Whether insights about an unknown session are an empty array or 404.";
        running_end: RunningEnd { Null = "null", Absent = "absent" }
            "running-end" "Whether the end of something in progress (`endedAt`, `leftAt`) is null or absent.";
        session_dates: SessionDates { StartedAt = "startedAt", CreatedAt = "createdAt" }
            "session-dates" "Whether a session's dates are named `startedAt` and `endedAt`, or `createdAt` and `endAt`.";
        insights_of_deleted: InsightsOfDeleted { Kept = "kept", Dropped = "dropped" }
            "insights-of-deleted" "Whether insights are kept after their room is deleted.";
        meeting_id: MeetingId { Decimal = "decimal", Uuid = "uuid" }
            "meeting-id" "The form of the `meetingId` of new rooms.";
        recording_room_name: RecordingRoomName { Included = "included", Absent = "absent" }
            "recording-room-name" "Whether recordings have the undocumented member `roomName`.";
        ms_left: MsLeft { Camel = "msLeft", Snake = "ms_left" }
            "ms-left" "The spelling of the milliseconds to wait in the body of a 429.";
        limit_out_of_range: LimitOutOfRange { Clamped = "clamped", Rejected = "rejected" }
            "limit-out-of-range" "Whether a `limit` outside 1 to 100 is clamped to that range or rejected with 400.";
        bot_rows: BotRows { Listed = "listed", Hidden = "hidden" }
            "bot-rows" "Whether recorders, streamers and captioners are listed among the participants.";
        display_names: DisplayNames { Shown = "shown", Redacted = "redacted" }
            "display-names" "Whether participants' names are shown, or redacted by the account's privacy setting.";
        blank_text: BlankText { Empty = "empty", Null = "null" }
            "blank-text" "Whether a participant's missing name or external id is an empty string or null.";
        meeting_members: MeetingMembers { All = "all", Required = "required" }
            "meeting-members" "Whether meetings have every documented member, or lack `roomName` and `startDate`, which the schema does not require.";
        date_format: DateFormat { Milliseconds = "milliseconds", Seconds = "seconds" }
            "date-format" "Whether dates are given to the millisecond or the second.";
        unknown_members: UnknownMembers { Ignored = "ignored", Rejected = "rejected" }
            "unknown-members" "Whether POST /meetings ignores members that it does not know or answers 400.";
        unknown_fields: UnknownFields { Rejected = "rejected", Ignored = "ignored" }
            "unknown-fields" "Whether an unknown name in `fields` answers 400 or is ignored.";
        delete_unknown: DeleteUnknown { NoContent = "204", NotFound = "404" }
            "delete-unknown" "What DELETE answers for an id that never was.";
        recording_plan: RecordingPlan { Included = "included", Missing = "missing" }
            "recording-plan" "Whether the plan includes recording and streaming, or a room that asks for them answers 403.";
        rate_limit_costs: RateLimitCosts { Complexity = "complexity", Method = "method" }
            "rate-limit-costs" "Whether points depend on the complexity (GET one 1, lists 3, writes 3, insights 5) or the method alone (GET 1, DELETE 2, POST 3).";
        rate_limit_headers: RateLimitHeaders { Always = "always", Limited = "limited" }
            "rate-limit-headers" "Whether every answer has the `X-RateLimit-…` headers or only a 429.";
        rate_limit_reset: RateLimitReset { Javascript = "javascript", Iso = "iso", Epoch = "epoch" }
            "rate-limit-reset" "The form of the date in `X-RateLimit-Reset`: JavaScript's, ISO 8601, or seconds since 1970.";
        retry_after: RetryAfter { Whole = "whole", Decimal = "decimal", Absent = "absent" }
            "retry-after" "Whether a 429 gives `Retry-After` in whole seconds, with a fraction, or not at all.";
    }
    numbers {
        rate_limit = 1000, 0 to 1_000_000_000 "points"
            "rate-limit" "What an organization may spend in a minute; 0 switches the rate limit off.";
        insights_lag = 12, 0 to 1440 "minutes"
            "insights-lag" "How far insights are behind the clock: what happened since is not in them.";
        room_removal = 24, 1 to 24 "hours"
            "room-removal" "How long after its `endDate` a room is still listed.";
        latency = 0, 0 to 600_000 "milliseconds"
            "latency" "How long each answer is held back.";
    }
}

fn unfit(name: &str, value: &str) -> String {
    let values = SWITCHES.iter().find(|switch| switch.name == name).map(|switch| switch.values);
    match values {
        Some(values) => format!("switch {name} cannot be {value:?}: it takes {values}"),
        None => unknown(name),
    }
}

fn unknown(name: &str) -> String {
    let names: Vec<_> = SWITCHES.iter().map(|switch| switch.name).collect();
    format!("there is no switch {name:?}: the switches are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_can_be_set_and_read_back_and_the_first_is_the_default() {
        for switch in SWITCHES {
            let (default, values) = match switch.values {
                SwitchValues::Choice(words) => {
                    (words[0].to_owned(), words.iter().map(ToString::to_string).collect::<Vec<_>>())
                }
                SwitchValues::Number { default, least, most, .. } => {
                    (default.to_string(), vec![least.to_string(), most.to_string()])
                }
            };
            assert_eq!(Switches::default().value(switch.name), Some(default));
            for value in values {
                let mut switches = Switches::default();
                switches.set(switch.name, &value).unwrap();
                assert_eq!(switches.value(switch.name), Some(value));
            }
        }
    }

    #[test]
    fn refusals_list_what_is_allowed() {
        let mut switches = Switches::default();
        for (name, value, message) in [
            (
                "room-name-filter",
                "maybe",
                r#"switch room-name-filter cannot be "maybe": it takes honoured or ignored"#,
            ),
            (
                "room-removal",
                "25",
                r#"switch room-removal cannot be "25": it takes a whole number of hours from 1 to 24"#,
            ),
            (
                "latency",
                "-1",
                r#"switch latency cannot be "-1": it takes a whole number of milliseconds from 0 to 600000"#,
            ),
        ] {
            assert_eq!(switches.set(name, value).unwrap_err(), message);
        }
        let message = switches.set("colour", "red").unwrap_err();
        assert!(
            message.starts_with(r#"there is no switch "colour": the switches are error-body, "#),
            "{message}"
        );
        assert_eq!(switches, Switches::default());
        assert_eq!(switches.value("colour"), None);
    }
}
