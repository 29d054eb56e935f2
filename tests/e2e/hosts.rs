//! The hosts that a request may name, and where links lead.

use rstest::rstest;
use serde_json::Value;
use sugang_tests::{App, EXAM, HostProcess, Item, User};

/// A service with two pages of exams.
async fn with_two_pages(app: App) -> (App, User) {
    let minsu = app.user("minsu").await;
    for _ in 0..21 {
        app.add(EXAM, Item::default()).await;
    }
    (app, minsu)
}

/// Asks for the first page by hand, and returns status, code and the link to the next page.
async fn next(app: &App, user: &User, target: &str, headers: &str) -> (u16, String, String) {
    let mut client = app.connection().await;
    let token = &user.access;
    let request = format!("GET {target} HTTP/1.1\r\n{headers}\r\nAuthorization: Bearer {token}\r\n\r\n");
    client.send(request).await;
    let response = client.response().await.expect("a response");
    let body: Value = response.json();
    let next = body["next"].as_str().unwrap_or_default().to_owned();
    (response.status, response.code(), next)
}

/// The name of another host, in every place of a request that names one.
fn requests_to(host: &str) -> Vec<(String, String)> {
    let path = "/tests/".to_owned();
    let own = "Host: 127.0.0.1";
    vec![
        (path.clone(), format!("Host: {host}")),
        (path.clone(), format!("Host: {host}:8000")),
        (path.clone(), format!("Host: {host}.")),
        (path.clone(), format!("Host: {}", host.to_uppercase())),
        (format!("http://{host}/tests/"), own.to_owned()),
        (format!("https://{host}:1/tests/"), own.to_owned()),
        (path.clone(), format!("Host: {host}\r\nX-Forwarded-Host: 127.0.0.1")),
        (path, format!("Host: 127.0.0.1.{host}")),
    ]
}

#[tokio::test]
async fn on_a_loopback_address_links_lead_to_the_service_itself() {
    let (app, minsu) = with_two_pages(App::start().await).await;
    let own = format!("{}/tests/?page=2", app.base);
    for host in [
        "evil.example",
        "x",
        "192.0.2.1",
        "localhost.evil.example",
        "127.1",
        "0.0.0.0",
    ] {
        for (target, headers) in requests_to(host) {
            let answer = next(&app, &minsu, &target, &headers).await;
            assert_eq!(answer, (200, String::new(), own.clone()), "{target} {headers}");
        }
    }
    for headers in [
        "Host: [2001:db8::1]:80",
        "Host: 127.0.0.1\r\nX-Forwarded-Host: evil.example",
        "Host: 127.0.0.1\r\nForwarded: host=evil.example",
        "Host: 127.0.0.1\r\nX-Forwarded-Server: evil.example",
        "Host: 127.0.0.1\r\nX-Host: evil.example",
    ] {
        let (status, _, link) = next(&app, &minsu, "/tests/", headers).await;
        assert!(
            status == 200 && !link.contains("evil") && !link.contains("2001"),
            "{headers}: {link}"
        );
    }
    // The machine itself keeps its name.
    for host in [
        "localhost",
        "LOCALHOST.:81",
        "api.localhost:8000",
        "127.0.0.1",
        "127.9.9.9:1",
        "[::1]:8000",
    ] {
        let (status, _, link) = next(&app, &minsu, "/tests/", &format!("Host: {host}")).await;
        assert_eq!((status, link), (200, format!("http://{host}/tests/?page=2")));
    }
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_refused() {
    let setting = "api.example.com, .example.org, 192.0.2.1, [2001:db8::1]";
    let (app, minsu) = with_two_pages(App::with("allowed_hosts", setting).start().await).await;
    let refused = (400, "host_not_allowed".to_owned(), String::new());
    for host in [
        "evil.example",
        "example.com",
        "api.example.com.evil.example",
        "evilexample.org",
        "192.0.2.2",
        "127.0.0.1",
    ] {
        for (target, headers) in requests_to(host) {
            if !target.contains(host) && !headers.contains(&format!("Host: {host}")) {
                continue;
            }
            assert_eq!(
                next(&app, &minsu, &target, &headers).await,
                refused,
                "{target} {headers}"
            );
        }
    }
    assert_eq!(next(&app, &minsu, "/tests/", "Host: [2001:db8::2]").await, refused);
    for host in [
        "api.example.com",
        "API.example.COM:8443",
        "api.example.com.",
        "example.org",
        "a.b.example.org",
        "192.0.2.1:80",
        "[2001:DB8::0:1]:80",
    ] {
        let (status, _, link) = next(&app, &minsu, "/tests/", &format!("Host: {host}")).await;
        assert_eq!((status, link), (200, format!("http://{host}/tests/?page=2")));
    }
    // Whatever path and method; and the refusal looks like every other error.
    for (method, path) in [
        ("POST", "/login/"),
        ("OPTIONS", "/tests/"),
        ("GET", "/nope/"),
        ("GET", "/api/docs/"),
        ("GET", "/console/"),
        ("GET", "/console/app/main.js"),
        ("GET", "/console/nope.js"),
    ] {
        let answer = app.call(method, path).header("host", "evil.example").in_english().await;
        assert_eq!(
            answer.brief(),
            "400 host_not_allowed | The host of the request is not allowed."
        );
    }
    let page = app.get("/console/").header("host", "api.example.com").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    // An orchestrator probes addresses, and HTTP/1.0 names none.
    for path in ["/healthz", "/readyz", "/readyz/"] {
        assert_eq!(app.get(path).header("host", "10.1.2.3:8000").await.status, 200);
        let old = app.raw(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        assert!(old.starts_with(b"HTTP/1.1 200") || old.starts_with(b"HTTP/1.0 200"));
    }
}

/// The negative control of the two tests above, and what a proxy that is trusted with the name needs.
#[rstest]
#[case("*", "", "http://evil.example/tests/?page=2")]
#[case("*", "https://api.example.com", "https://api.example.com/tests/?page=2")]
#[case("", "https://api.example.com", "https://api.example.com/tests/?page=2")]
#[tokio::test]
async fn links_lead_where_the_settings_say(#[case] allowed: &str, #[case] public_url: &str, #[case] expected: &str) {
    let app = App::with("allowed_hosts", allowed)
        .with("public_url", public_url)
        .start()
        .await;
    let (app, minsu) = with_two_pages(app).await;
    let answer = next(&app, &minsu, "/tests/", "Host: evil.example").await;
    assert_eq!(answer, (200, String::new(), expected.to_owned()));
}

/// Which names lead to an address that others reach, only the operator knows.
#[rstest]
#[case("", true)]
#[case("https://api.example.com", false)]
#[tokio::test]
async fn on_other_addresses_the_start_warns(#[case] public_url: &str, #[case] warns: bool) {
    let app = App::start().await;
    let (mut log, writer) = std::io::pipe().unwrap();
    let variables = [("public_url", public_url)];
    let host = HostProcess::logging(&app, writer, &["--listen", "0.0.0.0:0"], &variables);
    drop(host);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut log, &mut said).unwrap();
    let warning = "links in responses lead to any host that a request names";
    assert_eq!(said.contains(warning), warns, "{said}");
}
