//! Components, checked before they are compiled, and inspected.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby::fuzzing::components(data));
