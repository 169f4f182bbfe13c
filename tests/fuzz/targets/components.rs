//! Fuzzes how the host checks and inspects components before compiling them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby::fuzzing::components(data));
