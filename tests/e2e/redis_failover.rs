//! Redis fails over, moves its keys, restarts or is emptied while requests run: every request is answered as it should be,
//! the limits hold, and Redis counts again by itself.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, COURSE, EXAM, Item, Proxy, RedisServer};
use tokio::time::sleep;

use crate::{
    redis_modes::{NODE, assert_limited, cluster, limited, meet, wrong_login},
    support::{cancel, paid, register},
};

/// The limit of [`limited`].
const LIMIT: usize = 10;
/// The most guesses after five: each store admits the limit, and on a busy machine Redis answers too late now and then.
const MOST: usize = 2 * LIMIT - 5;

/// Returns the `reasons` of `/readyz`, which is never worse than degraded.
async fn reasons(app: &App) -> Vec<String> {
    let ready = app.get("/readyz").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let reasons = ready.json()["reasons"].as_array().cloned().unwrap_or_default();
    reasons
        .iter()
        .map(|reason| reason.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Waits until `/readyz` is ok, and returns the reasons that it gave before.
async fn until_ready(app: &App) -> Vec<String> {
    let (begun, mut seen) = (Instant::now(), Vec::new());
    loop {
        let now = reasons(app).await;
        if now.is_empty() {
            return seen;
        }
        seen.extend(now);
        seen.dedup();
        assert!(begun.elapsed() < Duration::from_secs(30), "{seen:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Sends wrong logins until one is refused, and returns how many were answered.
async fn guesses(app: &App) -> usize {
    for guess in 0..5 * LIMIT {
        match wrong_login(app).await {
            401 => {}
            429 => return guess,
            status => panic!("{status} after {guess} guesses"),
        }
    }
    panic!("there is no limit");
}

async fn guess_four_times(app: &App) {
    for _ in 0..4 {
        assert_eq!(wrong_login(app).await, 401);
    }
}

/// Asserts that guesses and payments go on, and that Redis counts on from the count that was replicated.
async fn assert_counts_on(app: &App) {
    // Counted in PostgreSQL, unless Redis is back already.
    assert_eq!(wrong_login(app).await, 401);
    assert_serves(app, "jisu").await;
    until_ready(app).await;
    assert_serves(app, "suji").await;
    let more = guesses(app).await;
    assert!(
        (LIMIT - 5..=MOST).contains(&more),
        "{more} more, with the replicated count"
    );
}

/// Begins to move the slot of the service's keys. Returns the slot, and the id of the target.
async fn begin_move(source: &RedisServer, target: &RedisServer) -> (String, String) {
    let slot = slot(source).await.to_string();
    let (source_id, target_id) = (id(source).await, id(target).await);
    target
        .command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id])
        .await;
    source
        .command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id])
        .await;
    (slot, target_id)
}

/// Moves keys to another node, except those that have expired, which a node holds until a command reads them.
async fn move_keys(source: &RedisServer, target: &RedisServer, keys: &[String]) {
    let port = target.port().to_string();
    for key in keys {
        source.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]).await;
    }
}

/// The keys of a slot that a node holds, 100 at most.
async fn keys_of_slot(node: &RedisServer, slot: &str) -> Vec<String> {
    let held = node.command(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]).await;
    redis::from_redis_value(held).unwrap()
}

/// Asserts that a user registers and cancels.
async fn assert_serves(app: &App, name: &str) {
    let user = app.user(name).await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(app, EXAM, id, &user).await);
    assert_eq!(cancel(app, payment, &user).await.status, 200);
}

/// What happens to the primary.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It becomes a replica of its successor, and keeps its connections.
    Demoted,
    Killed,
    Frozen,
}

impl Fault {
    async fn strike(self, old: &mut RedisServer, new: &RedisServer) {
        match self {
            Self::Demoted => {
                let port = new.port().to_string();
                old.command(&["REPLICAOF", "127.0.0.1", &port]).await;
            }
            Self::Killed => old.kill(),
            Self::Frozen => old.freeze(),
        }
    }
}

