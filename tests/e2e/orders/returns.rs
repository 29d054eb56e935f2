//! `GET /orders/return/{state}/`: a browser comes back from a payment window, without a token.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{Answer, App, COURSE, Call, EXAM, Item, Kind, Plan, TossServer, User, assert_answer};

use crate::{
    support::payment,
    toss::{assert_books, authenticate, get, with},
};

const APP: &str = "https://app.example/pay";

async fn start() -> (TossServer, App) {
    let toss = TossServer::start().await.expect("there is a free port");
    let app = with(&toss).with("app_return_urls", APP).start().await;
    (toss, app)
}

fn preorder<'a>(app: &'a App, kind: Kind, item: i64, user: &User, return_url: &str) -> Call<'a> {
    let mut body = payment("45000.00", "card");
    body["return_url"] = return_url.into();
    app.post(kind.preorder(item)).by(user).json(&body)
}

/// Holds a seat with a browser that is to come back. Returns the order.
async fn hold(app: &App, kind: Kind, user: &User) -> Value {
    let item = app.add(kind, Item::default()).await;
    let order = preorder(app, kind, item, user, "https://app.example/pay/done?tab=1").await;
    assert_eq!(order.status, 201, "{order:?}");
    order.json().clone()
}

/// The path to which the window of an order sends the browser back.
fn path(order: &Value) -> &str {
    let url = order["return_url"].as_str().expect("it was asked for");
    &url[url.find("/orders/return/").expect("it is ours")..]
}

/// The query that Toss appends.
fn agreed(toss: &TossServer, order: &Value) -> String {
    let key = authenticate(toss, order);
    let reference = order["reference"].as_str().unwrap();
    format!("?paymentType=NORMAL&paymentKey={key}&orderId={reference}&amount=45000")
}

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.header("location")
}

#[rstest]
#[tokio::test]
async fn what_the_user_has_agreed_to_is_approved_once(#[values(EXAM, COURSE)] kind: Kind) {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let order = hold(&app, kind, &minsu).await;
    assert!(order["return_url"].as_str().unwrap().starts_with(&*app.base));
    let back = format!("{}{}", path(&order), agreed(&toss, &order));
    for _ in 0..3 {
        let answer = app.get(&back).await;
        assert_eq!(
            location(&answer),
            "https://app.example/pay/done?tab=1&order=1&status=paid"
        );
        assert_eq!(
            (answer.header("referrer-policy"), answer.header("cache-control")),
            ("no-referrer", "no-store")
        );
    }
    assert_eq!(toss.calls(), ["POST /v1/payments/confirm"]);
    assert_eq!(get(&app, 1, &minsu).await["status"], "paid");
    assert_books(&app, &toss, 45_000).await;
}

#[tokio::test]
async fn a_user_who_has_not_agreed_pays_nothing() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let order = hold(&app, EXAM, &minsu).await;
    let reference = order["reference"].as_str().unwrap();
    let back = format!(
        "{}?code=PAY_PROCESS_CANCELED&message=x&orderId={reference}",
        path(&order)
    );
    assert_eq!(
        location(&app.get(&back).await),
        "https://app.example/pay/done?tab=1&order=1&status=held"
    );
    assert!(toss.calls().is_empty());
    assert_books(&app, &toss, 0).await;
}

#[tokio::test]
async fn what_is_only_looked_at_approves_nothing() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let order = hold(&app, EXAM, &minsu).await;
    let back = format!("{}{}", path(&order), agreed(&toss, &order));
    let head = app.call("HEAD", &back).await;
    assert_eq!(
        location(&head),
        "https://app.example/pay/done?tab=1&order=1&status=held"
    );
    let ahead = app.get(&back).header("sec-purpose", "prefetch;prerender").await;
    assert_answer!(ahead, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "prefetch_refused",
        "detail": "미리 불러올 수 없습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert!(toss.calls().is_empty());
    assert!(location(&app.get(&back).await).ends_with("&status=paid"));
    assert_books(&app, &toss, 45_000).await;
}

