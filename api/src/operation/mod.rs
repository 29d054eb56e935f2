//! What an operation is: its id, its handler, and its description for the OpenAPI document.
//!
//! Each is declared beside its handler. The description is compiled for the tests alone, so that the component does not
//! carry it.

#[cfg(test)]
pub(crate) mod description;
#[cfg(test)]
pub(crate) mod parameters;

use futures::future::LocalBoxFuture;

#[cfg(test)]
use self::description::Description;
use crate::{auth::tokens::Caller, context::RequestContext, error::ApiError, http::Response, kind::ItemKind};

/// The future of a handler.
pub(crate) type Handled<'a> = LocalBoxFuture<'a, Result<Response, ApiError>>;

/// The handler of an operation, by the authentication that it needs.
pub(crate) enum Handler {
    /// Anyone may call the operation.
    Public(for<'a> fn(&'a RequestContext<'a>) -> Handled<'a>),
    /// The operation needs a valid access token.
    Private(for<'a> fn(&'a RequestContext<'a>, Caller) -> Handled<'a>),
}

/// An operation.
pub(crate) struct Operation {
    /// `verb_resource`: the name of the operation in the OpenAPI document and in the log.
    pub(crate) id: &'static str,
    pub(crate) handler: Handler,
    #[cfg(test)]
    pub(crate) describe: fn() -> Description,
}

/// An operation that each kind of items has. It needs a valid access token.
pub(crate) struct ItemOperation {
    /// Returns the id of the operation for a kind.
    pub(crate) id: fn(&ItemKind) -> String,
    pub(crate) handler: for<'a> fn(&'a RequestContext<'a>, Caller, &'static ItemKind) -> Handled<'a>,
    #[cfg(test)]
    pub(crate) describe: fn(&'static ItemKind) -> Description,
}
