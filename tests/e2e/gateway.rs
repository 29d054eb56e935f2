//! The stand-in for payment gateways, as a developer sees it.

use sugang_tests::{App, Browser, EXAM, Item, PASSWORD, TOSS_SECRET, TossServer};

use crate::storm::assert_audit;

const SCREEN: (u32, u32) = (1024, 768);

/// Pre-order, payment window, approval and refund, as the README describes them.
#[tokio::test]
async fn an_order_is_paid_and_given_back_in_a_browser() {
    let Some(browser) = Browser::start("ko", SCREEN).await else {
        return;
    };
    let toss = TossServer::start().await.expect("there is a free port");
    let app = App::with("payment_gateways", "card=toss")
        .with("toss_url", toss.url())
        .with("toss_secret", TOSS_SECRET)
        .with("cors_allowed_origins", toss.url())
        .start()
        .await;
    toss.serve(&app.base);
    let minsu = app.user("minsu").await;
    app.add(EXAM, Item::default()).await;

    browser.open(toss.url()).await;
    browser.fill("E-mail", &minsu.email).await;
    browser.fill("비밀번호", PASSWORD).await;
    browser.click("로그인").await;
    browser.click("자리 잡기").await;
    browser.sees("held").await;
    browser.click("카드로 결제").await;
    browser.click("카드 거절 · Decline the card").await;
    browser.sees("REJECT_CARD_COMPANY").await;
    browser.click("카드로 결제").await;
    browser.sees("45000 원").await;
    browser.click("결제, 응답은 유실 · Pay, but lose the answer").await;
    browser.sees("paid").await;
    assert_eq!(toss.taken(), 45_000);

    browser.click("환불").await;
    browser.sees("cancelled").await;
    assert_audit(&app).await;
    browser.click("결제사의 장부").await;
    browser.sees("결제됨 · taken").await;
}
