//! Requests and responses as plain data, between the host and the handlers.

mod client_address;
pub(crate) mod outgoing;
mod request;
mod response;

pub(crate) use request::RequestHead;
pub(crate) use response::Response;
