//! Medians and percentiles.

/// The value at `share` (0 to 1) of the sorted values; 0 when there are none.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = (number(last) * share).round() as usize;
    values.get(place).copied().unwrap_or(0.0)
}

/// The middle value.
pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// A count to calculate with.
#[expect(clippy::cast_precision_loss)]
pub fn number(count: usize) -> f64 {
    count as f64
}
