/// What the API and the database call one kind of thing that one can register for. A test that is written for a kind
/// runs for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Where the list is.
    pub path: &'static str,
    /// The last segment of the path on which one registers.
    pub register: &'static str,
    /// The key of the registration's id in the answer.
    pub registration_key: &'static str,
    /// The word in `payments.payment_type`.
    pub payment_type: &'static str,
    /// Its table.
    pub items: &'static str,
    /// The table of its registrations.
    pub registrations: &'static str,
    /// The column there that names the item.
    pub item_id: &'static str,
    /// The column there that says when.
    pub registered_at: &'static str,
    /// The status there of a registration that is neither completed nor cancelled.
    pub active: &'static str,
    /// What is said about it.
    pub says: Says,
}

/// The texts that differ by kind, each in Korean and in English.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the code of the error, or what was done")]
pub struct Says {
    pub registered: [&'static str; 2],
    pub completed: [&'static str; 2],
    pub already_registered: [&'static str; 2],
    pub not_open: [&'static str; 2],
    pub amount_mismatch: [&'static str; 2],
    pub not_registered: [&'static str; 2],
    pub already_completed: [&'static str; 2],
    pub registration_cancelled: [&'static str; 2],
    pub item_completed: [&'static str; 2],
}

/// Exams, "tests" on the wire.
pub const EXAM: Kind = Kind {
    path: "/tests/",
    register: "apply",
    registration_key: "registration_id",
    payment_type: "test",
    items: "tests",
    registrations: "test_registrations",
    item_id: "test_id",
    registered_at: "applied_at",
    active: "applied",
    says: Says {
        registered: [
            "시험 응시 신청이 완료되었습니다",
            "The application for the exam is complete",
        ],
        completed: ["시험이 완료되었습니다", "The exam is completed"],
        already_registered: ["이미 응시 신청한 시험입니다", "You have applied for this exam already"],
        not_open: ["현재 응시 가능한 기간이 아닙니다", "This exam is not open now"],
        amount_mismatch: [
            "결제 금액이 시험 가격과 일치하지 않습니다",
            "The amount is not the price of the exam",
        ],
        not_registered: ["응시 신청 내역이 없습니다", "You have not applied for this exam"],
        already_completed: ["이미 완료된 시험입니다", "This exam is completed already"],
        registration_cancelled: ["취소된 시험입니다", "The application for this exam is cancelled"],
        item_completed: [
            "완료된 시험의 결제는 취소할 수 없습니다",
            "The payment of a completed exam cannot be cancelled",
        ],
    },
};

/// Courses.
pub const COURSE: Kind = Kind {
    path: "/courses/",
    register: "enroll",
    registration_key: "enrollment_id",
    payment_type: "course",
    items: "courses",
    registrations: "course_registrations",
    item_id: "course_id",
    registered_at: "enrolled_at",
    active: "enrolled",
    says: Says {
        registered: [
            "수업 수강 신청이 완료되었습니다",
            "The enrolment in the course is complete",
        ],
        completed: ["수업이 완료되었습니다", "The course is completed"],
        already_registered: ["이미 수강 신청한 수업입니다", "You are enrolled in this course already"],
        not_open: ["현재 수강 가능한 기간이 아닙니다", "This course is not open now"],
        amount_mismatch: [
            "결제 금액이 수업 가격과 일치하지 않습니다",
            "The amount is not the price of the course",
        ],
        not_registered: ["수강 신청 내역이 없습니다", "You are not enrolled in this course"],
        already_completed: ["이미 완료된 수업입니다", "This course is completed already"],
        registration_cancelled: ["취소된 수업입니다", "The enrolment in this course is cancelled"],
        item_completed: [
            "완료된 수업의 결제는 취소할 수 없습니다",
            "The payment of a completed course cannot be cancelled",
        ],
    },
};

impl Kind {
    /// Path of one item.
    pub fn item(self, id: i64) -> String {
        format!("{}{id}/", self.path)
    }

    /// Path on which one registers for it and pays.
    pub fn register(self, id: i64) -> String {
        format!("{}{id}/{}/", self.path, self.register)
    }

    /// Path on which one holds a seat of it.
    pub fn preorder(self, id: i64) -> String {
        format!("{}{id}/preorder/", self.path)
    }

    /// Path on which one completes it.
    pub fn complete(self, id: i64) -> String {
        format!("{}{id}/complete/", self.path)
    }
}
