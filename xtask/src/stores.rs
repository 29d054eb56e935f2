//! PostgreSQL and Redis: finds them, and keeps them running for as long as a command needs them.
//!
//! A process of its own supervises them: `cargo xtask stores`, this very program. It ends what it started as soon as its
//! standard input ends, so nothing is left behind when the command or test that started it fails, panics or is killed.

mod choice;
mod command;
pub mod docker;
mod find;
mod leftovers;
pub mod local;
pub mod lock;
mod probe;
mod running;
mod supervise;
mod supervisor;

pub use choice::{Access, Source, StoresChoice};
pub use leftovers::stop_leftovers;
pub use running::RunningStores;
pub use supervise::{Arguments, run};
pub use supervisor::Supervisor;
