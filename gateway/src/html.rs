//! Pieces of pages, and the way from one page to another.

use std::collections::BTreeMap;

use hyper::{Response, header::LOCATION};

use crate::http::{Body, text};

/// A query or a form.
pub(crate) type Form = BTreeMap<String, String>;

/// The value of a field; empty if it is missing.
pub(crate) fn field<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}

/// Buttons that send their form: what each does, and what it says.
pub(crate) fn buttons(buttons: &[(&str, &str)]) -> String {
    let button = |(name, label): &(&str, &str)| format!("<button name=button value={name}>{label}</button>");
    buttons.iter().map(button).collect()
}

pub(crate) fn page(content: &str) -> Response<Body> {
    let page = format!(
        "<!doctype html><html lang=ko><meta charset=utf-8><title>stand-in</title>\
         <link rel=stylesheet href=/pages.css><body>{content}"
    );
    text(200, "text/html; charset=utf-8", page)
}

/// Leads the browser on. Only addresses of the web are followed.
pub(crate) fn see(url: &str) -> Response<Body> {
    let is_safe = url.starts_with('/') || url.starts_with("http://") || url.starts_with("https://");
    let (true, Ok(location)) = (is_safe, url.parse()) else {
        return text(
            400,
            "text/plain",
            "the window must be given an address of the web to come back to".to_owned(),
        );
    };
    let mut response = text(303, "text/plain", String::new());
    response.headers_mut().insert(LOCATION, location);
    response
}

/// An address with more in its query.
pub(crate) fn with_query(url: &str, pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return url.to_owned();
    }
    let joint = if url.contains('?') { '&' } else { '?' };
    let mut query = form_urlencoded::Serializer::new(String::new());
    format!("{url}{joint}{}", query.extend_pairs(pairs).finish())
}

pub(crate) fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
