//! Another program, the Django service or an operator with SQL, writes registrations, payments, users and items: what is
//! derived from them follows.

use futures::future::join;
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, COURSE, EXAM, Item, Kind, User};
use tokio_postgres::{NoTls, error::SqlState};

use crate::{
    storm::{assert_audit, audit},
    support::{cancel, paid, register},
};

/// Runs statements of another program, with the names of the kind in them.
async fn by_hand(app: &App, kind: Kind, statements: &str) -> Result<(), SqlState> {
    let statements = statements
        .replace("{items}", kind.items)
        .replace("{registrations}", kind.registrations)
        .replace("{item_id}", kind.item_id)
        .replace("{active}", kind.active)
        .replace("{kind}", kind.payment_type);
    let done = app.database().batch_execute(&statements).await;
    done.map_err(|error| error.code().cloned().unwrap_or_else(|| panic!("{error:?}")))
}

/// What a user sees of an item: the number of registrations, and whether one is the user's.
async fn seen(app: &App, kind: Kind, id: i64, user: &User) -> (Value, Value) {
    let item = app.get(kind.item(id)).by(user).await;
    let item = item.json();
    (item["registration_count"].clone(), item["is_registered"].clone())
}

async fn payments(app: &App) -> Value {
    app.rows("select id, user_id, status, registration_id from payments order by id")
        .await
}

#[rstest]
#[tokio::test]
async fn a_registration_written_by_hand_is_counted_and_cancelled(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    for statements in [
        "insert into {registrations} (user_id, {item_id}) values (1, 1);
         insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method)
            select 1, '{kind}', content_type_id, 1, 45000, 'card' from sugang.kinds where kind = '{kind}'",
        // The payment first, and the registration taken up again.
        "insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method)
            select 1, '{kind}', content_type_id, 1, 45000, 'card' from sugang.kinds where kind = '{kind}';
         update {registrations} set status = '{active}'",
    ] {
        by_hand(&app, kind, statements).await.expect("anyone may write");
        assert_eq!(seen(&app, kind, id, &minsu).await, (json!(1), json!(true)));
        assert_audit(&app).await;
        assert_eq!(register(&app, kind, id, &minsu).await.code(), "already_registered");

        let payment: i64 = app.one("select max(id) from payments", &[]).await;
        assert_eq!(cancel(&app, payment, &minsu).await.status, 200);

        assert_eq!(seen(&app, kind, id, &minsu).await, (json!(0), json!(false)));
        assert_audit(&app).await;
    }
    let snapshots = app
        .rows("select distinct target_title, registration_id, registration_time is not null as timed from payments")
        .await;
    let snapshot = json!([{"target_title": "정보처리기사 실기", "registration_id": 1, "timed": true}]);
    assert_eq!(snapshots, snapshot);
}

