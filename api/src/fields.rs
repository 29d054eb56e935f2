//! The fields of a body: what each must be, and what is said when it is not. Texts and leniency are those of Django REST
//! framework's serializer fields, which today's clients know: surrounding space is cut off, a number passes as text.

use std::{borrow::Cow, collections::BTreeMap, str::FromStr};

use email_address::{EmailAddress, Options};
use serde_json::value::RawValue;
use sugang_protocol::{Language, Text};
use sugang_sdk::types::{Cancel, Login, Money, MoneyError, PaymentMethod, Refresh, Register, Signup};

use crate::errors::{Failure, FieldProblems};

/// A JSON object whose values are read when they are asked for; of equal keys the last counts.
pub type Object<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Characters that an e-mail address has at most, by its column.
pub const EMAIL_CHARACTERS: usize = 255;
/// Characters that a username has at most, by its column.
pub const USERNAME_CHARACTERS: usize = 150;
/// Characters that a new password has at least.
pub const PASSWORD_CHARACTERS: usize = 8;

/// What is wrong with a field.
#[derive(Debug, PartialEq, Eq)]
pub enum FieldProblem {
    /// It is missing.
    Required,
    /// It is null.
    Null,
    /// It is empty.
    Blank,
    /// It is not a text.
    NotText,
    /// It has a null character, which PostgreSQL cannot store.
    NullCharacter,
    /// It is longer than so many characters.
    TooLong(usize),
    /// It is shorter than so many characters.
    TooShort(usize),
    /// It is no e-mail address.
    NoEmail,
    /// Somebody has this e-mail address.
    EmailTaken,
    /// Somebody has this username.
    UsernameTaken,
    /// It has a character that a username must not have.
    NoUsername,
    /// The password has no letter.
    NoLetter,
    /// The password has no digit.
    NoDigit,
    /// It is no decimal number.
    NoNumber,
    /// It has more digits than an amount of money.
    TooManyDigits,
    /// It has more decimals than an amount of money.
    TooManyDecimals,
    /// It is nothing, or less.
    NotPositive,
    /// It is none of the words that are allowed.
    NoChoice,
    /// It is no date.
    NoDate,
    /// It is no idempotency key.
    NoIdempotencyKey,
}

impl FieldProblem {
    /// What it says to people.
    pub fn text(&self, language: Language) -> Cow<'static, str> {
        let text = |korean, english| Cow::from(Text::new(korean, english).in_language(language));
        match self {
            Self::Required => text("이 필드는 필수 항목입니다.", "This field is required."),
            Self::Null => text("이 필드는 null일 수 없습니다.", "This field may not be null."),
            Self::Blank => text("이 필드는 blank일 수 없습니다.", "This field may not be blank."),
            Self::NotText => text("유효한 문자열이 아닙니다.", "Not a valid string."),
            Self::NullCharacter => text("null 문자는 허용되지 않습니다.", "Null characters are not allowed."),
            Self::TooLong(most) => match language {
                Language::Korean => format!("이 필드의 글자 수가 {most} 이하인지 확인하십시오.").into(),
                Language::English => format!("Ensure this field has no more than {most} characters.").into(),
            },
            Self::TooShort(least) => match language {
                Language::Korean => format!("이 필드의 글자 수가 적어도 {least} 이상인지 확인하십시오.").into(),
                Language::English => format!("Ensure this field has at least {least} characters.").into(),
            },
            Self::NoEmail => text("유효한 이메일 주소를 입력하십시오.", "Enter a valid email address."),
            Self::EmailTaken => text("이미 사용 중인 이메일입니다.", "This email is in use already."),
            Self::UsernameTaken => text("이미 사용 중인 사용자 이름입니다.", "This username is in use already."),
            Self::NoUsername => text(
                "사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다.",
                "A username may have letters, digits and @.+-_ only.",
            ),
            Self::NoLetter => text(
                "비밀번호는 최소 하나의 문자를 포함해야 합니다.",
                "The password must have a letter.",
            ),
            Self::NoDigit => text(
                "비밀번호는 최소 하나의 숫자를 포함해야 합니다.",
                "The password must have a digit.",
            ),
            Self::NoNumber => text("유효한 숫자를 입력하십시오.", "A valid number is required."),
            Self::TooManyDigits => match language {
                Language::Korean => format!("전체 숫자(digits)가 {} 이하인지 확인하십시오.", Money::DIGITS).into(),
                Language::English => {
                    format!("Ensure that there are no more than {} digits in total.", Money::DIGITS).into()
                }
            },
            Self::TooManyDecimals => match language {
                Language::Korean => format!("소수점 자릿수가 {} 이하인지 확인하십시오.", Money::DECIMALS).into(),
                Language::English => {
                    format!("Ensure that there are no more than {} decimal places.", Money::DECIMALS).into()
                }
            },
            Self::NotPositive => text("0보다 커야 합니다.", "Ensure this value is greater than 0."),
            Self::NoChoice => text("유효하지 않은 선택입니다.", "This is not a valid choice."),
            Self::NoDate => text(
                "날짜 형식이 잘못되었습니다. YYYY-MM-DD 형식을 사용하십시오.",
                "Date has wrong format. Use YYYY-MM-DD.",
            ),
            Self::NoIdempotencyKey => text(
                "1자에서 255자의 출력 가능한 ASCII 문자여야 합니다.",
                "It must be 1 to 255 printable ASCII characters.",
            ),
        }
    }
}

