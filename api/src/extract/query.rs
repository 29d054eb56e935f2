//! The query string of a list: its parameters, and the links to the previous and the next page.

use chrono::NaiveDate;
use form_urlencoded::Serializer;

use crate::{
    error::{ApiError, FieldProblem, FieldProblems, catalog::INVALID_PAGE},
    text::{Address, AddressKeys, nfc},
};

/// A search is cut off after this many characters, because its cost in PostgreSQL grows with its length.
const MAX_SEARCH_CHARS: usize = 1_000;
const PAGE: &str = "page";

/// The parameters of a request, in their order.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the text after the question mark. Bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Returns the last value of a parameter, unless it is missing or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let last = self.0.iter().rfind(|(known, _)| known == name);
        last.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns a parameter as text in NFC, in which control characters are spaces; `None` if there is nothing else in it.
    ///
    /// # Errors
    /// 400 for a null character, which PostgreSQL cannot store.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        if text.contains('\0') {
            return Err(ApiError::Fields(FieldProblems::of(name, FieldProblem::NullCharacter)));
        }
        let text: String = nfc(text)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_SEARCH_CHARS)
            .collect();
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    /// Returns a parameter as `read` understands it; `None` if it is missing or empty.
    ///
    /// # Errors
    /// 400 with what `read` finds wrong.
    pub(crate) fn value<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, FieldProblem>,
    ) -> Result<Option<T>, ApiError> {
        let value = self.get(name).map(|value| read(value.trim())).transpose();
        value.map_err(|problem| ApiError::Fields(FieldProblems::of(name, problem)))
    }

    /// Returns an id as text, for a column of numbers.
    ///
    /// # Errors
    /// 400 if it is not a number.
    pub(crate) fn id(&self, name: &'static str) -> Result<Option<String>, ApiError> {
        let id = self.value(name, |value| {
            value.parse::<i64>().map_err(|_| FieldProblem::InvalidInteger)
        })?;
        Ok(id.map(|id| id.to_string()))
    }

    /// Returns the keys of an e-mail address, or of the beginning of one: those of [`AddressKeys`] in their order.
    ///
    /// # Errors
    /// 400 for a null character.
    pub(crate) fn email_keys(&self) -> Result<[Option<String>; 3], ApiError> {
        let email = self.text("email")?;
        Ok(email.map_or_else(Default::default, |email| {
            let AddressKeys { key, typed, ascii } = Address::new(&email).keys();
            [Some(key), Some(typed), ascii]
        }))
    }

    /// Returns the requested page; 0 stands for the last page.
    ///
    /// # Errors
    /// 404 if it is neither `last` nor a number from 1.
    pub(crate) fn page(&self) -> Result<i64, ApiError> {
        match self.get(PAGE).map(str::trim) {
            None => Ok(1),
            Some("last") => Ok(0),
            Some(page) => page
                .parse()
                .ok()
                .filter(|page| *page > 0)
                .ok_or(ApiError::Refused(&INVALID_PAGE)),
        }
    }

    /// Returns days as the client sent them; each may be missing.
    ///
    /// # Errors
    /// 400 with every day that is not in the form `YYYY-MM-DD`.
    pub(crate) fn days<const N: usize>(&self, names: [&'static str; N]) -> Result<[Option<String>; N], ApiError> {
        let mut problems = FieldProblems::default();
        let days = names.map(|name| {
            let day = self.get(name)?;
            if !is_day(day) {
                problems.push(name, FieldProblem::InvalidDate);
            }
            Some(day.to_owned())
        });
        if problems.is_empty() {
            Ok(days)
        } else {
            Err(ApiError::Fields(problems))
        }
    }

    /// Builds the link to another page of the list at `address`. Page 1 is the default and gets no parameter.
    pub(crate) fn link(&self, address: &str, page: i64) -> String {
        let mut pairs = Serializer::new(String::new());
        let number = page.to_string();
        let mut wanted = page > 1;
        for (name, value) in &self.0 {
            if name != PAGE {
                pairs.append_pair(name, value);
            } else if std::mem::take(&mut wanted) {
                pairs.append_pair(PAGE, &number);
            }
        }
        if wanted {
            pairs.append_pair(PAGE, &number);
        }
        match pairs.finish() {
            pairs if pairs.is_empty() => address.to_owned(),
            pairs => format!("{address}?{pairs}"),
        }
    }
}

