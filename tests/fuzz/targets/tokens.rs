//! Fuzzes how capability tokens and their facts are read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby::fuzzing::tokens(data));
