//! One table of tests over all gateways: what is sent, and what each answer means.

use std::cell::RefCell;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::executor::block_on;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::{
    config::{Credentials, KakaoPayContract},
    http::RequestHead,
    text::hexadecimal,
};

pub(super) const REFERENCE: &str = "sugang_0123456789abcdef";

pub(super) fn contracts() -> Contracts {
    let credentials = |name: &str| {
        Some(Credentials {
            url: format!("https://{name}.example"),
            secret: "secret".to_owned(),
            webhook_secrets: vec![b"0123456789abcdef01234567".to_vec()],
        })
    };
    Contracts {
        toss: credentials("toss"),
        portone: credentials("portone"),
        kakaopay: credentials("kakaopay").map(|credentials| KakaoPayContract {
            credentials,
            cid: "TC0ONETIME".to_owned(),
            return_url: "https://app.example/paid".to_owned(),
        }),
        stripe: credentials("stripe"),
    }
}

fn attempt(gateway: &str) -> Attempt {
    serde_json::from_value(attempt_json(gateway)).unwrap()
}

pub(super) fn attempt_json(gateway: &str) -> Value {
    json!({
        "attempt": 1, "gateway": gateway, "reference": REFERENCE, "gateway_key": "key_1", "window_key": "token_1",
        "idempotency_key": "0b1c2d3e-0000-4000-8000-000000000000", "amount": "45000.00", "currency": "KRW",
        "order": 2, "user": 3, "kind": "test", "title": "정보처리기사", "status": "sent", "tries": 1, "facts": null,
    })
}

/// A gateway that gives these answers, one after another, and notes what it was asked.
pub(super) struct Script {
    answers: RefCell<Vec<Result<Received, SendError>>>,
    requests: RefCell<Vec<String>>,
}

impl Script {
    pub(super) fn new(mut answers: Vec<Result<Received, SendError>>) -> Self {
        answers.reverse();
        Self {
            answers: answers.into(),
            requests: RefCell::default(),
        }
    }

    /// What the gateway was asked, once all answers were asked for.
    pub(super) fn all_asked(self) -> Vec<String> {
        assert!(self.answers.borrow().is_empty(), "an answer was not asked for");
        self.requests.take()
    }
}

impl Transport for Script {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Received, SendError> {
        let mut text = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        text += &String::from_utf8(request.body().clone()).unwrap();
        self.requests.borrow_mut().push(text);
        self.answers.borrow_mut().pop().expect("the gateway is asked no more")
    }
}

pub(super) fn answer(status: u16, body: &Value) -> Result<Received, SendError> {
    Ok(Received {
        status,
        body: serde_json::to_vec(body).unwrap(),
    })
}

/// What an approval ends with, if the gateway gives these answers, all of which are asked for.
fn approval(gateway: &str, answers: Vec<Result<Received, SendError>>) -> Outcome {
    outcome(answers, |script| {
        block_on(approve_by(
            &*adapter(&contracts(), gateway).unwrap(),
            &attempt(gateway),
            script,
            Try::First,
        ))
    })
}

/// What a look-up ends with.
fn resumption(gateway: &str, answers: Vec<Result<Received, SendError>>) -> Outcome {
    outcome(answers, |script| {
        block_on(resume_by(
            &*adapter(&contracts(), gateway).unwrap(),
            &attempt(gateway),
            script,
        ))
    })
}

fn outcome(answers: Vec<Result<Received, SendError>>, ask: impl Fn(&Script) -> Outcome) -> Outcome {
    let script = Script::new(answers);
    let outcome = ask(&script);
    assert!(
        script.answers.borrow().is_empty(),
        "an answer was not asked for: {outcome:?}"
    );
    outcome
}

fn captured(amount: i64, currency: &str) -> Outcome {
    partly_captured(amount, 0, currency)
}

fn partly_captured(amount: i64, given_back: i64, currency: &str) -> Outcome {
    Outcome::Captured {
        amount,
        given_back,
        currency: currency.to_owned(),
        external_id: "paid_1".to_owned(),
        is_deposit: false,
    }
}

fn declined(code: &str) -> Outcome {
    Outcome::Declined { code: code.to_owned() }
}

