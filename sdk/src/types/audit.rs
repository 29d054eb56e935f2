//! What the audit finds.

use serde::{Deserialize, Serialize};

/// The result of one check: a line of the answer of `GET /api/operator/audit/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditCheck {
    /// The name of the check.
    #[cfg_attr(feature = "openapi", schema(examples("registration_count")))]
    pub check: String,
    /// `test` or `course`, for a check that runs for each of them.
    #[cfg_attr(feature = "openapi", schema(required = true, examples("course")))]
    pub kind: Option<String>,
    /// Its number, counted from 1.
    #[cfg_attr(feature = "openapi", schema(examples(8)))]
    pub number: i64,
    /// How many checks there are.
    #[cfg_attr(feature = "openapi", schema(examples(50)))]
    pub checks: i64,
    /// How many rows are wrong.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub count: i64,
    /// The ids of these rows, at most a hundred, as the check writes them.
    #[cfg_attr(feature = "openapi", schema(examples(json!(["7 has 3 seats taken, of 2"]))))]
    pub ids: Vec<String>,
    /// What to do about what is found; null if nothing is.
    #[cfg_attr(feature = "openapi", schema(required = true, examples("Compare with a backup.")))]
    pub advice: Option<String>,
}
