//! The forms by which an operator creates and edits an exam or a course.

use serde_json::value::RawValue;
use sugang_sdk::types::{DateTime, EditItem, Money, NewItem};

use super::{
    amount::amount,
    reader::FormReader,
    text::{flag, integer, text},
};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
    text::nfc,
};

/// The fields of a new item.
pub(crate) const FIELDS: [&str; 7] = [
    "title",
    "description",
    "price",
    "capacity",
    "start_at",
    "end_at",
    "hidden",
];
/// Those that every new item needs.
pub(crate) const REQUIRED: [&str; 4] = ["title", "price", "start_at", "end_at"];

/// The length of the column `title`.
pub(crate) const MAX_TITLE_CHARS: usize = 255;
/// The largest number of the column `capacity`.
const MAX_CAPACITY: i64 = i32::MAX as i64;

/// Reads a new item.
///
/// # Errors
/// 400 with every field that is wrong by itself. The database compares the fields with each other.
pub(crate) fn new_item(object: &Object<'_>) -> Result<NewItem, ApiError> {
    let mut form = FormReader::new(object);
    let fields = (
        title(&mut form),
        description(&mut form),
        price(&mut form),
        capacity(&mut form),
        time(&mut form, "start_at"),
        time(&mut form, "end_at"),
        hidden(&mut form, object),
    );
    match fields {
        (Some(title), description, Some(price), capacity, Some(start_at), Some(end_at), hidden)
            if form.problems.is_empty() =>
        {
            Ok(NewItem {
                title,
                description: description.flatten(),
                price,
                capacity: capacity.flatten(),
                start_at,
                end_at,
                hidden: hidden.unwrap_or_default(),
            })
        }
        _ => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads the fields of an item that are to change.
///
/// # Errors
/// Those of [`new_item`], of the fields that are there.
pub(crate) fn edit_item(object: &Object<'_>) -> Result<EditItem, ApiError> {
    let mut form = FormReader::new(object);
    let has = |name: &str| object.contains_key(name);
    let edit = EditItem {
        title: has("title").then(|| title(&mut form)).flatten(),
        description: description(&mut form),
        price: has("price").then(|| price(&mut form)).flatten(),
        capacity: capacity(&mut form),
        start_at: has("start_at").then(|| time(&mut form, "start_at")).flatten(),
        end_at: has("end_at").then(|| time(&mut form, "end_at")).flatten(),
        hidden: hidden(&mut form, object),
    };
    match form.problems.is_empty() {
        true => Ok(edit),
        false => Err(ApiError::Fields(form.problems)),
    }
}

fn title(form: &mut FormReader<'_>) -> Option<String> {
    let title = form.text("title");
    form.check("title", title.as_deref(), |title| {
        [(title.chars().count() > MAX_TITLE_CHARS).then_some(FieldProblem::TooLong(MAX_TITLE_CHARS))]
    });
    title
}

/// A blank description is none.
fn description(form: &mut FormReader<'_>) -> Option<Option<String>> {
    form.nullable("description", |raw| match text(raw) {
        Err(FieldProblem::Blank) => Ok(None),
        text => text.map(|text| Some(nfc(&text).into_owned())),
    })
}

fn price(form: &mut FormReader<'_>) -> Option<Money> {
    let price = amount(form.value("price")?).map_err(|problem| match problem {
        FieldProblem::NotPositive => FieldProblem::Negative,
        other => other,
    });
    form.keep("price", price)
}

fn capacity(form: &mut FormReader<'_>) -> Option<Option<i64>> {
    form.nullable("capacity", |raw| seats(raw).map(Some))
}

/// Reads a number of seats from a number or a text.
fn seats(raw: &RawValue) -> Result<i64, FieldProblem> {
    match integer(raw)? {
        seats if seats < 0 => Err(FieldProblem::Negative),
        seats if seats > MAX_CAPACITY => Err(FieldProblem::TooLarge(MAX_CAPACITY)),
        seats => Ok(seats),
    }
}

fn time(form: &mut FormReader<'_>, name: &'static str) -> Option<DateTime> {
    let raw = form.value(name)?;
    form.keep(name, instant(raw))
}

/// Reads a time with its offset, to the microsecond, as PostgreSQL keeps it.
pub(super) fn instant(raw: &RawValue) -> Result<DateTime, FieldProblem> {
    use chrono::{Datelike, SubsecRound};

    let text = text(raw).map_err(|_| FieldProblem::InvalidTime)?;
    let time = chrono::DateTime::parse_from_rfc3339(&text).map_err(|_| FieldProblem::InvalidTime)?;
    let time = time.to_utc().trunc_subsecs(6);
    match time.year() {
        1..=9999 => Ok(time),
        _ => Err(FieldProblem::InvalidTime),
    }
}

fn hidden(form: &mut FormReader<'_>, object: &Object<'_>) -> Option<bool> {
    object.get("hidden")?;
    let raw = form.value("hidden")?;
    form.keep("hidden", flag(raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn a_new_item_names_its_wrong_fields() {
        const GOOD: &str =
            r#""title":" 가 ","price":0,"start_at":"2026-11-01T09:00:00+09:00","end_at":"2026-11-30t00:00:00z""#;
        let read = new_item(&object(&format!("{{{GOOD},\"description\":\" \"}}")))
            .ok()
            .unwrap();
        assert_eq!(
            serde_json::to_string(&read).unwrap(),
            concat!(
                r#"{"title":"가","description":null,"price":"0.00","capacity":null,"#,
                r#""start_at":"2026-11-01T00:00:00Z","end_at":"2026-11-30T00:00:00Z","hidden":false}"#
            )
        );
        for (json, expected) in [
            (
                "{}".to_owned(),
                concat!(
                    r#"{"end_at":["This field is required."],"price":["This field is required."],"#,
                    r#""start_at":["This field is required."],"title":["This field is required."]}"#
                ),
            ),
            (
                format!("{{{GOOD},\"price\":\"-0.01\",\"capacity\":-1,\"description\":[]}}"),
                concat!(
                    r#"{"capacity":["Ensure this value is greater than or equal to 0."],"description":["Not a valid string."],"#,
                    r#""price":["Ensure this value is greater than or equal to 0."]}"#
                ),
            ),
            (
                format!("{{{GOOD},\"title\":\"{}\",\"capacity\":2147483648}}", "가".repeat(256)),
                concat!(
                    r#"{"capacity":["Ensure this value is less than or equal to 2147483647."],"#,
                    r#""title":["Ensure this field has no more than 255 characters."]}"#
                ),
            ),
        ] {
            assert_eq!(problems(new_item(&object(&json))), expected, "{json}");
        }
        for capacity in ["1.5", "1e1", "\"many\"", "true", "[]"] {
            let wrong = problems(new_item(&object(&format!("{{{GOOD},\"capacity\":{capacity}}}"))));
            assert_eq!(wrong, r#"{"capacity":["A valid integer is required."]}"#, "{capacity}");
        }
    }

    #[test]
    fn an_item_is_hidden_or_not() {
        let read = |hidden: &str| edit_item(&object(&format!("{{\"hidden\":{hidden}}}")));
        for (json, hidden) in [
            ("true", true),
            ("false", false),
            ("\"true\"", true),
            ("\"false\"", false),
        ] {
            assert_eq!(read(json).ok().unwrap().hidden, Some(hidden), "{json}");
        }
        for json in ["1", "0", "\"\"", "\"yes\"", "[]", "{}"] {
            assert_eq!(
                problems(read(json)),
                r#"{"hidden":["Must be a valid boolean."]}"#,
                "{json}"
            );
        }
        assert_eq!(problems(read("null")), r#"{"hidden":["This field may not be null."]}"#);
    }

    #[test]
    fn a_time_has_an_offset_and_a_year_of_four_digits() {
        let read = |time: &str| instant(&RawValue::from_string(format!("\"{time}\"")).unwrap()).ok();
        for (time, expected) in [
            ("2026-11-01T00:00:00.1234567Z", "2026-11-01T00:00:00.123456Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(read(time), Some(expected.parse().unwrap()), "{time}");
        }
        for time in [
            "2026-11-01",
            "2026-11-01T00:00:00",
            "2026-02-30T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+09:00",
            "9999-12-31T23:59:59-09:00",
            "now",
            "infinity",
        ] {
            assert_eq!(read(time), None, "{time}");
        }
    }

    #[test]
    fn an_edit_has_only_what_was_sent() {
        let edit = |json| edit_item(&object(json));
        assert_eq!(edit(r#"{"version":"x"}"#).ok(), Some(EditItem::default()));
        let cleared = edit(r#"{"description":null,"capacity":null}"#).ok().unwrap();
        assert_eq!((cleared.description, cleared.capacity), (Some(None), Some(None)));
        assert_eq!(
            problems(edit(r#"{"title":null,"price":null,"end_at":1}"#)),
            concat!(
                r#"{"end_at":["Datetime has wrong format. Use YYYY-MM-DDThh:mm:ss with an offset (+09:00 or Z)."],"#,
                r#""price":["This field may not be null."],"title":["This field may not be null."]}"#
            )
        );
    }
}
