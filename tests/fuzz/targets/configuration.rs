//! Fuzzes how the host reads and edits configuration and project files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby::fuzzing::configuration(data));
