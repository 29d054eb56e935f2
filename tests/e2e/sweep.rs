//! `POST /internal/sweep/`, and the clock of the host.

use std::time::Duration;

use futures::future::join_all;
use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, assert_answer};

use crate::{
    storm::assert_audit,
    support::{approve, let_expire, ordered, preorder, shop, shop_with},
};

const SECRET: &str = "0123456789abcdef";

fn sweep(app: &App) -> sugang_tests::Call<'_> {
    app.post("/internal/sweep/")
        .header("authorization", format!("Bearer {SECRET}"))
}

#[rstest]
#[tokio::test]
async fn ends_what_has_expired(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop_with(&[("sweep_secret", SECRET)]).await;
    let (minsu, jiyoung, hana) = (
        app.user("minsu").await,
        app.user("jiyoung").await,
        app.user("hana").await,
    );
    let id = app.add(kind, Item::default()).await;
    let held = ordered(&preorder(&app, kind, id, &minsu).await);
    let awaiting = ordered(&preorder(&app, kind, id, &jiyoung).await);
    approve(&app, awaiting, &jiyoung).await;
    let fresh = ordered(&preorder(&app, kind, id, &hana).await);
    for order in [held, awaiting] {
        let_expire(&app, order).await;
    }
    assert_answer!(sweep(&app).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "again_in_seconds": 60,
        "closed": 0,
        "delivered": 0,
        "events": 0,
        "expired_deposits": 1,
        "expired_holds": 1,
        "looked_up": 0,
        "reconciled": 0,
        "refunds": 0,
        "refunds_waiting": 0
      }
    }
    "#);
    assert_answer!(sweep(&app).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "again_in_seconds": 60,
        "closed": 0,
        "delivered": 0,
        "events": 0,
        "expired_deposits": 0,
        "expired_holds": 0,
        "looked_up": 0,
        "reconciled": 0,
        "refunds": 0,
        "refunds_waiting": 0
      }
    }
    "#);
    let statuses = app.rows("select id, status from sugang.orders order by id").await;
    assert_eq!(statuses[0]["status"], "expired");
    assert_eq!(statuses[1]["status"], "expired");
    assert_eq!(
        (&statuses[2]["id"], &statuses[2]["status"]),
        (&fresh.into(), &"held".into())
    );
    assert_audit(&app).await;
}

/// A bounded piece of work each, and nothing twice.
#[rstest]
#[tokio::test]
async fn several_at_once_share_the_work(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop_with(&[("sweep_secret", SECRET)]).await;
    let ids = [
        app.add(kind, Item::default()).await,
        app.add(kind, Item::default()).await,
    ];
    for n in 0..40 {
        let user = app.user(&format!("user{n}")).await;
        for id in ids {
            let order = ordered(&preorder(&app, kind, id, &user).await);
            let_expire(&app, order).await;
        }
    }
    let answers = join_all((0..4).map(|_| sweep(&app).into_future())).await;
    let ended = answers
        .iter()
        .map(|answer| answer.json()["expired_holds"].as_i64().expect("a number"));
    assert_eq!(ended.sum::<i64>(), 80);
    assert_audit(&app).await;
}

#[tokio::test]
async fn only_with_the_secret() {
    let app = shop().await;
    assert_eq!(sweep(&app).await.code(), "not_found");
    let app = shop_with(&[("sweep_secret", SECRET)]).await;
    let minsu = app.user("minsu").await;
    for wrong in ["", "Bearer ", "Bearer 0123456789abcdee", "0123456789abcdef"] {
        let answer = app.post("/internal/sweep/").header("authorization", wrong).await;
        assert_eq!(answer.code(), "token_not_valid", "{wrong}");
    }
    assert_eq!(app.post("/internal/sweep/").by(&minsu).await.code(), "token_not_valid");
    let why = app.refuses("sweep_secret", "short").await;
    assert!(
        why.contains("sweep_secret must be empty, or have at least 16 bytes"),
        "{why}"
    );
    let why = app.refuses("manual_account", "").await;
    assert!(why.contains("manual_account must be set"), "{why}");
    let why = app.refuses("payment_gateways", "card=piggybank").await;
    assert!(why.contains("payment_gateways must name gateways: manual"), "{why}");
}

/// The host and the component share a secret that the host makes.
#[tokio::test]
async fn the_host_sweeps_by_itself() {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let order = ordered(&preorder(&app, EXAM, id, &minsu).await);
    let_expire(&app, order).await;
    let _second = app.sweeping_host(Duration::from_millis(200)).await;
    for _ in 0..100 {
        let status: String = app.one("select status from sugang.orders", &[]).await;
        if status == "expired" {
            return assert_audit(&app).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the host does not sweep");
}