/// A Sentinel, or a managed Redis, promotes a replica, and its address leads there.
#[rstest]
#[tokio::test]
async fn an_address_that_leads_to_a_promoted_replica_counts_on(
    #[values(Fault::Demoted, Fault::Killed, Fault::Frozen)] fault: Fault,
) {
    let Some(mut old) = RedisServer::start("").await else {
        return;
    };
    let Some(new) = RedisServer::start("").await else {
        return;
    };
    let port = old.port().to_string();
    new.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    new.until(&["INFO", "replication"], "master_link_status:up").await;
    let address = Proxy::in_front_of(&old.url().parse().unwrap()).await.unwrap();
    let app = limited()
        .with("redis_url", address.url())
        .with("redis_timeout_ms", 1_000)
        .start()
        .await;
    guess_four_times(&app).await;
    old.command(&["WAIT", "1", "5000"]).await;

    new.command(&["REPLICAOF", "NO", "ONE"]).await;
    fault.strike(&mut old, &new).await;
    address.lead_to(&new.url().parse().unwrap());
    assert_counts_on(&app).await;
    assert_eq!(reasons(&app).await, [""; 0]);
}

/// The node that has the service's keys fails, and its replica takes over.
#[rstest]
#[tokio::test]
async fn a_cluster_whose_node_fails_over_counts_on(#[values(Fault::Killed, Fault::Frozen)] fault: Fault) {
    let Some(mut nodes) = cluster().await else { return };
    let owner = owner(&nodes).await;
    let Some(replica) = RedisServer::start(NODE).await else {
        return;
    };
    meet(&nodes[owner], &replica).await;
    let owner_id = id(&nodes[owner]).await;
    replica.until(&["CLUSTER", "NODES"], &owner_id).await;
    replica.until(&["CLUSTER", "REPLICATE", &owner_id], "Ok(").await;
    replica.until(&["INFO", "replication"], "master_link_status:up").await;
    for node in &nodes {
        node.until(&["CLUSTER", "NODES"], &format!("slave {owner_id}")).await;
    }
    let app = limited()
        .with("redis_url", nodes[(owner + 1) % 3].url())
        .with("redis_timeout_ms", 1_000)
        .start()
        .await;
    assert_eq!(until_ready(&app).await, [""; 0]);
    guess_four_times(&app).await;
    nodes[owner].command(&["WAIT", "1", "5000"]).await;

    fault.strike(&mut nodes[owner], &replica).await;
    let first = reasons(&app).await;
    let expected = if let Fault::Killed = fault {
        "redis_unreachable"
    } else {
        "redis_slow"
    };
    assert_eq!(first, [expected]);
    assert_counts_on(&app).await;
}

/// Without a replica, the redirection to a node that is gone is no error and opens no limit.
#[tokio::test]
async fn behind_a_node_that_is_gone_the_database_counts() {
    let Some(mut nodes) = cluster().await else { return };
    let owner = owner(&nodes).await;
    let app = limited().with("redis_url", nodes[(owner + 1) % 3].url()).start().await;
    nodes[owner].kill();
    let other = app.second_host().await;
    assert_eq!(reasons(&app).await, ["redis_unreachable"]);
    assert_limited(&app, &other).await;
    assert_serves(&app, "jisu").await;
}

/// Keys move to another node one by one. Each counts where it is (`ASK`), and once they have moved (`MOVED`).
#[tokio::test]
async fn keys_that_move_to_another_node_count_on() {
    let Some(nodes) = cluster().await else { return };
    let from = owner(&nodes).await;
    let (source, target) = (&nodes[from], &nodes[(from + 1) % 3]);
    let app = limited().with("redis_url", nodes[(from + 2) % 3].url()).start().await;
    guess_four_times(&app).await;
    let (slot, target_id) = begin_move(source, target).await;

    // A key that is still there, keys that are new, and a key that has moved.
    assert_eq!(wrong_login(&app).await, 401);
    assert_serves(&app, "jisu").await;
    let mut new = Vec::new();
    for _ in 0..15 {
        let body = json!({"email": "new@example.com", "password": "wrong-1"});
        new.push(app.post("/login/").json(&body).await.status.as_u16());
    }
    assert_eq!([&new[..10], &new[10..]], [&[401; 10][..], &[429; 5][..]]);
    let keys: Vec<String> = redis::from_redis_value(source.command(&["KEYS", "*:login:*"]).await).unwrap();
    assert_eq!(keys.len(), 1);
    move_keys(source, target, &keys).await;
    assert_eq!(wrong_login(&app).await, 401);

    // Keys of short locks and of the probe may be there still.
    move_keys(source, target, &keys_of_slot(source, &slot).await).await;
    assert_eq!(keys_of_slot(source, &slot).await, [""; 0]);
    for node in [target, source, &nodes[(from + 2) % 3]] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]).await;
    }
    assert_eq!(reasons(&app).await, [""; 0]);
    assert_serves(&app, "suji").await;
    assert_eq!(guesses(&app).await, LIMIT - 6);
    let attempts: i64 = app.one("select count(*) from sugang.attempts", &[]).await;
    assert_eq!(attempts, 0, "the database was not needed");
}

