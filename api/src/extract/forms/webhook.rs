//! The forms of webhooks.

use http::Uri;
use serde_json::value::RawValue;
use sugang_sdk::types::{EditWebhook, EventType, NewWebhook, Redeliver};

use super::{
    item::instant,
    reader::FormReader,
    text::{flag, integer, text},
};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
};

/// The longest URL.
const MAX_URL_CHARS: usize = 2_000;

/// Reads a webhook. `http` allows URLs without encryption.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn new_webhook(object: &Object<'_>, http: bool) -> Result<NewWebhook, ApiError> {
    let mut form = FormReader::new(object);
    let url = form.value("url").and_then(|raw| form.keep("url", receiver(raw, http)));
    let types = form.nullable("types", |raw| types(raw).map(Some)).flatten();
    match url {
        Some(url) if form.problems.is_empty() => Ok(NewWebhook {
            url,
            types: types.unwrap_or_default(),
        }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads an edit; each field is optional.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn edit_webhook(object: &Object<'_>, http: bool) -> Result<EditWebhook, ApiError> {
    let mut form = FormReader::new(object);
    let url = form.nullable("url", |raw| receiver(raw, http).map(Some)).flatten();
    let types = form.nullable("types", |raw| types(raw).map(Some)).flatten();
    let paused = form.nullable("paused", |raw| flag(raw).map(Some)).flatten();
    match form.problems.is_empty() {
        true => Ok(EditWebhook { url, types, paused }),
        false => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads what is to be sent again.
///
/// # Errors
/// 400 unless it is either a delivery or a time.
pub(crate) fn redeliver(object: &Object<'_>) -> Result<Redeliver, ApiError> {
    let mut form = FormReader::new(object);
    let delivery = form.nullable("delivery", |raw| integer(raw).map(Some)).flatten();
    let since = form.nullable("since", |raw| instant(raw).map(Some)).flatten();
    match (delivery, since) {
        _ if !form.problems.is_empty() => {}
        (Some(id), None) => return Ok(Redeliver::Delivery(id.into())),
        (None, Some(since)) => return Ok(Redeliver::Since(since)),
        (Some(_), Some(_)) => form.problems.push("since", FieldProblem::InvalidChoice),
        (None, None) => form.problems.push("delivery", FieldProblem::Required),
    }
    Err(ApiError::Fields(form.problems))
}

/// Reads where events go. A name and a password in it would stand in the lists of operators.
fn receiver(raw: &RawValue, http: bool) -> Result<String, FieldProblem> {
    let url = text(raw)?;
    if url.chars().count() > MAX_URL_CHARS {
        return Err(FieldProblem::TooLong(MAX_URL_CHARS));
    }
    let parsed: Uri = url.parse().map_err(|_| FieldProblem::InvalidUrl)?;
    let is_allowed = match parsed.scheme_str() {
        Some("https") => true,
        Some("http") => http,
        _ => false,
    };
    let has_host = parsed
        .authority()
        .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    match is_allowed && has_host && !url.contains('#') {
        true => Ok(url),
        false => Err(FieldProblem::InvalidUrl),
    }
}

fn types(raw: &RawValue) -> Result<Vec<EventType>, FieldProblem> {
    let mut types: Vec<EventType> = serde_json::from_str(raw.get()).map_err(|_| FieldProblem::InvalidChoice)?;
    types.sort_by_key(|event_type| event_type.as_str());
    types.dedup();
    // Only an operator's test is told so.
    match types.contains(&EventType::Ping) {
        true => Err(FieldProblem::InvalidChoice),
        false => Ok(types),
    }
}

#[cfg(test)]
mod tests {
    use sugang_sdk::types::DeliveryId;

    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn a_url_is_that_of_a_server_with_encryption() {
        let url = |url: &str, http| new_webhook(&object(&format!(r#"{{"url":"{url}"}}"#)), http).is_ok();
        for (text, with_http, expected) in [
            ("https://hooks.example/a?b=c", false, true),
            ("https://hooks.example:8443/", false, true),
            ("http://127.0.0.1:8080/", true, true),
            ("http://hooks.example/", false, false),
            ("https://user:secret@hooks.example/", false, false),
            ("https://hooks.example/#a", false, false),
            ("https:///a", false, false),
            ("hooks.example", true, false),
            ("ftp://hooks.example/", true, false),
        ] {
            assert_eq!(url(text, with_http), expected, "{text}");
        }
    }

    #[test]
    fn types_are_known_ones_each_once() {
        let types = |list: &str| {
            let json = format!(r#"{{"url":"https://a.example","types":{list}}}"#);
            new_webhook(&object(&json), false).ok().map(|webhook| webhook.types)
        };
        assert_eq!(types("null"), Some(vec![]));
        assert_eq!(
            types(r#"["payment.paid","order.paid","payment.paid"]"#),
            Some(vec![EventType::OrderPaid, EventType::PaymentPaid])
        );
        for list in [r#"["ping"]"#, r#"["payment.lost"]"#, r#""payment.paid""#] {
            assert_eq!(types(list), None, "{list}");
        }
    }

    #[test]
    fn one_delivery_or_a_time() {
        assert_eq!(
            redeliver(&object(r#"{"delivery":7}"#)).ok(),
            Some(Redeliver::Delivery(DeliveryId(7)))
        );
        assert!(redeliver(&object(r#"{"since":"2026-11-26T00:00:00Z"}"#)).is_ok());
        assert_eq!(
            problems(redeliver(&object("{}"))),
            r#"{"delivery":["This field is required."]}"#
        );
        assert_eq!(
            problems(redeliver(&object(r#"{"delivery":7,"since":"2026-11-26T00:00:00Z"}"#))),
            r#"{"since":["This is not a valid choice."]}"#
        );
    }
}
