//! What all gateways keep.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    desk::{Answer, Desk},
    gateway::Gateway,
    kakaopay::KakaoPay,
    payment::{CONSOLE, Payment, Way},
    plan::Plan,
    portone::PortOne,
    request::Asked,
    stripe::Stripe,
    toss::Toss,
};

/// Money of one payment, in won.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What was taken.
    pub taken: i64,
    /// What of it was given back.
    pub given: i64,
}

/// The books of all gateways.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Books {
    pub(crate) desk: Desk,
    pub(crate) toss: Toss,
    pub(crate) portone: PortOne,
    #[serde(default)]
    pub(crate) kakaopay: KakaoPay,
    #[serde(default)]
    pub(crate) stripe: Stripe,
}

impl Books {
    /// New books. Their ids differ from those of earlier books, which a service may have stored.
    pub(crate) fn begun_now() -> Self {
        Self {
            desk: Desk::begun_now(),
            ..Self::default()
        }
    }

    /// All gateways, and what they share.
    pub(crate) fn gateways(&mut self) -> ([&mut dyn Gateway; 4], &mut Desk) {
        let gateways: [&mut dyn Gateway; 4] = [&mut self.stripe, &mut self.toss, &mut self.portone, &mut self.kakaopay];
        (gateways, &mut self.desk)
    }

    /// One gateway, and what it shares with the others.
    pub(crate) fn gateway(&mut self, name: &str) -> Option<(&mut dyn Gateway, &mut Desk)> {
        let (gateways, desk) = self.gateways();
        let gateway = gateways.into_iter().find(|gateway| gateway.name() == name)?;
        Some((gateway, desk))
    }

    /// Answers a request to the API of the gateway that has its path.
    pub(crate) fn answer(&mut self, asked: &Asked) -> Option<Answer> {
        let (gateways, desk) = self.gateways();
        let gateway = gateways.into_iter().find(|gateway| gateway.has(&asked.path))?;
        gateway.payments().expire(desk.now());
        Some(gateway.answer(asked, desk))
    }

    /// The answer to a call that goes wrong by a plan.
    pub(crate) fn trouble(&mut self, path: &str, plan: Plan) -> Option<Answer> {
        let (gateways, _) = self.gateways();
        let gateway = gateways.into_iter().find(|gateway| gateway.has(path))?;
        Some(gateway.trouble(plan))
    }

    /// What the window of a gateway does: the user agrees to pay. Returns the key that it hands over.
    pub(crate) fn agree(&mut self, gateway: &str, reference: &str, amount: i64, way: Way) -> Option<String> {
        let (gateway, desk) = self.gateway(gateway)?;
        let (key, now) = (desk.id(gateway.key()), desk.now());
        let payments = gateway.payments();
        payments.expire(now);
        Some(payments.agree(reference, key, amount, way, now).key.clone())
    }

    /// The user pays in to the account of a payment, or the bank takes the deposit back. Returns whether that was possible.
    pub(crate) fn deposit(&mut self, gateway: &str, reference: &str, arrives: bool) -> bool {
        let Some((gateway, desk)) = self.gateway(gateway) else {
            return false;
        };
        let now = desk.now();
        let payments = gateway.payments();
        payments.expire(now);
        let changed = match arrives {
            true => payments.deposit(reference, now),
            false => payments.take_back(reference),
        };
        let changed = changed.cloned();
        if let Some(payment) = &changed {
            gateway.notify(payment, desk);
        }
        changed.is_some()
    }

    /// The merchant gives a payment back in the gateway's own console: this much, or what is left. The service learns of it by
    /// events, and by look-ups.
    pub(crate) fn give_back(&mut self, gateway: &str, reference: &str, amount: Option<i64>) {
        let Some((gateway, desk)) = self.gateway(gateway) else {
            return;
        };
        let taken = gateway
            .payments()
            .get(reference)
            .filter(|payment| payment.taken() > payment.given());
        if let Some(payment) = taken {
            let amount = amount.unwrap_or_else(|| payment.balance());
            payment.cancel(desk.id("console_"), amount, CONSOLE.to_owned(), desk.now());
            let payment = payment.clone();
            gateway.notify(&payment, desk);
        }
    }

    /// What a gateway has taken and given back, by the merchant's references.
    pub(crate) fn entries(&mut self, gateway: &str) -> BTreeMap<String, Entry> {
        let Some((gateway, _)) = self.gateway(gateway) else {
            return BTreeMap::new();
        };
        let entry = |payment: &Payment| Entry {
            taken: payment.taken(),
            given: payment.given(),
        };
        let payments = gateway.payments().all();
        payments
            .map(|payment| (payment.reference.clone(), entry(payment)))
            .collect()
    }
}
