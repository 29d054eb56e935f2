//! Generates the OpenAPI document: paths from the routes, schemas from the wire types, errors from the errors themselves.
//!
//! The document is in the repository as `docs/openapi.json`, so that a review shows every change of the API.

use std::{borrow::Cow, collections::BTreeMap, path::Path};

use http::Method;
use serde_json::{Value, json};
use sugang_protocol::{Language, status_of};
use sugang_sdk::types::{
    AccessToken, Cancel, Cancelled, Completed, Course, CourseId, ErrorCode, Exam, ExamId, Login, Money, Page, Payment,
    PaymentId, PaymentMethod, PaymentStatus, PaymentType, Refresh, Register, Registration, RegistrationId, Secret,
    SignedUp, Signup, Tokens, TransactionMetadata, User, UserId,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ComponentsBuilder, Content, ContentBuilder, Header, HttpMethod, Info, InfoBuilder, KnownFormat,
        License, Object, ObjectBuilder, OpenApi, OpenApiBuilder, PathItem, Paths, PathsBuilder, Ref, RefOr, Required,
        Response, Schema, SchemaFormat, Server, Tag,
        example::ExampleBuilder,
        path::{Operation as Documented, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        response::ResponseBuilder,
        schema::{AdditionalProperties, ArrayBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
        tag::TagBuilder,
    },
};

use crate::{
    error::{
        ApiError, FieldProblem, FieldProblems, Misconfigured,
        catalog::{
            ALREADY_CANCELLED, AMOUNT_OUT_OF_BOUNDS, BUSY, IDEMPOTENCY_KEY_REUSED, INVALID_CREDENTIALS, INVALID_PAGE,
            MALFORMED_JSON, NOT_AUTHENTICATED, NOT_FOUND, NOT_OWNER, PAYLOAD_TOO_LARGE, REFRESH_NOT_VALID,
            REQUEST_IN_PROGRESS, SOLD_OUT, TOKEN_NOT_VALID, UNSUPPORTED_MEDIA_TYPE, USER_INACTIVE, USER_NOT_FOUND,
        },
    },
    extract::forms::signup::{MAX_EMAIL_CHARS, MAX_USERNAME_CHARS, MIN_PASSWORD_CHARS},
    http::Response as Answer,
    kind::{ItemKind, KINDS},
    payment_rules::accepted_amounts,
    routes::{Operation, Private, Public, Route, TABLE},
};

const INTRODUCTION: &str = "\
Apply for exams, enrol in courses, and pay.

**Paths** work with and without their trailing slash, and each has a second spelling, which its description names.

**Tokens.** `POST /login/` answers an access token and a refresh token. Send the former as `Authorization: Bearer …`; \
when it has expired, `POST /token/refresh/` answers a new one.

**Errors** carry their text under the key that clients have always read (`error`, `detail`, `message` with `errors`, or \
the names of the fields that are wrong) and besides it a `code`, which is stable, and the `request_id`, which finds the \
request in the service's log. Texts are Korean; `Accept-Language: en` gets English. `Retry-After` says in how many \
seconds another try makes sense.

**Idempotency.** A POST that takes an `Idempotency-Key` takes effect once per key and user, however often it is sent: \
the same request is answered with the first answer again, for 24 hours, with `Idempotency-Replayed: true`.

**Values.** Money is a string with two decimals, in won. Times are ISO 8601 in UTC. Every answer has an `X-Request-Id`; \
a sane one in the request is taken over.
";

const ERROR: &str = "Error";
const CODE: &str = "ErrorCode";
const BEARER: &str = "bearer";
const JSON: &str = "application/json";

/// The description of an operation, besides its route.
struct Description {
    tag: Cow<'static, str>,
    summary: String,
    more: Cow<'static, str>,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    success: Success,
    errors: Vec<ApiError>,
}

struct Body {
    schema: Cow<'static, str>,
    required: bool,
}

struct Success {
    status: u16,
    media_type: &'static str,
    /// The schema of a JSON response.
    schema: Option<Schema>,
    replayable: bool,
}

/// The whole document.
fn document() -> OpenApi {
    let mut paths: BTreeMap<usize, (String, PathItem)> = BTreeMap::new();
    for (place, route) in TABLE.iter().enumerate() {
        let Some(description) = describe(route) else { continue };
        let method = if route.method == Method::GET {
            HttpMethod::Get
        } else {
            HttpMethod::Post
        };
        paths.insert(
            place,
            (
                route.path.clone().into_owned(),
                PathItem::new(method, operation(route, description)),
            ),
        );
    }
    let paths = paths
        .into_values()
        .fold(Paths::builder(), |paths: PathsBuilder, (path, item)| {
            paths.path(path, item)
        });
    OpenApiBuilder::new()
        .info(info())
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components()))
        .tags(Some(tags()))
        .build()
}

