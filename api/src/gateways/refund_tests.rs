//! One table of tests over all gateways: how money is given back.

use futures::executor::block_on;
use serde_json::{Value, json};

use super::{
    refund::RefundState,
    tests::{REFERENCE, Script, answer, attempt_json, contracts, payment, refusal, words},
    *,
};

/// The gateways that give money back.
const GATEWAYS: [&str; 4] = ["toss", "portone", "kakaopay", "stripe"];

/// Those with codes that are a definite refusal.
const DEFINITE: [&str; 3] = ["toss", "portone", "stripe"];

const KEY: &str = "sugang_fedcba9876543210";

fn a_refund(gateway: &str, changes: Value) -> Refund {
    let mut refund = json!({
        "refund": 12, "payment": 3, "amount": "10000.00", "idempotency_key": KEY, "tries": 1, "account": null,
        "external_id": "paid_1", "cancellable": "45000.00", "returned": "0.00",
        "attempt": attempt_json(gateway),
    });
    refund
        .as_object_mut()
        .unwrap()
        .extend(changes.as_object().unwrap().clone());
    serde_json::from_value(refund).unwrap()
}

/// What becomes of a refund if the gateway gives these answers, all of which are asked for; and what it was asked.
fn outcome_of(refund: &Refund, answers: Vec<Result<Received, SendError>>) -> (RefundOutcome, Vec<String>) {
    let script = Script::new(answers);
    let contracts = contracts();
    let adapter = adapter(&contracts, &refund.attempt.gateway).unwrap();
    let outcome = block_on(refund_by(&*adapter, refund, &script));
    (outcome, script.all_asked())
}

fn outcome(gateway: &str, answers: Vec<Result<Received, SendError>>) -> RefundOutcome {
    outcome_of(&a_refund(gateway, json!({})), answers).0
}

/// A refund as each gateway lists it.
fn listed(gateway: &str, reason: &str, status: &str) -> Value {
    match gateway {
        "toss" => json!({
            "transactionKey": "back_1", "cancelAmount": 10_000, "cancelReason": reason, "cancelStatus": status,
        }),
        "kakaopay" => json!({
            "aid": "back_1", "approved_at": "2026-11-27T10:00:00", "amount": 10_000, "point_amount": 0,
            "discount_amount": 0, "payment_action_type": status, "payload": reason,
        }),
        "stripe" => json!({
            "id": "back_1", "object": "refund", "amount": 10_000, "currency": "krw", "payment_intent": "key_1",
            "metadata": if reason == ours() { json!({ "reference": KEY }) } else { json!({}) }, "status": status,
        }),
        _ => json!({ "id": "back_1", "totalAmount": 10_000, "reason": reason, "status": status }),
    }
}

/// The status of a refund that is done.
fn word(gateway: &str) -> &'static str {
    match gateway {
        "toss" => "DONE",
        "kakaopay" => "CANCEL",
        "stripe" => "succeeded",
        _ => "SUCCEEDED",
    }
}

/// What a look-up shows of refunds.
fn with(gateway: &str, mut refunds: Value) -> Result<Received, SendError> {
    let [_, _, _, partly] = words(gateway);
    let mut shown = payment(gateway, partly, 35_000);
    match gateway {
        "toss" => shown["cancels"] = refunds,
        "kakaopay" => {
            let approval = json!({ "aid": "paid_1", "amount": 45_000, "payment_action_type": "PAYMENT" });
            refunds.as_array_mut().unwrap().insert(0, approval);
            shown["payment_action_details"] = refunds;
        }
        "stripe" => shown = json!({ "object": "list", "url": "/v1/refunds", "has_more": false, "data": refunds }),
        _ => shown["cancellations"] = refunds,
    }
    answer(200, &shown)
}

/// A look-up before anything was given back.
fn with_none(gateway: &str) -> Result<Received, SendError> {
    match gateway {
        "stripe" => with(gateway, json!([])),
        _ => answer(200, &payment(gateway, words(gateway)[0], 45_000)),
    }
}

/// The answer to the refund itself.
fn given(gateway: &str, reason: &str) -> Result<Received, SendError> {
    let listed = listed(gateway, reason, word(gateway));
    match gateway {
        "toss" => with(gateway, json!([listed])),
        "kakaopay" => answer(200, &cancelled()),
        "stripe" => answer(200, &listed),
        _ => answer(200, &json!({ "cancellation": listed })),
    }
}

