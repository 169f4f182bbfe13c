//! The headers that the functions write and read.

use core::cell::RefCell;

use crate::bindings::exports::wasi::http::types::{Fields as Handle, GuestFields, HeaderError};
use crate::prelude::*;
use crate::state::Held;

/// The maximum number of headers.
const MAX_ENTRIES: usize = 64;

/// The maximum size of all headers, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// A name in lower case, and a value.
type Entry = (String, Vec<u8>);

/// The headers of a request or a response.
#[derive(Default)]
pub(crate) struct Fields {
    entries: RefCell<Vec<Entry>>,
    is_immutable: bool,
    _held: Held,
}

impl Fields {
    /// Returns headers that cannot be changed.
    pub(crate) fn immutable(entries: Vec<Entry>) -> Self {
        Self { entries: RefCell::new(entries), is_immutable: true, ..Self::default() }
    }

    /// Returns the same headers, so that they cannot be changed.
    pub(crate) fn frozen(&self) -> Self {
        Self::immutable(self.entries.borrow().clone())
    }

    /// Returns the names.
    pub(crate) fn into_names(self) -> Vec<String> {
        self.entries.into_inner().into_iter().map(|(name, _)| name).collect()
    }

    fn add(&self, name: &str, values: Vec<Vec<u8>>) -> Result<(), HeaderError> {
        if self.is_immutable {
            return Err(HeaderError::Immutable);
        }
        let name = lower(name)?;
        let mut entries = self.entries.borrow_mut();
        for value in values {
            if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
                return Err(HeaderError::InvalidSyntax);
            }
            let size: usize = entries.iter().map(|(name, value)| name.len() + value.len()).sum();
            if entries.len() == MAX_ENTRIES || size + name.len() + value.len() > MAX_BYTES {
                return Err(HeaderError::Forbidden);
            }
            entries.push((name.clone(), value));
        }
        Ok(())
    }
}

/// Returns the name of a header in lower case. It is read as bytes, because it may not be UTF-8: see `is_text`.
fn lower(name: &str) -> Result<String, HeaderError> {
    let is_token = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
    };
    if name.is_empty() || name.len() > MAX_BYTES || !name.bytes().all(is_token) {
        return Err(HeaderError::InvalidSyntax);
    }
    Ok(name.to_ascii_lowercase())
}

impl GuestFields for Fields {
    fn new() -> Self {
        Self::default()
    }

    fn from_list(entries: Vec<(String, Vec<u8>)>) -> Result<Handle, HeaderError> {
        let fields = Self::default();
        for (name, value) in entries {
            fields.add(&name, vec![value])?;
        }
        Ok(Handle::new(fields))
    }

    fn get(&self, name: String) -> Vec<Vec<u8>> {
        let Ok(name) = lower(&name) else { return Vec::new() };
        let entries = self.entries.borrow();
        let found = entries.iter().filter(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).collect()
    }

    fn has(&self, name: String) -> bool {
        lower(&name).is_ok_and(|name| self.entries.borrow().iter().any(|(known, _)| *known == name))
    }

    fn set(&self, name: String, value: Vec<Vec<u8>>) -> Result<(), HeaderError> {
        // A refused value leaves the old one.
        let changed = Self {
            entries: self.entries.clone(),
            is_immutable: self.is_immutable,
            ..Self::default()
        };
        changed.delete(name.clone())?;
        changed.add(&name, value)?;
        self.entries.swap(&changed.entries);
        Ok(())
    }

    fn delete(&self, name: String) -> Result<(), HeaderError> {
        if self.is_immutable {
            return Err(HeaderError::Immutable);
        }
        let name = lower(&name)?;
        self.entries.borrow_mut().retain(|(known, _)| *known != name);
        Ok(())
    }

    fn append(&self, name: String, value: Vec<u8>) -> Result<(), HeaderError> {
        self.add(&name, vec![value])
    }

    fn entries(&self) -> Vec<(String, Vec<u8>)> {
        self.entries.borrow().clone()
    }

    fn clone(&self) -> Handle {
        Handle::new(Self { entries: self.entries.clone(), ..Self::default() })
    }
}
