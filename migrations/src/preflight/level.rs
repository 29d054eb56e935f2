//! How much a finding matters.

/// What a finding means for the migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// It stands in the way: the migration does not begin.
    Obstacle,
    /// The migration repairs it.
    Repair,
    /// It stays as it is.
    Note,
}
