//! The OpenAPI document, and the two pages that show it.
//!
//! All their files are in this component, and a strict `Content-Security-Policy` enforces that they load nothing else.

use std::io::Read;

use flate2::read::GzDecoder;
#[cfg(test)]
use utoipa::openapi::{ObjectBuilder, schema::Type};

use crate::http::Response;
#[cfg(test)]
use crate::operation::description::{Description, Success, service};

/// A file in the component.
pub(crate) struct File {
    pub(crate) path: &'static str,
    /// The operation id of the path.
    pub(crate) id: &'static str,
    media_type: &'static str,
    cache_control: &'static str,
    policy: Option<&'static str>,
    /// The content, compressed at build time.
    gzip: &'static [u8],
}

/// A client may keep the file, but must revalidate it for each use.
const FRESH: &str = "no-cache";
/// A day: the file changes only with a release of the component.
const KEPT: &str = "public, max-age=86400";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const SWAGGER_POLICY: &str = concat!(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; ",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
);
/// The first hash is that of the empty text: ReDoc adds empty style elements and fills them by script. The second is that
/// of its one other style, for scroll bars. Its search runs in a worker that it creates from a blob.
const REDOC_POLICY: &str = concat!(
    "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' ",
    "'sha256-DLDPR1ic47WIdK2WyeLkblb/tm2mQH+Jt/NNhZWu1k0='; ",
    "img-src 'self' data:; connect-src 'self'; worker-src blob:; ",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
);

macro_rules! files {
    ($($path:literal $id:literal = $name:literal $media_type:ident $cache_control:ident $policy:expr;)*) => {
        /// Every file.
        pub(crate) static FILES: &[File] = &[$(File {
            path: $path,
            id: $id,
            media_type: $media_type,
            cache_control: $cache_control,
            policy: $policy,
            gzip: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
        },)*];
    };
}

const JSON: &str = "application/json";
const CSS: &str = "text/css; charset=utf-8";

files! {
    "/api/schema/" "get_schema" = "openapi.json" JSON FRESH None;
    "/api/docs/" "get_docs" = "swagger.html" HTML FRESH Some(SWAGGER_POLICY);
    "/api/docs/swagger.js" "get_docs_start" = "swagger.js" SCRIPT KEPT None;
    "/api/docs/swagger-ui-bundle.js" "get_docs_script" = "swagger-ui-bundle.js" SCRIPT KEPT None;
    "/api/docs/swagger-ui.css" "get_docs_style" = "swagger-ui.css" CSS KEPT None;
    "/api/redoc/" "get_redoc" = "redoc.html" HTML FRESH Some(REDOC_POLICY);
    "/api/redoc/redoc.js" "get_redoc_start" = "redoc.js" SCRIPT KEPT None;
    "/api/redoc/redoc.standalone.js" "get_redoc_script" = "redoc.standalone.js" SCRIPT KEPT None;
}

/// Answers with a file: compressed if the client accepts gzip, or with 304 if the client has it. The body is left out if the
/// host has it, as `held` says: decompressing it takes milliseconds of a processor, and every client may ask for it.
pub(crate) fn get_file(
    file: &File,
    if_none_match: Option<&str>,
    accept_encoding: Option<&str>,
    held: Option<&str>,
) -> Response {
    let packed = accept_encoding.is_some_and(accepts_gzip);
    let tag = file.tag(packed);
    let known = if_none_match.is_some_and(|tags| is_known(tags, &tag));
    let mut response = match (known, packed) {
        (true, _) => Response::empty(304),
        _ if held.is_some_and(|tags| is_known(tags, &tag)) => Response::text(200, file.media_type, ""),
        (false, true) => Response::text(200, file.media_type, file.gzip),
        (false, false) => {
            let mut content = Vec::new();
            match GzDecoder::new(file.gzip).read_to_end(&mut content) {
                Ok(_) => Response::text(200, file.media_type, content),
                Err(_) => return Response::empty(500),
            }
        }
    };
    if packed && !known {
        response = response.header("content-encoding", "gzip");
    }
    if let Some(policy) = file.policy {
        response = response
            .header("content-security-policy", policy)
            .header("referrer-policy", "no-referrer");
    }
    response
        .header("etag", tag)
        .header("vary", "accept-encoding")
        .header("cache-control", file.cache_control)
}

impl File {
    /// Builds the `ETag` from the end of the gzip file, which is the checksum and the length of the content.
    ///
    /// The compressed and the uncompressed response have different tags, as HTTP requires.
    fn tag(&self, packed: bool) -> String {
        let end = self.gzip.last_chunk::<8>().map_or(0, |end| u64::from_be_bytes(*end));
        format!("\"{end:016x}{}\"", if packed { "-gzip" } else { "" })
    }
}