/// A payment as each gateway shows it.
pub(super) fn payment(gateway: &str, status: &str, amount: i64) -> Value {
    match gateway {
        "toss" => json!({
            "paymentKey": "paid_1", "orderId": REFERENCE, "status": status, "totalAmount": 45_000,
            "balanceAmount": amount, "currency": "KRW", "method": "카드", "secret": "ps_1",
            "virtualAccount": null,
        }),
        "kakaopay" => json!({
            "cid": "TC0ONETIME", "tid": "paid_1", "status": status, "partner_order_id": REFERENCE,
            "partner_user_id": REFERENCE, "payment_method_type": "CARD", "amount": { "total": 45_000, "tax_free": 0 },
            "canceled_amount": { "total": 45_000 - amount }, "cancel_available_amount": { "total": amount },
        }),
        "stripe" => json!({
            "id": "paid_1", "object": "payment_intent", "status": status, "amount": 45_000, "currency": "krw",
            "amount_received": if status == "succeeded" { 45_000 } else { 0 },
            "metadata": { "reference": REFERENCE },
            "latest_charge": { "id": "ch_1", "amount": 45_000, "amount_refunded": 45_000 - amount },
        }),
        _ => json!({
            "id": REFERENCE, "status": status, "currency": "KRW", "transactionId": "paid_1",
            "amount": { "total": 45_000, "paid": amount, "cancelled": 45_000 - amount },
            "method": { "type": "PaymentMethodCard" },
        }),
    }
}

/// The words of a gateway: paid; not executed; ended without money; partly given back.
pub(super) fn words(gateway: &str) -> [&'static str; 4] {
    match gateway {
        "toss" => ["DONE", "IN_PROGRESS", "EXPIRED", "PARTIAL_CANCELED"],
        "kakaopay" => [
            "SUCCESS_PAYMENT",
            "AUTH_PASSWORD",
            "QUIT_PAYMENT",
            "PART_CANCEL_PAYMENT",
        ],
        "stripe" => ["succeeded", "requires_capture", "canceled", "succeeded"],
        _ => ["PAID", "READY", "FAILED", "PARTIAL_CANCELLED"],
    }
}

pub(super) fn refusal(gateway: &str, status: u16, code: &str) -> Result<Received, SendError> {
    let body = match gateway {
        "toss" => json!({ "code": code, "message": "…" }),
        "kakaopay" => json!({ "error_code": -1, "error_message": code }),
        "stripe" => json!({ "error": { "type": "invalid_request_error", "code": code } }),
        _ => json!({ "type": code, "message": "…" }),
    };
    answer(status, &body)
}

const GATEWAYS: [&str; 4] = ["toss", "portone", "kakaopay", "stripe"];

#[test]
fn the_requests_of_each_gateway() {
    let requests = |gateway: &str| {
        let script = Script::new(vec![Err(SendError::Unknown), Err(SendError::Unknown)]);
        block_on(approve_by(
            &*adapter(&contracts(), gateway).unwrap(),
            &attempt(gateway),
            &script,
            Try::First,
        ));
        script.requests.take()
    };
    assert_eq!(
        requests("toss"),
        [
            "POST https://toss.example/v1/payments/confirm\n\
             authorization: Basic c2VjcmV0Og==\n\
             idempotency-key: 0b1c2d3e-0000-4000-8000-000000000000\n\
             content-type: application/json\n\
             {\"paymentKey\":\"key_1\",\"orderId\":\"sugang_0123456789abcdef\",\"amount\":45000}",
            "GET https://toss.example/v1/payments/orders/sugang_0123456789abcdef\n\
             authorization: Basic c2VjcmV0Og==\n",
        ]
    );
    assert_eq!(
        requests("portone"),
        [
            "POST https://portone.example/payments/sugang_0123456789abcdef/confirm\n\
             authorization: PortOne secret\n\
             idempotency-key: \"0b1c2d3e-0000-4000-8000-000000000000\"\n\
             content-type: application/json\n\
             {\"paymentToken\":\"key_1\",\"totalAmount\":45000,\"currency\":\"KRW\"}",
            "GET https://portone.example/payments/sugang_0123456789abcdef\n\
             authorization: PortOne secret\n",
        ]
    );
    assert_eq!(
        requests("kakaopay"),
        [
            "POST https://kakaopay.example/online/v1/payment/approve\n\
             authorization: SECRET_KEY secret\n\
             content-type: application/json\n\
             {\"cid\":\"TC0ONETIME\",\"tid\":\"key_1\",\"partner_order_id\":\"sugang_0123456789abcdef\",\
             \"partner_user_id\":\"sugang_0123456789abcdef\",\"pg_token\":\"token_1\",\"total_amount\":45000}",
            "POST https://kakaopay.example/online/v1/payment/order\n\
             authorization: SECRET_KEY secret\n\
             content-type: application/json\n\
             {\"cid\":\"TC0ONETIME\",\"tid\":\"key_1\"}",
        ]
    );
    assert_eq!(
        requests("stripe"),
        [
            "POST https://stripe.example/v1/payment_intents/key_1/capture\n\
             authorization: Bearer secret\n\
             idempotency-key: 0b1c2d3e-0000-4000-8000-000000000000-1\n\
             content-type: application/x-www-form-urlencoded\n\
             amount_to_capture=45000&expand%5B%5D=latest_charge",
            "GET https://stripe.example/v1/payment_intents/key_1?expand%5B%5D=latest_charge\n\
             authorization: Bearer secret\n",
        ]
    );
}

