//! The life of an account, through the SDK's client.

use futures::TryStreamExt;
use sugang_sdk::{
    Client, FiguresOf, FileFormat, Filter, ManagedPaymentFilter, PaymentFilter, RegistrationFilter, UserFilter,
    types::{
        Cancel, CancelRegistration, CourseId, EditItem, ErrorCode, Every, Money, NewItem, NewRegistration, PaymentId,
        PaymentMethod, PaymentStatus, PaymentType, RefundChoice, RefundPayment, RefundStatus, Register,
        RegistrationStatus, RepeatItem, Sort,
    },
};
use sugang_tests::{App, COURSE, EXAM, Item};

use crate::support::operator;

#[tokio::test]
async fn a_client_signs_up_applies_completes_and_cancels() {
    let app = App::start().await;
    for n in 0..45 {
        let title = format!("시험 {n}");
        let created_at = format!("2026-01-01T00:{n:02}:00Z");
        app.add(
            EXAM,
            Item {
                title: &title,
                created_at: &created_at,
                ..Item::default()
            },
        )
        .await;
    }
    app.add(
        COURSE,
        Item {
            title: "러스트 입문",
            price: "30000.50",
            capacity: Some(1),
            ..Item::default()
        },
    )
    .await;

    let client = Client::builder(app.base.clone()).language("en").build().unwrap();
    let signed_up = client.signup("minsu@example.com", "민수", "correct1").await.unwrap();
    let again = client
        .signup("minsu@example.com", "민수", "correct1")
        .await
        .unwrap_err();
    assert_eq!(again.code(), Some(&ErrorCode::Invalid));
    assert_eq!(
        again.fields().unwrap().keys().collect::<Vec<_>>(),
        ["email", "username"]
    );
    let refused = client.login("minsu@example.com", "wrong-pass1").await.unwrap_err();
    assert_eq!(refused.code(), Some(&ErrorCode::InvalidCredentials));
    let session = client.login("minsu@example.com", "correct1").await.unwrap();
    assert_eq!(session.user(), &signed_up.user);

    let exams = session.exams();
    let all = exams.list(&Filter {
        available: true,
        ..Filter::default()
    });
    assert_eq!(all.page(1).await.unwrap().count, 45);
    assert_eq!(all.last_page().await.unwrap().results.len(), 5);
    let titles: Vec<String> = all.stream().map_ok(|exam| exam.title).try_collect().await.unwrap();
    assert_eq!(titles, (0..45).rev().map(|n| format!("시험 {n}")).collect::<Vec<_>>());
    let found = exams
        .list(&Filter {
            search: Some("시험 7".into()),
            ..Filter::default()
        })
        .page(1)
        .await
        .unwrap();
    let exam = &found.results[0];
    assert_eq!((found.count, exam.title.as_str()), (1, "시험 7"));
    assert_eq!(&exams.get(exam.id).await.unwrap(), exam);

    let register = Register {
        amount: exam.price,
        payment_method: PaymentMethod::Card,
    };
    let applied = exams.apply(exam.id, register).await.unwrap();
    let twice = exams.apply(exam.id, register).await.unwrap_err();
    assert_eq!(twice.code(), Some(&ErrorCode::AlreadyRegistered));
    let popular = exams
        .list(&Filter {
            sort: Sort::Popular,
            ..Filter::default()
        })
        .page(1)
        .await
        .unwrap();
    assert_eq!(
        (popular.results[0].id, popular.results[0].is_registered),
        (exam.id, true)
    );
    assert_eq!(popular.results[0].registration_count, 1);

    let courses = session.courses();
    let course = courses
        .list(&Filter::default())
        .page(1)
        .await
        .unwrap()
        .results
        .remove(0);
    assert_eq!((course.capacity, course.remaining), (Some(1), Some(1)));
    let register = Register {
        amount: course.price,
        payment_method: PaymentMethod::KakaoPay,
    };
    let enrolled = courses.enroll(course.id, register).await.unwrap();
    assert_eq!(courses.get(course.id).await.unwrap().remaining, Some(0));

    let completed = exams.complete(exam.id).await.unwrap();
    assert_eq!(completed.registration, applied.registration);

    let payments = session.payments();
    let newest = payments.list(&PaymentFilter::default()).page(1).await.unwrap();
    assert_eq!(
        newest.results.iter().map(|payment| payment.id).collect::<Vec<_>>(),
        [enrolled.payment_id, applied.payment_id]
    );
    let kept = payments
        .cancel(applied.payment_id, Cancel::default())
        .await
        .unwrap_err();
    assert_eq!(kept.code(), Some(&ErrorCode::ItemCompleted));
    let reason = Cancel {
        refund_reason: Some("단순 변심".into()),
        ..Cancel::default()
    };
    let cancelled = payments.cancel(enrolled.payment_id, reason).await.unwrap().done();
    let cancelled = cancelled.expect("no gateway holds it");
    assert_eq!(cancelled.payment_id, enrolled.payment_id);
    let payment = payments.get(enrolled.payment_id).await.unwrap();
    assert!(payment.status == PaymentStatus::Cancelled && payment.payment_type == PaymentType::Course);
    assert_eq!(payment.cancelled_at, Some(cancelled.cancelled_at));
    assert_eq!(courses.get(course.id).await.unwrap().remaining, Some(1));
    assert!(courses.enroll(course.id, register).await.is_ok(), "and again");
}

