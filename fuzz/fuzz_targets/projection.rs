//! libFuzzer binary of the target `projection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::rows::projection(data));
