//! `/console/`: its files by HTTP, and the page in a browser.

mod orders;

use std::{path::Path, time::Duration};

use futures::future::join_all;
use serde_json::json;
use sugang_tests::{App, Browser, COURSE, ENTER, ESCAPE, Item, PASSWORD, TAB, User};
use tokio::time::timeout;

use crate::{
    storm::assert_audit,
    support::{approve, cancel, cancel_order, confirm, operator, ordered, paid, preorder, register, while_registering},
};

/// A tablet on its side.
const TABLET: (u32, u32) = (1024, 768);
/// The same upright.
const UPRIGHT: (u32, u32) = (768, 1024);

#[tokio::test]
async fn its_files_have_types_tags_and_a_policy() {
    let app = App::start().await;
    for (path, media_type) in [
        ("/console/", "text/html; charset=utf-8"),
        ("/console", "text/html; charset=utf-8"),
        ("/console/app/main.js", "text/javascript; charset=utf-8"),
        ("/console/common/style.css", "text/css; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
    ] {
        let first = app.get(path).await;
        assert_eq!(
            (first.status.as_u16(), first.header("content-type")),
            (200, media_type),
            "{path}"
        );
        let policy = first.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; ") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(first.header("x-content-type-options"), "nosniff");
        assert_eq!(first.header("cache-control"), "no-cache");
        let tag = first.header("etag").to_owned();
        let again = app.get(path).header("if-none-match", tag.as_str()).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
        // A HEAD before a GET leaves nothing empty behind.
        let head = app.call("HEAD", path).await;
        assert_eq!(head.header("content-length"), first.body.len().to_string());
        assert!(app.get(path).await.body == first.body, "{path}");
    }
    for path in ["/console/app/", "/console/x.js", "/consolex"] {
        assert_eq!(app.get(path).await.code(), "not_found", "{path}");
    }
    for method in ["POST", "DELETE", "OPTIONS"] {
        let refused = app.call(method, "/console/").await;
        assert_eq!(
            (refused.code(), refused.header("allow")),
            ("method_not_allowed", "GET, HEAD"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn its_files_take_no_place_of_the_api() {
    let app = App::limited(|limits| limits.requests = 1).await;
    let [minsu, jisu] = [app.user("minsu").await, app.user("jisu").await];
    while_registering(&app, &minsu, async {
        let waiting = timeout(Duration::from_millis(300), app.get("/tests/").by(&jisu).into_future()).await;
        assert!(waiting.is_err(), "the one place is not occupied");
        assert_eq!(app.get("/console/").await.status, 200);
    })
    .await;
}

/// Opens the page and logs in with the mouse.
async fn log_in(browser: &Browser, app: &App, user: &User, [email, password, button]: [&str; 3]) {
    browser.open(&format!("{}/console/", app.base)).await;
    browser.fill(email, &user.email).await;
    browser.fill(password, PASSWORD).await;
    browser.click(button).await;
}

const KOREAN: [&str; 3] = ["이메일", "비밀번호", "로그인"];
const ENGLISH: [&str; 3] = ["E-mail", "Password", "Log in"];

/// Expects that the browser had nothing to complain of, and that it would have.
async fn assert_no_complaint(browser: &Browser) {
    assert_eq!(browser.complaints().await, [""; 0]);
    let inline = "const script = document.createElement('script');
        script.textContent = 'document.title = \"run\"';
        document.body.append(script);
        return document.title";
    assert_ne!(browser.run(inline, json!([])).await, "run", "an inline script runs");
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().any(|text| text.contains("Content Security Policy")),
        "{complaints:?}"
    );
}

#[tokio::test]
async fn a_course_is_sold_refunded_and_sold_again() {
    let Some(browser) = Browser::start("ko", TABLET).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    let users = join_all(["minsu", "jisu", "yuna"].map(|name| app.user(name))).await;
    let [minsu, jisu, yuna] = users.as_slice() else {
        panic!("three users")
    };
    log_in(&browser, &app, &ujin, KOREAN).await;

    browser.click("새 수업").await;
    for (label, value) in [
        ("제목", "러스트 입문 <b>1기</b>"),
        ("가격", "45000"),
        ("정원", "2"),
        ("신청 시작", "2026-01-01T00:00:00"),
        ("신청 마감", "2099-12-31T23:59:59"),
    ] {
        browser.fill(label, value).await;
    }
    browser.click("만들기").await;
    browser.sees("만들었습니다: 러스트 입문 <b>1기</b>").await;
    paid(&register(&app, COURSE, 1, minsu).await);
    paid(&register(&app, COURSE, 1, jisu).await);
    assert_eq!(register(&app, COURSE, 1, yuna).await.code(), "sold_out");

    browser.click("수업").await;
    browser.sees("마감").await;
    browser.sees("2 / 2").await;
    browser.click("러스트 입문 <b>1기</b>").await;
    browser.click_in("minsu@example.com", "45,000원").await;
    browser.sees("환불 가능 금액").await;
    browser.click("환불").await;
    browser.fill("사유", "수강 포기").await;
    browser.click("금액 확인").await;
    browser.sees("minsu@example.com 회원에게 45,000원을 환불합니다.").await;
    let state = "select status from payments where id = 1";
    let before = app.rows(state).await;
    assert_eq!(before[0]["status"], "paid", "no money moves before the confirmation");
    browser.click("45,000원 환불").await;
    browser.sees("45,000원을 환불했습니다.").await;
    assert_eq!(app.rows(state).await[0]["status"], "cancelled");
    paid(&register(&app, COURSE, 1, yuna).await);

    browser.click("러스트 입문 <b>1기</b>").await;
    browser.sees("yuna@example.com").await;
    browser.click("CSV 내려받기").await;
    let file = browser.downloaded("registrations.csv").await;
    assert!(file.starts_with('\u{feff}') && file.lines().count() == 4, "{file}");
    for user in &users {
        assert!(file.contains(&user.email), "{file}");
    }
    assert_audit(&app).await;
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn registrations_are_made_completed_and_cancelled() {
    let Some(browser) = Browser::start("en-US", TABLET).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    app.user("minsu").await;
    app.user("jisu").await;
    app.add(COURSE, Item::default()).await;
    log_in(&browser, &app, &ujin, ENGLISH).await;
    browser.click("정보처리기사 실기").await;

    browser.click("Register by hand").await;
    browser.fill("E-mail", "minsu@example.com").await;
    browser.fill("Amount", "40000").await;
    browser.fill("Reference of the payment", "transfer 3").await;
    browser.click("Register by hand").await;
    browser.sees("Registered: minsu@example.com").await;
    browser.click("Register by hand").await;
    browser.fill("E-mail", "jisu@example.com").await;
    browser.fill("Method", "free").await;
    browser.fill("Reason", "scholarship").await;
    browser.click("Register by hand").await;
    browser.sees("Registered: jisu@example.com").await;

    browser.click("Cancel registration: minsu@example.com").await;
    browser.fill("Reason", "no show").await;
    browser.click("Continue").await;
    browser
        .sees("The registration of minsu@example.com ends, and ₩40,000 goes back.")
        .await;
    browser.click("Cancel and refund ₩40,000").await;
    browser.sees("Cancelled. Refunded ₩40,000").await;
    browser.click("Select jisu@example.com").await;
    browser.click("Complete 1 selected").await;
    browser.click("Complete 1 selected").await;
    browser.sees("Completed.").await;

    let states = "select status from course_registrations order by id";
    assert_eq!(
        app.rows(states).await,
        json!([{"status": "cancelled"}, {"status": "completed"}])
    );
    assert_audit(&app).await;
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let Some(browser) = Browser::start("en-US", TABLET).await else {
        return;
    };
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    app.add(COURSE, Item::default()).await;
    paid(&register(&app, COURSE, 1, &minsu).await);
    log_in(&browser, &app, &ujin, ENGLISH).await;
    browser.click("Payments").await;
    browser.click("1").await;
    browser.click("Refund").await;
    browser.fill("Amount", "10000").await;
    browser.fill("Reason", "a broken book").await;
    browser.click("Check the amount").await;
    browser.sees("Left afterwards: ₩35,000").await;
    let lose = "
        const real = window.fetch;
        window.fetch = async (...request) => {
            await real(...request);
            window.fetch = real;
            throw new TypeError('the connection is lost');
        };";
    browser.run(lose, json!([])).await;
    browser.click("Refund ₩10,000").await;
    browser.sees("The service did not answer.").await;
    let refunds = "select amount::text from sugang.refunds";
    assert_eq!(
        app.rows(refunds).await,
        json!([{"amount": "10000.00"}]),
        "it took effect"
    );
    browser.click("Refund ₩10,000").await;
    browser.sees("Refunded ₩10,000.").await;
    assert_eq!(app.rows(refunds).await, json!([{"amount": "10000.00"}]), "once");
    // Meant again, it is another refund.
    browser.click("Refund").await;
    browser.fill("Amount", "10000").await;
    browser.fill("Reason", "a broken book").await;
    browser.click("Check the amount").await;
    browser.click("Refund ₩10,000").await;
    browser.sees("₩25,000").await;
    assert_audit(&app).await;
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn the_keyboard_suffices() {
    let Some(browser) = Browser::start("en-US", TABLET).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    app.add(COURSE, Item::default()).await;
    browser.open(&format!("{}/console/", app.base)).await;
    browser.sees("Password").await;
    browser.press(&format!("{}{TAB}{PASSWORD}{ENTER}", ujin.email)).await;
    browser.sees("정보처리기사 실기").await;
    assert_eq!(browser.focused().await, "Courses", "the heading of the new page");
    browser.tab_to("정보처리기사 실기").await;
    browser.press(ENTER).await;
    browser.sees("Register by hand").await;

    browser.tab_to("Hide").await;
    browser.press(ENTER).await;
    browser.sees("It leaves the users' lists.").await;
    assert_eq!(browser.focused().await, "Back", "the button that does nothing");
    browser.press(ESCAPE).await;
    assert_eq!(browser.focused().await, "Hide", "the focus comes back");
    let hidden = async || app.one::<bool>("select hidden from courses", &[]).await;
    assert!(!hidden().await);
    browser.press(ENTER).await;
    browser.tab_to("Hide").await;
    browser.press(ENTER).await;
    browser.sees("It is hidden.").await;
    assert!(hidden().await);
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn errors_stand_beside_their_fields() {
    let Some(browser) = Browser::start("ko", TABLET).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    log_in(&browser, &app, &ujin, KOREAN).await;
    browser.click("시험").await;
    browser.click("새 시험").await;
    browser.fill("제목", "정보처리기사").await;
    browser.fill("가격", "-1").await;
    browser.fill("정원", "많이").await;
    browser.click("만들기").await;
    let shown = "
        const wrong = [...document.querySelectorAll('[aria-invalid=true]')];
        const errors = (field) => field.getAttribute('aria-describedby').split(' ')
            .map((id) => document.getElementById(id)).filter((e) => e.matches('.errors')).map((e) => e.innerText);
        return wrong.length === 4 && wrong.map((field) => [field.name, ...errors(field)]);";
    let shown = browser.wait(shown, json!([])).await;
    let expected = json!([
        ["price", "이 값이 0보다 크거나 같은지 확인하십시오."],
        ["capacity", "유효한 정수(integer)를 넣어주세요."],
        ["start_at", "이 필드는 필수 항목입니다."],
        ["end_at", "이 필드는 필수 항목입니다."],
    ]);
    assert_eq!(shown, expected);
    assert_eq!(browser.focused().await, "가격", "the first wrong field");
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn courses_are_imported_repeated_and_exported() {
    let Some(browser) = Browser::start("en-US", TABLET).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    log_in(&browser, &app, &ujin, ENGLISH).await;
    let names = "title,price,start_at,end_at";
    let period = "2026-01-01T00:00:00Z,2099-12-31T23:59:59Z";
    let count = async || app.one::<i64>("select count(*) from courses", &[]).await;
    browser.click("Import").await;
    let wrong = format!("{names}\n러스트,-1,{period}\nSQL,10000,{period}\n,10000,{period}\n");
    browser.choose("File", "wrong.csv", &wrong).await;
    browser.click("Check the file").await;
    let places = "
        const rows = [...document.querySelectorAll('dialog[open] tbody tr')];
        return rows.length > 0 && rows.map((row) => [...row.cells].map((cell) => cell.innerText));";
    let expected = json!([
        ["2", "2", "price", "Ensure this value is greater than or equal to 0."],
        ["4", "1", "title", "This field is required."],
    ]);
    assert_eq!(browser.wait(places, json!([])).await, expected);
    let right = format!("{names}\n러스트,30000,{period}\nSQL,10000,{period}\n");
    browser.choose("File", "right.csv", &right).await;
    browser.click("Check the file").await;
    browser.sees("right.csv: 2 will be created").await;
    assert_eq!(count().await, 0, "a check creates nothing");
    browser.click("Create 2").await;
    browser.sees("Created 2.").await;
    assert_eq!(count().await, 2);

    browser.click("러스트").await;
    browser.click("Repeat").await;
    browser.click("Create copies").await;
    let shown = "return document.querySelector('[aria-invalid=true]')?.name";
    assert_eq!(browser.wait(shown, json!([])).await, "count");
    browser.fill("Copies", "3").await;
    browser.fill("Time zone", "Asia/Seoul").await;
    browser.click("Create copies").await;
    browser.sees("Created 3.").await;
    browser.sees("5 in all").await;

    browser.click("Download JSON Lines").await;
    let file = browser.downloaded("courses.jsonl").await;
    assert_eq!(file.lines().count(), 5, "{file}");
    browser.click("Import").await;
    browser.choose("File", "again.jsonl", &file).await;
    browser.click("Check the file").await;
    browser.click("Create 5").await;
    browser.sees("10 in all").await;
    for (page, file) in [("Payments", "payments.csv"), ("Users", "users.csv")] {
        browser.click(page).await;
        browser.click("Download CSV").await;
        assert!(browser.downloaded(file).await.starts_with("\u{feff}id,"), "{file}");
    }
    assert_audit(&app).await;
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn an_audit_is_run_by_the_keyboard_and_names_what_it_finds() {
    let Some(browser) = Browser::start("en-US", UPRIGHT).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    app.add(COURSE, Item::default()).await;
    log_in(&browser, &app, &ujin, ENGLISH).await;
    browser.sees("정보처리기사 실기").await;
    browser.tab_to("Audit").await;
    browser.press(ENTER).await;
    browser.sees("It changes nothing").await;
    browser.tab_to("Start the audit").await;
    browser.press(ENTER).await;
    browser.sees(" checks are clean.").await;
    let spoil = "begin; set local session_replication_role = replica;
                 update courses set registration_count = 7; commit";
    app.database().batch_execute(spoil).await.expect("a wrong count");
    browser.press(ENTER).await;
    browser.sees(" checks found something.").await;
    let wrong =
        "return [...document.querySelectorAll('main tbody tr')].filter((row) => row.querySelector('.warn')).length";
    assert_eq!(browser.run(wrong, json!([])).await, 2);
    let lock = "select pg_advisory_lock(hashtextextended('sugang.audit', 0))";
    app.database().batch_execute(lock).await.expect("a lock");
    browser.press(ENTER).await;
    browser.sees("Please try again in a moment").await;
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn two_operators_do_not_overwrite_each_other() {
    let Some(browser) = Browser::start("ko", TABLET).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    app.add(COURSE, Item::default()).await;
    log_in(&browser, &app, &ujin, KOREAN).await;
    browser.click("정보처리기사 실기").await;
    browser.click("수정").await;
    let elsewhere = "update courses set price = 50000, end_at = '2099-12-31 23:59:59.999999+00' where id = 1";
    app.run(elsewhere, &[]).await;
    browser.fill("제목", "정보처리기사 필기").await;
    browser.click("저장").await;
    browser.click("최신 내용 불러오기").await;
    browser.sees("50,000원").await;
    browser.click("수정").await;
    browser.fill("제목", "정보처리기사 필기").await;
    browser.click("저장").await;
    browser.sees("저장했습니다.").await;
    // The end has more digits than its field shows, and was not edited.
    let after = app
        .rows("select title, price::text, (end_at at time zone 'UTC')::text as end_at from courses")
        .await;
    let expected = json!([{"title": "정보처리기사 필기", "price": "50000.00", "end_at": "2099-12-31 23:59:59.999999"}]);
    assert_eq!(after, expected);
    assert_no_complaint(&browser).await;
}

#[tokio::test]
async fn accounts_are_managed_and_a_session_ends() {
    let Some(browser) = Browser::start("en-US", UPRIGHT).await else {
        return;
    };
    let app = App::start().await;
    let ujin = operator(&app).await;
    app.run("update users set is_superuser = true where id = $1", &[&ujin.id])
        .await;
    let minsu = app.user("minsu").await;
    app.add(COURSE, Item::default()).await;
    paid(&register(&app, COURSE, 1, &minsu).await);
    log_in(&browser, &app, &minsu, ENGLISH).await;
    browser.sees("This account is not an operator.").await;
    log_in(&browser, &app, &ujin, ENGLISH).await;
    browser.click("Users").await;
    browser.fill("E-mail", "min").await;
    browser.click("Search").await;
    browser.sees("1 in all").await;
    browser.click("minsu@example.com").await;
    browser.sees("Enrolled").await;
    for (action, expected) in [("Make operator", "Take the right"), ("Deactivate", "Activate")] {
        browser.click(action).await;
        browser.click(action).await;
        browser.sees(expected).await;
    }
    let account = "select is_staff, is_active from users where id = 2";
    assert_eq!(app.rows(account).await, json!([{"is_staff": true, "is_active": false}]));

    browser.click("한국어").await;
    browser.sees("운영자 해제").await;
    let page = "return [document.documentElement.lang, document.title, document.activeElement.textContent]";
    assert_eq!(
        browser.run(page, json!([])).await,
        json!(["ko", "minsu@example.com · sugang", "한국어"])
    );
    browser.click("통계").await;
    browser.sees("날짜별 금액").await;
    app.run("update users set is_active = false where id = $1", &[&ujin.id])
        .await;
    browser.click("결제").await;
    browser.sees("로그인이 끝났습니다.").await;
    assert_eq!(browser.run("return sessionStorage.length", json!([])).await, 0);
    assert_no_complaint(&browser).await;
}

/// To an expired token, the API answers 404: that tells nothing from a path that does not exist.
#[tokio::test]
async fn a_session_outlives_its_access_token() {
    let Some(browser) = Browser::start("en-US", TABLET).await else {
        return;
    };
    let app = App::with("access_token_lifetime_seconds", 2).start().await;
    let ujin = operator(&app).await;
    app.add(COURSE, Item::default()).await;
    log_in(&browser, &app, &ujin, ENGLISH).await;
    browser.sees("정보처리기사 실기").await;
    let token = "return JSON.parse(sessionStorage.getItem('sugang.session')).access";
    let first = browser.run(token, json!([])).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let path = "/api/operator/payments/";
    let expired = app.get(path).bearer(first.as_str().expect("a token")).await;
    assert_eq!(expired.code(), "not_found");
    browser.click("Payments").await;
    browser.sees("Nothing found.").await;
    assert_ne!(browser.run(token, json!([])).await, first);
    assert_no_complaint(&browser).await;
}

/// Pictures for `docs/console/`, if `SUGANG_PICTURES` names a folder.
#[tokio::test]
async fn pictures() {
    let Some(folder) = std::env::var_os("SUGANG_PICTURES") else {
        return;
    };
    let Some(browser) = Browser::start("ko", TABLET).await else {
        return;
    };
    let app = App::with("payment_gateways", "bank_transfer=manual")
        .with("manual_account", "국민은행 123456-01-123456")
        .start()
        .await;
    let ujin = operator(&app).await;
    arrange_pictures(&app).await;
    arrange_orders(&app).await;
    let take = async |name: &str| browser.picture(&Path::new(&folder).join(name)).await;
    log_in(&browser, &app, &ujin, KOREAN).await;
    browser.sees("러스트 입문").await;
    take("courses.png").await;
    browser.show_dark(UPRIGHT).await;
    browser.click("실전 SQL 튜닝").await;
    browser.sees("직접 등록").await;
    take("upright.png").await;
    browser.show_light(TABLET).await;
    browser.click("수업").await;
    browser.click("러스트 입문").await;
    browser.sees("직접 등록").await;
    take("course.png").await;
    browser.click_in("minsu01@example.com", "45,000원").await;
    browser.sees("환불 가능 금액").await;
    browser.click("환불").await;
    browser.fill("사유", "강사 사정으로 폐강").await;
    browser.click("금액 확인").await;
    browser.sees("45,000원 환불").await;
    take("refund.png").await;
    browser.press(ESCAPE).await;
    browser.press(ESCAPE).await;
    browser.click("통계").await;
    browser.sees("날짜별 금액").await;
    take("figures.png").await;
    browser.click("주문").await;
    browser.sees("입금 대기").await;
    take("orders.png").await;
}

/// Courses, users, and registrations and cancellations of some weeks.
async fn arrange_pictures(app: &App) {
    for (title, price, capacity) in [
        ("러스트 입문", "45000.00", Some(40)),
        ("실전 SQL 튜닝", "45000.00", Some(12)),
        ("파이썬 데이터 분석", "0.00", None),
        ("쿠버네티스 운영", "120000.00", Some(25)),
        ("웹 접근성 실무", "60000.00", None),
    ] {
        app.add(
            COURSE,
            Item {
                title,
                price,
                capacity,
                ..Item::default()
            },
        )
        .await;
    }
    for n in 1..=30 {
        let user = app.user(&format!("minsu{n:02}")).await;
        let item = if n % 3 == 0 { 2 } else { 1 };
        let status = if n % 4 == 2 { "completed" } else { "enrolled" };
        let payment = app.register(COURSE, &user, item, status).await;
        if n % 5 == 4 {
            _ = cancel(app, payment, &user).await;
        }
    }
    app.database()
        .batch_execute(
            "set session_replication_role = replica;
             update sugang.ledger set at = at - (payment_id * payment_id % 27) * interval '1 day';
             update sugang.audit_log set at = at - (subject_id * subject_id % 27) * interval '1 day';
             update payments set paid_at = paid_at - (id * id % 27) * interval '1 day';
             update course_registrations set enrolled_at = enrolled_at - (id * id % 27) * interval '1 day';
             reset session_replication_role",
        )
        .await
        .expect("a history that lies back");
}

/// Orders in several states.
async fn arrange_orders(app: &App) {
    let operator = app.user("hana").await;
    app.run("update users set is_staff = true where id = $1", &[&operator.id])
        .await;
    for n in 31..=36 {
        let user = app.user(&format!("minsu{n}")).await;
        let order = ordered(&preorder(app, COURSE, 1, &user).await);
        if n % 3 == 0 {
            continue;
        }
        assert_eq!(approve(app, order, &user).await.status, 202);
        match n {
            31 => assert_eq!(confirm(app, order, &operator).await.status, 200),
            34 => assert_eq!(cancel_order(app, order, &user).await.status, 200),
            _ => {}
        }
    }
}