/// Returns whether the text is a day of the Gregorian calendar from the year 1, in ten characters.
pub(super) fn is_day(text: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let digits = text.get(range)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let (Some(year), Some(month), Some(day)) = (digits(0..4), digits(5..7), digits(8..10)) else {
        return false;
    };
    let separated = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    separated && year > 0 && NaiveDate::from_ymd_opt(year.cast_signed(), month, day).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(query: &str) -> Option<i64> {
        Query::parse(query).page().ok()
    }

    #[test]
    fn a_page_is_a_number_from_1_or_the_last() {
        for (query, expected) in [
            ("", Some(1)),
            ("page=", Some(1)),
            ("page=1", Some(1)),
            ("page=%202%20", Some(2)),
            ("page=last", Some(0)),
            ("page=3&page=4", Some(4)),
            ("page=9223372036854775807", Some(i64::MAX)),
            ("page=9223372036854775808", None),
            ("page=0", None),
            ("page=-1", None),
            ("page=1.0", None),
            ("page=1e3", None),
            ("page=two", None),
            ("page=%00", None),
            ("page=%ff", None),
            ("page=LAST", None),
        ] {
            assert_eq!(page(query), expected, "{query}");
        }
    }

    #[test]
    fn an_id_is_a_number() {
        let id = |query: &str| Query::parse(query).id("user").map_err(drop);
        for (query, expected) in [
            ("", Ok(None)),
            ("user=", Ok(None)),
            ("user=7", Ok(Some("7".to_owned()))),
            ("user=%207%20", Ok(Some("7".to_owned()))),
            ("user=-1", Ok(Some("-1".to_owned()))),
            ("user=9223372036854775808", Err(())),
            ("user=1.0", Err(())),
            ("user=minsu", Err(())),
        ] {
            assert_eq!(id(query), expected, "{query}");
        }
    }

    #[test]
    fn a_search_is_cut_off_and_has_no_control_characters() {
        assert!(Query::parse("search=a%00").text("search").is_err());
        let search = |query: &str| Query::parse(query).text("search").ok().unwrap();
        assert_eq!(search("search=%EA%B0%80+b%01c%0Ad"), Some("가 b c d".into()));
        assert_eq!(search("search=%e1%84%80%e1%85%a1"), Some("가".into()));
        assert_eq!(search("search=%01"), None);
        assert_eq!(search("search="), None);
        assert_eq!(search("page=1"), None);
        assert_eq!(
            search(&format!("search={}", "a".repeat(5_000))).map(|text| text.len()),
            Some(1_000)
        );
    }

    #[test]
    fn a_link_keeps_all_other_parameters() {
        let at = |query: &str, page| Query::parse(query).link("http://h/tests/", page);
        assert_eq!(at("", 1), "http://h/tests/");
        assert_eq!(at("", 2), "http://h/tests/?page=2");
        assert_eq!(at("page=3", 1), "http://h/tests/");
        assert_eq!(
            at("status=available&page=2&sort=popular", 3),
            "http://h/tests/?status=available&page=3&sort=popular"
        );
        assert_eq!(
            at("status=available&page=2&page=2", 1),
            "http://h/tests/?status=available"
        );
        assert_eq!(at("page=2&a=1&page=2", 3), "http://h/tests/?page=3&a=1");
        assert_eq!(
            at("search=%EA%B0%80 %26%22x", 2),
            "http://h/tests/?search=%EA%B0%80+%26%22x&page=2"
        );
    }

    #[test]
    fn a_day_exists_in_the_calendar() {
        for day in ["2026-11-23", "2024-02-29", "0001-01-01", "9999-12-31"] {
            assert!(is_day(day), "{day}");
        }
        for day in [
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-1-1",
            "26-01-01",
            "0000-01-01",
            "2026-11-231",
            "2026/11/23",
            "2026-11-23T00:00:00Z",
            "+026-11-23",
            "２026-11-23",
            "today",
            "-",
            "2026-11-2\0",
        ] {
            assert!(!is_day(day), "{day:?}");
        }
        let error = Query::parse("from=x&to=2026-02-30").days(["from", "to"]).err().unwrap();
        let body = error.response(sugang_protocol::Language::English, "r").body;
        assert!(String::from_utf8(body).unwrap().starts_with(
            r#"{"from":["Date has wrong format. Use YYYY-MM-DD."],"to":["Date has wrong format. Use YYYY-MM-DD."],"#
        ));
        assert!(
            Query::parse("from=&to=2026-02-28")
                .days(["from", "to"])
                .is_ok_and(|[from, _]| from.is_none())
        );
    }

    proptest! {
        #[test]
        fn a_link_changes_only_the_page(
            query in prop_oneof!["\\PC{0,40}", "((page|search|a|)=?[a-z0-9+ %&=가-힣]{0,6}&?){0,6}"],
            page in 1..=i64::MAX,
        ) {
            let others = |query: &Query| query.0.iter().filter(|(name, _)| name != PAGE).cloned().collect::<Vec<_>>();
            let asked = Query::parse(&query);
            let link = asked.link("/tests/", page);
            let (_, sent) = link.split_once('?').unwrap_or((&link, ""));
            let linked = Query::parse(sent);
            prop_assert_eq!(linked.page().ok(), Some(page));
            prop_assert_eq!(others(&linked), others(&asked));
            prop_assert_eq!(linked.link("/tests/", page), link.clone());
            prop_assert!(link.bytes().all(|byte| byte.is_ascii_graphic()), "{}", link);
        }

        #[test]
        fn any_parameter_is_handled(query in any::<String>(), value in any::<String>()) {
            let query = Query::parse(&format!("{query}&{}", Serializer::new(String::new()).append_pair("x", &value).finish()));
            prop_assert_eq!(query.get("x"), Some(value.as_str()).filter(|value| !value.is_empty()));
            prop_assert_eq!(query.text("x").is_err(), value.contains('\0'));
            if let Ok(Some(text)) = query.text("x") {
                prop_assert!(text.chars().count() <= MAX_SEARCH_CHARS && !text.contains(char::is_control));
            }
            prop_assert!(query.page().map_or(true, |page| page >= 0));
            prop_assert_eq!(query.days(["x"]).is_ok(), value.is_empty() || is_day(&value));
        }

        #[test]
        fn every_day_of_the_calendar_is_accepted(days in 0_u64..3_652_059, change in any::<char>(), at in 0_usize..10) {
            let day = NaiveDate::from_ymd_opt(1, 1, 1).unwrap() + chrono::Days::new(days);
            let text = day.to_string();
            prop_assert!(is_day(&text), "{}", text);
            let changed: String = text.chars().enumerate().map(|(i, c)| if i == at { change } else { c }).collect();
            if is_day(&changed) {
                prop_assert_eq!(changed.parse::<NaiveDate>().unwrap().to_string(), changed);
            }
        }
    }
}
