//! Looks after the audit log once a call has ended: archives what is older than `[audit] keep`, and takes the
//! newest hash elsewhere. No call waits for a command.

use super::Session;
use super::authorization::blocking;
use crate::error::Error;
use crate::store::{Due, Head, Rhythm, Store};
use crate::system::digest::hex;
use crate::system::file::shown;
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use whereby_authority::timestamp::Timestamp;

/// How often a program looks for old rows, in milliseconds.
const ARCHIVE_EVERY_MS: i64 = 60 * 60 * 1000;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What a session and those made from it did last.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// When old rows were last looked for.
    looked_at: AtomicI64,
    /// Whether something waits to take the newest hash elsewhere.
    is_waiting: AtomicBool,
}

impl Session {
    /// Does what is due. Problems are told to the person who runs the program.
    pub(super) async fn look_after_log(&self) {
        let Ok(Some(store)) = &self.0.store else { return };
        let audit = &self.0.resources.settings.audit;
        let now = self.0.resources.clock().unix_ms();
        if let Some(days) = audit.keep_days {
            let last = self.0.upkeep.looked_at.load(Ordering::Relaxed);
            if last == 0 || !(0..ARCHIVE_EVERY_MS).contains(&now.saturating_sub(last)) {
                self.0.upkeep.looked_at.store(now.max(1), Ordering::Relaxed);
                let before = now.saturating_sub(i64::from(days) * DAY_MS);
                // Several, if much is old.
                loop {
                    let archived = blocking(store, move |store| store.archive_old(before)).await;
                    match archived {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(error) => {
                            (self.0.notice)(&format!(
                                "audit.keep: the log was not archived: {error}"
                            ));
                            break;
                        }
                    }
                }
            }
        }
        if audit.head_file.is_some() || !audit.head_command.is_empty() {
            self.take_head(store).await;
        }
    }

    async fn take_head(&self, store: &Arc<Store>) {
        let audit = &self.0.resources.settings.audit;
        let rhythm = Rhythm {
            rows: i64::try_from(audit.head_rows).unwrap_or(i64::MAX),
            ms: i64::try_from(audit.head_minutes).unwrap_or(i64::MAX).saturating_mul(60 * 1000),
        };
        // The rows of a read are in the database after a moment. A later call looks again.
        match blocking(store, move |store| store.due_head(rhythm)).await {
            Ok(Due::Never) => {}
            Ok(Due::Now(head)) => self.give(store, head).await,
            Ok(Due::In(ms)) => self.take_head_in(ms),
            Err(error) => (self.0.notice)(&format!("audit: the newest hash was not read: {error}")),
        }
    }

    /// Takes the newest hash elsewhere later, if no call does it before. A program that ends first leaves it to
    /// the next one.
    fn take_head_in(&self, ms: i64) {
        if self.0.upkeep.is_waiting.swap(true, Ordering::Relaxed) {
            return;
        }
        let session = self.clone();
        let pause = Duration::from_millis(ms.unsigned_abs());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            session.0.upkeep.is_waiting.store(false, Ordering::Relaxed);
            session.look_after_log().await;
        });
    }

    async fn give(&self, store: &Arc<Store>, head: Head) {
        let settings = &self.0.resources.settings;
        let now = Timestamp::of_unix_ms(self.0.resources.clock().unix_ms());
        let document = json!({
            "hash": hex(&head.link.hash),
            "position": head.link.position,
            "time": now.map(Timestamp::to_rfc3339),
        });
        if let Some(file) = settings.audit.head_file.clone() {
            let line = format!("{document}\n");
            let written = blocking(store, {
                let file = file.clone();
                move |store| {
                    append(&file, &line).map_err(|error| {
                        // If this fails too, the next hash is a later one.
                        let _ = store.head_failed(&head);
                        Error::configuration(error.to_string())
                    })
                }
            });
            if let Err(error) = written.await {
                (self.0.notice)(&format!(
                    "audit.head_file: the newest hash was not added to {}: {error}",
                    shown(&file)
                ));
            }
        }
        if !settings.audit.head_command.is_empty() {
            let store = Arc::clone(store);
            let failed = move || {
                // If this fails too, the next hash is a later one.
                let _ = store.head_failed(&head);
            };
            let environment = self.0.resources.environment();
            self.0.notifier.take_head(settings, environment, &document, &self.0.notice, failed);
        }
    }
}

/// Adds a line to a file, and waits until it is on the disk.
fn append(file: &Path, line: &str) -> std::io::Result<()> {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(file)?;
    file.write_all(line.as_bytes())?;
    file.sync_data()
}
