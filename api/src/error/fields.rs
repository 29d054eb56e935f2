//! Wrong fields of a body, a query string or a header, collected so that a client sees all of them at once.

use std::borrow::Cow;

use sugang_protocol::{Language, Text};
use sugang_sdk::types::{FieldErrors, Money};

/// What is wrong with one field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FieldProblem {
    /// The field is missing.
    Required,
    Null,
    /// The text is empty, or only white space.
    Blank,
    /// The value is neither a string nor a number.
    NotText,
    /// The text has a null character, which PostgreSQL cannot store.
    NullCharacter,
    /// The text has more than this many characters.
    TooLong(usize),
    /// The text has fewer than this many characters.
    TooShort(usize),
    InvalidEmail,
    /// The text is not the URL of a server, or not one with HTTPS where that is required.
    InvalidUrl,
    /// Another account has this e-mail address.
    EmailTaken,
    /// Another account has this username.
    UsernameTaken,
    /// The username has a character outside its alphabet.
    InvalidUsername,
    /// The username mixes scripts or digits that look alike.
    MixedUsername,
    /// The password has a character that Unicode does not define yet.
    UnassignedCharacter,
    MissingLetter,
    MissingDigit,
    /// The password is on the list of common ones.
    CommonPassword,
    /// The password resembles the account's e-mail address.
    PasswordLikeEmail,
    /// The password resembles the account's username.
    PasswordLikeUsername,
    InvalidNumber,
    /// The number has more digits than an amount of money.
    TooManyDigits,
    /// The number has more decimals than an amount of money.
    TooManyDecimals,
    /// The number is zero or negative.
    NotPositive,
    /// The number is negative.
    Negative,
    /// The number is more than this.
    TooLarge(i64),
    InvalidInteger,
    InvalidBoolean,
    /// The text is not a time of RFC 3339 in the years 1 to 9999.
    InvalidTime,
    /// The period would end before it starts.
    BeforeStart,
    /// The word is not one of the choices.
    InvalidChoice,
    /// The address is none to which a browser may be sent on.
    UnknownReturnUrl,
    /// No active user has this id or this e-mail address.
    UnknownUser,
    /// The value is not a bank account.
    NotAnAccount,
    /// The list has more than this many elements, or none.
    ListLength(usize),
    /// The text is not a day of the calendar in the form `YYYY-MM-DD`.
    InvalidDate,
    /// The last day is before the first.
    BeforeFrom,
    /// The period has more than this many days.
    TooManyDays(i64),
    /// PostgreSQL knows no time zone of this name.
    UnknownTimeZone,
    /// More copies than this would start until then.
    TooManyCopies(i64),
    /// A period would end after the year 9999.
    TooLate,
    /// The key is not 1 to 255 visible ASCII characters.
    InvalidIdempotencyKey,
}