/// A script with several keys of which some have not moved is refused (`TRYAGAIN`). The database counts meanwhile.
#[tokio::test]
async fn what_a_moving_slot_refuses_the_database_counts() {
    let Some(nodes) = cluster().await else { return };
    let from = owner(&nodes).await;
    let (source, target) = (&nodes[from], &nodes[(from + 1) % 3]);
    let app = limited()
        .with("redis_url", source.url())
        .with("login_attempts_per_address", 1_000)
        .start()
        .await;
    begin_move(source, target).await;
    // As long as the node has all keys of a script, it goes on with it.
    source.command(&["FLUSHALL"]).await;
    let begun = Instant::now();
    while reasons(&app).await != ["redis_cluster"] {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "a slot that moves refuses nothing"
        );
        sleep(Duration::from_millis(500)).await;
    }
    let other = app.second_host().await;
    assert_limited(&app, &other).await;
    assert_serves(&app, "jisu").await;
}

/// A Redis that reads its data after a restart answers nothing yet.
#[tokio::test]
async fn while_redis_loads_the_database_counts() {
    let Some(mut redis) = RedisServer::start("--rdbcompression no").await else {
        return;
    };
    let app = limited().with("redis_url", redis.url()).start().await;
    guess_four_times(&app).await;
    let filler = "x".repeat(4096);
    for number in 0..60 {
        redis.command(&["SET", &format!("filler:{number}"), &filler]).await;
    }
    redis.command(&["SAVE"]).await;
    redis.restart("--key-load-delay 50000 --loading-process-events-interval-bytes 1024");
    redis.until(&["PING"], "is loading the dataset").await;
    assert_eq!(reasons(&app).await, ["redis_busy"]);
    assert_eq!(wrong_login(&app).await, 401);
    assert_serves(&app, "jisu").await;
    assert_eq!(until_ready(&app).await, ["redis_busy"]);
    assert_serves(&app, "suji").await;
    assert_eq!(guesses(&app).await, LIMIT - 4, "the saved count goes on");
}

/// An operator empties Redis: counts begin again, and locks that are gone let nothing happen twice.
#[tokio::test]
async fn an_emptied_redis_counts_from_nothing() {
    let Some(redis) = RedisServer::start("").await else {
        return;
    };
    let app = limited().with("redis_url", redis.url()).start().await;
    assert_eq!(guesses(&app).await, LIMIT);
    redis.command(&["FLUSHALL"]).await;
    assert_eq!(guesses(&app).await, LIMIT);
    assert_eq!(reasons(&app).await, [""; 0]);

    let minsu = app.user("minsu").await;
    let id = app.add(COURSE, Item::default()).await;
    let emptying = async {
        for _ in 0..50 {
            redis.command(&["FLUSHALL", "SYNC"]).await;
        }
    };
    let equal = futures::future::join_all((0..10).map(async |_| register(&app, COURSE, id, &minsu).await));
    let (answers, ()) = futures::future::join(equal, emptying).await;
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(taken, 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| [201, 400, 409].contains(&answer.status.as_u16()))
    );
}

async fn id(node: &RedisServer) -> String {
    redis::from_redis_value(node.command(&["CLUSTER", "MYID"]).await).unwrap()
}

/// The slot of all keys of the service.
async fn slot(node: &RedisServer) -> usize {
    redis::from_redis_value(node.command(&["CLUSTER", "KEYSLOT", "{sugang}:x"]).await).unwrap()
}

/// Which of the three nodes has the service's keys.
async fn owner(nodes: &[RedisServer]) -> usize {
    slot(&nodes[0]).await / 5461
}
