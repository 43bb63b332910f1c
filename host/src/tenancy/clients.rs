//! Who asks for a tenant's flags from outside right now: counted for each tenant, and told of changes. Nobody who counts
//! takes a lock. A tenant for which nobody asks has nothing here, so a change of it costs one look.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::watch;

use super::{Shared, command::Command, error::TenancyError, handle::Tenancy, snapshot::TenantSnapshot};
use crate::names::TenantId;

/// The state bit of a desk that has left the map. Below it are the numbers of those who listen and who ask.
const CLOSED: u64 = 1 << 63;
/// One who listens.
const LISTENER: u64 = 1 << 32;
/// Where those who ask are counted.
const ASKING: u64 = LISTENER - 1;

/// The desks of all tenants that somebody has asked for.
#[derive(Default)]
pub(super) struct Clients {
    desks: papaya::HashMap<TenantId, Arc<Desk>>,
    /// Set once, when the host goes down.
    ending: AtomicBool,
}

/// One tenant's.
#[derive(Debug, Default)]
struct Desk {
    /// `CLOSED`, and the counts.
    state: AtomicU64,
    /// Made for the first who listens.
    changed: OnceLock<watch::Sender<()>>,
}

/// A request that is counted; dropped when it is answered.
#[derive(Debug)]
pub struct Asking(Arc<Desk>);

/// Somebody who is told when a tenant has changed, or has left memory; counted until dropped.
pub struct Listening {
    shared: Arc<Shared>,
    tenant: TenantId,
    desk: Arc<Desk>,
    changed: watch::Receiver<()>,
    /// How many listened before.
    before: u64,
}

