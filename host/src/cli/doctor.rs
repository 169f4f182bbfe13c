//! `whereby doctor`: checks everything that a call needs, and shows how to fix problems.

use super::paint::{Role, paint};
use super::render::Look;
use super::spinner::{self, Status};
use super::{CommandError, Context, Output, table};
use crate::config::credentials::TokenSource;
use crate::config::{Account, Settings};
use crate::error::Error;
use crate::session::Session;
use crate::session::cache_trouble;
use crate::session::call::Call;
use crate::session::packaged::Packaged;
use crate::store::Freeze;
use crate::system::resource_limit;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use whereby_authority::policy::Participants;
use whereby_authority::text;
use whereby_authority::timestamp::Timestamp;

/// The largest difference between this clock and Whereby's without a warning, in seconds. People read dates
/// to the minute, and default end dates count from now.
const CLOCK_SKEW: i64 = 60;

/// How long before a key's expiry the warning appears, in seconds.
const EXPIRY_NOTICE: i64 = 14 * 24 * 60 * 60;

/// How to get a new key.
const NEW_KEY: &str = "make a key in Whereby's dashboard (Configure, API)";

/// Check the configuration, the component, and each account with one cheap request
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  whereby doctor\n  whereby doctor --account work --json")]
pub(super) struct Opts {}

/// One check and its result.
struct Check {
    name: String,
    /// `ok`, `warning` or `failed`.
    status: &'static str,
    message: String,
    /// The command or the change that fixes it.
    fix: Option<String>,
}

impl Check {
    fn ok(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.into(), status: "ok", message: message.into(), fix: None }
    }

    fn warning(name: &str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        let fix = Some(fix.into());
        Self { name: name.into(), status: "warning", message: message.into(), fix }
    }

    fn failed(name: &str, error: &Error, fix: Option<String>) -> Self {
        let fix = fix.or_else(|| error.hint(whereby_authority::grant::WriteOutcome::None));
        Self { name: name.into(), status: "failed", message: error.to_string(), fix }
    }

    fn to_json(&self) -> Value {
        json!({"name": self.name, "status": self.status, "message": self.message, "fix": self.fix})
    }
}

impl Opts {
    pub(super) async fn run(self, context: &Context) -> Result<Output, CommandError> {
        let read = context.settings();
        // Without settings, the built-in component can still be checked.
        let session = context.session(read.clone().unwrap_or_default(), true);
        let (state, state_error) = state(context);
        let status = Status::new("compiling the component");
        let component = match &session {
            Ok(session) => spinner::wait(context, &status, component(session)).await,
            Err(error @ Error::Configuration { .. }) => Check::failed("component", error, None),
            // The machine lacks the resources for any check.
            Err(error) => return Err(error.clone().into()),
        };
        let packaged = match &session {
            Ok(session) if component.status == "ok" => session.packaged().await?,
            // The check of the component says why.
            _ => Packaged::Absent,
        };
        let code = compiled_code(context, &packaged, component.status == "ok");
        let mut checks = vec![configuration(&read), component];
        checks.extend(code);
        checks.push(state);
        let (frozen, frozen_error) = frozen(context);
        checks.extend(frozen);
        let errors = [
            read.as_ref().err(),
            state_error.as_ref(),
            frozen_error.as_ref(),
            session.as_ref().err(),
        ];
        let mut first_error = errors.into_iter().flatten().next().cloned();
        let mut accounts = Vec::new();
        let (settings, session) = match (read, session) {
            (Ok(settings), Ok(session)) => (settings, session),
            (read, _) => {
                let what = if read.is_err() { "configuration" } else { "component" };
                checks.push(Check::warning(
                    "accounts",
                    format!("not checked, because the {what} cannot be read"),
                    format!("fix the {what} first (see above)"),
                ));
                return Ok(report(context, &checks, &accounts, first_error));
            }
        };
        // An account that does not exist is reported below.
        let only = context.global.account.as_deref();
        let only = only.map(|name| settings.account_name(Some(name)).unwrap_or(name));
        let now = context.environment.clock.timestamp();
        for (name, account) in &settings.accounts {
            if only.is_some_and(|only| only != name) {
                continue;
            }
            status.doing(format!("checking the account {name}"));
            let checked = check_account(context, &status, &session, name, account, now);
            let (check, details, error) = spinner::wait(context, &status, checked).await;
            first_error = first_error.or(error);
            checks.extend(check);
            accounts.push(details);
        }
        if only.is_none() && settings.accounts.len() > 1 && settings.account_name(None).is_err() {
            let fix = "run: whereby configure --account NAME --default";
            checks.push(Check::warning("default account", "none", fix));
        }
        checks.extend(approvals(context, &settings));
        if accounts.is_empty() {
            let error = settings
                .account(context.global.account.as_deref())
                .err()
                .unwrap_or_else(|| Error::configuration("there is no account to check"));
            // The error says what to do.
            checks.push(Check::failed("accounts", &error, None));
            first_error = first_error.or(Some(error));
        }
        Ok(report(context, &checks, &accounts, first_error))
    }
}

