//! Reads files that others may have made, and makes and replaces private ones.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use whereby_authority::text;

/// A file's contents, and the access that others have.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) bytes: Vec<u8>,
    pub(crate) access: Access,
}

/// Reads a regular file of at most `most` bytes: a pipe could block, and a device could be endless. The
/// error says what is wrong with the file.
pub(crate) fn read(path: &Path, most: u64) -> Result<Contents, String> {
    let failed = |error: io::Error| format!("cannot be read: {error}");
    let file = open(path).map_err(failed)?;
    // Of the open file, because the path may have changed.
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err("is not a file".into());
    }
    let access = Access::of(path, &file, &metadata);
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(format!("is larger than {most} bytes"));
    }
    Ok(Contents { bytes, access })
}

/// Reads a regular file that only root and the user can change or replace: it, its folder and those above
/// belong to one of them, and no others can write them. No part of the path may be a link. Returns `None`
/// if there is no such file. The error says what is wrong with it.
#[cfg(unix)]
pub(crate) fn read_guarded(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: io::Error| format!("cannot be read: {error}");
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(failed)?,
    };
    // First, so that what others could exchange meanwhile is noticed below.
    let contents = read(path, most)?;
    if contents.access.writable_by_others {
        return Err("can be changed by others".into());
    }
    if path.canonicalize().map_err(failed)? != path {
        return Err("is reached by a link".into());
    }
    if !is_in_safe_folders(path, rustix::process::geteuid().as_raw(), 0o022) {
        return Err("is in a folder that others can change".into());
    }
    Ok(Some(contents.bytes))
}

/// Without owners and modes, nothing is known to be guarded.
#[cfg(not(unix))]
pub(crate) fn read_guarded(path: &Path, _: u64) -> Result<Option<Vec<u8>>, String> {
    if path.exists() { Err("could be changed by others".into()) } else { Ok(None) }
}

/// Returns a path, safe to show.
pub(crate) fn shown(path: &Path) -> String {
    text::printable(&path.display().to_string(), 300)
}

/// Whether others can read a file that only root can change. False if the file cannot be opened.
pub(crate) fn is_fixed_and_readable(path: &Path) -> bool {
    let file = open(path).ok().and_then(|file| Some((file.metadata().ok()?, file)));
    file.is_some_and(|(metadata, file)| {
        let access = Access::of(path, &file, &metadata);
        access.is_fixed && access.readable_by_others
    })
}

/// Whether only a file's owner and group can read it, by its mode.
#[cfg(unix)]
pub(crate) fn is_closed_to_others(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().is_ok_and(|metadata| metadata.mode() & 0o004 == 0)
}

/// Whether only a file's owner and group can read it, by its mode.
#[cfg(not(unix))]
pub(crate) fn is_closed_to_others(_: &Path) -> bool {
    false
}

impl Contents {
    /// Checks that others cannot read or write a file with a secret, or that only root can change it. The
    /// error says what to do.
    pub(crate) fn check_secret(&self, path: &Path) -> Result<(), String> {
        let Access { readable_by_others, writable_by_others, is_fixed } = self.access;
        if is_fixed || !(readable_by_others || writable_by_others) {
            return Ok(());
        }
        let path = text::shell_word(path);
        Err(format!(
            "can be used by others; run: chmod 600 {path} (if it is not yours, copy it \
             into a file of your own first)"
        ))
    }

    /// Returns the contents as a string, without a byte order mark.
    pub(crate) fn text(self) -> Result<String, String> {
        let text = String::from_utf8(self.bytes).map_err(|_| "is not UTF-8")?;
        Ok(text::without_bom(&text).to_owned())
    }
}

/// Checks that a program can be run, as far as that is known without running it.
pub(crate) fn check_program(path: &Path) -> Result<(), &'static str> {
    let Ok(found) = path.metadata() else { return Err("does not exist") };
    #[cfg(unix)]
    let is_executable = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o111 != 0;
    #[cfg(not(unix))]
    let is_executable = true;
    if found.is_file() && is_executable { Ok(()) } else { Err("is not an executable file") }
}

/// Makes a folder and its missing parents, each only for its owner, whatever the umask. An existing folder
/// is not changed.
pub(crate) fn make_private_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_private_folder(parent)?;
    }
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // A umask can remove the owner's permissions too.
        #[cfg(unix)]
        Ok(()) => std::fs::set_permissions(folder, mode(0o700)),
        // Another process may have made it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes a new file, only for its owner, whatever the umask, and opens it for reading and appending.
