//! Fuzzes the requests that a grant admits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby_authority::fuzzing::conditions(data));
