//! Inputs that come from outside, each damaged in 20,000 ways: module files, manifests, tenant ids, paths, tokens, bodies
//! for operators. Nothing panics, what is wrong is refused with a reason, and what is accepted is right by itself.
//!
//! The same inputs come each time; `PROPTEST_RNG_SEED=7` gives others. A failure names the seed and the shortest
//! input that fails too.

mod admin;
mod edits;
mod files;
mod manifests;
mod requests;
mod twists;

use std::{cell::RefCell, collections::BTreeMap};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestCaseResult, TestRunner},
};

/// Of each kind of input.
const CASES: u32 = 20_000;

/// Where nobody asks for another one.
const SEED: u64 = 1;

/// Puts inputs to a test, and gives how often it said what of them.
///
/// # Panics
///
/// Where the test refuses one, or panics.
fn mutate<S: Strategy>(strategy: &S, test: impl Fn(S::Value, &mut dyn FnMut(&str)) -> TestCaseResult) -> Counts {
    let mut config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    let seed = config.rng_seed;
    let counts = RefCell::new(BTreeMap::new());
    let outcome = TestRunner::new(config)
        .run(strategy, |input| test(input, &mut |what| *counts.borrow_mut().entry(what.to_owned()).or_default() += 1));
    if let Err(error) = outcome {
        panic!("with seed {seed:?}: {error}");
    }
    let counts = Counts(counts.into_inner());
    println!("with seed {seed:?}: {:?}", counts.0);
    counts
}

/// How often what was said.
struct Counts(BTreeMap<String, u32>);

impl Counts {
    /// Looks whether each of these was said often enough for the inputs to be worth their while, and all of them once for
    /// each input.
    fn expect(&self, often: &[&str]) {
        for what in often {
            let count = self.0.get(*what).copied().unwrap_or(0);
            assert!(count >= CASES / 200, "`{what}` came {count} times: {:?}", self.0);
        }
        assert_eq!(self.0.values().sum::<u32>(), CASES, "{:?}", self.0);
    }
}
