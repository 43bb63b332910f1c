//! Medians, percentiles and ratios of pairs. Pure.

use std::time::Duration;

/// The middle of some numbers, and how far they went: all the way where they are few; the 5th and the 95th percentile
/// where they are a hundred or more, of which some are certain to have been interrupted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// `None` where there are no numbers.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let cut = if sorted.len() < 100 { 0 } else { sorted.len() / 20 };
        let (low, high) = (*sorted.get(cut)?, sorted[sorted.len() - 1 - cut]);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        Some(Self { median, low, high })
    }

    /// Of the ratios of numbers that were measured side by side: what disturbs both cancels out.
    pub(crate) fn of_ratios(over: &[f64], under: &[f64]) -> Option<Self> {
        Self::of(over.iter().zip(under).map(|(over, under)| over / under))
    }

    /// Of the differences of numbers that were measured side by side.
    pub(crate) fn of_differences(from: &[f64], less: &[f64]) -> Option<Self> {
        Self::of(from.iter().zip(less).map(|(from, less)| from - less))
    }
}

/// How often each latency came, by the microsecond up to a limit, above it in one heap.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    counts: Vec<u32>,
    total: u64,
    most: Duration,
}

/// Above this a latency is counted, but not told from others.
const LATENCY_LIMIT_MICROS: usize = 1_000_000;

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; LATENCY_LIMIT_MICROS + 1], total: 0, most: Duration::ZERO }
    }
}

impl Latencies {
    pub(crate) fn add(&mut self, latency: Duration) {
        let micros = usize::try_from(latency.as_micros()).unwrap_or(usize::MAX).min(LATENCY_LIMIT_MICROS);
        self.counts[micros] += 1;
        self.total += 1;
        self.most = self.most.max(latency);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.most = self.most.max(other.most);
    }

    /// The longest one seen.
    pub(crate) fn most(&self) -> Duration {
        self.most
    }

    /// The least latency that so many of 1,000 did not exceed; `None` where nothing was counted.
    pub(crate) fn per_mille(&self, per_mille: u64) -> Option<Duration> {
        if self.total == 0 {
            return None;
        }
        let wanted = (self.total * per_mille).div_ceil(1000).max(1);
        let mut so_far = 0;
        let at = self.counts.iter().position(|count| {
            so_far += u64::from(*count);
            so_far >= wanted
        })?;
        Some(Duration::from_micros(at as u64).min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_one_or_between_the_two() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([2.0]), Some(Spread { median: 2.0, low: 2.0, high: 2.0 }));
        assert_eq!(Spread::of([9.0, 1.0, 2.0]), Some(Spread { median: 2.0, low: 1.0, high: 9.0 }));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, low: 1.0, high: 9.0 }));
        let many = Spread::of((0..=200).map(f64::from)).unwrap();
        assert_eq!((many.low, many.median, many.high), (10.0, 100.0, 190.0));
    }

    #[test]
    fn pairs_cancel_what_disturbs_both() {
        // The second round met a machine half as fast.
        let (ours, theirs) = ([110.0, 55.0, 120.0], [100.0, 50.0, 100.0]);
        let ratio = Spread::of_ratios(&ours, &theirs).unwrap();
        assert!((ratio.median - 1.1).abs() < 1e-9 && (ratio.high - 1.2).abs() < 1e-9, "{ratio:?}");
        let difference = Spread::of_differences(&ours, &theirs).unwrap();
        assert_eq!((difference.median, difference.low, difference.high), (10.0, 5.0, 20.0));
    }

    #[test]
    fn percentiles_count_from_below_and_the_longest_is_kept() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.per_mille(990), None);
        for micros in 1..=100 {
            latencies.add(Duration::from_micros(micros));
        }
        let micros = |per_mille| latencies.per_mille(per_mille).unwrap().as_micros();
        assert_eq!((micros(0), micros(500), micros(990), micros(1000)), (1, 50, 99, 100));
        let mut other = Latencies::default();
        other.add(Duration::from_secs(7));
        latencies.merge(&other);
        assert_eq!(
            (latencies.most(), latencies.per_mille(1000)),
            (Duration::from_secs(7), Some(Duration::from_secs(1)))
        );
    }
}
