//! libFuzzer binary of the target `definitions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::definitions::definitions(data));
