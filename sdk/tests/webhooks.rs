//! The verifier against signatures that `standardwebhooks` 1.1.0 of PyPI has made, and against what it must refuse.

#![cfg(feature = "webhooks")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sugang_sdk::{
    types::{EventType, OrderId, PaymentType},
    webhooks::{ID, SIGNATURE, TIMESTAMP, VerifyError, sign, verify},
};

const KEY: &str = "evt_0f8e7c1a5b2d4e6f9a3c8b7d6e5f4a3b";
const SECONDS: u64 = 1_795_663_286;
const BODY: &str = r#"{"type" : "order.paid", "timestamp" : "2026-11-26T03:21:26.123456Z", "data" : {"order_id" : 7, "user_id" : 3, "item_type" : "test", "item_id" : 1, "status" : "paid"}}"#;

/// `standardwebhooks.Webhook(secret).sign(KEY, SECONDS, BODY)`.
const VECTORS: [(&str, &str); 2] = [
    (
        "whsec_YSByZWNlaXZlcidzIHNlY3JldCBvZiAzMiBieXRlcyE=",
        "v1,XBNSEzN6DtkjZ0IVxmghOoKpqEdk945ghJ3/047wJdQ=",
    ),
    (
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
        "v1,OpU9AkwNEAJzLkZgOSM3gMGfQmxLSEYvGGTIhn8eXC0=",
    ),
];

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn headers(signature: &str) -> [(&str, &str); 4] {
    [
        ("Webhook-Id", KEY),
        (TIMESTAMP, "1795663286"),
        (SIGNATURE, signature),
        ("content-type", "application/json"),
    ]
}

fn why(secrets: &[&str], headers: &[(&str, &str)], body: &str, seconds: u64) -> Option<VerifyError> {
    verify(secrets, headers.iter().copied(), body.as_bytes(), at(seconds)).err()
}

#[test]
fn signatures_are_those_of_the_other_implementation() {
    for (secret, signature) in VECTORS {
        assert_eq!(
            sign(&[secret], KEY, SECONDS, BODY.as_bytes()).as_deref(),
            Some(signature)
        );
        let (id, event) = verify(&[secret], headers(signature), BODY.as_bytes(), at(SECONDS)).unwrap();
        assert_eq!(id, KEY);
        assert_eq!(event.event_type, EventType::OrderPaid);
        assert_eq!(event.data.order_id, Some(OrderId(7)));
        assert!(event.data.item_type.is_some_and(|kind| kind == PaymentType::Exam));
    }
}

#[test]
fn either_secret_verifies_while_one_replaces_the_other() {
    let [(new, _), (old, _)] = VECTORS;
    let both = sign(&[new, old], KEY, SECONDS, BODY.as_bytes()).unwrap();
    for secrets in [&[new][..], &[old], &["whsec_b3RoZXI=", old]] {
        assert_eq!(why(secrets, &headers(&both), BODY, SECONDS), None);
    }
    assert_eq!(
        why(&["whsec_b3RoZXI="], &headers(&both), BODY, SECONDS),
        Some(VerifyError::Signature)
    );
}

#[test]
fn what_was_changed_or_is_old_is_refused() {
    let [(secret, signature), (_, other)] = VECTORS;
    let secrets = &[secret];
    let signed = headers(signature);
    for (seconds, expected) in [
        (SECONDS - 300, None),
        (SECONDS + 300, None),
        (SECONDS - 301, Some(VerifyError::Time)),
        (SECONDS + 301, Some(VerifyError::Time)),
    ] {
        assert_eq!(why(secrets, &signed, BODY, seconds), expected, "{seconds}");
    }
    let changed = BODY.replace("paid", "held");
    assert_eq!(why(secrets, &signed, &changed, SECONDS), Some(VerifyError::Signature));
    for wrong in [
        other,
        "",
        "v1,",
        "v1a,XBNSEzN6DtkjZ0IVxmghOoKpqEdk945ghJ3/047wJdQ=",
        &signature[3..],
        &signature[..40],
    ] {
        assert_eq!(
            why(secrets, &headers(wrong), BODY, SECONDS),
            Some(VerifyError::Signature),
            "{wrong}"
        );
    }
    for (name, value) in [(ID, "evt_2"), (TIMESTAMP, "1795663287")] {
        let moved = signed.map(|header| {
            if header.0.eq_ignore_ascii_case(name) {
                (name, value)
            } else {
                header
            }
        });
        assert_eq!(
            why(secrets, &moved, BODY, SECONDS),
            Some(VerifyError::Signature),
            "{name}"
        );
    }
    assert_eq!(why(secrets, &signed[..2], BODY, SECONDS), Some(VerifyError::Headers));
    let twice = [signed[0], signed[1], signed[2], (SIGNATURE, other)];
    assert_eq!(why(secrets, &twice, BODY, SECONDS), Some(VerifyError::Headers));
    assert_eq!(why(&["secret"], &signed, BODY, SECONDS), Some(VerifyError::Secret));
    assert_eq!(why(&[], &signed, BODY, SECONDS), Some(VerifyError::Signature));
}

#[test]
fn an_event_of_a_later_version_can_be_read() {
    let [(secret, _), _] = VECTORS;
    let body = r#"{"type":"certificate.issued","timestamp":"2026-11-26T03:21:26Z","data":{"certificate_id":1,"status":"issued"}}"#;
    let signature = sign(&[secret], KEY, SECONDS, body.as_bytes()).unwrap();
    let (_, event) = verify(&[secret], headers(&signature), body.as_bytes(), at(SECONDS)).unwrap();
    assert_eq!(event.event_type.to_string(), "certificate.issued");
    let signature = sign(&[secret], KEY, SECONDS, b"[]").unwrap();
    assert_eq!(
        why(&[secret], &headers(&signature), "[]", SECONDS),
        Some(VerifyError::Body)
    );
}
