//! The webhooks of the document: what the service sends to other servers. OpenAPI has had them since 3.1.

use serde_json::json;
use sugang_sdk::{
    types::{EventType, OrderStatus, PaymentStatus, RegistrationStatus, WebhookStatus},
    webhooks::{ID, SIGNATURE, TIMESTAMP},
};
use utoipa::openapi::{
    Components, Content, HttpMethod, KnownFormat, Object, ObjectBuilder, PathItem, Paths, Ref, RefOr, Required, Schema,
    SchemaFormat,
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    response::ResponseBuilder,
    schema::Type,
};

use super::names::EVENTS;
use crate::operation::{description::JSON, parameters::string};

/// Every event, by its type.
pub(super) fn webhooks() -> Paths {
    let events = EventType::ALL.iter().fold(Paths::builder(), |events, event| {
        events.path(event.as_str(), PathItem::new(HttpMethod::Post, delivery(*event)))
    });
    events.build()
}

/// Adds the headers that all events have.
pub(super) fn add_headers(components: &mut Components) {
    let headers = [
        (
            ID,
            "The id of the event, the same for each try: pass over one that you have got before.",
            "evt_0f8e7c1a5b2d4e6f9a3c8b7d6e5f4a3b",
        ),
        (
            TIMESTAMP,
            "When it is sent, in seconds since 1970. More than five minutes from now means that an old one is sent again.",
            "1795663286",
        ),
        (
            SIGNATURE,
            "`v1,` and HMAC-SHA256 of id, timestamp and body with dots between them, in Base64, by the webhook's secret; \
             several with spaces between them while the secret is replaced.",
            "v1,XBNSEzN6DtkjZ0IVxmghOoKpqEdk945ghJ3/047wJdQ=",
        ),
    ];
    for (name, text, example) in headers {
        components
            .parameters
            .insert(name.to_owned(), header(name, text, example).into());
    }
}

fn header(name: &str, text: &str, example: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some(text))
        .schema(Some(string().examples([json!(example)])))
        .build()
}

fn delivery(event: EventType) -> Operation {
    let body = RequestBodyBuilder::new()
        .content(JSON, Content::new(Some(schema(event))))
        .required(Some(Required::True));
    let answer = |text: &str| ResponseBuilder::new().description(text).build();
    let operation =
        [ID, TIMESTAMP, SIGNATURE]
            .into_iter()
            .fold(OperationBuilder::new(), |operation: OperationBuilder, header| {
                operation.parameter_ref(Ref::new(format!("#/components/parameters/{header}")))
            });
    operation
        .tag(EVENTS)
        .operation_id(Some(format!("on_{}", event.as_str().replace('.', "_"))))
        .summary(Some(event.meaning()))
        .request_body(Some(body.build()))
        .response("2XX", answer("The event is delivered."))
        .response("410", answer("The webhook ends: it is told of nothing any more."))
        .response("default", answer("The event is sent again, for about three days."))
        .build()
}

/// The body of an event.
fn schema(event: EventType) -> Object {
    let timestamp = string().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("type", one_of(&[event.as_str()]))
        .required("type")
        .property("timestamp", timestamp.description(Some("When it has happened.")))
        .required("timestamp")
        .property("data", data(event))
        .required("data")
        .build()
}

fn data(event: EventType) -> Object {
    let (subject, change) = event.as_str().split_once('.').unwrap_or((event.as_str(), ""));
    let ids: &[&str] = match subject {
        "registration" => &["registration_id", "user_id", "item_type", "item_id"],
        "order" => &["order_id", "user_id", "item_type", "item_id"],
        "payment" => &["payment_id", "user_id", "item_type", "item_id"],
        "refund" => &["refund_id", "payment_id"],
        "item" => &["item_type", "item_id"],
        _ => &["webhook_id"],
    };
    let mut data = ObjectBuilder::new().schema_type(Type::Object);
    for name in ids {
        data = data.property(*name, id(name)).required(*name);
    }
    let status = one_of(&statuses(subject, change)).description(Some("The new status."));
    data.property("status", status).required("status").build()
}

fn id(name: &str) -> RefOr<Schema> {
    let schema = match name {
        "registration_id" => "RegistrationId",
        "order_id" => "OrderId",
        "payment_id" => "PaymentId",
        "refund_id" => "RefundId",
        "user_id" => "UserId",
        "webhook_id" => "WebhookId",
        "item_type" => "PaymentType",
        _ => {
            let number = ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
            return number.examples([json!(1)]).into();
        }
    };
    Ref::from_schema_name(schema).into()
}

/// The statuses that an event can have.
fn statuses<'a>(subject: &str, change: &'a str) -> Vec<&'a str> {
    let registrations = || RegistrationStatus::ALL.iter().map(|status| status.as_str());
    match (subject, change) {
        (_, "deleted") => vec!["deleted", "moved"],
        ("registration", "created") => registrations()
            .filter(|status| !["completed", "cancelled"].contains(status))
            .collect(),
        ("registration", "updated") => registrations().collect(),
        ("order", "updated") => OrderStatus::ALL.iter().map(|status| status.as_str()).collect(),
        ("payment", "updated") => PaymentStatus::ALL.iter().map(|status| status.as_str()).collect(),
        ("ping", _) => WebhookStatus::ALL.iter().map(|status| status.as_str()).collect(),
        (_, change) => vec![change],
    }
}

fn one_of(words: &[&str]) -> ObjectBuilder {
    string().enum_values(Some(words.iter().copied()))
}
