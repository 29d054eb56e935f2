//! The database's clock jumps years ahead and back: counts go on, and nothing is forgotten because it seemed old.
//!
//! The functions of this service and the harness's statements read a clock that the test moves: the database's search
//! path finds it before PostgreSQL's own, and begins with public, as the host needs it. The clock of the host stays as
//! it is, and so does that of the triggers, which have a search path of their own.

use rstest::rstest;
use serde_json::Value;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, User};

use crate::{
    storm::assert_audit,
    support::{paid, register},
};

/// A service whose database has a clock that [`jump`] moves.
async fn start(variables: &[(&str, &str)]) -> App {
    let mut app = App::start().await;
    let clock = "
        create schema moved;
        create table moved.clock (ahead interval not null);
        insert into moved.clock values ('0');
        grant usage on schema moved to public;
        grant select on moved.clock to public;
        create function moved.clock_timestamp() returns timestamptz language sql volatile as
            'select pg_catalog.clock_timestamp() + ahead from moved.clock';
        create function moved.now() returns timestamptz language sql stable as
            'select pg_catalog.now() + ahead from moved.clock'";
    app.database().batch_execute(clock).await.expect("a clock");
    app.alter_database("set search_path = public, moved, pg_catalog").await;
    app.renew_search_paths().await;
    for (name, value) in variables {
        app.set(name, value);
    }
    app.restart().await;
    app.database()
        .batch_execute("set search_path = public, moved, pg_catalog")
        .await
        .expect("a setting");
    app
}

/// Sets the clock; `ahead` is the interval from the right time.
async fn jump(app: &App, ahead: &str) {
    app.run("update moved.clock set ahead = $1::text::interval", &[&ahead])
        .await;
}

#[rstest]
#[tokio::test]
async fn counts_go_on_after_a_jump(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values("10 years", "-10 years", "9 hours")] ahead: &str,
) {
    let app = start(&[]).await;
    let minsu = app.user("minsu").await;
    let add = |n: i64| {
        let items = kind.items;
        format!(
            "insert into {items} (title, price, start_at, end_at)
             select '사전', 1, timestamptz '2010-01-01' + n * interval '1 day', timestamptz '2028-01-01' + n * interval '1 day'
             from generate_series(1, {n}) n"
        )
    };
    app.run(&add(1_500), &[]).await;
    let count = async |query: &str| {
        let answer = app.get(format!("{}?{query}", kind.path)).by(&minsu).await;
        answer.json()["count"].clone()
    };
    let check = async |when: &str| {
        for (query, condition) in [
            ("", "true"),
            ("status=available", "now() between start_at and end_at"),
            ("search=사전", "true"),
            ("search=사전&status=available", "now() between start_at and end_at"),
        ] {
            let counted = format!("select count(*) from {} where {condition}", kind.items);
            assert_eq!(
                count(query).await,
                app.one::<i64>(&counted, &[]).await,
                "{when}: {query}"
            );
        }
    };
    let usual_age: String = app
        .one("select pg_get_functiondef('sugang.search_count_max_age'::regproc)", &[])
        .await;
    // The counts of searches may be this old.
    let age = "create or replace function sugang.search_count_max_age() returns interval language sql immutable
               as $$ select interval '0 s' $$";
    app.run(age, &[]).await;
    check("before").await;
    for (when, to) in [
        ("in the jump", ahead),
        ("back", "0"),
        ("again", ahead),
        ("back again", "0"),
    ] {
        jump(&app, to).await;
        check(when).await;
        app.run(&add(10), &[]).await;
        check(&format!("{when}, with more items")).await;
    }
    app.run(&usual_age, &[]).await;
    assert_audit(&app).await;
}

/// A repetition of the first request, with its key.
/// An item that is open whatever the clock says.
fn always_open() -> Item<'static> {
    Item {
        start_at: "1999-01-01",
        end_at: "infinity",
        ..Item::default()
    }
}

async fn repeat(app: &App, user: &User, id: i64) -> sugang_tests::Answer {
    register(app, EXAM, id, user).header("idempotency-key", "a-key").await
}

#[rstest]
#[tokio::test]
async fn a_key_survives_a_jump(#[values("10 years", "-10 years", "3 days")] ahead: &str) {
    let app = start(&[]).await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(EXAM, always_open()).await;
    let first = paid(&repeat(&app, &minsu, id).await);
    crate::support::cancel(&app, first, &minsu).await;
    jump(&app, ahead).await;
    assert_eq!(paid(&repeat(&app, &minsu, id).await), first, "during the jump");
    // Each change with a key deletes expired ones.
    for n in 0..3 {
        let key = format!("other-{n}");
        register(&app, EXAM, id, &jiyoung).header("idempotency-key", key).await;
    }
    jump(&app, "0").await;
    assert_eq!(paid(&repeat(&app, &minsu, id).await), first, "after it");
    let written_meanwhile = register(&app, EXAM, id, &jiyoung)
        .header("idempotency-key", "other-0")
        .await;
    assert_eq!(written_meanwhile.header("idempotency-replayed"), "true");
}

