//! The responses that the host gives by itself. They look like the component's own.

use http::{HeaderName, HeaderValue, Response, StatusCode, header::ALLOW};
use sugang_protocol::{Cors, ErrorSpec, preflight_headers, shared_headers};

use super::{request::RequestMeta, response_body::ResponseBody};

/// The methods that some path takes.
const ALL_METHODS: &str = "GET, HEAD, POST, OPTIONS";

/// Builds the response to a request, in the client's language, with its request id, and readable for the page that sent it.
pub(super) fn build(error: &ErrorSpec, meta: &RequestMeta, cors: &Cors) -> Response<ResponseBody> {
    let response = error.response(meta.language(), meta.ids.shown());
    let mut built = Response::new(response.body.into());
    *built.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let specific = response.headers.iter().map(|(name, value)| (*name, value.as_str()));
    add_headers(&mut built, specific);
    add_shared_headers(&mut built, meta, cors);
    built
}

/// Builds the response to `OPTIONS *`.
pub(super) fn options_of_the_server(meta: &RequestMeta, cors: &Cors) -> Response<ResponseBody> {
    let mut built = Response::new(Vec::new().into());
    *built.status_mut() = StatusCode::NO_CONTENT;
    built.headers_mut().insert(ALLOW, HeaderValue::from_static(ALL_METHODS));
    add_headers(&mut built, preflight_headers(ALL_METHODS));
    add_shared_headers(&mut built, meta, cors);
    built
}

fn add_shared_headers(response: &mut Response<ResponseBody>, meta: &RequestMeta, cors: &Cors) {
    let shared = shared_headers(
        |name| response.headers().contains_key(name),
        meta.ids.shown(),
        Some(cors),
        meta.origin(),
    );
    add_headers(response, shared);
}

fn add_headers<'a>(response: &mut Response<ResponseBody>, headers: impl IntoIterator<Item = (&'static str, &'a str)>) {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, header::ACCEPT_LANGUAGE};
    use serde_json::{Value, json};
    use sugang_protocol::host;

    use super::*;

    fn built(error: &ErrorSpec, language: &str) -> (Response<()>, Value) {
        let request = Request::get("/").header("x-request-id", "abc-1");
        let mut request = request.header(ACCEPT_LANGUAGE, language).body(()).unwrap();
        request
            .headers_mut()
            .insert("origin", HeaderValue::from_static("https://a.example"));
        let cors = Cors::Only(vec!["https://a.example".to_owned()]);
        let (head, body) = build(error, &RequestMeta::read(&request), &cors).into_parts();
        let body = body.bytes;
        (Response::from_parts(head, ()), serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn an_error_has_status_headers_and_body() {
        let (head, body) = built(&host::OVERLOADED, "en-GB, ko");
        assert_eq!(head.status(), 503);
        for (name, value) in [
            ("content-type", "application/json"),
            ("retry-after", "1"),
            ("x-content-type-options", "nosniff"),
            ("x-request-id", "abc-1"),
            ("cache-control", "no-store"),
            ("access-control-allow-origin", "https://a.example"),
        ] {
            assert_eq!(head.headers()[name], value);
        }
        let expected = json!({
            "detail": "Too many requests. Try again in a moment.",
            "code": "overloaded",
            "request_id": "abc-1",
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn all_errors_of_the_host_have_their_codes_and_texts() {
        for (error, status, code, detail) in [
            (&host::BAD_REQUEST, 400, "bad_request", "잘못된 요청입니다"),
            (
                &host::INSTANCE_CRASHED,
                500,
                "internal_error",
                "서버 오류가 발생했습니다",
            ),
            (&host::TIMEOUT, 504, "timeout", "응답 시간이 초과되었습니다"),
        ] {
            let (head, body) = built(error, "");
            assert_eq!(head.status(), status);
            assert_eq!((&body["code"], &body["detail"]), (&json!(code), &json!(detail)));
        }
    }

    #[test]
    fn the_language_is_weighed_as_the_component_weighs_it() {
        for (language, expected) in [
            ("fr, en;q=0.5", "The server did not answer in time."),
            ("ko;q=0.1, en;q=0.2", "The server did not answer in time."),
            ("en;q=0.1, ko", "응답 시간이 초과되었습니다"),
            ("english", "응답 시간이 초과되었습니다"),
        ] {
            assert_eq!(built(&host::TIMEOUT, language).1["detail"], expected, "{language}");
        }
    }
}
