//! The ids of a request, by which a client, the log and the database speak of the same request.
//!
//! The server gives each request an id of its own, which is the one in the database: a client cannot make two requests
//! look like one. The id that a client or a proxy sends stands beside it in the log, and comes back in the response.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use uuid::Uuid;

/// The header that carries the client's id, and that of the response, in lower case.
pub const HEADER: &str = "x-request-id";

/// The header by which the embedded host tells the component the server's own id, in lower case. Clients cannot send it
/// there: the host removes it, like every other header that begins with `spin-`.
pub const OWN_HEADER: &str = "spin-request-id";

/// The environment variable by which the embedded host makes itself known to the component. Without it, [`OWN_HEADER`] is a
/// client's.
pub const HOST_VARIABLE: &str = "SUGANG_HOST";

/// The longest id that is accepted from a client, in bytes.
const MAX_LEN: usize = 128;

/// The ids of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIds {
    /// The server's own id, which no other request has.
    pub own: String,
    /// The client's id, if it sent one that is safe to log.
    pub client: Option<String>,
}

impl RequestIds {
    /// Takes the client's id (the value of [`HEADER`]) if it is safe to log, and `own`, or a new id.
    pub fn new(own: Option<String>, client: Option<&str>) -> Self {
        Self {
            own: own.unwrap_or_else(generate),
            client: client.filter(|id| is_safe(id)).map(str::to_owned),
        }
    }

    /// The id in the response: the client's, else the server's own.
    pub fn shown(&self) -> &str {
        self.client.as_ref().unwrap_or(&self.own)
    }
}

/// An id reaches logs and traces, so it has neither spaces nor quotes nor line breaks.
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
    fn a_safe_id_stands_beside_the_own_one() {
        for id in ["a.B_9-z", "0", &"a".repeat(MAX_LEN)] {
            let ids = RequestIds::new(None, Some(id));
            assert_eq!((ids.client.as_deref(), ids.shown()), (Some(id), id));
            assert_ne!(ids.own, id);
        }
    }

    #[test]
    fn an_unsafe_or_missing_id_is_replaced() {
        for id in [
            "",
            " ",
            "a b",
            "a\"b",
            "{}",
            "가",
            "a\nb",
            "\u{1b}[2J",
            &"a".repeat(MAX_LEN + 1),
        ] {
            let ids = RequestIds::new(None, Some(id));
            assert_eq!((&ids.client, ids.shown()), (&None, &*ids.own), "{id:?}");
        }
        assert_eq!(RequestIds::new(None, None).client, None);
    }

    #[test]
    fn own_ids_are_unique_and_safe() {
        let (first, second) = (RequestIds::new(None, None), RequestIds::new(None, None));
        assert_ne!(first.own, second.own);
        assert!(is_safe(&first.own));
        assert_eq!(RequestIds::new(Some("r-1".to_owned()), Some("c-1")).own, "r-1");
    }

    proptest! {
        #[test]
        fn every_id_is_printable_ascii(sent in any::<Option<String>>()) {
            let ids = RequestIds::new(None, sent.as_deref());
            let id = ids.shown();
            prop_assert!(!id.is_empty() && id.len() <= MAX_LEN && id.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
