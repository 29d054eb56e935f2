//! An `Authorization` header, or the claims of a token. The property is `sugang_api::fuzzing::token`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| sugang_api::fuzzing::token(text));
