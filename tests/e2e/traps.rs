//! An instance that traps ends with all that it is at. It leaves nothing to whoever is served next.

use std::time::Duration;

use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, User};
use tokio::time::{sleep, timeout};

use crate::{
    storm::assert_audit,
    support::{Hold, paid, register, tally},
};

/// Longer than anything that is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Too little for a body of this length: an allocation fails, and the instance traps.
const MEMORY: usize = 8 << 20;
const BODY: usize = 15 << 20;

const PAYMENT: &str = r#"{"amount":"45000.00","payment_method":"card"}"#;

/// A request by hand: what the harness asks is never answered 500.
async fn post(app: &App, path: &str, user: &User, body: &str) -> String {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        user.access,
        body.len()
    );
    String::from_utf8_lossy(&app.raw_unfinished(request.as_bytes()).await).into_owned()
}

fn is_internal_error(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 500 ") && answer.contains(r#""code":"internal_error""#)
}

/// Locks that other sessions than ours hold or wait for in this database, beside those of every statement.
async fn locks(app: &App, hold: &Hold) -> i64 {
    app.one(
        "select count(*) from pg_locks l join pg_database d on d.oid = l.database
         where d.datname = current_database() and l.pid <> all (array[pg_backend_pid(), $1])
           and (l.locktype = 'advisory' or l.mode = 'RowExclusiveLock')",
        &[&hold.pid().await],
    )
    .await
}

async fn transactions(app: &App, hold: &Hold) -> i64 {
    app.one(
        "select count(*) from pg_stat_activity where datname = current_database()
           and pid <> all (array[pg_backend_pid(), $1]) and backend_type = 'client backend' and xact_start is not null",
        &[&hold.pid().await],
    )
    .await
}

#[rstest]
#[tokio::test]
async fn a_trap_leaves_no_transaction_and_no_lock(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::with("max_body_bytes", 16 << 20)
        .with("lock_ttl_ms", 100)
        .limits(|limits| limits.instance_memory = MEMORY)
        .start()
        .await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;

    let path = kind.register(id);

    // In the middle of its statement, with locks of its own, Minsu's registration waits for a row of ours.
    let row = format!("select from {} where id = {id} for update", kind.items);
    let hold = Hold::new(&app, &row).await;
    let (registered, ()) = tokio::join!(post(&app, &path, &minsu, PAYMENT), async {
        hold.is_waited_for().await;
        assert!(locks(&app, &hold).await > 0 && transactions(&app, &hold).await > 0);
        // The instance that has the registration takes this on, too.
        let trapped = post(&app, "/token/refresh/", &minsu, &" ".repeat(BODY)).await;
        assert!(is_internal_error(&trapped), "{trapped}");
    });
    assert!(is_internal_error(&registered), "{registered}");

    // Before the row is free.
    let gone = async {
        while locks(&app, &hold).await > 0 || transactions(&app, &hold).await > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("what trapped is cleaned up");
    hold.release().await;
    assert_eq!(tally(&[app.get(kind.path).by(&minsu).await]), [(200, 1)]);
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, 0);

    // Nothing of it stands in the way of the next one.
    paid(&register(&app, kind, id, &minsu).await);
    assert_audit(&app).await;
}
