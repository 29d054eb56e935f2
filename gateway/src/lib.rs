//! Stand-ins for payment gateways, for tests and for developers. No real money, and no real gateway, is near.
//!
//! - [`StandIn`] is one server that plays all gateways, each at the paths of its own API. Its books are its own: they say
//!   what was taken and given back, whatever the service believes. They survive its end if there is a journal.
//! - [`Plan`] says what becomes of a call: it, or its answer, may be lost, late, doubled or garbled.
//! - [`Event`] is a message of a gateway to the service, which the caller delivers: once, seven times, late or forged.
//! - The pages for developers are a shop, the payment windows of Toss, PortOne and KakaoPay, and the books.
//! - A gateway is one file ([`toss`], [`portone`], [`kakaopay`], [`stripe`]), which keeps [`Payment`]s and shows them in the
//!   gateway's words.

mod books;
mod control;
mod deliver;
mod desk;
mod event;
mod gateway;
mod html;
mod http;
pub mod kakaopay;
mod pages;
mod payment;
mod plan;
pub mod portone;
mod request;
mod server;
mod shared;
mod stand_in;
pub mod stripe;
#[cfg(test)]
mod tests;
pub mod toss;
mod windows;

pub use books::{Books, Entry};
pub use event::Event;
pub use payment::{Payment, Return, Way};
pub use plan::Plan;
pub use stand_in::{Options, StandIn};
