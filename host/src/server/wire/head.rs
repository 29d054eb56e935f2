//! Heads of HTTP/1.1 requests as bytes: where they end, and where their bodies end.
//!
//! hyper reads a head again afterwards. It is stricter here than there, so hyper refuses none of them: it would answer
//! without a body, and so without a code and without CORS.

use std::mem::MaybeUninit;

use http::Uri;
use httparse::{Error, Request, Status};
use sugang_protocol::{ErrorSpec, host};

/// Header fields of a request. hyper's own limit is the same.
const MAX_HEADERS: usize = 100;

/// Bytes of the request line beside its target: the method, the version and what is between them.
const REQUEST_LINE_OVERHEAD: usize = 64;

/// Limits of a head, in bytes.
#[derive(Clone, Copy)]
pub(super) struct HeadLimits {
    pub(super) head: usize,
    pub(super) target: usize,
}

/// The end of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
}

/// Looks for the end of the head at the beginning of `bytes`, of which the first `scanned` were looked at before. Returns
/// `None` if more bytes are needed.
///
/// # Errors
/// 400, 414, 431, 501 or 505, as soon as the bytes cannot become a request.
pub(super) fn scan(
    bytes: &mut [u8],
    scanned: usize,
    limits: HeadLimits,
) -> Result<Option<(usize, Framing)>, &'static ErrorSpec> {
    match end(bytes, scanned)? {
        Some(end) if end <= limits.head => Ok(Some((end, inspect(&mut bytes[..end], limits)?))),
        Some(_) => Err(too_long(bytes, limits)),
        None if bytes.len() > limits.head => Err(too_long(bytes, limits)),
        None => {
            if !bytes.contains(&b'\n') && bytes.len() > limits.target + REQUEST_LINE_OVERHEAD {
                return Err(&host::URI_TOO_LONG);
            }
            Ok(None)
        }
    }
}

/// The position behind the empty line. A line feed without its carriage return ends a line for some implementations and
/// not for others, so it ends none here.
fn end(bytes: &[u8], scanned: usize) -> Result<Option<usize>, &'static ErrorSpec> {
    if bytes.first().is_some_and(|first| !first.is_ascii_graphic()) {
        return Err(&host::BAD_REQUEST);
    }
    let mut from = scanned;
    while let Some(offset) = bytes[from..].iter().position(|byte| *byte == b'\n') {
        let line_feed = from + offset;
        if line_feed == 0 || bytes[line_feed - 1] != b'\r' {
            return Err(&host::BAD_REQUEST);
        }
        if line_feed >= 3 && bytes[line_feed - 3..].starts_with(b"\r\n") {
            return Ok(Some(line_feed + 1));
        }
        from = line_feed + 1;
    }
    Ok(None)
}

fn too_long(bytes: &[u8], limits: HeadLimits) -> &'static ErrorSpec {
    let line = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(bytes.len());
    match line > limits.target + REQUEST_LINE_OVERHEAD {
        true => &host::URI_TOO_LONG,
        false => &host::HEADERS_TOO_LARGE,
    }
}

fn inspect(head: &mut [u8], limits: HeadLimits) -> Result<Framing, &'static ErrorSpec> {
    lower_minor_version(head);
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut headers) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(&host::BAD_REQUEST),
        Err(Error::TooManyHeaders) => return Err(&host::HEADERS_TOO_LARGE),
        Err(Error::Version) if has_other_version(head) => return Err(&host::VERSION_NOT_SUPPORTED),
        Err(_) => return Err(&host::BAD_REQUEST),
    }
    let target = request.path.unwrap_or_default();
    if target.len() > limits.target {
        return Err(&host::URI_TOO_LONG);
    }
    // RFC 9112 (3.2): no form has a fragment. A proxy may have taken it for a part of the path.
    if target.contains('#') {
        return Err(&host::BAD_REQUEST);
    }
    let uri = Uri::try_from(target).map_err(|_| &host::BAD_REQUEST)?;
    // RFC 9112 (3.2): an authority alone is the target of a tunnel, and of nothing else.
    let is_authority = uri.scheme().is_none() && uri.authority().is_some();
    if is_authority && request.method != Some("CONNECT") {
        return Err(&host::BAD_REQUEST);
    }
    let values = |name: &'static str| {
        let headers = request.headers.iter();
        headers.filter_map(move |header| header.name.eq_ignore_ascii_case(name).then_some(header.value))
    };
    let chunked = is_chunked(values("transfer-encoding"))?;
    let mut lengths = values("content-length");
    match (chunked, lengths.next(), lengths.next()) {
        (false, None, _) => Ok(Framing::Length(0)),
        (false, Some(length), None) => parse_length(length).map(Framing::Length),
        (true, None, _) if request.version == Some(1) => Ok(Framing::Chunked),
        // Two lengths, or a length and chunks, or chunks in HTTP/1.0: a proxy may have seen another end of the body.
        _ => Err(&host::BAD_REQUEST),
    }
}

/// Makes a later minor version 1.1, as RFC 9110 (2.5) has it.
fn lower_minor_version(head: &mut [u8]) {
    let Some(end) = head.iter().position(|byte| *byte == b'\r') else {
        return;
    };
    if let Some([b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9']) = head[..end].last_chunk_mut() {
        *minor = b'1';
    }
}

/// Whether the request line ends with the version of another HTTP than 1.
fn has_other_version(head: &[u8]) -> bool {
    let end = head.iter().position(|byte| *byte == b'\r').unwrap_or_default();
    matches!(
        head[..end].last_chunk(),
        Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor]) if major.is_ascii_digit() && *major != b'1' && minor.is_ascii_digit()
    )
}

