//! Messages of gateways to the service.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;

use crate::http;

/// A message of a gateway, which has not been delivered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// The word in the settings of the service.
    pub gateway: String,
    /// The same for each try to deliver it.
    pub id: String,
    /// What is sent, byte by byte.
    pub body: String,
    /// With which it is signed: per Standard Webhooks, in Base64, or as Stripe does. `None` if the gateway signs nothing.
    pub secret: Option<String>,
    /// How often it was tried already.
    pub tries: u32,
}

impl Event {
    pub(crate) fn new(gateway: &str, id: String, body: &Value, secret: Option<&str>) -> Self {
        Self {
            gateway: gateway.to_owned(),
            id,
            body: body.to_string(),
            secret: secret.map(str::to_owned),
            tries: 0,
        }
    }

    /// The same with another text, which an impostor sends: they can sign nothing.
    pub fn forged(&self, body: &Value) -> Self {
        Self {
            body: body.to_string(),
            secret: self.secret.as_ref().map(|_| BASE64_STANDARD.encode("of an impostor")),
            ..self.clone()
        }
    }

    /// Its headers, if it is sent at this time.
    pub fn headers(&self, at: DateTime<Utc>) -> Vec<(String, String)> {
        let time = at.timestamp().to_string();
        let headers = match &self.secret {
            Some(secret) if self.gateway == "stripe" => {
                let signature = sign_as_stripe(secret, &time, &self.body);
                vec![("stripe-signature", format!("t={time},v1={signature}"))]
            }
            Some(secret) => vec![
                ("webhook-id", self.id.clone()),
                (
                    "webhook-signature",
                    format!("v1,{}", sign(secret, &self.id, &time, &self.body)),
                ),
                ("webhook-timestamp", time),
            ],
            None => vec![
                ("tosspayments-webhook-transmission-id", self.id.clone()),
                ("tosspayments-webhook-transmission-time", at.to_rfc3339()),
                (
                    "tosspayments-webhook-transmission-retried-count",
                    self.tries.to_string(),
                ),
            ],
        };
        let headers = headers
            .into_iter()
            .chain([("content-type", "application/json".to_owned())]);
        headers.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Delivers it to the service that this address begins with, and returns the status; `None` without an answer.
    pub async fn deliver(&self, service: &str) -> Option<u16> {
        let url = format!("{service}/webhooks/{}/", self.gateway);
        http::post(&url, &self.headers(Utc::now()), self.body.clone()).await
    }
}

/// Signs a message per Standard Webhooks.
fn sign(secret: &str, id: &str, time: &str, body: &str) -> String {
    let key = BASE64_STANDARD.decode(secret).unwrap_or_default();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
    mac.update(format!("{id}.{time}.{body}").as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// Signs a message as Stripe does.
fn sign_as_stripe(secret: &str, time: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(format!("{time}.{body}").as_bytes());
    let signature = mac.finalize().into_bytes();
    signature.iter().map(|byte| format!("{byte:02x}")).collect()
}
