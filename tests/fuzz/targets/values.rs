//! Arguments from JSON to the values of the component model, and back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby::fuzzing::values(data));
