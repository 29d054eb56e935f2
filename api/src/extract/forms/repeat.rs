//! The form by which an operator repeats an exam or a course.

use serde_json::value::RawValue;
use sugang_sdk::types::{Date, RepeatItem};

use super::{
    reader::FormReader,
    text::{integer, text},
};
use crate::{
    error::{ApiError, FieldProblem},
    extract::{body::Object, query::is_day},
};

/// The most copies that one request creates.
pub(crate) const MAX_COPIES: i64 = 500;

/// Reads how an item is to be repeated. The database knows the time zones.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn repeat(object: &Object<'_>) -> Result<RepeatItem, ApiError> {
    let mut form = FormReader::new(object);
    let every = form.text("every");
    let every = every.and_then(|word| form.keep("every", word.parse().map_err(|_| FieldProblem::InvalidChoice)));
    let until = form.nullable("until", |raw| day(raw).map(Some)).flatten();
    let count = match until {
        Some(_) => form.nullable("count", |raw| copies(raw).map(Some)).flatten(),
        None => form.value("count").and_then(|raw| form.keep("count", copies(raw))),
    };
    match (every, form.text("time_zone")) {
        (Some(every), Some(time_zone)) if form.problems.is_empty() => Ok(RepeatItem {
            every,
            count,
            until,
            time_zone,
        }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

fn copies(raw: &RawValue) -> Result<i64, FieldProblem> {
    match integer(raw)? {
        count if count < 1 => Err(FieldProblem::NotPositive),
        count if count > MAX_COPIES => Err(FieldProblem::TooLarge(MAX_COPIES)),
        count => Ok(count),
    }
}

fn day(raw: &RawValue) -> Result<Date, FieldProblem> {
    let day = text(raw).ok().filter(|day| is_day(day));
    day.and_then(|day| day.parse().ok()).ok_or(FieldProblem::InvalidDate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn a_repetition_has_an_end() {
        for json in [
            r#"{"every":"week","count":500,"time_zone":"Asia/Seoul"}"#,
            r#"{"every":"month","until":"2026-12-31","count":null,"time_zone":"Asia/Seoul"}"#,
            r#"{"every":"day","until":"2026-12-31","count":"3","time_zone":"Asia/Seoul"}"#,
        ] {
            assert!(repeat(&object(json)).is_ok(), "{json}");
        }
        for (json, expected) in [
            (
                "{}",
                concat!(
                    r#"{"count":["This field is required."],"every":["This field is required."],"#,
                    r#""time_zone":["This field is required."]}"#
                ),
            ),
            (
                r#"{"every":"year","until":"2026-2-1","count":0,"time_zone":" "}"#,
                concat!(
                    r#"{"count":["Ensure this value is greater than 0."],"every":["This is not a valid choice."],"#,
                    r#""time_zone":["This field may not be blank."],"until":["Date has wrong format. Use YYYY-MM-DD."]}"#
                ),
            ),
            (
                r#"{"every":"day","count":501,"time_zone":"UTC"}"#,
                r#"{"count":["Ensure this value is less than or equal to 500."]}"#,
            ),
        ] {
            assert_eq!(problems(repeat(&object(json))), expected, "{json}");
        }
    }
}
