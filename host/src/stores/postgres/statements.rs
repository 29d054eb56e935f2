//! Statements: which of them may share a connection, and the prepared ones of a session.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio_postgres::{Statement, error::SqlState};

/// First words of statements that neither begin nor end a transaction. The extended protocol takes one statement at a
/// time, so the first word decides.
const SINGLE: [&str; 8] = [
    "select", "with", "insert", "update", "delete", "merge", "values", "table",
];

/// Whether a statement can neither begin nor end a transaction.
pub(super) fn is_single(sql: &str) -> bool {
    let word = sql
        .trim_start()
        .split(|char: char| !char.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    SINGLE.iter().any(|single| single.eq_ignore_ascii_case(word))
}

/// Whether a prepared statement was refused because the tables under it, or the list of prepared statements, changed.
pub(super) fn is_outdated(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        let replanned =
            *error.code() == SqlState::FEATURE_NOT_SUPPORTED && error.routine() == Some("RevalidateCachedQuery");
        replanned || *error.code() == SqlState::INVALID_SQL_STATEMENT_NAME
    })
}

/// The prepared statements of a session; the oldest makes room.
pub(super) struct StatementCache<S = Statement> {
    limit: usize,
    by_sql: HashMap<Arc<str>, S>,
    order: VecDeque<Arc<str>>,
}

impl<S: Clone> StatementCache<S> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            by_sql: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, sql: &str) -> Option<S> {
        self.by_sql.get(sql).cloned()
    }

    pub(super) fn put(&mut self, sql: &str, statement: S) {
        let sql: Arc<str> = sql.into();
        if self.by_sql.insert(sql.clone(), statement).is_none() {
            self.order.push_back(sql);
        }
        while self.order.len() > self.limit {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.by_sql.remove(&oldest));
        }
    }

    pub(super) fn remove(&mut self, sql: &str) {
        self.by_sql.remove(sql);
        self.order.retain(|known| &**known != sql);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_statements_are_told_by_their_first_word() {
        for sql in [
            "select 1",
            "  SELECT 1",
            "with x as (select 1) select 1",
            "Insert into t values (1)",
            "table t",
            "values (1)",
        ] {
            assert!(is_single(sql), "{sql}");
        }
        for sql in [
            "begin",
            "BEGIN;",
            "start transaction",
            "commit and chain",
            "savepoint a",
            "call p()",
            "do $$ begin end $$",
            "",
            "/* select */ begin",
            "-- select\nbegin",
            "selects",
            "set role x",
            "listen a",
            "prepare transaction 'a'",
        ] {
            assert!(!is_single(sql), "{sql}");
        }
    }

    #[test]
    fn the_oldest_statement_makes_room() {
        let mut cache = StatementCache::new(2);
        cache.put("a", 1);
        cache.put("b", 2);
        cache.put("a", 3);
        cache.put("c", 4);
        assert_eq!(
            (cache.get("a"), cache.get("b"), cache.get("c")),
            (None, Some(2), Some(4))
        );
        cache.remove("b");
        cache.put("d", 5);
        assert_eq!(
            (cache.get("b"), cache.get("c"), cache.get("d")),
            (None, Some(4), Some(5))
        );
    }
}
