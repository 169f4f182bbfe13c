//! The switches: one for each uncertain behavior of the real API, and a few for tests.

use std::fmt;

/// A switch, with the data that a command line needs.
#[derive(Clone, Copy, Debug)]
pub struct SwitchInfo {
    /// Its name, in kebab-case.
    pub name: &'static str,
    /// Its possible values.
    pub values: SwitchValues,
    /// What it decides, in one sentence.
    pub help: &'static str,
}

/// The possible values of a switch.
#[derive(Clone, Copy, Debug)]
pub enum SwitchValues {
    /// One of these words; the first is the default.
    Choice(&'static [&'static str]),
    /// An integer.
    Number {
        /// The default.
        default: u32,
        /// The minimum.
        least: u32,
        /// The maximum.
        most: u32,
        /// The unit.
        unit: &'static str,
    },
}

impl fmt::Display for SwitchValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice(words) => f.write_str(&words.join(" or ")),
            Self::Number { least, most, unit, .. } => {
                write!(f, "an integer from {least} to {most} ({unit})")
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

        /// How the simulated API behaves where the behavior of the real one is unknown or varies.
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

        /// All switches, in the order of the help text.
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
            /// Fails for an unknown name or an invalid value. The message lists the valid ones.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
                match name {
                    $($choice_name => self.$choice = match value {
                        $first => $Type::$First,
                        $($value => $Type::$Variant,)+
                        _ => return Err(invalid(name, value)),
                    },)+
                    $($number_name => self.$number = match value.parse::<u32>() {
                        Ok(number) if ($least..=$most).contains(&number) => number,
                        _ => return Err(invalid(name, value)),
                    },)+
                    _ => return Err(unknown(name)),
                }
                Ok(())
            }

            /// Returns the value of a switch, as [`Switches::set`] takes it.
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
            "error-body" "The body of errors other than 429: an object with `error`, nothing, or an HTML page.";
        room_name_filter: RoomNameFilter { Honoured = "honoured", Ignored = "ignored" }
            "room-name-filter" "Whether GET /meetings honors `roomName[startsWith]`.";
        sort_by_dates: SortByDates { Accepted = "accepted", Rejected = "rejected" }
            "sort-by-dates" "Whether insights accept sorting by `startedAt` and `lastSessionStartedAt`, or return 400.";
        unknown_session: UnknownSession { Empty = "empty", NotFound = "404" }
            "unknown-session" "Whether insights of an unknown session return an empty list or 404.";
        running_end: RunningEnd { Null = "null", Absent = "absent" }
            "running-end" "Whether the end of a session or visit in progress (`endedAt`, `leftAt`) is null or absent.";
        session_dates: SessionDates { StartedAt = "startedAt", CreatedAt = "createdAt" }
            "session-dates" "Whether a session's dates are named `startedAt` and `endedAt`, or `createdAt` and `endAt`.";
        insights_of_deleted: InsightsOfDeleted { Kept = "kept", Dropped = "dropped" }
            "insights-of-deleted" "Whether insights keep deleted rooms.";
        meeting_id: MeetingId { Decimal = "decimal", Uuid = "uuid" }
            "meeting-id" "The form of the `meetingId` of new rooms.";
        recording_room_name: RecordingRoomName { Included = "included", Absent = "absent" }
            "recording-room-name" "Whether recordings have the undocumented member `roomName`.";
        ms_left: MsLeft { Camel = "msLeft", Snake = "ms_left" }
            "ms-left" "The name of the member with the milliseconds to wait in the body of a 429.";
        limit_out_of_range: LimitOutOfRange { Clamped = "clamped", Rejected = "rejected" }
            "limit-out-of-range" "Whether a `limit` outside 1 to 100 is clamped or returns 400.";
        bot_rows: BotRows { Listed = "listed", Hidden = "hidden" }
            "bot-rows" "Whether recorders, streamers and captioners are listed among the participants.";
        display_names: DisplayNames { Shown = "shown", Redacted = "redacted" }
            "display-names" "Whether participants' names are shown, or redacted by the organization's privacy setting.";
        blank_text: BlankText { Empty = "empty", Null = "null" }
            "blank-text" "Whether a participant's missing name or external id is an empty string or null.";
        meeting_members: MeetingMembers { All = "all", Required = "required" }
            "meeting-members" "Whether meetings have every documented member, or lack `roomName` and `startDate`, which the schema does not require.";
        date_format: DateFormat { Milliseconds = "milliseconds", Seconds = "seconds" }
            "date-format" "Whether dates have milliseconds or only seconds.";
        unknown_members: UnknownMembers { Ignored = "ignored", Rejected = "rejected" }
            "unknown-members" "Whether POST /meetings ignores unknown members or returns 400.";
        unknown_fields: UnknownFields { Rejected = "rejected", Ignored = "ignored" }
            "unknown-fields" "Whether an unknown name in `fields` returns 400 or is ignored.";
        delete_unknown: DeleteUnknown { NoContent = "204", NotFound = "404" }
            "delete-unknown" "The status of DELETE for an id that never existed.";
        recording_plan: RecordingPlan { Included = "included", Missing = "missing" }
            "recording-plan" "Whether the plan includes recording and streaming, or creating a room with them returns 403.";
        rate_limit_costs: RateLimitCosts { Complexity = "complexity", Method = "method" }
            "rate-limit-costs" "Whether points depend on the complexity (GET one 1, lists 3, writes 3, insights 5) or only on the method (GET 1, DELETE 2, POST 3).";
        rate_limit_headers: RateLimitHeaders { Always = "always", Limited = "limited" }
            "rate-limit-headers" "Whether every response has the `X-RateLimit-…` headers or only a 429.";
        rate_limit_reset: RateLimitReset { Javascript = "javascript", Iso = "iso", Epoch = "epoch" }
            "rate-limit-reset" "The form of the date in `X-RateLimit-Reset`: JavaScript's, ISO 8601, or seconds since 1970.";
        retry_after: RetryAfter { Whole = "whole", Decimal = "decimal", Absent = "absent" }
            "retry-after" "Whether `Retry-After` of a 429 has whole seconds, has a fraction, or is absent.";
    }
    numbers {
        rate_limit = 1000, 0 to 1_000_000_000 "points"
            "rate-limit" "The points that an organization may spend per minute; 0 disables the rate limit.";
        insights_lag = 12, 0 to 1440 "minutes"
            "insights-lag" "How far insights lag behind the clock.";
        room_removal = 24, 1 to 24 "hours"
            "room-removal" "How long after its `endDate` a room is still listed.";
        latency = 0, 0 to 600_000 "milliseconds"
            "latency" "The delay of each response.";
    }
}

fn invalid(name: &str, value: &str) -> String {
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
    fn errors_list_the_valid_values() {
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
                r#"switch room-removal cannot be "25": it takes an integer from 1 to 24 (hours)"#,
            ),
            (
                "latency",
                "-1",
                r#"switch latency cannot be "-1": it takes an integer from 0 to 600000 (milliseconds)"#,
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
