//! The names of components that several parts of the document refer to.

pub(super) const ERROR: &str = "Error";
pub(super) const CODE: &str = "ErrorCode";
pub(super) const BEARER: &str = "bearer";
