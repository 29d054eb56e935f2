//! A statement that another writer overtakes, or whose id is taken: sent once more, it answers what it finds then. "Try
//! again" is said only where that can help.

use futures::future::join;
use rstest::rstest;
use serde_json::json;
use sugang_sdk::{
    Client,
    types::{self, ErrorCode, Money, PaymentMethod, Register, Tokens},
};
use sugang_tests::{App, COURSE, EXAM, Item, Kind};

use crate::{
    storm::assert_audit,
    support::{Hold, cancel, paid, payment, register},
};

/// What another writer does, between the first look of a registration and its writing, and what is answered.
const MEANWHILE: &[(&str, u16, &str)] = &[
    ("delete from users where id = 1", 401, "user_not_found"),
    ("delete from {items}", 404, "not_found"),
    ("update {items} set price = 50000", 400, "amount_mismatch"),
    ("update {items} set hidden = true", 404, "not_found"),
    ("update {items} set end_at = now()", 400, "not_open"),
    ("update {items} set price = 0", 400, "invalid"),
    ("update {items} set capacity = 0", 409, "sold_out"),
    (
        "insert into {registrations} (user_id, {item_id}) values (2, 1)",
        409,
        "sold_out",
    ),
    (
        "insert into {registrations} (user_id, {item_id}) values (1, 1)",
        400,
        "already_registered",
    ),
    ("update {items} set title = '고친 과정'", 201, ""),
    (
        "update {items} set start_at = now() + interval '1 hour'",
        400,
        "not_open",
    ),
    (
        "update {items} set description = ''; update users set is_active = false where id = 1",
        401,
        "user_inactive",
    ),
    (
        "update {items} set description = ''; delete from users where id = 1",
        401,
        "user_not_found",
    ),
];

#[rstest]
#[tokio::test]
async fn a_second_look_answers(#[values(EXAM, COURSE)] kind: Kind) {
    for (meanwhile, status, code) in MEANWHILE {
        let app = App::start().await;
        let minsu = app.user("minsu").await;
        app.user("jiyoung").await;
        let item = Item {
            capacity: Some(1),
            ..Item::default()
        };
        let id = app.add(kind, item).await;
        let statement = meanwhile
            .replace("{items}", kind.items)
            .replace("{registrations}", kind.registrations)
            .replace("{item_id}", kind.item_id);
        let other = Hold::new(&app, &statement).await;

        let (answer, ()) = join(register(&app, kind, id, &minsu).into_future(), async {
            other.is_waited_for().await;
            other.commit().await;
        })
        .await;

        assert_eq!((answer.status.as_u16(), answer.code()), (*status, *code), "{meanwhile}");
        let payments: i64 = app.one("select count(*) from payments", &[]).await;
        assert_eq!(payments, i64::from(*status == 201), "{meanwhile}");
        let titles = app
            .rows("select target_title from payments where target_title <> '고친 과정'")
            .await;
        assert_eq!(titles, json!([]));
    }
}

/// What another writer does while a request waits for a row: the path of the request, the row, what is done to it and the
/// like, and what is answered.
const WHILE_WAITING: &[(&str, &str, u16, &str)] = &[
    (
        "cancel",
        "update payments set status = 'cancelled'",
        400,
        "already_cancelled",
    ),
    (
        "cancel",
        "update payments set status = 'refunded'",
        400,
        "already_cancelled",
    ),
    ("cancel", "update payments set user_id = 2", 403, "not_owner"),
    ("cancel", "delete from payments", 404, "not_found"),
    (
        "cancel",
        "delete from payments; delete from {registrations}; delete from users where id = 1",
        401,
        "user_not_found",
    ),
    (
        "cancel",
        "update payments set refund_reason = ''; update users set is_active = false",
        401,
        "user_inactive",
    ),
    (
        "cancel",
        "update {items} set title = ''; update users set is_active = false",
        401,
        "user_inactive",
    ),
    (
        "cancel",
        "update {registrations} set status = 'completed'",
        400,
        "item_completed",
    ),
    ("cancel", "update {registrations} set status = 'cancelled'", 200, ""),
    (
        "cancel",
        "update {items} set end_at = now(), capacity = 0, price = 1",
        200,
        "",
    ),
    (
        "complete",
        "update {registrations} set status = 'completed'",
        400,
        "already_completed",
    ),
    (
        "complete",
        "update {registrations} set status = 'cancelled'",
        400,
        "registration_cancelled",
    ),
    ("complete", "delete from {registrations}", 404, "not_registered"),
    (
        "complete",
        "update {registrations} set {registered_at} = now(); update users set is_active = false",
        401,
        "user_inactive",
    ),
    (
        "complete",
        "delete from payments; delete from {registrations}; delete from users where id = 1",
        401,
        "user_not_found",
    ),
];

