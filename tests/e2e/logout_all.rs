//! The end of all logins of a user: at `POST /logout/all/`, and when the password changes.

use futures::future::join_all;
use serde_json::{Value, json};
use sugang_migrations::function_call;
use sugang_tests::{Answer, App, Call, EXAM, Item, PASSWORD, User, assert_answer, token};

use crate::support::{Hold, register};

/// Written by Django 5.2's `make_password("correct1")`, with few iterations.
const DJANGO_HASH: &str = "pbkdf2_sha256$1000$seasalt$DLuH6NJ2tkbupIAp7IouK8kTLRPxmFOEDVM+U0hwHeQ=";

fn login<'a>(app: &'a App, user: &User) -> Call<'a> {
    app.post("/login/")
        .json(&json!({"email": user.email, "password": PASSWORD}))
}

fn refresh<'a>(app: &'a App, token: &Value) -> Call<'a> {
    app.post("/token/refresh/").json(&json!({"refresh": token}))
}

/// The statuses of a request with the access token, and of one with the refresh token.
async fn statuses(app: &App, tokens: &Value) -> [u16; 2] {
    let access = app
        .get("/me/payments/")
        .bearer(tokens["access"].as_str().unwrap())
        .await;
    let refreshed = refresh(app, &tokens["refresh"]).await;
    for answer in [&access, &refreshed] {
        assert!(answer.status == 200 || answer.code() == "token_not_valid", "{answer:?}");
    }
    [access.status.as_u16(), refreshed.status.as_u16()]
}

/// Tokens with one claim of this value.
fn tokens_with(user: &User, claim: &str, value: &Value) -> Value {
    let signed = |token_type: &str| {
        let mut claims = user.claims(token_type);
        claims[claim] = value.clone();
        token::sign(&claims)
    };
    json!({"access": signed("access"), "refresh": signed("refresh")})
}

/// Tokens as the Django service signs them, which name no epoch.
fn django(user: &User, issued_at: Value) -> Value {
    tokens_with(user, "iat", &issued_at)
}

async fn logout_all(app: &App, tokens: &Value) -> Answer {
    app.post("/logout/all/")
        .bearer(tokens["access"].as_str().unwrap())
        .await
}

