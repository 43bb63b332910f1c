//! Who asks for a tenant's flags from outside right now: counted for each tenant by what they are there for, and told of
//! changes. Nobody who counts takes a lock. A tenant for which nobody asks has nothing here, so a change of it costs one look.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use tokio::{
    sync::{Mutex, watch},
    time::{Duration, Instant, sleep_until, timeout_at},
};

use super::{Shared, command::Command, error::TenancyError, handle::Tenancy, snapshot::TenantSnapshot};
use crate::names::TenantId;

/// The state bit of a desk that has left the map. Below it is the number of those at it.
const CLOSED: u64 = 1 << 63;

/// How often a tenant is read from the store at the most, because clients say that there is something newer. Anybody can
/// say so.
const READ_EVERY: Duration = Duration::from_millis(500);

/// The desks of all tenants that somebody has asked for.
#[derive(Default)]
pub(super) struct Clients {
    desks: papaya::HashMap<TenantId, Arc<Desk>>,
    /// How many listen, to whichever tenant.
    listeners: AtomicU32,
    /// Set once, when the host goes down.
    ending: AtomicBool,
}

/// One tenant's.
#[derive(Debug)]
struct Desk {
    tenant: TenantId,
    /// `CLOSED`, and how many are at it.
    state: AtomicU64,
    /// How many are there for what, in the order of [`Errand`].
    counts: [AtomicU32; 4],
    /// Made for the first who is to be told of changes.
    changed: OnceLock<watch::Sender<()>>,
    /// When the last reading began that a client wanted, and the turn to begin one. Async, as who waits for its turn waits
    /// for what the one before it reads.
    reading: Mutex<Option<Instant>>,
}

/// What somebody is at a desk for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errand {
    /// It is still sending its request.
    Send,
    /// It is being answered.
    Ask,
    /// It waits for what it was told of.
    CatchUp,
    /// It has a stream.
    Listen,
}

/// A place at a desk; given up when dropped.
struct Place {
    shared: Arc<Shared>,
    desk: Arc<Desk>,
    errand: Errand,
}

