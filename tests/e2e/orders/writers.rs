//! Orders, and other programs that write users, items and registrations.

use rstest::rstest;
use sugang_tests::{COURSE, EXAM, Item, Kind};

use super::preorder::counts;
use crate::{
    storm::assert_audit,
    support::{approve, confirm, operator, ordered, preorder, shop},
};

/// A user, and an item, take an order along that nothing was paid for.
#[rstest]
#[tokio::test]
async fn what_is_deleted_ends_its_orders(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(
        "delete from users where id = 1",
        "delete from {items}",
        "truncate {items} cascade",
        "truncate users cascade"
    )]
    statement: &str,
) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    ordered(&preorder(&app, kind, id, &minsu).await);
    app.run(&statement.replace("{items}", kind.items), &[]).await;
    let live: i64 = app.one("select count(*) from sugang.orders where is_live", &[]).await;
    assert_eq!(live, 0);
    assert_audit(&app).await;
}

/// Money may be on its way.
#[rstest]
#[tokio::test]
async fn what_is_being_paid_is_not_deleted(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(
        "delete from users where id = 1",
        "delete from {items}",
        "truncate {items} cascade",
        "truncate users cascade",
        "update {items} set id = 77"
    )]
    statement: &str,
) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    assert_eq!(approve(&app, order, &minsu).await.status, 202);
    let refused = app
        .database()
        .batch_execute(&statement.replace("{items}", kind.items))
        .await;
    assert!(format!("{refused:?}").contains("orders_outcome_known"), "{refused:?}");
    assert_audit(&app).await;
}

/// An operator's deletion is refused like that of an item with registrations.
#[rstest]
#[tokio::test]
async fn an_item_with_orders_is_in_use(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    ordered(&preorder(&app, kind, id, &minsu).await);
    let path = format!("/api/operator{}{id}/", kind.path);
    let deleted = app.call("DELETE", &path).by(&operator).header("if-match", "*").await;
    assert_eq!(deleted.code(), "item_in_use");
}

/// The Django service knows no held seats; the guard does.
#[rstest]
#[tokio::test]
async fn no_writer_takes_a_seat_that_is_held(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let capacity = Some(1);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    ordered(&preorder(&app, kind, id, &minsu).await);
    let Kind {
        registrations,
        item_id,
        registered_at,
        ..
    } = kind;
    let insert = format!(
        "insert into {registrations} (user_id, {item_id}, status, {registered_at}) values ({}, {id}, '{}', now())",
        jiyoung.id, kind.active
    );
    let refused = app.database().batch_execute(&insert).await;
    assert!(format!("{refused:?}").contains("capacity_kept"), "{refused:?}");
    // It writes back what it has read, and counts for itself.
    app.run(
        &format!("update {} set registration_count = 7, held_count = 0", kind.items),
        &[],
    )
    .await;
    assert_eq!(counts(&app, kind, id).await, (0, 1));
    // Nor does the name of an order that is not of this transaction take its seat twice.
    let taken = format!(
        "begin; set local sugang.taken_hold = '1'; {insert}; {}; commit",
        insert.replace(&format!("({}, ", jiyoung.id), "(1, ")
    );
    assert!(app.database().batch_execute(&taken).await.is_err());
    app.run("rollback", &[]).await;
    assert_audit(&app).await;
}

/// A user whom an operator deactivates, and who has paid, is registered: the money is there.
#[rstest]
#[tokio::test]
async fn an_inactive_user_gets_what_they_have_paid_for(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    approve(&app, order, &minsu).await;
    app.run("update users set is_active = false where id = $1", &[&minsu.id])
        .await;
    assert_eq!(confirm(&app, order, &operator).await.json()["status"], "paid");
    assert_audit(&app).await;
}
