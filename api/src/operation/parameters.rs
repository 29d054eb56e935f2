//! The parameters that several operations share.

use serde_json::json;
use utoipa::openapi::{
    KnownFormat, Object, ObjectBuilder, Required, SchemaFormat,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::Type,
};

pub(crate) fn parameter(name: &str, place: ParameterIn, text: &str, schema: Object) -> Parameter {
    let required = if matches!(place, ParameterIn::Path) {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(text))
        .schema(Some(schema))
        .build()
}

pub(crate) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

pub(crate) fn id(of: &str) -> Parameter {
    id_named("id", of)
}

pub(crate) fn registration() -> Parameter {
    id_named("registration", "registration")
}

fn id_named(name: &str, of: &str) -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0));
    parameter(
        name,
        ParameterIn::Path,
        &format!("Id of the {of}."),
        schema.examples([json!(1)]).build(),
    )
}

pub(crate) fn id_parameter(name: &str, text: &str) -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    parameter(name, ParameterIn::Query, text, schema.build())
}

pub(crate) fn idempotency_key() -> Parameter {
    let schema = string()
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]+$"))
        .build();
    let text = "Makes it safe to send the request again: 1 to 255 visible ASCII characters, different for each effect.";
    parameter("Idempotency-Key", ParameterIn::Header, text, schema)
}

pub(crate) fn if_match() -> Parameter {
    let text =
        "The `ETag` that was read. If the version is another by now, nothing is done; `*` stands for any version.";
    let mut parameter = parameter("If-Match", ParameterIn::Header, text, string().build());
    parameter.required = Required::True;
    parameter
}

pub(crate) fn page_parameter() -> Parameter {
    let schema = string()
        .pattern(Some("^([1-9][0-9]*|last)$"))
        .default(Some(json!("1")))
        .build();
    parameter(
        "page",
        ParameterIn::Query,
        "Counted from 1; `last` is the last one.",
        schema,
    )
}

pub(crate) fn day_parameter(name: &str, text: &str) -> Parameter {
    let day = string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)));
    parameter(name, ParameterIn::Query, text, day.build())
}

pub(crate) fn search_parameter(over: &str) -> Parameter {
    let text = format!(
        "Words to find in {over}: all of them, unless `or` stands between; `\"…\"` is a phrase, `-` excludes. Parts of \
         Hangul words (two syllables or more) and beginnings of Latin words and numbers match. Empty filters nothing."
    );
    parameter("search", ParameterIn::Query, &text, string().build())
}
