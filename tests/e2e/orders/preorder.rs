//! `POST /tests/{id}/preorder/` and `POST /courses/{id}/preorder/`.

use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, assert_answer};

use crate::{
    storm::assert_audit,
    support::{
        approve, cancel, cancel_order, let_expire, operator, ordered, paid, payment, preorder, register, shop,
        shop_with,
    },
};

/// What the item counts: registrations, and seats that are held.
pub async fn counts(app: &App, kind: Kind, id: i64) -> (i32, i32) {
    let count = async |column: &str| {
        let count = format!("select {column} from {} where id = $1", kind.items);
        app.one::<i32>(&count, &[&id]).await
    };
    (count("registration_count").await, count("held_count").await)
}

#[rstest]
#[tokio::test]
async fn holds_a_seat(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let capacity = Some(1);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;

    let mut answer = preorder(&app, kind, id, &minsu).await;

    assert_eq!(answer.json()["item_type"], kind.payment_type);
    answer = answer.says("item_type", kind.payment_type);
    assert_answer!(answer, @r#"
    {
      "status": "201 Created",
      "body": {
        "amount": "45000.00",
        "created_at": "[now]",
        "declined_code": null,
        "deposit": null,
        "ended_at": null,
        "expires_at": "[in 10 min]",
        "gateway": "manual",
        "id": 1,
        "item_id": 1,
        "item_type": "[text]",
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
    }
    "#);
    assert_eq!(counts(&app, kind, id).await, (0, 1));
    for other in [
        preorder(&app, kind, id, &jiyoung).await,
        register(&app, kind, id, &jiyoung).await,
    ] {
        assert_eq!(other.code(), "sold_out");
    }
    assert_audit(&app).await;
}

/// What is shown as left is what a user can take.
#[rstest]
#[tokio::test]
async fn a_held_seat_is_not_shown_as_left(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu, jiyoung) = (operator(&app).await, app.user("minsu").await, app.user("jiyoung").await);
    let item = Item {
        title: "Rust",
        capacity: Some(3),
        ..Item::default()
    };
    let id = app.add(kind, item).await;
    let left = async || {
        let mut left = Vec::new();
        let managed = format!("/api/operator{}", kind.item(id));
        for path in [kind.item(id), format!("{managed}figures/"), managed] {
            left.push(app.get(path).by(&operator).await.json()["remaining"].clone());
        }
        for list in ["", "?search=rust", "?sort=popular"] {
            let list = app.get(format!("{}{list}", kind.path)).by(&minsu).await;
            left.push(list.json()["results"][0]["remaining"].clone());
        }
        left
    };
    paid(&register(&app, kind, id, &jiyoung).await);
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    assert_eq!(left().await, vec![1; 6]);
    let lower = format!("update {} set capacity = 1", kind.items);
    app.run(&lower, &[]).await;
    assert_eq!(left().await, vec![0; 6]);
    app.run(&lower.replace("= 1", "= 3"), &[]).await;
    cancel_order(&app, order, &minsu).await;
    assert_eq!(left().await, vec![2; 6]);
    app.run(&lower.replace("= 1", "= null"), &[]).await;
    assert_eq!(left().await, vec![serde_json::Value::Null; 6]);
}

/// In the order of the contract for a registration, and before it the method that no gateway takes.
#[rstest]
#[tokio::test]
async fn checks_in_the_order_of_a_registration(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let registered = app.add(kind, Item::default()).await;
    paid(&register(&app, kind, registered, &minsu).await);
    let end_at = "2020-01-02T00:00:00Z";
    let over = app
        .add(
            kind,
            Item {
                end_at,
                ..Item::default()
            },
        )
        .await;
    let capacity = Some(0);
    let full = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let free = app
        .add(
            kind,
            Item {
                price: "0.00",
                ..Item::default()
            },
        )
        .await;
    let cheap = app
        .add(
            kind,
            Item {
                price: "999.00",
                ..Item::default()
            },
        )
        .await;
    let mut table = Vec::new();
    for (id, amount, method) in [
        (99, "0", "cash"),
        (99, "45000.00", "kakaopay"),
        (99, "1.00", "card"),
        (registered, "1.00", "card"),
        (over, "1.00", "card"),
        (full, "1.00", "card"),
        (cheap, "999.00", "card"),
        (free, "1.00", "card"),
        (full, "45000.00", "card"),
    ] {
        let body = payment(amount, method);
        let answer = app.post(kind.preorder(id)).by(&minsu).json(&body);
        let brief = answer.header("accept-language", "en").await.brief();
        table.push(
            brief
                .replace(kind.says.already_registered[1], "[already]")
                .replace(kind.says.not_open[1], "[not open]"),
        );
    }
    let table = table.join("\n").replace(kind.says.amount_mismatch[1], "[mismatch]");
    insta::allow_duplicates! { insta::assert_snapshot!(table, @"
    400 invalid | amount: Ensure this value is greater than 0.; payment_method: This is not a valid choice.
    409 payment_method_unavailable | This payment method is not available now
    404 not_found | Not found.
    400 already_registered | [already]
    400 not_open | [not open]
    400 amount_mismatch | [mismatch]
    400 amount_out_of_bounds | The amount is outside what the payment method takes
    400 amount_mismatch | [mismatch]
    409 sold_out | All seats are taken
    "); }
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn the_order_is_answered_again_with_the_method_of_the_request(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let first = preorder(&app, kind, id, &minsu).await;
    let again = preorder(&app, kind, id, &minsu).await;
    assert_eq!(again.status, 200);
    for key in ["id", "reference", "expires_at", "created_at"] {
        assert_eq!(first.json()[key], again.json()[key]);
    }
    let other = payment("45000.00", "card");
    let other = app.post(kind.preorder(id)).by(&minsu).json(&other).await;
    assert_eq!(other.json()["payment_method"], "card");
    assert_eq!(first.json()["expires_at"], other.json()["expires_at"]);
    assert_ne!(first.json()["reference"], other.json()["reference"]);
    assert_eq!(counts(&app, kind, id).await, (0, 1));

    // The price of today, which this request names.
    app.run(&format!("update {} set price = 50000", kind.items), &[]).await;
    assert_eq!(preorder(&app, kind, id, &minsu).await.code(), "amount_mismatch");
    let dearer = app
        .post(kind.preorder(id))
        .by(&minsu)
        .json(&payment("50000.00", "card"))
        .await;
    assert_eq!(dearer.json()["amount"], "50000.00");
    assert_audit(&app).await;
}

/// No worker is needed: the next request that finds the item full releases what has expired.
#[rstest]
#[tokio::test]
async fn an_expired_hold_is_released_when_its_seat_is_needed(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(false, true)] one_step: bool,
) {
    let app = shop().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let capacity = Some(1);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    let_expire(&app, order).await;
    match one_step {
        true => _ = paid(&register(&app, kind, id, &jiyoung).await),
        false => _ = ordered(&preorder(&app, kind, id, &jiyoung).await),
    }
    let status: String = app
        .one("select status from sugang.orders where id = $1", &[&order])
        .await;
    assert_eq!(status, "expired");
    assert_eq!(approve(&app, order, &minsu).await.code(), "order_ended");
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_new_order_follows_one_that_has_expired(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let capacity = Some(1);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    let_expire(&app, order).await;
    let again = preorder(&app, kind, id, &minsu).await;
    assert_eq!(again.status, 201);
    assert_ne!(ordered(&again), order);
    assert_eq!(counts(&app, kind, id).await, (0, 1));
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_hold_ends_with_the_period(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let soon = "update {items} set end_at = clock_timestamp() + interval '2 minutes'";
    app.run(&soon.replace("{items}", kind.items), &[]).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    let at_its_end: bool = app
        .one(
            &format!(
                "select o.expires_at = i.end_at from sugang.orders o, {} i where o.id = $1",
                kind.items
            ),
            &[&order],
        )
        .await;
    assert!(at_its_end);
}

/// A user who holds a seat, and then registers in one step, gets that seat.
#[rstest]
#[tokio::test]
async fn a_registration_in_one_step_takes_the_hold_over(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(false, true)] by_operator: bool,
) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let capacity = Some(1);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    match by_operator {
        true => {
            let path = format!("/api/operator{}{id}/registrations/", kind.path);
            let body = serde_json::json!({"user_id": minsu.id, "payment_method": "free", "reason": "장학생"});
            assert_eq!(app.post(path).by(&operator).json(&body).await.status, 201);
        }
        false => _ = paid(&register(&app, kind, id, &minsu).await),
    }
    assert_eq!(counts(&app, kind, id).await, (1, 0));
    let order = app.get(format!("/orders/{order}/")).by(&minsu).await;
    assert_eq!(order.json()["status"], "cancelled");
    assert_audit(&app).await;
}

/// While money may be on its way, the user pays nothing a second time.
#[rstest]
#[tokio::test]
async fn an_order_under_way_refuses_a_registration_in_one_step(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    assert_eq!(approve(&app, order, &minsu).await.status, 202);
    for answer in [
        register(&app, kind, id, &minsu).await,
        preorder(&app, kind, id, &minsu).await,
    ] {
        assert_answer!(answer, @r#"
        {
          "status": "409 Conflict",
          "body": {
            "code": "order_in_progress",
            "error": "결제가 진행 중인 주문입니다. 결과를 확인해주세요",
            "request_id": "[request id]"
          }
        }
        "#);
    }
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn one_step_can_be_closed(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop_with(&[("one_step_payment", "off")]).await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let free = app
        .add(
            kind,
            Item {
                price: "0.00",
                ..Item::default()
            },
        )
        .await;
    let answer = register(&app, kind, id, &minsu).await;
    assert_eq!(answer.json()["preorder"], kind.preorder(id));
    assert_answer!(answer.says("preorder", &kind.preorder(id)), @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "payment_required",
        "error": "사전 주문으로 결제해주세요",
        "preorder": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    paid(&app.post(kind.register(free)).by(&minsu).json_text("{}").await);

    // What is paid already is taken up in one step.
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    let operator = operator(&app).await;
    crate::support::confirm(&app, order, &operator).await;
    let lost = format!(
        "update {} set status = 'cancelled' where {} = $1",
        kind.registrations, kind.item_id
    );
    app.run(&lost, &[&id]).await;
    assert_eq!(preorder(&app, kind, id, &minsu).await.code(), "already_paid");
    paid(&register(&app, kind, id, &minsu).await);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_request_with_a_key_is_answered_again_with_the_time_of_now(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let first = preorder(&app, kind, id, &minsu).header("idempotency-key", "key").await;
    let again = preorder(&app, kind, id, &minsu).header("idempotency-key", "key").await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (201, "true")
    );
    assert_ne!(first.json()["now"], again.json()["now"]);
    assert_eq!(first.json()["expires_at"], again.json()["expires_at"]);
    assert_audit(&app).await;
}

/// A payment that a gateway holds is cancelled as any other; its money is owed back until an operator has sent it.
#[rstest]
#[tokio::test]
async fn what_was_paid_by_an_order_is_cancelled_as_any_payment(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    let confirmed = crate::support::confirm(&app, order, &operator).await;
    let payment = confirmed.json()["payment_id"].as_i64().expect("it is paid");
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    let answer = app.get(format!("/orders/{order}/")).by(&minsu).await;
    assert_eq!(answer.json()["refund"]["status"], "requested");
    assert_audit(&app).await;
    let body = serde_json::json!({"reference": "bank-back"});
    let refund = app
        .post(format!("/api/operator/orders/{order}/refund/"))
        .by(&operator)
        .json(&body);
    assert_eq!(refund.await.json()["refund"]["status"], "done");
    assert_audit(&app).await;
}
