//! `whereby completions` and `whereby man`: what a shell and a reader of manuals want.

use super::{Context, Exit, Failure, Output, command};
use crate::error::Error;
use crate::{suggest, text};
use clap_complete::Shell;
use serde_json::json;
use std::path::PathBuf;

/// Prints completions for a shell
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Example:\n  whereby completions bash > ~/.local/share/bash-completion/completions/whereby"
)]
pub(super) struct CompletionsOpts {
    /// The shell
    shell: Shell,
}

impl CompletionsOpts {
    pub(super) fn run(self) -> Result<Output, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command(), "whereby", &mut script);
        let mut script = String::from_utf8_lossy(&script).into_owned();
        if self.shell == Shell::Fish {
            script += &fish_arguments();
        }
        let document = json!({"shell": self.shell.to_string(), "script": script});
        Ok(Output::Text(script, document))
    }
}

/// Prints a manual page, or writes all of them into a folder
///
/// Each command has a page: whereby-call(1), whereby-component-export(1).
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby man > whereby.1\n  whereby man component export\n  whereby man --dir ."
)]
pub(super) struct ManOpts {
    /// The command; without it, the page of whereby itself
    command: Vec<String>,
    /// Write every page into this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

impl ManOpts {
    pub(super) fn run(self, context: &Context) -> Result<Output, Failure> {
        let mut pages = Vec::new();
        // For the command `help`, `--help` stands.
        let mut all = command().after_long_help(Exit::TABLE).disable_help_subcommand(true);
        all.build();
        write_pages(&all, &mut pages)?;
        if let Some(folder) = &self.dir {
            let folder = context.environment.directory.join(folder);
            let mut files = Vec::new();
            for (name, page) in pages {
                let file = folder.join(format!("{name}.1"));
                let shown = text::printable(&file.display().to_string(), 300);
                std::fs::write(&file, page).map_err(|error| Error::Usage {
                    message: format!("{shown} cannot be written: {error}"),
                })?;
                files.push(shown);
            }
            let document = json!({"files": files});
            return Ok(Output::Text(files.join("\n") + "\n", document));
        }
        // It is asked for as it is typed, and as another page names it.
        let words =
            self.command.iter().flat_map(|word| word.split('-')).filter(|w| *w != "whereby");
        let wanted: Vec<&str> = std::iter::once("whereby").chain(words).collect();
        let wanted = wanted.join("-");
        let Some((_, page)) = pages.iter().find(|(name, _)| *name == wanted) else {
            let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
            let near = suggest::did_you_mean(&wanted, &names);
            let wanted = text::printable(&wanted, 80);
            let message =
                format!("there is no page `{wanted}`{near}; `whereby man --dir FOLDER` writes all");
            return Err(Error::Usage { message }.into());
        };
        Ok(Output::Text(page.clone(), json!({"page": page})))
    }
}

/// What completes the arguments of commands in fish, for which only options are generated.
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

/// Adds the page of a command and of those below it, each with its name.
fn write_pages(command: &clap::Command, pages: &mut Vec<(String, String)>) -> Result<(), Error> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    let failed = |error: std::io::Error| Error::Internal { message: error.to_string() };
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    pages.push((name, String::from_utf8_lossy(&page).into_owned()));
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| write_pages(command, pages))
}