/// Reads a sign-up.
///
/// # Errors
/// 400 with all that is wrong.
pub fn signup(object: &Object<'_>) -> Result<Signup, Failure> {
    let mut form = Form::new(object);
    let email = form.text("email");
    let username = form.text("username");
    let password = form.text("password");
    form.check("email", &email, |email| {
        [
            (email.chars().count() > EMAIL_CHARACTERS).then_some(FieldProblem::TooLong(EMAIL_CHARACTERS)),
            (!is_email(email)).then_some(FieldProblem::NoEmail),
        ]
    });
    form.check("username", &username, |username| {
        [
            (username.chars().count() > USERNAME_CHARACTERS).then_some(FieldProblem::TooLong(USERNAME_CHARACTERS)),
            (!username.chars().all(|c| c.is_alphanumeric() || "@.+-_".contains(c))).then_some(FieldProblem::NoUsername),
        ]
    });
    form.check("password", &password, |password| {
        [
            (password.chars().count() < PASSWORD_CHARACTERS).then_some(FieldProblem::TooShort(PASSWORD_CHARACTERS)),
            (!password.chars().any(char::is_alphabetic)).then_some(FieldProblem::NoLetter),
            (!password.chars().any(char::is_numeric)).then_some(FieldProblem::NoDigit),
        ]
    });
    match (email, username, password) {
        (Some(email), Some(username), Some(password)) if form.problems.is_empty() => Ok(Signup {
            email,
            username,
            password: password.into(),
        }),
        _ => Err(Failure::Form(form.problems)),
    }
}

/// Reads a login. An e-mail address that could be nobody's is for the statement to find nobody for.
///
/// # Errors
/// 400 with all that is wrong.
pub fn login(object: &Object<'_>) -> Result<Login, Failure> {
    let mut form = Form::new(object);
    match (form.text("email"), form.text("password")) {
        (Some(email), Some(password)) => Ok(Login {
            email,
            password: password.into(),
        }),
        _ => Err(Failure::Fields(form.problems)),
    }
}

/// Reads a request for a new access token.
///
/// # Errors
/// 400 when the token is missing or no text.
pub fn refresh(object: &Object<'_>) -> Result<Refresh, Failure> {
    let mut form = Form::new(object);
    match form.text("refresh") {
        Some(refresh) => Ok(Refresh {
            refresh: refresh.into(),
        }),
        None => Err(Failure::Fields(form.problems)),
    }
}

