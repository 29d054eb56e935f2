//! The id of a request, by which a client, the log and the database speak of the same request.

use std::{
    borrow::Cow,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use uuid::Uuid;

/// The header that carries the id, in lower case.
pub const HEADER: &str = "x-request-id";

/// The longest id that is accepted from a client, in bytes.
const MAX_LEN: usize = 128;

/// Returns the client's id if it is safe to log, else a new one.
///
/// `sent` is the value of [`HEADER`]. A borrowed result is the client's own id; an owned one is new.
pub fn resolve(sent: Option<&str>) -> Cow<'_, str> {
    match sent.filter(|id| is_safe(id)) {
        Some(id) => Cow::Borrowed(id),
        None => Cow::Owned(generate()),
    }
}

/// An id reaches logs, traces and the database, so it has neither spaces nor quotes nor line breaks.
fn is_safe(id: &str) -> bool {
    (1..=MAX_LEN).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Combines a random part for the process with a counter: unique, and without a system call for each request.
fn generate() -> String {
    static PROCESS: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().simple().to_string());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", *PROCESS, COUNT.fetch_add(1, Relaxed))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_safe_id_is_kept() {
        for id in ["a.B_9-z", "0", &"a".repeat(MAX_LEN)] {
            assert_eq!(resolve(Some(id)), Cow::Borrowed(id));
        }
    }

    #[test]
    fn an_unsafe_or_missing_id_is_replaced() {
        for id in ["", " ", "a b", "a\"b", "{}", "가", "a\nb", &"a".repeat(MAX_LEN + 1)] {
            assert!(matches!(resolve(Some(id)), Cow::Owned(_)), "{id:?}");
        }
        assert!(matches!(resolve(None), Cow::Owned(_)));
    }

    #[test]
    fn new_ids_are_unique_and_safe() {
        let (first, second) = (resolve(None), resolve(None));
        assert_ne!(first, second);
        assert_eq!(resolve(Some(&first)), first);
    }

    proptest! {
        #[test]
        fn every_id_is_printable_ascii(sent in any::<Option<String>>()) {
            let id = resolve(sent.as_deref());
            prop_assert!(!id.is_empty() && id.len() <= MAX_LEN && id.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
