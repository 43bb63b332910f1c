//! What has to happen for one tenant: desired state and actual state meet here and nowhere else.
//!
//! A pure function. Enable, disable, a changed catalog, a changed document and start-up all go through it.

use std::collections::BTreeMap;

use crate::{names::ModuleName, stores::Isolation};

/// Which code: the address of a candidate, which whoever holds the plan keeps alive.
pub(super) type CandidateKey = usize;

/// What one module of a tenant should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DesiredModule {
    /// Its name.
    pub(super) name: ModuleName,
    /// The code chosen for the tenant.
    pub(super) candidate: CandidateKey,
    /// Whether it shares its library.
    pub(super) isolation: Isolation,
    /// Whether an instance must be proved before anything is published, though none runs now: an operator
    /// asked for the module, and an answer without proof would be worth little.
    pub(super) prove: bool,
}

/// What one module of a tenant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ActualModule {
    /// The code of its slot.
    pub(super) candidate: CandidateKey,
    /// Whether it shares its library.
    pub(super) isolation: Isolation,
    /// Whether an instance runs or is being made.
    pub(super) live: bool,
    /// Its place in the load order that is now in force.
    pub(super) position: usize,
}

/// The steps, in the order in which they are taken: start all, publish once, drain all. A failure to start
/// leaves everything as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Needs a new instance before the swap, dependencies first.
    pub start: Vec<ModuleName>,
    /// Keeps the slot it has, instance included.
    pub keep: Vec<ModuleName>,
    /// Gets a slot without an instance: the first request makes one.
    pub offer: Vec<ModuleName>,
    /// Its instance is drained after the swap, dependents first; a replaced module is here and in `start`.
    pub drain: Vec<ModuleName>,
}

impl Plan {
    /// Whether the tenant is already as desired.
    pub fn is_empty(&self) -> bool {
        self.start.is_empty() && self.offer.is_empty() && self.drain.is_empty()
    }
}

/// Compares what should be, in load order, with what is.
pub(super) fn plan(desired: &[DesiredModule], actual: &BTreeMap<ModuleName, ActualModule>) -> Plan {
    let mut plan = Plan::default();
    for wanted in desired {
        match actual.get(&wanted.name) {
            Some(has) if has.candidate == wanted.candidate && has.isolation == wanted.isolation => {
                if wanted.prove && !has.live {
                    plan.start.push(wanted.name.clone());
                } else {
                    plan.keep.push(wanted.name.clone());
                }
            }
            Some(has) if has.live => {
                plan.start.push(wanted.name.clone());
                plan.drain.push(wanted.name.clone());
            }
            _ if wanted.prove => plan.start.push(wanted.name.clone()),
            _ => plan.offer.push(wanted.name.clone()),
        }
    }
    let mut gone: Vec<_> =
        actual.iter().filter(|(name, has)| has.live && !desired.iter().any(|wanted| wanted.name == **name)).collect();
    gone.sort_by_key(|(_, has)| has.position);
    plan.drain.extend(gone.into_iter().map(|(name, _)| name.clone()));
    // Load order has dependencies first, so the reverse stops dependents before what they use. What is gone
    // has no place in the desired order; it was appended and so comes first.
    plan.drain.reverse();
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(index: usize) -> ModuleName {
        format!("m{index}").parse().unwrap()
    }

    fn wanted(index: usize, candidate: CandidateKey, prove: bool) -> DesiredModule {
        DesiredModule { name: name(index), candidate, isolation: Isolation::Shared, prove }
    }

    fn has(candidate: CandidateKey, live: bool) -> ActualModule {
        ActualModule { candidate, isolation: Isolation::Shared, live, position: candidate }
    }

    #[test]
    fn enabling_proves_and_keeps_what_runs() {
        let actual = BTreeMap::from([(name(1), has(1, true))]);
        let plan = plan(&[wanted(1, 1, false), wanted(2, 2, true)], &actual);
        assert_eq!(plan, Plan { start: vec![name(2)], keep: vec![name(1)], ..Plan::default() });
    }

    #[test]
    fn replacing_starts_the_new_before_it_drains_the_old() {
        let actual = BTreeMap::from([(name(1), has(1, true)), (name(2), has(2, false))]);
        let plan = plan(&[wanted(1, 9, false), wanted(2, 8, false)], &actual);
        assert_eq!(plan, Plan { start: vec![name(1)], offer: vec![name(2)], drain: vec![name(1)], ..Plan::default() });
    }

    #[test]
    fn a_changed_isolation_is_a_replacement() {
        let actual = BTreeMap::from([(name(1), has(1, true))]);
        let own = DesiredModule { isolation: Isolation::Library, ..wanted(1, 1, false) };
        let plan = plan(&[own], &actual);
        assert_eq!((plan.start, plan.drain), (vec![name(1)], vec![name(1)]));
    }

    #[test]
    fn what_is_gone_is_drained_before_what_is_replaced() {
        let actual = BTreeMap::from([(name(1), has(1, true)), (name(2), has(2, true))]);
        let plan = plan(&[wanted(1, 7, false)], &actual);
        assert_eq!(plan.drain, vec![name(2), name(1)]);
    }

    proptest! {
        #[test]
        fn every_module_is_accounted_for_and_a_second_plan_is_empty(
            desired in proptest::collection::btree_map(0_usize..8, (0_usize..4, any::<bool>()), 0..8),
            actual in proptest::collection::btree_map(0_usize..8, (0_usize..4, any::<bool>()), 0..8),
        ) {
            let desired: Vec<_> = desired.iter().map(|(m, (c, p))| wanted(*m, *c, *p)).collect();
            let actual: BTreeMap<_, _> = actual.iter().map(|(m, (c, l))| (name(*m), has(*c, *l))).collect();
            let plan = plan(&desired, &actual);
            // Each desired module is in exactly one of start, keep, offer.
            for wanted in &desired {
                let places = [&plan.start, &plan.keep, &plan.offer];
                prop_assert_eq!(places.iter().filter(|list| list.contains(&wanted.name)).count(), 1);
            }
            // Exactly the live instances that are not kept are drained, each once.
            for (module, has) in &actual {
                let kept = plan.keep.contains(module);
                let drained = plan.drain.iter().filter(|name| *name == module).count();
                let restarted_idle = plan.start.contains(module) && !has.live;
                prop_assert_eq!(drained, usize::from(has.live && !kept && !restarted_idle));
            }
            // Carrying it out reaches the desired state.
            let after: BTreeMap<_, _> = desired
                .iter()
                .map(|wanted| {
                    let live = plan.start.contains(&wanted.name)
                        || (plan.keep.contains(&wanted.name) && actual[&wanted.name].live);
                    (wanted.name.clone(), has(wanted.candidate, live))
                })
                .collect();
            prop_assert!(super::plan(&desired, &after).is_empty());
        }
    }
}
