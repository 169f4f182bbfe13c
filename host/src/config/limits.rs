//! The limits of calls, components and scripts.

use std::time::Duration;

/// The limits of a call, and of the component that it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The time limit of a call, including all waits except for a person.
    pub timeout: Duration,
    /// The memory limit of the component, in bytes.
    pub memory_bytes: usize,
    /// The maximum number of requests.
    pub requests: usize,
    /// The maximum size of one response, in bytes.
    pub answer_bytes: usize,
    /// The maximum size of all responses together, in bytes.
    pub answers_bytes: usize,
    /// The maximum number of concurrent calls. Further calls wait, within their time limit.
    pub concurrent_calls: u32,
    /// The maximum number of functions in a component.
    pub component_functions: u64,
    /// The maximum work of compiling a component, in steps of 1 to 2 µs. One function may take a thirtieth
    /// of them.
    pub component_steps: u64,
    /// The maximum size of the cache of compiled components, in bytes.
    pub cache_bytes: u64,
    /// The maximum number of concurrent requests of one MCP client. Further requests wait.
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
            // Each reserves 4 GiB of address space, but no memory until it is used.
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
            // Lower than the limit on concurrent requests to the API, so that other clients find a
            // connection, and higher than the limit on open questions.
            name: "client_requests",
            what: "MCP client's requests",
            default: 24,
            least: 16,
            most: 128,
            set: |limits, value| limits.client_requests = value as u32,
        },
    ];
}

/// The limits of a script, which a script cannot change.
#[cfg(feature = "lua")]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScriptLimits {
    /// The time limit, including calls but not the wait for a person.
    pub timeout: Duration,
    /// The memory limit of its values, in bytes.
    pub memory_bytes: usize,
    /// The maximum number of steps: loop iterations, function calls, and attempts of a pattern.
    pub steps: u64,
    /// The maximum number of calls.
    pub calls: usize,
    /// The maximum size of its output, and of its result as JSON, in bytes each.
    pub output_bytes: usize,
    /// The maximum number of concurrent calls. Further calls wait.
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

    /// Returns the advice to raise the limit of a key.
    pub(crate) fn raise(&self, key: &str) -> String {
        match self.flags.iter().find(|(set, _)| *set == key) {
            Some((_, flag)) => format!("raise {flag}"),
            None => format!("have the user raise {key} in [lua]"),
        }
    }
}
