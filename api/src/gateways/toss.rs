//! Toss Payments.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, FixedOffset, NaiveDateTime};
use http::{Request, header::AUTHORIZATION, request::Builder};
use serde::{Deserialize, Serialize};

use super::{
    adapter::{Adapter, Found, Outgoing, Reading, RefundReading, json, parse},
    attempt::{Attempt, Outcome, Payment},
    codes::{Codes, Meaning},
    event::{Delivery, Event, NoEvent, bounded},
    refund::{Refund, RefundState, ShownRefund, key_in},
};
use crate::{config::Credentials, http::outgoing::Received};

/// The codes of Toss that tell nothing of any request. Some are 4xx although the money may have moved.
const UNCLEAR: &[&str] = &[
    "PROVIDER_ERROR",
    "IDEMPOTENT_REQUEST_PROCESSING",
    "FORBIDDEN_CONSECUTIVE_REQUEST",
    "FAILED_*_PROCESSING",
    "COMMON_ERROR",
];

/// What Toss's codes mean for an approval.
const CODES: Codes = Codes(&[
    (Meaning::LookUp, UNCLEAR),
    (Meaning::LookUp, &["ALREADY_PROCESSED_PAYMENT"]),
    (
        Meaning::Declined,
        &[
            "REJECT_*",
            "INVALID_CARD_*",
            "EXCEED_MAX_*",
            "NOT_FOUND_PAYMENT_SESSION",
        ],
    ),
]);

/// What Toss's codes mean for a refund. The money may have gone back whatever the first two rows say.
const REFUND_CODES: Codes = Codes(&[
    (Meaning::LookUp, UNCLEAR),
    (
        Meaning::LookUp,
        &[
            "FAILED_REFUND_PROCESS",
            "FAILED_METHOD_HANDLING_CANCEL",
            "FAILED_PARTIAL_REFUND",
        ],
    ),
    (
        Meaning::Declined,
        &[
            "ALREADY_CANCELED_PAYMENT",
            "NOT_CANCELABLE_AMOUNT",
            "NOT_CANCELABLE_PAYMENT",
            "EXCEED_MAX_REFUND_DUE",
            "NOT_ALLOWED_PARTIAL_REFUND",
        ],
    ),
]);

/// The hours by which Korea is ahead of UTC: in its time Toss writes times without an offset.
const KOREA: i32 = 9;

pub(super) struct Toss<'a>(pub(super) &'a Credentials);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Confirm<'a> {
    payment_key: &'a str,
    order_id: &'a str,
    amount: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cancel<'a> {
    cancel_reason: String,
    cancel_amount: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund_receive_account: Option<ReceiveAccount<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceiveAccount<'a> {
    bank: &'a str,
    account_number: &'a str,
    holder_name: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TossPayment {
    payment_key: String,
    order_id: String,
    status: String,
    total_amount: i64,
    /// What is left of the total. Refunds that were made in Toss's own console have lowered it.
    balance_amount: i64,
    currency: String,
    secret: Option<String>,
    virtual_account: Option<VirtualAccount>,
    cancels: Option<Vec<Cancelled>>,
}

/// Money that was given back.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancelled {
    transaction_key: String,
    cancel_amount: i64,
    cancel_reason: Option<String>,
    cancel_status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VirtualAccount {
    account_number: String,
    bank_code: Option<String>,
    due_date: String,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
}

/// What Toss tells by itself. An event of a payment has `data`; one of a deposit has neither that nor a `paymentKey`, and
/// proves itself with the secret of the payment.
#[derive(Deserialize)]
struct Told {
    data: Option<Subject>,
    #[serde(flatten)]
    subject: Subject,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    order_id: Option<String>,
    secret: Option<String>,
}

impl Toss<'_> {
    fn request(&self, method: &str, path: &str) -> Builder {
        let login = BASE64_STANDARD.encode(format!("{}:", self.0.secret));
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.0.url))
            .header(AUTHORIZATION, format!("Basic {login}"))
    }
}

