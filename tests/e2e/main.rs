//! End-to-end tests, in the shape of the URLs. The harness, `sugang_tests`, says how to write one.

mod audit;
mod authorization;
mod bodies;
mod clocks;
mod compose;
mod configuration;
mod connections;
mod console;
mod cors;
mod deposits;
mod developer;
mod django;
mod django_storm;
mod docs;
mod editors;
mod errors;
mod failover;
mod faults;
mod forms;
mod functions;
mod gateway;
mod gateway_clients;
mod gateway_events;
mod growth;
mod half_close;
mod health;
mod host_commands;
mod hosts;
mod http2;
mod http_conformance;
mod idempotency;
mod items {
    mod complete;
    mod count_pieces;
    mod counts;
    mod far_times;
    mod free;
    mod get;
    mod hidden;
    mod list;
    mod register;
    mod search;
    mod search_bitmaps;
}
mod kakaopay;
mod ledger;
mod lock;
mod locked;
mod log;
mod login;
mod logout;
mod logout_all;
mod malformed_input;
mod memory;
mod migrations;
mod operator {
    mod access;
    mod accounts;
    mod audit;
    mod exports;
    mod figures;
    mod hidden;
    mod imports;
    mod items;
    mod orders;
    mod payments;
    mod payments_list;
    mod refund_races;
    mod registrations;
    mod repeats;
    mod seats;
    mod storm;
    mod users;
}
mod orders {
    mod approve;
    mod cancel;
    mod keys;
    mod list;
    mod preorder;
    mod races;
    mod returns;
    mod sdk;
    mod writers;
}
mod other_writers;
mod overload;
mod overtaken;
mod paths;
mod payment_storm {
    mod controls;
    mod kills;
    mod place;
    mod storm;
    mod users;
}
mod payments {
    mod cancel;
    mod get;
    mod list;
}
mod pgbouncer;
mod preflight;
mod races;
mod rate_limit;
mod readiness;
mod redis_failover;
mod redis_modes;
mod refunds {
    mod cancel;
    mod external;
    mod kakaopay;
    mod operator;
    mod owed;
    mod races;
    mod sdk;
    mod shop;
    mod stripe;
}
mod rehearsal;
mod sdk;
mod service_role;
mod sessions;
mod shares;
mod siege;
mod signup;
mod slow_clients;
mod spellings;
mod standby;
mod statements;
mod store_urls;
mod storm;
mod stripe;
mod support;
mod sweep;
mod tls;
mod token_refresh;
mod tokens;
mod toss;
mod toss_document;
mod traps;
mod upgrades;
mod webhooks;
