//! Where the inbox page is, for programs that tell people of approvals.
//!
//! Each process that serves the page writes its address to a file of its own and holds a lock on it, so that
//! the address of a process that has ended is not believed.

use super::{Store, files};
use crate::error::Error;
use crate::system::file;
use crate::system::random::random;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use rusqlite::params;
use sha2::{Digest as _, Sha256};
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use url::Url;

/// The names of the files in the state directory, the preferred first: a process announces its page in the
/// first one that is free. That of a service lets every user in who has a link, so it comes before others.
const FILES: [&str; 9] =
    ["page.service", "page", "page.2", "page.3", "page.4", "page.5", "page.6", "page.7", "page.8"];

/// The maximum length of an address, in bytes.
const MAX_ADDRESS: u64 = 200;

fn digest_of(code: &str) -> [u8; 32] {
    Sha256::digest(code).into()
}

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

/// How long a link that signs a person in works, in milliseconds.
pub(crate) const LINK_MS: i64 = 10 * 60 * 1000;

/// How long a link is remembered, to say that it was used or expired, in milliseconds.
const REMEMBERED_MS: i64 = 24 * 60 * 60 * 1000;

/// How far a time may be in the future, in milliseconds: corrections of a running clock.
const AHEAD_MS: i64 = 2 * 60 * 1000;

/// Why a link lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadLink {
    /// It was used, or it expired.
    Spent,
    /// It was never made here.
    Wrong,
}

impl Store {
    /// Returns the code of a new link that signs a person in on the page, once.
    pub(crate) fn new_page_link(&self) -> Result<String, Error> {
        let bytes: [u8; 32] = random()?;
        let (code, now) = (URL_SAFE_NO_PAD.encode(bytes), self.shared.now());
        self.shared.write(|transaction| {
            transaction
                .execute("DELETE FROM page_links WHERE created_at < ?1", [now - REMEMBERED_MS])?;
            let add = "INSERT INTO page_links (digest, created_at) VALUES (?1, ?2)";
            transaction.execute(add, params![digest_of(&code), now])
        })?;
        Ok(code)
    }

    /// Uses up a link that signs a person in.
    pub(crate) fn use_page_link(&self, code: &str) -> Result<Result<(), BadLink>, Error> {
        let now = self.shared.now();
        self.shared.write(|transaction| {
            // Looking for a digest takes a time that tells nothing about the code.
            let spend = "UPDATE page_links SET used_at = ?2
                WHERE digest = ?1 AND used_at IS NULL AND ?2 < created_at + ?3
                AND created_at <= ?2 + ?4";
            let digest = digest_of(code);
            if transaction.execute(spend, params![digest, now, LINK_MS, AHEAD_MS])? > 0 {
                return Ok(Ok(()));
            }
            let is_known = "SELECT 1 FROM page_links WHERE digest = ?1";
            let is_known = transaction.prepare(is_known)?.exists([digest])?;
            Ok(Err(if is_known { BadLink::Spent } else { BadLink::Wrong }))
        })
    }

    /// Announces the address of a page that this process serves; `for_others`, if it lets other users of this
    /// machine in. `None` if too many processes serve one.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if the file cannot be written.
    pub(crate) fn announce_page(
        &self,
        address: &str,
        for_others: bool,
    ) -> Result<Option<Announced>, Error> {
        files::prepare_directory(&self.shared.directory)?;
        let free = if for_others { &FILES[..] } else { &FILES[1..] };
        for name in free {
            let path = self.shared.directory.join(name);
            let failed = |error| files::failed("address of the page", &path, &error);
            let mut open = file::make_private_file(&path);
            if open.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists) {
                open = File::options().read(true).write(true).open(&path);
            }
            let mut own = open.map_err(failed)?;
            match own.try_lock() {
                Ok(()) if files::is_linked(&own, &path) => {}
                Ok(()) | Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            own.set_len(0)
                .and_then(|()| own.rewind())
                .and_then(|()| own.write_all(address.as_bytes()))
                .map_err(failed)?;
            return Ok(Some(Announced { path, _file: own }));
        }
        Ok(None)
    }

    /// Returns the address of the page, if a process of this user serves it. Of several, that of a service.
    pub(crate) fn page(&self) -> Option<Url> {
        FILES.iter().find_map(|name| self.announced(name))
    }

    fn announced(&self, name: &str) -> Option<Url> {
        let open = File::open(self.shared.directory.join(name)).ok()?;
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
    pub(crate) fn page_of(&self, id: &str) -> Option<String> {
        self.page()?.join(&format!("approvals/{id}")).ok().map(String::from)
    }

    /// Returns where a passkey approves a call: `at`, and its address on the page, or how to serve the page.
    pub(crate) fn passkey_place(&self, id: &str) -> String {
        match self.page_of(id) {
            Some(page) => format!("at {page}"),
            None => "on the page of: whereby inbox --web".into(),
        }
    }
}