#[rstest]
#[tokio::test]
async fn what_was_waited_for_is_read_again(#[values(EXAM, COURSE)] kind: Kind) {
    for (request, meanwhile, status, code) in WHILE_WAITING {
        let app = App::start().await;
        let minsu = app.user("minsu").await;
        app.user("jiyoung").await;
        let id = app.add(kind, Item::default()).await;
        let payment = app.register(kind, &minsu, id, kind.active).await;
        let statement = meanwhile
            .replace("{items}", kind.items)
            .replace("{registrations}", kind.registrations)
            .replace("{registered_at}", kind.registered_at);
        let other = Hold::new(&app, &statement).await;
        let request = match *request {
            "cancel" => cancel(&app, payment, &minsu),
            _ => app.post(kind.complete(id)).by(&minsu),
        };
        let (answer, ()) = join(request.into_future(), async {
            other.is_waited_for().await;
            other.commit().await;
        })
        .await;
        assert_eq!((answer.status.as_u16(), answer.code()), (*status, *code), "{meanwhile}");
    }
}

/// The clock is read after the wait: an exam whose last minute has passed meanwhile is closed.
#[rstest]
#[tokio::test]
async fn a_period_that_ends_during_the_wait_has_ended(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::with("database_timeout_ms", 20_000).start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let ends = format!("update {} set end_at = clock_timestamp() + interval '2 s'", kind.items);
    app.run(&ends, &[]).await;
    let hold = Hold::new(&app, &format!("select from {} where id = {id} for update", kind.items)).await;
    let (answer, ()) = join(register(&app, kind, id, &minsu).into_future(), async {
        hold.is_waited_for().await;
        let over = format!(
            "do $$ begin perform pg_sleep_until(end_at + interval '1 ms') from {}; end $$",
            kind.items
        );
        app.run(&over, &[]).await;
        hold.release().await;
    })
    .await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "not_open"));
    assert_eq!(app.rows("select * from payments").await, json!([]));
}

/// Fails the next statements that write a payment with this error. The trigger works as its owner: the role of the
/// service has no right on the sequence.
async fn fail_next(app: &App, times: i32, raise: &str) {
    let trigger = format!(
        "create sequence if not exists failures; select setval('failures', 1, false);
         create or replace function fail() returns trigger language plpgsql security definer as $$
         begin
             if nextval('failures') <= {times} then raise {raise}; end if;
             return new;
         end $$;
         create or replace trigger fail before insert or update on payments for each row execute function fail()"
    );
    app.database()
        .batch_execute(&trigger)
        .await
        .expect("a trigger can be made");
}

#[rstest]
#[tokio::test]
async fn what_a_race_causes_is_tried_once_more(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values("serialization_failure", "deadlock_detected")] error: &str,
) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;

    fail_next(&app, 1, error).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    fail_next(&app, 1, error).await;
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    assert_audit(&app).await;

    let before = app.state().await;
    fail_next(&app, 2, error).await;
    let answer = register(&app, kind, id, &minsu).await;
    assert_eq!((answer.code(), answer.header("retry-after")), ("busy", "1"));
    assert_eq!(app.state().await, before);
    paid(&register(&app, kind, id, &minsu).await);
}

/// No second try helps against a rule that the service does not know: it is a defect, and logged.
#[tokio::test]
async fn a_rule_that_is_not_known_is_a_defect() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    app.run(
        "alter table payments add constraint of_tomorrow check (amount < 10)",
        &[],
    )
    .await;

    // The harness takes no 500, so the SDK sends this one.
    let tokens = Tokens {
        access: minsu.access.into(),
        refresh: String::new().into(),
        user: types::User {
            id: minsu.id.into(),
            email: minsu.email,
            username: minsu.username,
        },
    };
    let session = Client::new(&app.base).expect("an address").resume(tokens);
    let card = Register {
        amount: Money::won(45_000),
        payment_method: PaymentMethod::Card,
    };
    let error = session.exams().apply(id.into(), card).await.expect_err("it is refused");

    assert_eq!(error.code(), Some(&ErrorCode::Internal));
    assert_eq!(app.rows("select * from payments").await, json!([]));
    assert_audit(&app).await;
}

