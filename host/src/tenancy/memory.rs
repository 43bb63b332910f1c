//! How much of the memory tenants take, and who makes room when it is too much: those that nothing runs for and nobody
//! has asked for lately. They are read again when somebody does.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{handle::Tenancy, snapshot::TenantSnapshot, supervisor::Supervisor};
use crate::names::TenantId;

/// What tenants in memory take, as the supervisor counts it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// About so many bytes.
    bytes: usize,
    /// Reads of pictures that are no more in force.
    reads_before: u64,
    /// The sweep in which there was nobody left to make room; there is none until the next.
    full_at: Option<u32>,
}

impl Memory {
    /// One picture has come in the place of another.
    pub(super) fn took(&mut self, before: Option<&TenantSnapshot>, after: Option<&TenantSnapshot>) {
        let bytes = |it: Option<&TenantSnapshot>| it.map_or(0, TenantSnapshot::bytes);
        self.bytes = (self.bytes + bytes(after)).saturating_sub(bytes(before));
        self.reads_before += before.map_or(0, |before| before.used.reads());
    }
}

/// What readers are told of it.
#[derive(Debug, Default)]
pub(super) struct MemoryCounters {
    bytes: AtomicU64,
    reads_before: AtomicU64,
    misses: AtomicU64,
    evicted: AtomicU64,
}

/// Tenants in memory: how much they take, and how often they were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryFigures {
    /// About so many bytes, beside what tenants share.
    pub bytes: u64,
    /// How many there may be.
    pub budget: u64,
    /// Looks at a tenant that was there.
    pub hits: u64,
    /// Looks at one that was not, one for each read however many waited for it.
    pub misses: u64,
    /// Tenants that made room for others.
    pub evicted: u64,
}

impl Supervisor {
    /// Lets those go that are least in use, until there is some room. The one that has just come stays.
    pub(super) fn make_room(&mut self, newest: &TenantId) {
        let budget = self.context.settings.memory_budget;
        let now = self.context.tick.load(Ordering::Relaxed);
        if self.memory.bytes > budget && self.memory.full_at != Some(now) {
            let mut idle: Vec<(u32, TenantId)> = self
                .tenants
                .iter()
                .filter(|(id, tenant)| {
                    *id != newest && !tenant.is_unsaved() && !tenant.is_live() && tenant.is_at_rest()
                })
                // Whoever listens would have it read again at once.
                .filter(|(id, _)| !self.shared.clients.are_listening(id))
                .filter_map(|(id, tenant)| {
                    let last = tenant.snapshot.as_ref()?.used.tick();
                    Some((now.wrapping_sub(last), id.clone()))
                })
                .collect();
            idle.sort_unstable_by_key(|(age, _)| std::cmp::Reverse(*age));
            // A tenth at once, so that this is not done for each that comes.
            for (_, id) in idle {
                if self.memory.bytes <= budget - budget / 10 {
                    break;
                }
                self.withdraw(&id);
                self.forget_if_empty(&id);
                self.context.memory.evicted.fetch_add(1, Ordering::Relaxed);
            }
            self.memory.full_at = (self.memory.bytes > budget).then_some(now);
        }
        self.tell_memory();
    }

    pub(super) fn tell_memory(&self) {
        let told = &self.context.memory;
        told.bytes.store(self.memory.bytes as u64, Ordering::Relaxed);
        told.reads_before.store(self.memory.reads_before, Ordering::Relaxed);
    }
}

impl MemoryCounters {
    /// Somebody looked for a tenant that was not there.
    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }
}

impl Tenancy {
    /// How much the tenants in memory take, and how often they were there.
    pub fn memory(&self) -> MemoryFigures {
        let (told, settings) = (&self.context.memory, &self.context.settings);
        let now: u64 = self.shared.directory.pin().values().map(|snapshot| snapshot.used.reads()).sum();
        MemoryFigures {
            bytes: told.bytes.load(Ordering::Relaxed),
            budget: settings.memory_budget as u64,
            hits: told.reads_before.load(Ordering::Relaxed) + now,
            misses: told.misses.load(Ordering::Relaxed),
            evicted: told.evicted.load(Ordering::Relaxed),
        }
    }
}
