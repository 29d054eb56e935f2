//! Sugang's API: a Spin component that serves exams, courses and payments from PostgreSQL, guarded by Redis.
//!
//! A request goes one way through it: [`routes`] finds the operation, [`tokens`] says who asks, the handler
//! ([`accounts`], [`items`], [`registrations`], [`payments`], [`health`], [`docs`]) sends one statement through [`db`]
//! and turns its outcome into an answer; [`errors`] is where every refusal gets its status and text. What differs
//! between exams and courses is described in [`kind`], and nowhere else.

pub mod accounts;
pub mod attempts;
pub mod body;
pub mod call;
pub mod config;
pub mod db;
pub mod deadline;
pub mod docs;
pub mod entry;
pub mod errors;
pub mod fields;
pub mod health;
pub mod instance;
pub mod items;
pub mod kind;
pub mod lock;
pub mod log;
pub mod passwords;
pub mod payments;
pub mod query;
pub mod redis;
pub mod registrations;
pub mod response;
pub mod routes;
pub mod service;
pub mod tokens;