/// After a restore, a sequence may begin with ids that its table has.
#[rstest]
#[tokio::test]
async fn a_sequence_that_lags_behind_is_advanced(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let signup = async |name: &str| {
        let body = json!({"email": format!("{name}@example.com"), "username": name, "password": "correct1"});
        app.post("/signup/").json(&body).await
    };
    for n in 0..5 {
        assert_eq!(signup(&format!("user{n}")).await.status, 201);
        let id = app.add(kind, Item::default()).await;
        paid(&register(&app, kind, id, &minsu).await);
    }
    for table in ["users", "payments", "sugang.audit_log", kind.registrations] {
        // A default that Django has made is no identity, and its sequence needs a right of its own.
        if table == "users" {
            let serial =
                "alter table users alter id drop identity; create sequence public.\"Users ids\" owned by users.id;
                          alter table users alter id set default nextval('public.\"Users ids\"')";
            let grant = format!("select sugang.grant_service('{}')", app.service_role().name);
            app.database()
                .batch_execute(&format!("{serial}; {grant}"))
                .await
                .expect("it can be made serial");
        } else {
            app.run(
                &format!("select setval(pg_get_serial_sequence('{table}', 'id'), 2)"),
                &[],
            )
            .await;
        }
        let answer = signup(&format!("after_{}", table.replace('.', "_"))).await;
        assert_eq!(answer.status, 201, "{table}: {answer:?}");
        let id = app.add(kind, Item::default()).await;
        paid(&register(&app, kind, id, &minsu).await);
    }
    assert_eq!(signup("user1").await.code(), "invalid");
    assert_audit(&app).await;
}

/// Ids have 64 bits; the Django service gave the copy in payments 32.
#[rstest]
#[tokio::test]
async fn an_item_may_have_any_id(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for id in [2_147_483_648, 3_000_000_000, i64::MAX] {
        app.run(
            &format!(
                "insert into {} (id, title, price, start_at, end_at)
                 values ($1, '큰 번호', 45000, '2020-01-01', '2099-01-01')",
                kind.items
            ),
            &[&id],
        )
        .await;
        let body = payment("45000.00", "card");
        let paid = paid(&app.post(kind.register(id)).by(&minsu).json(&body).await);
        let shown = app.get(format!("/me/payments/{paid}/")).by(&minsu).await;
        assert_eq!(shown.json()["target_id"], id);
        assert_eq!(cancel(&app, paid, &minsu).await.status, 200);
    }
    assert_audit(&app).await;
    for path in [
        "/tests/9223372036854775808/",
        "/me/payments/9223372036854775808/",
        "/me/payments/9223372036854775807/",
        "/tests/?page=9223372036854775807",
        "/me/payments/?page=99999999999999999999",
    ] {
        assert_eq!(app.get(path).by(&minsu).await.status, 404, "{path}");
    }
}

/// Gives each table whose ids a sequence gives one row with the id 1000, past the constraints and triggers.
const ROWS_OF_A_COPY: &str = "
    set session_replication_role = replica;
    do $$
    declare
        change text;
    begin
        for change in
            with tables as (
                select oid::regclass as name from pg_class
                where relkind = 'r' and relnamespace in ('public'::regnamespace, 'sugang'::regnamespace)
            )
            select * from (
                select format('alter table %s drop constraint %I', name, conname)
                from tables join pg_constraint on conrelid = name
                where contype in ('c', 'f', 'p') order by contype
            ) constraints
            union all
            select format('alter table %s alter %I drop not null', name, attname)
            from tables join pg_attribute on attrelid = name
            where attnum > 0 and attname <> 'id' and not attisdropped
            union all
            select format('insert into %s (id) overriding system value values (1000)', name)
            from tables join pg_attribute on attrelid = name
            where attidentity <> ''
        loop
            execute change;
        end loop;
    end $$;
    reset session_replication_role";

/// What logical replication or a restore of data alone has copied: rows, and no sequence.
#[tokio::test]
async fn every_sequence_that_lags_behind_is_advanced() {
    let app = App::start().await;
    let keys = "select array_agg(conname::text order by conname)
                from pg_constraint join pg_attribute on attrelid = conrelid
                where contype = 'p' and attname = 'id' and attidentity <> ''
                  and conrelid <> 'django_content_type'::regclass";
    let keys: Vec<String> = app.one(keys, &[]).await;
    let listed = include_str!("../../api/src/store/constraints.rs")
        .lines()
        .filter_map(|line| line.trim().strip_suffix("\", SequenceBehind),")?.strip_prefix("(\""));
    // The ledger has the ids of payments and refunds.
    let mut listed: Vec<_> = listed.filter(|key| *key != "ledger_pkey").collect();
    listed.sort_unstable();
    assert_eq!(keys, listed);

    app.database()
        .batch_execute(ROWS_OF_A_COPY)
        .await
        .expect("rows with this id");
    app.run("select sugang.advance_sequences('advance_sequences')", &[])
        .await;

    let behind = "select sequencename::text from pg_sequences
                  where last_value is distinct from 1000 and sequencename <> 'django_content_type_id_seq'";
    assert_eq!(app.rows(behind).await, json!([]));
}
