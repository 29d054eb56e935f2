//! The versions that a change expects.

use crate::{
    error::{ApiError, catalog::PRECONDITION_REQUIRED},
    http::RequestHead,
};

/// Returns the versions that `If-Match` names, separated by commas; `*` for any. A weak or foreign `ETag` matches no
/// version.
///
/// # Errors
/// 428 without the header.
pub(crate) fn expected_versions(head: &RequestHead) -> Result<String, ApiError> {
    let Some(header) = head.header("if-match") else {
        return Err((&PRECONDITION_REQUIRED).into());
    };
    if header.trim() == "*" {
        return Ok("*".to_owned());
    }
    let versions: Vec<_> = header.split(',').filter_map(version).collect();
    Ok(versions.join(","))
}

/// The version in a strong `ETag`.
fn version(tag: &str) -> Option<&str> {
    let version = tag.trim().strip_prefix('"')?.strip_suffix('"')?;
    version.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(version)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn only_strong_tags_of_this_service_are_versions() {
        let read = |headers: &[_]| expected_versions(&RequestHead::with_headers(Method::PATCH, headers)).ok();
        for (header, expected) in [
            ("\"0a1\"", "0a1"),
            (" \"0a1\" , \"0b2\"", "0a1,0b2"),
            ("W/\"0a1\", \"x,y\", 0a1", ""),
            (" * ", "*"),
            ("", ""),
        ] {
            assert_eq!(read(&[("If-Match", header)]).as_deref(), Some(expected), "{header}");
        }
        assert_eq!(read(&[]), None);
    }
}