#[tokio::test]
async fn an_operator_manages_courses_and_operators() {
    let app = App::start().await;
    let [ujin, minsu] = [app.user("ujin").await, app.user("minsu").await];
    app.run("update users set is_superuser = true where username = 'ujin'", &[])
        .await;
    let client = Client::new(app.base.clone()).unwrap();
    let session = client.login(&ujin.email, "correct1").await.unwrap();
    let courses = session.operator().courses();
    let new = NewItem {
        title: "러스트 입문".into(),
        description: None,
        price: Money::won(30_000),
        capacity: Some(2),
        start_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        end_at: "2099-12-31T23:59:59Z".parse().unwrap(),
        hidden: false,
    };
    let created = courses.create(new.clone()).await.unwrap();
    assert_eq!((created.title.as_str(), created.remaining), ("러스트 입문", Some(2)));
    assert_eq!(courses.get(created.id).await.unwrap(), created);
    assert_eq!(
        courses.list(&Filter::default()).page(1).await.unwrap().results,
        std::slice::from_ref(&created)
    );
    let reversed = NewItem {
        end_at: "2025-01-01T00:00:00Z".parse().unwrap(),
        ..new
    };
    let refused = courses.create(reversed).await.unwrap_err();
    assert_eq!(refused.fields().unwrap().keys().collect::<Vec<_>>(), ["end_at"]);
    let unlimited = EditItem {
        capacity: Some(None),
        ..EditItem::default()
    };
    let edited = courses.edit(&created, unlimited.clone()).await.unwrap();
    assert_eq!((edited.capacity, &edited.title), (None, &created.title));
    let outdated = courses.edit(&created, unlimited).await.unwrap_err();
    assert_eq!(outdated.code(), Some(&ErrorCode::PreconditionFailed));
    courses.delete(&edited).await.unwrap();
    let gone = courses.delete(&edited).await.unwrap_err();
    assert_eq!(gone.code(), Some(&ErrorCode::NotFound));

    let other = client.login(&minsu.email, "correct1").await.unwrap();
    let exams = other.operator().exams();
    let refused = exams.list(&Filter::default()).page(1).await.unwrap_err();
    assert_eq!(refused.code(), Some(&ErrorCode::NotFound));
    let minsu = minsu.id.into();
    assert!(session.operator().make_operator(minsu).await.unwrap().is_operator);
    assert_eq!(exams.list(&Filter::default()).page(1).await.unwrap().count, 0);
    let refused = other.operator().make_operator(minsu).await.unwrap_err();
    assert_eq!(refused.code(), Some(&ErrorCode::NotSuperuser));
    assert!(!session.operator().unmake_operator(minsu).await.unwrap().is_operator);
}

#[tokio::test]
async fn an_operator_gives_a_payment_back() {
    let app = App::start().await;
    let [ujin, minsu] = [operator(&app).await, app.user("minsu").await];
    let id = app.add(EXAM, Item::default()).await;
    let payment = PaymentId(app.register(EXAM, &minsu, id, EXAM.active).await);
    let client = Client::new(app.base.clone()).unwrap();
    let session = client.login(&ujin.email, "correct1").await.unwrap();
    let payments = session.operator().payments();
    let refund = |amount| RefundPayment {
        amount,
        reason: "교재 불량".into(),
        keep_registration: false,
        refund_account: None,
    };

    let part = payments
        .refund(payment, refund(Some(Money::won(10_000))))
        .await
        .unwrap()
        .done()
        .unwrap();
    assert_eq!(part.left, Money::won(35_000));
    let refused = payments
        .refund(payment, refund(Some(Money::won(40_000))))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Some(&ErrorCode::RefundTooLarge));
    let seen = payments.get(payment).await.unwrap();
    assert_eq!((seen.left, seen.refunds.len()), (part.left, 1));
    assert_eq!(Some(seen.refunds[0].id), part.refund_id);
    assert!(seen.refunds[0].status == RefundStatus::Done && seen.status == PaymentStatus::Paid);
    let rest = payments.refund(payment, refund(None)).await.unwrap().done().unwrap();
    assert_eq!((rest.amount, rest.left), (part.left, Money::won(0)));
    assert!(payments.get(payment).await.unwrap().status == PaymentStatus::Cancelled);
}

