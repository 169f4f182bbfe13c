//! `whereby simulate`: serves an imitation of the Whereby API for experiments.

use super::signal::Signals;
use super::{CommandError, Context, Exit, Output};
use crate::error::Error;
use crate::simulator::switches::{SWITCHES, SwitchValues, Switches};
use crate::simulator::{Options, Simulator};
use clap::{Arg, ArgMatches, Command};
use serde_json::json;
use std::net::SocketAddr;

/// Serve an imitation of the Whereby API on a loopback address until Ctrl-C
///
/// Prints two environment variables; set them to make `whereby` use the imitation. The organization,
/// its people and its API key are made up.
#[derive(Debug)]
pub(super) struct Opts {
    listen: SocketAddr,
    switches: Vec<(&'static str, String)>,
}

impl clap::FromArgMatches for Opts {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let listen = matches.get_one("listen").copied().unwrap_or(([127, 0, 0, 1], 0).into());
        let given = |name| Some((name, matches.get_one::<String>(name)?.clone()));
        let switches = SWITCHES.iter().filter_map(|switch| given(switch.name)).collect();
        Ok(Self { listen, switches })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Each switch in the simulator's table becomes a flag.
impl clap::Args for Opts {
    fn augment_args(command: Command) -> Command {
        let listen = Arg::new("listen")
            .long("listen")
            .value_name("ADDR")
            .value_parser(clap::value_parser!(SocketAddr))
            .default_value("127.0.0.1:0")
            .help("The loopback address to listen on; port 0 picks a free port");
        let switches = SWITCHES.iter().map(|switch| {
            let arg =
                Arg::new(switch.name).long(switch.name).help(switch.help).help_heading("Behaviour");
            match switch.values {
                SwitchValues::Choice(words) => {
                    arg.value_parser(words.to_vec()).default_value(words[0])
                }
                SwitchValues::Number { default, unit, .. } => arg
                    .value_name(unit)
                    .default_value(clap::builder::Str::from(default.to_string())),
            }
        });
        command
            .about("Serve an imitation of the Whereby API on a loopback address until Ctrl-C")
            .arg(listen)
            .args(switches)
            .after_long_help(
                "Example:\n  whereby simulate --listen 127.0.0.1:8080 --room-name-filter ignored",
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        let mut switches = Switches::default();
        for (name, value) in &self.switches {
            switches.set(name, value).map_err(Error::usage)?;
        }
        let mut signals = Signals::listen(&context.streams);
        let options =
            Options { listen: self.listen, switches, record: false, ..Options::default() };
        let simulator = Simulator::start(options)
            .await
            .map_err(|error| Error::usage(format!("cannot listen on {}: {error}", self.listen)))?;
        let (url, token) = (simulator.url(), simulator.token());
        let shown = if context.global.json {
            json!({"api_url": url, "access_token": token}).to_string()
        } else {
            format!("export WHEREBY_API_URL={url}\nexport WHEREBY_ACCESS_TOKEN={token}")
        };
        let written = context.streams.print(&(shown + "\n"));
        if !context.global.quiet && !context.global.json {
            // Standard error may be closed; the server goes on.
            let _ = writeln!(context.streams.stderr(), "serving until Ctrl-C");
        }
        written.map_err(|error| Error::internal(error.to_string()))?;
        signals.next().await;
        simulator.stop().await;
        Ok(Output::Nothing(Exit::Success))
    }
}