#[rstest]
#[tokio::test]
async fn the_seat_of_a_deleted_user_comes_back(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(false, true)] cascade: bool,
) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let item = Item {
        capacity: Some(1),
        ..Item::default()
    };
    let id = app.add(kind, item).await;
    paid(&register(&app, kind, id, &minsu).await);
    assert_eq!(register(&app, kind, id, &jiyoung).await.code(), "sold_out");

    let deletion = match cascade {
        false => {
            "delete from {registrations} where user_id = 1; delete from payments where user_id = 1;
                  delete from users where id = 1"
        }
        true => {
            "alter table {registrations} drop constraint {registrations}_user_id_fkey,
                    add foreign key (user_id) references users on delete cascade;
                 alter table payments drop constraint payments_user_id_fkey,
                    add foreign key (user_id) references users on delete cascade;
                 delete from users where id = 1"
        }
    };
    by_hand(&app, kind, deletion).await.expect("a user may be deleted");

    assert_eq!(seen(&app, kind, id, &jiyoung).await, (json!(0), json!(false)));
    assert_audit(&app).await;
    paid(&register(&app, kind, id, &jiyoung).await);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_capacity_lowered_below_what_is_taken_means_sold_out(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let item = Item {
        capacity: Some(5),
        ..Item::default()
    };
    let id = app.add(kind, item).await;
    let mut payments = Vec::new();
    for name in ["minsu", "jiyoung", "hana"] {
        let user = app.user(name).await;
        payments.push((paid(&register(&app, kind, id, &user).await), user));
    }
    let late = app.user("late").await;

    by_hand(&app, kind, "update {items} set capacity = 2")
        .await
        .expect("it may be lowered");

    let shown = app.get(kind.item(id)).by(&late).await;
    let shown = ["registration_count", "capacity", "remaining"].map(|key| shown.json()[key].clone());
    assert_eq!(shown, [3, 2, 0].map(Value::from));
    assert_audit(&app).await;
    // Two of three have to go before a seat is free.
    for (payment, user) in payments.into_iter().take(2) {
        assert_eq!(register(&app, kind, id, &late).await.code(), "sold_out");
        assert_eq!(cancel(&app, payment, &user).await.status, 200);
    }
    paid(&register(&app, kind, id, &late).await);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn no_writer_takes_a_seat_beyond_the_capacity(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let item = Item {
        capacity: Some(1),
        ..Item::default()
    };
    let id = app.add(kind, item).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    paid(&register(&app, kind, id, &jiyoung).await);

    for statement in [
        "update {registrations} set status = '{active}' where user_id = 1",
        "insert into users (email, username, password) values ('hana@example.com', 'hana', '');
         insert into {registrations} (user_id, {item_id}) values (3, 1)",
    ] {
        let refused = by_hand(&app, kind, statement).await;
        assert_eq!(refused, Err(SqlState::CHECK_VIOLATION), "{statement}");
    }
    assert_eq!(seen(&app, kind, id, &minsu).await, (json!(1), json!(false)));
    assert_audit(&app).await;

    let raised = "update {items} set capacity = 2; update {registrations} set status = '{active}' where user_id = 1";
    by_hand(&app, kind, raised).await.expect("there is a seat");
    assert_eq!(seen(&app, kind, id, &minsu).await, (json!(2), json!(true)));
}

/// The user has paid and holds nothing, which the audit reports. The money is never taken twice.
#[rstest]
#[tokio::test]
async fn a_registration_cancelled_by_hand_is_taken_up_with_its_payment(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(
        "update {registrations} set status = 'cancelled'",
        "update {registrations} set status = 'cancelled', cancelled_at = now()",
        "delete from {registrations}"
    )]
    statement: &str,
) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    by_hand(&app, kind, statement).await.expect("an operator may");
    assert_eq!(seen(&app, kind, id, &minsu).await, (json!(0), json!(false)));
    let found: Vec<_> = audit(&app).await.into_iter().map(|finding| finding.check).collect();
    assert_eq!(found, ["active_payment_without_active_registration"]);

    let body = json!({"amount": 45000, "payment_method": "kakaopay"});
    let again = app.post(kind.register(id)).by(&minsu).json(&body).await;

    assert_eq!(
        (paid(&again), &again.json()["payment_method"]),
        (payment, &json!("card"))
    );
    assert_eq!(again.json()["transaction_metadata"]["estimated_fee"], 1440.0);
    assert_eq!(seen(&app, kind, id, &minsu).await, (json!(1), json!(true)));
    assert_eq!(
        payments(&app).await[0]["registration_id"],
        again.json()[kind.registration_key]
    );
    assert_audit(&app).await;
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    assert_ne!(paid(&register(&app, kind, id, &minsu).await), payment);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_payment_cancelled_or_deleted_by_hand_frees_its_seat(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(
        "update payments set status = 'cancelled'",
        "update payments set status = 'refunded', cancelled_at = now()",
        "delete from payments",
        "truncate payments"
    )]
    statement: &str,
) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);

    by_hand(&app, kind, statement).await.expect("an operator may");

    assert_eq!(seen(&app, kind, id, &minsu).await, (json!(0), json!(false)));
    assert_audit(&app).await;
    assert!(["already_cancelled", "not_found"].contains(&cancel(&app, payment, &minsu).await.code()));
    assert_ne!(paid(&register(&app, kind, id, &minsu).await), payment);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_completed_registration_survives_its_refund(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    paid(&register(&app, kind, id, &minsu).await);
    assert_eq!(app.post(kind.complete(id)).by(&minsu).await.status, 200);

    by_hand(&app, kind, "update payments set status = 'refunded'")
        .await
        .expect("an operator may");

    assert_eq!(seen(&app, kind, id, &minsu).await, (json!(1), json!(true)));
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_registration_and_its_payment_may_be_moved(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values("user_id", "item")] to: &str,
    #[values(false, true)] payment_first: bool,
) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    let other = Item {
        title: "다른 과정",
        ..Item::default()
    };
    app.add(kind, other).await;
    // Cancelled once, so an old payment names the registration too.
    let payment = paid(&register(&app, kind, id, &minsu).await);
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    paid(&register(&app, kind, id, &minsu).await);

    let mut statements = match to {
        "item" => [
            "update {registrations} set {item_id} = 2",
            "update payments set object_id = 2 where status = 'paid'",
        ],
        _ => [
            "update {registrations} set user_id = 2",
            "update payments set user_id = 2 where status = 'paid'",
        ],
    };
    if payment_first {
        statements.reverse();
    }
    for statement in statements {
        by_hand(&app, kind, statement).await.expect("an operator may");
    }

    assert_audit(&app).await;
    let (at, holder) = if to == "item" { (2, &minsu) } else { (1, &jiyoung) };
    assert_eq!(seen(&app, kind, at, holder).await, (json!(1), json!(true)));
    let snapshot = app
        .rows("select registration_id, target_title from payments where status = 'paid'")
        .await;
    let title = if to == "item" {
        "다른 과정"
    } else {
        "정보처리기사 실기"
    };
    assert_eq!(snapshot, json!([{"registration_id": 1, "target_title": title}]));
    assert_eq!(cancel(&app, 2, holder).await.status, 200);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn edits_of_a_payment_are_in_the_history(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    paid(&register(&app, kind, id, &minsu).await);
    for statement in [
        "update payments set amount = 40000",
        "update payments set id = 77",
        "update payments set payment_type = 'voucher'",
        "update payments set cancelled_at = now()",
        "update {registrations} set id = 99; update payments set registration_id = 99",
        "update {registrations} set completed_at = now()",
    ] {
        by_hand(&app, kind, statement).await.expect("an operator may");
        assert_audit(&app).await;
    }
    let rows = "select id, payment_type, amount::text, cancelled_at, registration_id from payments";
    let expected = json!([{"id": 77, "payment_type": kind.payment_type, "amount": "40000.00", "cancelled_at": null,
                           "registration_id": 99}]);
    assert_eq!(app.rows(rows).await, expected);

    // The other kind has no such item, so the payment pays for nothing: a person has to decide, and the history has it.
    let other =
        "update payments set content_type_id = (select content_type_id from sugang.kinds where kind <> '{kind}')";
    by_hand(&app, kind, other).await.expect("an operator may");
    let kinds = "select payment_type <> '{kind}' as other from payments".replace("{kind}", kind.payment_type);
    assert_eq!(app.rows(&kinds).await, json!([{"other": true}]));
    let mut found: Vec<_> = audit(&app).await.into_iter().map(|finding| finding.check).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "active_payment_without_active_registration",
            "active_registration_without_active_payment"
        ]
    );
    assert_eq!(cancel(&app, 77, &minsu).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_word_that_is_no_status_is_refused(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    paid(&register(&app, kind, id, &minsu).await);
    let before = app.state().await;
    for statement in [
        "update {registrations} set status = 'gone'",
        "update payments set status = 'gone'",
        "update payments set amount = 0",
        "update payments set amount = -1",
        "update payments set payment_method = 'free'",
        "update payments set object_id = -1",
    ] {
        let refused = by_hand(&app, kind, statement).await;
        assert_eq!(refused, Err(SqlState::CHECK_VIOLATION), "{statement}");
    }
    let unknown = "update payments set content_type_id = content_type_id + 100";
    assert_eq!(by_hand(&app, kind, unknown).await, Err(SqlState::FOREIGN_KEY_VIOLATION));
    assert_eq!(app.state().await, before);
}

#[rstest]
#[tokio::test]
async fn truncated_tables_leave_consistent_counts(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(
        "truncate {registrations}, payments",
        "truncate payments, {registrations}",
        "truncate {items} cascade; truncate payments",
        "truncate users cascade",
        "truncate {registrations}, payments restart identity",
        "truncate {registrations}; truncate payments"
    )]
    statement: &str,
) {
    let app = App::start().await;
    for name in ["minsu", "jiyoung"] {
        let user = app.user(name).await;
        for _ in 0..2 {
            let id = app.add(kind, Item::default()).await;
            paid(&register(&app, kind, id, &user).await);
        }
    }

    by_hand(&app, kind, statement).await.expect("an operator may");

    let count = format!("select coalesce(sum(registration_count), 0) from {}", kind.items);
    assert_eq!(app.one::<i64>(&count, &[]).await, 0);
    assert_audit(&app).await;
    let user = app.user("hana").await;
    let id = app.add(kind, Item::default()).await;
    paid(&register(&app, kind, id, &user).await);
    assert_audit(&app).await;
}