fn info() -> Info {
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".into());
    InfoBuilder::new()
        .title("Sugang")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(license))
        .build()
}

fn tags() -> Vec<Tag> {
    let tag = |name: &str, text: &str| TagBuilder::new().name(name).description(Some(text)).build();
    let mut tags = vec![tag("accounts", "Sign-up, login, tokens.")];
    tags.extend(KINDS.map(|kind| {
        let (one, several) = kind.names;
        tag(
            several,
            &format!("To list, to register and pay for, to complete. One of them: {one}."),
        )
    }));
    tags.extend([
        tag(
            "payments",
            "The caller's own payments. A payment is a snapshot: no later edit changes it.",
        ),
        tag(
            "service",
            "This document, the pages that show it, and what an operator's probes ask.",
        ),
    ]);
    tags
}

fn describe(route: &Route) -> Option<Description> {
    Some(match route.operation {
        Operation::Public(operation) => match operation {
            Public::Signup => {
                let problems = FieldProblems::of("email", FieldProblem::EmailTaken);
                account(
                    "Create an account",
                    "",
                    Signup::name(),
                    201,
                    SignedUp::name(),
                    vec![ApiError::SignupFields(problems), too_many()],
                )
            }
            Public::Login => account(
                "Get tokens",
                "A wrong password, an unknown e-mail address and an inactive account are answered alike.",
                Login::name(),
                200,
                Tokens::name(),
                vec![required("email"), (&INVALID_CREDENTIALS).into(), too_many()],
            ),
            Public::RefreshToken => account(
                "Get a new access token",
                "Where the service rotates refresh tokens, a new one comes along, and the one that was sent is used up.",
                Refresh::name(),
                200,
                AccessToken::name(),
                vec![required("refresh"), (&REFRESH_NOT_VALID).into()],
            ),
            Public::Logout => Description {
                success: Success::nothing(),
                ..account(
                    "End a login",
                    "The refresh token, and all that came in its place, are of no more use.",
                    Refresh::name(),
                    204,
                    AccessToken::name(),
                    vec![required("refresh"), (&REFRESH_NOT_VALID).into()],
                )
            },
            Public::GetHealth => service("Whether the service lives", "Asks no store.", health(), vec![]),
            Public::GetReadiness => service(
                "Whether the service can serve",
                "`degraded`: everything works, under the database's locks alone.",
                health(),
                stores(),
            ),
            Public::GetFile(file) => match file.path {
                "/api/schema/" => {
                    let any = ObjectBuilder::new().schema_type(Type::Object).build();
                    service("This document", "", Success::of(200, any.into()), vec![])
                }
                "/api/docs/" => service("This document in Swagger UI", "", Success::page(), vec![]),
                "/api/redoc/" => service("This document in ReDoc", "", Success::page(), vec![]),
                // The files that the pages load are not part of the API.
                _ => return None,
            },
        },
        Operation::Private(operation) => match operation {
            Private::List(kind) => {
                let (_, several) = kind.names;
                Description {
                    tag: several.into(),
                    summary: format!("List {several}"),
                    more: "20 a page. `count` is exact; `next` and `previous` keep the other parameters.".into(),
                    parameters: list_parameters(),
                    body: None,
                    success: Success::of(200, page_of(item(kind))),
                    errors: caller([(&INVALID_PAGE).into()]),
                }
            }
            Private::Get(kind) => {
                let (one, several) = kind.names;
                Description {
                    tag: several.into(),
                    summary: format!("Get one {one}"),
                    more: "".into(),
                    parameters: vec![id(one)],
                    body: None,
                    success: Success::named(200, item(kind)),
                    errors: caller([(&NOT_FOUND).into()]),
                }
            }
            Private::Register(kind) => {
                let (one, several) = kind.names;
                Description {
                    tag: several.into(),
                    summary: format!("Register for one {one} and pay"),
                    more: format!("Amounts that the methods take, both ends included: {}.", bounds()).into(),
                    parameters: vec![id(one), idempotency_key()],
                    body: Some(Body {
                        schema: Register::name(),
                        required: true,
                    }),
                    success: Success::of(201, registered(kind)).replayable(),
                    errors: caller(
                        [
                            required("amount"),
                            (&NOT_FOUND).into(),
                            (&kind.already_registered).into(),
                            (&kind.not_open).into(),
                            (&kind.amount_mismatch).into(),
                            (&AMOUNT_OUT_OF_BOUNDS).into(),
                            (&SOLD_OUT).into(),
                        ]
                        .into_iter()
                        .chain(body())
                        .chain(keyed()),
                    ),
                }
            }
            Private::Complete(kind) => {
                let (one, several) = kind.names;
                Description {
                    tag: several.into(),
                    summary: format!("Mark one's own registration for one {one} as completed"),
                    more: "Needs no body. What is completed can no longer be cancelled.".into(),
                    parameters: vec![id(one)],
                    body: None,
                    success: Success::named(200, Completed::name()),
                    errors: caller([
                        ApiError::from(&kind.not_registered),
                        (&kind.already_completed).into(),
                        (&kind.registration_cancelled).into(),
                    ]),
                }
            }
            Private::ListPayments => Description {
                tag: "payments".into(),
                summary: "List one's own payments".into(),
                more: "Newest first, 20 a page.".into(),
                parameters: payment_parameters(),
                body: None,
                success: Success::of(200, page_of(Payment::name())),
                errors: caller([
                    (&INVALID_PAGE).into(),
                    ApiError::Fields(FieldProblems::of("from", FieldProblem::InvalidDate)),
                ]),
            },
            Private::GetPayment => Description {
                tag: "payments".into(),
                summary: "Get one of one's own payments".into(),
                more: "".into(),
                parameters: vec![id("payment")],
                body: None,
                success: Success::named(200, Payment::name()),
                errors: caller([(&NOT_FOUND).into()]),
            },
            Private::CancelPayment => Description {
                tag: "payments".into(),
                summary: "Cancel one's own payment and the registration that it paid for".into(),
                more: "The user may register again afterwards.".into(),
                parameters: vec![id("payment"), idempotency_key()],
                body: Some(Body {
                    schema: Cancel::name(),
                    required: false,
                }),
                success: Success::named(200, Cancelled::name()).replayable(),
                errors: caller(
                    [
                        ApiError::from(&NOT_FOUND),
                        (&NOT_OWNER).into(),
                        (&ALREADY_CANCELLED).into(),
                    ]
                    .into_iter()
                    .chain(KINDS.map(|kind| (&kind.item_completed).into()))
                    .chain(body())
                    .chain(keyed()),
                ),
            },
        },
    })
}

