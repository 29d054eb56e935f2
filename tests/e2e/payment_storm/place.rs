//! Where a storm takes place: the addresses of service and gateway, which change as either is killed and started again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use sugang_tests::{App, Entry, Event, User};
use tokio::time::{sleep, timeout};

pub const SWEEP_SECRET: &str = "0123456789abcdef";

/// The gateways of the storms.
pub const GATEWAYS: [&str; 4] = ["toss", "portone", "kakaopay", "stripe"];

/// The addresses of a service and of its gateways. Requests may stay without an answer.
pub struct Place {
    client: reqwest::Client,
    service: Mutex<String>,
    gateway: String,
}

impl Place {
    pub fn new(service: &str, gateway: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10));
        Self {
            client: client.build().expect("a client"),
            service: Mutex::new(service.to_owned()),
            gateway: gateway.to_owned(),
        }
    }

    /// The service has another address from now on, to which the gateways send their events as well.
    pub async fn moves(&self, service: &str) {
        service.clone_into(&mut self.service.lock().unwrap_or_else(PoisonError::into_inner));
        self.send_events().await;
    }

    /// The gateways send their events to the service. After it was killed, the stand-in has to be told again.
    pub async fn send_events(&self) {
        self.tell("serve", &json!({ "service": self.service() })).await;
    }

    fn service(&self) -> String {
        self.service.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send(&self, request: reqwest::RequestBuilder, body: &Value) -> Option<(u16, Value)> {
        let request = request
            .header("content-type", "application/json")
            .body(body.to_string());
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let text = response.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or_default()))
    }

    /// Sends a POST of a user, under one key until there is an answer that lasts.
    pub async fn post(&self, user: &User, path: &str, key: &str, body: &Value) -> Option<(u16, Value)> {
        for _ in 0..4 {
            let request = self.client.post(format!("{}{path}", self.service()));
            let request = request.bearer_auth(&user.access).header("idempotency-key", key);
            match self.send(request, body).await {
                None | Some((500.., _)) => sleep(Duration::from_millis(150)).await,
                Some((409, refused)) if refused["code"] == "busy" => sleep(Duration::from_millis(50)).await,
                answered => return answered,
            }
        }
        None
    }

    /// Sends a POST of a user who goes away at some moment, whatever has become of it.
    pub async fn post_and_leave(&self, user: &User, path: &str, body: &Value, patience: Duration) {
        let request = self.client.post(format!("{}{path}", self.service()));
        timeout(patience, self.send(request.bearer_auth(&user.access), body))
            .await
            .ok();
    }

    /// An order, as its user sees it.
    pub async fn order(&self, user: &User, order: i64) -> Option<Value> {
        let request = self.client.get(format!("{}/orders/{order}/", self.service()));
        let response = request.bearer_auth(&user.access).send().await.ok()?;
        serde_json::from_str(&response.text().await.ok()?).ok()
    }

    /// Sends the service an event that its gateway has not sent. Returns the status of the answer.
    pub async fn impersonate(&self, event: &Event) -> Option<u16> {
        event.deliver(&self.service()).await
    }

    /// Sweeps.
    pub async fn sweep(&self) {
        let request = self.client.post(format!("{}/internal/sweep/", self.service()));
        self.send(request.bearer_auth(SWEEP_SECRET), &json!({})).await;
    }

    /// Tells the stand-in what to do. After it was killed, a connection that was kept leads nowhere.
    pub async fn tell(&self, operation: &str, body: &Value) -> Option<Value> {
        for _ in 0..5 {
            let request = self.client.post(format!("{}/stand-in/{operation}", self.gateway));
            if let Some((_, told)) = self.send(request, body).await {
                return Some(told);
            }
            sleep(Duration::from_millis(50)).await;
        }
        None
    }

    /// The user agrees in a gateway's window, to pay by card or into an account. Returns the key that it hands over.
    pub async fn agree(&self, gateway: &str, reference: &str, amount: i64, way: &str) -> Option<String> {
        let body = json!({ "gateway": gateway, "reference": reference, "amount": amount, "way": way });
        self.tell("agree", &body).await?["key"].as_str().map(str::to_owned)
    }

    /// The user pays in to the account of a payment. Returns whether the account takes it.
    pub async fn pay_in(&self, gateway: &str, reference: &str) -> bool {
        self.move_deposit("deposit", gateway, reference).await
    }

    /// The bank takes a deposit back. Returns whether there was one.
    pub async fn take_back(&self, gateway: &str, reference: &str) -> bool {
        self.move_deposit("take-back", gateway, reference).await
    }

    async fn move_deposit(&self, operation: &str, gateway: &str, reference: &str) -> bool {
        let body = json!({ "gateway": gateway, "reference": reference });
        self.tell(operation, &body)
            .await
            .is_some_and(|told| told["changed"] == true)
    }

    /// Lets things go wrong at the gateways, in `percent` of all cases.
    pub async fn chaos(&self, seed: u64, percent: u8) {
        let told = self
            .tell("chaos", &json!({ "seed": seed, "percent": percent, "millis": 600 }))
            .await;
        assert!(told.is_some(), "the stand-in answers");
    }

    /// What all gateways have taken and given back, by their own books.
    async fn entries(&self) -> BTreeMap<String, Entry> {
        let mut all = BTreeMap::new();
        for gateway in GATEWAYS {
            let told = self.tell("entries", &json!({ "gateway": gateway })).await;
            let entries: BTreeMap<String, Entry> =
                serde_json::from_value(told.expect("the stand-in answers")).expect("entries");
            all.extend(entries);
        }
        all.retain(|_, entry| *entry != Entry::default());
        all
    }

    /// Where the gateways' books differ from ours, payment for payment.
    pub async fn differences(&self, app: &App) -> Vec<String> {
        let ours = app
            .rows(
                "select t.reference, coalesce(t.captured, 0)::bigint as taken,
                        coalesce((select sum(r.amount) from sugang.refunds r
                                  where r.payment_id = t.payment_id and r.status in ('done', 'external')), 0)::bigint as given
                 from sugang.payment_attempts t
                 where t.captured is not null
                   -- What a bank has taken back is in no gateway's books.
                   and not exists (select from sugang.refunds r
                                   where r.payment_id = t.payment_id and r.reference = 'deposit_taken_back')",
            )
            .await;
        let ours: BTreeMap<String, Entry> = ours
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| {
                let entry = serde_json::from_value(row.clone()).expect("an entry");
                (row["reference"].as_str().expect("a reference").to_owned(), entry)
            })
            .collect();
        let theirs = self.entries().await;
        let references: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        references
            .into_iter()
            .filter(|reference| ours.get(*reference) != theirs.get(*reference))
            .map(|reference| {
                let (ours, theirs) = (ours.get(reference), theirs.get(reference));
                format!("{reference}: ours {ours:?}, theirs {theirs:?}")
            })
            .collect()
    }
}
