use sugang_tests::{App, User, assert_answer, assert_rows};

async fn superuser(app: &App) -> User {
    let user = app.user("sujin").await;
    app.run("update users set is_superuser = true where id = $1", &[&user.id])
        .await;
    user
}

fn path(user: &User) -> String {
    format!("/api/operator/users/{}/operator/", user.id)
}

#[tokio::test]
async fn a_superuser_makes_and_unmakes_operators() {
    let app = App::start().await;
    let (sujin, minsu) = (superuser(&app).await, app.user("minsu").await);
    let list = || app.get("/api/operator/tests/").by(&minsu);
    assert_eq!(list().await.status, 404);
    assert_answer!(app.post(path(&minsu)).by(&sujin).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "email": "minsu@example.com",
        "id": 2,
        "is_operator": true,
        "is_superuser": false,
        "username": "minsu"
      }
    }
    "#);
    assert_eq!(list().await.status, 200);
    assert_eq!(app.post(path(&minsu)).by(&sujin).await.status, 200, "once more");
    let key = "5f0c1c1d";
    let unmake = || {
        app.call("DELETE", path(&minsu))
            .by(&sujin)
            .header("idempotency-key", key)
    };
    assert_eq!(unmake().await.json()["is_operator"], false);
    assert_eq!(unmake().await.header("idempotency-replayed"), "true");
    assert_eq!(list().await.status, 404);
    let log = "select subject, subject_id, action, before, after, actor_id, request_id is not null as by_request
               from sugang.change_log where actor_id is not null order by id";
    assert_rows!(app.rows(log).await, @r#"
    [
      {
        "action": "edited",
        "actor_id": 1,
        "after": {
          "is_staff": true
        },
        "before": {
          "is_staff": false
        },
        "by_request": true,
        "subject": "user",
        "subject_id": 2
      },
      {
        "action": "edited",
        "actor_id": 1,
        "after": {
          "is_staff": false
        },
        "before": {
          "is_staff": true
        },
        "by_request": true,
        "subject": "user",
        "subject_id": 2
      }
    ]
    "#);
}

#[tokio::test]
async fn an_operator_makes_none() {
    let app = App::start().await;
    let (sujin, minsu, jisu) = (superuser(&app).await, app.user("minsu").await, app.user("jisu").await);
    assert_eq!(app.post(path(&minsu)).by(&sujin).await.status, 200);
    assert_answer!(app.post(path(&jisu)).by(&minsu).await, @r#"
    {
      "status": "403 Forbidden",
      "body": {
        "code": "not_superuser",
        "detail": "최고 관리자만 운영자를 지정하거나 변경할 수 있습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(
        app.call("DELETE", path(&sujin)).by(&minsu).in_english().await.code(),
        "not_superuser"
    );
    // Refused for what the user is, so it is not kept under the key.
    let keyed = || app.post(path(&jisu)).by(&minsu).header("idempotency-key", "1");
    assert_eq!(keyed().await.code(), "not_superuser");
    app.run("update users set is_superuser = true where id = $1", &[&minsu.id])
        .await;
    assert_eq!(keyed().await.status, 200);
}

#[tokio::test]
async fn a_superuser_stays_one() {
    let app = App::start().await;
    let sujin = superuser(&app).await;
    assert_answer!(app.call("DELETE", path(&sujin)).by(&sujin).await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "target_is_superuser",
        "detail": "최고 관리자의 권한은 서버에서만 해제할 수 있습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(
        app.post("/api/operator/users/999/operator/").by(&sujin).await.code(),
        "not_found"
    );
}
