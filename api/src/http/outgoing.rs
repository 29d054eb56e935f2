//! Requests to other servers, such as payment gateways.

use std::time::Duration;

use http::{Request, uri::Scheme as UriScheme};
use spin_sdk::wasip3::{
    self,
    http::{
        client,
        types::{self, ErrorCode, Fields, RequestOptions, Scheme},
    },
    wit_bindgen::StreamResult,
    wit_future, wit_stream,
};

/// The most bytes that are read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Status and body of another server's response.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendError {
    /// The host does not let the component ask this server: its configuration does not name it, or its address is not
    /// public.
    Denied,
    /// Surely nothing has reached the server.
    NotSent,
    /// The server may have done what it was asked for.
    Unknown,
}

/// Sends a request, and receives the whole response. To open a connection takes at most half of `limit`, so that a server
/// that cannot be reached is not mistaken for one that hangs. The caller bounds the whole.
///
/// # Errors
/// There is no response in time, or its body has more than `max_bytes`.
pub(crate) async fn send(request: Request<Vec<u8>>, limit: Duration, max_bytes: usize) -> Result<Received, SendError> {
    let response = begin(request, limit).await?;
    let status = response.get_status_code();
    Ok(Received {
        status,
        body: receive(response, max_bytes).await?,
    })
}

/// What is read of a response whose body is not received.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    /// The header `Retry-After`.
    pub(crate) retry_after: Option<String>,
}

/// Sends a request as [`send`] does, and does not receive the body of the response.
///
/// # Errors
/// There is no response in time.
pub(crate) async fn tell(request: Request<Vec<u8>>, limit: Duration) -> Result<Told, SendError> {
    let response = begin(request, limit).await?;
    let retry_after = response.get_headers().get("retry-after").into_iter().next();
    Ok(Told {
        status: response.get_status_code(),
        retry_after: retry_after.and_then(|value| String::from_utf8(value).ok()),
    })
}

async fn begin(request: Request<Vec<u8>>, limit: Duration) -> Result<types::Response, SendError> {
    let (head, body) = request.into_parts();
    let fields: Vec<(String, Vec<u8>)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .chain([("content-length".to_owned(), body.len().to_string().into_bytes())])
        .collect();
    let headers = Fields::from_list(&fields).map_err(|_| SendError::NotSent)?;
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (mut writer, contents) = wit_stream::new();
    let (outgoing, _transmitted) = types::Request::new(headers, Some(contents), end, Some(options(limit)));
    let scheme = match head.uri.scheme() {
        Some(scheme) if *scheme == UriScheme::HTTP => Scheme::Http,
        _ => Scheme::Https,
    };
    let target = head.uri.path_and_query().map(ToString::to_string);
    let is_valid = outgoing.set_method(&head.method.into()).is_ok()
        && outgoing.set_scheme(Some(&scheme)).is_ok()
        && outgoing
            .set_authority(head.uri.authority().map(|authority| authority.as_str()))
            .is_ok()
        && outgoing.set_path_with_query(target.as_deref()).is_ok();
    if !is_valid {
        return Err(SendError::NotSent);
    }
    wasip3::spawn(async move {
        // Both fail if the request has failed, which its sender learns.
        let _ = writer.write_all(body).await;
        drop(writer);
        let _ = trailers.write(Ok(None)).await;
    });
    client::send(outgoing).await.map_err(|error| kind_of(&error))
}

/// The limits that the host keeps.
fn options(limit: Duration) -> RequestOptions {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).ok();
    let options = RequestOptions::new();
    // A host that does not know one of them has a limit of its own.
    let _ = options.set_connect_timeout(nanoseconds(limit / 2));
    let _ = options.set_first_byte_timeout(nanoseconds(limit));
    let _ = options.set_between_bytes_timeout(nanoseconds(limit));
    options
}

/// Only what fails before there is a connection is surely not sent. Any other error, and one that is added later, may come
/// after the server has read the request.
fn kind_of(error: &ErrorCode) -> SendError {
    match error {
        ErrorCode::DnsTimeout
        | ErrorCode::DnsError(_)
        | ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::TlsProtocolError
        | ErrorCode::TlsCertificateError
        | ErrorCode::HttpRequestUriInvalid => SendError::NotSent,
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => SendError::Denied,
        _ => SendError::Unknown,
    }
}

/// Receives the body. A body that breaks off says nothing.
async fn receive(response: types::Response, max_bytes: usize) -> Result<Vec<u8>, SendError> {
    let (_result, result) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = types::Response::consume_body(response, result);
    let mut body = Vec::new();
    loop {
        let (status, chunk) = stream.read(Vec::with_capacity(CHUNK_BYTES)).await;
        body.extend_from_slice(&chunk);
        if body.len() > max_bytes {
            return Err(SendError::Unknown);
        }
        match status {
            StreamResult::Complete(_) => {}
            StreamResult::Dropped | StreamResult::Cancelled => break,
        }
    }
    match trailers.await {
        Ok(_) => Ok(body),
        Err(_) => Err(SendError::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fails_before_the_connection_is_not_sent() {
        for (error, expected) in [
            (ErrorCode::ConnectionRefused, SendError::NotSent),
            (ErrorCode::ConnectionTimeout, SendError::NotSent),
            (ErrorCode::TlsProtocolError, SendError::NotSent),
            (ErrorCode::HttpRequestDenied, SendError::Denied),
            (ErrorCode::ConnectionReadTimeout, SendError::Unknown),
            (ErrorCode::ConnectionTerminated, SendError::Unknown),
            (ErrorCode::HttpResponseIncomplete, SendError::Unknown),
            (ErrorCode::HttpResponseTimeout, SendError::Unknown),
            (ErrorCode::HttpProtocolError, SendError::Unknown),
            (ErrorCode::InternalError(None), SendError::Unknown),
        ] {
            assert_eq!(kind_of(&error), expected, "{error:?}");
        }
    }
}
