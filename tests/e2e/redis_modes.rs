//! Redis in every mode in which it answers but does not count: the limits hold, and `/readyz` says why it is degraded.

use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, Builder, COURSE, EXAM, Item, Link, RedisServer};

use crate::support::{cancel, paid, register};

pub(crate) fn limited() -> Builder {
    // On a busy machine, a slow Redis must not be taken for an unavailable one.
    App::with("login_attempts_per_account", 10).with("redis_timeout_ms", 10_000)
}

pub(crate) async fn wrong_login(app: &App) -> u16 {
    let body = json!({"email": "minsu@example.com", "password": "wrong-1"});
    app.post("/login/").json(&body).await.status.as_u16()
}

/// Asserts that of 15 wrong logins at two hosts, ten are answered and five are refused.
pub(crate) async fn assert_limited(one: &App, other: &App) {
    let mut statuses = Vec::new();
    for n in 0..15 {
        statuses.push(wrong_login(if n % 2 == 0 { one } else { other }).await);
    }
    assert_eq!(statuses[..10], [401; 10], "{statuses:?}");
    assert_eq!(statuses[10..], [429; 5], "{statuses:?}");
}

/// Asserts that everything is served, the limits hold, and `/readyz` gives this reason.
async fn assert_degraded(redis_url: &str, reason: &str) {
    let app = limited().with("redis_url", redis_url).start().await;
    let other = app.second_host().await;
    let ready = app.get("/readyz").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(
        *ready.json(),
        json!({"status": "degraded", "database": "ok", "redis": "unavailable",
               "attempts_counted_in": "database", "reasons": [reason]})
    );
    assert_limited(&app, &other).await;
    let minsu = app.user("jisu").await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
}

/// How a Redis is made unable to count.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Mistyped,
    Replica,
    OutOfMemory,
    NoPassword,
    WrongPassword,
    NothingSaved,
    UnfinishedCluster,
}

#[rstest]
#[case(Mode::Mistyped, "redis_unreachable")]
#[case(Mode::Replica, "redis_read_only")]
#[case(Mode::OutOfMemory, "redis_out_of_memory")]
#[case(Mode::NoPassword, "redis_unauthenticated")]
#[case(Mode::WrongPassword, "redis_unauthenticated")]
#[case(Mode::NothingSaved, "redis_not_writable")]
#[case(Mode::UnfinishedCluster, "redis_cluster")]
#[tokio::test]
async fn a_redis_that_cannot_count_is_replaced_by_the_database(#[case] mode: Mode, #[case] reason: &str) {
    if let Mode::Mistyped = mode {
        return assert_degraded("redis://127.0.0.1:1/0", reason).await;
    }
    let arguments = match mode {
        Mode::OutOfMemory => "--maxmemory 1 --maxmemory-policy noeviction",
        Mode::UnfinishedCluster => "--cluster-enabled yes",
        _ => "",
    };
    let Some(redis) = RedisServer::start(arguments).await else {
        return;
    };
    let mut credentials = "";
    match mode {
        Mode::Replica => {
            redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
        }
        Mode::NoPassword | Mode::WrongPassword => {
            redis.command(&["CONFIG", "SET", "requirepass", "right"]).await;
            if let Mode::WrongPassword = mode {
                credentials = ":wrong@";
            }
        }
        Mode::NothingSaved => {
            redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
        }
        _ => {}
    }
    assert_degraded(&redis.url_of(credentials), reason).await;
}

/// A user that may not execute scripts still locks, and its locks are released.
#[tokio::test]
async fn a_user_without_scripts_locks_and_the_database_counts() {
    let Some(redis) = RedisServer::start("").await else {
        return;
    };
    redis
        .command(&["ACL", "SETUSER", "app", "on", ">p", "~*", "+@all", "-@scripting"])
        .await;
    assert_degraded(&redis.url_of("app:p@"), "redis_not_permitted").await;
    redis.until(&["KEYS", "{sugang}:register:*"], "[]").await;
    redis.until(&["KEYS", "{sugang}:cancel:*"], "[]").await;
}

