//! PortOne, version 2, with payments that we confirm.

use chrono::{DateTime, FixedOffset};
use http::{Request, header::AUTHORIZATION, request::Builder};
use serde::{Deserialize, Serialize};

use super::{
    adapter::{Adapter, Found, Outgoing, Reading, RefundReading, json, parse},
    attempt::{Attempt, Outcome, Payment, won},
    codes::{Codes, Meaning},
    event::{Delivery, Event, NoEvent, bounded},
    refund::{Refund, RefundState, ShownRefund, key_in},
    signature,
};
use crate::{config::Credentials, http::outgoing::Received};

/// PortOne's types of errors that tell nothing of any request.
const UNCLEAR: &[&str] = &["PG_PROVIDER", "IDEMPOTENCY_OUTSTANDING_REQUEST"];

/// What PortOne's types of errors mean for an approval.
const CODES: Codes = Codes(&[
    (Meaning::LookUp, UNCLEAR),
    (Meaning::LookUp, &["ALREADY_PAID"]),
    (Meaning::Declined, &["INVALID_PAYMENT_TOKEN", "INFORMATION_MISMATCH"]),
]);

/// What PortOne's types of errors mean for a refund.
const REFUND_CODES: Codes = Codes(&[
    (Meaning::LookUp, UNCLEAR),
    (
        Meaning::Declined,
        &[
            "PAYMENT_ALREADY_CANCELLED",
            "CANCEL_AMOUNT_EXCEEDS_CANCELLABLE_AMOUNT",
            "CANCELLABLE_AMOUNT_CONSISTENCY_BROKEN",
            "MAX_CANCEL_COUNT_REACHED",
        ],
    ),
]);

pub(super) struct PortOne<'a>(pub(super) &'a Credentials);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Confirm<'a> {
    payment_token: &'a str,
    total_amount: i64,
    currency: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cancel<'a> {
    reason: String,
    amount: i64,
    /// PortOne gives nothing back if it can give back another amount by now: a refund that was made before, for one.
    current_cancellable_amount: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_account: Option<ReceiveAccount<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceiveAccount<'a> {
    bank: &'a str,
    number: &'a str,
    holder_name: &'a str,
}

#[derive(Deserialize)]
struct CancelAnswer {
    cancellation: Cancelled,
}

/// Money that was given back.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancelled {
    id: String,
    status: String,
    total_amount: i64,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortOnePayment {
    id: String,
    status: String,
    amount: Amount,
    currency: String,
    transaction_id: Option<String>,
    method: Option<Method>,
    cancellations: Option<Vec<Cancelled>>,
}

#[derive(Deserialize)]
struct Amount {
    total: i64,
    #[serde(default)]
    cancelled: i64,
}

/// A method of payment, with the members of a virtual account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Method {
    #[serde(rename = "type")]
    kind: Option<String>,
    bank: Option<String>,
    account_number: Option<String>,
    expired_at: Option<DateTime<FixedOffset>>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "type")]
    kind: String,
}

/// What PortOne tells by itself.
#[derive(Deserialize)]
struct Told {
    data: Option<Subject>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    payment_id: Option<String>,
}

impl PortOne<'_> {
    fn request(&self, method: &str, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.0.url))
            .header(AUTHORIZATION, format!("PortOne {}", self.0.secret))
    }
}

