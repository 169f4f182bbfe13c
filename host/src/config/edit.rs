//! Changes the configuration file atomically, and keeps the user's comments and order.

use crate::config::environment::Environment;
use crate::config::reader;
use crate::config::toml::in_file;
use crate::config::{
    MAX_FILE, Settings, file_to_use, invalid_account_name, is_account_name, is_there,
};
use crate::error::Error;
use crate::system::file;
use crate::system::resource_limit;
use std::fs::File;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};
use whereby_authority::suggest;
use whereby_authority::text;

/// A change of the file.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Sets the value at a path of keys.
    Set(Vec<String>, Value),
    /// Makes an empty table at a path of keys.
    Table(Vec<String>),
    /// Sets a member of the table at a path of keys. Where a word stands instead of the table, the word
    /// becomes the member that is named first; where nothing stands, the word that is given does. Setting
    /// that member keeps a word a word.
    SetPart(Vec<String>, &'static str, &'static str, &'static str, Value),
    /// Removes the value at a path of keys, if there is one.
    Unset(Vec<String>),
}

impl Change {
    /// Returns the path of keys of the value or the table that it changes.
    pub(crate) fn keys(&self) -> &[String] {
        match self {
            Self::Set(keys, _)
            | Self::Table(keys)
            | Self::Unset(keys)
            | Self::SetPart(keys, ..) => keys,
        }
    }

    /// Returns the key that it changes, with its parts separated by dots.
    fn key(&self) -> String {
        match self {
            Self::Set(keys, _) | Self::Table(keys) | Self::Unset(keys) => keys.join("."),
            Self::SetPart(keys, _, _, member, _) => format!("{}.{member}", keys.join(".")),
        }
    }
}

/// The result of changing the file.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    pub(crate) file: PathBuf,
    /// Whether the contents changed.
    pub(crate) is_different: bool,
    /// The keys that were set or removed.
    pub(crate) keys: Vec<String>,
}

/// What changes would do to the file.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) file: PathBuf,
    pub(crate) before: String,
    pub(crate) after: String,
    keys: Vec<String>,
}

/// Makes all changes to the configuration file, or none if the result would be invalid.
///
/// A lock serializes concurrent changes.
pub(crate) fn change(
    named: Option<&Path>,
    environment: &Environment,
    plan: impl FnOnce(&Settings) -> Result<Vec<Change>, Error>,
) -> Result<Changed, Error> {
    let path = file::target(file_to_use(named, environment)?);
    let _lock = locked(&path)?;
    write(planned(path, plan)?)
}

/// Returns what changes would do to the configuration file. Writes nothing.
pub(crate) fn preview(
    named: Option<&Path>,
    environment: &Environment,
    plan: impl FnOnce(&Settings) -> Result<Vec<Change>, Error>,
) -> Result<Planned, Error> {
    planned(file::target(file_to_use(named, environment)?), plan)
}

/// What became of changes that a person has seen.
pub(crate) enum Seen {
    Made(Changed),
    /// The file has changed since; nothing was written.
    Changed,
    /// What comes first failed, for this reason; nothing was written.
    Failed(String),
}

/// Makes changes that a person has seen. `first` is done if the file is still the same, and before it is
/// written.
pub(crate) fn change_as_seen(
    seen: &Planned,
    changes: Vec<Change>,
    first: impl FnOnce() -> Result<(), String>,
) -> Result<Seen, Error> {
    let _lock = locked(&seen.file)?;
    let planned = planned(seen.file.clone(), |_| Ok(changes))?;
    if planned.before != seen.before {
        return Ok(Seen::Changed);
    }
    if let Err(why) = first() {
        return Ok(Seen::Failed(why));
    }
    write(planned).map(Seen::Made)
}

/// Makes the file's directory if it is missing, and prevents other changes until the lock is dropped.
fn locked(path: &Path) -> Result<File, Error> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    file::make_private_folder(folder)
        .map_err(|error| failed(path, "its directory cannot be created", &error))?;
    lock(path).map_err(|error| failed(path, "cannot be locked", &error))
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Error {
    in_file(path, &format!("{what}: {}", resource_limit::told(error)))
}

