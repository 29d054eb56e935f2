//! HTTP as RFC 9110 and RFC 9112 have it. The sections stand beside the cases.

use sugang_tests::{App, ENDPOINTS, EXAM, Item, RawClient, RawResponse};

const HOST: &str = "Host: x\r\n";

/// Sends a request, of which the client sends no more, and expects the status and the code of the response.
async fn expect(app: &App, request: &str, status: u16, code: &str) -> RawResponse {
    let shown: String = request.chars().take(200).collect();
    let mut client = app.connection().await;
    client.send(request).await;
    let response = match request.starts_with("HEAD ") {
        true => client.response_to_head().await,
        false => client.response().await,
    };
    let response = response.unwrap_or_else(|| panic!("no response to {shown:?}"));
    let found = (response.status, response.code());
    assert_eq!((found.0, found.1.as_str()), (status, code), "{shown:?}: {response:?}");
    // What is not understood ends the connection: what follows it could be anything.
    if ["bad_request", "uri_too_long", "headers_too_large", "not_implemented"].contains(&code) && status != 417 {
        let is_framed = response.header("connection") != "close";
        assert!(!is_framed || is_message(request), "{shown:?}: {response:?}");
    }
    response
}

/// Whether the request is wrong in what it says only, and not in how it is framed.
fn is_message(request: &str) -> bool {
    let head = request.split("\r\n\r\n").next().unwrap_or_default();
    head.is_ascii() && !head.to_lowercase().contains("content-length") && head.len() < 10_000
}

#[tokio::test]
async fn a_request_has_one_valid_host() {
    let app = App::start().await;
    // 9112 3.2: 400 for a request without one, with several, or with an invalid one.
    for host in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a, b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: http://a/\r\n",
        "Host: u@a\r\n",
        "Host: a:b\r\n",
        "Host: a:65536\r\n",
        "Host: :80\r\n",
        "Host: \"><script>\r\n",
        "Host: [::1\r\n",
        "Host: a?b\r\n",
    ] {
        for target in ["/tests/", "http://a/tests/"] {
            expect(
                &app,
                &format!("GET {target} HTTP/1.1\r\n{host}\r\n"),
                400,
                "bad_request",
            )
            .await;
        }
    }
    for host in ["a", "a.example:8000", "[::1]:80", "192.0.2.1", "A_b-c.example", "a:"] {
        expect(&app, &format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"), 200, "").await;
    }
    // 9112 3.2: HTTP/1.0 had none.
    expect(&app, "GET /healthz HTTP/1.0\r\n\r\n", 200, "").await;
    expect(&app, "GET /healthz HTTP/1.0\r\nHost: a/b\r\n\r\n", 400, "bad_request").await;
}

#[tokio::test]
async fn a_target_has_one_of_four_forms() {
    let app = App::with("allowed_hosts", "*").start().await;
    let minsu = app.user("minsu").await;
    for _ in 0..21 {
        app.add(EXAM, Item::default()).await;
    }
    // 9112 3.2.2: of an absolute target, the authority counts, not `Host`.
    let list = |target: &str, host: &str| {
        format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n",
            minsu.access
        )
    };
    for (target, host, next) in [
        ("/tests/", "a.example:81", "http://a.example:81/tests/?page=2"),
        ("http://b.example/tests/", "a.example", "http://b.example/tests/?page=2"),
        (
            "HTTP://b.example:8000/tests/?status=x",
            "b.example:8000",
            "http://b.example:8000/tests/?status=x&page=2",
        ),
    ] {
        let response = expect(&app, &list(target, host), 200, "").await;
        assert_eq!(response.json()["next"], next, "{target}");
    }
    for target in [
        "ftp://a/tests/",
        "http://u:p@a/tests/",
        "http:///tests/",
        "tests/",
        "tests",
        "?a",
        "/te st",
        "/tests/#a",
        "/tests/?page=1#a",
        "http://a b/",
    ] {
        expect(&app, &list(target, "a"), 400, "bad_request").await;
    }
    expect(&app, &format!("GET http://a HTTP/1.1\r\n{HOST}\r\n"), 404, "not_found").await;
    // 9112 3.2.4: the server as a whole.
    let options = expect(&app, &format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n"), 204, "").await;
    assert_eq!(options.header("allow"), "GET, HEAD, POST, OPTIONS");
    assert_eq!(options.header("content-length"), "", "9110 8.6: none with 204");
    // 9110 9.3.6: tunnels are for proxies.
    let connect = "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n";
    expect(&app, connect, 501, "not_implemented").await;
    // 9110 4.2.3: an escaped letter is the letter.
    expect(&app, &format!("GET /health%7a HTTP/1.1\r\n{HOST}\r\n"), 200, "").await;
    for target in [
        "//healthz",
        "/healthz//",
        "/./healthz",
        "/%2fhealthz",
        "/healthz%2f%2f",
        "/HEALTHZ",
    ] {
        expect(&app, &format!("GET {target} HTTP/1.1\r\n{HOST}\r\n"), 404, "not_found").await;
    }
    // 9112 3: 414. 6585 5: 431.
    let long = |length| "a".repeat(length);
    expect(
        &app,
        &format!("GET /?{} HTTP/1.1\r\n{HOST}\r\n", long(17_000)),
        414,
        "uri_too_long",
    )
    .await;
    expect(&app, &format!("GET /{}", long(40_000)), 414, "uri_too_long").await;
    expect(
        &app,
        &format!("GET /healthz?{} HTTP/1.1\r\n{HOST}\r\n", long(12_000)),
        200,
        "",
    )
    .await;
    let header = format!("GET / HTTP/1.1\r\n{HOST}X: {}\r\n\r\n", long(40_000));
    expect(&app, &header, 431, "headers_too_large").await;
    let many = format!("GET / HTTP/1.1\r\n{HOST}{}\r\n", "X: a\r\n".repeat(200));
    expect(&app, &many, 431, "headers_too_large").await;
    // What the response depends on is read of a head that is refused.
    let refused = format!(
        "GET /{} HTTP/1.1\r\n{HOST}Accept-Language: en\r\nX-Request-Id: r-1\r\n\r\n",
        long(17_000)
    );
    let refused = expect(&app, &refused, 414, "uri_too_long").await;
    assert_eq!(refused.json()["detail"], "The address of the request is too long.");
    assert_eq!(
        (refused.header("x-request-id"), refused.header("connection")),
        ("r-1".into(), "close".into())
    );
}