fn account(
    summary: &str,
    more: &'static str,
    request: Cow<'static, str>,
    status: u16,
    answer: Cow<'static, str>,
    errors: Vec<ApiError>,
) -> Description {
    Description {
        tag: "accounts".into(),
        summary: summary.into(),
        more: more.into(),
        parameters: vec![],
        body: Some(Body {
            schema: request,
            required: true,
        }),
        success: Success::named(status, answer),
        errors: errors.into_iter().chain(body()).chain(stores()).collect(),
    }
}

fn service(summary: &str, more: &'static str, success: Success, errors: Vec<ApiError>) -> Description {
    let (summary, more, parameters) = (summary.into(), more.into(), vec![]);
    Description {
        tag: "service".into(),
        summary,
        more,
        parameters,
        body: None,
        success,
        errors,
    }
}

fn bounds() -> String {
    let bounds = PaymentMethod::ALL.iter().map(|method| {
        let accepted = accepted_amounts(*method);
        format!("`{method}` {} to {}", accepted.start(), accepted.end())
    });
    bounds.collect::<Vec<_>>().join(", ")
}

fn required(field: &'static str) -> ApiError {
    ApiError::Fields(FieldProblems::of(field, FieldProblem::Required))
}

/// Adds the errors of authentication and of the stores.
fn caller(own: impl IntoIterator<Item = ApiError>) -> Vec<ApiError> {
    let tokens = [&NOT_AUTHENTICATED, &TOKEN_NOT_VALID, &USER_NOT_FOUND, &USER_INACTIVE];
    own.into_iter()
        .chain(tokens.map(ApiError::from))
        .chain(stores())
        .collect()
}

