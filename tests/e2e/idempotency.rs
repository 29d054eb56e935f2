//! `Idempotency-Key` on every change of money or seats: a repeated request takes effect once.

use futures::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, COURSE, EXAM, Item, Kind, Link, User, assert_answer};

use crate::support::{Hold, cancel, paid, payment, register, tally};

/// An operation that takes a key.
#[derive(Clone, Copy, Debug)]
enum Change {
    Register(Kind),
    Cancel(Kind),
}

use Change::{Cancel, Register};

/// A request that changes something, for one user.
struct Request {
    path: String,
    body: Value,
    other_body: Value,
    success: u16,
    /// Blocks the change until this statement's transaction ends.
    obstacle: String,
}

impl Change {
    async fn arrange(self, app: &App, user: &User) -> Request {
        let (Register(kind) | Cancel(kind)) = self;
        let id = app.add(kind, Item::default()).await;
        match self {
            Register(_) => Request {
                path: kind.register(id),
                body: payment("45000.00", "card"),
                other_body: payment("45000.00", "kakaopay"),
                success: 201,
                obstacle: format!("select from {} where id = {id} for update", kind.items),
            },
            Cancel(_) => {
                let payment = paid(&register(app, kind, id, user).await);
                Request {
                    path: format!("/payments/{payment}/cancel/"),
                    body: json!({"refund_reason": "하나"}),
                    other_body: json!({"refund_reason": "둘"}),
                    success: 200,
                    obstacle: format!("select from payments where id = {payment} for update"),
                }
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn the_first_response_is_replayed(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let request = change.arrange(&app, &minsu).await;
    let ask = |path: &str| {
        app.post(path)
            .by(&minsu)
            .header("idempotency-key", "a-key")
            .json(&request.body)
    };

    let first = ask(&request.path).await;
    assert_eq!(first.status, request.success);
    assert_eq!(first.header("idempotency-replayed"), "");
    let after = app.state().await;

    // All spellings of a path are the same request.
    for path in [
        request.path.clone(),
        format!("/api{}", request.path.trim_end_matches('/')),
    ] {
        let again = ask(&path).await;
        assert_eq!((again.status, again.json()), (first.status, first.json()));
        assert_eq!(again.header("idempotency-replayed"), "true");
    }
    assert_eq!(app.state().await, after);
}

#[rstest]
#[tokio::test]
async fn a_refusal_is_replayed_too(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);

    let refused = register(&app, kind, id, &minsu)
        .header("idempotency-key", "a-key")
        .await;
    assert_eq!(refused.code(), "already_registered");
    cancel(&app, payment, &minsu).await;

    let again = register(&app, kind, id, &minsu)
        .header("idempotency-key", "a-key")
        .await;
    assert_eq!((again.status, again.code()), (refused.status, refused.code()));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        register(&app, kind, id, &minsu)
            .header("idempotency-key", "another")
            .await
            .status,
        201
    );
}

#[rstest]
#[tokio::test]
async fn a_key_belongs_to_one_request(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let request = change.arrange(&app, &minsu).await;
    let other = change.arrange(&app, &minsu).await;
    let ask = |path: &str, body| app.post(path).by(&minsu).header("idempotency-key", "a-key").json(body);
    assert_eq!(ask(&request.path, &request.body).await.status, request.success);
    let after = app.state().await;

    assert_answer!(ask(&request.path, &request.other_body).await, @r#"
    {
      "status": "422 Unprocessable Entity",
      "body": {
        "code": "idempotency_key_reused",
        "error": "이미 다른 요청에 사용된 Idempotency-Key입니다",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(ask(&other.path, &other.body).in_english().await, @r#"
    {
      "status": "422 Unprocessable Entity",
      "body": {
        "code": "idempotency_key_reused",
        "error": "This Idempotency-Key was used with another request",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(app.state().await, after);
}

#[rstest]
#[tokio::test]
async fn a_key_belongs_to_one_user(#[values(Register(EXAM), Cancel(EXAM))] change: Change) {
    let app = App::start().await;
    for name in ["minsu", "jiyoung"] {
        let user = app.user(name).await;
        let request = change.arrange(&app, &user).await;
        let answer = app
            .post(&request.path)
            .by(&user)
            .header("idempotency-key", "a-key")
            .json(&request.body)
            .await;
        assert_eq!(answer.status, request.success);
        assert_eq!(answer.header("idempotency-replayed"), "");
    }
}

#[rstest]
#[tokio::test]
async fn a_key_has_1_to_255_printable_characters(#[values(Register(EXAM), Cancel(EXAM))] change: Change) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let request = change.arrange(&app, &minsu).await;
    let before = app.state().await;
    let ask = |key: &[u8]| {
        app.post(&request.path)
            .by(&minsu)
            .header("idempotency-key", key)
            .json(&request.body)
    };

    assert_answer!(ask(b"").await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "Idempotency-Key": [
          "1자에서 255자의 출력 가능한 ASCII 문자여야 합니다."
        ],
        "code": "invalid",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(ask(&[b'k'; 256]).in_english().await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "Idempotency-Key": [
          "It must be 1 to 255 printable ASCII characters."
        ],
        "code": "invalid",
        "request_id": "[request id]"
      }
    }
    "#);
    for key in [&b"tab\tin it"[..], "열쇠".as_bytes(), b"\xff"] {
        assert_eq!(ask(key).await.code(), "invalid", "{key:?}");
    }
    assert_eq!(app.state().await, before);

    let longest: Vec<u8> = (b'!'..=b'~').cycle().take(255).collect();
    assert_eq!(ask(&longest).await.status, request.success);
    assert_eq!(ask(&longest).await.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_key_lives_for_24_hours() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let ask = || register(&app, EXAM, id, &minsu).header("idempotency-key", "a-key");
    let age = async |age: &str| {
        let older = "update sugang.idempotency_keys set created_at = clock_timestamp() - $1::text::interval";
        app.run(older, &[&age]).await
    };
    let first = paid(&ask().await);
    cancel(&app, first, &minsu).await;

    age("23 hours 59 minutes").await;
    assert_eq!(paid(&ask().await), first);

    age("24 hours 1 second").await;
    let second = ask().await;
    assert_ne!(paid(&second), first);
    assert_eq!(second.header("idempotency-replayed"), "");
    // From now on the second response is replayed.
    assert_eq!(paid(&ask().await), paid(&second));
}

#[tokio::test]
async fn later_requests_remove_expired_keys() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    app.run(
        "insert into sugang.idempotency_keys (user_id, key, fingerprint, outcome, created_at)
         select $1, 'old ' || n, '', 'ok', now() - interval '49 hours' from generate_series(1, 15) n",
        &[&minsu.id],
    )
    .await;
    for n in 0..2 {
        register(&app, EXAM, id, &minsu)
            .header("idempotency-key", format!("key-{n}"))
            .await;
    }
    let left = app.rows("select key from sugang.idempotency_keys order by key").await;
    assert_eq!(left, json!([{"key": "key-0"}, {"key": "key-1"}]));
}

#[rstest]
#[tokio::test]
async fn a_repetition_meets_the_first_request_in_progress(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
    #[values(Link::Up, Link::Cut)] redis: Link,
) {
    let app = App::proxied().with("redis_timeout_ms", 10_000).start().await;
    let minsu = app.user("minsu").await;
    let request = change.arrange(&app, &minsu).await;
    app.redis().set(redis);
    let ask = || {
        app.post(&request.path)
            .by(&minsu)
            .header("idempotency-key", "a-key")
            .json(&request.body)
    };
    let hold = Hold::new(&app, &request.obstacle).await;

    let (first, early) = tokio::join!(ask(), async {
        hold.is_waited_for().await;
        let early = ask().await;
        hold.release().await;
        early
    });

    assert_eq!(first.status, request.success);
    assert_eq!(early.status, 409);
    assert_eq!(early.header("retry-after"), "1");
    // With Redis the repetition meets the lock there; without it, the lock of the key.
    assert_eq!(
        early.code(),
        if redis == Link::Up {
            "busy"
        } else {
            "request_in_progress"
        }
    );
    let late = ask().await;
    assert_eq!((late.status, late.json()), (first.status, first.json()));
    assert_eq!(late.header("idempotency-replayed"), "true");
}

/// The two requests are for different items, so that only the key can conflict.
#[tokio::test]
async fn a_key_in_progress_refuses_another_request() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let (slow, other) = (
        app.add(EXAM, Item::default()).await,
        app.add(EXAM, Item::default()).await,
    );
    let hold = Hold::item(&app, slow).await;
    let ask = |id| register(&app, EXAM, id, &minsu).header("idempotency-key", "a-key");

    let (first, early) = tokio::join!(ask(slow), async {
        hold.is_waited_for().await;
        let early = ask(other).await;
        hold.release().await;
        early
    });

    assert_eq!(first.status, 201);
    assert_answer!(early, @r#"
    {
      "status": "409 Conflict",
      "retry-after": "1",
      "body": {
        "code": "request_in_progress",
        "error": "잠시 후 다시 시도해주세요",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn a_401_is_not_stored() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let ask = || register(&app, EXAM, id, &minsu).header("idempotency-key", "a-key");

    app.run("update users set is_active = false", &[]).await;
    assert_eq!(ask().await.code(), "user_inactive");
    assert_eq!(
        app.post(EXAM.register(id))
            .header("idempotency-key", "a-key")
            .await
            .status,
        401
    );
    app.run("update users set is_active = true", &[]).await;

    let answer = ask().await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("idempotency-replayed")),
        (201, "")
    );
}

#[tokio::test]
async fn a_403_is_not_stored() {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &jiyoung).await);
    let ask = || cancel(&app, payment, &minsu).header("idempotency-key", "a-key");

    assert_eq!(ask().await.status, 403);
    app.run("update payments set user_id = $1", &[&minsu.id]).await;
    app.run("update test_registrations set user_id = $1", &[&minsu.id])
        .await;

    let answer = ask().await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("idempotency-replayed")),
        (200, "")
    );
}

#[tokio::test]
async fn a_503_is_not_stored() {
    let app = App::proxied().start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let ask = || register(&app, EXAM, id, &minsu).header("idempotency-key", "a-key");

    app.postgres().set(Link::Cut);
    assert_eq!(ask().await.status, 503);
    app.postgres().set(Link::Up);

    let answer = ask().await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("idempotency-replayed")),
        (201, "")
    );
}

/// A client that lost the response repeats the request with its key, and gets the response.
#[rstest]
#[tokio::test]
async fn a_lost_response_is_found_again(#[values(Register(EXAM), Cancel(EXAM))] change: Change) {
    let app = App::proxied().with("database_timeout_ms", 2_000).start().await;
    let minsu = app.user("minsu").await;
    let request = change.arrange(&app, &minsu).await;
    let ask = || {
        app.post(&request.path)
            .by(&minsu)
            .header("idempotency-key", "a-key")
            .json(&request.body)
    };
    let hold = Hold::new(&app, &request.obstacle).await;

    // PostgreSQL executes the statement, and its result is lost on the way back.
    let (lost, ()) = tokio::join!(ask(), async {
        hold.is_waited_for().await;
        app.postgres().set(Link::Hung);
        hold.release().await;
    });
    assert_eq!(lost.status, 503);
    app.postgres().set(Link::Up);

    let found = loop {
        let answer = ask().await;
        match answer.status.as_u16() {
            409 | 503 => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            _ => break answer,
        }
    };
    assert_eq!(found.status, request.success);
    let changes: i64 = app.one("select count(*) from sugang.idempotency_keys", &[]).await;
    let payments: i64 = app.one("select count(*) from payments", &[]).await;
    assert_eq!((changes, payments), (1, 1));
}

#[rstest]
#[tokio::test]
async fn ten_concurrent_repetitions_take_effect_once(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
    #[values(Link::Up, Link::Cut)] redis: Link,
) {
    let app = App::proxied().start().await;
    let minsu = app.user("minsu").await;
    let request = change.arrange(&app, &minsu).await;
    app.redis().set(redis);
    let ask = |_| {
        app.post(&request.path)
            .by(&minsu)
            .header("idempotency-key", "a-key")
            .json(&request.body)
    };

    let answers = join_all((0..10).map(ask).map(IntoFuture::into_future)).await;

    let (done, waiting): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == request.success);
    assert!(
        waiting.iter().all(|answer| answer.status == 409),
        "{:?}",
        tally(&waiting)
    );
    let first: Vec<_> = done
        .iter()
        .filter(|answer| answer.header("idempotency-replayed").is_empty())
        .collect();
    assert_eq!(first.len(), 1, "{done:?}");
    assert!(done.iter().all(|answer| answer.json() == first[0].json()), "{done:?}");
    let payments: i64 = app.one("select count(*) from payments", &[]).await;
    assert_eq!(payments, 1);
}
