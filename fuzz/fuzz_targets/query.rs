//! A query string. The property is `sugang_api::fuzzing::query`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| sugang_api::fuzzing::query(text));
