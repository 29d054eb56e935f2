//! What other servers are told of changes: each one once, in its order, whichever program makes it and whatever fails on the way.

mod races;

use std::{
    collections::BTreeSet,
    future::IntoFuture,
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::{Value, json};
use sugang_sdk::types::Event;
use sugang_tests::{App, Builder, COURSE, EXAM, Item, Kind, Receiver, Reply, User, assert_answer};

use crate::{
    storm::assert_audit,
    support::{approve, cancel, let_expire, ordered, preorder, refund, register},
};

const SWEEP_SECRET: &str = "0123456789abcdef";
const HOOKS: &str = "/api/operator/webhooks/";

fn with(receiver: &Receiver) -> Builder {
    App::with("webhook_hosts", receiver.url())
        .with("webhook_http", "on")
        .with("webhook_timeout_ms", 3000)
        .with("sweep_secret", SWEEP_SECRET)
        .with("payment_gateways", "card=manual,bank_transfer=manual")
        .with("manual_account", "국민은행 123456-01-123456")
}

struct Arranged {
    app: App,
    /// What the OpenAPI document says of webhooks.
    documented: Value,
    receiver: Receiver,
    superuser: User,
}

async fn start() -> Arranged {
    start_with(|app| app).await
}

async fn start_with(more: impl Fn(Builder) -> Builder) -> Arranged {
    let receiver = Receiver::start().await.expect("there is a free port");
    let app = more(with(&receiver)).start().await;
    let superuser = app.user("root").await;
    app.run("update users set is_superuser = true", &[]).await;
    Arranged {
        documented: app.get("/api/schema/").await.json()["webhooks"].clone(),
        app,
        receiver,
        superuser,
    }
}

/// A webhook, as its receiver knows it.
struct Hook {
    id: i64,
    secret: String,
}

impl Arranged {
    async fn hook(&self, path: &str, types: &[&str]) -> Hook {
        let body = json!({"url": format!("{}{path}", self.receiver.url()), "types": types});
        let created = self.app.post(HOOKS).by(&self.superuser).json(&body).await;
        assert_eq!(created.status, 201, "{created:?}");
        Hook {
            id: created.json()["id"].as_i64().unwrap(),
            secret: created.json()["secret"].as_str().unwrap().to_owned(),
        }
    }

    async fn sweep(&self) -> Value {
        let swept = self.app.post("/internal/sweep/").bearer(SWEEP_SECRET).await;
        assert_eq!(swept.status, 200, "{swept:?}");
        swept.json().clone()
    }

    /// Sweeps once the time has come for whatever failed.
    async fn sweep_later(&self) {
        let sql =
            "update sugang.deliveries set next_at = clock_timestamp(), lease_until = null where status = 'pending'";
        self.app.run(sql, &[]).await;
        self.sweep().await;
    }

    /// Takes what was received, each with its id, verified.
    fn events(&self, hook: &Hook) -> Vec<(String, Event)> {
        let got = self.receiver.take();
        let verified = got
            .iter()
            .map(|got| got.verify(&[&hook.secret]).expect("a valid signature"));
        verified.inspect(|(_, event)| self.assert_documented(event)).collect()
    }

    /// Expects that an event is as the OpenAPI document has it, member by member.
    fn assert_documented(&self, event: &Event) {
        let event = serde_json::to_value(event).unwrap();
        let delivery = &self.documented[event["type"].as_str().unwrap()]["post"];
        let schema = &delivery["requestBody"]["content"]["application/json"]["schema"];
        for (value, schema) in [(&event, schema), (&event["data"], &schema["properties"]["data"])] {
            let names: BTreeSet<_> = value.as_object().unwrap().keys().collect();
            let required: BTreeSet<String> = serde_json::from_value(schema["required"].clone()).unwrap_or_default();
            assert_eq!(names, required.iter().collect(), "{event}");
        }
        let statuses = schema.pointer("/properties/data/properties/status/enum");
        let statuses = statuses.and_then(Value::as_array).unwrap();
        assert!(statuses.contains(&event["data"]["status"]), "{event}");
    }

    /// The types of what was received, in its order.
    fn types(&self, hook: &Hook) -> Vec<String> {
        let events = self.events(hook).into_iter();
        events.map(|(_, event)| event.event_type.to_string()).collect()
    }

    async fn status(&self, hook: &Hook) -> Value {
        let path = format!("{HOOKS}{}/", hook.id);
        self.app.get(path).by(&self.superuser).await.json()["status"].clone()
    }
}

fn sorted(mut types: Vec<String>) -> Vec<String> {
    types.sort();
    types
}

#[rstest]
#[tokio::test]
async fn each_change_is_told_once(#[values(EXAM, COURSE)] kind: Kind) {
    let all = start().await;
    let app = &all.app;
    let hook = all.hook("/", &[]).await;
    let minsu = app.user("minsu").await;
    let id = app
        .add(
            kind,
            Item {
                capacity: Some(1),
                ..Item::default()
            },
        )
        .await;
    let payment = register(app, kind, id, &minsu).await.json()["payment_id"]
        .as_i64()
        .unwrap();
    assert_eq!(cancel(app, payment, &minsu).await.status, 200);
    let order = ordered(&preorder(app, kind, id, &minsu).await);
    approve(app, order, &minsu).await;
    let confirmation = json!({"amount": "45000.00", "reference": "1", "reason": "입금"});
    let confirm = format!("/api/operator/orders/{order}/confirm/");
    assert_eq!(
        app.post(confirm).by(&all.superuser).json(&confirmation).await.status,
        200
    );
    assert_eq!(app.post(kind.complete(id)).by(&minsu).await.status, 200);
    let payment = payment + 1;
    let part = json!({"amount": "5000.00", "reason": "할인"});
    assert_eq!(refund(app, payment, &all.superuser, &part).await.status, 200);

    // On a busy machine, one sweep does not get that far.
    let mut delivered = 0;
    while all
        .app
        .one::<i64>(
            "select count(*) from sugang.deliveries where status <> 'delivered'",
            &[],
        )
        .await
        > 0
    {
        delivered += all.sweep().await["delivered"].as_u64().expect("a count");
    }
    let events = all.events(&hook);
    assert_eq!(delivered, events.len() as u64);
    let types: Vec<_> = events.iter().map(|(_, event)| event.event_type.to_string()).collect();
    let mut expected = vec![
        "item.opened",
        "registration.created",
        "payment.paid",
        "item.sold_out",
        "registration.cancelled",
        "payment.cancelled",
        "refund.done",
        "item.seat_available",
        "order.held",
        "item.sold_out",
        "order.awaiting_deposit",
        "registration.created",
        "payment.paid",
        "order.paid",
        "registration.completed",
        "refund.requested",
    ];
    expected.sort_unstable();
    assert_eq!(sorted(types), expected);
    let (_, paid) = events
        .iter()
        .find(|(_, event)| event.event_type.to_string() == "order.paid")
        .unwrap();
    assert_eq!(
        serde_json::to_value(&paid.data).unwrap(),
        json!({"order_id": order, "user_id": minsu.id, "item_type": kind.payment_type, "item_id": id, "status": "paid"})
    );
    all.sweep().await;
    assert_eq!(all.types(&hook), [""; 0]);
    assert_audit(app).await;
}

/// The old service, and an operator with psql.
#[rstest]
#[tokio::test]
async fn what_other_programs_write_is_told(#[values(EXAM, COURSE)] kind: Kind) {
    let all = start().await;
    let hook = all.hook("/", &[]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(kind, Item::default()).await;
    all.app.register(kind, &minsu, id, kind.active).await;
    // Which frees the seat.
    all.app.run("delete from payments", &[]).await;
    all.sweep().await;
    let types = sorted(all.types(&hook));
    assert_eq!(
        types,
        [
            "item.opened",
            "payment.deleted",
            "payment.paid",
            "registration.cancelled",
            "registration.created"
        ]
    );
    // What is rolled back was never there.
    let delete = format!("begin; delete from {}; rollback", kind.registrations);
    all.app.database().batch_execute(&delete).await.unwrap();
    all.sweep().await;
    assert_eq!(all.types(&hook), [""; 0]);
    assert_audit(&all.app).await;
}

#[tokio::test]
async fn without_a_webhook_nothing_is_written() {
    let all = start().await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    // One that wants something else.
    let hook = all.hook("/", &["order.paid"]).await;
    let jiyoung = all.app.user("jiyoung").await;
    register(&all.app, EXAM, id, &jiyoung).await;
    all.sweep().await;
    assert_eq!(all.types(&hook), [""; 0]);
    assert_eq!(all.app.one::<i64>("select count(*) from sugang.outbox", &[]).await, 0);
    assert_audit(&all.app).await;
}

#[tokio::test]
async fn items_are_told_when_their_period_begins() {
    let all = start().await;
    let hook = all.hook("/", &["item.opened"]).await;
    let id = all.app.add(EXAM, Item::default()).await;
    all.app
        .run("update tests set start_at = clock_timestamp() + interval '300 ms'", &[])
        .await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    join_all((0..3).map(|_| all.sweep())).await;
    all.sweep().await;
    let opened = all.events(&hook);
    assert_eq!(
        opened.len(),
        2,
        "once when it was created, and once by the clock: {opened:?}"
    );
    assert!(opened.iter().all(|(_, event)| event.data.item_id == Some(id)));
}

#[rstest]
#[tokio::test]
async fn a_failed_try_comes_again_and_what_is_behind_it_waits(
    #[values(Reply::Status(500), Reply::Status(302), Reply::Close)] failure: Reply,
) {
    let all = start().await;
    let hook = all.hook("/", &["registration.created", "registration.completed"]).await;
    let (minsu, jiyoung) = (all.app.user("minsu").await, all.app.user("jiyoung").await);
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    all.app.post(EXAM.complete(id)).by(&minsu).await;
    all.receiver.reply("/", failure);
    all.sweep().await;
    let first = all.events(&hook);
    assert_eq!(first.len(), 1, "the completion waits: {first:?}");
    all.receiver.reply("/", Reply::Status(204));
    register(&all.app, EXAM, id, &jiyoung).await;
    all.sweep().await;
    let others = all.events(&hook);
    assert_eq!(others.len(), 1, "only what is about another registration: {others:?}");
    assert_ne!(others[0].0, first[0].0);
    all.sweep_later().await;
    let later = all.events(&hook);
    let types: Vec<_> = later.iter().map(|(_, event)| event.event_type.to_string()).collect();
    assert_eq!(types, ["registration.created", "registration.completed"]);
    assert_eq!(later[0], first[0], "the same id and the same body");
}

/// What it asks for, and after how many seconds the next try comes. The plan has 5, or up to a fifth more.
#[rstest]
#[case::seconds(503, "3600", 3_600)]
#[case::more_than_a_day(429, "99999999999999999999", 86_400)]
#[case::a_date(429, "Fri, 31 Dec 2100 23:59:59 GMT", 86_400)]
#[case::sooner_than_planned(503, "0", 5)]
#[case::a_date_that_has_passed(503, "Sun, 06 Nov 1994 08:49:37 GMT", 5)]
#[case::no_time(429, "soon", 5)]
#[case::another_status(500, "3600", 5)]
#[tokio::test]
async fn a_receiver_with_too_much_to_do_says_when_to_come_again(
    #[case] status: u16,
    #[case] retry_after: &'static str,
    #[case] expected: u32,
) {
    let all = start().await;
    let hook = all.hook("/", &["registration.created"]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    all.receiver.reply("/", Reply::Busy(status, retry_after));
    all.sweep().await;
    assert_eq!(all.events(&hook).len(), 1);
    let pause = "select extract(epoch from next_at - last_at)::float8 from sugang.deliveries where status = 'pending'";
    let pause: f64 = all.app.one(pause, &[]).await;
    let expected = f64::from(expected);
    assert!((expected..expected + 3.0).contains(&pause), "{pause}");
    all.receiver.reply("/", Reply::Status(204));
    all.sweep_later().await;
    assert_eq!(all.types(&hook), ["registration.created"]);
}

/// Only the status of an answer counts.
#[tokio::test]
async fn the_body_of_an_answer_is_not_read() {
    let all = start().await;
    let hook = all.hook("/", &["registration.created"]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    all.receiver.reply("/", Reply::Long);
    all.sweep().await;
    assert_eq!(all.events(&hook).len(), 1);
    let deliveries = all.app.rows("select status, tries from sugang.deliveries").await;
    assert_eq!(deliveries, json!([{"status": "delivered", "tries": 1}]));
}

#[tokio::test]
async fn a_delivery_fails_after_ten_tries_and_can_be_sent_again() {
    let all = start().await;
    let hook = all.hook("/", &["payment.paid"]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    all.receiver.reply("/", Reply::Status(500));
    for tries in 1..=10 {
        all.sweep_later().await;
        assert_eq!(all.types(&hook).len(), 1, "try {tries}");
    }
    all.sweep_later().await;
    assert_eq!(all.types(&hook), [""; 0]);
    let path = format!("{HOOKS}{}/deliveries/?status=failed", hook.id);
    let listed = all.app.get(path).by(&all.superuser).await;
    let delivery = &listed.json()["results"][0];
    assert_eq!(
        (&delivery["tries"], &delivery["last_status"], &delivery["status"]),
        (&json!(10), &json!(500), &json!("failed"))
    );
    all.receiver.reply("/", Reply::Status(200));
    let again = format!("{HOOKS}{}/redeliver/", hook.id);
    for (body, expected) in [
        (json!({"since": "2100-01-01T00:00:00Z"}), 0),
        (json!({"since": "2000-01-01T00:00:00Z"}), 1),
        (json!({"since": "2000-01-01T00:00:00Z"}), 0),
        (json!({"delivery": delivery["id"]}), 1),
    ] {
        let answer = all.app.post(&again).by(&all.superuser).json(&body).await;
        assert_eq!(answer.json()["deliveries"], expected, "{body}: {answer:?}");
        all.sweep().await;
        assert_eq!(all.types(&hook).len(), expected);
    }
    let unknown = all
        .app
        .post(&again)
        .by(&all.superuser)
        .json(&json!({"delivery": 999}))
        .await;
    assert_eq!(unknown.code(), "not_found");
}

#[tokio::test]
async fn a_receiver_that_is_gone_ends_its_webhook() {
    let all = start().await;
    let hook = all.hook("/", &["payment.paid"]).await;
    let minsu = all.app.user("minsu").await;
    let ids = [
        all.app.add(EXAM, Item::default()).await,
        all.app.add(EXAM, Item::default()).await,
    ];
    register(&all.app, EXAM, ids[0], &minsu).await;
    all.receiver.reply("/", Reply::Status(410));
    all.sweep().await;
    assert_eq!(all.status(&hook).await, "ended");
    register(&all.app, EXAM, ids[1], &minsu).await;
    all.receiver.take();
    all.sweep_later().await;
    assert_eq!(all.types(&hook), [""; 0]);
}

#[tokio::test]
async fn days_of_failures_pause_a_webhook_and_what_was_missed_comes_later() {
    let all = start().await;
    let hook = all.hook("/", &["payment.paid"]).await;
    let (minsu, jiyoung) = (all.app.user("minsu").await, all.app.user("jiyoung").await);
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    all.receiver.reply("/", Reply::Status(503));
    all.sweep().await;
    all.app
        .run(
            "update sugang.webhooks set failing_since = failing_since - interval '5 days'",
            &[],
        )
        .await;
    all.sweep_later().await;
    assert_eq!(all.status(&hook).await, "paused");
    register(&all.app, EXAM, id, &jiyoung).await;
    all.receiver.reply("/", Reply::Status(204));
    all.receiver.take();
    all.sweep_later().await;
    assert_eq!(all.types(&hook), [""; 0]);
    let path = format!("{HOOKS}{}/", hook.id);
    let resumed = all
        .app
        .call("PATCH", path)
        .by(&all.superuser)
        .json(&json!({"paused": false}))
        .await;
    assert_eq!(
        (&resumed.json()["status"], &resumed.json()["failing_since"]),
        (&json!("active"), &Value::Null)
    );
    all.sweep_later().await;
    assert_eq!(all.types(&hook), ["payment.paid", "payment.paid"]);
}

/// A sweep that was killed has claimed, and maybe sent.
#[tokio::test]
async fn another_sweep_takes_over_after_the_lease() {
    let all = start().await;
    let hook = all.hook("/", &["payment.paid"]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    let claim = "select body from sugang.claim_deliveries('claim_deliveries', 4, 60000, 30, true)";
    let claimed: String = all.app.one(claim, &[]).await;
    assert!(claimed.contains("payment.paid"), "{claimed}");
    all.sweep().await;
    assert_eq!(all.types(&hook), [""; 0]);
    let passed = "update sugang.deliveries set next_at = next_at - interval '2 minutes',
                                               lease_until = lease_until - interval '2 minutes'";
    all.app.run(passed, &[]).await;
    all.sweep().await;
    assert_eq!(all.types(&hook), ["payment.paid"]);
    // The one before comes back, too late.
    let settle = "select outcome::text from sugang.settle_delivery('settle_delivery', 1, 1, null, 'no_answer')";
    all.app.one::<String>(settle, &[]).await;
    assert_eq!(
        all.app.one::<String>("select status from sugang.deliveries", &[]).await,
        "delivered"
    );
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_no_other() {
    let all = start_with(|app| app.with("webhook_timeout_ms", 8_000)).await;
    let _slow = all.hook("/slow", &[]).await;
    let fast = all.hook("/fast", &[]).await;
    all.receiver.reply("/slow", Reply::Hang);
    let users = join_all((0..10).map(|n| {
        let app = &all.app;
        async move { app.user(&format!("user{n}")).await }
    }))
    .await;
    let id = all.app.add(EXAM, Item::default()).await;
    for user in &users {
        register(&all.app, EXAM, id, user).await;
    }
    let began = Instant::now();
    let arrive = async {
        let mut got = Vec::new();
        while got.len() < 21 && began.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            got.extend(all.receiver.take().into_iter().filter(|got| got.path == "/fast"));
        }
        (began.elapsed(), got)
    };
    let (_, (took, got)) = join(all.sweep(), arrive).await;
    assert_eq!(got.len(), 21, "two for each registration, and the item that was opened");
    assert!(got.iter().all(|got| got.verify(&[&fast.secret]).is_ok()));
    assert!(
        took < Duration::from_millis(7500),
        "{took:?}, and one try hangs for 8 s"
    );
}

#[tokio::test]
async fn both_secrets_are_valid_while_one_replaces_the_other() {
    let all = start().await;
    let hook = all.hook("/", &["payment.paid"]).await;
    let rotate = format!("{HOOKS}{}/rotate/", hook.id);
    let rotated = all.app.post(rotate).by(&all.superuser).await;
    let new = rotated.json()["secret"].as_str().unwrap().to_owned();
    assert_ne!(new, hook.secret);
    let (minsu, jiyoung) = (all.app.user("minsu").await, all.app.user("jiyoung").await);
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    all.sweep().await;
    let got = all.receiver.take();
    for secret in [&hook.secret, &new] {
        assert!(got[0].verify(&[secret]).is_ok());
    }
    assert!(got[0].verify(&["whsec_b3RoZXI="]).is_err());
    all.app
        .run("update sugang.webhooks set old_secret_until = clock_timestamp()", &[])
        .await;
    register(&all.app, EXAM, id, &jiyoung).await;
    all.sweep().await;
    let got = all.receiver.take();
    assert!(got[0].verify(&[&new]).is_ok() && got[0].verify(&[&hook.secret]).is_err());
}

#[tokio::test]
async fn a_ping_tells_what_comes_of_it() {
    let all = start().await;
    let hook = all.hook("/", &["payment.paid"]).await;
    let ping = || all.app.post(format!("{HOOKS}{}/ping/", hook.id)).by(&all.superuser);
    assert_answer!(ping().await, @r#"
    {
      "status": "200 OK",
      "body": {
        "delivered": true,
        "error": null,
        "status": 204
      }
    }
    "#);
    let (_, event) = &all.events(&hook)[0];
    assert_eq!(
        (event.event_type.to_string().as_str(), event.data.webhook_id),
        ("ping", Some(hook.id.into()))
    );
    all.receiver.reply("/", Reply::Status(500));
    assert_eq!(
        ping().await.json(),
        &json!({"delivered": false, "status": 500, "error": null})
    );
    all.receiver.reply("/", Reply::Hang);
    assert_eq!(
        ping().await.json(),
        &json!({"delivered": false, "status": null, "error": "no_answer"})
    );
    all.receiver.take();
    all.sweep_later().await;
    assert_eq!(all.types(&hook), [""; 0], "a ping is sent once");
}

/// Neither what the configuration does not name, nor what is not public, unless it is named.
#[tokio::test]
async fn private_addresses_are_refused_unless_they_are_named() {
    let receiver = Receiver::start().await.expect("there is a free port");
    let app = with(&receiver).with("webhook_hosts", "http://*:*").start().await;
    let superuser = app.user("root").await;
    app.run("update users set is_superuser = true", &[]).await;
    for url in [receiver.url(), "https://169.254.169.254/", "http://[::1]:1/"] {
        let created = app.post(HOOKS).by(&superuser).json(&json!({ "url": url })).await;
        let ping = format!("{HOOKS}{}/ping/", created.json()["id"]);
        let pinged = app.post(ping).by(&superuser).await;
        assert_eq!(
            pinged.json(),
            &json!({"delivered": false, "status": null, "error": "not_allowed"}),
            "{url}"
        );
    }
    assert!(receiver.take().is_empty());
}

#[tokio::test]
async fn superusers_say_where_events_go_and_operators_look_on() {
    let all = start().await;
    let operator = all.app.user("ujin").await;
    all.app
        .run(
            "update users set is_staff = true, is_superuser = false where username = 'ujin'",
            &[],
        )
        .await;
    let url = "https://hooks.example.com/sugang";
    let create = |user: &User| {
        all.app
            .post(HOOKS)
            .by(user)
            .json(&json!({"url": url, "types": ["order.paid"]}))
    };
    assert_answer!(create(&operator).in_english().await, @r#"
    {
      "status": "403 Forbidden",
      "body": {
        "code": "not_superuser",
        "detail": "Only a superuser changes webhooks.",
        "request_id": "[request id]"
      }
    }
    "#);
    let wrong = all
        .app
        .post(HOOKS)
        .by(&all.superuser)
        .json(&json!({"url": "ftp://a", "types": ["all"]}));
    assert_answer!(wrong.in_english().await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "request_id": "[request id]",
        "types": [
          "This is not a valid choice."
        ],
        "url": [
          "Enter a valid URL that begins with https://."
        ]
      }
    }
    "#);
    let key = "webhook-1";
    let first = create(&all.superuser).header("idempotency-key", key).await;
    let again = create(&all.superuser).header("idempotency-key", key).await;
    assert_eq!(first.json(), again.json());
    let id = first.json()["id"].as_i64().unwrap();
    let one = format!("{HOOKS}{id}/");
    assert_answer!(all.app.get(HOOKS).by(&operator).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 1,
        "next": null,
        "previous": null,
        "results": [
          {
            "created_at": "[now]",
            "created_by": 1,
            "failing_since": null,
            "id": 1,
            "old_secret_until": null,
            "paused_by": null,
            "pending": 0,
            "status": "active",
            "types": [
              "order.paid"
            ],
            "url": "https://hooks.example.com/sugang"
          }
        ]
      }
    }
    "#);
    for (method, path) in [
        ("PATCH", one.clone()),
        ("DELETE", one.clone()),
        ("POST", format!("{one}rotate/")),
    ] {
        assert_eq!(
            all.app.call(method, path).by(&operator).await.code(),
            "not_superuser",
            "{method}"
        );
    }
    let edit = json!({"paused": true, "types": []});
    assert_answer!(all.app.call("PATCH", &one).by(&all.superuser).json(&edit).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "created_at": "[now]",
        "created_by": 1,
        "failing_since": null,
        "id": 1,
        "old_secret_until": null,
        "paused_by": "operator",
        "pending": 0,
        "status": "paused",
        "types": [],
        "url": "https://hooks.example.com/sugang"
      }
    }
    "#);
    for n in 2..=16 {
        assert_eq!(create(&all.superuser).await.status, 201, "{n}");
    }
    assert_answer!(create(&all.superuser).in_english().await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "too_many_webhooks",
        "detail": "There may be 16 webhooks at most.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(all.app.call("DELETE", &one).by(&all.superuser).await.status, 204);
    assert_eq!(all.app.get(&one).by(&operator).await.code(), "not_found");
    let log = "select string_agg(action, ' ' order by id) from sugang.change_log
               where subject = 'webhook' and subject_id = $1 and actor_id = $2";
    assert_eq!(
        all.app.one::<String>(log, &[&id, &all.superuser.id]).await,
        "created edited deleted"
    );
}

/// What is old goes, and with it what became of it.
#[tokio::test]
async fn events_are_kept_for_days() {
    let all = start().await;
    let _hook = all.hook("/", &["payment.paid"]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    all.sweep().await;
    all.app
        .run("update sugang.outbox set at = at - interval '29 days'", &[])
        .await;
    all.sweep().await;
    assert_eq!(
        all.app.one::<i64>("select count(*) from sugang.deliveries", &[]).await,
        1
    );
    all.app
        .run("update sugang.outbox set at = at - interval '2 days'", &[])
        .await;
    all.sweep().await;
    let rows = "select (select count(*) from sugang.deliveries) + (select count(*) from sugang.outbox)";
    assert_eq!(all.app.one::<i64>(rows, &[]).await, 0);
    assert_audit(&all.app).await;
}

/// An order that expires is told as well: the sweep ends it.
#[tokio::test]
async fn what_the_sweep_does_is_told() {
    let all = start().await;
    let hook = all.hook("/", &["order.expired"]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(COURSE, Item::default()).await;
    let order = ordered(&preorder(&all.app, COURSE, id, &minsu).await);
    let_expire(&all.app, order).await;
    join_all((0..2).map(|_| all.app.post("/internal/sweep/").bearer(SWEEP_SECRET).into_future())).await;
    all.sweep().await;
    assert_eq!(all.types(&hook), ["order.expired"]);
}
