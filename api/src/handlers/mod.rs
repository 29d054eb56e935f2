//! The operations: each reads its request, makes one SQL call and builds its response.

pub(crate) mod accounts;
pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod items;
mod page;
pub(crate) mod payments;
pub(crate) mod registrations;
