//! The kinds of items that users register for. Exams and courses differ only in what this module describes.
//!
//! A third kind needs a description here, and one for the database in `migrations/src/kind.rs`.

use std::sync::LazyLock;

use sugang_protocol::{ErrorSpec, Text};
use sugang_sdk::types::{ErrorCode, Registration, RegistrationId};

use crate::store::functions::KindFunctions;

/// The description of a kind: its words in paths, in the database and in responses.
pub(crate) struct ItemKind {
    /// The English singular and plural, from which operation ids are made.
    pub(crate) names: (&'static str, &'static str),
    /// The first segment of its paths.
    pub(crate) segment: &'static str,
    /// The last segment of the path that registers.
    pub(crate) register_segment: &'static str,
    /// The operation id of the path that registers.
    pub(crate) register_operation: &'static str,
    /// The value of `payments.payment_type`.
    pub(crate) payment_type: &'static str,
    /// The key under which a response carries the id of a registration.
    pub(crate) registration: fn(RegistrationId) -> Registration,

    /// The statements of its SQL functions.
    functions: LazyLock<KindFunctions>,

    // The texts of success.
    pub(crate) registered: Text,
    pub(crate) completed: Text,

    // The errors that name the kind.
    pub(crate) already_registered: ErrorSpec,
    pub(crate) not_open: ErrorSpec,
    pub(crate) amount_mismatch: ErrorSpec,
    pub(crate) not_registered: ErrorSpec,
    pub(crate) already_completed: ErrorSpec,
    pub(crate) registration_cancelled: ErrorSpec,
    /// A payment cannot be cancelled after its item was completed.
    pub(crate) item_completed: ErrorSpec,
}

impl ItemKind {
    /// The statements of its SQL functions.
    pub(crate) fn functions(&'static self) -> &'static KindFunctions {
        &self.functions
    }

    /// The lock that every request takes which gives a user a seat of an item.
    pub(crate) fn lock(&self, user: i64, item: i64) -> String {
        format!("register:{}:{user}:{item}", self.payment_type)
    }
}

/// Every kind.
pub(crate) static KINDS: [&ItemKind; 2] = [&EXAM, &COURSE];

/// Exams: "tests" on the wire.
static EXAM: ItemKind = ItemKind {
    names: ("exam", "exams"),
    segment: "tests",
    register_segment: "apply",
    register_operation: "apply_for_exam",
    payment_type: "test",
    registration: Registration::Application,
    functions: LazyLock::new(|| KindFunctions::of_kind("test")),
    registered: Text::new(
        "시험 응시 신청이 완료되었습니다",
        "The application for the exam is complete",
    ),
    completed: Text::new("시험이 완료되었습니다", "The exam is completed"),
    already_registered: ErrorSpec::error(
        ErrorCode::AlreadyRegistered,
        Text::new("이미 응시 신청한 시험입니다", "You have applied for this exam already"),
    ),
    not_open: ErrorSpec::error(
        ErrorCode::NotOpen,
        Text::new("현재 응시 가능한 기간이 아닙니다", "This exam is not open now"),
    ),
    amount_mismatch: ErrorSpec::error(
        ErrorCode::AmountMismatch,
        Text::new(
            "결제 금액이 시험 가격과 일치하지 않습니다",
            "The amount is not the price of the exam",
        ),
    ),
    not_registered: ErrorSpec::error(
        ErrorCode::NotRegistered,
        Text::new("응시 신청 내역이 없습니다", "You have not applied for this exam"),
    ),
    already_completed: ErrorSpec::error(
        ErrorCode::AlreadyCompleted,
        Text::new("이미 완료된 시험입니다", "This exam is completed already"),
    ),
    registration_cancelled: ErrorSpec::error(
        ErrorCode::RegistrationCancelled,
        Text::new("취소된 시험입니다", "The application for this exam is cancelled"),
    ),
    item_completed: ErrorSpec::error(
        ErrorCode::ItemCompleted,
        Text::new(
            "완료된 시험의 결제는 취소할 수 없습니다",
            "The payment of a completed exam cannot be cancelled",
        ),
    ),
};

/// Courses.
static COURSE: ItemKind = ItemKind {
    names: ("course", "courses"),
    segment: "courses",
    register_segment: "enroll",
    register_operation: "enroll_in_course",
    payment_type: "course",
    registration: Registration::Enrolment,
    functions: LazyLock::new(|| KindFunctions::of_kind("course")),
    registered: Text::new(
        "수업 수강 신청이 완료되었습니다",
        "The enrolment in the course is complete",
    ),
    completed: Text::new("수업이 완료되었습니다", "The course is completed"),
    already_registered: ErrorSpec::error(
        ErrorCode::AlreadyRegistered,
        Text::new("이미 수강 신청한 수업입니다", "You are enrolled in this course already"),
    ),
    not_open: ErrorSpec::error(
        ErrorCode::NotOpen,
        Text::new("현재 수강 가능한 기간이 아닙니다", "This course is not open now"),
    ),
    amount_mismatch: ErrorSpec::error(
        ErrorCode::AmountMismatch,
        Text::new(
            "결제 금액이 수업 가격과 일치하지 않습니다",
            "The amount is not the price of the course",
        ),
    ),
    not_registered: ErrorSpec::error(
        ErrorCode::NotRegistered,
        Text::new("수강 신청 내역이 없습니다", "You are not enrolled in this course"),
    ),
    already_completed: ErrorSpec::error(
        ErrorCode::AlreadyCompleted,
        Text::new("이미 완료된 수업입니다", "This course is completed already"),
    ),
    registration_cancelled: ErrorSpec::error(
        ErrorCode::RegistrationCancelled,
        Text::new("취소된 수업입니다", "The enrolment in this course is cancelled"),
    ),
    item_completed: ErrorSpec::error(
        ErrorCode::ItemCompleted,
        Text::new(
            "완료된 수업의 결제는 취소할 수 없습니다",
            "The payment of a completed course cannot be cancelled",
        ),
    ),
};
