//! Forms as HTML pages and many HTTP clients send them, read as the JSON object that has the same fields.
//!
//! Every value is a text. Of equal names the last counts, as in Django's `QueryDict`.

use std::{borrow::Cow, collections::BTreeMap, convert::Infallible};

use futures::{FutureExt, future, stream};
use multer::Multipart;
use percent_encoding::percent_decode;
use serde_json::{Value, json};

/// The most fields of a form, as in Django (`DATA_UPLOAD_MAX_NUMBER_FIELDS`).
const MAX_FIELDS: usize = 1_000;

/// The fields of a form.
pub(super) type Fields = BTreeMap<String, Value>;

/// Reads `name=value&name=value`; `None` if that is not UTF-8, or has too many fields.
pub(super) fn url_encoded(bytes: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    let pairs = bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    for (index, pair) in pairs.enumerate() {
        let at = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        if index == MAX_FIELDS {
            return None;
        }
        fields.insert(decoded(name)?, decoded(value)?.into());
    }
    Some(fields)
}

fn decoded(bytes: &[u8]) -> Option<String> {
    let bytes: Cow<'_, [u8]> = if bytes.contains(&b'+') {
        bytes
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect()
    } else {
        bytes.into()
    };
    percent_decode(&bytes).decode_utf8().ok().map(Cow::into_owned)
}

/// Reads the parts of a `multipart/form-data` body; `None` if it is malformed, or has too many parts.
///
/// A file becomes an empty object, which no field takes. A file input without a file is no field.
pub(super) fn multipart(bytes: Vec<u8>, boundary: &str) -> Option<Fields> {
    if boundary.is_empty() {
        return None;
    }
    let stream = stream::once(future::ready(Ok::<_, Infallible>(bytes)));
    // The whole body is there, so nothing is waited for.
    read_parts(Multipart::new(stream, boundary)).now_or_never()?
}

async fn read_parts(mut parts: Multipart<'_>) -> Option<Fields> {
    let mut fields = Fields::new();
    let mut count = 0;
    while let Some(part) = parts.next_field().await.ok()? {
        let name = part.name()?.to_owned();
        let file_name = part.file_name().map(str::to_owned);
        // Obsolete (RFC 7578), and not to be taken for text.
        let is_encoded = part.headers().get("content-transfer-encoding").is_some_and(|encoding| {
            !["7bit", "8bit", "binary"]
                .iter()
                .any(|plain| encoding.as_bytes().eq_ignore_ascii_case(plain.as_bytes()))
        });
        let content = part.bytes().await.ok()?;
        count += 1;
        if count > MAX_FIELDS || is_encoded {
            return None;
        }
        match file_name.as_deref() {
            Some("") => {}
            Some(_) => drop(fields.insert(name, json!({}))),
            None => drop(fields.insert(name, String::from_utf8(content.into()).ok()?.into())),
        }
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(head: &str, content: &str) -> String {
        format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    fn read(body: &str) -> Option<Fields> {
        multipart(body.as_bytes().to_vec(), "x")
    }

    #[test]
    fn a_url_encoded_form_is_pairs_of_texts() {
        let read = |text: &str| url_encoded(text.as_bytes()).map(|fields| json!(fields).to_string());
        for (text, expected) in [
            ("", "{}"),
            ("&&", "{}"),
            (
                "amount=45000.00&payment_method=card",
                r#"{"amount":"45000.00","payment_method":"card"}"#,
            ),
            ("a=1&a=2", r#"{"a":"2"}"#),
            (
                "a=b+c%2B%26%3D%20d&%EA%B0%80=%eb%82%98",
                r#"{"a":"b c+&= d","가":"나"}"#,
            ),
            ("a&b=&=c&d=e=f", r#"{"":"c","a":"","b":"","d":"e=f"}"#),
            ("a=%zz%4&b=100%", r#"{"a":"%zz%4","b":"100%"}"#),
            ("a=가;b=1", r#"{"a":"가;b=1"}"#),
            ("a=%00", r#"{"a":"\u0000"}"#),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for text in [&b"a=\xff"[..], b"\xff=a", b"a=%ff", b"%ED%A0%80=1", b"a=%c3+%28"] {
            assert_eq!(url_encoded(text), None, "{text:?}");
        }
        assert_eq!(
            url_encoded("a=1&".repeat(MAX_FIELDS).as_bytes()).map(|fields| fields.len()),
            Some(1)
        );
        assert_eq!(url_encoded("a=1&".repeat(MAX_FIELDS + 1).as_bytes()), None);
    }

    #[test]
    fn a_multipart_form_is_parts_of_texts() {
        let end = "--x--\r\n";
        let json = |body: String| read(&body).map(|fields| json!(fields).to_string());
        for (body, expected) in [
            (end.to_owned(), "{}"),
            (part("name=\"amount\"", "45000.00") + end, r#"{"amount":"45000.00"}"#),
            (part("name=a", "1") + &part("name=\"a\"", "2") + end, r#"{"a":"2"}"#),
            (part("name=\"이름\"", " 가\r\n나 ") + end, r#"{"이름":" 가\r\n나 "}"#),
            (part("name=\"a\"", "") + end, r#"{"a":""}"#),
            (part("name=\"a\"; filename=\"a.txt\"", "\u{0}") + end, r#"{"a":{}}"#),
            (part("name=\"a\"; filename=\"\"", "") + end, "{}"),
            (
                part("name=\"a\"\r\nContent-Type: text/plain; charset=utf-8", "가") + end,
                r#"{"a":"가"}"#,
            ),
            (
                part("name=\"a\"\r\nContent-Transfer-Encoding: 8bit", "1") + end,
                r#"{"a":"1"}"#,
            ),
        ] {
            assert_eq!(json(body.clone()).as_deref(), Some(expected), "{body}");
        }
        for body in [
            String::new(),
            "{}".to_owned(),
            part("name=\"a\"", "1"),
            part("name=\"a\"", "1") + "--x",
            part("", "1") + end,
            format!("--x\r\n\r\n1\r\n{end}"),
            part("name=\"a\"\r\nContent-Transfer-Encoding: base64", "MQ==") + end,
            part("name=\"a\"", "1").repeat(MAX_FIELDS + 1) + end,
        ] {
            assert_eq!(read(&body), None, "{body:.200}");
        }
        let not_utf_8 = [
            part("name=\"a\"", "").trim_end().as_bytes(),
            b"\r\n\r\n\xff\r\n--x--\r\n",
        ]
        .concat();
        assert_eq!(multipart(not_utf_8, "x"), None);
        assert_eq!(multipart(b"--\r\n".to_vec(), ""), None);
    }

    proptest! {
        #[test]
        fn a_form_has_the_fields_that_were_sent(sent in prop::collection::btree_map("\\PC{1,8}", any::<String>(), 0..6)) {
            let expected: Fields = sent.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&sent).finish();
            prop_assert_eq!(url_encoded(text.as_bytes()), Some(expected));
        }

        #[test]
        fn any_bytes_are_handled(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                "(--x(--)?\r\n|Content-Disposition: form-data; name=\"[a-z]\"|\r\n|\r\n\r\n|[a-z]{0,3}){0,9}".prop_map(String::into_bytes),
            ],
        ) {
            url_encoded(&bytes);
            multipart(bytes, "x");
        }
    }
}