/// Returns the output. The exit status is that of a call that fails with the first error.
fn report(
    context: &Context,
    checks: &[Check],
    accounts: &[Value],
    first_error: Option<Error>,
) -> Output {
    let ok = checks.iter().all(|check| check.status != "failed");
    let document = json!({
        "ok": ok,
        "checks": checks.iter().map(Check::to_json).collect::<Vec<_>>(),
        "accounts": accounts,
        "version": env!("CARGO_PKG_VERSION"),
    });
    let text = to_text(checks, ok, &context.look());
    let error = first_error.or_else(|| {
        let failed = checks.iter().find(|check| check.status == "failed")?;
        Some(Error::ComponentFault { message: failed.message.clone() })
    });
    match error {
        Some(error) if !ok => Output::Report(text, document, super::Exit::of(&error)),
        _ => Output::text(text, document),
    }
}

fn to_text(checks: &[Check], ok: bool, look: &Look) -> String {
    let mut lines = Vec::new();
    for Check { name, status, message, fix } in checks {
        let role = match *status {
            "failed" => Role::Error,
            "warning" => Role::Warning,
            _ => Role::Success,
        };
        let padding = " ".repeat(9 - status.len());
        let status = paint(look.colours, role, status);
        let name = format!("{status}{padding}{}:", text::printable(name, 80));
        lines.push((name, look.localized(&text::printable(message, 500))));
        lines.extend(fix.as_ref().map(|fix| (String::new(), text::printable(fix, 500))));
    }
    let names = lines.iter().map(|(name, _)| textwrap::core::display_width(name)).max();
    let room = look.width.map(|width| usize::from(width).saturating_sub(names.unwrap_or(0) + 2));
    if room.is_some_and(|room| room < "SHA-256 ".len() + DIGEST + 1) {
        lines.iter_mut().for_each(|(_, message)| *message = with_short_digests(message));
    }
    let mut out = table::members(&lines, look);
    match look.zone_line() {
        zone if zone.is_empty() => {}
        zone => out += &format!("\n{zone}"),
    }
    out.push_str(match (ok, checks.iter().all(|check| check.status == "ok")) {
        (true, true) => "\neverything works\n",
        (true, false) => "\nno check failed, but there are warnings; see above\n",
        (false, _) => "\nsome checks failed; see above\n",
    });
    out
}

/// The length of a SHA-256 in hexadecimal.
const DIGEST: usize = 64;

