//! The pages of what needs no payment window: orders, and registrations that a file completes.

use serde_json::json;
use sugang_tests::{App, Browser, COURSE, Item};

use super::{ENGLISH, TABLET, assert_no_complaint, log_in};
use crate::{
    storm::assert_audit,
    support::{approve, operator, ordered, preorder},
};

#[tokio::test]
async fn orders_are_confirmed_cancelled_and_refunded() {
    let Some(browser) = Browser::start("en-US", TABLET).await else {
        return;
    };
    let app = App::with("payment_gateways", "bank_transfer=manual")
        .with("manual_account", "국민은행 123456-01-123456")
        .start()
        .await;
    let ujin = operator(&app).await;
    let item = app.add(COURSE, Item::default()).await;
    let mut users = Vec::new();
    for name in ["minsu", "jisu", "haneul"] {
        let user = app.user(name).await;
        let order = ordered(&preorder(&app, COURSE, item, &user).await);
        assert_eq!(approve(&app, order, &user).await.status, 202);
        users.push(user);
    }
    log_in(&browser, &app, &ujin, ENGLISH).await;
    browser.click("Orders").await;
    browser.sees("3 in all").await;

    browser.click("Confirm the deposit: minsu@example.com").await;
    browser.fill("Amount", "44000").await;
    browser.fill("Reference of the payment", "transfer 3").await;
    browser.fill("Reason", "seen on the account").await;
    browser.click("Continue").await;
    browser
        .sees("The deposit of minsu@example.com has arrived, and they are registered for 정보처리기사 실기.")
        .await;
    browser.click("Confirm ₩45,000").await;
    browser.sees("amount").await;
    browser.click("Back").await;
    browser.fill("Amount", "45,000").await;
    browser.click("Continue").await;
    browser.click("Confirm ₩45,000").await;
    browser.sees("The deposit is confirmed, and the user registered.").await;

    browser.click("Cancel the order: jisu@example.com").await;
    browser.fill("Reason", "wrong course").await;
    browser.click("Continue").await;
    browser.click("Cancel the order").await;
    browser.sees("The order is cancelled.").await;

    // The deposit of an order that has ended, for which no seat is left.
    app.run("update courses set capacity = 1 where id = $1", &[&item]).await;
    browser.click("Confirm the deposit: jisu@example.com").await;
    browser.fill("Amount", "45000").await;
    browser.fill("Reference of the payment", "transfer 4").await;
    browser.fill("Reason", "came late").await;
    browser.click("Continue").await;
    browser.click("Confirm ₩45,000").await;
    browser.sees("No seat is left: the money is to be given back.").await;
    browser.click("Note the refund: jisu@example.com").await;
    browser.fill("Reference of the refund", "transfer 5").await;
    browser.click("Continue").await;
    browser.sees("It sends no money.").await;
    browser.click("₩45,000 went back").await;
    browser.sees("The refund is noted.").await;

    browser.fill("Status", "awaiting_deposit").await;
    browser.sees("1 in all").await;
    browser.sees("haneul@example.com").await;
    let states = app
        .rows("select o.status, r.status as refund from sugang.orders o left join sugang.refunds r using (payment_id) order by o.id")
        .await;
    let expected = json!([
        {"status": "paid", "refund": null},
        {"status": "refund_due", "refund": "done"},
        {"status": "awaiting_deposit", "refund": null},
    ]);
    assert_eq!(states, expected);
    assert_audit(&app).await;
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn registrations_are_completed_by_a_file() {
    let Some(browser) = Browser::start("en-US", TABLET).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    app.add(COURSE, Item::default()).await;
    for name in ["minsu", "jisu"] {
        let user = app.user(name).await;
        app.register(COURSE, &user, 1, "enrolled").await;
    }
    log_in(&browser, &app, &ujin, ENGLISH).await;
    browser.click("정보처리기사 실기").await;
    browser.click("Complete by a file").await;
    browser.choose("File", "wrong.csv", "id\n1\n7\n").await;
    browser.click("Continue").await;
    browser
        .sees("All registrations in wrong.csv will be completed; none of them, if one cannot be.")
        .await;
    browser.click("Complete").await;
    browser.sees("Not found").await;
    browser.click("Back").await;
    browser
        .choose("File", "right.csv", "email,id\nminsu@example.com,1\n")
        .await;
    browser.click("Continue").await;
    browser.click("Complete").await;
    browser.sees("Completed 1.").await;
    let states = app
        .rows("select id, status from course_registrations order by id")
        .await;
    let expected = json!([{"id": 1, "status": "completed"}, {"id": 2, "status": "enrolled"}]);
    assert_eq!(states, expected);
    assert_no_complaint(&browser).await;
}
