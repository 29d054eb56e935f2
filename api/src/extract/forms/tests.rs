//! Properties of all forms.

use proptest::prelude::*;
use serde::Serialize;
use sugang_protocol::Language;
use sugang_sdk::types::{PaymentMethod, Signup};

use super::{cancel, edit_item, email::tests::LIKE_AN_EMAIL, login, refresh, refund, register, signup};
use crate::{error::ApiError, extract::body::Object};

pub(super) fn object(json: &str) -> Object<'_> {
    serde_json::from_str(json).unwrap()
}

/// The wrong fields with their messages, as JSON; empty if the form was read.
pub(super) fn problems<T>(read: Result<T, ApiError>) -> String {
    match read {
        Ok(_) => String::new(),
        Err(error @ (ApiError::Fields(_) | ApiError::SignupFields(_))) => {
            let body = error.response(Language::English, "").body;
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let mut fields = body.get("errors").unwrap_or(&body).as_object().unwrap().clone();
            fields.retain(|name, _| name != "code" && name != "request_id");
            serde_json::to_string(&fields).unwrap()
        }
        Err(_) => panic!("another error"),
    }
}

/// A value of a field, as JSON: any value, and often a valid one.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        any::<String>(),
        "[ -~]{0,12}",
        LIKE_AN_EMAIL,
        "[a-z가-힣]{4,10}[0-9]{4,10}",
        "card|kakaopay|bank_transfer|free|0|45000.00|4.5e4|민수.1",
    ];
    prop_oneof![
        4 => text.prop_map(|text| serde_json::to_string(&text).unwrap()),
        2 => "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,3})?([eE][-+]?[0-9]{1,2})?",
        1 => prop::sample::select(vec!["null", "true", "[]", "{\"a\":null}", "\"\\ud800\""]).prop_map(str::to_owned),
    ]
}

/// A form that is read, and sent again, is read the same; a refusal names a field of the form.
fn reads<T>(json: &str, read: fn(&Object<'_>) -> Result<T, ApiError>) -> Result<(), TestCaseError>
where
    T: Serialize + PartialEq + std::fmt::Debug,
{
    let first = read(&object(json));
    if let Ok(first) = &first {
        let sent = serde_json::to_string(first).unwrap();
        let second = read(&object(&sent)).ok();
        prop_assert_eq!(second.as_ref(), Some(first));
        return Ok(());
    }
    let wrong: serde_json::Value = serde_json::from_str(&problems(first)).unwrap();
    let fields = object(json);
    prop_assert!(!wrong.as_object().unwrap().is_empty());
    prop_assert!(
        wrong
            .as_object()
            .unwrap()
            .keys()
            .all(|name| fields.contains_key(name.as_str())),
        "{}",
        wrong
    );
    Ok(())
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused([a, b, c] in [value(), value(), value()]) {
        reads(&format!("{{\"email\":{a},\"username\":{b},\"password\":{c}}}"), |object| signup(object, true))?;
        reads(&format!("{{\"email\":{a},\"password\":{b}}}"), login)?;
        reads(&format!("{{\"refresh\":{a}}}"), refresh)?;
        reads(&format!("{{\"amount\":{a},\"payment_method\":{b}}}"), register)?;
        reads(&format!("{{\"refund_reason\":{a}}}"), cancel)?;
        reads(&format!("{{\"amount\":{a},\"reason\":{b},\"keep_registration\":{c}}}"), refund)?;
        reads(&format!("{{\"title\":{a},\"price\":{b},\"capacity\":{c}}}"), edit_item)?;
        reads(&format!("{{\"description\":{a},\"start_at\":{b},\"end_at\":{c}}}"), edit_item)?;
    }

    #[test]
    fn valid_forms_are_accepted(
        email in "[A-Za-z0-9_%+-]{1,16}(\\.[a-z0-9]{1,16}){0,2}@([A-Za-z0-9]([a-z0-9-]{0,9}[a-z0-9])?\\.){1,3}[A-Za-z]{2,8}",
        username in "[A-Za-z0-9가-힣ぁ-ん@.+_-]{1,150}",
        password in "[a-z가-힣][!-~]{6}[0-9][ -~]{0,30}",
        amount in 1_i64..10_000_000_000,
        method in prop::sample::select(&PaymentMethod::ALL[..4]),
    ) {
        let sent = Signup { email, username, password: password.trim().into() };
        let read = signup(&object(&serde_json::to_string(&sent).unwrap()), false).ok();
        prop_assert_eq!(read.as_ref(), Some(&sent));
        let amount = format!("{}.{:02}", amount / 100, amount % 100);
        for quote in ["", "\""] {
            let json = format!("{{\"amount\":{quote}{amount}{quote},\"payment_method\":\"{method}\"}}");
            let read = register(&object(&json)).ok();
            let read = read.map(|read| (read.amount.map(|amount| amount.to_string()), read.payment_method));
            prop_assert_eq!(read, Some((Some(amount.clone()), Some(method))));
        }
    }
}