/// Returns whether a list of tags, such as `If-None-Match`, names the tag. The comparison is the weak one, and `*` names every tag.
fn is_known(tags: &str, tag: &str) -> bool {
    let mut tags = tags.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Returns whether `Accept-Encoding` admits gzip, by name or by `*`. A weight of 0 refuses it.
fn accepts_gzip(accept_encoding: &str) -> bool {
    let weight_of = |wanted: &str| {
        accept_encoding.split(',').find_map(|coding| {
            let (name, parameter) = coding.split_once(';').unwrap_or((coding, "q=1"));
            let weight = parameter
                .trim()
                .strip_prefix("q=")
                .and_then(|weight| weight.parse::<f32>().ok());
            name.trim()
                .eq_ignore_ascii_case(wanted)
                .then_some(weight.unwrap_or(0.0))
        })
    };
    weight_of("gzip")
        .or_else(|| weight_of("*"))
        .is_some_and(|weight| weight > 0.0)
}

/// Describes a file for the document. The files that the pages load are not part of the API.
#[cfg(test)]
pub(crate) fn describe(file: &File) -> Option<Description> {
    Some(match file.path {
        "/api/schema/" => {
            let any = ObjectBuilder::new().schema_type(Type::Object).build();
            service("This document", "", Success::of(200, any.into()), vec![])
        }
        "/api/docs/" => service("This document in Swagger UI", "", Success::page(), vec![]),
        "/api/redoc/" => service("This document in ReDoc", "", Success::page(), vec![]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response
            .headers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    #[test]
    fn gzip_is_sent_only_if_the_client_accepts_it() {
        for (accepted, expected) in [
            ("gzip, deflate, br", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("*", true),
            ("identity, *;q=0.1", true),
            ("", false),
            ("identity", false),
            ("deflate, br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*;q=0", false),
            ("xgzip", false),
            ("gzip;level=9", false),
        ] {
            assert_eq!(accepts_gzip(accepted), expected, "{accepted}");
        }
    }

    #[test]
    fn both_encodings_have_the_same_content_and_different_tags() {
        for file in FILES {
            let (packed, unpacked) = (
                get_file(file, None, Some("gzip"), None),
                get_file(file, None, None, None),
            );
            assert_eq!(header(&packed, "content-encoding"), Some("gzip"));
            assert_eq!(header(&unpacked, "content-encoding"), None);
            assert_ne!(header(&packed, "etag"), header(&unpacked, "etag"));
            let mut content = Vec::new();
            GzDecoder::new(packed.body.as_slice())
                .read_to_end(&mut content)
                .unwrap();
            assert!(!content.is_empty() && content == unpacked.body, "{}", file.path);
        }
    }

    #[test]
    fn a_file_that_the_host_has_is_not_made_again() {
        for file in FILES {
            let tags = format!("{},{}", file.tag(false), file.tag(true));
            for encoding in [None, Some("gzip")] {
                let (made, held) = (
                    get_file(file, None, encoding, Some("\"other\"")),
                    get_file(file, None, encoding, Some(&tags)),
                );
                assert_eq!((made.status, &made.headers), (held.status, &held.headers));
                assert!(!made.body.is_empty() && held.body.is_empty(), "{}", file.path);
            }
        }
    }

    #[test]
    fn a_client_with_the_current_file_gets_304() {
        let file = &FILES[0];
        let tag = file.tag(true);
        for known in [
            tag.clone(),
            format!("\"other\", {tag}"),
            format!("W/{tag}"),
            "*".to_owned(),
        ] {
            let response = get_file(file, Some(&known), Some("gzip"), None);
            assert_eq!(
                (response.status, response.body.len(), header(&response, "etag")),
                (304, 0, Some(&*tag))
            );
        }
        assert_eq!(get_file(file, Some(&tag), None, None).status, 200);
        assert_eq!(get_file(file, Some("\"other\""), Some("gzip"), None).status, 200);
    }

    #[test]
    fn the_pages_load_only_files_of_this_component() {
        for page in FILES.iter().filter(|file| file.media_type == HTML) {
            let text = String::from_utf8(get_file(page, None, None, None).body).unwrap();
            let addresses: Vec<_> = text
                .split(['"'])
                .filter(|value| value.contains('/') && !value.contains(['<', ' ']))
                .collect();
            assert!(addresses.len() >= 2, "{addresses:?}");
            for address in addresses {
                assert!(FILES.iter().any(|file| file.path == address), "{address}");
            }
            assert!(
                !text.contains("<script>") && !text.contains("<style"),
                "the policy lets in no inline script or style"
            );
        }
    }

    #[test]
    fn the_files_are_small() {
        let bytes: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(bytes < 800 << 10, "{bytes} bytes");
    }
}
