//! `POST /api/operator/tests/import/` and the same for courses.

use std::future::IntoFuture;

use futures::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{Answer, App, COURSE, Call, EXAM, Item, Kind, User, assert_answer, assert_rows};

use crate::{
    storm::assert_audit,
    support::{operator, tally},
};

const CSV: &str = "text/csv";
const JSON_LINES: &str = "application/x-ndjson";
const NAMES: &str = "title,price,start_at,end_at";
const PERIOD: &str = "2026-03-02T09:00:00+09:00,2099-12-31T23:59:59Z";

fn import<'a>(app: &'a App, kind: Kind, user: &User, media_type: &str, file: impl Into<Vec<u8>>) -> Call<'a> {
    import_with(app, kind, "", user, media_type, file)
}

fn import_with<'a>(
    app: &'a App,
    kind: Kind,
    query: &str,
    user: &User,
    media_type: &str,
    file: impl Into<Vec<u8>>,
) -> Call<'a> {
    app.post(format!("/api/operator{}import/{query}", kind.path))
        .by(user)
        .header("content-type", media_type)
        .body(file)
}

async fn items(app: &App, kind: Kind) -> Value {
    let table = kind.path.trim_matches('/');
    app.rows(&format!(
        "select title, description, price::text, capacity, sugang.iso(start_at) as start_at,
                sugang.iso(end_at) as end_at, hidden from {table} order by id"
    ))
    .await
}

async fn count(app: &App, kind: Kind) -> i64 {
    let table = kind.path.trim_matches('/');
    app.one(&format!("select count(*) from {table}"), &[]).await
}

/// This many rows, each of about 200 bytes.
fn long_csv(rows: usize) -> String {
    let row = |n: usize| format!("강의 {n},30000,{PERIOD},\"{}\"\r\n", "매주 월요일, 아홉 시 ".repeat(4));
    format!("{NAMES},description\r\n{}", (0..rows).map(row).collect::<String>())
}

