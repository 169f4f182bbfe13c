//! What happens, told to a client that wants to know.
#![expect(deprecated, reason = "clients of the protocols before 2026-07-28 want it all the same")]

use super::asking::is_new;
use crate::session::call::Outcome;
use rmcp::RoleServer;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

/// Who is said to have said it.
const LOGGER: &str = "whereby";

/// The log of one client.
pub(super) struct Log {
    /// From which level on the client wants to know, where it says so once for all requests.
    level: Mutex<LoggingLevel>,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Mutex::new(LoggingLevel::Warning) }
    }
}

impl Log {
    pub(super) fn set(&self, level: LoggingLevel) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
    }

    pub(super) async fn warn(&self, what: &str, context: &RequestContext<RoleServer>) {
        self.tell(LoggingLevel::Warning, json!(what), context).await;
    }

    /// Tells what came of a call.
    pub(super) async fn call(&self, outcome: &Outcome, context: &RequestContext<RoleServer>) {
        let (level, came) = match &outcome.result {
            Ok(_) => (LoggingLevel::Info, "done"),
            Err(error) => (LoggingLevel::Notice, error.kind()),
        };
        if !self.wants(level, context) {
            return;
        }
        let entry = json!({
            "function": outcome.function,
            "account": outcome.account,
            "outcome": came,
            "requests": outcome.requests.len(),
            "duration_ms": (outcome.duration.as_secs_f64() * 1e6).round() / 1e3,
        });
        self.tell(level, entry, context).await;
    }

    fn wants(&self, level: LoggingLevel, context: &RequestContext<RoleServer>) -> bool {
        let wanted = match is_new(context) {
            // Since this protocol a client asks for it with each request.
            true => context.meta.log_level(),
            false => Some(*self.level.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        wanted.is_some_and(|wanted| severity(level) >= severity(wanted))
    }

    async fn tell(&self, level: LoggingLevel, data: Value, context: &RequestContext<RoleServer>) {
        if self.wants(level, context) {
            let message = LoggingMessageNotificationParam::new(level, data).with_logger(LOGGER);
            // A client that is gone is noticed where it is read from.
            let _ = context.peer.notify_logging_message(message).await;
        }
    }
}

/// The levels of RFC 5424, from the least severe on.
fn severity(level: LoggingLevel) -> u8 {
    match level {
        LoggingLevel::Debug => 0,
        LoggingLevel::Info => 1,
        LoggingLevel::Notice => 2,
        LoggingLevel::Warning => 3,
        LoggingLevel::Error => 4,
        LoggingLevel::Critical => 5,
        LoggingLevel::Alert => 6,
        LoggingLevel::Emergency => 7,
    }
}
