//! How much one script may use.

use std::time::Duration;

/// The longest script, in bytes.
///
/// Between two turns of a loop or two calls nothing stops a script, and a long text of plain
/// statements is one such stretch. It is bounded here, because nothing else bounds it.
pub const MAX_SOURCE_BYTES: usize = 64 * 1024;

/// The limits of a script. They are the user's; nothing in a script can change them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long it may take, its calls included, without the time that a person takes to answer.
    pub timeout: Duration,
    /// How much memory its values may take, in bytes.
    pub memory_bytes: usize,
    /// How many steps it may take: turns of a loop, calls of a function, attempts of a pattern.
    pub steps: u64,
    /// How many calls of the functions it may make.
    pub calls: usize,
    /// How much it may print, and how large its result may be as JSON, in bytes each.
    pub output_bytes: usize,
    /// How many of its calls are under way at a time; further ones wait.
    pub parallel: usize,
    /// The keys of `[lua]` that the command line set, each with its flag.
    pub(crate) flags: Vec<(&'static str, &'static str)>,
}

impl Default for Limits {
    fn default() -> Self {
        let mut limits = Self {
            timeout: Duration::ZERO,
            memory_bytes: 0,
            steps: 0,
            calls: 0,
            output_bytes: 0,
            parallel: 0,
            flags: Vec::new(),
        };
        for limit in Self::TABLE {
            (limit.set)(&mut limits, limit.default);
        }
        limits
    }
}

/// A key of `[lua]`.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) default: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) set: fn(&mut Limits, u64),
}

const KIB: usize = 1024;

impl Limits {
    /// Every key of `[lua]`, with its default and bounds.
    pub(crate) const TABLE: &[Limit] = &[
        Limit {
            name: "timeout_seconds",
            what: "how long a script may take",
            default: 60,
            least: 1,
            most: 3600,
            set: |limits, value| limits.timeout = Duration::from_secs(value),
        },
        Limit {
            name: "memory_mib",
            what: "memory of its values",
            default: 16,
            least: 2,
            most: 256,
            set: |limits, value| limits.memory_bytes = value as usize * KIB * KIB,
        },
        Limit {
            name: "steps_millions",
            what: "loop iterations and function calls",
            default: 50,
            least: 1,
            most: 10_000,
            set: |limits, value| limits.steps = value * 1_000_000,
        },
        Limit {
            name: "calls",
            what: "calls per script",
            default: 100,
            least: 0,
            most: 10_000,
            set: |limits, value| limits.calls = value as usize,
        },
        Limit {
            name: "output_kib",
            what: "size of its output and of its result",
            default: 256,
            least: 1,
            most: 16 * 1024,
            set: |limits, value| limits.output_bytes = value as usize * KIB,
        },
        Limit {
            name: "parallel",
            what: "concurrent calls",
            default: 8,
            least: 1,
            most: 64,
            set: |limits, value| limits.parallel = value as usize,
        },
    ];

    /// What to raise so that a script may use more of what a key limits.
    pub(crate) fn raise(&self, key: &str) -> String {
        match self.flags.iter().find(|(set, _)| *set == key) {
            Some((_, flag)) => format!("raise {flag}"),
            None => format!("have the user raise {key} in [lua]"),
        }
    }

    /// The key with this name, and what may be its value.
    pub(crate) fn key(name: &str) -> Option<&'static Limit> {
        Self::TABLE.iter().find(|limit| limit.name == name)
    }
}