impl FieldProblem {
    /// Returns the message for people; its wording is that of Django REST framework.
    pub(super) fn text(&self, language: Language) -> Cow<'static, str> {
        let text = |korean, english| Cow::from(Text::new(korean, english).in_language(language));
        match self {
            Self::Required => text("이 필드는 필수 항목입니다.", "This field is required."),
            Self::Null => text("이 필드는 null일 수 없습니다.", "This field may not be null."),
            Self::Blank => text("이 필드는 blank일 수 없습니다.", "This field may not be blank."),
            Self::NotAnAccount => text(
                "bank, account_number(숫자), holder가 있는 객체여야 합니다.",
                "It must be an object with bank, account_number (digits) and holder.",
            ),
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
            Self::InvalidEmail => text("유효한 이메일 주소를 입력하십시오.", "Enter a valid email address."),
            Self::InvalidUrl => text(
                "https://로 시작하는 유효한 URL을 입력하십시오.",
                "Enter a valid URL that begins with https://.",
            ),
            Self::EmailTaken => text("이미 사용 중인 이메일입니다.", "This email is in use already."),
            Self::UsernameTaken => text("이미 사용 중인 사용자 이름입니다.", "This username is in use already."),
            Self::InvalidUsername => text(
                "사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다.",
                "A username may have letters, digits and @.+-_ only.",
            ),
            Self::MixedUsername => text(
                "사용자 이름에 서로 혼동될 수 있는 문자를 섞어 쓸 수 없습니다.",
                "A username may not mix scripts or digits that look alike.",
            ),
            Self::UnassignedCharacter => text(
                "유니코드에 정의되지 않은 문자는 사용할 수 없습니다.",
                "Characters that Unicode does not define are not allowed.",
            ),
            Self::MissingLetter => text(
                "비밀번호는 최소 하나의 문자를 포함해야 합니다.",
                "The password must have a letter.",
            ),
            Self::MissingDigit => text(
                "비밀번호는 최소 하나의 숫자를 포함해야 합니다.",
                "The password must have a digit.",
            ),
            Self::CommonPassword => text("너무 흔히 쓰이는 비밀번호입니다.", "This password is too common."),
            Self::PasswordLikeEmail => text(
                "비밀번호가 이메일과 너무 비슷합니다.",
                "The password is too similar to the email address.",
            ),
            Self::PasswordLikeUsername => text(
                "비밀번호가 사용자 이름과 너무 비슷합니다.",
                "The password is too similar to the username.",
            ),
            Self::InvalidNumber => text("유효한 숫자를 입력하십시오.", "A valid number is required."),
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
            Self::Negative => text(
                "이 값이 0보다 크거나 같은지 확인하십시오.",
                "Ensure this value is greater than or equal to 0.",
            ),
            Self::TooLarge(most) => match language {
                Language::Korean => format!("이 값이 {most}보다 작거나 같은지 확인하십시오.").into(),
                Language::English => format!("Ensure this value is less than or equal to {most}.").into(),
            },
            Self::InvalidInteger => text("유효한 정수(integer)를 넣어주세요.", "A valid integer is required."),
            Self::InvalidBoolean => text("유효한 불리언이 아닙니다.", "Must be a valid boolean."),
            Self::InvalidTime => text(
                "일시 형식이 잘못되었습니다. YYYY-MM-DDThh:mm:ss와 시간대(+09:00 또는 Z)를 사용하십시오.",
                "Datetime has wrong format. Use YYYY-MM-DDThh:mm:ss with an offset (+09:00 or Z).",
            ),
            Self::BeforeStart => text("시작 일시보다 빠를 수 없습니다.", "It may not be before the start."),
            Self::UnknownReturnUrl => text(
                "돌아갈 수 있는 주소가 아닙니다.",
                "The service is not configured for this address.",
            ),
            Self::InvalidChoice => text("유효하지 않은 선택입니다.", "This is not a valid choice."),
            Self::UnknownUser => text("해당하는 활성 사용자가 없습니다.", "There is no such active user."),
            Self::ListLength(most) => match language {
                Language::Korean => format!("1개에서 {most}개의 id 목록이어야 합니다.").into(),
                Language::English => format!("It must be a list of 1 to {most} ids.").into(),
            },
            Self::InvalidDate => text(
                "날짜 형식이 잘못되었습니다. YYYY-MM-DD 형식을 사용하십시오.",
                "Date has wrong format. Use YYYY-MM-DD.",
            ),
            Self::BeforeFrom => text("from보다 빠를 수 없습니다.", "It may not be before `from`."),
            Self::TooManyDays(most) => match language {
                Language::Korean => format!("기간은 {most}일을 넘을 수 없습니다.").into(),
                Language::English => format!("Ensure that the period has no more than {most} days.").into(),
            },
            Self::UnknownTimeZone => text(
                "알 수 없는 시간대입니다. Asia/Seoul과 같은 이름을 사용하십시오.",
                "There is no such time zone. Use a name such as Asia/Seoul.",
            ),
            Self::TooManyCopies(most) => match language {
                Language::Korean => format!("복사본은 {most}개를 넘을 수 없습니다.").into(),
                Language::English => format!("Ensure that there are no more than {most} copies.").into(),
            },
            Self::TooLate => text(
                "기간이 9999년 이후에 끝납니다.",
                "A period would end after the year 9999.",
            ),
            Self::InvalidIdempotencyKey => text(
                "1자에서 255자의 출력 가능한 ASCII 문자여야 합니다.",
                "It must be 1 to 255 printable ASCII characters.",
            ),
        }
    }
}

/// The wrong fields of a request, in the order in which they were found.
#[derive(Default)]
pub(crate) struct FieldProblems(pub(super) Vec<(&'static str, FieldProblem)>);

impl FieldProblems {
    /// Starts with one problem of one field.
    pub(crate) fn of(field: &'static str, problem: FieldProblem) -> Self {
        Self(vec![(field, problem)])
    }

    /// Adds a problem.
    pub(crate) fn push(&mut self, field: &'static str, problem: FieldProblem) {
        self.0.push((field, problem));
    }

    /// Returns whether all problems are of this kind; true without any.
    pub(crate) fn all(&self, is_of_kind: impl Fn(&FieldProblem) -> bool) -> bool {
        self.0.iter().all(|(_, problem)| is_of_kind(problem))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn texts(&self, language: Language) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (field, problem) in &self.0 {
            errors.entry((*field).into()).or_default().push(problem.text(language));
        }
        errors
    }
}
