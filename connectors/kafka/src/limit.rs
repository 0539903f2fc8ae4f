//! Cuts an epoch down to a number of rows, by Spark's rule.

use std::collections::BTreeMap;

use tidegate_api::PartitionId;

/// What lies waiting in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Span {
    /// Offsets in it; none if the end was moved back.
    pub(crate) fn size(self) -> u64 {
        u64::try_from(self.end.saturating_sub(self.start)).unwrap_or(0)
    }
}

/// Offsets in all spans.
pub(crate) fn total(spans: &BTreeMap<PartitionId, Span>) -> u64 {
    spans.values().map(|it| it.size()).fold(0, u64::saturating_add)
}

/// Shares `limit` offsets among the spans by their size. Each that has any gets one at least, so that the sum may pass
/// the limit by the number of partitions.
pub(crate) fn share(limit: u64, spans: &mut BTreeMap<PartitionId, Span>) {
    let total = total(spans);
    if total <= limit {
        return;
    }
    for span in spans.values_mut().filter(|it| it.size() > 0) {
        let part = portion(limit, span.size(), total);
        span.end = span.end.min(span.start.saturating_add(i64::try_from(part).unwrap_or(i64::MAX)));
    }
}

/// `limit · size / total`, up if below one, else down. In whole numbers: floats would lose offsets above 2^53.
fn portion(limit: u64, size: u64, total: u64) -> u64 {
    let exact = u128::from(limit) * u128::from(size);
    let part = exact / u128::from(total.max(1));
    u64::try_from(part).unwrap_or(u64::MAX).max(u64::from(exact > 0))
}

#[cfg(test)]
mod tests;
