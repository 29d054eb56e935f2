//! Clients that close their writing side after the request, or go away: each request is either not begun or answered.

use std::{future::IntoFuture, time::Duration};

use futures::future::join;
use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, User};
use tokio::time::sleep;

use crate::support::{Hold, paid, payment, register};

/// The bytes of a registration.
fn registration(kind: Kind, id: i64, user: &User, headers: &str) -> String {
    let body = payment("45000.00", "card").to_string();
    format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         {headers}Content-Length: {}\r\n\r\n{body}",
        kind.register(id),
        user.access,
        body.len()
    )
}

#[rstest]
#[tokio::test]
async fn a_client_that_has_finished_sending_reads_its_answer(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let mut client = app.connection().await;
    client.send(registration(kind, id, &minsu, "")).await;
    client.finish().await;
    let response = client.response().await.expect("a payment is answered");
    assert_eq!(response.status, 201, "{response:?}");
    assert_eq!(response.json()["message"], kind.says.registered[0]);
    assert!(client.rest().await.is_empty(), "and the connection ends");
}

#[tokio::test]
async fn all_pipelined_requests_are_answered() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let (exam, course) = (
        app.add(EXAM, Item::default()).await,
        app.add(COURSE, Item::default()).await,
    );
    let mut client = app.connection().await;
    let list = format!(
        "GET /me/payments/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        minsu.access
    );
    let requests = [
        registration(EXAM, exam, &minsu, "Connection: keep-alive\r\n"),
        registration(COURSE, course, &minsu, ""),
        list,
    ];
    client.send(requests.concat()).await;
    client.finish().await;
    for expected in [201, 201, 200] {
        let response = client.response().await.expect("every request is answered");
        assert_eq!(response.status, expected, "{response:?}");
        if expected == 200 {
            assert_eq!(response.json()["count"], 2);
        }
    }
    assert!(client.rest().await.is_empty());
}

/// The client has closed its writing side while the database is at work.
#[tokio::test]
async fn an_answer_that_takes_long_is_still_sent() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let hold = Hold::item(&app, id).await;
    let mut client = app.connection().await;
    client.send(registration(EXAM, id, &minsu, "")).await;
    client.finish().await;
    hold.is_waited_for().await;
    hold.release().await;
    assert_eq!(client.response().await.expect("an answer").status, 201);
}

#[tokio::test]
async fn half_a_request_is_not_begun() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let whole = registration(EXAM, id, &minsu, "");
    for length in [whole.len() - 1, whole.find("\r\n\r\n").unwrap() + 4, 20] {
        let mut client = app.connection().await;
        client.send(&whole[..length]).await;
        client.finish().await;
        let response = client.response().await.expect("it is told why");
        assert_eq!((response.status, response.code().as_str()), (400, "bad_request"));
    }
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, 0);
}

/// Waits in the queue of a host that serves one request at a time, and goes away or stays.
#[rstest]
#[tokio::test]
async fn a_request_whose_client_went_away_in_the_queue_is_not_begun(#[values(true, false)] goes: bool) {
    let app = App::limited(|limits| limits.requests = 1).await;
    let (minsu, jisu) = (app.user("minsu").await, app.user("jisu").await);
    let (held, wanted) = (
        app.add(EXAM, Item::default()).await,
        app.add(EXAM, Item::default()).await,
    );
    let hold = Hold::item(&app, held).await;
    let (registered, ()) = join(register(&app, EXAM, held, &minsu).into_future(), async {
        hold.is_waited_for().await;
        let mut client = app.connection().await;
        client.send(registration(EXAM, wanted, &jisu, "")).await;
        // It must have been read and be in the queue.
        sleep(Duration::from_millis(300)).await;
        if goes {
            client.reset();
            sleep(Duration::from_millis(300)).await;
            hold.release().await;
        } else {
            hold.release().await;
            assert_eq!(client.response().await.expect("an answer").status, 201);
        }
    })
    .await;
    assert_eq!(registered.status, 201);
    // The queue is in order, so whatever was begun is over once this is answered.
    assert_eq!(app.get("/tests/").by(&jisu).await.status, 200);
    let theirs: i64 = app
        .one("select count(*) from payments where user_id = $1", &[&jisu.id])
        .await;
    assert_eq!(theirs, i64::from(!goes));
}

#[tokio::test]
async fn a_request_whose_client_goes_away_is_finished_and_found_again() {
    let app = App::limited(|limits| limits.requests = 1).await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let hold = Hold::item(&app, id).await;
    let mut client = app.connection().await;
    client
        .send(registration(EXAM, id, &minsu, "Idempotency-Key: k-1\r\n"))
        .await;
    hold.is_waited_for().await;
    client.reset();
    sleep(Duration::from_millis(200)).await;
    hold.release().await;
    let again = app
        .post(EXAM.register(id))
        .by(&minsu)
        .header("idempotency-key", "k-1")
        .json(&payment("45000.00", "card"))
        .await;
    assert_eq!(again.header("idempotency-replayed"), "true", "{again:?}");
    let payments = app.rows("select id from payments").await;
    assert_eq!(payments, json!([{ "id": paid(&again) }]));
}
