//! The server's side of the protocol: the rules that the component and the embedded host apply alike.
//!
//! The types on the wire belong to [`sugang_sdk::types`], which clients share. This crate decides what a server does
//! with them: which [`Language`] a response speaks, which [ids](request_id) a request carries, which
//! [hosts](AllowedHosts) it may name, which [`path`] it names, which [network](client_network) it counts for, which pages of
//! other origins may read the response ([`Cors`]), which status, headers and body an [error](`ErrorSpec`) becomes, and which
//! [URL of a store](store_url) is valid. It knows neither Spin nor an HTTP library, so both sides can use it as it is.

mod allowed_hosts;
mod authority;
mod cors;
mod error;
mod headers;
mod language;
mod method;
mod network;
pub mod path;
pub mod request_id;
pub mod session;
pub mod store_url;

pub use allowed_hosts::{AllowedHosts, host_for_log, is_loopback};
pub use authority::is_authority;
pub use cors::{Cors, preflight_headers};
pub use error::{ErrorResponse, ErrorSpec, host, status_of};
pub use headers::{HELD_FILES, shared_headers};
pub use language::{Language, Text};
pub use method::method_for_log;
pub use network::client_network;
