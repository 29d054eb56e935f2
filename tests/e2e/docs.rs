use std::collections::BTreeSet;

use sugang_tests::{App, ENDPOINTS, Endpoint};

#[tokio::test]
async fn the_schema_describes_every_endpoint() {
    let app = App::start().await;
    let answer = app.get("/api/schema/").await;
    let schema = answer.json();
    assert!(
        schema["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.")),
        "{}",
        schema["openapi"]
    );
    for Endpoint {
        method,
        path,
        token,
        body,
    } in ENDPOINTS
    {
        let path = path.replace("/1/", "/{id}/");
        let operation = &schema["paths"][&path][method.to_lowercase()];
        assert!(operation["operationId"].is_string(), "{method} {path}");
        assert_eq!(
            operation["security"].as_array().is_some_and(|needs| !needs.is_empty()),
            *token,
            "{method} {path}"
        );
        assert!(
            body.is_empty() || operation["requestBody"].is_object(),
            "{method} {path}"
        );
        assert!(
            operation["responses"].as_object().is_some_and(|all| all.len() > 1),
            "{method} {path}"
        );
    }
    // Every reference has a target in the document.
    let text = schema.to_string();
    let references: BTreeSet<&str> = text
        .split(r##""$ref":"#"##)
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert!(!references.is_empty());
    for reference in references {
        assert!(schema.pointer(reference).is_some(), "{reference}");
    }
}

/// The pages work without access to any other server.
#[tokio::test]
async fn the_pages_need_no_other_server() {
    let app = App::start().await;
    for page in ["/api/docs/", "/api/redoc/", "/api/docs", "/api/redoc"] {
        let answer = app.get(page).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        let html = String::from_utf8(answer.body).unwrap();
        assert!(!html.contains("//"), "no address of another server: {html}");
        let linked: Vec<&str> = ["src=\"", "href=\""]
            .iter()
            .flat_map(|start| html.split(start).skip(1))
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        assert!(!linked.is_empty(), "{html}");
        for path in linked.iter().filter(|path| **path != "data:,") {
            assert!(
                path.starts_with("/api/"),
                "it works with and without the page's trailing slash: {path}"
            );
            let asset = app.get(path).await;
            assert_eq!(asset.status, 200, "{path}");
            assert!(!asset.body.is_empty());
            let media_type = asset.header("content-type");
            let expected = if path.ends_with(".css") {
                "text/css"
            } else if path.ends_with(".js") {
                "text/javascript"
            } else {
                media_type
            };
            assert!(media_type.starts_with(expected), "{path}: {media_type}");
        }
    }
}

#[tokio::test]
async fn cached_files_are_not_sent_again() {
    let app = App::start().await;
    for path in ["/api/schema/", "/api/docs/", "/api/redoc/"] {
        let first = app.get(path).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag}");
        let again = app.get(path).header("if-none-match", tag).await;
        assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
        assert_eq!(app.get(path).header("if-none-match", "\"other\"").await.status, 200);
    }
}

/// The host keeps a file once it was sent, and asks the component for its head alone.
#[tokio::test]
async fn a_file_is_the_same_again_however_it_is_asked_for() {
    let app = App::start().await;
    for path in ["/api/schema/", "/api/docs/swagger-ui-bundle.js"] {
        for encoding in ["identity", "gzip"] {
            let get = |method, spelled: &str| app.call(method, spelled).header("accept-encoding", encoding);
            let first = get("GET", path).await;
            assert!(!first.body.is_empty());
            for spelled in [path.to_owned(), path.replace('a', "%61"), format!("{path}?v=1")] {
                let again = get("GET", &spelled).header("spin-held-files", "\"x\"").await;
                assert_eq!(again.status, 200);
                assert!(again.body == first.body, "{spelled} {encoding}");
                for name in ["etag", "content-type", "content-encoding", "content-length", "vary"] {
                    assert_eq!(again.header(name), first.header(name), "{spelled} {encoding}");
                }
            }
            let head = get("HEAD", path).await;
            assert_eq!(head.header("content-length"), first.header("content-length"));
            let tag = first.header("etag").to_owned();
            assert_eq!(get("GET", path).header("if-none-match", tag.as_str()).await.status, 304);
            // A client cannot have the body left out.
            let forged = get("GET", path).header("spin-held-files", tag.as_str()).await;
            assert!(forged.body == first.body, "{encoding}");
        }
    }
}