fn body() -> impl Iterator<Item = ApiError> {
    [&MALFORMED_JSON, &PAYLOAD_TOO_LARGE, &UNSUPPORTED_MEDIA_TYPE]
        .into_iter()
        .map(ApiError::from)
}

fn keyed() -> impl Iterator<Item = ApiError> {
    [&BUSY, &REQUEST_IN_PROGRESS, &IDEMPOTENCY_KEY_REUSED]
        .into_iter()
        .map(ApiError::from)
}

fn too_many() -> ApiError {
    ApiError::RateLimited { retry_after_s: 30 }
}

fn stores() -> Vec<ApiError> {
    let cause = "not sent";
    vec![
        ApiError::internal(cause),
        ApiError::unavailable(cause),
        ApiError::Misconfigured(Misconfigured("jwt_secret has less than 32 bytes".into())),
    ]
}

impl Success {
    fn of(status: u16, schema: Schema) -> Self {
        Self {
            status,
            media_type: JSON,
            schema: Some(schema),
            replayable: false,
        }
    }

    fn named(status: u16, schema: Cow<'static, str>) -> Self {
        // Stands for a bare reference, which is not a `Schema`; see `success_response`.
        Self::of(
            status,
            Schema::AllOf(
                utoipa::openapi::AllOfBuilder::new()
                    .item(Ref::from_schema_name(schema))
                    .build(),
            ),
        )
    }

    fn nothing() -> Self {
        Self {
            status: 204,
            ..Self::page()
        }
    }

    fn page() -> Self {
        Self {
            status: 200,
            media_type: "text/html",
            schema: None,
            replayable: false,
        }
    }

    fn replayable(self) -> Self {
        Self {
            replayable: true,
            ..self
        }
    }
}

fn operation(route: &Route, description: Description) -> Documented {
    let Description {
        tag,
        summary,
        more,
        parameters,
        body,
        success,
        errors,
    } = description;
    let alias = route.alias.map(|alias| format!("Also at `{alias}{}`.", route.path));
    let text = [more.into_owned(), alias.unwrap_or_default()].join("\n\n");
    let mut operation = OperationBuilder::new()
        .tag(tag)
        .operation_id(Some(route.id.as_ref()))
        .summary(Some(summary))
        .description(Some(text.trim()).filter(|text| !text.is_empty()));
    if matches!(route.operation, Operation::Private(_)) {
        operation = operation.security(SecurityRequirement::new(BEARER, Vec::<String>::new()));
    }
    for parameter in parameters {
        operation = operation.parameter(parameter);
    }
    if let Some(Body { schema, required }) = body {
        let content = Content::new(Some(Ref::from_schema_name(schema)));
        let required = if required { Required::True } else { Required::False };
        let body = RequestBodyBuilder::new()
            .content(JSON, content)
            .required(Some(required))
            .build();
        operation = operation.request_body(Some(body));
    }
    operation = operation.response(success.status.to_string(), success_response(success));
    for (status, answers) in by_status(errors) {
        operation = operation.response(status.to_string(), error_response(answers));
    }
    operation.build()
}

