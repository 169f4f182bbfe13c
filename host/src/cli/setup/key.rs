//! The first step of setup: the account's API key.

use super::{MAX_ATTEMPTS, Talk, Written, unread};
use crate::cli::CommandError;
use crate::cli::configure::{MAX_TOKEN, check_token};
use crate::config::credentials::TokenSource;
use crate::config::edit::Change;
use crate::config::keychain::Keychain;
use crate::config::origin::ApiBase;
use crate::config::{Account, Settings, file_to_use};
use crate::error::Error;
use crate::session::approval::NobodyToAsk;
use crate::session::call::Call;
use crate::system::file;
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::Arc;
use toml_edit::{Array, InlineTable};
use whereby_authority::text;

/// What is known about a key.
enum Checked {
    /// Whereby accepts it, for this organization.
    Works(String),
    /// It cannot be used: Whereby refuses it, or it cannot be fetched.
    Refused(Error),
    /// It could not be tried.
    Unknown(Error),
}

/// Asks for the key of an account, unless there is one that works. Returns whether there is one now.
pub(super) async fn set_up(
    talk: &mut Talk<'_>,
    own: &Settings,
    name: &str,
    api_url: Option<&str>,
) -> Result<bool, CommandError> {
    talk.heading("1. The API key");
    let there = own.accounts.get(name);
    if there.is_some() {
        // Refuses an account that is switched off.
        own.choose(Some(name), true)?;
    }
    let api = match (api_url, there) {
        (Some(url), _) => ApiBase::parse(url).map_err(Error::usage)?,
        (None, Some(account)) => account.api.clone(),
        (None, None) => ApiBase::default(),
    };
    let is_new_api = there.is_some_and(|account| account.api != api);
    if let Some(account) = there.filter(|_| !is_new_api) {
        match check(talk, name, account.clone()).await? {
            Checked::Works(organization) => {
                talk.say(&format!(
                    "The account `{name}` has a key that works, of the organization {organization}. To \
                     replace it, run: whereby configure --account {name} --token-stdin"
                ));
                return Ok(true);
            }
            Checked::Unknown(error) => {
                talk.say(&format!(
                    "The account `{name}` has a key, which could not be checked: {error}"
                ));
                return Ok(true);
            }
            Checked::Refused(error) => {
                talk.say(&format!("The key of the account `{name}` cannot be used: {error}"));
            }
        }
    }
    talk.say(
        "To make a key, open Whereby's dashboard (Whereby Embedded) and choose Configure, API, Generate key. \
         Paste it here.",
    );
    if api_url.is_none() && api != ApiBase::default() {
        // Not where the page says that it goes.
        let context = talk.context;
        let file = file_to_use(context.global.config.as_deref(), &context.environment)?;
        talk.say(&format!("The key is sent to {api}, which {} names.", file::shown(&file)));
    }
    let key = ask(talk, name, &api).await?;
    let url = api_url.map(|url| Change::Set(keys(name, "api_url"), url.into()));
    Ok(store(talk, name, &key, url.as_slice())?)
}

/// Asks for a key until Whereby accepts one.
async fn ask(talk: &Talk<'_>, name: &str, api: &ApiBase) -> Result<String, CommandError> {
    for _ in 0..MAX_ATTEMPTS {
        let typed = talk
            .context
            .streams
            .read_secret("API key (not shown while you type): ", MAX_TOKEN)
            .map_err(|error| unread(&error))?;
        let key = text::without_bom(&typed).trim().to_owned();
        if key.is_empty() {
            talk.say("Nothing was typed.");
            continue;
        }
        if let Err(error) = check_token(&key, Some(name)) {
            talk.say(&format!("This is not a key: {error}"));
            continue;
        }
        let account = Account::new(TokenSource::literal(&key), api.clone());
        match check(talk, name, account).await? {
            Checked::Works(organization) => {
                talk.say(&format!("It works. It belongs to the organization {organization}."));
                return Ok(key);
            }
            Checked::Refused(error) => talk.say(&format!("This key cannot be used: {error}")),
            Checked::Unknown(error) => {
                talk.say(&format!("The key could not be checked: {error}"));
                if talk.confirm("Keep it without a check?")? {
                    return Ok(key);
                }
                return Err(error.into());
            }
        }
    }
    Err(Error::usage(
        "none of the keys works; make one in Whereby's dashboard (Configure, API), then run: whereby \
         setup",
    )
    .into())
}

/// Tries a key with one cheap request, which follows the rules.
async fn check(talk: &Talk<'_>, name: &str, account: Account) -> Result<Checked, CommandError> {
    let context = talk.context;
    if let Err(error) = account.token.check(name, &context.environment) {
        return Ok(Checked::Refused(error));
    }
    let mut settings = Settings::load(context.global.config.as_deref(), &context.environment)?;
    settings.accounts.insert(name.into(), account);
    // The file does not have this key.
    settings.sources = None;
    let session = context.session_asking(settings, Arc::new(NobodyToAsk))?;
    let call = Call::new("get_current_user", json!({})).exact_account(name).force(true);
    Ok(match talk.call(&session, call, "checking the key").await?.result {
        Ok(user) => Checked::Works(match &user["organizationId"] {
            Value::String(id) => text::printable(id, 60),
            _ => "unknown".into(),
        }),
        Err(error @ Error::Configuration { .. }) => Checked::Refused(error),
        Err(error) if error.kind() == "unauthorized" => Checked::Refused(error),
        Err(error) => Checked::Unknown(error),
    })
}

fn keys(account: &str, key: &str) -> Vec<String> {
    vec!["accounts".into(), account.into(), key.into()]
}

/// Stores a key where the person wants it. Returns whether it is stored.
fn store(talk: &mut Talk<'_>, name: &str, key: &str, others: &[Change]) -> Result<bool, Error> {
    let source = |value: toml_edit::Value| {
        let own = [Change::Set(keys(name, "access_token"), value)];
        [&own[..], others].concat()
    };
    let keychain = Keychain::find(name);
    let has_keychain = keychain.is_some();
    if let Some(keychain) = keychain {
        let place = format!("In {}", keychain.name());
        let places = [&*place, "In the configuration file, which only you can read"];
        if talk.choose("Where should the key be kept?", &places, 0)? == 0 {
            let command = Array::from_iter(keychain.command());
            let table = InlineTable::from_iter([("command", command)]);
            let changes = source(table.into());
            let is_kept = Cell::new(false);
            let kept = || keychain.store(key).inspect(|()| is_kept.set(true));
            let written = talk.configure(&changes, kept).inspect_err(|_| {
                if is_kept.get() {
                    talk.say(&format!(
                        "The key is in {}, but the configuration file could not be changed to use it.",
                        keychain.name()
                    ));
                }
            })?;
            match written {
                Written::Failed(why) => talk.say(&format!(
                    "The key could not be stored in {}: {why}. The other place is the configuration file.",
                    keychain.name()
                )),
                written => return Ok(finish(talk, &written, keychain.name())),
            }
        }
    }
    if !has_keychain {
        talk.say(
            "There is no keychain here, so the key goes into the configuration file, which only you can read \
             (mode 600).",
        );
    }
    let written = talk.configure(&source(key.into()), || Ok(()))?;
    Ok(finish(talk, &written, "the configuration file"))
}

fn finish(talk: &mut Talk<'_>, written: &Written, place: &str) -> bool {
    let is_stored = matches!(written, Written::Yes);
    if is_stored {
        talk.did(format!("the key is in {place}"));
    } else {
        talk.say("Left as it was; the key is not stored.");
    }
    is_stored
}
