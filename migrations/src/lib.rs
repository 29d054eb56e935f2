//! The database in plain SQL: `schema/` has its tables, `functions/` its functions as they are now.
//!
//! `README.md` says how to change either, and how to add a kind.

mod audit;
mod call;
mod kind;
mod preflight;
mod progress;
mod report;
mod run;
mod scripts;
mod session;

pub use audit::{Finding, audit, audit_with};
pub use call::function_call;
pub use kind::{ItemKind, KINDS};
pub use preflight::{Blocked, Level, Preflight, PreflightFinding, Unchecked};
pub use report::{EXIT_BLOCKED, audit_database, migrate_database, report};
pub use run::{Migration, Options, migrate, run, run_with};
