//! Stand-ins for payment gateways, with books of their own, which do what they are told at the worst moment.

mod server;
mod toss;

pub use server::Plan;
pub use toss::{TOSS_SECRET, TossServer};
