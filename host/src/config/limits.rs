//! The limits of calls, components and scripts.

use std::ops::RangeInclusive;
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

impl<L> Limit<L> {
    const fn new(
        name: &'static str,
        what: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
        set: fn(&mut L, u64),
    ) -> Self {
        Self { name, what, default, least: *range.start(), most: *range.end(), set }
    }
}

const MIB: usize = 1024 * 1024;

impl Limits {
    /// Every key of `[limits]`, with its default and bounds.
    pub(crate) const TABLE: &[Limit<Self>] = &[
        Limit::new("timeout_seconds", "time of a call", 30, 1..=600, |limits, value| {
            limits.timeout = Duration::from_secs(value)
        }),
        Limit::new("memory_mib", "component's memory", 32, 2..=1024, |limits, value| {
            limits.memory_bytes = value as usize * MIB
        }),
        Limit::new("requests", "requests of a call", 64, 1..=1000, |limits, value| {
            limits.requests = value as usize
        }),
        Limit::new("answer_mib", "size of one response", 2, 1..=64, |limits, value| {
            limits.answer_bytes = value as usize * MIB
        }),
        Limit::new("answers_mib", "size of all responses", 16, 1..=256, |limits, value| {
            limits.answers_bytes = value as usize * MIB
        }),
        // Each reserves 4 GiB of address space, but no memory until it is used.
        Limit::new("concurrent_calls", "calls at a time", 256, 1..=1000, |limits, value| {
            limits.concurrent_calls = value as u32
        }),
        // The built-in component has 570, and takes 540,000 steps.
        Limit::new(
            "component_functions",
            "component's functions",
            10_000,
            1000..=100_000,
            |limits, value| limits.component_functions = value,
        ),
        Limit::new(
            "component_steps_millions",
            "work of compiling it",
            3,
            1..=1000,
            |limits, value| limits.component_steps = value * 1_000_000,
        ),
        Limit::new("cache_mib", "compiled code on disk", 64, 8..=4096, |limits, value| {
            limits.cache_bytes = value * MIB as u64
        }),
        // Lower than the limit on concurrent requests to the API, so that other clients find a
        // connection, and higher than the limit on open questions.
        Limit::new("client_requests", "MCP client's requests", 24, 16..=128, |limits, value| {
            limits.client_requests = value as u32
        }),
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
        Limit::new(
            "timeout_seconds",
            "how long a script may take",
            60,
            1..=3600,
            |limits, value| limits.timeout = Duration::from_secs(value),
        ),
        Limit::new("memory_mib", "memory of its values", 16, 2..=256, |limits, value| {
            limits.memory_bytes = value as usize * MIB
        }),
        Limit::new(
            "steps_millions",
            "loop iterations and function calls",
            50,
            1..=10_000,
            |limits, value| limits.steps = value * 1_000_000,
        ),
        Limit::new("calls", "calls per script", 100, 0..=10_000, |limits, value| {
            limits.calls = value as usize
        }),
        Limit::new(
            "output_kib",
            "size of its output and of its result",
            256,
            1..=16 * 1024,
            |limits, value| limits.output_bytes = value as usize * 1024,
        ),
        Limit::new("parallel", "concurrent calls", 8, 1..=64, |limits, value| {
            limits.parallel = value as usize
        }),
    ];

    /// Returns the advice to raise the limit of a key.
    pub(crate) fn raise(&self, key: &str) -> String {
        match self.flags.iter().find(|(set, _)| *set == key) {
            Some((_, flag)) => format!("raise {flag}"),
            None => format!("have the user raise {key} in [lua]"),
        }
    }
}
