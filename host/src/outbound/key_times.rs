//! When issuers' keys are looked for.

use std::time::Duration;

/// When issuers' keys are looked for, beside the configured refresh.
#[derive(Debug, Clone, Copy)]
pub struct KeyTimes {
    /// Between two looks at a file.
    pub look_every: Duration,
    /// The least time between two fetches because of tokens that name unknown keys.
    pub least_between: Duration,
    /// After the first failed fetch; doubled each time.
    pub retry_base: Duration,
    /// The longest time after a failed fetch.
    pub retry_limit: Duration,
}

impl Default for KeyTimes {
    fn default() -> Self {
        Self {
            look_every: Duration::from_secs(2),
            least_between: Duration::from_secs(10),
            retry_base: Duration::from_secs(1),
            retry_limit: Duration::from_secs(60),
        }
    }
}

impl KeyTimes {
    /// How long to wait after so many failures in a row, from 1.
    pub(super) fn after_failures(&self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.retry_base.saturating_mul(doubled).min(self.retry_limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        let seconds = |failures| KeyTimes::default().after_failures(failures).as_secs();
        assert_eq!([1, 2, 3, 6, 7, 40, u32::MAX].map(seconds), [1, 2, 4, 32, 60, 60, 60]);
    }
}
