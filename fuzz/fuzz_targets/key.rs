//! libFuzzer binary of the target `key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::rows::key(data));
