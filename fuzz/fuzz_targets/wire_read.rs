//! libFuzzer binary of the target `wire_read`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::wire::wire_read(data));
