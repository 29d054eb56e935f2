//! Errors: from a code and a text to status, headers and body.

pub mod host;
mod response;
mod spec;
mod status;

pub use response::ErrorResponse;
pub use spec::ErrorSpec;
pub use status::status_of;
