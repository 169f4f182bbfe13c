//! Writes JSON objects.

use crate::prelude::*;

/// An object in progress.
pub(crate) struct Object(String);

impl Object {
    /// Returns an object without members.
    pub(crate) fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a member whose value is already JSON.
    pub(crate) fn json(&mut self, name: &str, value: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        for part in ["\"", name, "\":", value] {
            self.0.push_str(part);
        }
    }

    /// Adds a string, unless it is absent.
    pub(crate) fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.json(name, &quoted(text));
        }
    }

    /// Adds a number, unless it is 0.
    pub(crate) fn number(&mut self, name: &str, number: u64) {
        if number > 0 {
            self.json(name, &number.to_string());
        }
    }

    /// Returns the JSON.
    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Returns a string as JSON.
pub(crate) fn quoted(text: &str) -> String {
    // Writing to a string cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}