/// KakaoPay's answer to a refund.
fn cancelled() -> Value {
    let mut cancelled = payment("kakaopay", "PART_CANCEL_PAYMENT", 35_000);
    cancelled["aid"] = json!("back_1");
    cancelled["approved_cancel_amount"] = json!({ "total": 10_000, "tax_free": 0 });
    cancelled
}

fn ours() -> String {
    format!("refund 12: {KEY}")
}

fn shown(key: &str, state: RefundState) -> Vec<ShownRefund> {
    vec![ShownRefund {
        id: "back_1".to_owned(),
        amount: 10_000,
        key: Some(key.to_owned()),
        state,
    }]
}

fn done() -> RefundOutcome {
    RefundOutcome::Shown {
        refunds: shown(KEY, RefundState::Done),
    }
}

/// A definite refusal of each gateway.
fn refused(gateway: &str) -> (Result<Received, SendError>, String) {
    let code = match gateway {
        "toss" => "NOT_CANCELABLE_AMOUNT",
        "stripe" => "charge_already_refunded",
        _ => "CANCELLABLE_AMOUNT_CONSISTENCY_BROKEN",
    };
    (refusal(gateway, 403, code), code.to_owned())
}

#[test]
fn the_requests_of_each_gateway() {
    let account = json!({ "account": { "bank": "20", "account_number": "1002", "holder": "김민수" } });
    let (_, toss) = outcome_of(&a_refund("toss", account.clone()), vec![given("toss", &ours())]);
    assert_eq!(
        toss,
        ["POST https://toss.example/v1/payments/paid_1/cancel\n\
          authorization: Basic c2VjcmV0Og==\n\
          idempotency-key: sugang_fedcba9876543210\n\
          content-type: application/json\n\
          {\"cancelReason\":\"refund 12: sugang_fedcba9876543210\",\"cancelAmount\":10000,\
          \"refundReceiveAccount\":{\"bank\":\"20\",\"accountNumber\":\"1002\",\"holderName\":\"김민수\"}}"]
    );
    let (_, portone) = outcome_of(&a_refund("portone", account), vec![given("portone", &ours())]);
    assert_eq!(
        portone,
        [format!(
            "POST https://portone.example/payments/{REFERENCE}/cancel\n\
             authorization: PortOne secret\n\
             idempotency-key: \"sugang_fedcba9876543210\"\n\
             content-type: application/json\n\
             {{\"reason\":\"refund 12: sugang_fedcba9876543210\",\"amount\":10000,\"currentCancellableAmount\":45000,\
             \"refundAccount\":{{\"bank\":\"20\",\"number\":\"1002\",\"holderName\":\"김민수\"}}}}"
        )]
    );
    let lost = || Err(SendError::Unknown);
    let (_, kakaopay) = outcome_of(&a_refund("kakaopay", json!({})), vec![lost(), lost()]);
    assert_eq!(
        kakaopay,
        [
            "POST https://kakaopay.example/online/v1/payment/cancel\n\
             authorization: SECRET_KEY secret\n\
             content-type: application/json\n\
             {\"cid\":\"TC0ONETIME\",\"tid\":\"paid_1\",\"cancel_amount\":10000,\"cancel_tax_free_amount\":0,\
             \"cancel_available_amount\":45000,\"payload\":\"refund 12: sugang_fedcba9876543210\"}",
            "POST https://kakaopay.example/online/v1/payment/order\n\
             authorization: SECRET_KEY secret\n\
             content-type: application/json\n\
             {\"cid\":\"TC0ONETIME\",\"tid\":\"key_1\"}",
        ]
    );
    let (_, stripe) = outcome_of(&a_refund("stripe", json!({})), vec![lost(), lost()]);
    assert_eq!(
        stripe,
        [
            "POST https://stripe.example/v1/refunds\n\
             authorization: Bearer secret\n\
             idempotency-key: sugang_fedcba9876543210\n\
             content-type: application/x-www-form-urlencoded\n\
             payment_intent=key_1&amount=10000&metadata%5Breference%5D=sugang_fedcba9876543210",
            "GET https://stripe.example/v1/refunds?payment_intent=key_1&limit=100\n\
             authorization: Bearer secret\n",
        ]
    );
}

