//! A stored hash. The property is `sugang_api::fuzzing::password`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|stored: &str| sugang_api::fuzzing::password(stored));