#[test]
fn what_is_not_a_definite_refusal_is_looked_up() {
    for gateway in GATEWAYS {
        let [paid, ..] = words(gateway);
        let paid = || answer(200, &payment(gateway, paid, 45_000));
        let unclear = [
            Err(SendError::Unknown),
            refusal(gateway, 500, "REJECT_CARD_COMPANY"),
            refusal(gateway, 409, "IDEMPOTENT_REQUEST_PROCESSING"),
            refusal(gateway, 409, "IDEMPOTENCY_OUTSTANDING_REQUEST"),
            refusal(gateway, 400, "ALREADY_PROCESSED_PAYMENT"),
            refusal(gateway, 409, "ALREADY_PAID"),
            refusal(gateway, 400, "PROVIDER_ERROR"),
            refusal(gateway, 502, "PG_PROVIDER"),
            refusal(gateway, 400, "FAILED_INTERNAL_SYSTEM_PROCESSING"),
            refusal(gateway, 400, "A_CODE_OF_NEXT_YEAR"),
            answer(400, &json!({})),
            answer(204, &json!(null)),
            answer(302, &json!({})),
            Ok(Received {
                status: 200,
                body: b"<html>".to_vec(),
            }),
        ];
        for answer in unclear {
            let shown = format!("{gateway}: {answer:?}");
            assert_eq!(
                approval(gateway, vec![answer, paid()]),
                captured(45_000, "KRW"),
                "{shown}"
            );
        }
        for unclear in [
            Err(SendError::Unknown),
            Err(SendError::NotSent),
            refusal(gateway, 503, ""),
        ] {
            let answers = vec![Err(SendError::Unknown), unclear];
            assert_eq!(approval(gateway, answers), Outcome::Unknown {}, "{gateway}");
        }
        assert_eq!(
            approval(gateway, vec![Err(SendError::NotSent)]),
            Outcome::NotSent {},
            "{gateway}"
        );
    }
}

#[test]
fn a_definite_refusal_is_not_looked_up() {
    for (gateway, status, code) in [
        ("toss", 403, "REJECT_CARD_COMPANY"),
        ("toss", 400, "INVALID_CARD_EXPIRATION"),
        ("toss", 400, "EXCEED_MAX_DAILY_PAYMENT_COUNT"),
        ("toss", 404, "NOT_FOUND_PAYMENT_SESSION"),
        ("portone", 400, "INVALID_PAYMENT_TOKEN"),
        ("portone", 409, "INFORMATION_MISMATCH"),
    ] {
        assert_eq!(
            approval(gateway, vec![refusal(gateway, status, code)]),
            declined(code),
            "{gateway}"
        );
    }
    for (error, code) in [
        (
            json!({ "type": "card_error", "code": "card_declined" }),
            "card_declined",
        ),
        (json!({ "type": "card_error" }), "card_error"),
    ] {
        let refused = answer(402, &json!({ "error": error }));
        assert_eq!(approval("stripe", vec![refused]), declined(code));
    }
}

#[test]
fn what_a_look_up_shows() {
    for gateway in GATEWAYS {
        let [paid, _, ended, partly] = words(gateway);
        for (status, amount, expected) in [
            (paid, 45_000, captured(45_000, "KRW")),
            // The database notes what was given back.
            (partly, 30_000, partly_captured(45_000, 15_000, "KRW")),
            // Decided by the balance.
            (
                partly,
                0,
                declined(if gateway == "stripe" { "refunded" } else { partly }),
            ),
            (ended, 0, declined(ended)),
            ("A_STATUS_OF_NEXT_YEAR", 45_000, Outcome::Unknown {}),
        ] {
            let shown = answer(200, &payment(gateway, status, amount));
            assert_eq!(
                resumption(gateway, vec![shown]),
                expected,
                "{gateway}: {status} {amount}"
            );
        }
        let mut foreign = payment(gateway, paid, 45_000);
        foreign["currency"] = json!("USD");
        // KakaoPay knows no other currency, and names none.
        let currency = if gateway == "kakaopay" { "KRW" } else { "USD" };
        assert_eq!(
            resumption(gateway, vec![answer(200, &foreign)]),
            captured(45_000, currency),
            "{gateway}"
        );
        for status in [paid, ended] {
            let text = payment(gateway, status, if status == paid { 45_000 } else { 0 }).to_string();
            let another = serde_json::from_str(&text.replace(REFERENCE, "sugang_another")).unwrap();
            assert_eq!(
                resumption(gateway, vec![answer(200, &another)]),
                Outcome::Unknown {},
                "{gateway}: another attempt's payment proves nothing"
            );
        }
    }
}