fn planned(
    path: PathBuf,
    plan: impl FnOnce(&Settings) -> Result<Vec<Change>, Error>,
) -> Result<Planned, Error> {
    let before = if is_there(&path)? {
        file::read(&path, MAX_FILE).and_then(file::Contents::text)
    } else {
        Ok(String::new())
    };
    let before = before.map_err(|what| in_file(&path, &what))?;
    // An invalid file is reported, and not changed.
    let settings = reader::settings(&path, &before)?;
    let changes = plan(&settings)?;
    let after = edited(&path, &before, &changes)?;
    reader::settings(&path, &after).map_err(|error| match error {
        // The line numbers are those of the changed file.
        Error::Configuration { message } => {
            Error::configuration(format!("nothing was written; with this change, {message}"))
        }
        other => other,
    })?;
    let mut keys: Vec<String> = Vec::new();
    for key in changes.iter().map(Change::key) {
        // A value that takes the place of another is removed and set.
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(Planned { file: path, before, after, keys })
}

fn write(planned: Planned) -> Result<Changed, Error> {
    let Planned { file: path, before, after, keys } = planned;
    let is_different = after != before;
    if is_different {
        // The lock is held, so no other process uses the second file.
        file::replace(&path, &file::with_ending(&path, ".new"), after.as_bytes(), true)
            .map_err(|error| failed(&path, "cannot be written", &error))?;
    }
    Ok(Changed { file: path, is_different, keys })
}

/// Returns the contents of a file after changes. Everything else is unchanged.
pub(crate) fn edited(path: &Path, before: &str, changes: &[Change]) -> Result<String, Error> {
    let mut document: DocumentMut = before.parse().map_err(|_| in_file(path, "is not TOML"))?;
    for change in changes {
        apply(&mut document, change).map_err(|message| in_file(path, &message))?;
    }
    Ok(document.to_string())
}

/// Reads a path of keys as a user writes it: `limits.timeout_seconds`.
pub(crate) fn parse_key(text: &str) -> Result<Vec<String>, Error> {
    let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
    let plain = |key: &String| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    if keys.iter().all(plain) {
        return Ok(keys);
    }
    Err(Error::usage(format!(
        "`{}` is not a key, such as limits.timeout_seconds",
        text::printable(text, 80)
    )))
}

/// Reads a value as a user writes it: a TOML integer, boolean, array or inline table, or otherwise a
/// string.
pub(crate) fn parse_value(text: &str) -> Value {
    match text.parse::<Value>() {
        Ok(value @ (Value::Integer(_) | Value::Boolean(_) | Value::Array(_))) => value,
        Ok(value @ Value::InlineTable(_)) => value,
        _ => Value::from(text),
    }
}

/// Checks the name of a new account.
pub(crate) fn check_account_name(name: &str) -> Result<(), Error> {
    if is_account_name(name) {
        return Ok(());
    }
    Err(Error::usage(invalid_account_name(name)))
}

/// Checks that an account exists, and returns its name.
pub(crate) fn existing<'a>(settings: &Settings, name: &'a str) -> Result<&'a str, Error> {
    if settings.accounts.contains_key(name) {
        return Ok(name);
    }
    let names: Vec<&str> = settings.accounts.keys().map(String::as_str).collect();
    Err(Error::usage(format!(
        "no account is called `{}`{}",
        text::printable(name, 60),
        suggest::did_you_mean(name, &names)
    )))
}

fn apply(document: &mut DocumentMut, change: &Change) -> Result<(), String> {
    match change {
        Change::Set(keys, value) => {
            let (last, parents) = keys.split_last().ok_or("an empty key")?;
            let table = table_at(document, parents)?;
            match table.get_mut(last).and_then(Item::as_value_mut) {
                // Keeps the white space and comments around the value.
                Some(old) => {
                    let decor = old.decor().clone();
                    *old = value.clone();
                    *old.decor_mut() = decor;
                }
                None => drop(table.insert(last, Item::Value(value.clone()))),
            }
        }
        Change::Table(keys) => {
            let (last, parents) = keys.split_last().ok_or("an empty key")?;
            let table = table_at(document, parents)?;
            if let Some(table) =
                table.entry(last).or_insert(Item::Table(Table::new())).as_table_mut()
            {
                table.set_implicit(false);
            }
        }
        Change::SetPart(keys, main, word, key, value) => {
            let (last, parents) = keys.split_last().ok_or("an empty key")?;
            let table = table_at(document, parents)?;
            let is_table = table.get(last).is_some_and(Item::is_table_like);
            if main == key && !is_table {
                let keys = keys.clone();
                return apply(document, &Change::Set(keys, value.clone()));
            }
            if !is_table {
                // With the comment that stands beside it.
                let old = table.remove(last).and_then(|item| item.into_value().ok());
                let word = old.unwrap_or_else(|| Value::from(*word));
                table.insert(last, Item::Table(Table::from_iter([(*main, word)])));
            }
            let mut path = keys.clone();
            path.push((*key).to_owned());
            return apply(document, &Change::Set(path, value.clone()));
        }
        Change::Unset(keys) => {
            let Some((last, parents)) = keys.split_last() else { return Ok(()) };
            let mut table: &mut dyn TableLike = document.as_table_mut();
            for key in parents {
                match table.get_mut(key).and_then(Item::as_table_like_mut) {
                    Some(inner) => table = inner,
                    None => return Ok(()),
                }
            }
            table.remove(last);
        }
    }
    Ok(())
}

/// Returns the table at a path of keys, which is made where it is missing.
fn table_at<'a>(
    document: &'a mut DocumentMut,
    keys: &[String],
) -> Result<&'a mut dyn TableLike, String> {
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for key in keys {
        let item = table.entry(key).or_insert_with(|| Item::Table(implicit()));
        table =
            item.as_table_like_mut().ok_or_else(|| format!("`{key}` is a value, not a table"))?;
    }
    Ok(table)
}

/// Returns a table that is written only if it has values of its own: `[accounts.work]` needs no
/// `[accounts]`.
fn implicit() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

/// Prevents other changes until the returned file is dropped. It is a separate file, because the
/// configuration file is replaced.
fn lock(path: &Path) -> std::io::Result<File> {
    let path = file::with_ending(path, ".lock");
    let file = match file::make_private_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let mut options = File::options();
            // Another kind of file could block, and a link could lead to any file.
            #[cfg(unix)]
            {
                use rustix::fs::OFlags;
                let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
                std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.cast_signed());
            }
            options.write(true).open(&path)
        }
        made => made,
    }?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other(format!("{} is not a file", file::shown(&path))));
    }
    file.lock()?;
    Ok(file)
}
