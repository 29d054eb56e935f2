//! Clients that others wrote, at the stand-ins for gateways: they read its answers as those of the real ones.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{Event, PORTONE_SECRET, PORTONE_WEBHOOK_SECRET, PortOneServer};

const PAYMENT: &str = "sugang_0123456789abcdef";

/// Where `cargo xtask test` has installed something.
pub fn installed(name: &str) -> Option<String> {
    let folder = std::env::var(name).ok();
    assert!(
        folder.is_some() || std::env::var_os("CI").is_none(),
        "{name} is missing in CI"
    );
    folder
}

/// A message as a line for the client.
fn line(body: &str, headers: Vec<(String, String)>) -> String {
    let headers = headers.into_iter();
    let headers: Value = headers
        .map(|(name, value)| (name, json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({ "body": body, "headers": headers }).to_string()
}

/// The events, and the first of them as others send it: signed by an impostor, and changed on its way.
fn lines(events: &[Event]) -> Vec<String> {
    let now = chrono::Utc::now();
    let mut lines: Vec<_> = events
        .iter()
        .map(|event| line(&event.body, event.headers(now)))
        .collect();
    let forged = events[0].forged(&json!({ "type": "Transaction.Paid", "data": { "paymentId": PAYMENT } }));
    lines.push(line(&forged.body, forged.headers(now)));
    let changed = events[0].body.replace(PAYMENT, "sugang_of_another_order");
    assert_ne!(changed, events[0].body);
    lines.push(line(&changed, events[0].headers(now)));
    lines
}

/// A client, and how it names the events.
#[rstest]
#[case::python(
    "SUGANG_TEST_PORTONE_SDK",
    "PYTHONPATH",
    "python3 portone_client.py",
    [
        "WebhookTransactionPaid",
        "WebhookTransactionCancelledPartialCancelled",
        "WebhookTransactionCancelledCancelled",
    ],
)]
#[case::node(
    "SUGANG_TEST_PORTONE_NODE_SDK",
    "NODE_PATH",
    "node portone_client.cjs",
    ["Transaction.Paid", "Transaction.PartialCancelled", "Transaction.Cancelled"],
)]
#[tokio::test]
async fn portones_own_client_reads_every_answer_and_verifies_every_event(
    #[case] installed_in: &str,
    #[case] search_path: &str,
    #[case] command: &str,
    #[case] names: [&str; 3],
) {
    let Some(folder) = installed(installed_in) else {
        return;
    };
    let gateway = PortOneServer::start().await.expect("there is a free port");
    let token = gateway.authenticate(PAYMENT, 45_000);
    let (program, script) = command.split_once(' ').expect("a program and a script");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(script);
    let mut client = Command::new(program)
        .arg(script)
        .args([gateway.url(), PORTONE_SECRET, PAYMENT, &token])
        .arg(format!("whsec_{PORTONE_WEBHOOK_SECRET}"))
        .env(search_path, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not run: {error}"));
    // The client has confirmed and cancelled once it waits for events.
    while gateway.given() < 45_000 {
        assert!(client.try_wait().expect("a child").is_none(), "the client has ended");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut input = client.stdin.take().expect("its input is a pipe");
    for line in lines(&gateway.events()) {
        writeln!(input, "{line}").expect("the client reads");
    }
    drop(input);
    let output = client.wait_with_output().expect("the client ends");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).expect("text");
    let [paid, part, rest] = names;
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        ["answers read", paid, part, rest, "refused", "refused"]
    );
}
