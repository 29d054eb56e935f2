//! What the bench compares a measurement with.

/// A goal, and what the measurement reached of it.
pub(crate) struct Goal {
    /// What was measured.
    pub what: String,
    pub bound: String,
    pub measured: String,
    pub is_reached: bool,
}

/// The median; `None` without figures. Of an even number of figures it is the upper of the middle two.
pub(crate) fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut all: Vec<_> = figures.into_iter().collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}