fn parse_length(value: &[u8]) -> Result<u64, &'static ErrorSpec> {
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|digits| digits.parse().ok());
    length
        .filter(|length| *length <= i64::MAX as u64)
        .ok_or(&host::BAD_REQUEST)
}

/// Whether the body is chunked. Of the other codings that HTTP has, none is of use for a request.
fn is_chunked<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<bool, &'static ErrorSpec> {
    let mut codings = values
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    let Some(mut coding) = codings.next() else {
        return Ok(false);
    };
    let mut unknown = false;
    for next in codings {
        // Only the last coding may be `chunked`.
        if coding.is_empty() || coding.eq_ignore_ascii_case(b"chunked") {
            return Err(&host::BAD_REQUEST);
        }
        (coding, unknown) = (next, true);
    }
    match (coding.eq_ignore_ascii_case(b"chunked"), unknown) {
        (true, false) => Ok(true),
        (true, true) => Err(&host::NOT_IMPLEMENTED),
        (false, _) => Err(&host::BAD_REQUEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head: 400, target: 100 };

    fn scanned(head: &str) -> Result<Option<(usize, Framing)>, &'static ErrorSpec> {
        let mut bytes = head.as_bytes().to_vec();
        let whole = scan(&mut bytes.clone(), 0, LIMITS);
        for split in 1..bytes.len() {
            let before = scan(&mut bytes[..split], 0, LIMITS);
            let both = match before {
                Ok(None) => scan(&mut bytes, split, LIMITS),
                before => before,
            };
            assert_eq!(both.is_err(), whole.is_err(), "{head:?} split at {split}");
        }
        whole
    }

    fn framing(headers: &str) -> Result<Framing, u16> {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n");
        match scanned(&head) {
            Ok(Some((end, framing))) => {
                assert_eq!(end, head.len());
                Ok(framing)
            }
            Ok(None) => panic!("{headers} needs more bytes"),
            Err(error) => Err(error.status()),
        }
    }

    #[test]
    fn a_head_says_where_its_body_ends() {
        for (headers, expected) in [
            ("A: b", Ok(Framing::Length(0))),
            ("Content-Length: 12", Ok(Framing::Length(12))),
            ("transfer-encoding: Chunked", Ok(Framing::Chunked)),
            ("Content-Length: ", Err(400)),
            ("Content-Length: +1", Err(400)),
            ("Content-Length: 0x2", Err(400)),
            ("Content-Length: 1, 1", Err(400)),
            ("Content-Length: 99999999999999999999", Err(400)),
            ("Content-Length: 2\r\nContent-Length: 2", Err(400)),
            ("Content-Length: 2\r\nTransfer-Encoding: chunked", Err(400)),
            ("Transfer-Encoding: gzip, chunked", Err(501)),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", Err(501)),
            ("Transfer-Encoding: chunked, gzip", Err(400)),
            ("Transfer-Encoding: chunked, chunked", Err(400)),
            ("Transfer-Encoding: gzip", Err(400)),
            ("Transfer-Encoding: identity", Err(400)),
            ("Transfer-Encoding: xchunked", Err(400)),
            ("Transfer-Encoding:", Err(400)),
            ("Transfer-Encoding: chunked,", Err(400)),
            ("Transfer-Encoding : chunked", Err(400)),
            ("A: b\r\n c", Err(400)),
            ("A: b\rc", Err(400)),
            ("A: b\nc: d", Err(400)),
            ("A: \0", Err(400)),
            ("A b", Err(400)),
            (": b", Err(400)),
        ] {
            assert_eq!(framing(headers), expected, "{headers:?}");
        }
        let many = "A: b\r\n".repeat(MAX_HEADERS);
        let limits = HeadLimits { head: 4000, ..LIMITS };
        let mut head = format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes();
        assert!(matches!(scan(&mut head, 0, limits), Ok(Some(_))));
        let mut head = format!("GET / HTTP/1.1\r\nA: b\r\n{many}\r\n").into_bytes();
        assert_eq!(scan(&mut head, 0, limits), Err(&host::HEADERS_TOO_LARGE));
    }

    #[test]
    fn a_request_line_is_checked() {
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100));
        let endless = format!("GET /{}", "a".repeat(200));
        for (head, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", 200),
            ("GET / HTTP/1.0\r\n\r\n", 200),
            ("GET / HTTP/1.7\r\n\r\n", 200),
            ("BREW coffee:pot HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\n\r\n", 505),
            ("GET / HTTP/3.0\r\n\r\n", 505),
            ("GET / HTTP/11\r\n\r\n", 400),
            ("GET / HTTX/1.1\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("GET  / HTTP/1.1\r\n\r\n", 400),
            ("GET /  HTTP/1.1\r\n\r\n", 400),
            ("GET http:///a HTTP/1.1\r\n\r\n", 400),
            ("GET /a#b HTTP/1.1\r\n\r\n", 400),
            ("GET http://a/?b#c HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1 \r\n\r\n", 400),
            ("GET /\t HTTP/1.1\r\n\r\n", 400),
            ("G(T / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\n\n", 400),
            ("\x16\x03\x01", 400),
            ("GET / HTTP/1.1\r\nHost", 0),
            (&long, 414),
            (&endless, 414),
        ] {
            let status = match scanned(head) {
                Ok(Some(_)) => 200,
                Ok(None) => 0,
                Err(error) => error.status(),
            };
            assert_eq!(status, expected, "{head:?}");
        }
    }
}