fn success_response(success: Success) -> Response {
    let mut response = ResponseBuilder::new().description("Done.");
    if success.replayable {
        let text = "`true` where this is an earlier answer again.";
        response = response.header("Idempotency-Replayed", header(text));
    }
    if success.status == 204 {
        return response.build();
    }
    let content = match success.schema {
        Some(Schema::AllOf(all_of)) if all_of.items.len() == 1 => Content::new(all_of.items.into_iter().next()),
        schema => Content::new(schema),
    };
    response.content(success.media_type, content).build()
}

/// Groups the responses of the errors by status, in their order.
fn by_status(errors: Vec<ApiError>) -> BTreeMap<u16, Vec<Answer>> {
    let mut answers: BTreeMap<u16, Vec<_>> = BTreeMap::new();
    for error in errors {
        let answer = error.response(Language::Korean, "5f0c1c1de6c14d0f8f5b0c9b3f0c5a11-1");
        answers.entry(answer.status).or_default().push(answer);
    }
    answers
}

fn error_response(answers: Vec<Answer>) -> Response {
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

fn header(text: &str) -> Header {
    let mut header = Header::new(ObjectBuilder::new().schema_type(Type::String).build());
    header.description = Some(text.to_owned());
    header
}

fn parameter(name: &str, place: ParameterIn, text: &str, schema: Object) -> Parameter {
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

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn id(of: &str) -> Parameter {
    let schema = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(0));
    parameter(
        "id",
        ParameterIn::Path,
        &format!("Id of the {of}."),
        schema.examples([json!(1)]).build(),
    )
}

fn idempotency_key() -> Parameter {
    let schema = string()
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[!-~]+$"))
        .build();
    let text = "Makes it safe to send the request again: 1 to 255 visible ASCII characters, different for each effect.";
    parameter("Idempotency-Key", ParameterIn::Header, text, schema)
}

fn page_parameter() -> Parameter {
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

fn search_parameter(over: &str) -> Parameter {
    let text = format!(
        "Words to find in {over}: all of them, unless `or` stands between; `\"…\"` is a phrase, `-` excludes. Empty \
         filters nothing."
    );
    parameter("search", ParameterIn::Query, &text, string().build())
}

fn list_parameters() -> Vec<Parameter> {
    let sort = string()
        .enum_values(Some(["created", "popular"]))
        .default(Some(json!("created")))
        .build();
    vec![
        page_parameter(),
        parameter(
            "status",
            ParameterIn::Query,
            "`available`: only those that one may register for now; anything else filters nothing.",
            string().examples([json!("available")]).build(),
        ),
        search_parameter("title and description"),
        parameter(
            "sort",
            ParameterIn::Query,
            "Newest first, or most registrations first; anything else is newest first.",
            sort,
        ),
    ]
}

fn payment_parameters() -> Vec<Parameter> {
    let words = |words: Vec<&'static str>| string().enum_values(Some(words)).build();
    let statuses = PaymentStatus::ALL.iter().map(|status| status.as_str()).collect();
    let types = PaymentType::ALL.iter().map(|kind| kind.as_str()).collect();
    let day = || {
        string().format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
            utoipa::openapi::KnownFormat::Date,
        )))
    };
    vec![
        page_parameter(),
        parameter(
            "status",
            ParameterIn::Query,
            "Only those with this status.",
            words(statuses),
        ),
        parameter("payment_type", ParameterIn::Query, "Only those for this.", words(types)),
        parameter(
            "from",
            ParameterIn::Query,
            "Only those paid on this day (UTC) or later. Empty filters nothing.",
            day().build(),
        ),
        parameter(
            "to",
            ParameterIn::Query,
            "Only those paid on this day (UTC) or earlier. Empty filters nothing.",
            day().build(),
        ),
        search_parameter("the title of what was paid for"),
    ]
}

