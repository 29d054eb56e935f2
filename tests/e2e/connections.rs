//! How many connections to PostgreSQL the hosts take, and what they do when there are no more.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rstest::rstest;
use sugang_tests::{App, EXAM, HostOptions, HostProcess, Item, Supervisor};
use tokio::time::sleep;

use crate::{
    storm::assert_audit,
    support::{payment, tally},
};

const USERS: usize = 60;

/// A session of the operator. While a host is refused its own, it takes a place for an instant, also the last one.
async fn operator_of(app: &App) -> tokio_postgres::Client {
    let begun = Instant::now();
    loop {
        match sugang_connect::postgres::connect(app.database_url()).await {
            Ok((session, connection)) => {
                tokio::spawn(connection);
                return session;
            }
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(5), "{error:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Two hosts with default limits are in a rush: every request is served, and an operator finds a place. Their role is
/// not a superuser, so its connections are limited.
#[rstest]
#[tokio::test]
async fn two_hosts_share_the_connections_and_leave_a_place(#[values(100, 10)] max_connections: usize) {
    let mut supervisor = Supervisor::of_own_stores().expect("stores whose settings may change");
    let mut app = App::on(&supervisor).start().await;
    let mut users = Vec::new();
    for n in 0..USERS {
        users.push(app.user(&format!("user{n}")).await);
    }
    let id = app.add(EXAM, Item::default()).await;
    let set = format!("alter system set max_connections = {max_connections}");
    app.database().batch_execute(&set).await.unwrap();
    app.stop().await;
    supervisor.command("postgres stop");
    supervisor.command("postgres start");
    app.reconnect().await;
    let options = HostOptions {
        // Statements that wait for the item's row hold their connections.
        arguments: &["--postgres-at-once", "64"],
        ..HostOptions::default()
    };
    let hosts = [HostProcess::start(&app, options), HostProcess::start(&app, options)].map(|host| (host.base(), host));

    let (app, base) = (&app, |n: usize| hosts[n % 2].0.as_str());
    let rush = async |n: usize| {
        let user = &users[n];
        let mut answers = Vec::new();
        for round in 0..6 {
            answers.push(app.get("/tests/").at(base(n + round)).by(user).await);
            answers.push(
                app.post(EXAM.register(id))
                    .at(base(n + round))
                    .by(user)
                    .json(&payment("45000.00", "card"))
                    .await,
            );
        }
        answers
    };
    let operator = async {
        let mut most = 0;
        for _ in 0..20 {
            // Of the operator's own, and new each time.
            let session = operator_of(app).await;
            let sessions = "select count(*) from pg_stat_activity where usename = $1";
            let role = &app.service_role().name;
            most = most.max(session.query_one(sessions, &[role]).await.unwrap().get::<_, i64>(0));
            sleep(Duration::from_millis(20)).await;
        }
        most
    };
    let (answers, most) = futures::future::join(join_all((0..USERS).map(rush)), operator).await;

    let tally = tally(&answers.concat());
    assert!(tally.iter().all(|(status, _)| *status < 500), "{tally:?}");
    assert!(most > 1 && most <= 40, "{most} sessions");
    assert_audit(app).await;
}
