//! `hidden` of exams and courses, as operators set and see it.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{Answer, App, COURSE, EXAM, Item, Kind};

use crate::{storm::assert_audit, support::operator};

fn titles(answer: &Answer) -> Vec<&str> {
    let results = answer.json()["results"].as_array();
    let results = results.unwrap_or_else(|| panic!("{answer:?}")).iter();
    let titles = results.map(|item| item["title"].as_str());
    titles.map(|title| title.expect("an item has a title")).collect()
}

#[rstest]
#[tokio::test]
async fn an_item_is_hidden_and_shown_again(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let [ujin, minsu] = [operator(&app).await, app.user("minsu").await];
    let new = json!({"title": "정보처리기사", "price": 0, "start_at": "2020-01-01T00:00:00Z",
                     "end_at": "2099-01-01T00:00:00Z", "hidden": true});
    let created = app
        .post(format!("/api/operator{}", kind.path))
        .by(&ujin)
        .json(&new)
        .await;
    assert_eq!(
        (created.status.as_u16(), &created.json()["hidden"]),
        (201, &json!(true))
    );
    let shown = async || app.get(kind.item(1)).by(&minsu).await.status.as_u16();
    assert_eq!(shown().await, 404);
    let set = async |read: &Answer, hidden: Value| {
        app.call("PATCH", format!("/api/operator{}", kind.item(1)))
            .by(&ujin)
            .header("if-match", read.header("etag"))
            .json(&json!({"hidden": hidden}))
            .await
    };
    let edited = set(&created, json!(false)).await;
    assert_eq!((edited.status.as_u16(), &edited.json()["hidden"]), (200, &json!(false)));
    assert_eq!(shown().await, 200);
    assert_eq!(set(&created, json!(true)).await.status, 412);
    assert_eq!(shown().await, 200);
    let again = set(&edited, json!("true")).await;
    assert_eq!(again.header("etag"), created.header("etag"));
    assert_eq!(shown().await, 404);
    let wrong = set(&again, json!("perhaps")).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (400, "invalid"));
    let log = app
        .rows("select action, before, after, actor_id from sugang.change_log where subject <> 'user' order by id")
        .await;
    let edits = json!([
        {"action": "created", "before": null, "after": null, "actor_id": ujin.id},
        {"action": "edited", "before": {"hidden": true}, "after": {"hidden": false}, "actor_id": ujin.id},
        {"action": "edited", "before": {"hidden": false}, "after": {"hidden": true}, "actor_id": ujin.id},
    ]);
    assert_eq!(log, edits);
    // An edit by another program is a version, too.
    app.run(&format!("update {} set hidden = false", kind.items), &[]).await;
    assert_eq!(set(&again, json!(false)).await.status, 412);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn the_hidden_ones_have_a_list(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    for (n, title) in ["요가 A", "요가 B", "필라테스 C", "요가 D"].into_iter().enumerate() {
        let created_at = format!("2026-01-0{}T00:00:00Z", n + 1);
        let item = Item {
            title,
            created_at: &created_at,
            ..Item::default()
        };
        app.add(kind, item).await;
    }
    app.register(kind, &ujin, 1, kind.active).await;
    let hide = format!(
        "update {} set hidden = true, end_at = case id when 3 then '2021-01-01' else end_at end where id < 4",
        kind.items
    );
    app.run(&hide, &[]).await;
    let list = async |query: &str| app.get(format!("/api/operator{}?{query}", kind.path)).by(&ujin).await;
    for (query, expected) in [
        ("", vec!["요가 D"]),
        ("hidden=false", vec!["요가 D"]),
        ("hidden=true", vec!["필라테스 C", "요가 B", "요가 A"]),
        ("hidden=true&sort=popular", vec!["요가 A", "필라테스 C", "요가 B"]),
        ("hidden=true&status=available", vec!["요가 B", "요가 A"]),
        ("hidden=true&search=가 b", vec!["요가 B"]),
        ("hidden=true&search=%25", vec![]),
        ("hidden=true&search=-요가", vec![]),
    ] {
        let answer = list(query).await;
        assert_eq!(titles(&answer), expected, "{query}");
        assert_eq!(answer.json()["count"], expected.len(), "{query}");
        let hidden = answer.json()["results"].as_array().expect("a list").iter();
        let flag = query.contains("hidden=true");
        assert!(
            hidden.map(|item| &item["hidden"]).all(|hidden| *hidden == flag),
            "{query}"
        );
    }
    assert_eq!(list("hidden=true&page=2").await.code(), "invalid_page");

    let more = format!(
        "insert into {} (title, price, start_at, end_at, created_at, hidden)
         select 'more ' || n, 1, '2020-01-01', '2099-01-01', timestamptz '2026-02-01' + n * interval '1 h', true
         from generate_series(1, 42) n",
        kind.items
    );
    app.run(&more, &[]).await;
    let pages = async |page: &str| {
        let answer = list(&format!("hidden=true&page={page}")).await;
        (answer.json()["count"].clone(), titles(&answer)[0].to_owned())
    };
    assert_eq!(pages("1").await, (json!(45), "more 42".to_owned()));
    assert_eq!(pages("2").await, (json!(45), "more 22".to_owned()));
    assert_eq!(pages("last").await, (json!(45), "more 2".to_owned()));
}
