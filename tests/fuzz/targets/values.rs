//! Fuzzes the conversion of arguments between JSON and the component model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby::fuzzing::values(data));
