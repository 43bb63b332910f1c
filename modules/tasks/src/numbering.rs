//! How tasks get their numbers: a counter in the store, moved on by compare-and-set. A number is never given
//! out twice; one whose task could not be stored is left out.

use std::time::Duration;

use module_api::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Tasks;

/// The id of the one counter.
const TASK_NUMBER: &str = "task-number";

/// How often the counter is tried. Each lost round means that another writer got its numbers, so this is
/// enough for well over a hundred at once; a guess beyond what a tenant does.
const ATTEMPTS: u32 = 64;

/// The longest pause between two rounds.
const MAX_PAUSE_MILLIS: u64 = 64;

/// The last number given out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counter {
    last: u64,
}

impl Tasks {
    /// Takes `count` numbers in a row, and returns the first.
    ///
    /// # Errors
    ///
    /// 409 `numbering-busy` where others win every round; those of the store.
    pub(crate) async fn take_numbers(&self, count: u64) -> Result<u64> {
        for attempt in 0..ATTEMPTS {
            let (last, written) = match self.counters.get(TASK_NUMBER).await? {
                Some(found) => {
                    let last = found.value.last;
                    let next = Counter { last: last + count };
                    (last, self.counters.put(TASK_NUMBER, &next, found.revision).await)
                }
                None => (0, self.counters.insert(TASK_NUMBER, &Counter { last: count }).await),
            };
            match written {
                Ok(_) => return Ok(last + 1),
                Err(StoreError::Exists | StoreError::Revision) => {
                    self.tenant.sleep(pause(attempt, &self.tenant.random_id())).await;
                }
                Err(other) => return Err(other.into()),
            }
        }
        Err(Fault::conflict("numbering-busy", "too many tasks are being created at the same time; try again").into())
    }
}

/// How long to wait after a lost round: longer each time, and not as long as the others wait. The chance comes
/// from the end of a random id; the beginning of one is the time.
fn pause(attempt: u32, random_id: &str) -> Duration {
    let longest = (1_u64 << attempt.min(6)).min(MAX_PAUSE_MILLIS);
    let chance = random_id.bytes().rev().take(4).fold(0_u64, |sum, byte| sum * 31 + u64::from(byte));
    Duration::from_millis(chance % longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let id = |end: u32| format!("0199c0de-0000-7000-8000-00000000{end:04x}");
        assert_eq!(pause(0, &id(7)), Duration::ZERO);
        for attempt in 0..ATTEMPTS {
            assert!((0..100).all(|end| pause(attempt, &id(end)) < Duration::from_millis(MAX_PAUSE_MILLIS)));
        }
        let late: std::collections::BTreeSet<_> = (0..100).map(|end| pause(10, &id(end))).collect();
        assert!(late.len() > 20, "{late:?}");
        assert_eq!(pause(3, ""), Duration::ZERO);
    }
}
