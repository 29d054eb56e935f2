//! `POST /api/operator/tests/{id}/repeat/` and the same for courses.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, COURSE, Call, EXAM, Item, Kind, User, assert_answer, assert_rows};

use crate::{
    storm::{assert_audit, audit},
    support::operator,
};

fn repeat<'a>(app: &'a App, kind: Kind, id: i64, user: &User, form: &Value) -> Call<'a> {
    app.post(format!("/api/operator{}repeat/", kind.item(id)))
        .by(user)
        .json(form)
}

async fn add(app: &App, kind: Kind, start: &str, end: &str) -> i64 {
    let id = app.add(kind, Item::default()).await;
    let table = kind.path.trim_matches('/');
    app.run(
        &format!(
            "update {table} set start_at = '{start}', end_at = '{end}', capacity = 7, hidden = true where id = $1"
        ),
        &[&id],
    )
    .await;
    id
}

/// The periods of all items behind the first one, by the clock of a time zone.
async fn periods(app: &App, kind: Kind, time_zone: &str) -> Value {
    let table = kind.path.trim_matches('/');
    app.rows(&format!(
        "select concat(to_char(start_at at time zone '{time_zone}', 'MM-DD HH24:MI'), ' to ',
                       to_char(end_at at time zone '{time_zone}', 'MM-DD HH24:MI')) as period
         from {table} where id > 1 order by id"
    ))
    .await
}

#[rstest]
#[tokio::test]
async fn a_course_every_monday(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = add(&app, kind, "2026-03-02T09:00+09", "2026-03-02T18:00+09").await;
    let form = json!({"every": "week", "count": 3, "time_zone": "Asia/Seoul"});
    let keyed = || repeat(&app, kind, id, &ujin, &form).header("idempotency-key", "k-1");
    let answer = keyed().await;
    assert_answer!(answer.clone(), @r#"
    {
      "status": "201 Created",
      "body": {
        "count": 3,
        "ids": [
          2,
          3,
          4
        ]
      }
    }
    "#);
    assert_eq!(keyed().await.json(), answer.json(), "once for a key");
    assert_rows!(periods(&app, kind, "Asia/Seoul").await, @r#"
    [
      {
        "period": "03-09 09:00 to 03-09 18:00"
      },
      {
        "period": "03-16 09:00 to 03-16 18:00"
      },
      {
        "period": "03-23 09:00 to 03-23 18:00"
      }
    ]
    "#);
    let table = kind.path.trim_matches('/');
    let others = app
        .rows(&format!(
            "select distinct title, description, price::text, capacity, hidden, registration_count from {table}"
        ))
        .await;
    assert_eq!(others.as_array().expect("rows").len(), 1, "{others}");
    let log: i64 = app
        .one(
            "select count(*) from sugang.change_log where action = 'created' and actor_id = $1",
            &[&ujin.id],
        )
        .await;
    assert_eq!(log, 3);
    assert_audit(&app).await;
    app.run(
        "update sugang.idempotency_keys set body = replace(body, '[2,', '[7,')",
        &[],
    )
    .await;
    assert_eq!(audit(&app).await.len(), 1, "the response that is kept is audited");
}

/// In Berlin the clock is set forward on 2026-03-29, from 02:00 to 03:00, and back on 2026-10-25.
#[tokio::test]
async fn the_clock_shows_the_same_time_when_it_is_set() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = add(&app, COURSE, "2026-03-28T02:30+01", "2026-03-28T02:45+01").await;
    let form = json!({"every": "day", "until": "2026-03-31", "time_zone": "Europe/Berlin"});
    assert_eq!(repeat(&app, COURSE, id, &ujin, &form).await.status, 201);
    assert_rows!(periods(&app, COURSE, "Europe/Berlin").await, @r#"
    [
      {
        "period": "03-29 03:30 to 03-29 03:45"
      },
      {
        "period": "03-30 02:30 to 03-30 02:45"
      },
      {
        "period": "03-31 02:30 to 03-31 02:45"
      }
    ]
    "#);
    app.run("delete from courses where id > 1", &[]).await;
    // In UTC the same day is not moved; and months are counted from the original.
    app.run(
        "update courses set start_at = '2026-01-31T08:00+01', end_at = '2026-10-24T08:00+02'",
        &[],
    )
    .await;
    let form = json!({"every": "month", "count": 3, "time_zone": "Europe/Berlin"});
    assert_eq!(repeat(&app, COURSE, id, &ujin, &form).await.status, 201);
    assert_rows!(periods(&app, COURSE, "Europe/Berlin").await, @r#"
    [
      {
        "period": "02-28 08:00 to 11-24 08:00"
      },
      {
        "period": "03-31 08:00 to 12-24 08:00"
      },
      {
        "period": "04-30 08:00 to 01-24 08:00"
      }
    ]
    "#);
}

#[tokio::test]
async fn a_wrong_form_creates_nothing() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = add(&app, EXAM, "2026-03-02T09:00+09", "9998-12-31T18:00+09").await;
    let before = app.state().await;
    let mut table = String::new();
    for form in [
        json!({}),
        json!({"every": "year", "count": 0, "time_zone": ""}),
        json!({"every": "day", "count": 501, "time_zone": "UTC"}),
        json!({"every": "day", "count": 2, "time_zone": "KST-9"}),
        json!({"every": "day", "count": 2, "time_zone": "Asia/Soul"}),
        json!({"every": "week", "until": "2026-03-08", "time_zone": "Asia/Seoul"}),
        json!({"every": "day", "until": "2036-03-08", "time_zone": "Asia/Seoul"}),
        json!({"every": "month", "count": 13, "time_zone": "Asia/Seoul"}),
    ] {
        let answer = repeat(&app, EXAM, id, &ujin, &form).in_english().await;
        table += &format!("{form} {}\n", answer.brief());
    }
    insta::assert_snapshot!(table, @r#"
    {} 400 invalid | count: This field is required.; every: This field is required.; time_zone: This field is required.
    {"count":0,"every":"year","time_zone":""} 400 invalid | count: Ensure this value is greater than 0.; every: This is not a valid choice.; time_zone: This field may not be blank.
    {"count":501,"every":"day","time_zone":"UTC"} 400 invalid | count: Ensure this value is less than or equal to 500.
    {"count":2,"every":"day","time_zone":"KST-9"} 400 invalid | time_zone: There is no such time zone. Use a name such as Asia/Seoul.
    {"count":2,"every":"day","time_zone":"Asia/Soul"} 400 invalid | time_zone: There is no such time zone. Use a name such as Asia/Seoul.
    {"every":"week","time_zone":"Asia/Seoul","until":"2026-03-08"} 400 invalid | until: It may not be before the start.
    {"every":"day","time_zone":"Asia/Seoul","until":"2036-03-08"} 400 invalid | until: Ensure that there are no more than 500 copies.
    {"count":13,"every":"month","time_zone":"Asia/Seoul"} 400 invalid | every: A period would end after the year 9999.
    "#);
    let form = json!({"every": "day", "count": 1, "time_zone": "UTC"});
    assert_eq!(repeat(&app, EXAM, 77, &ujin, &form).await.code(), "not_found");
    assert_eq!(app.state().await, before);
}
