//! The files that settings come from, and whether they have changed since.

use super::{ConfigFile, Settings, tightening_files};
use crate::config::environment::Environment;
use crate::error::Error;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What changes when a file is written, replaced or given other permissions; `None` if there is no file.
pub(crate) type Stamp = Option<(SystemTime, u64, [i64; 3])>;

/// Returns the stamps of files. Reads none of them.
pub(crate) fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|file| stamp(file)).collect()
}

fn stamp(file: &Path) -> Stamp {
    let metadata = std::fs::metadata(file).ok()?;
    #[cfg(unix)]
    let more = {
        use std::os::unix::fs::MetadataExt as _;
        [metadata.ino().cast_signed(), metadata.ctime(), metadata.ctime_nsec()]
    };
    #[cfg(not(unix))]
    let more = [0; 3];
    Some((metadata.modified().ok()?, metadata.len(), more))
}

/// Where settings were read from, and the state of the files before that.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The configuration file that was named, if one was.
    named: Option<PathBuf>,
    environment: Environment,
    files: Vec<PathBuf>,
    pub(crate) stamps: Vec<Stamp>,
}

impl Sources {
    /// Looks at the files that [`Settings::load`] reads.
    pub(super) fn of(named: Option<&Path>, environment: &Environment) -> Result<Self, Error> {
        let files = files(named, environment)?;
        let stamps = stamps(&files);
        let (named, environment) = (named.map(Path::to_owned), environment.clone());
        Ok(Self { named, environment, files, stamps })
    }

    /// Reads the settings again.
    pub(crate) fn load(&self) -> Result<Settings, Error> {
        Settings::load(self.named.as_deref(), &self.environment)
    }

    /// Returns the stamps that the files have now.
    pub(crate) fn stamps_now(&self) -> Vec<Stamp> {
        stamps(&self.files)
    }
}

/// Returns every file that settings are read from, whether it exists or not.
pub(super) fn files(
    named: Option<&Path>,
    environment: &Environment,
) -> Result<Vec<PathBuf>, Error> {
    let own = ConfigFile::find(named, environment)?.map(|found| found.path);
    Ok(own.into_iter().chain(tightening_files(environment)).collect())
}
