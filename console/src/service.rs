//! From a request to its response.

use std::borrow::Cow;

use sugang_protocol::{ErrorSpec, Language, Text, path, request_id::RequestIds, shared_headers};
use sugang_sdk::types::ErrorCode;

use crate::files::{File, find};

/// The page loads nothing but these files, calls nothing but this service, and stands in no frame. No script or style is
/// inline, so text that another program wrote into the database cannot become one.
const POLICY: &str = concat!(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; ",
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
);

/// A client may keep a file, but must revalidate it for each use: modules of two releases do not fit together.
const CACHE_CONTROL: &str = "no-cache";

static NOT_FOUND: ErrorSpec = ErrorSpec::detail(ErrorCode::NotFound, Text::new("찾을 수 없습니다.", "Not found."));
static METHOD_NOT_ALLOWED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::MethodNotAllowed,
    Text::new("허용되지 않는 메소드입니다.", "Method not allowed."),
);

/// What the response depends on.
pub(crate) struct Asked {
    /// Whether the method is GET or HEAD.
    pub(crate) reads: bool,
    pub(crate) path: String,
    pub(crate) if_none_match: Option<String>,
    pub(crate) accept_language: Option<String>,
    pub(crate) ids: RequestIds,
}

/// Status, headers with names in lower case, and body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Cow<'static, [u8]>,
}

/// Answers with a file, or with 304 if the client has it.
pub(crate) fn respond(asked: &Asked) -> Answer {
    let found = path::canonical(&asked.path).and_then(|path| find(&path));
    let mut answer = match found {
        None => refuse(&NOT_FOUND, asked),
        Some(_) if !asked.reads => {
            let mut answer = refuse(&METHOD_NOT_ALLOWED, asked);
            answer.headers.push(("allow", "GET, HEAD".to_owned()));
            answer
        }
        Some(file) => send(file, asked.if_none_match.as_deref()),
    };
    let shared = shared_headers(
        |name| answer.headers.iter().any(|(known, _)| *known == name),
        asked.ids.shown(),
        None,
        None,
    );
    let shared: Vec<_> = shared
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    answer.headers.extend(shared);
    answer
}

fn send(file: &'static File, if_none_match: Option<&str>) -> Answer {
    let tag = file.tag();
    let is_known = if_none_match.is_some_and(|tags| is_known(tags, &tag));
    let headers = [
        ("content-type", file.media_type),
        ("etag", &tag),
        ("cache-control", CACHE_CONTROL),
        // Every response is the same for all clients.
        ("vary", "accept-encoding"),
        ("content-security-policy", POLICY),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    let headers = headers.map(|(name, value)| (name, value.to_owned())).into();
    match is_known {
        true => Answer {
            status: 304,
            headers,
            body: Cow::Borrowed(&[]),
        },
        false => Answer {
            status: 200,
            headers,
            body: Cow::Borrowed(file.content),
        },
    }
}

fn refuse(error: &ErrorSpec, asked: &Asked) -> Answer {
    let language = asked.accept_language.as_deref().map(Language::preferred);
    let response = error.response(language.unwrap_or(Language::Korean), asked.ids.shown());
    Answer {
        status: response.status,
        headers: response.headers,
        body: response.body.into(),
    }
}

/// Returns whether a list of tags, such as `If-None-Match`, names the tag. The comparison is the weak one, and `*` names every tag.
fn is_known(tags: &str, tag: &str) -> bool {
    let mut tags = tags.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, if_none_match: Option<&str>) -> Answer {
        respond(&Asked {
            reads: true,
            path: path.to_owned(),
            if_none_match: if_none_match.map(str::to_owned),
            accept_language: Some("en".to_owned()),
            ids: RequestIds::new(None, Some("r-1")),
        })
    }

    fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
        let mut headers = answer.headers.iter();
        headers.find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }

    #[test]
    fn the_page_is_there_with_and_without_a_slash() {
        for path in ["/console", "/console/", "/conso%6Ce/"] {
            let answer = get(path, None);
            assert_eq!(
                (answer.status, header(&answer, "content-type")),
                (200, Some("text/html; charset=utf-8"))
            );
            assert_eq!(header(&answer, "content-security-policy"), Some(POLICY));
            assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
            assert_eq!(header(&answer, "cache-control"), Some("no-cache"));
            assert_eq!(header(&answer, "x-request-id"), Some("r-1"));
        }
    }

    #[test]
    fn a_client_with_the_current_file_gets_304() {
        let first = get("/console/", None);
        let tag = header(&first, "etag").unwrap();
        for known in [tag, &format!("\"other\", W/{tag}"), "*"] {
            let again = get("/console/", Some(known));
            assert_eq!(
                (again.status, again.body.len(), header(&again, "etag")),
                (304, 0, Some(tag))
            );
        }
        assert_eq!(get("/console/", Some("\"other\"")).status, 200);
    }

    #[test]
    fn every_other_path_and_method_is_refused() {
        for path in [
            "/console/x",
            "/console//",
            "/console/../api/",
            "/console/%ff",
            "/console/app",
            "/",
        ] {
            let answer = get(path, None);
            let expected = r#"{"detail":"Not found.","code":"not_found","request_id":"r-1"}"#;
            assert_eq!((answer.status, &*answer.body), (404, expected.as_bytes()), "{path}");
        }
        let posted = respond(&Asked {
            reads: false,
            path: "/console/".to_owned(),
            if_none_match: None,
            accept_language: None,
            ids: RequestIds::new(None, None),
        });
        assert_eq!((posted.status, header(&posted, "allow")), (405, Some("GET, HEAD")));
    }
}