/// Reads an application or enrolment.
///
/// # Errors
/// 400 with all that is wrong.
pub fn register(object: &Object<'_>) -> Result<Register, Failure> {
    let mut form = Form::new(object);
    let amount = form.value("amount").and_then(|raw| form.keep("amount", amount(raw)));
    let payment_method = form.text("payment_method").and_then(|word| {
        form.keep(
            "payment_method",
            PaymentMethod::from_str(&word).map_err(|_| FieldProblem::NoChoice),
        )
    });
    match (amount, payment_method) {
        (Some(amount), Some(payment_method)) => Ok(Register { amount, payment_method }),
        _ => Err(Failure::Fields(form.problems)),
    }
}

/// Reads a cancellation, which may say why.
///
/// # Errors
/// 400 when the reason is no text.
pub fn cancel(object: &Object<'_>) -> Result<Cancel, Failure> {
    const REASON: &str = "refund_reason";
    match object.get(REASON).map(|raw| text(raw)) {
        None | Some(Err(FieldProblem::Null | FieldProblem::Blank)) => Ok(Cancel::default()),
        Some(Ok(reason)) => Ok(Cancel {
            refund_reason: Some(reason),
        }),
        Some(Err(problem)) => Err(Failure::Fields(FieldProblems::of(REASON, problem))),
    }
}

/// A body that is being read, and what was found wrong with it.
struct Form<'a> {
    object: &'a Object<'a>,
    problems: FieldProblems,
}

impl<'a> Form<'a> {
    fn new(object: &'a Object<'a>) -> Self {
        Self {
            object,
            problems: FieldProblems::default(),
        }
    }

    /// A field that must be there.
    fn value(&mut self, name: &'static str) -> Option<&'a RawValue> {
        let value = match self.object.get(name) {
            None => Err(FieldProblem::Required),
            Some(raw) if raw.get() == "null" => Err(FieldProblem::Null),
            Some(raw) => Ok(*raw),
        };
        self.keep(name, value)
    }

    /// A field that must be a text with something in it.
    fn text(&mut self, name: &'static str) -> Option<String> {
        let raw = self.value(name)?;
        self.keep(name, text(raw))
    }

    fn check<const N: usize>(
        &mut self,
        name: &'static str,
        text: &Option<String>,
        rules: impl FnOnce(&str) -> [Option<FieldProblem>; N],
    ) {
        for problem in text.as_deref().map(rules).into_iter().flatten().flatten() {
            self.problems.push(name, problem);
        }
    }

    fn keep<T>(&mut self, name: &'static str, value: Result<T, FieldProblem>) -> Option<T> {
        value.map_err(|problem| self.problems.push(name, problem)).ok()
    }
}

fn text(raw: &RawValue) -> Result<String, FieldProblem> {
    let json = raw.get();
    let text = match json.as_bytes().first() {
        Some(b'n') => return Err(FieldProblem::Null),
        // A lone surrogate is JSON, but no text.
        Some(b'"') => serde_json::from_str(json).map_err(|_| FieldProblem::NotText)?,
        Some(b'-' | b'0'..=b'9') => json.to_owned(),
        _ => return Err(FieldProblem::NotText),
    };
    match text.trim() {
        "" => Err(FieldProblem::Blank),
        text if text.contains('\0') => Err(FieldProblem::NullCharacter),
        text => Ok(text.to_owned()),
    }
}

/// An amount: the digits of a number are taken from its text, so that no float ever holds one.
fn amount(raw: &RawValue) -> Result<Money, FieldProblem> {
    let amount = match text(raw) {
        Err(FieldProblem::Null) => return Err(FieldProblem::Null),
        text => text.map_err(|_| FieldProblem::NoNumber)?,
    };
    match amount.parse::<Money>() {
        Ok(amount) if amount.is_positive() => Ok(amount),
        Ok(_) => Err(FieldProblem::NotPositive),
        Err(MoneyError::NotANumber) => Err(FieldProblem::NoNumber),
        Err(MoneyError::Digits) => Err(FieldProblem::TooManyDigits),
        Err(MoneyError::Decimals) => Err(FieldProblem::TooManyDecimals),
    }
}

/// Plain addresses with a domain of two labels or more, in ASCII, as Django's validator has them.
fn is_email(text: &str) -> bool {
    let options = Options::default()
        .with_required_tld()
        .without_domain_literal()
        .without_display_text();
    // The library goes by the standard: blanks within quotes, and any character of a name in the labels of a domain.
    let domain = text.rsplit('@').next().unwrap_or_default();
    let top_level = domain.rsplit('.').next().unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && domain
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && top_level.len() > 1
        && EmailAddress::parse_with_options(text, options).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    fn object(json: &str) -> Object<'_> {
        serde_json::from_str(json).unwrap()
    }

