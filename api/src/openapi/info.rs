//! The introduction of the document, and its tags.

use utoipa::openapi::{Info, InfoBuilder, License, Tag, tag::TagBuilder};

use super::names::EVENTS;
use crate::kind::KINDS;

const INTRODUCTION: &str = "\
Apply for exams, enrol in courses, and pay.

**Paths** work with and without their trailing slash, and each has a second spelling, which its description names.

**Tokens.** `POST /login/` answers an access token and a refresh token. Send the former as `Authorization: Bearer …`; \
when it has expired, `POST /token/refresh/` answers a new one. `POST /logout/` ends one login, `POST /logout/all/` all \
logins of the user at once.

**Errors** carry their text under the key that clients have always read (`error`, `detail`, `message` with `errors`, or \
the names of the fields that are wrong) and besides it a `code`, which is stable, and the `request_id`, which finds the \
request in the service's log. Texts are Korean; `Accept-Language: en` gets English. `Retry-After` says in how many \
seconds another try makes sense.

The server below the API answers some requests itself, in the same shape, before they reach an operation: 400 \
`bad_request` (broken HTTP) and `host_not_allowed`, 408 `request_timeout`, 414 `uri_too_long`, 417 `expectation_failed`, 431 \
`headers_too_large`, 501 `not_implemented`, 505 `http_version_not_supported`; with nothing done, 503 `overloaded`; and \
in place of an answer that does not come, 504 `timeout` and 500 `internal_error`.

**Idempotency.** A POST that takes an `Idempotency-Key` takes effect once per key and user, however often it is sent: \
the same request is answered with the first answer again, for 24 hours, with `Idempotency-Replayed: true`.

**Values.** Money is a string with two decimals, in won. Times are ISO 8601 in UTC. Every answer has an `X-Request-Id`; \
a sane one in the request comes back.
";

pub(super) fn info() -> Info {
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".into());
    InfoBuilder::new()
        .title("Sugang")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(INTRODUCTION))
        .license(Some(license))
        .build()
}

pub(super) fn tags() -> Vec<Tag> {
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
            "operator",
            "What operators do. To every other client these paths do not exist: 404, whatever the request.",
        ),
        tag(
            "webhooks",
            "What payment gateways send. An event is answered at once; what has happened is looked up at its gateway.",
        ),
        tag(
            EVENTS,
            "What the service sends to the webhooks that a superuser has created: a signed POST for each change, by Standard \
             Webhooks, once or more. Verify it, keep its id, answer 2xx, and get the rest over the API.",
        ),
        tag(
            "service",
            "This document, the pages that show it, and what an operator's probes ask.",
        ),
    ]);
    tags
}