/// Shortens each digest in the text, for terminals too narrow to show it on one line. The JSON document and
/// `component inspect` show it in full.
fn with_short_digests(text: &str) -> String {
    let is_hex = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let short = |word: &str| match word.split_at_checked(DIGEST) {
        Some((digest, rest)) if is_hex(digest) => format!("{}…{rest}", &digest[..16]),
        _ => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

fn configuration(read: &Result<Settings, Error>) -> Check {
    let settings = match read {
        Ok(settings) => settings,
        Err(error) => {
            let fix = "until this is fixed, all calls are refused";
            return Check::failed("configuration", error, Some(fix.into()));
        }
    };
    let strict = settings.policy.tightening.iter().filter_map(|rules| rules.file.as_ref());
    let strict: Vec<String> = strict.map(|file| file.display().to_string()).collect();
    let mut message = match &settings.file {
        Some(file) => file.display().to_string(),
        None => "no configuration file; the environment is used".into(),
    };
    if !strict.is_empty() {
        let _ = write!(message, "; made stricter by {}", strict.join(", "));
    }
    Check::ok("configuration", message)
}

async fn component(session: &Session) -> Check {
    match session.component().await {
        Ok((digest, bytes)) => Check::ok("component", format!("SHA-256 {digest}, {bytes} bytes")),
        Err(error) => Check::failed("component", &error, None),
    }
}

/// Checks whether the component starts without being compiled.
fn compiled_code(context: &Context, packaged: &Packaged, is_compiled: bool) -> Vec<Check> {
    let own = || cache(context, is_compiled);
    match packaged {
        Packaged::Absent => vec![own()],
        Packaged::Used(path) => vec![Check::ok("compiled code", path.display().to_string())],
        Packaged::Unused(path, reason) => {
            let message = format!("{} is not used: it {}", path.display(), reason.what);
            vec![Check::warning("compiled code", message, reason.fix), own()]
        }
    }
}

/// Checks whether compiled code is cached. Without a cache, every start takes longer.
fn cache(context: &Context, is_compiled: bool) -> Check {
    let name = "cache";
    let directory = match context.environment.own_directory("cache") {
        Ok(directory) => directory,
        Err(reason) => {
            let (what, fix) = reason.rsplit_once("; ").unwrap_or((&reason, ""));
            let message = format!("every start compiles the component: {what}");
            return Check::warning(name, message, fix);
        }
    };
    let shown = directory.display().to_string();
    if holds_compiled_code(&directory) {
        return Check::ok(name, shown);
    }
    if !is_compiled {
        let message = format!("{shown} holds no compiled code yet");
        return Check::warning(name, message, "fix the component first (see above)");
    }
    if let Some(error) = cache_trouble(&directory) {
        let fix =
            resource_limit::advice(&error).unwrap_or("check that directory and its file system");
        return Check::warning(
            name,
            format!("compiled code cannot be written to {shown}: {error}"),
            fix,
        );
    }
    Check::warning(
        name,
        format!("{shown} cannot be used: it must be your own, writable, and closed to others"),
        format!("run: mkdir -p -m 700 '{shown}'; chmod 700 '{shown}'"),
    )
}

/// Checks whether approvals and the audit log can be written. If not, all writes are refused.
fn state(context: &Context) -> (Check, Option<Error>) {
    let checked = context.store().and_then(|store| store.check().map(|()| store));
    match checked {
        Ok(store) => (Check::ok("state", store.directory().display().to_string()), None),
        Err(error) => {
            let fix = "until this is fixed, all writes are refused and no calls are logged";
            (Check::failed("state", &error, Some(fix.into())), Some(error))
        }
    }
}

/// Returns a warning for each freeze, or why it is unknown what is frozen.
fn frozen(context: &Context) -> (Vec<Check>, Option<Error>) {
    match context.store().map(|store| store.frozen()) {
        Ok(Ok(freezes)) => {
            let check = |freeze: &Freeze| {
                let fix = format!("to lift it, run: {}", freeze.selector.command());
                Check::warning("frozen", freeze.describe(), fix)
            };
            (freezes.iter().map(check).collect(), None)
        }
        Ok(Err(error)) => {
            let fix = "repair that file, or move it away and freeze again what it had frozen";
            (vec![Check::failed("frozen", &error, Some(fix.into()))], Some(error))
        }
        // The check of the state says why.
        Err(_) => (Vec::new(), None),
    }
}

/// Returns warnings about `[approvals]`: what would keep people from deciding.
fn approvals(context: &Context, settings: &Settings) -> Vec<Check> {
    let warnings = super::configure::approval_warnings(context, settings).into_iter();
    warnings.map(|(what, fix)| Check::warning("approvals", what, fix)).collect()
}

fn holds_compiled_code(directory: &Path) -> bool {
    let is_code = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "cwasm"))
    };
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.any(is_code))
}

/// Returns how to replace the old key with a new one.
fn where_to_put(token: &TokenSource, account: &str) -> String {
    match token {
        TokenSource::Literal(_) => {
            format!("run: whereby configure --account {account} --token-stdin")
        }
        TokenSource::Variable(name) => format!("set {name} to the new key"),
        TokenSource::File(path) => format!("write it to {}", path.display()),
        TokenSource::Command(_) => "make the account's command print it".into(),
    }
}

/// Returns a warning if a key that Whereby accepts has expired or expires soon.
fn expiry(expires: Timestamp, now: Timestamp) -> Option<String> {
    let date = expires.to_rfc3339();
    if expires <= now {
        return Some(format!("it claims to have expired on {date}, although Whereby accepts it"));
    }
    (expires <= now.plus_seconds(EXPIRY_NOTICE)).then(|| {
        let minutes = (expires.to_unix_ms() - now.to_unix_ms()) / 60_000;
        let hours = minutes / 60;
        match hours {
            _ if minutes < 2 => format!("it expires on {date}, in a minute or less"),
            0..2 => format!("it expires on {date}, in {minutes} minutes"),
            2..48 => format!("it expires on {date}, in {hours} hours"),
            _ => format!("it expires on {date}, in {} days", hours / 24),
        }
    })
}

