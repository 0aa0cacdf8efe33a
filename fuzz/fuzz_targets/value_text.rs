//! libFuzzer binary of the target `value_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::text::value_text(data));
