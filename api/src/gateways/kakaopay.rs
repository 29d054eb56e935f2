//! KakaoPay. It knows no idempotency keys, but a `tid` is paid once at most, and a refund that says how much can be given back
//! is refused once another one was made.

use http::{Request, header::AUTHORIZATION, request::Builder};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    adapter::{Adapter, Found, Opened, Outgoing, Reading, RefundReading, is_refusal, json, parse},
    attempt::{Attempt, Outcome, Payment, won},
    refund::{Refund, RefundState, ShownRefund, key_in},
};
use crate::{config::KakaoPayContract, http::outgoing::Received};

/// The one code whose meaning is known: the method of payment has refused, and `extras` says why.
const METHOD_HAS_REFUSED: i64 = -780;

/// The only currency.
const CURRENCY: &str = "KRW";

pub(super) struct KakaoPay<'a>(pub(super) &'a KakaoPayContract);

#[derive(Serialize)]
struct Ready<'a> {
    cid: &'a str,
    partner_order_id: &'a str,
    partner_user_id: &'a str,
    item_name: &'a str,
    quantity: u8,
    total_amount: i64,
    tax_free_amount: i64,
    approval_url: String,
    cancel_url: String,
    fail_url: String,
}

#[derive(Deserialize)]
struct Prepared {
    tid: String,
    next_redirect_pc_url: String,
    next_redirect_mobile_url: String,
    next_redirect_app_url: String,
}

#[derive(Serialize)]
struct Approve<'a> {
    cid: &'a str,
    tid: &'a str,
    partner_order_id: &'a str,
    partner_user_id: &'a str,
    pg_token: &'a str,
    total_amount: i64,
}

#[derive(Serialize)]
struct Order<'a> {
    cid: &'a str,
    tid: &'a str,
}

/// The answer to an approval.
#[derive(Deserialize)]
struct Approved {
    tid: String,
    partner_order_id: String,
    amount: Amount,
}

#[derive(Serialize)]
struct Cancel<'a> {
    cid: &'a str,
    tid: &'a str,
    cancel_amount: i64,
    cancel_tax_free_amount: i64,
    /// KakaoPay gives nothing back if it can give back another amount by now: a refund that was made before, for one.
    cancel_available_amount: i64,
    payload: String,
}

/// The answer to a refund.
#[derive(Deserialize)]
struct Cancelled {
    aid: String,
    partner_order_id: String,
    approved_cancel_amount: Amount,
}

/// The answer to a look-up.
#[derive(Deserialize)]
struct KakaoPayment {
    tid: String,
    status: String,
    partner_order_id: String,
    amount: Amount,
    canceled_amount: Option<Amount>,
    payment_action_details: Option<Vec<Action>>,
}

/// What was done with a payment: it was approved, or money was given back.
#[derive(Deserialize)]
struct Action {
    aid: String,
    payment_action_type: String,
    /// KakaoPay's tests are known to leave it out.
    amount: Option<i64>,
    /// What the request for it had, or nothing.
    payload: Option<String>,
}

#[derive(Deserialize)]
struct Amount {
    total: i64,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: i64,
    extras: Option<Extras>,
}

#[derive(Deserialize)]
struct Extras {
    method_result_code: Option<String>,
}

impl KakaoPay<'_> {
    fn request(&self, path: &str) -> Builder {
        let credentials = &self.0.credentials;
        Request::builder()
            .method("POST")
            .uri(format!("{}/online/v1/payment/{path}", credentials.url))
            .header(AUTHORIZATION, format!("SECRET_KEY {}", credentials.secret))
    }

    /// Where KakaoPay sends the user back to: through us, or straight to the page of the shop.
    fn return_url(&self, attempt: &Attempt, result: &str) -> String {
        if let Some(url) = &attempt.return_url {
            return url.clone();
        }
        let url = &self.0.return_url;
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}order={}&result={result}", attempt.order)
    }
}

