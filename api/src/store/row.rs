//! The row that a function of the schema `sugang` returns.

use spin_sdk::pg::DbValue;

use super::{error::DbError, outcome::Outcome};
use crate::error::{
    ApiError,
    catalog::{IDEMPOTENCY_KEY_REUSED, REQUEST_IN_PROGRESS},
};

/// The row that a function returns.
#[derive(Debug)]
pub(crate) struct FunctionRow {
    pub(crate) outcome: Outcome,
    /// JSON: a response that is ready to send, or the payload of one.
    pub(crate) body: String,
    /// Lists: the number of results on all pages.
    pub(crate) count: i64,
    /// Lists: the number of this page.
    pub(crate) page: i64,
    /// Lists: the number of the last page.
    pub(crate) pages: i64,
    /// Whether the row repeats the outcome of an earlier request with the same idempotency key.
    pub(crate) replayed: bool,
}

impl FunctionRow {
    /// Reads the row of `function` by the position of its columns, as [`super::functions`] selects them.
    pub(super) fn decode(row: Option<Vec<DbValue>>, function: &str) -> Result<Self, DbError> {
        let unknown = || DbError::foreign_answer(function);
        let mut values = row.ok_or_else(unknown)?.into_iter();
        match values.next() {
            Some(DbValue::Str(answered)) if answered == function => {}
            _ => return Err(unknown()),
        }
        let mut text = || match values.next() {
            Some(DbValue::Str(text)) => Ok(text),
            Some(_) => Ok(String::new()),
            None => Err(unknown()),
        };
        let (word, body) = (text()?, text()?);
        let outcome =
            Outcome::from_word(&word).ok_or_else(|| DbError::Defect(format!("unexpected outcome {word:?}")))?;
        let number = |value: &DbValue| match value {
            DbValue::Int64(number) => *number,
            _ => 0,
        };
        let (counts, replayed) = match values.as_slice() {
            [] => ([0; 3], false),
            [replayed] => ([0; 3], matches!(replayed, DbValue::Boolean(true))),
            [count, page, pages] => ([count, page, pages].map(number), false),
            _ => return Err(unknown()),
        };
        let [count, page, pages] = counts;
        Ok(Self {
            outcome,
            body,
            count,
            page,
            pages,
            replayed,
        })
    }

    /// The error for an outcome that the function of the caller never returns.
    pub(crate) fn unexpected(&self) -> ApiError {
        ApiError::internal(format!("unexpected outcome {:?}", self.outcome.word()))
    }

    /// The error for an outcome of the idempotency key.
    pub(crate) fn idempotency_error(&self) -> ApiError {
        match self.outcome {
            Outcome::KeyReused => (&IDEMPOTENCY_KEY_REUSED).into(),
            Outcome::InProgress => (&REQUEST_IN_PROGRESS).into(),
            _ => self.unexpected(),
        }
    }

    /// Reads the payload in the body.
    ///
    /// # Errors
    /// 500 if the body is not what the caller expects of the function.
    pub(crate) fn payload<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        serde_json::from_str(&self.body)
            .map_err(|_| ApiError::internal(format!("unexpected payload with outcome {:?}", self.outcome.word())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_decoded_by_position() {
        let decoded = |rest: &[DbValue]| {
            let row = [&["list_test", "ok", "[]"].map(|text| DbValue::Str(text.into())), rest].concat();
            let row = FunctionRow::decode(Some(row), "list_test").unwrap();
            assert_eq!((row.outcome, row.body.as_str()), (Outcome::Ok, "[]"));
            (row.count, row.page, row.pages, row.replayed)
        };
        assert_eq!(decoded(&[]), (0, 0, 0, false));
        assert_eq!(decoded(&[DbValue::Boolean(true)]), (0, 0, 0, true));
        assert_eq!(decoded(&[DbValue::DbNull]), (0, 0, 0, false));
        assert_eq!(decoded(&[41, 2, 3].map(DbValue::Int64)), (41, 2, 3, false));
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| DbValue::Str((*text).into())).collect());
        let word_of_tomorrow = FunctionRow::decode(texts(&["list_test", "of_tomorrow", "[]"]), "list_test");
        assert!(matches!(word_of_tomorrow, Err(DbError::Defect(_))));
    }

    #[test]
    fn a_row_of_another_statement_is_no_answer() {
        let foreign = |row| {
            let error = FunctionRow::decode(row, "get_test").unwrap_err();
            assert!(
                matches!(error, DbError::ConnectionLost { sent: true, .. }),
                "it may have taken effect: {error:?}"
            );
        };
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| DbValue::Str((*text).into())).collect());
        foreign(None);
        foreign(texts(&[]));
        foreign(texts(&["ok", "[]"]));
        foreign(texts(&["get_course", "ok", "[]"]));
        foreign(texts(&["get_test", "ok"]));
        foreign(Some(vec![DbValue::DbNull; 3]));
        foreign(texts(&["get_test", "ok", "[]", "1", "2"]));
        foreign(texts(&["get_test", "ok", "[]", "1", "2", "3", "4"]));
    }
}
