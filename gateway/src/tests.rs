//! What the stand-ins do by themselves.

use chrono::DateTime;
use serde_json::{Value, json};

use crate::{
    books::Books,
    desk::Answer,
    event::Event,
    payment::{Return, Way},
    request::{Asked, pairs},
    shared::Shared,
    stand_in::{Options, StandIn},
    windows,
};

const TOSS: (&str, &str) = ("authorization", "Basic dGVzdF9za18wMTIzNDU2Nzg5Og==");
const PORTONE: (&str, &str) = ("authorization", "PortOne portone_secret_0123456789");
const ORDER: &str = "sugang_0123456789abcdef";

fn post(books: &mut Books, path: &str, key: &str, body: &Value) -> Answer {
    let login = if path.starts_with("/v1/") { TOSS } else { PORTONE };
    let headers = [login, ("idempotency-key", key)];
    books.answer(&Asked::new("POST", path, &headers, body)).unwrap()
}

fn get(books: &mut Books, path: &str) -> Answer {
    let login = if path.starts_with("/v1/") { TOSS } else { PORTONE };
    books.answer(&Asked::new("GET", path, &[login], &Value::Null)).unwrap()
}

/// Books with one payment of Toss that was confirmed, and its key.
fn confirmed(way: Way) -> (Books, String) {
    let mut books = Books::default();
    let key = books.agree("toss", ORDER, 45_000, way).unwrap();
    let body = json!({ "paymentKey": key, "orderId": ORDER, "amount": 45_000 });
    assert_eq!(post(&mut books, "/v1/payments/confirm", "a", &body).0, 200);
    (books, key)
}

#[test]
fn toss_gives_back_parts_and_decides_by_the_balance() {
    let (mut books, key) = confirmed(Way::Card);
    let path = format!("/v1/payments/{key}/cancel");
    let part = json!({ "cancelReason": "r", "cancelAmount": 15_000 });
    let (status, shown) = post(&mut books, &path, "b", &part);
    assert_eq!((status, &shown["balanceAmount"]), (200, &json!(30_000)));
    assert_eq!(shown["cancels"][0]["refundableAmount"], 30_000);
    assert_eq!(post(&mut books, &path, "b", &part), (200, shown), "the key is known");
    let rest = json!({ "cancelReason": "r" });
    let (_, shown) = post(&mut books, &path, "c", &rest);
    assert_eq!(
        (&shown["status"], &shown["balanceAmount"]),
        (&json!("PARTIAL_CANCELED"), &json!(0))
    );
    let (status, refused) = post(&mut books, &path, "d", &rest);
    assert_eq!((status, &refused["code"]), (403, &json!("NOT_CANCELABLE_AMOUNT")));
    assert_eq!(books.entries("toss")[ORDER].given, 45_000);
    let (_, transactions) = get(&mut books, "/v1/transactions");
    let amounts = transactions
        .as_array()
        .unwrap()
        .iter()
        .map(|transaction| &transaction["amount"]);
    assert_eq!(amounts.collect::<Vec<_>>(), [45_000, -15_000, -30_000]);
}

#[test]
fn a_refusal_is_answered_again_until_its_key_is_forgotten() {
    let (mut books, _) = confirmed(Way::Card);
    let early = json!({ "paymentKey": "unknown", "orderId": "order-2", "amount": 45_000 });
    assert_eq!(post(&mut books, "/v1/payments/confirm", "b", &early).0, 404);
    let key = books.agree("toss", "order-2", 45_000, Way::Card).unwrap();
    let body = json!({ "paymentKey": key, "orderId": "order-2", "amount": 45_000 });
    assert_eq!(
        post(&mut books, "/v1/payments/confirm", "b", &body).0,
        404,
        "the body is not compared"
    );
    books.desk.advance(16 * 86_400);
    assert_eq!(
        post(&mut books, "/v1/payments/confirm", "b", &body).0,
        404,
        "the consent is over"
    );
    let (_, shown) = get(&mut books, "/v1/payments/orders/order-2");
    assert_eq!(shown["status"], "EXPIRED");
}

