//! The operating system's user who runs the program.

/// Returns the user's name.
#[cfg(unix)]
pub(crate) fn name() -> String {
    let id = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(id).ok().flatten();
    user.map_or_else(|| format!("the user {id}"), |user| user.name)
}

/// Returns the user's name.
#[cfg(not(unix))]
pub(crate) fn name() -> String {
    "a user of this machine".into()
}
