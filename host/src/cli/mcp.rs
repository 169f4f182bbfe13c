//! `whereby mcp`: the functions as tools for MCP clients.

use super::signal::Signals;
use super::{Context, Failure, Output, stdio};
use crate::config::environment::Environment;
use crate::config::{Account, Settings};
use crate::error::Error;
use crate::mcp::{HttpOptions, Server};
use crate::session::approval::NobodyToAsk;
use crate::system::file;
use secrecy::SecretString;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whereby_authority::text;

/// The greatest size of a file with a token, in bytes.
const MAX_TOKEN_FILE: u64 = 16 * 1024;

/// The variable that holds the bearer token.
const TOKEN_VARIABLE: &str = "WHEREBY_MCP_TOKEN";

/// Serves the functions as tools for MCP clients.
///
/// It speaks to the client on standard input and output, or over HTTP with --listen. A changed
/// configuration file holds from the next call on. What the policy wants to be asked for is asked by the
/// client where it can, else it is left for `whereby approvals`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby mcp\n  whereby mcp --listen 127.0.0.1:8090 --token-file mcp.token"
)]
pub(super) struct Opts {
    /// Serve streamable HTTP on this loopback address instead, until Ctrl-C; port 0 is a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Also offer whereby_run_lua, which runs scripts within the limits of [lua] in the configuration
    #[cfg(feature = "lua")]
    #[arg(long)]
    lua: bool,
    /// The file with the bearer token that HTTP clients must bring, instead of $WHEREBY_MCP_TOKEN
    #[arg(long, value_name = "FILE", requires = "listen")]
    token_file: Option<PathBuf>,
    /// Another name by which the server may be reached, such as that of a proxy with TLS before it
    #[arg(long = "allow-host", value_name = "NAME", requires = "listen")]
    hosts: Vec<String>,
    /// Also allow web pages from this origin, such as https://agents.example.com:443
    #[arg(long = "allow-origin", value_name = "ORIGIN", requires = "listen")]
    origins: Vec<String>,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, Failure> {
        let mut signals = Signals::listen(&context.streams);
        let server = server(
            context,
            #[cfg(feature = "lua")]
            self.lua,
        )?;
        let Some(address) = self.listen else {
            if context.streams.stdin_is_terminal {
                context.warn(
                    "this speaks MCP on standard input and output, and is started by an MCP client; \
                     Ctrl-C ends it",
                );
            }
            // The client closes standard input. What is under way when a signal ends the server is
            // cancelled, and the audit log says so.
            return tokio::select! {
                served = server.serve_until(stdio::reader_gone(), stdio::stdin(), stdio::stdout()) => {
                    served.map(|()| Output::Nothing).map_err(Failure::from)
                }
                exit = signals.next() => Ok(Output::Stopped(exit)),
            };
        };
        let mut options = HttpOptions::new(address, self.token(&context.environment)?);
        options.hosts = self.hosts;
        options.origins = self.origins;
        let listening = server.listen(options).await?;
        let url = listening.url();
        let written = match context.json {
            true => writeln!(context.streams.stdout(), "{}", json!({"mcp": {"url": url}})),
            false => writeln!(context.streams.stdout(), "MCP at {url}, until Ctrl-C"),
        };
        let flushed = written.and_then(|()| context.streams.stdout().flush());
        flushed.map_err(|error| Error::Internal {
            message: format!("the address cannot be written to standard output: {error}"),
        })?;
        signals.next().await;
        listening.stop().await;
        Ok(Output::Nothing)
    }

    fn token(&self, environment: &Environment) -> Result<SecretString, Error> {
        let Some(path) = &self.token_file else {
            let token =
                environment.variable(TOKEN_VARIABLE).ok_or_else(|| Error::Configuration {
                    message: format!(
                        "clients over HTTP need a bearer token: name a file that holds one with \
                     --token-file, or set {TOKEN_VARIABLE}; make one with: openssl rand -hex 32"
                    ),
                })?;
            return Ok(SecretString::from(token));
        };
        let path = environment.directory.join(path);
        let wrong = |what: String| Error::Configuration {
            message: format!(
                "the token file {} {what}",
                text::printable(&path.display().to_string(), 300)
            ),
        };
        let contents = file::read(&path, MAX_TOKEN_FILE).map_err(wrong)?;
        contents.check_secret(&path).map_err(wrong)?;
        Ok(SecretString::from(contents.text().map_err(wrong)?.trim()))
    }
}

/// The server on a session that follows the configuration files.
fn server(context: &Context, #[cfg(feature = "lua")] scripts: bool) -> Result<Server, Error> {
    let settings = context.settings()?.defaulting_to(context.account.as_deref())?;
    if !context.quiet {
        unusable(&settings, &context.environment).iter().for_each(|what| context.warn(what));
    }
    let files = Settings::files(context.config.as_deref(), &context.environment)?;
    let session = context.session_asking(settings, Arc::new(NobodyToAsk))?;
    let (file, environment) = (context.config.clone(), context.environment.clone());
    let account = context.account.clone();
    let reload = move || {
        let settings = Settings::load(file.as_deref() as Option<&Path>, &environment)?;
        settings.defaulting_to(account.as_deref())
    };
    let server = Server::builder(session).reload(files, reload).notice(context.warner());
    #[cfg(feature = "lua")]
    let server = server.scripts(scripts);
    Ok(server.build())
}

/// Why calls are going to fail, for whoever starts the server: an agent that finds out later can
/// change nothing about it.
fn unusable(settings: &Settings, environment: &Environment) -> Vec<String> {
    let enabled: Vec<_> = settings.accounts.iter().filter(|(_, of)| of.enabled).collect();
    let used = match settings.account(None) {
        // The client names one of them with each call.
        _ if enabled.len() > 1 => enabled,
        Ok((name, _)) => enabled.into_iter().filter(|(of, _)| *of == name).collect(),
        Err(error) => return vec![format!("every call will fail: {error}")],
    };
    let problem = |(name, account): (&String, &Account)| {
        let error = account.token.check(name, environment).err()?;
        let fix = format!("whereby configure --account {name} --token-stdin");
        Some(format!(
            "calls by the account `{name}` will fail: {error}; to give it a key, run: {fix}"
        ))
    };
    used.into_iter().filter_map(problem).collect()
}
