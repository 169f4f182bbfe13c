//! What a grant lets a component send.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby_authority::fuzzing::grants(data));
