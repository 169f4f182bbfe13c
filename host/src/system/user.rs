//! The operating system's user that the program runs as.

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The name; without one, `the user` and the number.
    pub(crate) name: String,
    /// The number, where users have one.
    pub(crate) uid: Option<u32>,
}

impl User {
    /// Returns the user who started the program.
    #[cfg(unix)]
    pub(crate) fn current() -> Self {
        let id = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(id).ok().flatten();
        let name = user.map_or_else(|| format!("the user {id}"), |user| user.name);
        Self { name, uid: Some(id.as_raw()) }
    }

    /// Returns the user who started the program.
    #[cfg(not(unix))]
    pub(crate) fn current() -> Self {
        Self { name: "a user of this machine".into(), uid: None }
    }
}
