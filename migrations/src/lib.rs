//! The database in plain SQL: `schema/` has its tables, `functions/` its functions as they are now.
//!
//! `README.md` says how to change either, and how to add a kind.

mod audit;
mod call;
mod checks;
mod history;
mod kind;
mod locks;
mod operators;
mod preflight;
mod progress;
mod rehearsal;
mod report;
mod role;
mod run;
mod scripts;
mod session;

pub use audit::{Finding, audit, audit_with, audit_within};
pub use call::function_call;
pub use history::Newer;
pub use kind::{ItemKind, KINDS};
pub use locks::{LockWait, Locked};
pub use operators::{OperatorCommand, manage_operators};
pub use preflight::{Blocked, Level, Preflight, PreflightFinding, Unchecked};
pub use rehearsal::RehearsalFinding;
pub use report::{Format, audit_database, exit_status, migrate_database, report};
pub use role::ServiceRole;
pub use run::{Migration, Options, Unserved, migrate, run, run_with};
