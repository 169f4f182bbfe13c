//! Reads access tokens, and keeps them secret.

use crate::config::environment::Environment;
use crate::config::keychain;
use crate::error::Error;
use crate::system::file;
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
#[cfg(unix)]
use std::io::ErrorKind;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use whereby_authority::answer::Redactor;
use whereby_authority::key;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// How long a command may take to print a token.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a command may take to store a token.
const STORE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a command is checked for its end.
const PAUSE: Duration = Duration::from_millis(5);

/// The maximum length of a token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// The source of an account's access token.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TokenSource {
    /// The token itself, from the configuration file or `WHEREBY_ACCESS_TOKEN`.
    Literal(SecretString),
    /// The name of an environment variable.
    Variable(String),
    /// A file that contains only the token.
    File(PathBuf),
    /// A command that prints the token: the absolute path of a program, and its arguments.
    Command(Vec<String>),
}

impl TokenSource {
    /// Makes a source from the token itself.
    #[must_use]
    pub fn literal(token: &str) -> Self {
        Self::Literal(SecretString::from(token))
    }

    /// Returns the source as JSON, without the token.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Literal(_) => json!({"source": "configuration"}),
            Self::Variable(name) => json!({"source": "environment", "name": name}),
            Self::File(path) => json!({"source": "file", "path": path}),
            // The arguments of a command may be secret.
            Self::Command(command) => json!({"source": "command", "program": command.first()}),
        }
    }

    /// Returns the source in words, such as `file /home/me/key`.
    pub(crate) fn in_words(&self) -> String {
        let source = self.to_json();
        let detail = ["name", "path", "program"].iter().find_map(|key| source[*key].as_str());
        let source = source["source"].as_str().unwrap_or_default();
        match detail {
            Some(detail) => format!("{source} {}", text::printable(detail, 100)),
            None => source.to_owned(),
        }
    }

    pub(crate) fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// Whether the token can be fetched without blocking.
    pub(crate) fn is_at_hand(&self) -> bool {
        matches!(self, Self::Literal(_) | Self::Variable(_))
    }

    /// Checks that the token can be fetched. Does not run a command.
    ///
    /// # Errors
    ///
    /// As for [`TokenSource::fetch`].
    pub(crate) fn check(&self, account: &str, environment: &Environment) -> Result<(), Error> {
        let Self::Command(command) = self else {
            return self.fetch(account, environment).map(drop);
        };
        // Not run, because it may ask for a password.
        match command.first() {
            Some(program) => file::check_program(Path::new(program)).map_err(|why| {
                Error::configuration(format!(
                    "the access token of the account `{account}`: the program {} {why}",
                    text::printable(program, 300)
                ))
            }),
            None => Ok(()),
        }
    }

    /// Fetches the token.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`], which names the account and says what to do. It never shows the token.
    pub fn fetch(&self, account: &str, environment: &Environment) -> Result<Token, Error> {
        let wrong = |what: String| {
            Error::configuration(format!("the access token of the account `{account}`: {what}"))
        };
        let text = match self {
            Self::Literal(secret) => secret.expose_secret().to_owned(),
            Self::Variable(name) => environment
                .variable(name)
                .ok_or_else(|| {
                    // The user may have written the key instead of the variable's name.
                    let is_name =
                        |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                    wrong(if name.len() <= 60 && name.chars().all(is_name) {
                        format!("the environment variable {name} is not set; set it to the API key")
                    } else {
                        "the environment variable that access_token.env names is not set; it takes \
                         the name of a variable, such as WHEREBY_ACCESS_TOKEN, not the key itself"
                            .into()
                    })
                })?
                .to_owned(),
            Self::File(path) => read_token_file(path)
                .map_err(|reason| wrong(format!("the file {} {reason}", file::shown(path))))?,
            Self::Command(command) => print(command).map_err(|reason| {
                let program = command.first().map_or("", String::as_str);
                wrong(format!("the command {} {reason}", text::printable(program, 300)))
            })?,
        };
        Token::new(text::without_bom(&text).trim()).map_err(wrong)
    }
}

fn read_token_file(path: &Path) -> Result<String, String> {
    let contents = file::read(path, MAX_TOKEN as u64)?;
    contents.check_secret(path)?;
    contents.text()
}

