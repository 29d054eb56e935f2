//! The stand-in for payment gateways, as a developer sees it.

use rstest::rstest;
use sugang_tests::{App, Browser, EXAM, Item, PASSWORD, TossServer};

use crate::storm::assert_audit;

const SCREEN: (u32, u32) = (1024, 768);

/// The shop, with the service behind it as `cargo xtask up --gateway` sets it up.
struct Shop {
    browser: Browser,
    /// It plays all gateways.
    stand_in: TossServer,
    app: App,
}

impl Shop {
    /// Logs in, and holds a seat. Returns `None` on a machine without a browser.
    async fn enter() -> Option<Self> {
        let browser = Browser::start("ko", SCREEN).await?;
        let stand_in = TossServer::start().await.expect("there is a free port");
        let [first, others @ ..] = stand_in.settings();
        let builder = App::with(first.0, first.1);
        let app = others
            .into_iter()
            .fold(builder, |app, (name, value)| app.with(name, value));
        let app = app.start().await;
        stand_in.serve(&app.base);
        let minsu = app.user("minsu").await;
        app.add(EXAM, Item::default()).await;
        browser.open(stand_in.url()).await;
        browser.fill("E-mail", &minsu.email).await;
        browser.fill("비밀번호", PASSWORD).await;
        browser.click("로그인").await;
        browser.click("자리 잡기").await;
        browser.sees("held").await;
        Some(Self { browser, stand_in, app })
    }

    /// What a gateway has taken.
    fn taken(&self, gateway: &str) -> i64 {
        self.stand_in.entries(gateway).values().map(|entry| entry.taken).sum()
    }
}

/// Pre-order, payment window, approval and refund, as the README describes them.
#[rstest]
#[case::toss("toss", "카드로 결제", "토스페이먼츠", "REJECT_CARD_COMPANY", "PAY_PROCESS_CANCELED")]
#[case::kakaopay("kakaopay", "카카오페이로 결제", "카카오페이", "failed", "cancelled")]
#[case::portone(
    "portone",
    "계좌이체로 결제",
    "포트원",
    "REJECT_CARD_COMPANY",
    "PAY_PROCESS_CANCELED"
)]
#[tokio::test]
async fn an_order_is_paid_and_given_back_in_a_browser(
    #[case] gateway: &str,
    #[case] pay: &str,
    #[case] name: &str,
    #[case] declined: &str,
    #[case] closed: &str,
) {
    let Some(shop) = Shop::enter().await else {
        return;
    };
    let browser = &shop.browser;
    for (button, reason) in [
        ("결제 거절 · Decline the payment", declined),
        ("창 닫기 · Close the window", closed),
        ("결제, 승인은 거절 · Pay, but decline the confirmation", "402"),
    ] {
        browser.click(pay).await;
        browser.sees("45000 원").await;
        browser.sees(name).await;
        browser.click(button).await;
        browser.sees(reason).await;
        browser.sees("held").await;
    }
    assert_eq!(shop.taken(gateway), 0);
    browser.click(pay).await;
    browser.click("결제, 응답은 유실 · Pay, but lose the answer").await;
    browser.sees("paid").await;
    assert_eq!(shop.taken(gateway), 45_000);

    browser.click("환불").await;
    browser.sees("cancelled").await;
    assert_audit(&shop.app).await;
    browser.click("결제사의 장부").await;
    browser.sees("결제됨 · taken").await;
}

/// The browser goes from the window to the service, which approves, and from there back to the shop.
#[rstest]
#[case::toss("toss", "카드로 결제")]
#[case::kakaopay("kakaopay", "카카오페이로 결제")]
#[case::portone("portone", "계좌이체로 결제")]
#[tokio::test]
async fn a_browser_comes_back_over_the_service(#[case] gateway: &str, #[case] pay: &str) {
    let Some(shop) = Shop::enter().await else {
        return;
    };
    let browser = &shop.browser;
    browser.click("서비스를 거쳐 돌아오기").await;
    browser.click(pay).await;
    browser
        .click("결제, 승인은 거절 · Pay, but decline the confirmation")
        .await;
    browser.sees("payment_declined").await;
    browser.click(pay).await;
    browser.click("결제 · Pay").await;
    browser.sees("paid").await;
    assert_eq!(shop.taken(gateway), 45_000);
    assert_audit(&shop.app).await;
}
