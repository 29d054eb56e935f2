//! Connections to PostgreSQL and Redis, encrypted where their URLs say so, and to HTTPS servers.
//!
//! The host, the migrations and every tool connect here and nowhere else, so a URL means the same to all of them. What a
//! URL may say is in [`sugang_protocol::store_url`]; this crate reads the certificates that it names, and connects.

mod addresses;
mod error;
pub mod https;
pub mod postgres;
pub mod redis;
mod tls;

pub use error::{AddressError, ConnectError};
pub use sugang_protocol::store_url::UrlError;
