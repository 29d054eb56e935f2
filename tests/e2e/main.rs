//! End-to-end tests, in the shape of the URLs. How one is written: see the harness, `sugang_tests`.

mod attempts;
mod audit;
mod authorisation;
mod bodies;
mod configuration;
mod crowd;
mod django;
mod docs;
mod errors;
mod faults;
mod health;
mod hostile;
mod idempotency;
mod items {
    mod complete;
    mod counts;
    mod get;
    mod list;
    mod register;
}
mod lock;
mod login;
mod logout;
mod paths;
mod payments {
    mod cancel;
    mod get;
    mod list;
}
mod races;
mod sdk;
mod signup;
mod statements;
mod steps;
mod storm;
mod token_refresh;
mod tokens;
mod traps;