#[tokio::test]
async fn all_logins_of_the_user_end_at_once() {
    let app = App::start().await;
    let (minsu, jisu) = (app.user("minsu").await, app.user("jisu").await);
    let exam = app.add(EXAM, Item::default()).await;
    let now = chrono::Utc::now().timestamp();
    let first = login(&app, &minsu).await.json().clone();
    let second = login(&app, &minsu).await.json().clone();
    // What a refresh returns belongs to the login.
    let mut refreshed = second.clone();
    refreshed["access"] = refresh(&app, &second["refresh"]).await.json()["access"].clone();
    let others = login(&app, &jisu).await.json().clone();
    let ended = [
        first.clone(),
        second,
        refreshed,
        django(&minsu, now.into()),
        django(&minsu, (now - 3600).into()),
        // Without a time, they may be older.
        django(&minsu, Value::Null),
        django(&minsu, "now".into()),
    ];
    for tokens in &ended {
        assert_eq!(statuses(&app, tokens).await, [200, 200], "{tokens}");
    }

    let answer = logout_all(&app, &first).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_answer!(answer, @r#"
    {
      "status": "204 No Content"
    }
    "#);

    for tokens in &ended {
        assert_eq!(statuses(&app, tokens).await, [401, 401], "{tokens}");
    }
    assert_answer!(app.get("/tests/").bearer(first["access"].as_str().unwrap()).await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "token_not_valid",
        "detail": "Given token not valid for any token type",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(logout_all(&app, &first).await.code(), "token_not_valid");
    assert_eq!(register(&app, EXAM, exam, &minsu).await.code(), "token_not_valid");
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, 0);
    // It has ended, which is what a logout asks for.
    let again = app.post("/logout/").json(&json!({"refresh": first["refresh"]})).await;
    assert_eq!(again.status, 204);

    assert_eq!(statuses(&app, &others).await, [200, 200], "another user's");
    assert_eq!(statuses(&app, &django(&minsu, (now + 60).into())).await, [200, 200]);
}

/// The claim `iat` has whole seconds, and the clocks of host and database differ: neither decides.
#[tokio::test]
async fn a_login_in_the_same_second_is_a_new_one() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let mut before = login(&app, &minsu).await.json().clone();
    for _ in 0..5 {
        assert_eq!(logout_all(&app, &before).await.status, 204);
        let after = login(&app, &minsu).await.json().clone();
        assert_eq!(statuses(&app, &before).await, [401, 401]);
        assert_eq!(statuses(&app, &after).await, [200, 200]);
        // Of the Django service, from this refresh token: it copies the claims that it does not know.
        let mut claims = token::verify(after["access"].as_str().unwrap());
        claims["jti"] = json!("of-django");
        let copied = token::sign(&claims);
        assert_eq!(app.get("/tests/").bearer(&copied).await.status, 200);
        before = after;
    }
    // A clock of the database that was set back: the next epoch is later all the same.
    app.database()
        .batch_execute(
            "alter table users disable trigger sugang_token_epoch;
             update users set token_epoch = token_epoch + 86400000000;
             alter table users enable trigger sugang_token_epoch",
        )
        .await
        .unwrap();
    let before = login(&app, &minsu).await.json().clone();
    assert_eq!(logout_all(&app, &before).await.status, 204);
    let after = login(&app, &minsu).await.json().clone();
    assert_eq!(statuses(&app, &before).await, [401, 401]);
    assert_eq!(statuses(&app, &after).await, [200, 200]);
}

#[tokio::test]
async fn concurrent_calls_end_the_logins_once() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let before = login(&app, &minsu).await.json().clone();
    let hold = Hold::new(&app, "select from users for update").await;
    let calls = async { join_all((0..2).map(|_| logout_all(&app, &before))).await };
    let (answers, ()) = tokio::join!(calls, async {
        hold.is_waited_for().await;
        hold.release().await;
    });
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 204 || answer.code() == "token_not_valid"),
        "{answers:?}"
    );
    assert!(answers.iter().any(|answer| answer.status == 204), "{answers:?}");
    let after = login(&app, &minsu).await.json().clone();
    assert_eq!(statuses(&app, &after).await, [200, 200]);
}

#[tokio::test]
async fn a_password_that_another_program_changes_ends_all_logins() {
    let app = App::start().await;
    let (minsu, jisu) = (app.user("minsu").await, app.user("jisu").await);
    let others = login(&app, &jisu).await.json().clone();
    let set = async |columns: &str| app.run(&format!("update users set {columns} where id = 1"), &[]).await;
    let django_hash = format!("password = '{DJANGO_HASH}'");
    // Django's `set_password` and `set_unusable_password`.
    for change in [&*django_hash, "password = '!unusable', last_login = null"] {
        set(&django_hash).await;
        let ours = login(&app, &minsu).await.json().clone();
        // Django's `save()` writes all columns.
        set("password = password, email = email, last_login = now(), is_active = true").await;
        assert_eq!(statuses(&app, &ours).await, [200, 200], "{change}");

        let djangos = django(&minsu, chrono::Utc::now().timestamp().into());
        set(change).await;
        assert_eq!(statuses(&app, &ours).await, [401, 401], "{change}");
        assert_eq!(statuses(&app, &djangos).await, [401, 401], "{change}");
        set("token_epoch = null").await;
        assert_eq!(statuses(&app, &ours).await, [401, 401], "an epoch never goes back");
    }
    assert_eq!(statuses(&app, &others).await, [200, 200]);
}

