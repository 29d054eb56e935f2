//! Goals beside the scenarios: exact counts, edits of many items, what operators read and import, orders, overload, start-up, size
//! and memory.

mod counts;
mod import;
mod memory;
mod operators;
mod orders;
mod overload;
mod periods;
mod startup;

pub(crate) use counts::{count_ahead, counts, first_searches};
pub(crate) use import::import;
pub(crate) use memory::soak;
pub(crate) use operators::operators;
pub(crate) use orders::orders;
pub(crate) use overload::overload;
pub(crate) use periods::periods;
pub(crate) use startup::{component_size, starts};