/// The database could not store it.
#[test]
fn an_impossible_amount_tells_nothing() {
    for gateway in GATEWAYS {
        let text = payment(gateway, words(gateway)[0], 45_000).to_string();
        let shown: Value = serde_json::from_str(&text.replace("45000", "4500000000")).unwrap();
        assert_eq!(
            resumption(gateway, vec![answer(200, &shown)]),
            Outcome::Unknown {},
            "{gateway}"
        );
    }
}

#[test]
fn a_nul_in_an_answer_is_replaced() {
    let refused = refusal("toss", 403, "REJECT_\0");
    assert_eq!(approval("toss", vec![refused]), declined("REJECT_\u{fffd}"));
    // Escaped, the reverse solidus is no part of an escape.
    let refused = refusal("toss", 403, "REJECT_\\u0000");
    assert_eq!(approval("toss", vec![refused]), declined("REJECT_\\ufffd"));
}

/// Refusals that count only with a look-up, at gateways whose codes say too little.
#[test]
fn a_doubtful_refusal_counts_where_the_gateway_is_idle() {
    for (gateway, not_agreed) in [
        (
            "kakaopay",
            &["READY", "SEND_TMS", "OPEN_PAYMENT", "SELECT_METHOD", "ARS_WAITING"][..],
        ),
        (
            "stripe",
            &["requires_payment_method", "requires_confirmation", "requires_action"],
        ),
    ] {
        let [paid, pending, ended, _] = words(gateway);
        let refused = || refusal(gateway, 400, "payment_intent_unexpected_state");
        let expected = declined(if gateway == "stripe" {
            "payment_intent_unexpected_state"
        } else {
            "-1"
        });
        let shown = |status| answer(200, &payment(gateway, status, 0));
        for status in not_agreed.iter().chain([&ended]) {
            assert_eq!(
                approval(gateway, vec![refused(), shown(status)]),
                expected,
                "{gateway}: {status}"
            );
        }
        let is_paid = || answer(200, &payment(gateway, paid, 45_000));
        for (afterwards, outcome) in [
            (shown(pending), Outcome::Unknown {}),
            (Err(SendError::Unknown), Outcome::Unknown {}),
            (is_paid(), captured(45_000, "KRW")),
        ] {
            assert_eq!(approval(gateway, vec![refused(), afterwards]), outcome, "{gateway}");
        }
        let again = vec![shown(pending), refused(), shown(pending)];
        assert_eq!(
            resumption(gateway, again),
            expected,
            "{gateway}: nothing was executed before either"
        );
        let meanwhile = vec![shown(pending), refused(), is_paid()];
        assert_eq!(resumption(gateway, meanwhile), captured(45_000, "KRW"), "{gateway}");
        // A request that is lost may still come, and the user may agree meanwhile.
        let lost = vec![Err(SendError::Unknown), shown(not_agreed[0])];
        assert_eq!(approval(gateway, lost), Outcome::Unknown {}, "{gateway}");
        for busy in [409, 429] {
            let answers = vec![refusal(gateway, busy, "lock_timeout"), shown(not_agreed[0])];
            assert_eq!(approval(gateway, answers), Outcome::Unknown {}, "{gateway}: {busy}");
        }
    }
}

/// Such as for a key that no payment has: an approval with an invented one holds no seat for ever.
#[test]
fn a_code_in_no_row_counts_once_the_gateway_was_idle_twice() {
    for (gateway, code, not_found) in [
        ("toss", "NOT_FOUND_PAYMENT", "NOT_FOUND_PAYMENT"),
        ("portone", "PAYMENT_NOT_FOUND", "PAYMENT_NOT_FOUND"),
        ("toss", "A_CODE_OF_NEXT_YEAR", "NOT_FOUND_PAYMENT"),
        ("portone", "A_TYPE_OF_NEXT_YEAR", "PAYMENT_NOT_FOUND"),
    ] {
        let [paid, pending, ..] = words(gateway);
        let refused = || refusal(gateway, 404, code);
        let idle = || refusal(gateway, 404, not_found);
        assert_eq!(
            approval(gateway, vec![refused(), idle()]),
            Outcome::Unknown {},
            "{gateway}"
        );
        let again = vec![idle(), refused(), idle()];
        assert_eq!(resumption(gateway, again), declined(code), "{gateway}");
        let again = vec![idle(), refused(), answer(200, &payment(gateway, pending, 0))];
        assert_eq!(resumption(gateway, again), declined(code), "{gateway}");
        let meanwhile = vec![idle(), refused(), answer(200, &payment(gateway, paid, 45_000))];
        assert_eq!(resumption(gateway, meanwhile), captured(45_000, "KRW"), "{gateway}");
        let busy = vec![idle(), refusal(gateway, 409, code), idle()];
        assert_eq!(resumption(gateway, busy), Outcome::Unknown {}, "{gateway}");
    }
}

