//! The request that hyper gets in place of one that was refused before it was one.

use std::fmt::Write as _;

/// The headers that the response depends on.
const KEPT: [&str; 3] = ["accept-language", "origin", "x-request-id"];

/// Makes it from the bytes that were received, as far as they can be understood.
pub(super) fn stand_in(received: &[u8]) -> String {
    let method = if received.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
    let mut request = format!("{method} / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for line in received.split(|byte| *byte == b'\n').skip(1) {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
            continue;
        };
        let (name, value) = (name.to_ascii_lowercase(), value.trim());
        if KEPT.contains(&name.as_str()) && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            _ = write!(request, "{name}: {value}\r\n");
        }
    }
    request + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_the_response_depends_on() {
        let received =
            b"HEAD /a\0 HTTP/1.1\r\nOrigin: https://a.example\r\nCookie: x\r\nX-Request-Id: \x01\r\nAccept-Language:en";
        assert_eq!(
            stand_in(received),
            "HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\norigin: https://a.example\r\naccept-language: en\r\n\r\n"
        );
        assert_eq!(
            stand_in(b"\xff"),
            "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        );
    }
}
