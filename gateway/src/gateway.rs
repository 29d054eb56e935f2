//! What differs between gateways.

use crate::{
    desk::{Answer, Desk},
    payment::{Payment, Payments},
    plan::Plan,
    request::Asked,
};

/// What differs between gateways.
pub(crate) trait Gateway {
    /// The word in the settings of the service.
    fn name(&self) -> &'static str;

    /// Whether the gateway has this path.
    fn has(&self, path: &str) -> bool;

    fn answer(&mut self, asked: &Asked, desk: &mut Desk) -> Answer;

    /// The answer to a call that goes wrong by a plan.
    fn trouble(&self, plan: Plan) -> Answer;

    fn payments(&mut self) -> &mut Payments;

    /// The beginning of the keys that the window hands over.
    fn key(&self) -> &'static str;

    /// Method and path of the call by which the merchant confirms a payment.
    fn confirmation(&self, reference: &str) -> String;

    /// Refuses the next confirmation, as the bank of the user does. Only a gateway whose window the stand-in plays has to.
    fn refuse(&mut self) {}

    /// Sends the events of a payment that has changed.
    fn notify(&self, payment: &Payment, desk: &mut Desk);
}
