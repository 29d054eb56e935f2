//! Methods as a log may show them.

/// Returns a method as a log may show it: `other` for one that is not usual, since a client can make up any word.
pub fn method_for_log(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => method,
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_method_is_not_shown() {
        assert_eq!(method_for_log("PATCH"), "PATCH");
        for method in ["get", "TRACE", "%0aMARK", ""] {
            assert_eq!(method_for_log(method), "other");
        }
    }
}
