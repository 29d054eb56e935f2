//! The operations of the document.

use utoipa::openapi::{
    Content, Ref, Required, Response, Schema,
    path::{Operation as Documented, OperationBuilder},
    request_body::RequestBodyBuilder,
    response::ResponseBuilder,
    security::SecurityRequirement,
};

use super::{
    errors::{by_status, error_response, header},
    names::BEARER,
};
use crate::{
    operation::description::{Body, Description, FILE, FILES, Success},
    routes::Route,
};

/// Builds an operation from its route and its description.
pub(super) fn operation(route: &Route, description: Description) -> Documented {
    let Description {
        tag,
        summary,
        more,
        parameters,
        body,
        success,
        errors,
        cpu_bound: _,
    } = description;
    let alias = route.alias.map(|alias| format!("Also at `{alias}{}`.", route.path));
    let text = [more.into_owned(), alias.unwrap_or_default()].join("\n\n");
    let mut operation = OperationBuilder::new()
        .tag(tag)
        .operation_id(Some(route.id.as_ref()))
        .summary(Some(summary))
        .description(Some(text.trim()).filter(|text| !text.is_empty()));
    if route.action.is_private() {
        operation = operation.security(SecurityRequirement::new(BEARER, Vec::<String>::new()));
    }
    for parameter in parameters {
        operation = operation.parameter(parameter);
    }
    if let Some(Body {
        schema,
        required,
        media_types,
    }) = body
    {
        let content = |media_type| {
            let schema = if FILES.contains(media_type) { FILE } else { &*schema };
            Content::new(Some(Ref::from_schema_name(schema)))
        };
        let required = if required { Required::True } else { Required::False };
        let body = media_types
            .iter()
            .fold(RequestBodyBuilder::new(), |body, media_type| {
                body.content(*media_type, content(media_type))
            })
            .required(Some(required))
            .build();
        operation = operation.request_body(Some(body));
    }
    for success in [Some(&success), success.also.as_deref()].into_iter().flatten() {
        operation = operation.response(success.status.to_string(), success_response(success));
    }
    for (status, answers) in by_status(errors) {
        operation = operation.response(status.to_string(), error_response(answers));
    }
    operation.build()
}

fn success_response(success: &Success) -> Response {
    let mut response = ResponseBuilder::new().description("Done.");
    if success.replayable {
        let text = "`true` where this is an earlier answer again.";
        response = response.header("Idempotency-Replayed", header(text));
    }
    if matches!(success.status, 204 | 303) {
        return response.build();
    }
    let content = match success.schema.clone() {
        Some(Schema::AllOf(all_of)) if all_of.items.len() == 1 => Content::new(all_of.items.into_iter().next()),
        schema => Content::new(schema),
    };
    response.content(success.media_type, content).build()
}