#[test]
fn a_deposit_comes_is_taken_back_and_is_late() {
    let (mut books, key) = confirmed(Way::VirtualAccount);
    let path = format!("/v1/payments/{key}");
    let (_, waiting) = get(&mut books, &path);
    assert_eq!(waiting["status"], "WAITING_FOR_DEPOSIT");
    books.desk.events.clear();
    for (arrives, status, taken) in [(true, "DONE", 45_000), (false, "WAITING_FOR_DEPOSIT", 0)] {
        assert!(books.deposit("toss", ORDER, arrives));
        assert!(!books.deposit("toss", ORDER, arrives), "once");
        assert_eq!(get(&mut books, &path).1["status"], status);
        assert_eq!(books.entries("toss")[ORDER].taken, taken);
        let events: Vec<Value> = books
            .desk
            .events
            .drain(..)
            .map(|event| event.body.parse().unwrap())
            .collect();
        assert_eq!(
            (&events[0]["data"]["status"], &events[1]["status"]),
            (&json!(status), &json!(status))
        );
        assert_eq!(events[1]["secret"], waiting["secret"]);
    }
    books.desk.advance(169 * 3600);
    assert!(!books.deposit("toss", ORDER, true));
    assert!(books.desk.events.is_empty(), "a deposit that expires sends no event");
}

#[test]
fn a_deposit_goes_back_to_an_account_alone() {
    let (mut books, key) = confirmed(Way::VirtualAccount);
    books.deposit("toss", ORDER, true);
    let path = format!("/v1/payments/{key}/cancel");
    let (status, refused) = post(&mut books, &path, "b", &json!({ "cancelReason": "r" }));
    assert_eq!((status, &refused["code"]), (400, &json!("INVALID_REFUND_ACCOUNT_INFO")));
    let account = json!({ "bank": "20", "accountNumber": "1", "holderName": "김수강" });
    let body = json!({ "cancelReason": "r", "refundReceiveAccount": account });
    assert_eq!(post(&mut books, &path, "c", &body).1["status"], "CANCELED");
}

#[test]
fn portone_wants_keys_in_quotes_and_compares_what_is_left() {
    let mut books = Books::default();
    let token = books.agree("portone", ORDER, 45_000, Way::Card).unwrap();
    let (path, key) = (format!("/payments/{ORDER}/confirm"), "\"0123456789abcdef\"");
    let body = |amount: i64| json!({ "paymentToken": token, "totalAmount": amount, "currency": "KRW" });
    assert_eq!(post(&mut books, &path, "0123456789abcdef", &body(45_000)).0, 400);
    let (_, refused) = post(&mut books, &path, "\"0123456789abcdee\"", &body(1));
    assert_eq!(refused["type"], "INFORMATION_MISMATCH");
    let confirmed = post(&mut books, &path, key, &body(45_000));
    assert_eq!(confirmed.0, 200);
    assert_eq!(post(&mut books, &path, key, &body(45_000)), confirmed);
    books.desk.advance(3 * 3600 + 1);
    assert_eq!(
        post(&mut books, &path, key, &body(45_000)).1["type"],
        "ALREADY_PAID",
        "the key is forgotten"
    );

    let path = format!("/payments/{ORDER}/cancel");
    let cancel = |expected: i64| json!({ "reason": "r", "amount": 15_000, "currentCancellableAmount": expected });
    assert_eq!(post(&mut books, &path, "\"1123456789abcdef\"", &cancel(45_000)).0, 200);
    let (_, refused) = post(&mut books, &path, "\"2123456789abcdef\"", &cancel(45_000));
    assert_eq!(refused["type"], "CANCELLABLE_AMOUNT_CONSISTENCY_BROKEN");
    let (_, shown) = get(&mut books, &format!("/payments/{ORDER}"));
    assert_eq!(
        (&shown["status"], &shown["amount"]["cancelled"]),
        (&json!("PARTIAL_CANCELLED"), &json!(15_000))
    );
}

/// Clicks on a button of a window, and returns the address that the browser is sent to.
fn click(shared: &Shared, gateway: &str, button: &str) -> String {
    let mut asked = Asked::new("POST", "/window", &[], &Value::Null);
    let form =
        "reference=order-1&amount=45000&success=http://shop/?a=1&failure=http://shop/no&closing=http://shop/back";
    let form = format!("gateway={gateway}&button={button}&{form}");
    asked.body = form.replace("?a=", "%3Fa%3D").into();
    let response = windows::answer(shared, &asked).unwrap();
    assert_eq!(response.status(), 303);
    response.headers()["location"].to_str().unwrap().to_owned()
}

