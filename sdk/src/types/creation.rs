//! Creating many exams or courses at once.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Date, UnknownWord, payment::words};

words! {
    /// The time between two copies.
    Every {
        /// A day.
        Day = "day",
        /// A week.
        Week = "week",
        /// A month. In a month that is too short, the last day.
        Month = "month",
    }
}

/// Body of `POST /api/operator/tests/{id}/repeat/` and of the same for courses. It needs `count` or `until`; of both, what
/// ends first counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RepeatItem {
    /// The time from one copy to the next. The first copy is this long after the item itself.
    pub every: Every,
    /// How many copies, at most 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 500, examples(8)))]
    pub count: Option<i64>,
    /// The last day, in the time zone, on which a copy may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// The time zone whose clock shows the same time for each copy, by its name in the database of IANA.
    #[cfg_attr(feature = "openapi", schema(examples("Asia/Seoul")))]
    pub time_zone: String,
}

/// Answer of an import, and of a repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ItemsCreated<Id> {
    /// How many were created, or would be.
    pub count: u64,
    /// Their ids, in the order of the file or of their periods; none of a dry run.
    pub ids: Vec<Id>,
}