#[tokio::test]
async fn a_changed_address_is_refused() {
    let (toss, app) = start().await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    let order = hold(&app, EXAM, &minsu).await;
    let other = hold(&app, EXAM, &sora).await;
    let (query, others) = (agreed(&toss, &order), agreed(&toss, &other));
    assert_answer!(app.get(format!("/orders/return/x/{query}")).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid_return",
        "detail": "유효하지 않은 주소입니다. 앱에서 주문 상태를 확인해주세요.",
        "request_id": "[request id]"
      }
    }
    "#);
    let state = path(&order).trim_end_matches('/');
    let changed = [
        format!("{}x/{query}", state),
        format!("{}/{query}", &state[..state.len() - 1]),
        // The attempt of another order.
        format!("{state}/{others}"),
        format!("{state}/{query}%00"),
        format!("{state}/?paymentKey=%00"),
    ];
    for address in changed {
        let answer = app.get(&address).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, "invalid_return"),
            "{address}"
        );
    }
    let other_amount = query.replace("amount=45000", "amount=100");
    assert_eq!(
        location(&app.get(format!("{state}/{other_amount}")).await),
        "https://app.example/pay/done?tab=1&order=1&status=held&code=amount_mismatch"
    );
    assert!(toss.calls().is_empty());
    assert_books(&app, &toss, 0).await;
}

#[tokio::test]
async fn a_refusal_leads_back_to_the_app() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let order = hold(&app, EXAM, &minsu).await;
    toss.refuse(403, "REJECT_CARD_COMPANY");
    let back = format!("{}{}", path(&order), agreed(&toss, &order));
    assert_eq!(
        location(&app.get(&back).await),
        "https://app.example/pay/done?tab=1&order=1&status=held&code=payment_declined"
    );
    // The address of the attempt that was declined pays for no other.
    assert_eq!(
        location(&app.get(&back).await),
        "https://app.example/pay/done?tab=1&order=1&status=held"
    );
    assert_eq!(toss.calls().len(), 1);
    assert_books(&app, &toss, 0).await;
}

#[tokio::test]
async fn the_key_of_another_payment_leads_back_to_the_app() {
    let (toss, app) = start().await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    let order = hold(&app, EXAM, &minsu).await;
    let other = hold(&app, EXAM, &sora).await;
    let others = agreed(&toss, &other);
    assert!(location(&app.get(format!("{}{others}", path(&other))).await).ends_with("&status=paid"));
    let [own, paid] = [&order, &other].map(|order| order["reference"].as_str().unwrap());
    let stolen = others.replace(paid, own);
    assert_eq!(
        location(&app.get(format!("{}{stolen}", path(&order))).await),
        "https://app.example/pay/done?tab=1&order=1&status=held&code=payment_key_used"
    );
    assert!(location(&app.get(format!("{}{}", path(&order), agreed(&toss, &order))).await).ends_with("&status=paid"));
    assert_books(&app, &toss, 90_000).await;
}

/// No browser is left with an answer for programs.
#[tokio::test]
async fn a_gateway_that_is_not_reached_leads_back_to_the_app() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let order = hold(&app, EXAM, &minsu).await;
    let back = format!("{}{}", path(&order), agreed(&toss, &order));
    drop(toss);
    for _ in 0..2 {
        assert_eq!(
            location(&app.get(&back).await),
            "https://app.example/pay/done?tab=1&order=1&status=held&code=unavailable"
        );
    }
}

#[tokio::test]
async fn what_is_not_known_yet_is_said_so() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let order = hold(&app, EXAM, &minsu).await;
    toss.plan_confirmation(Plan::LoseAnswer);
    toss.plan_look_up(Plan::FailBefore);
    let back = format!("{}{}", path(&order), agreed(&toss, &order));
    assert!(location(&app.get(&back).await).ends_with("&status=approving"));
}

#[tokio::test]
async fn only_configured_addresses_are_returned_to() {
    let (_toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    assert_answer!(preorder(&app, EXAM, item, &minsu, "https://app.example/payment").await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "request_id": "[request id]",
        "return_url": [
          "돌아갈 수 있는 주소가 아닙니다."
        ]
      }
    }
    "#);
    for url in [
        "",
        "https://app.example/pay/../x",
        "https://evil.example/pay",
        "//app.example/pay",
        "javascript:alert(1)",
    ] {
        let answer = preorder(&app, EXAM, item, &minsu, url).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid"), "{url}");
    }
    let without = app
        .post(EXAM.preorder(item))
        .by(&minsu)
        .json(&payment("45000.00", "card"))
        .await;
    assert_eq!(without.json().get("return_url"), None);
    let again = preorder(&app, EXAM, item, &minsu, APP).await;
    assert_eq!(
        (again.status.as_u16(), again.json()["return_url"].is_string()),
        (200, true)
    );
    let replayed = json!(
        preorder(&app, EXAM, item, &minsu, APP)
            .header("idempotency-key", "a")
            .await
            .json()
    );
    let repeated = preorder(&app, EXAM, item, &minsu, APP)
        .header("idempotency-key", "a")
        .await;
    assert_eq!(
        (repeated.header("idempotency-replayed"), &repeated.json()["return_url"]),
        ("true", &replayed["return_url"])
    );
}