/// Returns what a command prints.
fn print(command: &[String]) -> Result<String, String> {
    let program = command.first().map_or("", String::as_str);
    let (status, text) = run(command, None, COMMAND_TIMEOUT, keychain::variables_of(program))?;
    if !status.success() {
        return Err(format!("failed ({status}); run it yourself to see why"));
    }
    String::from_utf8(text)
        .map_err(|_| "printed bytes that are not UTF-8; it must print the API key only".into())
}

/// Gives a command its standard input and its only variables, and ignores what it prints. It has a minute,
/// because it may ask a person for a password.
pub(crate) fn feed(
    command: &[String],
    input: &str,
    variables: Vec<(&str, PathBuf)>,
) -> Result<(), String> {
    let (status, _) = run(command, Some(input), STORE_TIMEOUT, Some(variables))?;
    if status.success() { Ok(()) } else { Err(format!("failed ({status})")) }
}

/// Runs a command in the root directory until it ends, and returns its output. Without `variables`, it has
/// those of this process.
fn run(
    command: &[String],
    input: Option<&str>,
    time: Duration,
    variables: Option<Vec<(&str, PathBuf)>>,
) -> Result<(ExitStatus, Vec<u8>), String> {
    let (program, arguments) = command.split_first().ok_or("is empty")?;
    let mut command = Command::new(program);
    if let Some(variables) = variables {
        command.env_clear().envs(variables);
    }
    let mut child = command
        .args(arguments)
        .current_dir("/")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("could not be started: {error}"))?;
    // A token fits into the pipe. A program that ends without reading it fails, or does not store it.
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        let _ = stdin.write_all(input.as_bytes());
    }
    let ended = printed(&mut child, time);
    if ended.is_err() {
        // Fails only if the program has already ended.
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
}

fn too_late(time: Duration) -> String {
    format!("took longer than {} s", time.as_secs())
}

