//! Fuzzes how the host rewrites responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby_authority::fuzzing::responses(data));
