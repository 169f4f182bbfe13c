//! Maintains the audit log after calls, in the background: archives what is older than `[audit] keep`, and
//! publishes the newest hash as `[audit]` says. No call waits for it.

use super::Session;
use crate::error::Error;
use crate::store::{Due, Head, Interval, Store};
use crate::system::digest::hex;
use crate::system::file::shown;
use serde_json::json;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use whereby_authority::timestamp::Timestamp;

/// How often a program looks for old rows, in milliseconds.
const ARCHIVE_EVERY_MS: i64 = 60 * 60 * 1000;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// How long after an attempt to publish a hash to look whether it has to be repeated, in milliseconds.
const LOOK_AGAIN_MS: i64 = 61 * 1000;

/// What a session and those made from it are doing.
#[derive(Debug, Default)]
pub(super) struct Maintenance {
    /// When old rows were last looked for.
    looked_at: AtomicI64,
    is_running: AtomicBool,
    /// Whether a call has ended since the running pass began.
    is_wanted: AtomicBool,
    /// Whether a pass is to run later, without a call.
    is_scheduled: AtomicBool,
}

impl Session {
    /// Has done what is due, without waiting for it. Problems are told to the person who runs the program.
    pub(super) fn maintain_log(&self) {
        let Ok(Some(_)) = &self.0.store else { return };
        let publishes = self.publishes();
        if !publishes && !self.is_archive_due() {
            return;
        }
        let maintenance = &self.0.maintenance;
        maintenance.is_wanted.store(true, Ordering::SeqCst);
        if maintenance.is_running.swap(true, Ordering::SeqCst) {
            return;
        }
        let session = self.clone();
        let started = self.0.notifier.in_background(move |is_closed| {
            let maintenance = &session.0.maintenance;
            loop {
                while maintenance.is_wanted.swap(false, Ordering::SeqCst) {
                    session.maintain_now(is_closed);
                }
                maintenance.is_running.store(false, Ordering::SeqCst);
                // A call may have ended in between.
                if !maintenance.is_wanted.load(Ordering::SeqCst)
                    || maintenance.is_running.swap(true, Ordering::SeqCst)
                {
                    return;
                }
            }
        });
        if let Err(error) = started {
            maintenance.is_running.store(false, Ordering::SeqCst);
            (self.0.notice)(&format!(
                "audit: no thread can be started to maintain the log: {error}"
            ));
        }
    }

    fn publishes(&self) -> bool {
        let audit = &self.0.resources.settings.audit;
        audit.head_file.is_some() || !audit.head_command.is_empty()
    }

    /// Returns whether to look for old rows. They are looked for once an hour.
    fn is_archive_due(&self) -> bool {
        let last = self.0.maintenance.looked_at.load(Ordering::Relaxed);
        let since = self.0.resources.clock().unix_ms().saturating_sub(last);
        self.0.resources.settings.audit.keep_days.is_some()
            && (last == 0 || !(0..ARCHIVE_EVERY_MS).contains(&since))
    }

    fn maintain_now(&self, is_closed: &AtomicBool) {
        let Ok(Some(store)) = &self.0.store else { return };
        if self.is_archive_due()
            && let Some(days) = self.0.resources.settings.audit.keep_days
            && let Err(error) = self.archive(store, days, is_closed)
        {
            (self.0.notice)(&format!("audit.keep: the log was not archived: {error}"));
        }
        if self.publishes()
            && let Err(error) = self.publish_if_due(store, is_closed)
        {
            (self.0.notice)(&format!("audit: the newest hash was not published: {error}"));
        }
    }

    fn archive(&self, store: &Store, days: u32, is_closed: &AtomicBool) -> Result<(), Error> {
        let now = self.0.resources.clock().unix_ms();
        self.0.maintenance.looked_at.store(now.max(1), Ordering::Relaxed);
        let before = now.saturating_sub(i64::from(days) * DAY_MS);
        // Several, if much is old.
        while !is_closed.load(Ordering::SeqCst) && store.archive_old(before)?.is_some() {}
        Ok(())
    }

    fn publish_if_due(&self, store: &Store, is_closed: &AtomicBool) -> Result<(), Error> {
        let audit = &self.0.resources.settings.audit;
        let interval = Interval {
            rows: i64::try_from(audit.head_rows).unwrap_or(i64::MAX),
            ms: i64::try_from(audit.head_minutes).unwrap_or(i64::MAX).saturating_mul(60 * 1000),
        };
        // The rows of the last read may not be in the database yet.
        store.flush()?;
        match store.due_head(interval)? {
            Due::NotYet => {}
            Due::In(ms) => self.schedule(ms),
            Due::Now(head) => {
                if self.publish(&head, is_closed) {
                    store.head_published(&head)?;
                }
                self.schedule(LOOK_AGAIN_MS);
            }
        }
        Ok(())
    }

    /// Returns whether the hash is everywhere where it has to be.
    fn publish(&self, head: &Head, is_closed: &AtomicBool) -> bool {
        let settings = &self.0.resources.settings;
        let now = Timestamp::of_unix_ms(self.0.resources.clock().unix_ms());
        let document = json!({
            "hash": hex(&head.0.hash),
            "position": head.0.position,
            "time": now.map(Timestamp::to_rfc3339),
        });
        let mut is_published = true;
        if let Some(file) = &settings.audit.head_file
            && let Err(error) = append(file, &format!("{document}\n"))
        {
            is_published = false;
            let file = shown(file);
            (self.0.notice)(&format!(
                "audit.head_file: the newest hash was not added to {file}: {error}"
            ));
        }
        if !settings.audit.head_command.is_empty() {
            let environment = self.0.resources.environment();
            let notice = &self.0.notice;
            is_published &=
                self.0.notifier.publish(settings, environment, &document, notice, is_closed);
        }
        is_published
    }

    /// Has a pass run later. A program that ends before leaves it to the next one.
    fn schedule(&self, ms: i64) {
        let maintenance = Arc::clone(&self.0.maintenance);
        if maintenance.is_scheduled.swap(true, Ordering::SeqCst) {
            return;
        }
        let session = Arc::downgrade(&self.0);
        let own = Arc::clone(&maintenance);
        let thread = std::thread::Builder::new().name("whereby-audit-timer".into());
        let started = thread.spawn(move || {
            std::thread::sleep(Duration::from_millis(ms.unsigned_abs()));
            own.is_scheduled.store(false, Ordering::SeqCst);
            if let Some(session) = session.upgrade() {
                Self(session).maintain_log();
            }
        });
        // Without it, the next call looks.
        if started.is_err() {
            maintenance.is_scheduled.store(false, Ordering::SeqCst);
        }
    }
}

/// Adds a line to a file, and waits until it is on the disk.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut options = File::options();
    options.create(true).read(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Without waiting for a reader of a pipe.
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let mut file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    // A line that a full disk cut short ends where this one begins.
    let mut last = [b'\n'];
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    let line = if last == *b"\n" { line.to_owned() } else { format!("\n{line}") };
    file.write_all(line.as_bytes())?;
    file.sync_data()
}
