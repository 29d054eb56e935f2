//! Clients that others wrote, at the stand-ins for gateways: they read its answers as those of the real ones.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use sugang_tests::{Event, PORTONE_SECRET, PORTONE_WEBHOOK_SECRET, PortOneServer};

const PAYMENT: &str = "sugang_0123456789abcdef";

/// The folder into which `cargo xtask test` has installed a client.
fn installed(name: &str) -> Option<String> {
    let folder = std::env::var(name).ok();
    assert!(
        folder.is_some() || std::env::var_os("CI").is_none(),
        "{name} is missing in CI"
    );
    folder
}

/// An event as a line for the client.
fn line(event: &Event) -> String {
    let headers = event.headers(chrono::Utc::now()).into_iter();
    let headers: Value = headers
        .map(|(name, value)| (name, json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({ "body": event.body, "headers": headers }).to_string()
}

#[tokio::test]
async fn portones_own_client_reads_every_answer_and_verifies_every_event() {
    let Some(folder) = installed("SUGANG_TEST_PORTONE_SDK") else {
        return;
    };
    let gateway = PortOneServer::start().await.expect("there is a free port");
    let token = gateway.authenticate(PAYMENT, 45_000);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/portone_client.py");
    let mut client = Command::new("python3")
        .arg(script)
        .args([gateway.url(), PORTONE_SECRET, PAYMENT, &token])
        .arg(format!("whsec_{PORTONE_WEBHOOK_SECRET}"))
        .env("PYTHONPATH", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    // The client has confirmed and cancelled once it waits for events.
    while gateway.given() < 45_000 {
        assert!(client.try_wait().expect("a child").is_none(), "the client has ended");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let events = gateway.events();
    let forged = events[0].forged(&json!({ "type": "Transaction.Paid", "data": { "paymentId": PAYMENT } }));
    let mut input = client.stdin.take().expect("its input is a pipe");
    for event in events.iter().chain([&forged]) {
        writeln!(input, "{}", line(event)).expect("the client reads");
    }
    drop(input);
    let output = client.wait_with_output().expect("the client ends");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "answers read",
            "WebhookTransactionPaid",
            "WebhookTransactionCancelledPartialCancelled",
            "WebhookTransactionCancelledCancelled",
            "refused",
        ]
    );
}