#[tokio::test]
async fn an_operator_finds_users_and_payments_and_sums_them_up() {
    let app = App::start().await;
    let [ujin, minsu] = [operator(&app).await, app.user("minsu").await];
    let id = app.add(EXAM, Item::default()).await;
    let payment = PaymentId(app.register(EXAM, &minsu, id, EXAM.active).await);
    let client = Client::new(app.base.clone()).unwrap();
    let operator = client.login(&ujin.email, "correct1").await.unwrap().operator();

    let users = operator.users();
    let by_name = UserFilter {
        username: Some("min".into()),
        ..UserFilter::default()
    };
    let found = users.list(&by_name).page(1).await.unwrap().results;
    let details = users.get(found[0].id).await.unwrap();
    assert_eq!((details.id.0, details.payments), (minsu.id, 1));
    assert_eq!((details.registrations.exams, details.registrations.courses), (1, 0));
    let registrations = users.registrations(details.id).page(1).await.unwrap();
    assert_eq!((registrations.results[0].item_id, registrations.count), (id, 1));
    assert!(!users.deactivate(details.id).await.unwrap().is_active);
    assert!(users.activate(details.id).await.unwrap().is_active);
    assert!(users.end_logins(details.id).await.unwrap().is_active);
    let own = users.deactivate(ujin.id.into()).await.unwrap_err();
    assert_eq!(own.code(), Some(&ErrorCode::OwnAccount));

    let filter = ManagedPaymentFilter {
        user: Some(details.id),
        amount: Some(Money::won(45_000)),
        status: Some(PaymentStatus::Paid),
        ..ManagedPaymentFilter::default()
    };
    let payments = operator.payments().list(&filter).page(1).await.unwrap();
    assert_eq!(payments.results, [operator.payments().get(payment).await.unwrap()]);

    let file = operator.payments().export(&filter).await.unwrap();
    assert_eq!(String::from_utf8(file).unwrap().lines().count(), 2);
    let file = users.export(&by_name).await.unwrap();
    assert_eq!(String::from_utf8(file).unwrap().lines().count(), 2);
    let audit = operator.audit().await.unwrap();
    assert_eq!(audit.len(), usize::try_from(audit[0].checks).unwrap());
    assert!(audit.iter().all(|check| check.count == 0), "{audit:?}");

    let today = chrono::Utc::now().date_naive();
    let of = FiguresOf {
        from: today,
        to: today,
        kind: Some(PaymentType::Exam),
        item: Some(id),
    };
    let figures = operator.figures(&of).await.unwrap();
    assert_eq!((figures.registered, figures.days.len()), (1, 1));
    let item = operator.exams().figures(id.into()).await.unwrap();
    assert_eq!((item.registered, item.money_in), (1, figures.money_in));
}

#[tokio::test]
async fn an_operator_hides_a_course_and_sees_who_is_registered() {
    let app = App::start().await;
    let [ujin, minsu] = [operator(&app).await, app.user("minsu").await];
    let id = app.add(COURSE, Item::default()).await;
    let client = Client::new(app.base.clone()).unwrap();
    let other = client.login(&minsu.email, "correct1").await.unwrap();
    let register = Register {
        amount: Money::won(45_000),
        payment_method: PaymentMethod::Card,
    };
    let enrolled = other.courses().enroll(id.into(), register).await.unwrap();

    let courses = client
        .login(&ujin.email, "correct1")
        .await
        .unwrap()
        .operator()
        .courses();
    let course = courses.get(id.into()).await.unwrap();
    let hide = EditItem {
        hidden: Some(true),
        ..EditItem::default()
    };
    let hidden = courses.edit(&course, hide).await.unwrap();
    assert!(hidden.hidden && !course.hidden);
    assert_eq!(courses.list(&Filter::default()).page(1).await.unwrap().count, 0);
    let listed = courses.list_hidden(&Filter::default()).page(1).await.unwrap();
    assert_eq!(listed.results, [hidden]);
    assert_eq!(
        other.courses().get(id.into()).await.unwrap_err().code(),
        Some(&ErrorCode::NotFound)
    );

    let filter = RegistrationFilter {
        status: Some(RegistrationStatus::Enrolled),
        from: Some("2020-01-01".parse().unwrap()),
        to: Some("2099-12-31".parse().unwrap()),
    };
    let registrations = courses.registrations(id.into(), &filter).page(1).await.unwrap().results;
    let [registration] = &registrations[..] else {
        panic!("{registrations:?}")
    };
    assert_eq!(registration.user_id, minsu.id.into());
    assert!(registration.status == RegistrationStatus::Enrolled);
    assert_eq!(registration.payment_id, Some(enrolled.payment_id));
    assert_eq!(registration.amount, Some(Money::won(45_000)));
}

