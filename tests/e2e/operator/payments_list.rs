//! `GET /api/operator/payments/`.

use serde_json::json;
use sugang_tests::{Answer, App, COURSE, EXAM, Item, assert_answer};

use crate::support::{cancel, operator, paid, refund, register};

fn ids(answer: &Answer) -> Vec<i64> {
    let results = answer.json()["results"].as_array();
    let results = results.unwrap_or_else(|| panic!("{answer:?}")).iter();
    results
        .map(|payment| payment["id"].as_i64().expect("a payment has an id"))
        .collect()
}

#[tokio::test]
async fn a_payment_is_listed_with_what_was_refunded() {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    assert_answer!(app.get("/api/operator/payments/").by(&ujin).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 0,
        "next": null,
        "previous": null,
        "results": []
      }
    }
    "#);
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    let part = json!({"amount": "10000.00", "reason": "교재 불량"});
    assert_eq!(refund(&app, payment, &ujin, &part).await.status, 200);
    assert_answer!(app.get("/api/operator/payments/?user=2").by(&ujin).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 1,
        "next": null,
        "previous": null,
        "results": [
          {
            "amount": "45000.00",
            "cancelled_at": null,
            "id": 1,
            "left": "35000.00",
            "paid_at": "[now]",
            "payment_method": "card",
            "payment_type": "test",
            "refund_reason": null,
            "refunds": [
              {
                "amount": "10000.00",
                "code": null,
                "id": 1,
                "keeps_registration": false,
                "reason": "교재 불량",
                "reference": null,
                "requested_at": "[now]",
                "requested_by": 1,
                "status": "done"
              }
            ],
            "registration_time": "[now]",
            "status": "paid",
            "target_id": 1,
            "target_title": "정보처리기사 실기",
            "target_type": "test",
            "user_id": 2
          }
        ]
      }
    }
    "#);
    let one = app.get(format!("/api/operator/payments/{payment}/")).by(&ujin).await;
    let list = app.get("/api/operator/payments/").by(&ujin).await;
    assert_eq!(list.json()["results"], json!([one.json()]));
}

/// Each parameter by itself, and some together.
#[tokio::test]
async fn payments_are_found_by_what_is_known_of_them() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let [minsu, jisu] = [app.user("minsu").await, app.user("jisu").await];
    let (exam, course) = (
        app.add(EXAM, Item::default()).await,
        app.add(COURSE, Item::default()).await,
    );
    for (user, kind, id) in [(&minsu, EXAM, exam), (&minsu, COURSE, course), (&jisu, EXAM, exam)] {
        paid(&register(&app, kind, id, user).await);
    }
    assert_eq!(cancel(&app, 1, &minsu).await.status, 200);
    // As the Django service wrote them: ids of the gateway, which may repeat.
    app.run(
        "update payments set external_transaction_id = 'KAKAO-1', paid_at = '2026-01-31 23:59:59.999999Z' where id in (1, 2)",
        &[],
    )
    .await;
    app.run("update payments set amount = 50000 where id = 3", &[]).await;
    let own: String = app
        .one("select external_transaction_id from payments where id = 3", &[])
        .await;
    for (query, expected) in [
        ("", vec![3, 2, 1]),
        ("user=2", vec![2, 1]),
        ("user=404", vec![]),
        ("email=MINSU@Example.com", vec![2, 1]),
        ("email=minsu", vec![]),
        ("email=minsu@example.com&user=3", vec![]),
        ("email=jisu@example.com&user=3", vec![3]),
        ("external_id=KAKAO-1", vec![2, 1]),
        ("external_id=kakao-1", vec![]),
        (&format!("external_id={own}"), vec![3]),
        ("external_id=KAKAO-1&status=paid", vec![2]),
        ("amount=45000", vec![2, 1]),
        ("amount=50000.00", vec![3]),
        ("amount=45000&status=cancelled", vec![1]),
        ("status=refunded", vec![]),
        ("status=unknown", vec![]),
        ("from=2026-01-31&to=2026-01-31", vec![2, 1]),
        ("to=2026-01-30", vec![]),
        ("from=2026-02-01", vec![3]),
        ("user=&email=&external_id=&amount=&status=&from=&to=", vec![3, 2, 1]),
    ] {
        let answer = app.get(format!("/api/operator/payments/?{query}")).by(&ujin).await;
        assert_eq!(ids(&answer), expected, "{query}");
    }
    let wrong = "/api/operator/payments/?user=minsu";
    assert_answer!(app.get(wrong).by(&ujin).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "request_id": "[request id]",
        "user": [
          "유효한 정수(integer)를 넣어주세요."
        ]
      }
    }
    "#);
    for wrong in [
        "amount=-1",
        "amount=1e9",
        "from=2026-02-30",
        "email=%00",
        "external_id=%00",
    ] {
        let answer = app.get(format!("/api/operator/payments/?{wrong}")).by(&ujin).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid"), "{wrong}");
    }
}

/// Pages are read from both ends, and payments of the same instant keep their order.
#[tokio::test]
async fn pages_meet_in_the_middle() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let many =
        "insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method, status,
                                      cancelled_at, paid_at)
                select $1, 'test', (select content_type_id from sugang.kinds where kind = 'test'), $2, 45000, 'card',
                       'cancelled', now(), timestamptz '2026-01-01Z' + (n / 3) * interval '1 hour'
                from generate_series(1, 101) n";
    app.run(many, &[&minsu.id, &id]).await;
    let expected: Vec<i64> = (1..=101).rev().collect();
    let mut found = Vec::new();
    for page in 1..=6 {
        let answer = app.get(format!("/api/operator/payments/?page={page}")).by(&ujin).await;
        assert_eq!(answer.json()["count"], 101);
        found.extend(ids(&answer));
    }
    assert_eq!(found, expected);
    let last = app.get("/api/operator/payments/?page=last").by(&ujin).await;
    assert_eq!(ids(&last), [1]);
    let beyond = app.get("/api/operator/payments/?page=7").by(&ujin).await;
    assert_eq!(beyond.code(), "invalid_page");
}
