//! localstripe: a server from PyPI that plays Stripe.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::ports::free_port;

/// The secret key of the contract; localstripe takes any that begins so.
pub const STRIPE_SECRET: &str = "sk_test_0123456789";

/// An upper limit for its start.
const PATIENCE: Duration = Duration::from_secs(60);

/// localstripe as a process of its own, which is killed on drop.
pub struct LocalStripe {
    process: Child,
    client: reqwest::Client,
    /// Its address.
    pub url: String,
}

impl LocalStripe {
    /// Starts a server without payments. Returns `None` where there is no localstripe; `cargo xtask test` tries to install
    /// it, and says so if it cannot.
    ///
    /// # Panics
    /// It does not start, or it is missing in CI.
    pub async fn start() -> Option<Self> {
        let folder = folder()?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let process = Command::new("python3")
            .args([
                "-m",
                "localstripe",
                "--from-scratch",
                "--port",
                &address.port().to_string(),
            ])
            .env("PYTHONPATH", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("localstripe starts");
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "localstripe does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(Self {
            process,
            client: reqwest::Client::new(),
            url: format!("http://{address}"),
        })
    }

    /// What the browser does with the client secret: it attaches a card, and confirms the payment with it.
    ///
    /// # Panics
    /// The card is declined.
    pub async fn confirm(&self, client_secret: &str) {
        let card = "type=card&card[number]=4242424242424242&card[exp_month]=12&card[exp_year]=2040&card[cvc]=123";
        let method = self.post("payment_methods", card.to_owned()).await;
        let (intent, _) = client_secret.split_once("_secret_").expect("it begins with the id");
        let method = method["id"].as_str().expect("it has an id");
        self.post(&format!("payment_intents/{intent}"), format!("payment_method={method}"))
            .await;
        let confirmed = self
            .post(&format!("payment_intents/{intent}/confirm"), String::new())
            .await;
        assert_eq!(confirmed["status"], "requires_capture", "{confirmed}");
    }

    /// The money that it has taken and given back, by its own books.
    ///
    /// # Panics
    /// It does not answer.
    pub async fn books(&self) -> (i64, i64) {
        let url = format!("{}/v1/charges?limit=100", self.url);
        let charges = self.client.get(url).bearer_auth(STRIPE_SECRET).send();
        let charges = charges.await.expect("localstripe answers").text().await;
        let charges: Value = serde_json::from_str(&charges.expect("a whole answer")).expect("JSON");
        let captured = charges["data"].as_array().expect("a list").iter();
        let captured = captured.filter(|charge| charge["captured"] == true);
        let number = |charge: &Value, name: &str| charge[name].as_i64().expect("an amount");
        captured.fold((0, 0), |(taken, given), charge| {
            (
                taken + number(charge, "amount"),
                given + number(charge, "amount_refunded"),
            )
        })
    }

    /// How far a payment is.
    ///
    /// # Panics
    /// There is none.
    pub async fn status(&self, intent: &str) -> String {
        let url = format!("{}/v1/payment_intents/{intent}", self.url);
        let shown = self.client.get(url).bearer_auth(STRIPE_SECRET).send();
        let shown = shown.await.expect("localstripe answers").text().await;
        let shown: Value = serde_json::from_str(&shown.expect("a whole answer")).expect("JSON");
        shown["status"].as_str().expect("it has a status").to_owned()
    }

    /// A person captures a payment in the dashboard.
    ///
    /// # Panics
    /// It is refused.
    pub async fn capture(&self, intent: &str) {
        self.post(&format!("payment_intents/{intent}/capture"), String::new())
            .await;
    }

    /// A person refunds this much of a payment in the dashboard.
    ///
    /// # Panics
    /// It is refused.
    pub async fn refund(&self, intent: &str, amount: i64) {
        self.post("refunds", format!("payment_intent={intent}&amount={amount}"))
            .await;
    }

    async fn post(&self, path: &str, form: String) -> Value {
        let request = self
            .client
            .post(format!("{}/v1/{path}", self.url))
            .bearer_auth(STRIPE_SECRET)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let answer = request.send().await.expect("localstripe answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_str(&answer.text().await.expect("a whole answer")).expect("JSON")
    }
}

impl Drop for LocalStripe {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The folder of its modules, which `cargo xtask test` names.
fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("SUGANG_TEST_LOCALSTRIPE").map(PathBuf::from);
    let found = named.filter(|folder| folder.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI needs localstripe");
        writeln!(std::io::stderr(), "there is no localstripe: nothing was tested").ok();
    }
    found
}
