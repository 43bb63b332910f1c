//! The instances of one loader by number, with the names of their tenants and modules: what a thread leaves in its
//! place is a number, and whoever reads it must not follow a pointer into an instance that may be gone.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// One tenant's use of one module, whatever instances it has.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) tenant: Arc<str>,
    pub(super) module: Arc<str>,
}

/// All instances that are there, or whose futures are.
#[derive(Default)]
pub(super) struct Roll(Mutex<HashMap<u64, Arc<Use>>>);

impl fmt::Debug for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roll({} instances)", self.instances().len())
    }
}

/// An instance's entry; taken out when the last holder lets go.
#[derive(Debug)]
pub(super) struct Listed {
    roll: Arc<Roll>,
    instance: u64,
}

impl Roll {
    fn instances(&self) -> MutexGuard<'_, HashMap<u64, Arc<Use>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an instance.
    pub(super) fn enter(self: &Arc<Self>, instance: u64, tenant: &str, module: &str) -> (Arc<Use>, Arc<Listed>) {
        let entered = Arc::new(Use { tenant: tenant.into(), module: module.into() });
        self.instances().insert(instance, Arc::clone(&entered));
        (entered, Arc::new(Listed { roll: Arc::clone(self), instance }))
    }

    /// Whose an instance is; `None` where it is gone, or another loader's.
    pub(super) fn find(&self, instance: u64) -> Option<Arc<Use>> {
        self.instances().get(&instance).cloned()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.roll.instances().remove(&self.instance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_known_until_its_last_holder_is_gone() {
        let roll = Arc::new(Roll::default());
        let (entered, listed) = roll.enter(7, "acme", "tasks");
        let also = Arc::clone(&listed);
        drop(listed);
        assert_eq!(roll.find(7).map(|it| it.tenant.to_string()).as_deref(), Some("acme"));
        assert_eq!(&*entered.module, "tasks");
        drop(also);
        assert!(roll.find(7).is_none());
    }
}
