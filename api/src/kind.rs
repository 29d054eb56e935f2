//! What one can register for. An exam and a course differ in what stands here, and in nothing else; a third kind is a
//! third description (and a row in the database's `sugang.kinds`).

use sugang_protocol::{ErrorSpec, Text};
use sugang_sdk::types::{ErrorCode, Registration, RegistrationId};

/// A kind of thing that one can register for and pay.
pub struct Kind {
    /// English word for one, and for several: the operation ids are made of them.
    pub names: (&'static str, &'static str),
    /// First segment of its paths.
    pub segment: &'static str,
    /// Last segment of the path on which one registers.
    pub register_segment: &'static str,
    /// Operation id of that path.
    pub register_operation: &'static str,
    /// The word for it in `payments.payment_type`.
    pub payment_type: &'static str,
    /// The key under which the id of a registration is answered.
    pub registration: fn(RegistrationId) -> Registration,
    /// The statements: list, get, register, complete.
    pub list: &'static str,
    /// See [`Self::list`].
    pub get: &'static str,
    /// See [`Self::list`].
    pub register: &'static str,
    /// See [`Self::list`].
    pub complete: &'static str,
    /// What a registration answers.
    pub registered: Text,
    /// What a completion answers.
    pub completed: Text,
    /// The caller holds a registration.
    pub already_registered: ErrorSpec,
    /// Outside the registration period.
    pub not_open: ErrorSpec,
    /// The amount is not the price.
    pub amount_mismatch: ErrorSpec,
    /// There is nothing to complete.
    pub not_registered: ErrorSpec,
    /// There is nothing left to complete.
    pub already_completed: ErrorSpec,
    /// What was to be completed is cancelled.
    pub registration_cancelled: ErrorSpec,
    /// What was to be cancelled is completed.
    pub item_completed: ErrorSpec,
}

/// All kinds.
pub static KINDS: [&Kind; 2] = [&EXAM, &COURSE];

/// Exams: "tests" on the wire.
pub static EXAM: Kind = Kind {
    names: ("exam", "exams"),
    segment: "tests",
    register_segment: "apply",
    register_operation: "apply_for_exam",
    payment_type: "test",
    registration: Registration::Application,
    list: crate::statement!(list "list_test($1, $2, $3, $4, $5)"),
    get: crate::statement!(one "get_test($1, $2)"),
    register: crate::statement!("register_test($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"),
    complete: crate::statement!("complete_test($1, $2, $3)"),
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
pub static COURSE: Kind = Kind {
    names: ("course", "courses"),
    segment: "courses",
    register_segment: "enroll",
    register_operation: "enroll_in_course",
    payment_type: "course",
    registration: Registration::Enrolment,
    list: crate::statement!(list "list_course($1, $2, $3, $4, $5)"),
    get: crate::statement!(one "get_course($1, $2)"),
    register: crate::statement!("register_course($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"),
    complete: crate::statement!("complete_course($1, $2, $3)"),
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