#[test]
fn what_is_given_back_is_known_by_the_key() {
    for gateway in GATEWAYS {
        assert_eq!(outcome(gateway, vec![given(gateway, &ours())]), done(), "{gateway}");
        let others = RefundOutcome::Shown {
            refunds: shown("", RefundState::Done),
        };
        let elsewhere = with(gateway, json!([listed(gateway, "고객 변심", word(gateway))]));
        assert_eq!(
            outcome(gateway, vec![Err(SendError::Unknown), elsewhere]),
            others,
            "{gateway}"
        );
    }
    let others = RefundOutcome::Shown {
        refunds: shown("", RefundState::Done),
    };
    for gateway in ["toss", "portone", "stripe"] {
        assert_eq!(outcome(gateway, vec![given(gateway, "고객 변심")]), others, "{gateway}");
    }
}

#[test]
fn what_is_not_a_definite_refusal_is_looked_up() {
    for gateway in GATEWAYS {
        let found = || with(gateway, json!([listed(gateway, &ours(), word(gateway))]));
        let unclear = || {
            [
                Err(SendError::Unknown),
                refusal(gateway, 500, "NOT_CANCELABLE_AMOUNT"),
                refusal(gateway, 400, "FAILED_REFUND_PROCESS"),
                refusal(gateway, 409, "IDEMPOTENT_REQUEST_PROCESSING"),
                refusal(gateway, 409, "IDEMPOTENCY_OUTSTANDING_REQUEST"),
                refusal(gateway, 502, "PG_PROVIDER"),
                refusal(gateway, 400, "A_CODE_OF_NEXT_YEAR"),
                answer(400, &json!({})),
                answer(200, &json!({})),
                answer(302, &json!({})),
            ]
        };
        for answer in unclear() {
            let shown = format!("{gateway}: {answer:?}");
            assert_eq!(outcome(gateway, vec![answer, found()]), done(), "{shown}");
        }
        for answer in unclear() {
            let answers = vec![answer, refusal(gateway, 503, "")];
            assert_eq!(outcome(gateway, answers), RefundOutcome::Unknown {}, "{gateway}");
        }
        let not_sent = vec![Err(SendError::NotSent)];
        assert_eq!(outcome(gateway, not_sent), RefundOutcome::Unknown {}, "{gateway}");
    }
}

#[test]
fn a_refusal_is_compared_with_what_was_given_back() {
    for gateway in DEFINITE {
        let (refusal_of, code) = (|| refused(gateway).0, refused(gateway).1);
        let elsewhere = with(gateway, json!([listed(gateway, "고객 변심", word(gateway))]));
        let outcome_of_first = outcome(gateway, vec![refusal_of(), elsewhere]);
        let expected = RefundOutcome::Refused {
            code: code.clone(),
            refunds: shown("", RefundState::Done),
        };
        assert_eq!(outcome_of_first, expected, "{gateway}");
        let unclear = || Err(SendError::Unknown);
        let refused = RefundOutcome::Refused {
            code,
            refunds: Vec::new(),
        };
        assert_eq!(outcome(gateway, vec![refusal_of(), unclear()]), refused, "{gateway}");
        let again = a_refund(gateway, json!({ "tries": 2 }));
        assert_eq!(
            outcome_of(&again, vec![refusal_of(), unclear()]).0,
            RefundOutcome::Unknown {},
            "{gateway}: the first try may be why"
        );
    }
}

#[test]
fn a_refund_may_be_pending_or_fail_at_the_gateway() {
    for (gateway, word, state) in [
        ("toss", "IN_PROGRESS", RefundState::Pending),
        ("toss", "ABORTED", RefundState::Failed),
        ("portone", "REQUESTED", RefundState::Pending),
        ("portone", "FAILED", RefundState::Failed),
        ("stripe", "pending", RefundState::Pending),
        ("stripe", "requires_action", RefundState::Pending),
        ("stripe", "a_word_of_next_year", RefundState::Pending),
        ("stripe", "failed", RefundState::Failed),
        ("stripe", "canceled", RefundState::Failed),
    ] {
        let listed = listed(gateway, &ours(), word);
        let refunds = || RefundOutcome::Shown {
            refunds: shown(KEY, state),
        };
        let looked_up = vec![Err(SendError::Unknown), with(gateway, json!([listed]))];
        assert_eq!(outcome(gateway, looked_up), refunds(), "{gateway}: {word}");
        if gateway == "stripe" {
            assert_eq!(
                outcome(gateway, vec![answer(200, &listed)]),
                refunds(),
                "{gateway}: {word}"
            );
        }
    }
}

