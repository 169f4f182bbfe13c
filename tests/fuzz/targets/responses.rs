//! What the host passes on of the API's responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby_authority::fuzzing::responses(data));
