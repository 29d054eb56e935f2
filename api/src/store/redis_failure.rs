//! Why Redis did not do what it was asked.

use spin_sdk::redis::Error;

macro_rules! failures {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// Why Redis refused a command or did not answer, as `/readyz` names it. Callers continue without it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Failure {
            $($(#[$doc])* $variant,)*
        }

        impl Failure {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the stable word for clients.
            pub(crate) fn code(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

failures! {
    /// No answer within the time.
    Slow = "redis_slow",
    /// No connection, or it broke.
    Unreachable = "redis_unreachable",
    /// The address is no address of a Redis.
    InvalidAddress = "redis_url_invalid",
    /// The user or the password is wrong or missing.
    Unauthenticated = "redis_unauthenticated",
    /// The user may not execute the command.
    NotPermitted = "redis_not_permitted",
    /// A replica, or a primary that was demoted.
    ReadOnly = "redis_read_only",
    /// A primary that cannot save, or has too few replicas to accept writes.
    NotWritable = "redis_not_writable",
    /// The memory limit is reached, and nothing may be evicted.
    OutOfMemory = "redis_out_of_memory",
    /// A node of a cluster that has no such key, or a cluster that is down.
    Cluster = "redis_cluster",
    /// Redis reads its data, or executes a script that does not end.
    Busy = "redis_busy",
    /// Another program uses our key.
    WrongType = "redis_wrong_type",
    /// Any other refusal, or a reply that the command does not have.
    Refused = "redis_error",
}

/// What hosts write about each kind of refusal, in lower case: Redis's own code, or its name in the client library.
const WORDS: [(&str, Failure); 24] = [
    // The embedded host: an earlier command was not answered either.
    ("silent", Failure::Slow),
    ("crossslot", Failure::Cluster),
    ("clusterdown", Failure::Cluster),
    ("tryagain", Failure::Cluster),
    ("moved", Failure::Cluster),
    ("ask", Failure::Cluster),
    ("readonly", Failure::ReadOnly),
    ("oom", Failure::OutOfMemory),
    ("noperm", Failure::NotPermitted),
    ("noauth", Failure::Unauthenticated),
    ("wrongpass", Failure::Unauthenticated),
    ("authenticationfailed", Failure::Unauthenticated),
    ("misconf", Failure::NotWritable),
    ("noreplicas", Failure::NotWritable),
    ("masterdown", Failure::NotWritable),
    ("loading", Failure::Busy),
    ("busyloading", Failure::Busy),
    ("busy", Failure::Busy),
    ("wrongtype", Failure::WrongType),
    ("typeerror", Failure::WrongType),
    ("responseerror", Failure::Refused),
    ("noscript", Failure::Refused),
    ("execabort", Failure::Refused),
    ("err", Failure::Refused),
];

impl Failure {
    /// Classifies an error of the host's interface.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidAddress => Self::InvalidAddress,
            Error::TypeError => Self::WrongType,
            Error::TooManyConnections => Self::Unreachable,
            Error::Other(text) => Self::of_text(text),
        }
    }

    /// Finds the code of Redis in a text. Text without one is the host's: there was no answer.
    fn of_text(text: &str) -> Self {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        // A refusal begins with its code; what follows may quote anything.
        let head = words.filter(|word| !word.is_empty()).take(12);
        for word in head {
            let word = word.to_ascii_lowercase();
            if let Some((_, failure)) = WORDS.iter().find(|(known, _)| *known == word) {
                return *failure;
            }
        }
        Self::Unreachable
    }

    /// Returns whether Redis has answered, so that another command may succeed.
    pub(super) fn is_answer(self) -> bool {
        !matches!(
            self,
            Self::Slow | Self::Unreachable | Self::InvalidAddress | Self::Unauthenticated
        )
    }

    /// Returns whether a new connection may lead to another server, after a failover for one.
    pub(super) fn needs_new_connection(self) -> bool {
        !self.is_answer() || matches!(self, Self::ReadOnly | Self::NotWritable | Self::Cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_classified_by_its_code() {
        for (text, failure) in [
            (
                "CrossSlot: Keys in request don't hash to the same slot",
                Failure::Cluster,
            ),
            ("Moved: 7360 127.0.0.1:7001", Failure::Cluster),
            (
                "ReadOnly: You can't write against a read only replica.",
                Failure::ReadOnly,
            ),
            (
                "\"OOM\": command not allowed when used memory > 'maxmemory'.",
                Failure::OutOfMemory,
            ),
            (
                "NoPerm: User 'x' has no permissions to run the 'eval' command",
                Failure::NotPermitted,
            ),
            ("BusyLoading: Redis is loading the dataset in memory", Failure::Busy),
            (
                "\"MISCONF\": Redis is configured to save RDB snapshots",
                Failure::NotWritable,
            ),
            ("\"NOAUTH\": Authentication required.", Failure::Unauthenticated),
            (
                "Password authentication failed - AuthenticationFailed: WRONGPASS",
                Failure::Unauthenticated,
            ),
            (
                "An error was signalled by the server - ReadOnly: You can't write",
                Failure::ReadOnly,
            ),
            ("ResponseError: unknown command 'EVAL'", Failure::Refused),
            ("Connection refused (os error 111)", Failure::Unreachable),
            ("Redis did not answer within 10s", Failure::Unreachable),
        ] {
            assert_eq!(Failure::of_text(text), failure, "{text}");
        }
    }

    #[test]
    fn every_failure_has_a_word_of_its_own() {
        let mut codes: Vec<_> = Failure::ALL.iter().map(|failure| failure.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Failure::ALL.len());
        assert!(codes.iter().all(|code| code.starts_with("redis_")));
    }
}
