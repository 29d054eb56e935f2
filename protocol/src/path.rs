//! The path of a request, as routes compare it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Decodes the path of a request's target, and removes one slash at its end: `/lo%67in/` and `/login` are one path.
///
/// By it the host chooses the instances that serve the request, and the component the operation. If they disagreed, a
/// client could have a password hashed where lists are served. Returns `None` for what is not UTF-8, and matches no route.
pub fn canonical(path: &str) -> Option<Cow<'_, str>> {
    Some(match percent_decode_str(path).decode_utf8().ok()? {
        Cow::Borrowed(path) => Cow::Borrowed(path.strip_suffix('/').unwrap_or(path)),
        Cow::Owned(mut path) => {
            if path.ends_with('/') {
                path.pop();
            }
            Cow::Owned(path)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_decoded_once() {
        for (path, expected) in [
            ("/login", "/login"),
            ("/login/", "/login"),
            ("/lo%67in", "/login"),
            ("/%6c%6F%67in%2F", "/login"),
            ("/lo%2567in", "/lo%67in"),
            ("/login//", "/login/"),
            ("//login", "//login"),
            ("/%zz%", "/%zz%"),
            ("/", ""),
        ] {
            assert_eq!(canonical(path).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(canonical("/%ff"), None);
    }
}
