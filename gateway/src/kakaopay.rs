//! KakaoPay: what it prepares has a `tid`, which is approved once, with the `pg_token` of the user's consent.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    desk::{Answer, Desk},
    gateway::Gateway,
    payment::{Payment, Payments, State},
    plan::Plan,
    request::Asked,
};

/// The secret key of the contract.
pub const SECRET: &str = "dev_secret_0123456789";

/// By which KakaoPay knows the shop: that of its tests.
pub const CID: &str = "TC0ONETIME";

/// The time in which KakaoPay writes, without an offset.
const KOREA: FixedOffset = FixedOffset::east_opt(9 * 3600).expect("within a day");

const PATHS: &str = "/online/v1/payment/";

/// The books of KakaoPay.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct KakaoPay {
    payments: Payments,
    /// What was prepared last for each reference.
    prepared: BTreeMap<String, Prepared>,
    /// Refuses the next approval or refund with this `method_result_code`.
    pub(crate) refusal: Option<String>,
    /// Gives back without a look at `cancel_available_amount`.
    #[serde(default)]
    pub(crate) is_careless: bool,
    /// Returns no `payload` in its look-ups.
    #[serde(default)]
    pub(crate) is_terse: bool,
}

/// A payment that no user has agreed to yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Prepared {
    tid: String,
    user: String,
    /// What the window shows as the order.
    #[serde(default)]
    pub(crate) item: String,
    pub(crate) amount: i64,
    pub(crate) approval_url: String,
    #[serde(default)]
    pub(crate) cancel_url: String,
    #[serde(default)]
    pub(crate) fail_url: String,
    /// Whether its approval was refused.
    has_failed: bool,
}

impl Gateway for KakaoPay {
    fn name(&self) -> &'static str {
        "kakaopay"
    }

    fn has(&self, path: &str) -> bool {
        path.starts_with(PATHS)
    }

    fn answer(&mut self, asked: &Asked, desk: &mut Desk) -> Answer {
        if asked.header("authorization") != Some(&format!("SECRET_KEY {SECRET}")) {
            return refusal(401, -401);
        }
        let body = asked.json();
        if asked.method != "POST" || body["cid"] != CID {
            return refusal(400, -2);
        }
        match asked.path.trim_start_matches(PATHS) {
            "ready" => self.ready(&body, asked.header("host").unwrap_or_default(), desk),
            "approve" => self.approve(&body, desk),
            "order" => self.order(&body),
            "cancel" => self.cancel(&body, desk),
            _ => refusal(404, -3),
        }
    }

    fn trouble(&self, plan: Plan) -> Answer {
        match plan {
            Plan::Conflict => refusal(409, -1),
            _ => refusal(500, -1),
        }
    }

    fn payments(&mut self) -> &mut Payments {
        &mut self.payments
    }

    fn confirmation(&self, _: &str) -> String {
        format!("POST {PATHS}approve")
    }

    fn refuse(&mut self) {
        self.refusal = Some("USER_LOCKED".to_owned());
    }

    fn key(&self) -> &'static str {
        "pg_token_"
    }

    /// It sends no events.
    fn notify(&self, _: &Payment, _: &mut Desk) {}
}

impl KakaoPay {
    /// Where the window sends the user who has agreed, but for the `pg_token`.
    pub(crate) fn approval_url(&self, reference: &str) -> Option<String> {
        Some(self.prepared.get(reference)?.approval_url.clone())
    }

    /// What was prepared with this `tid`, and the merchant's reference of it, unless it has failed.
    pub(crate) fn prepared(&self, tid: &str) -> Option<(&String, &Prepared)> {
        let mut prepared = self.prepared.iter();
        prepared.find(|(_, prepared)| prepared.tid == tid && !prepared.has_failed)
    }

    /// Prepares a payment, whose window is at the host that the request has named.
    fn ready(&mut self, body: &Value, host: &str, desk: &mut Desk) -> Answer {
        let texts = [
            ("partner_order_id", 100),
            ("partner_user_id", 100),
            ("item_name", 100),
            ("approval_url", 255),
            ("cancel_url", 255),
            ("fail_url", 255),
        ];
        let is_whole = texts.iter().all(|(name, longest)| {
            let text = body[*name].as_str().unwrap_or_default();
            (1..=*longest).contains(&text.chars().count())
        });
        let (Some(amount), true) = (body["total_amount"].as_i64().filter(|amount| *amount > 0), is_whole) else {
            return refusal(400, -2);
        };
        if !body["quantity"].is_i64() || !body["tax_free_amount"].is_i64() {
            return refusal(400, -2);
        }
        let prepared = Prepared {
            tid: desk.id("T"),
            user: text(body, "partner_user_id"),
            item: text(body, "item_name"),
            amount,
            approval_url: text(body, "approval_url"),
            cancel_url: text(body, "cancel_url"),
            fail_url: text(body, "fail_url"),
            has_failed: false,
        };
        let url = |device: &str| format!("http://{host}/kakaopay/{}/{device}", prepared.tid);
        let answer = json!({
            "tid": prepared.tid, "next_redirect_pc_url": url("pc"), "next_redirect_mobile_url": url("mobile"),
            "next_redirect_app_url": url("app"), "android_app_scheme": "kakaotalk://", "ios_app_scheme": "kakaotalk://",
            "created_at": desk.now().format("%Y-%m-%dT%H:%M:%S").to_string(),
        });
        self.prepared.insert(text(body, "partner_order_id"), prepared);
        (200, answer)
    }