/// A login replaces a hash of the Django service: the password stays the same, and so do the logins.
#[tokio::test]
async fn a_new_hash_of_the_same_password_ends_no_login() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.run("update users set password = $1", &[&DJANGO_HASH]).await;
    let epoch: i64 = app.one("select token_epoch from users", &[]).await;
    let before = tokens_with(&minsu, "epoch", &epoch.into());
    let logins = join_all((0..4).map(|_| login(&app, &minsu).into_future())).await;
    let stored: String = app.one("select password from users", &[]).await;
    assert!(stored.starts_with("$argon2id$"), "{stored}");
    for tokens in logins.iter().map(Answer::json).chain([&before]) {
        assert_eq!(statuses(&app, tokens).await, [200, 200], "{tokens}");
    }
    // The exception holds for the statement of the login alone.
    app.run("update users set password = $1", &[&DJANGO_HASH]).await;
    assert_eq!(statuses(&app, &before).await, [401, 401]);
}

/// A refresh that has read the user before all logins end, and answers afterwards, returns tokens that have ended.
#[tokio::test]
async fn a_refresh_at_the_same_moment_revives_no_login() {
    let app = App::with("rotate_refresh_tokens", true).start().await;
    let minsu = app.user("minsu").await;
    let tokens = login(&app, &minsu).await.json().clone();
    let jti = token::verify(tokens["refresh"].as_str().unwrap())["jti"].clone();
    let hold = Hold::new(
        &app,
        &format!(
            "insert into sugang.revoked_tokens values ('token {}', 1, now())",
            jti.as_str().unwrap()
        ),
    )
    .await;
    let (refreshed, ()) = tokio::join!(refresh(&app, &tokens["refresh"]).into_future(), async {
        hold.is_waited_for().await;
        assert_eq!(logout_all(&app, &tokens).await.status, 204);
        hold.release().await;
    });
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    assert_eq!(statuses(&app, refreshed.json()).await, [401, 401]);

    // Without its epoch, the token would be judged by its time, and live.
    let mut claims = token::verify(refreshed.json()["access"].as_str().unwrap());
    claims.as_object_mut().unwrap().remove("epoch");
    claims["iat"] = json!(claims["iat"].as_i64().unwrap() + 1);
    assert_eq!(app.get("/tests/").bearer(&token::sign(&claims)).await.status, 200);
}

/// A login reads the password and then records itself; in between, the password may change or all logins end.
#[tokio::test]
async fn a_login_at_the_same_moment_has_the_password_that_counts() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    // A login waits for no other transaction. It belongs to the time before the change.
    for change in ["token_epoch = 0", "password = '!'"] {
        let hold = Hold::new(&app, &format!("update users set {change}")).await;
        let answer = login(&app, &minsu).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        hold.commit().await;
        assert_eq!(statuses(&app, answer.json()).await, [401, 401], "{change}");
    }

    let set = async |columns: &str| app.run(&format!("update users set {columns}"), &[]).await;
    let epoch = async || app.one::<i64>("select token_epoch from users", &[]).await;
    let recorded = async |password: &str, epoch: i64| {
        let call = function_call(&format!("logged_in(1, '{password}', null, null, {epoch})"));
        app.one::<String>(&format!("select concat_ws(' ', outcome, body) from {call}"), &[])
            .await
    };
    set("password = 'before'").await;
    let read = epoch().await;
    assert_eq!(recorded("before", read).await, format!("ok {read}"));
    // Another login replaces the hash.
    set("password = set_config('sugang.rehashed_user', id::text, true) || 'new hash'").await;
    assert_eq!(epoch().await, read);
    assert_eq!(recorded("before", read).await, format!("ok {read}"));
    // All logins end: this one is a new one.
    set("token_epoch = 0").await;
    assert_eq!(recorded("1new hash", read).await, format!("ok {}", epoch().await));
    // Another program changes the password.
    set("password = 'after'").await;
    assert_eq!(recorded("1new hash", read).await, "unknown");
}
