//! libFuzzer binary of the target `wire_write`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::wire::wire_write(data));
