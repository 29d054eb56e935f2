//! `GET /me/orders/` and `GET /orders/{id}/`.

use serde_json::{Value, json};
use sugang_tests::{COURSE, EXAM, Item, assert_answer};

use crate::support::{cancel_order, ordered, preorder, shop};

#[tokio::test]
async fn lists_the_orders_of_the_caller() {
    let app = shop().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    for kind in [EXAM, COURSE] {
        let id = app.add(kind, Item::default()).await;
        preorder(&app, kind, id, &minsu).await;
    }
    preorder(&app, EXAM, 1, &jiyoung).await;
    cancel_order(&app, 1, &minsu).await;
    let ids = async |query: &str| {
        let answer = app.get(format!("/me/orders/?{query}")).by(&minsu).await;
        let orders = answer.json()["results"].as_array().expect("a list").iter();
        json!([
            answer.json()["count"],
            orders.map(|order| order["id"].clone()).collect::<Vec<Value>>()
        ])
    };
    for (query, expected) in [
        ("", json!([2, [2, 1]])),
        ("status=held", json!([1, [2]])),
        ("status=cancelled&item_type=test", json!([1, [1]])),
        ("item_type=course&from=2020-01-01&to=2099-01-01", json!([1, [2]])),
        ("to=2020-01-01", json!([0, []])),
        ("status=nope", json!([0, []])),
    ] {
        assert_eq!(ids(query).await, expected, "{query}");
    }
    assert_eq!(app.get("/me/orders/?page=2").by(&minsu).await.code(), "invalid_page");
    assert_eq!(app.get("/me/orders/?from=x").by(&minsu).await.code(), "invalid");
    assert_answer!(app.get("/me/orders/?status=held").by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 1,
        "next": null,
        "previous": null,
        "results": [
          {
            "amount": "45000.00",
            "created_at": "[now]",
            "declined_code": null,
            "deposit": null,
            "ended_at": null,
            "expires_at": "[in 10 min]",
            "gateway": "manual",
            "id": 2,
            "item_id": 1,
            "item_type": "course",
            "now": "[now]",
            "payment_id": null,
            "payment_method": "bank_transfer",
            "reference": "[reference]",
            "refund": null,
            "registration_id": null,
            "status": "held",
            "title": "정보처리기사 실기",
            "window": null
          }
        ]
      }
    }
    "#);
}

#[tokio::test]
async fn a_page_has_twenty() {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    for _ in 0..21 {
        let id = app.add(EXAM, Item::default()).await;
        ordered(&preorder(&app, EXAM, id, &minsu).await);
    }
    let last = app.get("/me/orders/?page=last").by(&minsu).await;
    assert_eq!(last.json()["results"].as_array().map(Vec::len), Some(1));
    assert_eq!(last.json()["results"][0]["id"], 1);
}
