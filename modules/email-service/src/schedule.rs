//! When a message that could not be handed over is tried again.

use std::time::Duration;

/// The pauses after the first failures, as multiples of the first; the last one is repeated. With the usual minute:
/// 1 min, 5 min, 30 min, 2 h, 6 h, 6 h, ... Source: RFC 5321, section 4.5.4.1, asks for at least 30 minutes in the long
/// run, and for giving up after days.
const PAUSES: [u32; 5] = [1, 5, 30, 120, 360];

/// How long to wait after so many failures in a row, 1 at least.
pub(crate) fn pause(first: Duration, failures: u32) -> Duration {
    let at = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(PAUSES.len() - 1);
    first.saturating_mul(PAUSES[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_six_hours_and_stay_there() {
        let minutes = |failures| pause(Duration::from_secs(60), failures).as_secs() / 60;
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 50].map(minutes), [1, 1, 5, 30, 120, 360, 360, 360]);
        assert_eq!(pause(Duration::from_millis(10), 3), Duration::from_millis(300));
    }
}