#[test]
fn kakaopays_method_of_payment_refuses_once_a_look_up_confirms_it() {
    let refused = |extras: Value| {
        let body = json!({ "error_code": -780, "error_message": "approval failure!", "extras": extras });
        answer(400, &body)
    };
    let method = || refused(json!({ "method_result_code": "USER_LOCKED", "method_result_message": "…" }));
    let shown = |status, left| answer(200, &payment("kakaopay", status, left));
    for (answers, expected) in [
        (vec![method(), shown("AUTH_PASSWORD", 0)], declined("USER_LOCKED")),
        (vec![method(), shown("FAIL_PAYMENT", 0)], declined("USER_LOCKED")),
        (
            vec![method(), shown("SUCCESS_PAYMENT", 45_000)],
            captured(45_000, "KRW"),
        ),
        (vec![method(), refusal("kakaopay", 500, "")], Outcome::Unknown {}),
        (vec![refused(json!({})), shown("AUTH_PASSWORD", 0)], Outcome::Unknown {}),
        (
            vec![refused(json!(null)), shown("AUTH_PASSWORD", 0)],
            Outcome::Unknown {},
        ),
    ] {
        assert_eq!(approval("kakaopay", answers), expected);
    }
}

#[test]
fn a_payment_window_is_opened_where_the_gateway_opens_it() {
    let open = |gateway: &str, answers: Vec<Result<Received, SendError>>| {
        let script = Script::new(answers);
        let opened = block_on(open_by(
            &*adapter(&contracts(), gateway).unwrap(),
            &attempt(gateway),
            &script,
        ));
        (opened, script.requests.take())
    };
    for gateway in ["toss", "portone"] {
        assert_eq!(
            open(gateway, Vec::new()),
            (None, Vec::new()),
            "{gateway}: the browser opens it"
        );
    }
    let urls = json!({
        "redirect_pc_url": "https://pay.example/pc", "redirect_mobile_url": "https://pay.example/mobile",
        "redirect_app_url": "kakaotalk://pay",
    });
    let ready = json!({
        "tid": "T1", "next_redirect_pc_url": "https://pay.example/pc", "next_redirect_app_url": "kakaotalk://pay",
        "next_redirect_mobile_url": "https://pay.example/mobile", "created_at": "2026-11-26T21:18:22",
    });
    let (opened, requests) = open("kakaopay", vec![answer(200, &ready)]);
    let kakaopay = Opened {
        gateway_key: "T1".to_owned(),
        window: urls,
    };
    assert_eq!(opened, Some(kakaopay));
    assert_eq!(
        requests,
        ["POST https://kakaopay.example/online/v1/payment/ready\n\
             authorization: SECRET_KEY secret\n\
             content-type: application/json\n\
             {\"cid\":\"TC0ONETIME\",\"partner_order_id\":\"sugang_0123456789abcdef\",\
             \"partner_user_id\":\"sugang_0123456789abcdef\",\"item_name\":\"정보처리기사\",\"quantity\":1,\
             \"total_amount\":45000,\"tax_free_amount\":0,\
             \"approval_url\":\"https://app.example/paid?order=2&result=approved\",\
             \"cancel_url\":\"https://app.example/paid?order=2&result=cancelled\",\
             \"fail_url\":\"https://app.example/paid?order=2&result=failed\"}"]
    );
    let mut returning = attempt("kakaopay");
    returning.return_url = Some("https://api.example/orders/return/state/".to_owned());
    let contracts = contracts();
    let request = adapter(&contracts, "kakaopay")
        .unwrap()
        .open(&returning, 45_000)
        .unwrap();
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    for name in ["approval_url", "cancel_url", "fail_url"] {
        assert_eq!(body[name], "https://api.example/orders/return/state/", "{name}");
    }
    let created = json!({ "id": "pi_1", "client_secret": "pi_1_secret_2", "status": "requires_payment_method" });
    let (opened, requests) = open("stripe", vec![answer(200, &created)]);
    let stripe = Opened {
        gateway_key: "pi_1".to_owned(),
        window: json!({ "client_secret": "pi_1_secret_2" }),
    };
    assert_eq!(opened, Some(stripe));
    assert_eq!(
        requests,
        ["POST https://stripe.example/v1/payment_intents\n\
          authorization: Bearer secret\n\
          idempotency-key: sugang_0123456789abcdef\n\
          content-type: application/x-www-form-urlencoded\n\
          amount=45000&currency=krw&capture_method=manual&metadata%5Breference%5D=sugang_0123456789abcdef"]
    );
    for gateway in ["kakaopay", "stripe"] {
        for answer in [
            Err(SendError::NotSent),
            Err(SendError::Unknown),
            refusal(gateway, 500, ""),
            refusal(gateway, 400, ""),
            answer(200, &json!({})),
        ] {
            assert_eq!(open(gateway, vec![answer]).0, None, "{gateway}");
        }
    }
}