pub(crate) fn make_private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.read(true).append(true).create_new(true).open(path)?;
    #[cfg(unix)]
    file.set_permissions(mode(0o600))?;
    Ok(file)
}

/// Replaces a file atomically with one that only its owner can use. The contents are first written to
/// `beside`, a path in the same directory. If `is_durable`, they are on the disk before the file gets its
/// name.
pub(crate) fn replace(
    path: &Path,
    beside: &Path,
    contents: &[u8],
    is_durable: bool,
) -> io::Result<()> {
    replace_as(path, beside, contents, is_durable, None)
}

/// Replaces a file of the user's atomically, or makes it. An existing file keeps its permissions; a new one
/// is only for its owner.
pub(crate) fn rewrite(path: &Path, contents: &[u8]) -> io::Result<()> {
    let old = match path.metadata() {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let random = getrandom::u64().map_err(io::Error::other)?;
    let beside = with_ending(path, &format!(".whereby-{random:016x}"));
    replace_as(path, &beside, contents, true, old.as_ref())
}

/// Gives a new file the group of the one that it replaces. Returns the permissions of the latter, without those
/// of the group if that is another one now.
#[cfg(unix)]
fn kept_permissions(file: &File, old: &Metadata) -> Permissions {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let is_same = fchown(file, None, Some(old.gid())).is_ok();
    mode(old.mode() & if is_same { 0o777 } else { 0o707 })
}

#[cfg(not(unix))]
fn kept_permissions(_: &File, old: &Metadata) -> Permissions {
    old.permissions()
}

fn replace_as(
    path: &Path,
    beside: &Path,
    contents: &[u8],
    is_durable: bool,
    old: Option<&Metadata>,
) -> io::Result<()> {
    // A program that was stopped may have left it.
    remove(beside)?;
    let replaced = make_private_file(beside).and_then(|mut file| {
        file.write_all(contents)?;
        if let Some(old) = old {
            file.set_permissions(kept_permissions(&file, old))?;
        }
        if is_durable {
            file.sync_all()?;
        }
        std::fs::rename(beside, path)
    });
    if replaced.is_err() {
        // It may contain a token.
        let _ = std::fs::remove_file(beside);
    }
    replaced
}

/// Checks that a file, which may not exist yet, and its folder belong to the user, so that a new file can
/// take its place. The error says what is wrong with the file.
#[cfg(unix)]
pub(crate) fn check_own(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid().as_raw();
    match path.symlink_metadata() {
        Ok(found) if found.uid() != user => return Err("belongs to another user".into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("cannot be accessed: {error}"));
        }
        _ => {}
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let found = folder.metadata().map_err(|error| format!("has no usable folder: {error}"))?;
    let is_own = found.uid() == user && found.mode() & 0o002 == 0;
    // The folder may be reached by a link, and the file may not exist.
    if is_own && is_in_safe_folders(folder, user, 0o002) {
        return Ok(());
    }
    Err("is in a folder that others can change".into())
}

/// Checks that only root, the user and their groups can change or replace a program. The error says what is
/// wrong with it.
#[cfg(unix)]
pub(crate) fn check_kept(program: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid().as_raw();
    let found = program.metadata().map_err(|error| format!("cannot be accessed: {error}"))?;
    if ![0, user].contains(&found.uid()) || found.mode() & 0o002 != 0 {
        return Err("can be changed by others".into());
    }
    if !is_in_safe_folders(program, user, 0o002) {
        return Err("is in a folder that others can change".into());
    }
    Ok(())
}

/// Other systems have no owners that this program knows.
#[cfg(not(unix))]
pub(crate) fn check_kept(_: &Path) -> Result<(), String> {
    Ok(())
}

/// Other systems have no owners that this program knows.
#[cfg(not(unix))]
pub(crate) fn check_own(_: &Path) -> Result<(), String> {
    Ok(())
}

/// Follows links to the file to change, which may not exist yet.
pub(crate) fn target(mut path: PathBuf) -> PathBuf {
    // As many links as Linux follows. Opening a path with more fails.
    for _ in 0..40 {
        let Ok(next) = std::fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new("/")).join(next);
    }
    path
}

/// Returns the path of a file in the same folder, whose name has this ending as well.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

