//! Latencies, told apart by whether a swap was near. The host's log tells of swaps a little later than they happen, so
//! latencies wait a while before they are counted.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::line::Times;
use crate::stats::Latencies;

/// How far from a swap a request is near it.
const NEAR: Duration = Duration::from_millis(25);

/// How long the log may take to tell of a swap.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Latencies near swaps, and far from all.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// In order.
    swaps: Vec<Instant>,
    waiting: VecDeque<Times>,
    pub(super) near: Latencies,
    pub(super) far: Latencies,
}

impl Windows {
    /// A tenant's new picture was put in force.
    pub(super) fn swapped(&mut self, at: Instant) {
        let place = self.swaps.partition_point(|swap| *swap <= at);
        self.swaps.insert(place, at);
    }

    /// An answer, and since when it was waited for.
    pub(super) fn answered(&mut self, times: Times) {
        self.waiting.push_back(times);
        while self.waiting.front().is_some_and(|first| times.received.duration_since(first.received) > TOLD_WITHIN) {
            self.count_first();
        }
    }

    /// Counts what waits, when no more is told.
    pub(super) fn close(&mut self) {
        while !self.waiting.is_empty() {
            self.count_first();
        }
    }

    fn count_first(&mut self) {
        let Some(Times { sent, received }) = self.waiting.pop_front() else { return };
        let next = self.swaps.partition_point(|swap| *swap + NEAR < sent);
        let is_near = self.swaps.get(next).is_some_and(|swap| *swap <= received + NEAR);
        let latencies = if is_near { &mut self.near } else { &mut self.far };
        latencies.add(received - sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_the_time_around_a_swap_is_near_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut windows = Windows::default();
        for (sent, received) in [(10, 70), (10, 80), (100, 101), (124, 300), (126, 127), (126, 2_000)] {
            windows.answered(Times { sent: at(sent), received: at(received) });
        }
        windows.swapped(at(100));
        windows.close();
        let per_mille = |latencies: &Latencies, per_mille| latencies.per_mille(per_mille).unwrap().as_millis();
        // Far are those of 60, 1 and 1,874 ms.
        assert_eq!((per_mille(&windows.far, 333), per_mille(&windows.far, 666)), (1, 60));
        assert_eq!((per_mille(&windows.near, 333), per_mille(&windows.near, 666)), (1, 70));
    }
}
