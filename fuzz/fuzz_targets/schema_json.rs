//! libFuzzer binary of the target `schema_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| thermae_fuzz::text::schema_json(data));
