//! The requests to Toss against a description of its API that others have written. Prism, between the service and the
//! stand-in, compares them.
//!
//! The document is older than `/v1/payments/confirm`, and takes it for the approval of then, whose body has two members of
//! the three. It does not have the look-up by the order's id. Of a refund it wants the `paymentKey` in the body as well, which
//! Toss takes from the path.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use sugang_tests::{EXAM, Item, Plan, TOSS_SECRET, TossServer, free_port};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    deposits::until,
    gateway_clients::installed,
    support::{cancel, payment},
    toss,
};

/// An upper limit for what Prism does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Prism in front of a server, which ends when it is dropped.
struct Prism {
    process: Child,
    url: String,
    log: PathBuf,
    _folder: TempDir,
}

impl Prism {
    /// Starts it with the document. Returns `None` where there is no Prism; `cargo xtask test` tries to install it.
    async fn start(upstream: &str) -> Option<Self> {
        let modules = installed("SUGANG_TEST_PRISM")?;
        let document = installed("SUGANG_TEST_TOSS_DOCUMENT")?;
        let port = free_port();
        let folder = TempDir::new().expect("a folder for the log");
        let log = folder.path().join("prism.log");
        let process = Command::new("node")
            .arg(Path::new(&modules).join("@stoplight/prism-cli/dist/index.js"))
            .args(["proxy", &document, upstream, "--port", &port.to_string()])
            .stdout(File::create(&log).expect("a log"))
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs");
        let prism = Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
            log,
            _folder: folder,
        };
        prism.logs("Prism is listening").await;
        Some(prism)
    }

    /// Waits until the log has a text.
    async fn logs(&self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log).expect("the log can be read");
            if log.contains(text) {
                return log;
            }
            assert!(begun.elapsed() < PATIENCE, "Prism does not log {text:?}, but:\n{log}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a refund with an amount that is a text, and returns the requests before it: method and path, and what the
    /// document has against each. That Prism has something against the last request is the negative control.
    async fn requests(&self) -> Vec<(String, Vec<String>)> {
        let wrong = json!({ "paymentKey": "unknown", "cancelReason": "변심", "cancelAmount": "45000" });
        let request = reqwest::Client::new()
            .post(format!("{}/v1/payments/wrong/cancel", self.url))
            .basic_auth(TOSS_SECRET, Some(""))
            .header("content-type", "application/json")
            .body(wrong.to_string());
        request.send().await.expect("Prism passes it on");
        let log = self.logs("Request body property cancelAmount must be number").await;
        let mut requests: Vec<(String, Vec<String>)> = Vec::new();
        for line in log.lines() {
            if let Some((_, request)) = line.split_once("[HTTP SERVER] ") {
                let request = request.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
                requests.push((request, Vec::new()));
            } else if let (Some((_, violation)), Some((_, violations))) =
                (line.split_once("Violation: request"), requests.last_mut())
            {
                violations.push(violation.trim().to_owned());
            }
        }
        requests.pop();
        requests
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// By card. The answer to the confirmation is unclear, so that the payment is looked up.
async fn pay_by_card(gateway: &TossServer, prism: &Prism) {
    let app = toss::with(gateway).with("toss_url", &prism.url).start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = toss::agree(&app, gateway, EXAM, item, &minsu).await;
    gateway.plan_confirmation(Plan::FailAfter);
    let paid = toss::approve(&app, order, &key, &minsu).await;
    assert_eq!(paid.json()["status"], "paid", "{paid:?}");
    let id = paid.json()["payment_id"].as_i64().unwrap();
    assert_eq!(cancel(&app, id, &minsu).await.status, 200);
}

/// By deposit, which goes back to an account.
async fn pay_by_deposit(gateway: &TossServer, prism: &Prism) {
    let app = toss::with(gateway).with("toss_url", &prism.url).start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let body = payment("45000.00", "card");
    let held = app.post(EXAM.preorder(item)).by(&minsu).json(&body).await;
    let reference = held.json()["reference"].as_str().unwrap();
    let key = gateway.authenticate_deposit(reference, 45_000);
    let order = held.json()["id"].as_i64().unwrap();
    assert_eq!(toss::approve(&app, order, &key, &minsu).await.status, 202);
    assert!(gateway.pay_in(reference));
    for event in gateway.events() {
        assert_eq!(event.deliver(&app.base).await, Some(200));
    }
    until(&app, "paid").await;
    let id: i64 = app.one("select id from payments", &[]).await;
    let account = json!({"refund_account": {"bank": "20", "account_number": "1234567890", "holder": "김수강"}});
    let cancelled = cancel(&app, id, &minsu).json(&account).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
}

#[tokio::test]
async fn requests_to_toss_are_as_a_document_of_others_has_them() {
    let gateway = TossServer::start().await.expect("there is a free port");
    let Some(prism) = Prism::start(gateway.url()).await else {
        return;
    };
    pay_by_card(&gateway, &prism).await;
    pay_by_deposit(&gateway, &prism).await;
    // Prism logs requests that it serves at the same time among each other, so a violation is compared with all that are known.
    let known = [
        "Selected route not found",
        ".body Request body must have required property 'paymentKey'",
    ];
    let (mut confirmed, mut looked_up, mut cancelled) = (0, 0, 0);
    for (request, violations) in prism.requests().await {
        *match request.as_str() {
            "post /v1/payments/confirm" => &mut confirmed,
            path if path.starts_with("get /v1/payments/orders/") => &mut looked_up,
            _ => &mut cancelled,
        } += 1;
        let unknown: Vec<_> = violations
            .iter()
            .filter(|found| !known.contains(&found.as_str()))
            .collect();
        assert!(unknown.is_empty(), "{request}: {unknown:?}");
    }
    assert!(confirmed >= 2 && looked_up >= 1 && cancelled >= 2);
}
