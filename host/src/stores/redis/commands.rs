//! Which commands may share a connection.

/// The connection that a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Any: the command stands alone.
    Shared,
    /// One of its own: the command changes or blocks its connection.
    Dedicated,
    /// None: its replies do not correspond to requests one by one.
    Refused,
}

/// The connection that the command `name` needs.
pub(super) fn sharing(name: &str) -> Sharing {
    let is_in = |list: &[&str]| list.iter().any(|listed| listed.eq_ignore_ascii_case(name));
    if is_in(&REFUSED) {
        Sharing::Refused
    } else if is_in(&DEDICATED) {
        Sharing::Dedicated
    } else {
        Sharing::Shared
    }
}

const DEDICATED: [&str; 33] = [
    "ASKING",
    "AUTH",
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MULTI",
    "READONLY",
    "READWRITE",
    "RESET",
    "SELECT",
    "SWAPDB",
    "UNWATCH",
    "WAIT",
    "WAITAOF",
    "WATCH",
    "XREAD",
    "XREADGROUP",
    "SCRIPT",
    "FUNCTION",
    "DEBUG",
    "QUIT",
    "REPLICAOF",
    "SLAVEOF",
    "SHUTDOWN",
];

const REFUSED: [&str; 9] = [
    "MONITOR",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_apart_in_any_case() {
        for (name, expected) in [
            ("SET", Sharing::Shared),
            ("eval", Sharing::Shared),
            ("multi", Sharing::Dedicated),
            ("BLPOP", Sharing::Dedicated),
            ("Subscribe", Sharing::Refused),
        ] {
            assert_eq!(sharing(name), expected, "{name}");
        }
    }
}
