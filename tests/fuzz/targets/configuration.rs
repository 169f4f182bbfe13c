//! Configuration and project files, read and changed.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby::fuzzing::configuration(data));
