//! Log messages for the client, at the level that it asks for.
#![expect(deprecated, reason = "clients of the protocols before 2026-07-28 use logging")]

use super::asking::is_new;
use crate::session::call::Outcome;
use crate::system::clock::milliseconds;
use rmcp::RoleServer;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam};
use rmcp::service::RequestContext;
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};

/// The name of the logger.
const LOGGER: &str = "whereby";

/// The log of one client.
pub(super) struct Log {
    /// The least severe level to send, for clients that set it once for all requests.
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

    /// Logs the outcome of a call.
    pub(super) async fn call(&self, outcome: &Outcome, context: &RequestContext<RoleServer>) {
        let (level, result) = match &outcome.result {
            Ok(_) => (LoggingLevel::Info, "done"),
            Err(error) => (LoggingLevel::Notice, error.kind()),
        };
        let entry = json!({
            "function": outcome.function,
            "account": outcome.account,
            "outcome": result,
            "requests": outcome.requests.len(),
            "duration_ms": milliseconds(outcome.duration),
        });
        self.tell(level, entry, context).await;
    }

    async fn tell(&self, level: LoggingLevel, data: Value, context: &RequestContext<RoleServer>) {
        let wanted = if is_new(context) {
            // Since this protocol, each request names its level.
            context.meta.log_level()
        } else {
            Some(*self.level.lock().unwrap_or_else(PoisonError::into_inner))
        };
        // The levels are in the order of their severity.
        if wanted.is_some_and(|wanted| level as u8 >= wanted as u8) {
            let message = LoggingMessageNotificationParam::new(level, data).with_logger(LOGGER);
            // If the client is gone, reading from it fails.
            let _ = context.peer.notify_logging_message(message).await;
        }
    }
}
