//! `whereby completions` and `whereby man`.

use super::{CommandError, Context, Exit, GLOBAL, Output, command};
use crate::error::Error;
use clap_complete::Shell;
use serde_json::json;
use std::path::PathBuf;
use whereby_authority::suggest;
use whereby_authority::text;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  whereby completions bash > ~/.local/share/bash-completion/completions/whereby"
)]
pub(super) struct CompletionsOpts {
    /// The shell
    shell: Shell,
}

impl CompletionsOpts {
    pub(super) fn run(self) -> Result<Output, CommandError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "whereby", &mut script);
        let mut script = String::from_utf8_lossy(&script).into_owned();
        if self.shell == Shell::Fish {
            script += &fish_arguments();
        }
        let document = json!({"shell": self.shell.to_string(), "script": script});
        Ok(Output::text(script, document))
    }
}

/// Print a manual page, or write all pages to a folder
///
/// Each command has a page: whereby-call(1), whereby-component-export(1).
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby man > whereby.1\n  whereby man component export\n  whereby man --dir ."
)]
pub(super) struct ManOpts {
    /// The command (default: whereby itself)
    command: Vec<String>,
    /// Write all pages to this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl ManOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, CommandError> {
        let mut pages = Vec::new();
        // The pages say `--help`, not the command `help`.
        let mut all = command().after_long_help(Exit::TABLE).disable_help_subcommand(true);
        all.build();
        write_pages(&all, &mut pages)?;
        if let Some(folder) = &self.dir {
            let folder = context.environment.directory.join(folder);
            let mut files = Vec::new();
            for (name, page) in pages {
                let file = folder.join(format!("{name}.1"));
                let shown = text::printable(&file.display().to_string(), 300);
                std::fs::write(&file, page)
                    .map_err(|error| Error::usage(format!("{shown} cannot be written: {error}")))?;
                files.push(shown);
            }
            let document = json!({"files": files});
            return Ok(Output::text(files.join("\n") + "\n", document));
        }
        // Accepts `component export` and `whereby-component-export`.
        let words =
            self.command.iter().flat_map(|word| word.split('-')).filter(|w| *w != "whereby");
        let wanted: Vec<&str> = std::iter::once("whereby").chain(words).collect();
        let wanted = wanted.join("-");
        let Some((_, page)) = pages.iter().find(|(name, _)| *name == wanted) else {
            let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
            let near = suggest::did_you_mean(&wanted, &names);
            let wanted = text::printable(&wanted, 80);
            let message = format!(
                "no manual page `{wanted}`{near}; to write all pages, run: whereby man --dir FOLDER"
            );
            return Err(Error::usage(message).into());
        };
        Ok(Output::text(page.clone(), json!({"page": page})))
    }
}

/// Returns fish completions for arguments; the generated script covers options only.
fn fish_arguments() -> String {
    let mut script = String::new();
    for command in command().get_subcommands() {
        for argument in command.get_positionals() {
            let values = argument.get_value_parser().possible_values().into_iter().flatten();
            let names: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
            if !names.is_empty() {
                script += &format!(
                    "complete -c whereby -n \"__fish_whereby_using_subcommand {}\" -f -a \"{}\"\n",
                    command.get_name(),
                    names.join(" ")
                );
            }
        }
    }
    script
}

/// Appends the manual pages of a command and its subcommands, each with its name.
fn write_pages(command: &clap::Command, pages: &mut Vec<(String, String)>) -> Result<(), Error> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    let failed = |error: std::io::Error| Error::internal(error.to_string());
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(&mut page).map_err(failed)?;
    man.render_name_section(&mut page).map_err(failed)?;
    page.extend_from_slice(synopsis(command).as_bytes());
    man.render_description_section(&mut page).map_err(failed)?;
    man.render_options_section(&mut page).map_err(failed)?;
    if command.get_subcommands().any(|command| !command.is_hide_set()) {
        man.render_subcommands_section(&mut page).map_err(failed)?;
    }
    let after = command.get_after_long_help().or(command.get_after_help());
    page.extend(after.into_iter().flat_map(|after| sections(&after.to_string()).into_bytes()));
    pages.push((name, String::from_utf8_lossy(&page).into_owned()));
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| write_pages(command, pages))
}