#[test]
fn a_window_comes_back_as_that_of_its_gateway() {
    let shared = Shared::new(Books::default(), None, None);
    for (gateway, paid, closed) in [
        (
            "toss",
            "http://shop/?a=1&paymentKey=tgen_000001&orderId=order-1&amount=45000",
            "http://shop/back?code=PAY_PROCESS_CANCELED&message=",
        ),
        (
            "portone",
            "http://shop/?a=1&paymentId=order-1&paymentToken=portone_token_000002&transactionType=PAYMENT",
            "http://shop/back?paymentId=order-1&code=FAILURE_TYPE_PG&message=",
        ),
        (
            "kakaopay",
            "http://shop/?a=1&pg_token=pg_token_000003",
            "http://shop/back",
        ),
    ] {
        assert_eq!(click(&shared, gateway, "pay"), paid);
        assert!(click(&shared, gateway, "close").starts_with(closed), "{gateway}");
        assert!(
            click(&shared, gateway, "decline").starts_with("http://shop/no"),
            "{gateway}"
        );
    }
    let unknown = Asked::new("GET", "/kakaopay/T000001/pc", &[], &Value::Null);
    assert_eq!(windows::answer(&shared, &unknown).unwrap().status(), 404);
}

const KAKAOPAY: (&str, &str) = ("authorization", "SECRET_KEY dev_secret_0123456789");