/// Keys of another program under our names; a prefix of one's own avoids them.
#[tokio::test]
async fn keys_of_another_type_are_left_alone() {
    let Some(redis) = RedisServer::start("").await else {
        return;
    };
    for key in ["{sugang}:attempts:probe:account", "{sugang}:attempts:probe:address"] {
        redis.command(&["SET", key, "theirs"]).await;
    }
    let app = limited().with("redis_url", redis.url()).start().await;
    assert_eq!(app.get("/readyz").await.json()["reasons"], json!(["redis_wrong_type"]));
    let app = limited()
        .with("redis_url", redis.url())
        .with("redis_key_prefix", "exams.example:1")
        .start()
        .await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    wrong_login(&app).await;
    redis
        .until(&["KEYS", "{exams.example:1}:attempts:login:*"], "bulk-string")
        .await;
}

/// The arguments of a cluster's node.
pub(crate) const NODE: &str = "--cluster-enabled yes --cluster-node-timeout 2000 --cluster-replica-validity-factor 0 --cluster-require-full-coverage no";

/// Three nodes, each with a third of the slots.
pub(crate) async fn cluster() -> Option<Vec<RedisServer>> {
    let mut nodes = Vec::new();
    for range in [["0", "5460"], ["5461", "10922"], ["10923", "16383"]] {
        let node = RedisServer::start(NODE).await?;
        node.command(&["CLUSTER", "ADDSLOTSRANGE", range[0], range[1]]).await;
        nodes.push(node);
    }
    for (number, node) in nodes.iter().enumerate() {
        let epoch = (number + 1).to_string();
        node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
    }
    for node in &nodes[1..] {
        meet(&nodes[0], node).await;
    }
    for node in &nodes {
        node.until(&["CLUSTER", "INFO"], "cluster_state:ok").await;
        node.until(&["CLUSTER", "INFO"], "cluster_known_nodes:3").await;
    }
    Some(nodes)
}

/// Makes two nodes know each other, and all nodes that either of them knows.
pub(crate) async fn meet(one: &RedisServer, other: &RedisServer) {
    let [port, bus_port] = [other.port(), other.bus_port()].map(|port| port.to_string());
    one.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port]).await;
}

/// Whichever node the service is told of, the limits and the locks work; each count is one for all of them.
#[tokio::test]
async fn a_cluster_counts_and_locks_at_any_of_its_nodes() {
    let Some(nodes) = cluster().await else { return };
    let app = limited().with("redis_url", nodes[0].url()).start().await;
    let mut hosts = vec![app];
    for node in &nodes[1..] {
        let mut host = hosts[0].second_host().await;
        host.set("redis_url", node.url());
        host.restart().await;
        hosts.push(host);
    }
    for host in &hosts {
        assert_eq!(host.get("/readyz").await.json()["status"], "ok");
    }
    assert_limited(&hosts[1], &hosts[2]).await;
    assert_eq!(wrong_login(&hosts[0]).await, 429);

    let minsu = hosts[0].user("minsu").await;
    let id = hosts[0].add(COURSE, Item::default()).await;
    for host in &hosts {
        let payment = paid(&register(host, COURSE, id, &minsu).await);
        assert_eq!(cancel(host, payment, &minsu).await.status, 200);
    }
    let attempts: i64 = hosts[0].one("select count(*) from sugang.attempts", &[]).await;
    assert_eq!(attempts, 0, "the database was not needed");
}

/// A Redis that takes 150 ms for every answer counts.
#[tokio::test]
async fn a_slow_redis_counts() {
    let app = limited().with("redis_timeout_ms", 2_000).proxied().start().await;
    app.redis().set(Link::Slow(75));
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    let other = app.second_host().await;
    assert_limited(&app, &other).await;
}

/// A link that passes nothing on, and one on which the other side has vanished, are given up after the timeout.
#[tokio::test]
async fn behind_a_hung_redis_the_database_counts() {
    let app = limited().with("redis_timeout_ms", 100).proxied().start().await;
    app.redis().set(Link::Hung);
    assert_eq!(app.get("/readyz").await.json()["attempts_counted_in"], "database");
    let other = app.second_host().await;
    assert_limited(&app, &other).await;
}

/// The negative control of the tests above.
#[tokio::test]
async fn without_a_limit_every_attempt_is_answered() {
    let app = App::with("redis_url", "redis://127.0.0.1:1/0").start().await;
    for _ in 0..15 {
        assert_eq!(wrong_login(&app).await, 401);
    }
}