impl Clients {
    /// The tenant's desk with one more at it, where that `is_within` what is there already.
    fn enter(&self, tenant: &TenantId, one: u64, is_within: impl Fn(u64) -> bool) -> Option<(Arc<Desk>, u64)> {
        let desks = self.desks.pin();
        loop {
            let desk = match desks.get(tenant) {
                Some(desk) => Arc::clone(desk),
                None => Arc::clone(desks.get_or_insert_with(tenant.clone(), Arc::default)),
            };
            // Counts first and looks then: a desk that closes in between sees the count, or is seen closed.
            let before = desk.state.fetch_add(one, Ordering::AcqRel);
            if before & CLOSED != 0 {
                desk.state.fetch_sub(one, Ordering::AcqRel);
                // Whoever closed it takes it away, too; a new one must not be taken with it.
                let _ = desks.remove_if(tenant, |_, found| Arc::ptr_eq(found, &desk));
                continue;
            }
            if !is_within(before) {
                desk.state.fetch_sub(one, Ordering::AcqRel);
                return None;
            }
            return Some((desk, before));
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
        let listens = |desk: &Arc<Desk>| (desk.state.load(Ordering::Acquire) & !CLOSED) / LISTENER != 0;
        self.desks.pin().get(tenant).is_some_and(listens)
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

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.state.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Listening {
    /// Completes when the tenant has changed since the last time, at least once.
    ///
    /// # Cancel safety
    ///
    /// May be dropped: what was not told yet is told the next time.
    pub async fn changed(&mut self) {
        // It can't fail: the desk, which this keeps, has the other half.
        let _ = self.changed.changed().await;
    }

    /// How many listened to the tenant when this one began.
    pub fn before(&self) -> u64 {
        self.before
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.desk.state.fetch_sub(LISTENER, Ordering::AcqRel);
        // The last listener of a tenant that is gone: nobody else would take the desk away.
        if !self.shared.directory.pin().contains_key(&self.tenant) {
            self.shared.clients.leave(&self.tenant);
        }
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listening to {}", self.tenant)
    }
}

impl Tenancy {
    /// Counts a request for a tenant's flags, at most `most` at once.
    pub fn ask_flags(&self, tenant: &TenantId, most: u32) -> Option<Asking> {
        let is_within = |before: u64| before & ASKING < u64::from(most);
        self.shared.clients.enter(tenant, 1, is_within).map(|(desk, _)| Asking(desk))
    }

    /// Listens to changes of a tenant, at most `most` at once.
    pub fn listen(&self, tenant: &TenantId, most: u32) -> Option<Listening> {
        let is_within = |before: u64| before / LISTENER < u64::from(most);
        let (desk, before) = self.shared.clients.enter(tenant, LISTENER, is_within)?;
        let changed = desk.changed.get_or_init(|| watch::Sender::new(())).subscribe();
        let (shared, tenant) = (Arc::clone(&self.shared), tenant.clone());
        Some(Listening { shared, tenant, desk, changed, before: before / LISTENER })
    }

    /// Tells all who listen that the host goes down, before it waits for their connections.
    pub fn end_listening(&self) {
        self.shared.clients.end();
    }

    /// Whether those who listen are to leave.
    pub fn is_ending(&self) -> bool {
        self.shared.clients.ending.load(Ordering::Acquire)
    }

    /// A tenant's picture that is not older than a revision, read again from the store where the one in memory is; one
    /// read however many ask. Where the store has nothing newer either, what it has.
    ///
    /// # Errors
    ///
    /// As [`Tenancy::load`].
    pub async fn load_since(&self, tenant: &TenantId, revision: u64) -> Result<Arc<TenantSnapshot>, TenancyError> {
        match self.snapshot(tenant.as_str()).filter(|snapshot| snapshot.revision() >= revision) {
            Some(snapshot) => Ok(snapshot),
            None => self.ask_in_time(|reply| Command::Load { tenant: tenant.clone(), since: revision, reply }).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients() -> (Clients, TenantId) {
        (Clients::default(), "acme".parse().unwrap())
    }

    #[test]
    fn no_more_are_let_in_than_may_be_and_the_two_counts_are_apart() {
        let (clients, acme) = clients();
        let ask = |most: u64| clients.enter(&acme, 1, |before| before & ASKING < most);
        let listen = |most: u64| clients.enter(&acme, LISTENER, |before| before / LISTENER < most);
        let (desk, _) = ask(2).unwrap();
        let (first, second) = (Asking(desk), Asking(ask(2).unwrap().0));
        assert!(ask(2).is_none());
        assert_eq!(listen(1).unwrap().1 / LISTENER, 0);
        assert!(listen(1).is_none());
        drop(first);
        let third = Asking(ask(2).unwrap().0);
        assert!(ask(2).is_none());
        drop((second, third));
        assert_eq!(ask(1).unwrap().0.state.load(Ordering::Acquire), LISTENER | 1);
    }

    #[test]
    fn a_desk_goes_with_its_tenant_when_nobody_is_at_it() {
        let (clients, acme) = clients();
        let desk = clients.enter(&acme, 1, |_| true).unwrap().0;
        let asking = Asking(Arc::clone(&desk));
        clients.leave(&acme);
        assert_eq!(clients.desks.pin().len(), 1, "somebody is at it");
        drop(asking);
        clients.leave(&acme);
        assert_eq!(clients.desks.pin().len(), 0);
        // One that is closed and still found is nobody's: a new one takes its place.
        clients.desks.pin().insert(acme.clone(), desk);
        let fresh = clients.enter(&acme, 1, |before| before == 0).unwrap().0;
        assert_eq!((fresh.state.load(Ordering::Acquire), clients.desks.pin().len()), (1, 1));
    }

    #[tokio::test]
    async fn many_changes_are_told_once() {
        let (clients, acme) = clients();
        clients.tell(&acme);
        assert!(clients.desks.pin().is_empty(), "nobody listens, and nothing is kept");
        let (desk, _) = clients.enter(&acme, LISTENER, |_| true).unwrap();
        let mut changed = desk.changed.get_or_init(|| watch::Sender::new(())).subscribe();
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
