//! The responses that the host gives by itself. They look like the component's own errors.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::X_CONTENT_TYPE_OPTIONS};
use http_body_util::{BodyExt as _, Full};
use sugang_protocol::{ErrorSpec, request_id};

use super::{request::RequestMeta, response_body::ResponseBody};

/// Builds the response to a request, in the client's language and with its request id.
pub(super) fn build(error: &ErrorSpec, meta: &RequestMeta) -> Response<ResponseBody> {
    let response = error.response(meta.language(), &meta.request_id);
    let body = Full::new(Bytes::from(response.body));
    let mut built = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *built.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = built.headers_mut();
    let specific = response.headers.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in specific.chain([(request_id::HEADER, meta.request_id.as_str())]) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    built
}

#[cfg(test)]
mod tests {
    use http::{Request, header::ACCEPT_LANGUAGE};
    use serde_json::{Value, json};
    use sugang_protocol::host;

    use super::*;

    async fn built(error: &ErrorSpec, language: &str) -> (Response<()>, Value) {
        let request = Request::get("/").header("x-request-id", "abc-1");
        let mut request = request.header(ACCEPT_LANGUAGE, language).body(()).unwrap();
        let (head, body) = build(error, &RequestMeta::read(&mut request)).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(head, ()), serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn an_error_has_status_headers_and_body() {
        let (head, body) = built(&host::OVERLOADED, "en-GB, ko").await;
        assert_eq!(head.status(), 503);
        for (name, value) in [
            ("content-type", "application/json"),
            ("retry-after", "1"),
            ("x-content-type-options", "nosniff"),
            ("x-request-id", "abc-1"),
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

    #[tokio::test]
    async fn all_errors_of_the_host_have_their_codes_and_texts() {
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
            let (head, body) = built(error, "").await;
            assert_eq!(head.status(), status);
            assert_eq!((&body["code"], &body["detail"]), (&json!(code), &json!(detail)));
        }
    }

    #[tokio::test]
    async fn the_language_is_weighed_as_the_component_weighs_it() {
        for (language, expected) in [
            ("fr, en;q=0.5", "The server did not answer in time."),
            ("ko;q=0.1, en;q=0.2", "The server did not answer in time."),
            ("en;q=0.1, ko", "응답 시간이 초과되었습니다"),
            ("english", "응답 시간이 초과되었습니다"),
        ] {
            assert_eq!(
                built(&host::TIMEOUT, language).await.1["detail"],
                expected,
                "{language}"
            );
        }
    }
}