/// Removes a file, if it exists.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn mode(mode: u32) -> Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Opening a pipe would block until somebody writes to it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// The access that others have to a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) readable_by_others: bool,
    /// Also true if another user owns the file, who can change its mode.
    pub(crate) writable_by_others: bool,
    /// Whether only root can change or replace the file, such as a secret that is mounted into a
    /// container.
    pub(crate) is_fixed: bool,
}

#[cfg(unix)]
impl Access {
    fn of(path: &Path, file: &File, metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let user = rustix::process::geteuid().as_raw();
        let is_kept = || is_read_only(file) || is_in_safe_folders(path, user, 0o022);
        Self::judge(metadata.uid(), user, metadata.mode(), || is_read_only(file), is_kept)
    }

    /// `is_read_only`: the file's mode cannot be changed. `is_kept`: no other user can replace the file.
    fn judge(
        owner: u32,
        user: u32,
        mode: u32,
        is_read_only: impl FnOnce() -> bool,
        is_kept: impl FnOnce() -> bool,
    ) -> Self {
        let is_known = owner == user || owner == 0;
        let (readable, writable) = (mode & 0o044 != 0, mode & 0o022 != 0);
        let is_beyond_user = || if user == 0 { is_read_only() } else { is_kept() };
        Self {
            readable_by_others: !is_known || readable,
            writable_by_others: !is_known || writable,
            is_fixed: owner == 0 && readable && !writable && is_beyond_user(),
        }
    }
}

#[cfg(not(unix))]
impl Access {
    fn of(_: &Path, _: &File, _: &Metadata) -> Self {
        Self { readable_by_others: false, writable_by_others: false, is_fixed: false }
    }
}

#[cfg(unix)]
fn is_read_only(file: &File) -> bool {
    rustix::fs::fstatvfs(file)
        .is_ok_and(|mount| mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

/// Whether only root and the user can replace a file: each folder above it, and above a link to it,
/// belongs to one of them and is not writable by `others`, unless it is sticky. These are bits of a mode:
/// 0o022 where a secret or code is, or 0o002 for what a person keeps, since many systems make folders that
/// the user's own group or the administrators can write.
#[cfg(unix)]
fn is_in_safe_folders(path: &Path, user: u32, others: u32) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let is_safe = |folder: &Path| {
        folder.metadata().is_ok_and(|found| {
            let is_known = found.uid() == 0 || found.uid() == user;
            is_known && (found.mode() & others == 0 || found.mode() & 0o1000 != 0)
        })
    };
    // The folders of the file and of a link to it.
    let own = path.canonicalize().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let named = path.parent().and_then(|folder| folder.canonicalize().ok());
    [own, named]
        .into_iter()
        .all(|folder| folder.is_some_and(|folder| folder.ancestors().all(is_safe)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_closed_to_others_if_at_most_its_group_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (mode, expected) in [(0o400, true), (0o440, true), (0o444, false), (0o604, false)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(file.path(), permissions).expect("a mode");
            assert_eq!(is_closed_to_others(file.path()), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_file_is_fixed_if_only_root_can_change_it() {
        const ME: u32 = 1000;
        let judged = |owner, user, mode, is_read_only, is_kept| {
            let access = Access::judge(owner, user, mode, || is_read_only, || is_kept);
            (access.readable_by_others, access.writable_by_others, access.is_fixed)
        };
        for (owner, user, mode, is_read_only, is_kept, expected) in [
            (ME, ME, 0o600, false, true, (false, false, false)),
            (ME, ME, 0o644, true, true, (true, false, false)),
            (ME, ME, 0o620, false, true, (false, true, false)),
            (0, ME, 0o400, false, true, (false, false, false)),
            (0, ME, 0o444, false, true, (true, false, true)),
            (0, ME, 0o440, false, true, (true, false, true)),
            (0, ME, 0o444, false, false, (true, false, false)),
            (0, ME, 0o464, false, true, (true, true, false)),
            (0, ME, 0o446, true, true, (true, true, false)),
            (1001, ME, 0o444, true, true, (true, true, false)),
            (1001, ME, 0o400, true, true, (true, true, false)),
            // Root could change the mode, unless the mount is read-only.
            (0, 0, 0o444, false, true, (true, false, false)),
            (0, 0, 0o444, true, true, (true, false, true)),
        ] {
            let found = judged(owner, user, mode, is_read_only, is_kept);
            assert_eq!(found, expected, "{owner} {user} {mode:o} {is_read_only} {is_kept}");
        }
    }
}
