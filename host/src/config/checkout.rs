//! Finds checkouts. The authors of a repository can set the environment of the people who work in it
//! (direnv, `.env` files, editors, containers), so a variable that leads into a checkout is not trusted.

use crate::config::PROJECT_FILE;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
#[cfg(unix)]
use std::sync::OnceLock;

/// Returns the checkout around the working directory that contains a path, if any.
///
/// A checkout is a directory at or above the working directory that has a `.git`. If there is none, it is
/// the nearest directory with a project file, or the working directory itself. The user's home directory
/// and the directories above it are not checkouts, because a home may be a repository. `home` is the value
/// of `HOME`. A checkout may have set it, so a directory with a `.git` counts even if `HOME` names it.
pub(crate) fn holding(path: &Path, directory: &Path, home: Option<&Path>) -> Option<PathBuf> {
    holding_for(own_home().as_deref(), path, directory, home)
}

/// Like [`holding`], with the user's home directory from the system.
fn holding_for(
    own_home: Option<&Path>,
    path: &Path,
    directory: &Path,
    home: Option<&Path>,
) -> Option<PathBuf> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let directory = real(directory);
    if directory.as_os_str().is_empty() {
        return None;
    }
    let has = |folder: &Path, name: &str| match folder.join(name).symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    };
    let folders = || directory.ancestors();
    let is_foreign = |folder: &&Path| has(folder, ".git") && !is_above(folder, own_home);
    let mut checkouts: Vec<&Path> = folders().filter(is_foreign).collect();
    if checkouts.is_empty() {
        let home = home.map(real);
        checkouts.extend(folders().find(|folder| has(folder, PROJECT_FILE)));
        checkouts.push(&directory);
        checkouts.retain(|folder| home.as_deref() != Some(folder) && !is_above(folder, own_home));
    }
    let holder = checkouts.into_iter().find(|folder| is_within(path, folder))?;
    (!is_in_own_place(path, own_home)).then(|| holder.to_owned())
}

/// Whether a path leads into a folder, directly or through a link.
fn is_within(path: &Path, folder: &Path) -> bool {
    // A component that does not exist yet may become a folder or a link.
    let goes_back = path.components().any(|part| part == Component::ParentDir);
    if goes_back && path.canonicalize().is_err() {
        return true;
    }
    path.ancestors().any(|part| part.canonicalize().is_ok_and(|part| part.starts_with(folder)))
}

/// Whether a folder is the root or contains the user's home directory.
fn is_above(folder: &Path, own_home: Option<&Path>) -> bool {
    let is_in = |home: &Path| home.canonicalize().is_ok_and(|home| home.starts_with(folder));
    folder.parent().is_none() || own_home.is_some_and(is_in)
}

/// The default directories in the home directory, the configuration first.
const OWN_PLACES: &[&str] = if cfg!(target_os = "macos") {
    &["Library/Application Support/whereby", "Library/Caches/whereby"]
} else {
    &[".config/whereby", ".local/state/whereby", ".cache/whereby"]
};

/// Whether a path is in a default directory. Links there belong to the user.
fn is_in_own_place(path: &Path, own_home: Option<&Path>) -> bool {
    let goes_back = path.components().any(|part| part == Component::ParentDir);
    let is_in = |home: &Path| OWN_PLACES.iter().any(|place| path.starts_with(home.join(place)));
    !goes_back && own_home.is_some_and(is_in)
}

/// Returns the default path of the user's configuration.
pub(crate) fn own_configuration() -> Option<PathBuf> {
    own_home().map(|home| home.join(OWN_PLACES[0]).join("config.toml"))
}

/// Returns the user's home directory from the system's user database, whatever `HOME` says.
#[cfg(unix)]
pub(crate) fn own_home() -> Option<PathBuf> {
    // It is asked once, unless it fails.
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    if let Some(home) = HOME.get() {
        return Some(home.clone());
    }
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten()?;
    // Users without a home have `/`.
    let home = Some(user.dir).filter(|home| home.is_absolute() && home.parent().is_some())?;
    Some(HOME.get_or_init(|| home).clone())
}

