//! What operators see and send: exams and courses with their versions, and the rights of users.

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    CourseId, DateTime, ExamId, Money, PaymentId, PaymentMethod, PaymentStatus, RegistrationId, RegistrationStatus,
    UserId, Word,
};

/// An exam or a course, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManagedItem<Id> {
    /// Its id.
    pub id: Id,
    /// Title, at most 255 characters.
    #[cfg_attr(feature = "openapi", schema(examples("정보처리기사 실기 모의시험")))]
    pub title: String,
    /// Description, if it has one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("기출 문제로 보는 3시간 시험")))]
    pub description: Option<String>,
    /// What it costs; 0 is free.
    pub price: Money,
    /// First instant at which users may register for it.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-01T00:00:00Z")))]
    pub start_at: DateTime,
    /// Last instant at which users may register for it.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-30T14:59:59Z")))]
    pub end_at: DateTime,
    /// When it was put into the catalogue.
    #[cfg_attr(feature = "openapi", schema(examples("2026-10-01T00:00:00Z")))]
    pub created_at: DateTime,
    /// How many registrations that are not cancelled there are.
    #[cfg_attr(feature = "openapi", schema(examples(12)))]
    pub registration_count: i64,
    /// How many may register; null for no limit.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub capacity: Option<i64>,
    /// How many seats are neither registered nor held by an order; null for no limit.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub remaining: Option<i64>,
    /// By how many the registrations exceed a capacity that was lowered. No user loses a seat.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub over_capacity: i64,
    /// Whether it is hidden from users. Those who are registered keep what they have.
    pub hidden: bool,
    /// The version for `If-Match`, in quotes the `ETag`. Every edit of a field changes it, and no registration does.
    #[cfg_attr(feature = "openapi", schema(examples("84368c4a0f9a4a018fc253d5fbdff345")))]
    pub version: String,
}

/// An exam, as an operator sees it.
pub type ManagedExam = ManagedItem<ExamId>;

/// A course, as an operator sees it.
pub type ManagedCourse = ManagedItem<CourseId>;

/// Body of `POST /api/operator/tests/` and `POST /api/operator/courses/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewItem {
    /// Title.
    pub title: String,
    /// Description, if it has one.
    #[serde(default)]
    pub description: Option<String>,
    /// What it costs; 0 is free.
    pub price: Money,
    /// How many may register; null, or left out, for no limit.
    #[serde(default)]
    pub capacity: Option<i64>,
    /// First instant at which users may register for it.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-01T00:00:00Z")))]
    pub start_at: DateTime,
    /// Last instant at which users may register for it.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-30T14:59:59Z")))]
    pub end_at: DateTime,
    /// Whether it is hidden from users.
    #[serde(default)]
    pub hidden: bool,
}

/// Body of `PATCH /api/operator/tests/{id}/` and `PATCH /api/operator/courses/{id}/`. A field that is left out stays as it
/// is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EditItem {
    /// The new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new description; null for none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub description: Option<Option<String>>,
    /// The new price. It changes no payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// The new capacity; null for no limit. It may be less than the seats that are taken.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub capacity: Option<Option<i64>>,
    /// The new first instant at which users may register for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<DateTime>,
    /// The new last instant at which users may register for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_at: Option<DateTime>,
    /// Whether to hide it from users, or to show it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<bool>,
}

/// A registration for an exam or a course, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManagedRegistration {
    /// Id of the application or the enrolment.
    pub id: RegistrationId,
    /// Id of the user who is registered.
    pub user_id: UserId,
    /// Their e-mail address.
    #[cfg_attr(feature = "openapi", schema(examples("minsu@example.com")))]
    pub email: String,
    /// Their display name.
    #[cfg_attr(feature = "openapi", schema(examples("김민수")))]
    pub username: String,
    /// What became of it.
    #[cfg_attr(feature = "openapi", schema(value_type = RegistrationStatus))]
    pub status: Word<RegistrationStatus>,
    /// When the user registered.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub registered_at: DateTime,
    /// When it was completed, if it was.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub completed_at: Option<DateTime>,
    /// When it was cancelled, if it was.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub cancelled_at: Option<DateTime>,
    /// The latest payment for it, if there is one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub payment_id: Option<PaymentId>,
    /// What was paid.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub amount: Option<Money>,
    /// How it was paid.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<PaymentMethod>))]
    pub payment_method: Option<Word<PaymentMethod>>,
    /// What became of the payment.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<PaymentStatus>))]
    pub payment_status: Option<Word<PaymentStatus>>,
    /// What an operator has entered for the payment: what it is known by elsewhere, or why nothing was paid.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("무통장 2026-11-23 3번")))]
    pub reference: Option<String>,
}

/// Tells null, which is `Some(None)`, from a field that is left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Answer of `POST` and `DELETE /api/operator/users/{id}/operator/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserRights {
    /// Id of the account.
    pub id: UserId,
    /// E-mail address.
    #[cfg_attr(feature = "openapi", schema(examples("minsu@example.com")))]
    pub email: String,
    /// Display name.
    #[cfg_attr(feature = "openapi", schema(examples("김민수")))]
    pub username: String,
    /// Whether the user is an operator.
    pub is_operator: bool,
    /// Whether the user also makes operators.
    pub is_superuser: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_tells_null_from_a_field_that_is_left_out() {
        for (json, edit) in [
            ("{}", EditItem::default()),
            (
                r#"{"description":null,"capacity":null}"#,
                EditItem {
                    description: Some(None),
                    capacity: Some(None),
                    ..EditItem::default()
                },
            ),
            (
                r#"{"price":"0.00","capacity":3}"#,
                EditItem {
                    price: Some(Money::won(0)),
                    capacity: Some(Some(3)),
                    ..EditItem::default()
                },
            ),
        ] {
            assert_eq!(serde_json::to_string(&edit).unwrap(), json);
            assert_eq!(serde_json::from_str::<EditItem>(json).unwrap(), edit);
        }
    }
}