/// A refusal with a code that proves little, and that code.
fn doubtful(gateway: &str) -> [(Result<Received, SendError>, &'static str); 2] {
    match gateway {
        "kakaopay" => [
            (refusal(gateway, 400, "-"), "-1"),
            (
                answer(
                    400,
                    &json!({ "error_code": -781, "extras": { "method_result_code": "USER_LOCKED" } }),
                ),
                "USER_LOCKED",
            ),
        ],
        "toss" => [
            (
                refusal(gateway, 400, "INVALID_REFUND_ACCOUNT_INFO"),
                "INVALID_REFUND_ACCOUNT_INFO",
            ),
            (refusal(gateway, 403, "A_CODE_OF_NEXT_YEAR"), "A_CODE_OF_NEXT_YEAR"),
        ],
        "portone" => [
            (refusal(gateway, 404, "PAYMENT_NOT_FOUND"), "PAYMENT_NOT_FOUND"),
            (refusal(gateway, 400, "INVALID_REQUEST"), "INVALID_REQUEST"),
        ],
        _ => [
            (
                answer(400, &json!({ "error": { "type": "invalid_request_error" } })),
                "invalid_request_error",
            ),
            (refusal(gateway, 400, "charge_disputed"), "charge_disputed"),
        ],
    }
}

#[test]
fn a_refusal_that_proves_little_counts_once_it_is_explained_or_repeated() {
    for gateway in GATEWAYS {
        for turn in 0..2 {
            let refused = || doubtful(gateway).into_iter().nth(turn).unwrap().0;
            let code = doubtful(gateway)[turn].1.to_owned();
            let refunds = Vec::new;
            let idle = || vec![refused(), with_none(gateway)];
            assert_eq!(
                outcome(gateway, idle()),
                RefundOutcome::Shown { refunds: refunds() },
                "{gateway}: not known yet"
            );
            let again = a_refund(gateway, json!({ "tries": 2 }));
            let expected = RefundOutcome::Refused {
                code: code.clone(),
                refunds: refunds(),
            };
            assert_eq!(outcome_of(&again, idle()).0, expected, "{gateway}");
            for tries in [1, 2] {
                let refund = a_refund(gateway, json!({ "tries": tries }));
                let unclear = vec![refused(), Err(SendError::Unknown)];
                assert_eq!(outcome_of(&refund, unclear).0, RefundOutcome::Unknown {}, "{gateway}");
            }
            let elsewhere = || with(gateway, json!([listed(gateway, "고객 변심", word(gateway))]));
            let whole = a_refund(gateway, json!({ "amount": "45000.00" }));
            let explained = RefundOutcome::Refused {
                code,
                refunds: shown("", RefundState::Done),
            };
            assert_eq!(
                outcome_of(&whole, vec![refused(), elsewhere()]).0,
                explained,
                "{gateway}"
            );
            let known = a_refund(
                gateway,
                json!({ "amount": "35000.00", "cancellable": "35000.00", "returned": "10000.00" }),
            );
            let unexplained = RefundOutcome::Shown {
                refunds: shown("", RefundState::Done),
            };
            assert_eq!(
                outcome_of(&known, vec![refused(), elsewhere()]).0,
                unexplained,
                "{gateway}: so much is left"
            );
        }
    }
    for error in [
        json!({ "type": "idempotency_error" }),
        json!({ "type": "api_error" }),
        json!({ "type": "a_type_of_next_year", "code": "charge_disputed" }),
    ] {
        let again = a_refund("stripe", json!({ "tries": 2 }));
        let answers = vec![answer(400, &json!({ "error": error })), with_none("stripe")];
        let expected = RefundOutcome::Shown { refunds: Vec::new() };
        assert_eq!(outcome_of(&again, answers).0, expected, "{error}: it is only looked up");
    }
}

/// What a look-up of KakaoPay shows as given back; `None` if it is not believed.
fn kakaopay_shows(cancels: Value) -> Option<Vec<ShownRefund>> {
    match outcome("kakaopay", vec![Err(SendError::Unknown), with("kakaopay", cancels)]) {
        RefundOutcome::Shown { refunds } => Some(refunds),
        _ => None,
    }
}

#[test]
fn kakaopay_is_believed_if_its_refunds_add_up() {
    let cancel = |id: &str, amount: Option<i64>, payload: Option<&str>| {
        let mut action = json!({ "aid": id, "payment_action_type": "CANCEL" });
        if let Some(amount) = amount {
            action["amount"] = json!(amount);
        }
        if let Some(payload) = payload {
            action["payload"] = json!(payload);
        }
        action
    };
    let shown = |id: &str, amount: i64, key: Option<&str>| ShownRefund {
        id: id.to_owned(),
        amount,
        key: key.map(str::to_owned),
        state: RefundState::Done,
    };
    let both = json!([
        cancel("a", Some(4_000), Some(&ours())),
        cancel("b", Some(6_000), Some("고객 변심"))
    ]);
    assert_eq!(
        kakaopay_shows(both),
        Some(vec![shown("a", 4_000, Some(KEY)), shown("b", 6_000, Some(""))])
    );
    // Nothing is returned, or nothing was given.
    for payload in [None, Some("")] {
        let listed = json!([cancel("a", Some(10_000), payload)]);
        assert_eq!(kakaopay_shows(listed), Some(vec![shown("a", 10_000, None)]));
    }
    let rest = json!([cancel("a", Some(4_000), None), cancel("b", None, None)]);
    assert_eq!(
        kakaopay_shows(rest),
        Some(vec![shown("a", 4_000, None), shown("b", 6_000, None)])
    );
    for unclear in [
        json!([]),
        json!([cancel("a", Some(9_000), None)]),
        json!([cancel("a", Some(11_000), None)]),
        json!([cancel("a", None, None), cancel("b", None, None)]),
        json!([cancel("a", Some(10_000), None), cancel("b", None, None)]),
    ] {
        assert_eq!(kakaopay_shows(unclear.clone()), None, "{unclear}");
    }
    assert_eq!(
        outcome("kakaopay", vec![Err(SendError::Unknown), with_none("kakaopay")]),
        RefundOutcome::Shown { refunds: Vec::new() }
    );
}

/// An answer that does not answer this request says nothing of it.
#[test]
fn an_answer_of_kakaopay_is_compared_with_the_request() {
    for (name, value) in [
        ("partner_order_id", json!("another_order")),
        ("approved_cancel_amount", json!({ "total": 9_000 })),
        ("aid", json!(null)),
    ] {
        let mut other = cancelled();
        other[name] = value;
        let answers = vec![answer(200, &other), with_none("kakaopay")];
        let expected = RefundOutcome::Shown { refunds: Vec::new() };
        assert_eq!(outcome("kakaopay", answers), expected, "{name}");
    }
}

#[test]
fn a_list_of_stripe_is_believed_if_it_is_whole() {
    let list = json!({ "object": "list", "has_more": true, "data": [] });
    let answers = vec![Err(SendError::Unknown), answer(200, &list)];
    assert_eq!(outcome("stripe", answers), RefundOutcome::Unknown {});
}

#[test]
fn a_fraction_of_a_won_is_not_given_back() {
    let refund = a_refund("toss", json!({ "amount": "100.50" }));
    let expected = RefundOutcome::Refused {
        code: "fraction_of_a_won".to_owned(),
        refunds: Vec::new(),
    };
    assert_eq!(outcome_of(&refund, Vec::new()).0, expected);
}

/// A look-up of another payment tells nothing.
#[test]
fn the_refunds_of_another_payment_are_not_ours() {
    for gateway in GATEWAYS {
        let mut other = payment(gateway, words(gateway)[3], 35_000);
        match gateway {
            "toss" => other["orderId"] = json!("another_order"),
            "kakaopay" => other["partner_order_id"] = json!("another_order"),
            "stripe" => {
                let mut refund = listed(gateway, &ours(), "succeeded");
                refund["payment_intent"] = json!("another_intent");
                other = json!({ "object": "list", "has_more": false, "data": [refund] });
            }
            _ => other["id"] = json!("another_order"),
        }
        let answers = vec![Err(SendError::Unknown), answer(200, &other)];
        assert_eq!(outcome(gateway, answers), RefundOutcome::Unknown {}, "{gateway}");
    }
}

/// The database could not store it.
#[test]
fn an_impossible_amount_tells_nothing() {
    let impossible = |answer: Result<Received, SendError>| {
        let Received { status, body } = answer.unwrap();
        let body = String::from_utf8(body).unwrap().replace("10000", "4500000000");
        Ok(Received {
            status,
            body: body.into_bytes(),
        })
    };
    for gateway in GATEWAYS {
        let shown = with(gateway, json!([listed(gateway, &ours(), word(gateway))]));
        let answers = vec![impossible(given(gateway, &ours())), impossible(shown)];
        assert_eq!(outcome(gateway, answers), RefundOutcome::Unknown {}, "{gateway}");
    }
}
