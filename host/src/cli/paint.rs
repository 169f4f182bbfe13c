//! Colours, for a terminal whose user wants them.

use crate::config::environment::Environment;
use anstyle::{AnsiColor, Style};

/// The meaning of a word, which decides its colour.
#[derive(Clone, Copy)]
pub(super) enum Role {
    Error,
    Warning,
    Hint,
    Heading,
    Success,
}

/// The word in the colour of its role, where there are colours.
pub(super) fn paint(colours: bool, role: Role, word: &str) -> String {
    if !colours {
        return word.to_owned();
    }
    let style = match role {
        Role::Error => Style::new().bold().fg_color(Some(AnsiColor::Red.into())),
        Role::Warning => Style::new().bold().fg_color(Some(AnsiColor::Yellow.into())),
        Role::Hint => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
        Role::Heading => Style::new().bold(),
        Role::Success => Style::new().fg_color(Some(AnsiColor::Green.into())),
    };
    format!("{style}{word}{style:#}")
}

/// Whether a terminal is to show colours: not where `NO_COLOR` is set (no-color.org), nor where it
/// cannot.
pub(super) fn wants_colours(environment: &Environment) -> bool {
    environment.variable("NO_COLOR").is_none() && environment.variable("TERM") != Some("dumb")
}
