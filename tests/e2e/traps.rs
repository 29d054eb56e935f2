//! An instance that traps ends with all its requests. It leaves nothing behind for the next request.

use std::time::Duration;

use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, User};
use tokio::time::{sleep, timeout};

use crate::{
    storm::assert_audit,
    support::{Hold, paid, register, tally},
};

/// Longer than any wait of this test takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Memory that is too small for a body of this length: an allocation fails, and the instance traps.
const MEMORY: usize = 8 << 20;
const BODY: usize = 15 << 20;

const PAYMENT: &str = r#"{"amount":"45000.00","payment_method":"card"}"#;

/// Sends a request by hand: the harness accepts no 500. `language` is its `Accept-Language`.
async fn post(app: &App, path: &str, user: &User, language: &str, body: &str) -> String {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept-language: {language}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        user.access,
        body.len()
    );
    String::from_utf8_lossy(&app.raw_unfinished(request.as_bytes()).await).into_owned()
}

fn is_internal_error(answer: &str, detail: &str) -> bool {
    answer.starts_with("HTTP/1.1 500 ")
        && answer.contains(r#""code":"internal_error""#)
        && answer.contains(&format!(r#""detail":"{detail}""#))
}

/// The locks that sessions of the service hold or wait for in this database, beside those of every statement.
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

    // In the middle of its statement, with locks of its own, Minsu's registration waits for a row that the test has locked.
    let row = format!("select from {} where id = {id} for update", kind.items);
    let hold = Hold::new(&app, &row).await;
    let (registered, ()) = tokio::join!(post(&app, &path, &minsu, "ko", PAYMENT), async {
        hold.is_waited_for().await;
        assert!(locks(&app, &hold).await > 0 && transactions(&app, &hold).await > 0);
        // The instance that runs the registration takes this request as well.
        let trapped = post(&app, "/token/refresh/", &minsu, "fr, en;q=0.5", &" ".repeat(BODY)).await;
        assert!(is_internal_error(&trapped, "The server failed."), "{trapped}");
    });
    assert!(
        is_internal_error(&registered, "서버 오류가 발생했습니다"),
        "{registered}"
    );

    // While the row is still locked.
    let gone = async {
        while locks(&app, &hold).await > 0 || transactions(&app, &hold).await > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("the transaction is rolled back");
    hold.release().await;
    assert_eq!(tally(&[app.get(kind.path).by(&minsu).await]), [(200, 1)]);
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, 0);

    // The next registration finds nothing in its way.
    paid(&register(&app, kind, id, &minsu).await);
    assert_audit(&app).await;
}