#[test]
fn what_is_reserved_for_nothing_is_released() {
    let close = |gateway: &str, answers: Vec<Result<Received, SendError>>| {
        let script = Script::new(answers);
        let outcome = block_on(close_by(
            &*adapter(&contracts(), gateway).unwrap(),
            &attempt(gateway),
            &script,
        ));
        (outcome, script.all_asked())
    };
    for gateway in ["toss", "portone", "kakaopay"] {
        assert_eq!(
            close(gateway, Vec::new()),
            (Outcome::Unknown {}, Vec::new()),
            "{gateway}: nothing is reserved"
        );
    }
    let shown = |status: &str, amount| answer(200, &payment("stripe", status, amount));
    assert_eq!(
        close("stripe", vec![shown("canceled", 45_000)]),
        (
            declined("canceled"),
            vec![
                "POST https://stripe.example/v1/payment_intents/key_1/cancel\n\
                 authorization: Bearer secret\n\
                 idempotency-key: sugang_0123456789abcdef-cancel-1\n\
                 content-type: application/x-www-form-urlencoded\n\
                 expand%5B%5D=latest_charge"
                    .to_owned()
            ]
        )
    );
    let refused = || refusal("stripe", 400, "payment_intent_unexpected_state");
    for (answers, expected) in [
        (vec![refused(), shown("canceled", 45_000)], declined("canceled")),
        (vec![refused(), shown("succeeded", 45_000)], captured(45_000, "KRW")),
        (vec![refused(), shown("processing", 0)], Outcome::Unknown {}),
        (vec![refused(), Err(SendError::Unknown)], Outcome::Unknown {}),
        (
            vec![Err(SendError::Unknown), shown("canceled", 0)],
            declined("canceled"),
        ),
        (
            vec![refusal("stripe", 500, ""), shown("requires_capture", 0)],
            Outcome::Unknown {},
        ),
        (
            vec![
                refusal("stripe", 409, "lock_timeout"),
                shown("requires_payment_method", 0),
            ],
            Outcome::Unknown {},
        ),
    ] {
        assert_eq!(close("stripe", answers).0, expected);
    }
}

#[test]
fn what_was_not_executed_is_sent_again_and_only_then() {
    for gateway in GATEWAYS {
        let [paid, pending, ..] = words(gateway);
        let not_found = match gateway {
            "toss" => Some(refusal(gateway, 404, "NOT_FOUND_PAYMENT")),
            "portone" => Some(refusal(gateway, 404, "PAYMENT_NOT_FOUND")),
            // They have told us their own id of the payment, which is never forgotten.
            _ => None,
        };
        for not_executed in not_found
            .into_iter()
            .chain([answer(200, &payment(gateway, pending, 0))])
        {
            let paid = || answer(200, &payment(gateway, paid, 45_000));
            let answers = match gateway {
                "portone" => vec![not_executed, answer(200, &json!({})), paid()],
                _ => vec![not_executed, paid()],
            };
            assert_eq!(resumption(gateway, answers), captured(45_000, "KRW"), "{gateway}");
        }
        let again = vec![answer(200, &payment(gateway, pending, 0)), Err(SendError::NotSent)];
        assert_eq!(
            resumption(gateway, again),
            Outcome::Unknown {},
            "{gateway}: an earlier try may be on its way"
        );
        let pending = || answer(200, &payment(gateway, pending, 0));
        let refused = || match gateway {
            "toss" => refusal(gateway, 404, "NOT_FOUND_PAYMENT_SESSION"),
            "stripe" => answer(
                402,
                &json!({ "error": { "type": "card_error", "code": "card_declined" } }),
            ),
            _ => refusal(gateway, 400, "INVALID_PAYMENT_TOKEN"),
        };
        for (afterwards, expected) in [
            (answer(200, &payment(gateway, paid, 45_000)), captured(45_000, "KRW")),
            (Err(SendError::Unknown), Outcome::Unknown {}),
        ] {
            let outcome = resumption(gateway, vec![pending(), refused(), afterwards]);
            assert_eq!(outcome, expected, "{gateway}: an earlier try is why it was refused");
        }
        let outcome = resumption(gateway, vec![pending(), refused(), pending()]);
        assert!(matches!(outcome, Outcome::Declined { .. }), "{gateway}: {outcome:?}");
        let just_sent = vec![Err(SendError::Unknown), pending()];
        assert_eq!(
            approval(gateway, just_sent),
            Outcome::Unknown {},
            "{gateway}: it may be executed in a moment"
        );
        for unclear in [
            Err(SendError::Unknown),
            refusal(gateway, 404, "NOT_FOUND"),
            refusal(gateway, 500, ""),
            answer(200, &json!({})),
        ] {
            assert_eq!(resumption(gateway, vec![unclear]), Outcome::Unknown {}, "{gateway}");
        }
    }
}

