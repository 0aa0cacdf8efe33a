//! libFuzzer binary of the target `backup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::log::backup(data));
