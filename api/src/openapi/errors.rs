//! The errors of the document: their schemas, and the responses with examples that the errors themselves make.

use std::collections::BTreeMap;

use serde_json::Value;
use sugang_protocol::{Language, status_of};
use sugang_sdk::types::ErrorCode;
use utoipa::openapi::{
    ContentBuilder, Header, ObjectBuilder, Ref, Response, Schema,
    example::ExampleBuilder,
    response::ResponseBuilder,
    schema::{AdditionalProperties, ArrayBuilder, Type},
};

use super::names::{CODE, ERROR};
use crate::{
    error::ApiError,
    http::Response as Answer,
    operation::{description::JSON, parameters::string},
};

/// Groups the responses of the errors by status, in their order.
pub(super) fn by_status(errors: Vec<ApiError>) -> BTreeMap<u16, Vec<Answer>> {
    let mut answers: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for error in errors {
        let answer = error.response(Language::Korean, "5f0c1c1de6c14d0f8f5b0c9b3f0c5a11-1");
        answers.entry(answer.status).or_default().push(answer);
    }
    answers
}

pub(super) fn error_response(answers: Vec<Answer>) -> Response {
    let mut response = ResponseBuilder::new();
    let mut content = ContentBuilder::new().schema(Some(Ref::from_schema_name(ERROR)));
    let (mut lines, mut examples) = (Vec::new(), Vec::new());
    for answer in answers {
        for (name, value) in answer.headers.iter().filter(|(name, _)| !name.starts_with("content-")) {
            response = response.header(*name, header(&format!("For example `{value}`.")));
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let code: ErrorCode = serde_json::from_value(body["code"].clone()).unwrap();
        let line = format!("- `{code}`: {}", code.meaning());
        if !lines.contains(&line) {
            lines.push(line);
            examples.push((
                code.to_string(),
                ExampleBuilder::new().value(Some(sorted(body))).build(),
            ));
        }
    }
    content = content.examples_from_iter(examples);
    response
        .description(lines.join("\n"))
        .content(JSON, content.build())
        .build()
}

pub(super) fn header(text: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String).build());
    header.description = Some(text.to_owned());
    header
}

pub(super) fn error_code() -> Schema {
    let line = |code: &ErrorCode| format!("- `{code}` ({}): {}", status_of(code), code.meaning());
    let lines: Vec<_> = ErrorCode::ALL.iter().map(line).collect();
    let text = format!(
        "What went wrong, for programs. The list may grow.\n\n{}",
        lines.join("\n")
    );
    string()
        .enum_values(Some(ErrorCode::ALL.iter().map(ErrorCode::as_str)))
        .description(Some(text))
        .build()
        .into()
}

pub(super) fn error() -> Schema {
    let texts = || ArrayBuilder::new().items(string()).build();
    let text = |about: &str| string().description(Some(about)).build();
    let fields = ObjectBuilder::new()
        .additional_properties(Some(AdditionalProperties::from(Schema::from(texts()))))
        .description(Some("What is wrong with which field, at sign-up."))
        .build();
    ObjectBuilder::new()
        .description(Some(
            "Why a request was not done. The text stands under one of the traditional keys; where fields are wrong, \
             their names are keys too, each with its messages.",
        ))
        .property("error", text("What apply, enrol, complete and cancel say."))
        .property(
            "detail",
            text("What everything about tokens, pages, paths, methods and bodies says."),
        )
        .property("message", text("What a sign-up says."))
        .property("errors", fields)
        .property(
            "rows",
            ArrayBuilder::new()
                .items(Ref::from_schema_name("RowError"))
                .description(Some("What is wrong with which row of a request that has many.")),
        )
        .property("left", Ref::from_schema_name("Money"))
        .property("reason", text("The gateway's code of a refund that it has refused."))
        .property("preorder", text("Path of the pre-order that pays the price."))
        .property("code", Ref::from_schema_name(CODE))
        .property("request_id", text("Id of the request, also in `X-Request-Id`."))
        .required("code")
        .required("request_id")
        .additional_properties(Some(AdditionalProperties::from(Schema::from(texts()))))
        .build()
        .into()
}

/// Sorts the keys, so that the document does not depend on the features of serde_json.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<_, _> = object.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}