    fn approve(&mut self, body: &Value, desk: &mut Desk) -> Answer {
        let reference = text(body, "partner_order_id");
        let Some(prepared) = self.prepared.get_mut(&reference) else {
            return refusal(400, -721);
        };
        let amount = body["total_amount"].as_i64().unwrap_or(prepared.amount);
        if body["tid"] != *prepared.tid || body["partner_user_id"] != *prepared.user || amount != prepared.amount {
            return refusal(400, -721);
        }
        let Some(payment) = self.payments.get(&reference) else {
            return refusal(400, -704);
        };
        if payment.state != State::Agreed || prepared.has_failed || body["pg_token"] != *payment.key {
            return refusal(400, -702);
        }
        if let Some(code) = self.refusal.take() {
            prepared.has_failed = true;
            return method_refuses(-780, &code);
        }
        payment.confirm(desk.now());
        let answer = json!({
            "aid": desk.id("A"), "tid": prepared.tid, "cid": CID, "partner_order_id": reference,
            "partner_user_id": prepared.user, "payment_method_type": "MONEY", "amount": amounts(payment.amount),
        });
        (200, answer)
    }

    fn order(&mut self, body: &Value) -> Answer {
        let prepared = self.prepared.iter().find(|(_, prepared)| body["tid"] == *prepared.tid);
        let Some((reference, prepared)) = prepared else {
            return refusal(400, -721);
        };
        let payment = self.payments.get(reference);
        (200, shown(reference, prepared, payment.as_deref(), self.is_terse))
    }

    fn cancel(&mut self, body: &Value, desk: &mut Desk) -> Answer {
        let prepared = self.prepared.iter().find(|(_, prepared)| body["tid"] == *prepared.tid);
        let Some((reference, prepared)) = prepared else {
            return refusal(400, -721);
        };
        let payment = self
            .payments
            .get(reference)
            .filter(|payment| payment.state == State::Taken);
        let (Some(payment), Some(amount)) = (payment, body["cancel_amount"].as_i64()) else {
            return refusal(400, -2);
        };
        let left = payment.balance();
        let expected = body["cancel_available_amount"].as_i64().unwrap_or(left);
        let is_expected = expected == left || self.is_careless;
        if !(1..=left).contains(&amount) || !is_expected || !body["cancel_tax_free_amount"].is_i64() {
            return refusal(400, -761);
        }
        if let Some(code) = self.refusal.take() {
            return method_refuses(-781, &code);
        }
        let cancel = payment.cancel(desk.id("A"), amount, text(body, "payload"), desk.now());
        let mut answer = shown(reference, prepared, Some(payment), self.is_terse);
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("payment_action_details");
        }
        answer["aid"] = json!(cancel.id);
        answer["payload"] = json!(cancel.reason);
        answer["approved_cancel_amount"] = amounts(amount);
        (200, answer)
    }
}

/// What a look-up shows: without payloads, if it is terse.
fn shown(reference: &str, prepared: &Prepared, payment: Option<&Payment>, is_terse: bool) -> Value {
    let status = match payment.map(|payment| (payment.state, payment.given(), payment.balance())) {
        _ if prepared.has_failed => "FAIL_PAYMENT",
        None => "READY",
        Some((State::Agreed, ..)) => "AUTH_PASSWORD",
        Some((State::Taken, 0, _)) => "SUCCESS_PAYMENT",
        Some((State::Taken, _, 1..)) => "PART_CANCEL_PAYMENT",
        Some((State::Taken | State::Cancelled | State::Waiting, ..)) => "CANCEL_PAYMENT",
        Some((State::Expired, ..)) => "QUIT_PAYMENT",
    };
    let at = |at: DateTime<Utc>| at.with_timezone(&KOREA).format("%Y-%m-%dT%H:%M:%S").to_string();
    let taken = payment.and_then(|payment| Some((payment, payment.taken_at?)));
    let approved = taken.map(|(payment, taken_at)| {
        json!({
            "aid": format!("A{}", payment.key), "payment_action_type": "PAYMENT", "amount": payment.amount,
            "approved_at": at(taken_at),
        })
    });
    let cancelled = payment.map_or(&[][..], |payment| &payment.cancels).iter().map(|cancel| {
        let mut action = json!({
            "aid": cancel.id, "payment_action_type": "CANCEL", "amount": cancel.amount, "approved_at": at(cancel.at),
        });
        if !is_terse && !cancel.in_console() {
            action["payload"] = json!(cancel.reason);
        }
        action
    });
    let actions = approved.into_iter().chain(cancelled);
    let given = payment.map_or(0, Payment::given);
    json!({
        "tid": prepared.tid, "cid": CID, "status": status, "partner_order_id": reference,
        "partner_user_id": prepared.user, "payment_method_type": "MONEY", "amount": amounts(prepared.amount),
        "canceled_amount": amounts(given), "cancel_available_amount": amounts(prepared.amount - given),
        "payment_action_details": actions.collect::<Value>(),
    })
}

fn amounts(total: i64) -> Value {
    json!({ "total": total, "tax_free": 0, "vat": 0, "point": 0, "discount": 0, "green_deposit": 0 })
}

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

/// The method of payment refuses, and says why.
fn method_refuses(code: i64, method_code: &str) -> Answer {
    let extras = json!({ "method_result_code": method_code, "method_result_message": "…" });
    (
        400,
        json!({ "error_code": code, "error_message": "failure!", "extras": extras }),
    )
}

fn refusal(status: u16, code: i64) -> Answer {
    (status, json!({ "error_code": code, "error_message": "…" }))
}