#[tokio::test]
async fn lines_end_with_cr_lf() {
    let app = App::start().await;
    for request in [
        "GET /healthz HTTP/1.1\nHost: x\n\n",
        "GET /healthz HTTP/1.1\r\nHost: x\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n\n",
        "GET /healthz HTTP/1.1\rHost: x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
        // 9112 5.1: no blank before the colon. 5.2: no folded lines.
        "GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nA\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nA\u{1}: b\r\n\r\n",
        // 9112 3: three parts with one blank between them.
        "GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz  HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET\t/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        " GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz\r\nHost: x\r\n\r\n",
        "G@T /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz http/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1\r\nHost: x\r\n\r\n",
        "hello\r\n\r\n",
        "\u{1}\u{2}\u{3}",
    ] {
        expect(&app, request, 400, "bad_request").await;
    }
    // 9112 2.2: empty lines before a request are skipped. 9110 2.5: a later minor version is read as 1.1.
    for request in [
        "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.3\r\nHost:x\r\nA:\r\nB: \t b \r\n\r\n",
    ] {
        expect(&app, request, 200, "").await;
    }
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/3.0"] {
        let request = format!("GET /healthz {version}\r\n{HOST}\r\n");
        expect(&app, &request, 505, "http_version_not_supported").await;
    }
}

