//! The client against a server with prepared responses, which records the requests.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

mod waits;

use futures::TryStreamExt;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::types::*;

const LOGIN: &str =
    r#"{"access":"old","refresh":"refresh-1","user":{"id":7,"email":"m@example.com","username":"민수"}}"#;
const REGISTERED: &str = concat!(
    r#"{"message":"…","payment_id":1,"registration_id":2,"payment_method":"card","transaction_metadata":"#,
    r#"{"payment_gateway":"card","supports_refund":true,"processing_fee_rate":0.032,"estimated_fee":32.0}}"#,
);
const BUSY: &str = r#"{"error":"잠시 후 다시 시도해주세요","code":"busy","request_id":"r"}"#;
const UNAVAILABLE: &str = r#"{"detail":"…","code":"unavailable","request_id":"r"}"#;
const EXPIRED: &str = r#"{"detail":"…","code":"token_not_valid","request_id":"r"}"#;

enum Answer {
    Json(u16, String),
    With(u16, &'static str, &'static str),
    HangUp,
    Silence,
}

fn json(status: u16, body: impl Into<String>) -> Answer {
    Answer::Json(status, body.into())
}

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Sends one prepared response per request, in their order, each on its own connection.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    left: Arc<Mutex<VecDeque<Answer>>>,
}

