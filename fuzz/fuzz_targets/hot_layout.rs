//! libFuzzer binary of the target `hot_layout`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::hot::hot_layout(data));
