//! End-to-end tests, in the shape of the URLs. The harness, `sugang_tests`, says how to write one.

mod audit;
mod authorization;
mod bodies;
mod configuration;
mod connections;
mod developer;
mod django;
mod docs;
mod errors;
mod failover;
mod faults;
mod forms;
mod functions;
mod growth;
mod health;
mod host_commands;
mod idempotency;
mod malformed_input;
mod migrations;
mod overload;
mod items {
    mod complete;
    mod counts;
    mod far_times;
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
mod pgbouncer;
mod preflight;
mod races;
mod rate_limit;
mod sdk;
mod signup;
mod spellings;
mod statements;
mod store_urls;
mod storm;
mod support;
mod tls;
mod token_refresh;
mod tokens;
mod traps;
