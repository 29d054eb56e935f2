//! The limits of login and sign-up attempts.

use std::time::{Duration, Instant};

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::json;
use sugang_tests::{Answer, App, Builder, Link, PASSWORD};

/// An app with a limit per account; the limits per address are the defaults.
fn per_account(attempts: u32) -> Builder {
    // On a busy machine, a slow Redis must not be taken for an unavailable one.
    App::with("login_attempts_per_account", attempts)
        .with("signup_attempts_per_account", attempts)
        .with("redis_timeout_ms", 10_000)
}

fn per_address(attempts: u32) -> Builder {
    App::with("login_attempts_per_address", attempts)
        .with("signup_attempts_per_address", attempts)
        .with("redis_timeout_ms", 10_000)
}

fn without_redis(builder: Builder) -> Builder {
    builder.with("redis_url", "redis://127.0.0.1:1/0")
}

async fn login(app: &App, email: &str, password: &str) -> Answer {
    app.post("/login/")
        .json(&json!({"email": email, "password": password}))
        .await
}

async fn signup(app: &App, name: &str) -> Answer {
    let email = format!("{name}@example.com");
    let body = json!({"email": email, "username": name, "password": PASSWORD});
    app.post("/signup/").json(&body).await
}

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().expect("seconds")
}

#[tokio::test]
async fn login_attempts_per_account_are_limited() {
    let app = per_account(3).start().await;
    app.user("minsu").await;
    app.user("jisu").await;
    for spelling in ["minsu@example.com", "Minsu@example.com", "minsu@EXAMPLE.com"] {
        assert_eq!(login(&app, spelling, "wrong-1").await.status, 401);
    }
    // The correct password is refused as well, so that guessing it cannot be noticed.
    let refused = login(&app, "minsu@example.com", PASSWORD).await;
    let wait = retry_after(&refused);
    // At most the window of five minutes, and the next one, in which its attempts still count.
    assert!((1..=600).contains(&wait), "{wait}");
    assert_eq!(
        refused.brief(),
        "429 rate_limited | 시도 횟수가 너무 많습니다. 잠시 후 다시 시도해주세요."
    );
    // Each account has its own count, also an account that does not exist.
    assert_eq!(login(&app, "jisu@example.com", PASSWORD).await.status, 200);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(login(&app, "nobody@example.com", "wrong-1").await.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 429]);
}

#[tokio::test]
async fn a_correct_password_resets_the_count() {
    let app = per_account(3).start().await;
    app.user("minsu").await;
    for _ in 0..4 {
        for _ in 0..2 {
            assert_eq!(login(&app, "minsu@example.com", "wrong-1").await.status, 401);
        }
        assert_eq!(login(&app, "minsu@example.com", PASSWORD).await.status, 200);
    }
}

#[tokio::test]
async fn attempts_per_address_are_limited() {
    let app = per_address(4).start().await;
    let mut statuses = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        app.user(name).await;
        statuses.push(
            login(&app, &format!("{name}@example.com"), PASSWORD)
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429]);
    // Sign-ups have a count of their own.
    statuses.clear();
    for name in ["f", "g", "h", "i", "j"] {
        statuses.push(signup(&app, name).await.status.as_u16());
    }
    assert_eq!(statuses, [201, 201, 201, 201, 429]);
    assert_eq!(app.one::<i64>("select count(*) from users", &[]).await, 9);
}

#[tokio::test]
async fn a_client_cannot_forge_its_address() {
    let app = per_address(2).start().await;
    let mut statuses = Vec::new();
    for n in 0..4 {
        let forged = format!("192.0.2.{n}");
        let answer = app
            .post("/login/")
            .header("x-forwarded-for", forged.as_str())
            .header("forwarded", format!("for={forged}"))
            .header("x-real-ip", forged.as_str())
            .header("spin-client-addr", format!("{forged}:1"))
            .json(&json!({"email": format!("{n}@example.com"), "password": "wrong-1"}))
            .await;
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 429, 429]);
}

#[tokio::test]
async fn the_header_of_a_trusted_proxy_names_the_address() {
    let app = per_address(2)
        .with("client_address_header", "X-Forwarded-For")
        .start()
        .await;
    let mut statuses = Vec::new();
    for (n, addresses) in [
        "192.0.2.1",
        "192.0.2.2, 192.0.2.1",
        "192.0.2.3, 192.0.2.1",
        "192.0.2.1, 192.0.2.4",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8::3",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = app
            .post("/login/")
            .header("x-forwarded-for", addresses)
            .json(&json!({"email": format!("{n}@example.com"), "password": "wrong-1"}))
            .await;
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 429, 401, 401, 401, 429]);
}

/// Of 40 concurrent attempts, exactly the limit is admitted: counting is one step.
#[rstest]
#[case::account(per_account(5), "minsu@example.com")]
#[case::address(per_address(5), "{n}@example.com")]
#[case::account_without_redis(without_redis(per_account(5)), "minsu@example.com")]
#[case::address_without_redis(without_redis(per_address(5)), "{n}@example.com")]
#[tokio::test]
async fn concurrent_attempts_stay_within_the_limit(#[case] builder: Builder, #[case] email: &str) {
    let app = builder.start().await;
    let attempts = (0..40).map(|n| login_owned(&app, email.replace("{n}", &n.to_string())));
    let statuses: Vec<_> = join_all(attempts).await;
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        5,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 429).count(),
        35,
        "{statuses:?}"
    );
}