/// Makes one request with the account. Returns the checks, the account's details and the error.
async fn check_account(
    context: &Context,
    status: &Status,
    session: &Session,
    name: &str,
    account: &Account,
    now: Timestamp,
) -> (Vec<Check>, Value, Option<Error>) {
    let check = format!("account {name}");
    let from = account.token.in_words();
    let mut details = json!({
        "name": name,
        "enabled": account.enabled,
        "access_token": account.token.to_json(),
        "api_url": account.api.to_string(),
        "participants": session.settings().policy.participants(name, None).as_str(),
        "user": null,
        "clock_skew_seconds": null,
    });
    if !account.enabled {
        let fix = format!("run: whereby configure --account {name} --enable");
        return (vec![Check::warning(&check, "switched off", fix)], details, None);
    }
    let call = Call::new("get_current_user", json!({}))
        .exact_account(name)
        .force(true)
        .asked_by(super::FRONT_END, None);
    let outcome = session.run(spinner::watched(context, status, call)).await;
    let mut checks = Vec::new();
    if let Some(skew) =
        outcome.requests.iter().find_map(crate::session::SentRequest::clock_skew_seconds)
    {
        details["clock_skew_seconds"] = skew.into();
        if skew.abs() > CLOCK_SKEW {
            let direction = if skew > 0 { "ahead of" } else { "behind" };
            let message = format!("this clock is {} s {direction} {}'s", skew.abs(), account.api);
            checks.push(Check::warning(
                "clock",
                message,
                "set this machine's clock, for example with NTP",
            ));
        }
    }
    match outcome.result {
        Ok(user) => {
            let text = |key: &str| match &user[key] {
                Value::String(text) => text.clone(),
                _ => "unknown".into(),
            };
            let mut message = format!(
                "{} (token from {from}): organization {}",
                account.api,
                text("organizationId")
            );
            if let Value::Object(rate) = &user["rateLimit"] {
                let number = |key: &str| rate.get(key).and_then(Value::as_u64);
                if let (Some(limit), Some(remaining)) = (number("limit"), number("remaining")) {
                    let _ = write!(message, ", {remaining} of {limit} points left this minute");
                }
            }
            let participants = session.settings().policy.participants(name, None);
            if participants != Participants::Names {
                let _ = write!(message, "; people in meetings: {}", participants.as_str());
            }
            checks.insert(0, Check::ok(&check, message));
            let expires = user["keyExpires"].as_str().and_then(Timestamp::parse);
            let warning = expires.and_then(|expires| expiry(expires, now));
            checks.extend(warning.map(|message| {
                let fix = format!("{NEW_KEY}, and {}", where_to_put(&account.token, name));
                Check::warning(&format!("access token {name}"), message, fix)
            }));
            details["user"] = user;
            (checks, details, None)
        }
        // A rule that forbids this call is the user's choice, not a mistake.
        Err(error) if matches!(error.kind(), "denied" | "approval-required") => {
            let message = format!("not checked: {error}");
            let fix = match &error {
                Error::Blocked { fix, .. } => fix.clone(),
                _ => "to check it, allow get_current_user".to_owned(),
            };
            checks.insert(0, Check::warning(&check, message, fix));
            (checks, details, None)
        }
        Err(error) => {
            let fix = match error.kind() {
                "unauthorized" => {
                    Some(format!("{NEW_KEY}, and {}", where_to_put(&account.token, name)))
                }
                _ => None,
            };
            checks.insert(0, Check::failed(&check, &error, fix));
            (checks, details, Some(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_warning_from_two_weeks_before_it_expires() {
        let now = Timestamp::parse("2026-03-02T09:00:00Z").expect("a date");
        for (expires, message) in [
            ("2026-03-16T09:00:01Z", None),
            ("2026-03-16T09:00:00Z", Some("it expires on 2026-03-16T09:00:00Z, in 14 days")),
            ("2026-03-04T09:00:00Z", Some("it expires on 2026-03-04T09:00:00Z, in 2 days")),
            ("2026-03-03T09:00:00Z", Some("it expires on 2026-03-03T09:00:00Z, in 24 hours")),
            ("2026-03-02T10:59:00Z", Some("it expires on 2026-03-02T10:59:00Z, in 119 minutes")),
            (
                "2026-03-02T09:00:01Z",
                Some("it expires on 2026-03-02T09:00:01Z, in a minute or less"),
            ),
            (
                "2026-03-02T09:00:00Z",
                Some(
                    "it claims to have expired on 2026-03-02T09:00:00Z, although Whereby accepts it",
                ),
            ),
        ] {
            let found = expiry(Timestamp::parse(expires).expect(expires), now);
            assert_eq!(found.as_deref(), message, "{expires}");
        }
    }
}
