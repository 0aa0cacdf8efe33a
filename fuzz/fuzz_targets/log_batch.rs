//! libFuzzer binary of the target `log_batch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::log::log_batch(data));
