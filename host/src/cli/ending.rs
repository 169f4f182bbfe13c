//! The options that say when something ends: `--for` and `--valid-until`.

use crate::error::Error;
use whereby_authority::conditions::parse_span;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// The longest time of `--for`, in seconds: a hundred years.
const MAX_FOR: i64 = 100 * 366 * 24 * 3600;

#[derive(Debug, clap::Args)]
pub(super) struct Ending {
    /// Expire after this time, such as 8h or 30d
    #[arg(long = "for", value_name = "TIME", conflicts_with = "valid_until")]
    lasting: Option<String>,
    /// Expire at this time, such as 2026-12-04T18:00:00Z
    #[arg(long, value_name = "DATE")]
    valid_until: Option<String>,
}

impl Ending {
    /// Returns the option that was given, for messages.
    pub(super) fn flag(&self) -> &'static str {
        if self.lasting.is_some() { "--for" } else { "--valid-until" }
    }

    /// Returns the end in whole seconds, if one was given.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`], which names the option and says what it takes.
    pub(super) fn date(&self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let end = match (&self.lasting, &self.valid_until) {
            (None, None) => return Ok(None),
            (Some(time), _) => {
                let seconds = parse_span(time).filter(|time| (1..=MAX_FOR).contains(time));
                now.plus_seconds(seconds.ok_or_else(|| {
                    let given = text::printable(time, 40);
                    Error::usage(format!("--for {given}: expected a time such as 90m, 8h or 30d"))
                })?)
            }
            (None, Some(date)) => Timestamp::parse(date).ok_or_else(|| {
                let given = text::printable(date, 40);
                Error::usage(format!(
                    "--valid-until {given}: expected a date with a time zone, such as \
                     2026-12-04T18:00:00Z"
                ))
            })?,
        };
        let end = end.to_seconds();
        if end.to_unix_ms() <= now.to_unix_ms() {
            let (flag, end) = (self.flag(), end.to_rfc3339());
            return Err(Error::usage(format!("{flag}: {end} is not in the future")));
        }
        Ok(Some(end))
    }
}
