//! KakaoPay. It knows no idempotency keys, but a `tid` is paid once at most.

use http::{Request, header::AUTHORIZATION, request::Builder};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    adapter::{Adapter, Found, Opened, Outgoing, Reading, is_refusal, json, parse},
    attempt::{Attempt, Outcome, Payment},
};
use crate::{config::KakaoPayContract, http::outgoing::Received};

/// What KakaoPay takes of a title.
const ITEM_NAME_CHARS: usize = 100;

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
    item_name: String,
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

/// The answer to a look-up.
#[derive(Deserialize)]
struct KakaoPayment {
    tid: String,
    status: String,
    partner_order_id: String,
    amount: Amount,
    canceled_amount: Option<Amount>,
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
            item_name: attempt.title.chars().take(ITEM_NAME_CHARS).collect(),
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
                    currency: CURRENCY.to_owned(),
                    external_id: approved.tid,
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
        let left = payment.amount.total - payment.canceled_amount.map_or(0, |amount| amount.total);
        match payment.status.as_str() {
            "SUCCESS_PAYMENT" | "PART_CANCEL_PAYMENT" if left > 0 => Found::Settled(attempt.paid_by(Payment {
                reference: payment.partner_order_id,
                amount: left,
                currency: CURRENCY.to_owned(),
                external_id: payment.tid,
            })),
            _ if payment.partner_order_id != attempt.reference => Found::Unclear,
            "PART_CANCEL_PAYMENT" | "CANCEL_PAYMENT" | "FAIL_AUTH_PASSWORD" | "QUIT_PAYMENT" | "FAIL_PAYMENT" => {
                Found::Settled(Outcome::Declined { code: payment.status })
            }
            "READY" | "SEND_TMS" | "OPEN_PAYMENT" | "SELECT_METHOD" | "ARS_WAITING" => Found::NotAgreed,
            "AUTH_PASSWORD" => Found::NotExecuted,
            _ => Found::Unclear,
        }
    }
}

impl Refusal {
    fn reading(self) -> Reading {
        let method = self.extras.and_then(|extras| extras.method_result_code);
        match (self.error_code, method) {
            (METHOD_HAS_REFUSED, Some(code)) => Reading::Refused(code),
            (code, _) => Reading::Doubtful(code.to_string()),
        }
    }
}
