//! The id of one request: made here, never taken from a client.

use std::{
    cell::Cell,
    fmt,
    hash::{BuildHasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::Uuid;

/// A UUID of version 7 (RFC 9562): sorts by time, says nothing about the client. Not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Uuid);

thread_local! {
    // `Uuid::now_v7` takes a lock that all threads share, and asks the kernel for randomness each time. A counter
    // from a random start, scrambled, is as good here and costs a few multiplications. No destructor.
    static STATE: Cell<[u64; 2]> = Cell::new([RandomState::new().hash_one(0), RandomState::new().hash_one(1)]);
}

/// The next number of a thread's sequence, and one more that goes with it. SplitMix64 (Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", 2014): no number comes twice within 2^64.
fn next_numbers() -> (u64, u64) {
    fn scramble(mut value: u64) -> u64 {
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
    STATE.with(|state| {
        let [counter, key] = state.get();
        let counter = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set([counter, key]);
        (scramble(counter), scramble(counter ^ key))
    })
}

impl RequestId {
    /// A new id. Takes no lock and makes no system call beyond reading the clock.
    pub fn new() -> Self {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let (first, second) = next_numbers();
        let mut random = [0; 10];
        random[..8].copy_from_slice(&first.to_le_bytes());
        random[8..].copy_from_slice(&second.to_le_bytes()[..2]);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The id of a request that goes on inside the host, from its text; `None` where that is no UUID.
    pub fn of(text: &str) -> Option<Self> {
        Uuid::parse_str(text).ok().map(Self)
    }

    /// When it was made, in milliseconds since the Unix epoch; its first 48 bits.
    pub fn unix_millis(self) -> i64 {
        (self.0.as_u128() >> 80) as i64
    }

    /// The id as a UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    #[test]
    fn ids_are_version_7_and_differ_across_threads() {
        let make = || (0..10_000).map(|_| RequestId::new()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(make)).collect();
        let ids: HashSet<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.len(), 40_000);
        let id = RequestId::new();
        assert_eq!((id.uuid().get_version_num(), id.to_string().len()), (7, 36));
        let (seconds, _) = id.uuid().get_timestamp().unwrap().to_unix();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(seconds) <= 60);
        assert_eq!(id.unix_millis() / 1000, seconds as i64);
    }
}