/// Instances that hash passwords are late for everything, also for the replies of a Redis that answers at once. If they took
/// their own delay for Redis's, guesses would be counted elsewhere, from zero.
#[tokio::test]
async fn guesses_are_counted_once_while_passwords_are_hashed() {
    let app = App::with("login_attempts_per_account", 10)
        .with("redis_timeout_ms", 2_000)
        .with("argon2_memory_kib", 19_456)
        .with("argon2_iterations", 20)
        // All of them in the same instances, as under a host that does not queue them.
        .limits(|limits| limits.cpu_bound_requests = 64)
        .start()
        .await;
    app.user("minsu").await;
    let guesses = (0..90).map(|n| {
        let (app, path) = (&app, ["/login/", "/lo%67in", "/api/auth/login"][n % 3]);
        let email = ["minsu@example.com", "Minsu@example.com", "minsu@EXAMPLE.com"][n / 3 % 3];
        async move {
            let guess = json!({"email": email, "password": format!("wrong-{n}")});
            app.post(path).json(&guess).await.status.as_u16()
        }
    });
    let others = (0..6).map(|n| login_owned(&app, format!("unknown{n}@example.com")));
    let (guesses, _) = join(join_all(guesses), join_all(others)).await;
    let admitted = guesses.iter().filter(|status| **status == 401).count();
    assert_eq!(admitted, 10, "{guesses:?}");
    let counted: i64 = app.one("select count(*) from sugang.attempts", &[]).await;
    assert_eq!(counted, 0, "Redis was there all the time");
}

async fn login_owned(app: &App, email: String) -> u16 {
    login(app, &email, "wrong-1").await.status.as_u16()
}

#[tokio::test]
async fn attempts_return_as_the_window_slides() {
    let app = per_account(2).with("attempts_window_seconds", 5).start().await;
    for _ in 0..2 {
        assert_eq!(login(&app, "minsu@example.com", "wrong-1").await.status, 401);
    }
    let begun = Instant::now();
    let refused = login(&app, "minsu@example.com", "wrong-1").await;
    assert_eq!(refused.status, 429);
    tokio::time::sleep(Duration::from_secs(retry_after(&refused))).await;
    let again = login(&app, "minsu@example.com", "wrong-1").await;
    assert_eq!(again.status, 401, "{:?} after the first", begun.elapsed());
}

/// Without Redis the database counts, for all hosts together, and a correct password resets that count too.
#[tokio::test]
async fn without_redis_the_database_counts() {
    let app = per_account(3).proxied().start().await;
    app.redis().set(Link::Cut);
    let other = app.second_host().await;
    app.user("minsu").await;
    for _ in 0..2 {
        for host in [&app, &other] {
            assert_eq!(login(host, "minsu@example.com", "wrong-1").await.status, 401);
        }
        assert_eq!(login(&app, "minsu@example.com", PASSWORD).await.status, 200);
    }
    let mut statuses = Vec::new();
    for n in 0..5 {
        let host = if n % 2 == 0 { &app } else { &other };
        statuses.push(login(host, "Minsu@example.com", "wrong-1").await.status.as_u16());
    }
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    let refused = login(&app, "minsu@example.com", PASSWORD).await;
    assert!((1..=600).contains(&retry_after(&refused)), "{refused:?}");
    assert_eq!(signup(&app, "jisu").await.status, 201);

    // What is kept names no address, and leaves once its windows have passed.
    let keys = app.rows("select key from sugang.attempts").await.to_string();
    assert!(!keys.contains('@') && keys.contains("login:account:"), "{keys}");
    app.run("update sugang.attempts set expires_at = now() - interval '1 s'", &[])
        .await;
    login(&app, "yuna@example.com", "wrong-1").await;
    assert_eq!(app.one::<i64>("select count(*) from sugang.attempts", &[]).await, 1);
}

/// The same window slides in the database, also when its clock is set back.
#[tokio::test]
async fn without_redis_attempts_return_as_the_window_slides() {
    let app = per_account(2)
        .with("attempts_window_seconds", 1)
        .with("redis_url", "redis://127.0.0.1:1/0")
        .start()
        .await;
    let wrong = async || login(&app, "minsu@example.com", "wrong-1").await;
    for _ in 0..2 {
        assert_eq!(wrong().await.status, 401);
    }
    app.run("update sugang.attempts set began_at = now() + interval '1 day'", &[])
        .await;
    let refused = wrong().await;
    assert_eq!(refused.status, 429);
    assert!(retry_after(&refused) <= 2, "{refused:?}");
    app.run("update sugang.attempts set began_at = now() - interval '3 s'", &[])
        .await;
    assert_eq!(wrong().await.status, 401);
}

/// A request with a missing field is not an attempt, and the limit 0 is no limit.
#[tokio::test]
async fn malformed_forms_and_unlimited_actions_are_not_counted() {
    let app = per_account(1).with("signup_attempts_per_address", 0).start().await;
    for _ in 0..3 {
        assert_eq!(
            app.post("/login/")
                .json(&json!({"email": "minsu@example.com"}))
                .await
                .status,
            400
        );
    }
    assert_eq!(login(&app, "minsu@example.com", "wrong-1").await.status, 401);
    for name in ["a", "b", "c"] {
        assert_eq!(signup(&app, name).await.status, 201);
    }
}

/// Redis holds a hash of the e-mail address, never the address.
#[tokio::test]
async fn no_email_reaches_redis() {
    let app = per_account(3).start().await;
    login(&app, "minsu@example.com", "wrong-1").await;
    let client = redis::Client::open(app.redis_url()).expect("an address");
    let mut redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*:attempts:login:*")
        .query_async(&mut redis)
        .await
        .expect("keys");
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(
        keys[0].starts_with("{sugang}:attempts:login:account:") && !keys[0].contains('@'),
        "{keys:?}"
    );
    let ttl: i64 = redis::cmd("PTTL")
        .arg(&keys[0])
        .query_async(&mut redis)
        .await
        .expect("a key");
    assert!((1..=600_000).contains(&ttl), "it expires by itself: {ttl}");
}
