//! libFuzzer binary of the target `table`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::table::table(data));
