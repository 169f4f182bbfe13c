//! Colours on the terminal.

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

/// Returns the word in the colour of its role, or unchanged without colours.
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

/// Whether to use colours: not if `NO_COLOR` is set (<https://no-color.org>) or `TERM` is `dumb`.
pub(super) fn wants_colours(environment: &Environment) -> bool {
    environment.variable("NO_COLOR").is_none() && environment.variable("TERM") != Some("dumb")
}
