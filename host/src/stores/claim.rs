//! What a statement may have to wait for, as its text says.
//!
//! A statement may end with a comment: `/* sugang-host: lock_timeout=$4 user=$2/8 test=$3/4 */`. The fourth parameter is then
//! its `lock_timeout` in milliseconds, and it may wait for the row of a user that the second one identifies, together with at
//! most an eighth of the connections, and for one of a test.

use std::{
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

/// What one statement may have to wait for.
#[derive(Debug, Default)]
pub(super) struct Claim {
    /// A hash of the text.
    statement: Option<u64>,
    rows: Vec<Row>,
    lock_timeout: Option<LockTimeout>,
}

/// The time for which a statement waits for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LockTimeout {
    /// The number of the parameter that has it. With null there, the statement leaves that of its session.
    pub(super) parameter: usize,
    pub(super) limit: Duration,
}

/// What keeps a statement from its connection: others wait for the same row, or have the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Row,
    Kind,
}

/// A row for which a statement may have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// A hash of the name and of the value that identifies it.
    key: u64,
    /// The part of the connections that may wait for it: one in this number.
    part: usize,
}

impl Row {
    /// The number of connections, of all `connections`, that may wait for it.
    pub(super) fn share(&self, connections: usize) -> usize {
        (connections / self.part).max(1)
    }
}

impl Claim {
    /// Reads the comment of a statement. `parameter` returns the value of a parameter by its number, if it is a text or a
    /// 64-bit integer. What cannot be read claims no row and has no patience.
    pub(super) fn read(sql: &str, parameter: impl Fn(usize) -> Option<String>) -> Self {
        let mut claim = Self {
            statement: Some(hash(sql)),
            ..Self::default()
        };
        let comment = sql
            .strip_suffix("*/")
            .and_then(|sql| sql.rsplit_once("/* sugang-host:"));
        for (name, place) in comment
            .iter()
            .flat_map(|(_, comment)| comment.split_whitespace())
            .filter_map(|word| word.split_once("=$"))
        {
            let (number, part) = place.split_once('/').unwrap_or((place, "1"));
            let Ok(number) = number.parse() else {
                continue;
            };
            let (Some(value), Ok(part)) = (parameter(number), part.parse()) else {
                continue;
            };
            if name == "lock_timeout" {
                claim.lock_timeout = value.parse().ok().map(|milliseconds| LockTimeout {
                    parameter: number,
                    limit: Duration::from_millis(milliseconds),
                });
            } else if part > 0 {
                claim.rows.push(Row {
                    key: hash((name, value)),
                    part,
                });
            }
        }
        claim
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The time for which the statement waits for a lock; `None` if it has no limit of its own.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.lock_timeout.map(|lock_timeout| lock_timeout.limit)
    }

    /// The same, with its parameter.
    pub(super) fn lock_timeout(&self) -> Option<LockTimeout> {
        self.lock_timeout
    }

    /// Whether the other statement has the same text.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.statement.is_some() && self.statement == other.statement
    }

    /// Whether two statements wait for the same, if this is an obstacle to one of them.
    pub(super) fn competes(&self, other: &Self, obstacle: Obstacle) -> bool {
        match obstacle {
            Obstacle::Row => self.rows.iter().any(|row| other.rows.contains(row)),
            Obstacle::Kind => self.is_alike(other),
        }
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Claim {
        Claim::read(sql, |number| {
            ["f", "7", "9", "1000"]
                .get(number.checked_sub(1)?)
                .map(|&value| value.to_owned())
        })
    }

    #[test]
    fn a_comment_names_rows_and_the_lock_timeout() {
        let claim = read("select f($1, $2, $3) /* sugang-host: lock_timeout=$4 user=$2/8 test=$3/4 */");
        assert_eq!(claim.patience(), Some(Duration::from_secs(1)));
        let shares = claim.rows().iter().map(|row| row.share(20));
        assert_eq!(shares.collect::<Vec<_>>(), [2, 5]);
        assert_eq!(claim.rows()[0].share(4), 1);
        // Another statement for the same row, another row of the same name, and another name with the same value.
        let rows = |sql: &str| read(sql).rows().to_vec();
        assert_eq!(rows("select g($2) /* sugang-host: user=$2/8 */"), claim.rows()[..1]);
        assert_ne!(rows("select g($3) /* sugang-host: user=$3/8 */"), claim.rows()[..1]);
        assert_ne!(rows("select g($2) /* sugang-host: test=$2/8 */"), claim.rows()[..1]);
    }

    #[test]
    fn what_cannot_be_read_claims_nothing() {
        for sql in [
            "",
            "select 1",
            "select '/* sugang-host: user=$2/8 */'",
            "select 1 /* sugang-host: user=$2/8 */ limit 1",
            "select 1 /* user=$2/8 */",
            "select 1 /* sugang-host: user=$9/8 user=$0/8 user=$x user=$2/0 user=$2/-1 user=2 =$ */",
            "select 1 /* sugang-host: lock_timeout=$1 */",
        ] {
            let claim = read(sql);
            assert!(
                claim.rows().is_empty() && claim.patience().is_none(),
                "{sql}: {claim:?}"
            );
        }
    }
}