    fn problems<T>(read: Result<T, Failure>) -> String {
        match read {
            Ok(_) => String::new(),
            Err(failure @ (Failure::Fields(_) | Failure::Form(_))) => {
                let body = failure.into_response(Language::English, "").body;
                let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
                let mut fields = body.get("errors").unwrap_or(&body).as_object().unwrap().clone();
                fields.retain(|name, _| name != "code" && name != "request_id");
                serde_json::to_string(&fields).unwrap()
            }
            Err(_) => panic!("another failure"),
        }
    }

    #[test]
    fn a_signup_is_trimmed_and_may_be_in_any_script() {
        let read = signup(&object(
            r#"{"email":" minsu@example.com ","username":"민수.1","password":"비밀번호 1234","more":[{}]}"#,
        ));
        let read = read.ok().unwrap();
        assert_eq!(
            (read.email.as_str(), read.username.as_str()),
            ("minsu@example.com", "민수.1")
        );
        assert_eq!(read.password.expose(), "비밀번호 1234");
    }

    #[test]
    fn all_that_is_wrong_with_a_signup_is_said_at_once() {
        for (json, expected) in [
            (
                "{}",
                r#"{"email":["This field is required."],"password":["This field is required."],"username":["This field is required."]}"#,
            ),
            (
                r#"{"email":null,"username":"","password":true}"#,
                r#"{"email":["This field may not be null."],"password":["Not a valid string."],"username":["This field may not be blank."]}"#,
            ),
            (
                r#"{"email":"nobody","username":"a b","password":"\u0000"}"#,
                r#"{"email":["Enter a valid email address."],"password":["Null characters are not allowed."],"username":["A username may have letters, digits and @.+-_ only."]}"#,
            ),
            (
                r#"{"email":"a@example.com","username":"a","password":"!?!?"}"#,
                r#"{"password":["Ensure this field has at least 8 characters.","The password must have a letter.","The password must have a digit."]}"#,
            ),
            (r#"{"email":"a@example.com","username":7,"password":"abcdefg1"}"#, ""),
        ] {
            assert_eq!(problems(signup(&object(json))), expected, "{json}");
        }
        let long = format!(
            r#"{{"email":"a@example.com","username":"{}","password":"abcdefg1"}}"#,
            "가".repeat(151)
        );
        assert!(problems(signup(&object(&long))).contains("no more than 150 characters"));
    }

    #[test]
    fn an_email_address_is_plain() {
        for email in [
            "a@example.com",
            "a.b+c@mail.example.co.kr",
            "A_B-c%d@example.com",
            "\"a@b\"@example.com",
        ] {
            assert!(is_email(email), "{email}");
        }
        let too_long = format!("{}@example.com", "a".repeat(65));
        for email in [
            "a",
            "@",
            "a@",
            "@example.com",
            "a@b",
            "a@@example.com",
            "a b@example.com",
            "\"a\tb\"@example.com",
            "\"a b\"@example.com",
            "a@exa mple.com",
            "a@exam_ple.com",
            "a@example.c",
            "a@.com",
            "a@example..com",
            "a@[127.0.0.1]",
            "Min <a@example.com>",
            "<a@example.com>",
            "가@example.com",
            "a@-.com\n",
            "a@example.com\0",
            &too_long,
        ] {
            assert!(!is_email(email), "{email:?}");
        }
    }

    #[test]
    fn an_amount_is_a_number_or_a_text_and_never_a_float() {
        for (json, expected) in [
            ("45000", Ok("45000.00")),
            ("45000.00", Ok("45000.00")),
            ("\"45000.00\"", Ok("45000.00")),
            ("\" 45000 \"", Ok("45000.00")),
            ("4.5e4", Ok("45000.00")),
            ("0.01", Ok("0.01")),
            ("99999999.99", Ok("99999999.99")),
            ("0", Err(FieldProblem::NotPositive)),
            ("-0", Err(FieldProblem::NotPositive)),
            ("-1", Err(FieldProblem::NotPositive)),
            ("1e-999999999", Err(FieldProblem::TooManyDigits)),
            ("1e999999999", Err(FieldProblem::TooManyDigits)),
            ("100000000", Err(FieldProblem::TooManyDigits)),
            ("0.001", Err(FieldProblem::TooManyDecimals)),
            ("\"NaN\"", Err(FieldProblem::NoNumber)),
            ("\"Infinity\"", Err(FieldProblem::NoNumber)),
            ("\"\"", Err(FieldProblem::NoNumber)),
            ("\"4_5\"", Err(FieldProblem::NoNumber)),
            ("\"０\"", Err(FieldProblem::NoNumber)),
            ("true", Err(FieldProblem::NoNumber)),
            ("[1]", Err(FieldProblem::NoNumber)),
            ("{}", Err(FieldProblem::NoNumber)),
            ("null", Err(FieldProblem::Null)),
        ] {
            let raw = RawValue::from_string(json.into()).unwrap();
            let read = amount(&raw).map(|amount| amount.to_string());
            assert_eq!(
                read.as_deref().map_err(|problem| format!("{problem:?}")),
                expected.map_err(|e| format!("{e:?}")),
                "{json}"
            );
        }
    }

    #[test]
    fn a_registration_names_its_wrong_fields() {
        assert_eq!(
            problems(register(&object(r#"{"amount":"45000.00","payment_method":"card"}"#))),
            ""
        );
        assert_eq!(
            problems(register(&object(r#"{"amount":"x","payment_method":"cash"}"#))),
            r#"{"amount":["A valid number is required."],"payment_method":["This is not a valid choice."]}"#
        );
    }

    #[test]
    fn a_reason_may_be_left_out() {
        let reason = |json| cancel(&object(json)).ok().and_then(|cancel| cancel.refund_reason);
        assert_eq!(
            reason(r#"{"refund_reason":" 단순 변심 "}"#).as_deref(),
            Some("단순 변심")
        );
        for json in ["{}", r#"{"refund_reason":null}"#, r#"{"refund_reason":" "}"#] {
            assert_eq!(problems(cancel(&object(json))), "");
            assert_eq!(reason(json), None);
        }
        assert_eq!(
            problems(cancel(&object(r#"{"refund_reason":["x"]}"#))),
            r#"{"refund_reason":["Not a valid string."]}"#
        );
    }

    /// What may be an e-mail address, and often is nearly one.
    const LIKE_AN_EMAIL: &str = "[a-z\"]{1,3}[ -~\t]{0,4}\"?@[a-z0-9.!_-]{1,6}\\.[a-z]{1,2}";

    /// A value of a field, as JSON: anything, and often what passes.
    fn value() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            any::<String>(),
            "[ -~]{0,12}",
            LIKE_AN_EMAIL,
            "[a-z가-힣]{4,10}[0-9]{4,10}",
            "card|kakaopay|bank_transfer|45000.00|4.5e4|민수.1",
        ];
        prop_oneof![
            4 => text.prop_map(|text| serde_json::to_string(&text).unwrap()),
            2 => "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,3})?([eE][-+]?[0-9]{1,2})?",
            1 => prop::sample::select(vec!["null", "true", "[]", "{\"a\":null}", "\"\\ud800\""]).prop_map(str::to_owned),
        ]
    }

    /// What is read, sent again, is read the same; what is not, says which of the fields is wrong.
    fn reads<T>(json: &str, read: fn(&Object<'_>) -> Result<T, Failure>) -> Result<(), TestCaseError>
    where
        T: Serialize + PartialEq + std::fmt::Debug,
    {
        let first = read(&object(json));
        if let Ok(first) = &first {
            let sent = serde_json::to_string(first).unwrap();
            let second = read(&object(&sent)).ok();
            prop_assert_eq!(second.as_ref(), Some(first));
            return Ok(());
        }
        let wrong: serde_json::Value = serde_json::from_str(&problems(first)).unwrap();
        let fields = object(json);
        prop_assert!(!wrong.as_object().unwrap().is_empty());
        prop_assert!(
            wrong
                .as_object()
                .unwrap()
                .keys()
                .all(|name| fields.contains_key(name.as_str())),
            "{}",
            wrong
        );
        Ok(())
    }

    proptest! {
        #[test]
        fn no_value_breaks_anything([a, b, c] in [value(), value(), value()]) {
            reads(&format!("{{\"email\":{a},\"username\":{b},\"password\":{c}}}"), signup)?;
            reads(&format!("{{\"email\":{a},\"password\":{b}}}"), login)?;
            reads(&format!("{{\"refresh\":{a}}}"), refresh)?;
            reads(&format!("{{\"amount\":{a},\"payment_method\":{b}}}"), register)?;
            reads(&format!("{{\"refund_reason\":{a}}}"), cancel)?;
        }

        #[test]
        fn what_is_good_passes(
            email in "[A-Za-z0-9_%+-]{1,16}(\\.[a-z0-9]{1,16}){0,2}@([A-Za-z0-9]([a-z0-9-]{0,9}[a-z0-9])?\\.){1,3}[A-Za-z]{2,8}",
            username in "[A-Za-z0-9가-힣ぁ-ん@.+_-]{1,150}",
            password in "[a-z가-힣][!-~]{6}[0-9][ -~]{0,30}",
            amount in 1_i64..10_000_000_000,
            method in prop::sample::select(PaymentMethod::ALL),
        ) {
            let sent = Signup { email, username, password: password.trim().into() };
            let read = signup(&object(&serde_json::to_string(&sent).unwrap())).ok();
            prop_assert_eq!(read.as_ref(), Some(&sent));
            let amount = format!("{}.{:02}", amount / 100, amount % 100);
            for quote in ["", "\""] {
                let json = format!("{{\"amount\":{quote}{amount}{quote},\"payment_method\":\"{method}\"}}");
                let read = register(&object(&json)).ok().map(|read| (read.amount.to_string(), read.payment_method));
                prop_assert_eq!(read, Some((amount.clone(), method)));
            }
        }

        #[test]
        fn an_email_address_has_no_blank_and_a_host_s_name(
            email in prop_oneof![any::<String>(), LIKE_AN_EMAIL],
        ) {
            if is_email(&email) {
                prop_assert!(email.bytes().all(|byte| byte.is_ascii_graphic()) && email.len() < EMAIL_CHARACTERS + 65);
                let labels: Vec<_> = email.rsplit('@').next().unwrap().split('.').collect();
                prop_assert!(labels.len() >= 2 && labels.last().unwrap().len() >= 2, "{}", email);
                for label in labels {
                    prop_assert!(label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{}", email);
                    prop_assert!(!label.is_empty() && !label.starts_with('-') && !label.ends_with('-'), "{}", email);
                }
            }
        }
    }
}
