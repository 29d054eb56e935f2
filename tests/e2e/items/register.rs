//! `POST /tests/{id}/apply/` and `POST /courses/{id}/enroll/`.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, COURSE, EXAM, Item, Kind, assert_answer, assert_rows};
use tokio_postgres::error::SqlState;

use crate::support::{cancel, paid, payment, register};

#[rstest]
#[tokio::test]
async fn registers_and_pays(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("민수").await;
    let id = app.add(kind, Item::default()).await;

    let answer = register(&app, kind, id, &minsu).await;

    assert_eq!(answer.status, 201);
    assert_eq!(
        *answer.json(),
        json!({
            "message": kind.says.registered[0],
            "payment_id": 1,
            kind.registration_key: 1,
            "payment_method": "card",
            "transaction_metadata": {
                "payment_gateway": "card",
                "supports_refund": true,
                "processing_fee_rate": 0.032,
                "estimated_fee": 1440.0,
            },
        })
    );
}

#[rstest]
#[tokio::test]
async fn answers_in_english(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;

    let answer = register(&app, kind, id, &minsu).in_english().await;

    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["message"], kind.says.registered[1]);
}

#[rstest]
#[tokio::test]
async fn writes_a_registration_a_payment_and_their_history(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    app.user("somebody").await;
    let minsu = app.user("minsu").await;
    app.add(
        kind,
        Item {
            title: "another",
            ..Item::default()
        },
    )
    .await;
    let id = app
        .add(
            kind,
            Item {
                title: "정보처리기사 실기",
                capacity: Some(3),
                ..Item::default()
            },
        )
        .await;

    let answer = register(&app, kind, id, &minsu)
        .header("x-request-id", "the-request")
        .await;
    assert_eq!(answer.status, 201);

    let Kind {
        items,
        registrations,
        item_id,
        registered_at,
        active,
        payment_type,
        ..
    } = kind;
    let just_now = |column: &str| format!("{column} between now() - interval '1 minute' and now() as {column}");
    let rows = app
        .rows(&format!(
            "select id, user_id, {item_id} as item_id, status = '{active}' as active, {},
                    completed_at, cancelled_at from {registrations}",
            just_now(registered_at).replace(&format!("as {registered_at}"), "as registered_now")
        ))
        .await;
    assert_rows!(rows, @r#"
    [
      {
        "active": true,
        "cancelled_at": null,
        "completed_at": null,
        "id": 1,
        "item_id": 2,
        "registered_now": true,
        "user_id": 2
      }
    ]
    "#);
    let rows = app
        .rows(&format!(
            "select p.id, user_id, payment_type = '{payment_type}' as typed, c.app_label = '{items}' as app_label,
                    c.model = '{payment_type}' as model, object_id, amount::text, payment_method, status, refund_reason,
                    {}, cancelled_at, search_vector::text, target_title, registration_id,
                    registration_time = paid_at as registration_time
             from payments p join django_content_type c on c.id = content_type_id",
            just_now("paid_at")
        ))
        .await;
    assert_rows!(rows, @r#"
    [
      {
        "amount": "45000.00",
        "app_label": true,
        "cancelled_at": null,
        "id": 1,
        "model": true,
        "object_id": 2,
        "paid_at": true,
        "payment_method": "card",
        "refund_reason": null,
        "registration_id": 1,
        "registration_time": true,
        "search_vector": "'실기':2 '정보처리기사':1",
        "status": "paid",
        "target_title": "정보처리기사 실기",
        "typed": true,
        "user_id": 2
      }
    ]
    "#);
    let rows = app
        .rows(&format!("select id, registration_count from {items} order by id"))
        .await;
    assert_rows!(rows, @r#"
    [
      {
        "id": 1,
        "registration_count": 0
      },
      {
        "id": 2,
        "registration_count": 1
      }
    ]
    "#);
    let rows = app
        .rows(&format!(
            "select replace(subject, '{payment_type}', '[kind]') as subject, subject_id,
                    item_kind = '{payment_type}' as item_kind, item_id, user_id,
                    replace(status, '{active}', '[active]') as status, amount::text, seats, actor_id,
                    request_id ~ '^[0-9a-f]{{32}}-[0-9]+$' as own_request_id
             from sugang.audit_log order by id"
        ))
        .await;
    assert_rows!(rows, @r#"
    [
      {
        "actor_id": 2,
        "amount": "0.00",
        "item_id": 2,
        "item_kind": true,
        "own_request_id": true,
        "seats": 1,
        "status": "[active]",
        "subject": "[kind]",
        "subject_id": 1,
        "user_id": 2
      },
      {
        "actor_id": 2,
        "amount": "45000.00",
        "item_id": 2,
        "item_kind": true,
        "own_request_id": true,
        "seats": 0,
        "status": "paid",
        "subject": "payment",
        "subject_id": 1,
        "user_id": 2
      }
    ]
    "#);
}

#[rstest]
#[tokio::test]
async fn every_payment_has_its_own_external_id(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;

    for _ in 0..3 {
        let payment = paid(&register(&app, kind, id, &minsu).await);
        assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    }

    let different: i64 = app
        .one("select count(distinct external_transaction_id) from payments", &[])
        .await;
    assert_eq!(different, 3);
    let again = "update payments set external_transaction_id =
                 (select external_transaction_id from payments where id = 1) where id = 2";
    let refused = app
        .database()
        .execute(again, &[])
        .await
        .expect_err("the database knows an id that it has");
    assert_eq!(refused.code().map(SqlState::code), Some("23505"));
}

#[rstest]
#[tokio::test]
async fn is_seen_at_once_in_the_list_and_the_detail(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app
        .add(
            kind,
            Item {
                capacity: Some(2),
                ..Item::default()
            },
        )
        .await;
    let seen = async |user| {
        let (list, detail) = (app.get(kind.path).by(user).await, app.get(kind.item(id)).by(user).await);
        assert_eq!(list.json()["results"], json!([detail.json()]));
        ["is_registered", "registration_count", "capacity", "remaining"].map(|key| detail.json()[key].clone())
    };
    assert_eq!(seen(&minsu).await, [json!(false), json!(0), json!(2), json!(2)]);

    let payment = paid(&register(&app, kind, id, &minsu).await);
    assert_eq!(seen(&minsu).await, [json!(true), json!(1), json!(2), json!(1)]);
    assert_eq!(seen(&jiyoung).await, [json!(false), json!(1), json!(2), json!(1)]);

    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    assert_eq!(seen(&minsu).await, [json!(false), json!(0), json!(2), json!(2)]);
}

#[rstest]
#[tokio::test]
async fn kinds_are_independent_of_each_other(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let other = if kind == EXAM { COURSE } else { EXAM };
    let (id, same_id) = (
        app.add(kind, Item::default()).await,
        app.add(other, Item::default()).await,
    );
    assert_eq!(id, same_id);

    assert_eq!(register(&app, kind, id, &minsu).await.status, 201);

    assert_eq!(app.get(other.item(id)).by(&minsu).await.json()["is_registered"], false);
    assert_eq!(register(&app, other, id, &minsu).await.status, 201);
}

#[rstest]
#[tokio::test]
async fn accepts_the_amount_as_a_number_or_a_string(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let id = app
        .add(
            kind,
            Item {
                price: "45000.50",
                ..Item::default()
            },
        )
        .await;
    for (n, amount) in [
        "45000.50",
        "45000.5",
        "\"45000.50\"",
        "\"45000.5\"",
        "\" 45000.50 \"",
        "\"0045000.50\"",
    ]
    .into_iter()
    .enumerate()
    {
        let user = app.user(&format!("user{n}")).await;
        let body = format!(r#"{{"amount":{amount},"payment_method":"card"}}"#);
        let answer = app.post(kind.register(id)).by(&user).json_text(body).await;
        assert_eq!(answer.status, 201, "{amount}: {answer:?}");
    }
    let amounts = app.rows("select distinct amount::text from payments").await;
    assert_eq!(amounts, json!([{"amount": "45000.50"}]));
}

#[rstest]
#[tokio::test]
async fn names_each_wrong_field(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let before = app.state().await;
    let required = ["이 필드는 필수 항목입니다.", "This field is required."];
    let null = ["이 필드는 null일 수 없습니다.", "This field may not be null."];
    let number = ["유효한 숫자를 입력하십시오.", "A valid number is required."];
    let positive = ["0보다 커야 합니다.", "Ensure this value is greater than 0."];
    let digits = [
        "전체 숫자(digits)가 10 이하인지 확인하십시오.",
        "Ensure that there are no more than 10 digits in total.",
    ];
    let decimals = [
        "소수점 자릿수가 2 이하인지 확인하십시오.",
        "Ensure that there are no more than 2 decimal places.",
    ];
    let choice = ["유효하지 않은 선택입니다.", "This is not a valid choice."];
    let blank = ["이 필드는 blank일 수 없습니다.", "This field may not be blank."];
    let text = ["유효한 문자열이 아닙니다.", "Not a valid string."];
    type Cases<'a> = &'a [(&'a str, [&'a str; 2])];
    let amounts: Cases = &[
        ("null", null),
        ("\"\"", number),
        ("\"many\"", number),
        ("\"NaN\"", number),
        ("\"Infinity\"", number),
        ("true", number),
        ("[45000]", number),
        ("{}", number),
        ("0", positive),
        ("\"0.00\"", positive),
        ("-45000", positive),
        ("45000.001", decimals),
        ("\"45000.001\"", decimals),
        ("123456789", digits),
        ("\"123456789.00\"", digits),
        ("1e400", digits),
    ];
    let methods: Cases = &[
        ("null", null),
        ("\"\"", blank),
        ("\"cash\"", choice),
        ("\"CARD\"", choice),
        ("7", choice),
        ("true", text),
        ("[\"card\"]", text),
    ];
    let amounts = amounts.iter().map(|(amount, error)| {
        (
            format!(r#"{{"amount":{amount},"payment_method":"card"}}"#),
            vec![("amount", *error)],
        )
    });
    let methods = methods.iter().map(|(method, error)| {
        (
            format!(r#"{{"amount":45000,"payment_method":{method}}}"#),
            vec![("payment_method", *error)],
        )
    });
    let missing = [
        (r#"{"amount":45000}"#.to_owned(), vec![("payment_method", required)]),
        (r#"{"payment_method":"card"}"#.to_owned(), vec![("amount", required)]),
        (
            "{}".to_owned(),
            vec![("amount", required), ("payment_method", required)],
        ),
        (
            r#"{"amount":0,"payment_method":"cash"}"#.to_owned(),
            vec![("amount", positive), ("payment_method", choice)],
        ),
    ];
    for (body, errors) in missing.into_iter().chain(amounts).chain(methods) {
        for (language, tag) in ["ko", "en"].into_iter().enumerate() {
            let call = app
                .post(kind.register(id))
                .by(&minsu)
                .header("accept-language", tag)
                .json_text(body.as_str());
            let answer = call.await;
            let mut expected = json!({"code": "invalid", "request_id": answer.header("x-request-id")});
            for (field, error) in &errors {
                expected[field] = json!([error[language]]);
            }
            assert_eq!((answer.status.as_u16(), answer.json()), (400, &expected), "{body}");
        }
    }
    assert_eq!(app.state().await, before);
}

/// Violates each rule together with all rules that are checked after it.
#[rstest]
#[tokio::test]
async fn checks_in_the_documented_order(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    // Costs less than the minimum of a card, has ended, and Minsu holds its only seat.
    let end_at = "2020-01-02T00:00:00Z";
    let id = app
        .add(
            kind,
            Item {
                price: "500.00",
                end_at,
                capacity: Some(1),
                ..Item::default()
            },
        )
        .await;
    app.register(kind, &minsu, id, kind.active).await;
    let change = async |change: &str| {
        app.run(&format!("update {} set {change} where id = $1", kind.items), &[&id])
            .await;
    };
    let before = app.state().await;

    let answer = app
        .post(kind.register(404))
        .by(&minsu)
        .json(&payment("0", "card"))
        .await;
    assert_answer!(answer, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "amount": [
          "0보다 커야 합니다."
        ],
        "code": "invalid",
        "request_id": "[request id]"
      }
    }
    "#);
    let answer = app
        .post(kind.register(404))
        .by(&minsu)
        .json(&payment("400", "card"))
        .await;
    assert_answer!(answer, @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "not_found",
        "detail": "찾을 수 없습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    let answer = app
        .post(kind.register(id))
        .by(&minsu)
        .json(&payment("400", "card"))
        .await;
    assert_answer!(answer.says("error", kind.says.already_registered[0]), @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "already_registered",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    let attempt = async |amount: &str| {
        app.post(kind.register(id))
            .by(&jiyoung)
            .json(&payment(amount, "card"))
            .await
    };
    assert_answer!(attempt("400").await.says("error", kind.says.not_open[0]), @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "not_open",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(app.state().await, before);
    change("end_at = '2099-12-31'").await;
    assert_answer!(attempt("400").await.says("error", kind.says.amount_mismatch[0]), @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "amount_mismatch",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(attempt("500").await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "amount_out_of_bounds",
        "error": "결제 수단의 허용 금액 범위를 벗어났습니다",
        "request_id": "[request id]"
      }
    }
    "#);
    change("price = 5000").await;
    assert_answer!(attempt("5000").await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "sold_out",
        "error": "정원이 마감되었습니다",
        "request_id": "[request id]"
      }
    }
    "#);
    change("capacity = 2").await;
    assert_eq!(attempt("5000").await.status, 201);
}

#[rstest]
#[tokio::test]
async fn refuses_in_english_too(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let full = app
        .add(
            kind,
            Item {
                capacity: Some(1),
                ..Item::default()
            },
        )
        .await;
    let over = app
        .add(
            kind,
            Item {
                end_at: "2020-01-02T00:00:00Z",
                ..Item::default()
            },
        )
        .await;
    let cheap = app
        .add(
            kind,
            Item {
                price: "99.99",
                ..Item::default()
            },
        )
        .await;
    app.register(kind, &minsu, full, kind.active).await;
    for (user, id, amount, text) in [
        (&minsu, full, "45000", kind.says.already_registered[1]),
        (&jiyoung, over, "45000", kind.says.not_open[1]),
        (&jiyoung, cheap, "45000", kind.says.amount_mismatch[1]),
        (
            &jiyoung,
            cheap,
            "99.99",
            "The amount is outside what the payment method takes",
        ),
        (&jiyoung, full, "45000", "All seats are taken"),
    ] {
        let answer = app
            .post(kind.register(id))
            .by(user)
            .in_english()
            .json(&payment(amount, "card"))
            .await;
        assert_eq!(answer.json()["error"], text);
    }
    let answer = app
        .post(kind.register(404))
        .by(&minsu)
        .in_english()
        .json(&payment("45000", "card"))
        .await;
    assert_eq!(answer.json()["detail"], "Not found.");
}

/// Checks each bound exactly, and one cent beyond it. The upper bounds of card and bank transfer exceed what the table
/// can hold.
#[rstest]
#[case::kakaopay("kakaopay", 0.029, &["99.99", "50000000.01"], &[("100.00", 2.9), ("50000000.00", 1_450_000.0)])]
#[case::card("card", 0.032, &["999.99"], &[("1000.00", 32.0), ("99999999.99", 3_199_999.999_68)])]
#[case::bank_transfer("bank_transfer", 0.005, &["999.99"], &[("1000.00", 5.0), ("99999999.99", 499_999.999_95)])]
#[tokio::test]
async fn each_method_has_its_bounds_and_its_fee(
    #[values(EXAM, COURSE)] kind: Kind,
    #[case] method: &str,
    #[case] rate: f64,
    #[case] outside: &[&str],
    #[case] inside: &[(&str, f64)],
) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let attempt = async |price: &str| {
        let id = app
            .add(
                kind,
                Item {
                    price,
                    ..Item::default()
                },
            )
            .await;
        app.post(kind.register(id))
            .by(&minsu)
            .json(&payment(price, method))
            .await
    };
    for price in outside {
        assert_answer!(attempt(price).await, @r#"
        {
          "status": "400 Bad Request",
          "body": {
            "code": "amount_out_of_bounds",
            "error": "결제 수단의 허용 금액 범위를 벗어났습니다",
            "request_id": "[request id]"
          }
        }
        "#);
    }
    assert_eq!(app.rows("select * from payments").await, json!([]));
    for (price, fee) in inside {
        let answer = attempt(price).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(answer.json()["payment_method"], method);
        assert_eq!(
            answer.json()["transaction_metadata"],
            json!({
                "payment_gateway": method,
                "supports_refund": true,
                "processing_fee_rate": rate,
                "estimated_fee": fee,
            })
        );
    }
}

#[rstest]
#[tokio::test]
async fn both_ends_of_the_period_belong_to_it(#[values(EXAM, COURSE)] kind: Kind) {
    const NOW: &str = "2026-05-01T00:00:00Z";
    let mut app = App::start().await;
    let minsu = app.user("minsu").await;
    // Stops the clock: PostgreSQL searches pg_catalog first, unless search_path names it after another schema.
    let stop_the_clock = format!(
        "do $$ begin
            execute 'create function public.clock_timestamp() returns timestamptz return timestamptz ''{NOW}''';
            execute format('alter database %I set search_path = public, pg_catalog', current_database());
         end $$"
    );
    app.run(&stop_the_clock, &[]).await;
    // New connections use the new search_path, and so do functions.
    app.renew_search_paths().await;
    app.restart().await;
    let attempt = async |start_at, end_at| {
        let id = app
            .add(
                kind,
                Item {
                    start_at,
                    end_at,
                    ..Item::default()
                },
            )
            .await;
        register(&app, kind, id, &minsu).await
    };

    assert_eq!(attempt(NOW, NOW).await.status, 201);
    assert_eq!(
        attempt("2026-04-30T23:59:59.999999Z", "2026-05-01T00:00:00.000001Z")
            .await
            .status,
        201
    );
    let answer = attempt("2026-05-01T00:00:00.000001Z", "2099-12-31T00:00:00Z").await;
    assert_answer!(answer.says("error", kind.says.not_open[0]), @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "not_open",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(
        attempt("2020-01-01T00:00:00Z", "2026-04-30T23:59:59.999999Z")
            .await
            .code(),
        "not_open"
    );
}

#[rstest]
#[tokio::test]
async fn reuses_the_registration_after_a_cancellation(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let first = register(&app, kind, id, &minsu).await;
    assert_eq!(cancel(&app, paid(&first), &minsu).await.status, 200);
    let payment = |id: i64| format!("/me/payments/{id}/");
    let cancelled = app.get(payment(paid(&first))).by(&minsu).await;

    let second = register(&app, kind, id, &minsu).await;

    assert_eq!(second.status, 201);
    assert_eq!(
        second.json()[kind.registration_key],
        first.json()[kind.registration_key]
    );
    assert_ne!(paid(&second), paid(&first));
    assert_eq!(app.get(payment(paid(&first))).by(&minsu).await.json(), cancelled.json());
    let Kind {
        items,
        registrations,
        registered_at,
        active,
        ..
    } = kind;
    let rows = app
        .rows(&format!(
            "select status = '{active}' as active, completed_at, cancelled_at,
                    (select array_agg(status order by id) from payments) as payments,
                    {registered_at} = (select max(paid_at) from payments) as registered_anew,
                    (select registration_count from {items}) as registration_count from {registrations}"
        ))
        .await;
    assert_rows!(rows, @r#"
    [
      {
        "active": true,
        "cancelled_at": null,
        "completed_at": null,
        "payments": [
          "cancelled",
          "paid"
        ],
        "registered_anew": true,
        "registration_count": 1
      }
    ]
    "#);
    let history = app
        .rows(&format!(
            "select replace(subject, '{}', '[kind]') as subject, subject_id,
                    array_agg(replace(status, '{active}', '[active]') order by id) as statuses,
                    sum(amount)::text as amount, sum(seats) as seats from sugang.audit_log group by 1, 2 order by 1, 2",
            kind.payment_type
        ))
        .await;
    assert_rows!(history, @r#"
    [
      {
        "amount": "0.00",
        "seats": 1,
        "statuses": [
          "[active]",
          "cancelled",
          "[active]"
        ],
        "subject": "[kind]",
        "subject_id": 1
      },
      {
        "amount": "0.00",
        "seats": 0,
        "statuses": [
          "paid",
          "cancelled"
        ],
        "subject": "payment",
        "subject_id": 1
      },
      {
        "amount": "45000.00",
        "seats": 0,
        "statuses": [
          "paid"
        ],
        "subject": "payment",
        "subject_id": 2
      }
    ]
    "#);
}

#[rstest]
#[tokio::test]
async fn a_payment_keeps_what_was_paid_for(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app
        .add(
            kind,
            Item {
                title: "옛 제목",
                ..Item::default()
            },
        )
        .await;
    let payment = format!("/me/payments/{}/", paid(&register(&app, kind, id, &minsu).await));
    let before = app.get(&payment).by(&minsu).await;
    assert_eq!(before.json()["target_title"], "옛 제목");

    app.run(
        &format!(
            "update {} set title = '새 제목', price = 1, description = '새로움'",
            kind.items
        ),
        &[],
    )
    .await;

    assert_eq!(app.get(&payment).by(&minsu).await.json(), before.json());
    let found = async |search: &str| {
        let list = app.get(format!("/me/payments/?search={search}")).by(&minsu).await;
        list.json()["count"].clone()
    };
    assert_eq!((found("옛").await, found("새").await), (Value::from(1), Value::from(0)));
}

#[rstest]
#[tokio::test]
async fn seats_are_taken_and_given_back(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app
        .add(
            kind,
            Item {
                capacity: Some(1),
                ..Item::default()
            },
        )
        .await;
    let payment = paid(&register(&app, kind, id, &minsu).await);

    assert_answer!(register(&app, kind, id, &jiyoung).await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "sold_out",
        "error": "정원이 마감되었습니다",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    assert_eq!(register(&app, kind, id, &jiyoung).await.status, 201);
    assert_eq!(register(&app, kind, id, &minsu).await.code(), "sold_out");
}
