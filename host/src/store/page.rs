//! Where the inbox page is, for programs that tell people of approvals.
//!
//! The process that serves the page writes its address to a file and holds a lock on it, so that the
//! address of a process that has ended is not believed.

use super::{Store, files};
use crate::error::Error;
use crate::system::file;
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use url::Url;

/// The name of the file in the state directory.
const FILE: &str = "page";

/// The maximum length of an address, in bytes.
const MAX_ADDRESS: u64 = 200;

/// The announcement of a page. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Announced {
    path: PathBuf,
    _file: File,
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Without its lock, nobody believes a file that stays.
        let _ = file::remove(&self.path);
    }
}

impl Store {
    /// Announces the address of a page that this process serves. `None` if another process has announced
    /// one.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the file cannot be written.
    pub(crate) fn announce_page(&self, address: &Url) -> Result<Option<Announced>, Error> {
        files::prepare_directory(&self.shared.directory)?;
        let path = self.shared.directory.join(FILE);
        let failed = |error| files::failed("address of the page", &path, &error);
        let mut open = file::make_private_file(&path);
        if open.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists) {
            open = File::options().read(true).write(true).open(&path);
        }
        let mut own = open.map_err(failed)?;
        match own.try_lock() {
            Ok(()) if files::is_linked(&own, &path) => {}
            Ok(()) | Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        own.set_len(0)
            .and_then(|()| own.rewind())
            .and_then(|()| own.write_all(address.as_str().as_bytes()))
            .map_err(failed)?;
        Ok(Some(Announced { path, _file: own }))
    }

    /// Returns the address of the page, if a process of this user serves it.
    pub(crate) fn page(&self) -> Option<Url> {
        let open = File::open(self.shared.directory.join(FILE)).ok()?;
        // Its process has ended.
        if open.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        open.take(MAX_ADDRESS).read_to_string(&mut text).ok()?;
        let address = Url::parse(&text).ok()?;
        let is_local = matches!(address.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        (address.scheme() == "http" && is_local).then_some(address)
    }

    /// Returns the address of an approval on the page, if a process of this user serves it. It opens
    /// nothing for those who are not signed in.
    pub(crate) fn page_of(&self, id: &str) -> Option<Url> {
        self.page()?.join(&format!("approvals/{id}")).ok()
    }
}