/// Returns the synopsis section of a manual page.
fn synopsis(command: &clap::Command) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let usage = command.clone().render_usage().to_string();
    let forms: Vec<&str> = usage.trim_start_matches("Usage: ").lines().map(str::trim).collect();
    if forms.len() > 1 {
        let bold = |form: &&str| {
            format!("\\fB{}\\fR{}\n", roff(name), roff(form.strip_prefix(name).unwrap_or(form)))
        };
        return format!(
            ".SH SYNOPSIS\n{}",
            forms.iter().map(bold).collect::<Vec<_>>().join(".br\n")
        );
    }
    let mut parts = vec![format!("\\fB{}\\fR", roff(name))];
    let shown = |argument: &&clap::Arg| !argument.is_hide_set();
    // Global options have their own section.
    let own = |argument: &&clap::Arg| argument.get_help_heading() != Some(GLOBAL);
    let is_help = |argument: &&clap::Arg| {
        use clap::ArgAction::{Help, HelpLong, HelpShort, Version};
        matches!(argument.get_action(), Help | HelpLong | HelpShort | Version)
    };
    let options = command.get_arguments().filter(|argument| !argument.is_positional());
    for option in options.filter(shown).filter(own).filter(|option| !is_help(option)) {
        let values = option.get_value_names().unwrap_or_default().iter();
        let values = values.map(|value| format!(" \\fI{}\\fR", roff(value))).collect::<String>();
        let name = option.get_long().map(|long| format!("--{long}"));
        let short = || option.get_short().map(|short| format!("-{short}"));
        let name = name.or_else(short).unwrap_or_default();
        let values = if option.get_action().takes_values() { values } else { String::new() };
        let again = if matches!(option.get_action(), clap::ArgAction::Append) { "..." } else { "" };
        parts.push(format!("[\\fB{}\\fR{values}]{again}", roff(&name)));
    }
    if command.get_arguments().any(|argument| argument.get_help_heading() == Some(GLOBAL)) {
        parts.push("[\\fIGLOBAL OPTIONS\\fR]".into());
    }
    for argument in command.get_positionals().filter(shown) {
        let names = argument.get_value_names().unwrap_or_default();
        let name = names.first().map_or(argument.get_id().as_str(), |name| name.as_str());
        let many = argument.get_num_args().is_some_and(|count| count.max_values() > 1);
        let name = format!("\\fI{}\\fR{}", roff(name), if many { "..." } else { "" });
        parts.push(if argument.is_required_set() { name } else { format!("[{name}]") });
    }
    if command.has_subcommands() {
        parts.push("\\fICOMMAND\\fR".into());
    }
    format!(".SH SYNOPSIS\n{}\n", parts.join(" "))
}

/// Converts the end of a help text, such as examples, to sections of a manual page.
fn sections(help: &str) -> String {
    let mut page = String::new();
    let mut is_first = true;
    for line in help.lines() {
        let heading = line.strip_suffix(':').filter(|line| !line.starts_with(' '));
        if is_first || heading.is_some() {
            let end = if is_first { "" } else { ".fi\n" };
            let name = heading.unwrap_or("Notes").to_uppercase();
            page += &format!("{end}.SH \"{}\"\n.nf\n", roff(&name));
        }
        is_first = false;
        if heading.is_none() {
            page += &(roff(line) + "\n");
        }
    }
    if is_first { page } else { page + ".fi\n" }
}

/// Escapes a line for a manual page.
fn roff(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_becomes_sections_of_a_manual_page() {
        assert_eq!(
            sections("Examples:\n  a --b\n\nExit status:\n.x \\n"),
            ".SH \"EXAMPLES\"\n.nf\n  a \\-\\-b\n\n.fi\n.SH \"EXIT STATUS\"\n.nf\n\\&.x \\en\n.fi\n"
        );
        assert_eq!(sections("A word."), ".SH \"NOTES\"\n.nf\nA word.\n.fi\n");
        assert_eq!(sections(""), "");
    }
}