impl Server {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/below", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let left: Arc<Mutex<VecDeque<_>>> = Arc::new(Mutex::new(answers.into_iter().collect()));
        let (recorded, queue) = (seen.clone(), left.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, recorded.clone(), queue.clone()));
            }
        });
        Self { address, seen, left }
    }

    fn client(&self) -> Client {
        let retry = RetryPolicy {
            first_wait: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        Client::builder(&self.address)
            .retry(retry)
            .timeout(Duration::from_millis(300))
            .build()
            .unwrap()
    }

    fn session(&self) -> Session {
        self.client().resume(serde_json::from_str(LOGIN).unwrap())
    }

    /// Returns the recorded requests, after all prepared responses were sent.
    fn seen(&self) -> Vec<Seen> {
        assert!(
            self.left.lock().unwrap().is_empty(),
            "some prepared responses were not requested"
        );
        self.seen.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, answers: Arc<Mutex<VecDeque<Answer>>>) {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await.unwrap() == 0 {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let (line, headers) = head.trim_end().split_once("\r\n").unwrap();
    let headers: Vec<_> = headers
        .lines()
        .filter_map(|header| header.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut request = Seen {
        line: line.trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: String::new(),
    };
    let mut body = vec![
        0;
        request
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap())
    ];
    stream.read_exact(&mut body).await.unwrap();
    request.body = String::from_utf8(body).unwrap();
    seen.lock().unwrap().push(request);

    let answer = answers
        .lock()
        .unwrap()
        .pop_front()
        .expect("more requests than prepared responses");
    let (status, header, body) = match answer {
        Answer::Json(status, body) => (status, "x-request-id: from-header", body),
        Answer::With(status, header, body) => (status, header, body.to_owned()),
        Answer::HangUp => return,
        Answer::Silence => return tokio::time::sleep(Duration::from_secs(60)).await,
    };
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n{header}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

fn register() -> Register {
    Register {
        amount: Money::won(1_000),
        payment_method: PaymentMethod::Card,
    }
}

fn exam(id: i64) -> String {
    format!(
        r#"{{"id":{id},"title":"t","description":null,"price":"1000.00","start_at":"2026-11-01T00:00:00Z",
        "end_at":"2026-11-30T00:00:00Z","created_at":"2026-10-01T00:00:00Z","is_registered":false,
        "registration_count":0}}"#
    )
}

fn page(count: u64, ids: &[i64], next: bool) -> String {
    // The address is not where this server is: a client that followed it would fail.
    let next = if next {
        r#""http://elsewhere.invalid/api/tests/?page=9""#
    } else {
        "null"
    };
    let results = ids.iter().map(|id| exam(*id)).collect::<Vec<_>>().join(",");
    format!(r#"{{"count":{count},"next":{next},"previous":null,"results":[{results}]}}"#)
}

#[tokio::test]
async fn every_endpoint_is_called_by_the_contract() {
    let payment = concat!(
        r#"{"id":1,"payment_type":"test","target_title":"t","target_type":"test","target_id":1,"amount":"1.00","#,
        r#""payment_method":"card","status":"paid","paid_at":"2026-11-01T00:00:00Z","cancelled_at":null,"#,
        r#""registration_time":null}"#,
    );
    let completed = r#"{"message":"…","registration_id":1,"completed_at":"2026-11-01T00:00:00Z"}"#;
    let enrolled = REGISTERED.replace("registration_id", "enrollment_id");
    let server = Server::start([
        json(
            201,
            r#"{"message":"…","user":{"id":7,"email":"m@example.com","username":"민수"}}"#,
        ),
        json(200, LOGIN),
        json(200, page(1, &[1], false)),
        json(200, exam(1)),
        json(201, REGISTERED),
        json(200, completed),
        json(200, page(0, &[], false)),
        json(201, enrolled),
        json(200, completed),
        json(
            200,
            format!(r#"{{"count":1,"next":null,"previous":null,"results":[{payment}]}}"#),
        ),
        json(200, payment),
        json(
            200,
            r#"{"message":"…","payment_id":1,"cancelled_at":"2026-11-01T00:00:00Z"}"#,
        ),
        json(204, ""),
        json(204, ""),
    ])
    .await;
    let client = server.client();
    assert_eq!(
        client
            .signup("m@example.com", "민수", "correct1")
            .await
            .unwrap()
            .user
            .id,
        UserId(7)
    );
    let session = client.login("m@example.com", "correct1").await.unwrap();
    assert_eq!(session.user().username, "민수");
    let filter = Filter {
        available: true,
        search: Some("정보 & 처리".into()),
        sort: Sort::Popular,
    };
    assert_eq!(
        session.exams().list(&filter).page(1).await.unwrap().results[0].id,
        ExamId(1)
    );
    assert_eq!(session.exams().get(ExamId(1)).await.unwrap().price, Money::won(1_000));
    let applied = session.exams().apply(ExamId(1), register()).await.unwrap();
    assert_eq!(applied.registration, Registration::Application(RegistrationId(2)));
    session.exams().complete(ExamId(1)).await.unwrap();
    assert!(
        session
            .courses()
            .list(&Filter::default())
            .last_page()
            .await
            .unwrap()
            .results
            .is_empty()
    );
    let enrolled = session.courses().enroll(CourseId(3), register()).await.unwrap();
    assert_eq!(enrolled.registration, Registration::Enrolment(RegistrationId(2)));
    session.courses().complete(CourseId(3)).await.unwrap();
    let payments = PaymentFilter {
        status: Some(PaymentStatus::Paid),
        payment_type: Some(PaymentType::Exam),
        from: Date::from_ymd_opt(2026, 11, 1),
        to: Date::from_ymd_opt(2026, 11, 30),
        search: Some("정보".into()),
    };
    assert_eq!(
        session.payments().list(&payments).page(2).await.unwrap().results[0].status,
        PaymentStatus::Paid
    );
    session.payments().get(PaymentId(1)).await.unwrap();
    session
        .payments()
        .cancel(PaymentId(1), Cancel::default())
        .await
        .unwrap();
    session.clone().logout_all().await.unwrap();
    session.logout().await.unwrap();

    let seen = server.seen();
    assert_eq!(
        server.lines(),
        [
            "POST /below/api/auth/signup/",
            "POST /below/api/auth/login/",
            "GET /below/api/tests/?status=available&search=%EC%A0%95%EB%B3%B4+%26+%EC%B2%98%EB%A6%AC&sort=popular&page=1",
            "GET /below/api/tests/1/",
            "POST /below/api/tests/1/apply/",
            "POST /below/api/tests/1/complete/",
            "GET /below/api/courses/?page=last",
            "POST /below/api/courses/3/enroll/",
            "POST /below/api/courses/3/complete/",
            concat!(
                "GET /below/api/me/payments/?status=paid&payment_type=test&from=2026-11-01&to=2026-11-30",
                "&search=%EC%A0%95%EB%B3%B4&page=2"
            ),
            "GET /below/api/me/payments/1/",
            "POST /below/api/payments/1/cancel/",
            "POST /below/api/auth/logout/all/",
            "POST /below/api/auth/logout/",
        ]
    );
    for (n, request) in seen.iter().enumerate() {
        let account = n < 2 || request.line.ends_with("logout/");
        assert_eq!(
            request.header("authorization"),
            (!account).then_some("Bearer old"),
            "{}",
            request.line
        );
        let keyed = ["apply/", "enroll/", "cancel/"]
            .iter()
            .any(|end| request.line.ends_with(end));
        assert_eq!(request.header("idempotency-key").is_some(), keyed, "{}", request.line);
        let post = request.line.starts_with("POST");
        assert_eq!(
            request.header("content-type"),
            post.then_some("application/json"),
            "{}",
            request.line
        );
    }
    assert_eq!(seen[13].body, r#"{"refresh":"refresh-1"}"#);
    assert_eq!(seen[4].body, r#"{"amount":"1000.00","payment_method":"card"}"#);
    assert_ne!(seen[4].header("idempotency-key"), seen[7].header("idempotency-key"));
}

#[tokio::test]
async fn the_key_and_the_body_stay_the_same_over_all_attempts() {
    let server = Server::start([
        json(409, BUSY),
        json(503, UNAVAILABLE),
        Answer::HangUp,
        json(201, REGISTERED),
    ])
    .await;
    let key: IdempotencyKey = "order-4711".parse().unwrap();
    let call = server
        .session()
        .exams()
        .apply(ExamId(1), register())
        .idempotency_key(key.clone());
    assert_eq!(call.key(), &key);
    call.await.unwrap();
    for request in server.seen() {
        assert_eq!(request.header("idempotency-key"), Some("order-4711"));
        assert_eq!(request.body, r#"{"amount":"1000.00","payment_method":"card"}"#);
    }
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn only_idempotent_requests_are_retried_after_a_possible_effect() {
    for lost in [|| Answer::HangUp, || Answer::Silence, || json(503, UNAVAILABLE)] {
        let server = Server::start([lost()]).await;
        let error = server.session().exams().complete(ExamId(1)).await.unwrap_err();
        assert!(matches!(error, Error::Lost(_) | Error::Api(_)), "{error:?}");
        assert_eq!(server.seen().len(), 1);

        let server = Server::start([lost(), json(200, exam(1))]).await;
        server.session().exams().get(ExamId(1)).await.unwrap();
        assert_eq!(server.seen().len(), 2);
    }
    let server = Server::start([
        json(409, BUSY),
        json(400, r#"{"error":"…","code":"already_completed"}"#),
    ])
    .await;
    let error = server.session().exams().complete(ExamId(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::AlreadyCompleted));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn an_unreachable_service_is_an_error_after_all_attempts() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let retry = RetryPolicy {
        first_wait: Duration::from_millis(20),
        ..RetryPolicy::default()
    };
    let client = Client::builder(address).retry(retry).build().unwrap();
    let started = std::time::Instant::now();
    assert!(matches!(client.signup("a", "b", "c").await, Err(Error::Connect(_))));
    // At least half of 20, 40 and 80 ms: three further attempts were made.
    assert!(started.elapsed() >= Duration::from_millis(70));
}

#[tokio::test]
async fn retry_after_is_kept_or_ends_the_call() {
    let limited = r#"{"detail":"…","code":"rate_limited","request_id":"r"}"#;
    let server = Server::start([Answer::With(429, "retry-after: 1", limited), json(200, LOGIN)]).await;
    let started = std::time::Instant::now();
    server.client().login("m@example.com", "correct1").await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));

    let server = Server::start([Answer::With(429, "retry-after: 60", limited)]).await;
    let error = server.client().login("m@example.com", "correct1").await.unwrap_err();
    assert_eq!(error.api().unwrap().retry_after, Some(Duration::from_secs(60)));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_expired_token_is_renewed_once_for_all_calls() {
    let server = Server::start([
        json(401, EXPIRED),
        json(401, EXPIRED),
        json(200, r#"{"access":"new","refresh":"refresh-2"}"#),
        json(200, exam(1)),
        json(200, exam(2)),
    ])
    .await;
    let session = server.session();
    let exams = session.exams();
    let both = tokio::try_join!(exams.get(ExamId(1)), exams.get(ExamId(2)));
    both.unwrap();
    let tokens = session.tokens().await;
    assert_eq!((tokens.access.expose(), tokens.refresh.expose()), ("new", "refresh-2"));
    let seen = server.seen();
    let renewals: Vec<_> = seen
        .iter()
        .filter(|request| request.line.ends_with("token/refresh/"))
        .collect();
    assert_eq!(renewals.len(), 1);
    assert_eq!(renewals[0].body, r#"{"refresh":"refresh-1"}"#);
    assert_eq!(renewals[0].header("authorization"), None);
    assert!(
        seen[3..]
            .iter()
            .all(|request| request.header("authorization") == Some("Bearer new"))
    );
}

#[tokio::test]
async fn a_renewal_keeps_the_key_and_an_expired_session_is_an_error() {
    let server = Server::start([
        json(401, EXPIRED),
        json(200, r#"{"access":"new"}"#),
        json(201, REGISTERED),
    ])
    .await;
    server.session().exams().apply(ExamId(1), register()).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].header("idempotency-key").is_some());
    assert_eq!(seen[0].header("idempotency-key"), seen[2].header("idempotency-key"));

    let server = Server::start([json(401, EXPIRED), json(401, EXPIRED)]).await;
    let error = server.session().exams().get(ExamId(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::TokenNotValid));
    assert!(server.lines()[1].ends_with("token/refresh/"));

    let inactive = r#"{"detail":"…","code":"user_inactive","request_id":"r"}"#;
    let server = Server::start([json(401, inactive)]).await;
    let error = server.session().exams().get(ExamId(1)).await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::UserInactive));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_stream_reads_all_pages_of_a_shrinking_list() {
    let invalid_page = r#"{"detail":"Invalid page.","code":"invalid_page","request_id":"r"}"#;
    let pages = || [json(200, page(5, &[1, 2], true)), json(200, page(5, &[3, 4], true))];
    let ids = |server: &Server| {
        let exams = server.session().exams().list(&Filter::default());
        async move { exams.stream().map_ok(|exam| exam.id.0).try_collect::<Vec<_>>().await }
    };
    let server = Server::start(pages().into_iter().chain([json(200, page(5, &[5], false))])).await;
    assert_eq!(ids(&server).await.unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(
        server.lines(),
        [1, 2, 3].map(|n| format!("GET /below/api/tests/?page={n}"))
    );

    let server = Server::start(pages().into_iter().chain([json(404, invalid_page)])).await;
    assert_eq!(ids(&server).await.unwrap(), [1, 2, 3, 4]);

    let server = Server::start([json(404, invalid_page)]).await;
    assert_eq!(ids(&server).await.unwrap_err().code(), Some(&ErrorCode::InvalidPage));
}

#[tokio::test]
async fn errors_have_status_code_text_and_path() {
    let server = Server::start([json(
        400,
        r#"{"amount":["틀립니다."],"code":"invalid","request_id":"r-1"}"#,
    )])
    .await;
    let error = server.session().exams().apply(ExamId(1), register()).await.unwrap_err();
    assert_eq!(error.fields().unwrap()["amount"], ["틀립니다."]);
    assert_eq!(error.request_id(), Some("r-1"));
    assert_eq!(error.to_string(), "400 invalid: amount: 틀립니다. (request r-1)");

    let server = Server::start([json(200, page(1, &[1], false).replace(r#""1000.00""#, r#""much""#))]).await;
    let error = server
        .session()
        .exams()
        .list(&Filter::default())
        .page(1)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the response cannot be read at `results[0].price` (request from-header)"
    );

    let server = Server::start([json(404, "<html>not here</html>")]).await;
    let error = server.session().exams().get(ExamId(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "404: Not Found (request from-header)");

    // A redirect is an answer, never followed.
    let server = Server::start([Answer::With(302, "location: http://elsewhere.invalid/", "")]).await;
    let error = server.session().exams().get(ExamId(1)).await.unwrap_err();
    assert_eq!(error.api().unwrap().status, 302);

    let server = Server::start([json(200, exam(1))]).await;
    let client = Client::builder(&server.address)
        .max_response_bytes(100)
        .build()
        .unwrap();
    let session = client.resume(serde_json::from_str(LOGIN).unwrap());
    assert!(matches!(
        session.exams().get(ExamId(1)).await,
        Err(Error::TooLong { limit: 100 })
    ));
}

#[test]
fn wrong_settings_are_refused() {
    for address in ["", "localhost:8000", "ftp://localhost", "http://"] {
        assert!(matches!(Client::new(address), Err(Error::Config(_))), "{address:?}");
    }
    assert!(Client::builder("http://localhost").language("en\n").build().is_err());
    assert_eq!(Client::new("https://localhost").is_ok(), cfg!(feature = "rustls"));
}

#[test]
fn keys_are_visible_ascii() {
    for key in ["a", "order-4711", &"x".repeat(255), IdempotencyKey::random().as_str()] {
        assert_eq!(key.parse::<IdempotencyKey>().unwrap().as_str(), key);
    }
    for key in ["", " a", "a b", "a\n", "키", &"x".repeat(256)] {
        assert_eq!(key.parse::<IdempotencyKey>(), Err(InvalidKey), "{key:?}");
    }
    assert_ne!(IdempotencyKey::random(), IdempotencyKey::random());
}
