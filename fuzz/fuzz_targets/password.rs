//! A stored hash, Django's or Argon2's: none breaks anything, and none is of a password that it was not made of.
#![no_main]

use argon2::Params;
use libfuzzer_sys::fuzz_target;
use sugang_api::passwords::{Verdict, verify};

fuzz_target!(|stored: &str| {
    // A cost that is just within the bounds takes a second, which is no finding.
    let costly = stored
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse::<u64>().ok())
        .any(|number| (1_000..=2_000_000).contains(&number));
    if !costly {
        assert_eq!(verify("not the password", stored, &Params::default()), Verdict::Wrong);
    }
});
