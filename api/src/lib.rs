//! Sugang's API: a Spin component that serves exams, courses and payments from PostgreSQL and Redis.
//!
//! A request flows one way: route → authenticate → one SQL call → response. The modules are layers, from the top down,
//! and each of them uses only those below it:
//!
//! | layer | what it does |
//! |---|---|
//! | [`entry`], `service` | take a request from the host, dispatch it, add the headers that all responses share |
//! | `routes` | list the operations with their methods and paths |
//! | `handlers` | do one operation each: read the request, make one SQL call, build the response |
//! | `operation` | says what an operation is: its id, its handler, its description for OpenAPI |
//! | `kind` | describes what differs between exams and courses; nothing else knows it |
//! | `payment_rules` | what a payment method accepts, and what it costs |
//! | `context`, `state` | hold what one request, and what one instance of the component, works with |
//! | `auth` | tokens, passwords, rate limits |
//! | `extract` | read bodies, query strings and idempotency keys |
//! | `gateways` | payment gateways: what is sent to them, and what their answers mean |
//! | `webhooks` | the receivers of webhooks, in the same way |
//! | `store` | PostgreSQL, and locks in Redis |
//! | `config` | the variables of `spin.toml` |
//! | `error` | every refusal with its text |
//! | `http`, `log`, `text` | plain requests and responses; the log; text as people type it |
//!
//! What the embedded host must answer alike (languages, request ids, the status of an error) is in [`sugang_protocol`].

mod auth;
mod config;
mod context;
pub mod entry;
mod error;
mod extract;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gateways;
mod handlers;
mod http;
mod kind;
mod log;
#[cfg(test)]
mod openapi;
mod operation;
mod payment_rules;
mod routes;
mod service;
mod state;
mod store;
mod text;
mod webhooks;