#[rstest]
#[tokio::test]
async fn a_file_of_a_spreadsheet_creates_its_items(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let file = "\u{feff}capacity;title;start_at;end_at;price;hidden;description\r\n\
                20;\"러스트; 입문\";2026-03-02T09:00:00+09:00;2026-03-30T18:00:00+09:00;30000;FALSE;\"첫 줄\r\n둘째 줄\"\r\n\
                ;;;;;;\r\n\
                ;'=1+1;2026-03-02T00:00:00Z;2026-03-02T00:00:00Z;0.50;TRUE;\r\n";
    assert_answer!(import(&app, kind, &ujin, "text/csv; charset=utf-8", file).await, @r#"
    {
      "status": "201 Created",
      "body": {
        "count": 2,
        "ids": [
          1,
          2
        ]
      }
    }
    "#);
    assert_rows!(items(&app, kind).await, @r#"
    [
      {
        "capacity": 20,
        "description": "첫 줄\r\n둘째 줄",
        "end_at": "2026-03-30T09:00:00Z",
        "hidden": false,
        "price": "30000.00",
        "start_at": "2026-03-02T00:00:00Z",
        "title": "러스트; 입문"
      },
      {
        "capacity": null,
        "description": null,
        "end_at": "2026-03-02T00:00:00Z",
        "hidden": true,
        "price": "0.50",
        "start_at": "2026-03-02T00:00:00Z",
        "title": "=1+1"
      }
    ]
    "#);
    let log = app
        .rows(
            "select action, subject_id, actor_id, request_id is not null as by_request from sugang.change_log
               where subject <> 'user' order by id",
        )
        .await;
    let created = |id: i64| json!({"action": "created", "subject_id": id, "actor_id": ujin.id, "by_request": true});
    assert_eq!(log, json!([created(1), created(2)]));
    let found = app.get(format!("{}?search=러스트", kind.path)).by(&ujin).await;
    assert_eq!(found.json()["count"], 1, "it is found at once: {found:?}");
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn one_wrong_row_keeps_all_from_being_created(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let file = format!(
        "{NAMES}\n가,1000,{PERIOD}\n나,-1,{PERIOD}\n다,1000,2026-03-02T09:00:00Z,2026-03-02T08:59:59Z\n,1000,{PERIOD},x\n"
    );
    let before = app.state().await;
    let answer = import(&app, kind, &ujin, CSV, file.clone()).in_english().await;
    assert_answer!(answer, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid_rows",
        "detail": "Some rows are wrong, and nothing was done.",
        "request_id": "[request id]",
        "rows": [
          {
            "column": 2,
            "error": "Ensure this value is greater than or equal to 0.",
            "field": "price",
            "line": 3
          },
          {
            "column": 4,
            "error": "It may not be before the start.",
            "field": "end_at",
            "line": 4
          },
          {
            "column": 5,
            "error": "It must have 4 cells, as the first line has.",
            "line": 5
          }
        ]
      }
    }
    "#);
    let dry = import_with(&app, kind, "?dry_run=true", &ujin, CSV, file).await;
    assert_eq!((dry.status.as_u16(), dry.code()), (400, "invalid_rows"));
    let lines = "{\"title\":\"가\",\"price\":0,\"start_at\":\"2026-03-02T09:00:00Z\",\"end_at\":\"2026-03-01T00:00:00Z\"}\n\
                 {\"titel\":\"나\"}\n[1,\n";
    let answer = import(&app, kind, &ujin, JSON_LINES, lines).in_english().await;
    assert_answer!(answer, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid_rows",
        "detail": "Some rows are wrong, and nothing was done.",
        "request_id": "[request id]",
        "rows": [
          {
            "error": "It may not be before the start.",
            "field": "end_at",
            "line": 1
          },
          {
            "error": "There is no such field.",
            "field": "titel",
            "line": 2
          },
          {
            "error": "This field is required.",
            "field": "title",
            "line": 2
          },
          {
            "error": "This field is required.",
            "field": "price",
            "line": 2
          },
          {
            "error": "This field is required.",
            "field": "start_at",
            "line": 2
          },
          {
            "error": "This field is required.",
            "field": "end_at",
            "line": 2
          },
          {
            "error": "This is not a JSON object.",
            "line": 3
          }
        ]
      }
    }
    "#);
    assert_eq!(app.state().await, before);
}

#[rstest]
#[tokio::test]
async fn a_dry_run_creates_nothing_and_takes_no_key(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let file = format!("{NAMES}\n가,1000,{PERIOD}\n");
    let keyed =
        |query: &str, file: &str| import_with(&app, kind, query, &ujin, CSV, file).header("idempotency-key", "k-1");
    let before = app.state().await;
    let dry = keyed("?dry_run=true", &file).await;
    assert_eq!(
        (dry.status.as_u16(), dry.json()),
        (200, &json!({"count": 1, "ids": []}))
    );
    assert_eq!(keyed("", "title\n").await.code(), "invalid_rows");
    assert_eq!(app.state().await, before);
    let first = keyed("", &file).await;
    assert_eq!(
        (first.status.as_u16(), first.json()),
        (201, &json!({"count": 1, "ids": [1]}))
    );
    let again = keyed("", &file).await;
    assert_eq!(
        (
            again.status.as_u16(),
            again.json(),
            again.header("idempotency-replayed")
        ),
        (201, first.json(), "true")
    );
    let other = keyed("", &file.replace("가", "나")).await;
    assert_eq!(other.code(), "idempotency_key_reused");
    assert_eq!(count(&app, kind).await, 1);
}

#[rstest]
#[tokio::test]
async fn an_export_creates_the_same_items_again(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    for (title, description) in [
        ("=1+1, \"가\"", Some("'-1\r\n둘")),
        ("'70년대", Some("''")),
        ("@나; 다", None),
        ("null", Some("{\"a\":1}")),
    ] {
        let item = Item {
            title,
            description,
            ..Item::default()
        };
        app.add(kind, item).await;
    }
    let table = kind.path.trim_matches('/');
    app.run(
        &format!("update {table} set capacity = 3, price = 0.5 where id = 2"),
        &[],
    )
    .await;
    app.run(&format!("update {table} set hidden = true where id = 3"), &[])
        .await;
    let original = items(&app, kind).await;
    for (ending, media_type) in [("csv", CSV), ("jsonl", JSON_LINES)] {
        let path = format!("/api/operator/{table}.{ending}");
        let file = app.get(path).by(&ujin).await;
        assert!(file.header("content-type").starts_with(media_type), "{file:?}");
        app.run(&format!("delete from {table}"), &[]).await;
        let answer = import(&app, kind, &ujin, media_type, file.body.clone()).await;
        assert_eq!(answer.json()["count"], 4, "{answer:?}");
        assert_eq!(items(&app, kind).await, original, "{ending}");
    }
    assert_audit(&app).await;
}

#[tokio::test]
async fn a_repeated_request_creates_once() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let file = long_csv(50);
    let one = || {
        import(&app, COURSE, &ujin, CSV, file.clone())
            .header("idempotency-key", "k-1")
            .into_future()
    };
    let answers: Vec<Answer> = join_all((0..5).map(|_| one())).await;
    assert!(
        tally(&answers).iter().all(|(status, _)| [201, 409].contains(status)),
        "{answers:?}"
    );
    assert_eq!(count(&app, COURSE).await, 50);
    // The negative control: without a key, each request has its own effect.
    for _ in 0..2 {
        assert_eq!(import(&app, COURSE, &ujin, CSV, file.clone()).await.status, 201);
    }
    assert_eq!(count(&app, COURSE).await, 150);
}