#[tokio::test]
async fn a_body_has_one_length() {
    let app = App::start().await;
    let post = |headers: &str, body: &str| {
        format!("POST /login/ HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n{headers}\r\n\r\n{body}")
    };
    // 9112 6.1 and 6.3.
    for (headers, body) in [
        (
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "2\r\n{}\r\n0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 2",
            "2\r\n{}\r\n0\r\n\r\n",
        ),
        ("Content-Length: 2\r\nContent-Length: 3", "{}"),
        ("Content-Length: 2\r\nContent-Length: 2", "{}"),
        ("Content-Length: 2, 2", "{}"),
        ("Content-Length: -1", ""),
        ("Content-Length: +2", "{}"),
        ("Content-Length: 0x2", "{}"),
        ("Content-Length: 2 2", "{}"),
        ("Content-Length:", ""),
        ("Content-Length: 18446744073709551616", ""),
        ("Transfer-Encoding: xchunked", ""),
        ("Transfer-Encoding: identity", ""),
        ("Transfer-Encoding:", ""),
        ("Transfer-Encoding: chunked, gzip", ""),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: \u{b}chunked", "0\r\n\r\n"),
        // 9112 7.1.
        ("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "2\n{}\n0\n\n"),
        ("Transfer-Encoding: chunked", "2\r\n{}0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "2\r\n{}xx0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "ffffffffffffffff\r\n{}"),
        ("Transfer-Encoding: chunked", "-2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "0x2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "2 \r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "2;\n\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "2\r\n{}\r\n0\r\nA: b\n\r\n"),
    ] {
        expect(&app, &post(headers, body), 400, "bad_request").await;
    }
    expect(
        &app,
        &post("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        501,
        "not_implemented",
    )
    .await;
    let chunks = "1;a=\"b;c\"\r\n{\r\n001\r\n}\r\n0\r\nTrailer: x\r\n\r\n";
    let request = post("Transfer-Encoding: Chunked\r\nTE: trailers\r\nTrailer: Trailer", chunks);
    let read = expect(&app, &request, 400, "invalid").await;
    assert_eq!(read.header("connection"), "", "it is read to its end");
    // 9112 6.1: HTTP/1.0 knows no chunks.
    let old = "POST /login/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    expect(&app, old, 400, "bad_request").await;

    // A second request in the body of the first one is a part of that body.
    let inner = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut client = app.connection().await;
    client
        .send(post(&format!("Content-Length: {}", inner.len()), inner))
        .await;
    client
        .send(format!("GET /readyz HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"))
        .await;
    assert_eq!(client.response().await.unwrap().code(), "malformed_json");
    assert!(client.response().await.unwrap().json()["status"].is_string());
    assert!(client.rest().await.is_empty());

    // 9110 8.4: a compressed body is not read.
    for encoding in ["gzip", "br", "x-gzip", "gzip, identity"] {
        let request = post(&format!("Content-Length: 2\r\nContent-Encoding: {encoding}"), "{}");
        expect(&app, &request, 415, "unsupported_media_type").await;
    }
    expect(
        &app,
        &post("Content-Length: 2\r\nContent-Encoding: Identity", "{}"),
        400,
        "invalid",
    )
    .await;
    // 9110 8.3.1: the media type's case does not matter, nor what parameters it has.
    for media_type in [
        "APPLICATION/JSON",
        "application/json ; Charset=\"UTF-8\"",
        "application/json;v=1",
    ] {
        let request = post("Content-Length: 2", "{}").replace("application/json", media_type);
        expect(&app, &request, 400, "invalid").await;
    }
}

#[tokio::test]
async fn an_expectation_is_met_or_refused() {
    let app = App::start().await;
    let post =
        |headers: &str| format!("POST /login/ HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n{headers}\r\n\r\n");
    // 9110 10.1.1: an interim response asks for the body.
    let mut client = app.connection().await;
    client.send(post("Content-Length: 2\r\nExpect: 100-Continue")).await;
    assert_eq!(client.response().await.unwrap().status, 100);
    client.send("{}").await;
    assert_eq!(client.response().await.unwrap().code(), "invalid");
    // A final response says that it is not wanted.
    let mut client = app.connection().await;
    client
        .send(post("Content-Length: 9999999\r\nExpect: 100-continue"))
        .await;
    assert_eq!(client.response().await.unwrap().code(), "payload_too_large");
    // No body, no interim response.
    expect(
        &app,
        &format!("GET /healthz HTTP/1.1\r\n{HOST}Expect: 100-continue\r\n\r\n"),
        200,
        "",
    )
    .await;
    for expectation in ["tea", "100-continue, tea", "100-continue\r\nExpect: tea", ""] {
        expect(
            &app,
            &post(&format!("Content-Length: 2\r\nExpect: {expectation}")),
            417,
            "expectation_failed",
        )
        .await;
    }
}

async fn get(client: &mut RawClient, request_line: &str, headers: &str) -> RawResponse {
    client.send(format!("{request_line}\r\nHost: x\r\n{headers}\r\n")).await;
    client.response().await.expect("a response")
}

#[tokio::test]
async fn a_connection_is_kept_as_its_client_asks() {
    let app = App::start().await;
    // 9112 9.3.
    for (version, headers, is_kept) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: keep-alive\r\n", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: Close\r\n", false),
        ("HTTP/1.1", "Connection: x, close\r\n", false),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: close\r\n", false),
    ] {
        let mut client = app.connection().await;
        let response = get(&mut client, &format!("GET /healthz {version}"), headers).await;
        assert_eq!(response.status, 200);
        assert!(!response.header("date").is_empty() && !response.header("content-length").is_empty());
        if is_kept {
            assert_ne!(response.header("connection"), "close", "{version} {headers}");
            assert_eq!(
                get(&mut client, &format!("GET /healthz {version}"), headers)
                    .await
                    .status,
                200
            );
        } else {
            assert!(client.rest().await.is_empty(), "{version} {headers}");
        }
    }
    // 9110 7.8: an upgrade that is not offered is ignored.
    for upgrade in ["websocket", "h2c", "TLS/1.0"] {
        let mut client = app.connection().await;
        let headers = format!(
            "Upgrade: {upgrade}\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
        );
        let response = get(&mut client, "GET /healthz HTTP/1.1", &headers).await;
        assert_eq!((response.status, response.header("upgrade")), (200, String::new()));
        assert_eq!(get(&mut client, "GET /healthz HTTP/1.1", "").await.status, 200);
    }
}