#[test]
fn a_deposit_is_waited_for_until_its_deadline() {
    let mut toss = payment("toss", "WAITING_FOR_DEPOSIT", 45_000);
    toss["virtualAccount"] = json!({ "accountNumber": "X123", "bankCode": "20", "dueDate": "2026-12-01T23:59:59" });
    let mut portone = payment("portone", "VIRTUAL_ACCOUNT_ISSUED", 45_000);
    portone["method"] = json!({ "type": "PaymentMethodVirtualAccount", "bank": "20", "accountNumber": "X123", "expiredAt": "2026-12-01T14:59:59Z" });
    for (gateway, shown, secret) in [("toss", toss, Some("ps_1".to_owned())), ("portone", portone, None)] {
        let outcome = resumption(gateway, vec![answer(200, &shown)]);
        let facts = json!({ "due_at": null, "account": "20 X123", "secret": secret });
        let mut seen = serde_json::to_value(&outcome).unwrap();
        let due_at: chrono::DateTime<chrono::Utc> = serde_json::from_value(seen["due_at"].take()).unwrap();
        assert_eq!((outcome.name(), seen), ("waiting", facts), "{gateway}");
        assert_eq!(due_at.to_rfc3339(), "2026-12-01T14:59:59+00:00", "{gateway}");
    }
}

