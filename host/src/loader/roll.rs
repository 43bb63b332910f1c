//! The instances of one loader by number, with the names of their tenants and modules: what a thread leaves in its
//! place is a number, and whoever reads it must not follow a pointer into an instance that may be gone.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::flood::{LogLimit, Written};

/// One tenant's use of one module, whatever instances it has.
#[derive(Debug)]
pub(super) struct Use {
    /// Empty where code of the module runs for no tenant.
    pub(super) tenant: Arc<str>,
    pub(super) module: Arc<str>,
    pub(super) written: Written,
}

impl Use {
    pub(super) fn new(tenant: &str, module: &str) -> Self {
        Self { tenant: tenant.into(), module: module.into(), written: Written::default() }
    }
}

/// All instances that are there, or whose futures are.
pub(super) struct Roll {
    books: Mutex<Books>,
    pub(super) log_limit: Arc<LogLimit>,
}

/// Of a tenant and a module.
type Names = (Arc<str>, Arc<str>);

#[derive(Default)]
struct Books {
    /// With the number of instances.
    uses: HashMap<Names, (Arc<Use>, usize)>,
    /// By number.
    instances: HashMap<u64, Arc<Use>>,
}

impl fmt::Debug for Roll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roll({} instances)", self.books().instances.len())
    }
}

/// An instance's entry; taken out when the last holder lets go.
#[derive(Debug)]
pub(super) struct Listed {
    roll: Arc<Roll>,
    instance: u64,
}

impl Roll {
    /// An empty one; modules may write so many lines a second to the log.
    pub(super) fn new(log_lines: u32) -> Self {
        Self { books: Mutex::default(), log_limit: Arc::new(LogLimit::new(log_lines)) }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an instance.
    pub(super) fn enter(self: &Arc<Self>, instance: u64, tenant: &str, module: &str) -> (Arc<Use>, Arc<Listed>) {
        let new = Arc::new(Use::new(tenant, module));
        let mut books = self.books();
        let names = (Arc::clone(&new.tenant), Arc::clone(&new.module));
        let (known, instances) = books.uses.entry(names).or_insert((new, 0));
        *instances += 1;
        let entered = Arc::clone(known);
        books.instances.insert(instance, Arc::clone(&entered));
        drop(books);
        (entered, Arc::new(Listed { roll: Arc::clone(self), instance }))
    }

    /// Whose an instance is; `None` where it is gone, or another loader's.
    pub(super) fn find(&self, instance: u64) -> Option<Arc<Use>> {
        self.books().instances.get(&instance).cloned()
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut books = self.roll.books();
        let Some(left) = books.instances.remove(&self.instance) else { return };
        let names = (Arc::clone(&left.tenant), Arc::clone(&left.module));
        if let Entry::Occupied(mut known) = books.uses.entry(names) {
            known.get_mut().1 -= 1;
            if known.get().1 == 0 {
                known.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_known_until_its_last_holder_is_gone_and_a_use_until_its_last_instance_is() {
        let roll = Arc::new(Roll::new(1));
        let (entered, listed) = roll.enter(7, "acme", "tasks");
        let also = Arc::clone(&listed);
        drop(listed);
        assert_eq!(roll.find(7).map(|it| it.tenant.to_string()).as_deref(), Some("acme"));
        assert_eq!(&*entered.module, "tasks");
        let (successor, listed) = roll.enter(8, "acme", "tasks");
        assert!(Arc::ptr_eq(&entered, &successor), "what it wrote counts for both");
        drop(also);
        assert!(roll.find(7).is_none() && roll.find(8).is_some());
        drop(listed);
        let books = roll.books();
        assert!(books.instances.is_empty() && books.uses.is_empty());
    }
}
