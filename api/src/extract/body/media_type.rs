//! The media types of bodies.

/// How a body is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MediaType {
    Json,
    /// `application/x-www-form-urlencoded`, as an HTML form is sent.
    UrlEncoded,
    /// `multipart/form-data`, with the text between its parts.
    Multipart {
        boundary: String,
    },
}

impl MediaType {
    /// Reads a `Content-Type`; `None` for any other type, and for a charset other than UTF-8, in which JSON always is.
    pub(super) fn read(content_type: &str) -> Option<Self> {
        let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let is = |name: &str| essence.trim().eq_ignore_ascii_case(name);
        let media_type = if is("application/json") {
            Self::Json
        } else if is("application/x-www-form-urlencoded") {
            Self::UrlEncoded
        } else if is("multipart/form-data") {
            // Without a boundary it is a form that has no parts, and so is refused as malformed.
            let boundary = multer::parse_boundary(content_type).unwrap_or_default();
            return Some(Self::Multipart { boundary });
        } else {
            return None;
        };
        parameters.split(';').all(is_utf_8_or_no_charset).then_some(media_type)
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// Reads the `Content-Type` of a file; `None` for any other type, and for a charset other than UTF-8.
pub(crate) fn file_format(content_type: &str) -> Option<FileFormat> {
    let (essence, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let format = match essence.trim().to_ascii_lowercase().as_str() {
        "text/csv" => FileFormat::Csv,
        "application/x-ndjson" | "application/jsonl" => FileFormat::JsonLines,
        _ => return None,
    };
    parameters.split(';').all(is_utf_8_or_no_charset).then_some(format)
}

fn is_utf_8_or_no_charset(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let charset = value.trim().trim_matches('"');
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_media_types_are_read() {
        let multipart = |boundary: &str| {
            Some(MediaType::Multipart {
                boundary: boundary.to_owned(),
            })
        };
        for (content_type, expected) in [
            ("application/json", Some(MediaType::Json)),
            ("Application/JSON; charset=UTF-8", Some(MediaType::Json)),
            ("application/json;charset=\"utf-8\"", Some(MediaType::Json)),
            ("application/json; v=1;", Some(MediaType::Json)),
            ("application/x-www-form-urlencoded", Some(MediaType::UrlEncoded)),
            (
                "Application/X-WWW-Form-Urlencoded; charset=utf-8",
                Some(MediaType::UrlEncoded),
            ),
            ("multipart/form-data; boundary=x", multipart("x")),
            ("multipart/form-data; charset=utf-8; boundary=\"a b\"", multipart("a b")),
            ("Multipart/Form-Data;boundary=----x", multipart("----x")),
            ("multipart/form-data", multipart("")),
            ("application/json; charset=euc-kr", None),
            ("application/x-www-form-urlencoded; charset=euc-kr", None),
            ("application/jsonx", None),
            ("application/problem+json", None),
            ("multipart/mixed; boundary=x", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(MediaType::read(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn a_file_is_csv_or_json_lines() {
        for (content_type, expected) in [
            ("text/csv", Some(FileFormat::Csv)),
            ("Text/CSV; charset=\"UTF-8\"; header=present", Some(FileFormat::Csv)),
            ("application/x-ndjson", Some(FileFormat::JsonLines)),
            ("application/jsonl;charset=utf-8", Some(FileFormat::JsonLines)),
            ("text/csv; charset=euc-kr", None),
            ("application/json", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(file_format(content_type), expected, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn any_content_type_is_handled(content_type in prop_oneof![any::<String>(), "multipart/form-data;\\PC{0,20}"]) {
            MediaType::read(&content_type);
        }
    }
}