#[tokio::test]
async fn a_session_renews_its_token() {
    let app = App::with("access_token_lifetime_seconds", 5).start().await;
    app.user("minsu").await;
    let session = Client::new(app.base.clone())
        .unwrap()
        .login("minsu@example.com", "correct1")
        .await
        .unwrap();
    let first = session.tokens().await.access;
    tokio::time::sleep(std::time::Duration::from_millis(6100)).await;
    assert_eq!(session.exams().list(&Filter::default()).page(1).await.unwrap().count, 0);
    assert_ne!(session.tokens().await.access, first);
}

#[tokio::test]
async fn an_operator_registers_completes_cancels_and_exports() {
    let app = App::start().await;
    let [ujin, minsu, jisu] = [operator(&app).await, app.user("minsu").await, app.user("jisu").await];
    let id = CourseId(app.add(COURSE, Item::default()).await);
    let client = Client::new(app.base.clone()).unwrap();
    let courses = client
        .login(&ujin.email, "correct1")
        .await
        .unwrap()
        .operator()
        .courses();
    let free = NewRegistration::free(minsu.id.into(), "장학생");
    let first = courses.register(id, free).await.unwrap().registration;
    assert!(first.payment_method.is_some_and(|method| method == PaymentMethod::Free));
    let outside = NewRegistration::paid_outside(jisu.id.into(), Money::won(30_000), "무통장 3");
    let second = courses.register(id, outside).await.unwrap().registration;
    assert_eq!(
        (second.amount, second.reference.as_deref()),
        (Some(Money::won(30_000)), Some("무통장 3"))
    );
    courses.complete(id, first.id).await.unwrap();
    let refused = courses.complete_many(id, vec![second.id, first.id]).await.unwrap_err();
    assert_eq!(refused.code(), Some(&ErrorCode::InvalidRows));
    let cancel = CancelRegistration {
        refund: RefundChoice::None,
        reason: "무단 결석".into(),
        refund_account: None,
    };
    let cancelled = courses.cancel(id, second.id, cancel).await.unwrap().done().unwrap();
    assert_eq!(
        (cancelled.refunded, cancelled.kept),
        (Money::won(0), Money::won(30_000))
    );
    let file = courses
        .export_registrations(id, &RegistrationFilter::default())
        .await
        .unwrap();
    assert_eq!(String::from_utf8(file).unwrap().lines().count(), 3);
    let items = courses.export(FileFormat::Csv).await.unwrap();
    assert_eq!(String::from_utf8(items).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn an_operator_exports_imports_and_repeats() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = CourseId(app.add(COURSE, Item::default()).await);
    let client = Client::builder(app.base.clone()).language("en").build().unwrap();
    let courses = client
        .login(&ujin.email, "correct1")
        .await
        .unwrap()
        .operator()
        .courses();
    for (format, created) in [(FileFormat::Csv, 2), (FileFormat::JsonLines, 3)] {
        let file = courses.export(format).await.unwrap();
        let checked = courses.import(format, file.clone()).dry_run().await.unwrap();
        assert!(checked.ids.is_empty());
        let imported = courses.import(format, file).await.unwrap();
        assert_eq!(
            (imported.count, imported.ids.first()),
            (checked.count, Some(&CourseId(created)))
        );
    }
    let weekly = RepeatItem {
        every: Every::Week,
        count: Some(2),
        until: None,
        time_zone: "Asia/Seoul".into(),
    };
    let copies = courses.repeat(id, weekly).await.unwrap();
    assert_eq!(copies.ids.len(), 2);
    let wrong = courses.import(FileFormat::Csv, "title,price,start_at,end_at\n,1,,\n");
    let error = wrong.await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::InvalidRows));
    assert!(error.to_string().contains("line 2, column 1, title: "), "{error}");
}