/// The Django service adds to the count itself, and saves an item with the count that it has read before.
#[rstest]
#[tokio::test]
async fn a_count_written_by_another_program_is_ignored(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    paid(&register(&app, kind, id, &minsu).await);
    for statement in [
        "update {items} set registration_count = registration_count + 1",
        "update {items} set registration_count = registration_count - 1",
        "update {items} set registration_count = -7, title = '고친 과정'",
        "update {items} set registration_count = 0",
        "insert into {items} (title, price, start_at, end_at, registration_count) values ('x', 1, now(), now(), 7);
         update {items} set registration_count = 3",
        // A foreign key is checked at the end where Django has made it: the registrations first, then the item.
        "alter table {registrations} drop constraint {registrations}_{item_id}_fkey;
         insert into {registrations} (user_id, {item_id}) values (1, 9);
         insert into {items} (id, title, price, start_at, end_at) values (9, 'x', 0, now(), now());
         update {items} set id = 10 where id = 9; update {registrations} set {item_id} = 10 where {item_id} = 9;
         update {registrations} set {item_id} = 9 where {item_id} = 10; update {items} set id = 9 where id = 10;
         alter table {registrations} add foreign key ({item_id}) references {items}",
    ] {
        by_hand(&app, kind, statement).await.expect("anyone may write");
        assert_eq!(
            seen(&app, kind, id, &minsu).await,
            (json!(1), json!(true)),
            "{statement}"
        );
        let wrong = audit(&app).await.into_iter().map(|finding| finding.check);
        let wrong: Vec<_> = wrong
            .filter(|check| check != "active_registration_without_active_payment")
            .collect();
        assert_eq!(wrong, [] as [&str; 0], "{statement}");
    }
}