fn health() -> Success {
    let word = |words: &[&str]| string().enum_values(Some(words.to_vec())).build();
    let schema = ObjectBuilder::new()
        .property("status", word(&["ok", "degraded"]))
        .property("database", word(&["ok"]))
        .property("redis", word(&["ok", "unavailable"]))
        .required("status")
        .build();
    Success::of(200, schema.into())
}

/// Returns the name of a kind's schema: its English name, capitalized.
fn item(kind: &ItemKind) -> Cow<'static, str> {
    (kind.names.0[..1].to_ascii_uppercase() + &kind.names.0[1..]).into()
}

fn page_of(result: Cow<'static, str>) -> Schema {
    let RefOr::T(Schema::Object(mut page)) = Page::<Vec<User>>::schema() else {
        panic!("a page is an object")
    };
    let results = ArrayBuilder::new().items(Ref::from_schema_name(result)).build();
    page.properties.insert("results".into(), results.into());
    page.into()
}

/// Returns the schema of a registration's response, in which the key of the id depends on the kind.
fn registered(kind: &ItemKind) -> Schema {
    let key = match (kind.registration)(RegistrationId(1)) {
        Registration::Application(_) => "registration_id",
        Registration::Enrolment(_) => "enrollment_id",
    };
    let mut registered = ObjectBuilder::new();
    for (name, schema) in [
        (
            "message",
            string().examples([json!(kind.registered.korean)]).build().into(),
        ),
        ("payment_id", Ref::from_schema_name(PaymentId::name()).into()),
        (key, Ref::from_schema_name(RegistrationId::name()).into()),
        ("payment_method", Ref::from_schema_name(PaymentMethod::name()).into()),
        (
            "transaction_metadata",
            Ref::from_schema_name(TransactionMetadata::name()).into(),
        ),
    ] {
        let schema: RefOr<Schema> = schema;
        registered = registered.property(name, schema).required(name);
    }
    registered.build().into()
}

