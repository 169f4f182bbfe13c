//! Fuzzes how the component reads responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby_guest::fuzzing::answers(data));