/// As `pg_dump --data-only --disable-triggers` restores: no trigger lists the items, and an operator makes up for it.
#[rstest]
#[tokio::test]
async fn items_are_listed_again(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.add(kind, Item::default()).await;
    let counts = async || {
        let mut counts = Vec::new();
        for query in ["", "?status=available", "?search=기사"] {
            let list = app.get(format!("{}{query}", kind.path)).by(&minsu).await;
            let listed = list.json()["results"].as_array().map(Vec::len);
            counts.push((list.json()["count"].as_u64().unwrap(), listed.unwrap()));
        }
        counts
    };
    let restore = "set session_replication_role = replica;
         delete from {items};
         insert into {items} (title, price, start_at, end_at, hidden, search_vector)
            select title, 45000, '2020-01-01', ends::timestamptz, hidden, sugang.item_words(title, null)
            from (values ('기사 1', '2099-12-31', false), ('기사 2', '2021-01-01', false), ('기사 3', 'infinity', false),
                         ('기사 4', '2019-01-01', false), ('기사 5', '2099-12-31', true)) v (title, ends, hidden);
         set session_replication_role = origin";
    by_hand(&app, kind, restore).await.expect("a superuser may");
    assert_ne!(counts().await[0], (4, 4));
    let recount = format!("select sugang.recount_{}()", kind.payment_type);
    for _ in 0..2 {
        assert_eq!(app.one::<i64>(&recount, &[]).await, 0);
        assert_eq!(counts().await, [(4, 4), (2, 2), (4, 4)]);
    }
    assert_audit(&app).await;
}

