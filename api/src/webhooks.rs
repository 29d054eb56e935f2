//! Webhooks: what is sent to their receivers, and what an answer means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::NaiveDateTime;
use http::Request;
use serde::Deserialize;
use sugang_sdk::webhooks::{ID, SIGNATURE, TIMESTAMP, sign};

use crate::{
    http::outgoing::{self, SendError, Told},
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
        let (told, error) = match result {
            Some(Ok(told)) => (Some(told), None),
            Some(Err(SendError::Denied)) => (None, Some("not_allowed")),
            Some(Err(SendError::NotSent)) => (None, Some("unreachable")),
            Some(Err(SendError::Unknown)) | None => (None, Some("no_answer")),
        };
        SettleDelivery {
            id: self.id,
            try_: self.number,
            status: told.as_ref().map(|told| told.status.into()),
            error: error.map(str::to_owned),
            retry_after: told.and_then(|told| retry_after(&told, now.as_secs())),
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

/// For how many seconds a receiver that has too much to do asks to be left alone: it says so, or until when (RFC 9110,
/// 10.2.3). The database bounds it.
fn retry_after(told: &Told, now: u64) -> Option<i64> {
    if ![429, 503].contains(&told.status) {
        return None;
    }
    let value = told.retry_after.as_deref()?.trim();
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    match is_number {
        // One with too many digits is long enough.
        true => Some(value.parse().unwrap_or(i64::MAX)),
        false => Some(http_date(value)?.saturating_sub_unsigned(now)),
    }
}

/// The seconds since 1970 of a date in any of the three forms that a server may send.
fn http_date(text: &str) -> Option<i64> {
    let forms = ["%a, %d %b %Y %T GMT", "%A, %d-%b-%y %T GMT", "%a %b %e %T %Y"];
    let mut times = forms.iter().map(|form| NaiveDateTime::parse_from_str(text, form));
    times.find_map(|time| Some(time.ok()?.and_utc().timestamp()))
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

    #[test]
    fn a_receiver_says_when_to_come_again() {
        // 06 Nov 1994 08:49:37, the example of RFC 9110.
        const THEN: u64 = 784_111_777;
        let asked = |status, value: Option<&str>| {
            let retry_after = value.map(str::to_owned);
            super::retry_after(&Told { status, retry_after }, THEN - 60)
        };
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999", Some(i64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60)),
            ("Sun Nov  6 08:49:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:47:37 GMT", Some(-60)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            for status in [429, 503] {
                assert_eq!(asked(status, Some(value)), expected, "{value}");
            }
            assert_eq!(asked(500, Some(value)), None, "{value}");
        }
        assert_eq!(asked(503, None), None);
    }
}
