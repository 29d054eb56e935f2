//! Why Redis did not do what it was asked.

use spin_sdk::redis::Error;

/// Redis refused a command or did not answer. Callers continue without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) Reason);

impl Failure {
    /// Returns whether Redis has answered, so that another command may succeed.
    pub(super) fn is_answer(self) -> bool {
        self.0.is_answer()
    }

    /// Returns the stable word for clients.
    pub(crate) fn code(self) -> &'static str {
        self.0.code()
    }

    /// The failure of a command whose reply is not one that its command has.
    pub(crate) fn unexpected_reply() -> Self {
        Self(Reason::Refused)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// The kind of a failure, as `/readyz` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
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

reasons! {
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
    /// Any other refusal.
    Refused = "redis_error",
}

/// What hosts write about each kind of refusal, in lower case: Redis's own code, or its name in the client library.
const WORDS: [(&str, Reason); 23] = [
    ("crossslot", Reason::Cluster),
    ("clusterdown", Reason::Cluster),
    ("tryagain", Reason::Cluster),
    ("moved", Reason::Cluster),
    ("ask", Reason::Cluster),
    ("readonly", Reason::ReadOnly),
    ("oom", Reason::OutOfMemory),
    ("noperm", Reason::NotPermitted),
    ("noauth", Reason::Unauthenticated),
    ("wrongpass", Reason::Unauthenticated),
    ("authenticationfailed", Reason::Unauthenticated),
    ("misconf", Reason::NotWritable),
    ("noreplicas", Reason::NotWritable),
    ("masterdown", Reason::NotWritable),
    ("loading", Reason::Busy),
    ("busyloading", Reason::Busy),
    ("busy", Reason::Busy),
    ("wrongtype", Reason::WrongType),
    ("typeerror", Reason::WrongType),
    ("responseerror", Reason::Refused),
    ("noscript", Reason::Refused),
    ("execabort", Reason::Refused),
    ("err", Reason::Refused),
];

impl Reason {
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
            if let Some((_, reason)) = WORDS.iter().find(|(known, _)| *known == word) {
                return *reason;
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
        for (text, reason) in [
            (
                "CrossSlot: Keys in request don't hash to the same slot",
                Reason::Cluster,
            ),
            ("Moved: 7360 127.0.0.1:7001", Reason::Cluster),
            (
                "ReadOnly: You can't write against a read only replica.",
                Reason::ReadOnly,
            ),
            (
                "\"OOM\": command not allowed when used memory > 'maxmemory'.",
                Reason::OutOfMemory,
            ),
            (
                "NoPerm: User 'x' has no permissions to run the 'eval' command",
                Reason::NotPermitted,
            ),
            ("BusyLoading: Redis is loading the dataset in memory", Reason::Busy),
            (
                "\"MISCONF\": Redis is configured to save RDB snapshots",
                Reason::NotWritable,
            ),
            ("\"NOAUTH\": Authentication required.", Reason::Unauthenticated),
            (
                "Password authentication failed - AuthenticationFailed: WRONGPASS",
                Reason::Unauthenticated,
            ),
            (
                "An error was signalled by the server - ReadOnly: You can't write",
                Reason::ReadOnly,
            ),
            ("ResponseError: unknown command 'EVAL'", Reason::Refused),
            ("Connection refused (os error 111)", Reason::Unreachable),
            ("Redis did not answer within 10s", Reason::Unreachable),
        ] {
            assert_eq!(Reason::of_text(text), reason, "{text}");
        }
    }

    #[test]
    fn every_reason_has_a_word_of_its_own() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(codes.iter().all(|code| code.starts_with("redis_")));
    }
}
