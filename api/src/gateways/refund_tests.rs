//! One table of tests over all gateways: how money is given back.

use futures::executor::block_on;
use serde_json::{Value, json};

use super::{
    refund::RefundState,
    tests::{REFERENCE, Script, answer, attempt_json, contracts, payment, refusal, words},
    *,
};

/// The gateways that give money back.
const GATEWAYS: [&str; 2] = ["toss", "portone"];

const KEY: &str = "sugang_fedcba9876543210";

fn a_refund(gateway: &str, changes: Value) -> Refund {
    let mut refund = json!({
        "refund": 12, "payment": 3, "amount": "10000.00", "idempotency_key": KEY, "tries": 1, "account": null,
        "external_id": "paid_1", "cancellable": "45000.00", "attempt": attempt_json(gateway),
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
        _ => json!({ "id": "back_1", "totalAmount": 10_000, "reason": reason, "status": status }),
    }
}

/// A payment with refunds, as the look-up shows it.
fn with(gateway: &str, refunds: Value) -> Result<Received, SendError> {
    let [_, _, _, partly] = words(gateway);
    let mut shown = payment(gateway, partly, 35_000);
    shown[if gateway == "toss" { "cancels" } else { "cancellations" }] = refunds;
    answer(200, &shown)
}

/// The answer to the refund itself.
fn given(gateway: &str, reason: &str) -> Result<Received, SendError> {
    match gateway {
        "toss" => with(gateway, json!([listed(gateway, reason, "DONE")])),
        _ => answer(200, &json!({ "cancellation": listed(gateway, reason, "SUCCEEDED") })),
    }
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
}

#[test]
fn what_is_given_back_is_known_by_the_key() {
    for gateway in GATEWAYS {
        assert_eq!(outcome(gateway, vec![given(gateway, &ours())]), done(), "{gateway}");
        let others = RefundOutcome::Shown {
            refunds: shown("", RefundState::Done),
        };
        assert_eq!(outcome(gateway, vec![given(gateway, "고객 변심")]), others, "{gateway}");
    }
}

#[test]
fn what_is_not_a_definite_refusal_is_looked_up() {
    for gateway in GATEWAYS {
        let found = || {
            with(
                gateway,
                json!([listed(
                    gateway,
                    &ours(),
                    if gateway == "toss" { "DONE" } else { "SUCCEEDED" }
                )]),
            )
        };
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
    for gateway in GATEWAYS {
        let (refusal_of, code) = (|| refused(gateway).0, refused(gateway).1);
        let elsewhere = with(
            gateway,
            json!([listed(
                gateway,
                "고객 변심",
                if gateway == "toss" { "DONE" } else { "SUCCEEDED" }
            )]),
        );
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
    ] {
        let answers = vec![
            Err(SendError::Unknown),
            with(gateway, json!([listed(gateway, &ours(), word)])),
        ];
        let refunds = shown(KEY, state);
        assert_eq!(outcome(gateway, answers), RefundOutcome::Shown { refunds }, "{gateway}");
    }
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
        other[if gateway == "toss" { "orderId" } else { "id" }] = json!("another_order");
        let answers = vec![Err(SendError::Unknown), answer(200, &other)];
        assert_eq!(outcome(gateway, answers), RefundOutcome::Unknown {}, "{gateway}");
    }
}
