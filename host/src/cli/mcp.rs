//! `whereby mcp`: serves the functions as tools to MCP clients.

use super::agents::AgentOpt;
use super::signal::Signals;
use super::{CommandError, Context, Exit, Output, stdio};
use crate::config::environment::Environment;
use crate::config::{Account, Settings};
use crate::error::Error;
use crate::mcp::{HttpOptions, Listening, Server};
use crate::session::approval::NobodyToAsk;
use crate::system::file;
use crate::token::Token;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use whereby_authority::text;

/// The maximum size of a token file, in bytes.
const MAX_TOKEN_FILE: u64 = 16 * 1024;

/// The environment variable with the bearer token.
const TOKEN_VARIABLE: &str = "WHEREBY_MCP_TOKEN";

/// Serve the functions as tools for MCP clients
///
/// Uses standard input and output, or HTTP with --listen. Changes to the configuration file apply from
/// the next call on. If a call needs approval, the client asks you. If the client cannot ask, the call
/// fails and is stored; you can approve it with `whereby approvals`.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  whereby mcp\n  whereby mcp --listen 127.0.0.1:8090 --token-file mcp.token"
)]
pub(super) struct Opts {
    /// Serve streamable HTTP on this loopback address until Ctrl-C; port 0 picks a free port
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Also offer whereby_run_lua, which runs scripts; [lua] in the configuration sets their limits
    #[cfg(feature = "lua")]
    #[arg(long)]
    lua: bool,
    /// With --listen, read the bearer token for HTTP clients from this file instead of
    /// $WHEREBY_MCP_TOKEN; else make the calls with the capability token in it instead of $WHEREBY_TOKEN
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Accept only capability tokens of HTTP clients (`whereby token create`), and no other bearer token
    #[arg(long, requires = "listen", conflicts_with = "token_file")]
    capability_tokens: bool,
    /// Also accept this host name, such as that of a TLS proxy in front of the server
    #[arg(long = "allow-host", value_name = "NAME", requires = "listen")]
    hosts: Vec<String>,
    /// Also accept web pages from this origin, such as https://agents.example.com:443
    #[arg(long = "allow-origin", value_name = "ORIGIN", requires = "listen")]
    origins: Vec<String>,
    #[command(flatten)]
    agent: AgentOpt,
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        let mut signals = Signals::listen(&context.streams);
        if self.listen.is_none() {
            let server = self.server(context).await?;
            if context.streams.stdin_is_terminal {
                context.warn(
                    "this is an MCP server on standard input and output, which an MCP client normally \
                     starts; press Ctrl-C to stop it",
                );
            }
            // The client ends the server by closing standard input. A signal cancels the calls in
            // progress, and the audit log records that.
            return tokio::select! {
                served = server.serve_until(stdio::stdout_closed(), stdio::stdin(), stdio::stdout()) => {
                    served.map(|()| Output::Nothing(Exit::Success)).map_err(CommandError::from)
                }
                exit = signals.next() => Ok(Output::Nothing(exit)),
            };
        }
        let listening = self.over_http(context).await?;
        let url = listening.url();
        let shown = if context.global.json {
            json!({"mcp": {"url": url}}).to_string()
        } else {
            format!("MCP at {url}, until Ctrl-C")
        };
        context.streams.print(&(shown + "\n")).map_err(|error| {
            Error::internal(format!("cannot write the URL to standard output: {error}"))
        })?;
        signals.next().await;
        listening.stop().await;
        Ok(Output::Nothing(Exit::Success))
    }

    /// Serves HTTP clients on the address of `--listen`.
    pub(super) async fn over_http(&self, context: &Context) -> Result<Listening, Error> {
        let address = self.listen.ok_or_else(|| {
            Error::usage(
                "--listen is missing; name the address for MCP clients, such as 127.0.0.1:8090",
            )
        })?;
        let server = self.server(context).await?;
        let token = self.bearer(&context.environment)?;
        let (hosts, origins) = (self.hosts.clone(), self.origins.clone());
        server.listen(HttpOptions { address, token, hosts, origins }).await
    }

    /// Returns the bearer token of HTTP clients, if there is one besides capability tokens.
    fn bearer(&self, environment: &Environment) -> Result<Option<SecretString>, Error> {
        if self.capability_tokens {
            return Ok(None);
        }
        let token = self.token(environment)?;
        // A client that has it would have more than it says.
        if Token::parse(token.expose_secret()).is_ok() {
            return Err(Error::Configuration {
                message: "the bearer token of the server is a capability token, whose limits would not \
                          hold; clients send it themselves: start the server with --capability-tokens"
                    .into(),
            });
        }
        Ok(Some(token))
    }

    fn token(&self, environment: &Environment) -> Result<SecretString, Error> {
        let Some(path) = &self.token_file else {
            let token = environment.variable(TOKEN_VARIABLE).ok_or_else(|| {
                Error::configuration(format!(
                    "HTTP clients need a bearer token; set {TOKEN_VARIABLE}, or pass a file with \
                     --token-file; to generate a token, run: openssl rand -hex 32"
                ))
            })?;
            return Ok(SecretString::from(token));
        };
        let path = environment.directory.join(path);
        let wrong = |what: String| {
            Error::configuration(format!(
                "the token file {} {what}",
                text::printable(&path.display().to_string(), 300)
            ))
        };
        let contents = file::read(&path, MAX_TOKEN_FILE).map_err(wrong)?;
        contents.check_secret(&path).map_err(wrong)?;
        Ok(SecretString::from(contents.text().map_err(wrong)?.trim()))
    }

    /// Refuses a bearer token for HTTP clients where a capability token is expected. The two are easy
    /// to confuse; a capability token that is not valid is reported where it is opened.
    fn check_capability_token(&self, context: &Context) -> Result<(), Error> {
        if self.token_file.is_none() {
            return Ok(());
        }
        let token = self.token(&context.environment)?;
        match Token::parse(token.expose_secret()) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::usage(
                "the file of --token-file has no capability token; if it has the bearer token of HTTP \
                 clients, add --listen, such as --listen 127.0.0.1:8090; otherwise leave out --token-file",
            )),
        }
    }

    /// Builds a server that reloads the configuration files when they change.
    async fn server(&self, context: &Context) -> Result<Server, Error> {
        let settings = context.settings()?.defaulting_to(context.global.account.as_deref())?;
        let agent = self.agent.name(context);
        if let Some(name) = agent.as_deref() {
            settings.agent(name)?;
        }
        if !context.global.quiet {
            unusable(&settings, &context.environment).iter().for_each(|what| context.warn(what));
        }
        let files = Settings::files(context.global.config.as_deref(), &context.environment)?;
        let session = context.session_asking(settings, Arc::new(NobodyToAsk))?;
        let token = if self.listen.is_none() {
            self.check_capability_token(context)?;
            super::token::open(context, &session, self.token_file.as_ref()).await?
        } else if context.environment.variables.contains_key(super::token::VARIABLE) {
            return Err(Error::Configuration {
                message: format!(
                    "{} is set, but HTTP clients send their own tokens; unset it",
                    super::token::VARIABLE
                ),
            });
        } else {
            None
        };
        let (file, environment) = (context.global.config.clone(), context.environment.clone());
        let account = context.global.account.clone();
        let reload = move || {
            let settings = Settings::load(file.as_deref() as Option<&Path>, &environment)?;
            settings.defaulting_to(account.as_deref())
        };
        let server = Server::builder(session)
            .reload(files, reload)
            .agent(agent.as_deref())
            .notice(context.warner())
            .token(token);
        #[cfg(feature = "lua")]
        let server = server.scripts(self.lua);
        Ok(server.build())
    }
}

/// Returns the reasons why calls will fail. The person who starts the server can fix them; an agent
/// cannot.
fn unusable(settings: &Settings, environment: &Environment) -> Vec<String> {
    let enabled: Vec<_> = settings.accounts.iter().filter(|(_, of)| of.enabled).collect();
    let used = match settings.account(None) {
        // The client chooses an account for each call.
        _ if enabled.len() > 1 => enabled,
        Ok((name, _)) => enabled.into_iter().filter(|(of, _)| *of == name).collect(),
        Err(error) => return vec![format!("every call will fail: {error}")],
    };
    let problem = |(name, account): (&String, &Account)| {
        let error = account.token.check(name, environment).err()?;
        let fix = format!("whereby configure --account {name} --token-stdin");
        Some(format!(
            "calls with the account `{name}` will fail: {error}; to set its key, run: {fix}"
        ))
    };
    used.into_iter().filter_map(problem).collect()
}
