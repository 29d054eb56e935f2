//! `POST /tests/{id}/apply/` and `POST /courses/{id}/enroll/` for an item whose price is 0.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, COURSE, EXAM, Item, Kind};

use crate::{
    storm::assert_audit,
    support::{cancel, paid},
};

const FREE: Item = Item {
    title: "무료 체험",
    description: None,
    price: "0.00",
    start_at: "2020-01-01T00:00:00Z",
    end_at: "2099-12-31T23:59:59Z",
    created_at: "2026-01-02T03:04:05Z",
    capacity: None,
};

#[rstest]
#[tokio::test]
async fn is_taken_without_an_amount_and_a_method(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, FREE).await;
    for (n, body) in [
        "{}",
        "",
        r#"{"amount":0}"#,
        r#"{"amount":"0.00","payment_method":"free"}"#,
        r#"{"payment_method":"free"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let call = app.post(kind.register(id)).by(&minsu);
        let answer = match body {
            "" => call.await,
            body => call.json_text(body).await,
        };
        assert_eq!(answer.status, 201, "{body}: {answer:?}");
        assert_eq!(
            *answer.json(),
            json!({
                "message": kind.says.registered[0],
                "payment_id": n + 1,
                kind.registration_key: 1,
                "payment_method": "free",
                "transaction_metadata": {
                    "payment_gateway": "free",
                    "supports_refund": true,
                    "processing_fee_rate": 0.0,
                    "estimated_fee": 0.0,
                },
            })
        );
        let shown = app.get(format!("/me/payments/{}/", paid(&answer))).by(&minsu).await;
        let shown = ["amount", "payment_method", "status"].map(|key| shown.json()[key].clone());
        assert_eq!(shown, ["0.00", "free", "paid"].map(Value::from));
        assert_audit(&app).await;
        assert_eq!(cancel(&app, paid(&answer), &minsu).await.status, 200);
        assert_audit(&app).await;
    }
    let list = app.get("/me/payments/?status=cancelled").by(&minsu).await;
    assert_eq!(list.json()["count"], 5);
}

/// The fields come first, then the rules in the order of the table.
#[rstest]
#[tokio::test]
async fn other_fields_are_refused(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let free = app.add(kind, FREE).await;
    let priced = app.add(kind, Item::default()).await;
    let ended = Item {
        end_at: "2020-01-02T00:00:00Z",
        ..FREE
    };
    let ended = app.add(kind, ended).await;
    let before = app.state().await;
    for (id, body, expected) in [
        (
            free,
            r#"{"payment_method":"card"}"#,
            "payment_method: This is not a valid choice.",
        ),
        (
            free,
            r#"{"amount":0,"payment_method":"card"}"#,
            "payment_method: This is not a valid choice.",
        ),
        (
            free,
            r#"{"amount":1000,"payment_method":"card"}"#,
            "payment_method: This is not a valid choice.",
        ),
        (free, r#"{"amount":1000,"payment_method":"free"}"#, "amount_mismatch"),
        (free, r#"{"amount":1000}"#, "amount_mismatch"),
        (free, r#"{"amount":-1}"#, "amount: Ensure this value is greater than 0."),
        (ended, r#"{"amount":1000}"#, "not_open"),
        (
            priced,
            r#"{"amount":45000,"payment_method":"free"}"#,
            "payment_method: This is not a valid choice.",
        ),
        (
            priced,
            r#"{"amount":0,"payment_method":"card"}"#,
            "amount: Ensure this value is greater than 0.",
        ),
        (
            priced,
            r#"{"amount":0}"#,
            "amount: Ensure this value is greater than 0.",
        ),
        (priced, "{}", "amount: This field is required."),
        (404, "{}", "amount: This field is required."),
        (404, r#"{"amount":0,"payment_method":"free"}"#, "not_found"),
    ] {
        let call = app.post(kind.register(id)).by(&minsu).header("accept-language", "en");
        let answer = call.json_text(body).await;
        let field = ["amount", "payment_method"].into_iter().find_map(|field| {
            let text = answer.json()[field][0].as_str()?;
            Some(format!("{field}: {text}"))
        });
        assert_eq!(field.as_deref().unwrap_or(answer.code()), expected, "{id} {body}");
        assert!([400, 404].contains(&answer.status.as_u16()), "{id} {body}");
    }
    assert_eq!(app.state().await, before);
    // The client may correct its form under the same key.
    for (body, status) in [("{}", 400), (r#"{"amount":45000,"payment_method":"card"}"#, 201)] {
        let call = app
            .post(kind.register(priced))
            .by(&minsu)
            .header("idempotency-key", "k");
        assert_eq!(call.json_text(body).await.status, status);
    }
}