/// Ten thousand rows are more than the usual limit of a body, in a declared length and in chunks.
#[tokio::test]
async fn a_long_file_is_for_operators_alone() {
    let app = App::with("max_import_bytes", 4 << 20).start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    let file = long_csv(10_000);
    assert!(file.len() > 1 << 20);
    let answer = import(&app, COURSE, &ujin, CSV, file.clone()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["count"]),
        (201, &json!(10_000)),
        "{answer:?}"
    );
    assert_eq!(count(&app, COURSE).await, 10_000);
    assert_eq!(
        import(&app, COURSE, &minsu, CSV, file.clone()).await.code(),
        "not_found"
    );
    let other = app.post("/nope/").by(&minsu).body(file.clone()).await;
    assert_eq!(other.code(), "not_found");
    let long = import(&app, COURSE, &ujin, CSV, vec![b'x'; (4 << 20) + 1]).await;
    assert_eq!((long.status.as_u16(), long.code()), (413, "payload_too_large"));
    // Any other path keeps its limit.
    let form = app
        .post("/api/operator/courses/")
        .by(&ujin)
        .json_text(" ".repeat(70_000))
        .await;
    assert_eq!(form.code(), "payload_too_large");

    let chunked = |user: &User, chunks: usize| {
        let chunk = " ".repeat(16_384);
        let chunks = format!("4000\r\n{chunk}\r\n").repeat(chunks);
        format!(
            "POST /api/operator/courses/import/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/csv\r\n\
             Authorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n",
            user.access
        )
    };
    for (user, chunks, status) in [
        (&ujin, 200, "400"),
        (&ujin, 300, "413"),
        (&minsu, 1, "404"),
        (&minsu, 300, "404"),
    ] {
        let answer = app.raw_unfinished(chunked(user, chunks).as_bytes()).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{chunks}: {answer:.300}"
        );
    }
    assert_eq!(count(&app, COURSE).await, 10_000);
}

/// Bodies that are no file of this kind.
#[tokio::test]
async fn other_media_types_are_refused() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let file = format!("{NAMES}\n가,1000,{PERIOD}\n");
    for media_type in [
        "application/json",
        "text/plain",
        "text/csv; charset=euc-kr",
        "multipart/form-data; boundary=x",
    ] {
        let answer = import(&app, COURSE, &ujin, media_type, file.clone()).await;
        assert_eq!(answer.code(), "unsupported_media_type", "{media_type}");
    }
    let packed = import(&app, COURSE, &ujin, CSV, file)
        .header("content-encoding", "gzip")
        .await;
    assert_eq!(packed.code(), "unsupported_media_type");
    for (file, expected) in [
        (
            b"".to_vec(),
            "400 invalid_rows | 잘못된 행이 있어 아무것도 변경하지 않았습니다.; line 1, 행이 없습니다.",
        ),
        (
            b"title\n\xb0\xa1".to_vec(),
            "400 invalid_rows | 잘못된 행이 있어 아무것도 변경하지 않았습니다.; line 2, UTF-8이 아닙니다. 엑셀에서는 'CSV UTF-8'로 저장하십시오.",
        ),
    ] {
        assert_eq!(import(&app, COURSE, &ujin, CSV, file).await.brief(), expected);
    }
    assert_eq!(count(&app, COURSE).await, 0);
}
