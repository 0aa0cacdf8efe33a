//! libFuzzer binary of the target `row`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::rows::row(data));
