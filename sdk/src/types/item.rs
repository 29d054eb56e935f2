//! Exams and courses: one shape, listed, read, registered for and completed alike.

use serde::{Deserialize, Serialize};

use super::{CourseId, DateTime, ExamId, Money, PaymentId, PaymentMethod, RegistrationId, TransactionMetadata};

/// One page of a list. `R` is the list of results as the holder needs it: [`PageOf`] for a client; JSON that the
/// database has already written for the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(description = "One page of a list.")
)]
pub struct Page<R> {
    /// How many results there are on all pages; exact.
    pub count: u64,
    /// Address of the next page, null on the last one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next: Option<String>,
    /// Address of the page before, null on the first one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub previous: Option<String>,
    /// The results of this page.
    pub results: R,
}

/// One page of a list of `T`.
pub type PageOf<T> = Page<Vec<T>>;

/// An exam or a course.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Item<Id> {
    /// Its id.
    pub id: Id,
    /// Title, at most 255 characters.
    #[cfg_attr(feature = "openapi", schema(examples("정보처리기사 실기 모의시험")))]
    pub title: String,
    /// Description, if it has one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("기출 문제로 보는 3시간 시험")))]
    pub description: Option<String>,
    /// What it costs; exactly this much must be paid.
    pub price: Money,
    /// First instant at which one may register for it.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-01T00:00:00Z")))]
    pub start_at: DateTime,
    /// Last instant at which one may register for it.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-30T14:59:59Z")))]
    pub end_at: DateTime,
    /// When it was put into the catalogue.
    #[cfg_attr(feature = "openapi", schema(examples("2026-10-01T00:00:00Z")))]
    pub created_at: DateTime,
    /// Whether the caller holds a registration for it that is not cancelled.
    #[cfg_attr(feature = "openapi", schema(examples(false)))]
    pub is_registered: bool,
    /// How many registrations that are not cancelled there are, everybody's.
    #[cfg_attr(feature = "openapi", schema(examples(12)))]
    pub registration_count: i64,
    /// How many may register; null for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<i64>,
    /// How many seats are neither registered nor held by an order; null for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining: Option<i64>,
}

/// An exam (the API's word for it is "test").
pub type Exam = Item<ExamId>;

/// A course.
pub type Course = Item<CourseId>;

/// Order of a list of exams or courses, its `sort` parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Newest first.
    #[default]
    Created,
    /// Most registrations first, then newest.
    Popular,
}

/// Body of `POST /tests/{id}/apply/` and `POST /courses/{id}/enroll/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Register {
    /// What is paid: the price of the exam or course. May be left out if that is 0.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub amount: Money,
    /// How it is paid: `free` if the price is 0, and only then. May be left out then.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub payment_method: PaymentMethod,
}

impl Register {
    /// The registration for an item whose price is 0.
    pub fn free() -> Self {
        Self {
            amount: Money::won(0),
            payment_method: PaymentMethod::Free,
        }
    }
}

/// Answer 201 of `POST /tests/{id}/apply/` and `POST /courses/{id}/enroll/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Registered {
    /// What happened, for people.
    pub message: String,
    /// The payment that was made.
    pub payment_id: PaymentId,
    /// The registration that was paid for.
    #[serde(flatten)]
    pub registration: Registration,
    /// How it was paid.
    pub payment_method: PaymentMethod,
    /// What the payment's processing costs.
    pub transaction_metadata: TransactionMetadata,
}

/// A registration: the key under which its id is sent differs by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Registration {
    /// An application for an exam.
    #[serde(rename = "registration_id")]
    Application(RegistrationId),
    /// An enrolment in a course.
    #[serde(rename = "enrollment_id")]
    Enrolment(RegistrationId),
}

impl Registration {
    /// Its id, whatever it is.
    pub fn id(self) -> RegistrationId {
        let (Self::Application(id) | Self::Enrolment(id)) = self;
        id
    }
}

/// Answer 200 of `POST /tests/{id}/complete/` and `POST /courses/{id}/complete/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Completed {
    /// What happened, for people.
    #[cfg_attr(feature = "openapi", schema(examples("시험이 완료되었습니다")))]
    pub message: String,
    /// The registration that is completed.
    #[serde(flatten)]
    pub registration: Registration,
    /// When it was completed.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub completed_at: DateTime,
}
