//! `GET /api/operator/figures/`, and `GET /api/operator/tests/{id}/figures/` with the same for courses.

use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, User, assert_answer};

use crate::{
    storm::assert_audit,
    support::{cancel, operator, paid, refund, register},
};

/// Three registrations of which one is cancelled, one completed and one refunded in part; and one of the other kind.
async fn arrange(app: &App, kind: Kind) -> (User, i64) {
    let ujin = operator(app).await;
    let [minsu, jisu, yuna] = [app.user("minsu").await, app.user("jisu").await, app.user("yuna").await];
    let id = app
        .add(
            kind,
            Item {
                capacity: Some(3),
                ..Item::default()
            },
        )
        .await;
    let first = paid(&register(app, kind, id, &minsu).await);
    assert_eq!(cancel(app, first, &minsu).await.status, 200);
    paid(&register(app, kind, id, &jisu).await);
    assert_eq!(app.post(kind.complete(id)).by(&jisu).await.status, 200);
    let third = paid(&register(app, kind, id, &yuna).await);
    let part = json!({"amount": "10000.00", "reason": "교재 불량"});
    assert_eq!(refund(app, third, &ujin, &part).await.status, 200);
    let other = if kind.payment_type == "test" { COURSE } else { EXAM };
    let other_id = app.add(other, Item::default()).await;
    paid(&register(app, other, other_id, &minsu).await);
    (ujin, id)
}

#[rstest]
#[tokio::test]
async fn an_item_has_its_figures(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (ujin, id) = arrange(&app, kind).await;
    let figures = || app.get(format!("/api/operator{}figures/", kind.item(id))).by(&ujin);
    assert_answer!(figures().await, @r#"
    {
      "status": "200 OK",
      "body": {
        "cancelled": 1,
        "capacity": 3,
        "completed": 1,
        "id": 1,
        "money_in": "135000.00",
        "money_out": "55000.00",
        "over_capacity": 0,
        "registered": 1,
        "remaining": 1
      }
    }
    "#);
    // What another program does is in the books as well.
    app.run(&format!("update {} set capacity = 1 where id = $1", kind.items), &[&id])
        .await;
    app.run("update payments set amount = 50000 where id = 3", &[]).await;
    let answer = figures().await;
    assert_eq!(answer.json()["over_capacity"], 1);
    assert_eq!(answer.json()["remaining"], 0);
    assert_eq!(answer.json()["money_in"], "140000.00");
    assert_eq!(answer.json()["money_out"], "55000.00");
    let missing = app
        .get(format!("/api/operator{}figures/", kind.item(404)))
        .by(&ujin)
        .await;
    assert_eq!(missing.code(), "not_found");
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn days_have_what_the_books_say(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (ujin, id) = arrange(&app, kind).await;
    let today = chrono::Utc::now().date_naive();
    let yesterday = today.pred_opt().expect("there is a day before");
    let figures = |query: String| {
        app.get(format!("/api/operator/figures/?from={yesterday}&to={today}{query}"))
            .by(&ujin)
    };
    let of_kind = format!("&kind={}", kind.payment_type);
    for (query, registered, cancelled, money_in, money_out) in [
        (String::new(), 4, 1, "180000.00", "55000.00"),
        (of_kind.clone(), 3, 1, "135000.00", "55000.00"),
        (format!("{of_kind}&item={id}"), 3, 1, "135000.00", "55000.00"),
        (format!("{of_kind}&item=404"), 0, 0, "0.00", "0.00"),
    ] {
        let answer = figures(query.clone()).await;
        let nothing = json!({"registered": 0, "cancelled": 0, "money_in": "0.00", "money_out": "0.00"});
        let sums =
            json!({"registered": registered, "cancelled": cancelled, "money_in": money_in, "money_out": money_out});
        let mut before = nothing;
        before["day"] = json!(yesterday);
        let mut day = sums.clone();
        day["day"] = json!(today);
        let mut expected = sums;
        expected["days"] = json!([before, day]);
        assert_eq!(*answer.json(), expected, "{query}");
    }
    let balance: String = app
        .one(
            "select sum(case 'cash' when debit then amount when credit then -amount else 0 end)::text from sugang.ledger",
            &[],
        )
        .await;
    assert_eq!(balance, "125000.00");
}

/// Nothing is estimated: an import, a deletion and a payment that comes back are in the sums as in the ledger.
#[tokio::test]
async fn what_another_program_deletes_stays_in_the_days() {
    let app = App::start().await;
    let (ujin, _) = arrange(&app, EXAM).await;
    app.run("delete from payments where id = 3", &[]).await;
    app.run("delete from test_registrations where id = 3", &[]).await;
    let today = chrono::Utc::now().date_naive();
    let answer = app
        .get(format!("/api/operator/figures/?from={today}&to={today}"))
        .by(&ujin)
        .await;
    let answer = answer.json();
    assert_eq!(
        [
            &answer["registered"],
            &answer["cancelled"],
            &answer["money_in"],
            &answer["money_out"]
        ],
        [&json!(4), &json!(2), &json!("180000.00"), &json!("90000.00")]
    );
}

#[tokio::test]
async fn a_period_is_checked() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let mut table = String::new();
    for query in [
        "",
        "from=2026-01-01",
        "from=2026-01-01&to=2026-02-30",
        "from=2026-01-02&to=2026-01-01",
        "from=2024-01-01&to=2025-01-01",
        "from=2026-01-01&to=2026-01-01&kind=workshop",
        "from=2026-01-01&to=2026-01-01&item=1",
        "from=2026-01-01&to=2026-01-01&kind=test&item=one",
        "from=2024-01-01&to=2024-12-31",
        "from=0001-01-01&to=0001-01-01",
        "from=9999-12-31&to=9999-12-31&kind=test&item=1",
    ] {
        let answer = app
            .get(format!("/api/operator/figures/?{query}"))
            .by(&ujin)
            .in_english()
            .await;
        table += &format!("{query}: {}\n", answer.brief());
    }
    insta::assert_snapshot!(table, @r#"
    : 400 invalid | from: This field is required.; to: This field is required.
    from=2026-01-01: 400 invalid | to: This field is required.
    from=2026-01-01&to=2026-02-30: 400 invalid | to: Date has wrong format. Use YYYY-MM-DD.
    from=2026-01-02&to=2026-01-01: 400 invalid | to: It may not be before `from`.
    from=2024-01-01&to=2025-01-01: 400 invalid | to: Ensure that the period has no more than 366 days.
    from=2026-01-01&to=2026-01-01&kind=workshop: 400 invalid | kind: This is not a valid choice.
    from=2026-01-01&to=2026-01-01&item=1: 400 invalid | kind: This field is required.
    from=2026-01-01&to=2026-01-01&kind=test&item=one: 400 invalid | item: A valid integer is required.
    from=2024-01-01&to=2024-12-31: 200
    from=0001-01-01&to=0001-01-01: 200
    from=9999-12-31&to=9999-12-31&kind=test&item=1: 200
    "#);
}