#[cfg(not(unix))]
pub(crate) fn own_home() -> Option<PathBuf> {
    std::env::home_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_is_recognized_by_its_files() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let root = temporary.path().canonicalize().expect("a path");
        let at = |name: &str| root.join(name);
        for folder in ["git/.git", "git/deep/er", "git/sub", "tar/deep", "plain/sub", "home/x"] {
            std::fs::create_dir_all(at(folder)).expect("a folder");
        }
        std::fs::write(at("git/sub/.git"), "gitdir: ../.git/modules/sub").expect("a file");
        std::fs::write(at("tar/.whereby.toml"), "").expect("a file");
        std::fs::write(at("home/.whereby.toml"), "").expect("a file");
        #[cfg(unix)]
        for (to, link) in [("git", "link"), ("home", "git/out"), ("git/deep", "home/in")] {
            std::os::unix::fs::symlink(at(to), at(link)).expect("a link");
        }
        for (path, directory, home, holder) in [
            ("git/.config", "git", "home", Some("git")),
            ("git/.config", "git/deep/er", "home", Some("git")),
            ("git", "git/deep/er", "home", Some("git")),
            // A submodule belongs to the checkout around it.
            ("git/.config", "git/sub", "home", Some("git")),
            // HOME does not exempt a repository, or other folders than itself.
            ("git/.config", "git", "git", Some("git")),
            ("git/deep/.config", "git/deep", "git/deep", Some("git")),
            ("plain/sub/.config", "plain", "plain/sub", Some("plain")),
            ("tar/.config", "tar/deep", "home", Some("tar")),
            ("tar/deep/.config", "tar/deep", "tar/deep", Some("tar")),
            ("plain/x", "plain", "home", Some("plain")),
            #[cfg(unix)]
            ("link/.config", "git", "home", Some("git")),
            #[cfg(unix)]
            ("git/out/.config", "git", "home", Some("git")),
            #[cfg(unix)]
            ("home/in/.config", "git/deep", "home", Some("git")),
            ("none/../git/.config", "git", "home", Some("git")),
            // Outside the checkout, and in the user's home.
            ("home/.config", "git", "home", None),
            ("gitter/.config", "git", "home", None),
            ("plain/.config", "plain/sub", "home", None),
            ("home/.config", "home", "home", None),
            ("home/.config", "home/x", "home", None),
        ] {
            let found = holding(&at(path), &at(directory), Some(&at(home)));
            assert_eq!(found, holder.map(at), "{path} from {directory}, HOME={home}");
        }
        assert_eq!(holding(&at("git/.config"), Path::new("/"), None), None);
        assert_eq!(holding(&at("git/.config"), Path::new(""), None), None);
    }

    /// Some people keep the files of their home directory in git.
    #[test]
    fn a_home_that_is_a_repository_is_not_a_checkout_but_those_in_it_are() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let root = temporary.path().canonicalize().expect("a path");
        let at = |name: &str| root.join(name);
        for folder in ["house/.git", "house/docs", "house/code/repo/.git", "house/tar/deep"] {
            std::fs::create_dir_all(at(folder)).expect("a folder");
        }
        for file in ["house/.whereby.toml", "house/tar/.whereby.toml"] {
            std::fs::write(at(file), "").expect("a file");
        }
        for (path, directory, home, holder) in [
            ("house/.dotfiles/whereby", "house", "house", None),
            ("house/.config/whereby", "house", "house", None),
            ("house/.dotfiles/whereby", "house/work", "house", None),
            ("house/docs/x", "house", "house", None),
            ("house/code/repo/x", "house", "house", None),
            // A folder in it is not exempt.
            ("house/docs/x", "house/docs", "house", Some("house/docs")),
            ("house/tar/x", "house/tar/deep", "house", Some("house/tar")),
            ("house/code/repo/x", "house/code/repo", "house", Some("house/code/repo")),
            ("house/.config/whereby", "house/code/repo", "house", None),
            // The home directory is the system's, whatever HOME says.
            ("house/.dotfiles/whereby", "house", "elsewhere", None),
            ("house/code/repo/x", "house/code/repo", "house/code/repo", Some("house/code/repo")),
        ] {
            let home = at(home);
            let found = holding_for(Some(&at("house")), &at(path), &at(directory), Some(&home));
            assert_eq!(found, holder.map(at), "{path} from {directory}");
        }
        // For another user it is an ordinary repository.
        let found = holding_for(None, &at("house/x"), &at("house/docs"), Some(&at("house")));
        assert_eq!(found, Some(at("house")));
    }

    #[test]
    #[cfg(unix)]
    fn the_default_directories_are_the_users_even_in_a_repository() {
        let home = own_home().expect("a home directory");
        assert!(is_above(&home.canonicalize().expect("a path"), Some(&home)));
        assert!(is_above(Path::new("/"), Some(&home)));
        for (place, is_own) in [
            (".config/whereby/config.toml", true),
            (".local/state/whereby", true),
            (".cache/whereby", true),
            (".config/whereby/../../checkout", false),
            (".config", false),
            ("checkout/whereby", false),
        ] {
            assert_eq!(is_in_own_place(&home.join(place), Some(&home)), is_own, "{place}");
        }
    }
}
