//! How much a call, a component and a script may use.

use std::time::Duration;

/// The limits of a call, and of the component that it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How long it may take, whatever it waits for.
    pub timeout: Duration,
    /// How much memory the component may have, in bytes.
    pub memory_bytes: usize,
    /// How many requests it may send.
    pub requests: usize,
    /// How large one answer may be, in bytes.
    pub answer_bytes: usize,
    /// How large all answers may be together, in bytes.
    pub answers_bytes: usize,
    /// How many calls are under way at a time; further ones wait, within their own time.
    pub concurrent_calls: u32,
    /// How many functions a component may have.
    pub component_functions: u64,
    /// How much work compiling a component may be, in steps. A step takes one to two microseconds; one
    /// function may take a thirtieth of them.
    pub component_steps: u64,
    /// How much compiled code is kept on disk, in bytes.
    pub cache_bytes: u64,
    /// How many requests of one MCP client are served at a time; further ones wait.
    pub client_requests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let mut limits = Self {
            timeout: Duration::ZERO,
            memory_bytes: 0,
            requests: 0,
            answer_bytes: 0,
            answers_bytes: 0,
            concurrent_calls: 0,
            component_functions: 0,
            component_steps: 0,
            cache_bytes: 0,
            client_requests: 0,
        };
        for limit in Self::TABLE {
            (limit.set)(&mut limits, limit.default);
        }
        limits
    }
}

/// A key of a table of limits, with its default and bounds.
#[derive(Debug)]
pub(crate) struct Limit<L> {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) default: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) set: fn(&mut L, u64),
}

const MIB: usize = 1024 * 1024;

impl Limits {
    /// Every key of `[limits]`, with its default and bounds.
    pub(crate) const TABLE: &[Limit<Self>] = &[
        Limit {
            name: "timeout_seconds",
            what: "time of a call",
            default: 30,
            least: 1,
            most: 600,
            set: |limits, value| limits.timeout = Duration::from_secs(value),
        },
        Limit {
            name: "memory_mib",
            what: "component's memory",
            default: 32,
            least: 2,
            most: 1024,
            set: |limits, value| limits.memory_bytes = value as usize * MIB,
        },
        Limit {
            name: "requests",
            what: "requests of a call",
            default: 64,
            least: 1,
            most: 1000,
            set: |limits, value| limits.requests = value as usize,
        },
        Limit {
            name: "answer_mib",
            what: "size of one response",
            default: 2,
            least: 1,
            most: 64,
            set: |limits, value| limits.answer_bytes = value as usize * MIB,
        },
        Limit {
            name: "answers_mib",
            what: "size of all responses",
            default: 16,
            least: 1,
            most: 256,
            set: |limits, value| limits.answers_bytes = value as usize * MIB,
        },
        Limit {
            // Each takes 4 GiB of address space, and no memory until it is used.
            name: "concurrent_calls",
            what: "calls at a time",
            default: 256,
            least: 1,
            most: 1000,
            set: |limits, value| limits.concurrent_calls = value as u32,
        },
        Limit {
            // The built-in component has 570, and takes 540,000 steps.
            name: "component_functions",
            what: "component's functions",
            default: 10_000,
            least: 1000,
            most: 100_000,
            set: |limits, value| limits.component_functions = value,
        },
        Limit {
            name: "component_steps_millions",
            what: "work of compiling it",
            default: 3,
            least: 1,
            most: 1000,
            set: |limits, value| limits.component_steps = value * 1_000_000,
        },
        Limit {
            name: "cache_mib",
            what: "compiled code on disk",
            default: 64,
            least: 8,
            most: 4096,
            set: |limits, value| limits.cache_bytes = value * MIB as u64,
        },
        Limit {
            // Fewer than the requests that go out side by side, so that others find a connection, and
            // more than the questions that wait for a person.
            name: "client_requests",
            what: "MCP client's requests",
            default: 24,
            least: 16,
            most: 128,
            set: |limits, value| limits.client_requests = value as u32,
        },
    ];
}

/// The limits of a script. They are the user's; nothing in a script can change them.
#[cfg(feature = "lua")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptLimits {
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

#[cfg(feature = "lua")]
impl Default for ScriptLimits {
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

#[cfg(feature = "lua")]
impl ScriptLimits {
    /// Every key of `[lua]`, with its default and bounds.
    pub(crate) const TABLE: &[Limit<Self>] = &[
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
            set: |limits, value| limits.memory_bytes = value as usize * MIB,
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
            set: |limits, value| limits.output_bytes = value as usize * 1024,
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
}