impl Adapter for Toss<'_> {
    fn approve(&self, attempt: &Attempt, won: i64) -> Outgoing {
        // Toss replays the answer to a key, refusals too, whatever the body is.
        let request = self.request("POST", "/v1/payments/confirm");
        let body = Confirm {
            payment_key: attempt.gateway_key.as_deref()?,
            order_id: &attempt.reference,
            amount: won,
        };
        json(
            request.header("idempotency-key", attempt.idempotency_key.as_deref()?),
            &body,
        )
    }

    fn approved(&self, attempt: &Attempt, response: &Received) -> Reading {
        match response.status {
            200 => match self.found(attempt, response) {
                Found::Settled(outcome) => Reading::Settled(outcome),
                Found::NotAgreed | Found::NotExecuted | Found::Unclear => Reading::LookUp,
            },
            status @ 400..500 => match parse(response) {
                Some(Refusal { code }) => CODES.reading(status, code),
                None => Reading::LookUp,
            },
            _ => Reading::LookUp,
        }
    }

    fn find(&self, attempt: &Attempt) -> Outgoing {
        let path = format!("/v1/payments/orders/{}", attempt.reference);
        self.request("GET", &path).body(Vec::new()).ok()
    }

    fn found(&self, attempt: &Attempt, response: &Received) -> Found {
        let payment: TossPayment = match (response.status, parse(response)) {
            (200, Some(payment)) => payment,
            (404, _) if parse(response).is_some_and(|Refusal { code }| code == "NOT_FOUND_PAYMENT") => {
                return Found::NotExecuted;
            }
            _ => return Found::Unclear,
        };
        let is_deposit = payment.virtual_account.is_some();
        match (payment.status.as_str(), payment.virtual_account) {
            ("DONE" | "PARTIAL_CANCELED", _) if payment.balance_amount > 0 => {
                Found::Settled(attempt.paid_by(Payment {
                    reference: payment.order_id,
                    amount: payment.total_amount,
                    given_back: payment.total_amount - payment.balance_amount,
                    currency: payment.currency,
                    external_id: payment.payment_key,
                    is_deposit,
                }))
            }
            _ if payment.order_id != attempt.reference => Found::Unclear,
            ("WAITING_FOR_DEPOSIT", Some(account)) => match due_at(&account.due_date) {
                Some(due_at) => Found::Settled(Outcome::Waiting {
                    due_at,
                    account: account.shown(),
                    secret: payment.secret,
                }),
                None => Found::Unclear,
            },
            ("CANCELED" | "PARTIAL_CANCELED" | "ABORTED" | "EXPIRED", _) => {
                Found::Settled(Outcome::Declined { code: payment.status })
            }
            ("READY" | "IN_PROGRESS", _) => Found::NotExecuted,
            _ => Found::Unclear,
        }
    }

    /// Toss signs nothing. The payment in an event has its secret as well, which proves as little as the rest of it if it is
    /// not the right one.
    fn verify(&self, delivery: &Delivery<'_>) -> Result<Event, NoEvent> {
        let Told { data, subject } = delivery.parse()?;
        let Subject { order_id, secret } = data.unwrap_or(subject);
        Ok(Event {
            key: delivery.key("tosspayments-webhook-transmission-id"),
            reference: order_id.and_then(bounded),
            // Without one, nothing would be compared: what can be no secret is a wrong one.
            secret: secret
                .map(|secret| bounded(secret).ok_or(NoEvent::Forged))
                .transpose()?,
            ..Event::default()
        })
    }

    fn refund(&self, refund: &Refund, won: i64) -> Outgoing {
        let request = self.request("POST", &format!("/v1/payments/{}/cancel", refund.external_id));
        let body = Cancel {
            cancel_reason: refund.reason()?,
            cancel_amount: won,
            refund_receive_account: refund.account.as_ref().map(|account| ReceiveAccount {
                bank: &account.bank,
                account_number: &account.account_number,
                holder_name: &account.holder,
            }),
        };
        json(
            request.header("idempotency-key", refund.idempotency_key.as_ref()?),
            &body,
        )
    }

    fn refunded(&self, refund: &Refund, response: &Received) -> RefundReading {
        match (response.status, parse(response)) {
            (status @ 400..500, Some(Refusal { code })) => REFUND_CODES.refund_reading(status, code),
            _ => match self.refunds(&refund.attempt, response) {
                Some(refunds) => RefundReading::Shown(refunds),
                None => RefundReading::LookUp,
            },
        }
    }

    fn refunds(&self, attempt: &Attempt, response: &Received) -> Option<Vec<ShownRefund>> {
        let payment: TossPayment = (response.status == 200).then(|| parse(response))??;
        let cancels = payment.cancels.unwrap_or_default();
        (payment.order_id == attempt.reference).then(|| cancels.into_iter().map(Cancelled::shown).collect())
    }
}

impl Cancelled {
    fn shown(self) -> ShownRefund {
        ShownRefund {
            id: self.transaction_key,
            amount: self.cancel_amount,
            key: self.cancel_reason.as_deref().map(key_in),
            state: match self.cancel_status.as_deref() {
                Some("DONE") | None => RefundState::Done,
                Some("ABORTED") => RefundState::Failed,
                Some(_) => RefundState::Pending,
            },
        }
    }
}

impl VirtualAccount {
    /// The account as a user needs it: the code of the bank, and the number.
    fn shown(&self) -> String {
        match &self.bank_code {
            Some(bank) => format!("{bank} {}", self.account_number),
            None => self.account_number.clone(),
        }
    }
}

/// Reads a deadline, with an offset or in Korean time.
fn due_at(text: &str) -> Option<DateTime<FixedOffset>> {
    let in_korea = || {
        let local: NaiveDateTime = text.parse().ok()?;
        local.and_local_timezone(FixedOffset::east_opt(KOREA * 3600)?).single()
    };
    DateTime::parse_from_rfc3339(text).ok().or_else(in_korea)
}
