//! Payments, as every gateway has them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// For which a user's consent in the window lasts.
const CONSENT: TimeDelta = TimeDelta::minutes(10);

/// For which a deposit is waited for.
const DEPOSIT: TimeDelta = TimeDelta::hours(168);

/// By which means a user pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// The money moves when the merchant confirms.
    Card,
    /// The same, from the user's account at a bank.
    Transfer,
    /// The user pays in to an account, later.
    VirtualAccount,
}

impl Way {
    /// The way that a form or a request names; without a name, it is a card.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "virtual_account" => Self::VirtualAccount,
            "transfer" => Self::Transfer,
            _ => Self::Card,
        }
    }
}

/// How far a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The user has agreed in the window, and the merchant has not confirmed.
    Agreed,
    /// An account is issued.
    Waiting,
    /// The money is there, or was before it was given back.
    Taken,
    /// The merchant has cancelled it before the money came.
    Cancelled,
    /// It was too late.
    Expired,
}

/// How far money is on its way back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Return {
    /// It has arrived, by the gateway's account.
    #[default]
    Done,
    /// It is on its way.
    Pending,
    /// It never arrived, or has come back to the merchant.
    Failed,
}

/// The reason of what the merchant gives back in the gateway's own console.
pub(crate) const CONSOLE: &str = "console";

/// Money that was given back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cancel {
    /// The gateway's own id.
    pub id: String,
    /// In won.
    pub amount: i64,
    /// As the merchant has given it.
    pub reason: String,
    /// By the gateway's clock.
    pub at: DateTime<Utc>,
    /// Only Stripe's refunds may be anything else than done.
    #[serde(default)]
    pub state: Return,
}

impl Cancel {
    /// Whether it was made in the gateway's own console.
    pub(crate) fn in_console(&self) -> bool {
        self.reason == CONSOLE
    }
}

/// One payment in the books of a gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payment {
    /// By which the merchant knows it.
    pub reference: String,
    /// What the window hands over.
    pub key: String,
    /// In won.
    pub amount: i64,
    /// How the user pays.
    pub way: Way,
    /// How far it is.
    pub state: State,
    /// When the user has agreed.
    pub agreed_at: DateTime<Utc>,
    /// When the money came.
    pub taken_at: Option<DateTime<Utc>>,
    /// When a deposit is too late.
    pub due_at: Option<DateTime<Utc>>,
    /// What was given back, in its order.
    pub cancels: Vec<Cancel>,
}

impl Payment {
    /// The money that was given back.
    pub fn given(&self) -> i64 {
        self.returned(|state| state == Return::Done)
    }

    fn returned(&self, counts: impl Fn(Return) -> bool) -> i64 {
        let cancels = self.cancels.iter().filter(|cancel| counts(cancel.state));
        cancels.map(|cancel| cancel.amount).sum()
    }

    /// The money that was taken, whether or not it was given back.
    pub fn taken(&self) -> i64 {
        if self.state == State::Taken { self.amount } else { 0 }
    }

    /// What is left to give back.
    pub fn balance(&self) -> i64 {
        self.amount - self.returned(|state| state != Return::Failed)
    }

    /// When it expires, unless something happens.
    fn expires_at(&self) -> Option<DateTime<Utc>> {
        match self.state {
            State::Agreed => Some(self.agreed_at + CONSENT),
            State::Waiting => self.due_at,
            _ => None,
        }
    }

    /// Takes the money, or waits for a deposit.
    pub(crate) fn confirm(&mut self, now: DateTime<Utc>) {
        match self.way {
            Way::Card | Way::Transfer => (self.state, self.taken_at) = (State::Taken, Some(now)),
            Way::VirtualAccount => (self.state, self.due_at) = (State::Waiting, Some(now + DEPOSIT)),
        }
    }

    /// Gives an amount back, or ends a payment for which no money has come.
    pub(crate) fn cancel(&mut self, id: String, amount: i64, reason: String, at: DateTime<Utc>) -> Cancel {
        let cancel = Cancel {
            id,
            amount,
            reason,
            at,
            state: Return::Done,
        };
        match self.state {
            State::Taken => self.cancels.push(cancel.clone()),
            _ => self.state = State::Cancelled,
        }
        cancel
    }
}

/// The payments of one gateway, by the merchant's reference.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Payments {
    by_reference: BTreeMap<String, Payment>,
    /// Before this time, none expires; `None` if that is not known.
    #[serde(skip)]
    next_expiry: Option<DateTime<Utc>>,
}

impl Payments {
    /// What the window does: the user agrees to pay. A payment that has gone further stays as it is.
    pub(crate) fn agree(
        &mut self,
        reference: &str,
        key: String,
        amount: i64,
        way: Way,
        now: DateTime<Utc>,
    ) -> &Payment {
        let agreed = Payment {
            reference: reference.to_owned(),
            key,
            amount,
            way,
            state: State::Agreed,
            agreed_at: now,
            taken_at: None,
            due_at: None,
            cancels: Vec::new(),
        };
        let payment = self
            .by_reference
            .entry(reference.to_owned())
            .or_insert_with(|| agreed.clone());
        if [State::Agreed, State::Expired].contains(&payment.state) && payment.due_at.is_none() {
            *payment = agreed;
        }
        payment
    }

    pub(crate) fn get(&mut self, reference: &str) -> Option<&mut Payment> {
        self.by_reference.get_mut(reference)
    }

    pub(crate) fn of_key(&mut self, key: &str) -> Option<&mut Payment> {
        self.all_mut().find(|payment| payment.key == key)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Payment> {
        self.by_reference.values()
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Payment> {
        self.by_reference.values_mut()
    }

    /// Ends what has waited for too long.
    pub(crate) fn expire(&mut self, now: DateTime<Utc>) {
        if self.next_expiry.is_some_and(|next| now < next) {
            return;
        }
        let mut next = now + CONSENT;
        for payment in self.all_mut() {
            match payment.expires_at() {
                Some(at) if at < now => payment.state = State::Expired,
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        self.next_expiry = Some(next);
    }

    /// The user pays in. Returns the payment, if one waits for it.
    pub(crate) fn deposit(&mut self, reference: &str, now: DateTime<Utc>) -> Option<&Payment> {
        let payment = self.get(reference)?;
        if payment.state != State::Waiting {
            return None;
        }
        (payment.state, payment.taken_at) = (State::Taken, Some(now));
        Some(payment)
    }

    /// The bank takes a deposit back. Returns the payment, which waits again.
    pub(crate) fn take_back(&mut self, reference: &str) -> Option<&Payment> {
        let payment = self.get(reference)?;
        let is_whole =
            payment.way == Way::VirtualAccount && payment.state == State::Taken && payment.cancels.is_empty();
        if !is_whole {
            return None;
        }
        (payment.state, payment.taken_at) = (State::Waiting, None);
        self.next_expiry = None;
        self.by_reference.get(reference)
    }
}
