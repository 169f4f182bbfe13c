//! Fuzzes how responses of browsers and authenticators are read and verified.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| whereby::fuzzing::passkeys(data));
