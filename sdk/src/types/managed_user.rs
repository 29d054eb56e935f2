//! Users, as operators see them.

use serde::{Deserialize, Serialize};

use super::{DateTime, ManagedRegistration, PaymentType, UserId};

/// A user, as an operator sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManagedUser {
    /// Id of the account.
    pub id: UserId,
    /// E-mail address.
    #[cfg_attr(feature = "openapi", schema(examples("minsu@example.com")))]
    pub email: String,
    /// Display name.
    #[cfg_attr(feature = "openapi", schema(examples("김민수")))]
    pub username: String,
    /// Whether the user may log in and send requests.
    pub is_active: bool,
    /// Whether the user is an operator.
    pub is_operator: bool,
    /// Whether the user also makes operators.
    pub is_superuser: bool,
    /// When the user logged in last, if ever.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_login: Option<DateTime>,
}

/// Answer of `GET /api/operator/users/{id}/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserDetails {
    /// Id of the account.
    pub id: UserId,
    /// E-mail address.
    #[cfg_attr(feature = "openapi", schema(examples("minsu@example.com")))]
    pub email: String,
    /// Display name.
    #[cfg_attr(feature = "openapi", schema(examples("김민수")))]
    pub username: String,
    /// Whether the user may log in and send requests.
    pub is_active: bool,
    /// Whether the user is an operator.
    pub is_operator: bool,
    /// Whether the user also makes operators.
    pub is_superuser: bool,
    /// When the user logged in last, if ever.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_login: Option<DateTime>,
    /// How many payments the user has.
    #[cfg_attr(feature = "openapi", schema(examples(3)))]
    pub payments: i64,
    /// How many registrations the user has, those that are cancelled included.
    pub registrations: RegistrationCounts,
}

/// How many registrations a user has of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegistrationCounts {
    /// Applications for exams.
    #[serde(rename = "test")]
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub exams: i64,
    /// Enrolments in courses.
    #[serde(rename = "course")]
    #[cfg_attr(feature = "openapi", schema(examples(2)))]
    pub courses: i64,
}

/// A registration of one user, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UserRegistration {
    /// Whether it is for an exam or a course.
    pub kind: PaymentType,
    /// Id of the exam or the course.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub item_id: i64,
    /// Its title.
    #[cfg_attr(feature = "openapi", schema(examples("정보처리기사 필기")))]
    pub title: String,
    /// The registration.
    pub registration: ManagedRegistration,
}