#[tokio::test]
async fn methods_are_those_of_the_path() {
    let app = App::start().await;
    // 9110 15.5.6: 405 with `Allow`, for unknown methods as well; 9.1: they are compared by case.
    for method in [
        "TRACE",
        "DELETE",
        "PUT",
        "PATCH",
        "get",
        "X",
        "M-SEARCH",
        &"A".repeat(60),
    ] {
        let request = format!("{method} /tests/ HTTP/1.1\r\n{HOST}\r\n");
        let response = expect(&app, &request, 405, "method_not_allowed").await;
        assert_eq!(response.header("allow"), "GET, HEAD, OPTIONS", "{method}");
    }
    // 9110 9.3.2: HEAD has the headers of GET, and no body.
    for path in [
        "/healthz",
        "/api/docs/",
        "/api/docs/swagger-ui-bundle.js",
        "/nope/",
        "/tests/",
    ] {
        let mut client = app.connection().await;
        let get = get(&mut client, &format!("GET {path} HTTP/1.1"), "X-Request-Id: r-1\r\n").await;
        client
            .send(format!("HEAD {path} HTTP/1.1\r\n{HOST}X-Request-Id: r-1\r\n\r\n"))
            .await;
        let head = client.response_to_head().await.unwrap();
        let without_date = |response: &RawResponse| {
            let lines = response.head.lines().filter(|line| !line.starts_with("date:"));
            let mut lines: Vec<String> = lines.map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(without_date(&head), without_date(&get), "{path}");
        assert_eq!(get.header("content-length"), get.body.len().to_string(), "{path}");
        client
            .send(format!("GET /healthz HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"))
            .await;
        assert_eq!(client.response().await.unwrap().status, 200, "after HEAD {path}");
    }
    for head in ["HEAD / HTTP/1.1\r\n\r\n", "HEAD / HTTP/3.0\r\nHost: x\r\n\r\n"] {
        let mut client = app.connection().await;
        client.send(head).await;
        assert!(client.response_to_head().await.unwrap().status >= 400);
        if head.contains("3.0") {
            assert!(client.rest().await.is_empty(), "no body");
        }
    }
    // 9110 9.3.7: OPTIONS without a body of its own.
    for endpoint in ENDPOINTS {
        let request = format!("OPTIONS {} HTTP/1.1\r\n{HOST}\r\n", endpoint.path);
        let response = expect(&app, &request, 204, "").await;
        assert!(response.header("allow").contains(endpoint.method), "{response:?}");
        assert_eq!(response.header("content-length"), "", "{response:?}");
    }
}

#[tokio::test]
async fn conditions_and_ranges() {
    let app = App::start().await;
    let script = "GET /api/docs/swagger.js HTTP/1.1";
    let mut client = app.connection().await;
    let whole = get(&mut client, script, "").await;
    let tag = whole.header("etag");
    assert!(
        tag.starts_with('"') && whole.header("vary").contains("accept-encoding"),
        "{whole:?}"
    );
    // 9110 13.1.2: the weak comparison, lists, and `*`. 15.4.5: what a 304 must have, and 8.6: no length of its own.
    for tags in [tag.clone(), format!("W/{tag}"), format!("\"a\", {tag}"), "*".to_owned()] {
        let response = get(&mut client, script, &format!("If-None-Match: {tags}\r\n")).await;
        assert_eq!((response.status, response.header("etag")), (304, tag.clone()), "{tags}");
        for name in ["cache-control", "vary", "date"] {
            assert!(!response.header(name).is_empty(), "{name}: {response:?}");
        }
        assert!(["", &whole.body.len().to_string()].contains(&response.header("content-length").as_str()));
    }
    for tags in ["\"a\"", "a", ""] {
        let response = get(&mut client, script, &format!("If-None-Match: {tags}\r\n")).await;
        assert_eq!(
            (response.status, response.body.len()),
            (200, whole.body.len()),
            "{tags}"
        );
    }
    // 9110 14.2: a server may ignore ranges; it then answers with the whole.
    for range in ["bytes=0-9", "bytes=-5", "bytes=9999999-", "lines=1-2", "x"] {
        let response = get(&mut client, script, &format!("Range: {range}\r\n")).await;
        assert_eq!((response.status, response.body == whole.body), (200, true), "{range}");
    }
    // 9110 12.5.1: what is accepted does not change what there is.
    for accept in ["application/xml", "*/*;q=0", ";;;", "text/html;level=1, */*"] {
        let response = get(&mut client, "GET /healthz HTTP/1.1", &format!("Accept: {accept}\r\n")).await;
        assert_eq!(
            (response.status, response.header("content-type")),
            (200, "application/json".into())
        );
    }
    // 9110 12.5.3: another encoding is another representation, with another tag.
    let packed = get(&mut client, script, "Accept-Encoding: gzip\r\n").await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_ne!(packed.header("etag"), tag);
}