impl Adapter for PortOne<'_> {
    fn approve(&self, attempt: &Attempt, won: i64) -> Outgoing {
        let request = self.request("POST", &format!("/payments/{}/confirm", attempt.reference));
        let body = Confirm {
            payment_token: attempt.gateway_key.as_deref()?,
            total_amount: won,
            currency: &attempt.currency,
        };
        // The quotes belong to the value.
        let key = format!("\"{}\"", attempt.idempotency_key.as_deref()?);
        json(request.header("idempotency-key", key), &body)
    }

    /// A confirmation that has succeeded is looked up as well: its answer does not have the whole payment.
    fn approved(&self, _: &Attempt, response: &Received) -> Reading {
        match (response.status, parse(response)) {
            (status @ 400..500, Some(Refusal { kind })) => CODES.reading(status, kind),
            _ => Reading::LookUp,
        }
    }

    fn find(&self, attempt: &Attempt) -> Outgoing {
        let path = format!("/payments/{}", attempt.reference);
        self.request("GET", &path).body(Vec::new()).ok()
    }

    fn found(&self, attempt: &Attempt, response: &Received) -> Found {
        let payment: PortOnePayment = match (response.status, parse(response)) {
            (200, Some(payment)) => payment,
            (404, _) if parse(response).is_some_and(|Refusal { kind }| kind == "PAYMENT_NOT_FOUND") => {
                return Found::NotExecuted;
            }
            _ => return Found::Unclear,
        };
        // A transfer has the number of the user's own account, which takes the money back.
        let is_deposit = payment
            .method
            .as_ref()
            .is_some_and(|method| method.kind.as_deref() == Some("PaymentMethodVirtualAccount"));
        match (payment.status.as_str(), payment.method) {
            ("PAID" | "PARTIAL_CANCELLED", _) if payment.amount.total > payment.amount.cancelled => {
                Found::Settled(attempt.paid_by(Payment {
                    external_id: payment.transaction_id.unwrap_or_else(|| payment.id.clone()),
                    reference: payment.id,
                    amount: payment.amount.total,
                    given_back: payment.amount.cancelled,
                    currency: payment.currency,
                    is_deposit,
                }))
            }
            _ if payment.id != attempt.reference => Found::Unclear,
            ("VIRTUAL_ACCOUNT_ISSUED", Some(account)) => match (account.account_number, account.expired_at) {
                (Some(number), Some(due_at)) => Found::Settled(Outcome::Waiting {
                    due_at,
                    account: match account.bank {
                        Some(bank) => format!("{bank} {number}"),
                        None => number,
                    },
                    secret: None,
                }),
                _ => Found::Unclear,
            },
            ("FAILED" | "CANCELLED" | "PARTIAL_CANCELLED", _) => {
                Found::Settled(Outcome::Declined { code: payment.status })
            }
            ("READY" | "PAY_PENDING", _) => Found::NotExecuted,
            _ => Found::Unclear,
        }
    }

    fn verify(&self, delivery: &Delivery<'_>) -> Result<Event, NoEvent> {
        if self.0.webhook_secrets.is_empty() {
            return Err(NoEvent::NotExpected);
        }
        if !signature::standard_webhooks(&self.0.webhook_secrets, delivery) {
            return Err(NoEvent::Forged);
        }
        let Told { data } = delivery.parse()?;
        Ok(Event {
            key: delivery.key("webhook-id"),
            reference: data.and_then(|subject| subject.payment_id).and_then(bounded),
            is_signed: true,
            ..Event::default()
        })
    }

    fn refund(&self, refund: &Refund, amount: i64) -> Outgoing {
        let request = self.request("POST", &format!("/payments/{}/cancel", refund.attempt.reference));
        let body = Cancel {
            reason: refund.reason()?,
            amount,
            current_cancellable_amount: won(refund.cancellable)?,
            refund_account: refund.account.as_ref().map(|account| ReceiveAccount {
                bank: &account.bank,
                number: &account.account_number,
                holder_name: &account.holder,
            }),
        };
        let key = format!("\"{}\"", refund.idempotency_key.as_ref()?);
        json(request.header("idempotency-key", key), &body)
    }

    fn refunded(&self, _: &Refund, response: &Received) -> RefundReading {
        match (response.status, parse(response)) {
            (status @ 400..500, Some(Refusal { kind })) => REFUND_CODES.refund_reading(status, kind),
            (200, _) => match parse(response) {
                Some(CancelAnswer { cancellation }) => RefundReading::Shown(vec![cancellation.shown()]),
                None => RefundReading::LookUp,
            },
            _ => RefundReading::LookUp,
        }
    }

    fn refunds(&self, attempt: &Attempt, response: &Received) -> Option<Vec<ShownRefund>> {
        let payment: PortOnePayment = (response.status == 200).then(|| parse(response))??;
        let cancellations = payment.cancellations.unwrap_or_default();
        (payment.id == attempt.reference).then(|| cancellations.into_iter().map(Cancelled::shown).collect())
    }
}

impl Cancelled {
    fn shown(self) -> ShownRefund {
        ShownRefund {
            id: self.id,
            amount: self.total_amount,
            key: self.reason.as_deref().map(key_in),
            state: match self.status.as_str() {
                "SUCCEEDED" => RefundState::Done,
                "FAILED" => RefundState::Failed,
                _ => RefundState::Pending,
            },
        }
    }
}