#[test]
fn a_transfer_at_portone_is_no_deposit() {
    for (kind, expected) in [("PaymentMethodTransfer", false), ("PaymentMethodVirtualAccount", true)] {
        let mut shown = payment("portone", "PAID", 45_000);
        shown["method"] = json!({ "type": kind, "bank": "WOORI", "accountNumber": "X123" });
        let outcome = resumption("portone", vec![answer(200, &shown)]);
        assert!(
            matches!(outcome, Outcome::Captured { is_deposit, .. } if is_deposit == expected),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_fraction_of_a_won_is_not_sent() {
    let attempt: Attempt = serde_json::from_value(json!({
        "attempt": 1, "order": 2, "title": "정보처리기사", "gateway": "toss", "reference": REFERENCE, "gateway_key": "k",
        "idempotency_key": "i", "tries": 1, "amount": "45000.50", "currency": "KRW",
    }))
    .unwrap();
    let script = Script::new(Vec::new());
    let toss = contracts();
    let outcome = block_on(approve_by(
        &*adapter(&toss, "toss").unwrap(),
        &attempt,
        &script,
        Try::First,
    ));
    assert_eq!(outcome, declined("fraction_of_a_won"));
}

#[test]
fn a_gateway_without_settings_is_not_asked() {
    assert!(adapter(&Contracts::default(), "toss").is_none());
    assert!(adapter(&contracts(), "manual").is_none());
}

const TOLD: i64 = 1_764_150_000;

/// What becomes of a delivery.
fn told(gateway: Gateway, headers: &[(&str, &str)], body: &str) -> Result<Event, NoEvent> {
    let head = RequestHead::with_headers(http::Method::POST, headers);
    let delivery = Delivery {
        head: &head,
        body: body.as_bytes(),
        now: TOLD,
    };
    verify(&contracts(), gateway, &delivery)
}

#[test]
fn an_event_of_toss_names_its_attempt_and_proves_nothing() {
    let payment =
        r#"{"eventType":"PAYMENT_STATUS_CHANGED","data":{"paymentKey":"p","orderId":"sugang_1","secret":null}}"#;
    let deposit =
        r#"{"createdAt":"2026-11-26","secret":"ps_1","status":"DONE","transactionKey":"t","orderId":"sugang_1"}"#;
    let id = [("TossPayments-Webhook-Transmission-Id", "t-1")];
    let event = |secret: Option<&str>| Event {
        key: "t-1".to_owned(),
        reference: Some("sugang_1".to_owned()),
        secret: secret.map(str::to_owned),
        ..Event::default()
    };
    assert_eq!(told(Gateway::Toss, &id, payment), Ok(event(None)));
    assert_eq!(told(Gateway::Toss, &id, deposit), Ok(event(Some("ps_1"))));
    let key = |headers: &[_], body: &str| told(Gateway::Toss, headers, body).unwrap().key;
    assert_eq!(key(&[], payment), key(&[], payment), "without an id, the bytes tell");
    assert_ne!(key(&[], payment), key(&[], deposit));
    assert_eq!(key(&[(id[0].0, " ")], payment), key(&[], payment));
    for (body, reference) in [("{}", None), (r#"{"data":{"orderId":"a b"}}"#, None)] {
        assert_eq!(told(Gateway::Toss, &id, body).unwrap().reference, reference, "{body}");
    }
    let long = format!(r#"{{"secret":"{}"}}"#, "s".repeat(201));
    for body in [
        r#"{"secret":"\u0000"}"#,
        r#"{"data":{"secret":"a b"}}"#,
        r#"{"secret":""}"#,
        long.as_str(),
    ] {
        assert_eq!(told(Gateway::Toss, &id, body), Err(NoEvent::Forged), "{body}");
    }
    for body in ["", "{", "[]", "1", r#"{"data":{"orderId":7}}"#] {
        assert_eq!(told(Gateway::Toss, &id, body), Err(NoEvent::Malformed), "{body}");
    }
}

#[test]
fn an_event_of_portone_is_signed() {
    let body = r#"{"type":"Transaction.Paid","data":{"paymentId":"sugang_1","transactionId":"t"}}"#;
    let secret = format!("whsec_{}", BASE64_STANDARD.encode("0123456789abcdef01234567"));
    let signer = standardwebhooks::Webhook::new(&secret).unwrap();
    let signature = signer.sign("msg_1", TOLD, body.as_bytes()).unwrap();
    let time = TOLD.to_string();
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", &time),
        ("webhook-signature", &signature),
    ];
    let event = Event {
        key: "msg_1".to_owned(),
        reference: Some("sugang_1".to_owned()),
        is_signed: true,
        ..Event::default()
    };
    assert_eq!(told(Gateway::PortOne, &headers, body), Ok(event));
    let changed = body.replace("sugang_1", "sugang_2");
    assert_eq!(told(Gateway::PortOne, &headers, &changed), Err(NoEvent::Forged));
    assert_eq!(told(Gateway::PortOne, &headers[..2], body), Err(NoEvent::Forged));
}

/// Whatever it is about, it leads to the payment.
#[test]
fn an_event_of_stripe_names_its_intent() {
    let signed = |body: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"0123456789abcdef01234567").unwrap();
        mac.update(format!("{TOLD}.{body}").as_bytes());
        let signature = hexadecimal(&mac.finalize().into_bytes());
        let header = format!("t={TOLD},v1={signature}");
        told(Gateway::Stripe, &[("stripe-signature", &header)], body)
    };
    for (kind, object) in [
        (
            "payment_intent.succeeded",
            r#"{"object":"payment_intent","id":"pi_1","latest_charge":"ch_1"}"#,
        ),
        (
            "charge.refunded",
            r#"{"object":"charge","id":"ch_1","payment_intent":"pi_1","amount_refunded":5000}"#,
        ),
        (
            "refund.updated",
            r#"{"object":"refund","id":"re_1","charge":"ch_1","payment_intent":"pi_1","status":"succeeded"}"#,
        ),
        (
            "refund.failed",
            r#"{"object":"refund","id":"re_1","charge":"ch_1","payment_intent":"pi_1","status":"failed"}"#,
        ),
    ] {
        let body = format!(r#"{{"id":"evt_1","type":"{kind}","data":{{"object":{object}}}}}"#);
        let event = Event {
            key: "evt_1".to_owned(),
            gateway_key: Some("pi_1".to_owned()),
            is_signed: true,
            ..Event::default()
        };
        assert_eq!(signed(&body), Ok(event), "{kind}");
    }
}

#[test]
fn what_cannot_be_proven_is_not_expected() {
    let without = Contracts {
        portone: contracts().portone.map(|contract| Credentials {
            webhook_secrets: Vec::new(),
            ..contract
        }),
        ..Contracts::default()
    };
    let head = RequestHead::with_headers(http::Method::POST, &[]);
    for gateway in [Gateway::PortOne, Gateway::Toss, Gateway::KakaoPay, Gateway::Manual] {
        let delivery = Delivery {
            head: &head,
            body: b"{}",
            now: TOLD,
        };
        assert_eq!(verify(&without, gateway, &delivery), Err(NoEvent::NotExpected));
    }
}
