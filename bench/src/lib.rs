//! Seeds a database, shows how PostgreSQL answers each kind of request, and measures all kinds.
//!
//! The limit of every measurement is the same SQL, prepared, without anything around it. The load generator, the host
//! and the stores share one machine, so absolute figures say little elsewhere. Every round sends the same requests to
//! all targets in turn: whatever else the machine does affects all of them, and the ratios hold.
//!
//! `cargo xtask bench`, `seed` and `explain` are thin commands over [`run`], [`seed::fill`] and [`explain::explain`].
//! They build the programs and find the stores; this crate never does.

mod catalogue;
mod connection;
mod dataset;
pub mod explain;
mod goal;
mod goals;
mod load;
pub mod postgres;
pub mod process;
mod report;
mod request;
mod run;
pub mod seed;
mod server;
mod target;
mod token;
mod worker;

pub use run::{Environment, Options, run};