fn components() -> Components {
    let mut components = ComponentsBuilder::new()
        .schema_from::<Signup>()
        .schema_from::<Login>()
        .schema_from::<Refresh>()
        .schema_from::<SignedUp>()
        .schema_from::<Tokens>()
        .schema_from::<AccessToken>()
        .schema_from::<User>()
        .schema_from::<Register>()
        .schema_from::<TransactionMetadata>()
        .schema_from::<Completed>()
        .schema_from::<Payment>()
        .schema_from::<Cancel>()
        .schema_from::<Cancelled>()
        .schema_from::<PaymentMethod>()
        .schema_from::<PaymentStatus>()
        .schema_from::<PaymentType>()
        .schema_from::<Money>()
        .schema_from::<Secret>()
        .schema_from::<UserId>()
        .schema_from::<ExamId>()
        .schema_from::<CourseId>()
        .schema_from::<PaymentId>()
        .schema_from::<RegistrationId>()
        .schema("Exam", Exam::schema())
        .schema("Course", Course::schema())
        .schema(CODE, error_code())
        .schema(ERROR, error())
        .build();
    for (schema, name, example) in EXAMPLES {
        property(&mut components, schema, name).examples = vec![serde_json::from_str(example).unwrap()];
    }
    for (schema, name, least, most) in LENGTHS {
        let text = property(&mut components, schema, name);
        (text.min_length, text.max_length) = (Some(least), most);
    }
    let Some(RefOr::T(Schema::Object(secret))) = components.schemas.get_mut(&*Secret::name()) else {
        panic!("a secret is a text")
    };
    secret.min_length = Some(1);
    for id in [
        UserId::name(),
        ExamId::name(),
        CourseId::name(),
        PaymentId::name(),
        RegistrationId::name(),
    ] {
        let Some(RefOr::T(Schema::Object(id))) = components.schemas.get_mut(&*id) else {
            panic!("{id} is no number")
        };
        id.examples = vec![json!(1)];
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The access token that a login answered."))
        .build();
    components
        .security_schemes
        .insert(BEARER.into(), SecurityScheme::Http(bearer).into());
    components
}

/// Examples of fields that the type alone does not explain.
const EXAMPLES: [(&str, &str, &str); 31] = [
    ("Signup", "email", r#""minsu@example.com""#),
    ("Signup", "username", r#""김민수""#),
    ("Login", "email", r#""minsu@example.com""#),
    ("SignedUp", "message", r#""회원가입이 완료되었습니다.""#),
    ("User", "email", r#""minsu@example.com""#),
    ("User", "username", r#""김민수""#),
    ("Exam", "title", r#""정보처리기사 실기 모의시험""#),
    ("Exam", "description", r#""기출 문제로 보는 3시간 시험""#),
    ("Exam", "start_at", r#""2026-11-01T00:00:00Z""#),
    ("Exam", "end_at", r#""2026-11-30T14:59:59Z""#),
    ("Exam", "created_at", r#""2026-10-01T00:00:00Z""#),
    ("Exam", "is_registered", "false"),
    ("Exam", "registration_count", "12"),
    ("Course", "title", r#""실전 SQL 튜닝""#),
    ("Course", "description", r#""실행 계획을 읽는 8주 수업""#),
    ("Course", "start_at", r#""2026-11-01T00:00:00Z""#),
    ("Course", "end_at", r#""2026-11-30T14:59:59Z""#),
    ("Course", "created_at", r#""2026-10-01T00:00:00Z""#),
    ("Course", "is_registered", "false"),
    ("Course", "registration_count", "12"),
    ("TransactionMetadata", "processing_fee_rate", "0.029"),
    ("TransactionMetadata", "estimated_fee", "1305.0"),
    ("Completed", "message", r#""시험이 완료되었습니다""#),
    ("Completed", "completed_at", r#""2026-11-23T03:21:26.123456Z""#),
    ("Payment", "target_title", r#""정보처리기사 실기 모의시험""#),
    ("Payment", "target_id", "1"),
    ("Payment", "paid_at", r#""2026-11-23T03:21:26.123456Z""#),
    ("Payment", "registration_time", r#""2026-11-23T03:21:26.123456Z""#),
    ("Cancel", "refund_reason", r#""단순 변심""#),
    ("Cancelled", "message", r#""결제가 취소되었습니다""#),
    ("Cancelled", "cancelled_at", r#""2026-11-23T03:21:26.123456Z""#),
];

/// The minimum and the maximum characters of a text.
const LENGTHS: [(&str, &str, usize, Option<usize>); 4] = [
    ("Signup", "email", 1, Some(MAX_EMAIL_CHARS)),
    ("Signup", "username", 1, Some(MAX_USERNAME_CHARS)),
    ("Signup", "password", MIN_PASSWORD_CHARS, None),
    ("Login", "email", 1, None),
];

fn property<'a>(components: &'a mut Components, schema: &str, property: &str) -> &'a mut Object {
    let found = components.schemas.get_mut(schema);
    let Some(RefOr::T(Schema::Object(object))) = found else {
        panic!("{schema} is no object")
    };
    let found = object.properties.get_mut(property);
    let Some(RefOr::T(Schema::Object(property))) = found else {
        panic!("{schema} has no {property} of a plain type")
    };
    property
}

fn error_code() -> Schema {
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

fn error() -> Schema {
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
        let asset = route.path.ends_with(".js") || route.path.ends_with(".css");
        assert_eq!(operation.is_null(), asset, "{}", route.path);
        if asset {
            continue;
        }
        described += 1;
        assert_eq!(operation["operationId"], *route.id);
        let private = matches!(route.operation, Operation::Private(_));
        assert_eq!(operation["security"].is_array(), private, "{}", route.id);
        assert_eq!(
            operation["responses"]["401"].is_object(),
            private || ["login", "refresh_token", "logout"].contains(&&*route.id)
        );
        assert_eq!(operation["responses"]["404"].is_object(), private, "{}", route.id);
    }
    assert!(described >= 19);
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