impl Adapter for KakaoPay<'_> {
    /// The reference stands for the user as well: KakaoPay learns nothing about them.
    fn open(&self, attempt: &Attempt, won: i64) -> Outgoing {
        let body = Ready {
            cid: &self.0.cid,
            partner_order_id: &attempt.reference,
            partner_user_id: &attempt.reference,
            item_name: &attempt.title,
            quantity: 1,
            total_amount: won,
            tax_free_amount: 0,
            approval_url: self.return_url(attempt, "approved"),
            cancel_url: self.return_url(attempt, "cancelled"),
            fail_url: self.return_url(attempt, "failed"),
        };
        json(self.request("ready"), &body)
    }

    fn opened(&self, response: &Received) -> Option<Opened> {
        let prepared: Prepared = (response.status == 200).then(|| parse(response))??;
        Some(Opened {
            gateway_key: prepared.tid,
            window: json!({
                "redirect_pc_url": prepared.next_redirect_pc_url,
                "redirect_mobile_url": prepared.next_redirect_mobile_url,
                "redirect_app_url": prepared.next_redirect_app_url,
            }),
        })
    }

    fn approve(&self, attempt: &Attempt, won: i64) -> Outgoing {
        let body = Approve {
            cid: &self.0.cid,
            tid: attempt.gateway_key.as_deref()?,
            partner_order_id: &attempt.reference,
            partner_user_id: &attempt.reference,
            pg_token: attempt.window_key.as_deref()?,
            total_amount: won,
        };
        json(self.request("approve"), &body)
    }

    fn approved(&self, attempt: &Attempt, response: &Received) -> Reading {
        match response.status {
            200 => match parse::<Approved>(response) {
                Some(approved) => Reading::Settled(attempt.paid_by(Payment {
                    reference: approved.partner_order_id,
                    amount: approved.amount.total,
                    given_back: 0,
                    currency: CURRENCY.to_owned(),
                    external_id: approved.tid,
                    is_deposit: false,
                })),
                None => Reading::LookUp,
            },
            status if is_refusal(status) => match parse::<Refusal>(response) {
                Some(refusal) => refusal.reading(),
                None => Reading::LookUp,
            },
            _ => Reading::LookUp,
        }
    }

    fn find(&self, attempt: &Attempt) -> Outgoing {
        let body = Order {
            cid: &self.0.cid,
            tid: attempt.gateway_key.as_deref()?,
        };
        json(self.request("order"), &body)
    }

    fn found(&self, attempt: &Attempt, response: &Received) -> Found {
        let payment: KakaoPayment = match (response.status, parse(response)) {
            (200, Some(payment)) => payment,
            _ => return Found::Unclear,
        };
        let total = payment.amount.total;
        let given_back = payment.canceled_amount.map_or(0, |amount| amount.total);
        match payment.status.as_str() {
            "SUCCESS_PAYMENT" | "PART_CANCEL_PAYMENT" if total > given_back => {
                Found::Settled(attempt.paid_by(Payment {
                    reference: payment.partner_order_id,
                    amount: total,
                    given_back,
                    currency: CURRENCY.to_owned(),
                    external_id: payment.tid,
                    is_deposit: false,
                }))
            }
            _ if payment.partner_order_id != attempt.reference => Found::Unclear,
            "PART_CANCEL_PAYMENT" | "CANCEL_PAYMENT" | "FAIL_AUTH_PASSWORD" | "QUIT_PAYMENT" | "FAIL_PAYMENT" => {
                Found::Settled(Outcome::Declined { code: payment.status })
            }
            "READY" | "SEND_TMS" | "OPEN_PAYMENT" | "SELECT_METHOD" | "ARS_WAITING" => Found::NotAgreed,
            "AUTH_PASSWORD" => Found::NotExecuted,
            _ => Found::Unclear,
        }
    }

    fn refund(&self, refund: &Refund, won_back: i64) -> Outgoing {
        let body = Cancel {
            cid: &self.0.cid,
            tid: &refund.external_id,
            cancel_amount: won_back,
            cancel_tax_free_amount: 0,
            cancel_available_amount: won(refund.cancellable)?,
            payload: refund.reason()?,
        };
        json(self.request("cancel"), &body)
    }

    /// No code is known to prove anything, so each refusal is looked up. An answer that the refund is made needs no payload:
    /// it answers this request.
    fn refunded(&self, refund: &Refund, response: &Received) -> RefundReading {
        match response.status {
            200 => match parse::<Cancelled>(response) {
                Some(cancelled) if cancelled.answers(refund) => RefundReading::Shown(vec![ShownRefund {
                    id: cancelled.aid,
                    amount: cancelled.approved_cancel_amount.total,
                    key: refund.idempotency_key.clone(),
                    state: RefundState::Done,
                }]),
                _ => RefundReading::LookUp,
            },
            status if is_refusal(status) => match parse::<Refusal>(response) {
                Some(refusal) => RefundReading::Doubtful(refusal.code()),
                None => RefundReading::LookUp,
            },
            _ => RefundReading::LookUp,
        }
    }

    /// Believed only if what is shown one by one adds up to what is shown in all: the last one may be missing.
    fn refunds(&self, attempt: &Attempt, response: &Received) -> Option<Vec<ShownRefund>> {
        let payment: KakaoPayment = (response.status == 200).then(|| parse(response))??;
        if payment.partner_order_id != attempt.reference {
            return None;
        }
        let actions = payment.payment_action_details.unwrap_or_default();
        let cancels: Vec<_> = actions
            .into_iter()
            .filter(|action| action.payment_action_type == "CANCEL")
            .collect();
        let cancelled = payment.canceled_amount.map_or(0, |amount| amount.total);
        let shown: i64 = cancels.iter().filter_map(|cancel| cancel.amount).sum();
        let rest = cancelled - shown;
        let adds_up = match cancels.iter().filter(|cancel| cancel.amount.is_none()).count() {
            0 => rest == 0,
            1 => rest > 0,
            _ => false,
        };
        adds_up.then(|| cancels.into_iter().map(|cancel| cancel.shown(rest)).collect())
    }
}

impl Cancelled {
    fn answers(&self, refund: &Refund) -> bool {
        self.partner_order_id == refund.attempt.reference && Some(self.approved_cancel_amount.total) == refund.won()
    }
}

impl Action {
    /// An amount that is left out is the rest of what was given back. Without a payload, either KakaoPay has not returned ours,
    /// or the refund was made in its console, where there is none.
    fn shown(self, rest: i64) -> ShownRefund {
        ShownRefund {
            id: self.aid,
            amount: self.amount.unwrap_or(rest),
            key: self
                .payload
                .filter(|payload| !payload.is_empty())
                .as_deref()
                .map(key_in),
            state: RefundState::Done,
        }
    }
}

impl Refusal {
    fn reading(self) -> Reading {
        match self {
            Self {
                error_code: METHOD_HAS_REFUSED,
                extras: Some(Extras {
                    method_result_code: Some(code),
                }),
            } => Reading::Refused(code),
            refusal => Reading::Doubtful(refusal.error_code.to_string()),
        }
    }

    /// Why a refund was refused: by the method of payment, if that is said.
    fn code(self) -> String {
        let method = self.extras.and_then(|extras| extras.method_result_code);
        method.unwrap_or_else(|| self.error_code.to_string())
    }
}