/// An import with disabled triggers leaves counts behind, which an operator corrects. Until then no money is stuck.
#[rstest]
#[tokio::test]
async fn counts_are_taken_again(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    let import = "set session_replication_role = replica;
         insert into {registrations} (user_id, {item_id}) values (1, 1), (2, 1);
         set session_replication_role = origin;
         insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method)
            select u.id, '{kind}', content_type_id, 1, 45000, 'card' from users u, sugang.kinds where kind = '{kind}'";
    by_hand(&app, kind, import).await.expect("a superuser may");
    assert_eq!(seen(&app, kind, id, &minsu).await.0, 0);

    // The count would be negative, so it is taken again.
    assert_eq!(cancel(&app, 1, &minsu).await.status, 200);
    assert_eq!(seen(&app, kind, id, &jiyoung).await, (json!(1), json!(true)));

    let import = "set session_replication_role = replica;
         insert into {registrations} (user_id, {item_id}) select u.id, 1 from users u where id = 1
            on conflict (user_id, {item_id}) do update set status = '{active}', cancelled_at = null;
         set session_replication_role = origin";
    by_hand(&app, kind, import).await.expect("a superuser may");
    let recount = format!("select sugang.recount_{}()", kind.payment_type);
    assert_eq!(app.one::<i64>(&recount, &[]).await, 1);
    assert_eq!(app.one::<i64>(&recount, &[]).await, 0);
    assert_eq!(seen(&app, kind, id, &minsu).await, (json!(2), json!(true)));

    // What it did becomes a part of the history, too.
    let remove = "set session_replication_role = replica; delete from payments where user_id = 1;
         update payments set amount = 1 where user_id = 2; set session_replication_role = origin";
    by_hand(&app, kind, remove).await.expect("a superuser may");
    let log = format!(
        "select sugang.log_unlogged_payments() + sugang.log_unlogged_{}_registrations()",
        kind.payment_type
    );
    assert_eq!(app.one::<i64>(&log, &[]).await, 2 + 2);
    assert_eq!(app.one::<i64>(&log, &[]).await, 0);
    let found: Vec<_> = audit(&app).await.into_iter().map(|finding| finding.check).collect();
    assert_eq!(found, ["active_registration_without_active_payment"]);
}

/// Two statements that write many registrations for the same items in opposite orders wait for each other in one order.
#[rstest]
#[tokio::test]
async fn writers_of_many_rows_do_not_deadlock(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    for name in ["minsu", "jiyoung"] {
        app.user(name).await;
    }
    for _ in 0..200 {
        app.add(kind, Item::default()).await;
    }
    let writer = async |user: i64, order: &str| {
        let (session, connection) = tokio_postgres::connect(app.database_url(), NoTls)
            .await
            .expect("a connection");
        tokio::spawn(connection);
        let (registrations, item_id, items) = (kind.registrations, kind.item_id, kind.items);
        for _ in 0..10 {
            let insert = format!(
                "insert into {registrations} (user_id, {item_id}) select {user}, id from {items} order by id {order}"
            );
            session
                .batch_execute(&insert)
                .await
                .unwrap_or_else(|error| panic!("{error:?}"));
            let delete = format!("delete from {registrations} where user_id = {user}");
            session
                .batch_execute(&delete)
                .await
                .unwrap_or_else(|error| panic!("{error:?}"));
        }
    };

    join(writer(1, "asc"), writer(2, "desc")).await;

    assert_audit(&app).await;
}

/// As a program that escapes by backslashes needs it, by `alter role … set` or `alter database … set`.
#[rstest]
#[tokio::test]
async fn a_writer_that_reads_backslashes_writes_the_same(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.run("set standard_conforming_strings = off", &[]).await;
    let write = "insert into {items} (title, description, price, start_at, end_at, created_at, updated_at)
            values ('C++ 입문', 'c# a+b', 45000, now() - interval '1 day', now() + interval '1 day', now(), now());
         insert into {registrations} (user_id, {item_id}) values (1, 1);
         insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method)
            select 1, '{kind}', content_type_id, 1, 45000, 'card' from sugang.kinds where kind = '{kind}';
         update {items} set title = 'C++ 심화' where id = 1;
         update payments set status = 'cancelled'; update {registrations} set status = 'cancelled'";
    by_hand(&app, kind, write).await.expect("anyone may write");
    app.run("set standard_conforming_strings = on", &[]).await;
    let found = app.get(format!("{}?search=c%2B%2B", kind.path)).by(&minsu).await;
    assert_eq!(found.json()["count"], 1, "{found:?}");
    assert_audit(&app).await;
}
