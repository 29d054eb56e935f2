//! A body of a request. The property is `sugang_api::fuzzing::body`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| sugang_api::fuzzing::body(bytes));