#[test]
fn kakaopay_compares_what_is_left_and_returns_payloads() {
    let mut books = Books::default();
    let ask = |books: &mut Books, path: &str, body: Value| {
        let path = format!("/online/v1/payment/{path}");
        let mut body = body;
        body["cid"] = json!("TC0ONETIME");
        books.answer(&Asked::new("POST", &path, &[KAKAOPAY], &body)).unwrap()
    };
    let ready = json!({
        "partner_order_id": ORDER, "partner_user_id": ORDER, "item_name": "i", "quantity": 1, "total_amount": 45_000,
        "tax_free_amount": 0, "approval_url": "a", "cancel_url": "c", "fail_url": "f",
    });
    let tid = ask(&mut books, "ready", ready).1["tid"].clone();
    let token = books.agree("kakaopay", ORDER, 45_000, Way::Card).unwrap();
    let approve = json!({ "tid": tid, "partner_order_id": ORDER, "partner_user_id": ORDER, "pg_token": token });
    assert_eq!(ask(&mut books, "approve", approve).0, 200);
    let cancel = || {
        json!({
            "tid": tid, "cancel_amount": 15_000, "cancel_tax_free_amount": 0, "cancel_available_amount": 45_000,
            "payload": "r",
        })
    };
    let (status, answer) = ask(&mut books, "cancel", cancel());
    assert_eq!(
        (status, &answer["payload"], &answer["approved_cancel_amount"]["total"]),
        (200, &json!("r"), &json!(15_000))
    );
    assert_eq!(ask(&mut books, "cancel", cancel()).0, 400, "so much is not left");
    books.give_back("kakaopay", ORDER, Some(5_000));
    let (_, shown) = ask(&mut books, "order", json!({ "tid": tid }));
    assert_eq!(
        (&shown["status"], &shown["cancel_available_amount"]["total"]),
        (&json!("PART_CANCEL_PAYMENT"), &json!(25_000))
    );
    let actions = shown["payment_action_details"].as_array().unwrap().iter();
    let actions: Vec<_> = actions
        .map(|action| {
            (
                action["payment_action_type"].as_str().unwrap(),
                action["amount"].as_i64().unwrap(),
                action["payload"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        actions,
        [
            ("PAYMENT", 45_000, None),
            ("CANCEL", 15_000, Some("r")),
            ("CANCEL", 5_000, None)
        ]
    );
    assert_eq!(
        answer["aid"], shown["payment_action_details"][1]["aid"],
        "the answer has the id that the look-up shows"
    );
}

#[test]
fn stripe_repeats_answers_and_lists_refunds() {
    const LOGIN: (&str, &str) = ("authorization", "Bearer sk_test_stand_in_0123456789");
    let mut books = Books::default();
    let ask = |books: &mut Books, method: &str, line: &str, key: &str, form: &str| {
        let (path, query) = line.split_once('?').unwrap_or((line, ""));
        let mut asked = Asked::new(method, path, &[LOGIN, ("idempotency-key", key)], &Value::Null);
        asked.body = form.to_owned().into();
        asked.query = pairs(query.as_bytes());
        books.answer(&asked).unwrap()
    };
    let form = format!("amount=45000&currency=krw&metadata[reference]={ORDER}");
    let (_, intent) = ask(&mut books, "POST", "/v1/payment_intents", "a", &form);
    let id = intent["id"].as_str().unwrap();
    books.agree("stripe", ORDER, 45_000, Way::Card).unwrap();
    let capture = format!("/v1/payment_intents/{id}/capture");
    assert_eq!(ask(&mut books, "POST", &capture, "b", "").1["status"], "succeeded");
    let part = format!("payment_intent={id}&amount=15000&metadata[reference]=k");
    let first = ask(&mut books, "POST", "/v1/refunds", "c", &part);
    assert_eq!((first.0, &first.1["status"]), (200, &json!("succeeded")));
    assert_eq!(ask(&mut books, "POST", "/v1/refunds", "c", &part), first);
    let list = format!("/v1/refunds?payment_intent={id}&limit=100");
    let (_, refunds) = ask(&mut books, "GET", &list, "", "");
    assert_eq!(
        (&refunds["data"], &refunds["has_more"]),
        (&json!([first.1]), &json!(false))
    );
    books.give_back("stripe", ORDER, Some(25_000));
    let (_, refunds) = ask(&mut books, "GET", &list, "", "");
    assert_eq!(refunds["data"][0]["metadata"], json!({}), "the latest comes first");
    assert_eq!(
        ask(&mut books, "POST", "/v1/refunds", "d", &part).0,
        400,
        "5,000 are left"
    );
    books.stripe.end_refund(ORDER, Return::Failed, &mut books.desk);
    assert_eq!(ask(&mut books, "POST", "/v1/refunds", "e", &part).0, 200);
    assert_eq!(books.entries("stripe")[ORDER].given, 30_000);
}

const STRIPE_EVENT: &str =
    r#"{"id":"evt_1NG8Du2eZvKYlo2CUI79vXWy","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}"#;

/// The example of Standard Webhooks.
#[test]
fn events_are_signed_as_others_verify_them() {
    let event = Event {
        gateway: "portone".to_owned(),
        id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
        body: r#"{"test": 2432232314}"#.to_owned(),
        secret: Some("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        tries: 0,
    };
    let headers = event.headers(DateTime::from_timestamp(1_614_265_330, 0).unwrap());
    let signature = headers.iter().find(|(name, _)| name == "webhook-signature").unwrap();
    assert_eq!(signature.1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    // By the package of Stripe for Python: see `api/src/gateways/signature.rs`.
    let stripe = Event {
        gateway: "stripe".to_owned(),
        id: "evt_1NG8Du2eZvKYlo2CUI79vXWy".to_owned(),
        body: STRIPE_EVENT.to_owned(),
        secret: Some("whsec_0123456789abcdef0123456789abcdef".to_owned()),
        tries: 0,
    };
    let headers = stripe.headers(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
    let expected = "t=1700000000,v1=1a1e3961890e49a2b5b11e3d176556796e08d71f1576bcc4bfdb59ad05d4dde3";
    assert_eq!(headers[0], ("stripe-signature".to_owned(), expected.to_owned()));
    let forged = event.forged(&json!({})).headers(DateTime::UNIX_EPOCH);
    assert_ne!(forged, event.headers(DateTime::UNIX_EPOCH));
}

#[tokio::test]
async fn the_books_survive() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        journal: Some(folder.path().join("books.json")),
        ..Options::default()
    };
    let first = StandIn::start(options.clone()).await.unwrap();
    let key = first.agree("toss", ORDER, 45_000, Way::Card);
    drop(first);
    let second = StandIn::start(options).await.unwrap();
    assert!(second.entries("toss").contains_key(ORDER));
    assert_ne!(second.agree("toss", "order-2", 45_000, Way::Card), key);
}