/// A request that is still being read, counted until dropped.
#[derive(Debug)]
pub struct Sending(#[expect(dead_code, reason = "kept for its drop")] Place);

/// A request that is counted; dropped when it is answered.
#[derive(Debug)]
pub struct Asking(#[expect(dead_code, reason = "kept for its drop")] Place);

/// A request that waits until the host has what it was told of; counted until dropped.
#[derive(Debug)]
pub struct CatchingUp {
    place: Place,
    changed: watch::Receiver<()>,
}

/// Somebody who is told when a tenant has changed, or has left memory; counted until dropped.
#[derive(Debug)]
pub struct Listening {
    place: Place,
    changed: watch::Receiver<()>,
    /// How many listened before.
    before: u32,
}

/// Why nobody can listen any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooManyListen {
    /// To this tenant.
    OfTenant,
    /// To all tenants together.
    OfAll,
}

impl Clients {
    /// The tenant's desk with one more at it.
    fn desk(&self, tenant: &TenantId) -> Arc<Desk> {
        let desks = self.desks.pin();
        loop {
            let desk = match desks.get(tenant) {
                Some(desk) => Arc::clone(desk),
                None => Arc::clone(desks.get_or_insert_with(tenant.clone(), || Arc::new(Desk::of(tenant)))),
            };
            // Counts first and looks then: a desk that closes in between sees the count, or is seen closed.
            if desk.state.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 {
                return desk;
            }
            desk.state.fetch_sub(1, Ordering::AcqRel);
            // Whoever closed it takes it away, too; a new one must not be taken with it.
            let _ = desks.remove_if(tenant, |_, found| Arc::ptr_eq(found, &desk));
        }
    }

    /// Tells whoever listens that the tenant is another one now.
    pub(super) fn tell(&self, tenant: &TenantId) {
        if let Some(changed) = self.desks.pin().get(tenant).and_then(|desk| desk.changed.get()) {
            changed.send_replace(());
        }
    }

    /// Whether anybody listens.
    pub(super) fn are_listening(&self, tenant: &TenantId) -> bool {
        let desks = self.desks.pin();
        desks.get(tenant).is_some_and(|desk| desk.count(Errand::Listen).load(Ordering::Acquire) != 0)
    }

    /// Tells whoever listens that the tenant has left memory, and takes a desk away at which nobody is.
    pub(super) fn leave(&self, tenant: &TenantId) {
        self.tell(tenant);
        let desks = self.desks.pin();
        if let Some(desk) = desks.get(tenant)
            && desk.state.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
        {
            let _ = desks.remove_if(tenant, |_, found| Arc::ptr_eq(found, desk));
        }
    }

    /// Tells everybody that the host goes down.
    fn end(&self) {
        self.ending.store(true, Ordering::Release);
        for desk in self.desks.pin().values() {
            if let Some(changed) = desk.changed.get() {
                changed.send_replace(());
            }
        }
    }
}

impl Desk {
    fn of(tenant: &TenantId) -> Self {
        Self {
            tenant: tenant.clone(),
            state: AtomicU64::new(0),
            counts: Default::default(),
            changed: OnceLock::new(),
            reading: Mutex::new(None),
        }
    }

    fn count(&self, errand: Errand) -> &AtomicU32 {
        let [send, ask, catch_up, listen] = &self.counts;
        match errand {
            Errand::Send => send,
            Errand::Ask => ask,
            Errand::CatchUp => catch_up,
            Errand::Listen => listen,
        }
    }
}

impl Place {
    /// A place at the tenant's desk, and how many were there for the same; `None` where those are `most` already.
    fn take(shared: &Arc<Shared>, tenant: &TenantId, errand: Errand, most: u32) -> Option<(Self, u32)> {
        let place = Self { shared: Arc::clone(shared), desk: shared.clients.desk(tenant), errand };
        let before = place.desk.count(errand).fetch_add(1, Ordering::AcqRel);
        (before < most).then_some((place, before))
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.desk.changed.get_or_init(|| watch::Sender::new(())).subscribe()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.desk.count(self.errand).fetch_sub(1, Ordering::AcqRel);
        let before = self.desk.state.fetch_sub(1, Ordering::AcqRel);
        // The last one at the desk of a tenant that is gone: nobody else would take the desk away.
        if before == 1 && !self.shared.directory.pin().contains_key(&self.desk.tenant) {
            self.shared.clients.leave(&self.desk.tenant);
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {}", self.errand, self.desk.tenant)
    }
}

impl CatchingUp {
    /// Completes when the tenant has changed since the last time, at least once.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: what was not told yet is told the next time.
    pub async fn changed(&mut self) {
        // It can't fail: the desk, which this keeps, has the other half.
        let _ = self.changed.changed().await;
    }
}

impl Listening {
    /// Completes when the tenant has changed since the last time, at least once.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: what was not told yet is told the next time.
    pub async fn changed(&mut self) {
        // As above.
        let _ = self.changed.changed().await;
    }

    /// How many listened to the tenant when this one began.
    pub fn before(&self) -> u32 {
        self.before
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.place.shared.clients.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Tenancy {
    /// Counts a request for a tenant's flags that is still being read, at most `most` at once.
    pub fn receive_flag_request(&self, tenant: &TenantId, most: u32) -> Option<Sending> {
        Place::take(&self.shared, tenant, Errand::Send, most).map(|(place, _)| Sending(place))
    }

    /// Counts a request for a tenant's flags, at most `most` at once.
    pub fn ask_flags(&self, tenant: &TenantId, most: u32) -> Option<Asking> {
        Place::take(&self.shared, tenant, Errand::Ask, most).map(|(place, _)| Asking(place))
    }

    /// Counts a request that waits for what it was told of, at most `most` at once for a tenant.
    pub fn catch_up(&self, tenant: &TenantId, most: u32) -> Option<CatchingUp> {
        let (place, _) = Place::take(&self.shared, tenant, Errand::CatchUp, most)?;
        let changed = place.changes();
        Some(CatchingUp { place, changed })
    }

    /// Listens to changes of a tenant, at most `most` at once, and `most_of_all` to all tenants together.
    ///
    /// # Errors
    ///
    /// [`TooManyListen`].
    pub fn listen(&self, tenant: &TenantId, most: u32, most_of_all: u32) -> Result<Listening, TooManyListen> {
        let (place, before) = Place::take(&self.shared, tenant, Errand::Listen, most).ok_or(TooManyListen::OfTenant)?;
        let of_all = self.shared.clients.listeners.fetch_add(1, Ordering::AcqRel);
        let changed = place.changes();
        // From here on it is counted once for all.
        let listening = Listening { place, changed, before };
        if of_all < most_of_all { Ok(listening) } else { Err(TooManyListen::OfAll) }
    }

    /// Tells all who listen that the host goes down, before it waits for their connections.
    pub fn end_listening(&self) {
        self.shared.clients.end();
    }

    /// Whether those who listen are to leave.
    pub fn is_ending(&self) -> bool {
        self.shared.clients.ending.load(Ordering::Acquire)
    }

    /// A tenant's picture that is not older than a revision, read again from the store where the one in memory is. Where
    /// the store has nothing newer either, what it has. However many ask, one reading begins in half a second; who comes in
    /// between waits for the next one, and at the deadline gets what there is.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::load`].
    pub async fn load_since(
        &self,
        waiting: &CatchingUp,
        revision: u64,
        deadline: Instant,
    ) -> Result<Arc<TenantSnapshot>, TenancyError> {
        let (arrived, desk) = (Instant::now(), &waiting.place.desk);
        let tenant = &desk.tenant;
        let good = || self.snapshot(tenant.as_str()).filter(|snapshot| snapshot.revision() >= revision);
        if let Some(snapshot) = good() {
            return Ok(snapshot);
        }
        if let Ok(mut last) = timeout_at(deadline, desk.reading.lock()).await {
            if let Some(snapshot) = good() {
                return Ok(snapshot);
            }
            let next = last.map_or(arrived, |last| last + READ_EVERY);
            // One that began after this one came has told all that there is.
            let is_told = last.is_some_and(|last| last >= arrived);
            if !is_told && next <= deadline {
                sleep_until(next).await;
                *last = Some(Instant::now());
                let since = revision;
                return self.ask_in_time(|reply| Command::Load { tenant: tenant.clone(), since, reply }).await;
            }
        }
        match self.snapshot(tenant.as_str()) {
            Some(snapshot) => Ok(snapshot),
            None => self.load(tenant).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;

    use super::*;
    use crate::{catalog::Catalog, tenancy::snapshot::Bases};

    /// No tenant is in memory.
    fn shared() -> (Arc<Shared>, TenantId) {
        let shared = Shared {
            directory: papaya::HashMap::new(),
            catalog: ArcSwap::from_pointee(Catalog::default()),
            bases: ArcSwap::from_pointee(Bases(Vec::new())),
            clients: Clients::default(),
        };
        (Arc::new(shared), "acme".parse().unwrap())
    }

    #[test]
    fn no_more_are_let_in_than_may_be_and_the_counts_are_apart() {
        let (shared, acme) = shared();
        let take = |errand, most| Place::take(&shared, &acme, errand, most);
        let (first, second) = (take(Errand::Ask, 2).unwrap(), take(Errand::Ask, 2).unwrap());
        assert_eq!((first.1, second.1), (0, 1));
        assert!(take(Errand::Ask, 2).is_none());
        let others = [Errand::Send, Errand::CatchUp, Errand::Listen].map(|errand| {
            let one = take(errand, 1).unwrap();
            assert!(take(errand, 1).is_none() && one.1 == 0, "{errand:?}");
            one
        });
        drop(first);
        let third = take(Errand::Ask, 2).unwrap();
        assert!(take(Errand::Ask, 2).is_none());
        drop((second, third));
        assert_eq!(take(Errand::Ask, 1).unwrap().1, 0);
        assert_eq!(others[0].0.desk.state.load(Ordering::Acquire), 3);
    }

    #[test]
    fn a_desk_goes_with_the_last_one_at_it() {
        let (shared, acme) = shared();
        let desks = || shared.clients.desks.pin().len();
        for errand in [Errand::Send, Errand::Ask, Errand::CatchUp, Errand::Listen] {
            let place = Place::take(&shared, &acme, errand, 1).unwrap();
            let refused = Place::take(&shared, &acme, errand, 0);
            // The tenant leaves memory while somebody is at its desk.
            shared.clients.leave(&acme);
            assert_eq!((refused.is_none(), desks()), (true, 1), "somebody is at it");
            drop(place);
            assert_eq!(desks(), 0, "{errand:?}");
        }
        // One that is closed and still found is nobody's: a new one takes its place.
        let closed = Arc::new(Desk::of(&acme));
        closed.state.store(CLOSED, Ordering::Release);
        shared.clients.desks.pin().insert(acme.clone(), closed);
        let (fresh, before) = Place::take(&shared, &acme, Errand::Ask, 1).unwrap();
        assert_eq!((before, fresh.desk.state.load(Ordering::Acquire), desks()), (0, 1, 1));
    }

    #[tokio::test]
    async fn many_changes_are_told_once() {
        let (shared, acme) = shared();
        let clients = &shared.clients;
        clients.tell(&acme);
        assert!(clients.desks.pin().is_empty(), "nobody listens, and nothing is kept");
        let (place, _) = Place::take(&shared, &acme, Errand::Listen, 1).unwrap();
        let mut changed = place.changes();
        for _ in 0..3 {
            clients.tell(&acme);
        }
        changed.changed().await.unwrap();
        assert!(!changed.has_changed().unwrap());
        clients.leave(&acme);
        changed.changed().await.unwrap();
        assert!(!clients.ending.load(Ordering::Acquire));
        clients.end();
        changed.changed().await.unwrap();
        assert!(clients.ending.load(Ordering::Acquire));
    }
}
