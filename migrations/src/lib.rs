//! The database in plain SQL: `schema/` has its tables, `functions/` its functions as they are now.
//!
//! `README.md` says how to change either, and how to add a kind.

mod audit;
mod call;
mod kind;
mod report;
mod run;
mod scripts;

pub use audit::{Finding, audit, audit_with};
pub use call::function_call;
pub use kind::{ItemKind, KINDS};
pub use report::{audit_database, report};
pub use run::{run, run_with};