/// What the jump is measured against: time that passes without one. A key of two days ago is gone, and so is the memory
/// of a jump two days later.
#[tokio::test]
async fn what_is_old_is_deleted_all_the_same() {
    let app = start(&[]).await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, always_open()).await;
    let keys = async || {
        app.one::<i64>("select count(*) from sugang.idempotency_keys where key = 'a-key'", &[])
            .await
    };
    let other = async |n: u32| {
        register(&app, EXAM, id, &minsu)
            .header("idempotency-key", format!("other-{n}"))
            .await;
    };
    repeat(&app, &minsu, id).await;
    for hours in [0, 12, 24, 36, 47] {
        jump(&app, &format!("{hours} hours")).await;
        other(hours).await;
        assert_eq!(keys().await, 1, "after {hours} hours");
    }
    jump(&app, "50 hours").await;
    other(50).await;
    assert_eq!(keys().await, 0);

    repeat(&app, &minsu, id).await;
    jump(&app, "10 years").await;
    other(60).await;
    assert_eq!(keys().await, 1, "the clock may be wrong");
    jump(&app, "10 years 2 days").await;
    other(70).await;
    other(71).await;
    assert_eq!(keys().await, 0, "it is right");
}

/// A refresh token that was logged out stays so.
#[rstest]
#[tokio::test]
async fn an_ended_token_survives_a_jump(#[values("10 years", "-10 years")] ahead: &str) {
    let app = start(&[("rotate_refresh_tokens", "true"), ("refresh_reuse_grace_seconds", "0")]).await;
    let minsu = app.user("minsu").await;
    let login = async || {
        let body = serde_json::json!({"email": minsu.email, "password": sugang_tests::PASSWORD});
        app.post("/login/").json(&body).await.json()["refresh"].clone()
    };
    let refresh = async |token: &Value| {
        app.post("/token/refresh/")
            .json(&serde_json::json!({"refresh": token}))
            .await
    };
    let logout = async |token: &Value| {
        let body = serde_json::json!({"refresh": token});
        app.post("/logout/").by(&minsu).json(&body).await
    };
    let (ended, used) = (login().await, login().await);
    assert!(logout(&ended).await.status.is_success());
    assert_eq!(refresh(&used).await.status, 200);
    jump(&app, ahead).await;
    // Each of these deletes what has expired.
    for _ in 0..3 {
        let other = login().await;
        assert_eq!(refresh(&other).await.status, 200);
        logout(&other).await;
    }
    assert_eq!(refresh(&ended).await.status, 401, "during the jump");
    jump(&app, "0").await;
    assert_eq!(refresh(&ended).await.status, 401, "after it");
    assert_eq!(refresh(&used).await.status, 401, "used twice");
}

/// The controls: a kept count from the future that counts, and age by the clock as it is.
#[tokio::test]
async fn without_precautions_a_jump_freezes_a_count_and_loses_a_key() {
    let app = start(&[]).await;
    let minsu = app.user("minsu").await;
    let careless = "do $$ begin
            execute replace(pg_get_functiondef('sugang.stored_search_count'::regproc),
                            'and greatest(counted_at, as_of) <= clock_timestamp()', '');
        end $$;
        create or replace function sugang.steady_now() returns timestamptz language sql volatile as
            'select clock_timestamp()'";
    app.database()
        .batch_execute(careless)
        .await
        .expect("functions can be replaced");
    let add = "insert into tests (title, price, start_at, end_at)
               select '사전', 45000, '1999-01-01', 'infinity' from generate_series(1, 1500) n";
    let count = async || app.get("/tests/?search=사전").by(&minsu).await.json()["count"].clone();
    app.run(add, &[]).await;
    assert_eq!(paid(&repeat(&app, &minsu, 1).await), 1);
    crate::support::cancel(&app, 1, &minsu).await;
    jump(&app, "10 years").await;
    assert_eq!(count().await, 1_500);
    for id in 2..4 {
        let other = register(&app, EXAM, id, &minsu).header("idempotency-key", format!("other-{id}"));
        assert_eq!(other.await.status, 201);
    }
    jump(&app, "0").await;
    app.run(add, &[]).await;
    assert_eq!(count().await, 1_500, "it is frozen");
    assert_ne!(paid(&repeat(&app, &minsu, 1).await), 1, "the first response is lost");
}
