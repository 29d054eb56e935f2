//! Generates the OpenAPI document: paths from the routes, schemas from the wire types, errors from the errors themselves.
//!
//! The document is in the repository as `docs/openapi.json`, so that a review shows every change of the API.

mod errors;
mod info;
mod names;
mod paths;
mod schemas;
mod webhooks;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use http::Method;
use serde_json::Value;
use sugang_sdk::types::EventType;
use utoipa::openapi::{HttpMethod, OpenApi, OpenApiBuilder, PathItem, Paths, PathsBuilder, Server};

use crate::routes::TABLE;

/// The whole document.
fn document() -> OpenApi {
    let mut paths: BTreeMap<usize, (String, PathItem)> = BTreeMap::new();
    for (place, route) in TABLE.iter().enumerate() {
        let Some(description) = route.action.describe() else {
            continue;
        };
        let method = match route.method {
            Method::GET => HttpMethod::Get,
            Method::PATCH => HttpMethod::Patch,
            Method::DELETE => HttpMethod::Delete,
            _ => HttpMethod::Post,
        };
        paths.insert(
            place,
            (
                route.path.clone().into_owned(),
                PathItem::new(method, paths::operation(route, description)),
            ),
        );
    }
    let paths = paths
        .into_values()
        .fold(Paths::builder(), |paths: PathsBuilder, (path, item)| {
            paths.path(path, item)
        });
    OpenApiBuilder::new()
        .info(info::info())
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .webhooks(Some(webhooks::webhooks()))
        .components(Some(schemas::components()))
        .tags(Some(info::tags()))
        .build()
}

#[test]
fn the_document_in_the_repository_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let generated = document().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = generated.lines().zip(kept.lines()).position(|(new, old)| new != old);
    assert!(
        generated == kept,
        "docs/openapi.json does not match the API (first difference in line {}). If the change is intended, run \
         `UPDATE_OPENAPI=1 cargo test --release -p sugang-api openapi` and commit the file.",
        differing.unwrap_or_else(|| generated.lines().count().min(kept.lines().count())) + 1,
    );
}

#[test]
fn every_operation_is_described_with_its_authentication() {
    let document = serde_json::to_value(document()).unwrap();
    let mut described = 0;
    for route in TABLE.iter() {
        let operation = &document["paths"][&*route.path][route.method.as_str().to_lowercase()];
        let is_hidden =
            route.path.ends_with(".js") || route.path.ends_with(".css") || route.path.starts_with("/internal/");
        assert_eq!(operation.is_null(), is_hidden, "{}", route.path);
        if is_hidden {
            continue;
        }
        described += 1;
        assert_eq!(operation["operationId"], *route.id);
        let private = route.action.is_private();
        let is_webhook = route.path.starts_with("/webhooks/");
        assert_eq!(operation["security"].is_array(), private, "{}", route.id);
        assert_eq!(
            operation["responses"]["401"].is_object(),
            private && !route.is_for_operators()
                || is_webhook
                || ["login", "refresh_token", "logout"].contains(&&*route.id)
        );
        let names_something = private && route.id != "logout_all" || is_webhook;
        assert_eq!(
            operation["responses"]["404"].is_object(),
            names_something,
            "{}",
            route.id
        );
    }
    assert!(described >= 19);
}

#[test]
fn every_event_is_described_with_its_headers() {
    let document = serde_json::to_value(document()).unwrap();
    let webhooks = document["webhooks"].as_object().unwrap();
    let types: BTreeSet<_> = EventType::ALL.iter().map(|event| event.as_str()).collect();
    assert_eq!(webhooks.keys().map(String::as_str).collect::<BTreeSet<_>>(), types);
    for (name, item) in webhooks {
        let delivery = &item["post"];
        assert!(
            delivery["summary"].as_str().is_some_and(|text| text.ends_with('.')),
            "{name}"
        );
        assert_eq!(delivery["parameters"].as_array().map(Vec::len), Some(3), "{name}");
        let properties = &delivery["requestBody"]["content"]["application/json"]["schema"]["properties"];
        assert_eq!(properties["type"]["enum"][0], **name);
        let data = &properties["data"];
        let named: BTreeSet<_> = data["properties"].as_object().unwrap().keys().collect();
        let required: Vec<String> = serde_json::from_value(data["required"].clone()).unwrap();
        assert_eq!(named, required.iter().collect(), "{name}");
        assert!(named.iter().any(|member| member.ends_with("_id")), "{name}");
    }
}

#[test]
fn every_reference_has_a_target() {
    fn check(value: &Value, document: &Value) {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                object.values().for_each(|value| check(value, document));
            }
            Value::Array(values) => values.iter().for_each(|value| check(value, document)),
            _ => {}
        }
    }
    let document = serde_json::to_value(document()).unwrap();
    check(&document, &document);
    assert!(document.to_string().contains("$ref"));
}