/// Waits for a program to end, and returns its output. A background process may keep the pipe open.
#[cfg(unix)]
fn printed(child: &mut Child, time: Duration) -> Result<(ExitStatus, Vec<u8>), String> {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let failed = |error: std::io::Error| format!("cannot be waited for: {error}");
    let mut stdout = child.stdout.take().ok_or("has no output")?;
    let flags = fcntl_getfl(&stdout).map_err(|error| failed(error.into()))?;
    fcntl_setfl(&stdout, flags | OFlags::NONBLOCK).map_err(|error| failed(error.into()))?;
    let deadline = Instant::now() + time;
    let (mut text, mut buffer, mut is_open) = (Vec::new(), [0; 4096], true);
    loop {
        // Before reading, so that all output before the program's end is read.
        let status = child.try_wait().map_err(failed)?;
        while is_open && text.len() <= MAX_TOKEN {
            match stdout.read(&mut buffer) {
                Ok(0) => is_open = false,
                Ok(read) => text.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        if let Some(status) = status {
            return Ok((status, text));
        }
        if Instant::now() >= deadline {
            return Err(too_late(time));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits for a program to end, and returns its output.
#[cfg(not(unix))]
fn printed(child: &mut Child, time: Duration) -> Result<(ExitStatus, Vec<u8>), String> {
    let deadline = Instant::now() + time;
    let stdout = child.stdout.take().ok_or("has no output")?;
    let (sender, receiver) = std::sync::mpsc::channel();
    let reader = std::thread::Builder::new().spawn(move || {
        let mut text = Vec::new();
        let read = stdout.take(MAX_TOKEN as u64 + 1).read_to_end(&mut text);
        // After a timeout there is no receiver.
        let _ = sender.send(read.map(|_| text));
    });
    reader.map_err(|error| format!("cannot be waited for: {error}"))?;
    let text = receiver.recv_timeout(time).map_err(|_| too_late(time))?;
    let text = text.map_err(|error| format!("cannot be read: {error}"))?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok((status, text)),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            _ => return Err(too_late(time)),
        }
    }
}

/// An access token, in memory.
#[derive(Clone)]
pub struct Token(Arc<Prepared>);

/// A token, and what every request with it needs.
struct Prepared {
    secret: SecretString,
    fingerprint: [u8; 32],
    authorization: HeaderValue,
    redactor: Redactor,
}

impl Token {
    /// Accepts printable ASCII without spaces, which a header can contain.
    fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".into());
        }
        if text.len() > MAX_TOKEN {
            return Err(format!("it is longer than {MAX_TOKEN} bytes"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it contains white space or a character that is not ASCII; copy only the \
                        whole API key"
                .into());
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {text}"))
            .map_err(|_| "it cannot be sent in a header")?;
        authorization.set_sensitive(true);
        let (secret, redactor) = (SecretString::from(text), Redactor::new(text));
        let fingerprint = Sha256::digest(text).into();
        Ok(Self(Arc::new(Prepared { secret, fingerprint, authorization, redactor })))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.secret.expose_secret()
    }

    /// Returns the SHA-256 of the token, which identifies it in the store.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// Returns the value of the header `Authorization`.
    pub(crate) fn authorization(&self) -> &HeaderValue {
        &self.0.authorization
    }

    /// Returns what takes the token out of responses.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    /// Returns the claims that get_current_user shows, as a JSON object, or `None` if the key is not a JWT.
    ///
    /// The signature is not checked: only Whereby has its secret.
    pub(crate) fn claims(&self) -> Option<String> {
        key::claims(self.expose())
    }

    /// Returns when the key expired, if its claims say so.
    pub(crate) fn expired(&self, now: Timestamp) -> Option<Timestamp> {
        self.expires().filter(|expires| *expires <= now)
    }

    /// Returns when the key expires, if its claims say so.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        // A key that never expires has a number that is too large for a date.
        let seconds = key::payload(self.expose())?.get("exp")?.as_f64()?;
        Timestamp::of_unix_ms((seconds * 1000.0) as i64)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    #[test]
    fn only_shown_claims_are_read() {
        let key = |payload: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        for (token, claims) in [
            (
                key(r#"{"organizationId":4711,"iat":1700000000,"exp":9007199254740991,"jti":"x"}"#),
                Some(r#"{"organizationId":4711,"iat":1700000000,"exp":9007199254740991}"#),
            ),
            (key(r#"{"organizationId":{"a":1}}"#), Some("{}")),
            (key("[]"), None),
            ("opaque".into(), None),
            ("a.b.c".into(), None),
            ("a.b.c.d".into(), None),
        ] {
            let token = Token::new(&token).expect("a token");
            assert_eq!(token.claims().as_deref(), claims);
        }
    }

    #[test]
    fn a_key_has_expired_once_its_date_is_reached() {
        let now = Timestamp::parse("2026-03-02T09:00:00Z").expect("a date");
        let at = |seconds: i64| Timestamp::of_unix_ms(now.to_unix_ms() + seconds * 1000);
        let seconds = now.to_unix_ms() / 1000;
        for (exp, expired) in [
            (json!(seconds), at(0)),
            (json!(seconds - 86_400), at(-86_400)),
            (json!(seconds as f64 - 0.5), Timestamp::of_unix_ms(now.to_unix_ms() - 500)),
            (json!(0), Timestamp::of_unix_ms(0)),
            (json!(seconds + 1), None),
            (json!(9_007_199_254_740_991_u64), None),
            (json!(1e300), None),
            (json!(-1e300), None),
            (json!("2026-01-01"), None),
            (json!(null), None),
        ] {
            let payload = URL_SAFE_NO_PAD.encode(json!({"exp": exp}).to_string());
            let token = Token::new(&format!("e30.{payload}.c2ln")).expect("a token");
            assert_eq!(token.expired(now), expired, "{exp}");
        }
        assert_eq!(Token::new("opaque").expect("a token").expired(now), None);
    }

    #[test]
    #[cfg(unix)]
    fn a_command_is_over_when_it_ends() {
        let sh = |script: &str| print(&["/bin/sh".into(), "-c".into(), script.into()]);
        // The background process keeps the pipe open for longer than the timeout.
        assert_eq!(sh("echo key; sleep 11 &").as_deref(), Ok("key\n"));
        assert_eq!(sh("printf '%010000d' 7").map(|text| text.len()), Ok(10_000));
        assert!(sh("exit 3").is_err_and(|error| error.contains("exit status: 3")));
        assert!(sh("printf '\\377'").is_err_and(|error| error.contains("not UTF-8")));
    }

    #[test]
    fn a_token_is_one_word_and_never_shown() {
        for text in ["", "a b", "a\nb", "ä"] {
            assert!(Token::new(text).is_err(), "{text:?}");
        }
        assert!(!format!("{:?}", Token::new("tops3cret")).contains("tops3cret"));
        assert!(!format!("{:?}", TokenSource::literal("tops3cret")).contains("tops3cret"));
    }
}
