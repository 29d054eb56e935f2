//! Webhooks: what is sent to their receivers, and what an answer means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Request;
use serde::Deserialize;
use sugang_sdk::webhooks::{ID, SIGNATURE, TIMESTAMP, sign};

use crate::{
    http::outgoing::{self, SendError},
    store::{webhook_functions::SettleDelivery, within},
};

/// A try to deliver, as the database has claimed it.
#[derive(Deserialize)]
pub(crate) struct Claimed {
    id: i64,
    #[serde(rename = "try")]
    number: i64,
    url: String,
    event: String,
    secrets: Vec<String>,
    body: String,
}

impl Claimed {
    /// Sends it, and returns what is to be settled.
    pub(crate) async fn deliver(self, limit: Duration) -> SettleDelivery {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let result = match self.request(now.as_secs()) {
            Some(request) => within(limit, outgoing::tell(request, limit)).await,
            None => Some(Err(SendError::NotSent)),
        };
        let (status, error) = match result {
            Some(Ok(status)) => (Some(status.into()), None),
            Some(Err(SendError::Denied)) => (None, Some("not_allowed")),
            Some(Err(SendError::NotSent)) => (None, Some("unreachable")),
            Some(Err(SendError::Unknown)) | None => (None, Some("no_answer")),
        };
        SettleDelivery {
            id: self.id,
            try_: self.number,
            status,
            error: error.map(str::to_owned),
        }
    }

    fn request(&self, seconds: u64) -> Option<Request<Vec<u8>>> {
        let signature = sign(&self.secrets, &self.event, seconds, self.body.as_bytes())?;
        Request::post(&self.url)
            .header("content-type", "application/json")
            .header("user-agent", "sugang")
            .header(ID, &self.event)
            .header(TIMESTAMP, seconds)
            .header(SIGNATURE, signature)
            .body(self.body.clone().into_bytes())
            .ok()
    }
}

impl SettleDelivery {
    /// Whether the receiver has taken the event.
    pub(crate) fn is_delivered(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use sugang_sdk::{
        types::{EventType, Word},
        webhooks::verify,
    };

    use super::*;

    #[test]
    fn a_receiver_can_verify_a_request() {
        let claimed = Claimed {
            id: 1,
            number: 1,
            url: "https://hooks.example/sugang?a=b".to_owned(),
            event: "evt_1".to_owned(),
            secrets: vec!["whsec_bmV3".to_owned(), "whsec_b2xk".to_owned()],
            body: r#"{"type":"ping","timestamp":"2026-11-26T00:00:00Z","data":{"status":"active"}}"#.to_owned(),
        };
        let request = claimed.request(1_795_651_200).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_795_651_210);
        for secret in &claimed.secrets {
            let headers = request.headers().iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            let (id, event) = verify(&[secret], headers, request.body(), now).unwrap();
            assert_eq!((id.as_str(), event.event_type), ("evt_1", Word::Known(EventType::Ping)));
        }
    }
}
