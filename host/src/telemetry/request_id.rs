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
    // A keyed hash of a counter: as good as random and free of system calls. `Uuid::now_v7` takes a lock that
    // all threads share, and asks the kernel for randomness each time. Neither value here has a destructor.
    static KEY: RandomState = RandomState::new();
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

impl RequestId {
    /// A new id. Takes no lock and makes no system call beyond reading the clock.
    pub fn new() -> Self {
        let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let count = NEXT.with(|next| next.replace(next.get().wrapping_add(1)));
        let (first, second) = KEY.with(|key| (key.hash_one((count, 0u8)), key.hash_one((count, 1u8))));
        let mut random = [0; 10];
        random[..8].copy_from_slice(&first.to_le_bytes());
        random[8..].copy_from_slice(&second.to_le_bytes()[..2]);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
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
    }
}
