//! The names of components and tags that several parts of the document refer to.

pub(super) const ERROR: &str = "Error";
pub(super) const CODE: &str = "ErrorCode";
pub(super) const BEARER: &str = "bearer";
/// The tag of what the service sends.
pub(super) const EVENTS: &str = "events";
