//! The forms that bodies hold: what each field must be, and the problem that is reported otherwise.
//!
//! Messages and leniency are those of Django REST framework's serializer fields, which today's clients know.

mod amount;
mod cancel;
mod email;
pub(crate) mod item;
mod login;
mod managed_registration;
mod order;
mod reader;
mod refresh;
mod refund;
mod register;
mod repeat;
pub(crate) mod signup;
#[cfg(test)]
mod tests;
mod text;
mod webhook;

pub(crate) use amount::parse_amount;
pub(crate) use cancel::cancel;
pub(crate) use item::{edit_item, new_item};
pub(crate) use login::login;
pub(crate) use managed_registration::{
    MAX_REGISTRATIONS, cancel_registration, complete_registrations, new_registration,
};
pub(crate) use order::{MAX_KEY_CHARS, approve_order, cancel_order, confirm_order, preorder, refund_order};
pub(crate) use refresh::refresh;
pub(crate) use refund::refund;
pub(crate) use register::{RegisterForm, register};
pub(crate) use repeat::{MAX_COPIES, repeat};
pub(crate) use signup::signup;
pub(crate) use webhook::{edit_webhook, new_webhook, redeliver};
